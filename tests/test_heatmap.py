"""Placement, rendering, peaks, resampling: each with its inverse."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from motioncodec.clip import Clip
from motioncodec.errors import ClipError
from motioncodec.heatmap.placement import (
    EXTENT,
    Placement,
    choose_anchor,
    dequantise_scale,
    fill_gaps,
    find_heading,
    find_hips,
    find_scale,
    find_size,
    from_model_axes,
    quantise_scale,
    to_model_axes,
    turn,
)
from motioncodec.heatmap.rendering import (
    PLANES,
    extract_keypoints,
    from_pixels,
    render_heatmaps,
    to_pixels,
)
from motioncodec.heatmap.resampling import model_frames, to_clip_rate, to_model_rate

PIXEL = 2 * EXTENT / 64


@settings(max_examples=60, deadline=None)
@given(
    dims=st.sampled_from([2, 3]),
    dense=st.booleans(),
    seed=st.integers(0, 2**32 - 1),
    missing=st.floats(0, 1),
)
def test_keypoints_come_back_from_heatmaps(
    dims: int, dense: bool, seed: int, missing: float
) -> None:
    """Within 0.02 px at 64 x 64 and sigma 1.5; NaN stays NaN; peaks keep their confidence."""
    rng = np.random.default_rng(seed)
    dense = dense and dims == 3
    points = rng.uniform(-EXTENT + PIXEL / 2, EXTENT - PIXEL / 2, (2, 3, dims))
    points[rng.random((2, 3)) < missing] = np.nan
    confidence = rng.uniform(0.05, 1.0, (2, 3)).astype(np.float32)
    volume = render_heatmaps(points, confidence, dense=dense)
    found, height = extract_keypoints(volume, dims)
    assert (np.isnan(found) == np.isnan(points)).all()
    there = np.isfinite(points[..., 0])
    assert np.abs(to_pixels(found) - to_pixels(points))[there].max(initial=0) < 0.02
    np.testing.assert_allclose(height[there], confidence[there], rtol=0.02)
    assert not height[~there].any()


def test_rendering_is_the_textbook_formula() -> None:
    rng = np.random.default_rng(0)
    points = rng.uniform(-1, 1, (4, 5, 3))
    volume = render_heatmaps(points, size=48, sigma=2.0).reshape(5, 3, 4, 48, 48)
    v, u = np.mgrid[:48, :48]
    for joint, plane, frame in [(0, 0, 0), (2, 1, 3), (4, 2, 1)]:
        across, down = PLANES[3][plane]
        cu, cv = to_pixels(points[frame, joint], 48)[[across, down]]
        expected = np.exp(-((u - cu) ** 2 + (v - cv) ** 2) / (2 * 2.0**2))
        np.testing.assert_allclose(volume[joint, plane, frame], expected, atol=1e-6)
    dense = render_heatmaps(points[:1], size=16, sigma=1.5, dense=True)
    z, y, x = np.mgrid[:16, :16, :16]
    cx, cy, cz = to_pixels(points[0, 3], 16)
    expected = np.exp(-((x - cx) ** 2 + (y - cy) ** 2 + (z - cz) ** 2) / (2 * 1.5**2))
    np.testing.assert_allclose(dense[3, 0], expected, atol=1e-6)


def test_projections_are_the_maxima_of_the_voxels() -> None:
    """At a whole pixel, where the maximum is reached."""
    points = from_pixels(np.array([[[5.0, 9.0, 3.0]]]), 16)
    dense = render_heatmaps(points, size=16, dense=True)[0, 0]
    xy, zy, xz = render_heatmaps(points, size=16)[:, 0]
    np.testing.assert_allclose(xy, dense.max(0), atol=1e-6)
    np.testing.assert_allclose(zy, dense.max(2).T, atol=1e-6)
    np.testing.assert_allclose(xz, dense.max(1), atol=1e-6)


def test_a_missing_joint_has_an_empty_plane() -> None:
    points = np.zeros((2, 2, 2))
    points[1, 0] = np.nan
    volume = render_heatmaps(points)
    assert not volume[0, 1].any()
    assert volume[0, 0].max() > 0.8


@pytest.mark.parametrize(
    ("size", "sigma", "dense"), [(3, 1.5, False), (64, 0.0, False), (64, 1.5, True)]
)
def test_rendering_refuses(size: int, sigma: float, dense: bool) -> None:
    with pytest.raises(ClipError, match="heatmap: expected"):
        render_heatmaps(np.zeros((1, 1, 2)), size=size, sigma=sigma, dense=dense)


@settings(max_examples=50, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), dims=st.sampled_from([2, 3]))
def test_placement_inverts(seed: int, dims: int) -> None:
    rng = np.random.default_rng(seed)
    points = rng.normal(0, 100, (7, 20, dims))
    points[2, 4] = np.nan
    where = Placement(
        rng.normal(0, 1000, (7, dims)),
        rng.uniform(0.01, 300, 7),
        rng.uniform(-9, 9, 7) if dims == 3 else None,
    )
    np.testing.assert_allclose(where.invert(where.apply(points)), points, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("up", ["x", "y", "z", "-x", "-y", "-z"])
def test_up_axes_turn_without_mirroring(up: str) -> None:
    axes = to_model_axes(np.eye(3), up)
    assert np.linalg.det(axes) == pytest.approx(1)
    vector = np.zeros(3)
    vector["xyz".index(up[-1])] = -1.0 if up[0] == "-" else 1.0
    np.testing.assert_allclose(to_model_axes(vector, up), [0, 1, 0])
    points = np.random.default_rng(1).normal(size=(4, 3))
    np.testing.assert_allclose(from_model_axes(to_model_axes(points, up), up), points)


def test_images_are_flipped_only_where_up_is_up() -> None:
    point = np.array([[1.0, 2.0]])
    assert to_model_axes(point, "y").tolist() == [[1, -2]]
    assert to_model_axes(point, "-y").tolist() == [[1, 2]]
    assert from_model_axes(to_model_axes(point, "y"), "y").tolist() == [[1, 2]]


def test_scale_and_heading_of_a_known_person(stick: Clip) -> None:
    points = stick.keypoints[:, 0].astype(np.float64)
    scale = find_scale(points)
    assert 0.85 < scale < 1.15
    assert find_scale(points * 1000) == pytest.approx(scale * 1000)
    facing = find_heading(points)
    np.testing.assert_allclose(facing, 0, atol=1e-6)
    turned = turn(points, np.full(60, -1.0))
    np.testing.assert_allclose(find_heading(turned), 1.0, atol=1e-6)


def test_scale_is_coded_within_a_third_of_a_percent() -> None:
    for scale in (1e-6, 0.0564, 1.0, 173.0, 1e9):
        assert dequantise_scale(quantise_scale(scale)) == pytest.approx(scale, rel=0.0028)


def test_scale_without_limbs_is_still_above_0() -> None:
    points = np.full((3, 20, 3), np.nan)
    assert find_scale(points) == 1.0
    points[:, 3] = 5.0
    assert find_scale(points) > 0


def test_hips_stand_in_when_hips_are_missing(stick: Clip) -> None:
    points = stick.keypoints[:, 0].astype(np.float64)
    full = find_hips(points, 1.0, choose_anchor(np.isfinite(points[..., 0])))
    upper = points.copy()
    upper[:, 12:] = upper[:, 0] = np.nan
    anchor = choose_anchor(np.isfinite(upper[..., 0]))
    assert np.abs(find_hips(upper, 1.0, anchor) - full).max() < 0.2
    wrist = np.full_like(points, np.nan)
    wrist[:, 8] = points[:, 8]
    assert choose_anchor(np.isfinite(wrist[..., 0])) is None
    np.testing.assert_allclose(find_hips(wrist, 1.0, None), points[:, 8])


def test_box_size_ignores_one_wild_detection() -> None:
    points = np.random.default_rng(0).uniform(100, 300, (200, 20, 2))
    calm = find_size(points)
    points[50, 3] = 5000
    np.testing.assert_allclose(find_size(points), calm, rtol=0.02)


def test_gaps_are_bridged_and_ends_held() -> None:
    values = np.array([[np.nan], [1.0], [np.nan], [np.nan], [4.0], [np.nan]])
    assert fill_gaps(values)[:, 0].tolist() == [1, 1, 2, 3, 4, 4]
    assert fill_gaps(np.full((3, 2), np.nan)).tolist() == [[0, 0]] * 3


@settings(max_examples=60, deadline=None)
@given(
    frames=st.integers(1, 200),
    rate=st.sampled_from([10.0, 24.0, 25.0, 29.97, 30.0, 59.94, 60.0, 60.0024986, 100.0, 120.0]),
    seed=st.integers(0, 1000),
)
def test_resampling_reaches_every_frame(frames: int, rate: float, seed: int) -> None:
    """A slow curve comes back at its own rate, frame for frame; a part equals the whole."""
    rng = np.random.default_rng(seed)
    t = np.arange(frames) / rate
    curve = (np.sin(2 * np.pi * 0.4 * t + rng.uniform(0, 6)) * 100)[:, None]
    sampled = to_model_rate(curve, rate)
    assert len(sampled) == model_frames(frames, rate)
    back = to_clip_rate(sampled, rate, 0, frames)
    assert back.shape == curve.shape
    assert np.abs(back - curve).max() < 1.0
    start = frames // 2
    low = max(int(start * 30 / rate) - 3, 0)
    part = to_clip_rate(sampled[low:], rate, start, frames, low)
    np.testing.assert_allclose(part, back[start:], atol=1e-9)


def test_30_frames_a_second_pass_untouched() -> None:
    values = np.random.default_rng(0).normal(size=(50, 4))
    assert (to_clip_rate(to_model_rate(values, 30.0), 30.0, 0, 50) == values).all()
