"""Acclaim's motion (``.amc``) and the skeleton (``.asf``) that it needs beside it; read only.

The skeleton is the ``.asf`` in the same folder whose name begins the motion's (``16.asf`` for
``16_11.amc``), else the one that the motion's first line names, else the only one there.

An ASF names bones, each with a direction and a length in the rest pose, the axes that it turns
about and which of their angles (``dof``) the AMC gives. Keypoints are the joints, called by the
bone that *begins* there, as in BVH: ``lfemur`` is the hip, ``ltibia`` the knee; where a chain ends
there is an ``_end``. A bone that the AMC never mentions stays at rest; one without dof always does.

- *Units* are scaled to metres: ``length 0.45``, as CMU has it, says that 0.45 of the file's units
  are an inch. Where the caller names units, the numbers stay as they are.
- *Frame rate.* An AMC has none: 120 frames/s, CMU's, unless the caller says otherwise.
- *Up* is y.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import PurePath

import numpy as np
from numpy.typing import NDArray

from motioncodec.clip import Clip
from motioncodec.io.markers import unique_names
from motioncodec.io.source import Source, decode_text, short
from motioncodec.skeleton import Skeleton

MAX_BONES = 10_000
FRAME_RATE = 120.0
_INCH = 0.0254
_GREATEST = 1e30  # of one number, so that no product of a few overflows
_ROOT = "root"

Matrices = NDArray[np.float64]


@dataclass
class _Bone:
    """A bone at rest; ``vector`` leads from its joint to its end, in the file's units."""

    name: str
    vector: NDArray[np.float64] = field(default_factory=lambda: np.zeros(3))
    # Degrees about x, y and z that turn the world's axes to the bone's, and their order.
    axis: tuple[float, ...] = (0.0, 0.0, 0.0)
    order: str = "xyz"
    dof: tuple[str, ...] = ()
    parent: str = ""


@dataclass
class _Skeleton:
    """Bones by name, each after its parent, the root first."""

    bones: dict[str, _Bone]
    metres: float
    radians: bool


def read_amc(source: Source) -> Clip:
    """Joints and ends of chains, (T, 1, K, 3), by forward kinematics."""
    text = source.read_text()
    lines = [line.strip() for line in text.splitlines()]
    if any(line.lower().startswith(":bonedata") for line in lines[:1000]):
        raise source.error("expected a motion, found an ASF, its skeleton; give the .amc instead")
    name, data = _find_skeleton(source, text)
    try:
        skeleton = _parse_skeleton(decode_text(data))
    except ValueError as error:
        raise source.error(f"{name}: {error}") from None
    numbers, motion = _parse_motion(source, lines, skeleton, name)
    frames, index = source.place_frames(numbers)
    if len(np.unique(index)) != len(index):
        raise source.error("expected every frame number once, found one twice")
    parents = {bone.parent for bone in skeleton.bones.values()}
    ends = sum(bone.name not in parents for bone in skeleton.bones.values())
    source.check_size(frames, 1, len(skeleton.bones) + ends, 3)
    names, points = _positions(skeleton, motion, len(numbers))
    placed = np.full((frames, len(names), 3), np.nan, dtype=np.float32)
    with np.errstate(over="ignore", invalid="ignore"):
        placed[index] = points * (1.0 if source.units else skeleton.metres)
    return source.clip(
        placed,
        joints=Skeleton.from_names(unique_names(names)),
        frame_rate=FRAME_RATE,
        units="m",
        up="y",
    )


def _find_skeleton(source: Source, text: str) -> tuple[str, bytes]:
    """Name and bytes of the motion's ASF."""
    there = source.siblings() if source.siblings is not None else {}
    files = {name: read for name, read in there.items() if name.lower().endswith(".asf")}
    stem = PurePath(source.name).stem.lower()
    said = re.match(r"#!OML:ASF\s+(?:.*[\\/])?([^\\/\r\n]+?)\s*$", text, re.MULTILINE)

    def fits(name: str) -> bool:
        start = name[:-4].lower()
        return stem.startswith(start) and not stem[len(start) : len(start) + 1].isalnum()

    begin = sorted(filter(fits, files), key=len)
    named = [name for name in files if said and name.lower() == said[1].lower()]
    chosen = begin[-1:] or named or (list(files) if len(files) == 1 else [])
    if not chosen:
        raise source.error(
            "expected its skeleton, an .asf whose name begins this one's, in its folder, found "
            f"{', '.join(sorted(files)) or 'none'}; put it there"
        )
    return chosen[0], files[chosen[0]]()


def _parse_skeleton(text: str) -> _Skeleton:
    """Bones of an ASF; ValueError says in one line what is wrong."""
    section, metres, radians = "", _INCH, False
    bones = {_ROOT: _Bone(_ROOT)}
    bone = _Bone("")
    length, direction = 0.0, np.zeros(3)
    for line in text.splitlines():
        words = line.partition("#")[0].split()
        if not words:
            continue
        key, rest = words[0].lower(), words[1:]
        if key.startswith(":"):
            section = key
        elif section == ":units" and key == "length":
            unit = _numbers(rest, 1, line)[0]
            metres = _INCH / unit if unit else math.inf
        elif section == ":units" and key == "angle":
            radians = rest[:1] == ["rad"]
        elif section == ":root" and key == "order":
            bones[_ROOT].dof = tuple(word.lower() for word in rest)
        elif section == ":root" and key == "axis":
            bones[_ROOT].order = _order(rest)
        elif section == ":root" and key == "orientation":
            bones[_ROOT].axis = _numbers(rest, 3, line)
        elif section == ":root" and key == "position":
            bones[_ROOT].vector = np.array(_numbers(rest, 3, line))
        elif section == ":bonedata" and key == "begin":
            bone, length, direction = _Bone(""), 0.0, np.zeros(3)
        elif section == ":bonedata" and key == "name":
            bone.name = " ".join(rest)
        elif section == ":bonedata" and key == "direction":
            direction = np.array(_numbers(rest, 3, line))
        elif section == ":bonedata" and key == "length":
            length = _numbers(rest, 1, line)[0]
        elif section == ":bonedata" and key == "axis":
            bone.axis, bone.order = _numbers(rest[:3], 3, line), _order(rest[3:])
        elif section == ":bonedata" and key == "dof":
            bone.dof = tuple(word.lower() for word in rest)
        elif section == ":bonedata" and key == "end":
            bone.vector = direction * length
            if not bone.name or bone.name in bones or len(bones) > MAX_BONES:
                raise ValueError(f"expected bones of one name each, found {short(bone.name)}")
            bones[bone.name] = bone
            bone = _Bone("")
        elif section == ":hierarchy" and key not in ("begin", "end"):
            for child in rest:
                if words[0] not in bones or child not in bones or child == _ROOT:
                    raise ValueError(f"expected names of bones, found {short(line.strip(), 60)}")
                if bones[child].parent:
                    raise ValueError(f"expected one parent of {short(child)}, found two")
                bones[child].parent = words[0]
    if not 0 < metres < math.inf:
        raise ValueError("expected a unit of length above 0, found another")
    root_dof = set(bones[_ROOT].dof)
    if not root_dof <= {a + b for a in "tr" for b in "xyz"} or "rx" not in root_dof:
        raise ValueError("expected a root with order TX TY TZ RX RY RZ, found another")
    for bone in bones.values():
        if bone.name != _ROOT and not set(bone.dof) <= {"rx", "ry", "rz"}:
            raise ValueError(f"expected dof rx, ry and rz of {short(bone.name)}, found others")
    return _Skeleton(_in_order(bones), metres, radians)


def _in_order(bones: dict[str, _Bone]) -> dict[str, _Bone]:
    """Bones depth first from the root, children as they are listed."""
    children: dict[str, list[str]] = {}
    for bone in bones.values():
        children.setdefault(bone.parent, []).append(bone.name)
    waiting, out = [_ROOT], {}
    while waiting:
        name = waiting.pop()
        out[name] = bones[name]
        waiting += reversed(children.get(name, []))
    if len(out) < max(len(bones), 2):
        lost = next((name for name in bones if name not in out), "no bone")
        raise ValueError(f"expected every bone below the root, found {short(lost)}")
    return out


def _numbers(words: Sequence[str], count: int, line: str) -> tuple[float, ...]:
    try:
        values = tuple(float(word) for word in words[:count])
    except ValueError:
        values = ()
    if len(values) != count or not all(abs(value) < _GREATEST for value in values):
        raise ValueError(f"expected {count} numbers, found {short(line.strip(), 60)}")
    return values


def _order(words: Sequence[str]) -> str:
    order = "".join(words[:1]).lower() or "xyz"
    if sorted(order) != ["x", "y", "z"]:
        raise ValueError(f"expected an order of axes such as XYZ, found {short(order)}")
    return order


def _parse_motion(
    source: Source, lines: list[str], skeleton: _Skeleton, name: str
) -> tuple[list[int], dict[str, NDArray[np.float64]]]:
    """Frame numbers and each mentioned bone's values (R, dof), angles in radians."""
    radians = skeleton.radians
    numbers: list[int] = []
    rows: dict[str, list[tuple[float, ...]]] = {}
    for line in lines:
        if not line or line.startswith("#"):
            continue
        bone, *words = line.split()
        if line.startswith(":"):
            word = bone.lower()
            radians = (radians or word == ":radians") and word != ":degrees"
        elif not words and re.fullmatch(r"\d{1,12}", bone):
            _check_whole(source, rows, len(numbers))
            numbers.append(int(bone))
        elif bone in skeleton.bones and numbers:
            own = rows.setdefault(bone, [])
            try:
                values = _numbers(words, len(skeleton.bones[bone].dof), line)
            except ValueError as error:
                raise source.error(f"frame {numbers[-1]}: {error}") from None
            if len(words) != len(values) or len(own) != len(numbers) - 1:
                raise source.error(
                    f"frame {numbers[-1]}: expected {len(values)} values of {short(bone)} once, "
                    f"found {short(line, 60)}"
                )
            own.append(values)
        else:
            raise source.error(
                f"expected frame numbers and bones of {name}, found {short(line, 60)}; the file is "
                "damaged or has another skeleton"
            )
    _check_whole(source, rows, len(numbers))
    if numbers and _ROOT not in rows:
        raise source.error("expected the root in every frame, found none; the file is damaged")
    motion = {}
    for bone, given in rows.items():
        array = np.array(given, dtype=np.float64).reshape(len(numbers), -1)
        angles = [dof.startswith("r") for dof in skeleton.bones[bone].dof]
        if not radians:
            array[:, angles] = np.radians(array[:, angles])
        motion[bone] = array
    return numbers, motion


def _check_whole(source: Source, rows: dict[str, list[tuple[float, ...]]], frames: int) -> None:
    """Every frame has every bone that any has."""
    lacking = next((bone for bone, values in rows.items() if len(values) != frames), None)
    if lacking is not None:
        raise source.error(
            f"expected {short(lacking)} in every frame, found it left out of the {frames}th; the "
            "file is cut short or damaged"
        )


def _turn(axis: str, radians: NDArray[np.float64]) -> Matrices:
    """(T, 3, 3): turns about x, y or z."""
    i, j = {"x": (1, 2), "y": (2, 0), "z": (0, 1)}[axis]
    out = np.tile(np.eye(3), (len(radians), 1, 1))
    out[:, i, i] = out[:, j, j] = np.cos(radians)
    out[:, j, i] = np.sin(radians)
    out[:, i, j] = -out[:, j, i]
    return out


def _turns(order: Sequence[str], radians: Sequence[NDArray[np.float64]]) -> Matrices:
    """(T, 3, 3): one turn after another about fixed axes, the first listed first."""
    out = np.eye(3)[None]
    for axis, angle in zip(order, radians):
        out = _turn(axis, angle) @ out
    return out


def _positions(
    skeleton: _Skeleton, motion: dict[str, NDArray[np.float64]], frames: int
) -> tuple[list[str], NDArray[np.float64]]:
    """Names of joints and ends and where they are, (T, K, 3), in the file's units."""
    parents = {bone.parent for bone in skeleton.bones.values()}
    turned: dict[str, Matrices] = {}
    end: dict[str, NDArray[np.float64]] = {}
    names: list[str] = []
    points: list[NDArray[np.float64]] = []
    for bone in skeleton.bones.values():
        values = motion.get(bone.name, np.zeros((frames, len(bone.dof)))).T
        turns = [i for i, dof in enumerate(bone.dof) if dof.startswith("r")]
        motion_turn = _turns([bone.dof[i][1] for i in turns], [values[i] for i in turns])
        scale = 1.0 if skeleton.radians else math.pi / 180
        rest = _turns(
            bone.order, [np.array([bone.axis["xyz".index(a)] * scale]) for a in bone.order]
        )
        if bone.name == _ROOT:
            turned[_ROOT] = motion_turn @ rest
            place = np.tile(bone.vector, (frames, 1))
            for i, dof in enumerate(bone.dof):
                if dof.startswith("t"):
                    place[:, "xyz".index(dof[1])] += values[i]
            start = end[_ROOT] = place
        else:
            own = rest @ motion_turn @ rest.transpose(0, 2, 1)
            turned[bone.name] = turned[bone.parent] @ own
            start = end[bone.parent]
            end[bone.name] = start + turned[bone.name] @ bone.vector
        names.append(bone.name)
        points.append(start)
        if bone.name not in parents:
            names.append(f"{bone.name}_end")
            points.append(end[bone.name])
    return names, np.stack(points, axis=1)
