"""Hard bounds: every keypoint of every frame, whatever the clip."""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from importlib.resources import files
from pathlib import Path

import numpy as np
import pytest
import torch
from damage import damaged_files
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from motioncodec.bitstream.bones import slots_of
from motioncodec.bitstream.choosing import SLOTS, Network
from motioncodec.bitstream.corrections import CorrectionTables, code_corrections
from motioncodec.bitstream.entropy import TOTAL, Decoder, Encoder
from motioncodec.bitstream.magnitudes import LEVELS, SYMBOLS, level_of
from motioncodec.bitstream.refinement import (
    BANDS,
    NETWORK,
    OVER_SPECTRUM,
    Jointed,
    code_coefficients,
    plain_tables,
    step_class,
    tables,
    tables_of,
)
from motioncodec.bitstream.spectrum import NETWORK as OF_SPECTRA
from motioncodec.clip import METRES, Clip
from motioncodec.codec import Decoder as Stream
from motioncodec.codec import Settings, encode_clip
from motioncodec.errors import MotionCodecError, UsageError
from motioncodec.io import read_clip
from motioncodec.refinement import (
    Channels,
    correction_step,
    find_corrections,
    kept_bound,
    shape_of,
    window_of,
)
from motioncodec.skeleton import Skeleton, find_skeleton

DATA = Path(__file__).parent / "data"


def encoded(clip: Clip, bound: float, preset: str | None = None, **more: object) -> bytes:
    data = io.BytesIO()
    encode_clip(clip, data, Settings(preset, effort=1, max_error=bound, **more))  # type: ignore[arg-type]
    return data.getvalue()


def largest(clip: Clip, found: Clip) -> float:
    """Largest distance, in mm or pixels."""
    assert np.array_equal(found.missing, clip.missing)
    apart = found.keypoints.astype(np.float64) - clip.keypoints
    distance = np.linalg.norm(apart, axis=-1)[~clip.missing]
    return float(distance.max(initial=0)) * METRES.get(clip.units, 1e-3) * 1000


# -- numbers ---------------------------------------------------------------------------------------


NETWORKS = [NETWORK, OVER_SPECTRUM, OF_SPECTRA]


@pytest.mark.parametrize("network", NETWORKS, ids=lambda one: one.file)
def test_the_tables_are_whole(network: Network) -> None:
    found = tables()
    assert found.shape == (BANDS * LEVELS, SYMBOLS)
    for some in (found, network.tables):
        assert (some.sum(axis=-1) == TOTAL).all()
        assert some.min() >= 1
    raw = (files("motioncodec.bitstream") / network.file).read_bytes()
    assert len(raw) == 4 * sum(int(np.prod(shape)) for shape in network.shapes.values())


@pytest.mark.parametrize("network", NETWORKS, ids=lambda one: one.file)
def test_no_sum_of_the_network_is_beyond_what_doubles_hold(network: Network) -> None:
    net = {name: np.abs(value) for name, value in network.numbers.items()}
    seen = np.full(SLOTS, 192.0)
    mixed = (seen @ net["mix"]).max()
    assert mixed < 2**53
    largest = np.array([192.0] * 7 + [mixed / 256 + 1] * 3)
    rows = sum(net[name].max() for name in ("channel", "frequency", "depth", "step"))
    assert (largest @ net["local"]).max() + rows < 2**53
    for name in ("middle", "last"):
        assert (4095 * net[name].sum(axis=0)).max() + net[f"{name}_bias"].max() < 2**53


def test_levels_are_half_octaves() -> None:
    for activity in range(400):
        expected = min(int(np.floor(2 * np.log2(1 + activity) + 1e-12)), LEVELS - 1)
        assert level_of(np.array([activity]))[0] == expected


@given(
    windows=st.integers(0, 3), size=st.integers(1, 9), plain=st.integers(0, 5),
    spread=st.sampled_from([0.0, 0.3, 3.0, 200.0, 1e9]), seed=st.integers(0, 999),
    body=st.booleans(),
)  # fmt: skip
def test_coefficients_round_trip(
    windows: int, size: int, plain: int, spread: float, seed: int, body: bool
) -> None:
    rng = np.random.default_rng(seed)
    jointed = None
    there = np.ones(plain, bool)
    if body:
        slots = np.flatnonzero(rng.random(SLOTS) < 0.6)
        jointed = Jointed(slots.tolist(), int(rng.integers(1, 4)), int(rng.integers(0, 21)))
        there = np.concatenate([np.isin(np.arange(SLOTS), slots), there])
    numbers = np.rint(rng.laplace(0, spread, (windows, size, len(there)))).astype(np.int64) * there
    coder = Encoder()
    code_coefficients(coder, numbers, jointed)
    code_coefficients(coder, numbers, jointed, plain_tables())
    decoder, none = Decoder(coder.finish()), np.zeros_like(numbers)
    again = code_coefficients(decoder, none, jointed)
    adapted = code_coefficients(decoder, none, jointed, plain_tables())
    np.testing.assert_array_equal(adapted, again)
    np.testing.assert_array_equal(again, numbers)


def test_a_chunk_at_once_has_the_tables_that_coding_has() -> None:
    rng = np.random.default_rng(0)
    numbers = np.rint(rng.laplace(0, 1, (3, 8, SLOTS + 2))).astype(np.int64)
    jointed = Jointed(list(range(SLOTS)), 2, 9)
    body, plain = tables_of(numbers, jointed)
    seen = []

    class Watched(Encoder):
        def many(self, values: np.ndarray, frequencies: np.ndarray) -> np.ndarray:
            seen.append(frequencies)
            return super().many(values, frequencies)

    code_coefficients(Watched(), numbers, jointed)
    np.testing.assert_array_equal(seen[0], NETWORK.tables[body[0, 0]])
    np.testing.assert_array_equal(seen[1], tables()[plain[0, 0]])
    # The third step is that of window 0 at 2 and window 1 at 0.
    np.testing.assert_array_equal(seen[4], NETWORK.tables[np.concatenate([body[0, 2], body[1, 0]])])
    assert len(seen) == 2 * (8 + 2 * 2) + 1


def test_classes_of_steps_are_half_octaves() -> None:
    assert step_class(-20, "m", 0) == 10
    assert step_class(20, "mm", 0) == 10
    assert step_class(7, "cm", 0) == 10
    assert step_class(-20, "m", 64) == 9
    assert step_class(-400, "m", 0) == 0
    assert step_class(400, "m", 0) == 20


@given(
    frames=st.integers(0, 12), joints=st.integers(1, 5), dims=st.sampled_from([2, 3]),
    share=st.sampled_from([0.0, 0.05, 0.7, 1.0]), seed=st.integers(0, 999),
)  # fmt: skip
def test_corrections_round_trip(
    frames: int, joints: int, dims: int, share: float, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    present = rng.random((frames, joints)) < 0.8
    numbers = np.rint(rng.laplace(0, 3, (frames, joints, dims))).astype(np.int64)
    numbers[~present | (rng.random((frames, joints)) > share)] = 0
    coder = Encoder()
    code_corrections(coder, numbers, present, CorrectionTables())
    code_corrections(coder, numbers, present, None)
    decoder, none = Decoder(coder.finish()), np.zeros_like(numbers)
    again = code_corrections(decoder, none, present, CorrectionTables())
    np.testing.assert_array_equal(again, numbers)
    np.testing.assert_array_equal(code_corrections(decoder, none, present, None), numbers)


@given(seed=st.integers(0, 9999), dims=st.sampled_from([2, 3]))
def test_corrections_bring_everything_inside_by_the_least(seed: int, dims: int) -> None:
    apart = np.random.default_rng(seed).normal(0, 2, (5, 7, dims))
    apart[0, 0] = np.nan
    kept = kept_bound(1.0, 3.0)
    step = correction_step(1.0, dims)
    found = find_corrections(apart / step, kept / step)
    after = np.linalg.norm(apart - found * step, axis=-1)
    assert np.nanmax(after) <= kept
    inside = np.linalg.norm(apart, axis=-1) <= kept
    assert not found[inside].any()
    assert not found[0, 0].any()


def test_windows_leave_next_to_nothing_behind_the_end() -> None:
    plain = Channels([], [], False, 3, 2)
    for frames in range(1, 700):
        windows, size, channels = shape_of(frames, plain, 30.0)
        assert channels == 6
        assert size % 2 == 0
        assert 0 <= windows * size - frames < 2 * windows
        assert size <= 96
        assert size >= 44 or windows == 1
    assert shape_of(1024, plain, 30.0) == (16, 64, 6)


@pytest.mark.parametrize(("rate", "size"), [(1, 64), (24, 64), (30, 64), (60, 128), (120, 256),
                                            (1000, 1024)])  # fmt: skip
def test_windows_are_two_seconds(rate: float, size: int) -> None:
    assert window_of(rate) == size


# -- clips -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("bound", [50.0, 10.0, 1.0, 0.1])
@pytest.mark.parametrize("preset", ["f32", "f16", "f8"])
def test_a_capture_is_within_the_bound(capture: Clip, bound: float, preset: str) -> None:
    data = encoded(capture, bound, preset)
    assert 0.3 * bound < largest(capture, Stream(io.BytesIO(data)).clip()) <= bound


def test_a_tighter_bound_costs_more(capture: Clip) -> None:
    sizes = [len(encoded(capture, bound)) for bound in (40, 20, 10, 5, 2, 1)]
    assert sizes == sorted(sizes)
    assert sizes[0] < capture.keypoints.nbytes / 20


@pytest.mark.parametrize("bound", [60.0, 20.0, 5.0, 0.5])
def test_a_mean_is_kept_and_used_up(capture: Clip, walk: Clip, bound: float) -> None:
    for clip in (capture, walk):
        data = io.BytesIO()
        encode_clip(clip, data, Settings(mean_error=bound))
        found = Stream(io.BytesIO(data.getvalue())).clip()
        apart = np.linalg.norm(found.keypoints.astype(np.float64) - clip.keypoints, axis=-1)
        mean = float(np.nanmean(apart)) * METRES[clip.units] * 1000
        assert mean <= bound * 1.001
        stream = Stream(io.BytesIO(data.getvalue()))
        # A step is a fifth finer than the one before.
        assert mean > 0.6 * bound or stream.header.fine_step is None


def test_a_preset_suits_the_error(capture: Clip, detections: Clip) -> None:
    for error, preset in ((30.0, "f32"), (10.0, "f16"), (1.0, "f8")):
        assert Settings(mean_error=error).chosen(capture) == preset
        assert Settings("f16", mean_error=error).chosen(capture) == "f16"
        assert Settings(mean_error=error).chosen(detections) == "f32"
    assert Settings(max_error=100.0).chosen(capture) == "f32"
    assert Settings(max_error=5.0).chosen(capture) == "f16"
    assert Settings().chosen(capture) == "f16"


def test_a_mean_costs_less_where_bones_are_rigid() -> None:
    kick = read_clip(DATA / "npz" / "hdm05_kick_left_front_001.npz")
    rng = np.random.default_rng(0)
    off = rng.normal(0, 0.004, kick.keypoints.shape).astype(np.float32)
    sizes = []
    for clip in (kick, replace(kick, keypoints=kick.keypoints + off)):
        data = io.BytesIO()
        sizes.append(encode_clip(clip, data, Settings("f16", mean_error=15.0)))
        data.seek(0)
        stream = Stream(data)
        (one,) = dict(stream._load(range(1), 0))[0]
        assert one.fine is not None and one.shape is not None and one.bones is not None
        here = stream.stream.layout(0).here(one.missing)
        slots = slots_of(one.shape, one.bones, here)
        assert (len(slots) < 2.3 * here.sum()) == (clip is kick)
        there = one.fine[..., :SLOTS].any(axis=(0, 1))
        assert set(np.flatnonzero(there).tolist()) <= set(slots)
    assert sizes[0] < sizes[1]


@pytest.mark.parametrize("rate", [400.0, 600.0, 2000.0, 9000.0])
def test_a_rate_is_kept_and_used_up(capture: Clip, rate: float) -> None:
    data = io.BytesIO()
    size = encode_clip(capture, data, Settings(bitrate=rate))
    assert size <= rate * capture.duration / 8
    # A step finer takes some 7 % more, and a preset's tokens alone are what they are.
    assert size > 0.85 * rate * capture.duration / 8 or rate < 1000
    found = Stream(io.BytesIO(data.getvalue())).clip()
    off = np.nanmean(np.linalg.norm(found.keypoints - capture.keypoints, axis=-1))
    for other in ("f32", "f16", "f8"):
        target = io.BytesIO()
        if encode_clip(capture, target, Settings(other)) <= rate * capture.duration / 8:
            again = Stream(io.BytesIO(target.getvalue())).clip()
            alone = np.nanmean(np.linalg.norm(again.keypoints - capture.keypoints, axis=-1))
            assert off <= alone * 1.001


def test_a_rate_that_is_too_low_is_refused(capture: Clip) -> None:
    with pytest.raises(UsageError, match=r"expected at least the [0-9]+ bit/s"):
        encode_clip(capture, io.BytesIO(), Settings(bitrate=20.0))


def test_both_errors_at_once_are_refused(stick: Clip) -> None:
    with pytest.raises(UsageError, match="found more"):
        encode_clip(stick, io.BytesIO(), Settings(max_error=1.0, mean_error=1.0))


def test_either_way_is_taken_where_it_is_smaller(capture: Clip) -> None:
    kick = read_clip(DATA / "npz" / "hdm05_kick_left_front_001.npz")
    ways = []
    for clip, bound in ((kick, 40.0), (capture, 1.0)):
        stream = Stream(io.BytesIO(encoded(clip, bound)))
        (one,) = dict(stream._load(range(1), 0))[0]
        ways.append((one.numbers is not None, one.fine is not None))
    assert ways == [(False, True), (True, False)]


@pytest.mark.parametrize("model", ["slots-3d-2", "conv3d-3d-f8"])
def test_every_model_can_be_refined(walk: Clip, model: str) -> None:
    data = encoded(walk, 2.0, model=model)
    assert largest(walk, Stream(io.BytesIO(data)).clip()) <= 2.0


def test_detections_are_within_half_a_pixel(detections: Clip) -> None:
    data = encoded(detections, 0.5)
    assert largest(detections, Stream(io.BytesIO(data)).clip()) <= 0.5


def test_other_threads_and_parts_stay_within(capture: Clip) -> None:
    long = replace(capture, keypoints=np.concatenate([capture.keypoints] * 12))
    data = encoded(long, 0.2, "f16")
    torch.set_num_threads(2)
    torch.set_float32_matmul_precision("medium")
    try:
        assert largest(long, Stream(io.BytesIO(data)).clip()) <= 0.2
    finally:
        torch.set_float32_matmul_precision("highest")
        torch.set_num_threads(1)
    part = replace(long, keypoints=long.keypoints[1000:1100])
    assert largest(part, Stream(io.BytesIO(data)).clip(range(1000, 1100))) <= 0.2


KEYPOINTS = 10_000
"""Of a random clip of more than 400 frames, at most: 5,000 frames of one or two points."""


@st.composite
def clips(draw: st.DrawFn) -> Clip:
    dims = draw(st.sampled_from([2, 3]))
    # Points of no body, and bodies, which have tokens.
    skeleton = draw(
        st.sampled_from([1, 2, 17, 150]).map(lambda n: Skeleton(tuple(f"p{i}" for i in range(n))))
        | st.sampled_from(["coco-17", "smpl-22"]).map(find_skeleton)
    )
    joints = len(skeleton)
    people = draw(st.sampled_from([1, 1, 3]))
    frames = draw(st.sampled_from([1, 2, 31, 64, 65, 400, 1100, 5000]))
    frames = min(frames, max(KEYPOINTS // (joints * people), 400))
    rng = np.random.default_rng(draw(st.integers(0, 999)))
    points = rng.normal(0, 1, (1, people, joints, dims)) * draw(st.sampled_from([0.0, 1.0, 300.0]))
    points = points + np.cumsum(rng.normal(0, 0.01, (frames, people, joints, dims)), axis=0)
    kind = draw(st.sampled_from(["smooth", "jittery", "teleporting", "gone"]))
    if kind == "jittery":
        points = points + rng.normal(0, 0.3, points.shape)
    if kind == "teleporting":
        points = points + 50.0 * (rng.random((frames, people, 1, 1)) > 0.9)
    points = points + draw(st.sampled_from([0.0, 1000.0]))
    if kind == "gone":
        points[rng.random(points.shape[:3]) < 0.4] = np.nan
    rate = draw(st.sampled_from([5.0, 29.97, 30.0, 120.0]))
    units = "px" if dims == 2 else draw(st.sampled_from(["m", "cm", "mm"]))
    return Clip(points.astype(np.float32), rate, skeleton, units=units)


@contextmanager
def threads(count: int) -> Iterator[None]:
    """As many of torch's."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@given(clips(), st.sampled_from([100.0, 7.0, 0.5]))
@settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.too_slow])
def test_any_clip_is_within_any_bound(clip: Clip, bound: float) -> None:
    finest = float(np.nanmax(np.abs(clip.keypoints), initial=0)) * METRES.get(clip.units, 1e-3)
    try:
        with threads(1):
            data = encoded(clip, bound)
    except UsageError as error:
        # Only where float32 is too coarse for it.
        assert "float32" in str(error)
        assert finest * 1000 * 2.0**-23 > bound * 2.0**-10
        return
    with threads(2):
        assert largest(clip, Stream(io.BytesIO(data)).clip()) <= bound


@given(clips(), st.sampled_from([100.0, 7.0, 0.5]))
@settings(deadline=None, max_examples=12, suppress_health_check=[HealthCheck.too_slow])
def test_any_clip_has_any_mean(clip: Clip, mean: float) -> None:
    data = io.BytesIO()
    encode_clip(clip, data, Settings(mean_error=mean))
    found = Stream(io.BytesIO(data.getvalue())).clip()
    apart = np.linalg.norm(found.keypoints.astype(np.float64) - clip.keypoints, axis=-1)
    in_mm = METRES.get(clip.units, 1e-3) * 1000
    finest = float(np.nanmax(np.abs(clip.keypoints), initial=0)) * in_mm * 2.0**-22
    there = apart[~clip.missing]
    assert not len(there) or there.mean() * in_mm <= mean * 1.001 + finest


@pytest.mark.parametrize("mean", [3.0, 12.0])
def test_a_mean_error_leaves_next_to_nothing_unused(capture: Clip, mean: float) -> None:
    data = io.BytesIO()
    encode_clip(capture, data, Settings(mean_error=mean))
    found = Stream(io.BytesIO(data.getvalue())).clip()
    apart = np.linalg.norm(found.keypoints - capture.keypoints, axis=-1)
    assert 0.98 * mean < np.nanmean(apart) * METRES[capture.units] * 1000 <= mean


@pytest.mark.parametrize("mean", [4.0, 8.0])
def test_curves_are_as_coarse_as_a_mean_error_allows(walk: Clip, mean: float) -> None:
    """Of a skeleton with many joints outside the body, whose tokens are within the error."""
    sizes = []
    for asked in (mean / 2, mean):
        data = io.BytesIO()
        encode_clip(walk, data, Settings(mean_error=asked))
        found = Stream(io.BytesIO(data.getvalue())).clip()
        apart = np.linalg.norm(found.keypoints - walk.keypoints, axis=-1)
        assert 0.7 * asked < np.nanmean(apart) * METRES[walk.units] * 1000 <= asked
        sizes.append(len(data.getvalue()))
    assert sizes[1] < 0.8 * sizes[0]


@given(clips(), st.sampled_from([3e3, 1e5, 1e7]))
@settings(deadline=None, max_examples=10, suppress_health_check=[HealthCheck.too_slow])
def test_any_clip_has_any_rate_from_its_least_on(clip: Clip, rate: float) -> None:
    data = io.BytesIO()
    try:
        size = encode_clip(clip, data, Settings(bitrate=rate))
    except UsageError as error:
        assert "expected at least" in str(error)
        return
    assert 8 * size <= rate * clip.duration
    assert Stream(io.BytesIO(data.getvalue())).clip().frames == clip.frames


@pytest.mark.parametrize("asked", [{"bitrate": 1e5}, {"mean_error": 1e-7}])
def test_no_step_is_finer_than_float32(asked: dict[str, float]) -> None:
    """A point far off, and more bits than it can use or an error that it cannot have."""
    points = np.array([[[1000.5, 1001.3, 999.1]]], np.float32)
    clip = Clip(points, frame_rate=120.0, skeleton=Skeleton(("marker",)))
    data = io.BytesIO()
    encode_clip(clip, data, Settings(**asked))
    found = Stream(io.BytesIO(data.getvalue())).clip()
    np.testing.assert_allclose(found.keypoints[:, 0], points, atol=1e-3)


@pytest.mark.parametrize("bound", [0.0, -1.0, float("nan"), float("inf")])
def test_a_bound_that_is_none_is_refused(stick: Clip, bound: float) -> None:
    with pytest.raises(UsageError, match="max error: expected a number above 0"):
        encoded(stick, bound)


def test_a_bound_below_what_float32_holds_is_refused(stick: Clip) -> None:
    far = replace(stick, keypoints=stick.keypoints + np.float32(1e6))
    with pytest.raises(UsageError, match="expected a bound that float32 holds"):
        encoded(far, 1.0)


def test_no_damage_goes_unnoticed(stick: Clip) -> None:
    data = encoded(replace(stick, keypoints=stick.keypoints[:8]), 5.0)
    for bad in damaged_files(data):
        with pytest.raises(MotionCodecError):
            Stream(io.BytesIO(bad)).clip()


@pytest.mark.parametrize("path", sorted((DATA / "npz").glob("*.npz")), ids=lambda p: p.stem)
def test_real_files_are_within_a_millimetre(path: Path) -> None:
    clip = read_clip(path)
    assert largest(clip, Stream(io.BytesIO(encoded(clip, 1.0))).clip()) <= 1.0
