"""Between a clip's people and the whole numbers of a stream: sampling, placement, curves.

Everything here works on one person and a stretch of model frames, so that a long clip takes no
more memory than a short one.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import chain

import numpy as np
from numpy.typing import NDArray

from motioncodec.bitstream.bones import FREE
from motioncodec.bitstream.curves import PATHS, thrifty
from motioncodec.bitstream.header import MODEL_RATE, PATH_BLOCK, Header, Link, step_size
from motioncodec.bitstream.trajectory import (
    BLOCK,
    Curve,
    analyse,
    cheap_knots,
    curve_blocks,
    synthesise,
    unrounded,
)
from motioncodec.clip import METRES, Clip
from motioncodec.errors import ContainerError
from motioncodec.heatmap.bones import REFERENCE_BONES
from motioncodec.heatmap.placement import (
    HEADING_STEPS,
    KNOT_SPACING,
    SIZE_STEPS,
    Placement,
    dequantise_scale,
    fill_gaps,
    find_heading,
    find_hips,
    find_size,
    to_model_axes,
)
from motioncodec.heatmap.resampling import model_frames
from motioncodec.skeleton import CANONICAL, Skeleton

Float64 = NDArray[np.float64]
Bool = NDArray[np.bool_]

SMOOTHING = 256
"""Model frames on either side that smoothing of heading and size looks at, at most."""

HIPS_DEAD_ZONE = 0.1
"""Lower than for other curves: on training clips, bits of the hips are better spent on tokens."""

TURN_PRICE = 0.3
"""Squared 64ths of a turn that a bit of the heading is worth: what is left of it the model sees,
and hardly minds."""

BONE_STEPS = (0, -22, -28, -36)
"""Exponent of the bones' step by depth: 22, 8 and 2 mm on the reference person, which adds less
than one in fifty to the error of the preset's poses."""

_LONGEST = 4.0
"""Body units that a bone is at most."""

_SAMPLE = 512
"""Frames that a clip's steady properties (scale, step, references) are measured on."""


def covered_joints(skeleton: Skeleton) -> tuple[list[int], list[int]]:
    """Joints that the models cover, and which canonical joint each is."""
    joints = [j for j, canonical in enumerate(skeleton.covered) if canonical >= 0]
    return joints, [skeleton.covered[j] for j in joints]


def sample_frames(clip: Clip, person: int) -> NDArray[np.int64]:
    """Some frames, evenly spread, of those in which a person is seen."""
    frames = np.flatnonzero(~clip.missing[:, person].all(axis=1))
    return frames[:: max(1, len(frames) // _SAMPLE)]


def canonical_points(clip: Clip, person: int, frames: NDArray[np.int64] | slice) -> Float64:
    """(F, 20, D) canonical joints of some frames in the models' axes, NaN where missing."""
    joints, canonical = covered_joints(clip.skeleton)
    rows = clip.keypoints[frames, person]
    out = np.full((len(rows), len(CANONICAL), clip.dims), np.nan)
    out[:, canonical] = rows[:, joints]
    return to_model_axes(out, clip.up)


@dataclass(frozen=True)
class Samples:
    """A stretch of model frames.

    Attributes:
        points: (N, K, D) with gaps bridged.
        seen: (N, K): some clip frame less than a model frame away has the joint.
        confidence: (N, K) from 0 to 1; 1 where the clip has none.
    """

    points: Float64
    seen: Bool
    confidence: Float64

    def part(self, frames: slice) -> Samples:
        """Some of them."""
        return Samples(self.points[frames], self.seen[frames], self.confidence[frames])


Sampled = Callable[[int, int], Samples]
"""What gives one person's canonical joints at model frames from one number to another, exclusive:
:func:`sample_canonical` of a clip and person."""


def sample(clip: Clip, person: int, joints: list[int], start: int, stop: int) -> Samples:
    """Joints of one person at model frames ``start`` to ``stop`` (exclusive), in the models' axes.

    The clip's last model frame may lie beyond its last frame by less than a model frame: motion
    goes on straight till there, and is held from there on.
    """
    ratio = clip.frame_rate / MODEL_RATE
    at = np.arange(start, stop).clip(0, model_frames(clip.frames, clip.frame_rate) - 1) * ratio
    low = np.minimum(np.floor(at + 1e-9).astype(np.int64), max(clip.frames - 2, 0))
    first = max(int(low[0]) - math.ceil(ratio), 0)
    last = min(int(low[-1]) + math.ceil(ratio) + 2, clip.frames)
    rows = clip.keypoints[first:last, person][:, joints].astype(np.float64)
    there = np.isfinite(rows[..., 0])
    filled = fill_gaps(to_model_axes(rows, clip.up))
    w = (at - low)[:, None, None]
    lower = low - first
    upper = np.minimum(lower + 1, len(filled) - 1)
    points = filled[lower] * (1 - w) + filled[upper] * w
    # Any clip frame strictly within one model frame counts as seen there.
    total = np.concatenate([np.zeros((1, len(joints))), np.cumsum(there, axis=0)])
    begin = np.clip(np.floor(at - ratio + 1e-9).astype(np.int64) + 1 - first, 0, len(rows))
    end = np.clip(np.ceil(at + ratio - 1e-9).astype(np.int64) - first, 0, len(rows))
    seen = total[np.maximum(end, begin)] - total[begin] > 0
    if clip.confidence is None:
        return Samples(points, seen, np.ones(seen.shape))
    sure = clip.confidence[first:last, person][:, joints].astype(np.float64)
    sure = np.where(there, sure, np.nan)
    confidence = fill_gaps(sure)
    confidence = confidence[lower] * (1 - w[..., 0]) + confidence[upper] * w[..., 0]
    return Samples(points, seen, np.clip(confidence, 0.0, 1.0))


def sample_canonical(clip: Clip, person: int, start: int, stop: int) -> Samples:
    """As :func:`sample`, for the 20 canonical joints; those that a clip lacks are never seen."""
    joints, canonical = covered_joints(clip.skeleton)
    some = sample(clip, person, joints, start, stop)
    points = np.zeros((stop - start, len(CANONICAL), clip.dims))
    seen = np.zeros(points.shape[:2], bool)
    confidence = np.zeros(points.shape[:2])
    points[:, canonical], seen[:, canonical] = some.points, some.seen
    confidence[:, canonical] = some.confidence
    return Samples(points, seen, confidence)


def place(
    sampled: Sampled, header: Header, person: int, chunk: int, anchor: int | None
) -> tuple[Curve | None, NDArray[np.int64]]:
    """Where a person is throughout a chunk: the hips' curve, and the knots of heading or size.
    None for the curve where a path is found later, of what decoding makes of the pose."""
    start, stop = header.span(chunk)
    before = min(start, SMOOTHING)
    after = min(max(header.model_frames - stop, 1), SMOOTHING)
    samples = sampled(start - before, stop + after)
    points = np.where(samples.seen[..., None], samples.points, np.nan)
    if header.dims == 3:
        unit = dequantise_scale(header.scales[person])
        size: float | Float64 = unit
        turn = find_heading(points) / (2 * np.pi / HEADING_STEPS)
    else:
        size, unit = find_size(points), 1.0
        turn = np.log2(size) * SIZE_STEPS
    here = slice(before, before + stop - start + 1)
    curve = None
    if not header.free:
        hips = find_hips(points, size, anchor) / unit
        curve = analyse(hips[here], step_size(header.origin_step), HIPS_DEAD_ZONE)
    knots = turn[here][::KNOT_SPACING]
    if header.dims == 3:
        return curve, cheap_knots(knots, "heading", TURN_PRICE)[:, None]
    return curve, np.rint(knots).astype(np.int64)[:, None]


def placement(
    header: Header, person: int, curve: Curve | None, turn: NDArray[np.int64]
) -> Placement:
    """Whole numbers of a chunk to its placement at the chunk's N model frames and the one after;
    the origin stays at 0 where there is no curve of the hips."""
    frames = (len(turn) - 1) * KNOT_SPACING + 1
    origin = np.zeros((frames, header.dims))
    if curve is not None:
        origin = synthesise(curve, step_size(header.origin_step))
    at = np.arange(frames) / KNOT_SPACING
    turned = np.interp(at, np.arange(len(turn)), turn[:, 0].astype(np.float64))
    if header.dims == 2:
        return Placement(origin, 2.0 ** np.clip(turned / SIZE_STEPS, -200, 200), None)
    scale = dequantise_scale(header.scales[person])
    return Placement(
        origin * scale, np.full(len(origin), scale), turned * (2 * np.pi / HEADING_STEPS)
    )


def path_of(header: Header, curve: Curve) -> Float64:
    """(N + 1, 3) path of a chunk's centre in body units in the models' axes, to the end of its last
    block, but for how it bends by itself."""
    return synthesise(curve, step_size(header.origin_step), PATH_STRIDE)


def find_path(header: Header, values: Float64) -> Curve:
    """Inverse of :func:`path_of`, of (N + 1, 3) values."""
    knots, exact = unrounded(values, step_size(header.origin_step), PATH_STRIDE)
    return Curve(knots, thrifty(exact, 1, PATH_PRICE, PATHS))


def joined(placements: list[Placement], turned: bool, frames: slice) -> Placement:
    """Some frames of the placements of chunks in a row, each but the last without its last frame,
    which is the next one's first."""

    def row(parts: list[Float64]) -> Float64:
        whole: Float64 = np.concatenate([part[:-1] for part in parts[:-1]] + parts[-1:])
        return whole[frames]

    return Placement(
        row([p.origin for p in placements]),
        row([p.size for p in placements]),
        row([p.heading for p in placements if p.heading is not None]) if turned else None,
    )


def quantise_bones(lengths: Float64, depth: int) -> NDArray[np.int64]:
    """(20,) lengths in body units, NaN where a bone is not rigid, to steps from the reference,
    :data:`FREE` where it is not."""
    apart = (lengths - REFERENCE_BONES) / step_size(BONE_STEPS[depth])
    return np.where(np.isfinite(lengths), np.rint(np.nan_to_num(apart)), FREE).astype(np.int64)


def dequantise_bones(steps: NDArray[np.int64], depth: int) -> Float64:
    """Inverse of :func:`quantise_bones`.

    Raises:
        ContainerError: a bone has no length, or is longer than any body's.
    """
    lengths = REFERENCE_BONES + steps * step_size(BONE_STEPS[depth])
    rigid = lengths[steps != FREE]
    if len(rigid) and not (rigid.min() > 0 and rigid.max() <= _LONGEST):
        raise ContainerError(
            f"bones: expected lengths above 0 and at most {_LONGEST:g} body units, found "
            f"{rigid.min():.3g} to {rigid.max():.3g}"
        )
    return np.where(steps == FREE, np.nan, lengths)


_ACTIVE = 5.0
"""Numbers a second of a coordinate's curve that count, about."""

_TOLD = 5.0
"""Bits that it takes to tell which joint another is written relative to, beyond what it takes where
that is the one before it, about."""


def find_references(clip: Clip, extra: list[int], step: float) -> list[int]:
    """For each of the joints in ``extra`` the joint it moves most like: a minimum spanning tree
    over what bits curves of differences may take, rooted in the other joints; itself where there
    is nothing.

    Args:
        step: of the curves, in the clip's units.
    """
    points = []
    for person in range(clip.persons):
        frames = sample_frames(clip, person)
        points.append(clip.keypoints[frames[:: max(1, clip.persons)], person].astype(np.float64))
    rows = np.concatenate(points) if points else np.zeros((0, len(clip.skeleton), clip.dims))
    rows = rows[: max(1, min(_SAMPLE, 30_000_000 // max(len(clip.skeleton) ** 2, 1)))]
    joints = len(clip.skeleton)
    spread = np.full((joints, joints), np.inf)
    firsts = np.zeros((joints, joints))
    for joint in extra:
        apart = rows - rows[:, joint : joint + 1]
        known = np.isfinite(apart[..., 0])
        count = known.sum(axis=0)
        apart = np.where(known[..., None], apart, 0.0)
        mean = apart.sum(axis=0) / np.maximum(count, 1)[:, None]
        firsts[joint] = np.log2(1 + np.abs(mean) / step).sum(axis=-1)
        square = (apart**2).sum(axis=(0, 2)) / np.maximum(count, 1) - (mean**2).sum(axis=-1)
        # A reference must be there whenever the joint is, or its own gaps would have to be crossed.
        mine = max(int(np.isfinite(rows[:, joint, 0]).sum()), 1)
        spread[joint] = np.where(count >= 0.98 * mine, np.sqrt(np.maximum(square, 0)), np.inf)
        spread[joint, joint] = np.inf
    active = _ACTIVE * max(clip.duration, 1.0) * clip.dims * max(clip.persons, 1)
    bits = active * np.log2(1 + (spread / step) ** 2) / 2 + firsts + _TOLD
    bits[np.arange(1, joints), np.arange(joints - 1)] -= _TOLD
    outside = set(extra)
    inside = [joint for joint in range(joints) if joint not in outside]
    reference = {joint: joint for joint in extra}
    while outside:
        rest = sorted(outside)
        if inside:
            table = bits[np.ix_(rest, inside)]
            i, j = np.unravel_index(int(table.argmin()), table.shape)
            joint = rest[int(i)]
            if np.isfinite(table[i, j]):
                reference[joint] = inside[int(j)]
        else:
            joint = rest[0]
        inside.append(joint)
        outside.remove(joint)
    return [reference[joint] for joint in extra]


_COARSER = {"f32": 4.0, "f16": 2.0, "f8": 1.0}
"""With these, curves are off by half of what the body is, or less."""

_PER_BOUND = {2: 1.4, 3: 1.2}
_PER_MEAN = {2: 3.0, 3: 2.5}
"""Steps over a bound or a mean error at which curves and what they leave over take fewest bits."""


def keypoint_step(
    clip: Clip, scale: float, preset: str, body: bool, bound: float = 0.0, mean: float = 0.0
) -> float:
    """Step of the curves of joints that no model covers, in the clip's units; their mean error is
    below half of it. Without an error to go by, under f8, 18 mm beside a body, 9 mm without, and 2
    pixels, or less where the subject is small.

    Args:
        scale: the clip's units per body unit, or half the subject's size without a body.
        preset: ``f32``, ``f16`` or ``f8``.
        body: whether the model covers others.
        bound, mean: largest or mean error that is asked for, in the clip's units; 0 for none.
    """
    if bound or mean:
        step = _PER_BOUND[clip.dims] * bound or _PER_MEAN[clip.dims] * mean
        # Finer than float32, which keypoints are, nothing is; and knots would not hold it.
        return max(step, 2.0**-24 * float(np.nanmax(np.abs(clip.keypoints), initial=0.0)))
    coarser = _COARSER[preset]
    if clip.dims == 2:
        return coarser * (min(2.0, scale / 80) if clip.units == "px" else scale / 80)
    finest = 0.018 if body else 0.009
    return coarser * finest * min(1.0 / METRES.get(clip.units, 1.0), scale)


def _hold(frames: int, stride: int) -> NDArray[np.int64]:
    """Frames of a curve's whole blocks, the last one held to fill them."""
    return np.minimum(np.arange(curve_blocks(frames, stride) * BLOCK * stride + 1), frames - 1)


LINK_PARTS = 64
"""Weights of links are in 64ths."""

_LINK_BITS = 44.0
"""That a link takes, about."""

_LINK_FRAMES, _NEAR = 128, 6
"""Frames that links are found on, about, and joints that they may be to."""

_LINK_NOISE = 0.18
"""Steps that what is known is off by, about."""

_ALIKE = 1e-9

MOST_LINKED = 300
"""Joints outside the body that links are looked for among: of more, each takes too long."""

_TINY = 1e-9

PATH_STRIDE = PATH_BLOCK // BLOCK
"""Model frames for each value of a path of the centre."""

PATH_PRICE = 0.17
"""Of a bit of such a path, in squared steps."""

CURVE_PRICE = 0.12
"""Of a bit of these curves, in squared steps."""

_LOST = 0.2
"""Steps that curves with a stride may leave aside, root mean square."""


def curve_stride(
    clip: Clip, extra: list[int], references: Sequence[int], step: float, most: int
) -> int:
    """Clip frames for each value of the curves of uncovered joints: ``most``, or a half, a quarter,
    ... of it, such that next to nothing of the motion is too fast for them. A capture at 120 frames
    a second is as fine at 30; a detector's jitter is not."""
    alone = np.equal(extra, references)[:, None]
    parts = []
    for person in range(clip.persons):
        seen = np.flatnonzero(~clip.missing[:, person].all(axis=1))
        if len(seen):
            start = int(seen[max(len(seen) - _SAMPLE, 0) // 2])
            rows = clip.keypoints[start : start + _SAMPLE, person].astype(np.float64)
            parts.append(fill_gaps(rows[:, extra] - np.where(alone, 0.0, rows[:, references])))
    stride = most
    while stride > 1:
        square, count = 0.0, 0
        for values in parts:
            hold = _hold(len(values), stride)
            exact = analyse(values[hold].reshape(len(hold), -1), step / 8, 0.5, stride)
            found = synthesise(exact, step / 8, stride)[: len(values)].reshape(values.shape)
            square += float(((found - values) ** 2).sum())
            count += values.shape[0] * values.shape[1]
        if square <= (_LOST * step) ** 2 * count:
            break
        stride //= 2
    return max(stride, 1)


def extra_order(
    extra: list[int], references: Sequence[int], links: Sequence[Link | None] = ()
) -> list[list[int]]:
    """Indices into ``extra`` in rounds: what each round's joints are written relative to is known
    after those before.

    Raises:
        ContainerError: references or links go in a circle.
    """
    at = {joint: i for i, joint in enumerate(extra)}
    waiting: dict[int, list[int]] = {}
    rounds: list[list[int]] = [[]]
    open_ends = []
    for i, (joint, reference) in enumerate(zip(extra, references)):
        link = links[i] if links else None
        if link and reference == joint:
            raise ContainerError("header: expected links of joints with a reference, found others")
        needs = {reference} - {joint} | set(link.partners if link else ())
        ends = [at[need] for need in needs if need in at]
        open_ends.append(len(ends))
        for end in ends:
            waiting.setdefault(end, []).append(i)
        if not ends:
            rounds[0].append(i)
    while rounds[-1]:
        ready = []
        for i in (j for one in rounds[-1] for j in waiting.get(one, ())):
            open_ends[i] -= 1
            if not open_ends[i]:
                ready.append(i)
        rounds.append(sorted(ready))
    if sum(map(len, rounds)) < len(extra):
        raise ContainerError("header: expected references without a circle, found one")
    return rounds[:-1]


def _carried(u: Float64, v: Float64) -> Float64:
    """(..., 3, 3) what a link weighs, in columns: (..., 3) u and v, from the reference to its
    partners, and (u x v) / sqrt(|u| |v|), which turn as they do."""
    size = np.sqrt(np.sqrt((u * u).sum(axis=-1) * (v * v).sum(axis=-1)))
    across = np.cross(u, v) / np.maximum(size, _TINY)[..., None]
    return np.stack([u, v, across], axis=-1)


def find_links(
    points: Float64, body: Float64, extra: list[int], rounds: list[list[int]], header: Header
) -> list[Link | None]:
    """Links of joints outside the body, each of which saves more bits of the curve than it takes.

    Args:
        points: (F, E, 3) in the models' axes, NaN where missing.
        body: (F, K, 3) decoded covered joints; the rest is ignored.
        extra: the E joints.
        rounds: from :func:`extra_order`.
        header: with references, and no links yet.
    """
    step, stride, frames = step_size(header.keypoint_step), header.stride, len(points)
    hold = _hold(frames, stride)
    some = np.arange(frames)[:: max(1, frames // _LINK_FRAMES)]
    known = body.copy()
    outside = set(extra)
    ready = [joint for joint in range(body.shape[1]) if joint not in outside]
    out: list[Link | None] = [None] * len(extra)
    often = header.frames / frames

    def coded(base: Float64, i: int) -> tuple[float, Float64]:
        curve = analyse(fill_gaps(points[:, i] - base)[hold], step, stride=stride)
        sizes = np.concatenate(
            [np.abs(curve.sines).ravel(), np.abs(np.diff(curve.knots, axis=0)).ravel()]
        )
        found = synthesise(curve, step, stride)[:frames]
        return float(np.log2(1 + 2 * sizes[sizes > 0]).sum()) * often, base + found

    for i in chain.from_iterable(rounds):
        joint, reference = extra[i], header.references[i]
        base = _bases(known, extra, header, [i])[:, 0]
        plain, known[:, joint] = coded(base, i)
        rows = some[~np.isnan(points[some, i, 0])]
        others = np.array([one for one in ready if one != reference])
        ready.append(joint)
        if reference == joint or len(others) < 2 or len(rows) < 8 or plain < _LINK_BITS:
            continue
        there, true = known[rows], points[rows, i]
        near = there[:, others] - true[:, None]
        spread = ((near - near.mean(axis=0)) ** 2).sum(axis=(0, 2))
        others = others[np.argsort(spread, kind="stable")[:_NEAR]]
        link = _nearest_link(there[:, reference], there[:, others], true, others, step)
        linked, place = coded(base + _carries(known, reference, link), i)
        if linked + _LINK_BITS < plain:
            out[i], known[:, joint] = link, place
    return out if any(out) else []


def _nearest_link(
    base: Float64, near: Float64, true: Float64, others: NDArray[np.int64], step: float
) -> Link:
    """The link from (F, 3) a reference to two of (F, N, 3) others that leaves least of the motion
    of (F, 3) a joint."""
    first, second = np.triu_indices(len(others), 1)
    arms = near - base[:, None]
    ways = _carried(arms[:, first], arms[:, second])
    ways = (ways - ways.mean(axis=0)).transpose(1, 0, 2, 3).reshape(len(first), -1, 3)
    wanted = true - base
    wanted = (wanted - wanted.mean(axis=0)).reshape(-1)
    square = ways.transpose(0, 2, 1) @ ways
    # Partners in one direction tell the same twice: what is added keeps that solvable, too.
    noise = len(true) * (_LINK_NOISE * step) ** 2 + _ALIKE * np.trace(square, axis1=1, axis2=2)
    square = square + noise[:, None, None] * np.eye(3)
    along = wanted @ ways
    found = np.linalg.solve(square, along[..., None])[..., 0]
    weights = np.clip(np.rint(found * LINK_PARTS), -127, 127)
    left = wanted - (ways @ (weights[..., None] / LINK_PARTS))[..., 0]
    best = int((left**2).sum(axis=1).argmin())
    a, b, c = (int(weight) for weight in weights[best])
    return Link((int(others[first[best]]), int(others[second[best]])), (a, b, c))


def _carries(known: Float64, reference: int, link: Link) -> Float64:
    """(F, 3) what a link adds to its reference."""
    u, v = (known[:, partner] - known[:, reference] for partner in link.partners)
    out: Float64 = _carried(u, v) @ (np.array(link.weights) / LINK_PARTS)
    return out


def encode_extra(
    points: Float64, body: Float64, extra: list[int], rounds: list[list[int]], header: Header
) -> Curve:
    """Curves of uncovered joints, each relative to its reference as the decoder will have it.

    Args:
        points: (F, E, D) in the models' axes, NaN where missing, F from 1.
        body: (F, K, D) decoded covered joints; the rest is ignored.
        extra: the E joints.
        rounds: from :func:`extra_order`.

    Returns:
        The curve of E x D channels; the last frame is held to fill its last block.
    """
    step = step_size(header.keypoint_step)
    frames, count, dims = points.shape
    known = body.copy()
    stride = header.stride
    blocks, hold = curve_blocks(frames, stride), _hold(frames, stride)
    knots = np.zeros((blocks + 1, count, dims), np.int64)
    sines = np.zeros((blocks, count, dims, BLOCK - 1), np.int64)
    for ready in rounds:
        base = _bases(known, extra, header, ready)
        # Where a joint is missing its difference, not its place, is what goes on smoothly.
        apart = fill_gaps(points[:, ready] - base)
        flat = apart[hold].reshape(len(hold), -1)
        exact, unit = unrounded(flat, step, stride)
        curve = Curve(exact, thrifty(unit, len(ready), CURVE_PRICE))
        knots[:, ready] = curve.knots.reshape(blocks + 1, len(ready), dims)
        sines[:, ready] = curve.sines.reshape(blocks, len(ready), dims, BLOCK - 1)
        found = synthesise(curve, step, stride)[:frames].reshape(frames, -1, dims)
        known[:, [extra[i] for i in ready]] = base + found
    channels = count * dims
    return Curve(knots.reshape(blocks + 1, channels), sines.reshape(blocks, channels, BLOCK - 1))


def decode_extra(
    curve: Curve, body: Float64, extra: list[int], rounds: list[list[int]], header: Header
) -> Float64:
    """(F, E, D) uncovered joints from their curves and (F, K, D) decoded body."""
    frames = len(body)
    apart = synthesise(curve, step_size(header.keypoint_step), header.stride)[:frames]
    apart = apart.reshape(frames, len(extra), -1)
    known = body.copy()
    for ready in rounds:
        base = _bases(known, extra, header, ready)
        known[:, [extra[i] for i in ready]] = base + apart[:, ready]
    return known[:, extra]


def _bases(known: Float64, extra: list[int], header: Header, ready: list[int]) -> Float64:
    references = [header.references[i] for i in ready]
    base = known[:, references].copy()
    base[:, [r == extra[i] for r, i in zip(references, ready)]] = 0.0
    for at, (i, reference) in enumerate(zip(ready, references)):
        if header.links and (link := header.links[i]):
            base[:, at] += _carries(known, reference, link)
    return base


__all__ = [
    "Sampled",
    "Samples",
    "canonical_points",
    "covered_joints",
    "curve_stride",
    "decode_extra",
    "dequantise_bones",
    "encode_extra",
    "extra_order",
    "find_links",
    "find_path",
    "find_references",
    "joined",
    "keypoint_step",
    "path_of",
    "place",
    "placement",
    "quantise_bones",
    "sample",
    "sample_canonical",
    "sample_frames",
]
