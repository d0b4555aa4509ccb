"""What tokens and curves leave over, as whole numbers: coefficients of a lapped transform.

Coefficients are coded frequency by frequency, all channels of a frequency in a row, and windows
side by side, each two frequencies behind the one before it: so every one sees what came out about
it in its own window and in those before, and few rows hold many. Magnitudes of a body's channels
have the table that a small network chooses, all of it in whole numbers (as in :mod:`.network`);
those of other channels one that is chosen by band and by how large their neighbours are.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files

import numpy as np
from numpy.typing import NDArray

from motioncodec.bitstream.entropy import AdaptiveTables, Coder, code_signs
from motioncodec.bitstream.magnitudes import (
    LARGEST,
    LEVELS,
    SYMBOLS,
    bits_of,
    code_magnitudes,
    counts_of,
    diagonals,
    level_of,
    steps,
)
from motioncodec.bitstream.network import floored
from motioncodec.errors import ContainerError

Integers = NDArray[np.int64]
Float64 = NDArray[np.float64]

BANDS = 12
"""Tables of plain channels: by band of frequency and level of activity."""

SLOTS = 60
"""Channels of a body, three for each canonical joint; most bodies have but some of them."""

_BAND_FROM = steps(BANDS)

_LOGARITHMS: Float64 = np.searchsorted(
    np.ceil(2.0 ** (np.arange(1, 193) / 16) - 1e-9) - 1, np.arange(LARGEST + 1), side="right"
).astype(np.float64)
"""floor(16 log2(1 + n))."""


@cache
def tables() -> Integers:
    """(BANDS x LEVELS, SYMBOLS) frequencies for plain channels."""
    raw = (files("motioncodec.bitstream") / "refinement.bin").read_bytes()
    return np.frombuffer(raw, "<u2").reshape(BANDS * LEVELS, SYMBOLS).astype(np.int64)


HIDDEN, MIDDLE, TABLES = 32, 16, 48
DEPTHS, STEPS, FREQUENCIES = 3, 21, 64
SHAPES = {
    "mix": (3, SLOTS, SLOTS),
    "local": (10, HIDDEN),
    "channel": (SLOTS, HIDDEN),
    "frequency": (FREQUENCIES, HIDDEN),
    "depth": (DEPTHS, HIDDEN),
    "step": (STEPS, HIDDEN),
    "middle": (HIDDEN, MIDDLE),
    "middle_bias": (MIDDLE,),
    "last": (MIDDLE,),
    "last_bias": (1,),
    "tables": (TABLES, SYMBOLS),
}
"""What ``channels.bin`` holds, one after the other."""

MIX_SHIFT, HIDDEN_SHIFT, LAST_SHIFT = 8, 10, 14
"""What sums are divided by, as powers of 2, and rounded down."""

HIDDEN_TOP = 4095


@cache
def network() -> dict[str, Float64]:
    """The network's whole numbers, in float64, in which their sums are exact."""
    raw = np.frombuffer((files("motioncodec.bitstream") / "channels.bin").read_bytes(), "<i4")
    out, at = {}, 0
    for name, shape in SHAPES.items():
        size = int(np.prod(shape))
        out[name] = raw[at : at + size].reshape(shape).astype(np.float64)
        at += size
    return out


@dataclass(frozen=True, eq=False)
class Jointed:
    """What is known about the channels of a body.

    Attributes:
        slots: those that it has, of :data:`SLOTS`, rising.
        depth: levels of tokens under it, 1 to 3.
        step: the coefficients' step against the person's size, 0 to 20 (:func:`step_class`).
    """

    slots: Sequence[int]
    depth: int
    step: int


def step_class(step: int, units: str, scale: int) -> int:
    """Class of a step 2^(step / 4) in the clip's units, of somebody of a scale in 128ths of an
    octave: 10 at 2^-5 m for somebody of the reference size, in half octaves."""
    metres = step - {"m": 0, "cm": 27, "mm": 40}.get(units, 0) - (scale + 16) // 32
    return min(max((metres + 40) // 2, 0), STEPS - 1)


class Contexts:
    """Magnitudes that are known, and which tables their neighbours have.

    Args:
        shape: windows, frequencies, channels of a chunk.
        jointed: the first :data:`SLOTS` channels are a body's; None where all are plain.
    """

    def __init__(self, shape: tuple[int, int, int], jointed: Jointed | None) -> None:
        windows, self.size, channels = shape
        self.first = SLOTS if jointed else 0
        self.plain = channels - self.first
        self.jointed = jointed
        self._body = np.zeros((windows + 2, self.size + 4, self.first))
        self._plain = np.zeros((windows + 2, self.size + 4, self.plain), np.int64)
        if jointed:
            net = network()
            self._slots = np.array(jointed.slots, np.int64)
            self._own = net["channel"][self._slots]
            self._row = net["depth"][jointed.depth - 1] + net["step"][jointed.step]

    def put(self, window: Integers, k: Integers, magnitudes: Integers) -> None:
        """Notes (n, C) magnitudes of some windows' frequencies."""
        known = np.minimum(magnitudes, LARGEST)
        self._body[window + 2, k + 3] = _LOGARITHMS[known[:, : self.first]]
        self._plain[window + 2, k + 3] = known[:, self.first :]

    def of_body(self, window: Integers, k: Integers) -> Integers:
        """(n, slots) tables, of those of the network, for some windows' frequencies."""
        assert self.jointed
        net = network()
        g, w, at = self._body, window + 2, k + 3
        # All of it is whole numbers, which add up alike in any order.
        seen = np.empty((len(net["local"]), len(w), self.first))
        seen[:7] = g[w + _WINDOWS_OFF, at + _FREQUENCIES_OFF]
        np.matmul(seen[_MIXED], net["mix"] * 2.0**-MIX_SHIFT, out=seen[7:])
        np.floor(seen[7:], out=seen[7:])
        seen = seen[:, :, self._slots]
        hidden = (seen.reshape(len(seen), -1).T @ net["local"]).reshape(*seen.shape[1:], -1)
        hidden += self._own
        hidden += (net["frequency"][k * FREQUENCIES // self.size] + self._row)[:, None]
        hidden = _layer(hidden) @ net["middle"]
        hidden += net["middle_bias"]
        out = _layer(hidden) @ net["last"]
        out += net["last_bias"]
        out *= 2.0**-LAST_SHIFT
        return floored(out, TABLES - 1).astype(np.int64)

    def of_plain(self, window: Integers, k: Integers) -> Integers:
        """(n, plain) tables, of :func:`tables`, for some windows' frequencies."""
        m, w, at = self._plain, window + 2, k + 3
        below = m[w, at - 1]
        wide = np.zeros((len(w), self.plain + 5), np.int64)
        wide[:, 3:-2] = np.cumsum(below, axis=1)
        wide[:, -2:] = wide[:, -3:-2]
        near = wide[:, 5:] - wide[:, :-5]
        about = 3 * below + 2 * m[w, at - 2] + 2 * m[w - 1, at] + m[w - 1, at + 1] + near
        band = np.searchsorted(_BAND_FROM, k, side="right")
        return band[:, None] * LEVELS + level_of(about)


_WINDOWS_OFF = np.array([0, 0, 0, -1, -1, -1, -2])[:, None]
_FREQUENCIES_OFF = np.array([-1, -2, -3, 0, 1, -1, 0])[:, None]
"""Where the magnitudes are that the network sees, from the one that comes."""

_MIXED = [0, 1, 3]
"""Those of them of which it sees mixtures, too."""


def _layer(sums: Float64) -> Float64:
    """Changes them in place."""
    sums *= 2.0**-HIDDEN_SHIFT
    return floored(sums, HIDDEN_TOP)


def tables_of(given: Integers, jointed: Jointed | None) -> tuple[Integers, Integers]:
    """Which tables coefficients (W, size, C) are coded under: (W, size, slots) and (W, size,
    plain); what encoders and fitting look at."""
    windows, size, channels = given.shape
    contexts = Contexts((windows, size, channels), jointed)
    w, k = (at.reshape(-1) for at in np.indices((windows, size)))
    contexts.put(w, k, np.abs(given).reshape(-1, channels))
    body = contexts.of_body(w, k) if jointed else np.zeros((len(w), 0), np.int64)
    plain = contexts.of_plain(w, k)
    return body.reshape(windows, size, -1), plain.reshape(windows, size, -1)


@cache
def plain_bits() -> Float64:
    """(BANDS x LEVELS, SYMBOLS) bits of a magnitude and its sign under :func:`tables`."""
    return bits_of(tables())


@cache
def network_bits() -> Float64:
    """The same of the network's tables."""
    return bits_of(network()["tables"].astype(np.int64))


def plain_tables() -> AdaptiveTables:
    """Frequencies that begin as :func:`tables` and become those of the plain channels at hand; of
    all people of a chunk, one after the other."""
    return AdaptiveTables(tables(), _GAIN)


_GAIN = 1024
"""What a symbol counts as there, beside the 65,536 that a table starts with."""


def code_coefficients(
    coder: Coder,
    given: Integers,
    jointed: Jointed | None = None,
    shared: AdaptiveTables | None = None,
) -> Integers:
    """Writes (W, size, C) coefficients and returns them, or reads as many.

    How many frequencies each window has, up to the last that is not all 0; magnitudes, all windows
    side by side, w with its frequency t - 2 w at a time; then signs of what is not 0.

    Args:
        coder: either direction.
        given: coefficients; zeros to read.
        jointed: about the first :data:`SLOTS` channels, which are a body's; None where all channels
            are plain.
        shared: tables of plain channels, which adapt; None for early files, whose do not.
    """
    windows, size, channels = given.shape
    counts = np.zeros(windows, np.int64)
    for window, count in enumerate(counts_of(given).tolist()):
        counts[window] = count = coder.bits(count, size.bit_length())
        if count > size:
            raise ContainerError(f"refinement: expected at most {size} frequencies, found {count}")
    contexts = Contexts((windows, size, channels), jointed)
    sizes = np.abs(given)
    found = np.zeros_like(given)
    slots = list(jointed.slots) if jointed else []
    rest = np.arange(contexts.first, channels)
    body_tables = network()["tables"].astype(np.int64) if jointed else tables()
    for w, k in diagonals(counts):
        row = np.zeros((len(w), channels), np.int64)
        if slots:
            frequencies = body_tables[contexts.of_body(w, k)]
            row[:, slots] = code_magnitudes(coder, sizes[w, k][:, slots], frequencies)
        if len(rest):
            which = contexts.of_plain(w, k)
            frequencies = (shared.frequencies if shared else tables())[which]
            got = code_magnitudes(coder, sizes[w, k][:, rest], frequencies)
            if shared:
                shared.adapt(which.ravel(), np.minimum(got, SYMBOLS - 1).ravel())
            row[:, rest] = got
        found[w, k] = row
        contexts.put(w, k, row)
    return code_signs(coder, given, found)
