"""What foretells a keypoint: those before it, and the joints that it is rigidly linked to.

A coordinate goes on as its last values did, in one of 16 ways that were learned; and what its
joint's companion does in this frame that nobody foretold of it, the joint does too, in part. (In
early files: as its last one, two or three values did.) Where a joint keeps its distance to another,
two of its coordinates foretell the third (the one in which the two are furthest apart, so that what
the others are off by grows least); where it lies between two others, or keeps its place in the
frame of three, they foretell all of it. Bones make captures so: what they say need not be written.

Values are whole numbers, or float32 counted in their order. All arithmetic is single operations of
IEEE doubles, which come out alike everywhere.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from motioncodec.bitstream.beginnings import LENGTH_STEP, WEIGHT_BITS
from motioncodec.bitstream.foretold import (
    BLOCK,
    FRAME,
    LENGTH,
    LENGTH_PARTS,
    LINE,
    LINKED,
    MOST,
    OWN,
    PREDICTORS,
    SHARES,
    TAPS,
    Link,
    Numbers,
    predictors,
)
from motioncodec.bitstream.numbers import linked_there
from motioncodec.errors import ContainerError

Float64 = NDArray[np.float64]
Integers = NDArray[np.int64]
Bool = NDArray[np.bool_]


def float_order(values: Float64) -> Integers:
    """Float32 to their number in order: 0 for 0, -1 for -0, 1 for the least above."""
    with np.errstate(over="ignore", invalid="ignore"):
        bits = values.astype(np.float32).view(np.int32).astype(np.int64)
    return np.where(bits < 0, -(bits & 0x7FFF_FFFF) - 1, bits)


def float_at(order: Integers) -> Float64:
    """Inverse of :func:`float_order`, as doubles; beyond the floats, infinite or no number."""
    inside = np.clip(order, -(1 << 31), (1 << 31) - 1)
    bits = np.where(inside < 0, (-inside - 1) | 0x8000_0000, inside).astype(np.uint32)
    return bits.view(np.float32).astype(np.float64)


_TURNS = np.array([[0, 1, 2], [1, 2, 0], [2, 0, 1]])
"""Orders of coordinates: as they are, and those that each one's cross product is made of."""


def _place(partners: Float64, shares: Float64) -> Float64:
    """(N, D) places that a line or frame of (3, 3, N, D) partners foretells, their coordinates
    in each of :data:`_TURNS` (or, not in 3D, the first alone), by (N, 3) or (1, 3) weights; lines
    have only the first, and their third partner is their first."""
    zero = partners[0, 0]
    u, v = partners[1:] - partners[0]
    out: Float64 = zero + shares[:, :1] * u[0]
    if len(u) == 3:
        out += shares[:, 1:2] * v[0]
        out += shares[:, 2:] * (u[1] * v[2] - u[2] * v[1])
    return out


def _turns(dims: int) -> Integers:
    """Those of :data:`_TURNS` that there are."""
    return _TURNS if dims == 3 else np.arange(dims)[None]


def _in_full(link: Link) -> tuple[list[int], list[float]]:
    """Three partners and three weights of a line or frame."""
    partners = [*link.partners, link.partners[0]][:3]
    return partners, [*link.weights, 0.0, 0.0][:3]


class _Walk:
    """Goes through the frames of a chunk, every joint as many frames behind as its links are deep,
    so that one step has all that it needs."""

    def __init__(self, numbers: Numbers, present: Bool) -> None:
        self.floats = numbers.floats
        self.frames, self.joints, self.dims = numbers.differences.shape
        self.learned = numbers.learned
        self.behind = depths_of(numbers)
        self.steps = self.frames + int(self.behind.max(initial=0))
        self.present = self.skew(present)
        count: Integers = np.cumsum(present, axis=0) - present
        orders = np.repeat(numbers.orders, BLOCK, axis=0)[: self.frames]
        self.starts = self.skew(present & (count == 0))
        self.any_starts = np.asarray(self.starts.any(axis=1)).tolist()
        self.all_present = np.asarray(self.present.all(axis=1)).tolist()
        self._memory(numbers, orders, count)
        forms = np.repeat(numbers.forms, BLOCK, axis=0)[: self.frames]
        forms = self.skew(np.where(linked_there(numbers, present), forms, OWN))
        self._lengths(numbers.links, forms)
        self._places(numbers.links, forms)
        self.values = np.zeros((self.steps, self.joints, self.dims))
        self.first = numbers.first.astype(np.float64)
        if self.floats:
            self.first = float_at(numbers.first)

    def _memory(self, numbers: Numbers, orders: Integers, count: Integers) -> None:
        """What a joint's own past foretells, and its companion's surprise."""
        if not self.learned:
            # Coefficients of the last value, the one before, and the one before that.
            taken = self.skew(np.minimum(count, orders))[..., None]
            of_each = np.array([[1.0, 0, 0], [1.0, 0, 0], [2.0, -1, 0], [3.0, -3, 1]])
            self.weights = np.moveaxis(of_each[taken], -1, 1)
            return
        table = np.concatenate([np.zeros((1, TAPS)), predictors()])
        taken = self.skew(orders)
        self.weights = np.moveaxis(table[taken][..., None], 2, 1)
        # Who has no companion is its own: its surprise is none as yet.
        joints, companions = np.arange(self.joints), np.array(numbers.companions, np.int64)
        self.joined_from = self._from(joints, np.where(companions < 0, joints, companions))
        shares = np.repeat(SHARES[numbers.shares], BLOCK, axis=0)[: self.frames]
        self.shared = self.skew(shares)[..., None]
        self.surprises = np.zeros((self.steps * self.joints, self.dims))
        self.parts = np.zeros((TAPS + 1, self.joints, self.dims))

    def skew(self, rows: NDArray[Any]) -> NDArray[Any]:
        """(F, K, ...) by frames to (S, K, ...) by steps, zeros where a joint has no frame."""
        out = np.zeros((self.steps, *rows.shape[1:]), rows.dtype)
        for behind in np.unique(self.behind).tolist():
            mine = self.behind == behind
            out[behind : behind + self.frames, mine] = rows[:, mine]
        return out

    def straight(self, rows: NDArray[Any]) -> NDArray[Any]:
        """Inverse of :meth:`skew`."""
        out = np.zeros((self.frames, *rows.shape[1:]), rows.dtype)
        for behind in np.unique(self.behind).tolist():
            mine = self.behind == behind
            out[:, mine] = rows[behind : behind + self.frames, mine]
        return out

    def _from(self, joints: Integers, partners: Integers) -> Integers:
        """Where partners' values at joints' frames are in the rows of all steps, at step 0."""
        return (self.behind[partners] - self.behind[joints]) * self.joints + partners

    def _lengths(self, links: list[Link | None], forms: Integers) -> None:
        """Of all steps, one after the other, what lengths foretell; ``ends`` says where a step's
        begin in all of these, flat places of coordinates among a step's."""
        found = [(j, one) for j, one in enumerate(links) if one is not None and one.kind == LENGTH]
        kept = np.array([j for j, _ in found], np.int64)
        partners = np.array([one.partners[0] for _, one in found], np.int64)
        lengths = np.array([one.weights[0] for _, one in found], np.float64)
        lengths = lengths if self.floats else lengths / LENGTH_PARTS
        step, which = np.nonzero(forms[:, kept] != OWN)
        form = forms[step, kept[which]].astype(np.int64)
        axis = (form - 1) // 2
        others = np.stack([np.where(axis == 0, 1, 0), np.where(axis == 2, 1, 2)])
        self.told = kept[which] * self.dims + axis
        self._others = kept[which] * self.dims + others
        from_rows = (self._from(kept, partners)[which] + step * self.joints) * self.dims
        self._partner = from_rows + np.concatenate([axis[None], others])
        self._squares = (lengths * lengths)[which]
        self._side = np.where(form % 2 == 1, 1.0, -1.0)
        self._ends = np.searchsorted(step, np.arange(self.steps + 1)).tolist()

    def lengths_at(self, step: int) -> slice:
        """Those of a step, among all that lengths foretell."""
        return slice(self._ends[step], self._ends[step + 1])

    def _places(self, links: list[Link | None], forms: Integers) -> None:
        found = [(j, one) for j, one in enumerate(links) if one is not None and one.kind != LENGTH]
        self.placed = np.array([j for j, _ in found], np.int64)
        full = [_in_full(one) for _, one in found]
        partners = np.array([mine for mine, _ in full], np.int64).reshape(-1, 3)
        rows = self._from(self.placed[:, None], partners).T * self.dims
        self.placed_from = rows[:, None, :, None] + _turns(self.dims)[:, None]
        self.shares = np.array([weights for _, weights in full], np.float64).reshape(-1, 3)
        self.by_place = forms[:, self.placed] != OWN
        self.any_place = np.asarray(self.by_place.any(axis=1)).tolist()
        self.all_placed = np.asarray(self.by_place.all(axis=1)).tolist()

    def _past(self, step: int, before: Float64) -> Float64:
        """(K, D) foretold by the (n, K, D) values before, from the last on; accumulating adds from
        left to right."""
        if self.learned:
            parts = self.parts
            parts[0] = before[0]
            np.subtract(before[1:], before[0], out=parts[1:])
            parts[1:] *= self.weights[step]
        else:
            parts = before * self.weights[step]
        out: Float64 = np.add.accumulate(parts)[-1]
        return out

    def _own(self, step: int, past: Float64) -> Float64:
        """(K, D) foretold by what was before, by companions and by places; no zero of them is
        negative."""
        if self.learned:
            out = self.surprises[self.joined_from + step * self.joints]
            out *= self.shared[step]
            out += past
        else:
            out = past.copy()
        if self.any_place[step]:
            flat = self.values.reshape(-1)
            told = _place(flat[self.placed_from + step * self.joints * self.dims], self.shares)
            mine = slice(None) if self.all_placed[step] else self.by_place[step]
            out[self.placed[mine]] = told[mine]
        return out + 0.0 if self.floats else np.rint(out)

    def third_side(self, some: slice, now: Float64) -> Float64:
        """(N,) or (N, C) the coordinates that lengths foretell, from a step's (K D,) or (K D, C)
        values, of which the other coordinates count."""
        partner = self.values.reshape(-1)[self._partner[:, some]]
        squares, side = self._squares[some], self._side[some]
        if now.ndim == 2:
            partner, squares, side = partner[..., None], squares[:, None], side[:, None]
        apart = now[self._others[:, some]] - partner[1:]
        apart *= apart
        rest = squares - apart[0] - apart[1]
        root = np.sqrt(np.maximum(rest, 0.0))
        out: Float64 = partner[0] + side * (root if self.floats else np.rint(root)) + 0.0
        return out

    def plus(self, foretold: Float64, differences: Float64) -> Float64:
        """Values so far from what was foretold."""
        if not self.floats:
            return foretold + differences
        return float_at(float_order(foretold) + differences.astype(np.int64))

    def minus(self, values: Float64, foretold: Float64) -> Float64:
        """Inverse of :meth:`plus`: differences."""
        if not self.floats:
            return values - foretold
        return (float_order(values) - float_order(foretold)).astype(np.float64)

    def go(self, settle: Callable[[int, Float64], Float64]) -> Float64:
        """(F, K, D) values, each step's by ``settle`` from what was foretold of it; 0 where
        missing."""
        before = np.zeros((TAPS + 1 if self.learned else 3, self.joints, self.dims))
        surprises = self.surprises.reshape(self.values.shape) if self.learned else None
        for step in range(self.steps):
            past = self._past(step, before)
            own = self._own(step, past)
            starts = self.starts[step] if self.any_starts[step] else None
            if starts is not None:
                own[starts] = self.first[starts]
            now = settle(step, own)
            if self.all_present[step] and starts is None:
                # What follows, faster.
                before[1:] = before[:-1]
                before[0] = self.values[step] = now
                if surprises is not None:
                    np.subtract(now, past, out=surprises[step])
                continue
            here = self.present[step]
            before[1:, here] = before[:-1, here]
            before[0, here] = now[here]
            self.values[step, here] = now[here]
            if surprises is not None:
                surprise = now - past
                if starts is not None:
                    # As if it had always been where it is first.
                    before[:, starts] = now[starts]
                    surprise[starts] = 0.0
                surprises[step, here] = surprise[here]
        return self.straight(self.values)


def depths_of(numbers: Numbers) -> Integers:
    """(K,) how many links, and companions, a joint is away from one without.

    Raises:
        ContainerError: they go in a circle.
    """
    leans: list[tuple[int, list[int]]] = []
    for joint, (link, companion) in enumerate(zip(numbers.links, numbers.companions)):
        partners = list(link.partners) if link else []
        if companion >= 0:
            partners.append(companion)
        if partners:
            leans.append((joint, partners))
    depth = np.zeros(len(numbers.links), np.int64)
    for _ in range(len(depth) + 1):
        before = depth.copy()
        for joint, partners in leans:
            depth[joint] = 1 + max(depth[partner] for partner in partners)
        if np.array_equal(depth, before):
            return depth
    raise ContainerError("numbers: expected links without a circle, found one")


def values_of(numbers: Numbers, present: Bool) -> Float64:
    """(F, K, D) values of numbers, 0 where missing.

    Raises:
        ContainerError: they are none that an encoder has.
    """
    walk = _Walk(numbers, present)
    given = walk.skew(numbers.differences.astype(np.float64))

    def settle(step: int, own: Float64) -> Float64:
        now = walk.plus(own, given[step])
        some = walk.lengths_at(step)
        if some.start < some.stop:
            flat, at = now.reshape(-1), walk.told[some]
            flat[at] = walk.plus(walk.third_side(some, flat), given[step].reshape(-1)[at])
        return now

    with np.errstate(over="ignore", invalid="ignore"):
        out = walk.go(settle)
    if not numbers.floats and not (np.abs(out) <= float(MOST)).all():
        raise ContainerError(f"numbers: expected numbers below {MOST}, found larger ones")
    if not np.isfinite(out).all():
        raise ContainerError("numbers: expected finite numbers, found others")
    return out


# -- encoding --------------------------------------------------------------------------------------


NEAR = 0.7
"""What it costs a number to be at the end of its reach, in differences of the usual size."""


def find_numbers(points: Float64, floats: bool, reach: float = 0.0) -> Numbers:
    """Numbers of (F, K, D) values, NaN where missing.

    Args:
        points: floats, or what is to be rounded to whole numbers.
        floats: count them in the order of float32, exactly.
        reach: as for :func:`fill`.
    """
    ways, _ = find_ways(points, floats)
    return fill(ways, points, reach)[0]


def fill(
    numbers: Numbers, points: Float64, reach: float = 0.0, near: float = NEAR
) -> tuple[Numbers, Float64]:
    """Adds differences to what :func:`find_ways` found for (F, K, D) points; returns also values,
    which come of them, 0 where missing.

    Args:
        numbers: without differences.
        points: as they were then.
        reach: how far from a point its whole numbers may be; 0 for the nearest. Of those within
            reach, the ones that are foretold best are taken: a cell of a grid on which all points
            are within reach has 2.7 times as much room in the ball as it takes up, so there is
            nearly always a choice.
        near: as :data:`NEAR`.
    """
    joints, dims = numbers.first.shape
    present = ~np.isnan(points[..., 0])
    values = points if numbers.floats else np.rint(points)
    walk = _Walk(numbers, present)
    true = walk.skew(np.where(present[..., None], values, 0.0))
    exact = walk.skew(np.where(present[..., None], points, 0.0))
    differences = np.zeros(true.shape)
    around = np.stack(np.meshgrid(*[[-1.0, 0, 1]] * dims, indexing="ij"))
    around = around.reshape(dims, -1)
    every = np.arange(joints)
    usual = np.ones((joints, dims))

    def settle(step: int, own: Float64) -> Float64:
        nonlocal usual
        now = true[step]
        some = walk.lengths_at(step)
        by_length, at = some.start < some.stop, walk.told[some]
        if reach:
            tried = now[..., None] + around
            apart = tried - exact[step][..., None]
            apart = np.sqrt((apart * apart).sum(axis=1))
            off = np.abs(tried - own[..., None])
            if by_length:
                flat = tried.reshape(joints * dims, -1)
                off.reshape(flat.shape)[at] = np.abs(flat[at] - walk.third_side(some, flat))
            slope = 1 / (usual + 0.5)
            cost = (off * slope[..., None]).sum(axis=1) + near * (apart / reach) ** 2
            best = np.where(apart <= reach, cost, np.inf).argmin(axis=1)
            now = tried[every, :, best]
            usual = usual + (np.minimum(off[every, :, best], _UNUSUAL) - usual) / 8
            starts = walk.starts[step]
            now[starts] = true[step][starts]
        mine = differences[step]
        mine[:] = walk.minus(now, own)
        if by_length:
            flat = now.reshape(-1)
            mine.reshape(-1)[at] = walk.minus(flat[at], walk.third_side(some, flat))
        return now

    values = walk.go(settle)
    found = walk.straight(differences).astype(np.int64)
    found[~present] = 0
    numbers.differences = found
    return numbers, values


_UNUSUAL = 1000.0
"""Differences count as no more than this among the usual ones."""


def _bits(off: NDArray[Any], at: Integers, blocks: int) -> Float64:
    """(blocks, ...) about what (n, ...) magnitudes of differences at frames ``at`` cost: between
    what they would if all were as large as the mean one, and each by itself, for what stands and
    jumps costs less than what always moves a little."""
    count = np.bincount(at // BLOCK, minlength=blocks).reshape(-1, *[1] * (off.ndim - 1))
    even = count * np.log2(1 + 5.4 * _by_block(off, at, blocks) / np.maximum(count, 1))
    alone = _by_block(np.log2(1 + 3.0 * off), at, blocks)
    out: Float64 = 0.7 * even + 0.3 * alone
    return out


def find_ways(points: Float64, floats: bool) -> tuple[Numbers, float]:
    """Numbers of (F, K, D) points without differences: links and companions, and orders, shares and
    forms by block, by which they are foretold best; and how many bits they will take, about (on
    training clips 0.8 to 1.05 times what they took)."""
    frames, joints, dims = points.shape
    present = ~np.isnan(points[..., 0])
    numbers = Numbers.empty(frames, joints, dims, floats, learned=True)
    if not present.any():
        return numbers, 0.0
    values = points if floats else np.rint(points)
    first = np.zeros((joints, dims))
    there = np.flatnonzero(present.any(axis=0))
    first[there] = values[present.argmax(axis=0)[there], there]
    numbers.first = float_order(first) if floats else first.astype(np.int64)
    index = float_order if floats else (lambda v: np.rint(v).astype(np.int64))
    whole = index(np.where(present[..., None], values, 0.0))
    blocks = len(numbers.orders)
    cost = np.zeros((joints, PREDICTORS, blocks, dims))
    seen: list[Integers] = []
    pasts: list[Float64] = []
    for joint in range(joints):
        at = np.flatnonzero(present[:, joint])
        seen.append(at)
        told = _foretold(values[at, joint])
        pasts.append(told)
        off = np.abs(whole[at, joint][:, None] - index(told))
        cost[joint] = _bits(off, at, blocks).swapaxes(0, 1)
    best = _steady(cost.sum(axis=-1), 1, _CHANGE + 2)
    numbers.orders = best.T + 1
    taken = np.take_along_axis(cost, best[:, None, :, None], axis=1)[:, 0]
    links, near = _links(points, present, floats)
    surprise = np.zeros(values.shape)
    for joint, at in enumerate(seen):
        pasts[joint] = pasts[joint][np.arange(len(at)), best[joint][at // BLOCK]]
        surprise[at, joint] = values[at, joint] - pasts[joint]
    for joint, companion in near:
        at = seen[joint]
        told = pasts[joint][:, None] + SHARES[1:, None] * surprise[at, companion][:, None]
        off = np.abs(whole[at, joint][:, None] - index(told))
        tried = np.concatenate([taken[joint][None], _bits(off, at, blocks).swapaxes(0, 1)])
        way = _steady(tried.sum(axis=-1)[None], 2)[0]
        now = tried[way, np.arange(blocks)]
        if (taken[joint] - now).sum() > 16:
            numbers.companions[joint] = companion
            numbers.shares[:, joint] = way
            taken[joint] = now
    bits = float(taken.sum())
    for joint, link in links:
        at = np.flatnonzero(present[:, [joint, *link.partners]].all(axis=1))
        here = np.bincount(seen[joint] // BLOCK, minlength=blocks)
        few = np.bincount(at // BLOCK, minlength=blocks) < here
        if link.kind != LENGTH:
            partners, shares = _in_full(link)
            turned = values[at][:, partners][..., _turns(dims)].transpose(1, 2, 0, 3)
            told = _place(turned, np.array([shares]))
            off = np.abs(whole[at, joint] - index(told))
            tried = _bits(off, at, blocks).sum(axis=-1)[None]
            forms = np.array([LINKED])
        else:
            size = link.weights[0] / (1 if floats else LENGTH_PARTS)
            partner = values[at, link.partners[0]]
            squares = (values[at, joint] - partner) ** 2
            root = np.sqrt(np.maximum(size**2 - squares.sum(axis=-1, keepdims=True) + squares, 0))
            told = np.stack([partner + root, partner - root], axis=-1)
            off = np.abs(whole[at, joint][..., None] - index(told))
            free = taken[joint].sum(axis=-1, keepdims=True) - taken[joint]
            tried = (free[..., None] + _bits(off, at, blocks)).reshape(blocks, -1).T
            forms = np.arange(1, 2 * dims + 1)
        tried[:, few] = np.inf
        tried = np.concatenate([taken[joint].sum(axis=-1)[None], tried])
        way = _steady(tried[None], 0)[0]
        saved = (tried[0] - tried[way, np.arange(blocks)]).sum()
        if saved > 10 + 25 * (len(link.weights) - 1):
            numbers.links[joint] = link
            numbers.forms[:, joint] = np.array([OWN, *forms])[way]
            bits -= saved
    return numbers, bits


_CHANGE = 4.0
"""Bits that another way than in the block before costs, if there are few ways."""


def _steady(cost: Float64, first: int, change: float = _CHANGE) -> Integers:
    """(N, B) which of (N, W, B) ways costs least in each block, another one than before (``first``,
    before the first) only where it saves what a ``change`` costs by itself."""
    out = np.empty((cost.shape[0], cost.shape[2]), np.int64)
    last = np.full(len(cost), first)
    rows = np.arange(len(cost))
    for block in range(cost.shape[2]):
        least = cost[:, :, block].argmin(axis=1)
        pays = cost[rows, least, block] + change < cost[rows, last, block]
        last = np.where(pays, least, last)
        out[:, block] = last
    return out


def _foretold(rows: Float64) -> Float64:
    """(n, PREDICTORS, D) what (n, D) rows are foretold as; the first by itself."""
    if not len(rows):
        return np.zeros((0, PREDICTORS, rows.shape[1]))
    last = np.maximum(np.arange(len(rows)) - 1, 0)
    before = np.stack(
        [rows[np.maximum(last - i, 0)] - rows[last] for i in range(1, TAPS + 1)], axis=1
    )
    out: Float64 = rows[last][:, None] + predictors() @ before
    return out


def _by_block(off: NDArray[Any], at: Integers, blocks: int) -> Float64:
    """(blocks, ...) sums of (n, ...) at frames ``at``, which rise."""
    out = np.zeros((blocks, *off.shape[1:]))
    found, starts = np.unique(at // BLOCK, return_index=True)
    if len(found):
        out[found] = np.add.reduceat(off, starts, axis=0)
    return out


SAMPLED = 96
"""Frames that links are looked for in."""

AMONG = 24
"""Joints before and behind that links are looked for among."""


def _links(
    points: Float64, present: Bool, floats: bool
) -> tuple[list[tuple[int, Link]], list[tuple[int, int]]]:
    """Links that may pay, and companions; none of them a joint that depends on the other."""
    joints, dims = points.shape[1:]
    rows = np.flatnonzero(present.any(axis=1))
    rows = rows[:: max(1, len(rows) // SAMPLED)]
    if len(rows) < 4:
        return [], []
    some = points[rows]
    size = float(np.nanmax(np.abs(some)))
    quantum = size * 2.0**-23 if floats else 1.0
    slack = 4 * quantum if floats else 1.5
    spread = np.full((joints, joints), np.inf)
    length = np.zeros((joints, joints))
    enough = max(4, len(rows) // 4)
    with np.errstate(invalid="ignore"):
        for joint in range(joints):
            near = np.arange(max(joint - AMONG, 0), joint) if joints > 64 else np.arange(joint)
            if not len(near):
                continue
            apart = np.sqrt(((some[:, near] - some[:, joint : joint + 1]) ** 2).sum(axis=-1))
            there = np.isfinite(apart)
            count = there.sum(axis=0)
            apart = np.where(there, apart, 0.0)
            mean = apart.sum(axis=0) / np.maximum(count, 1)
            off = np.sqrt(
                (np.where(there, apart - mean, 0.0) ** 2).sum(axis=0) / np.maximum(count, 1)
            )
            ok = (count >= enough) & (off <= 8 * slack)
            spread[joint, near[ok]] = spread[near[ok], joint] = off[ok]
            length[joint, near] = length[near, joint] = mean
    out: list[tuple[int, Link]] = []
    near_by: list[tuple[int, int]] = []
    order, parents = _forest(spread, length, quantum)
    before: list[int] = []
    for joint, parent in zip(order, parents):
        rigid = [q for q in before if spread[joint, q] <= slack]
        rigid.sort(key=lambda q: length[joint, q])
        placed = _find_place(some, joint, rigid[:5], slack, floats)
        if placed is not None:
            out.append((joint, placed))
        elif parent >= 0 and dims == 3:
            there = present[:, joint] & present[:, parent]
            apart = points[there, joint] - points[there, parent]
            mean = float(np.median(np.sqrt((apart**2).sum(axis=-1))))
            weight = mean if floats else LENGTH_STEP * round(mean * LENGTH_PARTS / LENGTH_STEP)
            out.append((joint, Link(LENGTH, (parent,), (float(np.float32(weight)),))))
        if parent >= 0:
            near_by.append((joint, parent))
        elif before:
            near_by.append((joint, min(before, key=lambda q: length[joint, q] or np.inf)))
        before.append(joint)
    return out, near_by


def _forest(spread: Float64, length: Float64, quantum: float) -> tuple[list[int], list[int]]:
    """Joints in an order in which each has its most rigid and nearest link to one before it: that
    one, or -1."""
    joints = len(spread)
    weight = spread + quantum / 4 + 0.02 * length * np.isfinite(spread)
    order: list[int] = []
    parents: list[int] = []
    left = set(range(joints))
    best = np.full(joints, np.inf)
    parent = np.full(joints, -1)
    while left:
        rest = np.array(sorted(left))
        joint = int(rest[best[rest].argmin()])
        order.append(joint)
        parents.append(int(parent[joint]) if np.isfinite(best[joint]) else -1)
        left.remove(joint)
        closer = weight[joint] < best
        best = np.where(closer, weight[joint], best)
        parent = np.where(closer, joint, parent)
    return order, parents


def _find_place(
    some: Float64, joint: int, rigid: list[int], slack: float, floats: bool
) -> Link | None:
    """A line or frame of rigidly linked joints that has the joint in the same place throughout."""
    mine = some[:, joint]
    tries: list[tuple[int, ...]] = []
    for i, one in enumerate(rigid):
        tries += [(rigid[j], one) for j in range(i)]
    if some.shape[2] == 3:
        for i, one in enumerate(rigid):
            tries += [(rigid[k], rigid[j], one) for j in range(i) for k in range(j)]
    for partners in tries:
        there = np.isfinite(some[:, [joint, *partners], 0]).all(axis=1)
        if there.sum() < 4:
            continue
        zero = some[there, partners[0]]
        u = some[there, partners[1]] - zero
        columns = [u]
        if len(partners) == 3:
            v = some[there, partners[2]] - zero
            columns += [v, np.cross(u, v)]
        matrix = np.stack([column.ravel() for column in columns], axis=1)
        scale = np.sqrt((matrix**2).sum(axis=0))
        if (scale == 0).any():
            continue
        wanted = (mine[there] - zero).ravel()
        shares = np.linalg.lstsq(matrix / scale, wanted, rcond=1e-9)[0] / scale
        shares = _kept_bits(shares, floats)
        off = np.sqrt(((matrix @ shares - wanted) ** 2).mean())
        if off <= slack and np.abs(shares[:2]).max() <= 4:
            kind = LINE if len(partners) == 2 else FRAME
            return Link(kind, partners, tuple(shares.tolist()))
    return None


def _kept_bits(weights: Float64, floats: bool) -> Float64:
    """Weights of a line or frame as they are told."""
    words = weights.astype(np.float32).view(np.uint32)
    if not floats:
        lost = np.uint32(32 - WEIGHT_BITS)
        words = words + (np.uint32(1) << lost - np.uint32(1)) >> lost << lost
    return words.view(np.float32).astype(np.float64)
