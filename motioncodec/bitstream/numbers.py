"""Keypoints as whole numbers, exactly: what each coordinate differs by from what foretells it.

What fine bounds and lossless files take: there, what is left of a motion is noise, which no
transform makes smaller. A coordinate is foretold by those before it, or, where joints are rigidly
linked, by other joints of the same frame (:mod:`motioncodec.prediction` has the arithmetic). The
difference is coded under a static table that is chosen by how large those before it were, on the
whole and of late.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from importlib.resources import files

import numpy as np
from numpy.typing import NDArray

from motioncodec.bitstream.entropy import TOTAL, Coder, code_natural, code_signed, code_signs
from motioncodec.errors import ContainerError

Integers = NDArray[np.int64]
Bool = NDArray[np.bool_]

BLOCK = 32
"""Frames that are foretold in one way."""

LEVELS, TRENDS, SYMBOLS = 40, 3, 40
"""Tables: by level of the differences before, three to an octave, and whether the last ones were
smaller or larger; of 0 to 38, and 39 for more. From level 40 on, those of 37 to 39 again."""

MOST_LEVELS = 106

NONE, LENGTH, LINE, FRAME = range(4)
"""Kinds of links: none, a distance to one joint, a share of the way between two, a place in the
frame of three."""

PARTNERS = (0, 1, 2, 3)
"""Joints that a link of each kind is to."""

WEIGHTS = (0, 1, 1, 3)
"""Numbers that it has."""

ORDERS = 3
"""A coordinate is foretold by its last value, its last two, or its last three."""

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

_SHIFTS = np.maximum((np.arange(MOST_LEVELS) - 15) // 3, 0)
"""Bits at the end of a difference that are written as they are, by level."""

_TABLES = np.where(
    np.arange(MOST_LEVELS) < LEVELS,
    np.arange(MOST_LEVELS),
    LEVELS - 3 + (np.arange(MOST_LEVELS) - LEVELS) % 3,
)

_STAYS = np.array([16_384, TOTAL - 16_384], np.int64)
"""Frequencies of another form or order than in the block before, and of the same."""


@cache
def tables() -> Integers:
    """(2, LEVELS, TRENDS, SYMBOLS) frequencies: foretold by itself, by other joints."""
    raw = (files("motioncodec.bitstream") / "numbers.bin").read_bytes()
    return np.frombuffer(raw, "<u2").reshape(2, LEVELS, TRENDS, SYMBOLS).astype(np.int64)


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
        first: (K, D) of each joint where it is first there.
        links: for each joint, or None.
        orders: (B, K) values that a coordinate is foretold by, 1 to :data:`ORDERS`.
        forms: (B, K).
        differences: (F, K, D) from what was foretold; 0 where missing, and where a joint is first.
    """

    floats: bool
    first: Integers
    links: list[Link | None]
    orders: Integers
    forms: Integers
    differences: Integers

    @classmethod
    def empty(cls, frames: int, joints: int, dims: int, floats: bool) -> Numbers:
        """All zeros: what reading starts from."""
        blocks = -(-frames // BLOCK)
        return cls(
            floats,
            np.zeros((joints, dims), np.int64),
            [None] * joints,
            np.full((blocks, joints), 2, np.int64),
            np.zeros((blocks, joints), np.int64),
            np.zeros((frames, joints, dims), np.int64),
        )


def linked_there(numbers: Numbers, present: Bool) -> Bool:
    """(F, K): other joints foretell this one, being there themselves, and it is not its first."""
    frames = len(present)
    later = np.cumsum(present, axis=0) > 1
    out: Bool = np.repeat(numbers.forms > OWN, BLOCK, axis=0)[:frames] & present & later
    for joint, link in enumerate(numbers.links):
        if link is None:
            out[:, joint] = False
        else:
            for partner in link.partners:
                out[:, joint] &= present[:, partner]
    return out


class _Means:
    """Running means of the magnitudes of differences: over some eight, and over some two. Of each
    joint a column for every coordinate, and one for what other joints foretold."""

    def __init__(self, joints: int, dims: int) -> None:
        self.dims = dims
        self.slow = np.full((joints, dims + 1), _UNIT, np.int64)
        self.fast = np.full((joints, dims + 1), _UNIT, np.int64)

    def contexts(self, by_others: Bool) -> tuple[Integers, Integers]:
        """(K, D) level and trend of the differences that come, where ``by_others`` says which of
        them other joints foretell."""
        dims = self.dims
        slow, fast = self.slow[:, :dims], self.fast[:, :dims]
        joint = slow.sum(axis=1, keepdims=True) // dims
        lately = fast.sum(axis=1, keepdims=True) // dims
        mean = np.where(by_others, self.slow[:, dims:], (slow + joint) // 2)
        lately = np.where(by_others, self.fast[:, dims:], lately)
        past = np.where(by_others, self.slow[:, dims:], slow)
        level: Integers = np.searchsorted(_FROM, mean, side="right")
        trend: Integers = 1 - (2 * lately < past) + (lately > 2 * past)
        return level, trend

    def update(self, here: Bool, by_others: Bool, magnitudes: Integers) -> None:
        """Takes (K, D) magnitudes of the joints that are ``here``, ``by_others`` as before. A
        coordinate that other joints foretold counts as the mean of those that they did not."""
        dims = self.dims
        scaled = np.minimum(magnitudes, _LARGEST) * _UNIT
        count = by_others.sum(axis=1, keepdims=True)
        alone = np.maximum(dims - count, 1)
        own = np.where(by_others, 0, scaled).sum(axis=1, keepdims=True) // alone
        others = np.where(by_others, scaled, 0).sum(axis=1, keepdims=True) // np.maximum(count, 1)
        seen = np.concatenate([np.where(by_others, own, scaled), others], axis=1)
        moved = np.empty(seen.shape, bool)
        moved[:, :dims] = here[:, None] & (count < dims)
        moved[:, dims:] = here[:, None] & (count > 0)
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


def code_numbers(coder: Coder, given: Numbers, present: Bool) -> Numbers:
    """Writes numbers and returns them, or reads as many.

    First numbers, as many bits each as they need about the first joint's; links; orders and forms
    block by block; symbols of all differences, frame by frame; then what is left of them: more for
    those beyond the last symbol, bits at the end, signs.

    Args:
        coder: either direction.
        given: :meth:`Numbers.empty` to read.
        present: (F, K).
    """
    frames, joints, dims = given.differences.shape
    out = Numbers.empty(frames, joints, dims, given.floats)
    if not present.any():
        return out
    out.first = _code_first(coder, given.first, present)
    seen = np.flatnonzero(present.any(axis=0))
    for joint in seen.tolist():
        out.links[joint] = _code_link(coder, given.links[joint], joints, dims, given.floats)
    _code_ways(coder, given, out, seen)
    later = present & (np.cumsum(present, axis=0) > 1)
    by_others = by_others_of(out, present)
    means = _Means(joints, dims)
    found = np.zeros_like(given.differences)
    shifts = np.zeros_like(found)
    all_tables = tables()
    for frame in range(frames):
        here = later[frame]
        if not here.any():
            continue
        level, trend = means.contexts(by_others[frame])
        shift = _SHIFTS[level]
        sizes = np.abs(given.differences[frame]) >> shift
        frequencies = all_tables[by_others[frame].astype(np.int64), _TABLES[level], trend]
        symbols = np.zeros_like(sizes)
        wanted = np.minimum(sizes[here], SYMBOLS - 1).reshape(-1)
        symbols[here] = coder.many(wanted, frequencies[here].reshape(-1, SYMBOLS)).reshape(-1, dims)
        found[frame], shifts[frame] = symbols, shift
        means.update(here, by_others[frame], symbols << shift)
    sizes, shifts = found[later], shifts[later]
    mine = np.abs(given.differences[later])
    for i, k in np.argwhere(sizes == SYMBOLS - 1).tolist():
        sizes[i, k] += code_natural(coder, int(mine[i, k] >> shifts[i, k]) - (SYMBOLS - 1))
    sizes = (sizes << shifts) + _code_ends(coder, mine, shifts)
    sizes = code_signs(coder, given.differences[later], sizes)
    if np.abs(sizes).max(initial=0) > MOST:
        raise ContainerError(f"numbers: expected differences below {MOST}, found larger ones")
    out.differences[later] = sizes
    return out


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


def _code_ways(coder: Coder, given: Numbers, out: Numbers, seen: Integers) -> None:
    """Orders of all joints that are there, and forms of those with links, block by block: whether
    they are as before, and what they are if not."""
    links = {joint: link for joint in seen.tolist() if (link := out.links[joint]) is not None}
    linked = np.array(list(links), np.int64)
    kinds = np.array([link.kind for link in links.values()], np.int64)
    order = np.full(len(seen), 2, np.int64)
    form = np.where(kinds == LENGTH, 1, LINKED)
    for block in range(len(given.orders)):
        order = _code_way(coder, given.orders[block, seen] - 1, order - 1, ORDERS) + 1
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
    counts = np.zeros((2, LEVELS, TRENDS, SYMBOLS), np.int64)
    later = present & (np.cumsum(present, axis=0) > 1)
    by_others = by_others_of(given, present)
    means = _Means(*given.first.shape)
    for frame in range(len(present)):
        here = later[frame]
        level, trend = means.contexts(by_others[frame])
        shift = _SHIFTS[level]
        symbols = np.minimum(np.abs(given.differences[frame]) >> shift, SYMBOLS - 1)
        kind = by_others[frame].astype(np.int64)
        np.add.at(counts, (kind[here], _TABLES[level[here]], trend[here], symbols[here]), 1)
        means.update(here, by_others[frame], symbols << shift)
    return counts
