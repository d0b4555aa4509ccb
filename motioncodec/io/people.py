"""Who is who from frame to frame, in sources that list the people of each frame anew."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray


@dataclass
class Person:
    """One person in one frame: id, and (K, D + 1) values of each part, confidence last.

    Parts go by the prefix of their joints' names; ``""`` is the body.
    """

    id: int | None
    parts: dict[str, NDArray[np.float64]] = field(default_factory=dict)


def follow_ids(frames: Sequence[Sequence[int | None]]) -> tuple[list[list[int]], list[int]] | None:
    """A slot for each person of each frame by their ids, and the id of each slot.

    None where the ids cannot say who is who: one is absent or below 0, or comes twice in a frame.
    Slots are in order of first appearance.
    """
    slots: dict[int, int] = {}
    out = []
    for ids in frames:
        if len(set(ids)) != len(ids) or any(i is None or i < 0 for i in ids):
            return None
        out.append([slots.setdefault(i, len(slots)) for i in ids if i is not None])
    return out, list(slots)


def follow_positions(
    frames: Sequence[Sequence[NDArray[np.float64]]],
) -> tuple[list[list[int]], int]:
    """A slot for each person of each frame by position, and the number of slots.

    Greedy: in every frame the nearest pair of a slot's last centroid and a newly seen centroid is
    matched first, then the next nearest, and so on. A pair farther apart than the larger of the two
    boxes' diagonals is nobody's match: the newcomer opens a slot. Slots never close, so a person
    who comes back near where they left takes their old one.

    Args:
        frames: for each frame the people's joints, (K, D) each, NaN where missing.
    """
    centroids: list[NDArray[np.float64]] = []
    reaches: list[float] = []
    out = []
    for people in frames:
        slots = [-1] * len(people)
        seen = [person[~np.isnan(person).any(axis=1)] for person in people]
        visible = [i for i, person in enumerate(seen) if len(person)]
        middles = {i: seen[i].mean(axis=0) for i in visible}
        reach = {i: float(np.linalg.norm(np.ptp(seen[i], axis=0))) for i in visible}
        if centroids and visible:
            here = np.array([middles[i] for i in visible])
            apart = np.linalg.norm(here[:, None] - np.array(centroids)[None], axis=-1)
            limit = np.maximum(
                np.array([reach[i] for i in visible])[:, None], np.array(reaches)[None]
            )
            apart[~(apart <= limit)] = np.inf
            while np.isfinite(nearest := apart.min()):
                row, slot = (int(i) for i in np.argwhere(apart == nearest)[0])
                slots[visible[row]] = slot
                apart[row], apart[:, slot] = np.inf, np.inf
        for i in visible:
            if slots[i] < 0:
                slots[i] = len(centroids)
                centroids.append(middles[i])
                reaches.append(reach[i])
            else:
                centroids[slots[i]] = middles[i]
                # A box shrinks when joints hide; how far one moves in a frame does not.
                reaches[slots[i]] = max(reaches[slots[i]], reach[i])
        out.append(slots)
    return out, len(centroids)
