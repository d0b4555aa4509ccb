"""Measures of volumes against values known by hand."""

from __future__ import annotations

import numpy as np
import pytest

from motioncodec.heatmap.fidelity import Fast, by_frame, fast_changes, ssim, t_std

RATE = 30.0


@pytest.fixture
def volume() -> np.ndarray:
    rng = np.random.default_rng(0)
    return rng.random((2, 12, 16, 16))


def test_equal_volumes(volume: np.ndarray) -> None:
    found = by_frame(volume, volume)
    np.testing.assert_allclose(found["SSIM"], 1)
    np.testing.assert_allclose(found["PSNR"], 120)
    np.testing.assert_allclose(found["L1"], 0)
    assert np.isnan(t_std(found))


def test_a_known_error(volume: np.ndarray) -> None:
    found = by_frame(volume, volume + 0.1)
    np.testing.assert_allclose(found["PSNR"], 20, rtol=1e-5)
    np.testing.assert_allclose(found["L1"], 0.1, rtol=1e-5)
    # However large, it is the same in every frame: there is no T-Std.
    assert np.isnan(t_std(found))


def test_ssim_of_planes_by_hand() -> None:
    flat, light = np.full((1, 9, 9), 0.2), np.full((1, 9, 9), 0.6)
    expected = (2 * 0.2 * 0.6 + 1e-4) / (0.2**2 + 0.6**2 + 1e-4)
    assert ssim(flat, light)[0] == pytest.approx(expected)


def test_t_std_by_hand() -> None:
    # From 0 to 1 in even steps: the standard deviation of 0, 1/2, 1.
    even = np.array([3.0, 4.0, 5.0])
    assert t_std({"a": even, "b": -even}) == pytest.approx(np.std([0, 0.5, 1]))


def test_one_bad_frame_of_many_is_uneven(volume: np.ndarray) -> None:
    other = volume + np.linspace(0.1, 0.11, 12)[None, :, None, None]
    once = volume.copy()
    once[:, 5] = 0
    assert t_std(by_frame(volume, once)) < t_std(by_frame(volume, other))


def wave(hertz: float) -> np.ndarray:
    return np.sin(2 * np.pi * hertz * np.arange(120) / RATE)[:, None]


def test_fast_changes_are_what_is_above_three_hertz() -> None:
    slow, fast = wave(1), wave(6)
    whole = fast_changes(slow + fast, slow + fast, RATE)
    assert whole.kept == pytest.approx(1)
    assert whole.true == pytest.approx(1)
    smeared = fast_changes(slow + fast, slow, RATE)
    assert smeared.kept < 0.01
    assert smeared.true < 0.01
    half = fast_changes(slow + fast, slow + fast / 2, RATE)
    assert half.kept == pytest.approx(0.25, rel=0.02)
    assert half.true == pytest.approx(0.5, rel=0.02)


def test_jitter_is_kept_but_not_true() -> None:
    other = wave(1) + wave(11)
    found = fast_changes(wave(1) + wave(6), other, RATE)
    assert found.kept == pytest.approx(1, rel=0.05)
    assert abs(found.true) < 0.02


def test_windows_add_up_by_energy() -> None:
    still = fast_changes(np.zeros((60, 1)), wave(6)[:60], RATE)
    assert np.isnan(still.kept)
    both = still + fast_changes(10 * wave(6), 10 * wave(6), RATE)
    assert both.kept == pytest.approx(1, rel=0.02)
    assert (Fast() + both) == both
