"""Float32 keypoints and confidences to the bit.

Captures and detections are often written with a few decimals: where all but one value in a hundred
are, whole numbers of them are coded, else float32 in their order (:mod:`motioncodec.prediction`).
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from motioncodec.bitstream.entropy import Encoder
from motioncodec.bitstream.exact import FLOATS, MAX_SCALE, Exact, code_exact
from motioncodec.bitstream.numbers import fresh_tables
from motioncodec.errors import ContainerError
from motioncodec.prediction import find_numbers, values_of

Float32 = NDArray[np.float32]
Float64 = NDArray[np.float64]
Bool = NDArray[np.bool_]

_FEW = 0.01
"""Share of values that may be off the decimals of the others."""


def find_exact(values: Float32, missing: Bool) -> Exact:
    """How (F, K, D) values take the fewest bytes; what is ``missing``, (F, K), may be anything."""
    scales = [FLOATS]
    decimals = _decimals(values[~missing])
    if decimals is not None:
        scales.append(decimals + 1)
    found = [_with_scale(values, missing, scale) for scale in scales]
    if len(found) == 2 and not len(found[1].strays):
        return found[1]
    return min(found, key=lambda one: _size(one, missing))


def _size(one: Exact, missing: Bool) -> int:
    coder = Encoder()
    code_exact(coder, one, ~missing, fresh_tables(), [-1] * missing.shape[1])
    return len(coder.finish())


def _decimals(values: Float32) -> int | None:
    """The least number of decimals that nearly all values have, if float32 holds more of them."""
    if not values.size:
        return None
    exact = values.astype(np.float64)
    largest = float(np.quantile(np.abs(exact), 0.999))
    for decimals in range(MAX_SCALE):
        if 10.0**-decimals < 4 * 2.0**-23 * largest:
            return None
        whole = np.rint(exact * 10.0**decimals)
        off = (whole / 10.0**decimals).astype(np.float32) != values
        if off.mean() <= _FEW:
            return decimals
    return None


def _with_scale(values: Float32, missing: Bool, scale: int) -> Exact:
    points = np.where(missing[..., None], np.float32(np.nan), values).astype(np.float64)
    if scale != FLOATS:
        points = np.rint(points * 10.0 ** (scale - 1))
    none = np.zeros(0, np.int64)
    numbers = find_numbers(points, scale == FLOATS)
    words = np.ascontiguousarray(values).view(np.uint32)
    out = Exact(scale, numbers, none, words.ravel()[:0], words[missing].ravel())
    strays = np.flatnonzero(exact_values(out, missing).view(np.uint32).ravel() != words.ravel())
    return Exact(scale, numbers, strays, words.ravel()[strays], out.gone)


def exact_values(one: Exact, missing: Bool) -> Float32:
    """(F, K, D) float32, to the bit.

    Raises:
        ContainerError: no encoder wrote such numbers.
    """
    found = values_of(one.numbers, ~missing)
    if one.scale != FLOATS:
        found = found / 10.0 ** (one.scale - 1)
    with np.errstate(over="ignore"):
        out: Float32 = found.astype(np.float32)
    words = out.view(np.uint32)
    words[missing] = one.gone.reshape(-1, out.shape[-1])
    if len(one.strays):
        words.ravel()[one.strays] = one.words
    if np.isnan(out[~missing]).any():
        raise ContainerError("exact: expected numbers where nothing is missing, found others")
    return out
