"""Clips to what is drawn: both in metres with y up, their errors, and the codec's planes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from motioncodec.clip import METRES, Clip, error_scale
from motioncodec.errors import UsageError
from motioncodec.heatmap.placement import (
    Placement,
    choose_anchor,
    find_heading,
    find_hips,
    find_scale,
    to_model_axes,
)
from motioncodec.metrics import compare, distances
from motioncodec.skeleton import CANONICAL, Skeleton

Float32 = NDArray[np.float32]
Float64 = NDArray[np.float64]

MOST_KEYPOINTS = 1 << 21
"""Of one side of a page, some 15 MB of it; more makes browsers slow."""

_HEIGHT = 1.7
_LEAST, _MOST = 0.8, 3.0

# Each from a joint that hangs on nothing where there is no spine.
_TORSO = (
    ("left_shoulder", "right_shoulder"), ("left_hip", "right_hip"),
    ("left_shoulder", "left_hip"), ("right_shoulder", "right_hip"),
    ("left_shoulder", "neck"), ("right_shoulder", "neck"),
)  # fmt: skip


@dataclass(frozen=True)
class Side:
    """One clip of a scene.

    Attributes:
        name: as shown.
        points: (T, P, K, D) metres with y up; people of another size are made 1.7 m high.
        confidence: (T, P, K) from 0 to 1, 0 where missing.
    """

    name: str
    points: Float32
    confidence: Float32


@dataclass(frozen=True)
class Scene:
    """What is drawn.

    Attributes:
        title: of the page.
        subtitle: a line on the clip.
        sides: the clip, or the original and what became of it.
        skeleton: of both.
        people: names of the P people.
        frame_rate: frames a second.
        first: number of the first frame in the clip.
        unit: of errors, ``mm`` or ``px``.
        errors: (T, P, K) in ``unit``, NaN where a joint is missing in either; None of one clip.
        placed: (T, P, J, D) joints that the codec covers, of the last side, in its body units.
        figures: names and texts.
    """

    title: str
    subtitle: str
    sides: tuple[Side, ...]
    skeleton: Skeleton
    people: tuple[str, ...]
    frame_rate: float
    first: int
    unit: str
    errors: Float32 | None
    placed: Float32
    figures: tuple[tuple[str, str], ...]

    @property
    def frames(self) -> int:
        """T."""
        return int(self.sides[0].points.shape[0])

    @property
    def dims(self) -> int:
        """D."""
        return int(self.sides[0].points.shape[3])

    def worst(self) -> int:
        """The frame with the largest error, 0 where there are none."""
        if self.errors is None or np.isnan(self.errors).all():
            return 0
        return int(np.nanargmax(np.nanmax(self.errors.reshape(self.frames, -1), axis=1, initial=0)))


def stage(clips: Sequence[tuple[str, int | None, Clip]], title: str, first: int = 0) -> Scene:
    """A scene of one clip or two.

    Args:
        clips: name, bytes of the file and clip of each; the second is compared with the first.
        title: of the page.
        first: number of the clips' first frame.

    Raises:
        UsageError: there is nothing to draw, or too much.
        ClipError: the two cannot be compared.
    """
    original = clips[0][2]
    if not original.frames or not original.persons:
        raise UsageError("view: expected a clip with frames and people, found none")
    count = original.frames * original.persons * len(original.skeleton)
    if count > MOST_KEYPOINTS:
        most = MOST_KEYPOINTS // (original.persons * len(original.skeleton))
        raise UsageError(
            f"view: expected at most {MOST_KEYPOINTS:,} keypoints, found {count:,}; take at most "
            f"{most:,} frames with --frames"
        )
    unit = "px" if original.units == "px" else "mm"
    scale = _metres(original)
    sides, errors, figures = [], None, []
    figures += _sizes(clips)
    other = original
    if len(clips) > 1:
        other = clips[1][2]
        found = compare(original, other)
        order = [other.skeleton.joints.index(name) for name in original.skeleton.joints]
        other = Clip(
            other.keypoints[:, :, order], other.frame_rate, original.skeleton,
            None if other.confidence is None else other.confidence[:, :, order],
            other.units, other.up, other.people,
        )  # fmt: skip
        errors = np.asarray(distances(original, other), np.float32)
        figures += [
            ("Mean error", f"{found.mpjpe:,.2f} {unit}"),
            ("99 % within", f"{found.p99:,.2f} {unit}"),
            ("Largest error", f"{found.max:,.2f} {unit}"),
        ]
    for name, _, clip in clips:
        shown = original if clip is original else other
        factor = scale * error_scale(shown.units) / error_scale(original.units)
        sides.append(Side(name, _upright(shown, factor), _sureness(shown)))
    people = original.people or tuple(f"person {i + 1}" for i in range(original.persons))
    figures += [
        ("Length", f"{original.duration:.2f} s, {original.frames:,} frames"),
        ("Joints", f"{len(original.skeleton)}"),
    ]
    kind = f"{original.dims}D, {original.skeleton.name}, {original.units}, {original.up} up"
    return Scene(
        title, kind, tuple(sides), original.skeleton, people, original.frame_rate, first, unit,
        errors, _placed(other), tuple(figures),
    )  # fmt: skip


def _sizes(clips: Sequence[tuple[str, int | None, Clip]]) -> list[tuple[str, str]]:
    rows = []
    duration = clips[0][2].duration
    for label, (_, size, _) in zip(("Original", "Decoded") if len(clips) > 1 else ("File",), clips):
        if size is not None:
            rows.append((label, f"{size:,} bytes"))
            rows.append(("", f"{8 * size / duration:,.0f} bit/s"))
    if len(clips) > 1 and clips[0][1] and clips[1][1]:
        rows.append(("Ratio", f"{clips[0][1] / clips[1][1]:,.1f} : 1"))
    return rows


def _metres(clip: Clip) -> float:
    """Metres to a unit of the clip as drawn; where nobody could be of such a size (pixels, units
    that the file does not know), people are taken to be 1.7 m high."""
    sides = []
    for person in range(clip.persons):
        points = clip.keypoints[:, person].astype(np.float64)
        seen = ~np.isnan(points[..., 0])
        for frame in np.flatnonzero(seen.sum(axis=1) > 1)[:: max(clip.frames // 200, 1)]:
            sides.append(np.ptp(points[frame][seen[frame]], axis=0).max())
    largest = float(np.median(sides)) if sides else 0.0
    stated = METRES.get(clip.units, 0.0)
    if _LEAST <= largest * stated <= _MOST or largest <= 0:
        return stated or 1.0
    return _HEIGHT / largest


def _upright(clip: Clip, factor: float) -> Float32:
    points = to_model_axes(clip.keypoints.astype(np.float64), clip.up)
    if clip.dims == 2:
        points = points * [1.0, -1.0]
    return (points * factor).astype(np.float32)


def _sureness(clip: Clip) -> Float32:
    sure = np.ones(clip.missing.shape, np.float32) if clip.confidence is None else clip.confidence
    return np.where(clip.missing, np.float32(0), np.maximum(sure, np.float32(1 / 255)))


def _placed(clip: Clip) -> Float32:
    """(T, P, J, D) covered joints in body units, as :mod:`motioncodec.heatmap.placement` has
    them."""
    covered = [i for i, canonical in enumerate(clip.skeleton.covered) if canonical >= 0]
    canonical = [clip.skeleton.covered[i] for i in covered]
    out = np.full((clip.frames, clip.persons, len(covered), clip.dims), np.nan, np.float32)
    for person in range(clip.persons if covered else 0):
        points = np.full((clip.frames, len(CANONICAL), clip.dims), np.nan)
        points[:, canonical] = to_model_axes(
            clip.keypoints[:, person, covered].astype(np.float64), clip.up
        )
        if np.isnan(points).all():
            continue
        scale = find_scale(points)
        anchor = choose_anchor(~np.isnan(points[..., 0]))
        where = Placement(
            find_hips(points, scale, anchor), np.full(clip.frames, scale),
            find_heading(points) if clip.dims == 3 else None,
        )  # fmt: skip
        out[:, person] = where.apply(points)[:, canonical]
    return out


def drawn_bones(skeleton: Skeleton) -> tuple[tuple[int, int], ...]:
    """Pairs of joints to draw a line between: the skeleton's bones, and where it lacks a spine
    lines around the torso."""
    at = {CANONICAL[c]: i for i, c in enumerate(skeleton.covered) if c >= 0}
    bones = list(skeleton.bones)
    loose = {name for name, i in at.items() if i not in {child for child, _ in bones}}
    for one, other in _TORSO:
        if one in at and other in at and one in loose:
            bones.append((at[one], at[other]))
    return tuple(bones)


def bounds(scene: Scene) -> dict[str, Any]:
    """Where the scene is: ``low``, ``high`` (D,), of all that is seen but the outermost 0.5 %."""
    points = np.concatenate([side.points.reshape(-1, scene.dims) for side in scene.sides])
    points = points[~np.isnan(points[:, 0])]
    if not len(points):
        points = np.zeros((1, scene.dims), np.float32)
    return {
        "low": np.percentile(points, 0.5, axis=0), "high": np.percentile(points, 99.5, axis=0),
        "least": points.min(axis=0), "most": points.max(axis=0),
    }  # fmt: skip
