"""The static prior over tokens: how likely each token is after the one before it in its slot.

Every slot of every level has ``classes`` tables. The token before in the same slot, through a map
from token to class that belongs to the weights, picks the table; class 0 is also what the first
token of a chunk has. Frequencies are integers from the weights file, so any machine decodes alike.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from motioncodec.bitstream.entropy import TOTAL, Coder, Table, normalise

Tokens = NDArray[np.int64]


class Prior(Protocol):
    """What a level's tokens are written under."""

    @property
    def slots(self) -> int:
        """Tokens per step."""

    def code(self, coder: Coder, tokens: Tokens, coarser: Sequence[Tokens] = ()) -> Tokens:
        """Writes (steps, slots) tokens and returns them, or reads as many; ``coarser`` has those of
        the levels before."""


class LevelPrior:
    """Static prior of one level.

    Args:
        frequencies: (slots, classes, codes) uint16 that add up to 65,536 in each table.
        class_of: (slots, codes) uint8: the class that a token puts its successor in.
    """

    def __init__(self, frequencies: NDArray[np.uint16], class_of: NDArray[np.uint8]) -> None:
        self.frequencies, self.class_of = frequencies, class_of
        self._tables: dict[tuple[int, int], Table] = {}

    @property
    def slots(self) -> int:
        """Tokens per step."""
        return int(self.frequencies.shape[0])

    @cached_property
    def lengths(self) -> NDArray[np.float32]:
        """(slots, classes, codes) code lengths in bits."""
        out: NDArray[np.float32] = np.log2(TOTAL / self.frequencies.astype(np.float32))
        return out

    def _table(self, slot: int, kind: int) -> Table:
        table = self._tables.get((slot, kind))
        if table is None:
            table = self._tables[slot, kind] = Table(self.frequencies[slot, kind])
        return table

    def code(self, coder: Coder, tokens: Tokens, coarser: Sequence[Tokens] = ()) -> Tokens:
        """Writes (steps, slots) tokens and returns them, or reads as many."""
        out = np.empty(tokens.shape, dtype=np.int64)
        for slot in range(self.slots):
            kinds = self.class_of[slot].tolist()
            kind = 0
            column = out[:, slot]
            for step, token in enumerate(tokens[:, slot].tolist()):
                token = coder.code(token, self._table(slot, kind))
                column[step] = token
                kind = kinds[token]
        return out

    @classmethod
    def fit(
        cls,
        runs: Sequence[Tokens],
        codebook: NDArray[np.float32],
        classes: int,
        smoothing: float = 12.0,
    ) -> LevelPrior:
        """Fits tables to runs of (steps, slots) tokens.

        Classes are clusters of a slot's code vectors (k-means), so that tokens that mean nearly the
        same predict alike. A class's table is its counts plus ``smoothing`` times the slot's own
        distribution; class 0 also counts the first token of every run.

        Args:
            runs: tokens of training clips, in order of time.
            codebook: (slots, codes, latent).
            classes: tables per slot.
            smoothing: how many counts the slot's distribution is worth.
        """
        slots, codes, _ = codebook.shape
        frequencies = np.zeros((slots, classes, codes), dtype=np.uint16)
        class_of = np.zeros((slots, codes), dtype=np.uint8)
        for slot in range(slots):
            order0 = np.full(codes, 0.3)
            for run in runs:
                order0 += np.bincount(run[:, slot], minlength=codes)
            labels = _cluster(codebook[slot].astype(np.float64), order0, classes)
            counts = np.zeros((classes, codes))
            for run in runs:
                column = run[:, slot]
                kinds = np.concatenate([[0], labels[column[:-1]]])
                np.add.at(counts, (kinds, column), 1.0)
            share = order0 / order0.sum()
            # More counts for the shared part where a class has seen more: a few hundred steps say
            # little about a thousand codes.
            counts += (smoothing + 2.0 * np.sqrt(counts.sum(1, keepdims=True))) * share
            frequencies[slot] = normalise(counts)
            class_of[slot] = labels
        return cls(frequencies, class_of)


def _cluster(
    vectors: NDArray[np.float64], weight: NDArray[np.float64], classes: int
) -> NDArray[np.uint8]:
    """(codes,) cluster of each vector: weighted k-means from a start that does not vary."""
    if classes == 1:
        return np.zeros(len(vectors), dtype=np.uint8)
    centres = [vectors[int(weight.argmax())]]
    nearest = ((vectors - centres[0]) ** 2).sum(1)
    for _ in range(classes - 1):
        centres.append(vectors[int((nearest * weight).argmax())])
        nearest = np.minimum(nearest, ((vectors - centres[-1]) ** 2).sum(1))
    centre = np.array(centres)
    labels = np.zeros(len(vectors), dtype=np.int64)
    for _ in range(20):
        labels = ((vectors[:, None] - centre[None]) ** 2).sum(-1).argmin(1)
        for kind in range(classes):
            mine = labels == kind
            if mine.any():
                centre[kind] = np.average(vectors[mine], axis=0, weights=weight[mine])
    return labels.astype(np.uint8)
