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
from motioncodec.bitstream.header import CHUNK, KNOWN_KEYS, MAX_CELLS, MODEL_RATE, WINDOW, Header
from motioncodec.bitstream.header import step_exponent
from motioncodec.bitstream.payload import Layout, PersonChunk, decode_chunk, encode_chunk
from motioncodec.bitstream.prior import LevelPrior
from motioncodec.clip import METRES, Clip
from motioncodec.errors import ClipError, ContainerError, ModelError, UsageError
from motioncodec.heatmap.placement import (
    KNOT_SPACING,
    Placement,
    choose_anchor,
    dequantise_scale,
    find_scale,
    find_size,
    quantise_scale,
)
from motioncodec.heatmap.rendering import render_heatmaps
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
    from_model_axes,
    joined,
    keypoint_step,
    place,
    placement,
    sample,
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
        self.skeleton = Skeleton(header.names) if header.skeleton == 0 else _skeleton(header.skeleton)
        header.check_size(len(self.skeleton))
        self.weights = weights
        if header.model and weights is None:
            self.weights = find_weights(header.model_id)
        self.covered = covered_joints(self.skeleton)[0] if header.model else []
        covered = set(self.covered)
        self.extra = [j for j in range(len(self.skeleton)) if j not in covered]
        if len(header.references) != len(self.extra):
            raise ContainerError(
                f"header: expected references of {len(self.extra)} joints, found {len(header.references)}"
            )
        if any(r >= len(self.skeleton) for r in header.references):
            raise ContainerError("header: expected references to joints of the skeleton, found others")

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

    def decode_body(self, chunks: dict[int, PersonChunk], person: int, start: int, stop: int) -> Float64:
        """(N, K, D) covered joints in the models' axes at model frames ``start`` to ``stop``, which
        are whole windows; other joints are 0.

        Args:
            chunks: that person, in every chunk that :meth:`neighbours` names with the margin on.
        """
        padded = self.header.span(self.header.chunks - 1)[1]
        out = np.zeros((stop - start, len(self.skeleton), self.header.dims))
        if not self.covered:
            return out
        margin = self.network.margin
        low, high = max(start - margin, 0), min(stop + margin, padded)
        near = self.neighbours(low, high)
        first = near[0] * self.header.chunk
        tokens = []
        for level, stride in enumerate(self.strides):
            rows = np.concatenate([chunks[c].tokens[level] for c in near])
            tokens.append(rows[(low - first) // stride : (high - first) // stride])
        body = self.detokenize(tokens)[start - low : stop - low]
        where = self.placement(chunks, person, near, start - first, stop - first)
        covered, canonical = covered_joints(self.skeleton)
        out[:, covered] = where.invert(body)[:, canonical]
        return out

    def placement(
        self, chunks: dict[int, PersonChunk], person: int, near: range, low: int, high: int
    ) -> Placement:
        """Placement at model frames ``low`` to ``high`` counted from the first of chunks ``near``."""
        parts = []
        for chunk in near:
            given = chunks[chunk]
            assert given.origin is not None and given.turn is not None
            parts.append(placement(self.header, person, given.origin, given.turn))
        whole = joined(parts)
        heading = None if whole.heading is None else whole.heading[low:high]
        return Placement(whole.origin[low:high], whole.size[low:high], heading)


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
    seen = (~clip.missing).any(axis=(0, 1))
    weights = None
    if seen[covered].sum() >= LEAST_COVERED:
        weights = default_weights(clip.dims) if settings.model is None else find_weights(settings.model)
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
        progress: called with the clip frames that each step got done; they add up to
            2 x frames.

    Raises:
        MotionCodecError: what was asked for cannot be done.
    """
    settings = settings or Settings()
    header, weights = plan(clip, settings)
    stream = Stream(header, settings.device, weights)
    tell = progress or (lambda frames: None)
    chunks = range(header.chunks)
    people = [{c: PersonChunk(_missing(clip, header, p, c)) for c in chunks} for p in range(clip.persons)]
    if header.model:
        for person, mine in enumerate(people):
            anchor = choose_anchor(np.isfinite(canonical_points(clip, person, slice(None, None, 1 + clip.frames // 100_000))[..., 0]))
            for chunk, one in mine.items():
                one.origin, one.turn = place(clip, header, person, chunk, anchor)
            for chunk, one in mine.items():
                one.tokens = _tokens(clip, stream, mine, person, chunk)
                tell(_share(header, chunk, clip.persons))
    writer = Writer(header.pack(), target, indexed=header.chunks > 1)
    for chunk in chunks:
        for person, mine in enumerate(people):
            one = mine[chunk]
            if stream.extra:
                one.extra = _extra(clip, stream, mine, person, chunk)
            if header.confidence:
                one.confidence = _confidence_levels(clip, header, person, chunk)
        writer.write(encode_chunk([mine[chunk] for mine in people], stream.layout(chunk)))
        first, last = header.frame_span(chunk)
        tell(last - first)
    return writer.close()


def _share(header: Header, chunk: int, people: int) -> int:
    first, last = header.frame_span(chunk)
    return (last - first) // max(people, 1)


def _missing(clip: Clip, header: Header, person: int, chunk: int) -> NDArray[np.bool_]:
    first, last = header.frame_span(chunk)
    missing: NDArray[np.bool_] = np.isnan(clip.keypoints[first:last, person, :, 0])
    return missing


def _tokens(
    clip: Clip, stream: Stream, mine: dict[int, PersonChunk], person: int, chunk: int
) -> list[NDArray[np.int64]]:
    """Tokens of one chunk, chosen with the neighbours in view."""
    start, stop = stream.header.span(chunk)
    low, high = stream.margins(chunk, ENCODER_MARGIN)
    samples = sample_canonical(clip, person, low, high)
    near = stream.neighbours(low, high)
    first = near[0] * stream.header.chunk
    where = stream.placement(mine, person, near, low - first, high - first)
    tokens = stream.tokenize(where.apply(samples.points), samples.seen * samples.confidence)
    return [
        level[(start - low) // stride : (stop - low) // stride]
        for level, stride in zip(tokens, stream.strides)
    ]


def _extra(
    clip: Clip, stream: Stream, mine: dict[int, PersonChunk], person: int, chunk: int
) -> Any:
    """The curve of the uncovered joints of one chunk."""
    start, stop = stream.header.span(chunk)
    padded = stream.header.span(stream.header.chunks - 1)[1]
    body = stream.decode_body(mine, person, start, min(stop + WINDOW, padded))
    body = np.concatenate([body, body[-1:]])[: stop - start + 1]
    samples = sample(clip, person, stream.extra, start, stop + 1)
    return encode_extra(samples.points, samples.seen, body, stream.extra, stream.header)[0]


def _confidence_levels(clip: Clip, header: Header, person: int, chunk: int) -> NDArray[np.int64]:
    assert clip.confidence is not None
    first, last = header.frame_span(chunk)
    top = (1 << header.confidence) - 1
    return np.rint(clip.confidence[first:last, person].astype(np.float64) * top).astype(np.int64)


class Decoder:
    """A ``.mtok`` stream, opened.

    Args:
        source: a binary stream at the file's first byte; one that seeks decodes parts of a clip
            without reading the rest.
        device: ``auto``, ``cpu`` or ``cuda``.

    Raises:
        ContainerError: it is not a whole, undamaged header.
    """

    def __init__(self, source: BinaryIO, device: str = "auto") -> None:
        self.reader = Reader(source, KNOWN_KEYS, chunks_of=lambda packed: Header.unpack(packed).chunks)
        self.header = Header.unpack(self.reader.header)
        self.device = device

    @cached_property
    def stream(self) -> Stream:
        """What the header determines."""
        return Stream(self.header, self.device)

    def _chunks(self, frames: range) -> tuple[range, dict[int, list[PersonChunk]]]:
        """Chunks that hold some clip frames, and those with the neighbours that decoding looks at."""
        header = self.header
        wanted = [
            c for c in range(header.chunks)
            if header.frame_span(c)[0] < frames.stop and header.frame_span(c)[1] > frames.start
        ]  # fmt: skip
        if not wanted:
            return range(0), {}
        margin = (self.stream.network.margin + WINDOW) if header.model else WINDOW
        reach = -(-margin // header.chunk)
        first, last = max(wanted[0] - reach, 0), min(wanted[-1] + reach, header.chunks - 1)
        found: dict[int, list[PersonChunk]] = {}
        if first == 0 and last == header.chunks - 1:
            payloads: Iterator[tuple[int, bytes]] = enumerate(self.reader)
        else:
            payloads = ((c, self.reader.chunk(c)) for c in range(first, last + 1))
        for c, payload in payloads:
            found[c] = decode_chunk(payload, header.people, self.stream.layout(c))
        return range(wanted[0], wanted[-1] + 1), found

    def frames(self, frames: range | None = None) -> range:
        """Clip frames asked for, within the clip.

        Raises:
            UsageError: the range is not within it.
        """
        asked = range(self.header.frames) if frames is None else frames
        if asked.step != 1 or asked.start < 0 or asked.stop > self.header.frames or asked.start > asked.stop:
            raise UsageError(
                f"frames: expected a range within 0:{self.header.frames}, found {asked.start}:{asked.stop}"
            )
        return asked

    def clip(self, frames: range | None = None, progress: Progress | None = None) -> Clip:
        """Keypoints of some frames, or all."""
        asked = self.frames(frames)
        header, stream = self.header, self.stream
        tell = progress or (lambda count: None)
        out = np.full((len(asked), header.people, len(stream.skeleton), header.dims), np.nan, np.float32)
        confidence = np.zeros(out.shape[:3], np.float32) if header.confidence else None
        wanted, chunks = self._chunks(asked)
        for chunk in wanted:
            first, last = header.frame_span(chunk)
            here = slice(max(first, asked.start), min(last, asked.stop))
            rows = slice(here.start - asked.start, here.stop - asked.start)
            inside = slice(here.start - first, here.stop - first)
            for person in range(header.people):
                mine = {c: found[person] for c, found in chunks.items()}
                missing = mine[chunk].missing[inside]
                if missing.all():
                    continue
                low, points = self._points(mine, person, chunk)
                moved = to_clip_rate(points, header.frame_rate, here.start, here.stop, low)
                moved = from_model_axes(moved, header.up)
                moved[missing] = np.nan
                out[rows, person] = moved
                levels = mine[chunk].confidence
                if confidence is not None and levels is not None:
                    confidence[rows, person] = levels[inside] / ((1 << header.confidence) - 1)
            tell(here.stop - here.start)
        return Clip(
            out, header.frame_rate, stream.skeleton, confidence, header.units, header.up, header.ids,
            header.metadata,
        )  # fmt: skip

    def _points(self, mine: dict[int, PersonChunk], person: int, chunk: int) -> tuple[int, Float64]:
        """First model frame and (N, K, D) joints of a chunk with a few frames of its neighbours."""
        stream = self.stream
        low, high = stream.margins(chunk, WINDOW)
        points = stream.decode_body(mine, person, low, high)
        if stream.extra:
            parts = []
            for near in stream.neighbours(low, high):
                start, stop = self.header.span(near)
                curve = mine[near].extra
                assert curve is not None
                body = points[max(start - low, 0) : stop - low]
                if len(body) < stop - start or stop > high:
                    body = stream.decode_body(mine, person, start, min(stop, high)) if False else body
                parts.append((near, curve, body))
            points[:, stream.extra] = self._extras(mine, points, low, high)
        return low, points

    def _extras(
        self, mine: dict[int, PersonChunk], body: Float64, low: int, high: int
    ) -> Float64:
        """(N, E, D) uncovered joints at model frames ``low`` to ``high``."""
        stream = self.stream
        out = np.zeros((high - low, len(stream.extra), self.header.dims))
        for near in stream.neighbours(low, high):
            start, stop = self.header.span(near)
            curve = mine[near].extra
            assert curve is not None
            a, b = max(start, low), min(stop, high)
            # A stretch of a neighbour: whole blocks of its curve are enough.
            blocks = slice((a - start) // WINDOW, (b - start) // WINDOW)
            part = type(curve)(curve.knots[blocks.start : blocks.stop + 1], curve.sines[blocks])
            here = body[a - low : b - low]
            here = np.concatenate([here, here[-1:]])
            out[a - low : b - low] = decode_extra(part, here, stream.extra, self.header)[:-1]
        return out

    def tokens(self, frames: range | None = None) -> dict[str, NDArray[Any]]:
        """Tokens of some frames, or all, without a network: for each level and person an array."""
        if not self.header.model:
            raise UsageError("tokens: expected a file with tokens, found one whose skeleton no model covers")
        asked = self.frames(frames)
        wanted, chunks = self._chunks_of_tokens(asked)
        out: dict[str, NDArray[Any]] = {}
        for level in range(self.header.depth):
            rows = [
                np.stack([found.tokens[level] for found in chunks[c]]) for c in wanted
            ]
            out[PRESETS[level]] = (
                np.concatenate(rows, axis=1) if rows else np.zeros((0, 0, 0))
            ).astype(np.uint16)
        return out

    def _chunks_of_tokens(self, frames: range) -> tuple[range, dict[int, list[PersonChunk]]]:
        header = self.header
        wanted = [
            c for c in range(header.chunks)
            if header.frame_span(c)[0] < frames.stop and header.frame_span(c)[1] > frames.start
        ]  # fmt: skip
        return range(0), {}

    def heatmaps(self, frames: range | None = None, *, size: int = 64, sigma: float = 1.5, dense: bool = False) -> Any:
        raise ModelError("later")


def decode_clip(source: BinaryIO | bytes, device: str = "auto", frames: range | None = None) -> Clip:
    """A ``.mtok`` stream, or its bytes, to a clip.

    Raises:
        MotionCodecError: it is damaged, or made with weights that are not here.
    """
    return Decoder(io.BytesIO(source) if isinstance(source, bytes) else source, device).clip(frames)


__all__ = ["CANONICAL", "METRES", "Decoder", "Settings", "decode_clip", "encode_clip", "plan", "render_heatmaps"]
