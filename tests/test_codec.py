"""Clips to streams and back: real captures, awkward clips, seams, parts, damage."""

from __future__ import annotations

import io
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from damage import flipped
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from motioncodec.bitstream.header import CHUNK, WINDOW, Header, Link
from motioncodec.clip import Clip
from motioncodec.codec import Decoder, Settings, decode_clip, encode_clip, trim
from motioncodec.errors import ContainerError, ModelError, MotionCodecError, UsageError
from motioncodec.heatmap.rendering import extract_keypoints
from motioncodec.heatmap.resampling import model_frames
from motioncodec.io import read_clip
from motioncodec.model.weights import default_weights
from motioncodec.skeleton import Skeleton, find_skeleton
from motioncodec.stream import Stream
from motioncodec.tracks import extra_order

DATA = Path(__file__).parent / "data"


@pytest.fixture(autouse=True, scope="module")
def one_thread() -> None:
    torch.set_num_threads(1)


def encoded(clip: Clip, **how: object) -> bytes:
    out = io.BytesIO()
    size = encode_clip(clip, out, Settings(**how))  # type: ignore[arg-type]
    assert size == len(out.getvalue())
    return out.getvalue()


def errors(a: Clip, b: Clip) -> np.ndarray:
    return np.linalg.norm(a.keypoints - b.keypoints, axis=-1)


def covered(clip: Clip) -> list[bool]:
    return [c >= 0 for c in clip.skeleton.covered]


def check_contract(clip: Clip, decoded: Clip) -> None:
    """All that must come back exactly."""
    assert decoded.keypoints.shape == clip.keypoints.shape
    assert (decoded.missing == clip.missing).all()
    for name in ("frame_rate", "skeleton", "units", "up", "people", "metadata"):
        assert getattr(decoded, name) == getattr(clip, name), name


@pytest.mark.parametrize(("preset", "limit"), [("f32", 0.3), ("f16", 0.12), ("f8", 0.04)])
def test_a_capture_comes_back(capture: Clip, preset: str, limit: float) -> None:
    data = encoded(capture, preset=preset)
    decoded = decode_clip(data)
    check_contract(capture, decoded)
    assert np.nanmean(errors(capture, decoded)) < limit
    assert len(data) < capture.keypoints.nbytes / 12


def test_presets_nest_in_order_of_error_and_size(capture: Clip) -> None:
    sizes, found = [], []
    for preset in ("f32", "f16", "f8"):
        data = encoded(capture, preset=preset)
        sizes.append(len(data))
        found.append(float(np.nanmean(errors(capture, decode_clip(data)))))
    assert sizes == sorted(sizes)
    assert found == sorted(found, reverse=True)


@pytest.mark.parametrize(("preset", "most"), [("f8", 0.7), ("f16", 1.4), ("f32", 2.8)])
@pytest.mark.parametrize("path", sorted((DATA / "bvh").glob("*.bvh")), ids=lambda p: p.stem)
def test_real_bvh_files(path: Path, preset: str, most: float) -> None:
    """Joints outside the models come back within 7 mm under f8 (here in the file's own
    centimetres), under coarser presets within twice and four times as much."""
    clip = read_clip(path)
    decoded = decode_clip(encoded(clip, preset=preset))
    check_contract(clip, decoded)
    outside = ~np.array(covered(clip))
    assert np.nanmean(errors(clip, decoded)[:, :, outside]) < most


def test_curves_are_as_coarse_as_the_motion_allows(walk: Clip) -> None:
    """A capture at 120 frames a second has a value for every fourth; one that jitters has them all,
    and either comes back as near."""
    outside = ~np.array(covered(walk))
    rng = np.random.default_rng(0)
    shaky = replace(walk, keypoints=walk.keypoints + rng.normal(0, 1.0, walk.keypoints.shape))
    for clip, stride in ((walk, 4), (shaky, 1)):
        data = encoded(clip, preset="f8")
        assert Decoder(io.BytesIO(data)).header.stride == stride
        assert np.nanmean(errors(clip, decode_clip(data))[:, :, outside]) < 0.3
    still = replace(shaky, frame_rate=30.0)
    assert Decoder(io.BytesIO(encoded(still))).header.stride == 1


def test_joints_that_turn_with_others_are_carried_along() -> None:
    """A plate of markers that tumbles: three say how, the rest cost next to nothing, and all come
    back as the document says (9.6), whoever does the sums."""
    rng = np.random.default_rng(3)
    turns = Rotation.from_euler("xyz", np.cumsum(rng.normal(0, 0.06, (300, 3)), axis=0))
    plate = rng.normal(0, 0.15, (12, 3))
    points = np.stack([turn.apply(plate) for turn in turns]) + np.linspace(0, 1, 300)[:, None, None]
    skeleton = Skeleton(tuple(f"m{i}" for i in range(12)))
    clip = Clip(points.astype(np.float32), frame_rate=30.0, skeleton=skeleton)
    data = encoded(clip)
    header = Decoder(io.BytesIO(data)).header
    assert sum(link is not None for link in header.links) >= 8
    few = replace(clip, keypoints=clip.keypoints[:, :, :4], skeleton=Skeleton(("a", "b", "c", "d")))
    assert len(data) < 1.6 * len(encoded(few))
    decoded = decode_clip(data)
    assert errors(clip, decoded).mean() < 0.009
    # What links say, in plain arithmetic, leaves what the curves hold: each joint but the first is
    # near its reference and what carries it.
    found = decoded.keypoints[:, 0].astype(np.float64)
    for joint, (reference, link) in enumerate(zip(header.references, header.links)):
        if link is None:
            continue
        u, v = (found[:, partner] - found[:, reference] for partner in link.partners)
        size = np.sqrt(np.linalg.norm(u, axis=1) * np.linalg.norm(v, axis=1))
        a, b, c = (weight / 64 for weight in link.weights)
        place = found[:, reference] + a * u + b * v + c * np.cross(u, v) / size[:, None]
        assert np.linalg.norm(found[:, joint] - place, axis=1).mean() < 0.03


def test_markers_in_one_place_or_on_one_line_encode() -> None:
    """Nothing there tells how they turn."""
    rng = np.random.default_rng(4)
    path = np.cumsum(rng.normal(0, 0.02, (200, 3)), axis=0)
    along = np.array([0, 0, 0.1, 0.2, 0.4, 0.4])[:, None] * [1.0, 0, 0]
    skeleton = Skeleton(tuple(f"m{i}" for i in range(6)))
    for places in (along, along * 0, along * 1e6):
        points = (path[:, None] + places).astype(np.float32)
        clip = Clip(points, frame_rate=30.0, skeleton=skeleton)
        for how in ({}, {"max_error": 1e6 if places.max() > 1 else 5.0}):
            decoded = decode_clip(encoded(clip, **how))
            check_contract(clip, decoded)


def test_what_joints_are_relative_to_is_known_before_them() -> None:
    links = [None, Link((9, 3), (1, 1, 1)), None, None]
    assert extra_order([0, 1, 2, 3], [0, 0, 1, 0], links) == [[0], [3], [1], [2]]
    assert extra_order([0, 1, 2, 3], [0, 0, 1, 0]) == [[0], [1, 3], [2]]
    circle = [None, Link((2, 3), (1, 1, 1)), None, None]
    itself = [Link((2, 3), (1, 1, 1)), None, None, None]
    for wrong in (circle, itself):
        with pytest.raises(ContainerError, match=r"circle|reference"):
            extra_order([0, 1, 2, 3], [0, 0, 1, 0], wrong)


def test_detections_of_several_people(detections: Clip) -> None:
    """2D, confidence at 4 bits, missing joints; uncovered keypoints within two pixels."""
    decoded = decode_clip(encoded(detections))
    check_contract(detections, decoded)
    outside = ~np.array(covered(detections))
    assert np.nanmean(errors(detections, decoded)[:, :, outside]) < 2.0
    assert np.nanmedian(errors(detections, decoded)) < 12
    assert decoded.confidence is not None
    assert detections.confidence is not None
    assert np.abs(decoded.confidence - detections.confidence).max() <= 0.5 / 15 + 1e-6
    fine = decode_clip(encoded(detections, confidence_bits=8))
    assert fine.confidence is not None
    assert np.abs(fine.confidence - detections.confidence).max() <= 0.5 / 255 + 1e-6
    assert decode_clip(encoded(detections, confidence_bits=0)).confidence is None


@pytest.mark.parametrize("asked", [{}, {"step": 200.0}, {"max_error": 30.0}, {"lossless": True}])
def test_a_part_of_a_known_skeleton_costs_hardly_more(asked: dict[str, Any]) -> None:
    clip = read_clip(DATA / "npz" / "hdm05_kick_left_front_001.npz")
    rows = [j for j, name in enumerate(clip.skeleton.joints) if name not in ("chest", "head_top")]
    part = replace(
        clip, keypoints=clip.keypoints[:, :, rows], confidence=None,
        skeleton=Skeleton.from_names([clip.skeleton.joints[j] for j in rows]),
    )  # fmt: skip
    target = io.BytesIO()
    encode_clip(part, target, Settings(**asked))
    target.seek(0)
    stream = Decoder(target)
    assert stream.header.left_out == 36
    assert stream.header.names == ()
    assert stream.clip().skeleton == part.skeleton
    apart = stream.clip().keypoints.astype(np.float64) - part.keypoints
    assert np.nanmean(np.linalg.norm(apart, axis=-1)) < 0.05


@pytest.mark.parametrize("left_out", [1 << 20, (1 << 20) - 1])
def test_joints_that_are_not_there_cannot_be_left_out(left_out: int) -> None:
    header = Header(frames=1, frame_rate=30.0, left_out=left_out)
    with pytest.raises(ContainerError, match="20 joints to be left out"):
        Stream(header)


def test_a_short_clip_of_a_known_skeleton_has_little_overhead(stick: Clip) -> None:
    data = encoded(stick)
    decoder = Decoder(io.BytesIO(data))
    assert len(data) - sum(decoder.reader.sizes()) < 64


def test_parts_equal_the_whole(capture: Clip) -> None:
    """Any range decodes to what the whole has there, whatever the chunk it falls in."""
    long = replace(capture, keypoints=np.concatenate([capture.keypoints] * 16))
    data = encoded(long)
    whole = decode_clip(data)
    decoder = Decoder(io.BytesIO(data))
    assert decoder.header.chunks >= 3
    edge = decoder.header.frame_span(1)[0]
    for a, b in [(0, 1), (edge - 3, edge + 3), (edge, edge), (long.frames - 1, long.frames)]:
        part = decode_clip(data, frames=range(a, b))
        assert part.frames == b - a
        np.testing.assert_allclose(part.keypoints, whole.keypoints[a:b], atol=1e-5)
    with pytest.raises(UsageError, match="expected a range within 0:"):
        decode_clip(data, frames=range(0, long.frames + 1))


def test_no_seam_between_chunks(capture: Clip) -> None:
    """Steps across chunks' edges are no larger than elsewhere: a still clip stays still."""
    still = replace(
        capture, keypoints=np.repeat(capture.keypoints[100:101], 6000, axis=0), frame_rate=30.0
    )
    data = encoded(still)
    decoder = Decoder(io.BytesIO(data))
    assert decoder.header.chunks == 6
    steps = np.linalg.norm(np.diff(decode_clip(data).keypoints, axis=0), axis=-1)
    steps = np.nanmax(steps, axis=(1, 2))
    edges = [decoder.header.frame_span(c)[0] - 1 for c in range(1, 6)]
    assert steps[edges].max() <= np.sort(steps)[-20:].mean() + 1e-4


def test_chunks_see_their_neighbours(capture: Clip) -> None:
    """Detokenizing with the margin equals detokenizing everything at once."""
    long = replace(capture, keypoints=np.concatenate([capture.keypoints] * 8), frame_rate=30.0)
    decoder = Decoder(io.BytesIO(encoded(long, preset="f8")), "cpu")
    stream = decoder.stream
    people = dict(decoder._load(range(decoder.header.chunks), 0))
    mine = {c: found[0] for c, found in people.items()}
    end = decoder.header.span(decoder.header.chunks - 1)[1]
    whole = stream.decode_body(mine, 0, 0, end)
    part = stream.decode_body(mine, 0, 992, 1056)
    np.testing.assert_allclose(part, whole[992:1056], atol=2e-5)


def test_threads_and_precision_do_not_change_tokens(capture: Clip) -> None:
    data = encoded(capture, preset="f8")
    tokens = Decoder(io.BytesIO(data)).tokens()
    torch.set_num_threads(2)
    torch.set_float32_matmul_precision("medium")
    try:
        again = Decoder(io.BytesIO(data)).tokens()
        moved = decode_clip(data)
    finally:
        torch.set_float32_matmul_precision("highest")
        torch.set_num_threads(1)
    for a, b in zip(tokens, again):
        assert (a == b).all()
    config = default_weights(3).config
    assert [t.shape[2] for t in tokens] == [level.slots for level in config.levels]
    assert np.nanmax(np.abs(moved.keypoints - decode_clip(data).keypoints)) < 1e-2


def test_heatmaps_hold_the_decoded_keypoints(capture: Clip) -> None:
    data = encoded(capture)
    frames = range(40, 60)
    decoded = decode_clip(data, frames=frames)
    (part,) = Decoder(io.BytesIO(data)).heatmaps(frames)
    assert part.volume.shape == (60, 20, 64, 64)
    assert part.placement is not None
    points, height = extract_keypoints(part.volume, 3)
    world = part.placement.invert(points)
    np.testing.assert_allclose(world, decoded.keypoints[:, 0], atol=2e-3)
    assert (height[np.isfinite(world[..., 0])] > 0.9).all()
    (dense,) = Decoder(io.BytesIO(data)).heatmaps(range(3), size=32, sigma=1.0, dense=True)
    assert dense.volume.shape == (20, 3, 32, 32, 32)


def joined(names: str, points: np.ndarray, **more: object) -> Clip:
    return Clip(points, 30.0, Skeleton.from_names(names.split()), **more)  # type: ignore[arg-type]


AWKWARD = {
    "no frames": joined("a b", np.zeros((0, 2, 3))),
    "nobody": Clip(np.zeros((5, 0, 2, 3)), 30.0, Skeleton(("a", "b"))),
    "one frame": joined("a b", np.ones((1, 2, 3))),
    "all missing": joined("a b", np.full((9, 2, 2), np.nan), units="px", up="-y"),
    "markers far away": joined("m1 m2 m3", np.random.default_rng(0).normal(1e6, 5, (40, 3, 3))),
    "a mouse in pixels": joined(
        "snout tail", np.cumsum(np.random.default_rng(1).normal(0, 3, (90, 2, 2)), 0), units="px"
    ),
    "points at rest": joined("a b", np.zeros((100, 2, 3))),
}


@pytest.mark.parametrize("name", AWKWARD)
@pytest.mark.parametrize("preset", ["f32", "f8"])
def test_every_clip_encodes(name: str, preset: str) -> None:
    clip = AWKWARD[name]
    decoded = decode_clip(encoded(clip, preset=preset))
    check_contract(clip, decoded)
    limit = 0.005 if clip.dims == 3 else 1.0
    apart = errors(clip, decoded)
    if np.isfinite(apart).any():
        # float32 itself is no finer than 0.06 at a million.
        assert np.nanmean(apart) < max(limit, 2e-7 * np.nanmax(np.abs(clip.keypoints)))


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    seed=st.integers(0, 2**32 - 1),
    skeleton=st.sampled_from(["coco-17", "panoptic-19", "kinect-25", "canonical-20"]),
    dims=st.sampled_from([2, 3]),
    people=st.integers(1, 3),
    frames=st.integers(1, 150),
    rate=st.sampled_from([12.5, 29.97, 30.0, 120.0]),
    missing=st.sampled_from([0.0, 0.1, 0.9]),
    up=st.sampled_from(["x", "y", "z", "-y"]),
)
def test_random_clips_keep_the_contract(
    seed: int,
    skeleton: str,
    dims: int,
    people: int,
    frames: int,
    rate: float,
    missing: float,
    up: str,
) -> None:
    """Jittery, teleporting, NaN-ridden: never lost, never refused, finite where it was finite."""
    rng = np.random.default_rng(seed)
    joints = find_skeleton(skeleton)
    points = rng.normal(0, 1, (1, people, len(joints), dims)) + np.cumsum(
        rng.normal(0, 0.02, (frames, people, 1, dims)), 0
    )
    points[rng.random(points.shape[:3]) < missing] = np.nan
    clip = Clip(points, rate, joints, rng.random(points.shape[:3]), up=up)
    decoded = decode_clip(encoded(clip))
    check_contract(clip, decoded)
    assert np.isfinite(decoded.keypoints[~clip.missing]).all()


def test_the_same_input_gives_the_same_bytes(walk: Clip) -> None:
    assert encoded(walk) == encoded(walk)


def test_world_position_and_units_survive(stick: Clip) -> None:
    """The same person in millimetres, z up, 40 m away: the same file size, the same error."""
    metres = encoded(stick)
    moved = stick.keypoints[..., [0, 2, 1]] * [1, -1, 1] * 1000 + [40_000, -7000, 0]
    far = replace(stick, keypoints=moved, units="mm", up="z")
    data = encoded(far)
    assert abs(len(data) - len(metres)) < 24
    assert np.nanmean(errors(far, decode_clip(data))) < 60


def test_settings_that_contradict_the_clip(stick: Clip) -> None:
    with pytest.raises(UsageError, match="preset: expected one of f32, f16, f8, found 'f4'"):
        encoded(stick, preset="f4")
    with pytest.raises(UsageError, match="expected a model for 3D keypoints"):
        encoded(stick, model="slots-2d-2")
    with pytest.raises(ModelError, match="expected one of slots-3d-1"):
        encoded(stick, model="nothing")
    if not torch.cuda.is_available():
        with pytest.raises(ModelError, match="expected a CUDA device"):
            encoded(stick, device="cuda")


def test_other_weights_than_the_file_names_are_refused(stick: Clip) -> None:
    data = encoded(stick)
    decoder = Decoder(io.BytesIO(data))
    decoder.header = replace(decoder.header, fingerprint=decoder.header.fingerprint ^ 1)
    with pytest.raises(ModelError, match="expected weights with fingerprint"):
        decoder.clip()


def test_every_truncation_and_every_flipped_bit_is_noticed(stick: Clip) -> None:
    """On a whole small file: only our errors, and `verify` or opening always says so."""
    data = encoded(stick.window(0, 12), preset="f32")
    assert len(data) < 120

    def noticed(damaged: bytes) -> bool:
        try:
            return bool(Decoder(io.BytesIO(damaged)).verify())
        except MotionCodecError:
            return True

    assert not noticed(data)
    for end in range(len(data)):
        assert noticed(data[:end]), end
        with pytest.raises(MotionCodecError):
            decode_clip(data[:end])
    for at in range(len(data)):
        for bit in range(8):
            damaged = flipped(data, at, bit)
            assert noticed(damaged), (at, bit)
            with pytest.raises(MotionCodecError):
                decode_clip(damaged)
    assert noticed(data + b"\0")


def test_windows_fit_the_weights() -> None:
    from motioncodec.model.weights import shipped

    for weights in shipped():
        # Chunks are whole windows of 32 frames, and by default of 64.
        assert weights.config.window % WINDOW == 0 or WINDOW % weights.config.window == 0
        assert CHUNK % weights.config.window == 0


def test_salvage_gives_the_undamaged_chunks(capture: Clip) -> None:
    long = replace(capture, keypoints=np.concatenate([capture.keypoints] * 16))
    data = encoded(long)
    whole = decode_clip(data)
    broken = Decoder(io.BytesIO(data))
    at = data.index(broken.reader.chunk(1)) + 20
    damaged = flipped(data, at, 2)
    with pytest.raises(MotionCodecError, match="chunk 1"):
        decode_clip(damaged)
    decoder = Decoder(io.BytesIO(damaged), salvage=True)
    found = decoder.clip()
    assert decoder.damaged == {1}
    first, last = decoder.header.frame_span(1)
    assert found.missing[first:last].all()
    for part in (slice(0, first), slice(last, None)):
        assert (found.missing[part] == whole.missing[part]).all()
    # Away from the wound nothing changes; beside it the network misses its neighbours.
    np.testing.assert_allclose(
        found.keypoints[: first - 200], whole.keypoints[: first - 200], atol=1e-5
    )
    assert np.nanmean(errors(found, whole)) < 0.02


@pytest.mark.parametrize(
    "asked", [Settings(lossless=True), Settings(max_error=0.5), Settings(max_error=30.0)],
    ids=["lossless", "numbers", "coefficients"],
)  # fmt: skip
def test_salvage_gives_the_undamaged_layers(capture: Clip, asked: Settings) -> None:
    long = replace(capture, keypoints=np.concatenate([capture.keypoints] * 24))
    target = io.BytesIO()
    encode_clip(long, target, asked)
    data = target.getvalue()
    whole = decode_clip(data)
    broken = Decoder(io.BytesIO(data))
    payload = broken.reader.chunk(1)
    (first, last), start = broken.header.frame_span(1), data.index(payload)
    # Wherever a byte is damaged in the chunk: tokens, coefficients, corrections or numbers.
    for share in (0.0, 0.3, 0.6, 0.999):
        at = start + int(share * len(payload))
        damaged = flipped(data, at, 2)
        with pytest.raises(MotionCodecError, match="chunk 1"):
            decode_clip(damaged)
    decoder = Decoder(io.BytesIO(damaged), salvage=True)
    found = decoder.clip()
    assert decoder.damaged == {1}
    assert found.missing[first:last].all()
    # What other joints and frames foretell is whole; networks miss their neighbours beside the
    # wound.
    beside = 256 if asked.max_error == 30.0 else 0
    for part in (slice(0, first - beside), slice(last + beside, None)):
        np.testing.assert_array_equal(found.keypoints[part], whole.keypoints[part])


@pytest.mark.parametrize("rate", [1.0, 23.976, 24.0, 29.97, 30.0, 60.0024986, 119.88, 1000.0])
def test_the_format_and_the_sampler_count_frames_alike(rate: float) -> None:
    """The format may not import the sampler, so each has the formula."""
    for frames in (*range(1, 70), 1024, 4095, 100_003):
        header = Header(frames=frames, frame_rate=rate)
        assert header.model_frames == model_frames(frames, rate)
        spans = [header.frame_span(c) for c in range(header.chunks)]
        assert spans[0][0] == 0
        assert spans[-1][1] == frames
        assert all(a[1] == b[0] for a, b in pairwise(spans))


def trimmed(data: bytes, **how: object) -> bytes:
    out = io.BytesIO()
    trim(Decoder(io.BytesIO(data)), out, Settings(**how))  # type: ignore[arg-type]
    return out.getvalue()


@pytest.mark.parametrize(("preset", "rate"), [("f16", 500), ("f8", 1000)])
def test_a_stream_of_tokens_alone_is_trimmed_to_a_bitrate(
    capture: Clip, preset: str, rate: float
) -> None:
    whole = encoded(capture, preset=preset)
    fewer = trimmed(whole, bitrate=rate)
    assert len(fewer) < len(whole)
    assert len(fewer) * 8 <= rate * capture.duration
    with pytest.raises(UsageError, match=f"expected a stream finer than {preset}"):
        trimmed(whole, preset=preset)


def test_a_bitrate_keeps_count_of_what_the_first_stream_was_off_by(capture: Clip) -> None:
    whole = encoded(capture, max_error=1.0)
    fewer = trimmed(whole, bitrate=5_000)
    header = Decoder(io.BytesIO(fewer)).header
    assert header.bound
    assert header.promised == pytest.approx(header.bound + 1e-3, rel=1e-6)
    assert errors(capture, decode_clip(fewer))[~capture.missing].max() <= header.promised


def test_trimming_keeps_the_stream_s_own_weights(capture: Clip) -> None:
    other = encoded(capture, max_error=1.0, model="conv3d-3d-f8")
    assert Decoder(io.BytesIO(trimmed(other, max_error=50.0))).header.model_id == 5
    newer = trimmed(other, preset="f32", model="slots-3d-2")
    assert Decoder(io.BytesIO(newer)).header.model_id == 3
    lossless = encoded(capture, lossless=True)
    assert Decoder(io.BytesIO(trimmed(lossless, preset="f32"))).header.model_id == 3
