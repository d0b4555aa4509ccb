"""Bones: one skeleton for everybody, where a clip's bones are rigid.

Captured bodies are rigid to a fraction of a millimetre, so how long a person's bones are need be
said once. The models then see every such person with the same, reference bones: less to say in
every window, and nobody's proportions are new. What comes out of a model is first moved to the
nearest pose with reference bones, then given the person's own.

Bones of a detector's keypoints are not rigid. Each bone is tried by itself; one that is not rigid
keeps the vector from parent to joint as it is.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from motioncodec.skeleton import CANONICAL, CANONICAL_PARENTS

Float64 = NDArray[np.float64]

RIGID = 0.001
"""Body units (a metre on the reference person) within which 99 % of a rigid bone's lengths lie."""

REFERENCE_BONES: Float64 = np.array(
    [
        0,
        0.09,
        0.156,
        0.107,
        0.164,
        0.099,
        0.238,
        0.286,
        0.205,
        0.238,
        0.286,
        0.205,
        0.132,
        0.412,
        0.434,
        0.127,
        0.132,
        0.412,
        0.434,
        0.127,
    ]
)
"""(20,) mean length of the bone from each canonical joint to its parent over the training clips,
left and right alike, in body units; 0 for the pelvis, which has none."""

HIPS = (CANONICAL.index("left_hip"), CANONICAL.index("right_hip"))
_CHILDREN = [joint for joint, parent in enumerate(CANONICAL_PARENTS) if parent >= 0]
_PARENTS = [CANONICAL_PARENTS[joint] for joint in _CHILDREN]


def _generations() -> list[tuple[list[int], list[int], list[int]]]:
    """Joints as far from the pelvis as each other, nearest first: which bones lead to them, which
    joints they and their parents are."""
    out, before = [], {0}
    while before:
        here = [at for at, parent in enumerate(_PARENTS) if parent in before]
        joints = [_CHILDREN[at] for at in here]
        if here:
            out.append((here, joints, [_PARENTS[at] for at in here]))
        before = set(joints)
    return out


_GENERATIONS = _generations()


def quantile(rows: Float64, share: float) -> Float64:
    """(N,) of (N, T) rows, T from 1: as ``np.quantile``, without its preparations."""
    rank = share * (rows.shape[1] - 1)
    ends = math.floor(rank), math.ceil(rank)
    low, high = np.partition(rows, ends, axis=1)[:, list(ends)].T
    found: Float64 = low + (high - low) * (rank - ends[0])
    return found


def find_bones(body: Float64) -> Float64:
    """(20,) lengths of the rigid bones, NaN for every other.

    Args:
        body: (T, 20, 3) canonical joints in body units, NaN where missing.
    """
    out = np.full(len(CANONICAL), np.nan)
    if np.isnan(body[:, [0, *HIPS]]).all(axis=0).any():
        return out
    along = np.ascontiguousarray(body.transpose(1, 2, 0))
    bones = along[_CHILDREN] - along[_PARENTS]
    lengths = np.sqrt((bones**2).sum(axis=1))
    whole = np.isfinite(lengths).all(axis=1)
    # One call for all bones that are always there: a short clip has no time for nineteen.
    groups = [np.flatnonzero(whole), *np.flatnonzero(~whole)[:, None]]
    for group in groups:
        there = lengths[group]
        there = there[:, np.isfinite(there).all(axis=0)]
        if not there.size:
            continue
        # Median and 99th percentile; np.median and np.quantile take longer than all else here.
        middle = quantile(there, 0.5)
        spread = quantile(np.abs(there - middle[:, None]), 0.99)
        rigid = (middle > 0.005) & (spread <= RIGID)
        out[np.array(_CHILDREN)[group[rigid]]] = middle[rigid]
    return out


def set_bones(body: Float64, lengths: Float64) -> Float64:
    """Poses with bones of given lengths and the directions that they have, hips where they are.

    Args:
        body: (T, 20, 3) in body units; joints that a clip lacks may hold anything finite.
        lengths: (20,), NaN for a bone that keeps its own.
    """
    whole = np.ascontiguousarray(body.transpose(1, 2, 0))
    bones = whole[_CHILDREN] - whole[_PARENTS]
    own = np.sqrt((bones**2).sum(axis=1))
    wanted = lengths[_CHILDREN, None]
    bones *= np.where(np.isfinite(wanted), wanted / np.maximum(own, 1e-6), 1.0)[:, None]
    out = np.empty_like(whole)
    out[0] = whole[0]
    for here, joints, parents in _GENERATIONS:
        out[joints] = out[parents] + bones[here]
    left, right = HIPS
    out += (whole[left] + whole[right] - out[left] - out[right]) / 2
    return out.transpose(2, 0, 1)


def to_reference(body: Float64, lengths: Float64) -> Float64:
    """Poses with reference bones wherever ``lengths`` has one."""
    return set_bones(body, np.where(np.isfinite(lengths), REFERENCE_BONES, np.nan))


def nearest_pose(body: Float64, lengths: Float64, rounds: int = 6) -> Float64:
    """Moves both ends of every bone towards its length, round after round: close to the nearest
    pose that has them (position-based dynamics, Mueller et al. 2007).

    Args:
        body: (T, 20, 3) in body units.
        lengths: (20,), NaN for a bone that is left alone.
    """
    out = np.array(body.transpose(1, 2, 0), order="C")
    bones = [
        (joint, parent, float(lengths[joint]))
        for joint, parent in enumerate(CANONICAL_PARENTS)
        if parent >= 0 and np.isfinite(lengths[joint])
    ]
    for _ in range(rounds):
        for joint, parent, length in bones:
            bone = out[joint] - out[parent]
            own = np.sqrt(np.einsum("cf,cf->f", bone, bone))
            bone *= 0.5 - 0.5 * length / np.maximum(own, 1e-6)
            out[joint] -= bone
            out[parent] += bone
    return out.transpose(2, 0, 1)


def from_reference(body: Float64, lengths: Float64) -> Float64:
    """Inverse of :func:`to_reference` for poses whose reference bones are only nearly so."""
    reference = np.where(np.isfinite(lengths), REFERENCE_BONES, np.nan)
    return set_bones(nearest_pose(body, reference), lengths)
