"""A ``.mtok`` file as one opens it in Python: what its header says at once, frames on demand.

A :class:`Recording` knows where its file is, and opens it anew in every process that it comes to,
by pickling or by forking: two processes that shared one open file would move each other's place
in it. All else is :class:`motioncodec.decoding.Decoder`'s.
"""

from __future__ import annotations

import io
import math
import os
from collections.abc import Iterator
from types import TracebackType
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from motioncodec.bitstream.header import MODEL_RATE
from motioncodec.clip import Clip, error_scale
from motioncodec.decoding import Decoder
from motioncodec.errors import ContainerError, UsageError
from motioncodec.heatmap.rendering import PLANES, SIGMA, SIZE
from motioncodec.io import storage
from motioncodec.skeleton import CANONICAL, Skeleton

Source = str | os.PathLike[str] | bytes | BinaryIO

KEPT = 1 << 18
"""Keypoints whose chunks are kept as whole numbers: 12 chunks of one person at 30 frames a second,
3 at 120. Undoing the entropy coder takes most of the time that a short slice takes."""


class Recording:
    """A ``.mtok`` file, opened.

    Indexing gives clips and decodes no more than the chunks (34 seconds each) that they lie in:
    ``recording[300:450]`` is 150 frames, ``recording[-1]`` one, and a loop goes frame by frame. Not
    for several threads at once; each may have a recording of its own.

    Args:
        source: a path, or an address that fsspec opens; the bytes of a file; or a binary stream at
            the file's first byte, which one process alone can read.
        device: ``auto``, ``cpu`` or ``cuda``.
        model: path of the weights, where the file was made with some that do not ship.

    Raises:
        ContainerError: it is not there, or not a whole, undamaged header.
    """

    def __init__(self, source: Source, *, device: str = "auto", model: str | None = None) -> None:
        self.path: str | None = None
        if isinstance(source, (str, os.PathLike)):
            self.path = storage.settle(os.fspath(source))
        self.device, self.model = device, model
        self._source: bytes | BinaryIO | None = None
        if not isinstance(source, (str, os.PathLike)):
            self._source = source
        self._decoder: Decoder | None = None
        self._file: BinaryIO | None = None
        self._process = os.getpid()
        self._closed = False
        self.decoder  # noqa: B018 - what is no .mtok is told here

    @property
    def decoder(self) -> Decoder:
        """The decoder of this process.

        Raises:
            UsageError: the recording is closed, or its stream is another process's.
        """
        if self._closed:
            raise UsageError(f"{self}: expected an open recording, found a closed one")
        if self._decoder is None or self._process != os.getpid():
            if self._decoder is not None and not isinstance(self._source, (bytes, type(None))):
                raise UsageError(
                    f"{self}: expected a path or bytes in a process that was forked, found a "
                    "stream, which two cannot read"
                )
            self._process = os.getpid()
            self._decoder = Decoder(self._opened(), self.device, self.model, keep=KEPT)
        return self._decoder

    def _opened(self) -> BinaryIO:
        if self.path is None:
            source = self._source
            assert source is not None
            return io.BytesIO(source) if isinstance(source, bytes) else source
        if self._file is not None:  # of the process that this one was forked from
            self._file.close()
        try:
            self._file = storage.open_input(self.path)
        except OSError as error:
            raise ContainerError(
                f"{self.path}: expected a readable file, found: {error.strerror or error}"
            ) from None
        return self._file

    def close(self) -> None:
        """Closes the file, unless it was given as a stream."""
        self._closed, self._decoder = True, None
        if self._file is not None:
            self._file.close()

    def __enter__(self) -> Recording:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def __getstate__(self) -> dict[str, Any]:
        if not isinstance(self._source, (bytes, type(None))):
            raise UsageError(f"{self}: expected a path or bytes to pickle, found a stream")
        return {**self.__dict__, "_decoder": None, "_file": None}

    def __repr__(self) -> str:
        name = "bytes" if isinstance(self._source, bytes) else "stream"
        return f"Recording({self.path!r})" if self.path else f"Recording(<{name}>)"

    # -- what the header says ----------------------------------------------------------------------

    @property
    def frames(self) -> int:
        """Number of frames, T."""
        return self.decoder.header.frames

    @property
    def frame_rate(self) -> float:
        """Frames per second."""
        return self.decoder.header.frame_rate

    @property
    def duration(self) -> float:
        """Seconds that the frames fill: T / frame rate."""
        return self.frames / self.frame_rate

    @property
    def persons(self) -> int:
        """Number of people, P."""
        return self.decoder.header.people

    @property
    def people(self) -> tuple[str, ...]:
        """An id for each person as the source named them, or empty."""
        return self.decoder.header.ids

    @property
    def skeleton(self) -> Skeleton:
        """Names of the K joints."""
        return self.decoder.stream.skeleton

    @property
    def dims(self) -> int:
        """Coordinates of a keypoint, D: 2 or 3."""
        return self.decoder.header.dims

    @property
    def units(self) -> str:
        """Of the coordinates: ``m``, ``cm``, ``mm`` or ``px``."""
        return self.decoder.header.units

    @property
    def up(self) -> str:
        """The axis that points up."""
        return self.decoder.header.up

    @property
    def metadata(self) -> dict[str, Any]:
        """Free-form strings and numbers that travel with the clip."""
        return dict(self.decoder.header.metadata)

    @property
    def preset(self) -> str | None:
        """``f32``, ``f16`` or ``f8``; None for a file without tokens."""
        return self.decoder.stream.preset if self.decoder.header.model else None

    @property
    def max_error(self) -> float | None:
        """Millimetres, or pixels, that every keypoint is promised to be within: 0 for a lossless
        file, None where nothing is promised."""
        header = self.decoder.header
        if header.lossless:
            return 0.0
        return header.promise * error_scale(header.units) or None

    # -- frames ------------------------------------------------------------------------------------

    def __len__(self) -> int:
        return self.frames

    def __getitem__(self, at: int | slice) -> Clip:
        if isinstance(at, slice):
            frames = range(*at.indices(self.frames))
            if frames.step != 1:
                raise UsageError(f"frames: expected a step of 1, found {frames.step}")
            return self.clip(range(frames.start, max(frames.start, frames.stop)))
        frame = range(self.frames)[at]
        return self.clip(range(frame, frame + 1))

    def __iter__(self) -> Iterator[Clip]:
        return self.iter_clips(1)

    def clip(self, frames: range | None = None) -> Clip:
        """Keypoints of some frames, or all."""
        return self.decoder.clip(frames)

    def iter_clips(self, frames: int = 1000) -> Iterator[Clip]:
        """All of it in order, in clips of so many frames and the rest, each chunk decoded once: for
        recordings that do not fit into memory."""
        return self.decoder.clips(most=frames)

    def heatmaps(
        self,
        frames: range | None = None,
        *,
        size: int = SIZE,
        sigma: float = SIGMA,
        dense: bool = False,
    ) -> NDArray[np.float32]:
        """Heatmaps of some frames, or all, about each person's hips.

        Args:
            frames: of the clip.
            size: pixels along each side, from 4.
            sigma: of the Gaussians in pixels.
            dense: voxels instead of projections (3D alone).

        Returns:
            (P, C, T, H, W), heights from 0 to 1, with C 20 joints in 2D and 60, each joint's planes
            xy, zy and xz, in 3D; or dense (P, 20, T, D, H, W). All 0 where somebody is absent.

        Raises:
            UsageError: the file has no body to render.
        """
        asked = self.decoder.frames(frames)
        channels = len(CANONICAL) * (1 if dense else len(PLANES[self.dims]))
        picture = (size,) * (3 if dense else 2)
        out = np.zeros((self.persons, channels, len(asked), *picture), np.float32)
        for part in self.decoder.heatmaps(asked, size=size, sigma=sigma, dense=dense):
            if self.persons == 1 and part.frames == asked:
                return part.volume[None]  # large: not copied
            start = part.frames.start - asked.start
            out[part.person, :, start : start + len(part.frames)] = part.volume
        return out

    # -- tokens ------------------------------------------------------------------------------------

    @property
    def window(self) -> int:
        """Model frames, 30 a second, that a step of the coarsest level's tokens stands for."""
        strides = self.decoder.stream.strides
        if not strides:
            raise UsageError(f"{self}: expected a file with tokens, found none in it")
        return max(strides)

    @property
    def windows(self) -> int:
        """How many windows the frames take."""
        return -(-self.decoder.header.model_frames // self.window)

    def tokens(self, frames: range | None = None) -> list[NDArray[np.uint16]]:
        """Tokens of the windows that hold some frames, or all. Needs no network.

        Returns:
            For each level, coarse to fine, (P, steps, slots): a step of the coarsest level for
            each window, and as many of a finer one as it has strides in it.

        Raises:
            UsageError: the file has none, or not in all of these.
        """
        asked = self.decoder.frames(frames)
        if not asked:
            return self.tokens_of(range(0))
        # A frame lies between two model frames.
        first = math.floor(asked[0] * MODEL_RATE / self.frame_rate + 1e-9)
        last = math.ceil(asked[-1] * MODEL_RATE / self.frame_rate - 1e-9)
        return self.tokens_of(range(first // self.window, last // self.window + 1))

    def tokens_of(self, windows: range) -> list[NDArray[np.uint16]]:
        """As :meth:`tokens`, of some windows.

        Raises:
            UsageError: they are not within :attr:`windows`.
        """
        if windows.step != 1 or not 0 <= windows.start <= windows.stop <= self.windows:
            raise UsageError(
                f"windows: expected a range within 0:{self.windows}, "
                f"found {windows.start}:{windows.stop}"
            )
        decoder, per_chunk = self.decoder, self.decoder.header.chunk // self.window
        first = windows.start // per_chunk
        found = decoder.tokens_of(range(first, -(-windows.stop // per_chunk)))
        start, stop = windows.start - first * per_chunk, windows.stop - first * per_chunk
        return [
            level[:, start * self.window // stride : stop * self.window // stride]
            for level, stride in zip(found, decoder.stream.strides)
        ]

    def frames_of(self, windows: range) -> range:
        """Frames that lie in some windows of tokens."""
        first, stop = (
            min(math.ceil(w * self.window * self.frame_rate / MODEL_RATE - 1e-9), self.frames)
            for w in (windows.start, windows.stop)
        )
        return range(first, stop)
