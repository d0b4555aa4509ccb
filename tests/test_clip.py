"""The one in-memory type refuses what would go wrong later."""

from __future__ import annotations

import numpy as np
import pytest

from motioncodec.clip import Clip
from motioncodec.errors import ClipError
from motioncodec.skeleton import Skeleton

PAIR = Skeleton(("a", "b"))


def test_a_single_person_may_come_without_the_axis() -> None:
    clip = Clip(np.zeros((5, 2, 3)), 30, PAIR, confidence=np.ones((5, 2)))
    assert clip.keypoints.shape == (5, 1, 2, 3)
    assert clip.confidence is not None
    assert clip.confidence.shape == (5, 1, 2)
    assert (clip.frames, clip.persons, clip.dims, clip.duration) == (5, 1, 3, 5 / 30)


def test_a_joint_missing_in_one_coordinate_is_missing() -> None:
    points = np.zeros((1, 2, 3))
    points[0, 1, 2] = np.nan
    clip = Clip(points, 30, PAIR, confidence=np.ones((1, 2)))
    assert np.isnan(clip.keypoints[0, 0, 1]).all()
    assert clip.missing.tolist() == [[[False, True]]]
    assert clip.confidence is not None
    assert clip.confidence.tolist() == [[[1.0, 0.0]]]


def test_arrays_are_copies_that_nobody_can_change() -> None:
    points = np.zeros((1, 2, 3), np.float32)
    clip = Clip(points, 30, PAIR)
    points[:] = 7
    assert not clip.keypoints.any()
    with pytest.raises(ValueError, match="read-only"):
        clip.keypoints[0] = 1


def test_an_array_that_nobody_can_change_is_not_copied() -> None:
    points = np.zeros((4, 1, 2, 3), np.float32)
    view = points[1:]
    view.flags.writeable = False
    assert not np.shares_memory(Clip(view, 30, PAIR).keypoints, points)
    points.flags.writeable = False
    assert np.shares_memory(Clip(points, 30, PAIR).keypoints, points)
    clip = Clip(points, 30, PAIR)
    assert np.shares_memory(clip.window(1, 3).keypoints, clip.keypoints)
    shared = memoryview(bytearray(4 * 6)).cast("f", (1, 2, 3))
    clip = Clip(shared, 30, PAIR)
    shared[0, 0, 0] = 5.0
    assert not clip.keypoints.any()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"keypoints": np.zeros((5, 3, 3))}, "expected 2 joints.*found 3"),
        ({"keypoints": np.zeros((5, 2, 4))}, "D 2 or 3"),
        ({"keypoints": np.full((5, 2, 3), np.inf)}, "infinity at frame 0, person 0, joint a"),
        ({"frame_rate": 0}, "frame rate"),
        ({"frame_rate": float("nan")}, "frame rate"),
        ({"units": "feet"}, "'feet'"),
        ({"up": "w"}, "'w'"),
        ({"confidence": np.full((5, 2), 1.5)}, "from 0 to 1"),
        ({"confidence": np.ones((4, 2))}, "expected shape"),
        ({"people": ("one", "two")}, "expected 1 ids"),
    ],
)
def test_errors(change: dict[str, object], message: str) -> None:
    fields: dict[str, object] = {
        "keypoints": np.zeros((5, 2, 3)),
        "frame_rate": 30,
        "skeleton": PAIR,
    }
    with pytest.raises(ClipError, match=message):
        Clip(**{**fields, **change})  # type: ignore[arg-type]
