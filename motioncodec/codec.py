"""A clip to a ``.mtok`` stream and back: the way of the data, every row of it a pair.

    encode                                   decode
    Placement.apply      placed off          Placement.invert
    sample_canonical     30 frames a second  to_clip_rate
    tokenize             the network         detokenize
    encode_extra         uncovered joints    decode_extra
    find_coefficients    what is left over   refined
    encode_chunk         bytes               decode_chunk
    Writer               the container       Reader

Chunks of 1,024 model frames pass through one at a time; networks see a margin of the neighbours,
so there is no seam between them.
"""

from __future__ import annotations

import io
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from motioncodec.bitstream.container import Reader, Writer
from motioncodec.bitstream.exact import NO_NUMBER
from motioncodec.bitstream.header import KNOWN_KEYS, WINDOW, Header, step_exponent
from motioncodec.bitstream.payload import PersonChunk, decode_chunk, encode_chunk, layer_bits
from motioncodec.bitstream.trajectory import Curve
from motioncodec.clip import Clip, error_scale
from motioncodec.errors import ClipError, ContainerError, UsageError
from motioncodec.heatmap.bones import find_bones
from motioncodec.heatmap.placement import (
    Placement,
    choose_anchor,
    dequantise_scale,
    from_model_axes,
    to_model_axes,
)
from motioncodec.heatmap.rendering import SIGMA, SIZE, render_heatmaps
from motioncodec.lossless import exact_values, find_exact
from motioncodec.model.config import PRESETS
from motioncodec.model.weights import find_weights
from motioncodec.plan import LEAST_COVERED, Settings, plan
from motioncodec.prediction import find_numbers, values_of
from motioncodec.refinement import (
    correction_step,
    find_coefficients,
    find_corrections,
    kept_bound,
    refined,
)
from motioncodec.skeleton import CANONICAL
from motioncodec.stream import Stream
from motioncodec.tracks import (
    canonical_points,
    covered_joints,
    encode_extra,
    place,
    quantise_bones,
    sample_canonical,
)

Float64 = NDArray[np.float64]
Progress = Callable[[int], object]

ENCODER_MARGIN = 256
"""Model frames of neighbours that tokens are chosen with; more would not change them."""

MAX_CLIP = 1 << 32
"""Keypoints that are decoded into one clip: 48 GiB in 3D."""


def encode_clip(
    clip: Clip, target: BinaryIO, settings: Settings | None = None, progress: Progress | None = None
) -> int:
    """Writes a clip as a ``.mtok`` stream; returns its bytes.

    Args:
        clip: of any skeleton.
        target: a binary stream, which need not seek.
        settings: preset, model, device, confidence, effort, errors.
        progress: called with the clip frames that each step got done; every frame counts twice,
            once for its tokens and once for its bytes.

    Raises:
        MotionCodecError: what was asked for cannot be done.
    """
    settings = settings or Settings()
    if settings.bitrate is not None:
        data = _within_rate(clip, settings)
        if progress:
            progress(2 * clip.frames)
        return target.write(data)
    header, weights = plan(clip, settings)
    stream = Stream(header, settings.device, weights)
    chunks = range(header.chunks)
    people = [_place(clip, stream, person) for person in range(clip.persons)]
    for chunk in chunks:
        for person, mine in enumerate(people):
            if header.model and mine[chunk].present:
                mine[chunk].tokens = _tokens(clip, stream, mine, person, chunk, settings.effort)
        if progress:
            progress(len(range(*header.frame_span(chunk))))
    if settings.mean_error is not None:
        mean = (settings.mean_error - settings.off_by) / error_scale(clip.units)
        stream.header = header = _step_for_mean(clip, stream, people, mean)
    writer = Writer(header.pack(), target, indexed=header.chunks > 1, alone=header.chunks == 1)
    # What has tokens is decoded with neighbours in view: these keep theirs until then.
    reach = -(-stream.margin // header.chunk) if header.bound else 0
    for chunk in range(header.chunks + reach):
        if chunk in chunks:
            for person, mine in enumerate(people):
                _finish(clip, stream, mine, person, chunk)
            if progress:
                progress(len(range(*header.frame_span(chunk))))
        if chunk - reach in chunks:
            _write(writer, stream, people, chunk - reach, reach)
    return writer.close()


def _within_rate(clip: Clip, settings: Settings) -> bytes:
    """The stream with the least mean error of those that take no more than the bit rate: that of
    the finest preset, or one with a mean error that takes nearly all of it."""
    assert settings.bitrate is not None
    most = int(settings.bitrate * clip.duration / 8)
    free = replace(settings, bitrate=None)

    def made(asked: Settings) -> bytes:
        target = io.BytesIO()
        encode_clip(clip, target, asked)
        return target.getvalue()

    def error(data: bytes) -> float:
        apart = decode_clip(data, settings.device).keypoints.astype(np.float64) - clip.keypoints
        return float(np.nanmean(np.linalg.norm(apart, axis=-1))) * error_scale(clip.units)

    if settings.preset is None:
        presets = [made(replace(free, preset=preset)) for preset in PRESETS]
    else:
        presets = [made(free)]
    fitting = [data for data in presets if len(data) <= most]
    if not fitting:
        least = 8 * min(map(len, presets)) / clip.duration if clip.frames else 0.0
        raise UsageError(
            f"bitrate: expected at least the {math.ceil(least)} bit/s that this clip takes, "
            f"found {settings.bitrate:g}"
        )
    if clip.missing.all():
        return fitting[0]
    best = min(fitting, key=error)
    # Size falls with the error asked for: from below and above to a fiftieth of the size.
    low, high = 0.0, error(best)
    asked = high / 2
    for _ in range(12):
        data = made(replace(free, mean_error=asked))
        if len(data) > most:
            low = asked
        else:
            high = asked
            best = data
            if len(data) > 0.98 * most:
                break
        asked = high / 2 if low == 0 else math.sqrt(low * high)
    return best


def _finish(
    clip: Clip, stream: Stream, mine: dict[int, PersonChunk], person: int, chunk: int
) -> None:
    """Adds to one chunk what its tokens do not say."""
    header, one = stream.header, mine[chunk]
    frames = slice(*header.frame_span(chunk))
    if header.lossless:
        one.exact = find_exact(clip.keypoints[frames, person], one.missing)
        if clip.confidence is not None:
            sure = find_exact(clip.confidence[frames, person, :, None], one.missing)
            sure.gone = np.full_like(sure.gone, NO_NUMBER)  # always 0, and unsaid
            one.exact_confidence = sure
    elif one.present:
        one.extra = _extra(clip, stream, mine, person, chunk)
        one.confidence = _confidence(clip, header, person, chunk)
        _refine(clip, stream, mine, person, chunk)


def _write(
    writer: Writer, stream: Stream, people: list[dict[int, PersonChunk]], chunk: int, reach: int
) -> None:
    """Writes a chunk, without tokens of people who are in numbers there and all about it."""
    for mine in people:
        near = range(max(chunk - reach, 0), min(chunk + reach + 1, stream.header.chunks))
        if all(mine[c].in_numbers or not mine[c].present for c in near):
            mine[chunk].drop_tokens()
    writer.write(encode_chunk([mine[chunk] for mine in people], stream.layout(chunk)))
    for mine in people:
        mine[chunk].forget()


def _place(clip: Clip, stream: Stream, person: int) -> dict[int, PersonChunk]:
    """What is missing in each chunk, where the person is, and how long their bones are."""
    header = stream.header
    points = canonical_points(clip, person, slice(None, None, 1 + clip.frames // 100_000))
    anchor = choose_anchor(np.isfinite(points[..., 0]))
    bones = None
    if stream.knows_bones:
        lengths = find_bones(points / dequantise_scale(header.scales[person]))
        bones = quantise_bones(lengths, header.depth)
    mine = {}
    for chunk in range(header.chunks):
        first, last = header.frame_span(chunk)
        mine[chunk] = one = PersonChunk(np.isnan(clip.keypoints[first:last, person, :, 0]))
        if header.model and one.present:
            one.origin, one.turn = place(clip, header, person, chunk, anchor)
            one.bones = bones
    return mine


def _tokens(
    clip: Clip,
    stream: Stream,
    mine: dict[int, PersonChunk],
    person: int,
    chunk: int,
    effort: int,
) -> list[NDArray[np.int64]]:
    """Tokens of one chunk, chosen with the neighbours in view."""
    start, stop = stream.header.span(chunk)
    low, high = stream.margins(mine, start, stop, ENCODER_MARGIN)
    samples = sample_canonical(clip, person, low, high)
    where = stream.placement(mine, person, low, high)
    tokens = stream.tokenize(
        where.apply(samples.points),
        samples.seen * samples.confidence,
        stream.bones(mine[chunk]),
        effort,
        slice(start - low, stop - low),
    )
    skip = [(start - low) // stride for stride in stream.strides]
    steps = stream.layout(chunk).steps
    return [level[a : a + n] for level, a, n in zip(tokens, skip, steps)]


def _extra(
    clip: Clip, stream: Stream, mine: dict[int, PersonChunk], person: int, chunk: int
) -> Curve | None:
    """The curve of the uncovered joints of one chunk."""
    if not stream.extra:
        return None
    frames = slice(*stream.header.frame_span(chunk))
    points = clip.keypoints[frames, person][:, stream.extra].astype(np.float64)
    body = stream.body_at_clip_rate(mine, person, chunk)
    return encode_extra(
        to_model_axes(points, clip.up), body, stream.extra, stream.extra_rounds, stream.header
    )


SAMPLED = 64
"""Chunks, 34 seconds each, that the step for a mean error is chosen on at most: every one of a clip
up to 36 minutes."""


def _step_for_mean(
    clip: Clip, stream: Stream, people: list[dict[int, PersonChunk]], mean: float
) -> Header:
    """The header with the largest step of what is left over at which the mean error is within
    ``mean``, in the clip's units; without any, where tokens and curves are."""
    header = stream.header
    parts = []
    for chunk in range(0, header.chunks, -(-header.chunks // SAMPLED)):
        for person, mine in enumerate(people):
            if mine[chunk].present:
                mine[chunk].extra = _extra(clip, stream, mine, person, chunk)
                heading = stream.heading_at_clip_rate(mine, person, chunk)
                parts.append((_left(clip, stream, mine, person, chunk), heading))
    here = [~np.isnan(left[..., 0]) for left, _ in parts]
    count = max(sum(int(one.sum()) for one in here), 1)

    def error(step: int | None) -> float:
        total = 0.0
        for (left, heading), there in zip(parts, here):
            off = left
            if step is not None:
                given = find_coefficients(left, step, stream.channels, heading, clip.frame_rate)
                off = left - refined(given, step, stream.channels, heading, len(left))
            total += float(np.linalg.norm(off, axis=-1)[there].sum())
        return total / count

    if error(None) <= mean:
        return replace(header, fine_step=None)
    step = step_exponent(2 * mean)
    while step > -400 and error(step) > mean:
        step -= 1
    while error(step + 1) <= mean:
        step += 1
    return replace(header, fine_step=step)


def _left(
    clip: Clip, stream: Stream, mine: dict[int, PersonChunk], person: int, chunk: int
) -> Float64:
    """(F, K, D) true keypoints of one chunk less what tokens and curves make of them, in the
    models' axes; NaN where missing."""
    header = stream.header
    true = clip.keypoints[slice(*header.frame_span(chunk)), person].astype(np.float64)
    return to_model_axes(true, header.up) - stream.keypoints_at_clip_rate(mine, person, chunk)


def _refine(
    clip: Clip, stream: Stream, mine: dict[int, PersonChunk], person: int, chunk: int
) -> None:
    """Adds to one chunk what brings its keypoints within the header's bound."""
    header, one = stream.header, mine[chunk]
    if header.fine_step is None:
        return
    heading = stream.heading_at_clip_rate(mine, person, chunk)
    left = _left(clip, stream, mine, person, chunk)
    one.fine = find_coefficients(left, header.fine_step, stream.channels, heading, clip.frame_rate)
    if not header.bound:
        return
    rows = clip.keypoints[slice(*header.frame_span(chunk)), person].astype(np.float64)
    kept = kept_bound(header.bound, float(np.nanmax(np.abs(rows), initial=0.0)))
    true = to_model_axes(rows, header.up)
    found = stream.refine(true - left, mine, person, chunk)
    one.corrections = find_corrections(true - found, header.bound, kept)
    step = correction_step(header.bound, header.dims)
    numbers = find_numbers(rows / step, floats=False, reach=kept / step)
    bare = PersonChunk(one.missing, confidence=one.confidence, numbers=numbers)
    layout = stream.layout(chunk)
    if len(encode_chunk([bare], layout)) < len(encode_chunk([one], layout)):
        one.numbers, one.in_numbers = numbers, True
    # What decoding makes of it, in float32, is what was promised.
    if one.numbers is not None:
        back = values_of(numbers, ~one.missing) * step
    else:
        points = stream.refine(true - left, mine, person, chunk)
        back = from_model_axes(points, header.up)
    off = np.linalg.norm(back.astype(np.float32).astype(np.float64) - rows, axis=-1)
    if np.nanmax(off, initial=0.0) > header.bound:
        raise ClipError(
            f"max error: expected every keypoint within {header.bound:g} {header.units}, "
            f"found {np.nanmax(off):g} after encoding; ask for a larger one"
        )


def _confidence(clip: Clip, header: Header, person: int, chunk: int) -> NDArray[np.int64] | None:
    """Levels of one chunk's confidences."""
    if clip.confidence is None or not header.confidence:
        return None
    first, last = header.frame_span(chunk)
    top = (1 << header.confidence) - 1
    return np.rint(clip.confidence[first:last, person].astype(np.float64) * top).astype(np.int64)


def trim(
    source: Decoder, target: BinaryIO, settings: Settings, progress: Progress | None = None
) -> int:
    """Writes a coarser stream of what another one decodes to; returns its bytes.

    Nothing else is needed: tokens of a coarser preset are chosen anew, and come out about as good
    as from the clip itself (2 % more error from f8 to f16). Errors are promised against the clip
    that the first stream was made of, as far as that stream promises any.

    Args:
        source: the stream.
        target: as for :func:`encode_clip`.
        settings: of the smaller stream. Confidences keep their bits.
        progress: as for :func:`encode_clip`.

    Raises:
        UsageError: it would be no coarser, or what is asked for cannot be promised.
    """
    header = source.header
    off_by = (header.promised or header.bound) * error_scale(header.units)
    asked = settings.max_error is not None or settings.mean_error is not None
    if asked and not off_by and not header.lossless:
        raise UsageError(
            "trim: expected a stream that was made with a bound or lossless, which alone tell how "
            "far off it is, found one without; ask for a preset"
        )
    bare = not (header.bound or header.lossless or header.fine_step is not None)
    if not asked and header.model and bare and PRESETS.index(settings.chosen) + 1 >= header.depth:
        raise UsageError(
            f"trim: expected a stream finer than {settings.chosen}, found one of "
            f"{PRESETS[header.depth - 1]}"
        )
    bits = settings.confidence_bits if header.lossless else header.confidence
    settings = replace(settings, confidence_bits=bits, off_by=off_by if asked else 0.0)
    return encode_clip(source.clip(), target, settings, progress)


class Decoder:
    """A ``.mtok`` stream, opened.

    Args:
        source: a binary stream at the file's first byte; one that seeks decodes parts of a clip
            without reading the rest.
        device: ``auto``, ``cpu`` or ``cuda``.
        model: path of the weights, where the stream was made with some that do not ship.
        salvage: take damaged chunks for chunks in which nobody is there, and note them in
            ``damaged``, instead of refusing the stream.

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
    ) -> None:
        self.reader = Reader(
            source, KNOWN_KEYS, chunks_of=lambda packed: Header.unpack(packed).chunks
        )
        self.header = Header.unpack(self.reader.header)
        self.device, self.model, self.salvage = device, model, salvage
        self.damaged: set[int] = set()

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
        whole = len(near) == self.header.chunks
        payloads = enumerate(self.reader) if whole else ((c, self.reader.chunk(c)) for c in near)
        for c, payload in payloads:
            yield c, decode_chunk(payload, self.header.people, self.stream.layout(c))

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
                yield Part(self, mine, c, person, range(start, stop), frames.start)

    def clip(self, frames: range | None = None, progress: Progress | None = None) -> Clip:
        """Keypoints of some frames, or all.

        Args:
            frames: of the clip.
            progress: called with the frames that each step got done.
        """
        asked = self.frames(frames)
        header = self.header
        shape = (len(asked), header.people, len(self.stream.skeleton))
        if math.prod(shape) > MAX_CLIP:
            raise UsageError(
                f"clip: expected at most {MAX_CLIP} keypoints at once, found {math.prod(shape)}; "
                "decode some frames at a time"
            )
        keypoints = np.full((*shape, header.dims), np.nan, np.float32)
        confidence = np.zeros(shape, np.float32) if header.confidence else None
        for part in self.parts(asked):
            keypoints[part.rows, part.person] = part.keypoints
            if confidence is not None:
                confidence[part.rows, part.person] = part.confidence
            if progress and part.person + 1 == header.people:
                progress(len(part.frames))
        keypoints.flags.writeable = False  # so that the clip need not copy
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
        covered, canonical = covered_joints(self.stream.skeleton)
        if not self.header.model and not (self.header.lossless and len(covered) >= LEAST_COVERED):
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
        if not self.header.model:
            raise UsageError("tokens: expected a stream with tokens, found none in it")
        chunks = [found for _, found in self._load(self._wanted(self.frames(frames)), 0)]
        if any(one.present and not one.placed for found in chunks for one in found):
            raise UsageError(
                "tokens: expected them throughout, found frames that a bound made smaller without "
                "them; encode without one, or decode to keypoints"
            )
        people = range(self.header.people)
        return [
            np.stack(
                [
                    np.concatenate([found[p].tokens[level] for found in chunks])
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

    @property
    def rows(self) -> slice:
        """Of the frames asked for."""
        return slice(self.frames.start - self.origin, self.frames.stop - self.origin)

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

    @cached_property
    def keypoints(self) -> NDArray[np.float32]:
        """(F, K, D) all joints in the clip's axes, NaN where missing."""
        one = self.mine[self.chunk]
        if one.exact is not None:
            return exact_values(one.exact, one.missing)[self._here]
        stream = self.decoder.stream
        out = np.full((*self.missing.shape, self.decoder.header.dims), np.nan, np.float32)
        if one.present:
            points = stream.decoded(self.mine, self.person, self.chunk)[self._here]
            there = ~self.missing
            out[there] = points[there]
        return out

    def placement(self) -> Placement:
        """Where the person is in each frame."""
        stream = self.decoder.stream
        if not self.mine[self.chunk].placed:
            return self._found_placement()
        low, high = stream.margins(self.mine, *self.decoder.header.span(self.chunk), WINDOW)
        where = stream.placement(self.mine, self.person, low, high)

        def moved(values: Float64) -> Float64:
            return stream.at_clip_rate(values, low, self.frames)

        heading = None if where.heading is None else moved(np.unwrap(where.heading))
        return Placement(moved(where.origin), moved(where.size), heading)

    def _found_placement(self) -> Placement:
        """As :meth:`placement`, where none is written: from the keypoints of the whole chunk."""
        told, one = self.decoder.header, replace(self, frames=self._whole)
        clip = Clip(
            one.keypoints[:, None], told.frame_rate, self.decoder.stream.skeleton,
            units=told.units, up=told.up,
        )  # fmt: skip
        header, weights = plan(clip, Settings())
        if not header.model:
            raise UsageError("placement: expected enough of a body in every chunk, found less")
        if told.scales:
            header = replace(header, scales=(told.scales[self.person],))
        stream = Stream(header, weights=weights)
        where = stream.placement(_place(clip, stream, 0), 0, *header.span(0))

        def moved(values: Float64) -> Float64:
            return stream.at_clip_rate(values, 0, range(clip.frames))[self._here]

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


__all__ = ["Decoder", "Heatmaps", "Settings", "decode_clip", "encode_clip", "plan", "trim"]
