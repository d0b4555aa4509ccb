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

from motioncodec.bitstream.entropy import TOTAL, AdaptiveTables, Coder, code_natural, code_signs
from motioncodec.bitstream.refinement import counts_of
from motioncodec.bitstream.trajectory import BLOCK, MAX_KNOT, Curve
from motioncodec.errors import ContainerError

Integers = NDArray[np.int64]
Bool = NDArray[np.bool_]

BANDS, LEVELS, SYMBOLS = 8, 14, 18
"""Tables of sines: by band of frequency and level of activity; of magnitudes 0 to 16, and 17 for
more."""

KNOT_TABLES = 11
"""Of what knots differ by: levels 0 to 9 of activity, and the last for the first difference."""

LENGTHS = 41
"""Bits that a first knot's magnitude takes: 0 to 40."""

SHAPES = (BANDS * LEVELS, SYMBOLS), (KNOT_TABLES, SYMBOLS), (1, LENGTHS)
GAINS = 512, 1024, 8192
"""What a symbol counts as beside the 65,536 that tables start with: sines, knots, lengths."""

_BANDS = np.array([0, 1, 2, 3, 4, 4, 5, 5, 5, 6, 6, 6, 6] + [7] * 18)
_LARGEST = 4095
_LEVEL_FROM = np.ceil(2.0 ** (np.arange(1, LEVELS) / 2) - 1e-9).astype(np.int64) - 1


def level_of(activity: Integers, levels: int = LEVELS) -> Integers:
    """Level of an activity: floor(2 log2(1 + activity)), below ``levels``."""
    out: Integers = np.searchsorted(_LEVEL_FROM[: levels - 1], activity, side="right")
    return out


@cache
def _first_tables() -> tuple[Integers, ...]:
    raw = (files("motioncodec.bitstream") / "curves.bin").read_bytes()
    flat = np.frombuffer(raw, "<u2").astype(np.int64)
    ends = np.cumsum([0, *(rows * columns for rows, columns in SHAPES)])
    return tuple(flat[a:b].reshape(shape) for a, b, shape in zip(ends, ends[1:], SHAPES))


class CurveTables:
    """Tables of sines, knots and lengths as they begin; of all people of a chunk, one after the
    other."""

    def __init__(self) -> None:
        self.sines, self.knots, self.lengths = (
            AdaptiveTables(first, gain) for first, gain in zip(_first_tables(), GAINS)
        )


def activity(magnitudes: Integers, block: Integers, k: Integers) -> Integers:
    """(n, E, D) activity about some blocks' frequencies.

    Args:
        magnitudes: (B + 1, 34, E, D), at block + 1 and k + 2; 0 where nothing is known.
    """
    m, b, at = magnitudes, block + 1, k + 2
    below, before = m[b, at - 1], m[b - 1, at]
    joint = (below + before).sum(axis=2, keepdims=True)
    out: Integers = 2 * below + 2 * m[b, at - 2] + before + m[b - 1, at + 1] + joint
    return out


def knot_activity(before: Integers) -> Integers:
    """(E, D) magnitudes of the last differences to activity."""
    out: Integers = before + before.sum(axis=1, keepdims=True)
    return out


def code_curves(coder: Coder, given: Curve, here: Bool, tables: CurveTables) -> Curve:
    """Writes curves and returns them, or reads as many.

    Args:
        coder: either direction.
        given: of E x D channels; zeros to read.
        here: (E,) joints that are there in any frame; of others nothing is written.
        tables: which adapt.

    Raises:
        ContainerError: a knot is above :data:`MAX_KNOT`, or a block has too many frequencies.
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
    rows = np.full(given[0].shape, KNOT_TABLES - 1, np.int64)
    for at in range(1, len(given)):
        differences = given[at] - given[at - 1]
        found = _magnitudes(coder, np.abs(differences), rows, tables.knots)
        rows = level_of(knot_activity(np.minimum(found, _LARGEST)), KNOT_TABLES - 1)
        out[at] = out[at - 1] + code_signs(coder, differences, found)
        if np.abs(out[at]).max() > MAX_KNOT:
            raise ContainerError(f"knot: expected at most {MAX_KNOT} steps, found more")
    return out


def _code_firsts(coder: Coder, given: Integers, tables: AdaptiveTables) -> Integers:
    """(E, D) first knots: joint by joint how many bits they take, then bits but the first, and
    signs."""
    sizes = np.abs(given)
    lengths = np.zeros_like(given)
    wanted = np.array([[size.bit_length() for size in row] for row in sizes.tolist()])
    rows = np.zeros(given.shape[1], np.int64)
    for joint in range(len(given)):
        lengths[joint] = coder.many(wanted[joint], tables.frequencies[rows])
        tables.adapt(rows, lengths[joint])
    found = np.zeros_like(given)
    for at in np.argwhere(lengths > 0).tolist():
        place = tuple(at)
        top = 1 << int(lengths[place]) - 1
        found[place] = top + coder.bits(int(sizes[place]) & (top - 1), int(lengths[place]) - 1)
    return code_signs(coder, given, found)


def _code_sines(coder: Coder, given: Integers, tables: CurveTables) -> Integers:
    """(B, 31, E, D) sines: of each block how many frequencies there are up to the last that is not
    all 0; magnitudes, all blocks side by side; then signs."""
    blocks, size = given.shape[:2]
    wanted = counts_of(given.reshape(blocks, size, -1))
    counts = np.array([coder.bits(int(one), 5) for one in wanted.tolist()], np.int64)
    sizes = np.abs(given)
    known = np.zeros((blocks + 1, size + 3, *given.shape[2:]), np.int64)
    found = np.zeros_like(given)
    every = np.arange(blocks)
    ends = 2 * every + counts
    for step in range(int(ends.max(initial=0))):
        block = every[(step >= 2 * every) & (step < ends)]
        if not len(block):
            continue
        k = step - 2 * block
        rows = _BANDS[k][:, None, None] * LEVELS + level_of(activity(known, block, k))
        found[block, k] = _magnitudes(coder, sizes[block, k], rows, tables.sines)
        known[block + 1, k + 2] = np.minimum(found[block, k], _LARGEST)
    return code_signs(coder, given, found)


def _magnitudes(coder: Coder, sizes: Integers, rows: Integers, tables: AdaptiveTables) -> Integers:
    """Magnitudes of any shape, each under its row of tables, which take them in: symbols, then
    what those above 16 have above it."""
    flat = rows.reshape(-1)
    symbols = np.minimum(sizes, SYMBOLS - 1).reshape(-1)
    got = coder.many(symbols, tables.frequencies[flat]).reshape(sizes.shape).copy()
    tables.adapt(flat, got.reshape(-1))
    for at in np.argwhere(got == SYMBOLS - 1).tolist():
        got[tuple(at)] += code_natural(coder, int(sizes[tuple(at)]) - (SYMBOLS - 1))
    return got


@cache
def _bits() -> NDArray[np.float64]:
    """(BANDS x LEVELS, SYMBOLS) bits of a magnitude and its sign under the tables' beginnings."""
    out: NDArray[np.float64] = np.log2(TOTAL / _first_tables()[0]) + (np.arange(SYMBOLS) > 0)
    return out


def thrifty(exact: NDArray[np.float64], joints: int, price: float) -> Integers:
    """(B, C, 31) sines in steps to whole numbers, smaller ones where they save more bits than they
    do harm: twice, for what a number costs depends on its neighbours.

    Args:
        joints: that the channels are of.
        price: of a bit, in squared steps.
    """
    size = np.abs(exact)
    top = np.floor(size + 0.5)
    out = top
    block, k = (at.reshape(-1) for at in np.indices((len(exact), BLOCK - 1)))
    for _ in range(2):
        known = _known(out.astype(np.int64), joints)
        rows = _BANDS[k][:, None, None] * LEVELS + level_of(activity(known, block, k))
        rows = rows.reshape(len(exact), BLOCK - 1, exact.shape[1]).transpose(0, 2, 1)
        best, least = top, np.full(top.shape, np.inf)
        for tried in (top, np.maximum(top - 1, 0), np.zeros_like(top)):
            cost = (size - tried) ** 2
            cost += price * _bits()[rows, np.minimum(tried, SYMBOLS - 1).astype(np.int64)]
            best, least = np.where(cost < least, tried, best), np.minimum(cost, least)
        out = np.where(top >= SYMBOLS, top, best)
    return (np.sign(exact) * out).astype(np.int64)


def _by_joint(sines: Integers, joints: int) -> Integers:
    """(B, C, 31) to (B, 31, E, D)."""
    blocks, channels, size = sines.shape
    return sines.reshape(blocks, joints, channels // joints, size).transpose(0, 3, 1, 2)


def _known(magnitudes: Integers, joints: int) -> Integers:
    """(B, C, 31) magnitudes as :func:`activity` wants them."""
    blocks = len(magnitudes)
    along = _by_joint(magnitudes, joints)
    out = np.zeros((blocks + 1, BLOCK + 2, *along.shape[2:]), np.int64)
    out[1:, 2:-1] = np.minimum(along, _LARGEST)
    return out


def count_contexts(curve: Curve, joints: int) -> tuple[NDArray[np.float64], ...]:
    """How often each table would have coded each symbol, in the shapes of :data:`SHAPES`: what
    tables are fitted to."""
    blocks = len(curve.sines)
    out = tuple(np.zeros(shape) for shape in SHAPES)
    known = _known(np.abs(curve.sines), joints)
    sines = _by_joint(np.abs(curve.sines), joints)
    counts = counts_of(curve.sines.transpose(0, 2, 1))
    block, k = np.nonzero(np.arange(BLOCK - 1) < counts[:, None])
    rows = _BANDS[k][:, None, None] * LEVELS + level_of(activity(known, block, k))
    np.add.at(out[0], (rows, np.minimum(sines[block, k], SYMBOLS - 1)), 1)
    knots = curve.knots.reshape(blocks + 1, joints, -1)
    rows = np.full(knots[0].shape, KNOT_TABLES - 1, np.int64)
    for sizes in np.abs(np.diff(knots, axis=0)):
        np.add.at(out[1], (rows, np.minimum(sizes, SYMBOLS - 1)), 1)
        rows = level_of(knot_activity(np.minimum(sizes, _LARGEST)), KNOT_TABLES - 1)
    lengths = [int(size).bit_length() for size in np.abs(knots[0]).reshape(-1).tolist()]
    out[2][0] += np.bincount(lengths, minlength=LENGTHS)
    return out
