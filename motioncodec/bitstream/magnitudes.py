"""Magnitudes of coefficients: what every transform's whole numbers share, whatever their tables.

Rows of them are coded along diagonals: windows side by side, each two frequencies behind the one
before it, so that every one sees what came out about it in its own window and in the one before,
and few rows hold many.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from motioncodec.bitstream.entropy import TOTAL, Coder, Frequencies, code_natural, code_signs
from motioncodec.errors import ContainerError

Integers = NDArray[np.int64]
Float64 = NDArray[np.float64]

SYMBOLS = 18
"""Magnitudes 0 to 16, and 17 for more."""

LARGEST = 4095
"""Magnitudes count as no more than this in contexts."""

LEVELS = 16
"""Levels of activity, at most."""


def steps(count: int) -> Integers:
    """Least whole numbers n of which floor(2 log2(1 + n)) is 1, 2, ... count - 1."""
    return np.ceil(2.0 ** (np.arange(1, count) / 2) - 1e-9).astype(np.int64) - 1


_LEVEL_FROM = steps(LEVELS)


def level_of(activity: Integers, levels: int = LEVELS) -> Integers:
    """Level of an activity: floor(2 log2(1 + activity)), below ``levels``, which are at most
    :data:`LEVELS`."""
    out: Integers = np.searchsorted(_LEVEL_FROM[: levels - 1], activity, side="right")
    return out


def counts_of(given: Integers) -> Integers:
    """(W,) frequencies of each window up to the last that is not all 0, of (W, size, C)."""
    there: NDArray[np.bool_] = np.any(given, axis=2)
    last = there.shape[1] - there[:, ::-1].argmax(axis=1)
    return np.where(there.any(axis=1), last, 0)


def code_counts(coder: Coder, given: Integers, layer: str) -> Integers:
    """Writes :func:`counts_of` (W, size, C), or reads as many.

    Raises:
        ContainerError: there are more than that; it names the ``layer``.
    """
    size = given.shape[1]
    out = np.zeros(len(given), np.int64)
    for window, count in enumerate(counts_of(given).tolist()):
        out[window] = coder.bits(count, size.bit_length())
        if out[window] > size:
            raise ContainerError(
                f"{layer}: expected at most {size} frequencies, found {out[window]}"
            )
    return out


def diagonals(counts: Integers) -> Iterator[tuple[Integers, Integers]]:
    """Rows of windows w and their frequencies t - 2 w, for t = 0, 1, 2 and so on, of windows with
    so many frequencies."""
    every = np.arange(len(counts))
    ends = 2 * every + counts
    for step in range(int(ends.max(initial=0))):
        window = every[(step >= 2 * every) & (step < ends)]
        if len(window):
            yield window, step - 2 * window


def code_magnitudes(coder: Coder, sizes: Integers, frequencies: Frequencies) -> Integers:
    """Magnitudes of any shape, each under its own of (..., :data:`SYMBOLS`) frequencies: symbols,
    then what those above 16 have above it."""
    symbols = np.minimum(sizes, SYMBOLS - 1).reshape(-1)
    got = coder.many(symbols, frequencies.reshape(-1, SYMBOLS)).reshape(sizes.shape).copy()
    for at in np.argwhere(got == SYMBOLS - 1).tolist():
        got[tuple(at)] += code_natural(coder, int(sizes[tuple(at)]) - (SYMBOLS - 1))
    return got


def lengths_of(given: Integers) -> Integers:
    """Bits that the magnitudes of whole numbers have, 0 for 0."""
    found = [size.bit_length() for size in np.abs(given).reshape(-1).tolist()]
    return np.array(found, np.int64).reshape(given.shape)


def code_below(coder: Coder, given: Integers, lengths: Integers) -> Integers:
    """Whole numbers whose magnitudes have so many bits, all but the first of these; then signs."""
    sizes, found = np.abs(given), np.zeros_like(given)
    for place in map(tuple, np.argwhere(lengths > 0).tolist()):
        rest = int(lengths[place]) - 1
        top = 1 << rest
        found[place] = top + coder.bits(int(sizes[place]) & top - 1, rest)
    return code_signs(coder, given, found)


def bits_of(tables: Integers) -> Float64:
    """(N, SYMBOLS) bits of a magnitude and its sign under each of the tables."""
    out: Float64 = np.log2(TOTAL / tables) + (np.arange(SYMBOLS) > 0)
    return out


def cheapest(size: Float64, top: Float64, rows: Integers, bits: Float64, price: float) -> Float64:
    """What magnitudes become: ``top``, one less, or 0, whichever is the least of squared difference
    and price of its bits; those without a symbol of their own stay.

    Args:
        size: exact magnitudes, in steps.
        top: what they are rounded to.
        rows: which table each has.
        bits: of the tables, as of :func:`bits_of`.
        price: of a bit, in squared steps.
    """
    best, least = top, np.full(top.shape, np.inf)
    for tried in (top, np.maximum(top - 1, 0), np.zeros_like(top)):
        symbol = np.minimum(tried, SYMBOLS - 1).astype(np.int64)
        cost = (size - tried) ** 2 + price * bits[rows, symbol]
        best, least = np.where(cost < least, tried, best), np.minimum(cost, least)
    out: Float64 = np.where(top >= SYMBOLS, top, best)
    return out
