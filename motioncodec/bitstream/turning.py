"""Components that turn with the motion: an orthonormal basis for every few frequencies of a window,
made from what is known about it.

What moves in one direction of the pose at one frequency, or in the window before, moves in nearly
the same at the next. A basis is a step of orthogonal iteration towards the principal components of
known vectors, weighted by how near they are, and of the motion that a body makes at that frequency
at large (Karhunen-Loeve transform, adapted backward). All of it is in whole numbers below 2^53,
whose sums in float64 are exact in any order, so that it is the same on every machine.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from importlib.resources import files

import numpy as np
from numpy.typing import NDArray

from motioncodec.bitstream.choosing import FREQUENCIES_OFF, SLOTS, WINDOWS_OFF, Network

Integers = NDArray[np.int64]
Float64 = NDArray[np.float64]

ONE = 14
"""Vectors of a basis are as long as 2 to this power."""

FRACTION = 6
"""What numbers become, in components of the pose, is in steps over 2 to this power."""

MOST = 1 << 18
"""Coordinates count as no more than this, in these, where bases and contexts are made."""

BANDS = np.array([12, 35, 70, 120, 200, 320, 500, 800])
"""In hundredths of a hertz, where the next band of frequencies begins. The first is that of the
windows' means alone."""

REACH = 24
"""Frequencies before, in the own window, from which a basis is made."""

_PRIOR = 32
"""64ths of what is known that the motion at large counts as."""

_TRACE = 26
"""Sums of variances are as many bits."""


@dataclass(frozen=True)
class Prior:
    """Motion at large, by band.

    Attributes:
        bases: (9, 60, 60) vectors, one to a row.
        covariances: (9, 60, 60), of which the diagonals add up to about 2^20.
        alike: (9,) what coordinates are multiplied with, in 256ths, so that those of all bands but
            the first are alike.
    """

    bases: Float64
    covariances: Float64
    alike: Float64


@dataclass(frozen=True)
class Kit:
    """What the coding of some kind of pose starts from.

    Attributes:
        prefix: of the names of its files, beside this one.
        network: which chooses tables.
    """

    prefix: str
    network: Network

    @cached_property
    def prior(self) -> Prior:
        """``bands.bin``, little-endian: ``alike`` (9,) and variances along the vectors (9, 60) in
        32 bits, then vectors (9, 60, 60) in 16, signed."""
        raw = (files("motioncodec.bitstream") / f"{self.prefix}bands.bin").read_bytes()
        count = len(BANDS) + 1
        whole = np.frombuffer(raw, "<i4", count * (1 + SLOTS)).astype(np.float64)
        alike, variances = whole[:count], whole[count:].reshape(count, SLOTS)
        found = np.frombuffer(raw, "<i2", offset=4 * len(whole)).astype(np.float64)
        bases = found.reshape(count, SLOTS, SLOTS)
        spread = bases.transpose(0, 2, 1) * variances[:, None]
        return Prior(bases, np.rint(spread @ bases * 2.0 ** (-2 * ONE)), alike)

    @cached_property
    def components(self) -> tuple[Float64, Float64, Float64]:
        """(60,) mean pose in body units; (60, 60) components, one to a column, largest first,
        orthonormal to what 16 bits hold; and (60,) their standard deviations.

        ``components.bin``: mean and deviations in 2^-13, components row by row in 2^-15, all
        16-bit, signed, little-endian.
        """
        raw = (files("motioncodec.bitstream") / f"{self.prefix}components.bin").read_bytes()
        whole = np.frombuffer(raw, "<i2")
        mean, spread, basis = whole[:SLOTS], whole[SLOTS : 2 * SLOTS], whole[2 * SLOTS :]
        return mean / 2.0**13, basis.reshape(SLOTS, SLOTS) / 2.0**15, spread / 2.0**13


def _kit(prefix: str) -> Kit:
    return Kit(prefix, Network(f"{prefix}turning.bin", depths=8, seen=9, mixed=(0, 1, 3)))


PLACED, FREE = _kit(""), _kit("free_")
"""Of poses about their hips, whose path is told before them, and about their centre."""


def bands_of(size: int) -> Integers:
    """(size,) bands of a window's frequencies."""
    # (k + 1/2) / size of 15 hertz, in hundredths
    k = np.arange(size)
    out: Integers = np.searchsorted(BANDS * 2 * size, 1500 * (2 * k + 1), side="right")
    return np.where(k == 0, 0, np.maximum(out, 1))


def groups_of(size: int) -> list[int]:
    """Frequencies from which on there is another basis, up to ``size``."""
    out = [0]
    while out[-1] < size:
        out.append(max(out[-1] + 1, (5 * out[-1] + 3) // 4))
    return out[:-1]


_OWN = [(0, -j, 0.85 ** (j - 1)) for j in range(1, REACH + 1)]
_BEFORE = [
    (-w, k, one * near)
    for w, one in ((1, 1.0), (2, 0.6))
    for k, near in ((0, 1.0), (1, 0.8), (-1, 0.8))
]
_OFF = np.array([(w, k) for w, k, _ in _OWN + _BEFORE])
"""Windows and frequencies, from where a basis begins, of the vectors that it is made of."""
_WEIGHTS = np.rint(256 * np.array([one for *_, one in _OWN + _BEFORE]))
_ROOTS = np.rint(256 * np.sqrt([one for *_, one in _OWN + _BEFORE]))
"""What each counts as, and is multiplied with, in 256ths."""

_SIXTEENTHS = np.ceil(16 * (2.0 ** (np.arange(1, 193) / 16) - 1) - 1e-9)
"""From how many 16ths of a step on the logarithm of 1 and the steps is the next 16th;"""
_ENERGIES = np.ceil(16 * (2.0 ** (np.arange(1, 193) / 8) - 1) - 1e-9)
"""from how many of squared steps, the next eighth;"""
_VARIANCES = np.ceil(2.0 ** (20 + np.arange(1, 193) / 8))
"""and from which variance along a vector of a basis."""


class Turning:
    """Bases of a chunk as they become known, and tables for numbers in them.

    Args:
        shape: windows and frequencies.
        classes: (frequencies,) of each frequency, for the network.
        depth, step: classes of the window's length and of the step.
        kit: what to start from.

    Attributes:
        bases: (windows, 60, 60) of each window's group that comes, a vector to a row, in 2^-14.
        vectors: (windows, frequencies, 60) what was put, in components, in 64ths of a step.
    """

    def __init__(
        self, shape: tuple[int, int], classes: Integers, depth: int, step: int, kit: Kit
    ) -> None:
        windows, size = shape
        self.kit = kit
        self._shape = shape
        self._bands = bands_of(size)
        self._known = np.zeros((windows + 2, size + REACH + 1, SLOTS))
        self.vectors = np.zeros((windows, size, SLOTS), np.int64)
        self.bases = np.zeros((windows, SLOTS, SLOTS))
        self._first = np.zeros((windows, SLOTS, SLOTS))
        self._seen = np.zeros((2, windows, SLOTS))
        self._rows = kit.network.of_rows(classes, depth, step)

    def walk(self, counts: Integers) -> Iterator[tuple[Integers, Integers]]:
        """Rows of windows w and their frequencies k as they follow each other, of windows with so
        many frequencies: each window two groups behind the one before. Whoever walks puts what is
        there."""
        size = int(counts.max(initial=0))
        starts = np.array([*groups_of(size), size])
        every = np.arange(len(counts))
        for turn in range(len(starts) - 1 + 2 * len(counts)):
            group = turn - 2 * every
            here = (group >= 0) & (group < len(starts) - 1)
            here[here] &= starts[group[here]] < counts[here]
            w = every[here]
            if not len(w):
                continue
            start, stop = starts[group[w]], np.minimum(starts[group[w] + 1], counts[w])
            self._turn(w, start)
            for more in range(int((stop - start).max())):
                there = start + more < stop
                yield w[there], start[there] + more

    def _turn(self, w: Integers, k: Integers) -> None:
        """Makes the bases of some windows from frequencies k on."""
        given = self.kit.prior
        bands = self._bands[k]
        at = w[:, None] + 2 + _OFF[:, 0], k[:, None] + REACH + _OFF[:, 1]
        frequencies = k[:, None] + _OFF[:, 1]
        # The means are a matter of their own.
        there = (frequencies >= 0) & (frequencies < self._shape[1]) & (w[:, None] + _OFF[:, 0] >= 0)
        there &= (frequencies > 0) == (k[:, None] > 0)
        alike = given.alike[self._bands[np.clip(frequencies, 0, self._shape[1] - 1)]]
        factors = np.where(there, alike * _ROOTS, 0.0)
        near = np.rint(self._known[at] * factors[:, :, None] * 2.0**-16)
        bits = np.frexp(np.abs(near).max(axis=(1, 2)))[1]
        spare = np.maximum(bits - 20, 0)
        near = np.rint(np.ldexp(near, -spare[:, None, None]))
        spread = np.matmul(near.transpose(0, 2, 1), near)
        trace = np.einsum("bii->b", spread)
        base = self.bases[w]
        # Where a window begins, the one before it may lend its own.
        lent = (k == 1) & self._known[w + 1, REACH + 1].any(axis=1)
        base[k < 2] = given.bases[bands[k < 2]]
        base[lent] = self._first[w[lent] - 1]
        known = trace > 0
        shift = _TRACE - np.frexp(np.maximum(trace, 1))[1]
        whole = np.rint(np.ldexp(trace, shift))
        spread = np.rint(np.ldexp(spread, shift[:, None, None]))
        whole[~known] = 2.0**_TRACE
        at_large = given.covariances[bands] * (whole * _PRIOR)[:, None, None]
        spread += np.rint(at_large * 2.0**-26)
        spread[:, range(SLOTS), range(SLOTS)] += 256
        base[~known] = given.bases[bands[~known]]
        base[known] = _orthonormal(np.rint(np.matmul(base[known], spread[known]) * 2.0**-4))
        ends = np.rint(np.matmul(base, spread) * 2.0**-10)
        variances = (ends * base).sum(axis=2)
        order = np.argsort(-variances, axis=1, kind="stable")
        base = np.take_along_axis(base, order[:, :, None], axis=1)
        variances = np.take_along_axis(variances, order, axis=1)
        self.bases[w] = base
        self._first[w[k == 1]] = base[k == 1]
        weights = np.where(there, _WEIGHTS, 0.0).sum(axis=1) + 64
        energy = np.ldexp(trace, 2 * spare) * 2.0**16 / weights / given.alike[bands] ** 2
        self._seen[0, w] = np.searchsorted(_VARIANCES, variances, side="right")
        self._seen[1, w] = np.searchsorted(_ENERGIES, energy, side="right")[:, None]

    def seen(self, w: Integers, k: Integers) -> Float64:
        """(9, rows, 60) what the network looks at, but for mixtures."""
        out = np.empty((self.kit.network.seen, len(w), SLOTS))
        near = self._known[w[:, None] + 2 + WINDOWS_OFF, k[:, None] + REACH + FREQUENCIES_OFF]
        turned = np.abs(np.matmul(near, self.bases[w].transpose(0, 2, 1)))
        sixteenths = np.rint(turned * 2.0 ** (4 - FRACTION - ONE))
        out[:7] = np.searchsorted(_SIXTEENTHS, sixteenths, side="right").transpose(1, 0, 2)
        out[7:] = self._seen[:, w]
        return out

    def tables(self, w: Integers, k: Integers) -> Integers:
        """(rows, 60) tables of numbers in their bases."""
        return self.kit.network.choose(self.seen(w, k), slice(None), self._rows[k])

    def turned(self, w: Integers, vectors: Float64) -> Float64:
        """(rows, 60) vectors, in components of the pose, as coordinates in the bases."""
        out: Float64 = np.matmul(self.bases[w], vectors[:, :, None])[:, :, 0] * 2.0**-ONE
        return out

    def put(self, w: Integers, k: Integers, numbers: Integers) -> None:
        """Notes (rows, 60) numbers."""
        found = np.matmul(numbers[:, None].astype(np.float64), self.bases[w])[:, 0]
        found = np.rint(found * 2.0 ** (FRACTION - ONE))
        self.vectors[w, k] = found
        self._known[w + 2, k + REACH] = np.clip(found, -MOST, MOST)


def _orthonormal(rows: Float64) -> Float64:
    """(B, 60, 60) rows of whole numbers, at most 2^37, made orthonormal one after another (modified
    Gram-Schmidt), to whole numbers."""
    left, out = rows, np.empty_like(rows)
    for i in range(rows.shape[1]):
        row = left[:, 0]
        bits = np.frexp(np.abs(row).max(axis=1))[1]
        row = np.rint(np.ldexp(row, (23 - bits)[:, None]))
        norm = np.sqrt((row * row).sum(axis=1))[:, None]
        unit = np.rint(row * 2.0**ONE / np.maximum(norm, 1.0))
        out[:, i] = unit
        square = np.maximum((unit * unit).sum(axis=1), 1.0)[:, None, None]
        along = np.rint(np.matmul(left[:, 1:], unit[:, :, None]) * 2.0**ONE / square)
        left = left[:, 1:] - np.rint(along * unit[:, None] * 2.0**-ONE)
    for _ in range(2):
        # What rounding left of one in another (Newton and Schulz).
        inner = np.rint(np.matmul(out, out.transpose(0, 2, 1)) * 2.0**-ONE)
        out = np.rint((3 * out - np.matmul(inner, out) * 2.0**-ONE) / 2)
    return out
