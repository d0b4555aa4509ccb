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

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from motioncodec.bitstream.entropy import TOTAL, Coder
from motioncodec.bitstream.prior import Tokens

Float64 = NDArray[np.float64]
Integers = NDArray[np.int64]

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


def frequencies_of(lengths: Integers) -> Integers:
    """(n, codes) lengths in 256ths of a bit to frequencies of at least 1 that add up to 65,536."""
    apart = lengths - lengths.min(axis=1, keepdims=True)
    shares = _FRACTIONS[apart % BIT] >> np.minimum(apart // BIT, SHARE_BITS + 1)
    free = TOTAL - lengths.shape[1]
    out: Integers = shares * free // shares.sum(axis=1, keepdims=True) + 1
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
        t = self.tensors
        return tuple(
            np.ascontiguousarray(a.astype(np.float64).T)
            for a in (t.context_weight, t.within_weight, t.middle_weight, t.head_weight)
        )

    @cached_property
    def _shifts(self) -> list[Float64]:
        """For each group (slots, codes, features + 1): the features, and the square of the last
        over 32, rounded down."""
        return [
            np.concatenate([found, found[..., -1:] ** 2 // 32], axis=-1).astype(np.float64)
            for found in self._features
        ]

    def features(self, tokens: Tokens) -> Integers:
        """(steps, slots) tokens to (steps, slots, features)."""
        out = np.empty((*tokens.shape, self.seen), np.int64)
        slot = np.arange(self.width)
        for group, table in enumerate(self._features):
            columns = slice(group * self.width, (group + 1) * self.width)
            out[:, columns] = table[slot, tokens[:, columns]]
        return out

    def known(self, coarser: Sequence[Tokens]) -> Float64 | None:
        """(steps, inputs) of the coarser levels: features in this step, and the last feature in the
        steps before and behind, 0 beyond the ends."""
        parts = []
        for prior, tokens in zip(self.coarser, coarser):
            found = prior.features(tokens)
            energy = np.pad(found[..., -1], ((1, 1), (0, 0)))
            parts += [found.reshape(len(tokens), -1), energy[:-2], energy[2:]]
        return np.concatenate(parts, axis=1).astype(np.float64) if parts else None

    def _base(self, before: Float64, known: Float64 | None, first: Float64) -> Float64:
        """(steps, hidden) sums of what is known before a step."""
        parts = [before] + ([] if known is None else [known]) + [first[:, None]]
        out: Float64 = np.concatenate(parts, axis=1) @ self._layers[0] + self.tensors.context_bias
        return out

    def _group(self, sums: Float64, group: int) -> Integers:
        """(steps, hidden) sums of the first layer to (steps, slots of the group, codes) lengths."""
        _, _, middle, head = self._layers
        hidden = np.clip(np.floor(sums * 2.0**-HIDDEN_SHIFT), 0, HIDDEN_TOP)
        sums = hidden @ middle + self.tensors.middle_bias
        hidden = np.clip(np.floor(sums * 2.0**-HIDDEN_SHIFT), 0, HIDDEN_TOP)
        per = self.width * (self.seen + 1)
        columns = slice(group * per, (group + 1) * per)
        shift = hidden @ head[:, columns] + self.tensors.head_bias[columns]
        shift = np.floor(shift * 2.0**-HEAD_SHIFT).reshape(len(sums), self.width, -1)
        # (slots, codes, features + 1) @ (slots, features + 1, steps)
        moved = self._shifts[group] @ shift.transpose(1, 2, 0)
        moved = np.floor(moved * 2.0**-FEATURE_SHIFT).astype(np.int64).transpose(2, 0, 1)
        out: Integers = self._lengths[group] - moved
        return out

    def lengths(self, tokens: Tokens, known: Float64 | None, group: int) -> Integers:
        """(steps, slots of the group, codes) lengths in 256ths of a bit, each given all tokens that
        are known before it; ``known`` from :meth:`known`."""
        own = self.features(tokens).reshape(len(tokens), -1).astype(np.float64)
        before = np.concatenate([np.zeros((1, own.shape[1])), own[:-1]])
        first = np.zeros(len(tokens))
        first[:1] = 1.0
        sums = self._base(before, known, first)
        part = slice(0, group * self.width * self.seen)
        return self._group(sums + own[:, part] @ self._layers[1][part], group)

    def bits(self, tokens: Tokens, known: Float64 | None, group: int) -> float:
        """Bits that the tokens of a group take."""
        lengths = self.lengths(tokens, known, group)
        mine = tokens[:, group * self.width : (group + 1) * self.width]
        rows = frequencies_of(lengths.reshape(-1, lengths.shape[-1]))
        shares = rows[np.arange(len(rows)), mine.reshape(-1)] / TOTAL
        return float(-np.log2(shares).sum())

    def code(self, coder: Coder, tokens: Tokens, coarser: Sequence[Tokens] = ()) -> Tokens:
        """Writes (steps, slots) tokens and returns them, or reads as many."""
        out = np.zeros_like(tokens)
        if not len(tokens):
            return out
        known = self.known(coarser)
        before = np.zeros((1, self.slots * self.seen))
        first = np.ones(1)
        per = self.width * self.seen
        slot = np.arange(self.width)
        for step in range(len(tokens)):
            row = None if known is None else known[step : step + 1]
            sums = self._base(before, row, first)
            for group in range(self.groups):
                columns = slice(group * self.width, (group + 1) * self.width)
                lengths = self._group(sums, group)[0]
                got = coder.many(tokens[step, columns], frequencies_of(lengths))
                out[step, columns] = got
                mine = self._features[group][slot, got].reshape(1, -1)
                before[:, group * per : (group + 1) * per] = mine
                sums += mine @ self._layers[1][group * per : (group + 1) * per]
            first = np.zeros(1)
        return out
