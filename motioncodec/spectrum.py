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

from functools import cache
from importlib.resources import files

import numpy as np
from numpy.typing import NDArray

from motioncodec.bitstream.choosing import SLOTS
from motioncodec.bitstream.magnitudes import cheapest, counts_of
from motioncodec.bitstream.spectrum import LONGEST, NETWORK, STEP_BITS, shape_of, tables_of
from motioncodec.heatmap.bones import REFERENCE_BONES, from_reference, to_reference
from motioncodec.heatmap.placement import fill_gaps
from motioncodec.lapping import analyse, synthesise

Float64 = NDArray[np.float64]
Integers = NDArray[np.int64]

PRICE = 0.17
"""Of a bit, in squared steps."""

ROUNDS = 4
"""Times that a spectrum is synthesised and compared."""

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


def poses_of(spectrum: Integers, step: int) -> Float64:
    """(W, n, 60) spectrum of a step 2^(step / 32) to (W n, 20, 3) poses in body units, with bones
    that are nearly the reference's."""
    mean, basis, _ = components()
    signal = synthesise(spectrum * np.float64(2.0 ** (step / STEP_BITS)))
    return (signal @ basis.T + mean).reshape(len(signal), -1, 3)


def find_spectrum(points: Float64, bones: Float64 | None, step: int, price: float) -> Integers:
    """Inverse of :func:`poses_of`, at the least of squared error and price of its bits as far as
    it is found.

    Args:
        points: (N, 20, 3) joints in body units, N from 1, NaN where missing.
        bones: (20,) lengths of the rigid ones, None for none.
        step: exponent.
        price: of a bit, in squared steps.
    """
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

    def analysed(poses: Float64, shape: tuple[int, int, int]) -> Float64:
        """Coefficients in steps; the last pose is held up to the end of the windows."""
        held = np.minimum(np.arange(shape[0] * shape[1]), len(poses) - 1)
        return analyse((poses.reshape(len(poses), -1) @ basis)[held] / size, shape[1])

    def tried(longer: int) -> tuple[float, Float64, Integers]:
        shape = shape_of(len(points), longer)
        exact = analysed(start - mean.reshape(-1, 3), shape)
        found, cost = _thrifty(exact, step, price)
        return cost, exact, found

    tries = {shape_of(len(points), longer): longer for longer in reversed(range(LONGEST + 1))}
    _, exact, found = min((tried(longer) for longer in tries.values()), key=lambda one: one[0])
    for _ in range(ROUNDS):
        poses = poses_of(found, step)[: len(points)]
        if rigid is not None:
            poses = from_reference(poses, rigid)
        off = np.where(there, truth - poses, 0.0)
        exact = found + analysed(off, exact.shape)
        found, _ = _thrifty(exact, step, price)
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


__all__ = ["PRICE", "components", "find_spectrum", "poses_of"]
