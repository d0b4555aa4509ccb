"""Numbers of key frames, and what is between them."""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

import motioncodec.encoding
from motioncodec.bitstream.between import (
    EVERY_FRAME,
    PARTS,
    SPACINGS,
    BetweenTables,
    Row,
    Spacing,
    code_between,
    code_spacing,
)
from motioncodec.bitstream.entropy import Decoder, Encoder
from motioncodec.bitstream.foretold import Numbers
from motioncodec.bitstream.payload import Layout, decode_chunk
from motioncodec.clip import Clip
from motioncodec.codec import Decoder as Stream
from motioncodec.codec import Settings, encode_clip
from motioncodec.errors import ContainerError, UsageError
from motioncodec.interpolation import Finder, fill_between, foretold, places_of
from motioncodec.io import read_clip
from motioncodec.prediction import find_ways
from motioncodec.skeleton import Skeleton

Integers = NDArray[np.int64]
spacings = st.builds(Spacing, st.integers(0, SPACINGS - 1))


def nothing(row: Row, joints: Integers, told: Integers) -> Integers:
    return np.zeros_like(told)


@given(spacing=spacings, frames=st.integers(0, 300))
def test_every_frame_is_a_key_frame_or_told_once_after_those_about_it(
    spacing: Spacing, frames: int
) -> None:
    known = set(spacing.keys(frames).tolist())
    assert not frames or {0, frames - 1} <= known
    for row in spacing.rows(frames):
        assert known.isdisjoint(row.frames.tolist())
        assert known.issuperset(row.left.tolist()) and known.issuperset(row.right.tolist())
        assert (row.left < row.frames).all() and (row.frames < row.right).all()
        known |= set(row.frames.tolist())
    assert known == set(range(frames))


@given(
    seed=st.integers(0, 9999),
    spacing=spacings,
    frames=st.integers(1, 200),
    joints=st.integers(1, 6),
    dims=st.sampled_from([1, 2, 3]),
    often=st.sampled_from([0.0, 0.05, 0.9]),
)
@settings(max_examples=60, deadline=None)
def test_corrections_between_key_frames_come_back(
    seed: int, spacing: Spacing, frames: int, joints: int, dims: int, often: float
) -> None:
    rng = np.random.default_rng(seed)
    present = rng.random((frames, joints)) < rng.choice([0.3, 1.0])
    numbers = (rng.standard_cauchy((frames, joints, dims)) * 2).clip(-1e9, 1e9).astype(np.int64)
    numbers[~present | (rng.random((frames, joints)) >= often)] = 0
    numbers[spacing.keys(frames)] = 0
    coder = Encoder()
    assert code_spacing(coder, spacing) == spacing
    code_between(coder, numbers, present, spacing, BetweenTables())
    decoder = Decoder(coder.finish())
    found = code_spacing(decoder, EVERY_FRAME)
    assert found == spacing
    again = code_between(decoder, np.zeros_like(numbers), present, found, BetweenTables())
    np.testing.assert_array_equal(again, numbers)


def test_cubes_are_foretold_within_what_rounding_leaves() -> None:
    t = np.arange(65.0)
    curve = 0.02 * (t - 20) ** 3 - 3 * (t - 40) ** 2 + 17 * t
    places = np.rint(PARTS * curve).astype(np.int64)[:, None, None]
    present = np.ones((65, 1), bool)
    empty = Numbers.empty(9, 1, 1, False, True)
    found = fill_between(places, present, Spacing(3), empty, nothing)
    inner = slice(24, 41)  # where there are two known frames on either side of every row
    assert np.abs(found - places)[inner].max() <= 3


def test_a_straight_line_goes_on_to_the_last_frame() -> None:
    places = 1000 * np.arange(30)[:, None, None] + np.array([0, 7])
    empty = Numbers.empty(5, 1, 2, False, True)
    found = fill_between(places, np.ones((30, 1), bool), Spacing(3), empty, nothing)
    assert np.abs(found - places).max() <= 1


def test_a_joint_is_foretold_by_whatever_is_known_of_it() -> None:
    places = np.array([[10, 90, 0], [0, 0, 0], [30, 50, 0], [0, 0, 0], [0, 70, 0]])[..., None]
    known = np.array([[1, 1, 0], [0, 0, 0], [1, 0, 0], [0, 0, 0], [0, 1, 0]], bool)
    row = Row(1, np.array([1, 3]), np.array([0, 2]), np.array([2, 4]))
    told = foretold(places, known, row)[..., 0]
    # Between two; by the one before; by the one behind; by none at all.
    assert told.tolist() == [[20, 90, 0], [30, 70, 0]]
    lost = Row(1, np.array([1]), np.array([0]), np.array([2]))
    known[:3, 1] = False
    assert foretold(places, known, lost)[0, 1].tolist() == [70]


def test_a_joint_goes_along_with_half_of_its_companion_s_way() -> None:
    numbers = Numbers.empty(2, 3, 1, False, True)
    numbers.companions = [-1, 0, 1]
    keyed = np.zeros((3, 3, 1), np.int64)

    def settle(row: Row, joints: Integers, told: Integers) -> Integers:
        return np.where(joints == 0, 3, 0)[None, :, None]

    found = fill_between(keyed, np.ones((3, 3), bool), Spacing(1), numbers, settle)
    assert found[1, :, 0].tolist() == [3 * PARTS, 3 * PARTS // 2, 3 * PARTS // 4]


@given(seed=st.integers(0, 9999), spacing=spacings, dims=st.sampled_from([2, 3]))
@settings(max_examples=40, deadline=None)
def test_what_is_found_is_within_reach_however_far_apart_key_frames_are(
    seed: int, spacing: Spacing, dims: int
) -> None:
    rng = np.random.default_rng(seed)
    frames = int(rng.integers(1, 120))
    points = np.cumsum(rng.normal(0, rng.choice([0.1, 3.0]), (frames, 4, dims)), axis=0)
    points[rng.random((frames, 4)) < rng.choice([0.0, 0.5])] = np.nan
    kept = 0.502 * np.sqrt(dims)
    finder = Finder(points, kept)
    numbers, _ = find_ways(points[spacing.keys(frames)], floats=False)
    numbers, between = finder.fill(numbers, spacing)
    assert not between[spacing.keys(frames)].any() and not between[~finder.present].any()
    found = places_of(numbers, spacing, between, finder.present)
    off = np.linalg.norm(found - points, axis=-1)
    assert np.nanmax(off, initial=0.0) <= kept + 1e-9


def slow(frames: int, rate: float, seed: int = 3) -> Clip:
    """Five joints of no body, in slow waves."""
    rng = np.random.default_rng(seed)
    t = np.arange(frames)[:, None, None] / rate
    waves = [
        rng.normal(0, 0.2, (5, 3)) * np.sin(2 * np.pi * f * t + rng.uniform(0, 6, (5, 3)))
        for f in (0.2, 0.5, 1.1)
    ]
    points = (sum(waves) + rng.normal(0, 1, (5, 3))).astype(np.float32)
    return Clip(points[:, None], rate, Skeleton.from_names([f"m{i}" for i in range(5)]))


def encoded(clip: Clip, bound: float) -> bytes:
    target = io.BytesIO()
    encode_clip(clip, target, Settings(max_error=bound))
    return target.getvalue()


@contextmanager
def changed(name: str, value: object) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(motioncodec.encoding, name, value)
        yield


def test_four_times_the_frames_take_hardly_more_bytes() -> None:
    few, many = (encoded(slow(6 * rate, float(rate)), 2.0) for rate in (30, 120))
    (one,) = dict(Stream(io.BytesIO(many))._load(range(1), 0))[0]
    assert one.numbers is not None and one.spacing.exponent >= 3
    assert len(many) < 1.15 * len(few)


def test_what_stands_and_jumps_keeps_its_frames() -> None:
    rng = np.random.default_rng(5)
    points = np.repeat(rng.normal(0, 1, (150, 1, 4, 3)), 2, axis=0).astype(np.float32)
    clip = Clip(points, 60.0, Skeleton.from_names(["a", "b", "c", "d"]))
    (one,) = dict(Stream(io.BytesIO(encoded(clip, 1.0)))._load(range(1), 0))[0]
    assert one.numbers is not None and one.spacing == EVERY_FRAME


def test_ways_change_from_chunk_to_chunk_only_where_that_pays() -> None:
    # There and back again, for 35 s: a short last chunk in numbers would have to tell tokens too,
    # for the sake of the first one's, and the other way about.
    clip = read_clip(Path(__file__).parents[1] / "examples" / "cmu_135_07.npz")
    points = np.concatenate([clip.keypoints, clip.keypoints[::-1]] * 2)[:4176]
    clip = Clip(points, clip.frame_rate, clip.skeleton, units=clip.units, up=clip.up)
    size = len(encoded(clip, 20.0))
    with changed("_HOPELESS", 0.0):
        tokens = len(encoded(clip, 20.0))
    assert size <= 1.02 * tokens


def test_a_mean_error_in_numbers_promises_no_bound() -> None:
    clip = slow(200, 60.0)
    target = io.BytesIO()
    encode_clip(clip, target, Settings(mean_error=3.0))
    stream = Stream(io.BytesIO(target.getvalue()))
    assert stream.header.loose and stream.header.promise == 0
    (one,) = dict(stream._load(range(1), 0))[0]
    assert one.numbers is not None and one.spacing.exponent
    off = np.linalg.norm(stream.clip().keypoints - clip.keypoints, axis=-1) * 1000
    assert 2.5 < off.mean() <= 3.0
    assert len(target.getvalue()) < len(encoded(clip, 3.0))


def test_a_file_in_nothing_but_numbers_names_no_model_and_is_drawn_all_the_same() -> None:
    clip = read_clip(Path(__file__).parents[1] / "examples" / "cmu_135_07.npz").window(0, 300)
    target = io.BytesIO()
    encode_clip(clip, target, Settings(mean_error=0.5))
    stream = Stream(io.BytesIO(target.getvalue()))
    header = stream.header
    assert header.alone and header.loose and not (header.model or header.scales or header.covered)
    assert stream.layers().keys() <= {"missing joints", "numbers", "between key frames"}
    drawn = next(iter(stream.heatmaps(range(4))))
    assert drawn.volume.max() > 0.5
    with pytest.raises(UsageError, match="expected a stream with tokens"):
        stream.tokens()


def test_who_is_in_such_a_file_is_in_numbers() -> None:
    """A bit says so, and is not believed."""
    layout = Layout(40, 3, 3, 2, 0, 0, bounded=True, learned=True, spaced=True, terse=True,
                    covered=(0, 1, 2))  # fmt: skip
    coder = Encoder()
    for told in (0, 0):  # nothing is missing, and the person is not in numbers
        coder.bits(told, 1)
    with pytest.raises(ContainerError, match="expected everybody in numbers"):
        decode_chunk(coder.finish() or b"\0", 1, layout)
