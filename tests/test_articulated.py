"""Bodies of rigid bones: their channels, and their shapes."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray

from motioncodec.articulated import Body, find_shape, links_of
from motioncodec.bitstream.bones import FREE, GROUPS, code_shape, no_bones, slots_of
from motioncodec.bitstream.entropy import Decoder, Encoder
from motioncodec.clip import Clip
from motioncodec.errors import ContainerError
from motioncodec.heatmap.bones import REFERENCE_BONES, find_bones
from motioncodec.tracks import canonical_points

Float64 = NDArray[np.float64]
ALL = np.ones(20, bool)


@pytest.fixture
def points(walk: Clip) -> Float64:
    found = canonical_points(walk, 0, slice(None)).astype(np.float64)
    assert not np.isnan(found).any()
    return found


def body_of(points: Float64, off: Float64) -> tuple[Body, list[int]]:
    lengths = find_bones(points)
    choices, shape = find_shape(points, lengths, 1.0)
    return Body(points + off, links_of(choices, shape, lengths, ALL)), choices


def test_channels_are_orthonormal_and_few(points: Float64) -> None:
    rng = np.random.default_rng(0)
    body, _ = body_of(points, rng.normal(0, 0.1, points.shape))
    assert len(body.slots) < 45
    some = rng.normal(0, 1, (len(body.slots), len(points)))
    moved = body.join(some)
    np.testing.assert_allclose((moved**2).sum(axis=(0, 1)), (some**2).sum(axis=0))
    np.testing.assert_allclose(body.split(moved), some, atol=1e-9)


def test_channels_say_what_the_pose_is(points: Float64) -> None:
    off = np.random.default_rng(1).normal(0, 0.02, points.shape)
    body, _ = body_of(points, off)
    found = body.moved(body.channels(points))
    assert np.linalg.norm(found - points, axis=-1).mean() < 0.002
    # Of poses that it can have, the one that is nearest comes first.
    before = body.pose.transpose(2, 0, 1) - points
    assert np.linalg.norm(before, axis=-1).mean() < np.linalg.norm(off, axis=-1).mean()


def test_free_joints_are_their_coordinates(points: Float64) -> None:
    links = links_of([0, 0], np.zeros((20, 3)), np.full(20, np.nan), ALL)
    body = Body(points, links)
    assert body.slots == list(range(60))
    other = points + np.random.default_rng(2).normal(0, 0.3, points.shape)
    np.testing.assert_allclose(body.moved(body.channels(other, 0)), other, atol=1e-9)


def test_joints_may_be_missing(points: Float64) -> None:
    here = ALL.copy()
    here[[1, 2, 8]] = False
    links = links_of([1, 0], np.zeros((20, 3)), REFERENCE_BONES, here)
    assert {joint for link in links for joint in link.joints} == set(np.flatnonzero(here).tolist())
    body = Body(points, links)
    # Neck and shoulders hang on nothing, for there is no chest.
    assert [link.joints for link in links if link.parent < 0] == [(0,), (3,), (6,), (9,)]
    assert len(body.slots) == len(set(body.slots))
    channels = np.random.default_rng(3).normal(0, 1, (len(body.slots), len(points)))
    np.testing.assert_allclose(body.split(body.join(channels)), channels, atol=1e-9)


@pytest.mark.parametrize("seed", range(20))
def test_shapes_round_trip(seed: int) -> None:
    rng = np.random.default_rng(seed)
    here = rng.random(20) < 0.95
    bones = np.where(rng.random(20) < 0.95, rng.integers(-9, 9, 20), FREE)
    bones[0] = FREE
    shape = np.rint(rng.laplace(0, 10.0 ** rng.integers(0, 7), (21, 3))).astype(np.int64)
    shape[-1] = [0, 0, 1]
    rigid = (bones != FREE) & here
    for i, (parent, *kinds) in enumerate(GROUPS):
        some = [n for n, kind in enumerate(kinds, 1) if rigid[list(kind)].all() and here[parent]]
        shape[-1, i] = rng.choice([0, *some])
    coder = Encoder()
    given = code_shape(coder, shape, bones, here)
    again = code_shape(Decoder(coder.finish()), np.zeros_like(shape), bones, here)
    np.testing.assert_array_equal(again, given)
    assert (given[given != 0] == shape[given != 0]).all()
    lengths = np.where(bones != FREE, REFERENCE_BONES, np.nan)
    links = links_of(given[-1, :2].tolist(), given[:-1] * 1e-4, lengths, here)
    assert sorted(slot for link in links for slot in link.slots) == slots_of(given, bones, here)


def test_a_group_that_is_not_rigid_is_refused() -> None:
    bones = np.zeros(20, np.int64)
    bones[[0, 1]] = FREE
    coder = Encoder()
    coder.bits(1, 1)
    coder.bits(2, 2)
    with pytest.raises(ContainerError, match="expected joints that are rigid"):
        code_shape(Decoder(coder.finish()), np.zeros((21, 3), np.int64), bones, ALL)
    assert not code_shape(Encoder(), np.ones((21, 3), np.int64), no_bones(), ALL).any()
