"""A body without tokens: its pose as a spectrum.

The pose is a sum of principal components, and each of these, over a chunk, goes through a lapped
transform with windows as long as suits the motion. The coefficients of a frequency are turned into
a basis of what is known by then (:mod:`motioncodec.bitstream.turning`) and rounded to one step.
What comes out is moved to the nearest pose with the person's bones
(:mod:`motioncodec.heatmap.bones`).

Bones of known length leave most bodies some forty ways to move, of which sixty coordinates say too
much: many spectra end as nearly the same motion. The encoder therefore looks for a cheap one by
analysis by synthesis: what decoding makes of a spectrum is compared with the motion, and what it
is off by goes back through the transform into the next one (iterative thresholding: Daubechies,
Defrise and De Mol 2004, with lengths of codes for a threshold). Joints that the clip lacks are off
by nothing, so they become what is cheapest. Where poses are about their centre, what all joints are
off by in common is nothing either: the path, which is told behind the pose, makes it good
(:mod:`motioncodec.footing`); in older files, and where that path would jump or shake, poses are
about the hips, whose path is told before.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from motioncodec.bitstream.magnitudes import cheapest, counts_of
from motioncodec.bitstream.spectrum import (
    LONGEST,
    NETWORK,
    Kind,
    Spectrum,
    shape_of,
    step_of,
    tables_of,
    turning,
)
from motioncodec.bitstream.turning import FRACTION
from motioncodec.heatmap.bones import REFERENCE_BONES, from_reference, to_reference
from motioncodec.heatmap.placement import fill_gaps
from motioncodec.lapping import analyse, lap, synthesise

Float64 = NDArray[np.float64]
Integers = NDArray[np.int64]

PRICE = 0.17
"""Of a bit, in squared steps."""

ROUNDS = 4
"""Times that a spectrum is synthesised and compared."""

BORDER = 64
"""Model frames about the border of two chunks that lap at most: what a damaged chunk costs those
about it is a second each."""

_MOST = 1 << 20
"""Magnitudes are no larger."""

_LEAST = 0.3
"""Frequencies whose coefficients are all within so many steps are not looked at."""


def poses_of(vectors: Sequence[Integers], frames: Sequence[int], kind: Kind) -> Float64:
    """Spectra of chunks in a row to poses.

    Args:
        vectors: (W, n, 60) of each, as :class:`motioncodec.bitstream.spectrum.Spectrum` has them.
        frames: model frames in each.
        kind: of all of them.

    Returns:
        (N, 20, 3) of all these frames in body units, with bones that are nearly the reference's.
    """
    mean, basis, _ = kind.kit.components
    size = step_of(kind.step) / (1 << FRACTION)
    signals = [synthesise(one.astype(np.float64) * size) for one in vectors]
    _lap(signals, [one.shape for one in vectors], frames, back=True)
    signal = np.concatenate([one[:count] for one, count in zip(signals, frames)])
    return (signal @ basis.T + mean).reshape(len(signal), -1, 3)


def _lap(
    signals: list[Float64],
    shapes: Sequence[tuple[int, ...]],
    frames: Sequence[int],
    back: bool = False,
) -> None:
    """Laps the signals of chunks in a row, as :func:`motioncodec.lapping.lap`: all but those behind
    one whose windows reach beyond its frames."""
    sizes = [min(size, BORDER) for _, size, _ in shapes]
    whole = [windows * size == count for (windows, size, _), count in zip(shapes, frames)]
    starts = [0, *(i + 1 for i, one in enumerate(whole[:-1]) if not one), len(shapes)]
    for start, stop in pairwise(starts):
        lap(signals[start:stop], sizes[start:stop], back)


def find_spectra(
    chunks: Sequence[Float64],
    bones: Float64 | None,
    kind: Kind,
    price: float,
    before: Spectrum | None = None,
) -> list[Spectrum]:
    """Inverse of :func:`poses_of`, at the least of squared error and price of its bits as far as
    it is found.

    Args:
        chunks: of each (N, 20, 3) joints in body units, N from 1, NaN where missing; where poses
            are about their centre, about anything.
        bones: (20,) lengths of the rigid ones, None for none.
        kind: of spectrum.
        price: of a bit, in squared steps.
        before: the spectrum of the first chunk, if that is settled.
    """
    points = np.concatenate(chunks)
    frames = [len(one) for one in chunks]
    ends = np.cumsum(frames)[:-1]
    whole = fill_gaps(points)
    there = ~np.isnan(points)
    seen: NDArray[np.bool_] = np.any(there, axis=(0, 2))
    whole[:, ~seen] = 0.0
    rigid = None if bones is None else np.where(np.isfinite(bones), REFERENCE_BONES, np.nan)
    truth = whole if bones is None else to_reference(whole, bones)
    start = truth.copy()
    start[:, ~seen] = _likely(truth, seen, kind)
    if kind.free:
        start -= start.mean(axis=1, keepdims=True)
    mean, basis, _ = kind.kit.components
    step = kind.step
    # Of joints that are there, by frame.
    share = there / np.maximum(there.sum(axis=1, keepdims=True), 1)

    def signals(poses: Float64) -> list[Float64]:
        """Components of each chunk, in steps."""
        return np.split((poses.reshape(len(poses), -1) @ basis) / step_of(step), ends)

    def held(signal: Float64, shape: tuple[int, ...]) -> Float64:
        """The last one up to the end of the windows."""
        return signal[np.minimum(np.arange(shape[0] * shape[1]), len(signal) - 1)]

    def suits(signal: Float64) -> tuple[int, ...]:
        """Windows that make it cheap, as far as that shows without bases that turn."""
        tries = list(dict.fromkeys(shape_of(len(signal), longer) for longer in range(LONGEST + 1)))
        if len(tries) == 1:
            return tries[0]
        exact = [analyse(held(signal, shape), shape[1]) for shape in tries]
        costs = [_cost(one, _thrifty(one, step, price), step, price) for one in exact]
        return tries[int(np.argmin(costs))]

    first = signals(start - mean.reshape(-1, 3))
    shapes = [suits(signal) for signal in first]
    if before is not None:
        shapes[0] = before.numbers.shape

    def analysed(parts: list[Float64]) -> list[Float64]:
        parts = [held(part, shape) for part, shape in zip(parts, shapes)]
        _lap(parts, shapes, frames)
        return [analyse(part, shape[1]) for part, shape in zip(parts, shapes)]

    def settled(exact: list[Float64]) -> list[Spectrum]:
        rest = exact if before is None else exact[1:]
        out = [_turned(one, kind, price) for one in rest]
        return out if before is None else [before, *out]

    exact = analysed(first)
    found = settled(exact)
    for _ in range(ROUNDS):
        vectors = [one.vectors for one in found]
        poses = poses_of(vectors, frames, kind)
        if rigid is not None:
            poses = from_reference(poses, rigid)
        apart = np.where(there, truth - poses, 0.0)
        if kind.free:
            # What joints are off by in common is left to the path.
            apart = np.where(there, apart - (apart * share).sum(axis=1, keepdims=True), 0.0)
        off = analysed(signals(apart))
        found = settled([one / (1 << FRACTION) + more for one, more in zip(vectors, off)])
    return found


def _turned(exact: Float64, kind: Kind, price: float) -> Spectrum:
    """Coefficients in steps to a spectrum, row by row as it is written: numbers are smaller where
    that saves more bits than it does harm."""
    bases, bits = turning(exact.shape[:2], kind), kind.kit.network.bits
    numbers = np.zeros(exact.shape, np.int64)
    for w, k in bases.walk(counts_of(np.abs(exact).max(axis=2, keepdims=True) > _LEAST)):
        given = bases.turned(w, exact[w, k])
        size = np.minimum(np.abs(given), _MOST)
        which = bases.tables(w, k)
        out = cheapest(size, np.rint(size), which, bits, price)
        numbers[w, k] = np.sign(given) * out
        bases.put(w, k, numbers[w, k])
    return Spectrum(numbers, bases.vectors)


def _likely(truth: Float64, seen: NDArray[np.bool_], kind: Kind) -> Float64:
    """(N, missing, 3) joints that a clip lacks, as the others let expect."""
    mean, basis, deviations = kind.kit.components
    known = np.repeat(seen, 3)
    spread = basis * deviations
    if kind.free:
        # Where the centre is nobody knows yet.
        spread = np.concatenate([spread, np.tile(np.eye(3), (len(seen), 1))], axis=1)
    within = spread[known] @ spread[known].T + 1e-4 * np.eye(known.sum())
    off = truth.reshape(len(truth), -1)[:, known] - mean[known]
    found = off @ np.linalg.solve(within, spread[known] @ spread[~known].T) + mean[~known]
    return found.reshape(len(truth), -1, 3)


def _thrifty(exact: Float64, step: int, price: float) -> Integers:
    """Coefficients in steps to whole numbers, smaller ones where they save more bits than they do
    harm: twice, for what a number costs depends on its neighbours."""
    size = np.minimum(np.abs(exact), _MOST)
    top = np.rint(size)
    out = np.floor(size + 0.4)
    for _ in range(2):
        which = tables_of(out.astype(np.int64), step)
        out = cheapest(size, top, which, NETWORK.bits, price)
    return (np.sign(exact) * out).astype(np.int64)


def _cost(exact: Float64, found: Integers, step: int, price: float) -> float:
    """Squared error, in steps, and price of the bits of what coefficients became."""
    bits, sizes = NETWORK.bits, np.abs(found)
    end = int(counts_of(found).max(initial=0)) + 1
    which = tables_of(found, step)[:, :end]
    told = bits[which, np.minimum(sizes[:, :end], bits.shape[1] - 1)]
    off = np.minimum(np.abs(exact), _MOST) - sizes
    return float((off**2).sum() + price * told.sum())


__all__ = ["PRICE", "find_spectra", "poses_of"]
