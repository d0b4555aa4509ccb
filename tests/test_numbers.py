"""Keypoints in numbers: foretold by those before and by other joints; and float32 to the bit."""

from __future__ import annotations

import io
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from damage import damaged_files
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from reference_decoder import THRESHOLDS

from motioncodec.bitstream import numbers as coding
from motioncodec.bitstream.entropy import TOTAL, Decoder, Encoder
from motioncodec.bitstream.foretold import FRAME, LENGTH, LINE, Link, Numbers
from motioncodec.bitstream.numbers import code_numbers, fresh_tables
from motioncodec.clip import Clip
from motioncodec.codec import Decoder as Stream
from motioncodec.codec import Settings, encode_clip
from motioncodec.errors import ContainerError, MotionCodecError, UsageError
from motioncodec.io import read_clip
from motioncodec.lossless import exact_values, find_exact
from motioncodec.prediction import find_numbers, float_at, float_order, values_of
from motioncodec.skeleton import Skeleton

DATA = Path(__file__).parent / "data"


def coded(numbers: Numbers, present: np.ndarray) -> tuple[int, Numbers]:
    coder = Encoder()
    code_numbers(coder, numbers, present, fresh_tables())
    data = coder.finish()
    empty = Numbers.empty(*numbers.differences.shape, numbers.floats, numbers.learned)
    return len(data), code_numbers(Decoder(data), empty, present, fresh_tables())


def rigid(frames: int, seed: int) -> np.ndarray:
    """(F, 6, 3) metres: a chain of two bones, a joint between two, and a rigid frame of four."""
    rng = np.random.default_rng(seed)
    t = np.arange(frames)[:, None] / 40
    root = np.cumsum(rng.normal(0, 0.01, (frames, 3)), axis=0)

    def along(angle: np.ndarray, up: np.ndarray) -> np.ndarray:
        flat = np.cos(up)
        return np.stack([np.cos(angle) * flat, np.sin(up), np.sin(angle) * flat], -1)[:, 0]

    one = root + 0.4 * along(t + rng.normal(), 0.5 * np.sin(t))
    two = one + 0.3 * along(2 * t, np.cos(t))
    middle = root + 0.25 * (one - root)
    side = np.cross(one - root, two - root)
    side = root + 0.2 * side / np.linalg.norm(side, axis=1, keepdims=True)
    frame = root + 0.5 * (one - root) + 1.5 * np.cross(one - root, side - root)
    return np.stack([root, one, two, middle, side, frame], axis=1)


# -- coding ----------------------------------------------------------------------------------------


def test_the_tables_are_whole() -> None:
    found = coding.tables()
    assert found.shape == (2, coding.LEVELS, coding.TRENDS, coding.SYMBOLS)
    assert (found.sum(axis=-1) == TOTAL).all()
    assert found.min() >= 1


def test_levels_are_thirds_of_octaves() -> None:
    assert coding._FROM.tolist() == THRESHOLDS


@given(
    frames=st.integers(1, 70), joints=st.integers(1, 5), dims=st.sampled_from([1, 2, 3]),
    spread=st.sampled_from([0.0, 0.5, 30.0, 1e5, 1e9]), share=st.sampled_from([0.0, 0.5, 1.0]),
    seed=st.integers(0, 999),
)  # fmt: skip
@settings(deadline=None)
def test_whole_numbers_round_trip(
    frames: int, joints: int, dims: int, spread: float, share: float, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    points = np.rint(np.cumsum(rng.laplace(0, spread, (frames, joints, dims)), axis=0))
    points[rng.random((frames, joints)) >= share] = np.nan
    present = ~np.isnan(points[..., 0])
    _, again = coded(find_numbers(points, floats=False), present)
    np.testing.assert_array_equal(values_of(again, present)[present], points[present])


@given(seed=st.integers(0, 9999), dims=st.sampled_from([2, 3]), bones=st.booleans())
@settings(deadline=None, max_examples=40)
def test_numbers_are_within_reach(seed: int, dims: int, bones: bool) -> None:
    rng = np.random.default_rng(seed)
    points = np.cumsum(rng.normal(0, 1, (40, 4, dims)), axis=0)
    if bones and dims == 3:
        points = rigid(60, seed) * 300
    points[rng.random(points.shape[:2]) < 0.2] = np.nan
    present = ~np.isnan(points[..., 0])
    reach = np.sqrt(dims) / 2
    _, again = coded(find_numbers(points, False, reach), present)
    assert np.linalg.norm(values_of(again, present) - points, axis=-1)[present].max() <= reach


def test_rigid_joints_are_foretold_by_each_other() -> None:
    points = rigid(400, 1) * 5000
    present = np.ones(points.shape[:2], bool)
    numbers = find_numbers(points, floats=False)
    kinds = [0 if link is None else link.kind for link in numbers.links]
    assert kinds.count(0) == 1
    assert {LENGTH, LINE, FRAME} <= set(kinds)
    size, again = coded(numbers, present)
    np.testing.assert_array_equal(values_of(again, present), np.rint(points))
    # As many joints that have nothing to do with each other cost much more.
    others = [rigid(400, 1 + joint)[:, joint] * 5000 for joint in range(points.shape[1])]
    alone = find_numbers(np.stack(others, axis=1), floats=False)
    assert not any(alone.links)
    assert size < 0.7 * coded(alone, present)[0]


@pytest.mark.parametrize("links", [
    {0: Link(LENGTH, (1,), (3.0,)), 1: Link(LENGTH, (0,), (3.0,))},
    {2: Link(LINE, (2, 0), (0.5,))},
    {0: Link(LENGTH, (1,), (3.0,)), 1: Link(LENGTH, (2,), (3.0,)),
     2: Link(FRAME, (0, 1, 1), (0.0,) * 3)},
])  # fmt: skip
def test_links_in_a_circle_are_refused(links: dict[int, Link]) -> None:
    present = np.ones((4, 3), bool)
    numbers = Numbers.empty(4, 3, 3, False)
    numbers.links = [links.get(joint) for joint in range(3)]
    numbers.forms[:] = [
        0 if link is None else 1 if link.kind == LENGTH else 7 for link in numbers.links
    ]
    _, again = coded(numbers, present)
    with pytest.raises(ContainerError, match="without a circle"):
        values_of(again, present)


@pytest.mark.parametrize("companions", [[1, 0, -1], [-1, 1, -1], [2, -1, 1]])
def test_companions_in_a_circle_are_refused(companions: list[int]) -> None:
    """Of their own, or with a link: joint 1's partner is joint 0."""
    present = np.ones((4, 3), bool)
    numbers = Numbers.empty(4, 3, 3, False, learned=True)
    numbers.companions = companions
    numbers.links[1] = Link(LENGTH, (0,), (3.0,))
    _, again = coded(numbers, present)
    assert again.companions == companions
    with pytest.raises(ContainerError, match="without a circle"):
        values_of(again, present)


def test_a_companion_saves_what_moves_two_joints_alike() -> None:
    rng = np.random.default_rng(3)
    shaken = np.cumsum(rng.normal(0, 30, (300, 1, 3)), axis=0)
    points = shaken + np.cumsum(rng.normal(0, 2, (300, 2, 3)), axis=0) + [[[0, 0, 0], [400, 0, 0]]]
    present = np.ones(points.shape[:2], bool)
    numbers = find_numbers(points, floats=False)
    assert sorted(numbers.companions) == [-1, 0] or sorted(numbers.companions) == [-1, 1]
    size, again = coded(numbers, present)
    np.testing.assert_array_equal(values_of(again, present), np.rint(points))
    points[:, 1] += np.cumsum(rng.normal(0, 30, (300, 3)), axis=0)
    assert size < 0.85 * coded(find_numbers(points, floats=False), present)[0]


@given(st.binary(max_size=200), st.booleans(), st.sampled_from([1, 2, 3]), st.booleans())
@settings(deadline=None)
def test_random_bytes_are_numbers_or_refused(
    data: bytes, floats: bool, dims: int, learned: bool
) -> None:
    present = np.ones((40, 5), bool)
    try:
        numbers = code_numbers(
            Decoder(data), Numbers.empty(40, 5, dims, floats, learned), present, fresh_tables()
        )
        found = values_of(numbers, present)
    except ContainerError:
        return
    assert np.isfinite(found).all()


def test_floats_are_counted_in_their_order() -> None:
    some = np.array([-3e38, -1.5, -1e-45, -0.0, 0.0, 1e-45, 1.5, 3e38], np.float32)
    order = float_order(some.astype(np.float64))
    assert (np.diff(order) > 0).all()
    assert order[3:5].tolist() == [-1, 0]
    back = float_at(order).astype(np.float32)
    assert back.view(np.uint32).tolist() == some.view(np.uint32).tolist()


# -- lossless --------------------------------------------------------------------------------------


def bits(values: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(values).view(np.uint32)


def lossless(clip: Clip) -> bytes:
    target = io.BytesIO()
    size = encode_clip(clip, target, Settings(lossless=True))
    assert size == len(target.getvalue())
    return target.getvalue()


@st.composite
def rows(draw: st.DrawFn) -> np.ndarray:
    dims = draw(st.sampled_from([2, 3]))
    joints = draw(st.sampled_from([1, 3, 17, 150]))
    frames = draw(st.sampled_from([1, 2, 33, 300, 5000]))
    frames = min(frames, max(10_000 // joints, 300))
    rng = np.random.default_rng(draw(st.integers(0, 999)))
    points = rng.normal(0, 1, (frames, joints, dims)) * draw(st.sampled_from([0.0, 1e-3, 1.0, 1e9]))
    points = np.cumsum(points, axis=0) + draw(st.sampled_from([0.0, 1000.0]))
    decimals = draw(st.sampled_from([None, None, 0, 2, 4]))
    if decimals is not None:
        points = np.round(points, decimals)
    out = points.astype(np.float32)
    kind = draw(st.sampled_from(["whole", "zeros", "tiny", "gone", "payloads"]))
    some = rng.random(out.shape[:2]) < 0.2
    if kind == "zeros":
        out[some] = -0.0
    if kind == "tiny":
        out[some] = np.float32(1e-42)
    if kind in ("gone", "payloads"):
        out[some] = np.nan
    if kind == "payloads":
        words = out.view(np.uint32)
        words[some] = (0x7F80_0001 + rng.integers(0, 0x7F_FFFE, words[some].shape)) | (
            rng.integers(0, 2, words[some].shape) << 31
        )
    return out


@given(rows())
@settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.too_slow])
def test_any_clip_comes_back_to_the_bit(points: np.ndarray) -> None:
    rng = np.random.default_rng(1)
    gone = np.isnan(points[..., 0])
    sure = np.where(gone, 0, rng.random(points.shape[:2])).astype(np.float32)
    skeleton = Skeleton(tuple(f"p{i}" for i in range(points.shape[1])))
    units = "px" if points.shape[2] == 2 else "m"
    clip = Clip(points[:, None], 50.0, skeleton, sure[:, None], units=units)
    data = lossless(clip)
    again = Stream(io.BytesIO(data)).clip()
    assert np.array_equal(bits(again.keypoints), bits(clip.keypoints))
    assert again.confidence is not None
    assert clip.confidence is not None
    assert np.array_equal(bits(again.confidence), bits(clip.confidence))
    part = Stream(io.BytesIO(data)).clip(range(1, clip.frames))
    assert np.array_equal(bits(part.keypoints), bits(clip.keypoints[1:]))


@pytest.mark.parametrize(
    "path", [*sorted((DATA / "npz").glob("*.npz")), *sorted((DATA / "bvh").glob("*.bvh")),
             DATA / "openpose"], ids=lambda p: p.stem,
)  # fmt: skip
def test_real_files_come_back_to_the_bit(path: Path) -> None:
    clip = read_clip(path, frame_rate=30.0) if path.is_dir() else read_clip(path)
    data = lossless(clip)
    again = Stream(io.BytesIO(data)).clip()
    assert np.array_equal(bits(again.keypoints), bits(clip.keypoints))
    raw = clip.keypoints.nbytes
    if clip.confidence is not None:
        assert again.confidence is not None
        assert np.array_equal(bits(again.confidence), bits(clip.confidence))
        raw += clip.confidence.nbytes
    assert len(data) < 0.7 * raw or clip.frames < 10


def test_decimals_are_found(capture: Clip) -> None:
    rows = np.round(capture.keypoints[:100, 0], 4)
    missing = np.isnan(rows[..., 0])
    assert find_exact(rows, missing).scale == 5
    rows[3, 0, 0] += 1e-6
    stray = find_exact(rows, missing)
    assert (stray.scale, len(stray.strays)) == (5, 1)
    assert np.array_equal(bits(exact_values(stray, missing)), bits(rows))
    assert find_exact(rows * np.float32(1.1), missing).scale == 0


def test_lossless_needs_no_network(capture: Clip) -> None:
    stream = Stream(io.BytesIO(lossless(capture)))
    stream.clip()
    assert not stream.header.model
    assert "network" not in vars(stream.stream)


def test_lossless_has_heatmaps_and_no_tokens(capture: Clip) -> None:
    stream = Stream(io.BytesIO(lossless(capture)))
    target = io.BytesIO()
    encode_clip(capture, target, Settings(max_error=0.5))
    bounded = Stream(io.BytesIO(target.getvalue()))
    for mine, theirs in zip(stream.heatmaps(), bounded.heatmaps(), strict=True):
        assert mine.volume.max() > 0.5
        assert np.abs(mine.volume - theirs.volume).mean() < 0.002
    with pytest.raises(UsageError, match="expected a stream with tokens"):
        stream.tokens()
    with pytest.raises(UsageError, match="expected them throughout"):
        bounded.tokens()


def test_lossless_and_an_error_are_refused(stick: Clip) -> None:
    with pytest.raises(UsageError, match="found more"):
        encode_clip(stick, io.BytesIO(), Settings(max_error=1.0, lossless=True))


def test_no_damage_goes_unnoticed(stick: Clip) -> None:
    data = lossless(replace(stick, keypoints=stick.keypoints[:5]))
    for bad in damaged_files(data):
        with pytest.raises(MotionCodecError):
            Stream(io.BytesIO(bad)).clip()


def test_what_has_no_tokens_is_decoded_beside_what_has(capture: Clip) -> None:
    """Quiet and wild chunks in turn: numbers where those are smaller, coefficients elsewhere."""
    rng = np.random.default_rng(0)
    long = np.concatenate([capture.keypoints] * 30)[:4096]
    wild = long + np.cumsum(rng.normal(0, 0.05, long.shape), axis=0).astype(np.float32)
    part = np.arange(len(long)) // 1024 % 2
    clip = replace(
        capture, keypoints=np.where(part[:, None, None, None] == 1, wild, long), frame_rate=30.0,
        confidence=None,
    )  # fmt: skip
    for bound in (8.0, 25.0):
        target = io.BytesIO()
        encode_clip(clip, target, Settings(max_error=bound))
        found = Stream(io.BytesIO(target.getvalue())).clip()
        apart = np.linalg.norm(found.keypoints.astype(np.float64) - clip.keypoints, axis=-1)
        assert np.nanmax(apart) * 1000 <= bound
        for span in (range(1000, 1100), range(2040, 2056)):
            few = Stream(io.BytesIO(target.getvalue())).clip(span)
            away = few.keypoints.astype(np.float64) - clip.keypoints[span.start : span.stop]
            assert np.nanmax(np.linalg.norm(away, axis=-1)) * 1000 <= bound
