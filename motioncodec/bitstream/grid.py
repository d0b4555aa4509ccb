"""Keypoints on a grid, as whole numbers: second differences over time, each under a static table
that is chosen by how large the differences before it were, on the whole and of late.

What fine bounds take: there, what is left of a motion is noise, which no transform makes smaller.
Decoding is exact. A keypoint that is missing is passed over, and differences are those of the
frames in which it is there.
"""

from __future__ import annotations

from functools import cache
from importlib.resources import files

import numpy as np
from numpy.typing import NDArray

from motioncodec.bitstream.entropy import TOTAL, Coder, code_natural, code_signed, code_signs
from motioncodec.errors import ContainerError

Integers = NDArray[np.int64]
Bool = NDArray[np.bool_]

LEVELS, TRENDS, SYMBOLS = 40, 3, 40
"""Tables: by level of the differences before, three to an octave, and whether the last ones were
smaller or larger; of 0 to 38, and 39 for more."""

_UNIT = 256
"""What a difference of 1 counts as in the running means."""

_LARGEST = 1 << 24
"""Differences count as no more than this in them."""

_MOST = 1 << 40
"""Numbers are below this."""

_FROM = np.ceil(_UNIT / 4 * (2.0 ** (np.arange(1, LEVELS) / 3) - 1) - 1e-9).astype(np.int64)

_SHIFTS = np.maximum((np.arange(LEVELS) - 15) // 3, 0)
"""Bits at the end of a difference that are written as they are, by level."""


@cache
def tables() -> Integers:
    """(LEVELS, TRENDS, SYMBOLS) frequencies."""
    raw = (files("motioncodec.bitstream") / "grid.bin").read_bytes()
    return np.frombuffer(raw, "<u2").reshape(LEVELS, TRENDS, SYMBOLS).astype(np.int64)


class _Means:
    """Running means of the magnitudes of (K, D) differences: over some eight, and over some two."""

    def __init__(self, joints: int, dims: int) -> None:
        self.slow = np.full((joints, dims), _UNIT, np.int64)
        self.fast = np.full((joints, dims), _UNIT, np.int64)

    def contexts(self) -> tuple[Integers, Integers]:
        """(K, D) level and trend of the differences that come."""
        joint = self.slow.sum(axis=1, keepdims=True) // self.slow.shape[1]
        level = np.searchsorted(_FROM, (self.slow + joint) // 2, side="right")
        lately = self.fast.sum(axis=1, keepdims=True) // self.fast.shape[1]
        trend = 1 - (2 * lately < self.slow) + (lately > 2 * self.slow)
        return level, trend

    def update(self, here: Bool, magnitudes: Integers) -> None:
        """Takes (n, D) magnitudes of the joints that are here."""
        scaled = np.minimum(magnitudes, _LARGEST) * _UNIT
        self.slow[here] += (scaled - self.slow[here]) >> 3
        self.fast[here] += (scaled - self.fast[here]) >> 1


def _differences(given: Integers, present: Bool) -> Integers:
    """(F, K, D) numbers to differences: of each joint the first is 0, the second the first
    difference, the others second differences, over the frames in which it is there."""
    out = np.zeros_like(given)
    for joint in range(given.shape[1]):
        here = present[:, joint]
        mine = np.diff(given[here, joint], axis=0)
        out[np.flatnonzero(here)[1:], joint] = np.concatenate([mine[:1], np.diff(mine, axis=0)])
    return out


def _summed(differences: Integers, first: Integers, present: Bool) -> Integers:
    """Inverse of :func:`_differences`, with the first number (K, D) of each joint."""
    out = np.zeros_like(differences)
    for joint in range(differences.shape[1]):
        here = present[:, joint]
        steps = np.cumsum(differences[here, joint], axis=0)
        out[here, joint] = first[joint] + np.cumsum(steps, axis=0)
    return out


def code_grid(coder: Coder, given: Integers, present: Bool) -> Integers:
    """Writes (F, K, D) numbers and returns them, 0 where missing, or reads as many.

    First numbers, as many bits each as they need about the first joint's; then symbols of all
    differences, frame by frame; then what is left of them: more for those beyond the last symbol,
    bits at the end, signs.

    Args:
        coder: either direction.
        given: numbers; zeros to read.
        present: (F, K).
    """
    frames, joints, dims = given.shape
    if not present.any():
        return np.zeros_like(given)
    first = _code_first(coder, given, present)
    differences = _differences(given, present)
    later = present & (np.cumsum(present, axis=0) > 1)
    means = _Means(joints, dims)
    found = np.zeros_like(given)
    shifts = np.zeros_like(given)
    all_tables = tables()
    for frame in range(frames):
        here = later[frame]
        if not here.any():
            continue
        level, trend = means.contexts()
        level, trend = level[here].reshape(-1), trend[here].reshape(-1)
        shift = _SHIFTS[level]
        sizes = np.abs(differences[frame, here]).reshape(-1) >> shift
        symbols = coder.many(np.minimum(sizes, SYMBOLS - 1), all_tables[level, trend])
        found[frame, here] = symbols.reshape(-1, dims)
        shifts[frame, here] = shift.reshape(-1, dims)
        means.update(here, (symbols << shift).reshape(-1, dims))
    sizes, shifts = found[later], shifts[later]
    mine = np.abs(differences[later])
    for i, k in np.argwhere(sizes == SYMBOLS - 1).tolist():
        more = code_natural(coder, int(mine[i, k] >> shifts[i, k]) - (SYMBOLS - 1))
        sizes[i, k] += more
    sizes = (sizes << shifts) + _code_ends(coder, mine, shifts)
    sizes = code_signs(coder, differences[later], sizes)
    if np.abs(sizes).max(initial=0) > _MOST:
        raise ContainerError(f"grid: expected differences below {_MOST}, found larger ones")
    out = np.zeros_like(given)
    out[later] = sizes
    out = _summed(out, first, present)
    if np.abs(out).max() > _MOST:
        raise ContainerError(f"grid: expected numbers below {_MOST}, found larger ones")
    return out


def _code_first(coder: Coder, given: Integers, present: Bool) -> Integers:
    """(K, D) first numbers; 0 for a joint that is never there."""
    _, joints, dims = given.shape
    seen = present.any(axis=0)
    first = given[present.argmax(axis=0), np.arange(joints)]
    some = np.flatnonzero(seen)
    middle = np.array([code_signed(coder, int(v)) for v in first[some[0]]], np.int64)
    apart = np.abs(first[some[1:]] - middle).max(initial=0)
    bits = coder.bits(int(apart).bit_length(), 6)
    if bits > 41:
        raise ContainerError(f"grid: expected at most 41 bits, found {bits}")
    out = np.zeros((joints, dims), np.int64)
    out[some[0]] = middle
    half = (1 << bits) - 1
    for joint in some[1:].tolist():
        for k in range(dims):
            told = coder.bits(int(first[joint, k] - middle[k]) + half & (2 << bits) - 1, bits + 1)
            out[joint, k] = middle[k] + told - half
    return out


def _code_ends(coder: Coder, given: Integers, shifts: Integers) -> Integers:
    """The last bits of (n, D) magnitudes, as many as ``shifts`` says: those of one number of bits
    after those of fewer, 8 at a time, low ones first."""
    out = np.zeros_like(given)
    for shift in np.unique(shifts[shifts > 0]).tolist():
        chosen = shifts == shift
        mine = given[chosen]
        found = np.zeros_like(mine)
        for low in range(0, shift, 8):
            width = 1 << min(8, shift - low)
            even = np.full((len(mine), width), TOTAL // width, np.int64)
            found |= coder.many(mine >> low & (width - 1), even) << low
        out[chosen] = found
    return out


def count_contexts(given: Integers, present: Bool) -> Integers:
    """(LEVELS, TRENDS, SYMBOLS) how often each table would have coded each symbol: what the tables
    are fitted to."""
    counts = np.zeros((LEVELS, TRENDS, SYMBOLS), np.int64)
    differences = _differences(given, present)
    later = present & (np.cumsum(present, axis=0) > 1)
    means = _Means(*given.shape[1:])
    for frame in range(len(given)):
        here = later[frame]
        level, trend = means.contexts()
        shift = _SHIFTS[level[here]]
        symbols = np.minimum(np.abs(differences[frame, here]) >> shift, SYMBOLS - 1)
        np.add.at(counts, (level[here], trend[here], symbols), 1)
        means.update(here, symbols << shift)
    return counts
