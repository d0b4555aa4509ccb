"""JSON of detectors, frames in archives, gzip: AlphaPose, MMPose, COCO, PoseTrack, MediaPipe."""

from __future__ import annotations

import gzip
import io
import json
import tarfile
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import motioncodec.io.packed as packed
from motioncodec.errors import FormatError, MotionCodecError
from motioncodec.io import read_clip
from motioncodec.io.poses import is_frame, read_frames
from motioncodec.io.source import Source
from motioncodec.skeleton import CANONICAL, find_skeleton

DATA = Path(__file__).parent / "data"


def read(document: Any, **given: Any) -> Any:
    return read_clip(json.dumps(document).encode(), **{"frame_rate": 30, **given})


def flat(x: float, count: int = 17, confidence: float = 0.5) -> list[float]:
    return [value for i in range(count) for value in (x + 1, 10.0 * i + 1, confidence)]


def result(image: Any, x: float = 0, count: int = 17, **more: Any) -> dict[str, Any]:
    return {
        "image_id": image, "category_id": 1, "keypoints": flat(x, count), "score": 2.9, **more
    }  # fmt: skip


def instance(x: float = 0, dims: int = 2, **more: Any) -> dict[str, Any]:
    points = [[x + 1, 10.0 * i + 1, 7.0][:dims] for i in range(17)]
    return {"keypoints": points, "keypoint_scores": [0.5] * 17, **more}


@pytest.mark.parametrize("ids", [["0.jpg", "1.jpg", "3.jpg"], [0, 1, 3], ["v2_f_008.png",
                         "v2_f_009.png", "v2_f_011.png"]])  # fmt: skip
def test_results_by_image(ids: list[Any]) -> None:
    clip = read([result(ids[2], 30), result(ids[0]), result(ids[1], 10)])
    assert clip.keypoints.shape == (4, 1, 17, 2)
    assert clip.skeleton is find_skeleton("coco-17")
    np.testing.assert_array_equal(clip.keypoints[:, 0, 0, 0], [1, 11, np.nan, 31])
    assert (clip.units, clip.up, clip.people) == ("px", "-y", ())


def test_results_that_change_order_are_followed_by_position_or_id() -> None:
    frames = [result(0, 0), result(0, 500), result(1, 505), result(1, 4), result(2, 508)]
    np.testing.assert_array_equal(
        read(frames).keypoints[:, :, 0, 0], [[1, 501], [5, 506], [np.nan, 509]]
    )
    crossing = [result(0, 0, idx=7), result(0, 9, idx=[3.0]), result(1, 9, idx=7.0),
                result(1, 0, idx="3")]  # fmt: skip
    clip = read(crossing)
    assert clip.people == ("7", "3")
    assert clip.keypoints[:, :, 0, 0].tolist() == [[1, 10], [10, 1]]


def test_confidence_is_cut_and_zeros_are_missing() -> None:
    one = result("0.jpg")
    one["keypoints"][:6] = [5, 6, 1.7, 0, 0, 0]
    clip = read([one])
    assert clip.confidence is not None
    assert clip.confidence[0, 0, :3].tolist() == [1, 0, 0.5]
    assert clip.missing[0, 0, :3].tolist() == [False, True, False]


@pytest.mark.parametrize("count", [26, 133, 136])
def test_whole_bodies_have_covered_joints(count: int) -> None:
    skeleton = read([result(0, count=count)]).skeleton
    assert len(skeleton) == count
    names = {CANONICAL[c] for c in skeleton.covered if c >= 0}
    assert {"left_wrist", "right_hip", "left_toe", "right_toe"} <= names
    assert ("neck" in names) == (count != 133)
    if count > 100:
        assert skeleton.joints[-1] == "right_hand_20" and "face_67" in skeleton.joints


def test_annotations() -> None:
    names = ["nose", "head_bottom", "head_top"]
    document = {
        "images": [{"id": 900 + i, "frame_id": 5 + i, "file_name": "x.jpg"} for i in range(3)],
        "annotations": [
            {"image_id": 902, "track_id": 1, "keypoints": [1, 2, 2, 3, 4, 1, 9, 9, 0]},
            {"image_id": 900, "track_id": 0, "keypoints": [5, 6, 2, 0, 0, 0, 0, 0, 0]},
            {"image_id": 900, "bbox": [1, 2, 3, 4]},
        ],
        "categories": [{"name": "person", "keypoints": names}],
    }
    clip = read(document)
    assert clip.keypoints.shape == (3, 2, 3, 2)
    assert clip.skeleton.joints == ("nose", "neck", "head_top")
    assert clip.people == ("0", "1")
    assert clip.missing[2, 1].tolist() == [False, False, True]
    assert clip.confidence is not None and clip.confidence[2, 1].tolist() == [1, 0.5, 0]
    assert clip.missing[1].all()
    del document["images"], document["categories"]
    assert read(document).frames == 3
    assert read(document).skeleton.joints[0] == "joint_0"


def test_mmpose() -> None:
    meta = {"keypoint_id2name": {str(i): f"spot{i}" for i in range(17)}}
    frames = [
        {"frame_id": 1, "instances": [instance(0), instance(500)]},
        {"frame_id": 2, "instances": [instance(502), instance(3)]},
        {"frame_id": 4, "instances": []},
    ]
    clip = read({"meta_info": meta, "instance_info": frames})
    assert clip.keypoints.shape == (4, 2, 17, 2)
    assert clip.skeleton.joints[0] == "spot0"
    assert clip.keypoints[:2, :, 0, 0].tolist() == [[1, 501], [4, 503]]
    assert clip.missing[2:].all()
    assert read(frames).skeleton is find_skeleton("coco-17")
    ids = [{"frame_id": i, "instances": [instance(0, 3, track_id=4)]} for i in range(2)]
    deep = read(ids)
    assert (deep.dims, deep.units, deep.up, deep.people) == (3, "m", "z", ("4",))
    by_image = read([[instance(0)], [], [instance(2)]])
    np.testing.assert_array_equal(by_image.keypoints[:, 0, 0, 0], [1, np.nan, 3])


def landmarks(x: float) -> list[dict[str, float]]:
    return [{"x": x, "y": 0.5, "z": -3.0, "visibility": 0.75} for _ in range(33)]


def test_mediapipe() -> None:
    frames: list[dict[str, Any]] = [{"pose_landmarks": landmarks(0.25)}, {"pose_landmarks": None}]
    clip = read({"width": 640, "height": 480, "fps": 25, "frames": frames}, frame_rate=None)
    assert (clip.frame_rate, clip.units, clip.up, clip.dims) == (25, "px", "-y", 2)
    assert clip.skeleton is find_skeleton("mediapipe-33")
    assert clip.keypoints[0, 0, 0].tolist() == [160, 240] and clip.missing[1].all()
    bare = read([{"landmarks": [landmarks(0.25)]}])
    assert (bare.units, bare.keypoints[0, 0, 0].tolist()) == ("m", [0.25, 0.5])
    world = read([{"pose_world_landmarks": landmarks(0.25)}])
    assert (world.dims, world.units, world.up) == (3, "m", "-y")
    assert read({"pose_landmarks": landmarks(0.5)}).frames == 1


def test_alphapose_after_openpose() -> None:
    person = {"pose_keypoints_2d": flat(0, 18)}
    document = {f"{i}.jpg": {"version": 0.1, "people": [person]} for i in (11, 9, 10)}
    assert read(document).keypoints.shape == (3, 1, 18, 2)
    bodies = {f"{i}.jpg": {"version": 0.1, "bodies": [{"joints": flat(i, 18)}]} for i in (0, 2)}
    clip = read(bodies)
    np.testing.assert_array_equal(clip.keypoints[:, 0, 0, 0], [1, np.nan, 3])
    assert (clip.dims, clip.units) == (2, "px")


@pytest.mark.parametrize("kind", ["alphapose", "mmpose", "instances"])
def test_folders_of_one_file_an_image(tmp_path: Path, kind: str) -> None:
    for i in (7, 8, 10):
        frame: Any = [result(f"{i}.jpg", i)]
        if kind != "alphapose":
            frame = [instance(i)]
        if kind == "mmpose":
            frame = {"meta_info": {}, "instance_info": frame}
        (tmp_path / f"img_{i:06d}.json").write_text(json.dumps(frame))
        assert is_frame(json.dumps(frame).encode())
    (tmp_path / "img_000011.json").write_text("[]")
    clip = read_clip(tmp_path, frame_rate=30)
    np.testing.assert_array_equal(clip.keypoints[:, 0, 0, 0], [8, 9, np.nan, 11, np.nan])


def test_what_is_one_frame() -> None:
    assert is_frame(b'{"people": []}') and is_frame(b'{"version": 1, "bodies": []}')
    assert not is_frame(b'{"frames": [{"people": []}], "people": []}')
    assert not is_frame(b"[") and not is_frame(b"3")
    assert not is_frame(json.dumps([result(0), result(1)]).encode())
    assert not is_frame(json.dumps([{"people": []}, {"people": []}]).encode())


@pytest.mark.parametrize(
    ("document", "message"),
    [
        ([], "at least one frame"),
        ({}, "expected a frame"),
        ({"keypoints": [1, 2]}, "found 'keys keypoints'"),
        ([{"image_id": 0, "keypoints": [1, 2]}], "3 numbers a joint, found 2"),
        ([{"image_id": [], "keypoints": []}, {"image_id": 3, "keypoints": []}], "image_id"),
        ([{"image_id": 1, "keypoints": []}, {"image_id": 10**9, "keypoints": []}], "great gaps"),
        ([{"image_id": "a", "keypoints": []}, {"image_id": "b", "keypoints": []}], "frame number"),
        ({"annotations": [{"bbox": []}]}, "annotations with keypoints"),
        ({"annotations": [{"image_id": 1, "keypoints": [1, 1, 1]}], "images": [{"id": 2}]}, "imag"),
        ([{"instances": [{"keypoints": [[1], [2]]}]}], "2 or 3 numbers"),
        ([{"instances": [{"keypoints": [[1, 2]], "keypoint_scores": [1, 1]}]}], "found 2"),
        ([{"instances": [{"keypoints": [[1, "a"]]}]}], "expected numbers"),
        ([{"landmarks": [{"x": "a", "y": 1}]}], "expected numbers"),
        ([{"landmarks": [[3]]}], "landmarks with x and y"),
        ([result(0), result(1, count=26)], "17 body keypoints"),
        ([{"image_id": 0, "keypoints": []}] * 2001, "at most 2000 people"),
    ],
)  # fmt: skip
def test_json_that_is_no_clip(document: Any, message: str) -> None:
    with pytest.raises(FormatError) as caught:
        read(document)
    assert message in str(caught.value) and "\n" not in str(caught.value)


SEEDS = {
    "results": [result("0.jpg", idx=1), result("1.jpg", idx=[2])],
    "annotations": {
        "images": [{"id": 1, "file_name": "1.jpg"}],
        "annotations": [{"image_id": 1, "track_id": 1, "keypoints": [1, 2, 1]}],
        "categories": [{"keypoints": ["a"]}],
    },
    "mmpose": {"meta_info": {"keypoint_id2name": {"0": "a"}},
               "instance_info": [{"frame_id": 1, "instances": [instance()]}]},
    "mediapipe": {"width": 6, "height": 4, "fps": 3, "frames": [{"pose_landmarks": landmarks(1)}]},
}  # fmt: skip
JUNK = (None, True, -1, 1e400, "", "x", [], {}, [[]], [{}], [None], {"a": 1}, 10**400)


@pytest.mark.parametrize("name", SEEDS)
def test_any_value_in_any_place_is_an_error_or_a_clip(name: str) -> None:
    def changed(value: Any) -> Any:
        yield from JUNK
        if isinstance(value, dict):
            for key in value:
                yield {k: v for k, v in value.items() if k != key}
                yield from ({**value, key: other} for other in changed(value[key]))
        elif isinstance(value, list):
            for i in range(min(len(value), 3)):
                yield from ([*value[:i], other, *value[i + 1 :]] for other in changed(value[i]))

    for document in changed(SEEDS[name]):
        try:
            clip = read(document)
        except MotionCodecError as error:
            assert "\n" not in str(error) and len(str(error)) < 400
        else:
            assert clip.frames >= 0


def test_marks_line_ends_and_nan() -> None:
    text = json.dumps([result(0)], indent=1).replace("\n", "\r\n").replace(" 11.0", " NaN")
    clip = read_clip(b"\xef\xbb\xbf" + text.encode(), frame_rate=30)
    assert clip.missing[0, 0].tolist() == [False, True] + [False] * 15


def openpose_frames() -> list[tuple[str, bytes]]:
    return [(path.name, path.read_bytes()) for path in sorted((DATA / "openpose").iterdir())]


def archived(kind: str, files: list[tuple[str, bytes]]) -> bytes:
    stream = io.BytesIO()
    if kind == "zip":
        with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
            for name, data in files:
                archive.writestr(name, data)
        return stream.getvalue()
    with tarfile.open(fileobj=stream, mode="w:gz" if kind == "tgz" else "w") as tar:
        for name, data in files:
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
    return stream.getvalue()


@pytest.mark.parametrize("kind", ["tar", "tgz", "zip"])
def test_archives_of_frames_are_the_folder(kind: str) -> None:
    files = [(f"take/{name}", data) for name, data in reversed(openpose_frames())]
    clip = read_clip(archived(kind, [*files, ("take/notes.txt", b"no frame")]), frame_rate=60)
    folder = read_clip(DATA / "openpose", frame_rate=60)
    assert clip.keypoints.tobytes() == folder.keypoints.tobytes()
    assert clip.skeleton is folder.skeleton
    assert read_frames(Source("x", frame_rate=60), files).frames == 20


def test_archives_that_are_no_clip() -> None:
    frames = openpose_frames()
    two = [(f"{i % 2}/{name}", data) for i, (name, data) in enumerate(frames)]
    with pytest.raises(FormatError, match="frames of one folder, found 2"):
        read_clip(archived("tar", two), frame_rate=60)
    with pytest.raises(FormatError, match="found none in it"):
        read_clip(archived("tar", [("a.txt", b"x")]), frame_rate=60)
    for kind in ("tar", "tgz", "zip"):
        whole = archived(kind, frames[:2])
        for end in range(1, len(whole), 97):
            try:
                read_clip(whole[:end], frame_rate=60)
            except MotionCodecError as error:
                assert "\n" not in str(error)


@pytest.mark.parametrize(
    "path", ["bvh/rotation_first_root.bvh", "dlc/dlc_testdata.csv", "npz/cmu_49_08.npz"]
)
def test_gzip_goes_around_any_format(path: str, tmp_path: Path) -> None:
    plain = read_clip(DATA / path, frame_rate=30)
    zipped = tmp_path / (Path(path).name + ".gz")
    zipped.write_bytes(gzip.compress((DATA / path).read_bytes()))
    clip = read_clip(zipped, frame_rate=30)
    assert clip.keypoints.tobytes() == plain.keypoints.tobytes()
    with pytest.raises(FormatError, match="expected a gzip file"):
        read_clip(zipped.read_bytes()[:-9])


def test_gzip_inside_suffix_counts(tmp_path: Path) -> None:
    (tmp_path / "a.csv.gz").write_bytes(gzip.compress(b"ax ay\n"))
    with pytest.raises(FormatError, match="columns such as"):
        read_clip(tmp_path / "a.csv.gz")


def test_gzip_bombs_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(packed, "MAX_BYTES", 1000)
    with pytest.raises(FormatError, match="at most 1000 bytes within"):
        read_clip(gzip.compress(bytes(2000)))
