"""A clip to a ``.mtok`` stream and back: the way of the data, every row of it a pair.

    encode                                   decode
    Placement.apply      placed off          Placement.invert
    sample_canonical     30 frames a second  to_clip_rate
    tokenize             the network         detokenize
    find_spectra         or a spectrum       poses_of
    find_path            and where it goes   path_of
    encode_extra         uncovered joints    decode_extra
    transformed          what is left over   refined
    find_numbers         or all of it        values_of
    find_exact           or to the bit       exact_values
    encode_chunk         bytes               decode_chunk
    Writer               the container       Reader

Chunks of 1,024 model frames pass through one at a time; networks see a margin of the neighbours,
so there is no seam between them.
"""

from __future__ import annotations

import io
import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from functools import partial
from typing import BinaryIO

import numpy as np

from motioncodec.bitstream.header import like_tokens, step_exponent, step_size
from motioncodec.bitstream.spectrum import STEP_BITS, exponent_of, step_of
from motioncodec.clip import Clip, error_scale
from motioncodec.decoding import Decoder, Heatmaps
from motioncodec.encoding import ABREAST, Encoding, choose_tokens, encoded
from motioncodec.errors import UsageError
from motioncodec.model.config import PRESETS
from motioncodec.model.weights import default_weights, find_weights
from motioncodec.plan import COARSEST, FINEST, Settings, has_body, plan

Progress = Callable[[int], object]


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
        return target.write(_within_rate(clip, settings, settings.bitrate, progress))
    if settings.mean_error is not None:
        data = _within_mean(clip, settings, settings.mean_error)
        if progress:
            progress(2 * clip.frames)
        return target.write(data)
    return encoded(clip, settings, progress).write(target, progress)


def encode_clips(clips: Iterable[Clip], settings: Settings | None = None) -> Iterator[bytes]:
    """Clips as ``.mtok`` streams, the same as :func:`encode_clip` makes of each; short ones take
    half of the time, since several are worked on side by side.

    Raises:
        MotionCodecError: what was asked for cannot be done with one of them.
    """
    settings = settings or Settings()
    if settings.bitrate is not None or settings.mean_error is not None:
        for clip in clips:
            target = io.BytesIO()
            encode_clip(clip, target, settings)
            yield target.getvalue()
        return
    waiting: list[Encoding] = []
    for clip in clips:
        encoding = Encoding(clip, settings)
        frames = sum(one.stream.header.model_frames for one in [encoding, *waiting])
        if waiting and frames > ABREAST:
            yield from _written_together(waiting)
            waiting = []
        waiting.append(encoding)
    yield from _written_together(waiting)


def _written_together(encodings: list[Encoding]) -> Iterator[bytes]:
    choose_tokens(encodings)
    yield from map(_written, encodings)


def decode_clip(
    source: BinaryIO | bytes, device: str = "auto", frames: range | None = None
) -> Clip:
    """A ``.mtok`` stream, or its bytes, to a clip.

    Raises:
        MotionCodecError: it is damaged, or made with weights that are not here.
    """
    return Decoder(io.BytesIO(source) if isinstance(source, bytes) else source, device).clip(frames)


def trim(
    source: Decoder, target: BinaryIO, settings: Settings, progress: Progress | None = None
) -> int:
    """Writes a coarser stream of what another one decodes to; returns its bytes.

    Nothing else is needed: tokens of a coarser preset are chosen anew, and come out about as good
    as from the clip itself (2 % more error from f8 to f16), with the weights of the first stream
    unless the settings name others. Errors are promised against the clip that the first stream was
    made of, as far as that stream promises any.

    Args:
        source: the stream.
        target: as for :func:`encode_clip`.
        settings: of the smaller stream. Confidences keep their bits.
        progress: as for :func:`encode_clip`.

    Raises:
        UsageError: it would be no coarser, or what is asked for cannot be promised.
    """
    header = source.header
    off_by = header.promise * error_scale(header.units)
    asked = settings.max_error is not None or settings.mean_error is not None
    if asked and not off_by and not header.lossless:
        raise UsageError(
            "trim: expected a stream that was made with a bound or lossless, which alone tell how "
            "far off it is, found one without; ask for a preset"
        )
    rated = settings.bitrate is not None
    if not asked and not rated:
        _check_coarser(source, settings)
    bits = settings.confidence_bits if header.lossless else header.confidence
    settings = replace(
        settings,
        model=settings.model or _model_of(source),
        confidence_bits=bits,
        off_by=off_by if asked or rated else 0.0,
    )
    return encode_clip(source.clip(), target, settings, progress)


def _check_coarser(source: Decoder, settings: Settings) -> None:
    """That a preset, or a step, is coarser than a stream of nothing but tokens or spectra is."""
    header = source.header
    if not header.embodied or header.bound or header.fine_step is not None:
        return
    preset = settings.preset or "f16"
    told, found = preset, source.stream.preset
    finer = PRESETS.index(preset) >= PRESETS.index(found)
    if settings.spectrum is not None:
        told = f"a step of {settings.step:g} mm"
        if header.spectrum is not None:
            finer = settings.spectrum <= header.spectrum
            found = f"a step of {1000 * step_of(header.spectrum):.3g} mm"
        else:
            finer = like_tokens(settings.spectrum) > PRESETS.index(found) + 1
    if finer:
        raise UsageError(f"trim: expected a stream finer than {told}, found one of {found}")


def _model_of(source: Decoder) -> str | None:
    """The weights that a stream's tokens were made with, None if it has none, or they no longer
    encode, or they are those that are taken anyway."""
    if source.model is not None or not source.header.model:
        return source.model
    weights = find_weights(source.header.model_id)
    if not weights.encodes or weights.id == default_weights(source.header.dims).id:
        return None
    return weights.name


TRIED = 61.0
"""Seconds of a clip that tell which way to keep a mean error is the smallest."""


def _within_mean(clip: Clip, settings: Settings, mean: float) -> bytes:
    """The smallest stream with a mean error within ``mean``, in millimetres or pixels, of those
    that :func:`_ways` makes."""
    some = _some(clip)
    best: bytes | None = None
    ways = _ways(clip, settings, mean)
    way = ways[0]
    for one in ways if len(ways) > 1 else []:
        data = one(some)
        if data is not None and (best is None or len(data) < len(best)):
            best, way = data, one
    if best is not None and some is clip:
        return best
    data = way(clip)
    return _refined(clip, settings, mean) if data is None else data


def _some(clip: Clip) -> Clip:
    """The clip, or three pieces of a long one, one behind the other, where the one before ended:
    each by itself would not have the mean error that it has among others, in quiet stretches and in
    lively ones."""
    if clip.duration <= TRIED:
        return clip
    size = round(TRIED * clip.frame_rate / 3)
    starts = [round(share * clip.frames) - size // 2 for share in (1 / 6, 1 / 2, 5 / 6)]
    pieces = [clip.window(start, start + size) for start in starts]
    points = [piece.keypoints for piece in pieces]
    for i in range(1, len(points)):
        apart = points[i - 1][-1] - points[i][0]
        there = ~np.isnan(apart)
        off = np.where(there, apart, 0.0).sum(axis=1) / np.maximum(there.sum(axis=1), 1)
        points[i] = points[i] + off[:, None].astype(np.float32)
    confidence = [piece.confidence for piece in pieces if piece.confidence is not None]
    return replace(
        clip,
        keypoints=np.concatenate(points),
        confidence=np.concatenate(confidence) if confidence else None,
    )


def _ways(clip: Clip, settings: Settings, mean: float) -> list[Callable[[Clip], bytes | None]]:
    """Ways to keep a mean error: a spectrum, alone or with as much of what it leaves over as it
    takes; tokens with that, of the preset that suits the error and those beside it, where there is
    more than a body in 3D; or numbers, which are smaller where the error is small."""
    free = _knows_spectra(clip, settings)
    bare = free and min(clip.skeleton.covered) >= 0
    presets = [] if bare else _near(settings, clip)
    told = [replace(settings, preset=preset) for preset in presets]
    if free:
        told += [replace(settings, step=step) for step in _UNDER if mean < _UNDER[step]]
    ways: list[Callable[[Clip], bytes | None]] = [
        partial(_refined, settings=one, mean=mean) for one in told
    ]
    if free and mean > _FINE:
        ways.append(partial(_in_spectrum, settings=settings, mean=mean))
    if not bare or mean < _COARSE:
        ways.append(partial(_in_numbers, settings=settings, mean=mean))
    return ways


def _knows_spectra(clip: Clip, settings: Settings) -> bool:
    """Whether there is a body that may be told as a spectrum."""
    if clip.dims == 2 or settings.preset is not None or settings.model is not None:
        return False
    return has_body(clip)


_FINE, _COARSE = 3.0, 8.0
"""Mean errors, in millimetres, from which on a spectrum alone is tried, and numbers of nothing but
a body are not."""


def _near(settings: Settings, clip: Clip) -> list[str]:
    """The preset asked for, or the one that suits an error and those beside it."""
    chosen = settings.chosen(clip)
    if settings.preset or not has_body(clip):
        return [chosen]
    at = PRESETS.index(chosen)
    near = slice(max(at - 1, 0), at + 2)
    return [preset for preset in PRESETS[near] if preset in settings.available]


_UNDER = {136.0: math.inf, 74.0: 18.0}
"""Steps, in millimetres, of a spectrum that is refined (about 20 and 12 mm are left over), and mean
errors from which on they are not tried. Below, which suits a clip better the error that is asked
for hardly tells."""


def _in_spectrum(clip: Clip, settings: Settings, mean: float) -> bytes | None:
    """A stream with the body as a spectrum, and curves of all other joints, whose mean error is
    ``mean`` or just below; None if no step that was tried is fine enough."""
    best: bytes | None = None
    left = mean - settings.off_by
    # Between the coarsest step that is known to be too coarse and the finest that is not, in
    # fractions of an octave that are told apart.
    coarse, fine = exponent_of(COARSEST / 1000) + 1, exponent_of(FINEST / 1000) - 1
    step = exponent_of(left * _STEP_OVER_ERROR) if left > 0 else fine
    for _ in range(_TRIES):
        step = min(max(step, fine + 1), coarse - 1)
        if not fine < step < coarse:
            break
        data = _with_spectrum(clip, settings, step)
        error = max(_error(clip, data, settings), left / 64)
        more = math.floor(1.15 * STEP_BITS * math.log2(left / error))
        if error <= left:
            best, fine = data, step
            if not more:
                # The next step is too coarse, as steps and errors go.
                break
            step += more
        else:
            coarse = step
            step += min(more, -1)
    return best


_STEP_OVER_ERROR = 0.0067
"""Step of a spectrum, in body units, over the mean error that it leaves, roughly."""


def _with_spectrum(clip: Clip, settings: Settings, exponent: int) -> bytes:
    """A stream with the body as a spectrum, and curves of all other joints.

    Raises:
        UsageError: the step is none.
    """
    step = min(max(1000 * step_of(exponent), FINEST), COARSEST)
    encoding = Encoding(clip, replace(settings, step=step))
    encoding.set_step(None)
    choose_tokens([encoding])
    return _written(encoding)


def _refined(clip: Clip, settings: Settings, mean: float) -> bytes:
    """A stream of tokens, or a spectrum, and coefficients with a mean error."""
    encoding = encoded(clip, settings)
    encoding.fit_mean((mean - settings.off_by) / error_scale(clip.units))
    return _written(encoding)


def _in_numbers(clip: Clip, settings: Settings, mean: float) -> bytes | None:
    """A stream in numbers whose mean error is ``mean`` or just below, None if that takes finer
    numbers than float32 holds."""
    return _spaced(clip, settings, mean)[0]


def _spaced(clip: Clip, settings: Settings, mean: float) -> tuple[bytes | None, int]:
    """As :func:`_in_numbers`, and how many octaves nearer than usual its key frames are."""
    best: tuple[bytes | None, int] = None, 0
    for nearer in range(0 if clip.missing.all() else _NEARER):
        found = _near_mean(clip, settings, mean - settings.off_by, nearer)
        if best[0] is not None and (found is None or len(found) >= len(best[0])):
            break
        best = found, nearer
    return best


def _near_mean(clip: Clip, settings: Settings, mean: float, nearer: int) -> bytes | None:
    """As :func:`_in_numbers`, with key frames so many octaves nearer; None also if no grain that
    was tried is fine enough. The mean error is that to the clip at hand."""
    settings = replace(settings, preset=settings.chosen(clip), mean_error=None)
    grain = usual = _GRAIN * mean
    found: bytes | None = None
    slope, before = 1.0, None
    for _ in range(_TRIES):
        try:
            data = _with_grain(clip, settings, grain, usual, nearer)
        except UsageError:
            break
        error = max(_error(clip, data, settings), mean / 64)
        if error <= mean and (found is None or len(data) < len(found)):
            found = data
        if 0.985 * mean < error <= mean:
            break
        if before is not None and grain != before[0]:
            slope = math.log(error / before[1]) / math.log(grain / before[0])
        before = grain, error
        step = (0.995 * mean / error) ** (1 / min(max(slope, 0.2), 1.5))
        grain *= min(max(step, 0.35), 2.0)
    return found


def _with_grain(clip: Clip, settings: Settings, grain: float, usual: float, nearer: int) -> bytes:
    """A stream in numbers of a grain, with the key frames that suit the ``usual`` one, or so many
    octaves nearer."""
    encoding = encoded(clip, replace(settings, grain=grain))
    encoding.usual_grain, encoding.nearer = usual / error_scale(clip.units), nearer
    return _written(encoding)


_GRAIN, _NEARER, _TRIES = 2.8, 4, 6
"""Grain over the mean error that key frames are spaced for; how many spacings are tried, each half
of the one before; how many grains are tried for each."""


def _within_rate(clip: Clip, settings: Settings, rate: float, progress: Progress | None) -> bytes:
    """The stream with the least mean error of those that take no more than ``rate`` bits a second:
    tokens alone of the finest preset that fits, those of the one that suits such an error and as
    much of what they leave over as fits, a spectrum, alone or with that, or numbers: with a bound
    where the clip had one."""
    most = int(rate * clip.duration / 8)
    presets = settings.available if settings.preset is None else (settings.preset,)
    alone = None
    for preset in presets:
        data = _written(encoded(clip, replace(settings, preset=preset, bitrate=None)))
        if len(data) > most:
            break
        alone = data
    if alone is None:
        lowest = math.ceil(8 * len(data) / clip.duration) if clip.frames else 0
        raise UsageError(
            f"bitrate: expected at least the {lowest} bit/s that this clip takes, found {rate:g}"
        )
    if progress:
        progress(clip.frames)
    candidates: list[tuple[float, bytes]] = []

    def consider(data: bytes | None) -> float:
        """Takes it, if it is there, and returns the least error so far."""
        if data is not None:
            candidates.append((_error(clip, data, settings), data))
        return max(min(error for error, _ in candidates), 1e-6)

    off = consider(alone)
    if not clip.missing.all():
        free = replace(settings, bitrate=None)
        under = [free]
        if _knows_spectra(clip, free):
            under += [replace(free, step=step) for step in _UNDER]
            about = exponent_of(_STEP_OVER_ERROR * off)
            off = consider(_finest(partial(_with_spectrum, clip, free), most, about))
        for told in under:
            refined = encoded(clip, replace(told, mean_error=settings.off_by + off))
            found = _finest(partial(_at_step, refined), most, step_exponent(off))
            consider(None if found is None else _filled(refined, found, most, settings))
        off = consider(None)

        def in_numbers(exponent: int) -> bytes:
            error = step_size(exponent)
            if settings.off_by:
                bounded = replace(free, max_error=settings.off_by + error)
                return _written(encoded(clip, bounded))
            return _with_grain(clip, free, error, error, nearer)

        mean = settings.off_by + off
        numbers, nearer = _spaced(clip, replace(free, mean_error=mean), mean)
        if numbers is not None and len(numbers) < most:
            ratio = 1.45 if settings.off_by else _GRAIN
            consider(_finest(in_numbers, most, step_exponent(ratio * off)))
    if progress:
        progress(clip.frames)
    return min(candidates, key=lambda one: one[0])[1]


def _at_step(encoding: Encoding, exponent: int) -> bytes:
    """The stream with a step 2^(exponent / 4), in millimetres or pixels, of what is left over."""
    encoding.set_step(step_exponent(step_size(exponent) / error_scale(encoding.clip.units)))
    return _written(encoding)


def _filled(encoding: Encoding, data: bytes, most: int, settings: Settings) -> bytes:
    """The stream again, with the lowest price of a bit at which it has no more than ``most`` bytes:
    steps are a fifth apart, and leave room."""
    stream = Decoder(io.BytesIO(data), settings.device, settings.model)
    encoding.set_step(stream.header.fine_step)
    dear, cheap = encoding.price, encoding.price / 8
    for _ in range(4):
        encoding.price = math.sqrt(dear * cheap)
        more = _written(encoding)
        if len(more) <= most:
            data, dear = more, encoding.price
        else:
            cheap = encoding.price
    return data


def _written(encoding: Encoding) -> bytes:
    target = io.BytesIO()
    encoding.write(target)
    return target.getvalue()


def _error(clip: Clip, data: bytes, settings: Settings) -> float:
    """Mean error of a stream, in millimetres or pixels."""
    stream = Decoder(io.BytesIO(data), settings.device, settings.model)
    decoded = stream.clip().keypoints.astype(np.float64)
    apart = np.linalg.norm(decoded - clip.keypoints, axis=-1)
    return float(np.nanmean(apart)) * error_scale(clip.units)


def _finest(make: Callable[[int], bytes], most: int, about: int) -> bytes | None:
    """What ``make`` makes with the least exponent at which it has no more than ``most`` bytes,
    looked for some octaves around ``about``; None if there is none, or it cannot be made."""
    best = coarse = fine = None
    exponent, stride = about, 4
    while coarse is None or fine is None or coarse - fine > 1:
        if not -400 <= exponent <= 400 or abs(exponent - about) > 80:
            break
        try:
            data = make(exponent)
        except UsageError:  # finer than float32
            data = bytes(most + 1)
        if len(data) <= most:
            coarse, best = exponent, data
        else:
            fine = exponent
        if coarse is None:
            exponent, stride = exponent + stride, 2 * stride
        elif fine is None:
            exponent, stride = exponent - stride, 2 * stride
        else:
            exponent = (coarse + fine) // 2
    return best


__all__ = ["Decoder", "Heatmaps", "Settings", "decode_clip", "encode_clip", "plan", "trim"]
