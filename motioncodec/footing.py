"""How a body goes from one model frame to the next, by what it does: feet that bear it stay where
they are.

A small network over decoded poses says which foot does so and what the centre does otherwise. It is
asked for no more than how the path bends between two knots that are told
(:data:`motioncodec.bitstream.header.PATH_BLOCK`), so that nothing drifts, and what it is wrong by
is told as sines.
"""

from __future__ import annotations

from functools import cache
from importlib.resources import files

import numpy as np
from numpy.typing import NDArray

from motioncodec.bitstream.header import CANONICAL, PATH_BLOCK
from motioncodec.heatmap.placement import turn

Float64 = NDArray[np.float64]

FEET = (15, 19, 14, 18)
"""Canonical joints that may stay where they are."""

TAPS = 9
"""Model frames that a unit of either layer looks at."""

REACH = TAPS - 1
"""Model frames on either side of a step that its velocity is found by; and of the one behind it."""

FASTER = 8.0
"""What steps of joints are multiplied with, beside where they are."""

SEEN, HIDDEN = 6 * CANONICAL, 32

SHAPES = (
    (TAPS, SEEN, HIDDEN), (HIDDEN,), (TAPS, HIDDEN, HIDDEN), (HIDDEN,),
    (HIDDEN, len(FEET) + 4), (len(FEET) + 4,),
)  # fmt: skip


@cache
def network() -> list[Float64]:
    """Arrays of :data:`SHAPES`. ``footing.bin``: one after another in float16, little-endian."""
    raw = (files("motioncodec.bitstream") / "footing.bin").read_bytes()
    whole = np.frombuffer(raw, "<f2").astype(np.float64)
    ends = np.cumsum([0, *map(np.prod, SHAPES)])
    return [whole[a:b].reshape(shape) for a, b, shape in zip(ends, ends[1:], SHAPES)]


def steps_of(poses: Float64, heading: Float64) -> Float64:
    """(N - 1, 20, 3) what joints do from each frame to the next about the centre, as seen from the
    first of the two.

    Args:
        poses: (N, 20, 3) body units about the centre.
        heading: (N,) radians.
    """
    return turn(poses[1:], heading[:-1] - heading[1:]) - poses[:-1]


def seen_of(poses: Float64, steps: Float64) -> Float64:
    """(N - 1, 120) what the network looks at: (N, 20, 3) poses, and steps from :func:`steps_of`."""
    return np.concatenate([poses[:-1], FASTER * steps], axis=2).reshape(len(steps), SEEN)


def velocities(poses: Float64, heading: Float64) -> Float64:
    """(N - 1 - 2 REACH, 3) what the centre does from each frame to the next, but for REACH at
    either end, in body units in the models' axes; arguments as of :func:`steps_of`."""
    steps = steps_of(poses, heading)
    seen = seen_of(poses, steps)
    first, first_bias, second, second_bias, last, last_bias = network()
    hidden = np.maximum(_convolved(seen, first) + first_bias, 0)
    hidden = np.maximum(_convolved(hidden, second) + second_bias, 0)
    out = hidden @ last + last_bias
    kinds = len(FEET) + 1
    shares = np.exp(out[:, :kinds] - out[:, :kinds].max(axis=1, keepdims=True))
    shares /= shares.sum(axis=1, keepdims=True)
    here = slice(REACH, len(steps) - REACH)
    borne = np.einsum("tf,tfc->tc", shares[:, :-1], -steps[here][:, list(FEET)])
    return turn((borne + out[:, kinds:])[:, None], -heading[:-1][here])[:, 0]


def bends(found: Float64) -> Float64:
    """(64 B, 3) velocities to how far a path that has them is from straight lines from knot to
    knot."""
    steps = found.reshape(-1, PATH_BLOCK, 3)
    apart = steps - steps.mean(axis=1, keepdims=True)
    out: Float64 = (np.cumsum(apart, axis=1) - apart).reshape(found.shape)
    return out


def _convolved(rows: Float64, weights: Float64) -> Float64:
    """(N, C) rows to (N - TAPS + 1, H)."""
    count = len(rows) - TAPS + 1
    out = rows[:count] @ weights[0]
    for tap in range(1, TAPS):
        out += rows[tap : tap + count] @ weights[tap]
    return out
