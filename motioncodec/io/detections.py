"""JSON of pose detectors: AlphaPose, MMPose, COCO, PoseTrack, MediaPipe; read only.

What each looks like, told apart by structure:

- *Results* (COCO, AlphaPose): ``[{"image_id": 12 or "frame_000012.png", "keypoints": [x, y, c,
  ...], "score": 2.9, "idx": 1}, ...]``, a detection an entry. AlphaPose's exports after OpenPose
  are objects of frames by image name: ``{"12.jpg": {"people" or "bodies": [...]}, ...}``.
- *Annotations* (COCO, PoseTrack): ``{"images": [...], "annotations": [{"image_id", "keypoints": [x,
  y, v, ...], "track_id"}], "categories": [{"keypoints": [names]}]}``; v = 0 is a missing joint, and
  confidence is v over the largest v of the file.
- *MMPose*: ``{"meta_info": {...}, "instance_info": [{"frame_id": 1, "instances": [{"keypoints":
  [[x, y], ...], "keypoint_scores": [...], "track_id": 0}]}]}``, or a list of instances an image.
  Three numbers a joint are 3D, with z up as MMPose turns them.
- *MediaPipe*, as people dump it: frames of ``"pose_landmarks": [{"x", "y", "z", "visibility"},
  ...]``, or ``"landmarks"``. x and y are fractions of the picture and are turned into pixels where
  the file says its ``width`` and ``height``. Where it does not they stay as they are and are called
  metres: a millimetre is then a thousandth of the picture. The guessed depth z is left out.
  ``pose_world_landmarks``, read where there is nothing else, are 3D in metres, -y up.

Images are ordered by the number in their names, as files in a folder are, or by their numeric id;
numbers left out are frames in which nobody is seen. x = y = c = 0 is a missing joint; a confidence
outside 0 to 1 (AlphaPose's may be above) is cut to it. Joints are named by the file where it does,
else by their number: 17 COCO, 26 Halpe, 133 COCO-WholeBody, 136 Halpe-FullBody.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import PurePath
from typing import Any

import numpy as np

from motioncodec.io.people import Person
from motioncodec.io.source import Source, number_list, numbered_joints, short
from motioncodec.skeleton import find_skeleton

_FEET = (
    "left_big_toe", "left_small_toe", "left_heel", "right_big_toe", "right_small_toe", "right_heel",
)  # fmt: skip
_HALPE = (
    *find_skeleton("coco-17").joints, "head_top", "neck", "pelvis", "left_big_toe",
    "right_big_toe", "left_small_toe", "right_small_toe", "left_heel", "right_heel",
)  # fmt: skip
_FACE_AND_HANDS = (
    *numbered_joints(68, "face"), *numbered_joints(21, "left_hand"),
    *numbered_joints(21, "right_hand"),
)  # fmt: skip
JOINTS_BY_COUNT: dict[int, tuple[str, ...]] = {
    17: find_skeleton("coco-17").joints,
    26: _HALPE,
    33: find_skeleton("mediapipe-33").joints,
    133: (*find_skeleton("coco-17").joints, *_FEET, *_FACE_AND_HANDS),
    136: (*_HALPE, *_FACE_AND_HANDS),
}
"""What detectors call the joints of so many."""

# PoseTrack's name for where the neck meets the head.
_RENAMED = {"head_bottom": "neck"}
_TRACKS = ("track_id", "idx", "person_id", "track", "instance_id")
_LANDMARKS = ("pose_landmarks", "landmarks", "pose_world_landmarks")


@dataclass
class Detections:
    """What a document tells: the people of each frame, and the frames' numbers.

    Attributes:
        frames: the people of each frame; each has one part, the body.
        numbers: of the frames, in any order.
        joints: names, or None.
        frame_rate: frames per second, or None.
        units: of the coordinates, or None for what is usual.
        up: axis that points up, or None for what is usual.
    """

    frames: list[list[Person]]
    numbers: list[int] = field(default_factory=list)
    joints: tuple[str, ...] | None = None
    frame_rate: float | None = None
    units: str | None = None
    up: str | None = None


def frame_numbers(source: Source, names: Sequence[str]) -> list[int]:
    """The number in each name: the last group of digits that tells all the names apart."""
    groups = [re.findall(r"\d{1,18}", PurePath(name).stem) for name in names]
    for back in range(1, min(map(len, groups), default=0) + 1):
        numbers = [int(group[-back]) for group in groups]
        if len(set(numbers)) == len(numbers):
            return numbers
    if len(names) == 1:
        return [0]
    raise source.error(
        "expected a different frame number in every file name, found "
        f"{short(PurePath(names[0]).name)} and {short(PurePath(names[-1]).name)}; rename them"
    )


def person_id(value: Any) -> int | None:
    """A person's id from ``3``, ``3.0``, ``[3]`` or ``"3"``; None where there is none."""
    for _ in range(2):
        if isinstance(value, list):
            value = value[0] if len(value) == 1 else None
    if isinstance(value, str) and re.fullmatch(r"\d{1,18}", value):
        return int(value)
    if isinstance(value, float) and value.is_integer() and abs(value) < 2**53:
        return int(value)
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def is_one_image(document: Any) -> bool:
    """Whether a document holds a single frame of a clip: what detectors write an image."""
    if isinstance(document, dict):
        if isinstance(document.get("instance_info"), list):
            return not any(map(_has_instances, document["instance_info"]))
        return any(isinstance(document.get(key), list) for key in (*_LANDMARKS, "instances"))
    if not isinstance(document, list) or not all(isinstance(one, dict) for one in document):
        return False
    ids = {str(one.get("image_id")) for one in document}
    return all("keypoints" in one for one in document) and len(ids) <= 1


def read_image(source: Source, document: Any, where: str) -> Detections | None:
    """One frame, or None where the document is none that a detector writes."""
    if not is_one_image(document):
        return None
    if isinstance(document, dict) and any(key in document for key in _LANDMARKS):
        return _landmarks(source, [document], document, where)
    meta = document.get("meta_info") if isinstance(document, dict) else None
    people = document
    if isinstance(document, dict):
        people = document.get("instance_info", document.get("instances"))
    return _named(source, Detections([_people(source, people, where)], [0]), meta)


def read_many(source: Source, document: Any) -> Detections | None:
    """A document of many frames, or None where it is none that a detector writes."""
    if isinstance(document, dict):
        if isinstance(document.get("annotations"), list):
            return _annotations(source, document)
        if any(map(_has_instances, _list(document.get("instance_info")))):
            return _instances(source, document["instance_info"], document.get("meta_info"))
        if isinstance(frames := document.get("frames"), list) and any(map(_has_landmarks, frames)):
            return _landmarks(source, frames, document, "")
        return None
    if not isinstance(document, list) or not document:
        return None
    if all(isinstance(one, dict) and "image_id" in one and "keypoints" in one for one in document):
        return _results(source, document)
    if all(map(_has_instances, document)):
        return _instances(source, document, None)
    if any(map(_has_landmarks, document)):
        return _landmarks(source, document, {}, "")
    if all(isinstance(one, list) for one in document) and any(document):
        frames = [_people(source, one, f"frame {i}: ") for i, one in enumerate(document)]
        return _named(source, Detections(frames, list(range(len(frames)))), None)
    return None


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _has_instances(value: Any) -> bool:
    return isinstance(value, dict) and isinstance(value.get("instances"), list)


def _has_landmarks(value: Any) -> bool:
    return isinstance(value, dict) and any(key in value for key in _LANDMARKS)


def _people(source: Source, people: Any, where: str) -> list[Person]:
    if not isinstance(people, list):
        raise source.error(f"{where}expected a list of people, found {short(people)}")
    return [_person(source, one, where) for one in people]


def _person(source: Source, one: Any, where: str) -> Person:
    """A person of ``keypoints``, flat [x, y, c, ...] or nested [[x, y], ...] beside scores."""
    if not isinstance(one, dict) or "keypoints" not in one:
        raise source.error(f"{where}expected a person with keypoints, found {short(one)}")
    out = Person(next((n for key in _TRACKS if (n := person_id(one.get(key))) is not None), None))
    points, scores = one["keypoints"], one.get("keypoint_scores")
    if not points:
        return out
    what = f"{where}keypoints"
    if isinstance(points, list) and isinstance(points[0], list):
        width = len(points[0])
        if width not in (2, 3) or not all(isinstance(p, list) and len(p) == width for p in points):
            raise source.error(f"{what}: expected 2 or 3 numbers a joint, found {short(points[0])}")
        values = number_list(source, [v for point in points for v in point], width, what)
        if scores is not None or width == 2:
            given = [1.0] * len(points) if scores is None else scores
            beside = number_list(source, given, 1, f"{where}keypoint_scores")
            if len(beside) != len(values):
                raise source.error(
                    f"{where}keypoint_scores: expected {len(values)}, found {len(beside)}"
                )
            values = np.concatenate([values, beside], axis=1)
    else:
        values = number_list(source, points, 3, what)
    values[(values == 0).all(axis=1)] = np.nan
    out.parts[""] = values
    return out


def _named(source: Source, found: Detections, meta: Any) -> Detections:
    """Names as MMPose's ``meta_info`` gives them, and its up axis in 3D."""
    counts = {len(values) for one in found.frames for p in one for values in p.parts.values()}
    names = meta.get("keypoint_id2name") if isinstance(meta, dict) else None
    if isinstance(names, dict) and len(counts) == 1 and len(names) == max(counts):
        listed = [names.get(str(i)) for i in range(len(names))]
        if all(isinstance(name, str) and name for name in listed):
            found.joints = tuple(_RENAMED.get(str(name), str(name)) for name in listed)
    widths = {v.shape[1] for one in found.frames for p in one for v in p.parts.values()}
    found.up = "z" if widths == {4} else None
    return found


def _grouped(
    source: Source, entries: Sequence[Any], number_of: Callable[[Any], int], numbers: Sequence[int]
) -> Detections:
    people: dict[int, list[Person]] = {number: [] for number in numbers}
    for entry in entries:
        number = number_of(entry)
        people.setdefault(number, []).append(_person(source, entry, f"image {number}: "))
    return Detections(list(people.values()), list(people))


def _image_numbers(source: Source, ids: Sequence[Any]) -> dict[Any, int]:
    """Frame number of each image id, of which each is a whole number or a file's name."""
    distinct = list(dict.fromkeys(_image_id(source, one) for one in ids))
    if all(isinstance(one, int) for one in distinct):
        return {one: int(one) for one in distinct}
    return dict(zip(distinct, frame_numbers(source, [str(one) for one in distinct]), strict=True))


def _image_id(source: Source, value: Any) -> int | str:
    if isinstance(value, str) or (isinstance(value, int) and not isinstance(value, bool)):
        return value
    raise source.error(f"image_id: expected a number or a file's name, found {short(value)}")


def _results(source: Source, entries: list[Any]) -> Detections:
    numbers = _image_numbers(source, [one["image_id"] for one in entries])
    return _grouped(source, entries, lambda one: numbers[one["image_id"]], [])


def _annotations(source: Source, document: dict[str, Any]) -> Detections:
    entries = [
        one for one in document["annotations"] if isinstance(one, dict) and "keypoints" in one
    ]
    if not entries:
        raise source.error("expected annotations with keypoints, found none; export keypoints")
    images = [one for one in _list(document.get("images")) if isinstance(one, dict)]
    ids = [_image_id(source, one.get("id")) for one in images]
    if images and all(type(one.get("frame_id")) is int for one in images):
        numbers = {i: int(one["frame_id"]) for i, one in zip(ids, images, strict=True)}
    elif images and all(isinstance(one.get("file_name"), str) for one in images):
        in_names = frame_numbers(source, [one["file_name"] for one in images])
        numbers = dict(zip(ids, in_names, strict=True))
    else:
        numbers = _image_numbers(source, ids or [one.get("image_id") for one in entries])
    for one in entries:
        if _image_id(source, one.get("image_id")) not in numbers:
            raise source.error(
                f"image_id: expected one of the images, found {short(one['image_id'])}"
            )
    found = _grouped(source, entries, lambda one: numbers[one["image_id"]], list(numbers.values()))
    values = [part for people in found.frames for one in people for part in one.parts.values()]
    largest = max((float(np.nanmax(part[:, 2], initial=0)) for part in values), default=0)
    for part in values:
        part[~(part[:, 2] > 0)] = np.nan
        with np.errstate(invalid="ignore"):
            part[:, 2] /= largest or 1
    counts = {len(part) for part in values}
    for category in _list(document.get("categories")):
        names = category.get("keypoints") if isinstance(category, dict) else None
        if isinstance(names, list) and {len(names)} == counts:
            found.joints = tuple(_RENAMED.get(str(name), str(name)) for name in names)
            break
    return found


def _instances(source: Source, images: list[Any], meta: Any) -> Detections:
    images = [one for one in images if _has_instances(one)]
    ids = [person_id(one.get("frame_id")) for one in images]
    known = [number for number in ids if number is not None]
    numbers = known if len(set(known)) == len(images) else list(range(len(images)))
    frames = [
        _people(source, one["instances"], f"frame {number}: ")
        for number, one in zip(numbers, images, strict=True)
    ]
    return _named(source, Detections(frames, numbers), meta)


def _landmarks(source: Source, frames: list[Any], head: dict[str, Any], where: str) -> Detections:
    """MediaPipe's frames: fractions of the picture made pixels where its size is known."""
    key = next((k for k in _LANDMARKS if any(isinstance(f, dict) and f.get(k) for f in frames)), "")
    world = key == "pose_world_landmarks"
    width, height, rate = (
        _first_number(head, keys)
        for keys in (("width", "image_width"), ("height", "image_height"), ("fps", "frame_rate"))
    )
    pixels = not world and width is not None and height is not None
    scale = (width or 1.0, height or 1.0) if pixels else (1.0, 1.0)
    out = []
    for frame in frames:
        listed = frame.get(key) if isinstance(frame, dict) else None
        if isinstance(listed, dict):
            # As protocol buffers are printed in JSON.
            listed = listed.get("landmark")
        people = listed if isinstance(listed, list) and isinstance(listed[:1], list) else []
        if people and isinstance(people[0], dict):
            people = [people]
        out.append([_landmark_person(source, one, world, scale, where) for one in people])
    return Detections(
        out,
        list(range(len(out))),
        frame_rate=rate,
        units="px" if pixels else "m",
        up="-y",
    )


def _first_number(head: dict[str, Any], keys: Sequence[str]) -> float | None:
    """What is said under one of the keys, where that is a number above 0."""
    for key in keys:
        value = head.get(key)
        if isinstance(value, (int, float)) and 0 < value <= 1e9:
            return float(value)
    return None


def _landmark_person(
    source: Source, points: Any, world: bool, scale: tuple[float, float], where: str
) -> Person:
    if not isinstance(points, list) or not all(isinstance(point, dict) for point in points):
        raise source.error(f"{where}expected landmarks with x and y, found {short(points)}")
    axes = ("x", "y", "z") if world else ("x", "y")
    flat = [point.get(axis) for point in points for axis in axes]
    values = number_list(source, flat, len(axes), f"{where}landmarks")
    seen = number_list(
        source, [point.get("visibility", 1.0) for point in points], 1, f"{where}visibility"
    )
    if not world:
        values *= np.array(scale)
    seen[np.isnan(seen)] = 1
    return Person(None, {"": np.concatenate([values, seen], axis=1)} if len(points) else {})
