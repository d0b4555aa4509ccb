"""Biovision hierarchy (``.bvh``): joint angles turned into positions, and back.

A BVH names a tree of joints, each with an OFFSET from its parent and CHANNELS that say which
rotations (degrees) and positions vary, in which order; every line of MOTION holds one frame's
values for all channels. A joint's rotation is the product of its rotation channels as listed, the
first outermost, and turns everything below it. Joints and End Sites become keypoints; several
roots with the same joints, each named ``person:joint``, become people.

What the format leaves open, and what is done about it:

- *Positions beside offsets.* Some exporters write a joint's position channels relative to OFFSET,
  others repeat OFFSET in them. Whichever the values are nearer to, OFFSET or zero, decides, once
  for the roots and once for all other joints.
- *Units.* Whichever of m, cm and mm makes the skeleton's rest pose nearest to a human's size is
  declared; the numbers stay as they are.
- *Up.* The axis, y or z, along which the head is farthest above the feet in the first frames.

Written are rotations solved from the positions (:mod:`motioncodec.io.rigging`): as good as any for
where joints are, no measurement of how they turn about their bones. The tree is the clip's as far
as distances that stay the same tell it; joints come in its order. Where rotations alone would miss
a place by more than 0.1 mm, as where bones change their lengths, the joint has position channels
too. A joint that ends a chain is written with an End Site at the same place, which is not read as
another joint. What a BVH has no way to say is lost: units and up are guessed again; a missing joint
is on a straight line from where it was seen to where it is seen next, and one never seen is left
out, as is a person; confidence, metadata and skeletons' names are not written.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass, field
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from motioncodec.clip import METRES, Clip, error_scale
from motioncodec.errors import FormatError
from motioncodec.io.markers import split_subjects, subject_labels, unique_names
from motioncodec.io.rigging import Rig, fill_gaps, find_parents, solve
from motioncodec.io.source import Source, rate_of, short
from motioncodec.skeleton import CANONICAL, Skeleton

MAX_JOINTS = 10_000
_HUMAN_METRES = 1.7
_CHUNK = 4096
_AXES = "xyz"
_NEAR_MM = 0.1
_POSITIONS = ("Xposition", "Yposition", "Zposition")
_ROTATIONS = ("Zrotation", "Xrotation", "Yrotation")


@dataclass
class _Joint:
    name: str
    parent: int
    offset: tuple[float, float, float] = (0.0, 0.0, 0.0)
    end: bool = False
    first_channel: int = 0
    # (kind, axis) of each channel: kind "position" or "rotation", axis 0 to 2.
    channels: list[tuple[str, int]] = field(default_factory=list)


def read_bvh(source: Source) -> Clip:
    """All joints and End Sites, (T, 1, K, 3), in the file's own world coordinates."""
    text = "\n".join(source.read_text().splitlines())
    parts = re.split(r"^[ \t]*MOTION\b", text, maxsplit=1, flags=re.MULTILINE | re.IGNORECASE)
    if len(parts) != 2:
        raise source.error("expected a MOTION section, found none; export the animation again")
    joints = _parse_hierarchy(source, parts[0])
    values, frame_rate = _parse_motion(source, parts[1], joints)
    source.check_size(len(values), 1, len(joints), 3)
    names = unique_names([joint.name for joint in joints])
    people: list[str] = []
    order = np.arange(len(names))[None]
    if sum(joint.parent < 0 for joint in joints) > 1:
        people, names, order = split_subjects(names)
    skeleton = Skeleton.from_names(names)
    added = _positions_are_added(joints, values)
    keypoints = np.empty((len(values), len(joints), 3), dtype=np.float32)
    with np.errstate(over="ignore", invalid="ignore"):
        for start in range(0, len(values), _CHUNK):
            chunk = values[start : start + _CHUNK]
            keypoints[start : start + _CHUNK] = forward_kinematics(joints, chunk, added)
        rest = _rest_pose(joints)
        if np.ptp(rest, axis=0).max() == 0 and len(keypoints):
            rest = keypoints[0].astype(np.float64)
    first = (keypoints[:10] if len(keypoints) else rest[None])[:, order]
    return source.clip(
        keypoints[:, order] if people else keypoints,
        joints=skeleton,
        frame_rate=frame_rate,
        units=_guess_units(rest),
        up=_guess_up(skeleton, first.reshape(-1, len(skeleton), 3)),
        people=people,
    )


def _parse_hierarchy(source: Source, text: str) -> list[_Joint]:
    lines = [line.strip() for line in re.sub(r"([{}])", r"\n\1\n", text).splitlines()]
    lines = [line for line in lines if line]
    if not lines or lines[0].upper() != "HIERARCHY":
        raise source.error(
            f"expected a BVH that starts with HIERARCHY, found {short(lines[0] if lines else '')}"
        )
    joints: list[_Joint] = []
    open_joints: list[int] = []
    waiting = False  # a joint's name was read, its brace not yet
    channel_count = 0
    for line in lines[1:]:
        word, _, rest = line.partition(" ") if " " in line else line.partition("\t")
        word, rest = word.upper(), rest.strip()
        if word == "{" and waiting:
            open_joints.append(len(joints) - 1)
            waiting = False
        elif word == "}" and open_joints and not waiting:
            open_joints.pop()
        elif word in ("ROOT", "JOINT", "END") and not waiting:
            if (word == "ROOT") != (not open_joints) or len(joints) >= MAX_JOINTS:
                raise source.error(
                    f"expected ROOT outermost, JOINT and End Site inside, at most {MAX_JOINTS}, "
                    f"found {short(line)} as number {len(joints) + 1}; export the file again"
                )
            parent = open_joints[-1] if open_joints else -1
            name = f"{joints[parent].name}_end" if word == "END" else rest
            joints.append(_Joint(name or f"joint_{len(joints)}", parent, end=word == "END"))
            waiting = True
        elif word == "OFFSET" and open_joints and not waiting:
            offset = _floats(source, rest.split(), "OFFSET")
            if len(offset) != 3 or not all(map(math.isfinite, offset)):
                raise source.error(f"expected OFFSET with three numbers, found {short(line)}")
            joints[open_joints[-1]].offset = (offset[0], offset[1], offset[2])
        elif word == "CHANNELS" and open_joints and not waiting:
            joint = joints[open_joints[-1]]
            number, *names = rest.split() or [""]
            channels = [_channel(name) for name in names]
            if None in channels or number != str(len(names)) or len(names) > 12 or joint.channels:
                raise source.error(
                    "expected CHANNELS with their number and as many of Xposition ... Zrotation, "
                    f"found {short(line, 80)}"
                )
            joint.channels = [channel for channel in channels if channel is not None]
            joint.first_channel = channel_count
            channel_count += len(names)
        else:
            raise source.error(
                f"expected a joint, OFFSET, CHANNELS or a brace in the hierarchy, found "
                f"{short(line)}; the file is damaged"
            )
    if open_joints or waiting or not joints:
        raise source.error(
            f"expected a whole hierarchy, found {len(open_joints)} braces left open and "
            f"{len(joints)} joints; the file is cut short"
        )
    if channel_count == 0:
        raise source.error("expected channels that say how the joints move, found none")
    return _without_marks(joints)


def _without_marks(joints: list[_Joint]) -> list[_Joint]:
    """Without the End Sites that are where their joint is, below one that does not turn.

    They say that the joint is the last of its chain and are no other place.
    """
    parents = {joint.parent for joint in joints}
    kept = [
        i
        for i, joint in enumerate(joints)
        if not joint.end
        or i in parents
        or any(joint.offset)
        or any(kind == "rotation" for kind, _ in joints[joint.parent].channels)
    ]
    new = {old: i for i, old in enumerate(kept)}
    for i in kept:
        joints[i].parent = new.get(joints[i].parent, -1)
    return [joints[i] for i in kept]


def _channel(name: str) -> tuple[str, int] | None:
    match = re.fullmatch(r"([xyz])(position|rotation)", name.lower())
    return (match[2], _AXES.index(match[1])) if match else None


def _floats(source: Source, words: list[str], what: str) -> list[float]:
    try:
        return list(map(float, words))
    except ValueError as error:
        raise source.error(f"{what}: expected numbers, found {short(str(error), 60)}") from None


def _parse_motion(
    source: Source, text: str, joints: list[_Joint]
) -> tuple[NDArray[np.float64], float]:
    """Channel values (T, C) as written (degrees, file units) and the frame rate."""
    head = re.match(r"\s*Frames\s*:\s*(\S+)\s+Frame\s*Time\s*:\s*(\S+)", text, re.IGNORECASE)
    if head is None:
        raise source.error(
            f"expected Frames: and Frame Time: after MOTION, found {short(text[:60].strip())}"
        )
    if not re.fullmatch(r"\d{1,12}", head[1]):
        raise source.error(f"Frames: expected a count, found {short(head[1])}")
    frames, frame_time = int(head[1]), _floats(source, [head[2]], "Frame Time")[0]
    if not 1e-5 <= frame_time < math.inf:
        raise source.error(
            f"Frame Time: expected seconds above 0, found {short(head[2])}; correct it in the file"
        )
    decimals = len(head[2].partition(".")[2]) if re.fullmatch(r"\d*\.\d+", head[2]) else 15
    width = sum(len(joint.channels) for joint in joints)
    words = text[head.end() :].split()
    if len(words) != frames * width:
        raise source.error(
            f"expected {frames} frames of {width} numbers, found {len(words)} numbers "
            f"({len(words) / width:.6g} frames); the file is cut short or its Frames: line is wrong"
        )
    values = np.array(_floats(source, words, "MOTION"), dtype=np.float64).reshape(frames, width)
    if np.isinf(values).any():
        frame = int(np.argwhere(np.isinf(values))[0][0])
        raise source.error(f"MOTION: expected finite numbers, found infinity in frame {frame}")
    return values, rate_of(frame_time, 10.0**-decimals)


def _positions_are_added(joints: list[_Joint], values: NDArray[np.float64]) -> tuple[bool, bool]:
    """Whether position channels add to OFFSET (else stand for it): for the roots, for the rest."""
    to_offset, to_zero = [0.0, 0.0], [0.0, 0.0]
    for joint in joints:
        which = 0 if joint.parent < 0 else 1
        squares_offset: NDArray[np.float64] = np.zeros(len(values))
        squares_zero: NDArray[np.float64] = np.zeros(len(values))
        for number, (kind, axis) in enumerate(joint.channels, joint.first_channel):
            if kind == "position":
                with np.errstate(over="ignore", invalid="ignore"):
                    squares_zero += values[:, number] ** 2
                    squares_offset += (values[:, number] - joint.offset[axis]) ** 2
        to_offset[which] += float(np.nansum(np.sqrt(squares_offset)))
        to_zero[which] += float(np.nansum(np.sqrt(squares_zero)))
    return not to_offset[0] < to_zero[0], not to_offset[1] < to_zero[1]


def forward_kinematics(
    joints: list[_Joint], values: NDArray[np.float64], added: tuple[bool, bool]
) -> NDArray[np.float64]:
    """World positions (T, K, 3), in file units, of channel values (T, C) in degrees.

    The frames of one joint are worked on together: the axes that its rotation turns x, y and z
    into are kept as three (3, T) arrays, and a turn about one axis mixes the other two.
    """
    frames = len(values)
    radians = np.radians(values.T)
    sines, cosines = np.sin(radians), np.cos(radians)
    positions = np.empty((len(joints), 3, frames))
    identity = [np.repeat(column[:, None], frames, axis=1) for column in np.eye(3)]
    turned: list[list[NDArray[np.float64]]] = []
    for index, joint in enumerate(joints):
        axes = list(turned[joint.parent]) if joint.parent >= 0 else list(identity)
        moved: list[NDArray[np.float64] | float] = list(joint.offset)
        for number, (kind, axis) in enumerate(joint.channels, joint.first_channel):
            if kind == "position":
                base = joint.offset[axis] if added[0 if joint.parent < 0 else 1] else 0.0
                moved[axis] = base + values[:, number]
        place = axes[0] * moved[0] + axes[1] * moved[1] + axes[2] * moved[2]
        positions[index] = place + positions[joint.parent] if joint.parent >= 0 else place
        for number, (kind, axis) in enumerate(joint.channels, joint.first_channel):
            if kind == "rotation":
                i, j = (axis + 1) % 3, (axis + 2) % 3
                sine, cosine = sines[number], cosines[number]
                axes[i], axes[j] = (
                    cosine * axes[i] + sine * axes[j],
                    cosine * axes[j] - sine * axes[i],
                )
        turned.append(axes)
    return np.ascontiguousarray(positions.transpose(2, 0, 1))


def _rest_pose(joints: list[_Joint]) -> NDArray[np.float64]:
    """(K, 3): positions with every rotation and position channel left out."""
    rest = np.zeros((len(joints), 3))
    for index, joint in enumerate(joints):
        rest[index] = joint.offset
        if joint.parent >= 0:
            rest[index] += rest[joint.parent]
    return rest


def _guess_units(pose: NDArray[np.float64]) -> str:
    """Of m, cm and mm the one in which a (K, 3) pose is nearest to human size, on a log scale."""
    extent = float(np.nanmax(np.ptp(pose, axis=0), initial=0.0))
    if not 0 < extent < math.inf:
        return "cm"
    return min(METRES, key=lambda unit: abs(math.log(extent * METRES[unit] / _HUMAN_METRES)))


def _guess_up(skeleton: Skeleton, poses: NDArray[np.floating]) -> str:
    """``y`` or ``z``: where the head is farthest above the feet in (T, K, 3) poses."""
    head = [i for i, c in enumerate(skeleton.covered) if c >= 0 and "head" in CANONICAL[c]]
    feet = [
        i for i, c in enumerate(skeleton.covered)
        if c >= 0 and CANONICAL[c].endswith(("ankle", "toe"))
    ]  # fmt: skip
    with np.errstate(all="ignore"):
        if head and feet:
            rise = poses[:, head].mean(axis=1) - poses[:, feet].mean(axis=1)
        else:
            rise = np.ptp(poses, axis=1)
        height = np.nan_to_num(np.median(rise, axis=0))
    # Most files are y up: someone who bends down or lies at the start must not turn the axis.
    return "z" if height[2] > 1.5 * abs(height[1]) else "y"


def write_bvh(clip: Clip, stream: BinaryIO) -> None:
    """Rotations solved from the positions, a root for each person; see the module's text.

    Raises:
        FormatError: the clip is in 2D, or no joint is seen in any of its frames.
    """
    labels = subject_labels(clip, "bvh")
    if clip.persons == 1:
        labels = list(clip.skeleton.joints)
    labels = unique_names([re.sub(r"[{}]", "_", " ".join(label.split())) for label in labels])
    near = _NEAR_MM / error_scale(clip.units)
    hierarchy: list[str] = []
    columns: list[NDArray[np.float64]] = []
    for person in range(clip.persons):
        keypoints = clip.keypoints[:, person]
        seen = ~clip.missing[:, person]
        there = np.flatnonzero(seen.any(axis=0))
        if not len(there):
            continue
        keypoints, seen = keypoints[:, there], seen[:, there]
        skeleton = Skeleton(
            tuple(clip.skeleton.joints[i] for i in there),
            covered=tuple(clip.skeleton.covered[i] for i in there),
        )
        parents = find_parents(keypoints, skeleton, near)
        rig = solve(fill_gaps(keypoints), seen, parents, near)
        names = [labels[person * len(clip.skeleton) + i] for i in there]
        _describe(rig, names, hierarchy, columns)
    if not hierarchy:
        raise FormatError("bvh: expected a joint that is seen, found none; write npz instead")
    step = np.format_float_positional(1 / clip.frame_rate, trim="0")
    head = ["HIERARCHY", *hierarchy, "MOTION", f"Frames: {clip.frames}", f"Frame Time: {step}", ""]
    stream.write("\n".join(head).encode())
    for start in range(0, clip.frames, _CHUNK):
        rows = np.concatenate([column[start : start + _CHUNK] for column in columns], axis=1)
        for row in (np.round(rows, 6) + 0.0).tolist():
            stream.write((" ".join(map("%.6f".__mod__, row)) + "\n").encode())


def _describe(
    rig: Rig, names: list[str], lines: list[str], columns: list[NDArray[np.float64]]
) -> None:
    """Adds a person to the hierarchy's lines and the motion's columns."""
    children: dict[int, list[int]] = {}
    for joint, parent in enumerate(rig.parents):
        children.setdefault(parent, []).append(joint)
    # Joints still to write and braces still to close, each with its depth; the next one last.
    waiting: list[tuple[int | None, int]] = [(rig.parents.index(-1), 0)]
    while waiting:
        next_joint, depth = waiting.pop()
        indent, inside = "\t" * depth, "\t" * (depth + 1)
        if next_joint is None:
            lines.append(indent + "}")
            continue
        joint = next_joint
        below, parent = children.get(joint, []), rig.parents[joint]
        offset = " ".join(f"{value:.6f}" for value in np.round(rig.offsets[joint], 6) + 0.0)
        head = f"{'JOINT' if parent >= 0 else 'ROOT'} {names[joint]}"
        channels: tuple[str, ...] = ()
        if joint in rig.moves:
            channels += _POSITIONS
            columns.append(rig.moves[joint])
        elif not below and names[joint] == f"{names[parent]}_end":
            lines += [f"{indent}End Site", indent + "{", f"{inside}OFFSET {offset}", indent + "}"]
            continue
        if below:
            channels += _ROTATIONS
            columns.append(rig.angles[joint])
        lines += [indent + head, indent + "{", f"{inside}OFFSET {offset}"]
        lines.append(" ".join([f"{inside}CHANNELS {len(channels)}", *channels]))
        if not below:
            lines += [f"{inside}End Site", inside + "{", f"{inside}\tOFFSET 0 0 0", inside + "}"]
        waiting.append((None, depth))
        waiting += [(child, depth + 1) for child in reversed(below)]
