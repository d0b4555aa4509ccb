"""Which table a magnitude has: a small network over those about it, all of it in whole numbers.

It looks at what is known in the channel's own window and in those before, at all channels of the
frequencies before through mixtures, and at what the numbers are of. Sums are taken in float64,
where whole numbers below 2^53 add up exactly in any order (as in :mod:`.network`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from importlib.resources import files
from typing import Any

import numpy as np
from numpy.typing import NDArray

from motioncodec.bitstream.magnitudes import LARGEST, SYMBOLS, bits_of
from motioncodec.bitstream.network import floored

Integers = NDArray[np.int64]
Float64 = NDArray[np.float64]

SLOTS = 60
"""Channels at most."""

HIDDEN, MIDDLE, TABLES = 32, 16, 48
STEPS, FREQUENCIES = 21, 64
"""Classes of steps and of frequencies."""

MIX_SHIFT, HIDDEN_SHIFT, LAST_SHIFT = 8, 10, 14
"""What sums are divided by, as powers of 2, and rounded down."""

HIDDEN_TOP = 4095

LOGARITHMS: Float64 = np.searchsorted(
    np.ceil(2.0 ** (np.arange(1, 193) / 16) - 1e-9) - 1, np.arange(LARGEST + 1), side="right"
).astype(np.float64)
"""floor(16 log2(1 + n))."""


@dataclass(frozen=True)
class Network:
    """A network, in a file of its own.

    Attributes:
        file: beside this one: 32-bit numbers, signed and little-endian, one array after another.
        depths: classes of whatever else there is to know about a row.
        seen: how many numbers it sees for each magnitude.
        mixed: those of them of which it sees mixtures over channels, too.
    """

    file: str
    depths: int
    seen: int = 7
    mixed: tuple[int, ...] = (0, 1, 3)

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """What the file holds."""
        return {
            "mix": (len(self.mixed), SLOTS, SLOTS),
            "local": (self.seen + len(self.mixed), HIDDEN),
            "channel": (SLOTS, HIDDEN),
            "frequency": (FREQUENCIES, HIDDEN),
            "depth": (self.depths, HIDDEN),
            "step": (STEPS, HIDDEN),
            "middle": (HIDDEN, MIDDLE),
            "middle_bias": (MIDDLE,),
            "last": (MIDDLE,),
            "last_bias": (1,),
            "tables": (TABLES, SYMBOLS),
        }

    @cached_property
    def numbers(self) -> dict[str, Float64]:
        """In float64, in which their sums are exact."""
        raw = np.frombuffer((files("motioncodec.bitstream") / self.file).read_bytes(), "<i4")
        out, at = {}, 0
        for name, shape in self.shapes.items():
            size = int(np.prod(shape))
            out[name] = raw[at : at + size].reshape(shape).astype(np.float64)
            at += size
        return out

    @cached_property
    def tables(self) -> Integers:
        """(TABLES, SYMBOLS) frequencies."""
        return self.numbers["tables"].astype(np.int64)

    @cached_property
    def bits(self) -> Float64:
        """(TABLES, SYMBOLS) bits of a magnitude and its sign."""
        return bits_of(self.tables)

    @cached_property
    def _mix(self) -> Float64:
        return self.numbers["mix"] * 2.0**-MIX_SHIFT

    def of_rows(self, frequencies: Integers, depth: Any, step: Any) -> Float64:
        """(n, HIDDEN) what is the same for all of a row, of these classes."""
        net = self.numbers
        out: Float64 = net["frequency"][frequencies] + net["depth"][depth] + net["step"][step]
        return out

    def choose(self, given: Float64, slots: Integers | slice, rows: Float64) -> Integers:
        """(n, slots) tables.

        Args:
            given: (seen, n, SLOTS) what it sees.
            slots: channels that there are.
            rows: (n, HIDDEN) as of :meth:`of_rows`.
        """
        net = self.numbers
        seen = np.concatenate([given, np.floor(np.matmul(given[list(self.mixed)], self._mix))])
        seen = seen[:, :, slots]
        hidden = (seen.reshape(len(seen), -1).T @ net["local"]).reshape(*seen.shape[1:], -1)
        hidden += net["channel"][slots]
        hidden += rows[:, None]
        hidden = _layer(hidden) @ net["middle"]
        hidden += net["middle_bias"]
        out = _layer(hidden) @ net["last"]
        out += net["last_bias"]
        out *= 2.0**-LAST_SHIFT
        return floored(out, TABLES - 1).astype(np.int64)


class Chooser:
    """Magnitudes that are known, and which tables their neighbours have.

    Args:
        network: that chooses.
        shape: windows and frequencies of a chunk.
        slots: channels that there are, of :data:`SLOTS`, rising.
        classes: (frequencies,) of each frequency.
        depth, step: classes of all rows.
    """

    def __init__(
        self,
        network: Network,
        shape: tuple[int, int],
        slots: Sequence[int],
        classes: Integers,
        depth: int,
        step: int,
    ) -> None:
        windows, size = shape
        self.network = network
        self._known = np.zeros((windows + 2, size + 4, SLOTS))
        self._slots = np.array(slots, np.int64)
        self._rows = network.of_rows(classes, depth, step)

    def put(self, window: Integers, k: Integers, magnitudes: Integers) -> None:
        """Notes (n, SLOTS) magnitudes of some windows' frequencies, at most :data:`LARGEST`."""
        self._known[window + 2, k + 3] = LOGARITHMS[magnitudes]

    def tables(self, window: Integers, k: Integers) -> Integers:
        """(n, slots) tables for some windows' frequencies."""
        seen = self._known[window + 2 + WINDOWS_OFF[:, None], k + 3 + FREQUENCIES_OFF[:, None]]
        return self.network.choose(seen, self._slots, self._rows[k])


WINDOWS_OFF = np.array([0, 0, 0, -1, -1, -1, -2])
FREQUENCIES_OFF = np.array([-1, -2, -3, 0, 1, -1, 0])
"""Where the magnitudes are that the network sees, from the one that comes."""


def _layer(sums: Float64) -> Float64:
    """Changes them in place."""
    sums *= 2.0**-HIDDEN_SHIFT
    return floored(sums, HIDDEN_TOP)
