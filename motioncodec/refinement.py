"""From decoded keypoints to within a bound of the true ones: what is left over, transformed.

What is left of a body that a lapped model knows is turned with its heading and split into the ways
that the body has to move (:mod:`motioncodec.articulated`); all other keypoints are taken coordinate
by coordinate. All of these channels go through a lapped transform of about two seconds, and their
coefficients are rounded to one step, a smaller one for a tighter bound. The few samples that are
still too far off after that get a correction each.

Everything here works on one person and one chunk, at the clip's own frame rate.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from motioncodec.articulated import Body, Link
from motioncodec.bitstream.choosing import SLOTS
from motioncodec.bitstream.header import MODEL_RATE, step_exponent, step_size
from motioncodec.bitstream.magnitudes import cheapest
from motioncodec.bitstream.refinement import (
    NETWORK,
    Jointed,
    plain_bits,
    tables_of,
)
from motioncodec.errors import UsageError
from motioncodec.heatmap.placement import fill_gaps, turn
from motioncodec.lapping import analyse, synthesise

Float64 = NDArray[np.float64]
Integers = NDArray[np.int64]
Bool = NDArray[np.bool_]

WINDOW = 64
"""Model frames in a window of the transform, or about as many."""

LONGEST = 1024
"""Clip frames in a window at most, or about as many."""

STEP = 2.6
"""Step of the coefficients over the bound: on training clips the sum of coefficients and
corrections is least about here."""

_DEAD_ZONE = 0.1
"""Coefficients are rounded to the number below from so much under its upper border."""

_MOST = 2.0**40
"""Magnitudes are no larger."""

PRICE, BOUND_PRICE = 0.17, 0.1
"""Of a bit, in squared steps, where coefficients may come out smaller than they are: for a mean
error, and for a bound, which corrections have to keep."""

_SLACK = 2.0**-8
"""Share of the bound that is left to rounding on other machines."""


def window_of(frame_rate: float) -> int:
    """Clip frames in two seconds, in 64 parts."""
    return min(WINDOW * max(round(frame_rate / MODEL_RATE), 1), LONGEST)


def shape_of(frames: int, channels: Channels, frame_rate: float) -> tuple[int, int, int]:
    """Shape of a chunk's coefficients: windows, frequencies, channels. Windows are as near to two
    seconds as leaves next to nothing of the last one behind the chunk's end."""
    windows = max(math.floor(frames / window_of(frame_rate) + 0.5), 1)
    return windows, 2 * -(-frames // (2 * windows)), channels.count


def fine_step(bound: float, frame_rate: float) -> int:
    """Exponent of the coefficients' step for a bound, both in the clip's units. Where frames follow
    each other faster, more of the coefficients are 0, and what the others are off by spreads over
    more samples."""
    return step_exponent(STEP * bound * max(frame_rate / MODEL_RATE, 1.0) ** 0.25)


def shape_step(step: int) -> float:
    """Step, in the clip's units, of what a body's shape is told in: a 16th of the step
    2^(step / 4) of its coefficients."""
    return step_size(step - 16)


@dataclass(frozen=True, eq=False)
class Channels:
    """How the keypoints of a person become channels.

    Attributes:
        covered: joints of the body that the model knows, in the order of its skeleton.
        canonical: which canonical joint each of them is.
        jointed: these are taken as a body; if not, all keypoints are taken by themselves.
        joints: of the skeleton.
        dims: coordinates.
    """

    covered: list[int]
    canonical: list[int]
    jointed: bool
    joints: int
    dims: int

    @property
    def plain(self) -> list[int]:
        """Joints that are taken by themselves."""
        body = set(self.covered) if self.jointed else set()
        return [joint for joint in range(self.joints) if joint not in body]

    @property
    def count(self) -> int:
        """Channels: all that a body can have, and those of plain joints."""
        return SLOTS * self.jointed + len(self.plain) * self.dims


@dataclass(frozen=True, eq=False)
class Posed:
    """A body as it is before it is refined.

    Attributes:
        heading: (F,) radians.
        links: how it hangs together.
        jointed: what the coefficients' coding knows about it.
    """

    heading: Float64
    links: list[Link]
    jointed: Jointed
    _made: dict[int, Body] = field(default_factory=dict)

    def bodies(self, points: Float64, channels: Channels) -> Iterator[tuple[slice, Body]]:
        """Some frames at a time of (F, K, D) decoded keypoints, always the same ones."""
        for start in range(0, len(points), _BLOCK):
            rows = slice(start, min(start + _BLOCK, len(points)))
            body = self._made.get(start) or Body(self.turned(points, rows, channels), self.links)
            if len(points) <= _BLOCK:
                self._made[start] = body
            yield rows, body

    def turned(self, points: Float64, rows: slice, channels: Channels) -> Float64:
        """(F, 20, 3) canonical joints of (F, K, D) keypoints, turned to one heading."""
        some = points[rows]
        pose = np.zeros((len(some), SLOTS // 3, 3))
        pose[:, channels.canonical] = turn(some[:, channels.covered], self.heading[rows])
        return pose


_BLOCK = 4096


def refined(
    coefficients: Integers, step: int, channels: Channels, points: Float64, posed: Posed | None
) -> Float64:
    """(F, K, D) what a chunk's coefficients make of decoded keypoints."""
    return unrounded(coefficients * np.float64(step_size(step)), channels, points, posed)


def unrounded(exact: Float64, channels: Channels, points: Float64, posed: Posed | None) -> Float64:
    """As :func:`refined`, of coefficients times their step."""
    if not len(points):
        return points
    signal = synthesise(exact)[: len(points)]
    out = points.copy()
    if posed:
        for rows, body in posed.bodies(points, channels):
            pose = body.moved(signal[rows, body.slots].T)[:, channels.canonical]
            back = turn(pose, -posed.heading[rows])
            there = np.isin(channels.canonical, body.joints)
            out[rows, np.array(channels.covered)[there]] = back[:, there]
    plain = signal[:, SLOTS * channels.jointed :]
    out[:, channels.plain] += plain.reshape(len(points), -1, channels.dims)
    return out


def transformed(
    left: Float64, channels: Channels, points: Float64, posed: Posed | None, frame_rate: float
) -> Float64:
    """(W, n, C) coefficients of what (F, K, D) decoded keypoints leave over, NaN where a keypoint
    is missing."""
    windows, size, count = shape_of(len(left), channels, frame_rate)
    filled = fill_gaps(left)
    signal = np.zeros((windows * size, count))
    if posed:
        goal = points + filled
        for rows, body in posed.bodies(points, channels):
            signal[rows, body.slots] = body.channels(posed.turned(goal, rows, channels)).T
    signal[: len(left), SLOTS * channels.jointed :] = filled[:, channels.plain].reshape(
        len(left), -1
    )
    signal[len(left) :] = signal[len(left) - 1]
    return analyse(signal, size)


def rounded(exact: Float64) -> Integers:
    """Coefficients over their step to whole numbers."""
    magnitudes = np.minimum(np.floor(np.abs(exact) + 0.5 - _DEAD_ZONE), _MOST)
    return (np.sign(exact) * magnitudes).astype(np.int64)


def thrifty(exact: Float64, posed: Posed | None, price: float) -> Integers:
    """As :func:`rounded`, but to smaller numbers where they save more bits than they do harm:
    twice, for what a number costs depends on its neighbours.

    Args:
        price: of a bit, in squared steps.
    """
    jointed = posed.jointed if posed else None
    out = rounded(exact)
    size = np.abs(exact)
    most = np.minimum(np.rint(size), _MOST)
    for _ in range(2):
        some = tables_of(out, jointed)
        first = SLOTS if jointed else 0
        network = jointed.network if jointed else NETWORK
        for mine, (which, bits) in enumerate(zip(some, (network.bits, plain_bits()))):
            if not which.shape[-1]:
                continue
            columns = list(jointed.slots) if jointed and mine == 0 else slice(first, None)
            here, top = size[..., columns], most[..., columns]
            best = cheapest(here, top, which, bits, price)
            out[..., columns] = np.sign(exact[..., columns]) * best
    return out


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


def find_corrections(apart: Float64, kept: float) -> Integers:
    """Corrections of (F, K, D) differences from decoded to true, in steps of a correction and NaN
    where missing: 0 where these are within ``kept`` steps, else the least whole numbers that bring
    them there."""
    dims = apart.shape[-1]
    out = np.zeros(apart.shape, np.int64)
    far = np.linalg.norm(apart, axis=-1) > kept  # False for NaN
    exact = apart[far]
    around = np.stack(np.meshgrid(*[[-1, 0, 1]] * dims, indexing="ij"), axis=-1).reshape(-1, dims)
    tried = np.rint(exact)[:, None] + around
    inside = np.linalg.norm(exact[:, None] - tried, axis=-1) <= kept
    cost = np.where(inside, np.abs(tried).sum(axis=-1), np.inf)
    best = cost.argmin(axis=1)
    out[far] = tried[np.arange(len(tried)), best].astype(np.int64)
    return out
