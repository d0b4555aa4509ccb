"""A clip to a ``.mtok`` stream: the left side of the table in :mod:`motioncodec.codec`."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from motioncodec.articulated import find_shape
from motioncodec.bitstream.between import Spacing
from motioncodec.bitstream.bones import RIGID, code_shape
from motioncodec.bitstream.container import Writer
from motioncodec.bitstream.entropy import Encoder
from motioncodec.bitstream.exact import NO_NUMBER
from motioncodec.bitstream.header import CHUNK, PATH_BLOCK, step_exponent, step_size
from motioncodec.bitstream.payload import Layout, PersonChunk, encode_chunk
from motioncodec.clip import Clip
from motioncodec.errors import ClipError
from motioncodec.heatmap.bones import find_bones
from motioncodec.heatmap.placement import (
    Placement,
    choose_anchor,
    dequantise_scale,
    fill_gaps,
    from_model_axes,
    to_model_axes,
)
from motioncodec.interpolation import Finder, places_of
from motioncodec.lossless import find_exact
from motioncodec.plan import Settings, plan
from motioncodec.refinement import (
    BOUND_PRICE,
    PRICE,
    Posed,
    correction_step,
    find_corrections,
    kept_bound,
    refined,
    shape_step,
    thrifty,
    transformed,
    unrounded,
)
from motioncodec.spectrum import PRICE as SPECTRUM_PRICE
from motioncodec.spectrum import find_spectra
from motioncodec.stream import Stream, Untold
from motioncodec.tracks import (
    MOST_LINKED,
    Sampled,
    Samples,
    canonical_points,
    encode_extra,
    find_links,
    find_path,
    place,
    quantise_bones,
    sample_canonical,
)

Float64 = NDArray[np.float64]
Progress = Callable[[int], object]

ENCODER_MARGIN = 256
"""Model frames of neighbours that tokens are chosen with; more would not change them."""

ABREAST = 2 * CHUNK
"""Model frames of short chunks that get their tokens side by side."""

SAMPLED = 64
"""Chunks, 34 seconds each, that the step for a mean error is chosen on at most: every one of a clip
up to 36 minutes."""


KEPT = 1 << 23
"""Coordinates, 64 MiB of them, that a mean error is met closely with at most: half an hour of one
person at 60 frames a second."""


class Encoding:
    """A clip on its way to a stream: where everybody is, and, from :func:`choose_tokens`, their
    tokens.

    Args:
        clip: of any skeleton.
        settings: preset, model, device, confidence, effort, errors.

    Attributes:
        price: of a bit of what tokens leave over, in squared steps.
        usual_grain, nearer: of a stream in numbers without a promise the grain, in the clip's
            units, that suits its key frames, and how many times as near they are in octaves.

    Raises:
        MotionCodecError: what was asked for cannot be done.
    """

    def __init__(self, clip: Clip, settings: Settings) -> None:
        header, weights = plan(clip, settings)
        self.clip, self.effort = clip, settings.effort
        self.stream = Stream(header, settings.device, weights)
        self.price = BOUND_PRICE if header.bound else PRICE
        self.spectrum_price = SPECTRUM_PRICE
        self.usual_grain, self.nearer = 0.0, 0
        self._whole: dict[int, Samples] = {}
        # Chunks of a person alone that were coded to know their size.
        self._coded: dict[int, bytes] = {}
        # Whether numbers took far fewer bytes than all else when both were last tried, by person.
        self._clear: dict[int, bool] = {}
        self.people = [self._place(person) for person in range(clip.persons)]

    def write(self, target: BinaryIO, progress: Progress | None = None) -> int:
        """Writes the stream; returns its bytes.

        Args:
            target: a binary stream, which need not seek.
            progress: called with the clip frames that were written.
        """
        alone = self.stream.header.chunks == 1
        if alone:
            self._finish_all(0)
            if all(mine[0].in_numbers or not mine[0].present for mine in self.people):
                # Curves are in no need of them then.
                self.stream.header = replace(self.stream.header, links=())
        header = self.stream.header
        chunks = range(header.chunks)
        writer = Writer(header.pack(), target, indexed=header.chunks > 1, alone=alone)
        # What has tokens is decoded with neighbours in view: these keep theirs until then.
        reach = -(-self.stream.margin // header.chunk) if header.bound else 0
        for chunk in range(header.chunks + reach):
            if chunk in chunks:
                if not alone:
                    self._finish_all(chunk)
                if progress:
                    progress(len(range(*header.frame_span(chunk))))
            if chunk - reach in chunks:
                writer.write(self._chunk(chunk - reach, reach))
        return writer.close()

    def _finish_all(self, chunk: int) -> None:
        for person in range(self.clip.persons):
            self._finish(person, chunk)

    def _chunk(self, chunk: int, reach: int) -> bytes:
        """Bytes of a chunk, without tokens of people who are in numbers there and all about it."""
        for mine in self.people:
            near = range(max(chunk - reach, 0), min(chunk + reach + 1, self.stream.header.chunks))
            if all(mine[c].in_numbers or not mine[c].present for c in near):
                mine[chunk].drop_tokens()
        some = [mine[chunk] for mine in self.people]
        data = self._coded.pop(chunk, None)
        if data is None or (some[0].in_numbers and some[0].placed):
            data = encode_chunk(some, self.stream.layout(chunk))
        for mine in self.people:
            mine[chunk].forget()
        return data

    def _rows(self, person: int, chunk: int) -> Float64:
        """(F, K, D) keypoints of one chunk, NaN where missing."""
        frames = slice(*self.stream.header.frame_span(chunk))
        return self.clip.keypoints[frames, person].astype(np.float64)

    def _place(self, person: int) -> dict[int, PersonChunk]:
        """What is missing in each chunk, where the person is, and how long their bones are."""
        clip, header = self.clip, self.stream.header
        mine = {}
        for chunk in range(header.chunks):
            frames = slice(*header.frame_span(chunk))
            mine[chunk] = PersonChunk(np.isnan(clip.keypoints[frames, person, :, 0]))
        if header.embodied:
            place_person(clip, self.stream, person, mine, partial(self._sampled, person))
        return mine

    def _sampled(self, person: int, start: int, stop: int) -> Samples:
        """A person's canonical joints; of a clip of one chunk they are all sampled once."""
        header = self.stream.header
        if header.chunks > 1:
            return sample_canonical(self.clip, person, start, stop)
        if person not in self._whole:
            end = header.span(0)[1] + 1
            self._whole[person] = sample_canonical(self.clip, person, 0, end)
        return self._whole[person].part(slice(start, stop))

    def untold(self, person: int, chunk: int) -> Untold:
        """A chunk of somebody's motion, with the neighbours in view."""
        stream, mine = self.stream, self.people[person]
        start, stop = stream.header.span(chunk)
        low, high = stream.margins(mine, start, stop, ENCODER_MARGIN)
        samples = self._sampled(person, low, high)
        where = stream.placement(mine, person, low, high)
        return Untold(
            where.apply(samples.points),
            samples.seen * samples.confidence,
            stream.bones(mine[chunk]),
            slice(start - low, stop - low),
        )

    def take(self, person: int, chunk: int, one: Untold, tokens: list[NDArray[np.int64]]) -> None:
        """Gives a chunk its part of the tokens of a stretch."""
        skip = [one.frames.start // stride for stride in self.stream.strides]
        steps = self.stream.layout(chunk).steps
        self.people[person][chunk].tokens = [
            level[a : a + n] for level, a, n in zip(tokens, skip, steps)
        ]

    def pose(self, person: int, chunk: int) -> tuple[Float64, Float64 | None]:
        """(N, 20, 3) joints in body units at a chunk's model frames, about hips or centre, NaN
        where missing, and (20,) lengths of the rigid bones, None for none."""
        stream, mine = self.stream, self.people[person]
        start = stream.header.span(chunk)[0]
        stop = start + stream.header.steps(chunk, 1)
        samples = self._sampled(person, start, stop)
        points = stream.told_placement(mine, person, start, stop).apply(samples.points)
        if stream.header.free:
            known = samples.seen.any(axis=0)
            points -= points[:, known if known.any() else ~known].mean(axis=1, keepdims=True)
        return np.where(samples.seen[..., None], points, np.nan), stream.bones(mine[chunk])

    def add_spectra(self) -> None:
        """Gives everybody a spectrum in every chunk in which they are there."""
        header, kind = self.stream.header, self.stream.kind
        for person, mine in enumerate(self.people):
            before: int | None = None
            for start in range(0, header.chunks, _TOGETHER):
                # The one after them, which they lap into, is looked at as well.
                behind = min(start + _TOGETHER, header.chunks)
                near = range(start, min(behind + 1, header.chunks))
                for run in _runs([c for c in near if mine[c].present]):
                    joins = before is not None and before == run[0] - 1
                    run = [run[0] - 1, *run] if joins else run
                    told = [self.pose(person, chunk) for chunk in run]
                    found = find_spectra(
                        [points for points, _ in told], told[0][1], kind,
                        self.spectrum_price, mine[run[0]].spectrum if joins else None,
                    )  # fmt: skip
                    for chunk, spectrum in zip(run, found):
                        if chunk < behind:
                            # All of them are kept, of a clip of hours too.
                            mine[chunk].spectrum, before = spectrum.slim(), chunk

    def add_paths(self) -> None:
        """Gives everybody who has a spectrum about their centre the path of it."""
        for person, mine in enumerate(self.people):
            for chunk, one in mine.items():
                if one.present:
                    one.origin = find_path(self.stream.header, self._path(person, chunk))

    def _path(self, person: int, chunk: int) -> Float64:
        """(N + 1, 3) where decoded poses are nearest to a chunk's joints, and to the next one's
        first, less how the path bends by itself; the last one held to fill its last block."""
        stream, header, mine = self.stream, self.stream.header, self.people[person]
        start, stop = header.span(chunk)
        _, end = stream.margins(mine, start, stop, 1)
        poses, where, bent = stream.footed(mine, person, start, end)
        here = slice(end - start)
        centres = self.centres(person, start, poses[here], where.part(here))
        held = np.arange(stream.layout(chunk).path * PATH_BLOCK + 1)
        values = centres[np.minimum(held, len(centres) - 1)]
        values[:-1] -= bent[: len(values) - 1]
        return values

    def centres(self, person: int, start: int, poses: Float64, where: Placement) -> Float64:
        """(N, 3) places, in body units in the models' axes, where (N, 20, 3) decoded poses about
        their centre are nearest to the joints that are there, from a model frame on; bridged where
        there is none."""
        samples = self._sampled(person, start, start + len(poses))
        apart = (samples.points - where.invert(poses)) / where.size[:, None, None]
        count = samples.seen.sum(axis=1)[:, None]
        total = np.where(samples.seen[..., None], apart, 0.0).sum(axis=1)
        return fill_gaps(np.where(count, total / np.maximum(count, 1), np.nan))

    def add_links(self) -> None:
        """Finds what carries joints outside the body along, by the first chunk in which somebody
        is there."""
        stream, header = self.stream, self.stream.header
        if not 2 < len(stream.extra) <= MOST_LINKED or header.dims == 2:
            return
        there = (
            (chunk, person)
            for chunk in range(header.chunks)
            for person, mine in enumerate(self.people)
            if mine[chunk].present
        )
        chunk, person = next(there, (None, 0))
        if chunk is None:
            return
        body = stream.body_at_clip_rate(self.people[person], person, chunk)
        points = self._outside(person, chunk)
        links = find_links(points, body, stream.extra, stream.extra_rounds, header)
        if links:
            header = replace(header, links=tuple(links))
            self.stream = Stream(header, stream.device, stream.weights)

    def _finish(self, person: int, chunk: int) -> None:
        """Adds to one chunk what its tokens do not say."""
        header, one = self.stream.header, self.people[person][chunk]
        if header.lossless:
            self._keep(person, chunk)
        elif one.present:
            one.confidence = self._confidence(person, chunk)
            if header.fine_step is not None:
                self._refine(person, chunk)
            elif self.stream.extra:
                body = self.stream.body_at_clip_rate(self.people[person], person, chunk)
                self._add_curves(person, chunk, body)

    def _keep(self, person: int, chunk: int) -> None:
        """Adds keypoints and confidences to the bit."""
        one, frames = self.people[person][chunk], slice(*self.stream.header.frame_span(chunk))
        one.exact = find_exact(self.clip.keypoints[frames, person], one.missing)
        if self.clip.confidence is not None:
            sure = find_exact(self.clip.confidence[frames, person, :, None], one.missing)
            sure.gone = np.full_like(sure.gone, NO_NUMBER)  # always 0, and unsaid
            one.exact_confidence = sure

    def _confidence(self, person: int, chunk: int) -> NDArray[np.int64] | None:
        """Levels of one chunk's confidences."""
        header = self.stream.header
        if self.clip.confidence is None or not header.confidence:
            return None
        first, last = header.frame_span(chunk)
        top = (1 << header.confidence) - 1
        sure = self.clip.confidence[first:last, person].astype(np.float64)
        return np.rint(sure * top).astype(np.int64)

    def _add_curves(self, person: int, chunk: int, body: Float64) -> None:
        """Adds curves of the joints outside the body, relative to it as it is decoded."""
        stream, points = self.stream, self._outside(person, chunk)
        self.people[person][chunk].extra = encode_extra(
            points, body, stream.extra, stream.extra_rounds, stream.header
        )

    def _outside(self, person: int, chunk: int) -> Float64:
        """(F, E, D) true joints outside the body, in the models' axes; NaN if missing."""
        return to_model_axes(self._rows(person, chunk)[:, self.stream.extra], self.clip.up)

    def known(self, person: int, chunk: int, body: Float64 | None = None) -> Float64:
        """(F, K, D) keypoints in the models' axes as tokens and curves have them, which it adds;
        ``body`` has those of tokens where they are known already."""
        if body is None:
            body = self.stream.body_at_clip_rate(self.people[person], person, chunk)
        if self.stream.extra:
            self._add_curves(person, chunk, body)
        return self.stream.with_extra(body, self.people[person][chunk])

    def left(self, person: int, chunk: int, known: Float64) -> Float64:
        """(F, K, D) true keypoints of one chunk less those, in the models' axes; NaN if missing."""
        return to_model_axes(self._rows(person, chunk), self.stream.header.up) - known

    def add_coefficients(
        self, person: int, chunk: int, left: Float64, known: Float64
    ) -> Posed | None:
        """Adds to one chunk the coefficients of what decoded keypoints leave over; returns the body
        that they move, if any."""
        exact, posed = self._coefficients(person, chunk, left, known)
        self.people[person][chunk].fine = thrifty(exact, posed, self.price)
        return posed

    def _coefficients(
        self, person: int, chunk: int, left: Float64, known: Float64
    ) -> tuple[Float64, Posed | None]:
        """As :meth:`add_coefficients`, in steps and not rounded; adds the body's shape alone."""
        stream, mine, rate = self.stream, self.people[person], self.clip.frame_rate
        header, one = stream.header, mine[chunk]
        assert header.fine_step is not None
        posed = None
        if stream.channels.jointed and one.bones is not None:
            one.shape = self._shape(person, chunk)
            posed = stream.posed(mine, person, chunk)
        exact = transformed(left, stream.channels, known, posed, rate)
        step = step_size(header.fine_step)
        if one.shape is not None and one.shape[-1, RIGID]:
            # Where bones are not what they were taken for, or tokens are too far off.
            there = ~np.isnan(left)
            found = unrounded(exact, stream.channels, known, posed)
            if np.abs(found - known - left)[there].mean() > _STIFF * step:
                one.shape = np.zeros_like(one.shape)
                posed = stream.posed(mine, person, chunk)
                exact = transformed(left, stream.channels, known, posed, rate)
        return exact / step, posed

    def _shape(self, person: int, chunk: int) -> NDArray[np.int64]:
        """What is to be known about a body before it is refined."""
        header, one = self.stream.header, self.people[person][chunk]
        assert header.fine_step is not None and one.bones is not None
        frames = slice(*header.frame_span(chunk))
        true = canonical_points(self.clip, person, frames).astype(np.float64)
        unit = dequantise_scale(header.scales[person])
        choices, off = find_shape(true, self.stream.bone_lengths(one, person), unit)
        shape = np.zeros((len(off) + 1, 3), np.int64)
        shape[:-1] = np.rint(np.clip(off / shape_step(header.fine_step), -_FAR, _FAR))
        shape[-1] = [*choices, 1]
        here = self.stream.layout(chunk).here(one.missing)
        return code_shape(Encoder(), shape, one.bones, here)

    def _refine(self, person: int, chunk: int) -> None:
        """Adds to one chunk what brings its keypoints nearer: to within the header's bound where
        there is one."""
        header = self.stream.header
        if header.loose:
            self._put_in_numbers(person, chunk)
        elif header.bound:
            self._keep_bound(person, chunk)
        else:
            known = self.known(person, chunk)
            self.add_coefficients(person, chunk, self.left(person, chunk, known), known)

    def _finder(self, rows: Float64) -> tuple[Finder, float]:
        """What finds numbers of (F, K, D) keypoints, and a correction's step in their units."""
        header = self.stream.header
        kept = kept_bound(header.bound, float(np.nanmax(np.abs(rows), initial=0.0)))
        step = correction_step(header.bound, header.dims)
        return Finder(rows / step, kept / step), step

    def _put_in_numbers(self, person: int, chunk: int) -> None:
        """Puts one chunk in numbers that promise nothing."""
        header, one = self.stream.header, self.people[person][chunk]
        rows = self._rows(person, chunk)
        finder, _ = self._finder(rows)
        usual = correction_step(self.usual_grain or header.bound, header.dims)
        suits = Finder(rows / usual, finder.kept).spacing()
        one.spacing = Spacing(max(suits.exponent - self.nearer, 0))
        numbers, _ = finder.numbers(one.spacing)
        one.numbers, one.between = finder.fill(numbers, one.spacing, loose=True)
        one.in_numbers = True

    def _keep_bound(self, person: int, chunk: int) -> None:
        """Adds to one chunk what keeps its keypoints within the header's bound: what tokens leave
        over and corrections, or numbers, whichever takes fewer bytes."""
        header, one = self.stream.header, self.people[person][chunk]
        rows = self._rows(person, chunk)
        finder, step = self._finder(rows)
        layout = self.stream.layout(chunk)
        alone = replace(layout, jointed=layout.jointed[person : person + 1])
        spacing, numbers, bits = finder.ways()
        data = found = None
        if not (self._clear.get(person) and chunk % _RETRIED):
            found = self._corrected(person, chunk, rows, finder.kept, step)
            data = encode_chunk([one], alone)
            self._clear[person] = False
        if data is None or bits < _HOPELESS * 8 * len(data):
            numbers, between = finder.fill(numbers, spacing)
            bare = PersonChunk(
                one.missing, confidence=one.confidence, numbers=numbers, spacing=spacing,
                between=between,
            )  # fmt: skip
            in_numbers = encode_chunk([bare], alone)
            if data is None or (
                len(in_numbers) + self._switching(person, chunk, bare, alone) < len(data)
            ):
                if data is not None:
                    self._clear[person] = len(in_numbers) < _CLEARLY * len(data)
                one.numbers, one.spacing, one.between = numbers, spacing, between
                one.in_numbers, data = True, in_numbers
                # What decoding makes of it.
                found = places_of(numbers, spacing, between, ~one.missing) * step
        if len(self.people) == 1:
            self._coded[chunk] = data
        assert found is not None
        # In float32, this is what was promised.
        off = found.astype(np.float32).astype(np.float64) - rows
        furthest = np.nanmax(np.linalg.norm(off, axis=-1), initial=0.0)
        if furthest > header.bound:
            raise ClipError(
                f"max error: expected every keypoint within {header.bound:g} {header.units}, "
                f"found {furthest:g} after encoding; ask for a larger one"
            )

    def _corrected(
        self, person: int, chunk: int, rows: Float64, kept: float, step: float
    ) -> Float64:
        """Adds to one chunk coefficients of what tokens leave over, and corrections of what is
        further off (F, K, D) keypoints than ``kept`` steps; returns what decoding makes of them."""
        up, one = self.stream.header.up, self.people[person][chunk]
        known = self.known(person, chunk)
        self.add_coefficients(person, chunk, self.left(person, chunk, known), known)
        found = self.stream.refine(known, self.people[person], person, chunk)
        apart = to_model_axes(rows, up) - found
        one.corrections = find_corrections(apart / step, kept)
        return from_model_axes(found + one.corrections * step, up)

    def _switching(self, person: int, chunk: int, bare: PersonChunk, layout: Layout) -> int:
        """Bytes that a chunk in numbers costs beside its own: where the one before is not in
        numbers, its neighbour's tokens are needed to decode it; where it is, its own are not needed
        as long as this one is in numbers, too."""
        before = self.people[person].get(chunk - 1)
        if before is None or not before.present:
            return 0
        one = self.people[person][chunk]
        told = replace(bare, origin=one.origin, turn=one.turn, bones=one.bones)
        told.tokens, told.rows, told.spectrum = one.tokens, one.rows, one.spectrum
        tokens = len(encode_chunk([told], layout)) - len(encode_chunk([bare], layout))
        return -tokens if before.in_numbers else tokens

    def set_step(self, step: int | None) -> None:
        """Of the coefficients of what is left over; None for tokens and curves alone."""
        header = self.stream.header
        learned = header.bound > 0 or (step is not None and bool(self.stream.channels.plain))
        self.stream.header = replace(header, fine_step=step, learned=learned)

    def fit_mean(self, mean: float) -> None:
        """Sets step and price of what is left over such that the mean error comes to ``mean``, in
        the clip's units, and not above; no step where tokens and curves alone are within it, but
        curves as coarse as that allows."""
        stream = self.stream
        some = [
            (stream.body_at_clip_rate(mine, person, chunk), person, chunk)
            for chunk in range(0, stream.header.chunks, -(-stream.header.chunks // SAMPLED) or 1)
            for person, mine in enumerate(self.people)
            if mine[chunk].present
        ]

        def with_curves() -> list[tuple[Float64, Float64, int, int]]:
            found = []
            for body, person, chunk in some:
                known = self.known(person, chunk, body.copy() if stream.extra else body)
                found.append((self.left(person, chunk, known), known, person, chunk))
                self.people[person][chunk].forget()
            return found

        parts = with_curves()
        here = [~np.isnan(left[..., 0]) for left, *_ in parts]
        count = max(sum(int(one.sum()) for one in here), 1)

        def mean_of(offs: Iterator[Float64]) -> float:
            apart = (np.linalg.norm(off, axis=-1)[there].sum() for off, there in zip(offs, here))
            return float(sum(apart)) / count

        def told(step: int) -> list[tuple[Float64, Posed | None]]:
            self.set_step(step)
            found = []
            for left, known, person, chunk in parts:
                found.append(self._coefficients(person, chunk, left, known))
                self.people[person][chunk].forget()
            return found

        def error(step: int, exact: list[tuple[Float64, Posed | None]], price: float) -> float:
            def offs() -> Iterator[Float64]:
                for (left, known, *_), (one, posed) in zip(parts, exact):
                    found = refined(thrifty(one, posed, price), step, channels, known, posed)
                    yield left + known - found.astype(np.float32)  # as keypoints come back

            return mean_of(offs())

        # Where there are so many chunks that only some were looked at, the rest may be further off;
        # and all that is looked at is kept.
        certain = stream.header.chunks <= SAMPLED and count * stream.header.dims <= KEPT
        self.set_step(None)
        if mean_of(left for left, *_ in parts) <= mean:
            fits = stream.header
            for more in range(1, _COARSER + 1 if certain and stream.extra else 1):
                step = min(fits.keypoint_step + more, 400)
                stream.header = replace(fits, keypoint_step=step)
                if mean_of(left for left, *_ in with_curves()) > mean:
                    stream.header = replace(fits, keypoint_step=step - 1)
                    break
            return
        channels = stream.channels
        # Errors grow a little slower than steps do.
        low, high = -400, 400
        step = step_exponent(2.5 * mean)
        while high - low > 1:
            found = error(step, told(step), self.price)
            low, high = (step, high) if found <= mean else (low, step)
            guess = step + round(4.4 * math.log2(mean / max(found, mean / 64)) - 0.4)
            step = min(max(guess, low + 1), high - 1)
        exact = told(low)
        if not certain:
            return
        # A step is 19 % above the one before; a higher price takes up what that leaves.
        cheap, dear = self.price, _DEAREST * self.price
        for _ in range(_PRICES):
            price = math.sqrt(cheap * dear)
            if error(low, exact, price) <= mean:
                cheap = price
            else:
                dear = price
        self.price = cheap


_TOGETHER = 32
"""Chunks that get their spectra together: 18 minutes."""

_DEAREST, _PRICES = 4.0, 5
"""How much more than usual a bit may cost to bring a mean error to what was asked for, and how many
prices are tried."""

_COARSER = 12
"""Quarters of an octave that curves may become coarser by to bring a mean error to what was asked
for: beyond, next to nothing is left of them."""

_STIFF = 0.05
"""Mean distance, in steps and by coordinate, from true keypoints that rigid bodies may keep."""

_HOPELESS = 1.3
"""Times the bits of tokens and all that numbers are thought to take where they are not tried."""

_CLEARLY, _RETRIED = 0.85, 8
"""Share of the bytes of all else that numbers of a chunk take where the chunks behind it are put in
numbers untried, but for every eighth."""

_FAR = 1 << 29
"""Steps that a joint is off where it is thought to be, at most."""


def encoded(clip: Clip, settings: Settings, progress: Progress | None = None) -> Encoding:
    """A clip with its tokens; as :class:`Encoding` and :func:`choose_tokens`."""
    encoding = Encoding(clip, settings)
    choose_tokens([encoding], progress)
    return encoding


def choose_tokens(encodings: Sequence[Encoding], progress: Progress | None = None) -> None:
    """Gives clips their tokens; short chunks, of one clip or several, side by side.

    Args:
        encodings: of the same effort.
        progress: called with the clip frames that got tokens.
    """
    progress = progress or (lambda _: None)
    waiting: list[_Asked] = []
    frames = 0
    for encoding in encodings:
        for asked in _asked(encoding, progress):
            alike = not waiting or waiting[0].stream.tokenizes_as(encoding.stream)
            if not alike or frames + asked.model_frames > ABREAST:
                _answer(waiting, progress)
                waiting, frames = [], 0
            waiting.append(asked)
            frames += asked.model_frames
    _answer(waiting, progress)
    for encoding in encodings:
        if encoding.stream.header.spectrum is not None:
            encoding.add_spectra()
            if encoding.stream.header.free:
                encoding.add_paths()
        encoding.add_links()


@dataclass(frozen=True)
class _Asked:
    """Somebody in a chunk who is to get tokens; ``frames`` of the clip have all of theirs then."""

    encoding: Encoding
    person: int
    chunk: int
    motion: Untold
    frames: int

    @property
    def stream(self) -> Stream:
        return self.encoding.stream

    @property
    def model_frames(self) -> int:
        """Of the chunk."""
        start, stop = self.stream.header.span(self.chunk)
        return stop - start


def _asked(encoding: Encoding, progress: Progress) -> Iterator[_Asked]:
    header = encoding.stream.header
    for chunk in range(header.chunks):
        frames = len(range(*header.frame_span(chunk)))
        here = [person for person, mine in enumerate(encoding.people) if mine[chunk].present]
        if not header.model or not here:
            progress(frames)
            continue
        for person in here:
            motion = encoding.untold(person, chunk)
            yield _Asked(encoding, person, chunk, motion, frames if person == here[-1] else 0)


def _answer(waiting: Sequence[_Asked], progress: Progress) -> None:
    """Gives those who wait their tokens."""
    if not waiting:
        return
    first = waiting[0]
    found = first.stream.tokenize([one.motion for one in waiting], first.encoding.effort)
    for one, tokens in zip(waiting, found):
        one.encoding.take(one.person, one.chunk, one.motion, tokens)
    # What has one chunk is written before the next is looked at; a bound may want other tokens, or
    # none.
    first.stream.find_rows(
        [
            one.encoding.people[one.person][one.chunk]
            for one in waiting
            if one.stream.header.chunks == 1 and one.stream.header.fine_step is None
        ]
    )
    progress(sum(one.frames for one in waiting))


def _runs(chunks: Sequence[int]) -> Iterator[list[int]]:
    """Those that follow each other."""
    run: list[int] = []
    for chunk in chunks:
        if run and chunk != run[-1] + 1:
            yield run
            run = []
        run.append(chunk)
    if run:
        yield run


def place_person(
    clip: Clip, stream: Stream, person: int, mine: dict[int, PersonChunk], sampled: Sampled
) -> None:
    """Says where a person is in every chunk, and how long their bones are."""
    header = stream.header
    points = canonical_points(clip, person, slice(None, None, 1 + clip.frames // 100_000))
    anchor = choose_anchor(np.isfinite(points[..., 0]))
    bones = None
    if stream.knows_bones:
        lengths = find_bones(points / dequantise_scale(header.scales[person]))
        bones = quantise_bones(lengths, header.depth)
    for chunk, one in mine.items():
        if one.present:
            one.origin, one.turn = place(sampled, header, person, chunk, anchor)
            one.bones = bones
