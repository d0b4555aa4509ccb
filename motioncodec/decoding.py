"""A ``.mtok`` stream to a clip: the right side of the table in :mod:`motioncodec.codec`."""

from __future__ import annotations

import math
from collections import OrderedDict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import cached_property, partial
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from motioncodec.bitstream.container import Reader
from motioncodec.bitstream.header import KNOWN_KEYS, WINDOW, Header
from motioncodec.bitstream.payload import PersonChunk, decode_chunk, layer_bits
from motioncodec.clip import Clip
from motioncodec.errors import ContainerError, UsageError
from motioncodec.heatmap.placement import Placement, to_model_axes
from motioncodec.heatmap.rendering import SIGMA, SIZE, render_heatmaps
from motioncodec.lossless import exact_values
from motioncodec.model.weights import find_weights
from motioncodec.skeleton import CANONICAL
from motioncodec.stream import Stream
from motioncodec.tracks import covered_joints, sample_canonical

Float64 = NDArray[np.float64]
Progress = Callable[[int], object]

MAX_CLIP = 1 << 32
"""Keypoints that are decoded into one clip: 48 GiB in 3D."""


class Decoder:
    """A ``.mtok`` stream, opened.

    Args:
        source: a binary stream at the file's first byte; one that seeks decodes parts of a clip
            without reading the rest.
        device: ``auto``, ``cpu`` or ``cuda``.
        model: path of the weights, where the stream was made with some that do not ship.
        salvage: take damaged chunks for chunks in which nobody is there, and note them in
            ``damaged``, instead of refusing the stream.
        keep: chunks to keep as whole numbers, those last asked for, up to so many keypoints in
            all: for what is read here and there, again and again.

    Raises:
        ContainerError: it is not a whole, undamaged header.
    """

    def __init__(
        self,
        source: BinaryIO,
        device: str = "auto",
        model: str | None = None,
        *,
        salvage: bool = False,
        keep: int = 0,
    ) -> None:
        self.reader = Reader(
            source, KNOWN_KEYS, chunks_of=lambda packed: Header.unpack(packed).chunks
        )
        self.header = Header.unpack(self.reader.header)
        self.device, self.model, self.salvage = device, model, salvage
        self.damaged: set[int] = set()
        self._keep = keep
        self._kept: OrderedDict[int, list[PersonChunk]] = OrderedDict()

    @cached_property
    def stream(self) -> Stream:
        """What the header determines."""
        weights = None if self.model is None else find_weights(self.model)
        return Stream(self.header, self.device, weights)

    def frames(self, asked: range | None = None) -> range:
        """Clip frames asked for, or all.

        Raises:
            UsageError: they are not within the clip.
        """
        frames = range(self.header.frames) if asked is None else asked
        if frames.step != 1 or not 0 <= frames.start <= frames.stop <= self.header.frames:
            raise UsageError(
                f"frames: expected a range within 0:{self.header.frames}, "
                f"found {frames.start}:{frames.stop}"
            )
        return frames

    def verify(self) -> list[str]:
        """Every damage found, a line each; empty for a good stream. Needs no network.

        Raises:
            ModelError: the weights that say what the bytes mean are not here.
        """
        found = self.reader.verify()
        if not found:
            try:
                for chunk, payload in enumerate(self.reader):
                    decode_chunk(payload, self.header.people, self.stream.layout(chunk))
            except ContainerError as error:
                found.append(str(error))
        return found

    def layers(self, most: int = 8) -> dict[str, float]:
        """Share of each layer in the payload, of ``most`` chunks evenly spread. Needs no network.

        Raises:
            ModelError: the weights that say what the bytes mean are not here.
            ContainerError: one of these chunks is damaged.
        """
        bits: dict[str, float] = {}
        for chunk in range(0, self.header.chunks, max(-(-self.header.chunks // most), 1)):
            payload = self.reader.chunk(chunk)
            layout = self.stream.layout(chunk)
            for layer, count in layer_bits(payload, self.header.people, layout).items():
                bits[layer] = bits.get(layer, 0.0) + count
        total = sum(bits.values()) or 1.0
        return {layer: count / total for layer, count in bits.items()}

    def _wanted(self, frames: range) -> range:
        """Chunks that hold clip frames."""
        spans = [self.header.frame_span(c) for c in range(self.header.chunks)]
        holding = [c for c, (a, b) in enumerate(spans) if a < frames.stop and b > frames.start]
        return range(holding[0], holding[-1] + 1) if holding else range(0)

    def _load(self, wanted: range, reach: int) -> Iterator[tuple[int, list[PersonChunk]]]:
        """People of the wanted chunks and of ``reach`` neighbours on either side, in order."""
        if not wanted:
            return
        near = range(max(wanted[0] - reach, 0), min(wanted[-1] + reach + 1, self.header.chunks))
        if self.salvage:
            found = dict(item for item in self.reader.salvage() if item[0] in near)
            for c in near:
                yield c, self._salvaged(c, found.pop(c))
            return
        whole = len(near) == self.header.chunks and not all(c in self._kept for c in near)
        payloads: Iterator[bytes | None] = iter(self.reader if whole else [None] * len(near))
        for c, payload in zip(near, payloads):
            yield c, self._chunk(c, payload)
        if whole:
            next(payloads, None)  # checks the end of the stream

    def _chunk(self, c: int, payload: bytes | None) -> list[PersonChunk]:
        """People of a chunk, kept or decoded."""
        people = self._kept.get(c)
        if people is None:
            payload = self.reader.chunk(c) if payload is None else payload
            people = decode_chunk(payload, self.header.people, self.stream.layout(c))
        if self._keep:
            self._kept[c] = people
            self._kept.move_to_end(c)
            while sum(p.missing.size for kept in self._kept.values() for p in kept) > self._keep:
                self._kept.popitem(last=False)
        return people

    def _salvaged(self, chunk: int, payload: bytes | None) -> list[PersonChunk]:
        """People of a chunk, absent where it is damaged."""
        layout = self.stream.layout(chunk)
        if payload is not None:
            try:
                return decode_chunk(payload, self.header.people, layout)
            except ContainerError:
                pass
        self.damaged.add(chunk)
        return [PersonChunk.absent(layout) for _ in range(self.header.people)]

    def parts(self, asked: range | None = None) -> Iterator[Part]:
        """Some frames, or all, in order: one person of one chunk after another."""
        frames = self.frames(asked)
        wanted = self._wanted(frames)
        if not wanted:
            return
        reach = -(-self.stream.margin // self.header.chunk)
        loading = self._load(wanted, reach)
        loaded: dict[int, list[PersonChunk]] = {}
        for c in wanted:
            # A chunk is decoded with its neighbours in view, and no more of them are held. After
            # the last one comes what checks the end of the stream.
            while c + reach not in loaded or c == wanted[-1]:
                one = next(loading, None)
                if one is None:
                    break
                loaded[one[0]] = one[1]
            loaded = {near: found for near, found in loaded.items() if near >= c - reach}
            people = [
                {near: found[person] for near, found in loaded.items()}
                for person in range(self.header.people)
            ]
            first, last = self.header.frame_span(c)
            start, stop = max(first, frames.start), min(last, frames.stop)
            for person, mine in enumerate(people):
                yield Part(self, mine, c, person, range(start, stop))

    def clip(self, frames: range | None = None, progress: Progress | None = None) -> Clip:
        """Keypoints of some frames, or all.

        Args:
            frames: of the clip.
            progress: called with the frames that each step got done.
        """
        asked = self.frames(frames)
        out = _Unfinished(self, asked)
        for part in self.parts(asked):
            out.take(part)
            if progress and part.person + 1 == self.header.people:
                progress(len(part.frames))
        return out.clip()

    def clips(self, frames: range | None = None, most: int = 1000) -> Iterator[Clip]:
        """Some frames, or all, in order, in clips of ``most`` frames and the rest; what is held is
        no more than a chunk and the clips that it is in.

        Raises:
            UsageError: ``most`` is not above 0, or the frames are not within the clip.
        """
        if most < 1:
            raise UsageError(f"clips: expected at least 1 frame in each, found {most}")
        asked = self.frames(frames)
        starts = range(asked.start, asked.stop, most)
        making: dict[int, _Unfinished] = {}
        if not self.header.people:
            for start in starts:
                yield _Unfinished(self, range(start, min(start + most, asked.stop))).clip()
        for part in self.parts(asked):
            if not part.frames:  # a chunk may fall between two frames
                continue
            about = starts[(part.frames.start - asked.start) // most :]
            for start in about[: -(-(part.frames.stop - about[0]) // most)]:
                block = range(start, min(start + most, asked.stop))
                making.setdefault(start, _Unfinished(self, block)).take(part)
                if part.person + 1 == self.header.people and part.frames.stop >= block.stop:
                    yield making.pop(start).clip()

    def heatmaps(
        self,
        frames: range | None = None,
        *,
        size: int = SIZE,
        sigma: float = SIGMA,
        dense: bool = False,
    ) -> Iterator[Heatmaps]:
        """Heatmap volumes of some frames, or all: one person of one chunk after another.

        Raises:
            UsageError: the stream has no body to render.
        """
        from motioncodec.plan import LEAST_COVERED

        covered, canonical = covered_joints(self.stream.skeleton)
        if not self.header.embodied and not (self.header.alone and len(covered) >= LEAST_COVERED):
            raise UsageError(
                "heatmaps: expected a clip with body joints, found none that a model covers"
            )
        for part in self.parts(frames):
            points = np.full((len(part.frames), len(CANONICAL), self.header.dims), np.nan)
            sure = np.zeros(points.shape[:2])
            where = None
            if not part.missing.all():
                where = part.placement()
                found = to_model_axes(part.keypoints.astype(np.float64), self.header.up)
                points[:, canonical] = where.apply(found)[:, covered]
                sure[:, canonical] = part.confidence[:, covered]
                points[sure == 0] = np.nan
            volume = render_heatmaps(points, sure, size=size, sigma=sigma, dense=dense)
            yield Heatmaps(part.person, part.frames, volume, where)

    def tokens(self, frames: range | None = None) -> list[NDArray[np.uint16]]:
        """Tokens of the chunks that hold some frames, or all: for each level (P, steps, slots).

        Needs no network.

        Raises:
            UsageError: the stream has none, or not in all of these.
        """
        return self.tokens_of(self._wanted(self.frames(frames)))

    def tokens_of(self, chunks: range) -> list[NDArray[np.uint16]]:
        """As :meth:`tokens`, of some chunks."""
        if not self.header.model:
            raise UsageError("tokens: expected a stream with tokens, found none in it")
        loaded = [found for _, found in self._load(chunks, 0)]
        if any(one.present and not one.placed for found in loaded for one in found):
            raise UsageError(
                "tokens: expected them throughout, found frames that a bound made smaller without "
                "them; encode without one, or decode to keypoints"
            )
        people = range(self.header.people)
        return [
            np.stack(
                [
                    np.concatenate([found[p].tokens[level] for found in loaded])
                    if loaded
                    else np.zeros((0, prior.slots))
                    for p in people
                ]
                or [np.zeros((0, prior.slots))]
            ).astype(np.uint16)
            for level, prior in enumerate(self.stream.priors)
        ]


class _Unfinished:
    """A clip of some frames that fills part by part.

    Raises:
        UsageError: it would hold more than :data:`MAX_CLIP` keypoints.
    """

    def __init__(self, decoder: Decoder, frames: range) -> None:
        self.decoder, self.frames = decoder, frames
        header = decoder.header
        shape = (len(frames), header.people, len(decoder.stream.skeleton))
        if math.prod(shape) > MAX_CLIP:
            raise UsageError(
                f"clip: expected at most {MAX_CLIP} keypoints at once, found {math.prod(shape)}; "
                "decode some frames at a time"
            )
        self.keypoints = np.full((*shape, header.dims), np.nan, np.float32)
        self.confidence = np.zeros(shape, np.float32) if header.confidence else None

    def take(self, part: Part) -> None:
        """The frames of a part that are the clip's."""
        start = max(part.frames.start, self.frames.start)
        stop = min(part.frames.stop, self.frames.stop)
        to = slice(start - self.frames.start, stop - self.frames.start)
        of = slice(start - part.frames.start, stop - part.frames.start)
        self.keypoints[to, part.person] = part.keypoints[of]
        if self.confidence is not None:
            self.confidence[to, part.person] = part.confidence[of]

    def clip(self) -> Clip:
        """What was taken; there is no more to take."""
        header = self.decoder.header
        self.keypoints.flags.writeable = False  # so that the clip need not copy
        return Clip(
            self.keypoints, header.frame_rate, self.decoder.stream.skeleton, self.confidence,
            header.units, header.up, header.ids, header.metadata,
        )  # fmt: skip


@dataclass(frozen=True)
class Heatmaps:
    """Heatmaps of one person over some frames.

    Attributes:
        person: index.
        frames: of the clip.
        volume: (20, F, H, W) in 2D; (60, F, H, W), or dense (20, F, D, H, W), in 3D.
        placement: which takes body units back to the clip's; None where the person is absent.
    """

    person: int
    frames: range
    volume: NDArray[np.float32]
    placement: Placement | None


@dataclass(frozen=True)
class Part:
    """One person in some frames of one chunk, decoded as far as whole numbers."""

    decoder: Decoder
    mine: dict[int, PersonChunk]
    chunk: int
    person: int
    frames: range

    @property
    def _whole(self) -> range:
        """The chunk's frames."""
        return range(*self.decoder.header.frame_span(self.chunk))

    @property
    def _here(self) -> slice:
        """Of the chunk's frames."""
        first = self._whole.start
        return slice(self.frames.start - first, self.frames.stop - first)

    @property
    def missing(self) -> NDArray[np.bool_]:
        """(F, K)."""
        return self.mine[self.chunk].missing[self._here]

    @cached_property
    def confidence(self) -> NDArray[np.float32]:
        """(F, K) from 0 to 1, 0 where missing, else 1 where the stream has none."""
        one = self.mine[self.chunk]
        out = np.ones(self.missing.shape, np.float32)
        if one.exact_confidence is not None:
            out = exact_values(one.exact_confidence, one.missing)[self._here, :, 0]
        elif one.confidence is not None:
            out = one.confidence[self._here].astype(np.float32)
            out /= (1 << self.decoder.header.confidence) - 1
        out[self.missing] = 0.0
        return out

    @property
    def keypoints(self) -> NDArray[np.float32]:
        """(F, K, D) all joints in the clip's axes, NaN where missing."""
        return self._decoded[self._here]

    @cached_property
    def _decoded(self) -> NDArray[np.float32]:
        """As :attr:`keypoints`, of the whole chunk."""
        one = self.mine[self.chunk]
        if one.exact is not None:
            return exact_values(one.exact, one.missing)
        out = np.full((*one.missing.shape, self.decoder.header.dims), np.nan, np.float32)
        if one.present:
            there = ~one.missing
            out[there] = self.decoder.stream.decoded(self.mine, self.person, self.chunk)[there]
        return out

    def placement(self) -> Placement:
        """Where the person is in each frame."""
        stream = self.decoder.stream
        if not self.mine[self.chunk].placed:
            return self._found_placement()
        low, high = stream.margins(self.mine, *self.decoder.header.span(self.chunk), WINDOW)
        where = stream.placement(self.mine, self.person, low, high)
        return stream.placed_at_clip_rate(where, low, self.frames)

    def _found_placement(self) -> Placement:
        """As :meth:`placement`, where none is written: from the keypoints of the whole chunk."""
        # Seldom needed, and ``info`` need not wait for all that encodes.
        from motioncodec.encoding import place_person
        from motioncodec.plan import Settings, plan

        told = self.decoder.header
        clip = Clip(
            self._decoded[:, None], told.frame_rate, self.decoder.stream.skeleton,
            units=told.units, up=told.up,
        )  # fmt: skip
        header, weights = plan(clip, Settings())
        if not header.embodied:
            raise UsageError("placement: expected enough of a body in every chunk, found less")
        if told.scales:
            header = replace(header, scales=(told.scales[self.person],))
        stream = Stream(header, weights=weights)
        mine = {0: PersonChunk(self.mine[self.chunk].missing)}
        place_person(clip, stream, 0, mine, partial(sample_canonical, clip, 0))
        where = stream.placement(mine, 0, *header.span(0))
        return stream.placed_at_clip_rate(where, 0, range(self._here.start, self._here.stop))
