"""Placement: where a person stands, which way they face, how large they are.

A model sees every person alike: about the hips, facing one way, at one size (3D: of the limbs;
2D: of a smoothed box). What was taken off is the placement; it is coded beside the tokens, so
world or pixel coordinates come back.

Body units: 1.0 is a metre on a person of the reference size in 3D; in 2D half the longer side of
the box is BOX_REACH. The heatmap volume spans [-EXTENT, EXTENT] in every axis.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from motioncodec.heatmap.bones import quantile
from motioncodec.skeleton import CANONICAL

Float64 = NDArray[np.float64]

EXTENT = 1.28
"""Half the width of the heatmap volume in body units: 0.04 to the pixel at 64 x 64."""

BOX_REACH = 0.85
"""Body units from the middle of the 2D box to its longer side's ends."""

MODEL_RATE = 30.0
"""Frames per second at which the models run."""

HEADING_STEPS = 64
"""Heading is coded in steps of a 64th of a turn; what is left of it the model sees."""

KNOT_SPACING = 16
"""Model frames between two coded values of heading (3D) or box (2D); linear between them."""

SIZE_STEPS = 8
"""The 2D size is coded in eighths of an octave."""

SCALE_STEPS = 128
"""Scale is coded as a whole number of 128ths of an octave."""

_AT = {name: i for i, name in enumerate(CANONICAL)}

# Mean distances over the training clips, in metres: the size of the reference person.
_REFERENCE_LENGTHS: dict[tuple[int, int], float] = {
    (_AT["left_shoulder"], _AT["left_elbow"]): 0.286,
    (_AT["right_shoulder"], _AT["right_elbow"]): 0.286,
    (_AT["left_elbow"], _AT["left_wrist"]): 0.205,
    (_AT["right_elbow"], _AT["right_wrist"]): 0.205,
    (_AT["left_hip"], _AT["left_knee"]): 0.404,
    (_AT["right_hip"], _AT["right_knee"]): 0.404,
    (_AT["left_knee"], _AT["left_ankle"]): 0.435,
    (_AT["right_knee"], _AT["right_ankle"]): 0.435,
    (_AT["left_shoulder"], _AT["left_hip"]): 0.48,
    (_AT["right_shoulder"], _AT["right_hip"]): 0.48,
    (_AT["left_shoulder"], _AT["right_shoulder"]): 0.345,
    (_AT["pelvis"], _AT["neck"]): 0.376,
    (_AT["neck"], _AT["head"]): 0.157,
}
_ENDS = np.array(list(_REFERENCE_LENGTHS))
_LENGTHS = np.array(list(_REFERENCE_LENGTHS.values()))

# Joints that can stand in for the hips, best first, and how far above the hips each one is.
_ANCHORS: tuple[tuple[tuple[str, ...], float], ...] = (
    (("left_hip", "right_hip"), 0.0),
    (("pelvis",), 0.0),
    (("left_hip",), 0.0),
    (("right_hip",), 0.0),
    (("spine",), 0.1),
    (("chest",), 0.3),
    (("neck",), 0.48),
    (("left_shoulder", "right_shoulder"), 0.45),
    (("head",), 0.6),
    (("head_top",), 0.8),
    (("left_knee", "right_knee"), -0.42),
    (("left_ankle", "right_ankle"), -0.82),
)

# Rows: the y-up right-handed axes in terms of the clip's, by the axis that points up there.
_TO_Y_UP: dict[str, Float64] = {
    "y": np.array([[1, 0, 0], [0, 1, 0], [0, 0, 1]], dtype=np.float64),
    "z": np.array([[1, 0, 0], [0, 0, 1], [0, -1, 0]], dtype=np.float64),
    "x": np.array([[0, -1, 0], [1, 0, 0], [0, 0, 1]], dtype=np.float64),
    "-y": np.array([[1, 0, 0], [0, -1, 0], [0, 0, -1]], dtype=np.float64),
    "-z": np.array([[1, 0, 0], [0, 0, -1], [0, 1, 0]], dtype=np.float64),
    "-x": np.array([[0, 1, 0], [-1, 0, 0], [0, 0, 1]], dtype=np.float64),
}


def to_model_axes(points: Float64, up: str) -> Float64:
    """(..., D) points in the axes that the models know, by a rotation in 3D so that +y points up,
    and in 2D with +y down as in images (a clip that has +y up is flipped)."""
    if points.shape[-1] == 2:
        return points * [1.0, -1.0] if up == "y" else points
    return points if up == "y" else points @ _TO_Y_UP[up].T


def from_model_axes(points: Float64, up: str) -> Float64:
    """Inverse of :func:`to_model_axes`."""
    if points.shape[-1] == 2:
        return points * [1.0, -1.0] if up == "y" else points
    return points if up == "y" else points @ _TO_Y_UP[up]


def turn(points: Float64, angle: Float64) -> Float64:
    """(T, K, 3) points turned about +y by (T,) radians, from +z towards +x."""
    c, s = np.cos(angle)[:, None], np.sin(angle)[:, None]
    x, y, z = points[..., 0], points[..., 1], points[..., 2]
    return np.stack([c * x + s * z, y, -s * x + c * z], axis=-1)


@dataclass(frozen=True, eq=False)
class Placement:
    """Where one person is in each frame.

    Attributes:
        origin: (T, D) hips, in the points' units.
        size: (T,) the points' units per body unit.
        heading: (T,) radians about +y in 3D; None in 2D.
    """

    origin: Float64
    size: Float64
    heading: Float64 | None

    def part(self, frames: slice | NDArray[np.int64]) -> Placement:
        """Some frames."""
        heading = None if self.heading is None else self.heading[frames]
        return Placement(self.origin[frames], self.size[frames], heading)

    def apply(self, points: Float64) -> Float64:
        """(T, K, D) points in world or image units to body units; NaN stays NaN."""
        body = (points - self.origin[:, None]) / self.size[:, None, None]
        return body if self.heading is None else turn(body, self.heading)

    def invert(self, points: Float64) -> Float64:
        """(T, K, D) points in body units back to world or image units."""
        body = points if self.heading is None else turn(points, -self.heading)
        return body * self.size[:, None, None] + self.origin[:, None]


def fill_gaps(values: Float64) -> Float64:
    """(T, ...) with NaN runs bridged linearly along T, and held before the first and after the
    last known value; zero where a series has none at all."""
    flat = values.reshape(len(values), -1)
    bad = np.isnan(flat)
    if not bad.any():
        return values
    out = flat.copy()
    at = np.arange(len(flat))
    for column in np.flatnonzero(bad.any(axis=0)):
        known = ~bad[:, column]
        if known.any():
            out[:, column] = np.interp(at, at[known], flat[known, column])
        else:
            out[:, column] = 0.0
    return out.reshape(values.shape)


def find_scale(points: Float64) -> float:
    """Size of a person: the points' units per body unit, from the lengths of limbs and torso.

    Args:
        points: (T, 20, D) canonical joints, NaN where missing.
    """
    along = np.ascontiguousarray(points.transpose(1, 2, 0))
    limbs = along[_ENDS[:, 0]] - along[_ENDS[:, 1]]
    distances = np.sqrt((limbs**2).sum(axis=1))
    there = np.isfinite(distances)
    if distances.size and there.all():
        middles = quantile(distances, 0.5)
    else:
        some = (d[mine] for d, mine in zip(distances, there))
        middles = np.array([np.median(one) if len(one) else np.nan for one in some])
    known = np.isfinite(middles)
    # Summed in turn: the same size to the last bit, whatever is vectorised.
    found = sum(middles[known].tolist())
    if found > 0:
        return found / sum(_LENGTHS[known].tolist())
    # Too few joints for a limb: the spread about their centre, or failing that anything above 0.
    spread = points[np.isfinite(points[..., 0])]
    if len(spread) > 1 and (deviation := float(np.std(spread, axis=0).max())) > 0:
        return deviation / 0.4
    return 1.0


def quantise_scale(scale: float) -> int:
    """Whole number of 128ths of an octave nearest to ``scale``, within +-16,384 (128 octaves)."""
    return int(np.clip(round(np.log2(max(scale, 1e-30)) * SCALE_STEPS), -16_384, 16_384))


def dequantise_scale(steps: int) -> float:
    """Inverse of :func:`quantise_scale`."""
    return float(2.0 ** (steps / SCALE_STEPS))


def choose_anchor(present: NDArray[np.bool_]) -> int | None:
    """Which joints stand for the hips throughout a clip: to switch would look like a jump.

    Args:
        present: (T, 20), True where a canonical joint is there.

    Returns:
        An index for :func:`find_hips`; None where the mean of whatever is there must do.
    """
    someone = max(int(present.any(axis=1).sum()), 1)
    best, best_share = None, 0.0
    for i, (names, _) in enumerate(_ANCHORS):
        share = int(present[:, [_AT[name] for name in names]].all(axis=1).sum()) / someone
        if share > best_share + 0.25:
            best, best_share = i, share
        if best_share > 0.75:
            break
    return best


def find_hips(points: Float64, scale: float | Float64, anchor: int | None) -> Float64:
    """(T, D) hip positions from (T, 20, D) canonical joints; gaps are bridged.

    Args:
        points: with +y up in 3D, -y up in 2D (image coordinates).
        scale: the points' units per body unit, a number or one for each frame.
        anchor: from :func:`choose_anchor`.
    """
    if anchor is None:
        present = np.isfinite(points[..., 0])
        total = np.where(present[..., None], points, 0.0).sum(axis=1)
        hips = total / np.maximum(present.sum(axis=1), 1)[:, None]
        hips[~present.any(axis=1)] = np.nan
        return fill_gaps(hips)
    names, above = _ANCHORS[anchor]
    hips = points[:, [_AT[name] for name in names]].mean(axis=1)
    up = 1 if points.shape[-1] == 3 else -1
    hips[:, 1] -= up * above * np.asarray(scale)
    return fill_gaps(hips)


def find_heading(points: Float64) -> Float64:
    """(T,) smoothed, unwrapped heading in radians from (T, 20, 3) canonical joints with y up.

    The vector from left to right across shoulders and hips, smoothed over half a second, points
    along +x once the heading is taken off. Smoothing the vector, not the angle, lets a frame in
    which the person lies on their side say little.
    """
    from scipy.ndimage import gaussian_filter1d  # ``info`` need not wait for it

    across = np.zeros((len(points), 2))
    for part in ("shoulder", "hip"):
        side = points[:, _AT["right_" + part]] - points[:, _AT["left_" + part]]
        across += np.nan_to_num(side[:, [0, 2]])
    smooth = gaussian_filter1d(across, 15.0, axis=0, mode="nearest")
    smooth[:, 0] += 1e-9  # so that somebody without shoulders faces ahead
    heading: Float64 = np.unwrap(np.arctan2(smooth[:, 1], smooth[:, 0]))
    return heading


def find_size(points: Float64) -> Float64:
    """(T,) units per body unit of a smoothed box about (T, 20, 2) points, gaps bridged."""
    seen = np.isfinite(points[..., 0])
    low = np.where(seen[..., None], points, np.inf).min(axis=1)
    from scipy.ndimage import gaussian_filter1d, median_filter

    high = np.where(seen[..., None], points, -np.inf).max(axis=1)
    half = np.where(seen.any(axis=1), (high - low).max(axis=1) / 2, np.nan)
    half[~(half > 0)] = np.nan
    half = fill_gaps(half)
    half[half <= 0] = 1.0
    # The median first: one wild detection must not move the box.
    half = median_filter(half, size=9, mode="nearest")
    size: Float64 = np.exp(gaussian_filter1d(np.log(half), 20.0, mode="nearest")) / BOX_REACH
    return size


__all__ = [
    "BOX_REACH",
    "EXTENT",
    "HEADING_STEPS",
    "KNOT_SPACING",
    "MODEL_RATE",
    "SCALE_STEPS",
    "SIZE_STEPS",
    "Placement",
    "choose_anchor",
    "dequantise_scale",
    "fill_gaps",
    "find_heading",
    "find_hips",
    "find_scale",
    "find_size",
    "from_model_axes",
    "quantise_scale",
    "to_model_axes",
    "turn",
]
