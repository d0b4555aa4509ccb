"""A body as a spectrum of its pose: on real motion, on what lacks joints, bit by bit."""

from __future__ import annotations

import hashlib
import io
import os
import subprocess
import sys
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch
from damage import damaged_files
from golden.cases import free as free_case
from hypothesis import given, settings
from hypothesis import strategies as st

from motioncodec.bitstream.choosing import LOGARITHMS, SLOTS
from motioncodec.bitstream.entropy import Decoder as RangeDecoder
from motioncodec.bitstream.entropy import Encoder
from motioncodec.bitstream.header import Header
from motioncodec.bitstream.magnitudes import counts_of
from motioncodec.bitstream.payload import decode_chunk, encode_chunk
from motioncodec.bitstream.spectrum import (
    LONGEST,
    Kind,
    Spectrum,
    classes_of,
    code_spectrum,
    shape_of,
    turning,
)
from motioncodec.bitstream.turning import BANDS, FREE, ONE, PLACED, Kit, bands_of, groups_of
from motioncodec.clip import Clip
from motioncodec.codec import Decoder, Settings, encode_clip
from motioncodec.errors import ContainerError, MotionCodecError, UsageError
from motioncodec.heatmap.bones import REFERENCE_BONES, find_bones
from motioncodec.io import read_clip
from motioncodec.lapping import lap
from motioncodec.skeleton import CANONICAL, find_skeleton
from motioncodec.spectrum import find_spectra, poses_of

KINDS = [(False, False), (True, False), (True, True)]
"""Whether bases turn, and poses are about their centre."""

DATA = Path(__file__).parent / "data"
JUMP = DATA / "npz" / "cmu_49_08.npz"


@pytest.fixture(scope="module")
def jump() -> Clip:
    return read_clip(JUMP)


def written(clip: Clip, **settings: object) -> bytes:
    data = io.BytesIO()
    encode_clip(clip, data, Settings(**settings))  # type: ignore[arg-type]
    return data.getvalue()


def mean_error(clip: Clip, data: bytes) -> float:
    """In millimetres, of a clip in metres."""
    found = Decoder(io.BytesIO(data)).clip()
    assert np.array_equal(found.missing, clip.missing)
    apart = np.linalg.norm(found.keypoints.astype(np.float64) - clip.keypoints, axis=-1)
    return float(np.nanmean(apart)) * 1000


# -- numbers ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("kit", [PLACED, FREE])
def test_components_are_orthonormal_and_fall(kit: Kit) -> None:
    _, basis, deviations = kit.components
    assert np.abs(basis.T @ basis - np.eye(SLOTS)).max() < 1e-4
    assert (np.diff(deviations) <= 0).all()


def test_windows_cover_the_frames_and_hardly_more() -> None:
    for frames in (1, 2, 31, 32, 95, 96, 97, 150, 1024):
        for longer in range(LONGEST + 1):
            windows, size, count = shape_of(frames, longer)
            assert count == SLOTS
            assert frames <= windows * size <= frames + 2 * windows


def test_classes_are_within_the_network() -> None:
    assert len(LOGARITHMS) == 4096
    for size in (2, 64, 66, 512, 1024):
        for step in (-320, -192, -85, -1, 0):
            frequencies, length, kind = classes_of(size, step)
            assert frequencies.shape == (size,)
            assert (np.diff(frequencies) >= 0).all()
            assert frequencies.min() >= 0
            assert frequencies.max() < 64
            assert 0 <= length < 8
            assert 0 <= kind < 21


@given(
    frames=st.integers(1, 200), longer=st.integers(0, LONGEST), step=st.integers(-320, 0),
    spread=st.sampled_from([0.0, 0.2, 2.0, 300.0, 1e7]), seed=st.integers(0, 999),
    kind=st.sampled_from(KINDS),
)  # fmt: skip
@settings(max_examples=60, deadline=None)
def test_spectra_round_trip(
    frames: int, longer: int, step: int, spread: float, seed: int, kind: tuple[bool, bool]
) -> None:
    rng = np.random.default_rng(seed)
    shape = shape_of(frames, longer)
    fall = np.exp(-np.arange(shape[1]) / 9)[:, None]
    given = np.rint(rng.laplace(0, max(spread, 1e-9), shape) * fall).astype(np.int64)
    coder = Encoder()
    told = code_spectrum(coder, Spectrum(given, given), frames, Kind(step, *kind))
    blank = Spectrum.empty(frames)
    found = code_spectrum(RangeDecoder(coder.finish()), blank, frames, Kind(step, *kind))
    # Windows that are as many for two lengths are told as the first of them.
    assert found.numbers.shape == given.shape
    np.testing.assert_array_equal(found.numbers, given)
    np.testing.assert_array_equal(found.vectors, told.vectors)
    # Vectors are as long as the numbers: bases are orthonormal, but for what rounding leaves.
    long = np.linalg.norm(found.vectors / 64.0, axis=2)
    np.testing.assert_allclose(long, np.linalg.norm(given, axis=2), rtol=2e-3, atol=0.1)


def test_more_frequencies_than_there_are_are_refused() -> None:
    coder = Encoder()
    coder.bits(0, 2)
    coder.bits(63, 6)
    with pytest.raises(ContainerError, match="at most 34 frequencies, found 63"):
        code_spectrum(RangeDecoder(coder.finish()), Spectrum.empty(34), 34, Kind(-85, True, True))


@pytest.mark.parametrize("kit", [PLACED, FREE])
def test_bands_cover_all_frequencies(kit: Kit) -> None:
    given = kit.prior
    for i in range(len(BANDS) + 1):
        unit = given.bases[i] / 2.0**ONE
        assert np.abs(unit @ unit.T - np.eye(SLOTS)).max() < 1e-3
        assert np.isclose(np.trace(given.covariances[i]), 2.0**20, rtol=1e-3)
    for size in (2, 64, 66, 512, 1024):
        bands = bands_of(size)
        assert bands[0] == 0
        assert (np.diff(bands) >= 0).all()
        assert 1 <= bands[1] <= bands[-1] <= len(BANDS)
        groups = groups_of(size)
        assert groups[:2] == [0, 1]
        assert groups == sorted(set(groups))
        assert groups[-1] < size


@given(
    seed=st.integers(0, 999), windows=st.integers(1, 4), size=st.integers(1, 40),
    spread=st.sampled_from([0.3, 3.0, 1e3, 1e6]), rank=st.integers(1, 60),
)  # fmt: skip
@settings(max_examples=25, deadline=None)
def test_bases_stay_orthonormal_whatever_they_follow(
    seed: int, windows: int, size: int, spread: float, rank: int
) -> None:
    """And do not depend on how far somebody walks beyond what is there."""
    rng = np.random.default_rng(seed)
    given = np.rint(rng.laplace(0, spread, (windows, size, SLOTS))).astype(np.int64)
    given[..., rank:] = 0
    given[rng.random((windows, size)) < 0.3] = 0
    bases = []
    for counts in (counts_of(given), np.full(windows, size)):
        found, some = turning((windows, size), Kind(-100, True, bool(seed % 2))), {}
        for w, k in found.walk(counts):
            for window, frequency, base in zip(w.tolist(), k.tolist(), found.bases[w]):
                unit = base / 2.0**ONE
                assert np.abs(unit @ unit.T - np.eye(SLOTS)).max() < 2e-3
                some[window, frequency] = base, found.tables(w, k)[w.tolist().index(window)]
            found.put(w, k, given[w, k])
        bases.append(some)
    fewer, more = bases
    for at, pair in fewer.items():
        for one, other in zip(pair, more[at]):
            np.testing.assert_array_equal(one, other)


def test_what_moves_along_one_direction_comes_out_in_one_number() -> None:
    """Once it is known where to: the first rows tell it, later ones use it."""
    rng = np.random.default_rng(3)
    along = rng.normal(0, 1, SLOTS)
    along /= np.linalg.norm(along)
    exact = rng.normal(0, 40, (2, 30, 1)) * along
    bases = turning((2, 30), Kind(-100, True, True))
    shares = []
    for w, k in bases.walk(np.array([30, 30])):
        found = bases.turned(w, exact[w, k])
        shares += (found[:, 0] ** 2 / (found**2).sum(axis=1)).tolist()
        bases.put(w, k, np.rint(found).astype(np.int64))
    assert np.median(shares[20:]) > 0.95


@pytest.mark.parametrize("kind", ["Prescott", "Haswell", ""])
def test_whatever_multiplies_finds_the_same_vectors(kind: str) -> None:
    """Products are exact, so neither kernels nor threads matter."""
    code = """
from hashlib import sha256
from golden.cases import free
from motioncodec.bitstream.payload import decode_chunk, encode_chunk
case = free()
for people, layout in zip(case.people, case.layouts):
    for person in decode_chunk(encode_chunk(people, layout), len(people), layout):
        if person.present:
            print(sha256(person.spectrum.vectors.tobytes()).hexdigest())
"""
    found = []
    for threads in ("1", "2"):
        environment = {
            **os.environ, "OPENBLAS_NUM_THREADS": threads,
            **({"OPENBLAS_CORETYPE": kind} if kind else {}),
        }  # fmt: skip
        told = subprocess.run(
            [sys.executable, "-c", code], cwd=Path(__file__).parent, env=environment,
            capture_output=True, text=True, check=True,
        )  # fmt: skip
        found.append(told.stdout)
    assert len(found[0].splitlines()) == 3
    assert found[0] == found[1] == _as_here()


@cache
def _as_here() -> str:
    case = free_case()
    here = []
    for people, layout in zip(case.people, case.layouts):
        for person in decode_chunk(encode_chunk(people, layout), len(people), layout):
            if not person.present:
                continue
            assert person.spectrum is not None
            here.append(hashlib.sha256(person.spectrum.vectors.tobytes()).hexdigest())
    return "".join(f"{one}\n" for one in here)


# -- poses -----------------------------------------------------------------------------------------


def still(frames: int = 40) -> np.ndarray:
    """(frames, 20, 3) the mean pose with reference bones."""
    mean = FREE.components[0].reshape(1, -1, 3).repeat(frames, axis=0)
    bones = np.where(REFERENCE_BONES > 0, REFERENCE_BONES, np.nan)
    kind = Kind(-160, True, True)
    spectrum = find_spectra([mean], bones, kind, 0.1)
    return poses_of([spectrum[0].vectors], [frames], kind)


@pytest.mark.parametrize("free", [False, True])
def test_the_mean_pose_is_nothing(free: bool) -> None:
    kind = Kind(-80, True, free)
    mean = kind.kit.components[0].reshape(1, -1, 3).repeat(50, axis=0)
    assert not find_spectra([mean], None, kind, 0.17)[0].numbers.any()
    # Wherever it is, if that is told by the path.
    along = np.linspace(0, 3, 50)[:, None, None]
    assert free is not find_spectra([mean + along], None, kind, 0.17)[0].numbers.any()


def test_a_finer_step_comes_nearer(jump: Clip) -> None:
    errors = [mean_error(jump, written(jump, step=step)) for step in (420.0, 210.0, 105.0, 53.0)]
    assert errors == sorted(errors, reverse=True)
    assert errors[-1] < errors[0] / 4


def test_what_is_missing_throughout_costs_next_to_nothing() -> None:
    points = still() + 0.05 * np.sin(np.arange(40) / 5)[:, None, None]
    kind = Kind(-100, True, True)
    (whole,) = find_spectra([points], None, kind, 0.17)
    for joint in ("left_wrist", "head_top", "right_toe"):
        less = points.copy()
        less[:, CANONICAL.index(joint)] = np.nan
        found = find_spectra([less], None, kind, 0.17)
        assert np.abs(found[0].numbers).sum() <= 1.2 * np.abs(whole.numbers).sum() + 8
        back = poses_of([found[0].vectors], [40], kind)
        back += np.nanmean(less - back, axis=1, keepdims=True)
        assert np.nanmean(np.linalg.norm(back - less, axis=-1)) < 0.05


def test_bones_are_kept(jump: Clip) -> None:
    found = Decoder(io.BytesIO(written(jump, step=177.0))).clip()
    rows = [jump.skeleton.joints.index(joint) for joint in ("left_knee", "left_ankle")]
    for clip in (jump, found):
        shins = np.linalg.norm(np.diff(clip.keypoints[:, 0, rows], axis=1), axis=-1)
        assert np.ptp(shins) < 2e-3
    assert np.isfinite(find_bones(still())[1:]).any()


# -- files -----------------------------------------------------------------------------------------


def test_a_mean_error_takes_a_spectrum_where_it_is_smaller(jump: Clip) -> None:
    data = written(jump, mean_error=20.0)
    header = Decoder(io.BytesIO(data)).header
    assert header.spectrum is not None
    assert header.model == 0
    assert 15 < mean_error(jump, data) <= 20
    tokens = written(jump, mean_error=20.0, preset="f16")
    assert Decoder(io.BytesIO(tokens)).header.spectrum is None
    assert len(data) < len(tokens)


def test_two_people_of_whom_one_comes_and_goes(jump: Clip) -> None:
    points = np.concatenate([jump.keypoints, jump.keypoints + np.array([1.0, 0.0, 0.5])], axis=1)
    points[40:, 1] = np.nan
    both = replace(jump, keypoints=points.astype(np.float32), people=("a", "b"))
    data = written(both, step=177.0)
    alone = written(jump, step=177.0)
    assert mean_error(both, data) < 1.2 * mean_error(jump, alone)
    assert len(data) < 2 * len(alone)


def test_long_clips_pass_in_chunks(jump: Clip) -> None:
    times = 1 + 2500 // jump.frames
    points = np.concatenate([jump.keypoints, jump.keypoints[::-1]] * times)[:2500]
    long = replace(jump, keypoints=points, confidence=None, frame_rate=30.0)
    data = written(long, step=177.0)
    stream = Decoder(io.BytesIO(data))
    assert stream.header.chunks == 3
    whole = stream.clip()
    part = Decoder(io.BytesIO(data)).clip(range(1000, 1100))
    np.testing.assert_array_equal(part.keypoints, whole.keypoints[1000:1100])


def test_chunks_lap(jump: Clip) -> None:
    """No seam stands out, at whatever chunk, and groups of chunks go on where others ended."""
    from motioncodec import encoding

    points = np.concatenate([jump.keypoints, jump.keypoints[::-1]] * 12)
    long = replace(jump, keypoints=points, confidence=None)
    found = []
    for together in (32, 2):
        before, encoding._TOGETHER = encoding._TOGETHER, together
        try:
            clip = Decoder(io.BytesIO(written(long, step=60.0))).clip()
        finally:
            encoding._TOGETHER = before
        off = np.nan_to_num(clip.keypoints - long.keypoints)
        jumps = np.linalg.norm(np.diff(off, axis=0), axis=-1).mean(axis=(1, 2))
        seams = jumps[[1023, 2047, 3071]]
        assert seams.max() < np.quantile(jumps, 0.99)
        found.append(np.abs(off).mean())
    assert found[1] < 1.02 * found[0]


def test_orthonormal_laps_take_nothing() -> None:
    rng = np.random.default_rng(1)
    signals = [rng.normal(0, 1, (n, 3)) for n in (128, 64, 96)]
    before = [one.copy() for one in signals]
    lap(signals, [64, 32, 48])
    energy = sum((one**2).sum() for one in signals)
    assert np.isclose(energy, sum((one**2).sum() for one in before))
    assert not np.allclose(signals[0], before[0])
    lap(signals, [64, 32, 48], back=True)
    for one, other in zip(signals, before):
        np.testing.assert_allclose(one, other, atol=1e-12)


@pytest.mark.parametrize("rate", [24.0, 60.0, 119.88])
def test_other_frame_rates(jump: Clip, rate: float) -> None:
    clip = replace(jump, frame_rate=rate)
    fast = written(clip, preset="f16")
    assert mean_error(clip, written(clip, step=105.0)) < mean_error(clip, fast)


def test_skeletons_with_joints_outside_the_body() -> None:
    rng = np.random.default_rng(2)
    smpl = find_skeleton("smpl-24")
    poses = still(90)
    points = np.zeros((90, 1, len(smpl), 3))
    for joint, canonical in enumerate(smpl.covered):
        points[:, 0, joint] = poses[:, max(canonical, 0)] + (canonical < 0) * rng.normal(0, 0.1, 3)
    clip = Clip(points, 30.0, smpl, units="m")
    data = written(clip, mean_error=20.0)
    assert mean_error(clip, data) <= 20
    assert mean_error(clip, written(clip, step=115.0)) < 60


def test_what_is_refined_comes_within_any_mean_error(jump: Clip) -> None:
    data = written(jump, mean_error=4.0, step=136.0)
    header = Decoder(io.BytesIO(data)).header
    assert header.fine_step is not None
    assert 3 < mean_error(jump, data) <= 4


def test_threads_change_nothing(jump: Clip) -> None:
    before = torch.get_num_threads()
    try:
        found = []
        for threads in (1, 2):
            torch.set_num_threads(threads)
            data = written(jump, step=142.0)
            found.append((data, Decoder(io.BytesIO(data)).clip().keypoints.tobytes()))
        assert found[0] == found[1]
    finally:
        torch.set_num_threads(before)


def test_damage_is_noticed(jump: Clip) -> None:
    few = replace(jump, keypoints=jump.keypoints[:20], confidence=None)
    data = written(few, step=420.0)
    for damaged in damaged_files(data):
        with pytest.raises(MotionCodecError):
            Decoder(io.BytesIO(damaged)).clip()


def test_a_bound_takes_no_harm(jump: Clip) -> None:
    clip = jump.window(0, 60)
    data = written(clip, step=136.0, max_error=150.0)
    apart = Decoder(io.BytesIO(data)).clip().keypoints.astype(np.float64) - clip.keypoints
    assert np.nanmax(np.linalg.norm(apart, axis=-1)) <= 0.15


# -- headers ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "wrong",
    [
        {70: 1}, {70: -321}, {70: -80, 7: 14}, {70: -80, 6: 2}, {70: True}, {70: -80, 65: 1},
        {71: 1}, {71: -321}, {71: -80, 7: 14}, {71: -80, 6: 2}, {71: True}, {71: -80, 65: 1},
        {70: -80, 71: -80}, {71: -80, 73: -80}, {73: -80, 16: 96}, {73: 1}, {73: -321},
        {73: -80, 7: 14}, {73: -80, 6: 2}, {73: True}, {73: -80, 65: 1},
    ],
)  # fmt: skip
def test_headers_that_cannot_be_are_refused(wrong: dict[int, object]) -> None:
    packed = {0: 10, 11: 0, **wrong}
    with pytest.raises(ContainerError, match="header"):
        Header.unpack(packed)


def test_a_spectrum_needs_somebodys_scale() -> None:
    with pytest.raises(ContainerError, match="scale"):
        Header.unpack({0: 10, 70: -80})


def test_trimming_goes_on_from_a_spectrum(jump: Clip) -> None:
    from motioncodec.codec import trim

    source = Decoder(io.BytesIO(written(jump, step=115.0)))
    target = io.BytesIO()
    trim(source, target, Settings(preset="f32"))
    assert Decoder(io.BytesIO(target.getvalue())).header.depth == 1
    with pytest.raises(UsageError, match="finer than f16, found one of f16"):
        trim(source, io.BytesIO(), Settings(preset="f16"))
    with pytest.raises(UsageError, match="finer than a step of 100 mm, found one of a step of 115"):
        trim(source, io.BytesIO(), Settings(step=100.0))
    target = io.BytesIO()
    trim(source, target, Settings(step=200.0))
    assert Decoder(io.BytesIO(target.getvalue())).header.spectrum == round(32 * np.log2(0.2))


@pytest.mark.parametrize("step", [0.5, 900.0, float("nan")])
def test_steps_that_are_none_are_refused(jump: Clip, step: float) -> None:
    with pytest.raises(UsageError, match="step: expected 1 to 800 mm"):
        written(jump, step=step)


def test_a_clip_in_2d_has_no_spectrum(jump: Clip) -> None:
    flat = Clip(jump.keypoints[..., :2], 30.0, jump.skeleton, units="px", up="-y")
    with pytest.raises(UsageError, match="ask for a preset"):
        written(flat, step=100.0)


def test_a_long_clip_of_which_a_piece_is_empty(jump: Clip) -> None:
    """The way to a mean error is judged by pieces, of which one may have nobody in it."""
    points = np.concatenate([jump.keypoints, jump.keypoints[::-1]] * 4)
    points[:500] = np.nan
    long = replace(jump, keypoints=points, confidence=None)
    data = written(long, mean_error=20.0)
    assert 10 < mean_error(long, data) <= 20
