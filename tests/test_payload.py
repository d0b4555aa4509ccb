"""Chunks to bytes and back, checked against the decoder that FORMAT.md describes; hostile files."""

from __future__ import annotations

import contextlib
import io
import math
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import msgpack
import numpy as np
import pytest
import reference_decoder
from hypothesis import given, settings
from hypothesis import strategies as st

from motioncodec.bitstream.container import write_container
from motioncodec.bitstream.entropy import TOTAL, Decoder, Encoder, code_natural, code_signed
from motioncodec.bitstream.header import Header, step_size
from motioncodec.bitstream.payload import Layout, PersonChunk, decode_chunk, encode_chunk
from motioncodec.bitstream.prior import LevelPrior
from motioncodec.bitstream.trajectory import MAX_KNOT, Curve, curve_blocks, curve_tables
from motioncodec.clip import Clip
from motioncodec.codec import Decoder as FileDecoder
from motioncodec.codec import decode_clip, encode_clip
from motioncodec.errors import ContainerError, MotionCodecError
from motioncodec.heatmap.placement import from_model_axes
from motioncodec.heatmap.resampling import to_clip_rate
from motioncodec.model.weights import shipped
from motioncodec.tracks import placement


def synthetic_prior(seed: int, slots: int, classes: int, codes: int) -> LevelPrior:
    rng = np.random.default_rng(seed)
    cuts = np.sort(rng.integers(0, TOTAL - codes, (slots, classes, codes - 1)), axis=-1)
    shares = np.diff(cuts, axis=-1, prepend=0, append=TOTAL - codes) + 1
    class_of = rng.integers(0, classes, (slots, codes))
    return LevelPrior(shares.astype(np.uint16), class_of.astype(np.uint8))


def random_curve(rng: np.random.Generator, blocks: int, channels: int, size: float) -> Curve:
    knots = np.rint(rng.laplace(0, size, (blocks + 1, channels))).astype(np.int64)
    sines = np.rint(rng.laplace(0, size, (blocks, channels, 31))).astype(np.int64)
    sines[np.arange(31) >= rng.integers(0, 32, (blocks, channels, 1))] = 0
    return Curve(knots, sines)


def random_mask(rng: np.random.Generator, frames: int, joints: int, kind: str) -> Any:
    if kind == "none":
        return np.zeros((frames, joints), bool)
    if kind == "all":
        return np.ones((frames, joints), bool)
    if kind == "noise":
        return rng.random((frames, joints)) < 0.5
    if kind == "joints":
        return np.repeat(rng.random((1, joints)) < 0.5, frames, axis=0)
    runs = np.cumsum(rng.random((frames, joints)) < 0.1, axis=0) % 2 > 0
    return runs if kind == "runs" else np.repeat(runs[:, :1], joints, axis=1)


MASKS = ("none", "all", "noise", "joints", "runs", "alike")


@st.composite
def chunks(draw: st.DrawFn) -> tuple[Layout, list[PersonChunk]]:
    """A layout and people in it: with and without model, extra joints, confidence."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    dims, windows = draw(st.sampled_from([2, 3])), draw(st.integers(1, 2))
    joints = draw(st.integers(1, 4))
    depth = draw(st.integers(0, 3))
    layout = Layout(
        frames=draw(st.sampled_from([0, 1, 2, 31, 100])),
        joints=joints,
        dims=dims,
        windows=windows,
        extra=draw(st.integers(0, joints)),
        confidence_bits=draw(st.sampled_from([0, 1, 4, 8])),
        priors=[
            synthetic_prior(level, slots, classes, codes)
            for level, (slots, classes, codes) in enumerate([(2, 3, 5), (3, 1, 2), (1, 4, 16)])
        ][:depth],
        steps=[windows, draw(st.integers(1, 2 * windows)), 4 * windows - 3][:depth],
        stride=draw(st.sampled_from([1, 2, 3, 8])),
    )
    if draw(st.booleans()):
        layout = replace(layout, outside=rng.permutation(joints)[: layout.extra].tolist())
    size = draw(st.sampled_from([0.0, 0.5, 20.0, 1e9]))
    people = []
    for _ in range(draw(st.integers(0, 3))):
        missing = random_mask(rng, layout.frames, joints, draw(st.sampled_from(MASKS)))
        one = PersonChunk.empty(layout)
        one.missing = missing
        if not missing.all():
            if depth:
                one.origin = random_curve(rng, windows, dims, size)
                one.turn = np.rint(rng.laplace(0, size, (layout.knots, 1))).astype(np.int64)
                one.tokens = [
                    rng.integers(0, prior.frequencies.shape[-1], given.shape)
                    for prior, given in zip(layout.priors, one.tokens)
                ]
            if layout.extra:
                blocks = curve_blocks(layout.frames, layout.stride)
                one.extra = random_curve(rng, blocks, layout.extra * dims, size)
                for i in np.flatnonzero(missing.all(axis=0)[list(layout.outside)]):
                    channels = slice(i * dims, (i + 1) * dims)
                    one.extra.knots[:, channels] = one.extra.sines[:, channels] = 0
            if layout.confidence_bits:
                top = (1 << layout.confidence_bits) - 1
                levels = rng.integers(0, top + 1, missing.shape)
                if draw(st.booleans()):
                    levels[:] = draw(st.integers(0, top))
                one.confidence = np.where(missing, 0, levels)
        people.append(one)
    return layout, people


def as_lists(person: PersonChunk) -> dict[str, Any]:
    """What the reference decoder gives for a person."""
    out: dict[str, Any] = {"missing": person.missing.T.tolist()}
    if person.missing.all():
        return out

    def curve(one: Curve) -> dict[str, Any]:
        return {"knots": one.knots.T.tolist(), "sines": one.sines.transpose(1, 0, 2).tolist()}

    if person.origin is not None and person.turn is not None:
        out["origin"], out["turn"] = curve(person.origin), person.turn[:, 0].tolist()
        out["tokens"] = [level.T.tolist() for level in person.tokens]
    if person.extra is not None:
        out["extra"] = curve(person.extra)
    if person.confidence is not None:
        out["confidence"] = person.confidence.T.tolist()
    return out


def reference(data: bytes, people: int, layout: Layout) -> list[dict[str, Any]]:
    return reference_decoder.chunk(
        data, people=people, frames=layout.frames, joints=layout.joints, dims=layout.dims,
        windows=layout.windows, extra=layout.extra, confidence_bits=layout.confidence_bits,
        priors=[(p.frequencies.tolist(), p.class_of.tolist()) for p in layout.priors],
        steps=layout.steps, stride=layout.stride, outside=layout.outside,
    )  # fmt: skip


@given(chunks())
@settings(max_examples=60, deadline=None)
def test_chunks_decode_as_the_document_says(case: tuple[Layout, list[PersonChunk]]) -> None:
    layout, people = case
    data = encode_chunk(people, layout)
    decoded = decode_chunk(data, len(people), layout)
    expected = [as_lists(person) for person in people]
    assert [as_lists(person) for person in decoded] == expected
    assert reference(data, len(people), layout) == expected
    for person in decoded:
        empty = PersonChunk.empty(layout)
        assert person.missing.shape == empty.missing.shape
        assert [t.shape for t in person.tokens] == [t.shape for t in empty.tokens]
        assert (person.origin is None) == (empty.origin is None)
        assert (person.extra is None) == (empty.extra is None)
        assert (person.confidence is None) == (empty.confidence is None)
    # Equal numbers are equal bytes.
    assert encode_chunk(decoded, layout) == data


GARBAGE = Layout(
    40, 3, 3, 2, 2, 4, [synthetic_prior(1, 2, 3, 7), synthetic_prior(2, 3, 2, 4)], [32, 16]
)


@given(st.binary(max_size=400), st.sampled_from([GARBAGE, replace(GARBAGE, priors=(), frames=0)]))
@settings(max_examples=150, deadline=None)
def test_garbage_is_decoded_or_refused_as_the_document_says(data: bytes, layout: Layout) -> None:
    started = time.perf_counter()
    try:
        expected = reference(data, 2, layout)
    except reference_decoder.Refused:
        with pytest.raises(ContainerError):
            decode_chunk(data, 2, layout)
        return
    assert [as_lists(person) for person in decode_chunk(data, 2, layout)] == expected
    assert time.perf_counter() - started < 10  # however it reads, no more than the layout holds


@given(chunks(), st.integers(0, 10**6))
@settings(max_examples=60, deadline=None)
def test_damaged_payloads_are_decoded_or_refused(
    case: tuple[Layout, list[PersonChunk]], at: int
) -> None:
    layout, people = case
    data = bytearray(encode_chunk(people, layout))
    if not data:
        return
    data[at % len(data)] ^= 1 << at % 8
    with contextlib.suppress(ContainerError):
        decode_chunk(bytes(data), len(people), layout)


def test_a_person_who_is_not_there_costs_a_bit_and_one_for_each_joint() -> None:
    nobody = PersonChunk.empty(GARBAGE)
    nobody.missing[:] = True
    # 64 people x 4 bits, and a word to end with.
    assert len(encode_chunk([nobody] * 64, GARBAGE)) <= 64 * 4 // 8 + 4


def test_runs_beyond_the_frames_are_refused() -> None:
    encoder = Encoder()
    encoder.bits(1, 1)
    encoder.bits(0, 1)
    encoder.bits(0, 1)
    code_natural(encoder, 41)
    data = encoder.finish()
    with pytest.raises(ContainerError, match="expected runs within 40 frames, found 41"):
        decode_chunk(data, 1, GARBAGE)
    with pytest.raises(reference_decoder.Refused):
        reference(data, 1, GARBAGE)


def test_confidence_out_of_its_levels_is_refused() -> None:
    layout = Layout(4, 1, 3, 1, 0, 4)
    for steps in ([1], [-16], [-15, 0, 16]):
        encoder = Encoder()
        encoder.bits(0, 1)
        encoder.bits(0, 1)
        tables, bucket = curve_tables("confidence").knots, 5
        for step in steps:
            size = abs(step)
            encoder.code(min(size, 15), tables[bucket])
            if size >= 15:
                code_natural(encoder, size - 15)
            if size:
                encoder.bits(step < 0, 1)
            bucket = 0 if size == 0 else 3
        data = encoder.finish()
        with pytest.raises(ContainerError, match="confidence: expected levels from 0 to 15"):
            decode_chunk(data, 1, layout)
        with pytest.raises(reference_decoder.Refused):
            reference(data, 1, layout)


@given(st.integers(0, 2**32 - 1), st.integers(1, 5), st.integers(0, 3))
@settings(max_examples=15, deadline=None)
def test_fitted_priors_are_tables(seed: int, classes: int, runs: int) -> None:
    rng = np.random.default_rng(seed)
    slots, codes = 2, 6
    tokens = [rng.integers(0, codes, (int(rng.integers(1, 9)), slots)) for _ in range(runs)]
    codebook = rng.normal(size=(slots, codes, 3)).astype(np.float32)
    prior = LevelPrior.fit(tokens, codebook, classes)
    assert prior.slots == slots
    assert prior.frequencies.shape == (slots, classes, codes)
    assert prior.frequencies.dtype == np.uint16
    assert prior.frequencies.min() >= 1
    assert (prior.frequencies.sum(axis=-1, dtype=np.int64) == TOTAL).all()
    assert prior.class_of.shape == (slots, codes)
    assert prior.class_of.max() < classes
    assert np.allclose(
        2.0 ** -prior.lengths.astype(np.float64) * TOTAL, prior.frequencies, rtol=1e-4
    )
    again = LevelPrior.fit(tokens, codebook, classes)
    assert np.array_equal(again.frequencies, prior.frequencies)
    for run in tokens:
        encoder = Encoder()
        prior.code(encoder, run)
        assert np.array_equal(prior.code(Decoder(encoder.finish()), np.zeros_like(run)), run)


def test_fitted_priors_have_seen_what_they_were_fitted_to() -> None:
    run = np.array([[0], [1]] * 50)
    codebook = np.arange(4, dtype=np.float32).reshape(1, 4, 1)
    prior = LevelPrior.fit([run], codebook, classes=4)
    after_zero, after_one = (prior.frequencies[0, prior.class_of[0, t]] for t in (0, 1))
    assert after_zero.argmax() == 1
    assert after_one.argmax() == 0


# -- whole files with right CRCs and hostile contents ----------------------------------------------


def built(packed: dict[int, Any], payloads: list[bytes]) -> bytes:
    target = io.BytesIO()
    write_container(packed, payloads, target, indexed=True)
    return target.getvalue()


def folded(value: Any) -> bytes:
    data: bytes = msgpack.packb(value)
    return b"\0" + data


def names(*joints: str) -> bytes:
    return b"\0" + "\n".join(joints).encode()


def payload(*write: Callable[[Encoder], object]) -> bytes:
    encoder = Encoder()
    for one in write:
        one(encoder)
    return encoder.finish()


def knots_of(value: int) -> bytes:
    """One joint x of one frame at a first knot of ``value``; all else 0."""
    return payload(lambda e: e.bits(0, 1), lambda e: code_signed(e, value))


def growing(encoder: Encoder) -> None:
    """Nobody missing; knots whose second differences are as large as can be written."""
    encoder.bits(0, 1)
    code_signed(encoder, MAX_KNOT)
    table = curve_tables("keypoint").knots
    for bucket in (5, 4, 4, 4):
        encoder.code(15, table[bucket])
        encoder.bits(40, 6)
        encoder.bits((1 << 40) - 1, 40)
        encoder.bits(0, 1)


TWO = {2: 0, 3: names("a", "b"), 13: folded([0, 1])}


@dataclass(frozen=True)
class Hostile:
    name: str
    packed: dict[int, Any]
    payloads: tuple[bytes, ...] = (b"",)
    good: bool = False  # it decodes


HOSTILE = [
    Hostile("plain", {0: 1, **TWO}, good=True),
    Hostile("no frames", {0: 0, **TWO}, (), good=True),
    Hostile("no people", {0: 5, 9: 0, **TWO}, good=True),
    Hostile("no people, garbage in the chunk", {0: 5, 9: 0, **TWO}, (b"\xff" * 99,), good=True),
    Hostile("no people, 2^40 frames", {0: 1 << 40, 9: 0, **TWO}),
    Hostile("2^40 frames and one chunk", {0: 1 << 40, **TWO}),
    Hostile("2^40 frames at 100,000 a second", {0: 1 << 40, 1: 100_000, 16: 32, **TWO}),
    Hostile("two frames in a million years", {0: 2, 1: 1e-6, **TWO}),
    Hostile("one frame at the lowest rate", {0: 1, 1: 1e-6, **TWO}, good=True),
    Hostile(
        "three frames at the lowest rate",
        {0: 3, 1: 1e-6, 16: 1 << 20, **TWO},
        (b"",) * 58,
        good=True,
    ),
    Hostile("rate below the lowest", {0: 1, 1: 1e-310, **TWO}),
    Hostile("rate infinite", {0: 1, 1: float("inf"), **TWO}),
    Hostile("longest chunk", {0: 1, 16: 1 << 20, **TWO}, good=True),
    Hostile("a million people", {0: 1, 9: 1 << 20, **TWO}),
    Hostile("no names", {0: 1, 2: 0, 13: folded([])}),
    Hostile("one empty name", {0: 1, 2: 0, 3: b"\0", 13: folded([0])}, good=True),
    Hostile("a name twice", {0: 1, 2: 0, 3: names("a", "a"), 13: folded([0, 1])}),
    Hostile("unknown skeleton", {0: 1, 2: 4711}),
    Hostile("skeleton without references", {0: 1, 2: 1}),
    Hostile("references too few", {0: 1, 2: 0, 3: names("a", "b"), 13: folded([0])}),
    Hostile("references too many", {0: 1, 2: 0, 3: names("a"), 13: folded([0, 0])}),
    Hostile("references to no joint", {0: 1, 2: 0, 3: names("a", "b"), 13: folded([0, 2])}),
    Hostile("references to 2^63", {0: 1, 2: 0, 3: names("a"), 13: folded([1 << 63])}),
    Hostile("a circle", {0: 1, 2: 0, 3: names("a", "b"), 13: folded([1, 0])}),
    Hostile(
        "a circle of three and a tail",
        {0: 1, 2: 0, 3: names("a", "b", "c", "d"), 13: folded([1, 2, 0, 0])},
    ),
    Hostile("metadata with a list as key", {0: 1, 17: b"\0\x81\x91\x00\x00", **TWO}),
    Hostile("unknown model", {0: 1, 2: 1, 7: 4 * 999_999 + 1, 11: 0}),
    Hostile("model 0", {0: 1, 2: 1, 7: 1, 11: 0}),
    Hostile("model of other weights", {0: 1, 2: 1, 7: 5, 8: 12345, 11: 0}),
    Hostile("2D with the 3D model", {0: 1, 2: 1, 6: 2, 7: 5, 8: 12345}),
    Hostile("knots of 2^39", {0: 1, **TWO}, (knots_of(1 << 39),), good=True),
    Hostile("beyond float32", {0: 1, 14: 400, **TWO}, (knots_of(MAX_KNOT),)),
    Hostile("beyond float32, negative", {0: 1, 14: 400, **TWO}, (knots_of(-MAX_KNOT),)),
    Hostile("knots that grow", {0: 100, 14: 400, **TWO}, (payload(growing),)),
    Hostile("a run beyond the frames", {0: 1, **TWO}, (b"\xff" * 30,)),
    Hostile("too few chunks", {0: 5000, **TWO}),
    Hostile("too many chunks", {0: 5, **TWO}, (b"", b"")),
    Hostile("units unknown", {0: 1, 4: 9, **TWO}),
    Hostile("no header at all", {}),
]


@pytest.mark.parametrize("case", HOSTILE, ids=[case.name for case in HOSTILE])
@pytest.mark.filterwarnings("ignore:overflow")
def test_hostile_files_give_a_clip_or_our_error(case: Hostile) -> None:
    data = built(case.packed, list(case.payloads))
    if not case.good:
        with pytest.raises(MotionCodecError, match=r"expected|truncated"):
            FileDecoder(io.BytesIO(data), "cpu").clip()
        with contextlib.suppress(MotionCodecError):
            FileDecoder(io.BytesIO(data), "cpu").verify()
        return
    clip = FileDecoder(io.BytesIO(data), "cpu").clip()
    assert clip.frames == case.packed[0]
    assert FileDecoder(io.BytesIO(data), "cpu").verify() == []


@given(
    st.dictionaries(
        st.integers(0, 17),
        st.integers(-2, 70) | st.sampled_from([1e-6, 0.5, 1e5, 2**40, b"\0a\nb", folded([0, 1])]),
    ),
    st.binary(max_size=60),
)
@settings(max_examples=150, deadline=None)
def test_random_headers_give_a_clip_or_our_error(packed: dict[int, Any], data: bytes) -> None:
    packed = {0: 20, 2: 0, 3: b"\0a\nb", 13: folded([0, 0]), **packed}
    if isinstance(packed.get(7), int) and packed[7] > 0:
        packed[8] = 1  # never the shipped weights: no network here
    file = built(packed, [data])
    with contextlib.suppress(MotionCodecError):
        FileDecoder(io.BytesIO(file), "cpu").clip()
    with contextlib.suppress(MotionCodecError):
        FileDecoder(io.BytesIO(file), "cpu").verify()


# -- section 9 -------------------------------------------------------------------------------------


@pytest.mark.parametrize("up", ["y", "z", "x", "-y", "-z", "-x"])
def test_the_axes_in_the_document(up: str) -> None:
    x, y, z = 1.0, 2.0, 3.0
    expected = {
        "y": (x, y, z), "z": (x, -z, y), "x": (y, -x, z),
        "-y": (x, -y, -z), "-z": (x, z, -y), "-x": (-y, x, z),
    }[up]  # fmt: skip
    assert tuple(from_model_axes(np.array([x, y, z]), up)) == expected
    assert tuple(from_model_axes(np.array([x, y]), up)) == ((x, -y) if up == "y" else (x, y))


@pytest.mark.parametrize("dims", [2, 3])
def test_the_placement_in_the_document(dims: int) -> None:
    rng = np.random.default_rng(dims)
    scale, step, windows = 37, -9, 2
    header = Header(64, 30.0, dims=dims, people=1, scales=(scale,), origin_step=step)
    curve = random_curve(rng, windows, dims, 5)
    knots = rng.integers(-40, 40, (2 * windows + 1, 1))
    points = rng.normal(size=(32 * windows + 1, 4, dims))
    placed = placement(header, 0, curve, knots).invert(points)
    for i in range(32 * windows + 1):
        k, part = min(i // 16, 2 * windows - 1), i - 16 * min(i // 16, 2 * windows - 1)
        t = knots[k, 0] * (1 - part / 16) + knots[k + 1, 0] * part / 16
        b, m = min(i // 32, windows - 1), i - 32 * min(i // 32, windows - 1)
        waves = np.sin(np.pi * np.arange(1, 32) * m / 32)
        origin = curve.knots[b] * (1 - m / 32) + curve.knots[b + 1] * m / 32
        origin = (origin + (2 / 32) ** 0.5 * curve.sines[b] @ waves) * 2.0 ** (step / 4)
        if dims == 2:
            expected = origin + 2.0 ** (t / 8) * points[i]
        else:
            size, a = 2.0 ** (scale / 128), 2 * np.pi * t / 64
            x, y, z = points[i].T
            turned = [x * np.cos(a) - z * np.sin(a), y, x * np.sin(a) + z * np.cos(a)]
            expected = size * (origin + np.stack(turned, axis=-1))
        assert np.allclose(placed[i], expected, atol=1e-9)
    assert step_size(step) == 2.0 ** (step / 4)


@pytest.mark.parametrize("rate", [120.0, 29.97, 25.0, 7.0])
def test_the_rate_in_the_document(rate: float) -> None:
    values = np.random.default_rng(0).normal(size=(32, 2))
    frames = int(31 * rate / 30)
    found = to_clip_rate(values, rate, 0, frames)
    for n in range(frames):
        p = n * (30 / rate)
        p = round(p) if abs(p - round(p)) < 1e-9 else p
        i = int(np.floor(p))
        f = p - i
        a, b, c, d = (values[min(max(i + k, 0), 31)] for k in (-1, 0, 1, 2))
        cubic = b + f / 2 * (c - a + f * (2 * a - 5 * b + 4 * c - d + f * (3 * (b - c) + d - a)))
        assert np.allclose(found[n], cubic, atol=1e-12)


def test_the_network_in_the_document() -> None:
    import torch

    from motioncodec.model.config import Config, Level
    from motioncodec.model.vqgan import SlotVQGAN

    torch.manual_seed(0)
    config = Config(
        dims=2, codes=6, latent=3, width=10, blocks=2, levels=(Level(32, 2), Level(8, 3))
    )
    network = SlotVQGAN(config).eval()
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.copy_(torch.randn_like(parameter) * 0.3)
        network.mean.copy_(torch.randn_like(network.mean))
    tensors = {k: v.double().numpy() for k, v in network.state_dict().items()}
    tokens = [np.random.default_rng(1).integers(0, 6, (96 // s, n)) for s, n in ((32, 2), (8, 3))]
    given = [torch.from_numpy(level[None]) for level in tokens]
    with torch.no_grad():
        found = network.detokenize(given)[0].numpy()

    erf = np.vectorize(math.erf)
    known = np.zeros((96, 40))
    for number, chosen in enumerate(tokens):
        own = {k[9:]: v for k, v in tensors.items() if k.startswith(f"coders.{number}.")}

        def linear(name: str, rows: Any, own: dict[str, Any] = own) -> Any:
            return rows @ own[f"{name}.weight"].T + own.get(f"{name}.bias", 0.0)

        slots = np.arange(chosen.shape[1])
        v = own["quantizer.codebook"][slots, chosen].reshape(len(chosen), -1)
        h = linear("dec_in", v / own["latent_scale"]).reshape(12, 10)
        h = h + linear("dec_context", known.reshape(12, -1))
        for block in range(2):
            name = f"dec.{block}."
            mean, variance = h.mean(axis=1, keepdims=True), h.var(axis=1, keepdims=True)
            n = (h - mean) / np.sqrt(variance + 1e-5)
            n = np.pad(n * own[name + "norm.weight"] + own[name + "norm.bias"], ((1, 1), (0, 0)))
            kernel = own[name + "over_time.weight"]
            c = sum(n[k : k + 12] @ kernel[:, :, k].T for k in range(3))
            c = c + own[name + "over_time.bias"]
            h = h + linear(name + "pointwise", c * 0.5 * (1 + erf(c / 2**0.5)))
        known = known + linear("linear_dec", v).reshape(96, 40)
        known = known + linear("dec_out", h).reshape(96, 40)
    expected = known.reshape(96, 20, 2) * config.unit + tensors["mean"]
    assert np.allclose(found, expected, atol=1e-4)


@pytest.mark.parametrize(("number", "dims"), [(1, 2), (2, 3)])
def test_weights_of_other_dims_are_refused(number: int, dims: int) -> None:
    weights = next(w for w in shipped() if w.id == number)
    packed = {0: 10, 7: 4 * number + 1, 8: weights.fingerprint_word, 11: 0}
    data = built({**packed, 6: 2} if dims == 2 else packed, [b""])
    with pytest.raises(MotionCodecError):
        FileDecoder(io.BytesIO(data), "cpu").clip()
    assert FileDecoder(io.BytesIO(data), "cpu").verify()


def test_a_person_who_leaves_at_a_chunk_border_stays_in_place_till_then(stick: Clip) -> None:
    # 60 frames a second: the last frame seen, 2047, lies between model frames 1023 and 1024, and
    # 1024 belongs to a chunk in which the person is absent.
    points = np.full((2112, 1, 20, 3), np.nan, np.float32)
    points[:2048] = stick.keypoints[:1] + np.array([5.0, 0.0, 5.0])
    target = io.BytesIO()
    encode_clip(Clip(points, 60.0, stick.skeleton), target)
    back = decode_clip(target.getvalue(), "cpu", range(1900, 2048)).keypoints
    errors = np.linalg.norm(back - points[1900:2048], axis=-1).mean(axis=(1, 2))
    assert errors[-1] < 2 * errors[:100].max()
