"""A body's motion without tokens, as whole numbers: the spectrum of its pose.

Coefficients of a lapped transform over time of principal components of the pose
(:mod:`motioncodec.spectrum`), in bases that turn with the motion (:mod:`.turning`), or, in older
files, in these components themselves, coded as what is left over is (:mod:`.refinement`), with a
network of their own. Windows are as long as suits the chunk, which is told.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from motioncodec.bitstream.choosing import FREQUENCIES, SLOTS, STEPS, Chooser, Network
from motioncodec.bitstream.entropy import Coder, code_signs
from motioncodec.bitstream.magnitudes import (
    LARGEST,
    code_counts,
    code_magnitudes,
    counts_of,
    diagonals,
)
from motioncodec.bitstream.turning import FRACTION, FREE, PLACED, Kit, Turning

Integers = NDArray[np.int64]

NETWORK = Network("spectrum.bin", depths=8)
"""Of spectra that do not turn."""

LONGEST = 3
"""Windows are about 64 model frames long, or 2, 4 or 8 times that: 2 to this power at most."""

STEP_BITS = 32
"""Steps are powers of 2^(1/32) body units."""

_CLASS_FROM = np.ceil(8 * (2.0 ** (np.arange(1, FREQUENCIES) / 9) - 1) - 1e-9).astype(np.int64)
"""In 512ths of the model rate's half, where the next class of frequencies begins."""

_LENGTHS = np.array([46, 64, 91, 128, 182, 256, 363])
"""Frequencies in a window from which on it is of the next class."""


def step_of(exponent: int) -> float:
    """A step, in body units, as the header has it."""
    return float(2.0 ** (exponent / STEP_BITS))


def exponent_of(step: float) -> int:
    """Inverse of :func:`step_of`, at most half of a 32nd of an octave off."""
    return round(STEP_BITS * math.log2(step))


def shape_of(frames: int, longer: int) -> tuple[int, int, int]:
    """Shape of the spectrum of so many model frames, from 1: windows, frequencies, components.
    Windows are as near to 64 times 2^longer frames as leaves next to nothing behind the end."""
    windows = max((frames + (32 << longer)) // (64 << longer), 1)
    return windows, 2 * -(-frames // (2 * windows)), SLOTS


def classes_of(size: int, step: int) -> tuple[Integers, int, int]:
    """Classes of a window's (size,) frequencies, of its length, and of the step."""
    classes = np.searchsorted(_CLASS_FROM, np.arange(size) * 512 // size, side="right")
    length = int(np.searchsorted(_LENGTHS, size, side="right"))
    return classes, length, min(max((step + 192) // 8, 0), STEPS - 1)


def chooser(shape: tuple[int, int], step: int) -> Chooser:
    """What chooses tables for windows and frequencies of a spectrum of a step 2^(step / 32)."""
    return Chooser(NETWORK, shape, range(SLOTS), *classes_of(shape[1], step))


def tables_of(given: Integers, step: int) -> Integers:
    """(W, n, SLOTS) tables of the first n of a spectrum's frequencies; what encoders look at."""
    windows, size, _ = given.shape
    top = int(counts_of(given).max(initial=0)) + 1
    out = np.zeros(given.shape, np.int64)
    w, k = (at.reshape(-1) for at in np.indices((windows, min(top, size))))
    contexts = chooser((windows, size), step)
    contexts.put(w, k, np.minimum(np.abs(given[w, k]), LARGEST))
    out[w, k] = contexts.tables(w, k)
    if top < size:
        # Beyond the last number all is nearly alike but for the frequency's class.
        rest = np.arange(top, size)
        out[:, top:] = contexts.tables(np.full(len(rest), windows - 1), rest)
    return out


@dataclass(frozen=True)
class Spectrum:
    """A spectrum of W windows of n frequencies.

    Attributes:
        numbers: (W, n, 60) that are written.
        vectors: (W, n, 60) what they are in components of the pose, in 64ths of a step.
    """

    numbers: NDArray[np.signedinteger]
    vectors: NDArray[np.signedinteger]

    @classmethod
    def empty(cls, frames: int) -> Spectrum:
        """Of so many model frames."""
        none = np.zeros(shape_of(frames, 0), np.int64)
        return cls(none, none)

    def slim(self) -> Spectrum:
        """In as few bytes as will do."""
        return Spectrum(self.numbers.astype(np.int32), self.vectors.astype(np.int32))


class Kind(NamedTuple):
    """What a spectrum is of, and in.

    Attributes:
        step: exponent of 2^(step / 32).
        turns: its bases turn with the motion.
        free: poses are about their centre, not about their hips; only if its bases turn.
    """

    step: int
    turns: bool
    free: bool

    @property
    def kit(self) -> Kit:
        """What its coding starts from."""
        return FREE if self.free else PLACED


def turning(shape: tuple[int, int], kind: Kind) -> Turning:
    """What a spectrum of so many windows and frequencies is in."""
    return Turning(shape, *classes_of(shape[1], kind.step), kind.kit)


def code_spectrum(coder: Coder, given: Spectrum, frames: int, kind: Kind) -> Spectrum:
    """Writes the spectrum of so many model frames and returns it, or reads one.

    How long windows are; how many frequencies each has, up to the last that is not all 0; then
    magnitudes and signs, row by row where the bases turn, else all signs last.
    """
    shapes = [shape_of(frames, longer) for longer in range(LONGEST + 1)]
    longer = coder.bits(shapes.index(given.numbers.shape) if not coder.reads else 0, 2)
    windows, size, _ = shapes[longer]
    numbers = np.zeros(shapes[longer], np.int64)
    if not coder.reads:
        numbers = given.numbers.astype(np.int64)
    counts = code_counts(coder, numbers, "spectrum")
    sizes, found = np.abs(numbers), np.zeros_like(numbers)
    if kind.turns:
        bases, tables = turning((windows, size), kind), kind.kit.network.tables
        for w, k in bases.walk(counts):
            row = code_magnitudes(coder, sizes[w, k], tables[bases.tables(w, k)])
            found[w, k] = code_signs(coder, numbers[w, k], row)
            bases.put(w, k, found[w, k])
        return Spectrum(found, bases.vectors)
    contexts = chooser((windows, size), kind.step)
    for w, k in diagonals(counts):
        row = code_magnitudes(coder, sizes[w, k], NETWORK.tables[contexts.tables(w, k)])
        found[w, k] = row
        contexts.put(w, k, np.minimum(row, LARGEST))
    found = code_signs(coder, numbers, found)
    return Spectrum(found, found << FRACTION)
