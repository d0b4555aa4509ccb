"""Keypoints as whole numbers: what foretells each coordinate, and what it differs by from that.

The types and constants of :mod:`motioncodec.bitstream.numbers`, which codes them, and of
:mod:`motioncodec.prediction`, which finds them and has the arithmetic.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from importlib.resources import files

import numpy as np
from numpy.typing import NDArray

Float64 = NDArray[np.float64]
Integers = NDArray[np.int64]

BLOCK = 32
"""Frames that are foretold in one way."""

NONE, LENGTH, LINE, FRAME = range(4)
"""Kinds of links: none, a distance to one joint, a share of the way between two, a place in the
frame of three."""

PARTNERS = (0, 1, 2, 3)
"""Joints that a link of each kind is to."""

WEIGHTS = (0, 1, 1, 3)
"""Numbers that it has."""

ORDERS = 3
"""A coordinate is foretold by its last value, its last two, or its last three; in early files."""

PREDICTORS, TAPS = 16, 7
"""Or by the last eight, in one of these ways: its last value and so much of what each of those
before it differs from that."""

PREDICTOR_PARTS = 4096
"""Parts of a whole that predictors are told in."""

SHARES = np.array([0.0, 0.25, 0.5, 0.75, 1.0])
"""Of what a companion's value surprised by, a joint's is foretold to, too."""

ALONE, BY_PARTNER, BY_OTHER = range(3)
"""Companions: none, the first partner of the joint's link, another joint."""

OWN, LINKED = 0, 7
"""Forms: foretold by itself; 1 to 6, one coordinate of it by a length, the coordinate being
(form - 1) / 2 and the larger of the two roots that of odd forms; all of it, by a line or frame."""

FORMS = 8

LENGTH_PARTS = 16
"""Parts of a whole number that a length is told in."""

MOST = 1 << 40
"""Numbers are below this."""


@cache
def predictors() -> Float64:
    """(PREDICTORS, TAPS) weights of the values before the last, less the last."""
    raw = (files("motioncodec.bitstream") / "predictors.bin").read_bytes()
    return np.frombuffer(raw, "<i2").reshape(PREDICTORS, TAPS) / PREDICTOR_PARTS


@dataclass(frozen=True)
class Link:
    """What a joint keeps its distance to, or its place between.

    Attributes:
        kind: :data:`LENGTH`, :data:`LINE` or :data:`FRAME`.
        partners: as many joints as :data:`PARTNERS` says.
        weights: as many as :data:`WEIGHTS` says. A length is in whole numbers' parts, or a float32
            among floats; shares are float32.
    """

    kind: int
    partners: tuple[int, ...]
    weights: tuple[float, ...]


@dataclass(eq=False)
class Numbers:
    """Keypoints of one person in one chunk.

    Attributes:
        floats: numbers count float32 in their order, and not steps.
        learned: foretold by learned predictors and companions, as all but early files have them.
        first: (K, D) of each joint where it is first there.
        links: for each joint, or None.
        companions: for each joint another one, or -1.
        orders: (B, K) which predictor, from 1; or, not learned, how many values a coordinate is
            foretold by, 1 to :data:`ORDERS`.
        shares: (B, K) index of :data:`SHARES`; 0 without a companion.
        forms: (B, K).
        differences: (F, K, D) from what was foretold; 0 where missing, and where a joint is first.
    """

    floats: bool
    learned: bool
    first: Integers
    links: list[Link | None]
    companions: list[int]
    orders: Integers
    shares: Integers
    forms: Integers
    differences: Integers

    @classmethod
    def empty(
        cls, frames: int, joints: int, dims: int, floats: bool, learned: bool = False
    ) -> Numbers:
        """All zeros: what reading starts from."""
        blocks = -(-frames // BLOCK)
        return cls(
            floats,
            learned,
            np.zeros((joints, dims), np.int64),
            [None] * joints,
            [-1] * joints,
            np.full((blocks, joints), 2, np.int64),
            np.zeros((blocks, joints), np.int64),
            np.zeros((blocks, joints), np.int64),
            np.zeros((frames, joints, dims), np.int64),
        )
