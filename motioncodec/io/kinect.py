"""Text of depth cameras: NTU RGB+D ``.skeleton`` (Kinect v2) and two Kinect v1 layouts; read only.

- *NTU RGB+D*: the number of frames; for each the number of bodies; for each a line with its id and
  nine numbers, the number of joints (25), and a line a joint: x, y, z in metres, y up, places in
  the depth and colour pictures, an orientation, and a tracking state: 0 is a missing joint, 1
  (inferred) a confidence of 0.5, 2 of 1. Bodies are followed by their ids.
- *UTKinect-Action3D* ``joints_*.txt``: a row a frame: its number, then x, y, z of 20 joints in
  metres. Of rows with the same number the first counts; a joint at 0, 0, 0 is missing.
- *MSR Action3D* ``*_skeleton3D.txt``: 20 rows a frame, each x, y, z and a confidence; metres, or
  millimetres where the median depth z is above 50, which no depth camera sees in metres.

All are 30 frames/s unless the caller says otherwise.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from motioncodec.clip import Clip
from motioncodec.io.source import Source, short
from motioncodec.skeleton import Skeleton, find_skeleton

FRAME_RATE = 30.0
MAX_BODIES = 1000
_NTU_HEAD = re.compile(
    r"\s*\d{1,7}[ \t]*\r?\n[ \t]*\d{1,3}[ \t]*\r?\n(?:[ \t]*\S+(?:[ \t]+\S+){9}|\s*\d)"
)
_NUMBER = r"[-+]?(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][-+]?\d+)?"
_ROW = re.compile(rf"[ \t]*{_NUMBER}(?:[ \t]+{_NUMBER})*[ \t]*(?:\r?\n|$)")
# MSR Action3D's own order of the 20 joints.
_MSR_JOINTS = (
    "ShoulderLeft", "ShoulderRight", "ShoulderCenter", "Spine", "HipLeft", "HipRight", "HipCenter",
    "ElbowLeft", "ElbowRight", "WristLeft", "WristRight", "HandLeft", "HandRight", "KneeLeft",
    "KneeRight", "AnkleLeft", "AnkleRight", "FootLeft", "FootRight", "Head",
)  # fmt: skip
_INFERRED = np.array([np.nan, 0.5, 1.0])


def is_kinect(text: str) -> bool:
    """Whether the first lines are those of one of the layouts; a table with a header is none."""
    if _NTU_HEAD.match(text):
        return True
    row = _ROW.match(text)
    # A second row, so that one line of numbers is not taken for a recording of many joints.
    return row is not None and len(row[0].split()) in (61, 4) and bool(_ROW.match(text, row.end()))


def read_kinect(source: Source) -> Clip:
    """(T, P, 25, 3) of NTU RGB+D, or (T, 1, 20, 3) of a Kinect v1, in metres."""
    text = source.read_text()
    first = text.lstrip().partition("\n")[0].split()
    if len(first) == 1:
        return _read_ntu(source, text)
    if len(first) == 61:
        return _read_utkinect(source, text)
    if len(first) == 4:
        return _read_msr(source, text)
    raise source.error(
        "expected a frame count (NTU RGB+D), rows of 61 numbers (UTKinect) or of 4 (MSR Action3D), "
        f"found {short(' '.join(first), 60)}"
    )


def _read_ntu(source: Source, text: str) -> Clip:
    words = iter(text.split())
    frames = _count(source, words, "frames", 10**7)
    slots: dict[str, int] = {}
    # (frame, slot) of each body, and its (25, 4) x, y, z, state.
    places: list[tuple[int, int]] = []
    bodies: list[NDArray[np.float64]] = []
    for frame in range(frames):
        here = set()
        for _ in range(_count(source, words, f"frame {frame}: bodies", MAX_BODIES)):
            name = _take(source, words, 10, f"frame {frame}: body")[0]
            joints = _count(source, words, f"frame {frame}: joints", 1000)
            if joints != 25:
                raise source.error(f"frame {frame}: expected 25 joints, found {joints}")
            rows = _floats(source, _take(source, words, 300, f"frame {frame}: joints"))
            slot = slots.setdefault(name, len(slots))
            if slot not in here:
                here.add(slot)
                places.append((frame, slot))
                bodies.append(rows.reshape(25, 12)[:, [0, 1, 2, 11]])
    if next(words, None) is not None:
        raise source.error(f"expected {frames} frames, found more; the first line is wrong")
    source.check_size(frames, len(slots), 25, 4)
    keypoints = np.full((frames, len(slots), 25, 3), np.nan, dtype=np.float32)
    confidence = np.zeros(keypoints.shape[:3], dtype=np.float32)
    for (frame, slot), values in zip(places, bodies, strict=True):
        if not np.isin(values[:, 3], (0, 1, 2)).all():
            raise source.error(f"frame {frame}: expected tracking states 0, 1 and 2, found others")
        seen = _INFERRED[values[:, 3].astype(np.int64)]
        with np.errstate(over="ignore"):
            keypoints[frame, slot] = np.where(np.isnan(seen)[:, None], np.nan, values[:, :3])
        confidence[frame, slot] = np.nan_to_num(seen)
    return source.clip(
        keypoints,
        joints=find_skeleton("kinect-25"),
        frame_rate=FRAME_RATE,
        confidence=confidence,
        people=list(slots),
    )


def _count(source: Source, words: Iterator[str], what: str, limit: int) -> int:
    word = _take(source, words, 1, what)[0]
    if not re.fullmatch(r"[0-9]{1,9}", word) or int(word) > limit:
        raise source.error(f"{what}: expected a count up to {limit}, found {short(word)}")
    return int(word)


def _take(source: Source, words: Iterator[str], count: int, what: str) -> list[str]:
    taken = [word for _, word in zip(range(count), words)]
    if len(taken) < count:
        raise source.error(
            f"{what}: expected {count} numbers, found the end; the file is cut short"
        )
    return taken


def _floats(source: Source, words: list[str]) -> NDArray[np.float64]:
    try:
        return np.array(list(map(float, words)), dtype=np.float64)
    except ValueError as error:
        raise source.error(f"expected numbers, found {short(str(error), 60)}") from None


def _rows(source: Source, text: str, width: int) -> NDArray[np.float64]:
    """(N, width) of a text of as many numbers a line."""
    lines = [line.split() for line in text.splitlines() if line.strip()]
    for number, words in enumerate(lines, 1):
        if len(words) != width:
            raise source.error(f"row {number}: expected {width} numbers, found {len(words)}")
    return _floats(source, [word for words in lines for word in words]).reshape(-1, width)


def _read_utkinect(source: Source, text: str) -> Clip:
    rows = _rows(source, text, 61)
    if not np.isfinite(rows[:, 0]).all() or np.any(rows[:, 0] % 1) or abs(rows[:, 0]).max() > 1e15:
        raise source.error("expected a whole frame number at the start of every row")
    numbers, at = np.unique(rows[:, 0].astype(np.int64), return_index=True)
    count, index = source.place_frames(numbers.tolist())
    source.check_size(count, 1, 20, 3)
    points = rows[at, 1:].reshape(-1, 20, 3)
    points[(points == 0).all(axis=-1)] = np.nan
    keypoints = np.full((count, 20, 3), np.nan, dtype=np.float32)
    with np.errstate(over="ignore"):
        keypoints[index] = points
    return source.clip(keypoints, joints=find_skeleton("kinect-20"), frame_rate=FRAME_RATE)


def _read_msr(source: Source, text: str) -> Clip:
    rows = _rows(source, text, 4)
    if len(rows) % 20:
        raise source.error(f"expected 20 rows a frame, found {len(rows)} rows; it is cut short")
    values = rows.reshape(-1, 20, 4)
    source.check_size(len(values), 1, 20, 4)
    points = values[..., :3]
    points[(values == 0).all(axis=-1)] = np.nan
    depths = abs(points[..., 2][~np.isnan(points[..., 2])])
    return source.clip(
        points,
        units="mm" if depths.size and np.median(depths) > 50 else "m",
        joints=Skeleton(_MSR_JOINTS),
        frame_rate=FRAME_RATE,
        confidence=np.clip(np.nan_to_num(values[..., 3]), 0, 1),
    )
