"""Keypoints as whole numbers, exactly: what each coordinate differs by from what foretells it.

What fine bounds and lossless files take: there, what is left of a motion is noise, which no
transform makes smaller. A coordinate is foretold by those before it, or, where joints are rigidly
linked, by other joints of the same frame (:mod:`motioncodec.prediction` has the arithmetic). The
difference is coded under a table that is chosen by how large those before it were, on the whole and
of late, and that adapts.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache
from importlib.resources import files

import numpy as np
from numpy.typing import NDArray

from motioncodec.bitstream.beginnings import code_beginning, code_early_beginning
from motioncodec.bitstream.entropy import (
    TOTAL,
    AdaptiveTables,
    Coder,
    code_natural,
    code_signs,
)
from motioncodec.bitstream.foretold import BLOCK, LINKED, MOST, OWN, Numbers
from motioncodec.errors import ContainerError

Float64 = NDArray[np.float64]
Integers = NDArray[np.int64]
Bool = NDArray[np.bool_]

LEVELS, TRENDS, SYMBOLS = 40, 3, 40
"""Tables: by level of the differences before, three to an octave, and whether the last ones were
smaller or larger; of 39 sizes, and one for all beyond. From level 40 on, those of 37 to 39 again,
for sizes that are an octave larger with every third level."""

MOST_LEVELS = 106

_UNIT = 256
"""What a difference of 1 counts as in the running means."""

_LARGEST = 1 << 34
"""Differences count as no more than this in them."""

_FROM = np.ceil(_UNIT / 4 * (2.0 ** (np.arange(1, MOST_LEVELS) / 3) - 1) - 1e-6).astype(np.int64)

SIZES = np.array([*range(8), *(2**k * half // 2 for k in range(3, 43) for half in (2, 3))])
"""Least difference of each size: 0 to 7 by themselves, from there two sizes to an octave."""

_BITS = np.array([0] * 8 + [k - 1 for k in range(3, 43) for _ in range(2)])
"""Bits that tell differences of a size apart."""

_MIDDLES = SIZES + (1 << _BITS) // 2
"""What a difference of each size counts as in the running means."""

_TABLES = np.where(
    np.arange(MOST_LEVELS) < LEVELS,
    np.arange(MOST_LEVELS),
    LEVELS - 3 + (np.arange(MOST_LEVELS) - LEVELS) % 3,
)

_BASES = 2 * np.maximum((np.arange(MOST_LEVELS) - LEVELS + 3) // 3, 0)
"""Size of symbol 0 by level, which stands for all smaller ones too."""

_ADAPT = 8
"""Frames after which tables take in what they coded."""

_GAIN = 512
"""What a symbol counts as there, beside the 65,536 that a table starts with."""


@cache
def tables() -> Integers:
    """(2, LEVELS, TRENDS, SYMBOLS) frequencies: foretold by itself, by other joints."""
    raw = (files("motioncodec.bitstream") / "numbers.bin").read_bytes()
    return np.frombuffer(raw, "<u2").reshape(2, LEVELS, TRENDS, SYMBOLS).astype(np.int64)


def fresh_tables() -> AdaptiveTables:
    """Frequencies that begin as :func:`tables` and become those of the differences at hand; of all
    people of a chunk, one after the other."""
    return AdaptiveTables(tables().reshape(-1, SYMBOLS), _GAIN)


def later_there(present: Bool) -> Bool:
    """(F, K): the joint is there, and was before in this chunk."""
    out: Bool = present & (np.cumsum(present, axis=0) > 1)
    return out


def linked_there(numbers: Numbers, present: Bool) -> Bool:
    """(F, K): other joints foretell this one, being there themselves, and it is not its first."""
    frames = len(present)
    out: Bool = np.repeat(numbers.forms > OWN, BLOCK, axis=0)[:frames] & later_there(present)
    for joint, link in enumerate(numbers.links):
        if link is None:
            out[:, joint] = False
        else:
            for partner in link.partners:
                out[:, joint] &= present[:, partner]
    return out


class _Means:
    """Running means of the magnitudes of differences: over some eight, and over some two. Of each
    joint a column for every coordinate, and one for what other joints foretold.

    Args:
        later: (F, K) joints that have differences.
        by_others: (F, K, D) which of them other joints foretell.
    """

    def __init__(self, later: Bool, by_others: Bool) -> None:
        joints, self.dims = by_others.shape[1:]
        self.by_others = by_others
        count = by_others.sum(axis=2, keepdims=True)
        self.alone = np.maximum(self.dims - count, 1)
        self.told = np.maximum(count, 1)
        mine = later[..., None]
        some_alone = np.broadcast_to(mine & (count < self.dims), by_others.shape)
        self.moved = np.concatenate([some_alone, mine & (count > 0)], axis=2)
        self.slow = np.full((joints, self.dims + 1), _UNIT, np.int64)
        self.fast = np.full((joints, self.dims + 1), _UNIT, np.int64)

    def contexts(self, frame: int) -> tuple[Integers, Integers]:
        """(K, D) level and trend of the differences that come."""
        dims, by_others = self.dims, self.by_others[frame]
        slow = self.slow[:, :dims]
        joint = np.add.reduce(slow, axis=1, keepdims=True) // dims
        lately = np.add.reduce(self.fast[:, :dims], axis=1, keepdims=True) // dims
        mean = np.where(by_others, self.slow[:, dims:], (slow + joint) >> 1)
        lately = 2 * np.where(by_others, self.fast[:, dims:], lately)
        past = np.where(by_others, self.slow[:, dims:], slow)
        level: Integers = _FROM.searchsorted(mean, side="right")
        trend: Integers = 1 - (lately < past) + (lately > 4 * past)
        return level, trend

    def update(self, frame: int, magnitudes: Integers) -> None:
        """Takes (K, D) magnitudes. A coordinate that other joints foretold counts as the mean of
        those that they did not."""
        by_others = self.by_others[frame]
        scaled = np.minimum(magnitudes, _LARGEST) * _UNIT
        told = np.where(by_others, scaled, 0)
        total = np.add.reduce(scaled, axis=1, keepdims=True)
        others = np.add.reduce(told, axis=1, keepdims=True)
        own = (total - others) // self.alone[frame]
        seen = np.concatenate(
            [np.where(by_others, own, scaled), others // self.told[frame]], axis=1
        )
        moved = self.moved[frame]
        self.slow += np.where(moved, (seen - self.slow) >> 3, 0)
        self.fast += np.where(moved, (seen - self.fast) >> 1, 0)


def by_others_of(numbers: Numbers, present: Bool) -> Bool:
    """(F, K, D): which coordinates other joints foretell."""
    dims = numbers.first.shape[1]
    forms = np.repeat(numbers.forms, BLOCK, axis=0)[: len(present)]
    forms = np.where(linked_there(numbers, present), forms, OWN)
    out: Bool = (forms == LINKED)[..., None] | ((forms[..., None] - 1) // 2 == np.arange(dims)) & (
        forms != OWN
    )[..., None]
    return out


def code_numbers(
    coder: Coder,
    given: Numbers,
    present: Bool,
    shared: AdaptiveTables,
    covered: Sequence[int] | None = None,
) -> Numbers:
    """Writes numbers and returns them, or reads as many.

    What they begin with (:mod:`motioncodec.bitstream.beginnings`); symbols of all differences,
    frame by frame; then what is left of them: sizes beyond the last symbol, bits, signs.

    Args:
        coder: either direction.
        given: :meth:`Numbers.empty` to read.
        present: (F, K).
        shared: tables, which adapt.
        covered: for each joint the canonical one that it is, or -1; None in early files, whose
            numbers begin otherwise.
    """
    frames, joints, dims = given.differences.shape
    out = Numbers.empty(frames, joints, dims, given.floats, given.learned)
    if not present.any():
        return out
    if covered is None:
        code_early_beginning(coder, given, out, present)
    else:
        code_beginning(coder, given, out, present, covered)
    later = later_there(present)
    wanted = np.searchsorted(SIZES, np.abs(given.differences), side="right") - 1
    bases = np.zeros_like(given.differences)
    found = np.zeros_like(bases)

    def code(frame: int, rows: Integers, base: Integers, here: Bool) -> Integers:
        bases[frame] = base
        symbols = np.minimum(np.maximum(wanted[frame] - base, 0), SYMBOLS - 1)
        symbols = (symbols if here.all() else symbols[here]).reshape(-1)
        got = coder.many(symbols, shared.frequencies[rows])
        found[frame, here] = got.reshape(-1, dims)
        return got

    _walk(out, present, shared, code)
    symbols, base = found[later], bases[later]
    mine, wanted = np.abs(given.differences[later]), wanted[later]
    sizes = symbols + base
    for i, k in np.argwhere(symbols == SYMBOLS - 1).tolist():
        more = code_natural(coder, int(wanted[i, k] - sizes[i, k]))
        if sizes[i, k] + more >= len(SIZES):
            raise ContainerError(f"numbers: expected {len(SIZES)} sizes, found a larger one")
        sizes[i, k] += more
    below = (symbols == 0) & (base > 0)
    least = np.where(below, 0, SIZES[sizes])
    bits = np.where(below, _WIDTHS[base], _BITS[sizes])
    values = code_signs(
        coder, given.differences[later], least + _code_ends(coder, mine - least, bits)
    )
    if np.abs(values).max(initial=0) > MOST:
        raise ContainerError(f"numbers: expected differences below {MOST}, found larger ones")
    out.differences[later] = values
    return out


_WIDTHS = np.array([int(SIZES[base + 1] - 1).bit_length() for base in range(len(SIZES) - 1)])
"""Bits of a difference below the sizes of a base and one more."""


def _walk(
    numbers: Numbers,
    present: Bool,
    shared: AdaptiveTables,
    code: Callable[[int, Integers, Integers, Bool], Integers],
) -> None:
    """Goes through the frames: ``code`` is given each one, (n D,) tables of the differences there,
    (K, D) sizes of their symbols 0 and which joints have some, and gives symbols."""
    dims = numbers.first.shape[1]
    later = later_there(present)
    by_others = by_others_of(numbers, present)
    means = _Means(later, by_others)
    kinds = by_others.astype(np.int64) * LEVELS
    rows_since: list[Integers] = []
    symbols_since: list[Integers] = []
    for frame in range(len(present)):
        here = later[frame]
        if here.any():
            level, trend = means.contexts(frame)
            whole = bool(here.all())
            rows = (kinds[frame] + _TABLES[level]) * TRENDS + trend
            rows = (rows if whole else rows[here]).reshape(-1)
            base = _BASES[level]
            symbols = code(frame, rows, base, here)
            if whole:
                sizes = symbols.reshape(base.shape)
            else:
                sizes = np.zeros_like(base)
                sizes[here] = symbols.reshape(-1, dims)
            based = base > 0
            middles = _MIDDLES[sizes + base]
            if based.any():
                middles[based & (sizes == 0)] = 0
            means.update(frame, middles)
            rows_since.append(rows)
            symbols_since.append(symbols)
        if frame % _ADAPT == _ADAPT - 1 and rows_since:
            shared.adapt(np.concatenate(rows_since), np.concatenate(symbols_since))
            rows_since, symbols_since = [], []


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


def count_contexts(given: Numbers, present: Bool) -> Integers:
    """(2, LEVELS, TRENDS, SYMBOLS) how often each table would have coded each symbol: what the
    tables are fitted to."""
    counts = np.zeros((2 * LEVELS * TRENDS, SYMBOLS), np.int64)
    wanted = np.searchsorted(SIZES, np.abs(given.differences), side="right") - 1

    def count(frame: int, rows: Integers, base: Integers, here: Bool) -> Integers:
        symbols: Integers = np.clip(wanted[frame] - base, 0, SYMBOLS - 1)[here].reshape(-1)
        np.add.at(counts, (rows, symbols), 1)
        return symbols

    _walk(given, present, fresh_tables(), count)
    return counts.reshape(2, LEVELS, TRENDS, SYMBOLS)
