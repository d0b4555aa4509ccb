"""What files of markers have in common: a subject's name before each label, and units in words.

A label ``Anna:LKNE`` is marker LKNE of subject Anna. Where every label has a subject and each
subject the same markers, the subjects become the clip's people. Else all labels, whole, are one
person's: two subjects with different markers would not fit one skeleton.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from motioncodec.clip import Clip
from motioncodec.errors import FormatError
from motioncodec.io.source import Source, short

_UNITS = {
    "m": "m", "meter": "m", "meters": "m", "metre": "m", "metres": "m",
    "cm": "cm", "centimeter": "cm", "centimeters": "cm", "centimetre": "cm", "centimetres": "cm",
    "mm": "mm", "millimeter": "mm", "millimeters": "mm", "millimetre": "mm", "millimetres": "mm",
    "px": "px", "pixel": "px", "pixels": "px",
}  # fmt: skip


def units_in_words(source: Source, text: str) -> str | None:
    """The clip's unit that a file's words stand for; None where they say nothing."""
    words = text.strip().strip("\0").lower()
    if not words or source.units is not None:
        return None
    if words not in _UNITS:
        raise source.error(
            f"expected units m, cm or mm, found {short(text)}; give those that the numbers are in "
            "with --units"
        )
    return _UNITS[words]


def unique_names(names: Sequence[str], empty: str = "joint") -> list[str]:
    """Names as they are; one that comes again gets ``_2``, ``_3``, ..., an empty one its place."""
    names = [name or f"{empty}_{i}" for i, name in enumerate(names)]
    taken = set(names)
    seen: set[str] = set()
    count: dict[str, int] = {}
    out = []
    for name in names:
        unique = name
        if unique in seen:
            number = count.get(name, 1)
            while unique in taken:
                number += 1
                unique = f"{name}_{number}"
            count[name] = number
            taken.add(unique)
        seen.add(unique)
        out.append(unique)
    return out


def split_subjects(labels: Sequence[str]) -> tuple[list[str], list[str], NDArray[np.int64]]:
    """People, joints and where they are, from P x K unique labels.

    Returns:
        P names of subjects, empty for one person without; K names of joints; (P, K) the index of
        each person's each joint among the labels.
    """
    everyone = np.arange(len(labels), dtype=np.int64)[None]
    whole: tuple[list[str], list[str], NDArray[np.int64]] = [], list(labels), everyone
    at: dict[str, dict[str, int]] = {}
    for i, label in enumerate(labels):
        subject, colon, joint = label.partition(":")
        if not (subject and colon and joint):
            return whole
        at.setdefault(subject, {})[joint] = i
    joints = list(next(iter(at.values()), ()))
    if not joints or any(set(own) != set(joints) for own in at.values()):
        return whole
    order = [[own[joint] for joint in joints] for own in at.values()]
    return list(at), joints, np.array(order, dtype=np.int64)


def subject_labels(clip: Clip, format: str) -> list[str]:
    """P x K labels, person by person, that :func:`split_subjects` takes apart again.

    Raises:
        FormatError: the clip is in 2D, or there is nobody in it.
    """
    if clip.dims != 3:
        raise FormatError(
            f"{format}: expected keypoints in 3D, found 2D; write npz, csv or json instead"
        )
    if clip.persons == 0:
        raise FormatError(f"{format}: expected at least one person, found none; write npz instead")
    joints = [label.strip() for label in clip.skeleton.joints]
    if clip.persons == 1 and not clip.people:
        return unique_names(joints)
    people = clip.people or [str(i) for i in range(clip.persons)]
    people = unique_names([name.replace(":", "_").strip() for name in people], "person")
    return unique_names([f"{person}:{joint}" for person in people for joint in joints])
