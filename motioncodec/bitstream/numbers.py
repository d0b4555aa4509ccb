"""Keypoints as whole numbers, exactly: what each coordinate differs by from what foretells it.

What fine bounds and lossless files take: there, what is left of a motion is noise, which no
transform makes smaller. A coordinate is foretold by those before it, or, where joints are rigidly
linked, by other joints of the same frame (:mod:`motioncodec.prediction` has the arithmetic). The
difference is coded under a table that is chosen by how large those before it were, on the whole and
of late, and that adapts.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

import numpy as np
from numpy.typing import NDArray

from motioncodec.bitstream.entropy import (
    TOTAL,
    AdaptiveTables,
    Coder,
    code_natural,
    code_signed,
    code_signs,
)
from motioncodec.errors import ContainerError

Float64 = NDArray[np.float64]
Integers = NDArray[np.int64]
Bool = NDArray[np.bool_]

BLOCK = 32
"""Frames that are foretold in one way."""

LEVELS, TRENDS, SYMBOLS = 40, 3, 40
"""Tables: by level of the differences before, three to an octave, and whether the last ones were
smaller or larger; of 39 sizes, and one for all beyond. From level 40 on, those of 37 to 39 again,
for sizes that are an octave larger with every third level."""

MOST_LEVELS = 106

NONE, LENGTH, LINE, FRAME = range(4)
"""Kinds of links: none, a distance to one joint, a share of the way between two, a place in the
frame of three."""

PARTNERS = (0, 1, 2, 3)
"""Joints that a link of each kind is to."""

WEIGHTS = (0, 1, 1, 3)
"""Numbers that it has."""

ORDERS = 3
"""A coordinate is foretold by its last value, its last two, or its last three; in early files."""

PREDICTORS, TAPS = 16, 7
"""Or by the last eight, in one of these ways: its last value and so much of what each of those
before it differs from that."""

PREDICTOR_PARTS = 4096
"""Parts of a whole that predictors are told in."""

SHARES = np.array([0.0, 0.25, 0.5, 0.75, 1.0])
"""Of what a companion's value surprised by, a joint's is foretold to, too."""

ALONE, BY_PARTNER, BY_OTHER = range(3)
"""Companions: none, the first partner of the joint's link, another joint."""

OWN, LINKED = 0, 7
"""Forms: foretold by itself; 1 to 6, one coordinate of it by a length, the coordinate being
(form - 1) / 2 and the larger of the two roots that of odd forms; all of it, by a line or frame."""

FORMS = 8

LENGTH_PARTS = 16
"""Parts of a whole number that a length is told in."""

MOST = 1 << 40
"""Numbers are below this."""

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

_STAYS = np.array([16_384, TOTAL - 16_384], np.int64)
"""Frequencies of another form or order than in the block before, and of the same."""


@cache
def tables() -> Integers:
    """(2, LEVELS, TRENDS, SYMBOLS) frequencies: foretold by itself, by other joints."""
    raw = (files("motioncodec.bitstream") / "numbers.bin").read_bytes()
    return np.frombuffer(raw, "<u2").reshape(2, LEVELS, TRENDS, SYMBOLS).astype(np.int64)


@cache
def predictors() -> Float64:
    """(PREDICTORS, TAPS) weights of the values before the last, less the last."""
    raw = (files("motioncodec.bitstream") / "predictors.bin").read_bytes()
    return np.frombuffer(raw, "<i2").reshape(PREDICTORS, TAPS) / PREDICTOR_PARTS


def fresh_tables() -> AdaptiveTables:
    """Frequencies that begin as :func:`tables` and become those of the differences at hand; of all
    people of a chunk, one after the other."""
    return AdaptiveTables(tables().reshape(-1, SYMBOLS), _GAIN)


@dataclass(frozen=True)
class Link:
    """What a joint keeps its distance to, or its place between.

    Attributes:
        kind: :data:`LENGTH`, :data:`LINE` or :data:`FRAME`.
        partners: as many joints as :data:`PARTNERS` says.
        weights: as many as :data:`WEIGHTS` says. A length is in whole numbers' parts, or a float32
            among floats; shares are float32.
    """

    kind: int
    partners: tuple[int, ...]
    weights: tuple[float, ...]


@dataclass(eq=False)
class Numbers:
    """Keypoints of one person in one chunk.

    Attributes:
        floats: numbers count float32 in their order, and not steps.
        learned: foretold by learned predictors and companions, as all but early files have them.
        first: (K, D) of each joint where it is first there.
        links: for each joint, or None.
        companions: for each joint another one, or -1.
        orders: (B, K) which predictor, from 1; or, not learned, how many values a coordinate is
            foretold by, 1 to :data:`ORDERS`.
        shares: (B, K) index of :data:`SHARES`; 0 without a companion.
        forms: (B, K).
        differences: (F, K, D) from what was foretold; 0 where missing, and where a joint is first.
    """

    floats: bool
    learned: bool
    first: Integers
    links: list[Link | None]
    companions: list[int]
    orders: Integers
    shares: Integers
    forms: Integers
    differences: Integers

    @classmethod
    def empty(
        cls, frames: int, joints: int, dims: int, floats: bool, learned: bool = False
    ) -> Numbers:
        """All zeros: what reading starts from."""
        blocks = -(-frames // BLOCK)
        return cls(
            floats,
            learned,
            np.zeros((joints, dims), np.int64),
            [None] * joints,
            [-1] * joints,
            np.full((blocks, joints), 2, np.int64),
            np.zeros((blocks, joints), np.int64),
            np.zeros((blocks, joints), np.int64),
            np.zeros((frames, joints, dims), np.int64),
        )


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


def code_numbers(coder: Coder, given: Numbers, present: Bool, shared: AdaptiveTables) -> Numbers:
    """Writes numbers and returns them, or reads as many.

    First numbers, as many bits each as they need about the first joint's; links; orders and forms
    block by block; symbols of all differences, frame by frame; then what is left of them: sizes
    beyond the last symbol, bits, signs.

    Args:
        coder: either direction.
        given: :meth:`Numbers.empty` to read.
        present: (F, K).
        shared: tables, which adapt.
    """
    frames, joints, dims = given.differences.shape
    out = Numbers.empty(frames, joints, dims, given.floats, given.learned)
    if not present.any():
        return out
    out.first = _code_first(coder, given.first, present)
    seen = np.flatnonzero(present.any(axis=0))
    for joint in seen.tolist():
        out.links[joint] = _code_link(coder, given.links[joint], joints, dims, given.floats)
    if given.learned:
        for joint in seen.tolist():
            out.companions[joint] = _code_companion(
                coder, given.companions[joint], out.links[joint], joints
            )
    _code_ways(coder, given, out, seen)
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


def _code_first(coder: Coder, first: Integers, present: Bool) -> Integers:
    """(K, D) first numbers; 0 for a joint that is never there."""
    joints, dims = first.shape
    some = np.flatnonzero(present.any(axis=0))
    middle = np.array([code_signed(coder, int(v)) for v in first[some[0]]], np.int64)
    apart = np.abs(first[some[1:]] - middle).max(initial=0)
    bits = coder.bits(int(apart).bit_length(), 6)
    if bits > 41:
        raise ContainerError(f"numbers: expected at most 41 bits, found {bits}")
    out = np.zeros((joints, dims), np.int64)
    out[some[0]] = middle
    half = (1 << bits) - 1
    for joint in some[1:].tolist():
        for k in range(dims):
            told = coder.bits(int(first[joint, k] - middle[k]) + half & (2 << bits) - 1, bits + 1)
            out[joint, k] = middle[k] + told - half
    return out


def _code_link(
    coder: Coder, given: Link | None, joints: int, dims: int, floats: bool
) -> Link | None:
    kind = coder.bits(NONE if given is None else given.kind, 2)
    if kind == NONE:
        return None
    if kind != LINE and dims != 3:
        raise ContainerError(f"numbers: expected links of kind {LINE} but in 3D, found {kind}")
    width = max(joints - 1, 1).bit_length()
    given = given or Link(kind, (0,) * PARTNERS[kind], (0.0,) * WEIGHTS[kind])
    partners = tuple(coder.bits(joint, width) for joint in given.partners)
    if max(partners) >= joints:
        raise ContainerError(f"numbers: expected links to {joints} joints, found {max(partners)}")
    if kind == LENGTH and not floats:
        return Link(kind, partners, (code_natural(coder, int(given.weights[0])),))
    raw = np.array(given.weights, np.float32).view(np.uint32).tolist()
    bits = np.array([coder.bits(word, 32) for word in raw], np.uint32)
    weights = bits.view(np.float32)
    if not np.isfinite(weights).all():
        raise ContainerError("numbers: expected finite weights of links, found others")
    return Link(kind, partners, tuple(weights.tolist()))


def _code_companion(coder: Coder, given: int, link: Link | None, joints: int) -> int:
    partner = -1 if link is None else link.partners[0]
    kind = coder.bits(ALONE if given < 0 else BY_PARTNER if given == partner else BY_OTHER, 2)
    if kind == ALONE:
        return -1
    if kind == BY_PARTNER and partner >= 0:
        return partner
    found = coder.bits(max(given, 0), max(joints - 1, 1).bit_length())
    if kind != BY_OTHER or found >= joints:
        raise ContainerError(f"numbers: expected companions among {joints} joints, found others")
    return found


def _code_ways(coder: Coder, given: Numbers, out: Numbers, seen: Integers) -> None:
    """Orders of all joints that are there, and forms of those with links, block by block: whether
    they are as before, and what they are if not."""
    links = {joint: link for joint in seen.tolist() if (link := out.links[joint]) is not None}
    linked = np.array(list(links), np.int64)
    kinds = np.array([link.kind for link in links.values()], np.int64)
    joined = seen[np.array(out.companions)[seen] >= 0]
    order = np.full(len(seen), 2, np.int64)
    share = np.full(len(joined), 2, np.int64)
    form = np.where(kinds == LENGTH, 1, LINKED)
    most = PREDICTORS if given.learned else ORDERS
    for block in range(len(given.orders)):
        order = _code_way(coder, given.orders[block, seen] - 1, order - 1, most) + 1
        share = _code_way(coder, given.shares[block, joined], share, len(SHARES))
        out.shares[block, joined] = share
        form = _code_way(coder, given.forms[block, linked], form, FORMS)
        wrong = np.where(kinds == LENGTH, form == LINKED, (form != LINKED) & (form != OWN))
        if wrong.any():
            raise ContainerError("numbers: expected forms that fit their links, found others")
        out.orders[block, seen] = order
        out.forms[block, linked] = form


def _code_way(coder: Coder, given: Integers, before: Integers, count: int) -> Integers:
    if not len(before):
        return before
    same = coder.many((given == before).astype(np.int64), np.broadcast_to(_STAYS, (len(before), 2)))
    out = before.copy()
    other = np.flatnonzero(same == 0)
    if len(other):
        even = np.full((len(other), count), TOTAL // count, np.int64)
        even[:, 0] += TOTAL - even[0].sum()
        out[other] = coder.many(given[other], even)
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
