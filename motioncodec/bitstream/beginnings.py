"""What numbers of a chunk begin with: where joints are first, and what foretells them.

A clip of five seconds would take a sixth of its bits for this if joints were told one by one in
plain bits, as early files have it. So they make a tree: a joint that models know hangs on the one
that it hangs on in the body, any other on the joint before it. Along the tree, from its root on,
are told where joints are first, each from the one that it hangs on; companions and links, which
nearly always are to that one; and lengths, which are nearly those between first places. Then, block
by block, the ways in which joints are foretold: as in the block before, or as what they hang on.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from importlib.resources import files

import numpy as np
from numpy.typing import NDArray

from motioncodec.bitstream.bones import PARENTS
from motioncodec.bitstream.entropy import (
    TOTAL,
    Coder,
    code_natural,
    code_signed,
)
from motioncodec.bitstream.foretold import (
    FORMS,
    LENGTH,
    LENGTH_PARTS,
    LINE,
    LINKED,
    MOST,
    NONE,
    ORDERS,
    OWN,
    PARTNERS,
    PREDICTORS,
    SHARES,
    WEIGHTS,
    Link,
    Numbers,
)
from motioncodec.bitstream.magnitudes import code_below, lengths_of
from motioncodec.errors import ContainerError

Integers = NDArray[np.int64]
Bool = NDArray[np.bool_]

ALONE, EXPECTED, OTHER = range(3)
"""Companions: none, the one that is expected, another joint."""

SIZES = 46
"""Bits that magnitudes of first numbers and lengths have: 0 to 45."""

LENGTH_STEP = 4
"""Sixteenths of a whole number that lengths are told in."""

WEIGHT_BITS = 20
"""Of the 32 bits of a weight of a line or frame those that are told, the first ones."""

_NEW_PLACED, _FREE_PLACED = FORMS + 1, FORMS + 2
"""Tables of forms: 0 in the first block, 1 and more by the form in the block before; but for joints
by places these two, in the first block and behind a block without."""

SHAPES = {
    "firsts": (1, SIZES),
    "lengths": (1, SIZES),
    "companions": (2, 3),
    "kinds": (3, 4),
    "same": (3, 2),
    "orders": ((PREDICTORS + 1) ** 2, PREDICTORS),
    "shares": (len(SHARES) + 1, len(SHARES)),
    "forms": (FORMS + 3, FORMS),
}
"""Tables, and how many symbols they have: by how many bits first numbers have less than the
largest; bits of lengths; companions, of the root and of others; kinds of links, and whether a
length is to the joint that it is expected to be to, both by companion; orders, by the one in the
block before and the one of the joint that it hangs on; shares and forms, by those before."""


@cache
def tables() -> dict[str, Integers]:
    """Of each of :data:`SHAPES` the frequencies."""
    raw = (files("motioncodec.bitstream") / "beginnings.bin").read_bytes()
    flat, out, at = np.frombuffer(raw, "<u2").astype(np.int64), {}, 0
    for name, shape in SHAPES.items():
        out[name] = flat[at : at + shape[0] * shape[1]].reshape(shape)
        at += out[name].size
    return out


class Tree:
    """What hangs on what, of the joints that are there in any frame.

    Args:
        present: (F, K).
        covered: for each joint the canonical one that it is, or -1.

    Attributes:
        joints: (n,) from the root on: by how many they hang on, then by number.
        base: (K,) what each hangs on, -1 for the root: of a canonical joint the nearest of those
            that it hangs on in the body; of one for which none is there, the one before it for
            which none was; of any other the joint before it.
    """

    def __init__(self, present: Bool, covered: Sequence[int]) -> None:
        some = np.flatnonzero(present.any(axis=0)).tolist()
        at = {covered[joint]: joint for joint in some if covered[joint] >= 0}
        self.base = np.full(len(covered), -1, np.int64)
        root = before = -1
        for joint in some:
            parent = covered[joint]
            alone = parent < 0
            while parent >= 0:
                parent = PARENTS[parent]
                if parent in at:
                    break
            if parent >= 0:
                self.base[joint] = at[parent]
            elif alone and before >= 0:
                self.base[joint] = before
            else:
                self.base[joint], root = root, joint
            before = joint
        depth = {-1: -1}
        for joint in some:
            above = []
            while joint not in depth:
                above.append(joint)
                joint = int(self.base[joint])
            for joint in reversed(above):
                depth[joint] = depth[int(self.base[joint])] + 1
        self.joints = np.array(sorted(some, key=lambda joint: (depth[joint], joint)), np.int64)
        self._depths = np.array([depth[joint] for joint in self.joints.tolist()], np.int64)

    def levels(self) -> list[Integers]:
        """Joints that hang on as many others."""
        return np.split(self.joints, np.flatnonzero(np.diff(self._depths)) + 1)


def code_beginning(
    coder: Coder, given: Numbers, out: Numbers, present: Bool, covered: Sequence[int]
) -> None:
    """Writes all of ``given`` but the differences and puts it in ``out``, or reads as much.

    Args:
        coder: either direction.
        given: learned; :meth:`Numbers.empty` to read.
        out: of the same shapes, in which something is there.
        present: (F, K).
        covered: as for :class:`Tree`.
    """
    Beginning(coder, given, out, Tree(present, covered)).code()


class Beginning:
    """What :func:`code_beginning` codes; with another :meth:`under`, what tables are fitted to."""

    def __init__(self, coder: Coder, given: Numbers, out: Numbers, tree: Tree) -> None:
        self.coder, self.given, self.out, self.tree = coder, given, out, tree

    def code(self) -> None:
        """All of it."""
        self._firsts()
        self._links()
        self._lengths()
        bits = 32 if self.given.floats else WEIGHT_BITS
        for joint in self.tree.joints.tolist():
            link = self.out.links[joint]
            if link is not None and (link.kind != LENGTH or self.given.floats):
                asked = self.given.links[joint] or link
                self.out.links[joint] = _code_weights(self.coder, asked, link, bits)
        self._ways()

    def under(self, name: str, rows: Integers, values: Integers) -> Integers:
        """(n,) symbols, each under its row of a table."""
        return self.coder.many(values, tables()[name][rows])

    def by_length(self, name: str, given: Integers, top: int = 0) -> Integers:
        """Whole numbers of any shape: how many bits each magnitude has, or, where there is a
        ``top``, by how many these are less; then these bits but the first; then signs."""
        lengths = lengths_of(given).reshape(-1)
        told = top - lengths if top else lengths
        told = self.under(name, np.zeros_like(told), np.maximum(told, 0))
        lengths = top - told if top else told
        return code_below(self.coder, given, lengths.reshape(given.shape))

    def _firsts(self) -> None:
        """First numbers: the root's, then what others differ by from those they hang on."""
        given, out, base = self.given.first, self.out.first, self.tree.base
        root, others = self.tree.joints[0], self.tree.joints[1:]
        out[root] = [code_signed(self.coder, value) for value in given[root].tolist()]
        apart = given[others] - given[base[others]]
        top = self.coder.bits(int(lengths_of(apart).max(initial=0)), 6)
        if top >= SIZES:
            raise ContainerError(f"numbers: expected at most {SIZES - 1} bits, found {top}")
        if not top:
            out[others] = out[root]
            return
        for joint, told in zip(others.tolist(), self.by_length("firsts", apart, top)):
            out[joint] = out[base[joint]] + told
        if np.abs(out).max() > MOST:
            raise ContainerError(f"numbers: expected first ones below {MOST}, found larger ones")

    def _links(self) -> None:
        """Companions, and links with partners and no weights."""
        joints, asked, dims = self.tree.joints, self.given.links, self.out.first.shape[1]
        expected = self.tree.base[joints]
        companions = np.array(self.given.companions)[joints]
        how = np.where(companions == expected, EXPECTED, OTHER)
        how = self.under("companions", (expected >= 0) * 1, np.where(companions < 0, ALONE, how))
        for at in np.flatnonzero(how == OTHER).tolist():
            expected[at] = self._joint(int(companions[at]))
        links = [asked[joint] for joint in joints.tolist()]
        kinds = np.array([NONE if link is None else link.kind for link in links])
        kinds = self.under("kinds", how, kinds)
        if dims != 3 and not np.isin(kinds, (NONE, LINE)).all():
            raise ContainerError(f"numbers: expected links of kind {LINE} but in 3D, found others")
        partners = [(0,) * PARTNERS[k] if a is None else a.partners for k, a in zip(kinds, links)]
        kept = np.flatnonzero(kinds == LENGTH)
        to_it = np.array([partners[at][0] == expected[at] for at in kept.tolist()], np.int64)
        to_it = self.under("same", how[kept], to_it)
        if expected[0] < 0 and (how[0] == EXPECTED or (kinds[0] == LENGTH and to_it[0])):
            raise ContainerError("numbers: expected a root that hangs on none, found one")
        for at in kept[to_it == 1].tolist():
            self.out.links[joints[at]] = Link(LENGTH, (int(expected[at]),), (0.0,))
        for at, (joint, kind) in enumerate(zip(joints.tolist(), kinds.tolist())):
            if how[at] != ALONE:
                self.out.companions[joint] = int(expected[at])
            if kind != NONE and self.out.links[joint] is None:
                told = tuple(map(self._joint, partners[at]))
                self.out.links[joint] = Link(kind, told, (0.0,) * WEIGHTS[kind])

    def _joint(self, value: int) -> int:
        """The number of any joint."""
        joints = len(self.out.links)
        found = self.coder.bits(value, max(joints - 1, 1).bit_length())
        if found >= joints:
            raise ContainerError(f"numbers: expected one of {joints} joints, found {found}")
        return found

    def _lengths(self) -> None:
        """Lengths of whole numbers, by what they differ by from those between first places."""
        out, asked = self.out, self.given.links
        kept = [
            (joint, link.partners[0])
            for joint in self.tree.joints.tolist()
            if (link := out.links[joint]) is not None and link.kind == LENGTH
        ]
        if self.given.floats or not kept:
            return
        joints, partners = np.array(kept).T
        apart = (out.first[joints] - out.first[partners]).astype(np.float64)
        apart *= apart
        apart = np.sqrt(np.add.accumulate(apart, axis=1)[:, -1])
        near: Integers = np.rint(apart * (LENGTH_PARTS / LENGTH_STEP)).astype(np.int64)
        wanted = [0 if (link := asked[j]) is None else int(link.weights[0]) for j, _ in kept]
        told = self.by_length("lengths", np.array(wanted) // LENGTH_STEP - near)
        for (joint, partner), length in zip(kept, (near + told).tolist()):
            if length < 0:
                raise ContainerError("numbers: expected lengths from 0, found one below")
            out.links[joint] = Link(LENGTH, (partner,), (LENGTH_STEP * length,))

    def _ways(self) -> None:
        """Orders of all joints, shares of those with companions and forms of those with links,
        block by block."""
        given, out, joints = self.given, self.out, self.tree.joints
        joined = joints[np.array(out.companions)[joints] >= 0]
        linked, kinds = _linked(out, joints)
        levels = self.tree.levels()
        # The last one is of what the root hangs on.
        order = np.zeros(len(out.companions) + 1, np.int64)
        share = np.zeros(len(joined), np.int64)
        form = np.where(kinds == LENGTH, 0, _NEW_PLACED)
        for block in range(len(given.orders)):
            before = order.copy()
            for mine in levels:
                rows = before[mine] * (PREDICTORS + 1) + order[self.tree.base[mine]]
                order[mine] = self.under("orders", rows, given.orders[block, mine] - 1) + 1
            out.orders[block, joints] = order[joints]
            if len(joined):
                found = self.under("shares", share, given.shares[block, joined])
                out.shares[block, joined], share = found, found + 1
            if len(linked):
                found = self.under("forms", form, given.forms[block, linked])
                _check_forms(found, kinds)
                out.forms[block, linked] = found
                form = np.where((kinds != LENGTH) & (found == OWN), _FREE_PLACED, found + 1)


def _linked(out: Numbers, joints: Integers) -> tuple[Integers, Integers]:
    """Those of some joints that have links, and their kinds."""
    links = {joint: link for joint in joints.tolist() if (link := out.links[joint]) is not None}
    kinds = np.array([link.kind for link in links.values()], np.int64)
    return np.array(list(links), np.int64), kinds


def _check_forms(forms: Integers, kinds: Integers) -> None:
    wrong = np.where(kinds == LENGTH, forms == LINKED, (forms != LINKED) & (forms != OWN))
    if wrong.any():
        raise ContainerError("numbers: expected forms that fit their links, found others")


def _code_weights(coder: Coder, asked: Link, link: Link, bits: int) -> Link:
    """A link with float32 weights, the first ``bits`` of each told and the others 0."""
    raw = np.array(asked.weights, np.float32).view(np.uint32).tolist()
    words = [coder.bits(word >> 32 - bits, bits) << 32 - bits for word in raw]
    weights = np.array(words, np.uint32).view(np.float32)
    if not np.isfinite(weights).all():
        raise ContainerError("numbers: expected finite weights of links, found others")
    return Link(link.kind, link.partners, tuple(weights.tolist()))


# -- early files -----------------------------------------------------------------------------------


_BY_PARTNER = 1
"""Where :data:`EXPECTED` is in later files: the companion is the first partner of the joint's link.
"""

_STAYS = np.array([16_384, TOTAL - 16_384], np.int64)
"""Frequencies of another form or order than in the block before, and of the same."""


def code_early_beginning(coder: Coder, given: Numbers, out: Numbers, present: Bool) -> None:
    """As :func:`code_beginning`, of early files: first numbers, as many bits each as they need
    about the first joint's; links; companions; ways."""
    joints, dims = given.first.shape
    out.first = _early_first(coder, given.first, present)
    seen = np.flatnonzero(present.any(axis=0))
    for joint in seen.tolist():
        out.links[joint] = _early_link(coder, given.links[joint], joints, dims, given.floats)
    if given.learned:
        for joint in seen.tolist():
            out.companions[joint] = _early_companion(
                coder, given.companions[joint], out.links[joint], joints
            )
    _early_ways(coder, given, out, seen)


def _early_first(coder: Coder, first: Integers, present: Bool) -> Integers:
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


def _early_link(
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
    return _code_weights(coder, given, Link(kind, partners, given.weights), 32)


def _early_companion(coder: Coder, given: int, link: Link | None, joints: int) -> int:
    partner = -1 if link is None else link.partners[0]
    kind = coder.bits(ALONE if given < 0 else _BY_PARTNER if given == partner else OTHER, 2)
    if kind == ALONE:
        return -1
    if kind == _BY_PARTNER and partner >= 0:
        return partner
    found = coder.bits(max(given, 0), max(joints - 1, 1).bit_length())
    if kind != OTHER or found >= joints:
        raise ContainerError(f"numbers: expected companions among {joints} joints, found others")
    return found


def _early_ways(coder: Coder, given: Numbers, out: Numbers, seen: Integers) -> None:
    """Orders of all joints that are there, and forms of those with links, block by block: whether
    they are as before, and what they are if not."""
    linked, kinds = _linked(out, seen)
    joined = seen[np.array(out.companions)[seen] >= 0]
    order = np.full(len(seen), 2, np.int64)
    share = np.full(len(joined), 2, np.int64)
    form = np.where(kinds == LENGTH, 1, LINKED)
    most = PREDICTORS if given.learned else ORDERS
    for block in range(len(given.orders)):
        order = _early_way(coder, given.orders[block, seen] - 1, order - 1, most) + 1
        share = _early_way(coder, given.shares[block, joined], share, len(SHARES))
        out.shares[block, joined] = share
        form = _early_way(coder, given.forms[block, linked], form, FORMS)
        _check_forms(form, kinds)
        out.orders[block, seen] = order
        out.forms[block, linked] = form


def _early_way(coder: Coder, given: Integers, before: Integers, count: int) -> Integers:
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
