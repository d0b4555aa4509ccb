"""Lengths of rigid bones, as whole numbers, in a chunk.

For each person which bones are rigid, and how many steps each is from the reference, a right one
from its left twin. Some five bytes at f32; every chunk has them, so that it can be decoded by
itself.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from motioncodec.bitstream.entropy import Coder, code_magnitude
from motioncodec.bitstream.trajectory import curve_tables

Integers = NDArray[np.int64]

FREE = -(1 << 40)
"""Stands for the length of a bone that is not rigid."""

TWINS = (-1, -1, -1, -1, -1, -1, -1, -1, -1, 6, 7, 8, -1, -1, -1, -1, 12, 13, 14, 15)
"""For each canonical joint the one before it that it mirrors, or -1. Joint 0 has no bone."""


FINEST = 3
"""The deepest depth that bones have tables for."""

TRUNK = range(1, 6)
"""Joints whose bones bend as often as not: of spine, neck and head."""


def no_bones() -> Integers:
    """(20,) steps of somebody of whom no bone is rigid."""
    return np.full(len(TWINS), FREE, dtype=np.int64)


def code_bones(coder: Coder, steps: Integers, depth: int) -> Integers:
    """Writes (20,) steps and returns them, or reads as many: of each bone whether it is rigid under
    the table of trunk or limbs, and its length, under that of bones with or without a rigid twin.

    Args:
        coder: either direction.
        steps: :data:`FREE` for a bone that is not rigid.
        depth: of the stream, whose steps the tables are fitted to.
    """
    out = no_bones()
    tables = curve_tables(f"bones_{depth}")
    for joint in range(1, len(TWINS)):
        limb = joint not in TRUNK
        if not coder.code(int(steps[joint] != FREE), tables.counts[limb]):
            continue
        twin = TWINS[joint]
        twins = twin >= 0 and out[twin] != FREE
        guess = int(out[twin]) if twins else 0
        out[joint] = guess + code_magnitude(
            coder, int(steps[joint]) - guess, tables.knots[int(twins)]
        )
    return out
