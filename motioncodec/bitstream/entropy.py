"""Whole numbers to bytes and back with a range coder, in integers only.

A range coder narrows an interval by each symbol's share of it; the bytes name a number inside what
is left. Here the shares are integer frequencies that add up to 65,536, so encoder and decoder
narrow alike on every machine, and `constriction` does the narrowing. It receives each share as a
float64 that holds frequency / 65,536 exactly; FORMAT.md gives the integers that follow from it.

Both directions run the same lines: :meth:`code` takes a value and writes it, or takes anything and
returns what it read. A routine built on it cannot encode one thing and decode another.

An entropy coder does not notice damage; the container's checksums do.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import cache
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from motioncodec.errors import ContainerError

Frequencies = NDArray[np.int64] | NDArray[np.float64]
Shares = NDArray[np.float64]
Symbols = NDArray[np.int64]

TOTAL = 1 << 16
"""What the frequencies of a table add up to."""


def normalise(counts: NDArray[Any]) -> NDArray[np.uint16]:
    """(..., n) counts to (..., n) frequencies of at least 1 that add up to :data:`TOTAL`.

    For the fitting of tables; what is shipped is its result. n is at most 4,096.
    """
    share = counts / counts.sum(axis=-1, keepdims=True)
    free = TOTAL - counts.shape[-1]
    out = np.floor(share * free).astype(np.int64) + 1
    rest = TOTAL - out.sum(axis=-1)
    np.put_along_axis(
        out, out.argmax(axis=-1)[..., None], out.max(axis=-1)[..., None] + rest[..., None], axis=-1
    )
    return out.astype(np.uint16)


class Table:
    """A distribution over 0 to n - 1.

    Args:
        frequencies: (n,) integers of at least 1 that add up to :data:`TOTAL`, n from 2.

    Raises:
        ContainerError: they do not.
    """

    def __init__(self, frequencies: Sequence[int] | NDArray[Any]) -> None:
        f = np.asarray(frequencies, dtype=np.int64)
        if f.ndim != 1 or len(f) < 2 or f.min() < 1 or f.sum() != TOTAL:
            raise ContainerError(
                f"frequency table: expected at least 2 numbers from 1 that add up to {TOTAL}, "
                f"found {f.shape} adding up to {int(f.sum())}"
            )
        self.frequencies = f
        self.model = _coders().model.Categorical(
            f.astype(np.float64) / TOTAL, perfect=False, lazy=False
        )


class AdaptiveTables:
    """Frequencies that become those of what they code, in whole numbers.

    Args:
        frequencies: (N, n) that they begin as, each row as :class:`Table` wants it.
        gain: what a symbol counts as beside the 65,536 of these.
    """

    def __init__(self, frequencies: NDArray[np.int64], gain: int) -> None:
        self.counts, self.frequencies = frequencies.copy(), frequencies.copy()
        self._shares = frequencies / TOTAL
        self.gain = gain

    def code(self, coder: Coder, rows: NDArray[np.int64], values: NDArray[np.int64]) -> Symbols:
        """(n,) symbols in a row, each under its row; :meth:`adapt` takes them in."""
        return coder.likely(values, self._shares.take(rows, axis=0))

    def adapt(self, rows: NDArray[np.int64], symbols: NDArray[np.int64]) -> None:
        """Takes in symbols that were coded under ``rows``, and makes frequencies of the counts:
        from 1 on, in proportion, what is missing to the sum going to the first of the largest."""
        touched = np.flatnonzero(np.bincount(rows, minlength=len(self.counts)))
        np.add.at(self.counts, (rows, symbols), self.gain)
        counts = self.counts[touched]
        total = counts.sum(axis=1, keepdims=True)
        counts = np.where(total >= _FULL, counts + 1 >> 1, counts)
        self.counts[touched] = counts
        total = counts.sum(axis=1, keepdims=True)
        size = counts.shape[1]
        out = counts * (TOTAL - size) // total + 1
        out[np.arange(len(out)), out.argmax(axis=1)] += TOTAL - out.sum(axis=1)
        self.frequencies[touched] = out
        self._shares[touched] = out / TOTAL


_FULL = 1 << 20
"""Sum of counts from which on a table's are halved."""


@cache
def _coders() -> Any:
    """constriction, from the first table on: who only fits tables, as training does, need not have
    it."""
    import constriction

    return constriction.stream


class Coder(Protocol):
    """What both directions share.

    Attributes:
        reads: whether symbols come out, whatever is given.
    """

    reads: bool

    def code(self, value: int, table: Table) -> int:
        """One symbol under a table."""

    def bits(self, value: int, count: int) -> int:
        """``count`` plain bits, from 0; 16 at a time, low ones first."""

    def many(self, values: NDArray[np.int64], frequencies: Frequencies) -> NDArray[np.int64]:
        """(n,) symbols in a row, each under its own of (n, codes) frequencies, which are as
        :class:`Table` wants them and are not checked."""

    def likely(self, values: NDArray[np.int64], shares: Shares) -> Symbols:
        """As :meth:`many`, with frequencies divided by :data:`TOTAL`."""


@cache
def _any() -> Any:
    return _coders().model.Categorical(perfect=False, lazy=True)


@cache
def _uniform(size: int) -> Any:
    return _coders().model.Uniform(size)


class Encoder:
    """Writes; :meth:`finish` gives the bytes."""

    reads = False

    def __init__(self) -> None:
        self._coder = _coders().queue.RangeEncoder()

    def code(self, value: int, table: Table) -> int:
        self._coder.encode(value, table.model)
        return value

    def bits(self, value: int, count: int) -> int:
        rest = value
        while count > 0:
            part = min(count, 16)
            self._coder.encode(rest & ((1 << part) - 1), _uniform(1 << part))
            rest >>= part
            count -= part
        return value

    def many(self, values: NDArray[np.int64], frequencies: Frequencies) -> NDArray[np.int64]:
        return self.likely(values, frequencies / TOTAL)

    def likely(self, values: NDArray[np.int64], shares: Shares) -> Symbols:
        self._coder.encode(values.astype(np.int32), _any(), shares)
        return values

    def finish(self) -> bytes:
        """Big-endian 32-bit words; zero bytes at the end, which the decoder adds by itself, are
        left out.

        Any number in the interval that is left will do: of those at hand, the one with the most
        zero bytes at its end.
        """
        position, (lower, size) = self._coder.pos()
        length = 4 * (position + 2)
        point = int.from_bytes(
            self._coder.get_compressed().astype(">u4").tobytes().ljust(length, b"\0"), "big"
        )
        low = point - ((point - lower) & 0xFFFF_FFFF_FFFF_FFFF)
        end = low
        for unused in range(64, -1, -8):
            end = -(-low >> unused) << unused
            if end < low + size:
                break
        return (end % (1 << 8 * length)).to_bytes(length, "big").rstrip(b"\0")


class Decoder:
    """Reads what an :class:`Encoder` wrote. Bytes that none wrote decode to some numbers or other,
    or raise ContainerError."""

    reads = True

    def __init__(self, data: bytes) -> None:
        padded = data + b"\0" * (-len(data) % 4)
        self._coder = _coders().queue.RangeDecoder(
            np.frombuffer(padded, dtype=">u4").astype(np.uint32)
        )

    def code(self, value: int, table: Table) -> int:
        symbol: int = self._decode(table.model)
        return symbol

    def bits(self, value: int, count: int) -> int:
        out = shift = 0
        while count > 0:
            part = min(count, 16)
            out |= self._decode(_uniform(1 << part)) << shift
            shift += part
            count -= part
        return out

    def many(self, values: NDArray[np.int64], frequencies: Frequencies) -> NDArray[np.int64]:
        return self.likely(values, frequencies / TOTAL)

    def likely(self, values: NDArray[np.int64], shares: Shares) -> Symbols:
        symbols: Symbols = self._decode(_any(), shares).astype(np.int64)
        return symbols

    def _decode(self, model: Any, *parameters: Any) -> Any:
        try:
            return self._coder.decode(model, *parameters)
        except Exception as error:  # constriction raises a plain AssertionError or ValueError
            raise ContainerError(
                "entropy-coded data: expected a valid stream, found an impossible one"
            ) from error


class Meter(Decoder):
    """Reads, and counts the bits that symbols took."""

    spent = 0.0

    def code(self, value: int, table: Table) -> int:
        symbol = super().code(value, table)
        self.spent += math.log2(TOTAL / table.frequencies[symbol])
        return symbol

    def bits(self, value: int, count: int) -> int:
        self.spent += count
        return super().bits(value, count)

    def likely(self, values: NDArray[np.int64], shares: Shares) -> Symbols:
        symbols = super().likely(values, shares)
        self.spent -= float(np.log2(shares[np.arange(len(symbols)), symbols]).sum())
        return symbols


def code_natural(coder: Coder, value: int) -> int:
    """A whole number from 0 to 2^41 - 2, short when small: the number of bits of value + 1 but its
    first, in 6 bits, then these bits.

    Raises:
        ContainerError: it is above.
    """
    value += 1  # below 1 only while decoding, where it does not count
    length = coder.bits(value.bit_length() - 1 if value > 0 else 0, 6)
    if length > 40:
        raise ContainerError(f"whole number: expected at most 40 bits, found {length}")
    rest = coder.bits(value & ((1 << length) - 1), length)
    return (1 << length) + rest - 1


def code_signed(coder: Coder, value: int) -> int:
    """A signed whole number from -(2^40 - 1) to 2^40 - 1, short when near 0: 0, -1, 1, -2, 2 and so
    on are written as 0, 1, 2, 3, 4."""
    folded = code_natural(coder, 2 * value if value >= 0 else -2 * value - 1)
    return folded >> 1 if folded % 2 == 0 else -((folded + 1) >> 1)


def code_signs(
    coder: Coder, values: NDArray[np.int64], magnitudes: NDArray[np.int64]
) -> NDArray[np.int64]:
    """Magnitudes with the signs of values, or with those read: a bit for each that is not 0."""
    out = magnitudes.copy()
    there = magnitudes > 0
    even = np.full((int(there.sum()), 2), TOTAL // 2, np.int64)
    if len(even):
        out[there] *= 1 - 2 * coder.many((values[there] < 0).astype(np.int64), even)
    return out


ESCAPE = 15
"""Magnitudes from here on are written as an escape and a natural number."""


def code_magnitude(coder: Coder, value: int, table: Table) -> int:
    """A signed whole number: magnitude under a table of :data:`ESCAPE` + 1 symbols, then sign."""
    magnitude = value if value >= 0 else -value
    symbol = coder.code(magnitude if magnitude < ESCAPE else ESCAPE, table)
    if symbol == 0:
        return 0
    if symbol == ESCAPE:
        symbol = ESCAPE + code_natural(coder, magnitude - ESCAPE)
    return -symbol if coder.bits(value < 0, 1) else symbol
