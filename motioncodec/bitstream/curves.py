"""Curves of joints that no model covers, under tables that adapt.

Hands, faces and markers come in tens and hundreds: whatever a joint costs counts as often. So the
tables become those of the clip at hand, and what many joints have in common is coded in a row.
Knots: of each joint the first, then one after the other what they differ by from those before.
Sines: frequency by frequency, all channels in a row, and blocks side by side, each two frequencies
behind the one before it, so that every one sees what came out about it in its own block and in the
one before.
"""

from __future__ import annotations

from functools import cache
from importlib.resources import files

import numpy as np
from numpy.typing import NDArray

from motioncodec.bitstream.entropy import AdaptiveTables, Coder, code_signs
from motioncodec.bitstream.magnitudes import (
    LARGEST,
    SYMBOLS,
    bits_of,
    cheapest,
    code_below,
    code_magnitudes,
    counts_of,
    diagonals,
    lengths_of,
    level_of,
)
from motioncodec.bitstream.trajectory import BLOCK, MAX_KNOT, Curve
from motioncodec.errors import ContainerError

Integers = NDArray[np.int64]
Bool = NDArray[np.bool_]

BANDS, LEVELS = 8, 14
"""Tables of sines: by band of frequency and level of activity."""

KNOT_TABLES = 11
"""Of what knots differ by: levels 0 to 9 of activity, and the last for the first difference."""

LENGTHS = 41
"""Bits that a first knot's magnitude takes: 0 to 40."""

SHAPES = (BANDS * LEVELS, SYMBOLS), (KNOT_TABLES, SYMBOLS), (1, LENGTHS)
GAINS = 512, 1024, 8192
"""What a symbol counts as beside the 65,536 that tables start with: sines, knots, lengths."""

_BANDS = np.array([0, 1, 2, 3, 4, 4, 5, 5, 5, 6, 6, 6, 6] + [7] * 18)


JOINTS, PATHS = "curves.bin", "paths.bin"
"""Tables to begin with, of joints and of paths of a body's centre."""


@cache
def first_tables(file: str) -> tuple[Integers, ...]:
    """Tables of sines, knots and lengths in the shapes of :data:`SHAPES`: 16 bits each,
    little-endian, one array after another."""
    raw = (files("motioncodec.bitstream") / file).read_bytes()
    flat = np.frombuffer(raw, "<u2").astype(np.int64)
    ends = np.cumsum([0, *(rows * columns for rows, columns in SHAPES)])
    return tuple(flat[a:b].reshape(shape) for a, b, shape in zip(ends, ends[1:], SHAPES))


class CurveTables:
    """Tables of sines, knots and lengths as they begin; of all people of a chunk, one after the
    other.

    Args:
        file: :data:`JOINTS` or :data:`PATHS`.
    """

    def __init__(self, file: str) -> None:
        self.sines, self.knots, self.lengths = (
            AdaptiveTables(first, gain) for first, gain in zip(first_tables(file), GAINS)
        )


def code_curves(coder: Coder, given: Curve, here: Bool, tables: CurveTables) -> Curve:
    """Writes curves and returns them, or reads as many.

    Args:
        coder: either direction.
        given: of E x D channels; zeros to read.
        here: (E,) joints that are there in any frame; of others nothing is written.
        tables: which adapt.

    Raises:
        ContainerError: a knot is above :data:`MAX_KNOT`.
    """
    count = int(here.sum())
    blocks = len(given.sines)
    out = Curve(np.zeros_like(given.knots), np.zeros_like(given.sines))
    if not count or not len(given.knots):
        return out
    channels = np.repeat(here, given.knots.shape[1] // len(here))
    knots = given.knots[:, channels].reshape(blocks + 1, count, -1)
    out.knots[:, channels] = _code_knots(coder, knots, tables).reshape(blocks + 1, -1)
    if blocks:
        sines = _code_sines(coder, _by_joint(given.sines[:, channels], count), tables)
        out.sines[:, channels] = sines.transpose(0, 2, 3, 1).reshape(blocks, -1, BLOCK - 1)
    return out


def _code_knots(coder: Coder, given: Integers, tables: CurveTables) -> Integers:
    out = np.zeros_like(given)
    out[0] = _code_firsts(coder, given[0], tables.lengths)
    rows = _knot_rows(given[0], first=True)
    for at in range(1, len(given)):
        differences = given[at] - given[at - 1]
        found = _adapting(coder, np.abs(differences), rows, tables.knots)
        rows = _knot_rows(found)
        out[at] = out[at - 1] + code_signs(coder, differences, found)
        if np.abs(out[at]).max() > MAX_KNOT:
            raise ContainerError(f"knot: expected at most {MAX_KNOT} steps, found more")
    return out


def _code_firsts(coder: Coder, given: Integers, tables: AdaptiveTables) -> Integers:
    """(E, D) first knots: joint by joint how many bits they take, then bits but the first, and
    signs."""
    lengths, wanted = np.zeros_like(given), lengths_of(given)
    rows = np.zeros(given.shape[1], np.int64)
    for joint in range(len(given)):
        lengths[joint] = tables.code(coder, rows, wanted[joint])
        tables.adapt(rows, lengths[joint])
    return code_below(coder, given, lengths)


def _code_sines(coder: Coder, given: Integers, tables: CurveTables) -> Integers:
    """(B, 31, E, D) sines: of each block how many frequencies there are up to the last that is not
    all 0; magnitudes, all blocks side by side; then signs."""
    blocks, size = given.shape[:2]
    wanted = counts_of(given.reshape(blocks, size, -1))
    counts = np.array([coder.bits(int(one), 5) for one in wanted.tolist()], np.int64)
    sizes = np.abs(given)
    found = np.zeros_like(given)
    known = _known(found)
    for block, k in diagonals(counts):
        rows = _sine_rows(known, block, k)
        found[block, k] = _adapting(coder, sizes[block, k], rows, tables.sines)
        known[block + 1, k + 2] = np.minimum(found[block, k], LARGEST)
    return code_signs(coder, given, found)


def _adapting(coder: Coder, sizes: Integers, rows: Integers, tables: AdaptiveTables) -> Integers:
    """Magnitudes of any shape, each under its row of tables, which take them in."""
    flat = rows.reshape(-1)
    found = code_magnitudes(coder, sizes, tables.frequencies[flat])
    tables.adapt(flat, np.minimum(found, SYMBOLS - 1).reshape(-1))
    return found


def _knot_rows(sizes: Integers, *, first: bool = False) -> Integers:
    """(E, D) tables of differences behind those of such magnitudes, or of the first ones."""
    if first:
        return np.full(sizes.shape, KNOT_TABLES - 1, np.int64)
    known = np.minimum(sizes, LARGEST)
    return level_of(known + known.sum(axis=1, keepdims=True), KNOT_TABLES - 1)


def _sine_rows(known: Integers, block: Integers, k: Integers) -> Integers:
    """(n, E, D) tables of some blocks' frequencies, by what is :func:`_known`."""
    b, at = block + 1, k + 2
    below, before = known[b, at - 1], known[b - 1, at]
    joint = (below + before).sum(axis=2, keepdims=True)
    about = 2 * below + 2 * known[b, at - 2] + before + known[b - 1, at + 1] + joint
    return _BANDS[k][:, None, None] * LEVELS + level_of(about, LEVELS)


@cache
def _bits(file: str) -> NDArray[np.float64]:
    """(BANDS x LEVELS, SYMBOLS) bits of a magnitude and its sign under the tables' beginnings."""
    return bits_of(first_tables(file)[0])


def thrifty(exact: NDArray[np.float64], joints: int, price: float, file: str = JOINTS) -> Integers:
    """(B, C, 31) sines in steps to whole numbers, smaller ones where they save more bits than they
    do harm: twice, for what a number costs depends on its neighbours.

    Args:
        joints: that the channels are of.
        price: of a bit, in squared steps.
        file: of the tables.
    """
    size = np.abs(exact)
    top = np.floor(size + 0.5)
    out = top
    block, k = (at.reshape(-1) for at in np.indices((len(exact), BLOCK - 1)))
    for _ in range(2):
        rows = _sine_rows(_known(_by_joint(out.astype(np.int64), joints)), block, k)
        rows = rows.reshape(len(exact), BLOCK - 1, exact.shape[1]).transpose(0, 2, 1)
        out = cheapest(size, top, rows, _bits(file), price)
    return (np.sign(exact) * out).astype(np.int64)


def _by_joint(sines: Integers, joints: int) -> Integers:
    """(B, C, 31) to (B, 31, E, D)."""
    blocks, channels, size = sines.shape
    return sines.reshape(blocks, joints, channels // joints, size).transpose(0, 3, 1, 2)


def _known(along: Integers) -> Integers:
    """(B + 1, 34, E, D) of (B, 31, E, D) magnitudes, at block + 1 and k + 2, 0 about them."""
    out = np.zeros((len(along) + 1, BLOCK + 2, *along.shape[2:]), np.int64)
    out[1:, 2:-1] = np.minimum(along, LARGEST)
    return out


def count_contexts(curve: Curve, joints: int) -> tuple[NDArray[np.float64], ...]:
    """How often each table would have coded each symbol, in the shapes of :data:`SHAPES`: what
    tables are fitted to."""
    blocks = len(curve.sines)
    out = tuple(np.zeros(shape) for shape in SHAPES)
    sines = _by_joint(np.abs(curve.sines), joints)
    counts = counts_of(curve.sines.transpose(0, 2, 1))
    block, k = np.nonzero(np.arange(BLOCK - 1) < counts[:, None])
    rows = _sine_rows(_known(sines), block, k)
    np.add.at(out[0], (rows, np.minimum(sines[block, k], SYMBOLS - 1)), 1)
    knots = curve.knots.reshape(blocks + 1, joints, -1)
    rows = _knot_rows(knots[0], first=True)
    for sizes in np.abs(np.diff(knots, axis=0)):
        np.add.at(out[1], (rows, np.minimum(sizes, SYMBOLS - 1)), 1)
        rows = _knot_rows(sizes)
    out[2][0] += np.bincount(lengths_of(knots[0]).reshape(-1), minlength=LENGTHS)
    return out
