"""From positions to a rig: which joint hangs on which, and the rotations that put them there.

Positions do not say how a joint turns about its own bone. What they leave open is settled by the
parent: of all rotations that turn a joint's bones towards its children, the one nearest to the
parent's is taken. The rest pose is the pose of one frame, with each bone's median length.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from motioncodec.skeleton import CANONICAL, Skeleton

_SAMPLES = 64
# Above this many joints their distances are too many to compare: all hang on the root.
_MOST_COMPARED = 1500
# Weight of the parent's rotation beside the children's directions: enough where they are silent.
_WEAK = 1e-6
# What a farther joint costs beside one whose distance varies.
_NEARNESS = 0.05

Float64 = NDArray[np.float64]


@dataclass
class Rig:
    """A tree of K joints over T frames.

    Attributes:
        parents: parent of each joint, -1 for the root.
        offsets: (K, 3) from the parent's joint, in the rest pose.
        angles: for the joints that have children, (T, 3) degrees about z, x and y, the first
            outermost, relative to the parent.
        moves: for the joints that no fixed offset puts right, and the root, the translation
            (T, 3) from the parent's joint, in the parent's turned axes.
    """

    parents: list[int]
    offsets: Float64
    angles: dict[int, Float64]
    moves: dict[int, Float64]


def fill_gaps(keypoints: NDArray[np.floating]) -> Float64:
    """(T, K, 3) without NaN: straight lines through gaps, the nearest seen place at the ends.

    Every joint must be seen at least once.
    """
    out = np.array(keypoints, dtype=np.float64)
    for joint in range(out.shape[1]):
        seen = np.flatnonzero(~np.isnan(out[:, joint, 0]))
        if len(seen) < len(out):
            for axis in range(3):
                out[:, joint, axis] = np.interp(np.arange(len(out)), seen, out[seen, joint, axis])
    return out


def find_parents(keypoints: NDArray[np.floating], skeleton: Skeleton, near: float) -> list[int]:
    """Parent of each of K joints (T, K, 3); -1 for the root, the pelvis or else the first.

    A joint hangs on one whose distance varies by less than ``near``, if there is any: on the one
    that it is the ``_end`` of; else on the nearest that keeps its distance to the children there
    too (a knuckle hangs on the hand and not on the knuckle beside it), the first named of those at
    its own place, the last of others as near. Else a joint that the models cover hangs on its
    parent among those, and any other where its distance varies least.
    """
    count = len(skeleton)
    covered = list(skeleton.covered)
    pelvis = CANONICAL.index("pelvis")
    root = covered.index(pelvis) if pelvis in covered else 0
    parents = [root] * count
    parents[root] = -1
    if count > _MOST_COMPARED:
        return parents
    mean, varies = _distances(keypoints)
    rigid = varies < near
    if rigid.all():
        rigid[:] = False
    cost = varies + _NEARNESS * mean
    bones = sorted(skeleton.bones, key=lambda bone: covered[bone[0]])
    names = skeleton.joints
    steps = np.round(mean / near)
    left = [joint for joint in range(count) if joint != root]
    tree = [root]
    children: dict[int, list[int]] = {}
    reached = rigid[:, root].copy()
    while left:
        ready = next((joint for joint in left if reached[joint]), None)
        bone = next(((a, b) for a, b in bones if a in left and b in tree), None)
        if ready is not None:
            joint = ready
            parent = min(
                (other for other in tree if rigid[joint, other]),
                key=lambda other: (
                    names[ready] != f"{names[other]}_end",
                    names[other].endswith("_end"),
                    not rigid[ready, children.get(other, [])].all(),
                    steps[ready, other],
                    -other if steps[ready, other] else other,
                ),
            )
        elif bone is not None:
            joint, parent = bone
        else:
            place = int(np.argmin(cost[np.ix_(left, tree)]))
            joint, parent = left[place // len(tree)], tree[place % len(tree)]
        parents[joint] = parent
        children.setdefault(parent, []).append(joint)
        left.remove(joint)
        tree.append(joint)
        reached |= rigid[:, joint]
    return parents


def _distances(keypoints: NDArray[np.floating]) -> tuple[Float64, Float64]:
    """(K, K) mean distance of joints, and its standard deviation, over some frames.

    Two joints that are never seen together are at a great and varying distance.
    """
    frames = np.unique(np.linspace(0, len(keypoints) - 1, _SAMPLES).astype(int))
    poses = keypoints[frames].astype(np.float64)
    count, total = np.zeros((2, poses.shape[1], poses.shape[1]))
    squares = np.zeros_like(total)

    def apart(pose: Float64) -> tuple[Float64, NDArray[np.bool_]]:
        distance = np.linalg.norm(pose[:, None] - pose[None], axis=-1)
        return np.nan_to_num(distance), ~np.isnan(distance)

    for pose in poses:
        distance, both = apart(pose)
        total += distance
        count += both
    mean = total / np.maximum(count, 1)
    for pose in poses:
        distance, both = apart(pose)
        squares += np.where(both, distance - mean, 0) ** 2
    varies = np.sqrt(squares / np.maximum(count, 1))
    far = 1 + float(mean.max(initial=0.0))
    return np.where(count > 0, mean, far), np.where(count > 0, varies, far)


def solve(keypoints: Float64, seen: NDArray[np.bool_], parents: Sequence[int], near: float) -> Rig:
    """The rig that puts joints (T, K, 3), where ``seen`` (T, K), within ``near`` of their places.

    A joint whom rotations alone do not bring so near, for its bone changes its length or its
    parent's other bones turn another way, moves besides.
    """
    frames, count, _ = keypoints.shape
    rest = keypoints[int(np.argmax(seen.sum(axis=1)))]
    rig = Rig(list(parents), np.zeros((count, 3)), {}, {})
    children: dict[int, list[int]] = {}
    for joint, parent in enumerate(parents):
        children.setdefault(parent, []).append(joint)
        if parent >= 0:
            between = keypoints[:, joint] - keypoints[:, parent]
            lengths = np.linalg.norm(between, axis=1)
            arrow = rest[joint] - rest[parent]
            if not np.linalg.norm(arrow) > 0:
                arrow = between[int(np.argmax(lengths))]
            arrow = arrow / max(float(np.linalg.norm(arrow)), np.finfo(float).tiny)
            rig.offsets[joint] = arrow * np.median(lengths)
    reached = keypoints.copy()
    turned: dict[int, Float64] = {-1: np.tile(np.eye(3), (frames, 1, 1))}
    waiting = list(children.get(-1, []))
    for root in waiting:
        rig.moves[root] = keypoints[:, root]
    while waiting:
        joint = waiting.pop()
        own = children.get(joint, [])
        if not own:
            continue
        before = turned[parents[joint]]
        matched = _WEAK * before
        weight = max(float((rig.offsets[own] ** 2).sum()), np.finfo(float).tiny)
        for child in own:
            towards = keypoints[:, child] - reached[:, joint]
            matched = matched + towards[:, :, None] * (rig.offsets[child] / weight)
        turned[joint] = now = _nearest_rotations(matched)
        rig.angles[joint] = _angles_zxy(before.transpose(0, 2, 1) @ now)
        for child in own:
            place = reached[:, joint] + now @ rig.offsets[child]
            apart = np.linalg.norm(place - keypoints[:, child], axis=1)
            if apart[seen[:, child]].max(initial=0.0) <= near:
                reached[:, child] = place
                continue
            towards = keypoints[:, child] - reached[:, joint]
            moves = np.einsum("tji,tj->ti", now, towards)
            rig.moves[child] = moves
            rig.offsets[child] = np.median(moves, axis=0)
        waiting += own
        # Depth first: what is neither waiting nor above one that is will not be asked for again.
        needed = {parents[other] for other in waiting}
        turned = {other: matrices for other, matrices in turned.items() if other in needed}
    return rig


def _nearest_rotations(matrices: Float64) -> Float64:
    """(T, 3, 3): the rotation R that makes the trace of R'M greatest, for each M."""
    left, _, right = np.linalg.svd(matrices)
    flip = np.linalg.det(left @ right)
    left[:, :, 2] *= np.where(flip < 0, -1.0, 1.0)[:, None]
    return left @ right


def _angles_zxy(rotations: Float64) -> Float64:
    """(T, 3) degrees about z, x and y, the first outermost, without jumps from frame to frame."""
    sine = np.clip(rotations[:, 2, 1], -1.0, 1.0)
    x = np.arcsin(sine)
    locked = np.hypot(rotations[:, 2, 0], rotations[:, 2, 2]) < 1e-9
    z = np.where(
        locked,
        np.arctan2(rotations[:, 1, 0], rotations[:, 0, 0]),
        np.arctan2(-rotations[:, 0, 1], rotations[:, 1, 1]),
    )
    y = np.where(locked, 0.0, np.arctan2(-rotations[:, 2, 0], rotations[:, 2, 2]))
    return np.degrees(np.unwrap(np.stack([z, x, y], axis=1), axis=0))
