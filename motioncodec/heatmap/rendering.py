"""Keypoints to Gaussian heatmaps, and peaks back to keypoints, in NumPy.

Volumes are (K, T, H, W) in 2D; in 3D (3 K, T, H, W), for each joint its projections on the planes
xy, zy and xz (the first letter runs along W, the second along H); or dense, (K, T, D, H, W) with
z along D, y along H and x along W. Pixel centres are whole numbers. The volume spans
[-EXTENT, EXTENT] body units about the hips, so pixel = (x / EXTENT + 1) size / 2 - 1/2.
"""

from __future__ import annotations

from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from motioncodec.errors import ClipError
from motioncodec.heatmap.placement import EXTENT

Float32 = NDArray[np.float32]
Float64 = NDArray[np.float64]
Points = TypeVar("Points", bound=Any)

SIZE = 64
SIGMA = 1.5
FLOOR = 1e-3
"""A plane whose highest value is below this has no peak: the joint is missing."""

PLANES: dict[int, tuple[tuple[int, int], ...]] = {2: ((0, 1),), 3: ((0, 1), (2, 1), (0, 2))}
"""(coordinate along W, coordinate along H) of each joint's planes, for 2 and 3 dimensions."""


def to_pixels(points: Points, size: int = SIZE) -> Points:
    """Body units to pixel coordinates, of an array or a tensor."""
    return (points / EXTENT + 1.0) * (size / 2) - 0.5


def from_pixels(pixels: Points, size: int = SIZE) -> Points:
    """Inverse of :func:`to_pixels`."""
    return ((pixels + 0.5) / (size / 2) - 1.0) * EXTENT


def render_heatmaps(
    points: Float64,
    confidence: NDArray[np.floating] | None = None,
    *,
    size: int = SIZE,
    sigma: float = SIGMA,
    dense: bool = False,
) -> Float32:
    """Gaussians about sub-pixel centres: c exp(-((u - cu)^2 + (v - cv)^2) / (2 sigma^2)).

    Args:
        points: (T, K, D) in body units, NaN where missing; a missing joint leaves its planes empty.
        confidence: (T, K) heights of the peaks, 1 where None.
        size: pixels along each side, from 4.
        sigma: in pixels, above 0.
        dense: voxels instead of projections (3D alone).

    Raises:
        ClipError: size, sigma or dimensions out of range.
    """
    frames, joints, dims = points.shape
    if size < 4 or not sigma > 0:
        raise ClipError(
            f"heatmap: expected a size from 4 and sigma above 0, found {size} and {sigma:g}"
        )
    if dense and dims != 3:
        raise ClipError("heatmap: expected 3D keypoints for dense voxels, found 2D")
    height = np.isfinite(points[..., 0]).astype(np.float32)
    if confidence is not None:
        height = height * confidence.astype(np.float32)
    grid = np.arange(size)
    away = grid - np.nan_to_num(to_pixels(points, size))[..., None]
    # (K, T, D, size): a Gaussian is the product of one along each axis.
    along = np.exp(-(away**2) / (2 * sigma**2)).astype(np.float32).transpose(1, 0, 2, 3)
    height = height.T[..., None]
    if dense:
        x, y, z = along[:, :, 0], along[:, :, 1], along[:, :, 2]
        return (z * height)[..., :, None, None] * y[..., None, :, None] * x[..., None, None, :]
    planes = PLANES[dims]
    out: Float32 = np.empty((joints, len(planes), frames, size, size), np.float32)
    for plane, (u, v) in enumerate(planes):
        rows = (along[:, :, v] * height)[..., :, None]
        np.multiply(rows, along[:, :, u][..., None, :], out=out[:, plane])
    return out.reshape(joints * len(planes), frames, size, size)


def extract_keypoints(
    volume: NDArray[np.floating], dims: int, *, sigma: float = SIGMA
) -> tuple[Float64, Float32]:
    """Peaks of a volume: where they are to a fraction of a pixel, and how high.

    Along each axis the logarithm of a Gaussian is a parabola, which three pixels about the highest
    one fix exactly. In 3D a coordinate is the mean of the two planes that hold it. A peak at the
    volume's border, or beyond it, is found from the pixels inside.

    Args:
        volume: (K, T, H, W), (3 K, T, H, W) or (K, T, D, H, W) with equal sides.
        dims: 2 or 3.
        sigma: of the Gaussians in pixels, for the curvature at the border.

    Returns:
        (T, K, dims) body units, NaN where there is no peak above FLOOR; (T, K) peak heights.
    """
    size = volume.shape[-1]
    if volume.ndim == 5:
        # The largest value along an axis is itself a Gaussian in the two others.
        planes = [volume.max(2), volume.max(4).swapaxes(-1, -2), volume.max(3)]
    else:
        per_joint = len(PLANES[dims])
        stacked = volume.reshape(-1, per_joint, *volume.shape[1:])
        planes = [stacked[:, p] for p in range(per_joint)]
    joints, frames = planes[0].shape[:2]
    total = np.zeros((joints, frames, dims))
    count = np.zeros(dims)
    heights = []
    rise: dict[int, Float64] = {}
    missing = np.zeros((joints, frames), bool)
    for (u, v), plane in zip(PLANES[dims], planes):
        flat = plane.reshape(joints, frames, -1).astype(np.float64)
        best = flat.argmax(-1)
        top = np.take_along_axis(flat, best[..., None], -1)[..., 0]
        row, column = np.divmod(best, size)
        lines_u = np.take_along_axis(plane, row[..., None, None], 2)[:, :, 0].astype(np.float64)
        lines_v = np.take_along_axis(plane, column[..., None, None], 3)[:, :, :, 0].astype(
            np.float64
        )
        at_u, rise_u = _vertex(lines_u, column, sigma)
        at_v, rise_v = _vertex(lines_v, row, sigma)
        total[..., u] += at_u
        total[..., v] += at_v
        count[[u, v]] += 1
        heights.append(top * rise_u * rise_v)
        rise[u], rise[v] = rise_u, rise_v
        missing |= top < FLOOR
    if volume.ndim == 5:
        # Each plane fell short along the axis that it lost, too.
        heights = [top * rise[0] * rise[1] * rise[2]]
    points = from_pixels(total / count, size)
    points[missing] = np.nan
    height = np.where(missing, 0.0, np.mean(heights, axis=0)).astype(np.float32)
    return points.transpose(1, 0, 2), height.T


def _vertex(lines: Float64, at: NDArray[np.int64], sigma: float) -> tuple[Float64, Float64]:
    """Vertex of the parabola through the logarithms about ``at`` in (K, T, size) lines: where, and
    by what factor it is higher than the pixel at ``at``."""
    size = lines.shape[-1]
    middle = np.clip(at, 1, size - 2)
    tiny = 1e-30

    def log_at(i: NDArray[np.int64]) -> Float64:
        return np.log(np.maximum(np.take_along_axis(lines, i[..., None], -1)[..., 0], tiny))

    low, mid, high = log_at(middle - 1), log_at(middle), log_at(middle + 1)
    curve = low - 2 * mid + high
    # Flat or empty: fall back on the curvature that the spread says.
    curve = np.where(np.abs(curve) > 1e-9, curve, -1 / sigma**2)
    offset = np.clip((low - high) / (2 * curve), -size, size)
    vertex = middle + offset
    top = mid - curve * offset**2 / 2
    return vertex, np.exp(np.clip(top - log_at(at), 0, 50))
