"""The Python side: encode, decode and open, and recordings in other processes."""

from __future__ import annotations

import doctest
import io
import math
import multiprocessing
import os
import pickle
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import motioncodec
import motioncodec.api
from motioncodec.bitstream.container import Reader
from motioncodec.clip import Clip
from motioncodec.codec import Decoder, decode_clip
from motioncodec.errors import ContainerError, FormatError, ModelError, UsageError
from motioncodec.heatmap.rendering import extract_keypoints
from motioncodec.recording import Recording
from motioncodec.skeleton import Skeleton

DATA = Path(__file__).parent / "data"


@pytest.fixture(scope="module")
def long(capture: Clip) -> Clip:
    """Over two minutes, four chunks."""
    return replace(capture, keypoints=np.concatenate([capture.keypoints] * 28))


@pytest.fixture(scope="module")
def path(long: Clip, tmp_path_factory: pytest.TempPathFactory) -> Path:
    target = tmp_path_factory.mktemp("api") / "long.mtok"
    assert motioncodec.encode(long, target, effort=1) is None
    return target


def test_public_names_are_all_there() -> None:
    assert set(motioncodec.__all__) <= set(dir(motioncodec))
    for name in motioncodec.__all__:
        assert getattr(motioncodec, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'compress'"):
        _ = motioncodec.compress  # type: ignore[attr-defined]


def test_the_docstrings_run() -> None:
    assert doctest.testmod(motioncodec.api).failed == 0
    assert doctest.testmod(motioncodec).failed == 0


def test_encode_gives_bytes_or_a_file(capture: Clip, tmp_path: Path) -> None:
    data = motioncodec.encode(capture, preset="f32")
    source, target, stream = tmp_path / "a.npz", tmp_path / "a.mtok", io.BytesIO()
    motioncodec.write_clip(capture, source)
    assert motioncodec.encode(source, target, preset="f32") is None
    assert motioncodec.encode(str(source), stream, preset="f32") is None
    assert data == target.read_bytes() == stream.getvalue()
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.mtok", "a.npz"]


def test_what_encode_is_asked_for_it_does(capture: Clip) -> None:
    sizes = {}
    for how in (
        {"lossless": True}, {"max_error": 2.0}, {"mean_error": 20.0}, {"bitrate": 900.0},
        {"preset": "f8"}, {"model": "conv3d-3d-f8"}, {"effort": 1},
    ):  # fmt: skip
        data = motioncodec.encode(capture, **how)  # type: ignore[call-overload]
        decoded = motioncodec.decode(data)
        apart = np.linalg.norm(decoded.keypoints - capture.keypoints, axis=-1) * 1000
        name, value = next(iter(how.items()))
        sizes[name] = len(data)
        if name == "lossless":
            assert decoded.keypoints.tobytes() == capture.keypoints.tobytes()
        elif name == "max_error":
            assert np.nanmax(apart) <= value
        elif name == "mean_error":
            assert np.nanmean(apart) <= value
        elif name == "bitrate":
            assert 8 * len(data) <= value * capture.duration
        with motioncodec.open(data) as recording:
            promised = {"lossless": 0.0, "max_error": pytest.approx(2.0)}.get(name)
            assert recording.max_error == promised
    assert sizes["lossless"] > sizes["max_error"] > sizes["preset"]


def test_a_file_appears_whole_or_not_at_all(capture: Clip, tmp_path: Path) -> None:
    target = tmp_path / "a.mtok"
    target.write_bytes(b"before")
    with pytest.raises(UsageError, match="expected one of max error"):
        motioncodec.encode(capture, target, max_error=1, lossless=True)
    assert target.read_bytes() == b"before"
    assert list(tmp_path.iterdir()) == [target]
    with pytest.raises(FormatError, match=r"nowhere.*expected a writable path, found: No such"):
        motioncodec.encode(capture, tmp_path / "nowhere" / "a.mtok")


def test_decode_takes_paths_bytes_and_streams(path: Path, long: Clip) -> None:
    whole = motioncodec.decode(path)
    data = path.read_bytes()
    for source in (str(path), data, io.BytesIO(data)):
        np.testing.assert_array_equal(motioncodec.decode(source).keypoints, whole.keypoints)
    part = motioncodec.decode(path, frames=range(1000, 1100))
    np.testing.assert_array_equal(part.keypoints, whole.keypoints[1000:1100])
    with subprocess.Popen(["cat", str(path)], stdout=subprocess.PIPE) as pipe:
        assert pipe.stdout is not None
        assert motioncodec.decode(pipe.stdout).frames == long.frames


def test_what_is_no_file_is_told_when_opened(tmp_path: Path) -> None:
    with pytest.raises(ContainerError, match="expected a readable file, found: No such file"):
        motioncodec.open(tmp_path / "a.mtok")
    with pytest.raises(ContainerError):
        motioncodec.open(b"not a recording")
    with pytest.raises(ModelError, match="expected one of slots"):
        _ = motioncodec.open(motioncodec.encode(_marker()), model="other").skeleton


def _marker() -> Clip:
    return Clip(np.zeros((40, 2, 3, 3)), 24, Skeleton(("a", "b", "c")), people=("x", "y"))


def test_a_recording_says_what_the_clip_says(long: Clip, path: Path) -> None:
    with motioncodec.open(path) as recording:
        for name in (
            "frames", "frame_rate", "duration", "persons", "people", "skeleton", "dims", "units",
            "up", "metadata",
        ):  # fmt: skip
            assert getattr(recording, name) == getattr(long, name), name
        assert len(recording) == long.frames
        assert (recording.preset, recording.max_error) == ("f16", None)
    marker = motioncodec.open(motioncodec.encode(_marker()))
    assert (marker.persons, marker.people, marker.preset) == (2, ("x", "y"), None)
    with pytest.raises(UsageError, match="expected a file with tokens"):
        _ = marker.windows


def test_indexing_gives_clips(path: Path) -> None:
    whole = decode_clip(path.read_bytes()).keypoints
    recording = motioncodec.open(path)
    for at in (slice(300, 450), slice(None, 3), slice(-2, None), slice(5, 2), slice(1000, 9**9)):
        np.testing.assert_array_equal(recording[at].keypoints, whole[at])
    np.testing.assert_array_equal(recording[-1].keypoints, whole[-1:])
    for wrong in (len(whole), -len(whole) - 1):
        with pytest.raises(IndexError):
            recording[wrong]
    with pytest.raises(UsageError, match="expected a step of 1, found 2"):
        recording[::2]
    with pytest.raises(UsageError, match="expected a range within"):
        recording.clip(range(5, 10**6))


def test_a_slice_reads_no_more_than_its_chunks_and_their_neighbours(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[int] = []
    chunk = Reader.chunk
    monkeypatch.setattr(Reader, "chunk", lambda self, i: (read.append(i), chunk(self, i))[1])
    recording = motioncodec.open(path)
    assert recording.decoder.header.chunks == 4
    recording[100:200]
    assert read == [0, 1]
    recording[200:300]
    assert read == [0, 1]  # kept
    read.clear()
    motioncodec.open(path).tokens(range(1100, 1101))
    assert read == [1]


@pytest.mark.parametrize("frames", [1000, 64, 10_000])
def test_clips_follow_one_another(long: Clip, path: Path, frames: int) -> None:
    recording = motioncodec.open(path)
    clips = list(recording.iter_clips(frames))
    assert [c.frames for c in clips[:-1]] == [frames] * (len(clips) - 1)
    whole = recording.clip()
    np.testing.assert_array_equal(np.concatenate([c.keypoints for c in clips]), whole.keypoints)
    with pytest.raises(UsageError, match="at least 1 frame"):
        next(recording.iter_clips(0))


@pytest.mark.parametrize("rate", [0.5, 24, 100])
def test_clips_of_several_people_follow_one_another(rate: float) -> None:
    points = np.random.default_rng(1).normal(size=(90, 2, 3, 3)).cumsum(0)
    clip = Clip(points, rate, Skeleton(("a", "b", "c")), np.full((90, 2, 3), 0.6))
    recording = motioncodec.open(motioncodec.encode(clip))
    whole = recording.clip()
    clips = list(recording.iter_clips(7))
    np.testing.assert_array_equal(np.concatenate([c.keypoints for c in clips]), whole.keypoints)
    np.testing.assert_array_equal(
        np.concatenate([c.confidence for c in clips]), np.asarray(whole.confidence)
    )
    assert [c.frames for c in recording] == [1] * 90
    nobody = motioncodec.open(
        motioncodec.encode(replace(clip, keypoints=points[:, :0], confidence=None))
    )
    assert [c.keypoints.shape for c in nobody.iter_clips(60)] == [(60, 0, 3, 3), (30, 0, 3, 3)]


def test_heatmaps_have_their_peaks_where_the_joints_are(path: Path) -> None:
    recording = motioncodec.open(path)
    frames = range(1000, 1050)  # over the edge of a chunk
    volume = recording.heatmaps(frames, size=48, sigma=1.2)
    assert volume.shape == (1, 60, 50, 48, 48)
    found, peaks = extract_keypoints(volume[0], 3, sigma=1.2)
    assert (np.isnan(found[..., 0]) == recording.clip(frames).missing[:, 0]).all()
    assert peaks.max() == pytest.approx(1, abs=1e-3)
    assert recording.heatmaps(range(2), size=16, dense=True).shape == (1, 20, 2, 16, 16, 16)
    assert recording.heatmaps(range(0)).shape == (1, 60, 0, 64, 64)


@pytest.mark.parametrize("rate", [30, 120, 24])
def test_tokens_are_of_the_windows_that_hold_the_frames(capture: Clip, rate: int) -> None:
    clip = replace(
        capture, frame_rate=rate, keypoints=np.concatenate([capture.keypoints] * (rate // 2))
    )
    check_windows(motioncodec.open(motioncodec.encode(clip, preset="f8", effort=1)))


def test_steps_of_several_levels_are_of_the_windows_that_hold_the_frames() -> None:
    check_windows(motioncodec.open(DATA / "mtok" / "patches_f8.mtok"))


def check_windows(recording: Recording) -> None:
    rate, frames = recording.frame_rate, recording.frames
    assert recording.decoder.header.chunks > 1
    whole = recording.tokens()
    for level, found in zip(recording.decoder.tokens(), whole):
        np.testing.assert_array_equal(level, found)
    assert whole[0].shape[1] == recording.windows
    strides = recording.decoder.stream.strides
    for start, stop in ((0, 1), (0, 70), (500, 501), (1010, 1100), (frames - 1, frames)):
        some = recording.tokens(range(start, stop))
        first = int(start * 30 / rate // recording.window)
        last = math.ceil((stop - 1) * 30 / rate) // recording.window
        for stride, level, found in zip(strides, whole, some):
            per = recording.window // stride
            np.testing.assert_array_equal(level[:, first * per : (last + 1) * per], found)
        held = recording.frames_of(range(first, last + 1))
        assert held.start <= start and stop <= held.stop
        assert recording.frames_of(range(first, first)) == range(held.start, held.start)
    assert [t.shape[1] for t in recording.tokens(range(0))] == [0] * 3
    with pytest.raises(UsageError, match="windows: expected a range within"):
        recording.tokens_of(range(recording.windows + 1))


def test_a_recording_survives_pickling(path: Path) -> None:
    recording = motioncodec.open(path)
    expected = recording[10:20].keypoints
    copy = pickle.loads(pickle.dumps(recording))
    np.testing.assert_array_equal(copy[10:20].keypoints, expected)
    in_memory = pickle.loads(pickle.dumps(motioncodec.open(path.read_bytes())))
    np.testing.assert_array_equal(in_memory[10:20].keypoints, expected)
    with path.open("rb") as file, pytest.raises(UsageError, match="to pickle, found a stream"):
        pickle.dumps(motioncodec.open(file))


def _tokens(recording: Recording, frames: range, out: multiprocessing.Queue[object]) -> None:
    try:
        found = [recording.tokens(frames)[0].tolist() for _ in range(50)]
        out.put(found[0] if all(one == found[0] for one in found) else "they differ")
    except UsageError as error:
        out.put(str(error))


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_processes_do_not_move_each_other_s_place(path: Path, method: str) -> None:
    context = multiprocessing.get_context(method)
    recording = motioncodec.open(path)
    expected = {start: recording.tokens(range(start, start + 200)) for start in (0, 1200, 2400)}
    out = context.Queue()
    for start, levels in expected.items():
        frames = range(start, start + 200)
        worker = context.Process(target=_tokens, args=(recording, frames, out))
        worker.start()
        for _ in range(20):
            np.testing.assert_array_equal(recording.tokens(frames)[0], levels[0])
        assert out.get(timeout=60) == levels[0].tolist()
        worker.join()


def test_a_stream_is_one_process_s(path: Path) -> None:
    context = multiprocessing.get_context("fork")
    out = context.Queue()
    with path.open("rb") as file:
        recording = motioncodec.open(file)
        worker = context.Process(target=_tokens, args=(recording, range(9), out))
        worker.start()
        assert "expected a path or bytes in a process that was forked" in out.get(timeout=60)
        worker.join()


def test_closing(path: Path) -> None:
    before = len(os.listdir("/proc/self/fd")) if sys.platform == "linux" else 0
    with motioncodec.open(path) as recording:
        recording[0]
    with pytest.raises(UsageError, match=r"long\.mtok.*expected an open recording"):
        _ = recording.frames
    recording.close()
    if before:
        assert len(os.listdir("/proc/self/fd")) == before
    with path.open("rb") as file:
        motioncodec.open(file).close()
        assert not file.closed
    assert isinstance(motioncodec.open(path).decoder, Decoder)
