"""``.pose`` files: MediaPipe Holistic as the package writes it, our own, damage."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from test_io import assert_same, clips

from motioncodec.clip import Clip
from motioncodec.errors import FormatError, MotionCodecError
from motioncodec.io import read_clip, write_clip
from motioncodec.io.pose import is_pose
from motioncodec.skeleton import Skeleton, find_skeleton

pose_format = pytest.importorskip("pose_format")
HOLISTIC = Path(__file__).parent / "data/pose/holistic.pose"


def written(clip: Clip) -> bytes:
    stream = io.BytesIO()
    write_clip(clip, stream, format="pose")
    return stream.getvalue()


def test_holistic() -> None:
    clip = read_clip(HOLISTIC)
    assert clip.keypoints.shape == (6, 1, 33 + 478 + 21 + 21, 2)
    assert (clip.frame_rate, clip.units, clip.up) == (25, "px", "-y")
    assert clip.skeleton.joints[:33] == find_skeleton("mediapipe-33").joints
    assert clip.skeleton.joints[-1] == "RIGHT_HAND_LANDMARKS:PINKY_TIP"
    covered = [name for name, c in zip(clip.skeleton.joints, clip.skeleton.covered) if c >= 0]
    mediapipe = find_skeleton("mediapipe-33")
    assert covered == [name for name, c in zip(mediapipe.joints, mediapipe.covered) if c >= 0]
    pose = pose_format.Pose.read(HOLISTIC.read_bytes())
    np.testing.assert_array_equal(clip.keypoints[:, 0, :33], pose.body.data[:, 0, :33, :2].data)
    assert clip.confidence is not None and clip.confidence[:, 0, :33].min() < 0.9


def test_the_package_reads_what_is_written() -> None:
    clip = Clip(np.ones((2, 1, 2, 3)), 29.97, Skeleton(("é", "hand:b")), units="mm", up="z")
    pose = pose_format.Pose.read(written(clip))
    names = [(c.name, c.format, c.points) for c in pose.header.components]
    assert names == [("BODY (mm, z up)", "XYZC", ["é"]), ("hand", "XYZC", ["b"])]
    assert pose.body.data.shape == (2, 1, 2, 3)
    assert_same(clip, read_clip(written(clip)))


@settings(deadline=None, max_examples=60, suppress_health_check=list(HealthCheck))
@given(clip=clips())
def test_round_trip(clip: Clip) -> None:
    back = read_clip(written(clip))
    assert back.frame_rate == pytest.approx(clip.frame_rate, rel=1e-6)
    confidence = clip.confidence
    if confidence is not None and (confidence == ~clip.missing).all():
        confidence = None
    told = Clip(
        clip.keypoints, back.frame_rate, clip.skeleton, confidence, clip.units, clip.up
    )  # fmt: skip
    if back.confidence is None and confidence is not None:
        pytest.fail("confidence was lost")
    here = ~clip.missing
    assert back.keypoints[here].tobytes() == told.keypoints[here].tobytes()
    assert (back.missing == told.missing).all()
    assert (back.skeleton, back.units, back.up) == (told.skeleton, told.units, told.up)
    if confidence is not None:
        np.testing.assert_array_equal(back.confidence, told.confidence)


def test_truncated_and_flipped() -> None:
    keypoints = np.arange(12, dtype=np.float32).reshape(2, 1, 2, 3)
    data = written(Clip(keypoints, 30, Skeleton(("a", "hand:b"))))
    holistic = HOLISTIC.read_bytes()
    damaged = [data[:end] for end in range(1, len(data))]
    damaged += [holistic[:end] for end in range(1, len(holistic), 997)]
    for at in range(len(data)):
        damaged += [data[:at] + bytes([data[at] ^ 1 << bit]) + data[at + 1 :] for bit in range(8)]
    for one in damaged:
        try:
            clip = read_clip(one, name="x.pose", input_format="pose")
        except MotionCodecError as error:
            assert str(error).startswith("x.pose: ") and "\n" not in str(error)
            assert len(str(error)) < 400
        else:
            assert clip.frames >= 0


def test_told_by_content(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_bytes(HOLISTIC.read_bytes())
    assert read_clip(tmp_path / "a.csv").frames == 6
    assert not is_pose(b"") and not is_pose(bytes(100))


def test_without_the_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "pose_format", None)
    with pytest.raises(FormatError, match=r"pip install 'motioncodec\[pose\]'"):
        read_clip(HOLISTIC)
