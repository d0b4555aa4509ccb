"""Rigid bones: found where they are, gone from what a model sees, back in what is decoded."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from motioncodec.bitstream.bones import FREE, TWINS, code_bones, no_bones
from motioncodec.bitstream.bones import PARENTS as format_parents
from motioncodec.bitstream.entropy import Decoder, Encoder
from motioncodec.codec import Decoder as Stream
from motioncodec.codec import Settings, encode_clip
from motioncodec.errors import ContainerError
from motioncodec.heatmap.bones import (
    REFERENCE_BONES,
    RIGID,
    find_bones,
    from_reference,
    nearest_pose,
    to_reference,
)
from motioncodec.io import read_clip
from motioncodec.skeleton import CANONICAL_PARENTS, MIRROR
from motioncodec.tracks import BONE_STEPS, dequantise_bones, quantise_bones

DATA = Path(__file__).parent / "data"


def test_the_format_and_the_skeleton_have_the_same_bones() -> None:
    """The format may not import the skeleton, so each has the parents."""
    assert format_parents == tuple(CANONICAL_PARENTS)


def lengths_of(body: np.ndarray) -> np.ndarray:
    parents = np.maximum(CANONICAL_PARENTS, 0)
    return np.linalg.norm(body - body[:, parents], axis=-1)


def somebody(seed: int, frames: int = 40) -> tuple[np.ndarray, np.ndarray]:
    """A pose that moves about joints of bones of fixed lengths, and these."""
    rng = np.random.default_rng(seed)
    lengths = REFERENCE_BONES * np.exp(rng.normal(0, 0.2, 20))
    body = np.zeros((frames, 20, 3))
    for joint, parent in enumerate(CANONICAL_PARENTS):
        if parent < 0:
            continue
        turn = rng.normal(size=3) + np.cumsum(rng.normal(0, 0.1, (frames, 3)), axis=0)
        turn /= np.linalg.norm(turn, axis=1, keepdims=True)
        body[:, joint] = body[:, parent] + turn * lengths[joint]
    body -= (body[:, 12] + body[:, 16])[:, None] / 2
    lengths[0] = np.nan
    return body, lengths


def test_parents_and_twins_are_those_of_the_skeleton() -> None:
    for joint in range(1, 20):
        twin = MIRROR[joint]
        assert TWINS[joint] == (twin if twin < joint else -1)


def test_rigid_bones_are_found_and_others_are_not() -> None:
    body, lengths = somebody(0)
    np.testing.assert_allclose(find_bones(body), lengths, atol=1e-9)
    rng = np.random.default_rng(1)
    body[:, 8] += rng.normal(0, 3 * RIGID, (len(body), 3))
    found = find_bones(body)
    assert np.isnan(found[8])
    assert np.isfinite(found[[7, 11, 13]]).all()
    body[:, 0] = np.nan
    assert np.isnan(find_bones(body)).all()


@given(st.integers(0, 2**32 - 1))
def test_there_and_back(seed: int) -> None:
    body, lengths = somebody(seed, 6)
    lengths[seed % 19 + 1] = np.nan
    seen = to_reference(body, lengths)
    rigid = np.isfinite(lengths)
    np.testing.assert_allclose(lengths_of(seen)[:, rigid], np.tile(REFERENCE_BONES[rigid], (6, 1)))
    np.testing.assert_allclose(from_reference(seen, lengths), body, atol=1e-9)


def test_hips_stay_where_they_are() -> None:
    body, lengths = somebody(2)
    body += 0.013
    seen = to_reference(body, lengths)
    np.testing.assert_allclose((seen[:, 12] + seen[:, 16]) / 2, 0.013, atol=1e-9)


def test_the_nearest_pose_is_nearer_to_the_truth() -> None:
    rng = np.random.default_rng(3)
    body, lengths = somebody(4, 200)
    seen = to_reference(body, lengths)
    rough = seen + rng.normal(0, 0.02, seen.shape)
    moved = nearest_pose(rough, np.where(np.isfinite(lengths), REFERENCE_BONES, np.nan))
    before = np.linalg.norm(rough - seen, axis=-1).mean()
    assert np.linalg.norm(moved - seen, axis=-1).mean() < 0.93 * before
    exact = from_reference(rough, lengths)
    np.testing.assert_allclose(lengths_of(exact)[:, 1:], np.tile(lengths[1:], (200, 1)), atol=1e-9)


@given(
    st.lists(st.one_of(st.none(), st.integers(-3000, 3000)), min_size=19, max_size=19),
    st.integers(1, 3),
)
def test_steps_round_trip(values: list[int | None], depth: int) -> None:
    steps = no_bones()
    for joint, value in enumerate(values, 1):
        steps[joint] = FREE if value is None else value
    coder = Encoder()
    code_bones(coder, steps, depth)
    again = code_bones(Decoder(coder.finish()), no_bones(), depth)
    np.testing.assert_array_equal(again, steps)


@pytest.mark.parametrize("depth", [1, 2, 3])
def test_lengths_are_within_half_a_step(depth: int) -> None:
    lengths = REFERENCE_BONES * 1.07
    lengths[[0, 5]] = np.nan
    found = dequantise_bones(quantise_bones(lengths, depth), depth)
    assert np.nanmax(np.abs(found - lengths)) <= 2.0 ** (BONE_STEPS[depth] / 4) / 2 + 1e-12
    assert (np.isnan(found) == np.isnan(lengths)).all()


@pytest.mark.parametrize("step", [-40_000, 40_000])
def test_lengths_beyond_all_bodies_are_refused(step: int) -> None:
    steps = no_bones()
    steps[4] = step
    with pytest.raises(ContainerError, match="bones: expected lengths above 0"):
        dequantise_bones(steps, 1)


@pytest.mark.filterwarnings("ignore:All-NaN")
def test_a_real_capture_comes_back_with_its_own_bones() -> None:
    """Every preset of a clip whose bones are rigid gives lengths within its step."""
    clip = read_clip(sorted((DATA / "npz").glob("*.npz"))[0])
    scale = 1.0
    truth = find_bones(clip.keypoints[:, 0].astype(np.float64) / scale)
    assert np.isfinite(truth).sum() >= 15
    for depth, preset in enumerate(("f32", "f16", "f8"), 1):
        data = io.BytesIO()
        encode_clip(clip, data, Settings(preset=preset))
        data.seek(0)
        decoded = Stream(data).clip().keypoints[:, 0].astype(np.float64)
        # Interpolation back to the clip's own rate cuts corners by a millimetre or so.
        apart = np.abs(np.nanmedian(lengths_of(decoded), axis=0) - truth)
        assert np.nanmax(apart) < 2.0 ** (BONE_STEPS[depth] / 4) + 0.004, preset
