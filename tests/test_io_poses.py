"""Pose JSON: OpenPose and Panoptic frames, folders of them, and the people in them."""

from __future__ import annotations

import io
import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from motioncodec.clip import Clip
from motioncodec.errors import FormatError
from motioncodec.io import read_clip, write_clip
from motioncodec.skeleton import Skeleton, find_skeleton

OPENPOSE = Path(__file__).parent / "data/openpose"
# A standing figure: (x, y) in pixels by joint name, rows downwards.
FIGURE = {
    "Nose": (100, 60), "Neck": (100, 90), "RShoulder": (80, 90), "RElbow": (75, 130),
    "RWrist": (72, 165), "LShoulder": (120, 90), "LElbow": (125, 130), "LWrist": (128, 165),
    "MidHip": (100, 180), "RHip": (88, 180), "RKnee": (86, 240), "RAnkle": (85, 300),
    "LHip": (112, 180), "LKnee": (114, 240), "LAnkle": (115, 300), "REye": (96, 55),
    "LEye": (104, 55), "REar": (90, 58), "LEar": (110, 58), "LBigToe": (120, 315),
    "LSmallToe": (125, 313), "LHeel": (112, 306), "RBigToe": (80, 315), "RSmallToe": (75, 313),
    "RHeel": (88, 306), "UpperNeck": (100, 85), "HeadTop": (100, 35),
}  # fmt: skip


def person(x: float = 0, count: int = 3, number: Any = -1, **more: Any) -> dict[str, Any]:
    """A person of ``count`` joints in a column at ``x``."""
    flat = [value for i in range(count) for value in (x + 1, 10.0 * i + 1, 0.5)]
    return {"person_id": [number], "pose_keypoints_2d": flat, **more}


def folder(tmp_path: Path, frames: dict[str, Any]) -> Path:
    for name, frame in frames.items():
        text = frame if isinstance(frame, str) else json.dumps(frame)
        (tmp_path / name).write_text(text)
    return tmp_path


def read(document: Any, **given: Any) -> Clip:
    return read_clip(json.dumps(document).encode(), **{"frame_rate": 30, **given})


def test_a_real_folder() -> None:
    clip = read_clip(OPENPOSE, frame_rate=60)
    assert clip.keypoints.shape == (20, 2, 25, 2)
    assert clip.skeleton is find_skeleton("body-25b")
    assert (clip.units, clip.up, clip.frame_rate, clip.people) == ("px", "-y", 60, ())
    assert clip.confidence is not None
    assert clip.keypoints[0, 0, 0].tolist() == np.array([505.232, 431.63], np.float32).tolist()
    assert clip.confidence[0, 0, 0] == np.float32(0.664216)
    # The second person's right shoulder is written as 0, 0, 0 in the first frame.
    assert np.flatnonzero(clip.missing[0, 1]).tolist() == [6, 12, 24]
    assert np.nanmax(np.abs(np.diff(clip.keypoints[:, :, 5], axis=0))) < 60
    with pytest.raises(FormatError, match="--fps"):
        read_clip(OPENPOSE)
    assert read_clip(OPENPOSE, frame_rate=60, skeleton="body-25").skeleton.name == "body-25"


def test_one_file_of_a_folder_is_one_frame() -> None:
    assert read_clip(OPENPOSE / "cam01.0007.json", frame_rate=60).frames == 1


@pytest.mark.parametrize("name", ["body-25", "body-25b"])
@pytest.mark.parametrize("hidden", ["", "Knee Ankle Toe Heel", "Eye Ear Nose Head Neck"])
def test_the_two_layouts_of_25_are_told_apart(name: str, hidden: str) -> None:
    flat: list[float] = []
    for joint in find_skeleton(name).joints:
        unseen = any(part in joint for part in hidden.split())
        flat += [0, 0, 0] if unseen else [*FIGURE[joint], 0.9]
    clip = read({"people": [{"pose_keypoints_2d": flat}]})
    assert clip.skeleton.name == name


@pytest.mark.parametrize(("count", "first"), [(17, "nose"), (18, "Nose"), (21, "joint_0")])
def test_joints_go_by_their_number(count: int, first: str) -> None:
    assert read({"people": [person(0, count)]}).skeleton.joints[0] == first


def test_hands_and_face_follow_the_body() -> None:
    bare, full = person(0, 17), person(0, 17)
    full["hand_left_keypoints_2d"] = [5, 6, 0.5] * 21
    full["face_keypoints_2d"] = [7, 8, 0.5] * 70
    clip = read([{"people": [bare]}, {"people": [full]}], skeleton="coco-17")
    assert clip.keypoints.shape == (2, 1, 17 + 21 + 70, 2)
    assert clip.skeleton.joints[15:18] == ("left_ankle", "right_ankle", "left_hand_0")
    assert clip.skeleton.joints[-1] == "face_69"
    assert clip.missing[0, 0, 17:].all() and not clip.missing[1].any()


def test_people_who_change_order_keep_their_place() -> None:
    frames = [
        {"people": [person(0), person(500)]},
        {"people": [person(505), person(4)]},
        {"people": [person(510)]},
        {"people": []},
        {"people": [person(12), person(900), person(515)]},
    ]
    clip = read(frames)
    places = clip.keypoints[:, :, 0, 0]
    assert places.shape == (5, 3)
    np.testing.assert_array_equal(places[:, 0], [1, 5, np.nan, np.nan, 13])
    np.testing.assert_array_equal(places[:, 1], [501, 506, 511, np.nan, 516])
    np.testing.assert_array_equal(places[:, 2], [np.nan] * 4 + [901])


def test_ids_go_before_nearness() -> None:
    clip = read([{"people": [person(0, number=7), person(9, number=3)]},
                 {"people": [person(0, number=3), person(9, number=7)]}])  # fmt: skip
    assert clip.people == ("7", "3")
    assert clip.keypoints[:, :, 0, 0].tolist() == [[1, 10], [10, 1]]


def test_zero_people() -> None:
    empty = read([{"people": []}, {"people": []}])
    assert empty.keypoints.shape == (2, 0, 25, 2)
    assert read({"bodies": []}).keypoints.shape == (1, 0, 19, 3)
    unseen = read({"people": [{"pose_keypoints_2d": [0] * 75}]})
    assert unseen.frames == 1 and unseen.missing.all()


def test_frames_are_ordered_by_number_and_gaps_filled(tmp_path: Path) -> None:
    frames = {f"cam2_{n}_keypoints.json": {"people": [person(n)]} for n in (8, 9, 10, 13)}
    clip = read_clip(folder(tmp_path, {**frames, "notes.txt": "no frame"}), frame_rate=30)
    assert clip.frames == 6
    np.testing.assert_array_equal(clip.keypoints[:, 0, 0, 0], [9, 10, 11, np.nan, np.nan, 14])


def test_the_number_is_the_last_that_differs(tmp_path: Path) -> None:
    frames = {f"take{n}_v2.json": {"people": [person(n)]} for n in (3, 4, 5)}
    clip = read_clip(folder(tmp_path, frames), frame_rate=30)
    assert clip.keypoints[:, 0, 0, 0].tolist() == [4, 5, 6]


@pytest.mark.parametrize(
    ("frames", "message"),
    [
        ({"a1.json": "{", "a2.json": "{}"}, "a1.json: expected JSON"),
        ({"a1.json": ""}, "found an empty file"),
        ({"a.json": {"people": []}, "b.json": {"people": []}}, "different frame number"),
        ({"1.json": {"people": []}, "9999999.json": {"people": []}}, "great gaps"),
        ({"1.json": {"intrinsics": 3}}, "1.json: expected a frame with a list of people"),
        ({"1.json": {"people": [person(0, 3)]}, "2.json": {"people": [person(0, 4)]}}, "found 4"),
        ({"1.json": {"people": [{"pose_keypoints_2d": [1, 2]}]}}, "3 numbers a joint, found 2"),
        ({"1.json": {"people": [{"pose_keypoints_2d": [1, 2, "x"]}]}}, "found something else"),
        ({"1.json": {"people": [{"pose_keypoints_2d": 7}]}}, "found 7"),
        ({"1.json": {"people": [3]}}, "expected a person"),
        ({"1.json": {"bodies": [{"id": 0}]}}, "expected joints19"),
        (
            {"1.json": {"people": [person()]}, "2.json": {"bodies": [{"joints19": [0] * 76}]}},
            "found both",
        ),
    ],
)
def test_folders_that_are_no_clip(tmp_path: Path, frames: dict[str, Any], message: str) -> None:
    with pytest.raises(FormatError) as caught:
        read_clip(folder(tmp_path, frames), frame_rate=30)
    assert message in str(caught.value)
    assert str(caught.value).startswith(str(tmp_path))


def panoptic(x: float, number: int, confidence: float = 0.5) -> dict[str, Any]:
    flat = [value for i in range(19) for value in (x, -10.0 * i, 3.0, confidence)]
    return {"id": number, "joints19": flat}


def test_panoptic(tmp_path: Path) -> None:
    first, second = panoptic(5, 2), panoptic(90, 0, 1.5)
    first["joints19"][3] = -1
    frames = {
        "body3DScene_00000100.json": {"version": 0.7, "univTime": 1.5, "bodies": [first, second]},
        "body3DScene_00000102.json": {"version": 0.7, "univTime": 1.6, "bodies": [second]},
    }
    clip = read_clip(folder(tmp_path, frames))
    assert clip.keypoints.shape == (3, 2, 19, 3)
    assert clip.skeleton is find_skeleton("panoptic-19")
    assert (clip.units, clip.up, clip.frame_rate, clip.people) == ("cm", "-y", 29.97, ("2", "0"))
    assert clip.missing[0, 0].tolist() == [True] + [False] * 18
    assert clip.missing[1].all() and clip.missing[2, 0].all()
    assert clip.confidence is not None and clip.confidence[0, 1, 0] == 1
    assert read_clip(tmp_path, frame_rate=30, units="m", up="y").units == "m"


def test_nulls_and_old_keys_and_marks() -> None:
    text = json.dumps({"people": [{"pose_keypoints": [1, 2, 0.5, None, 2, 0.5]}]})
    clip = read_clip(b"\xef\xbb\xbf" + text.replace(",", ",\r\n").encode(), frame_rate=30)
    assert clip.missing[0, 0].tolist() == [False, True]
    # NaN is no JSON, but Python writes it.
    assert read_clip(text.replace("2,", "NaN,").encode(), frame_rate=30).missing.all()


def test_3d_openpose() -> None:
    clip = read({"people": [{"pose_keypoints_2d": [], "pose_keypoints_3d": [1, 2, 3, 0.5] * 25}]})
    assert (clip.dims, clip.units, clip.up) == (3, "m", "y")


def test_what_is_written() -> None:
    keypoints = np.array([[[[0, 0]], [[np.nan, np.nan]]]], np.float32)
    clip = Clip(keypoints, 30, Skeleton(("a",)), units="px", up="-y", people=("x", "y"))
    stream = io.BytesIO()
    write_clip(clip, stream, format="json")
    assert json.loads(stream.getvalue()) == {
        "frame_rate": 30, "units": "px", "up": "-y", "skeleton": "custom", "joints": ["a"],
        "dims": 2, "persons": 2, "person_ids": ["x", "y"], "has_confidence": False,
        "frames": [{"people": [{"person_id": [0], "pose_keypoints_2d": [0, 0, 1]}]}],
    }  # fmt: skip
    back = read_clip(stream.getvalue())
    assert back.missing.tolist() == [[[False], [True]]]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"persons": 1}, "person_id from 0 to 0"),
        ({"persons": -1}, "expected a count"),
        ({"persons": 2**31}, "coordinates"),
        ({"dims": 7}, "expected 2 or 3"),
        ({"joints": ["a", "b"]}, "expected 1 names"),
        ({"frame_rate": "fast"}, "found 'fast'"),
        ({"frame_rate": 10**400}, "frame rate"),
        ({"frames": 3}, "expected a list"),
        ({"units": 3}, "units"),
    ],
)
def test_our_own_file_is_not_trusted(changes: dict[str, Any], message: str) -> None:
    clip = Clip(np.zeros((1, 2, 1, 2)), 30, Skeleton(("a",)), units="px")
    stream = io.BytesIO()
    write_clip(clip, stream, format="json")
    document = {**json.loads(stream.getvalue()), **changes}
    with pytest.raises(FormatError, match=message):
        read_clip(json.dumps(document).encode())


def test_folders_round_trip_through_every_format(tmp_path: Path) -> None:
    shutil.copytree(OPENPOSE, tmp_path / "frames")
    clip = read_clip(tmp_path / "frames", frame_rate=60)
    for name in ("npz", "csv", "json"):
        write_clip(clip, tmp_path / f"clip.{name}")
        back = read_clip(tmp_path / f"clip.{name}")
        assert back.keypoints.tobytes() == clip.keypoints.tobytes()
        assert back.skeleton is clip.skeleton
