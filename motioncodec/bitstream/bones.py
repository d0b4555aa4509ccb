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
from motioncodec.errors import ContainerError

Integers = NDArray[np.int64]

FREE = -(1 << 40)
"""Stands for the length of a bone that is not rigid."""

TWINS = (-1, -1, -1, -1, -1, -1, -1, -1, -1, 6, 7, 8, -1, -1, -1, -1, 12, 13, 14, 15)
"""For each canonical joint the one before it that it mirrors, or -1. Joint 0 has no bone."""


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


GROUPS: tuple[tuple[int, tuple[int, ...], tuple[int, ...]], ...] = (
    (0, (12, 16), (12, 1, 16)),
    (2, (6, 9), (6, 3, 9)),
)
"""Joints that hang rigidly on one parent in many captures: the parent, the pair of them, and these
with a joint of the trunk."""

RIGID = 2
"""Where the last row of a shape says whether any bone is rigid."""

PARENTS = (-1, 0, 1, 2, 3, 4, 2, 6, 7, 2, 9, 10, 0, 12, 13, 14, 0, 16, 17, 18)
"""For each canonical joint the one that it hangs on, or -1."""


def code_shape(coder: Coder, given: Integers, bones: Integers, here: NDArray[np.bool_]) -> Integers:
    """Writes (21, 3) what is to be known about a body before it is refined and returns it, or reads
    as much; 0 for what is not written.

    Args:
        coder: either direction.
        given: of each joint how far it is from where its group, or its bone, is thought to have it;
            in the last row for each of :data:`GROUPS` 0, or which of its two is rigid, and then
            1 where any of this counts: else no bone is taken to be rigid.
        bones: (20,) steps, :data:`FREE` for a bone that is not rigid.
        here: (20,) joints that there are.
    """
    out = np.zeros_like(given)
    rigid = (bones != FREE) & here & [parent >= 0 and bool(here[parent]) for parent in PARENTS]
    if not rigid.any() or not coder.bits(int(given[-1, RIGID]), 1):
        return out
    out[-1, RIGID] = 1
    groups, grouped = [], set()
    for i, (_, *kinds) in enumerate(GROUPS):
        if rigid[list(kinds[0])].all():
            out[-1, i] = choice = coder.bits(int(given[-1, i]), 2)
            if choice > 2 or (choice and not rigid[list(kinds[choice - 1])].all()):
                raise ContainerError(f"bones: expected joints that are rigid, found group {choice}")
            if choice:
                joints = kinds[choice - 1]
                groups += [(j, k) for at, j in enumerate(joints) for k in range(at + 1)]
                grouped |= set(joints)
    alone = [(joint, 0) for joint in np.flatnonzero(rigid).tolist() if joint not in grouped]
    for some in (groups, alone):
        if some:
            most = max(abs(int(given[at])) for at in some)
            width = coder.bits(most.bit_length(), 6)
            if width > _WIDEST:
                raise ContainerError(f"bones: expected at most {_WIDEST} bits, found {width}")
            middle = (1 << width) - 1
            for at in some:
                out[at] = coder.bits(int(given[at]) + middle, width + 1) - middle
    return out


def slots_of(shape: Integers, bones: Integers, here: NDArray[np.bool_]) -> list[int]:
    """Channels of a body, of three for each joint, rising: three of a group, in the place of its
    first joint, two of a bone that is rigid, three of any other joint that there is."""
    out = []
    grouped = set()
    for choice, (_, *kinds) in zip(shape[-1, :RIGID].tolist(), GROUPS):
        if choice:
            joints = kinds[choice - 1]
            grouped |= set(joints)
            out += [3 * joints[0] + i for i in range(3)]
    for joint, parent in enumerate(PARENTS):
        if here[joint] and joint not in grouped:
            rigid = bones[joint] != FREE and here[parent] and shape[-1, RIGID]
            out += [3 * joint + i for i in range(2 if rigid else 3)]
    return sorted(out)


_WIDEST = 30
"""Bits of a number at most."""
