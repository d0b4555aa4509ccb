"""How far one clip is from another, joint by joint, in world or image coordinates as they are.

Nothing is aligned: a body that is right but stands elsewhere is wrong. Metric clips are compared
in millimetres, whatever unit each is in; clips in pixels in pixels. A joint counts where both clips
have it; where only one of them has it, that is counted apart.
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from motioncodec.clip import Clip, error_scale
from motioncodec.errors import ClipError

Float32 = NDArray[np.float32]
Float64 = NDArray[np.float64]

PCK_MILLIMETRES = 50.0
"""A joint of a metric clip counts as right within this distance."""

PCK_BOX_SHARE = 0.05
"""A joint of a pixel clip counts as right within this share of its person's box side."""

_BLOCK = 4096
"""Frames that are compared at once, so that a long clip needs no float64 copy of itself."""


@dataclass(frozen=True)
class Comparison:
    """Differences between two clips; a mean over no joints at all is NaN.

    Attributes:
        frames, people, joints: of either clip.
        compared: joint positions that both clips have.
        missing_in_one: joint positions that exactly one of them has.
        unit: of the distances, ``mm`` or ``px``.
        mpjpe: mean distance over compared joints.
        p99: distance that 99 % of them do not exceed.
        max: largest distance.
        pck: share of them within the threshold: 50 mm, or in pixels 0.05 of the person's box side
            (the median over the original's frames of the longer side of the box about the joints).
        acceleration_error: mean length of the difference of second differences times frame rate
            squared, over joints that both have in three frames on end, in m/s^2 or px/s^2.
    """

    frames: int
    people: int
    joints: int
    compared: int
    missing_in_one: int
    unit: str
    mpjpe: float
    p99: float
    max: float
    pck: float
    acceleration_error: float

    @property
    def acceleration_unit(self) -> str:
        """Of the acceleration error."""
        return "m/s^2" if self.unit == "mm" else "px/s^2"

    @property
    def pck_threshold(self) -> str:
        """In words."""
        return f"{PCK_MILLIMETRES:g} mm" if self.unit == "mm" else f"{PCK_BOX_SHARE:g} of the box"

    def to_dict(self) -> dict[str, Any]:
        """For JSON: what is not a number becomes None."""
        out = {**asdict(self), "acceleration_unit": self.acceleration_unit}
        out["pck_threshold"] = self.pck_threshold
        return {
            name: None if isinstance(value, float) and math.isnan(value) else value
            for name, value in out.items()
        }


def compare(original: Clip, other: Clip) -> Comparison:
    """Compares a clip with what became of it.

    Args:
        original: the truth; its boxes scale the 2D threshold.
        other: of the same frames, people and joints (in any order of names).

    Raises:
        ClipError: the clips are not of one kind.
    """
    order = _check(original, other)
    distance = distances(original, other)
    here = np.isfinite(distance)
    some = distance[here]
    unit = distance_unit(original)
    if unit == "mm":
        within = some <= PCK_MILLIMETRES
    else:
        within = (distance <= PCK_BOX_SHARE * _box_sides(original)[None, :, None])[here]
    in_one = original.missing != other.missing[:, :, order]
    return Comparison(
        frames=original.frames,
        people=original.persons,
        joints=len(original.skeleton),
        compared=len(some),
        missing_in_one=int(in_one.sum()),
        unit=unit,
        mpjpe=_mean(some),
        p99=float(np.percentile(some, 99)) if len(some) else math.nan,
        max=float(some.max()) if len(some) else math.nan,
        pck=_mean(within),
        acceleration_error=_acceleration_error(original, other, order),
    )


def distance_unit(clip: Clip) -> str:
    """What distances between clips of this kind are measured in: ``mm`` or ``px``."""
    return "px" if clip.units == "px" else "mm"


def distances(original: Clip, other: Clip) -> Float32:
    """(T, P, K) distances in millimetres or pixels, NaN where either clip lacks the joint.

    Raises:
        ClipError: the clips are not of one kind.
    """
    order = _check(original, other)
    out = np.empty(original.keypoints.shape[:3], np.float32)
    for start in range(0, original.frames, _BLOCK):
        rows = slice(start, start + _BLOCK)
        out[rows] = np.linalg.norm(_difference(original, other, order, rows), axis=-1)
    return out


def _check(original: Clip, other: Clip) -> list[int]:
    """Which joint of ``other`` each of the original's is."""
    for what, expected, found in (
        ("frames", original.frames, other.frames),
        ("people", original.persons, other.persons),
        ("joints", len(original.skeleton), len(other.skeleton)),
        ("coordinates a joint", original.dims, other.dims),
        ("as up axis", original.up, other.up),
    ):
        if expected != found:
            raise ClipError(f"comparison: expected {expected} {what}, found {found}")
    if not math.isclose(original.frame_rate, other.frame_rate, rel_tol=1e-4):
        raise ClipError(
            f"comparison: expected {original.frame_rate:g} frames/s, found {other.frame_rate:g}"
        )
    if distance_unit(original) != distance_unit(other):
        raise ClipError(f"comparison: expected units {original.units}, found {other.units}")
    at = {name: i for i, name in enumerate(other.skeleton.joints)}
    for name in original.skeleton.joints:
        if name not in at:
            raise ClipError(f"comparison: expected a joint {name!r}, found none of that name")
    return [at[name] for name in original.skeleton.joints]


def _difference(original: Clip, other: Clip, order: list[int], rows: slice) -> Float64:
    """(F, P, K, D) other less original in millimetres or pixels, NaN where either is missing."""
    found = other.keypoints[rows][:, :, order].astype(np.float64) * error_scale(other.units)
    return found - original.keypoints[rows].astype(np.float64) * error_scale(original.units)


def _acceleration_error(original: Clip, other: Clip, order: list[int]) -> float:
    """Differencing is linear: the second difference of the clips' difference is what is needed."""
    total, count = 0.0, 0
    for start in range(0, original.frames, _BLOCK):
        # Two frames more, for the second differences that reach into the next block.
        apart = _difference(original, other, order, slice(start, start + _BLOCK + 2))
        lengths = np.linalg.norm(np.diff(apart, 2, axis=0), axis=-1)
        here = np.isfinite(lengths)
        total += float(lengths[here].sum())
        count += int(here.sum())
    if not count:
        return math.nan
    in_metres = 1.0 if distance_unit(original) == "px" else 1e-3
    return total / count * original.frame_rate**2 * in_metres


def _box_sides(clip: Clip) -> Float64:
    """(P,) longer side of the box about each person's joints, the median over frames."""
    sides = np.zeros(clip.persons)
    for person in range(clip.persons):
        seen = ~clip.missing[:, person]
        frames = np.flatnonzero(seen.sum(axis=1) > 1)
        if len(frames):
            points, here = clip.keypoints[frames, person], seen[frames][..., None]
            low = np.where(here, points, np.inf).min(axis=1)
            high = np.where(here, points, -np.inf).max(axis=1)
            sides[person] = np.median((high - low).max(axis=1))
    return sides


def _mean(values: NDArray[Any]) -> float:
    return float(values.mean(dtype=np.float64)) if len(values) else math.nan


__all__ = ["Comparison", "compare", "distance_unit", "distances"]
