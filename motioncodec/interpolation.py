"""Keypoints of a few frames to those of all: frames half-way between two that are known lie on a
curve through these and the two beyond them, or are corrected (:mod:`.bitstream.between`).

Places are whole numbers, parts of a correction's step, and so is all arithmetic: it comes out alike
everywhere.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from motioncodec.bitstream.between import PARTS, SPACINGS, Row, Spacing
from motioncodec.bitstream.foretold import BLOCK, Numbers
from motioncodec.prediction import NEAR, depths_of, fill, find_ways, values_of
from motioncodec.refinement import find_corrections

Float64 = NDArray[np.float64]
Integers = NDArray[np.int64]
Bool = NDArray[np.bool_]
Settle = Callable[[Row, Integers, Integers], Integers]


def places_of(
    numbers: Numbers, spacing: Spacing, between: Integers | None, present: Bool
) -> Float64:
    """(F, K, D) places in steps of a correction, any where missing.

    Args:
        numbers: of key frames.
        spacing: of these.
        between: (F, K, D) corrections of the others; None where there are no others.
        present: (F, K).

    Raises:
        ContainerError: the numbers are none that an encoder has.
    """
    keys = spacing.keys(len(present))
    values = values_of(numbers, present[keys])
    if not spacing.exponent:
        return values
    assert between is not None
    out = np.zeros_like(between)
    out[keys] = values.astype(np.int64) * PARTS

    def settle(row: Row, joints: Integers, _: Integers) -> Integers:
        some: Integers = between[row.frames[:, None], joints]
        return some

    return fill_between(out, present, spacing, numbers, settle) / PARTS


def fill_between(
    keyed: Integers, present: Bool, spacing: Spacing, numbers: Numbers, settle: Settle
) -> Integers:
    """(F, K, D) places, in parts, from those of key frames.

    Args:
        keyed: (F, K, D), of which key frames count.
        present: (F, K).
        spacing: of the key frames.
        numbers: of these; a joint goes along with half of what moves its companion away from
            where that one was foretold.
        settle: gives the corrections of some joints' (n, k, D) foretold places in a row.
    """
    out = keyed.copy()
    known = np.zeros(present.shape, bool)
    keys = spacing.keys(len(out))
    known[keys] = present[keys]
    depths, companions = depths_of(numbers), np.array(numbers.companions, np.int64)
    together = [np.flatnonzero(depths == depth) for depth in np.unique(depths).tolist()]
    for row in spacing.rows(len(out)):
        told = foretold(out, known, row)
        moved = np.zeros_like(told)
        for joints in together:
            along = companions[joints]
            half = np.where(along[:, None] >= 0, moved[:, along] >> 1, 0)
            corrections = settle(row, joints, told[:, joints] + half)
            moved[:, joints] = half + PARTS * corrections
        out[row.frames] = told + moved
        known[row.frames] = present[row.frames]
    return out


def foretold(places: Integers, known: Bool, row: Row) -> Integers:
    """(n, K, D) places that the frames of a row are foretold to be in, by those that are known:
    by the two about them and the two beyond, by the two, by one of them, or by any.

    Args:
        places: (F, K, D).
        known: (F, K).
        row: the frames.
    """
    last = len(places) - 1
    before, behind = places[row.left], places[row.right]
    span, part = row.right - row.left, row.frames - row.left
    span, part = span[:, None, None], part[:, None, None]
    out = before + (2 * (behind - before) * part + span) // (2 * span)
    two = known[row.left], known[row.right]
    wide = (row.left >= 2 * row.distance) & (row.frames + 3 * row.distance <= last)
    if wide.any():
        far = row.frames[wide] - 3 * row.distance, row.frames[wide] + 3 * row.distance
        four = two[0][wide] & two[1][wide] & known[far[0]] & known[far[1]]
        inner, outer = before[wide] + behind[wide], places[far[0]] + places[far[1]]
        out[wide] = np.where(four[..., None], (9 * inner - outer + 8) >> 4, out[wide])
    if not (two[0] & two[1]).all():
        one = np.where(two[0][..., None], before, behind)
        out = np.where((two[0] & two[1])[..., None], out, one)
        lost = ~(two[0] | two[1])
        if lost.any():
            out[lost] = _nearest(places, known)[row.frames][lost]
    return out


def _nearest(places: Integers, known: Bool) -> Integers:
    """(F, K, D) places of each joint in the last known frame before, else in the first one behind;
    0 where there is none."""
    at = np.where(known, np.arange(len(known))[:, None], -1)
    at = np.maximum.accumulate(at, axis=0)
    at = np.where(at < 0, known.argmax(axis=0), at)
    out = places[at, np.arange(known.shape[1])]
    out[:, known.sum(axis=0) == 0] = 0
    return out


# -- encoding --------------------------------------------------------------------------------------


class Finder:
    """Looks for numbers and corrections of one person's keypoints in one chunk.

    Args:
        points: (F, K, D) in steps of a correction, NaN where missing.
        kept: what keypoints must be within, in steps.
    """

    def __init__(self, points: Float64, kept: float) -> None:
        self.points, self.kept = points, kept
        self.present: Bool = ~np.isnan(points[..., 0])

    def spacing(self) -> Spacing:
        """The one that should take the fewest bits, judged by true keypoints alone."""
        costs, _ = self._costs()
        return Spacing(int(np.argmin(costs)))

    def numbers(self, spacing: Spacing) -> tuple[Numbers, float]:
        """Numbers of a spacing's key frames without differences, and about how many bits they
        take."""
        return find_ways(self.points[spacing.keys(len(self.points))], floats=False)

    def ways(self) -> tuple[Spacing, Numbers, float]:
        """The spacing that should take the fewest bits, numbers of its key frames without
        differences, and about how many bits all of it takes."""
        costs, between = self._costs()
        found = []
        for exponent in np.argsort(costs, kind="stable")[:2].tolist():
            spacing = Spacing(exponent)
            numbers, bits = self.numbers(spacing)
            found.append((bits + between[exponent], spacing, numbers))
        bits, spacing, numbers = min(found, key=lambda one: one[0])
        return spacing, numbers, bits

    def fill(
        self, numbers: Numbers, spacing: Spacing, loose: bool = False
    ) -> tuple[Numbers, Integers]:
        """The numbers with differences, and (F, K, D) corrections between key frames: of what is
        not within reach there, or, if that is ``loose``, within three times as much."""
        keys = spacing.keys(len(self.points))
        # What key frames are off by is what all between them are.
        near = _KEYS_NEAR if spacing.exponent else NEAR
        numbers, values = fill(numbers, self.points[keys], self.kept, near)
        between = np.zeros(self.points.shape, np.int64)
        keyed = np.zeros_like(between)
        keyed[keys] = values.astype(np.int64) * PARTS

        def settle(row: Row, joints: Integers, told: Integers) -> Integers:
            apart = self.points[row.frames[:, None], joints] - told / PARTS
            found = find_corrections(apart, self.kept * (_LOOSE if loose else 1.0))
            between[row.frames[:, None], joints] = found
            return found

        fill_between(keyed, self.present, spacing, numbers, settle)
        return numbers, between

    def _costs(self) -> tuple[list[float], list[float]]:
        """About how many bits each spacing takes, and how many of them what is between key frames,
        judged by true keypoints. What key frames take goes with how much speeds change from one to
        the next, or, where that is little, with its root: what rounding leaves of it has to be told
        too. (Weights from training clips: the best of two is taken nearly always.)"""
        filled = np.where(self.present[..., None], self.points, 0.0)
        places = np.rint(filled * PARTS).astype(np.int64)
        between = {}
        for row in Spacing(SPACINGS - 1).rows(len(places)):
            apart = filled[row.frames] - foretold(places, self.present, row) / PARTS
            here = self.present[row.frames]
            far = (np.linalg.norm(apart, axis=-1) > _NEARLY * self.kept) & here
            count = here.sum(axis=0)
            share = np.clip(far.sum(axis=0) / np.maximum(count, 1), 1e-4, 1 - 1e-4)
            flags = -count * (share * np.log2(share) + (1 - share) * np.log2(1 - share))
            sizes = np.log2(1 + 3 * np.abs(apart[far])).sum() + far.sum()
            between[row.distance] = float(flags.sum() + 1.3 * sizes)
        rest = [
            sum(bits for distance, bits in between.items() if distance < 1 << exponent)
            for exponent in range(SPACINGS)
        ]
        costs = []
        for exponent in range(SPACINGS):
            spacing = Spacing(exponent)
            keys = spacing.keys(len(places))
            there, bend = self.present[keys], np.abs(np.diff(self.points[keys], 2, axis=0))
            three = there[2:] & there[1:-1] & there[:-2]
            bits = np.log2(1 + 2 * np.where(three[..., None], bend, 0.0))
            total = 8.0 * bend.shape[2] * int(there.any(axis=0).sum())
            for start in range(0, len(bits), BLOCK):
                some = bits[start : start + BLOCK]
                count = three[start : start + BLOCK].sum(axis=0)
                mean = some.sum(axis=0) / np.maximum(count, 1)[:, None]
                total += len(some) * float(np.minimum(2.2 * np.sqrt(mean), mean + 0.5).sum())
            costs.append(total + rest[exponent])
        return costs, rest


_KEYS_NEAR = 3.0
"""As :data:`NEAR`, of numbers of key frames."""

_LOOSE = 3.0
"""Times their reach that keypoints between key frames may be off where nothing is promised."""

_NEARLY = 0.75
"""Share of what keypoints must be within from which on a true one's distance from where it is
foretold is thought to need a correction: those about it will be off, too."""
