"""Corrections of frames between key frames, in whole numbers.

Where frames follow each other faster than a motion changes, most of them lie within the bound of a
curve through a few. Every second, fourth, eighth and so on frame of a chunk is a key frame then,
and so is the last one. The frames half-way between those that are known are foretold by these
(:mod:`motioncodec.interpolation` has the arithmetic), then the ones half-way between all of these,
until none is left; the few samples that are too far from it get a correction each.

All frames half-way at one distance are told 64 at a time, a joint after the other: whether a sample
has a correction under a table chosen by which of the frames about it have one, which of the joints
before it, and how often the joint has had one; then what corrections are. Tables adapt.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

import numpy as np
from numpy.typing import NDArray

from motioncodec.bitstream.entropy import TOTAL, AdaptiveTables, Coder, code_signs
from motioncodec.bitstream.magnitudes import SYMBOLS, code_magnitudes, level_of

Integers = NDArray[np.int64]
Bool = NDArray[np.bool_]

PARTS = 64
"""Parts of a correction's step that places are told in."""

SPACINGS = 8
"""Key frames are 1, 2, 4, ... 128 frames apart."""

DISTANCES, NEAR, CROWDS, RATES = 3, 3, 4, 8
"""Tables of flags: by how far away the frames are that a frame is between, how many of these two
have a correction, which joints before this one have one, and how often it has had one itself."""

SEEN = 3
"""Tables of magnitudes: by how large those of the coordinates before are, and whether this is the
last one."""

_RATE_LEVELS = level_of(np.arange(65), RATES)

_RATE = 1 << 11
"""What joints' running share of samples with a correction begins at, in 65,536ths."""

_SLOW = 16
"""Samples that this share counts as."""

_ABREAST = 64
"""Frames that are told side by side; then tables take in what they coded."""

_GAIN = 512
"""What a symbol counts as there."""


@dataclass(frozen=True)
class Spacing:
    """Key frames of a chunk.

    Attributes:
        exponent: they are 2^exponent frames apart, 0 to 7.
    """

    exponent: int = 0

    @property
    def stride(self) -> int:
        """Frames from one to the next."""
        return 1 << self.exponent

    def keys(self, frames: int) -> Integers:
        """Key frames of a chunk of so many: every so many from the first on, and the last."""
        every = np.arange(0, frames, self.stride)
        return every if not frames or every[-1] == frames - 1 else np.append(every, frames - 1)

    def rows(self, frames: int) -> Iterator[Row]:
        """The other frames of a chunk of so many, in the order in which they are told."""
        distance = self.stride // 2
        while distance:
            at = np.arange(distance, frames - 1, 2 * distance)
            if len(at):
                yield Row(distance, at, at - distance, np.minimum(at + distance, frames - 1))
            distance //= 2


@dataclass(frozen=True)
class Row:
    """Frames half-way between those that are known by then.

    Attributes:
        distance: frames to either side of a frame to those about it; less before a chunk's end.
        frames: (n,) rising.
        left, right: (n,) those about each.
    """

    distance: int
    frames: Integers
    left: Integers
    right: Integers


EVERY_FRAME = Spacing()
"""All frames are key frames."""


@cache
def _begin() -> tuple[Integers, Integers]:
    """(DISTANCES x NEAR x CROWDS x RATES, 2) frequencies of flags, and (2 x SEEN, SYMBOLS) of
    magnitudes."""
    raw = (files("motioncodec.bitstream") / "between.bin").read_bytes()
    words = np.frombuffer(raw, "<u2").astype(np.int64)
    flags = words[: DISTANCES * NEAR * CROWDS * RATES]
    return np.stack([TOTAL - flags, flags], axis=1), words[len(flags) :].reshape(-1, SYMBOLS)


class BetweenTables:
    """Tables of corrections between key frames, of all people of a chunk."""

    def __init__(self) -> None:
        flags, magnitudes = _begin()
        self.flags = AdaptiveTables(flags, _GAIN)
        self.magnitudes = AdaptiveTables(magnitudes, _GAIN)


def code_spacing(coder: Coder, given: Spacing) -> Spacing:
    """Writes how key frames lie, or reads it."""
    return Spacing(coder.bits(given.exponent, 3))


def code_between(
    coder: Coder, given: Integers, present: Bool, spacing: Spacing, shared: BetweenTables
) -> Integers:
    """Writes (F, K, D) corrections, 0 in key frames and mostly elsewhere, and returns them, or
    reads as many: row by row a flag for each present joint of each frame, magnitudes, their signs.

    Args:
        coder: either direction.
        given: corrections; zeros to read.
        present: (F, K).
        spacing: of the key frames.
        shared: tables, which adapt.
    """
    frames, joints, _ = given.shape
    found = np.zeros((frames, joints), np.int64)
    out = np.zeros_like(given)
    rate = np.full(joints, _RATE, np.int64)
    for row in spacing.rows(frames):
        distance = min(row.distance.bit_length(), DISTANCES) - 1
        flags = (given[row.frames] != 0).any(axis=-1).astype(np.int64)
        near = (distance * NEAR + found[row.left] + found[row.right]) * CROWDS
        here = present[row.frames]
        for start in range(0, len(row.frames), _ABREAST):
            some = slice(start, start + _ABREAST)
            told = _code_flags(coder, flags[some], here[some], near[some], rate, shared.flags)
            found[row.frames[some]] = told
            count = here[some].sum(axis=0)
            share = (told.sum(axis=0) << 16) // np.maximum(count, 1)
            rate += (share - rate) * count // (count + _SLOW)
        at, joint = np.nonzero(found[row.frames])
        if len(at):
            corrected = row.frames[at], joint
            sizes = _code_sizes(coder, np.abs(given[corrected]), shared.magnitudes)
            out[corrected] = code_signs(coder, given[corrected], sizes)
    return out


def _code_flags(
    coder: Coder,
    given: Integers,
    present: Bool,
    near: Integers,
    rate: Integers,
    shared: AdaptiveTables,
) -> Integers:
    """(n, K) which samples have a correction."""
    out = np.zeros_like(given)
    last = second = any_before = np.zeros(len(given), np.int64)
    which_since: list[Integers] = []
    symbols_since: list[Integers] = []
    levels = _RATE_LEVELS[rate >> 10]
    for joint in range(given.shape[1]):
        here = present[:, joint]
        crowd = np.where(last > 0, 2 + second, any_before)
        which = ((near[:, joint] + crowd) * RATES + levels[joint])[here]
        got = shared.code(coder, which, given[here, joint])
        out[here, joint] = got
        second, last = last, out[:, joint]
        any_before = any_before | last
        which_since.append(which)
        symbols_since.append(got)
    shared.adapt(np.concatenate(which_since), np.concatenate(symbols_since))
    return out


def _code_sizes(coder: Coder, given: Integers, shared: AdaptiveTables) -> Integers:
    """(n, D) magnitudes of corrections."""
    out = np.zeros_like(given)
    so_far = np.zeros(len(given), np.int64)
    which_since: list[Integers] = []
    symbols_since: list[Integers] = []
    dims = given.shape[1]
    for k in range(dims):
        which = 2 * so_far + (k == dims - 1)
        out[:, k] = code_magnitudes(coder, given[:, k], shared.frequencies[which])
        which_since.append(which)
        symbols_since.append(np.minimum(out[:, k], SYMBOLS - 1))
        so_far = np.minimum(so_far + out[:, k], SEEN - 1)
    shared.adapt(np.concatenate(which_since), np.concatenate(symbols_since))
    return out
