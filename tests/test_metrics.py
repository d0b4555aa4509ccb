"""Errors between clips, against values worked out by hand."""

from __future__ import annotations

import json
import math
from dataclasses import replace

import numpy as np
import pytest

from motioncodec import metrics
from motioncodec.clip import Clip
from motioncodec.errors import ClipError
from motioncodec.metrics import compare, distances
from motioncodec.skeleton import Skeleton

TWO = Skeleton(("a", "b"))


def still(frames: int = 4, units: str = "m", dims: int = 3, rate: float = 10.0) -> Clip:
    """Two joints at the origin and at 1 along every axis."""
    points = np.zeros((frames, 1, 2, dims))
    points[:, :, 1] = 1.0
    return Clip(points, rate, TWO, units=units, up="y")


def moved(clip: Clip, offset: list[float], joint: int = 0) -> Clip:
    points = clip.keypoints.copy()
    points[:, :, joint] += np.array(offset, np.float32)
    return replace(clip, keypoints=points)


def test_a_clip_is_no_distance_from_itself() -> None:
    found = compare(still(), still())
    assert (found.mpjpe, found.p99, found.max, found.pck) == (0, 0, 0, 1)
    assert found.acceleration_error == 0
    assert (found.frames, found.people, found.joints, found.compared) == (4, 1, 2, 8)


def test_distances_are_in_millimetres_of_the_world_without_alignment() -> None:
    # 3-4-0 in centimetres: joint a is 50 mm off and just within; joint b does not move.
    found = compare(still(), moved(still(), [0.03, 0.04, 0]))
    assert found.unit == "mm"
    assert found.mpjpe == pytest.approx(25)
    assert found.max == pytest.approx(50)
    assert found.p99 == pytest.approx(50)
    assert compare(still(), moved(still(), [0.0, 0.06, 0])).pck == 0.5


def test_the_99th_percentile_leaves_out_the_hundredth() -> None:
    clip = still(100)
    points = clip.keypoints.copy()
    points[:, 0, :, 0] += np.arange(200).reshape(100, 2) / 1000
    found = compare(clip, replace(clip, keypoints=points))
    assert found.p99 == pytest.approx(199 * 0.99, rel=1e-4)
    assert found.mpjpe == pytest.approx(99.5, rel=1e-4)


@pytest.mark.parametrize(("units", "scale"), [("cm", 100), ("mm", 1000)])
def test_metric_units_are_converted(units: str, scale: float) -> None:
    clip = still()
    other = replace(clip, keypoints=clip.keypoints * scale, units=units)
    assert compare(clip, other).max < 1e-3
    assert compare(other, clip).max < 1e-3
    assert compare(other, moved(clip, [0.5, 0, 0])).max == pytest.approx(500)


def test_pixels_stay_pixels_and_pck_goes_by_the_box() -> None:
    clip = still(units="px", dims=2)
    clip = replace(clip, keypoints=clip.keypoints * [200, 100])
    # The box's longer side is 200, so 10 pixels are the limit.
    within, beyond = moved(clip, [0, 9.9]), moved(clip, [0, 10.1])
    found = compare(clip, within)
    assert (found.unit, found.acceleration_unit) == ("px", "px/s^2")
    assert found.mpjpe == pytest.approx(9.9 / 2, rel=1e-5)
    assert found.pck == 1
    assert compare(clip, beyond).pck == 0.5


def test_acceleration_error_is_in_metres_a_second_squared() -> None:
    clip = still(5)
    points = clip.keypoints.copy()
    points[2, 0, 0, 0] += 0.001
    # Second differences of joint a: 1, -2, 1 mm; of joint b none; times 10^2 frames^2/s^2.
    found = compare(clip, replace(clip, keypoints=points))
    assert found.acceleration_error == pytest.approx((1 + 2 + 1) / 6 * 1e-3 * 100, rel=1e-4)


def test_steady_drift_is_no_acceleration() -> None:
    clip = still(6)
    points = clip.keypoints + np.arange(6, dtype=np.float32)[:, None, None, None] / 8
    assert compare(clip, replace(clip, keypoints=points)).acceleration_error < 1e-9


def test_blocks_of_frames_add_up(monkeypatch: pytest.MonkeyPatch) -> None:
    random = np.random.default_rng(3)
    clip = still(11)
    points = clip.keypoints + random.normal(0, 0.1, clip.keypoints.shape).astype(np.float32)
    points[4, 0, 1] = np.nan
    other = replace(clip, keypoints=points)
    whole = compare(clip, other).to_dict()
    monkeypatch.setattr(metrics, "_BLOCK", 3)
    parts = compare(clip, other).to_dict()
    assert parts.pop("acceleration_error") == pytest.approx(whole.pop("acceleration_error"))
    assert parts == whole


def test_missing_joints_are_left_out_and_counted() -> None:
    clip = still()
    one, other = clip.keypoints.copy(), clip.keypoints.copy() + np.float32(0.01)
    one[0, 0, 0] = np.nan
    other[0, 0, 0] = np.nan
    other[1, 0, 1] = np.nan
    found = compare(replace(clip, keypoints=one), replace(clip, keypoints=other))
    assert (found.compared, found.missing_in_one) == (6, 1)
    assert found.mpjpe == pytest.approx(10 * math.sqrt(3), rel=1e-4)


def test_nothing_to_compare_is_none_in_json() -> None:
    clip = replace(still(), keypoints=np.full((4, 1, 2, 3), np.nan))
    found = compare(clip, clip)
    assert math.isnan(found.mpjpe)
    read = json.loads(json.dumps(found.to_dict(), allow_nan=False))
    assert read["mpjpe"] is None
    assert read["acceleration_error"] is None
    assert read["compared"] == 0
    assert compare(still(0), still(0)).compared == 0


def test_joints_are_matched_by_name() -> None:
    clip = still()
    swapped = Clip(clip.keypoints[:, :, ::-1], clip.frame_rate, Skeleton(("b", "a")), up="y")
    assert compare(clip, swapped).max == 0
    assert distances(clip, swapped).shape == (4, 1, 2)


@pytest.mark.parametrize(
    ("other", "message"),
    [
        (still(5), "comparison: expected 4 frames, found 5"),
        (still(rate=20), "comparison: expected 10 frames/s, found 20"),
        (replace(still(), up="z"), "comparison: expected y as up axis, found z"),
        (replace(still(), units="px"), "comparison: expected units m, found px"),
        (still(dims=2), "comparison: expected 3 coordinates a joint, found 2"),
        (
            Clip(np.zeros((4, 2, 2, 3)), 10, TWO),
            "comparison: expected 1 people, found 2",
        ),
        (
            Clip(np.zeros((4, 1, 1, 3)), 10, Skeleton(("a",))),
            "comparison: expected 2 joints, found 1",
        ),
        (
            Clip(np.zeros((4, 1, 2, 3)), 10, Skeleton(("a", "c"))),
            "comparison: expected a joint 'b', found none of that name",
        ),
    ],
)
def test_clips_of_different_kinds_are_refused(other: Clip, message: str) -> None:
    with pytest.raises(ClipError) as caught:
        compare(still(), other)
    assert str(caught.value) == message
