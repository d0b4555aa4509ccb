"""The learned prior over tokens: a small network in whole numbers.

For every level a network of two hidden layers looks at the tokens that are already known - those of
the step before, those of coarser levels a step to either side, and those of the slots before in the
same step - and says, for every slot, how the lengths of its codes in the static table are to be
shifted: by a linear function of what the codes stand for. So codes that stand for nearly the same
are predicted alike, and a thousand of them need ten numbers.

Everything is whole numbers: weights, features, sums and the shares that come out. Sums are taken
in float64, where whole numbers below 2^53 add up exactly in any order, so any machine, any number
of threads and any library gets the same frequencies (FORMAT.md, section 8.5).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from motioncodec.bitstream.entropy import TOTAL, Coder
from motioncodec.bitstream.prior import Tokens

Float64 = NDArray[np.float64]
Integers = NDArray[np.int64]
Rows = list[Float64]
"""Of each group (slots, steps, codes) frequencies."""

BIT = 256
"""Lengths are in 256ths of a bit."""

HIDDEN_SHIFT, HIDDEN_TOP = 11, 4095
"""Sums of a hidden layer are divided by 2^11, rounded down, and kept from 0 to 4,095."""

HEAD_SHIFT = 12
"""Sums of the last layer, and then those over features, are divided by 2^12 and 2^8."""

FEATURE_SHIFT = 8

SHARE_BITS = 24
"""A code that is as short as the shortest has a share of 2^24 before shares are made to add up."""

_FRACTIONS: Integers = np.floor(2.0 ** (SHARE_BITS - np.arange(BIT) / BIT) + 0.5).astype(np.int64)

ABREAST = 4
"""Steps that are worked on side by side, at most; more would take more memory and no less time."""

_LONGEST = (SHARE_BITS + 1) * BIT
"""256ths of a bit beyond the shortest code from which on a share is 0."""

_SHARES: Float64 = (
    _FRACTIONS[np.arange(_LONGEST + 1) % BIT] >> np.arange(_LONGEST + 1) // BIT
).astype(np.float64)


@dataclass(frozen=True)
class NetworkTensors:
    """A level's prior as the weights file has it; whole numbers throughout.

    Attributes:
        sizes: (groups,) codes of the slots in each group. A level's slots are cut into groups of
            the same number of slots; those of a group do not look at each other.
        lengths: (sum of slots x codes,) of each code in the static table, in 256ths of a bit,
            group after group and slot after slot.
        features: (sum of slots x codes, features) what each code stands for; the last is the
            logarithm of its energy.
        context_weight, context_bias: (hidden, inputs) and (hidden,) of the layer over what is known
            before the step.
        within_weight: (hidden, own inputs) of the same layer over the groups before.
        middle_weight, middle_bias: (hidden, hidden), (hidden,).
        head_weight, head_bias: (slots x (features + 1), hidden), (slots x (features + 1),).
    """

    sizes: NDArray[np.int32]
    lengths: NDArray[np.int16]
    features: NDArray[np.int8]
    context_weight: NDArray[np.int16]
    context_bias: NDArray[np.int32]
    within_weight: NDArray[np.int16]
    middle_weight: NDArray[np.int16]
    middle_bias: NDArray[np.int32]
    head_weight: NDArray[np.int16]
    head_bias: NDArray[np.int32]

    @classmethod
    def of(cls, tensors: Mapping[str, NDArray[np.generic]]) -> NetworkTensors:
        """From tensors by name."""
        return cls(**{name: tensors[name] for name in cls.__dataclass_fields__})  # type: ignore[arg-type]


def frequencies_of(lengths: Float64) -> Float64:
    """(n, codes) lengths in 256ths of a bit, whole numbers, to frequencies of at least 1 that add
    up to 65,536.

    Shares are below 2^25, their sums below 2^39 and their products with 65,536 below 2^41: a
    quotient of such numbers lies further below the next whole one than a float64 rounds.
    """
    apart = lengths - lengths.min(axis=1, keepdims=True)
    shares = _SHARES[np.minimum(apart, _LONGEST, out=apart).astype(np.intp)]
    total = shares.sum(axis=1, keepdims=True)
    shares *= TOTAL - lengths.shape[1]
    shares /= total
    out: Float64 = np.floor(shares, out=shares)
    out += 1
    best = out.argmax(axis=1)
    out[np.arange(len(out)), best] += TOTAL - out.sum(axis=1)
    return out


class NetworkPrior:
    """Prior of one level.

    Args:
        tensors: of this level.
        coarser: priors of the levels before, coarse to fine, whose codes it looks at.
    """

    def __init__(self, tensors: NetworkTensors, coarser: Sequence[NetworkPrior] = ()) -> None:
        self.coarser = list(coarser)
        self.seen = tensors.features.shape[1]
        self.sizes = tensors.sizes.tolist()
        self.groups = len(self.sizes)
        self.slots = len(tensors.head_bias) // (self.seen + 1)
        self.width = self.slots // self.groups
        self.tensors = tensors
        self._features: list[Integers] = []
        self._lengths: list[Integers] = []
        at = 0
        for size in self.sizes:
            rows = slice(at, at + self.width * size)
            self._features.append(
                tensors.features[rows].astype(np.int64).reshape(self.width, size, -1)
            )
            self._lengths.append(tensors.lengths[rows].astype(np.int64).reshape(self.width, size))
            at += self.width * size

    @cached_property
    def _layers(self) -> tuple[Float64, ...]:
        """Context, bias, within, middle and bias, with the division that follows in them: by powers
        of two, which leaves sums exact."""
        t = self.tensors
        found = (t.context_weight, t.context_bias, t.within_weight, t.middle_weight, t.middle_bias)
        return tuple(
            np.ascontiguousarray(a.astype(np.float64).T) * 2.0**-HIDDEN_SHIFT for a in found
        )

    @cached_property
    def _heads(self) -> list[tuple[Float64, Float64]]:
        """The last layer's weights and bias of each group, as in :attr:`_layers`."""
        per = self.width * (self.seen + 1)
        weight, bias = (
            a.astype(np.float64) * 2.0**-HEAD_SHIFT
            for a in (self.tensors.head_weight, self.tensors.head_bias)
        )
        rows = (slice(at, at + per) for at in range(0, self.groups * per, per))
        return [(np.ascontiguousarray(weight[mine].T), bias[mine]) for mine in rows]

    @cached_property
    def _tables(self) -> list[Float64]:
        """For each group (slots, features + 2, codes): what a code's length is less for each
        feature and for the square of the last over 32, rounded down, and its length in the static
        table."""
        out = []
        for found, lengths in zip(self._features, self._lengths):
            square = found[..., -1:] ** 2 // 32
            less = np.concatenate([found, square], axis=-1) * -(2.0**-FEATURE_SHIFT)
            table = np.concatenate([less, lengths[..., None]], axis=-1)
            out.append(np.ascontiguousarray(table.transpose(0, 2, 1)))
        return out

    def features(self, tokens: Tokens, first: int = 0) -> Integers:
        """(steps, slots) tokens of some groups, from the ``first`` on, to (steps, slots,
        features)."""
        out = np.empty((*tokens.shape, self.seen), np.int64)
        slot = np.arange(self.width)
        for group in range(tokens.shape[1] // self.width):
            columns = slice(group * self.width, (group + 1) * self.width)
            out[:, columns] = self._features[first + group][slot, tokens[:, columns]]
        return out

    def known(self, coarser: Sequence[Tokens]) -> Float64 | None:
        """(steps, inputs) of the coarser levels: features in this step, and the last feature in the
        steps before and behind, 0 beyond the ends."""
        parts = []
        for prior, tokens in zip(self.coarser, coarser):
            found = prior.features(tokens)
            energy = np.zeros((len(tokens) + 2, prior.slots))
            energy[1:-1] = found[..., -1]
            parts += [found.reshape(len(tokens), -1), energy[:-2], energy[2:]]
        return np.concatenate(parts, axis=1).astype(np.float64) if parts else None

    def base(self, before: Float64, known: Float64 | None, first: NDArray[np.bool_]) -> Float64:
        """(steps, hidden) of the first layer from what is known before a step: the features of the
        step before, 0 where it is the first."""
        parts = [before] + ([] if known is None else [known]) + [first[:, None].astype(np.float64)]
        out: Float64 = np.concatenate(parts, axis=1) @ self._layers[0]
        out += self._layers[1]
        return out

    def lengths(self, sums: Float64, group: int) -> Float64:
        """(steps, hidden) sums of the first layer to (slots of the group, steps, codes) lengths in
        256ths of a bit."""
        _, _, _, middle, bias = self._layers
        head, head_bias = self._heads[group]
        hidden = floored(floored(sums.copy(), HIDDEN_TOP) @ middle + bias, HIDDEN_TOP)
        shift = hidden @ head
        shift += head_bias
        given = np.ones((self.width, len(sums), self.seen + 2))
        np.floor(shift.reshape(len(sums), self.width, -1).transpose(1, 0, 2), out=given[..., :-1])
        out: Float64 = given @ self._tables[group]
        return np.ceil(out, out=out)

    def abreast(self, tokens: Sequence[Tokens], coarser: Sequence[Sequence[Tokens]]) -> Walk:
        """Through (steps, slots) tokens of several clips side by side, as they stand; ``coarser``
        has those of the levels before."""
        known = [one for one in map(self.known, coarser) if one is not None]
        first = np.concatenate([_begins(len(one)) for one in tokens])
        return self.walk(np.concatenate(tokens), np.concatenate(known) if known else None, first)

    def rows(self, tokens: Sequence[Tokens], coarser: Sequence[Sequence[Tokens]]) -> list[Rows]:
        """What tokens of several clips are written under, as for :meth:`abreast`."""
        ends = np.cumsum([len(one) for one in tokens])[:-1]
        walk = self.abreast(tokens, coarser)
        found = [rows for rows, _ in self._rows(walk, np.concatenate(tokens))]
        parts = [np.split(rows, ends, axis=1) for rows in found]
        return [list(rows) for rows in zip(*parts)]

    def walk(self, tokens: Tokens, known: Float64 | None, first: NDArray[np.bool_]) -> Walk:
        """Through (steps, slots) tokens as they stand.

        Args:
            tokens: of one clip or several, one after another.
            known: from :meth:`known`, of each clip, one after another.
            first: (steps,) where a clip begins.
        """
        own = self.features(tokens).reshape(len(tokens), -1).astype(np.float64)
        before = np.zeros_like(own)
        before[1:] = own[:-1]
        before[first] = 0.0
        return Walk(self, own, self.base(before, known, first), first)

    def bits(self, tokens: Tokens, known: Float64 | None) -> float:
        """Bits that (steps, slots) tokens take."""
        total = 0.0
        for rows, mine in self._rows(self.walk(tokens, known, _begins(len(tokens))), tokens):
            taken = np.take_along_axis(rows, mine.T[..., None], axis=-1)
            total += float(np.log2(TOTAL / taken).sum())
        return total

    def _rows(self, walk: Walk, tokens: Tokens) -> Iterator[tuple[Float64, Tokens]]:
        """Of group after group (slots, steps, codes) frequencies and the (steps, slots) tokens."""
        for group in range(self.groups):
            mine = tokens[:, group * self.width : (group + 1) * self.width]
            lengths = walk.lengths()
            codes = lengths.shape[-1]
            yield frequencies_of(lengths.reshape(-1, codes)).reshape(lengths.shape), mine
            walk.take(mine)

    def code(self, coder: Coder, tokens: Tokens, coarser: Sequence[Tokens] = ()) -> Tokens:
        """Writes (steps, slots) tokens and returns them, or reads as many."""
        if not len(tokens):
            return tokens.copy()
        known = self.known(coarser)
        way = self._read if coder.reads else self._write
        return way(coder, tokens, known)

    def _write(self, coder: Coder, tokens: Tokens, known: Float64 | None) -> Tokens:
        walk = self.walk(tokens, known, _begins(len(tokens)))
        for start in range(0, len(tokens), ABREAST):
            some = slice(start, start + ABREAST)
            write_under(
                coder, tokens[some], [f for f, _ in self._rows(walk.part(some), tokens[some])]
            )
        return tokens.copy()

    def _read(self, coder: Coder, tokens: Tokens, known: Float64 | None) -> Tokens:
        out = np.zeros_like(tokens)
        first = _begins(len(tokens))
        before = np.zeros((1, self.slots * self.seen))
        for step in range(len(tokens)):
            here = slice(step, step + 1)
            base = self.base(before, None if known is None else known[here], first[here])
            # What the walk takes it puts in ``before``, for the next step.
            walk = Walk(self, before, base, first[here])
            for group in range(self.groups):
                got = coder.many(tokens[step, : self.width], frequencies_of(walk.lengths()[:, 0]))
                out[step, group * self.width : (group + 1) * self.width] = got
                walk.take(got[None])
        return out


class Walk:
    """Goes through the groups of a level's slots, of many steps side by side; tokens may be chosen
    anew on the way.

    Args:
        prior: of the level.
        own: (steps, slots x features) of the tokens as they stand; changed in place.
        base: (steps, hidden) from :meth:`NetworkPrior.base`; changed in place.
        first: (steps,) where a clip begins.
    """

    def __init__(
        self, prior: NetworkPrior, own: Float64, base: Float64, first: NDArray[np.bool_]
    ) -> None:
        self._prior, self._own, self._base, self._first = prior, own, base, first
        self._group = 0
        self._sums = base.copy()

    def part(self, steps: slice) -> Walk:
        """Of some of the steps alone."""
        return Walk(self._prior, self._own[steps], self._base[steps], self._first[steps])

    def lengths(self) -> Float64:
        """(slots, steps, codes) of the group that is next, each given all tokens before it."""
        return self._prior.lengths(self._sums, self._group)

    def take(self, tokens: Tokens) -> None:
        """Puts (steps, slots) tokens in the group, and goes on to the next; after the last, to the
        first with what was chosen."""
        prior, group = self._prior, self._group
        per = prior.width * prior.seen
        mine = slice(group * per, (group + 1) * per)
        context, _, within, _, _ = prior._layers
        found = prior.features(tokens, group).reshape(len(tokens), -1).astype(np.float64)
        if len(tokens) > 1:
            moved = found - self._own[:, mine]
            moved = np.where(self._first[1:, None], 0.0, moved[:-1])
            if moved.any():
                moved = moved @ context[mine]
                self._base[1:] += moved
                self._sums[1:] += moved
        self._own[:, mine] = found
        self._group = (group + 1) % prior.groups
        if self._group:
            self._sums += found @ within[mine]
        else:
            self._sums = self._base.copy()


def write_under(coder: Coder, tokens: Tokens, rows: Rows) -> None:
    """Writes (steps, slots) tokens under what :meth:`NetworkPrior.rows` found for them."""
    for step, mine in enumerate(tokens):
        at = 0
        for frequencies in rows:
            coder.many(mine[at : at + len(frequencies)], frequencies[:, step])
            at += len(frequencies)


def _begins(steps: int) -> NDArray[np.bool_]:
    """(steps,) of a single clip."""
    return np.arange(steps) == 0


def floored(sums: Float64, top: int) -> Float64:
    """Sums rounded down, and kept from 0 to ``top``; changed in place."""
    np.floor(sums, out=sums)
    np.maximum(sums, 0, out=sums)
    return np.minimum(sums, top, out=sums)
