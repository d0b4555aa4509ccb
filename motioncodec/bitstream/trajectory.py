"""Smooth curves to whole numbers and back: placement, and keypoints that no model covers.

A curve is cut into blocks of 32 model frames. The values at the cuts, the knots, are quantised, and
what a straight line between two quantised knots leaves over is written as sines that vanish at both
knots (DST-I), so blocks join without a jump whatever the step: the polyharmonic local sine
transform (Saito and Remy 2006) in one dimension.

Coding: a knot is predicted from the line through the two before it; a block's coefficients are
counted up to the last that is not 0 and written under tables chosen by their frequency and by the
magnitudes of neighbours already known. The tables are part of the format (``tables.json``).
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any

import numpy as np
from numpy.typing import NDArray

from motioncodec.bitstream.entropy import (
    ESCAPE,
    TOTAL,
    Coder,
    Table,
    code_magnitude,
    code_signed,
)
from motioncodec.errors import ContainerError

BLOCK = 32
"""Values from knot to knot of a curve with stride 1."""

DEAD_ZONE = 0.36
"""Added before rounding a coefficient's magnitude down: below 0.5, so that small ones become 0."""

MAX_KNOT = (1 << 40) - 1
"""Magnitude of a knot at most. No sum on the way to keypoints overflows a float64 with it."""

Integers = NDArray[np.int64]
Float64 = NDArray[np.float64]

_BANDS = np.array([0, 1, 2, 2] + [3] * 4 + [4] * 8 + [5] * 15)
_LEVELS = np.array([0, 1, 2, 3, 3, 4, 4, 4, 4] + [5] * 8 + [6] * 16 + [7])
BANDS, LEVELS, COUNTS, KNOTS = 6, 8, 6, 6


@dataclass(frozen=True)
class Curve:
    """Quantised curves.

    Attributes:
        knots: (B + 1, C) multiples of the step.
        sines: (B, C, 31) multiples of the step.
    """

    knots: Integers
    sines: Integers


def analyse(values: Float64, step: float, dead_zone: float = DEAD_ZONE, stride: int = 1) -> Curve:
    """(32 S B + 1, C) values to a :class:`Curve` with this step, in the values' units.

    Args:
        values: at S times the rate that the curve is to be as fine as; what is finer is lost.
        step: of knots and sines.
        dead_zone: added before a coefficient's magnitude is rounded down.
        stride: S.

    Raises:
        ContainerError: a value is above :data:`MAX_KNOT` steps, or not finite.
    """
    knots, exact = unrounded(values, step, stride)
    sines = np.sign(exact) * np.floor(np.abs(exact) + dead_zone)
    return Curve(knots, sines.astype(np.int64))


def unrounded(values: Float64, step: float, stride: int = 1) -> tuple[Integers, Float64]:
    """Knots of :func:`analyse`, and (B, C, 31) sines in steps, as they are."""
    from scipy.fft import dst  # a tenth of a second, which ``info`` need not wait for

    size = BLOCK * stride
    blocks = (len(values) - 1) // size
    if not np.abs(values).max(initial=0.0) <= MAX_KNOT * step:
        raise ContainerError(
            f"curve: expected finite values of at most {MAX_KNOT} steps of {step:.3g}, "
            f"found {np.abs(values).max():.3g}: a coordinate far off all others?"
        )
    knots = np.rint(values[::size] / step).astype(np.int64)
    inside = values[:-1].reshape(blocks, size, values.shape[1])[:, 1:]
    left = inside - _lines(knots, step, size)
    sines = dst(left, type=1, axis=1, norm="ortho")[:, : BLOCK - 1] / (step * math.sqrt(stride))
    exact: Float64 = sines.transpose(0, 2, 1)
    return knots, exact


def synthesise(curve: Curve, step: float, stride: int = 1) -> Float64:
    """Inverse of :func:`analyse`: (32 S B + 1, C) values."""
    from scipy.fft import idst

    size = BLOCK * stride
    blocks, channels = curve.sines.shape[:2]
    inside = _lines(curve.knots, step, size)
    if curve.sines.any():
        sines = np.zeros((blocks, size - 1, channels))
        sines[:, : BLOCK - 1] = curve.sines.transpose(0, 2, 1)
        inside = inside + idst(sines, type=1, axis=1, norm="ortho") * (step * math.sqrt(stride))
    out = np.empty((blocks * size + 1, channels))
    out[::size] = curve.knots * step
    out[:-1].reshape(blocks, size, channels)[:, 1:] = inside
    return out


def curve_blocks(values: int, stride: int = 1) -> int:
    """Blocks that reach from the first of so many values to the last."""
    return max(-(-(values - 1) // (BLOCK * stride)), 0)


def _lines(knots: Integers, step: float, size: int) -> Float64:
    """(B, size - 1, C) straight lines between knots, without their ends."""
    at = (np.arange(1, size) / size)[None, :, None]
    return (knots[:-1, None] * (1 - at) + knots[1:, None] * at) * step


@dataclass(frozen=True)
class CurveTables:
    """Tables for one kind of curve: ``sines`` by band and level, ``counts`` by the bucket of the
    block before, ``knots`` by the bucket of the knot before."""

    sines: list[list[Table]]
    counts: list[Table]
    knots: list[Table]


@cache
def curve_tables(kind: str) -> CurveTables:
    """Tables of a kind of curve: ``hips``, ``keypoint``, ``heading``, ``box``, ``confidence``; of
    ``bones_1`` and the like, which are no curves, see :func:`bitstream.bones.code_bones`."""
    tables = json.loads((files("motioncodec.bitstream") / "tables.json").read_text())[kind]
    return CurveTables(
        sines=[[Table(f) for f in band] for band in tables["sines"]],
        counts=[Table(f) for f in tables["counts"]],
        knots=[Table(f) for f in tables["knots"]],
    )


def bucket(count: int) -> int:
    """0, 1-2, 3-5, 6-11, 12 and more; 5 is kept for where there is none before."""
    return 0 if count == 0 else 1 if count < 3 else 2 if count < 6 else 3 if count < 12 else 4


def code_curve(coder: Coder, curve: Curve, kind: str) -> Curve:
    """Writes a curve and returns it, or reads one of the same shape and returns that."""
    tables = curve_tables(kind)
    blocks, channels = curve.sines.shape[:2]
    knots = code_knots(coder, curve.knots, kind, order=2)
    sines = np.zeros((blocks, channels, BLOCK - 1), dtype=np.int64)
    bands, levels = _BANDS.tolist(), _LEVELS.tolist()
    nothing = [0] * (BLOCK + 1)
    for channel in range(channels):
        before, size = nothing, COUNTS - 1
        for block in range(blocks):
            given = curve.sines[block, channel].tolist()
            count = BLOCK - 1
            while count and not given[count - 1]:
                count -= 1
            count = coder.code(count, tables.counts[size])
            size = bucket(count)
            now = [0] * (BLOCK + 1)
            one = two = 0
            for k in range(count):
                near = 2 * (one + before[k]) + two + before[k + 1]
                level = levels[near if near < 33 else 33]
                value = code_magnitude(coder, given[k], tables.sines[bands[k]][level])
                if value:
                    sines[block, channel, k] = value
                two, one = one, value if value >= 0 else -value
                now[k] = one
            before = now
    return Curve(knots, sines)


def code_knots(coder: Coder, knots: Integers, kind: str, order: int = 1) -> Integers:
    """Writes (B, C) knots, each predicted from the one before (order 1) or two before (order 2) in
    its channel, and returns them; or reads as many.

    Raises:
        ContainerError: one is above :data:`MAX_KNOT`.
    """
    tables = curve_tables(kind).knots
    out = np.zeros(knots.shape, dtype=np.int64)
    for channel in range(knots.shape[1]):
        one = two = 0
        size = KNOTS - 1
        for i, given in enumerate(knots[:, channel].tolist()):
            if i == 0:
                value = code_signed(coder, given)
            else:
                guess = one if order == 1 or i == 1 else 2 * one - two
                difference = code_magnitude(coder, given - guess, tables[size])
                size = bucket(abs(difference))
                value = guess + difference
            if not -MAX_KNOT <= value <= MAX_KNOT:
                raise ContainerError(f"knot: expected at most {MAX_KNOT} steps, found {value}")
            out[i, channel] = value
            two, one = one, value
    return out


@cache
def _knot_costs(kind: str, price: float) -> list[list[tuple[float, int]]]:
    """What magnitudes below the escape cost after each bucket, signs too, and their buckets."""
    tables = json.loads((files("motioncodec.bitstream") / "tables.json").read_text())[kind]
    return [
        [
            (price * (math.log2(TOTAL / f) + (size > 0)), bucket(size))
            for size, f in enumerate(table[:ESCAPE])
        ]
        for table in tables["knots"]
    ]


def cheap_knots(values: Float64, kind: str, price: float, reach: int = 2) -> Integers:
    """(B,) whole numbers near ``values`` of least squared difference plus ``price`` times the bits
    of order-1 knots: dynamic programming over the number and its bucket.

    Args:
        values: in steps.
        kind: of the tables.
        price: of a bit, in squared steps.
        reach: how far from the nearest number to look.
    """
    costs = _knot_costs(kind, price)
    nearest = np.rint(values).astype(np.int64)
    far = 2 * price * math.log2(ESCAPE + 2.0) + 64 * price, bucket(ESCAPE)
    # For each (number, bucket of the difference that led to it): cost, and the path.
    states: dict[tuple[int, int], tuple[float, tuple[Any, ...]]] = {}
    first = int(nearest[0])
    for number in range(first - reach, first + reach + 1):
        states[number, KNOTS - 1] = (float((values[0] - number) ** 2), (number, None))
    for value, middle in zip(values[1:].tolist(), nearest[1:].tolist()):
        fresh: dict[tuple[int, int], tuple[float, tuple[Any, ...]]] = {}
        near = [(n, (value - n) ** 2) for n in range(middle - reach, middle + reach + 1)]
        for (before, size), (cost, path) in states.items():
            after = costs[size]
            for number, off in near:
                apart = abs(number - before)
                spent, led_by = after[apart] if apart < ESCAPE else far
                total = cost + spent + off
                key = number, led_by
                if key not in fresh or total < fresh[key][0]:
                    fresh[key] = (total, (number, path))
        states = fresh
    _, path = min(states.values(), key=lambda state: state[0])
    out: list[int] = []
    while path is not None:
        number, path = path
        out.append(number)
    return np.array(out[::-1], np.int64)


def count_contexts(curve: Curve, order: int = 2) -> dict[str, NDArray[np.float64]]:
    """How often each table would have coded each symbol: what tables are fitted to."""
    counts = {
        "sines": np.zeros((BANDS, LEVELS, ESCAPE + 1)),
        "counts": np.zeros((COUNTS, BLOCK)),
        "knots": np.zeros((KNOTS, ESCAPE + 1)),
    }
    blocks, channels = curve.sines.shape[:2]
    for channel in range(channels):
        before, size = [0] * (BLOCK + 1), COUNTS - 1
        for block in range(blocks):
            given = [abs(v) for v in curve.sines[block, channel].tolist()] + [0, 0]
            nonzero = np.flatnonzero(given)
            count = int(nonzero[-1]) + 1 if len(nonzero) else 0
            counts["counts"][size, count] += 1
            size = bucket(count)
            for k in range(count):
                one = given[k - 1] if k else 0
                two = given[k - 2] if k > 1 else 0
                near = min(2 * (one + before[k]) + two + before[k + 1], 33)
                counts["sines"][_BANDS[k], _LEVELS[near], min(given[k], ESCAPE)] += 1
            before = given
        knots = curve.knots[:, channel]
        guess = knots[:-1].copy()
        if order == 2:
            guess[1:] += np.diff(knots)[:-1]
        size = KNOTS - 1
        for difference in np.abs(knots[1:] - guess).tolist():
            counts["knots"][size, min(difference, ESCAPE)] += 1
            size = bucket(difference)
    return counts
