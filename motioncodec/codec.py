"""A clip to a ``.mtok`` stream and back: the way of the data, every row of it a pair.

    encode                                   decode
    Placement.apply      placed off          Placement.invert
    sample_canonical     30 frames a second  to_clip_rate
    tokenize             the network         detokenize
    encode_extra         uncovered joints    decode_extra
    encode_chunk         bytes               decode_chunk
    Writer               the container       Reader

Chunks of 1,024 model frames pass through one at a time; networks see a margin of the neighbours,
so there is no seam between them.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from motioncodec.bitstream.container import Reader, Writer
from motioncodec.bitstream.header import (
    CHUNK,
    KNOWN_KEYS,
    MAX_CELLS,
    MODEL_RATE,
    WINDOW,
    Header,
    step_exponent,
)
from motioncodec.bitstream.payload import Layout, PersonChunk, decode_chunk, encode_chunk
from motioncodec.bitstream.prior import LevelPrior
from motioncodec.bitstream.trajectory import Curve
from motioncodec.clip import Clip
from motioncodec.errors import (
    ClipError,
    ContainerError,
    ModelError,
    MotionCodecError,
    UsageError,
)
from motioncodec.heatmap.placement import (
    KNOT_SPACING,
    Placement,
    choose_anchor,
    dequantise_scale,
    find_scale,
    find_size,
    from_model_axes,
    quantise_scale,
    to_model_axes,
)
from motioncodec.heatmap.rendering import SIGMA, SIZE, render_heatmaps
from motioncodec.heatmap.resampling import to_clip_rate
from motioncodec.model.config import PRESETS
from motioncodec.model.weights import Weights, default_weights, find_weights, resolve_device
from motioncodec.skeleton import CANONICAL, Skeleton, find_skeleton
from motioncodec.tracks import (
    canonical_points,
    covered_joints,
    decode_extra,
    encode_extra,
    find_references,
    joined,
    keypoint_step,
    place,
    placement,
    sample_canonical,
    sample_frames,
)

Float64 = NDArray[np.float64]
Progress = Callable[[int], object]

ENCODER_MARGIN = 256
"""Model frames of neighbours that tokens are chosen with; more would not change them."""

LEAST_COVERED = 5
"""Covered joints from which a model is used; below, every joint is written as a curve."""

# Hips are coded with steps of these body units: about a fifth of the preset's token rate, and an
# error that adds less than a millimetre to the joints' (in quadrature). 2D: of the person's size.
_HIPS_STEP = {1: 0.09, 2: 0.027, 3: 0.0113}
_HIPS_STEP_2D = {1: 0.1, 2: 0.05, 3: 0.025}


@dataclass(frozen=True)
class Settings:
    """How to encode.

    Attributes:
        preset: ``f32``, ``f16`` or ``f8``.
        model: name of shipped weights or a path; the newest for the clip's dimensions if None.
        device: ``auto``, ``cpu`` or ``cuda``.
        confidence_bits: for each confidence, 4 or 8; 0 leaves it out.
    """

    preset: str = "f16"
    model: str | None = None
    device: str = "auto"
    confidence_bits: int = 4


class Stream:
    """What a header determines: skeleton, weights, layouts, and a network once it is needed.

    Raises:
        ContainerError, ModelError: the header names what is not there.
    """

    def __init__(self, header: Header, device: str = "cpu", weights: Weights | None = None) -> None:
        self.header, self.device = header, device
        self.skeleton = (
            Skeleton(header.names) if header.skeleton == 0 else _skeleton(header.skeleton)
        )
        header.check_size(len(self.skeleton))
        self.weights = weights
        if header.model and weights is None:
            if header.model_id == 0:
                raise ModelError(
                    f"made with weights of one's own (fingerprint {header.fingerprint:08x}): "
                    "expected their .safetensors file; name it with --model"
                )
            self.weights = find_weights(header.model_id)
        self.covered = covered_joints(self.skeleton)[0] if header.model else []
        covered = set(self.covered)
        self.extra = [j for j in range(len(self.skeleton)) if j not in covered]
        if len(header.references) != len(self.extra):
            raise ContainerError(
                f"header: expected references of {len(self.extra)} joints, found {len(header.references)}"
            )
        if any(r >= len(self.skeleton) for r in header.references):
            raise ContainerError(
                "header: expected references to joints of the skeleton, found others"
            )

    @cached_property
    def priors(self) -> list[LevelPrior]:
        """Of the levels that the stream has tokens of."""
        if self.weights is None:
            return []
        if self.weights.fingerprint_word != self.header.fingerprint:
            raise ModelError(
                f"model {self.weights.name}: expected weights with fingerprint "
                f"{self.header.fingerprint:08x} as the file names, found "
                f"{self.weights.fingerprint_word:08x}; install the version that wrote the file"
            )
        return [LevelPrior(*arrays) for arrays in self.weights.prior_arrays[: self.header.depth]]

    @cached_property
    def strides(self) -> list[int]:
        """Model frames in a step of each level."""
        if self.weights is None:
            return []
        return [level.stride for level in self.weights.config.levels[: self.header.depth]]

    def layout(self, chunk: int) -> Layout:
        """Shapes of a chunk."""
        start, stop = self.header.span(chunk)
        first, last = self.header.frame_span(chunk)
        return Layout(
            last - first, len(self.skeleton), self.header.dims, (stop - start) // WINDOW,
            len(self.extra), self.header.confidence, self.priors, self.strides, KNOT_SPACING,
        )  # fmt: skip

    @cached_property
    def network(self) -> Any:
        """The network on its device; importing torch starts here."""
        assert self.weights is not None
        return self.weights.network(resolve_device(self.device))

    @cached_property
    def rates(self) -> list[Any]:
        """What bits cost the encoder, by level."""
        import torch

        from motioncodec.model.quantizer import Rate

        assert self.weights is not None
        preset = PRESETS[self.header.depth - 1]
        prices = self.weights.rate_weights.get(preset, [0.0] * self.header.depth)
        device = next(self.network.parameters()).device
        return [
            Rate(
                price,
                torch.from_numpy(prior.lengths).to(device),
                torch.from_numpy(prior.class_of.astype(np.int64)).to(device),
            )
            for price, prior in zip(prices, self.priors)
        ]

    def tokenize(self, points: Float64, peaks: Float64) -> list[NDArray[np.int64]]:
        """(N, 20, D) body units and (N, 20) peaks to tokens of each level, (N / stride, slots)."""
        import torch

        device = next(self.network.parameters()).device
        centres = torch.from_numpy(points[None].astype(np.float32)).to(device)
        heights = torch.from_numpy(peaks[None].astype(np.float32)).to(device)
        tokens = self.network.tokenize(centres, heights, self.header.depth, self.rates)
        return [level[0].cpu().numpy().astype(np.int64) for level in tokens]

    def detokenize(self, tokens: list[NDArray[np.int64]]) -> Float64:
        """Tokens of each level to (N, 20, D) body units."""
        import torch

        device = next(self.network.parameters()).device
        given = [torch.from_numpy(level[None]).to(device) for level in tokens]
        points: Float64 = self.network.detokenize(given)[0].cpu().numpy().astype(np.float64)
        return points

    def margins(self, chunk: int, margin: int) -> tuple[int, int]:
        """Model frames about a chunk, ``margin`` wider but within the padded clip."""
        start, stop = self.header.span(chunk)
        end = self.header.span(self.header.chunks - 1)[1]
        return max(start - margin, 0), min(stop + margin, end)

    def neighbours(self, start: int, stop: int) -> range:
        """Chunks that hold model frames ``start`` to ``stop``."""
        return range(start // self.header.chunk, -(-stop // self.header.chunk))

    @property
    def margin(self) -> int:
        """Model frames on either side that decoding looks at."""
        return (self.network.margin if self.header.model else 0) + WINDOW

    def decode_body(
        self, mine: dict[int, PersonChunk], person: int, start: int, stop: int
    ) -> Float64:
        """(N, K, D) covered joints in the models' axes at model frames ``start`` to ``stop``, which
        are whole windows; other joints are 0.

        Args:
            mine: that person, in every chunk within the network's margin.
        """
        out = np.zeros((stop - start, len(self.skeleton), self.header.dims))
        if not self.covered:
            return out
        margin, padded = self.network.margin, self.header.span(self.header.chunks - 1)[1]
        low, high = max(start - margin, 0), min(stop + margin, padded)
        near = self.neighbours(low, high)
        first = near[0] * self.header.chunk
        tokens = [
            np.concatenate([mine[c].tokens[level] for c in near])[
                (low - first) // stride : (high - first) // stride
            ]
            for level, stride in enumerate(self.strides)
        ]
        body = self.detokenize(tokens)[start - low : stop - low]
        covered, canonical = covered_joints(self.skeleton)
        out[:, covered] = self.placement(mine, person, start, stop).invert(body)[:, canonical]
        return out

    def placement(
        self, mine: dict[int, PersonChunk], person: int, start: int, stop: int
    ) -> Placement:
        """Placement at model frames ``start`` to ``stop``."""
        near = self.neighbours(start, stop)
        parts = []
        for one in (mine[c] for c in near):
            assert one.origin is not None and one.turn is not None
            parts.append(placement(self.header, person, one.origin, one.turn))
        first = near[0] * self.header.chunk
        return joined(parts, self.header.dims == 3, slice(start - first, stop - first))

    def at_clip_rate(self, values: Float64, low: int, frames: range) -> Float64:
        """Values at model frames from ``low`` on to some clip frames."""
        return to_clip_rate(values, self.header.frame_rate, frames.start, frames.stop, low)

    def body_at_clip_rate(self, mine: dict[int, PersonChunk], person: int, chunk: int) -> Float64:
        """(F, K, D) covered joints in the models' axes at a chunk's clip frames."""
        low, high = self.margins(chunk, WINDOW)
        frames = range(*self.header.frame_span(chunk))
        return self.at_clip_rate(self.decode_body(mine, person, low, high), low, frames)


def _skeleton(number: int) -> Skeleton:
    try:
        return find_skeleton(number)
    except ClipError as error:
        raise ContainerError(
            f"header: expected a skeleton that this version knows, found id {number}; upgrade motioncodec"
        ) from error


def plan(clip: Clip, settings: Settings) -> tuple[Header, Weights | None]:
    """The header of a clip's stream, and the weights that its tokens are made with."""
    if settings.preset not in PRESETS:
        raise UsageError(f"preset: expected one of {', '.join(PRESETS)}, found {settings.preset!r}")
    if settings.confidence_bits not in (0, 4, 8):
        raise UsageError(f"confidence: expected off, 4 or 8 bits, found {settings.confidence_bits}")
    covered, _ = covered_joints(clip.skeleton)
    seen: NDArray[np.bool_] = np.any(~clip.missing, axis=(0, 1))
    weights = None
    if seen[covered].sum() >= LEAST_COVERED:
        weights = (
            default_weights(clip.dims) if settings.model is None else find_weights(settings.model)
        )
        if weights.config.dims != clip.dims:
            raise UsageError(
                f"model {weights.name}: expected a model for {clip.dims}D keypoints, "
                f"found one for {weights.config.dims}D"
            )
    depth = 0 if weights is None else weights.depth(settings.preset)
    samples = [canonical_points(clip, p, sample_frames(clip, p)) for p in range(clip.persons)]
    scales: tuple[int, ...] = ()
    sizes = []
    origin_step = 0
    if weights is not None and clip.dims == 3:
        scales = tuple(quantise_scale(find_scale(points)) for points in samples)
        sizes = [dequantise_scale(scale) for scale in scales]
        origin_step = step_exponent(_HIPS_STEP[depth])
    elif weights is not None:
        sizes = [float(np.median(find_size(points))) for points in samples if len(points)]
        origin_step = step_exponent(_HIPS_STEP_2D[depth] * min(sizes, default=1.0))
    inside = set(covered if weights is not None else [])
    extra = [joint for joint in range(len(clip.skeleton)) if joint not in inside]
    if not sizes:
        # No body: a subject's size is how far its points lie apart.
        some = clip.keypoints[~clip.missing]
        spread = float(np.ptp(some, axis=0).max()) if len(some) else 1.0
        sizes = [spread / 4 or 1.0]
    chunk = CHUNK
    while chunk > WINDOW and (
        (chunk * clip.frame_rate / MODEL_RATE + 2) * max(clip.persons, 1) * len(clip.skeleton)
        > MAX_CELLS // 8
    ):
        chunk //= 2
    header = Header(
        frames=clip.frames,
        frame_rate=clip.frame_rate,
        skeleton=clip.skeleton.id,
        names=() if clip.skeleton.id else clip.skeleton.joints,
        units=clip.units,
        up=clip.up,
        dims=clip.dims,
        model=0 if weights is None else 4 * weights.id + depth,
        fingerprint=0 if weights is None else weights.fingerprint_word,
        people=clip.persons,
        ids=clip.people,
        scales=scales,
        origin_step=origin_step,
        references=tuple(find_references(clip, extra)),
        keypoint_step=step_exponent(keypoint_step(clip, min(sizes))) if extra else 0,
        confidence=settings.confidence_bits if clip.confidence is not None else 0,
        chunk=chunk,
        metadata=clip.metadata,
    )
    header.check_size(len(clip.skeleton))
    return header, weights


def encode_clip(
    clip: Clip, target: BinaryIO, settings: Settings | None = None, progress: Progress | None = None
) -> int:
    """Writes a clip as a ``.mtok`` stream; returns its bytes.

    Args:
        clip: of any skeleton.
        target: a binary stream, which need not seek.
        settings: preset, model, device, confidence.
        progress: called with the clip frames that each step got done; with a model every frame
            counts twice, once for its tokens and once for its bytes.

    Raises:
        MotionCodecError: what was asked for cannot be done.
    """
    settings = settings or Settings()
    header, weights = plan(clip, settings)
    stream = Stream(header, settings.device, weights)
    chunks = range(header.chunks)
    people = [_place(clip, header, person) for person in range(clip.persons)]
    for chunk in chunks if header.model else ():
        for person, mine in enumerate(people):
            mine[chunk].tokens = _tokens(clip, stream, mine, person, chunk)
        if progress:
            progress(len(range(*header.frame_span(chunk))))
    writer = Writer(header.pack(), target, indexed=header.chunks > 1)
    for chunk in chunks:
        for person, mine in enumerate(people):
            mine[chunk].extra = _extra(clip, stream, mine, person, chunk)
            mine[chunk].confidence = _confidence(clip, header, person, chunk)
        writer.write(encode_chunk([mine[chunk] for mine in people], stream.layout(chunk)))
        if progress:
            progress(len(range(*header.frame_span(chunk))))
    return writer.close()


def _place(clip: Clip, header: Header, person: int) -> dict[int, PersonChunk]:
    """What is missing in each chunk, and where the person is."""
    frames = slice(None, None, 1 + clip.frames // 100_000)
    anchor = choose_anchor(np.isfinite(canonical_points(clip, person, frames)[..., 0]))
    mine = {}
    for chunk in range(header.chunks):
        first, last = header.frame_span(chunk)
        mine[chunk] = one = PersonChunk(np.isnan(clip.keypoints[first:last, person, :, 0]))
        if header.model:
            one.origin, one.turn = place(clip, header, person, chunk, anchor)
    return mine


def _tokens(
    clip: Clip, stream: Stream, mine: dict[int, PersonChunk], person: int, chunk: int
) -> list[NDArray[np.int64]]:
    """Tokens of one chunk, chosen with the neighbours in view."""
    start, stop = stream.header.span(chunk)
    low, high = stream.margins(chunk, ENCODER_MARGIN)
    samples = sample_canonical(clip, person, low, high)
    where = stream.placement(mine, person, low, high)
    tokens = stream.tokenize(where.apply(samples.points), samples.seen * samples.confidence)
    return [
        level[(start - low) // stride : (stop - low) // stride]
        for level, stride in zip(tokens, stream.strides)
    ]


def _extra(
    clip: Clip, stream: Stream, mine: dict[int, PersonChunk], person: int, chunk: int
) -> Curve | None:
    """The curve of the uncovered joints of one chunk."""
    frames = slice(*stream.header.frame_span(chunk))
    if not stream.extra or frames.start == frames.stop:
        return None
    points = clip.keypoints[frames, person][:, stream.extra].astype(np.float64)
    body = stream.body_at_clip_rate(mine, person, chunk)
    return encode_extra(to_model_axes(points, clip.up), body, stream.extra, stream.header)


def _confidence(clip: Clip, header: Header, person: int, chunk: int) -> NDArray[np.int64] | None:
    """Levels of one chunk's confidences."""
    if clip.confidence is None or not header.confidence:
        return None
    first, last = header.frame_span(chunk)
    top = (1 << header.confidence) - 1
    return np.rint(clip.confidence[first:last, person].astype(np.float64) * top).astype(np.int64)


class Decoder:
    """A ``.mtok`` stream, opened.

    Args:
        source: a binary stream at the file's first byte; one that seeks decodes parts of a clip
            without reading the rest.
        device: ``auto``, ``cpu`` or ``cuda``.
        model: path of the weights, where the stream was made with some that do not ship.

    Raises:
        ContainerError: it is not a whole, undamaged header.
    """

    def __init__(self, source: BinaryIO, device: str = "auto", model: str | None = None) -> None:
        self.reader = Reader(
            source, KNOWN_KEYS, chunks_of=lambda packed: Header.unpack(packed).chunks
        )
        self.header = Header.unpack(self.reader.header)
        self.device, self.model = device, model

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
        """Every damage found, a line each; empty for a good stream. Needs no network."""
        found = self.reader.verify()
        if not found:
            try:
                self._load(range(self.header.chunks), 0)
            except MotionCodecError as error:
                found.append(str(error))
        return found

    def _wanted(self, frames: range) -> range:
        """Chunks that hold clip frames."""
        spans = [self.header.frame_span(c) for c in range(self.header.chunks)]
        holding = [c for c, (a, b) in enumerate(spans) if a < frames.stop and b > frames.start]
        return range(holding[0], holding[-1] + 1) if holding else range(0)

    def _load(self, wanted: range, margin: int) -> dict[int, list[PersonChunk]]:
        """People of the wanted chunks and of neighbours within ``margin`` model frames."""
        if not wanted:
            return {}
        reach = -(-margin // self.header.chunk)
        near = range(max(wanted[0] - reach, 0), min(wanted[-1] + reach + 1, self.header.chunks))
        whole = len(near) == self.header.chunks
        payloads = enumerate(self.reader) if whole else ((c, self.reader.chunk(c)) for c in near)
        return {
            c: decode_chunk(payload, self.header.people, self.stream.layout(c))
            for c, payload in payloads
        }

    def parts(self, asked: range | None = None) -> Iterator[Part]:
        """Some frames, or all, in order: one person of one chunk after another, where they are seen."""
        frames = self.frames(asked)
        wanted = self._wanted(frames)
        chunks = self._load(wanted, self.stream.margin)
        for c in wanted:
            first, last = self.header.frame_span(c)
            start, stop = max(first, frames.start), min(last, frames.stop)
            for person in range(self.header.people):
                mine = {near: found[person] for near, found in chunks.items()}
                missing = mine[c].missing[start - first : stop - first]
                levels = mine[c].confidence
                confidence = np.ones(missing.shape, np.float32)
                if levels is not None:
                    confidence = levels[start - first : stop - first].astype(np.float32)
                    confidence /= (1 << self.header.confidence) - 1
                confidence[missing] = 0.0
                yield Part(
                    self, mine, c, person, range(start, stop), frames.start, missing, confidence
                )

    def clip(self, frames: range | None = None, progress: Progress | None = None) -> Clip:
        """Keypoints of some frames, or all.

        Args:
            frames: of the clip.
            progress: called with the frames that each step got done.
        """
        asked = self.frames(frames)
        header = self.header
        shape = (len(asked), header.people, len(self.stream.skeleton))
        keypoints = np.full((*shape, header.dims), np.nan, np.float32)
        confidence = np.zeros(shape, np.float32) if header.confidence else None
        for part in self.parts(asked):
            if not part.missing.all():
                points = from_model_axes(part.keypoints(), header.up)
                points[part.missing] = np.nan
                keypoints[part.rows, part.person] = points
            if confidence is not None:
                confidence[part.rows, part.person] = part.confidence
            if progress and part.person + 1 == header.people:
                progress(len(part.frames))
        return Clip(
            keypoints, header.frame_rate, self.stream.skeleton, confidence, header.units, header.up,
            header.ids, header.metadata,
        )  # fmt: skip

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
        if not self.header.model:
            raise UsageError(
                "heatmaps: expected a clip with body joints, found none that a model covers"
            )
        covered, canonical = covered_joints(self.stream.skeleton)
        for part in self.parts(frames):
            points = np.full((len(part.frames), len(CANONICAL), self.header.dims), np.nan)
            sure = np.zeros(points.shape[:2])
            where = None
            if not part.missing.all():
                where = part.placement()
                points[:, canonical] = where.apply(part.keypoints())[:, covered]
                sure[:, canonical] = part.confidence[:, covered]
                points[sure == 0] = np.nan
            volume = render_heatmaps(points, sure, size=size, sigma=sigma, dense=dense)
            yield Heatmaps(part.person, part.frames, volume, where)

    def tokens(self, frames: range | None = None) -> list[NDArray[np.uint16]]:
        """Tokens of the chunks that hold some frames, or all: for each level (P, steps, slots).

        Needs no network.

        Raises:
            UsageError: the stream has none.
        """
        if not self.header.model:
            raise UsageError(
                "tokens: expected a clip with body joints, found none that a model covers"
            )
        chunks = self._load(self._wanted(self.frames(frames)), 0)
        people = range(self.header.people)
        return [
            np.stack(
                [
                    np.concatenate([found[p].tokens[level] for found in chunks.values()])
                    if chunks
                    else np.zeros((0, prior.slots))
                    for p in people
                ]
                or [np.zeros((0, prior.slots))]
            ).astype(np.uint16)
            for level, prior in enumerate(self.stream.priors)
        ]


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
    origin: int
    missing: NDArray[np.bool_]
    confidence: NDArray[np.float32]

    @property
    def rows(self) -> slice:
        """Of the frames asked for."""
        return slice(self.frames.start - self.origin, self.frames.stop - self.origin)

    def keypoints(self) -> Float64:
        """(F, K, D) all joints in the models' axes."""
        stream = self.decoder.stream
        first, last = self.decoder.header.frame_span(self.chunk)
        points = stream.body_at_clip_rate(self.mine, self.person, self.chunk)
        curve = self.mine[self.chunk].extra
        if curve is not None:
            points[:, stream.extra] = decode_extra(curve, points, stream.extra, self.decoder.header)
        return points[self.frames.start - first : self.frames.stop - first]

    def placement(self) -> Placement:
        """Where the person is in each frame."""
        stream = self.decoder.stream
        low, high = stream.margins(self.chunk, WINDOW)
        where = stream.placement(self.mine, self.person, low, high)

        def moved(values: Float64) -> Float64:
            return stream.at_clip_rate(values, low, self.frames)

        heading = None if where.heading is None else moved(np.unwrap(where.heading))
        return Placement(moved(where.origin), moved(where.size), heading)


def decode_clip(
    source: BinaryIO | bytes, device: str = "auto", frames: range | None = None
) -> Clip:
    """A ``.mtok`` stream, or its bytes, to a clip.

    Raises:
        MotionCodecError: it is damaged, or made with weights that are not here.
    """
    return Decoder(io.BytesIO(source) if isinstance(source, bytes) else source, device).clip(frames)


__all__ = ["Decoder", "Heatmaps", "Settings", "decode_clip", "encode_clip", "plan"]
