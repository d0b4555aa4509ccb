"""``.pose``: the binary form of the package pose-format, in which sign-language data travels.

A header names components (``POSE_LANDMARKS``, ``LEFT_HAND_LANDMARKS``, ...) and their points; a
body holds the frame rate, (T, P, K, D) positions and (T, P, K) confidences, 0 of which marks a
missing point. Versions 0.0 to 0.2 are read, with the package; 0.2 is written, without it.

Joints are ``component:point``, but those of a body component are ``point`` alone. In MediaPipe's
components:

- the 33 body points have MediaPipe's own names, which the models cover;
- z is a network's guess of depth in other units than x and y, which are pixels, so it is left out
  and the clip is 2D;
- ``POSE_WORLD_LANDMARKS``, the same body in metres about its own hip, is left out.

A file of three axes from elsewhere is 3D. What is written here has a body component whose name says
units and up axis, ``BODY (m, y up)``, and reads back to the same numbers; of what a clip has, the
people's ids and the metadata are not kept, and a frame rate is rounded to float32.
"""

from __future__ import annotations

import re
import struct
from itertools import groupby
from typing import Any, BinaryIO

import numpy as np

from motioncodec.clip import UNITS, UP_AXES, Clip
from motioncodec.errors import FormatError
from motioncodec.io.source import Source, short
from motioncodec.skeleton import find_skeleton

_OWN = re.compile(rf"BODY \(({'|'.join(UNITS)}), ({'|'.join(UP_AXES)}) up\)")
_WORLD = "POSE_WORLD_LANDMARKS"
_VERSION = 0.2
_PEOPLE = 2**16 - 1
# Confidence of a joint that is there, at 0: to the format 0 says that it is not.
_LEAST = np.float32(2.0**-126)


def is_pose(head: bytes) -> bool:
    """Whether a file starts with a version, three sizes and a component's name and format."""
    if len(head) < 16:
        return False
    version, *_, components, length = struct.unpack("<f5H", head[:14])
    if round(version, 3) not in (0.0, 0.1, 0.2) or not 0 < components < 1000:
        return False
    at = 14 + length
    form = head[at + 2 : at + 2 + 4]
    return 0 < length < 1000 and head[at : at + 2] in (b"\3\0", b"\4\0") and form[:2] == b"XY"


def read_pose(source: Source) -> Clip:
    """All components' points as one clip, (T, P, K, D)."""
    data = source.read_bytes()
    library = source.package("pose-format", "pose", ".pose files")
    try:
        # The package keeps the last header it read, for a file whose bytes there are the same.
        with np.errstate(all="ignore"):
            pose = library.Pose.read(data)
            values = np.ma.getdata(pose.body.data)
            return _clip(source, pose, values, np.ma.getdata(pose.body.confidence))
    except FormatError:
        raise
    # A damaged length or count makes the package raise almost anything.
    except Exception as error:
        raise source.error(
            f"expected a .pose file, found damaged data ({short(str(error), 60)}); it may be cut "
            "short"
        ) from None


def _clip(source: Source, pose: Any, values: Any, confidence: Any) -> Clip:
    components = pose.header.components
    own = _OWN.fullmatch(components[0].name)
    mediapipe = any(component.name == "POSE_LANDMARKS" for component in components)
    names: list[str] = []
    kept: list[int] = []
    at = 0
    for component in components:
        points, bare = list(component.points), component.name.lower().startswith(("pose", "body"))
        if own:
            bare = component.name == components[0].name
        if component.name == "POSE_LANDMARKS" and len(points) == 33:
            points = list(find_skeleton("mediapipe-33").joints)
        if not (mediapipe and component.name == _WORLD):
            names += [point if bare else f"{component.name}:{point}" for point in points]
            kept += range(at, at + len(points))
        at += len(points)
    frames, persons, _, dims = values.shape
    dims = min(dims, 2) if mediapipe and not own else dims
    if dims not in (2, 3):
        raise source.error(f"expected two or three axes, found {dims}")
    source.check_size(frames, persons, len(kept), dims)
    keypoints = np.array(values[:, :, kept, :dims], dtype=np.float32)
    seen = np.array(confidence[:, :, kept], dtype=np.float32)
    keypoints[~(seen > 0)] = np.nan
    there = ~np.isnan(keypoints).any(axis=-1)
    seen = np.where(there & (seen > _LEAST), np.minimum(seen, 1), 0).astype(np.float32)
    return source.clip(
        keypoints,
        joints=_unique(names),
        frame_rate=_frame_rate(float(pose.body.fps)),
        # Ones alone say nothing.
        confidence=None if (seen == there).all() else seen,
        units=own[1] if own else None,
        up=own[2] if own else None,
    )


def _frame_rate(rate: float) -> float:
    """29.97 for the float32 nearest to it."""
    tidy = round(rate, 3)
    return tidy if np.float32(tidy) == np.float32(rate) else rate


def _unique(names: list[str]) -> list[str]:
    """A name that comes again gets ``_2``, ``_3``, ..."""
    taken: dict[str, int] = {}
    out: list[str] = []
    for name in names:
        number = taken[name] = taken.get(name, 0) + 1
        tried = name
        while number > 1 and (tried := f"{name}_{number}") in taken:
            number += 1
        taken.setdefault(tried, 1)
        out.append(tried)
    return out


def write_pose(clip: Clip, stream: BinaryIO) -> None:
    """Version 0.2, its joints grouped into components by what stands before their last colon."""
    if clip.persons > _PEOPLE:
        raise FormatError(f".pose: expected at most {_PEOPLE} people, found {clip.persons}")
    # Always first, for its name says what the numbers are.
    body = f"BODY ({clip.units}, {clip.up} up)"
    groups: list[tuple[str, list[str]]] = []
    for prefix, joints in groupby(clip.skeleton.joints, lambda name: name.rpartition(":")[:2]):
        names = [name[len("".join(prefix)) :] for name in joints]
        groups.append((prefix[0] if prefix[1] else body, names))
    if groups[0][0] != body:
        groups.insert(0, (body, []))
    form = "XYZC" if clip.dims == 3 else "XYC"
    stream.write(struct.pack("<f4H", _VERSION, 0, 0, 0, len(groups)))
    for component, points in groups:
        stream.write(_text(component) + _text(form) + struct.pack("<3H", len(points), 0, 0))
        stream.write(b"".join(map(_text, points)))
    seen = ~clip.missing
    confidence = seen.astype(np.float32)
    if clip.confidence is not None:
        confidence = np.where(seen, np.maximum(clip.confidence, _LEAST), 0).astype(np.float32)
    stream.write(struct.pack("<fIH", clip.frame_rate, clip.frames, clip.persons))
    stream.write(np.where(seen[..., None], clip.keypoints, 0).astype("<f4").tobytes())
    stream.write(confidence.astype("<f4").tobytes())


def _text(text: str) -> bytes:
    # The package's own writer counts letters where the format counts bytes.
    data = text.encode("utf-8", "replace")
    if len(data) > 2**16 - 1:
        raise FormatError(f".pose: expected names of at most 65535 bytes, found {len(data)}")
    return struct.pack("<H", len(data)) + data
