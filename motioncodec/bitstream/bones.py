"""Lengths of rigid bones, as whole numbers, in a chunk.

For each person which bones are rigid, and how many steps each is from the reference, a right one
from its left twin. Some seven bytes; every chunk has them, so that it can be decoded by itself.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from motioncodec.bitstream.entropy import Coder, code_magnitude
from motioncodec.bitstream.trajectory import KNOTS, bucket, curve_tables

Integers = NDArray[np.int64]

FREE = -(1 << 40)
"""Stands for the length of a bone that is not rigid."""

TWINS = (-1, -1, -1, -1, -1, -1, -1, -1, -1, 6, 7, 8, -1, -1, -1, -1, 12, 13, 14, 15)
"""For each canonical joint the one before it that it mirrors, or -1. Joint 0 has no bone."""


def no_bones() -> Integers:
    """(20,) steps of somebody of whom no bone is rigid."""
    return np.full(len(TWINS), FREE, dtype=np.int64)


def code_bones(coder: Coder, steps: Integers) -> Integers:
    """Writes (20,) steps and returns them, or reads as many: a bit, 1 where every bone is rigid,
    else a bit for each bone; then the lengths of the rigid ones, each under the table of the
    magnitude before."""
    out = no_bones()
    rigid = steps != FREE
    tables = curve_tables("bones").knots
    every = coder.bits(int(rigid[1:].all()), 1)
    last = KNOTS - 1
    for joint in range(1, len(TWINS)):
        if not (every or coder.bits(int(rigid[joint]), 1)):
            continue
        twin = TWINS[joint]
        guess = int(out[twin]) if twin >= 0 and out[twin] != FREE else 0
        apart = code_magnitude(coder, int(steps[joint]) - guess, tables[last])
        out[joint] = guess + apart
        last = bucket(abs(apart))
    return out
