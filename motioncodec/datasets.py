"""Windows of many ``.mtok`` files for training: keypoints, heatmaps or tokens, decoded as needed.

>>> from torch.utils.data import DataLoader                             # doctest: +SKIP
>>> from motioncodec.datasets import HeatmapDataset                     # doctest: +SKIP
>>> dataset = HeatmapDataset("captures", window=48, size=56)            # doctest: +SKIP
>>> loader = DataLoader(dataset, batch_size=16, shuffle=True, num_workers=2)  # doctest: +SKIP

A dataset reads every file's header when it is made, which takes no network and about 0.1 ms a
file, and nothing else. A window is found in constant time and costs the chunks (34 seconds each)
that it lies in and their neighbours, the first time; as long as its file is among those last used,
their whole numbers are kept and only the network runs. The same index always gives the same sample,
in whatever process: every worker opens files of its own, whether it was forked or spawned.
"""

from __future__ import annotations

import os
from bisect import bisect_right
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from textwrap import shorten
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset

from motioncodec.errors import UsageError
from motioncodec.heatmap.rendering import SIGMA, SIZE
from motioncodec.recording import Recording

AnyPath = str | os.PathLike[str]
Labels = Mapping[Any, int] | Callable[[Path], int]


class Window(NamedTuple):
    """Where a sample is from: a file, frames or windows of tokens in it, and whose they are (None
    for everybody's)."""

    path: Path
    span: range
    person: int | None


class MotionDataset(Dataset[Any]):
    """Windows of several files, one after another; the classes below say of what.

    Args:
        files: paths, or a folder, of which all ``.mtok`` files are taken in order of their names.
        window: frames (windows of tokens) in a sample, in each file's own rate.
        stride: frames from one window to the next; ``window`` if None.
        labels: a number for each file, by path or from a function of it; samples are then (sample,
            label).
        transform: applied to each sample; must be picklable for workers that are spawned.
        people: None for samples of one person each; else every sample has a first axis of so many
            people, those after the last one absent.
        short: what to do with files shorter than a window: ``hold`` their last frame, or ``skip``
            them.
        device: where networks run.
        model: path of the weights, where the files were made with some that do not ship.
        open_files: how many files are kept open in each process.

    Raises:
        MotionCodecError: a file is damaged, or other than the first one in what samples depend on.
    """

    absent: float = 0.0
    """What stands for somebody who is not there."""

    def __init__(
        self,
        files: AnyPath | Iterable[AnyPath],
        *,
        window: int,
        stride: int | None = None,
        labels: Labels | None = None,
        transform: Callable[[Tensor], Any] | None = None,
        people: int | None = None,
        short: str = "hold",
        device: str = "cpu",
        model: str | None = None,
        open_files: int = 32,
    ) -> None:
        self.window, self.stride = window, window if stride is None else stride
        if self.window < 1 or self.stride < 1 or (people is not None and people < 1):
            raise UsageError(
                f"expected a window, a stride and people from 1, found {window}, {stride}, {people}"
            )
        if short not in ("hold", "skip"):
            raise UsageError(f"short: expected hold or skip, found {short!r}")
        self.transform, self.people = transform, people
        self.device, self.model, self.open_files = device, model, max(open_files, 1)
        self.files = _listed(files)
        self.labels = None if labels is None else [_label(labels, path) for path in self.files]
        self._lengths: list[int] = []
        self._persons: list[int] = []
        ends: list[int] = []
        kinds: list[str] = []
        for path in self.files:
            with Recording(path, device=device, model=model) as recording:
                kinds.append(self._kind(recording))
                if kinds[-1] != kinds[0]:
                    first, other = (
                        shorten(kind, 80, placeholder=" ...") for kind in (kinds[0], kinds[-1])
                    )
                    raise UsageError(
                        f"{path}: expected {first} as in {self.files[0]}, found {other}"
                    )
                length, persons = self._length(recording), recording.persons
            whole = (length - self.window) // self.stride + 1 if length >= self.window else 0
            held = int(0 < length < self.window and short == "hold")
            each = persons if people is None else min(persons, 1)
            self._lengths.append(length)
            self._persons.append(persons)
            ends.append((ends[-1] if ends else 0) + (whole + held) * each)
        self._ends: NDArray[np.int64] = np.array(ends, np.int64)
        self._recordings: OrderedDict[int, Recording] = OrderedDict()

    def __len__(self) -> int:
        return int(self._ends[-1]) if len(self._ends) else 0

    def _find(self, index: int) -> tuple[int, Window]:
        index = range(len(self))[index]
        file = bisect_right(self._ends, index)
        within = index - (int(self._ends[file - 1]) if file else 0)
        each = self._persons[file] if self.people is None else 1
        start = within // each * self.stride
        span = range(start, min(start + self.window, self._lengths[file]))
        return file, Window(self.files[file], span, within % each if self.people is None else None)

    def where(self, index: int) -> Window:
        """Where a sample is from."""
        return self._find(index)[1]

    def __getitem__(self, index: int) -> Any:
        file, window = self._find(index)
        found = self._sample(self._recording(file), window.span)
        axis = self._time_axis
        if len(window.span) < self.window:
            hold = [(0, 0)] * found.ndim
            hold[axis] = (0, self.window - len(window.span))
            found = np.pad(found, hold, mode="edge")
        if window.person is not None:
            found = found[window.person]
        elif self.people is not None:
            missing = max(self.people - len(found), 0)
            nobody = np.full((missing, *found.shape[1:]), self.absent, found.dtype)
            found = np.concatenate([found[: self.people], nobody])
        sample: Any = torch.from_numpy(found if found.flags.writeable else found.copy())
        if self.transform is not None:
            sample = self.transform(sample)
        return sample if self.labels is None else (sample, self.labels[file])

    def _recording(self, file: int) -> Recording:
        """A file, opened in this process or just now; that which was not used for longest closes
        where there would be too many."""
        if file not in self._recordings:
            path = self.files[file]
            self._recordings[file] = Recording(path, device=self.device, model=self.model)
        self._recordings.move_to_end(file)
        while len(self._recordings) > self.open_files:
            self._recordings.popitem(last=False)[1].close()
        return self._recordings[file]

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_recordings": OrderedDict()}

    # -- what the kinds of samples differ in -------------------------------------------------------

    _time_axis = 1

    def _kind(self, recording: Recording) -> str:
        """What must be alike in all files, in words."""
        raise NotImplementedError

    def _length(self, recording: Recording) -> int:
        return recording.frames

    def _sample(self, recording: Recording, span: range) -> NDArray[Any]:
        """People first, time along ``_time_axis``."""
        raise NotImplementedError


class KeypointDataset(MotionDataset):
    """Samples of keypoints: float32 (T, K, D), or (P, T, K, D) with ``people``, in the files' units
    and axes, NaN where missing. All files must have the same skeleton and dimensions.

    Args: see :class:`MotionDataset`.
    """

    absent = float("nan")

    def _kind(self, recording: Recording) -> str:
        return f"{recording.dims}D keypoints of {', '.join(recording.skeleton.joints)}"

    def _sample(self, recording: Recording, span: range) -> NDArray[Any]:
        return recording.clip(span).keypoints.swapaxes(0, 1)


class HeatmapDataset(MotionDataset):
    """Samples of heatmaps, rendered as they are asked for: float32 (C, T, H, W), or (P, C, T, H, W)
    with ``people``, heights from 0 to 1. C is 20 joints in 2D and 60 in 3D, where each joint has
    its projections xy, zy and xz; dense (20, T, D, H, W). All files must have the same dimensions;
    skeletons may differ, for a joint that is not there is an empty map.

    Args:
        size: pixels along each side.
        sigma: of the Gaussians in pixels.
        dense: voxels instead of projections (3D alone).
        window, how: see :class:`MotionDataset`.
    """

    _time_axis = 2

    def __init__(
        self,
        files: AnyPath | Iterable[AnyPath],
        *,
        window: int,
        size: int = SIZE,
        sigma: float = SIGMA,
        dense: bool = False,
        **how: Any,
    ) -> None:
        self.size, self.sigma, self.dense = size, sigma, dense
        super().__init__(files, window=window, **how)

    def _kind(self, recording: Recording) -> str:
        return f"{recording.dims}D keypoints"

    def _sample(self, recording: Recording, span: range) -> NDArray[Any]:
        return recording.heatmaps(span, size=self.size, sigma=self.sigma, dense=self.dense)


class TokenDataset(MotionDataset):
    """Samples of tokens: int64 (steps, slots), or (P, steps, slots) with ``people``; no network
    runs. All files must have tokens of the same model and preset.

    Here a window and a stride are counted in steps: one step is what the coarsest level's tokens
    stand for, 64 frames at 30 a second with the newest 3D model, whatever the file's own rate. The
    first step begins at a file's first frame, none straddles chunks, and the last one may reach
    beyond the last frame. Slots of all levels follow one another, coarse to fine; a level that has
    several steps within one of the coarsest has all of them there. Tokens of somebody who is not
    there are 0.

    Args: see :class:`MotionDataset`.
    """

    def __init__(self, files: AnyPath | Iterable[AnyPath], *, window: int = 1, **how: Any) -> None:
        super().__init__(files, window=window, **how)

    def _kind(self, recording: Recording) -> str:
        header = recording.decoder.header
        if not header.model:
            raise UsageError(f"{recording.path}: expected a file with tokens, found none in it")
        return f"tokens of model {header.model_id or header.fingerprint}, preset {recording.preset}"

    def _length(self, recording: Recording) -> int:
        return recording.windows

    def _sample(self, recording: Recording, span: range) -> NDArray[Any]:
        folded = []
        for level, stride in zip(recording.tokens_of(span), recording.decoder.stream.strides):
            people, steps, slots = level.shape
            per_window = recording.window // stride
            # Steps that begin after the clip's end are not written: the last one is held.
            level = np.pad(level, ((0, 0), (0, len(span) * per_window - steps), (0, 0)), "edge")
            folded.append(level.reshape(people, len(span), per_window * slots))
        return np.concatenate(folded, axis=-1).astype(np.int64)

    def codebook(self) -> Tensor:
        """(slots, codes, latent) float32 vector that each token of each slot stands for: what an
        embedding may start from, and what tells how far two tokens are apart. Entries that a slot
        has not got are 0."""
        recording = self._recording(0)
        stream = recording.decoder.stream
        out = []
        for codes, stride in zip(stream.network.codebooks, stream.strides):
            book = codes.detach().cpu().clone()
            book[book.abs() > _NO_CODE] = 0.0
            out += [book] * (recording.window // stride)
        return torch.cat(out)


_NO_CODE = 1e3
"""Latents are in the networks' units, some ten at most: what is beyond is no code."""


def _listed(files: AnyPath | Iterable[AnyPath]) -> list[Path]:
    if isinstance(files, (str, os.PathLike)):
        folder = Path(files)
        if not folder.is_dir():
            raise UsageError(f"{folder}: expected a folder or a list of paths")
        return sorted(folder.rglob("*.mtok"))
    return [Path(file) for file in files]


def _label(labels: Labels, path: Path) -> int:
    if callable(labels):
        return labels(path)
    for key in (path, str(path)):
        if key in labels:
            return labels[key]
    raise UsageError(f"labels: expected one for {path}, found none")


__all__ = ["HeatmapDataset", "KeypointDataset", "MotionDataset", "TokenDataset", "Window"]
