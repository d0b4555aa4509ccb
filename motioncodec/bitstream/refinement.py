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

from motioncodec.bitstream.choosing import FREQUENCIES, SLOTS, STEPS, Chooser, Network
from motioncodec.bitstream.entropy import AdaptiveTables, Coder, code_signs
from motioncodec.bitstream.magnitudes import (
    LARGEST,
    LEVELS,
    SYMBOLS,
    bits_of,
    code_counts,
    code_magnitudes,
    diagonals,
    level_of,
    steps,
)

Integers = NDArray[np.int64]
Float64 = NDArray[np.float64]

BANDS = 12
"""Tables of plain channels: by band of frequency and level of activity."""

_BAND_FROM = steps(BANDS)


@cache
def tables() -> Integers:
    """(BANDS x LEVELS, SYMBOLS) frequencies for plain channels."""
    raw = (files("motioncodec.bitstream") / "refinement.bin").read_bytes()
    return np.frombuffer(raw, "<u2").reshape(BANDS * LEVELS, SYMBOLS).astype(np.int64)


NETWORK = Network("channels.bin", depths=3)
"""Over a body's channels, where tokens are under them."""

OVER_SPECTRUM = Network("rest.bin", depths=8)
"""The same where a spectrum is."""


@dataclass(frozen=True, eq=False)
class Jointed:
    """What is known about the channels of a body.

    Attributes:
        slots: those that it has, of :data:`SLOTS`, rising.
        depth: levels of tokens under it, 1 to 3, or of a spectrum the class of its step, 1 to 8
            (:func:`spectrum_class`).
        step: the coefficients' step against the person's size, 0 to 20 (:func:`step_class`).
        network: that chooses their tables.
    """

    slots: Sequence[int]
    depth: int
    step: int
    network: Network = NETWORK


def step_class(step: int, units: str, scale: int) -> int:
    """Class of a step 2^(step / 4) in the clip's units, of somebody of a scale in 128ths of an
    octave: 10 at 2^-5 m for somebody of the reference size, in half octaves."""
    metres = step - {"m": 0, "cm": 27, "mm": 40}.get(units, 0) - (scale + 16) // 32
    return min(max((metres + 40) // 2, 0), STEPS - 1)


def spectrum_class(step: int) -> int:
    """Class of a spectrum's step 2^(step / 32) in body units: 1 above 2^(-7/4), and so on by half
    octaves."""
    return min(max(1 + (-step - 40) // 16, 1), OVER_SPECTRUM.depths)


class Contexts:
    """Magnitudes that are known, and which tables their neighbours have.

    Args:
        shape: windows, frequencies, channels of a chunk.
        jointed: the first :data:`SLOTS` channels are a body's; None where all are plain.
    """

    def __init__(self, shape: tuple[int, int, int], jointed: Jointed | None) -> None:
        windows, size, channels = shape
        self.first = SLOTS if jointed else 0
        self.plain = channels - self.first
        self._plain = np.zeros((windows + 2, size + 4, self.plain), np.int64)
        self._body = None
        if jointed:
            classes = np.arange(size) * FREQUENCIES // size
            self._body = Chooser(
                jointed.network, (windows, size), jointed.slots, classes, jointed.depth - 1,
                jointed.step,
            )  # fmt: skip

    def put(self, window: Integers, k: Integers, magnitudes: Integers) -> None:
        """Notes (n, C) magnitudes of some windows' frequencies."""
        known = np.minimum(magnitudes, LARGEST)
        if self._body:
            self._body.put(window, k, known[:, : self.first])
        self._plain[window + 2, k + 3] = known[:, self.first :]

    def of_body(self, window: Integers, k: Integers) -> Integers:
        """(n, slots) tables, of those of the network, for some windows' frequencies."""
        assert self._body
        return self._body.tables(window, k)

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
    counts = code_counts(coder, given, "refinement")
    contexts = Contexts((windows, size, channels), jointed)
    sizes = np.abs(given)
    found = np.zeros_like(given)
    slots = list(jointed.slots) if jointed else []
    rest = np.arange(contexts.first, channels)
    body_tables = jointed.network.tables if jointed else tables()
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
