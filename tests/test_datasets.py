"""Windows of many files: which they are, what they hold, and that workers see the same."""

from __future__ import annotations

import pickle
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

import motioncodec
from motioncodec.clip import Clip
from motioncodec.datasets import HeatmapDataset, KeypointDataset, MotionDataset, TokenDataset
from motioncodec.errors import MotionCodecError, UsageError
from motioncodec.recording import Recording

DATA = Path(__file__).parent / "data"


@pytest.fixture(scope="module")
def folder(capture: Clip, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three files of one person (143 frames, 40, over a minute) and one of two."""
    folder = tmp_path_factory.mktemp("files")
    points = capture.keypoints
    two = np.concatenate([points[:100], points[20:120] + np.float32([1, 0, 0])], axis=1)
    clips = {"a": points, "b": points[:40], "c": np.concatenate([points] * 14), "deep/d": two}
    (folder / "deep").mkdir()
    for name, keypoints in clips.items():
        clip = replace(capture, keypoints=keypoints)
        motioncodec.encode(clip, folder / f"{name}.mtok", preset="f32", effort=1)
    return folder


def label(path: Path) -> int:
    return ord(path.stem)


def test_windows_are_counted_file_by_file(folder: Path) -> None:
    dataset = KeypointDataset(folder, window=64, stride=32)
    assert [path.stem for path in dataset.files] == ["a", "b", "c", "d"]
    found = [dataset.where(i) for i in range(len(dataset))]
    starts = {
        stem: [(w.span.start, w.person) for w in found if w.path.stem == stem] for stem in "abcd"
    }
    assert starts["a"] == [(0, 0), (32, 0), (64, 0)]
    assert starts["b"] == [(0, 0)]
    assert len(starts["c"]) == (14 * 143 - 64) // 32 + 1
    assert starts["d"] == [(0, 0), (0, 1), (32, 0), (32, 1)]
    assert all(len(w.span) == 64 for w in found if w.path.stem != "b")
    assert len(KeypointDataset(folder, window=64, stride=32, short="skip")) == len(dataset) - 1
    assert dataset.where(-1) == found[-1]
    with pytest.raises(IndexError):
        dataset[len(dataset)]
    assert len(KeypointDataset([], window=64)) == 0


def test_keypoints_are_those_of_the_file(folder: Path) -> None:
    dataset = KeypointDataset(folder, window=64, stride=50)
    for i in range(0, len(dataset), 3):
        where = dataset.where(i)
        clip = motioncodec.decode(where.path)
        expected = clip.keypoints[where.span.start : where.span.stop, where.person]
        found = dataset[i].numpy()
        assert found.shape == (64, 20, 3)
        np.testing.assert_array_equal(found[: len(expected)], expected)
        assert (found[len(expected) :] == expected[-1]).all() or len(expected) == 64


def test_people_may_share_a_sample(folder: Path) -> None:
    dataset = KeypointDataset(folder, window=64, people=3)
    last = dataset[-1]
    assert last.shape == (3, 64, 20, 3)
    assert dataset.where(-1).person is None
    assert [bool(torch.isnan(person).all()) for person in last] == [False, False, True]
    maps = HeatmapDataset([dataset.files[-1]], window=20, size=16, people=3)[0]
    assert maps.shape == (3, 60, 20, 16, 16)
    assert [bool(person.any()) for person in maps] == [True, True, False]
    one = KeypointDataset([dataset.files[-1]], window=64, people=1)
    assert (len(one), one[0].shape) == (1, (1, 64, 20, 3))


def test_heatmaps_are_rendered_as_asked(folder: Path) -> None:
    dataset = HeatmapDataset(folder, window=16, stride=400, size=24, sigma=1.0)
    where = dataset.where(4)
    found = dataset[4]
    assert found.shape == (60, 16, 24, 24)
    assert found.dtype == torch.float32
    expected = motioncodec.open(where.path).heatmaps(where.span, size=24, sigma=1.0)[where.person]
    np.testing.assert_array_equal(found.numpy(), expected)
    dense = HeatmapDataset(folder, window=4, size=8, dense=True)
    assert dense[0].shape == (20, 4, 8, 8, 8)


@pytest.mark.parametrize("patched", [False, True])
def test_tokens_of_all_levels_lie_side_by_side(
    capture: Clip, tmp_path: Path, patched: bool
) -> None:
    """In a model of patches a window has one step of the coarsest level, two and four of others."""
    if patched:
        shutil.copy(DATA / "mtok" / "patches_f8.mtok", tmp_path)
    else:
        long = replace(capture, keypoints=np.concatenate([capture.keypoints] * 9))
        for name, clip in (("a", capture), ("b", long)):
            motioncodec.encode(clip, tmp_path / f"{name}.mtok", preset="f8", effort=1)
    dataset = TokenDataset(tmp_path, window=2)
    assert dataset[0].shape == (2, 4 + 2 * 14 + 4 * 56 if patched else 24 + 72 + 448)
    assert dataset[0].dtype == torch.int64
    book = dataset.codebook()
    assert len(book) == dataset[0].shape[1]
    assert book.abs().max() < 1e3
    for i in range(len(dataset)):
        where = dataset.where(i)
        levels = motioncodec.open(where.path).tokens_of(where.span)
        level = levels[-1][0]
        got = dataset[i][:, -level.shape[1] * (4 if patched else 1) :].reshape(-1, level.shape[1])
        np.testing.assert_array_equal(got[: len(level)], level)
        assert (got[len(level) :].numpy() == level[-1]).all()


def test_the_codebook_has_what_the_network_looks_up(capture: Clip, tmp_path: Path) -> None:
    path = tmp_path / "a.mtok"
    motioncodec.encode(capture, path, preset="f32", effort=1)
    dataset = TokenDataset([path], window=3)
    tokens, book = dataset[0], dataset.codebook()
    vectors = book[torch.arange(len(book)), tokens]
    network = motioncodec.open(path).decoder.stream.network
    assert torch.equal(vectors, network.levels[0].quantizer.lookup(tokens))


def test_indexing_takes_headers_alone(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any) -> None:
        raise AssertionError("a chunk was decoded")

    monkeypatch.setattr("motioncodec.decoding.decode_chunk", refuse)
    monkeypatch.setattr("motioncodec.model.weights.Weights.network", refuse)
    for kind in (KeypointDataset, HeatmapDataset, TokenDataset):
        assert len(kind(folder, window=1)) > 0


def test_no_more_files_are_open_than_asked_for(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[Recording] = []
    init = Recording.__init__
    monkeypatch.setattr(
        Recording, "__init__", lambda self, *a, **k: (made.append(self), init(self, *a, **k))[1]
    )
    dataset = TokenDataset(folder, open_files=2)
    assert all(recording._closed for recording in made)
    made.clear()
    for i in [0, 3, len(dataset) - 1, 0, len(dataset) - 1]:
        dataset[i]
    assert [Path(r.path).stem for r in made if r.path] == ["a", "b", "d", "a"]
    assert sum(not recording._closed for recording in made) == 2


@pytest.mark.parametrize("context", ["fork", "spawn"])
@pytest.mark.parametrize("kind", [KeypointDataset, HeatmapDataset, TokenDataset])
def test_workers_give_what_this_process_gives(
    folder: Path, kind: type[MotionDataset], context: str
) -> None:
    how: dict[str, Any] = {"size": 16} if kind is HeatmapDataset else {}
    dataset = kind(folder, window=2, stride=16, labels=label, **how)
    alone = [dataset[i] for i in range(len(dataset))]  # files are open when workers are forked
    loader = DataLoader(dataset, 4, num_workers=2, multiprocessing_context=context)
    samples = torch.cat([sample for sample, _ in loader])
    labels = torch.cat([labels for _, labels in loader])
    assert torch.equal(
        samples.nan_to_num(9), torch.stack([sample for sample, _ in alone]).nan_to_num(9)
    )
    assert labels.tolist() == [one for _, one in alone]


def test_labels_and_transforms(folder: Path) -> None:
    files = sorted(folder.rglob("*.mtok"))
    table = {str(path): i for i, path in enumerate(files)}
    by_name = KeypointDataset(folder, window=64, labels=table)
    by_path = KeypointDataset(files, window=64, labels=dict(zip(files, range(4))))
    assert by_name[-1][1] == by_path[-1][1] == 3
    with pytest.raises(UsageError, match=r"expected one for .*a\.mtok, found none"):
        KeypointDataset(folder, window=64, labels={})
    shifted = KeypointDataset(folder, window=8, transform=torch.nan_to_num)
    assert not torch.isnan(shifted[0]).any()
    assert torch.equal(pickle.loads(pickle.dumps(shifted))[0], shifted[0])


def test_files_must_go_together(folder: Path, detections: Clip, tmp_path: Path) -> None:
    files = [folder / "a.mtok", tmp_path / "other.mtok"]
    motioncodec.encode(detections.window(0, 30), files[1], preset="f32", effort=1)
    with pytest.raises(UsageError, match=r"other\.mtok: expected 3D keypoints of pelvis"):
        KeypointDataset(files, window=8)
    with pytest.raises(UsageError, match=r"expected 3D keypoints as in .*found 2D"):
        HeatmapDataset(files, window=8)
    with pytest.raises(UsageError, match="expected tokens of model 3, preset f32"):
        TokenDataset(files)
    motioncodec.encode(detections.window(0, 30), files[1], lossless=True)
    with pytest.raises(UsageError, match="expected a file with tokens"):
        TokenDataset(files[1:])
    files[1].write_bytes(b"no")
    with pytest.raises(MotionCodecError):
        KeypointDataset(files, window=8)
    with pytest.raises(UsageError, match="expected a folder"):
        KeypointDataset(folder / "a.mtok", window=8)


@pytest.mark.parametrize("how", [{"window": 0}, {"stride": 0}, {"people": 0}, {"short": "cut"}])
def test_wrong_requests(folder: Path, how: dict[str, Any]) -> None:
    with pytest.raises(UsageError, match="expected"):
        KeypointDataset(folder, **{"window": 8, **how})
