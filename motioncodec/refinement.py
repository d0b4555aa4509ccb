"""From decoded keypoints to within a bound of the true ones: what is left over, transformed.

What is left of a body that a lapped model knows is turned with its heading, split into what all of
its joints have in common and the principal components of the rest; all other keypoints are taken
coordinate by coordinate. All of these channels go through a lapped transform of two seconds, and
their coefficients are rounded to one step, a smaller one for a tighter bound. The few samples that
are still too far off after that get a correction each.

Everything here works on one person and one chunk, at the clip's own frame rate.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from motioncodec.bitstream.header import MODEL_RATE, step_exponent, step_size
from motioncodec.bitstream.refinement import PLAIN, TRANSLATION
from motioncodec.errors import UsageError
from motioncodec.heatmap.placement import fill_gaps, turn
from motioncodec.lapping import analyse, synthesise

Float64 = NDArray[np.float64]
Integers = NDArray[np.int64]
Bool = NDArray[np.bool_]

WINDOW = 64
"""Model frames in a window of the transform."""

LONGEST = 1024
"""Clip frames in a window at most."""

STEP = 2.0
"""Step of the coefficients over the bound: on training clips the sum of coefficients and
corrections is least about here."""

_DEAD_ZONE = 0.1
"""Coefficients are rounded to the number below from so much under its upper border."""

_SLACK = 2.0**-8
"""Share of the bound that is left to rounding on other machines."""


def window_of(frame_rate: float) -> int:
    """Clip frames in a window of the transform: as many as two seconds have, in 64 parts."""
    return min(WINDOW * max(round(frame_rate / MODEL_RATE), 1), LONGEST)


def fine_step(bound: float) -> int:
    """Exponent of the coefficients' step for a bound, both in the clip's units."""
    return step_exponent(STEP * bound)


@dataclass(frozen=True, eq=False)
class Channels:
    """How the keypoints of a person become channels.

    Attributes:
        covered: joints of the body that the model knows, in the order of its skeleton.
        canonical: which canonical joint each of them is.
        basis: (60, 60) principal components of a pose, in columns; None where all keypoints are
            taken by themselves.
        joints: of the skeleton.
        dims: coordinates.
    """

    covered: list[int]
    canonical: list[int]
    basis: Float64 | None
    joints: int
    dims: int

    @property
    def plain(self) -> list[int]:
        """Joints that are taken by themselves."""
        body = set(self.covered) if self.basis is not None else set()
        return [joint for joint in range(self.joints) if joint not in body]

    @property
    def classes(self) -> Integers:
        """(C,) class of each channel's tables."""
        plain = np.full(len(self.plain) * self.dims, PLAIN, np.int64)
        if self.basis is None:
            return plain
        body = np.minimum(np.arange(len(self.basis)) // 10, TRANSLATION - 1)
        return np.concatenate([np.full(3, TRANSLATION, np.int64), body, plain])

    def split(self, left: Float64, heading: Float64 | None) -> Float64:
        """(F, K, D) left over without gaps to (F, C) channels: what the body has in common and its
        principal components, turned, and the plain keypoints."""
        frames = len(left)
        plain = left[:, self.plain].reshape(frames, -1)
        if self.basis is None or heading is None:
            return plain
        body = np.zeros((frames, len(self.basis) // 3, 3))
        turned = turn(left[:, self.covered], heading)
        common = turned.mean(axis=1)
        body[:, self.canonical] = turned - common[:, None]
        components = body.reshape(frames, -1) @ self.basis
        return np.concatenate([common * math.sqrt(len(self.covered)), components, plain], axis=1)

    def joined(self, signal: Float64, heading: Float64 | None) -> Float64:
        """Inverse of :meth:`split`."""
        frames = len(signal)
        out = np.zeros((frames, self.joints, self.dims))
        first = 0
        if self.basis is not None and heading is not None:
            first = 3 + len(self.basis)
            body = (signal[:, 3:first] @ self.basis.T).reshape(frames, -1, 3)[:, self.canonical]
            body = body + signal[:, None, :3] / math.sqrt(len(self.covered))
            out[:, self.covered] = turn(body, -heading)
        out[:, self.plain] = signal[:, first:].reshape(frames, -1, self.dims)
        return out


def shape_of(frames: int, channels: Channels, frame_rate: float) -> tuple[int, int, int]:
    """Shape of a chunk's coefficients: windows, frequencies, channels."""
    size = window_of(frame_rate)
    return -(-frames // size), size, len(channels.classes)


def refined(
    coefficients: Integers, step: int, channels: Channels, heading: Float64 | None, frames: int
) -> Float64:
    """(F, K, D) what a chunk's coefficients add."""
    if not frames:
        return np.zeros((0, channels.joints, channels.dims))
    signal = synthesise(coefficients * np.float64(step_size(step)))[:frames]
    return channels.joined(signal, heading)


def find_coefficients(
    left: Float64, step: int, channels: Channels, heading: Float64 | None, frame_rate: float
) -> Integers:
    """Coefficients of (F, K, D) what is left over, NaN where a keypoint is missing."""
    size = window_of(frame_rate)
    filled = fill_gaps(left)
    padded = np.pad(filled, ((0, -len(filled) % size), (0, 0), (0, 0)), mode="edge")
    turned = None
    if heading is not None:
        turned = np.pad(heading, (0, len(padded) - len(heading)), mode="edge")
    exact = analyse(channels.split(padded, turned), size) / step_size(step)
    magnitudes = np.floor(np.abs(exact) + 0.5 - _DEAD_ZONE)
    return (np.sign(exact) * magnitudes).astype(np.int64)


def correction_step(bound: float, dims: int) -> float:
    """Step of corrections: a sample rounded to it in every coordinate is within the bound."""
    return 2 * bound * (1 - 2 * _SLACK) / math.sqrt(dims)


def kept_bound(bound: float, largest: float) -> float:
    """What samples must be within here, so that they are within ``bound`` everywhere.

    Raises:
        UsageError: float32, which keypoints are, holds no such differences.
    """
    kept = bound * (1 - _SLACK) - 2 * 2.0**-24 * largest
    if kept < bound * (1 - 2 * _SLACK):
        raise UsageError(
            f"max error: expected a bound that float32 holds at coordinates of {largest:g}, "
            f"found {bound:g}; ask for a larger one"
        )
    return kept


def find_corrections(apart: Float64, bound: float, kept: float) -> Integers:
    """Corrections of (F, K, D) differences from decoded to true, NaN where missing: 0 where these
    are within ``kept``, else the least whole numbers that bring them there."""
    dims = apart.shape[-1]
    step = correction_step(bound, dims)
    out = np.zeros(apart.shape, np.int64)
    far = np.linalg.norm(apart, axis=-1) > kept  # False for NaN
    exact = apart[far] / step
    around = np.stack(np.meshgrid(*[[-1, 0, 1]] * dims, indexing="ij"), axis=-1).reshape(-1, dims)
    tried = np.rint(exact)[:, None] + around
    inside = np.linalg.norm(exact[:, None] - tried, axis=-1) * step <= kept
    cost = np.where(inside, np.abs(tried).sum(axis=-1), np.inf)
    best = cost.argmin(axis=1)
    out[far] = tried[np.arange(len(tried)), best].astype(np.int64)
    return out
