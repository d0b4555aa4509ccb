"""Channels of a body whose bones are rigid: as many as it has ways to move.

What is left over between two poses of a body with rigid bones is, but for a little, at right angles
to every bone: a bone that is as long as it should be has two numbers where its joint has three.
And pelvis with hips, and chest with shoulders and neck, are rigid as a whole in most captures:
three numbers for as many joints. So a body of 20 joints needs 35 channels for 60 coordinates.

The channels are orthonormal at every frame - in the space of what joints can do there, all joints
weighing alike - so that rounding them to one step does as little harm as rounding coordinates
would. That takes one sweep from the leaves to the root: what a joint drags along with it, once
everything below it has moved to follow as well as it can, is a 3 x 3 matrix (the articulated body
inertia of robotics, Featherstone 1983).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from motioncodec.bitstream.bones import GROUPS
from motioncodec.skeleton import CANONICAL_PARENTS

Float64 = NDArray[np.float64]

_LEAST = 1e-9
_NEAR = 0.01
"""Share of the largest channel within which channels are found."""

_SHORT = 1e-6
"""A bone that is no longer has no direction, and is taken to have the mean one."""


@dataclass(frozen=True, eq=False)
class Link:
    """Joints that hang on one parent as a whole.

    Attributes:
        parent: canonical joint, or -1 where they hang on nothing.
        joints: canonical.
        shape: (joints, 3) where they are in the link's own axes, the first on x, the second in the
            plane of x and y; None for a single joint that is not rigid.
    """

    parent: int
    joints: tuple[int, ...]
    shape: Float64 | None

    @property
    def slots(self) -> list[int]:
        """Its channels, of 3 for each canonical joint."""
        count = 2 if self.shape is not None and len(self.joints) == 1 else 3
        return [3 * self.joints[0] + i for i in range(count)]


def _dot(a: Float64, b: Float64) -> Float64:
    out: Float64 = (a * b).sum(axis=0)
    return out


def _cross(a: Float64, b: Float64) -> Float64:
    return np.stack(
        [a[1] * b[2] - a[2] * b[1], a[2] * b[0] - a[0] * b[2], a[0] * b[1] - a[1] * b[0]]
    )


def _unit(a: Float64) -> Float64:
    return a / np.maximum(np.sqrt(_dot(a, a)), _LEAST)


def _times(a: Float64, b: Float64) -> Float64:
    """(i, j, F) by (j, k, F)."""
    out: Float64 = (a[:, :, None] * b[None]).sum(axis=1)
    return out


def _transposed(a: Float64) -> Float64:
    return a.transpose(1, 0, 2)


def _upper(m: Float64) -> Float64:
    """(q, q, F) positive matrices M to the upper U with U' M U = 1."""
    count = len(m)
    out = np.zeros_like(m)
    low = np.zeros_like(m)
    for i in range(count):
        for j in range(i + 1):
            rest = m[i, j] - _dot(low[i, :j], low[j, :j])
            low[i, j] = np.sqrt(np.maximum(rest, _LEAST)) if i == j else rest / low[j, j]
    # The inverse of the transpose, column by column.
    for j in range(count):
        out[j, j] = 1 / low[j, j]
        for i in range(j - 1, -1, -1):
            out[i, j] = -_dot(low[i + 1 : j + 1, i], out[i + 1 : j + 1, j]) / low[i, i]
    return out


def _tangents(d: Float64, joints: list[int]) -> Float64:
    """(3, 2, J, F) what is at right angles to (3, J, F) directions of joints' bones: turned along
    with them from the mean ones' by the least turn."""
    reference = REFERENCE_DIRECTIONS[joints]
    beside = np.where(np.abs(reference[:, :1]) < 0.8, np.eye(3)[0], np.eye(3)[2])
    first = np.cross(reference, beside)
    first = (first / np.linalg.norm(first, axis=1, keepdims=True)).T[:, :, None]
    mean = reference.T[:, :, None]
    near = np.maximum(1 + _dot(mean, d), 1e-3)
    a = first - _dot(first, d) / near * (d + mean)
    a = _unit(a - _dot(a, d) * d)
    return np.stack([a, _cross(d, a)], axis=1)


class Body:
    """The channels of one person over some frames.

    Args:
        pose: (F, 20, 3) decoded joints, turned to one heading.
        links: from the root outward.
    """

    def __init__(self, pose: Float64, links: list[Link]) -> None:
        self.links = links
        given = np.ascontiguousarray(pose.transpose(1, 2, 0))
        self.pose = self.rigid(given)
        frames = len(pose)
        self.joints = [joint for link in links for joint in link.joints]
        self.slots = [slot for link in links for slot in link.slots]
        drag = {joint: np.eye(3)[:, :, None] + np.zeros(frames) for joint in self.joints}
        self._follow: dict[int, Float64] = {}
        self._move: dict[int, Float64] = {}
        tangents = self._tangents()
        for link in reversed(links):
            ways = self._ways(link, tangents)
            both = [_times(_transposed(n), drag[j]) for j, n in zip(link.joints, ways)]
            upper = _upper(sum(_times(a, n) for a, n in zip(both, ways)))  # type: ignore[arg-type]
            pull = _times(_transposed(upper), sum(both))  # type: ignore[arg-type]
            for joint, n in zip(link.joints, ways):
                self._move[joint] = _times(n, upper)
                if link.parent >= 0:
                    follow = np.eye(3)[:, :, None] - _times(self._move[joint], pull)
                    self._follow[joint] = follow
                    drag[link.parent] = drag[link.parent] + _times(drag[joint], follow)
        # From a pose that has the directions of what was given to the one that is nearest to it.
        self.pose = self.rigid(self.pose + self.join(self.split(given - self.pose)))

    def _tangents(self) -> dict[int, Float64]:
        """(3, 3, F) for every joint that hangs on another by itself: what is at right angles to its
        bone, and the bone."""
        some = [link for link in self.links if link.parent >= 0 and len(link.joints) == 1]
        joints = [link.joints[0] for link in some]
        arms = (self.pose[joints] - self.pose[[link.parent for link in some]]).transpose(1, 0, 2)
        mean = REFERENCE_DIRECTIONS[joints].T[:, :, None]
        d = _unit(np.where(np.sqrt(_dot(arms, arms)) > _SHORT, arms, mean))
        axes = np.concatenate([_tangents(d, joints), d[:, None]], axis=1)
        return {joint: axes[:, :, i] for i, joint in enumerate(joints)}

    def _ways(self, link: Link, tangents: dict[int, Float64]) -> list[Float64]:
        """(3, q, F) of each joint of a link: how it moves with the link's channels."""
        joint = link.joints[0]
        if joint in tangents:
            return [tangents[joint] if link.shape is None else tangents[joint][:, :2]]
        axes = np.eye(3)[:, :, None] + np.zeros(self.pose.shape[-1])
        if link.parent < 0:
            return [axes]
        arms = [self.pose[j] - self.pose[link.parent] for j in link.joints]
        return [np.stack([_cross(axes[:, i], arm) for i in range(3)], axis=1) for arm in arms]

    def rigid(self, pose: Float64) -> Float64:
        """(20, 3, F) poses with the links' shapes, which take the directions that they have."""
        out = np.zeros_like(pose)
        for link in self.links:
            first = link.joints[0]
            if link.parent < 0:
                out[first] = pose[first]
                continue
            arms = [pose[j] - pose[link.parent] for j in link.joints]
            if link.shape is None:
                moved = arms
            elif len(arms) == 1:
                moved = [_unit(arms[0]) * link.shape[0, 0]]
            else:
                axes = _axes(arms[0], arms[1])
                moved = [(axes * part[None]).sum(axis=1) for part in link.shape[:, :, None]]
            for joint, arm in zip(link.joints, moved):
                out[joint] = out[link.parent] + arm
        joints = [joint for link in self.links for joint in link.joints]
        if joints:
            out[joints] += (pose[joints] - out[joints]).mean(axis=0)
        return out

    def split(self, off: Float64) -> Float64:
        """(20, 3, F) displacements to (channels, F)."""
        push = {joint: off[joint] for joint in self.joints}
        parts = []
        for link in reversed(self.links):
            parts.append(sum((self._move[j] * push[j][:, None]).sum(axis=0) for j in link.joints))
            if link.parent >= 0:
                pulled = [(self._follow[j] * push[j][:, None]).sum(axis=0) for j in link.joints]
                push[link.parent] = push[link.parent] + sum(pulled)
        return np.concatenate(parts[::-1])

    def join(self, channels: Float64) -> Float64:
        """Inverse of :meth:`split`, among what joints can do."""
        out = np.zeros_like(self.pose)
        at = 0
        for link in self.links:
            count = len(link.slots)
            mine = channels[at : at + count]
            at += count
            for joint in link.joints:
                moved = (self._move[joint] * mine).sum(axis=1)
                if link.parent >= 0:
                    moved = moved + (self._follow[joint] * out[link.parent]).sum(axis=1)
                out[joint] = moved
        return out

    def moved(self, channels: Float64) -> Float64:
        """(C, F) channels to (F, 20, 3) poses."""
        return self.rigid(self.pose + self.join(channels)).transpose(2, 0, 1)

    def channels(self, pose: Float64, rounds: int = 8) -> Float64:
        """(F, 20, 3) poses, anything where there is no joint, to (C, F) channels: nearly the
        inverse of :meth:`moved`."""
        goal = pose.transpose(1, 2, 0)
        out = self.split(goal - self.pose)
        for _ in range(rounds):
            more = self.split(goal - self.rigid(self.pose + self.join(out)))
            out = out + more
            # Few rounds do except where a bone is turned far from where it was decoded.
            if np.abs(more).max(initial=0.0) <= _NEAR * np.abs(out).max(initial=0.0):
                break
        return out


REFERENCE_DIRECTIONS: Float64 = np.array(
    [
        [0.000, 1.000, 0.000],
        [0.000, 0.993, -0.120],
        [0.000, 0.980, -0.200],
        [0.000, 0.987, -0.160],
        [0.000, 0.980, -0.200],
        [0.000, 0.968, -0.250],
        [-0.759, 0.650, -0.035],
        [-0.345, -0.931, -0.115],
        [0.146, -0.281, -0.949],
        [0.759, 0.650, -0.035],
        [0.345, -0.931, -0.115],
        [-0.146, -0.281, -0.949],
        [-0.797, -0.566, -0.210],
        [-0.055, -0.948, -0.314],
        [0.015, -0.929, 0.370],
        [-0.180, -0.400, -0.899],
        [0.797, -0.566, -0.210],
        [0.055, -0.948, -0.314],
        [-0.015, -0.929, 0.370],
        [0.180, -0.400, -0.899],
    ]
)
"""(20, 3) mean directions of bones over the training clips."""


def _axes(first: Float64, second: Float64) -> Float64:
    """(3, 3, F) axes, in columns: the first direction, what the second has beside it, their
    product."""
    x = _unit(first)
    y = _unit(second - _dot(second, x) * x)
    return np.stack([x, y, _cross(x, y)], axis=1)


_PLACES: dict[tuple[int, ...], Float64] = {
    (12, 16): np.array([[1, 0, 0], [0.2, 0.98, 0]]),
    (6, 9): np.array([[1, 0, 0], [0, 1, 0]]),
    (12, 1, 16): np.array([[1, 0, 0], [0.29, 0.96, 0], [-0.81, 0.55, -0.19]]),
    (6, 3, 9): np.array([[1, 0, 0], [0.74, 0.68, 0], [0.06, 0.98, -0.16]]),
}
"""Where the joints of groups mostly are in their axes on training clips, over their bones'
lengths."""


def _expected(joints: tuple[int, ...], lengths: Float64) -> Float64:
    """(joints, 3) where joints of a group are thought to be in its axes."""
    return _PLACES[joints] * lengths[list(joints), None]


def find_shape(points: Float64, lengths: Float64, unit: float) -> tuple[list[int], Float64]:
    """Which joints are rigid as a whole, as :func:`links_of` takes it, and how far off (20, 3) they
    and other rigid bones are from what is known about them.

    Args:
        points: (T, 20, 3) canonical joints, NaN where missing.
        lengths: (20,) of rigid bones, roughly; NaN for others.
        unit: what 1 body unit is in points.
    """
    choices, off = [], np.zeros((len(CANONICAL_PARENTS), 3))
    for joint, parent in enumerate(CANONICAL_PARENTS):
        if parent >= 0 and np.isfinite(lengths[joint]):
            bone = np.linalg.norm(points[:, joint] - points[:, parent], axis=-1)
            if np.isfinite(bone).any():
                off[joint, 0] = np.nanmedian(bone) - lengths[joint]
    for parent, *kinds in GROUPS:
        choices.append(0)
        for choice, joints in enumerate(kinds, 1):
            arms = (points[:, joints] - points[:, [parent]]).transpose(1, 2, 0)
            arms = arms[:, :, np.isfinite(arms).all(axis=(0, 1))]
            if not np.isfinite(lengths[list(joints)]).all() or not arms.shape[-1]:
                continue
            axes = _axes(arms[0], arms[1])
            apart = np.einsum("jif,ikf->jkf", arms, axes)
            shape = np.median(apart, axis=-1)
            spread = np.quantile(np.abs(apart - shape[..., None]), 0.99, axis=-1)
            if shape[1, 1] > _BROAD * unit and spread.max() <= _WHOLE * unit:
                choices[-1] = choice
                off[list(joints)] = shape - _expected(joints, lengths)
    return choices, off


def links_of(
    choices: Sequence[int], off: Float64, lengths: Float64, here: NDArray[np.bool_]
) -> list[Link]:
    """Links of a body, from the root outward.

    Args:
        choices: for each parent of :data:`GROUPS` 0, or which of its groups is rigid.
        off: (20, 3) to be added to what is known: of a group its places, of a bone its length.
        lengths: (20,) of rigid bones, roughly; NaN for others.
        here: (20,) joints that there are.
    """
    links = []
    for choice, (parent, *kinds) in zip(choices, GROUPS):
        if choice:
            joints = kinds[choice - 1]
            shape = _expected(joints, lengths) + off[list(joints)]
            links.append(Link(parent, joints, shape))
    grouped = {joint for link in links for joint in link.joints}
    for joint, parent in enumerate(CANONICAL_PARENTS):
        if here[joint] and joint not in grouped:
            known = parent >= 0 and here[parent]
            length = lengths[joint] + off[joint, 0] if known else np.nan
            rigid = np.array([[max(length, 0.0), 0, 0]]) if np.isfinite(length) else None
            links.append(Link(parent if known else -1, (joint,), rigid))
    return sorted(links, key=lambda link: min(link.joints))


_BROAD, _WHOLE = 0.02, 0.0025
"""Body units: how far from the line through the others a joint of a group must be, and how far from
its place in 1 of 100 frames at most."""
