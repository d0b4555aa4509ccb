"""A body without tokens: its pose as a spectrum.

The pose is a sum of principal components, and each of these, over a chunk, goes through a lapped
transform with windows as long as suits the motion. Coefficients are rounded to one step. What comes
out is moved to the nearest pose with the person's bones (:mod:`motioncodec.heatmap.bones`).

Bones of known length leave most bodies some forty ways to move, of which sixty coordinates say too
much: many spectra end as nearly the same motion. The encoder therefore looks for a cheap one by
analysis by synthesis: what decoding makes of a spectrum is compared with the motion, and what it
is off by goes back through the transform into the next one (iterative thresholding: Daubechies,
Defrise and De Mol 2004, with lengths of codes for a threshold). Joints that the clip lacks are off
by nothing, so they become what is cheapest.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from importlib.resources import files
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from motioncodec.bitstream.choosing import SLOTS
from motioncodec.bitstream.magnitudes import cheapest, counts_of
from motioncodec.bitstream.spectrum import LONGEST, NETWORK, STEP_BITS, shape_of, tables_of
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


@cache
def components() -> tuple[Float64, Float64, Float64]:
    """(60,) mean pose in body units; (60, 60) components, one to a column, largest first,
    orthonormal to what 16 bits hold; and (60,) their standard deviations.

    ``components.bin``: mean and deviations in 2^-13, components row by row in 2^-15, all 16-bit,
    signed, little-endian.
    """
    raw = np.frombuffer((files("motioncodec.bitstream") / "components.bin").read_bytes(), "<i2")
    mean, spread, basis = raw[:SLOTS], raw[SLOTS : 2 * SLOTS], raw[2 * SLOTS :]
    return mean / 2.0**13, basis.reshape(SLOTS, SLOTS) / 2.0**15, spread / 2.0**13


def poses_of(spectra: Sequence[Integers], frames: Sequence[int], step: int) -> Float64:
    """Spectra of chunks in a row to poses.

    Args:
        spectra: (W, n, 60) of each.
        frames: model frames in each.
        step: exponent of 2^(step / 32).

    Returns:
        (N, 20, 3) of all these frames in body units, with bones that are nearly the reference's.
    """
    mean, basis, _ = components()
    size = np.float64(2.0 ** (step / STEP_BITS))
    signals = [synthesise(spectrum * size) for spectrum in spectra]
    for group in _lapped(spectra, frames):
        lap(signals[group], [min(one.shape[1], BORDER) for one in spectra[group]], back=True)
    signal = np.concatenate([one[:count] for one, count in zip(signals, frames)])
    return (signal @ basis.T + mean).reshape(len(signal), -1, 3)


def _lapped(spectra: Sequence[Integers], frames: Sequence[int]) -> list[slice]:
    """Chunks that lap: all but those behind one whose windows reach beyond its frames."""
    whole = [one.shape[0] * one.shape[1] == count for one, count in zip(spectra, frames)]
    starts = [0, *(i + 1 for i, one in enumerate(whole[:-1]) if not one), len(spectra)]
    return [slice(a, b) for a, b in pairwise(starts)]


def find_spectra(
    chunks: Sequence[Float64],
    bones: Float64 | None,
    step: int,
    price: float,
    before: Integers | None = None,
) -> list[Integers]:
    """Inverse of :func:`poses_of`, at the least of squared error and price of its bits as far as
    it is found.

    Args:
        chunks: of each (N, 20, 3) joints in body units, N from 1, NaN where missing.
        bones: (20,) lengths of the rigid ones, None for none.
        step: exponent.
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
    start[:, ~seen] = _likely(truth, seen)
    size = 2.0 ** (step / STEP_BITS)
    mean, basis, _ = components()

    def signals(poses: Float64) -> list[Float64]:
        """Components of each chunk, in steps."""
        return np.split((poses.reshape(len(poses), -1) @ basis) / size, ends)

    def held(signal: Float64, shape: tuple[int, ...]) -> Float64:
        """The last one up to the end of the windows."""
        return signal[np.minimum(np.arange(shape[0] * shape[1]), len(signal) - 1)]

    def suits(signal: Float64) -> Integers:
        """A first spectrum, with windows that make it cheap."""
        tries = dict.fromkeys(shape_of(len(signal), longer) for longer in range(LONGEST + 1))
        found = [_thrifty(analyse(held(signal, s), s[1]), step, price) for s in tries]
        return min(found, key=lambda one: one[1])[0]

    first = signals(start - mean.reshape(-1, 3))
    found = [suits(signal) for signal in first]
    if before is not None:
        found[0] = before
    sizes = [one.shape[1] for one in found]
    groups = _lapped(found, frames)

    def analysed(parts: list[Float64]) -> list[Float64]:
        parts = [held(part, one.shape) for part, one in zip(parts, found)]
        for group in groups:
            lap(parts[group], [min(size, BORDER) for size in sizes[group]])
        return [analyse(part, size) for part, size in zip(parts, sizes)]

    def settled(exact: list[Float64]) -> list[Integers]:
        out = [_thrifty(one, step, price)[0] for one in exact]
        return out if before is None else [before, *out[1:]]

    if len(found) > 1:
        found = settled(analysed(first))
    for _ in range(ROUNDS):
        poses = poses_of(found, frames, step)
        if rigid is not None:
            poses = from_reference(poses, rigid)
        off = analysed(signals(np.where(there, truth - poses, 0.0)))
        found = settled([one + more for one, more in zip(found, off)])
    return found


def _likely(truth: Float64, seen: NDArray[np.bool_]) -> Float64:
    """(N, missing, 3) joints that a clip lacks, as the others let expect."""
    mean, basis, deviations = components()
    known = np.repeat(seen, 3)
    spread = basis * deviations
    within = spread[known] @ spread[known].T + 1e-4 * np.eye(known.sum())
    off = truth.reshape(len(truth), -1)[:, known] - mean[known]
    found = off @ np.linalg.solve(within, spread[known] @ spread[~known].T) + mean[~known]
    return found.reshape(len(truth), -1, 3)


def _thrifty(exact: Float64, step: int, price: float) -> tuple[Integers, float]:
    """Coefficients in steps to whole numbers, smaller ones where they save more bits than they do
    harm: twice, for what a number costs depends on its neighbours; and what they cost with that."""
    size = np.minimum(np.abs(exact), _MOST)
    top = np.rint(size)
    out = np.floor(size + 0.4).astype(np.int64)
    bits = NETWORK.bits
    for _ in range(2):
        which = tables_of(out, step)
        out = cheapest(size, top, which, bits, price).astype(np.int64)
    end = int(counts_of(out).max(initial=0)) + 1
    which = tables_of(out, step)[:, :end]
    told = bits[which, np.minimum(out[:, :end], bits.shape[1] - 1)]
    cost = float(((size - out) ** 2).sum() + price * told.sum())
    return (np.sign(exact) * out).astype(np.int64), cost


__all__ = ["PRICE", "components", "find_spectra", "poses_of"]
