"""A clip to a ``.mtok`` stream and back: the way of the data, every row of it a pair.

    encode                                   decode
    Placement.apply      placed off          Placement.invert
    sample_canonical     30 frames a second  to_clip_rate
    tokenize             the network         detokenize
    encode_extra         uncovered joints    decode_extra
    transformed          what is left over   refined
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

from motioncodec.articulated import find_shape
from motioncodec.bitstream.bones import RIGID, code_shape
from motioncodec.bitstream.container import Reader, Writer
from motioncodec.bitstream.entropy import Encoder
from motioncodec.bitstream.header import KNOWN_KEYS, WINDOW, Header, step_exponent, step_size
from motioncodec.bitstream.payload import PersonChunk, decode_chunk, encode_chunk
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
from motioncodec.model.weights import find_weights
from motioncodec.plan import Settings, plan
from motioncodec.refinement import (
    BOUND_PRICE,
    PRICE,
    Posed,
    find_corrections,
    find_grid,
    kept_bound,
    refined,
    shape_step,
    thrifty,
    transformed,
    unrounded,
)
from motioncodec.skeleton import CANONICAL
from motioncodec.stream import Stream
from motioncodec.tracks import (
    canonical_points,
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
        mean = settings.mean_error / error_scale(clip.units)
        stream.header = header = _step_for_mean(clip, stream, people, mean)
    writer = Writer(header.pack(), target, indexed=header.chunks > 1, alone=header.chunks == 1)
    for chunk in chunks:
        for person, mine in enumerate(people):
            if mine[chunk].present:
                mine[chunk].extra = _extra(clip, stream, mine, person, chunk)
                mine[chunk].confidence = _confidence(clip, header, person, chunk)
                _refine(clip, stream, mine, person, chunk)
        writer.write(encode_chunk([mine[chunk] for mine in people], stream.layout(chunk)))
        for mine in people:
            mine[chunk].forget()
        if progress:
            progress(len(range(*header.frame_span(chunk))))
    return writer.close()


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
                parts.append((*_left(clip, stream, mine, person, chunk), person, chunk))
    here = [~np.isnan(left[..., 0]) for left, *_ in parts]
    count = max(sum(int(one.sum()) for one in here), 1)

    def error(step: int | None) -> float:
        if step is not None:
            stream.header = replace(header, fine_step=step)
        total = 0.0
        for (left, points, person, chunk), there in zip(parts, here):
            off = left
            if step is not None:
                posed = _fine(clip, stream, people[person], person, chunk, left, points)
                given = people[person][chunk].fine
                assert given is not None
                off = left + points - refined(given, step, stream.channels, points, posed)
            total += float(np.linalg.norm(off, axis=-1)[there].sum())
        stream.header = header
        return total / count

    if error(None) <= mean:
        return replace(header, fine_step=None)
    # Errors grow a little slower than steps do.
    low, high = -400, 400
    ones = [people[person][chunk] for *_, person, chunk in parts]
    best: list[tuple[NDArray[np.int64] | None, NDArray[np.int64] | None]] = []
    step = step_exponent(2.5 * mean)
    while high - low > 1:
        found = error(step)
        if found <= mean:
            low, best = step, [(one.shape, one.fine) for one in ones]
        else:
            high = step
        guess = step + round(4.4 * math.log2(mean / max(found, mean / 64)) - 0.4)
        step = min(max(guess, low + 1), high - 1)
    for one, (shape, fine) in zip(ones, best or [(None, None)] * len(ones)):
        one.shape, one.fine = shape, fine
    return replace(header, fine_step=low)


def _fine(
    clip: Clip,
    stream: Stream,
    mine: dict[int, PersonChunk],
    person: int,
    chunk: int,
    left: Float64,
    points: Float64,
) -> Posed | None:
    """Adds to one chunk the coefficients of what decoded keypoints leave over; returns the body
    that they move, if any."""
    header, one = stream.header, mine[chunk]
    assert header.fine_step is not None
    posed = None
    if stream.channels.jointed and one.bones is not None:
        one.shape = _shape(clip, stream, one, person, chunk)
        posed = stream.posed(mine, person, chunk)
    exact = transformed(left, stream.channels, points, posed, clip.frame_rate)
    step = step_size(header.fine_step)
    if one.shape is not None and one.shape[-1, RIGID]:
        # Where bones are not what they were taken for, or tokens are too far off.
        there = ~np.isnan(left)
        found = unrounded(exact, stream.channels, points, posed)
        if np.abs(found - points - left)[there].mean() > _STIFF * step:
            one.shape = np.zeros_like(one.shape)
            posed = stream.posed(mine, person, chunk)
            exact = transformed(left, stream.channels, points, posed, clip.frame_rate)
    one.fine = thrifty(exact / step, posed, BOUND_PRICE if header.bound else PRICE)
    return posed


def _shape(
    clip: Clip, stream: Stream, one: PersonChunk, person: int, chunk: int
) -> NDArray[np.int64]:
    """What is to be known about a body before it is refined."""
    header = stream.header
    assert header.fine_step is not None and one.bones is not None
    true = canonical_points(clip, person, slice(*header.frame_span(chunk))).astype(np.float64)
    unit = dequantise_scale(header.scales[person])
    choices, off = find_shape(true, stream.bone_lengths(one, person), unit)
    shape = np.zeros((len(off) + 1, 3), np.int64)
    shape[:-1] = np.rint(np.clip(off / shape_step(header.fine_step), -_FAR, _FAR))
    shape[-1] = [*choices, 1]
    return code_shape(Encoder(), shape, one.bones, stream.layout(chunk).here(one.missing))


_STIFF = 0.05
"""Mean distance, in steps and by coordinate, from true keypoints that rigid bodies may keep."""

_FAR = 1 << 29
"""Steps that a joint is off where it is thought to be, at most."""


def _left(
    clip: Clip, stream: Stream, mine: dict[int, PersonChunk], person: int, chunk: int
) -> tuple[Float64, Float64]:
    """(F, K, D) true keypoints of one chunk less what tokens and curves make of them, in the
    models' axes, NaN where missing; and the latter."""
    header = stream.header
    true = clip.keypoints[slice(*header.frame_span(chunk)), person].astype(np.float64)
    points = stream.keypoints_at_clip_rate(mine, person, chunk)
    return to_model_axes(true, header.up) - points, points


def _refine(
    clip: Clip, stream: Stream, mine: dict[int, PersonChunk], person: int, chunk: int
) -> None:
    """Adds to one chunk what brings its keypoints within the header's bound."""
    header, one = stream.header, mine[chunk]
    if header.fine_step is None:
        return
    if one.fine is not None and not header.bound:
        return  # from the search for the step
    left, points = _left(clip, stream, mine, person, chunk)
    _fine(clip, stream, mine, person, chunk, left, points)
    if not header.bound:
        return
    rows = clip.keypoints[slice(*header.frame_span(chunk)), person].astype(np.float64)
    kept = kept_bound(header.bound, float(np.nanmax(np.abs(rows), initial=0.0)))
    true = to_model_axes(rows, header.up)
    found = stream.refine(points, mine, person, chunk)
    one.corrections = find_corrections(true - found, header.bound, kept)
    gridded = replace(one, grid=find_grid(true, header.bound, kept))
    layout = stream.layout(chunk)
    if len(encode_chunk([gridded], layout)) < len(encode_chunk([one], layout)):
        one.grid = gridded.grid
    # What decoding makes of it, in float32, is what was promised.
    back = from_model_axes(stream.refine(points, mine, person, chunk), header.up)
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
        if math.prod(shape) > MAX_CLIP:
            raise UsageError(
                f"clip: expected at most {MAX_CLIP} keypoints at once, found {math.prod(shape)}; "
                "decode some frames at a time"
            )
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
        if not self.header.model:
            raise UsageError(
                "heatmaps: expected a clip with body joints, found none that a model covers"
            )
        covered, canonical = self.stream.covered, self.stream.canonical
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
        chunks = [found for _, found in self._load(self._wanted(self.frames(frames)), 0)]
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
    missing: NDArray[np.bool_]
    confidence: NDArray[np.float32]

    @property
    def rows(self) -> slice:
        """Of the frames asked for."""
        return slice(self.frames.start - self.origin, self.frames.stop - self.origin)

    def keypoints(self) -> Float64:
        """(F, K, D) all joints in the models' axes."""
        stream = self.decoder.stream
        first = self.decoder.header.frame_span(self.chunk)[0]
        points = stream.keypoints_at_clip_rate(self.mine, self.person, self.chunk)
        points = stream.refine(points, self.mine, self.person, self.chunk)
        return points[self.frames.start - first : self.frames.stop - first]

    def placement(self) -> Placement:
        """Where the person is in each frame."""
        stream = self.decoder.stream
        low, high = stream.margins(self.mine, *self.decoder.header.span(self.chunk), WINDOW)
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
