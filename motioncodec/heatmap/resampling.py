"""Between a clip's frame rate and the models' 30 frames a second.

Both directions look at a few neighbouring frames only, so a part of a clip resamples to the same
numbers as the whole.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from motioncodec.heatmap.placement import MODEL_RATE

Float64 = NDArray[np.float64]


def model_frames(frames: int, frame_rate: float) -> int:
    """Model frames that reach from a clip's first frame to its last or beyond."""
    if frames == 0:
        return 0
    return math.ceil((frames - 1) * MODEL_RATE / frame_rate - 1e-9) + 1


def to_model_rate(values: Float64, frame_rate: float) -> Float64:
    """(T, ...) without NaN at ``frame_rate`` to (:func:`model_frames`, ...), linearly; what lies
    beyond the last frame, by less than a model frame, goes on straight."""
    count = model_frames(len(values), frame_rate)
    at = np.arange(count) * (frame_rate / MODEL_RATE)
    low = np.minimum((at + 1e-9).astype(np.int64), max(len(values) - 2, 0))
    high = np.minimum(low + 1, len(values) - 1)
    w = (at - low).reshape(-1, *[1] * (values.ndim - 1))
    return values[low] * (1 - w) + values[high] * w


def to_clip_rate(
    values: Float64, frame_rate: float, start: int, stop: int, offset: int = 0
) -> Float64:
    """Model frames to clip frames ``start`` to ``stop``, by Catmull-Rom cubics.

    Args:
        values: (N, ...) without NaN; its first row is model frame ``offset``. Two model frames
            beyond those asked for should be there at either side unless the clip ends.
        frame_rate: the clip's, frames per second.
        start, stop: clip frames, ``stop`` exclusive.
        offset: model frame of ``values[0]``.

    Returns:
        (stop - start, ...).
    """
    at = np.arange(start, stop) * (MODEL_RATE / frame_rate) - offset
    at = np.clip(at, 0, len(values) - 1)
    nearest = np.rint(at)
    at = np.where(np.abs(at - nearest) < 1e-9, nearest, at)
    low = np.floor(at).astype(np.int64)
    f = (at - low).reshape(-1, *[1] * (values.ndim - 1))
    if not f.any():
        return values[low]
    last = len(values) - 1
    p0, p1 = values[np.maximum(low - 1, 0)], values[low]
    p2, p3 = values[np.minimum(low + 1, last)], values[np.minimum(low + 2, last)]
    return p1 + 0.5 * f * (
        p2 - p0 + f * (2 * p0 - 5 * p1 + 4 * p2 - p3 + f * (3 * (p1 - p2) + p3 - p0))
    )
