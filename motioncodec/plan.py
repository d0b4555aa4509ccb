"""How a clip will be encoded: from settings and the clip to the header of its stream."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from motioncodec.bitstream.header import (
    CHUNK,
    FIRST_LATER,
    MAX_CELLS,
    MODEL_RATE,
    PATH_BLOCK,
    WINDOW,
    Header,
    chunk_cells,
    default_origin,
    like_tokens,
    step_exponent,
    step_size,
)
from motioncodec.bitstream.spectrum import exponent_of
from motioncodec.clip import Clip, error_scale
from motioncodec.errors import UsageError
from motioncodec.heatmap.placement import (
    dequantise_scale,
    find_scale,
    find_size,
    quantise_scale,
)
from motioncodec.heatmap.resampling import to_model_rate
from motioncodec.model.config import PRESETS
from motioncodec.model.weights import Weights, default_weights, find_encoder, find_weights
from motioncodec.refinement import fine_step
from motioncodec.tracks import (
    canonical_points,
    covered_joints,
    curve_stride,
    find_references,
    keypoint_step,
    sample_frames,
)

_STRIDE = 16
"""Clip frames for each value of a curve at most: one at 30 a second of 480."""

FINEST, COARSEST = 1.0, 800.0
"""Steps of a spectrum, in millimetres."""

_FAST = 1.0
"""Steps of the path of a centre that what is too fast for it may come to."""

_AT_ONCE = 1 << 16
"""Frames of a clip that are looked at together."""

LEAST_COVERED = 5
"""Covered joints from which a model is used; below, every joint is written as a curve."""

# Steps of the hips' curve in 2D, as a share of a body unit (3D: header.ORIGIN_STEPS).
_HIPS_STEP_2D = {1: 0.1, 2: 0.05, 3: 0.025}


@dataclass(frozen=True)
class Settings:
    """How to encode.

    Attributes:
        preset: ``f32``, ``f16`` or ``f8``; if None ``f16``, and what suits a max error or mean
            error where there is one.
        model: name of shipped weights or a path; the newest for the clip's dimensions if None.
        device: ``auto``, ``cpu`` or ``cuda``.
        confidence_bits: for each confidence, 4 or 8; 0 leaves it out.
        effort: 1 to 9, how hard the encoder searches for tokens (:mod:`motioncodec.search`).
        max_error: what every keypoint of every frame is to be within, in millimetres for clips in
            metric units, else in pixels; None for tokens and curves alone.
        mean_error: as max_error, for the mean over keypoints and frames.
        bitrate: bits a second that the stream takes at most; as good as it gets with these.
        lossless: every float32 of keypoints and confidences to the bit, without a model.
        off_by: what the clip is within of what it was made of, in the same unit: an error asked for
            counts from there.
        grain: numbers as fine as those of this max error, none of which is promised; what a mean
            error is made with.
    """

    preset: str | None = None
    model: str | None = None
    device: str = "auto"
    confidence_bits: int = 4
    effort: int = 3
    max_error: float | None = None
    mean_error: float | None = None
    bitrate: float | None = None
    lossless: bool = False
    off_by: float = 0.0
    grain: float | None = None
    step: float | None = None

    @property
    def spectrum(self) -> int | None:
        """The step as ``Header.spectrum`` has it."""
        return None if self.step is None else exponent_of(self.step / 1000)

    @property
    def available(self) -> tuple[str, ...]:
        """Presets of the model."""
        return PRESETS if self.model is None else find_weights(self.model).config.presets

    def chosen(self, clip: Clip) -> str:
        """The preset, asked for or not: of what an error is asked of, the one under which files
        came out smallest on training clips; of a model that has not got it, its finest."""
        if self.preset is not None:
            return self.preset
        suits = self._suits(clip)
        return suits if suits in self.available else self.available[-1]

    def _suits(self, clip: Clip) -> str:
        if self.spectrum is not None:
            return PRESETS[like_tokens(self.spectrum) - 1]
        if self.max_error is None and self.mean_error is None:
            return "f16"
        if clip.dims == 2:
            return "f32"
        if self.max_error is not None:
            return "f32" if self.max_error > 50 else "f16"
        assert self.mean_error is not None
        return "f32" if self.mean_error > 22 else "f16" if self.mean_error > 2.5 else "f8"


def _in_units(clip: Clip, error: float | None, off_by: float, name: str) -> float:
    """What is left of an error in millimetres or pixels in the clip's units, as the file has it; 0
    for none."""
    if error is None:
        return 0.0
    if not off_by < error < math.inf:
        found = "" if off_by == 0 else ", which what is encoded may be off by already"
        raise UsageError(f"{name}: expected a number above {off_by:g}{found}, found {error}")
    return float(np.float32((error - off_by) / error_scale(clip.units)))


def fastest(clip: Clip, sizes: Sequence[float]) -> float:
    """How much of where people go is too fast for the path of a centre, which has 15 values a
    second: the largest root mean square of anybody, in body units. Jumps of a capture that was
    cut, and a detector's jitter, are.

    Args:
        clip: in 3D.
        sizes: of people, in the clip's units.
    """
    covered, _ = covered_joints(clip.skeleton)
    out = 0.0
    for person, size in enumerate(sizes):
        square, frames = 0.0, 0
        for start in range(0, clip.frames, _AT_ONCE):
            points = clip.keypoints[start : start + _AT_ONCE, person][:, covered]
            places = to_model_rate(points.astype(np.float64), clip.frame_rate)
            bends = (2 * places[1:-1] - places[:-2] - places[2:]) / 4
            there = ~np.isnan(bends[..., :1])
            count = there.sum(axis=1)
            common = np.where(there, bends, 0.0).sum(axis=1) / np.maximum(count, 1)
            square += float((common**2).sum())
            frames += np.count_nonzero(count)
        out = max(out, math.sqrt(square / max(frames, 1)) / size)
    return out


def has_body(clip: Clip) -> bool:
    """Whether there is enough of a body for a model, or a spectrum."""
    covered, _ = covered_joints(clip.skeleton)
    seen: NDArray[np.bool_] = np.any(~clip.missing, axis=(0, 1))
    return bool(seen[covered].sum() >= LEAST_COVERED)


def plan(clip: Clip, settings: Settings) -> tuple[Header, Weights | None]:
    """The header of a clip's stream, and the weights that its tokens are made with."""
    if settings.step is not None and not FINEST <= settings.step <= COARSEST:
        raise UsageError(f"step: expected {FINEST:g} to {COARSEST:g} mm, found {settings.step:g}")
    preset = settings.chosen(clip)
    if preset not in PRESETS:
        raise UsageError(f"preset: expected one of {', '.join(PRESETS)}, found {settings.preset!r}")
    if not 1 <= settings.effort <= 9:
        raise UsageError(f"effort: expected 1 to 9, found {settings.effort}")
    if settings.confidence_bits not in (0, 4, 8):
        raise UsageError(f"confidence: expected off, 4 or 8 bits, found {settings.confidence_bits}")
    errors = settings.max_error, settings.mean_error, settings.bitrate
    if sum(error is not None for error in errors) + settings.lossless > 1:
        raise UsageError(
            "error: expected one of max error, mean error, bit rate and lossless, found more"
        )
    bound = _in_units(clip, settings.max_error, settings.off_by, "max error")
    bound = bound or _in_units(clip, settings.grain, 0.0, "grain")
    mean = _in_units(clip, settings.mean_error, settings.off_by, "mean error")
    if settings.step is not None and clip.dims == 2:
        raise UsageError("step: expected a clip in 3D, found one in 2D; ask for a preset")
    covered, _ = covered_joints(clip.skeleton)
    weights = None
    alone = settings.lossless or settings.grain is not None
    embodied = has_body(clip) and not alone
    spectrum = settings.spectrum if embodied else None
    if embodied and spectrum is None:
        weights = (
            default_weights(clip.dims) if settings.model is None else find_encoder(settings.model)
        )
        if weights.config.dims != clip.dims:
            raise UsageError(
                f"model {weights.name}: expected a model for {clip.dims}D keypoints, "
                f"found one for {weights.config.dims}D"
            )
        if not weights.config.locatable:
            raise UsageError(
                f"model {weights.name}: expected one that draws joints, of which keypoints can be "
                "had back, found one that draws limbs"
            )
    depth = 0 if weights is None else weights.depth(preset)
    # How fine the preset is, whichever of the model's it is.
    fineness = PRESETS.index(preset) + 1
    samples = [
        canonical_points(clip, person, sample_frames(clip, person))
        for person in range(clip.persons if embodied else 0)
    ]
    scales: tuple[int, ...] = ()
    sizes = []
    origin_step, free = 0, False
    if embodied and clip.dims == 3:
        scales = tuple(quantise_scale(find_scale(points)) for points in samples)
        sizes = [dequantise_scale(scale) for scale in scales]
        like = 0 if weights is None else 4 * weights.id + fineness
        if spectrum is not None:
            step = step_size(default_origin(3, like, spectrum, free=True))
            free = fastest(clip, sizes) <= _FAST * step
        origin_step = default_origin(3, like, spectrum, free)
    elif weights is not None:
        sizes = [float(np.median(find_size(points))) for points in samples if len(points)]
        origin_step = step_exponent(_HIPS_STEP_2D[fineness] * min(sizes, default=1.0))
    inside = set(covered if embodied else [])
    extra = [joint for joint in range(len(clip.skeleton)) if joint not in inside]
    extra = [] if alone else extra
    if extra and not sizes:
        # No body: a subject's size is how far its points lie apart.
        some = clip.keypoints[~clip.missing]
        spread = float(np.ptp(some, axis=0).max()) if len(some) else 1.0
        sizes = [spread / 4 or 1.0]
    chunk = CHUNK
    # Crowds and marker sets get shorter chunks, so that memory stays what it is for one person.
    least = PATH_BLOCK if free else WINDOW
    least = least if weights is None else max(weights.config.window, least)
    while chunk > least and (
        chunk_cells(chunk, clip.frame_rate, clip.persons, len(clip.skeleton)) > MAX_CELLS // 2
    ):
        chunk //= 2
    confidence = 8 if settings.lossless else settings.confidence_bits
    references: tuple[int, ...] = ()
    extra_step, stride = 0, 1
    if extra:
        step = keypoint_step(clip, min(sizes), preset, embodied, bound, mean)
        references = tuple(find_references(clip, extra, step))
        extra_step = step_exponent(step)
        most = min(round(clip.frame_rate / MODEL_RATE), _STRIDE)
        stride = curve_stride(clip, extra, references, step, most)
    whole, left_out = clip.skeleton.part_of
    header = Header(
        frames=clip.frames,
        frame_rate=clip.frame_rate,
        skeleton=whole,
        left_out=left_out,
        names=() if whole else clip.skeleton.joints,
        covered=clip.skeleton.covered if covered and not whole else (),
        units=clip.units,
        up=clip.up,
        dims=clip.dims,
        model=0 if weights is None else 4 * weights.id + depth,
        fingerprint=0 if weights is None or weights.id >= FIRST_LATER else weights.fingerprint_word,
        people=clip.persons,
        ids=clip.people,
        scales=scales,
        origin_step=origin_step,
        references=references,
        keypoint_step=extra_step,
        stride=stride,
        adaptive=bool(references),
        confidence=confidence if clip.confidence is not None else 0,
        chunk=chunk,
        metadata=clip.metadata,
        fine_step=fine_step(bound or mean, clip.frame_rate) if bound or mean else None,
        bound=bound,
        promised=_in_units(clip, settings.max_error, 0.0, "max error") if settings.off_by else 0.0,
        lossless=settings.lossless,
        learned=settings.lossless or bound > 0,
        spaced=bound > 0,
        loose=settings.grain is not None,
        terse=settings.lossless or bound > 0,
        spectrum=spectrum,
        turns=spectrum is not None,
        free=free,
    )
    header.check_size(len(clip.skeleton))
    return header, weights
