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

_COUNTED = np.minimum(SIZES + (1 << _BITS) // 2, _LARGEST) * _UNIT
"""What a difference of each size counts as in the running means."""

_SHIFTS = np.array([3, 1])[:, None, None]
"""By how much slow and fast ones are moved: an eighth and half of what is new."""

_ROWS = TRENDS * np.where(
    np.arange(MOST_LEVELS) < LEVELS,
    np.arange(MOST_LEVELS),
    LEVELS - 3 + (np.arange(MOST_LEVELS) - LEVELS) % 3,
)
"""The first table of each level."""

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
    joint one for every coordinate, and one for what other joints foretold.

    Args:
        later: (F, K) joints that have differences.
        by_others: (F, K, D) which of them other joints foretell.
    """

    def __init__(self, later: Bool, by_others: Bool) -> None:
        joints, self.dims = by_others.shape[1:]
        count = by_others.sum(axis=2)
        self._any_told = np.asarray(by_others.any(axis=(1, 2))).tolist()
        self._told = by_others.astype(np.int64)
        self._by_others = by_others
        self._counts = np.maximum(np.stack([self.dims - count, count], axis=1), 1)[..., None]
        some_alone = np.broadcast_to((later & (count < self.dims))[..., None], by_others.shape)
        told = (later & (count > 0))[..., None]
        self._moved = np.concatenate([some_alone, told], axis=2).astype(np.int64)
        # Slow ones, then fast ones; of each joint those of its coordinates, of what is told of it,
        # and the mean of the former.
        size = self.dims + 2
        self._state = np.full((2, joints, size), _UNIT, np.int64)
        self._seen = np.zeros((joints, self.dims + 1), np.int64)
        self._parts = np.zeros((2, joints, self.dims), np.int64)
        # Where a coordinate finds its own slow one, and the joint's, slow and fast; or that of what
        # is told for all three.
        own = np.where(by_others, self.dims, np.arange(self.dims))
        about = np.where(by_others, self.dims, self.dims + 1)
        joint = np.arange(joints)[:, None] * size
        self._at = np.stack([own + joint, about + joint, about + joint + joints * size], axis=1)

    def contexts(self, frame: int) -> tuple[Integers, Integers]:
        """(K, D) level of the differences that come, and their trend less 1."""
        state = self._state
        sums = np.add.reduce(state[:, :, : self.dims], axis=2)
        np.floor_divide(sums, self.dims, out=state[:, :, -1])
        past, about, lately = state.reshape(-1)[self._at[frame]]
        about += past
        about >>= 1
        level = np.asarray(_FROM.searchsorted(about, side="right"))
        lately += lately
        falls = np.less(lately, past)
        past <<= 2
        trend = np.greater(lately, past).view(np.int8) - falls.view(np.int8)
        return level, trend

    def update(self, frame: int, seen: Integers) -> None:
        """Takes (K, D) magnitudes, as :data:`_COUNTED` has them. A coordinate that other joints
        foretold counts as the mean of those that they did not."""
        dims, state, out = self.dims, self._state[:, :, :-1], self._seen
        if self._any_told[frame]:
            alone, told = self._parts
            np.multiply(seen, self._told[frame], out=told)
            np.subtract(seen, told, out=alone)
            means = np.add.reduce(self._parts, axis=2, keepdims=True) // self._counts[frame]
            out[:, :dims] = np.where(self._by_others[frame], means[0], seen)
            out[:, dims:] = means[1]
        else:
            out[:, :dims] = seen
        state += ((out - state) >> _SHIFTS) * self._moved[frame]


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
    usual = np.minimum(wanted, SYMBOLS - 1)
    bases = np.zeros_like(given.differences)
    found = np.zeros_like(bases)

    def code(frame: int, rows: Integers, base: Integers | None, here: Bool | None) -> Integers:
        symbols = usual[frame]
        if base is not None:
            bases[frame] = base
            symbols = np.clip(wanted[frame] - base, 0, SYMBOLS - 1)
        symbols = symbols if here is None else symbols[here]
        got = shared.code(coder, rows, symbols.reshape(-1))
        found[frame, slice(None) if here is None else here] = got.reshape(-1, dims)
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
    code: Callable[[int, Integers, Integers | None, Bool | None], Integers],
) -> None:
    """Goes through the frames: ``code`` is given each one, (n D,) tables of the differences there,
    (K, D) sizes of their symbols 0, None where all are 0, and which joints have some, None for all;
    and gives symbols."""
    dims = numbers.first.shape[1]
    later = later_there(present)
    by_others = by_others_of(numbers, present)
    means = _Means(later, by_others)
    # The trend that means give is less 1.
    kinds = by_others.astype(np.int64) * LEVELS * TRENDS + 1
    any_later = np.asarray(later.any(axis=1)).tolist()
    all_later = np.asarray(later.all(axis=1)).tolist()
    rows_since: list[Integers] = []
    symbols_since: list[Integers] = []
    for frame in range(len(present)):
        if any_later[frame]:
            here = None if all_later[frame] else later[frame]
            level, trend = means.contexts(frame)
            rows = kinds[frame] + _ROWS[level] + trend
            rows = (rows if here is None else rows[here]).reshape(-1)
            base = _BASES[level] if level.max() >= LEVELS else None
            symbols = code(frame, rows, base, here)
            if here is None:
                sizes = symbols.reshape(level.shape)
            else:
                sizes = np.zeros_like(level)
                sizes[here] = symbols.reshape(-1, dims)
            if base is None:
                counted = _COUNTED[sizes]
            else:
                counted = _COUNTED[sizes + base]
                counted[(base > 0) & (sizes == 0)] = 0
            means.update(frame, counted)
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

    def count(frame: int, rows: Integers, base: Integers | None, here: Bool | None) -> Integers:
        symbols = wanted[frame] if base is None else wanted[frame] - base
        symbols = np.clip(symbols, 0, SYMBOLS - 1)
        symbols = (symbols if here is None else symbols[here]).reshape(-1)
        np.add.at(counts, (rows, symbols), 1)
        return symbols

    _walk(given, present, fresh_tables(), count)
    return counts.reshape(2, LEVELS, TRENDS, SYMBOLS)
