"""The path of a body's centre: what poses say about it, and what is told."""

from __future__ import annotations

import io
from dataclasses import replace
from importlib.resources import files
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from motioncodec import footing, plan
from motioncodec.bitstream.header import PATH_BLOCK, Header
from motioncodec.bitstream.payload import decode_chunk, encode_chunk
from motioncodec.bitstream.trajectory import Curve
from motioncodec.clip import Clip
from motioncodec.codec import TRIED, Decoder, Settings, _some, encode_clip
from motioncodec.encoding import encoded
from motioncodec.errors import ContainerError
from motioncodec.footing import FEET, REACH, SHAPES, bends, steps_of, velocities
from motioncodec.heatmap.bones import HIPS
from motioncodec.heatmap.placement import turn
from motioncodec.io import read_clip
from motioncodec.tracks import find_path, path_of

JUMP = Path(__file__).parent / "data" / "npz" / "cmu_49_08.npz"


@pytest.fixture(scope="module")
def jump() -> Clip:
    clip = read_clip(JUMP)
    return replace(clip, confidence=None)


def somebody(seed: int, frames: int) -> tuple[np.ndarray, np.ndarray]:
    """Poses about their centre, and headings."""
    rng = np.random.default_rng(seed)
    poses = np.cumsum(rng.normal(0, 0.02, (frames, 20, 3)), axis=0) + rng.normal(0, 0.4, (20, 3))
    return poses - poses.mean(axis=1, keepdims=True), np.cumsum(rng.normal(0, 0.05, frames))


def written(clip: Clip, **settings: object) -> bytes:
    data = io.BytesIO()
    encode_clip(clip, data, Settings(**settings))  # type: ignore[arg-type]
    return data.getvalue()


# -- what poses say --------------------------------------------------------------------------------


def as_the_document_has_it(x: np.ndarray, a: np.ndarray) -> np.ndarray:
    """(64, 3) v of FORMAT 9.12 of a run of 64 model frames."""
    raw = (files("motioncodec.bitstream") / "footing.bin").read_bytes()
    numbers = np.frombuffer(raw, "<f2").astype(float).tolist()
    w1 = np.array(numbers[:34560]).reshape(9, 120, 32)
    c1, numbers = np.array(numbers[34560:34592]), numbers[34592:]
    w2 = np.array(numbers[:9216]).reshape(9, 32, 32)
    c2, numbers = np.array(numbers[9216:9248]), numbers[9248:]
    w3, c3 = np.array(numbers[:256]).reshape(32, 8), np.array(numbers[256:])

    def turned(point: np.ndarray, b: float) -> np.ndarray:
        px, py, pz = point
        return np.array([px * np.cos(b) + pz * np.sin(b), py, pz * np.cos(b) - px * np.sin(b)])

    def held(i: int) -> int:
        return min(max(i, 0), len(x) - 1)

    def d(j: int, i: int) -> np.ndarray:
        now, behind = held(i), held(i + 1)
        return turned(x[behind, j], a[now] - a[behind]) - x[now, j]

    def u(i: int) -> np.ndarray:
        parts = [np.concatenate([x[held(i), j], 8 * d(j, i)]) for j in range(20)]
        return np.concatenate(parts)

    def h(i: int) -> np.ndarray:
        return np.maximum(0, c1 + sum(u(i + t - 4) @ w1[t] for t in range(9)))

    rows = {i: h(i) for i in range(-4, 68)}
    out = []
    for i in range(64):
        o = np.maximum(0, c2 + sum(rows[i + t - 4] @ w2[t] for t in range(9))) @ w3 + c3
        s = np.exp(o[:5]) / np.exp(o[:5]).sum()
        borne = sum(s[f] * d(j, i) for f, j in enumerate((15, 19, 14, 18)))
        out.append(turned(o[5:] - borne, -a[i]))
    return np.array(out)


def test_velocities_are_as_the_document_has_them() -> None:
    poses, heading = somebody(1, PATH_BLOCK)
    held = np.clip(np.arange(-REACH, PATH_BLOCK + REACH + 1), 0, PATH_BLOCK - 1)
    found = velocities(poses[held], heading[held])
    np.testing.assert_allclose(found, as_the_document_has_it(poses, heading), atol=1e-9)


def test_the_file_is_as_long_as_its_arrays() -> None:
    assert [array.shape for array in footing.network()] == list(SHAPES)
    raw = (files("motioncodec.bitstream") / "footing.bin").read_bytes()
    assert len(raw) == 2 * sum(int(np.prod(shape)) for shape in SHAPES)


def test_who_turns_by_heading_alone_takes_no_steps() -> None:
    poses, heading = somebody(2, 40)
    still = turn(poses[:1].repeat(40, axis=0), heading)
    np.testing.assert_allclose(steps_of(still, heading), 0, atol=1e-12)


@given(seed=st.integers(0, 999), angle=st.floats(-7, 7))
@settings(max_examples=20, deadline=None)
def test_which_way_somebody_faces_does_not_matter(seed: int, angle: float) -> None:
    poses, heading = somebody(seed, 40)
    found = velocities(poses, heading + angle)
    expected = turn(velocities(poses, heading)[:, None], np.full(len(found), -angle))[:, 0]
    np.testing.assert_allclose(found, expected, atol=1e-9)


@pytest.mark.parametrize("foot", range(4))
def test_a_foot_that_bears_stays(monkeypatch: pytest.MonkeyPatch, foot: int) -> None:
    arrays = [np.zeros(shape) for shape in SHAPES]
    arrays[-1][foot] = 1000.0
    monkeypatch.setattr(footing, "network", lambda: arrays)
    poses, heading = somebody(foot, 60)
    path = np.cumsum(velocities(poses, heading), axis=0)
    there = turn(poses, -heading)[REACH + 1 : len(poses) - REACH, FEET[foot]] + path
    np.testing.assert_allclose(np.diff(there, axis=0), 0, atol=1e-12)


@given(seed=st.integers(0, 999), blocks=st.integers(1, 4))
@settings(max_examples=20, deadline=None)
def test_bends_go_through_knots(seed: int, blocks: int) -> None:
    rng = np.random.default_rng(seed)
    steps = rng.normal(0, 0.1, (PATH_BLOCK * blocks, 3))
    path = np.concatenate([np.zeros((1, 3)), np.cumsum(steps, axis=0)])
    at = np.arange(PATH_BLOCK * blocks)
    line = [np.interp(at, np.arange(0, len(path), PATH_BLOCK), c[::PATH_BLOCK]) for c in path.T]
    np.testing.assert_allclose(bends(steps), path[:-1] - np.stack(line, axis=1), atol=1e-9)
    # What goes straight on bends nothing.
    np.testing.assert_allclose(bends(steps + np.array([1.0, -2.0, 3.0])), bends(steps), atol=1e-9)


# -- what is told ----------------------------------------------------------------------------------


@given(seed=st.integers(0, 999), blocks=st.integers(1, 3), step=st.integers(-40, 0))
@settings(max_examples=20, deadline=None)
def test_paths_come_back(seed: int, blocks: int, step: int) -> None:
    """To within the step and what is faster than the curve."""
    rng = np.random.default_rng(seed)
    header = Header(frames=1, frame_rate=30.0, scales=(0,), spectrum=-80, origin_step=step)
    size, frames = 2.0 ** (step / 4), blocks * PATH_BLOCK + 1
    slow = np.sin(np.arange(frames)[:, None] / 17 + rng.uniform(0, 6, 3)) * rng.uniform(0, 9, 3)
    values = slow * size + rng.uniform(-5, 5, 3)
    curve = find_path(header, values)
    assert isinstance(curve, Curve)
    assert np.abs(path_of(header, curve) - values).max() < 2 * size


def test_poses_say_much_about_the_path(jump: Clip, monkeypatch: pytest.MonkeyPatch) -> None:
    def sizes() -> float:
        encoding = encoded(jump, Settings(step=130.0))
        curves = [one.origin for one in encoding.people[0].values()]
        return float(sum(np.abs(one.sines).sum() for one in curves if one is not None))

    told = sizes()
    monkeypatch.setattr(footing, "network", lambda: [np.zeros(shape) for shape in SHAPES])
    assert told < 0.9 * sizes()


def test_everybody_is_placed_about_the_hips(jump: Clip) -> None:
    clip = replace(jump, frame_rate=30.0)
    decoder = Decoder(io.BytesIO(written(clip, step=130.0)))
    assert decoder.header.free
    names = decoder.stream.skeleton.joints
    hips = [names.index(name) for name in ("left_hip", "right_hip")]
    assert [decoder.stream.skeleton.covered[joint] for joint in hips] == list(HIPS)
    expected = decoder.clip().keypoints[:, 0, hips].mean(axis=1)
    for part in decoder.parts():
        found = part.placement()
        np.testing.assert_allclose(found.origin, expected[part.frames], atol=1e-5)
        assert found.heading is not None


def test_who_jumps_from_place_to_place_is_told_about_the_hips(jump: Clip) -> None:
    """A path of 15 values a second has no jumps; captures that were cut have, and jitter."""
    assert Decoder(io.BytesIO(written(jump, step=130.0))).header.free
    points = np.resize(jump.keypoints, (4 * jump.frames, *jump.keypoints.shape[1:]))
    cut = Clip(points, 30.0, jump.skeleton, units="m")
    shaken = points + np.random.default_rng(0).normal(0, 0.06, (len(points), 1, 1, 3))
    for clip in (cut, replace(cut, keypoints=shaken.astype(np.float32))):
        decoder = Decoder(io.BytesIO(written(clip, step=130.0)))
        assert decoder.header.turns
        assert not decoder.header.free
        apart = np.linalg.norm(decoder.clip().keypoints - clip.keypoints, axis=-1)
        assert np.nanmean(apart) < 0.05


def test_pieces_that_tell_the_way_follow_each_other(jump: Clip) -> None:
    times = 1 + round(2 * TRIED / jump.duration)
    points = np.concatenate([jump.keypoints, jump.keypoints[::-1]] * times)
    there = points + np.linspace(0, 900, len(points))[:, None, None, None].astype(np.float32)
    some = _some(Clip(there, 30.0, jump.skeleton, units="m"))
    assert abs(some.duration - TRIED) < 0.2
    assert np.nanmax(np.abs(np.diff(some.keypoints, axis=0))) < 1.5


def test_short_chunks(jump: Clip, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of as many people as there is room for: parts come out as in the whole."""
    points = np.concatenate([jump.keypoints, jump.keypoints[::-1], jump.keypoints])
    points = np.concatenate([points, points[::-1] + np.float32(1)], axis=1)
    points[70:150, 1] = np.nan
    clip = Clip(points, 30.0, jump.skeleton, units="m")
    monkeypatch.setattr(plan, "MAX_CELLS", 4000)
    data = written(clip, step=130.0)
    decoder = Decoder(io.BytesIO(data))
    assert decoder.header.chunk == PATH_BLOCK
    whole = decoder.clip()
    apart = np.linalg.norm(whole.keypoints.astype(np.float64) - points, axis=-1)
    assert np.nanmean(apart) < 0.04
    # No seam between chunks stands out.
    off = np.nan_to_num(whole.keypoints - points)[:, 0]
    jumps = np.linalg.norm(np.diff(off, axis=0), axis=-1).mean(axis=1)
    assert jumps[PATH_BLOCK - 1 :: PATH_BLOCK].mean() < 2 * jumps.mean()
    for start, stop in ((0, 5), (60, 70), (128, 129), (190, clip.frames)):
        part = Decoder(io.BytesIO(data)).clip(range(start, stop))
        np.testing.assert_array_equal(part.keypoints, whole.keypoints[start:stop])


def test_payloads_that_nobody_wrote_are_refused_or_harmless(jump: Clip) -> None:
    encoding = encoded(jump, Settings(step=130.0))
    stream, layout = encoding.stream, encoding.stream.layout(0)
    data = encode_chunk([encoding.people[0][0]], layout)
    rng = np.random.default_rng(0)
    outcomes: set[bool | None] = set()
    for trial in range(120):
        wrong = bytearray(data[: rng.integers(0, len(data))] if trial % 3 == 0 else data)
        for _ in range(rng.integers(1, 6) if wrong else 0):
            wrong[rng.integers(0, len(wrong))] ^= 1 << int(rng.integers(0, 8))
        try:
            (one,) = decode_chunk(bytes(wrong), 1, layout)
            there = stream.decoded({0: one}, 0, 0)[~one.missing] if one.present else np.zeros(1)
            outcomes.add(bool(np.isfinite(there).all()))
        except ContainerError:
            outcomes.add(None)
    assert outcomes == {None, True}


def test_who_has_a_hand_alone_in_view(jump: Clip) -> None:
    """For longer than a chunk lasts, or than others are in view."""
    points = np.concatenate([jump.keypoints, jump.keypoints[::-1]] * 8)
    points[1030:2100, 0, 1:] = np.nan
    clip = Clip(points, 30.0, jump.skeleton, units="m")
    found = Decoder(io.BytesIO(written(clip, step=130.0))).clip()
    assert np.array_equal(found.missing, clip.missing)
    apart = np.linalg.norm(found.keypoints.astype(np.float64) - points, axis=-1)
    assert np.nanmean(apart[1100:2000]) < 0.1
    assert np.nanmean(apart) < 0.04
