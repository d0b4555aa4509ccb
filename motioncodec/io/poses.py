"""Pose JSON: OpenPose and Panoptic frames, in folders or alone, and this project's own file.

*OpenPose*, one file a frame: ``{"people": [{"person_id": [-1], "pose_keypoints_2d": [x, y, c, ...],
"hand_left_keypoints_2d": [...], ...}]}``. Pixels, rows downwards; x = y = c = 0 is a missing joint;
no frame rate, so the caller gives one. Hands and face follow the body where a frame has them, as
``left_hand_0``, ``right_hand_0``, ``face_0`` and on. Body joints go by their number: 25 are BODY_25
or BODY_25B (:func:`_body_25`), 17 COCO, 18 OpenPose's COCO; others are numbered.

*Panoptic* (CMU Panoptic Studio), one file a frame: ``{"bodies": [{"id": 0, "joints19": [x, y, z, c,
...]}]}``. Centimetres, -y up, c < 0 is a missing joint, confidence cut to [0, 1], 29.97 frames/s
unless the caller says otherwise.

*Other detectors* (AlphaPose, MMPose, COCO, PoseTrack, MediaPipe): see
:mod:`motioncodec.io.detections`.

*A folder*, or a tar or zip of one, is one clip, its ``.json`` files ordered by the number in their
names: the last number that differs from file to file. Numbers left out are frames in which
everything is missing.

*One file of many frames*: a list of such frames, or ``{"frames": [...]}``. This is also what is
written: OpenPose frames (``pose_keypoints_2d``, or ``_3d`` with four values a joint) under a header
with ``frame_rate``, ``units``, ``up``, ``skeleton``, ``joints``, ``dims``, ``persons``,
``person_ids`` and ``has_confidence``. There a missing joint is ``null``, so that the origin is a
place like any other, and ``person_id`` is the index of the person.

People keep their place by id where all have one that is unique in its frame, else by position
(:mod:`motioncodec.io.people`).
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path, PurePath
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from motioncodec.clip import Clip
from motioncodec.io.detections import (
    JOINTS_BY_COUNT,
    Detections,
    frame_numbers,
    is_one_image,
    person_id,
    read_image,
    read_many,
)
from motioncodec.io.packed import is_packed, packed_frames
from motioncodec.io.people import Person, follow_ids, follow_positions
from motioncodec.io.source import (
    MAX_BYTES,
    Source,
    decode_text,
    number_list,
    numbered_joints,
    short,
)
from motioncodec.io.tables import number_texts
from motioncodec.skeleton import find_skeleton

PANOPTIC_FRAME_RATE = 29.97
MAX_PEOPLE = 2000

# Parts of an OpenPose person: key without its _2d or _3d, name prefix ("" for the body).
_PARTS = (
    ("pose_keypoints", ""),
    ("hand_left_keypoints", "left_hand"),
    ("hand_right_keypoints", "right_hand"),
    ("face_keypoints", "face"),
)
_BODY_18 = (
    "Nose", "Neck", "RShoulder", "RElbow", "RWrist", "LShoulder", "LElbow", "LWrist", "RHip",
    "RKnee", "RAnkle", "LHip", "LKnee", "LAnkle", "REye", "LEye", "REar", "LEar",
)  # fmt: skip
# Bones as index pairs into the 25 keypoints, to tell the two layouts apart.
_BONES_25 = (
    (0, 1), (1, 2), (2, 3), (3, 4), (1, 5), (5, 6), (6, 7), (1, 8), (8, 9), (9, 10), (10, 11),
    (8, 12), (12, 13), (13, 14), (0, 15), (0, 16), (15, 17), (16, 18), (14, 21), (11, 24),
)  # fmt: skip
_BONES_25B = (
    (0, 1), (0, 2), (1, 3), (2, 4), (0, 17), (17, 18), (17, 5), (17, 6), (5, 7), (7, 9), (6, 8),
    (8, 10), (5, 11), (6, 12), (11, 13), (13, 15), (12, 14), (14, 16), (15, 21), (16, 24),
)  # fmt: skip


@dataclass(frozen=True)
class _Header:
    """What the head of a many-frame file says; ``own`` marks a file that this module wrote."""

    own: bool = False
    dims: int | None = None
    frame_rate: float | None = None
    units: str | None = None
    up: str | None = None
    joints: tuple[str, ...] | None = None
    persons: int = 0
    person_ids: tuple[str, ...] = ()
    has_confidence: bool = True

    @classmethod
    def of(cls, found: Detections) -> _Header:
        """What a detector's document says of its frames."""
        return cls(frame_rate=found.frame_rate, units=found.units, up=found.up, joints=found.joints)


def read_json(source: Source) -> Clip:
    """A clip from frames in a folder or an archive, a single frame or a file of many frames."""
    if source.folder is not None:
        return read_frames(source, _folder_frames(source, source.folder))
    if is_packed(source.opened()):
        return read_frames(source, packed_frames(source))
    document = _parse(source, source.read_bytes())
    if isinstance(document, dict) and document and all(map(_is_people, document.values())):
        # AlphaPose's exports after OpenPose: a frame an image, by its name.
        numbers = frame_numbers(source, list(document))
        frames = [_parse_frame(source, one, f"{key}: ", False) for key, one in document.items()]
        return _assemble(source, frames, numbers, _Header(), panoptic=False)
    if (found := read_many(source, document)) is not None:
        return _assemble(source, found.frames, found.numbers, _Header.of(found), panoptic=False)
    if isinstance(document, dict) and "frames" in document:
        header = _read_header(source, document)
        documents = document["frames"]
    elif document == [] or not is_one_image(document):
        header, documents = _Header(), document if isinstance(document, list) else [document]
    else:
        return read_frames(source, [("", document)])
    if not isinstance(documents, list):
        raise source.error(f"frames: expected a list, found {short(documents)}")
    if not documents and not header.own:
        raise source.error("expected at least one frame, found an empty list")
    people = [
        _parse_frame(source, frame, f"frame {i}: " if len(documents) > 1 else "", header.own)
        for i, frame in enumerate(documents)
    ]
    panoptic = any(map(_is_panoptic, documents))
    return _assemble(source, people, list(range(len(people))), header, panoptic)


def read_frames(source: Source, files: Iterable[tuple[str, Any]]) -> Clip:
    """One clip from files of one frame each, ordered by the number in their names.

    Args:
        source: what messages name and what the caller said.
        files: name and content of each, from wherever: a folder, a tar, a zip. The content is
            the bytes of a file, or a document that was parsed already.
    """
    names: list[str] = []
    frames: list[list[Person]] = []
    header, panoptic, size = _Header(), False, 0
    for name, content in files:
        where = f"{PurePath(name).name}: " if name else ""
        if isinstance(content, bytes):
            size += len(content)
            if size > MAX_BYTES:
                raise source.error(f"expected at most {MAX_BYTES} bytes of frames, found more")
            content = _parse(source, content, where)
        found = read_image(source, content, where)
        panoptic |= _is_panoptic(content)
        if found is not None:
            header = _Header.of(found) if any(p.parts for p in found.frames[0]) else header
        names.append(name)
        frames.append(
            _parse_frame(source, content, where, own=False) if found is None else found.frames[0]
        )
    if not names:
        raise source.error("expected .json frames, found none in it")
    folders = {str(PurePath(name).parent) for name in names}
    if len(folders) > 1:
        raise source.error(
            f"expected the frames of one folder, found {len(folders)}; unpack the archive and give "
            "one of its folders"
        )
    numbered = sorted(zip(frame_numbers(source, names), range(len(names)), strict=True))
    ordered = [frames[i] for _, i in numbered]
    return _assemble(source, ordered, [number for number, _ in numbered], header, panoptic)


def is_frame(data: bytes) -> bool:
    """Whether a JSON file is a single frame of a clip rather than a clip by itself."""
    try:
        document = json.loads(decode_text(data))
    except (ValueError, RecursionError, MemoryError):
        return False
    return _is_people(document) or is_one_image(document)


def _is_people(document: Any) -> bool:
    return (
        isinstance(document, dict)
        and "frames" not in document
        and any(isinstance(document.get(key), list) for key in ("people", "bodies"))
    )


def _is_panoptic(document: Any) -> bool:
    """Whether a frame is Panoptic's: AlphaPose writes bodies too, but flat ones."""
    bodies = document.get("bodies") if isinstance(document, dict) else None
    return isinstance(bodies, list) and not any(
        isinstance(b, dict) and "joints" in b for b in bodies
    )


def _folder_frames(source: Source, folder: Path) -> Iterator[tuple[str, bytes]]:
    files = sorted(path for path in folder.iterdir() if path.suffix.lower() == ".json")
    files = [path for path in files if path.is_file()]
    if sum(path.stat().st_size for path in files) > MAX_BYTES:
        raise source.error(f"expected at most {MAX_BYTES} bytes of frames, found more")
    for path in files:
        yield path.name, path.read_bytes()


def _parse(source: Source, data: bytes, where: str = "") -> Any:
    try:
        return json.loads(decode_text(data))
    except (ValueError, RecursionError, MemoryError) as error:
        found = "an empty file" if not data.strip() else short(str(error), 80)
        raise source.error(
            f"{where}expected JSON, found {found}; the file is damaged or cut short"
        ) from None


def _read_header(source: Source, document: dict[str, Any]) -> _Header:
    def said(key: str, kind: type | tuple[type, ...], default: Any) -> Any:
        value = document.get(key, default)
        if value is not None and (
            not isinstance(value, kind) or isinstance(value, bool) is not (kind is bool)
        ):
            raise source.error(f"{key}: expected another kind of value, found {short(value)}")
        return value

    joints = said("joints", list, None)
    rate = said("frame_rate", (int, float), None)
    persons = said("persons", int, 0)
    dims = said("dims", int, None)
    if dims not in (2, 3, None):
        raise source.error(f"dims: expected 2 or 3, found {short(dims)}")
    if persons is None or not 0 <= persons <= 2**31:
        raise source.error(f"persons: expected a count, found {short(persons)}")
    return _Header(
        own=joints is not None and "persons" in document,
        dims=dims,
        # A whole number of any length may stand there; float() would overflow.
        frame_rate=None if rate is None else float(rate) if abs(rate) <= 1e9 else math.inf,
        units=said("units", str, None),
        up=said("up", str, None),
        joints=None if joints is None else tuple(map(str, joints)),
        persons=persons,
        person_ids=tuple(map(str, said("person_ids", list, []) or [])),
        has_confidence=bool(said("has_confidence", bool, True)),
    )


def _parse_frame(source: Source, frame: Any, where: str, own: bool) -> list[Person]:
    if isinstance(frame, dict):
        if isinstance(frame.get("people"), list):
            return [_openpose_person(source, one, where, own) for one in frame["people"]]
        if isinstance(frame.get("bodies"), list):
            return [_panoptic_person(source, one, where) for one in frame["bodies"]]
    found = f"keys {', '.join(map(str, frame))}" if isinstance(frame, dict) else short(frame)
    raise source.error(
        f"{where}expected a frame with a list of people (OpenPose), bodies (Panoptic), instances "
        "(MMPose), keypoints (AlphaPose, COCO) or landmarks (MediaPipe), found "
        f"{short(found, 60)}"
    )


def _openpose_person(source: Source, person: Any, where: str, own: bool) -> Person:
    if not isinstance(person, dict):
        raise source.error(f"{where}expected a person as an object, found {short(person)}")
    flat = any(person.get(f"{key}_2d") or person.get(key) for key, _ in _PARTS)
    suffix, width = ("_2d", 3) if flat or not person.get("pose_keypoints_3d") else ("_3d", 4)
    out = Person(person_id(person.get("person_id")))
    for key, prefix in _PARTS:
        # OpenPose 1.0 wrote the keys without a suffix.
        numbers = person.get(key + suffix) or (person.get(key) if flat else None)
        if numbers:
            values = number_list(source, numbers, width, f"{where}{key}{suffix}")
            if not own:
                values[(values == 0).all(axis=1)] = np.nan
            out.parts[prefix] = values
    return out


def _panoptic_person(source: Source, body: Any, where: str) -> Person:
    if not isinstance(body, dict):
        raise source.error(f"{where}expected a body as an object, found {short(body)}")
    if "joints" in body:
        # AlphaPose's export after the CMU form: x, y, c in pixels.
        values = number_list(source, body["joints"], 3, f"{where}joints")
        values[(values == 0).all(axis=1)] = np.nan
        return Person(person_id(body.get("id")), {"": values})
    key = next((key for key in body if re.fullmatch(r"joints\d{1,3}", key)), None)
    if key is None:
        raise source.error(
            f"{where}expected joints19 in a body, found {short(', '.join(body), 60)}"
        )
    values = number_list(source, body[key], 4, f"{where}{key}")
    values[values[:, 3] < 0] = np.nan
    return Person(person_id(body.get("id")), {"": values})


def _assemble(
    source: Source,
    frames: list[list[Person]],
    numbers: Sequence[int],
    header: _Header,
    panoptic: bool,
) -> Clip:
    """One clip from the people of each frame and the frames' numbers."""
    crowd = max(map(len, frames), default=0)
    if crowd > MAX_PEOPLE:
        # Following by position compares all with all.
        raise source.error(f"expected at most {MAX_PEOPLE} people in a frame, found {crowd}")
    widths = {part.shape[1] for people in frames for one in people for part in one.parts.values()}
    if len(widths) > 1:
        raise source.error("expected all frames in 2D or all in 3D, found both")
    dims = widths.pop() - 1 if widths else header.dims or (3 if panoptic else 2)
    counts = _counts(source, frames)
    if not any(counts.values()):
        counts[""] = len(header.joints or ()) or (19 if panoptic else 25)
    total = sum(counts.values())
    tracks, persons, ids = _follow(source, frames, header)
    count, index = source.place_frames(numbers)
    source.check_size(count, persons, total, dims + 1)
    values = np.full((count, persons, total, dims + 1), np.nan, dtype=np.float32)
    with np.errstate(over="ignore"):
        for frame, people, slots in zip(index.tolist(), frames, tracks, strict=True):
            for one, slot in zip(people, slots, strict=True):
                if slot >= 0:
                    values[frame, slot] = _joined(one, counts, dims)
    keypoints = values[..., :dims]
    confidence = np.nan_to_num(values[..., dims], nan=0.0, posinf=1.0)
    confidence = np.clip(np.where(np.isnan(keypoints).any(axis=-1), 0, confidence), 0, 1)
    joints = header.joints
    if joints is None:
        joints = _names(source, counts, keypoints, panoptic)
    elif len(joints) != total:
        raise source.error(f"joints: expected {total} names as in the frames, found {len(joints)}")
    whole = source
    if source.skeleton is not None and total > counts[""]:
        # --skeleton names the body; hands and face keep their own names.
        whole = replace(source, skeleton=None)
    rate = header.frame_rate
    if rate is None and panoptic:
        rate = PANOPTIC_FRAME_RATE
    return whole.clip(
        keypoints,
        joints=joints,
        frame_rate=rate,
        confidence=confidence if header.has_confidence else None,
        units=header.units or ("cm" if panoptic else "px" if dims == 2 else "m"),
        up=header.up or ("-y" if panoptic or dims == 2 else None),
        people=ids,
    )


def _counts(source: Source, frames: list[list[Person]]) -> dict[str, int]:
    """How many keypoints each part has, the same wherever it is there."""
    counts = {prefix: 0 for _, prefix in _PARTS}
    for number, people in enumerate(frames):
        for one in people:
            for prefix, values in one.parts.items():
                if counts[prefix] not in (0, len(values)):
                    raise source.error(
                        f"expected {counts[prefix]} {prefix or 'body'} keypoints in every frame, "
                        f"found {len(values)} in frame {number}; keep one model's output a folder"
                    )
                counts[prefix] = len(values)
    return counts


def _joined(one: Person, counts: dict[str, int], dims: int) -> NDArray[np.float64]:
    """(K, D + 1): body, hands and face of one person, NaN for a part that is not there."""
    absent = np.full((sum(counts.values()), dims + 1), np.nan)
    return np.concatenate(
        [one.parts.get(prefix, absent[:count]) for prefix, count in counts.items()]
    )


def _follow(
    source: Source, frames: list[list[Person]], header: _Header
) -> tuple[list[list[int]], int, Sequence[str]]:
    """Slot of each person of each frame (-1: nothing seen), number of slots, their ids."""
    by_id = follow_ids([[one.id for one in people] for people in frames])
    if header.own:
        slots = [[-1 if one.id is None else one.id for one in people] for people in frames]
        if by_id is None or any(not 0 <= slot < header.persons for row in slots for slot in row):
            raise source.error(f"expected person_id from 0 to {header.persons - 1}, found another")
        return slots, header.persons, header.person_ids
    if by_id is not None:
        return by_id[0], len(by_id[1]), [str(number) for number in by_id[1]]
    with np.errstate(over="ignore", invalid="ignore"):
        slots, count = follow_positions([[_seen_points(one) for one in row] for row in frames])
    return slots, count, ()


def _seen_points(one: Person) -> NDArray[np.float64]:
    """(K, D) of the first part, body before hands before face, of which something is seen."""
    for values in one.parts.values():
        if not np.isnan(values).any(axis=1).all():
            return values[:, :-1]
    return np.empty((0, 2))


def _names(
    source: Source, counts: dict[str, int], keypoints: NDArray[np.float32], panoptic: bool
) -> tuple[str, ...]:
    body = counts[""]
    if source.skeleton is not None and body and sum(counts.values()) > body:
        named = source.names_for(body)
        names = named.joints if named else ()
    elif panoptic:
        names = find_skeleton("panoptic-19").joints if body == 19 else numbered_joints(body)
    elif body == 25:
        names = find_skeleton(_body_25(keypoints)).joints
    elif body in JOINTS_BY_COUNT:
        names = JOINTS_BY_COUNT[body]
    elif body == 18:
        names = _BODY_18
    else:
        names = numbered_joints(body)
    for prefix, count in counts.items():
        if prefix:
            names += numbered_joints(count, prefix)
    return names


def _body_25(keypoints: NDArray[np.float32]) -> str:
    """``body-25`` or ``body-25b``: the layout under which the bones are shorter on average.

    The same 25 places hold different joints in the two. Read as the wrong one, a "bone" runs from
    an ear to an ankle. Where no bone is seen under either, BODY_25, OpenPose's default, is taken.
    """

    def mean_bone(bones: Sequence[tuple[int, int]]) -> float:
        ends = np.array(bones)
        apart = keypoints[..., ends[:, 0], :] - keypoints[..., ends[:, 1], :]
        lengths = np.linalg.norm(apart.astype(np.float64), axis=-1)
        lengths = lengths[np.isfinite(lengths)]
        return float(lengths.mean()) if lengths.size else math.inf

    return "body-25b" if mean_bone(_BONES_25B) < mean_bone(_BONES_25) else "body-25"


def write_json(clip: Clip, stream: BinaryIO) -> None:
    """One file: a header and a list of OpenPose frames, as the module's text describes."""
    header: dict[str, Any] = {
        "frame_rate": clip.frame_rate,
        "units": clip.units,
        "up": clip.up,
        "skeleton": clip.skeleton.name,
        "joints": clip.skeleton.joints,
        "dims": clip.dims,
        "persons": clip.persons,
        "person_ids": clip.people,
        "has_confidence": clip.confidence is not None,
    }
    stream.write((json.dumps(header)[:-1] + ', "frames": [').encode())
    for number, frame in enumerate(_frame_texts(clip)):
        stream.write((",\n" if number else "\n").encode() + frame.encode())
    stream.write(b"\n]}\n")


def _frame_texts(clip: Clip) -> Iterator[str]:
    key = f"pose_keypoints_{clip.dims}d"
    for frame in range(clip.frames):
        keypoints = clip.keypoints[frame]
        seen = ~np.isnan(keypoints[..., 0])
        confidence = seen.astype(np.float32) if clip.confidence is None else clip.confidence[frame]
        values = np.concatenate([keypoints, confidence[..., None]], axis=-1)
        texts = number_texts(values[None], missing="null")[0]
        people = [
            f'{{"person_id": [{person}], "{key}": [{", ".join(chain(*joints))}]}}'
            for person, joints in enumerate(texts)
            if seen[person].any()
        ]
        yield f'{{"people": [{", ".join(people)}]}}'
