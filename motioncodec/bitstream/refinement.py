"""What tokens and curves leave over, as whole numbers: coefficients of a lapped transform, and
corrections of the few samples that are still further off than the bound.

Coefficients are coded window by window and frequency by frequency, all channels of one frequency
in a row, each under a static table that is chosen by what is known about it: its band, the class of
its channel, and how large its neighbours came out.
"""

from __future__ import annotations

from functools import cache
from importlib.resources import files

import numpy as np
from numpy.typing import NDArray

from motioncodec.bitstream.entropy import TOTAL, Coder, code_natural, code_signs
from motioncodec.errors import ContainerError

Integers = NDArray[np.int64]

BANDS, CLASSES, LEVELS, SYMBOLS = 12, 8, 16, 18
"""Tables: by band of frequency, class of channel, level of activity; of magnitudes 0 to 16, and 17
for more."""

TRANSLATION, PLAIN = 6, 7
"""Classes of channels that are no principal component of a pose; those have class rank / 10."""

_LARGEST = 1 << 20
"""Magnitudes count as no more than this in contexts."""


def _steps(count: int) -> Integers:
    """Least whole numbers n of which floor(2 log2(1 + n)) is 1, 2, ... count - 1."""
    return np.ceil(2.0 ** (np.arange(1, count) / 2) - 1e-9).astype(np.int64) - 1


_LEVEL_FROM = _steps(LEVELS)
_BAND_FROM = _steps(BANDS)


def level_of(activity: Integers) -> Integers:
    """Level of an activity: floor(2 log2(1 + activity)), at most :data:`LEVELS` - 1."""
    out: Integers = np.searchsorted(_LEVEL_FROM, activity, side="right")
    return out


@cache
def tables() -> Integers:
    """(BANDS, CLASSES, LEVELS, SYMBOLS) frequencies."""
    raw = (files("motioncodec.bitstream") / "refinement.bin").read_bytes()
    shape = (BANDS, CLASSES, LEVELS, SYMBOLS)
    return np.frombuffer(raw, "<u2").reshape(shape).astype(np.int64)


def activity_of(row: Integers, second: Integers, before: Integers) -> Integers:
    """(C,) activity about the magnitudes of one frequency.

    Args:
        row, second: (C,) magnitudes of the frequency below, and of the one below that.
        before: (2, C) magnitudes in the window before, of this frequency and of the next.
    """
    wide = np.zeros(len(row) + 5, np.int64)
    wide[3:-2] = np.cumsum(row)
    wide[-2:] = wide[-3]
    near = wide[5:] - wide[:-5]
    out: Integers = 3 * row + 2 * second + 2 * before[0] + before[1] + near
    return out


def code_coefficients(coder: Coder, given: Integers, classes: Integers) -> Integers:
    """Writes (W, size, C) coefficients and returns them, or reads as many.

    Each window: how many frequencies it has, up to the last that is not all 0; magnitudes by
    frequency; then signs of what is not 0, and what magnitudes are above 17.

    Args:
        coder: either direction.
        given: coefficients; zeros to read.
        classes: (C,) of the channels.
    """
    windows, size, channels = given.shape
    out = np.zeros_like(given)
    before = np.zeros((size + 1, channels), np.int64)
    all_tables = tables()
    for window in range(windows):
        mine = given[window]
        there = np.flatnonzero(mine.any(axis=1))
        count = code_natural(coder, int(there[-1]) + 1 if len(there) else 0)
        if count > size:
            raise ContainerError(f"refinement: expected at most {size} frequencies, found {count}")
        magnitudes = np.minimum(np.abs(mine[:count]), SYMBOLS - 1)
        found = np.zeros((count, channels), np.int64)
        row = second = np.zeros(channels, np.int64)
        bands = np.searchsorted(_BAND_FROM, np.arange(count), side="right")
        for k in range(count):
            level = level_of(activity_of(row, second, before[k : k + 2]))
            frequencies = all_tables[bands[k], classes, level]
            found[k] = coder.many(magnitudes[k], frequencies)
            second, row = row, found[k]
        far = np.argwhere(found == SYMBOLS - 1)
        for k, channel in far.tolist():
            more = code_natural(coder, abs(int(mine[k, channel])) - (SYMBOLS - 1))
            found[k, channel] = SYMBOLS - 1 + more
        out[window, :count] = code_signs(coder, mine[:count], found)
        before = np.zeros((size + 1, channels), np.int64)
        before[:count] = np.minimum(found, _LARGEST)
    return out


def count_contexts(given: Integers, classes: Integers) -> Integers:
    """(BANDS, CLASSES, LEVELS, SYMBOLS) how often each table would have coded each symbol: what the
    tables are fitted to."""
    counts = np.zeros((BANDS, CLASSES, LEVELS, SYMBOLS), np.int64)
    magnitudes = np.minimum(np.abs(given), _LARGEST)
    nothing = np.zeros_like(magnitudes[:1, 0])
    before = np.zeros((given.shape[1] + 1, given.shape[2]), np.int64)
    for window in magnitudes:
        there = np.flatnonzero(window.any(axis=1))
        row = second = nothing[0]
        for k in range(int(there[-1]) + 1 if len(there) else 0):
            level = level_of(activity_of(row, second, before[k : k + 2]))
            band = int(np.searchsorted(_BAND_FROM, k, side="right"))
            at = (np.full(len(classes), band), classes, level, np.minimum(window[k], SYMBOLS - 1))
            np.add.at(counts, at, 1)
            row, second = window[k], row
        before[:-1] = window
    return counts


SHARES = 8
"""Shares of corrected samples are told as 2^(-i / 8)."""


def _odds(index: int) -> int:
    return min(max(int(np.rint(TOTAL * 2.0 ** (-index / SHARES))), 1), TOTAL - 1)


def _share(flags: NDArray[np.bool_]) -> int:
    """Index of the share of True among flags, 0 to 127."""
    share = max(float(flags.mean()), 2.0**-15) if len(flags) else 2.0**-15
    return int(np.clip(np.rint(-SHARES * np.log2(share)), 1, 127))


def code_corrections(coder: Coder, given: Integers, present: NDArray[np.bool_]) -> Integers:
    """Writes (F, K, D) corrections, most of them 0, and returns them, or reads as many: a bit,
    whether there are any; shares of samples that have one, where the same joint had none in the
    frame before and where it had one; a flag for each present joint of each frame; magnitudes,
    their signs and what they have above 17.

    Args:
        coder: either direction.
        given: corrections; zeros to read.
        present: (F, K).
    """
    out = np.zeros_like(given)
    flags = (given != 0).any(axis=-1) & present
    if not coder.bits(int(flags.any()), 1):
        return out
    last = np.concatenate([np.zeros_like(flags[:1]), flags[:-1]])
    odds = np.empty((2, 2), np.int64)
    for row, before in zip(odds, (False, True)):
        row[1] = _odds(coder.bits(_share(flags[present & (last == before)]), 7))
        row[0] = TOTAL - row[1]
    found = np.zeros_like(flags)
    had = np.zeros(flags.shape[1], np.int64)
    for frame in range(len(flags)):
        here = present[frame]
        got = coder.many(flags[frame, here].astype(np.int64), odds[had[here]])
        found[frame, here] = got > 0
        had = found[frame].astype(np.int64)
    mine = given[found]
    table = np.broadcast_to(_MAGNITUDES, (mine.size, SYMBOLS))
    sizes = np.minimum(np.abs(mine), SYMBOLS - 1).reshape(-1)
    sizes = coder.many(sizes, table).copy() if len(sizes) else sizes
    for i in np.flatnonzero(sizes == SYMBOLS - 1).tolist():
        sizes[i] += code_natural(coder, abs(int(mine.reshape(-1)[i])) - (SYMBOLS - 1))
    sizes = sizes.reshape(mine.shape)
    out[found] = code_signs(coder, mine, sizes)
    return out


_MAGNITUDES = np.array(
    [38_000, 24_000, 2_600, 500, 200, 80, 40, 30, 20, 15, 12, 10, 8, 6, 5, 4, 3, 3], np.int64
)
"""Frequencies of a correction's magnitudes."""
