"""Float32 to the bit: whole numbers (:mod:`motioncodec.bitstream.numbers`), how they count, the few
values that they do not give, and what stands where nothing is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from motioncodec.bitstream.entropy import TOTAL, AdaptiveTables, Coder, code_natural
from motioncodec.bitstream.foretold import Numbers
from motioncodec.bitstream.numbers import code_numbers
from motioncodec.errors import ContainerError

Integers = NDArray[np.int64]
Words = NDArray[np.uint32]
Bool = NDArray[np.bool_]

FLOATS = 0
"""Scale of numbers that count float32 in their order; any other scale s is of decimals, of which a
value has s - 1."""

MAX_SCALE = 15

NO_NUMBER = 0x7FC0_0000
"""What usually stands where nothing is."""

_SAME = np.array([64, TOTAL - 64], np.int64)
"""Frequencies of another word than the one before, and of the same."""


@dataclass(eq=False)
class Exact:
    """(F, K, D) float32 of one person in one chunk.

    Attributes:
        scale: :data:`FLOATS`, or 1 + the number of decimals.
        numbers: what is there.
        strays: (n,) places, ascending, among all values, that numbers do not give.
        words: (n,) their bits.
        gone: (m,) bits of what is missing, in order.
    """

    scale: int
    numbers: Numbers
    strays: Integers
    words: Words
    gone: Words

    @classmethod
    def empty(cls, frames: int, joints: int, dims: int, learned: bool = False) -> Exact:
        """Nothing: what reading starts from."""
        numbers = Numbers.empty(frames, joints, dims, True, learned)
        none = np.zeros(0, np.int64)
        return cls(FLOATS, numbers, none, none.astype(np.uint32), none.astype(np.uint32))


def code_exact(
    coder: Coder,
    given: Exact,
    present: Bool,
    shared: AdaptiveTables,
    covered: Sequence[int] | None = None,
) -> Exact:
    """Writes values and returns them, or reads as many.

    The scale, in 4 bits; numbers; how many strays there are, and of each how many values lie
    between the one before and it, and its bits; then, where anything is missing, what stands there.

    Args:
        coder: either direction.
        given: :meth:`Exact.empty` to read.
        present: (F, K).
        shared: tables of numbers, which adapt.
        covered: as for :func:`code_numbers`.
    """
    frames, joints, dims = given.numbers.differences.shape
    scale = coder.bits(given.scale, 4)
    asked = given.numbers
    if asked.floats != (scale == FLOATS):
        asked = Numbers.empty(frames, joints, dims, scale == FLOATS, asked.learned)
    numbers = code_numbers(coder, asked, present, shared, covered)
    count = code_natural(coder, len(given.strays))
    if count > frames * joints * dims:
        raise ContainerError(
            f"exact: expected strays among {frames * joints * dims} values, found {count}"
        )
    strays, words, at = np.zeros(count, np.int64), np.zeros(count, np.uint32), -1
    for i in range(count):
        skipped = code_natural(coder, int(given.strays[i]) - at - 1 if len(given.strays) else 0)
        words[i] = coder.bits(int(given.words[i]) if len(given.words) else 0, 32)
        at += 1 + skipped
        strays[i] = at
    if at >= frames * joints * dims:
        raise ContainerError("exact: expected strays among the values, found one behind them")
    return Exact(scale, numbers, strays, words, _code_gone(coder, given.gone, present, dims))


def _code_gone(coder: Coder, given: Words, present: Bool, dims: int) -> Words:
    """Bits of missing values: one bit where all are the usual; else whether each is as the one
    before, and those that are not."""
    count = int((~present).sum()) * dims
    usual = np.full(count, NO_NUMBER, np.uint32)
    if not count:
        return usual
    if not coder.bits(int(len(given) == count and not np.array_equal(given, usual)), 1):
        return usual
    mine = given if len(given) == count else usual
    same = (np.diff(mine.astype(np.int64), prepend=NO_NUMBER) == 0).astype(np.int64)
    same = coder.many(same, np.broadcast_to(_SAME, (count, 2)))
    out = usual.copy()
    last = NO_NUMBER
    changes = np.flatnonzero(same == 0).tolist()
    for start, stop in zip(changes, [*changes[1:], count]):
        last = coder.bits(int(mine[start]), 32)
        out[start:stop] = last
    return out
