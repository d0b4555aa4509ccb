"""The fixed numbers behind the golden bytes. Made by arithmetic on whole numbers alone, so that no
library's random numbers can change them. Never change what is here: see README.md."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import zstandard

from motioncodec.bitstream.between import Spacing
from motioncodec.bitstream.bones import FREE, code_shape, slots_of
from motioncodec.bitstream.container import write_container
from motioncodec.bitstream.entropy import (
    TOTAL,
    Encoder,
    Table,
    code_magnitude,
    code_natural,
    code_signed,
)
from motioncodec.bitstream.exact import Exact
from motioncodec.bitstream.foretold import (
    BLOCK,
    FRAME,
    LENGTH,
    LINE,
    LINKED,
    Link,
    Numbers,
)
from motioncodec.bitstream.header import Header, _unfold
from motioncodec.bitstream.header import Link as Carried
from motioncodec.bitstream.network import NetworkPrior, NetworkTensors
from motioncodec.bitstream.payload import Layout, PersonChunk, Spectral, encode_chunk
from motioncodec.bitstream.prior import LevelPrior, Prior
from motioncodec.bitstream.spectrum import Kind, Spectrum, shape_of
from motioncodec.bitstream.trajectory import Curve
from motioncodec.skeleton import CANONICAL


def numbers(seed: int) -> Iterator[int]:
    """0 to 65,535, evenly: the upper bits of a linear congruential generator (Knuth's MMIX)."""
    state = seed
    while True:
        state = (state * 6364136223846793005 + 1442695040888963407) % 2**64
        yield state >> 48


def array(source: Iterator[int], shape: tuple[int, ...], of: Callable[[int], int]) -> Any:
    count = int(np.prod(shape))
    return np.array([of(next(source)) for _ in range(count)], np.int64).reshape(shape)


def small(number: int) -> int:
    """-40,000 to 40,000, mostly near 0, a few beyond the escape."""
    size = 40_000 // (1 + number // 2) if number // 2 > 1000 else number // 2
    return size if number % 2 else -size


def table(source: Iterator[int], size: int) -> list[int]:
    """Frequencies that halve, on average, from a likely symbol to ones of 1."""
    raw = [1 + next(source) * next(source) % 4096 // (1 + k) for k in range(size - 1)]
    at = next(source) % size
    return [*raw[:at], TOTAL - sum(raw), *raw[at:]]


def prior(seed: int, slots: int, classes: int, codes: int) -> LevelPrior:
    source = numbers(seed)
    return LevelPrior(
        np.array([[table(source, codes) for _ in range(classes)] for _ in range(slots)], np.uint16),
        array(source, (slots, codes), lambda n: n % classes).astype(np.uint8),
    )


def network(
    seed: int, sizes: list[int], width: int, features: int, coarser: list[NetworkPrior]
) -> NetworkPrior:
    """A learned prior whose weights nobody learned: large enough that all its layers matter, and
    that sums reach their limits."""
    source, hidden = numbers(seed), 6
    slots, codes = width * len(sizes), width * sum(sizes)
    inputs = slots * features + 1 + sum(c.slots * (c.seen + 2) for c in coarser)

    def evenly(*shape: int, reach: int) -> Any:
        return array(source, shape, lambda n: n % (2 * reach + 1) - reach)

    return NetworkPrior(
        NetworkTensors(
            sizes=np.array(sizes, np.int32),
            lengths=array(source, (codes,), lambda n: n % 3000).astype(np.int16),
            features=evenly(codes, features, reach=127).astype(np.int8),
            context_weight=evenly(hidden, inputs, reach=9000).astype(np.int16),
            context_bias=evenly(hidden, reach=30_000).astype(np.int32) * 40,
            within_weight=evenly(hidden, slots * features, reach=9000).astype(np.int16),
            middle_weight=evenly(hidden, hidden, reach=1500).astype(np.int16),
            middle_bias=evenly(hidden, reach=30_000).astype(np.int32) * 40,
            head_weight=evenly(slots * (features + 1), hidden, reach=6000).astype(np.int16),
            head_bias=evenly(slots * (features + 1), reach=30_000).astype(np.int32) * 100,
        ),
        coarser,
    )


def curve(source: Iterator[int], blocks: int, channels: int) -> Curve:
    knots = array(source, (blocks + 1, channels), small)
    sines = array(source, (blocks, channels, 31), small)
    ends = array(source, (blocks, channels, 1), lambda n: n % 32)
    return Curve(knots, np.where(np.arange(31) < ends, sines, 0))


def tokens(source: Iterator[int], shape: tuple[int, ...], prior: Prior) -> Any:
    if isinstance(prior, LevelPrior):
        codes = prior.frequencies.shape[-1]
        return array(source, shape, lambda n: n % codes)
    assert isinstance(prior, NetworkPrior)
    sizes = np.repeat(prior.sizes, prior.width)
    return array(source, shape, int) % sizes


def person(source: Iterator[int], layout: Layout, missing: Any) -> PersonChunk:
    one = PersonChunk.empty(layout)
    one.missing = missing
    if missing.all():
        return one
    if layout.depth:
        one.origin = curve(source, layout.path, layout.dims)
        one.turn = array(source, (layout.knots, 1), small)
        if layout.bones:
            steps = array(source, (20,), lambda n: n % 61 - 30)
            free = array(source, (20,), lambda n: n % 5 == 0)
            free[0] = True
            one.bones = np.where(free if next(source) % 2 else np.arange(20) < 1, FREE, steps)
        one.tokens = [tokens(source, blank.shape, p) for p, blank in zip(layout.priors, one.tokens)]
        if layout.spectral:
            frames, _, kind = layout.spectral
            shape = shape_of(frames, next(source) % 4)
            one.spectrum = spectrum(source, shape, 12 if kind.turns else 0)
    if layout.extra:
        blocks = -((1 - layout.frames) // (32 * layout.stride))
        one.extra = curve(source, blocks, layout.extra * layout.dims)
    if layout.confidence_bits:
        levels = array(source, missing.shape, lambda n: n % (1 << layout.confidence_bits))
        one.confidence = np.where(missing, 0, levels)
    return one


def spectrum(source: Iterator[int], shape: tuple[int, int, int], some: int) -> Spectrum:
    """Smaller towards higher frequencies and components; nothing in the last tenth, or from
    ``some`` on."""
    _, size, count = shape
    found = array(source, shape, lambda n: small(n) // (1 + n % 5))
    fall = 1 + np.arange(size)[:, None] // 4 + np.arange(count) // 6
    found = np.sign(found) * (np.abs(found) // fall)
    found[:, some or size - size // 10 :] = 0
    return Spectrum(found, np.zeros_like(found))


def whole(
    source: Iterator[int],
    missing: Any,
    dims: int,
    links: dict[int, Link],
    first: int,
    reach: int,
    companions: dict[int, int] | None = None,
) -> Numbers:
    """Numbers, of floats where the first ones are as large as a float's place, with every order and
    form; learned ones, if there are companions. Coordinates go on as their last ones did, mostly,
    so that they stay in reach."""
    frames, joints = missing.shape
    out = Numbers.empty(frames, joints, dims, first > 1 << 24, companions is not None)
    out.links = [links.get(joint) for joint in range(joints)]
    blocks = -(-frames // BLOCK)
    out.orders = np.where(
        missing.all(axis=0),
        2,
        array(source, (blocks, joints), lambda n: n % (3 if companions is None else 16) + 1),
    )
    if companions is not None:
        out.companions = [companions.get(joint, -1) for joint in range(joints)]
        out.shares = array(source, (blocks, joints), lambda n: n % 5) * (
            np.array(out.companions) >= 0
        )
    forms = array(source, (blocks, joints), int)
    for joint, link in enumerate(out.links):
        if link is not None:
            choice = 1 + 2 * dims if link.kind == LENGTH else 2
            out.forms[:, joint] = forms[:, joint] % choice
            out.forms[:, joint] *= LINKED if link.kind != LENGTH else 1
    seen = (~missing).any(axis=0)[:, None]
    out.first = np.where(seen, first + array(source, (joints, dims), lambda n: n % reach), 0)
    later = ~missing & (np.cumsum(~missing, axis=0) > 1)
    off = array(source, (frames, joints, dims), lambda n: small(n) if n % 7 else n % 3 - 1)
    out.differences = np.where(later[..., None], off, 0)
    return out


LINKS_3D = {
    1: Link(LENGTH, (0,), (1700.0,)), 2: Link(LENGTH, (1,), (40_000.0,)),
    3: Link(LINE, (1, 0), (0.375,)), 4: Link(FRAME, (2, 0, 3), (0.5, -0.25, 0.0009765625)),
}  # fmt: skip
LINKS_OF_FLOATS = {
    1: Link(LENGTH, (0,), (0.5,)), 2: Link(LENGTH, (1,), (3.0,)),
    3: Link(LINE, (1, 0), (0.375,)), 4: Link(FRAME, (2, 0, 3), (0.5, -0.25, 0.0009765625)),
}  # fmt: skip


def runs(frames: int, joints: int, period: int) -> Any:
    """Missing in alternate runs, later for later joints; the last joint is as the one before."""
    grid = (np.arange(frames)[:, None] + 3 * np.arange(joints)[None]) // period % 2 > 0
    grid[:, -1] = grid[:, -2]
    return grid


@dataclass(frozen=True)
class Case:
    """A file: its header, and the people and layout of each chunk."""

    header: Header
    layouts: tuple[Layout, ...]
    people: tuple[tuple[PersonChunk, ...], ...]

    def payloads(self) -> list[bytes]:
        return [encode_chunk(p, layout) for p, layout in zip(self.people, self.layouts)]

    def file(self, fold: Callable[[bytes], bytes]) -> bytes:
        """The file's bytes, what is folded in its header as ``fold`` has it: to choose is the
        writer's business."""
        target = io.BytesIO()
        packed = {
            key: fold(_unfold(value)) if isinstance(value, bytes) else value
            for key, value in self.header.pack().items()
        }
        if isinstance(packed.get(64), int):
            # Early files have a bound of 0 there, too.
            packed[64] = [packed[64], 0.0]
        write_container(packed, self.payloads(), target, indexed=True)
        return target.getvalue()


def plain_or_zstandard(data: bytes) -> bytes:
    """The shorter of the two, as files were folded at first."""
    frame = zstandard.ZstdCompressor(level=19, write_checksum=False).compress(data)
    return b"\1" + frame if len(frame) < len(data) else b"\0" + data


def body() -> Case:
    """3D, two people, two chunks, three levels of tokens, extra joints, confidence, an index."""
    header = Header(
        frames=150, frame_rate=59.94, skeleton=0, names=("hips", "left_hand", "tail"), units="mm",
        up="z", model=4 * 4711 + 3, fingerprint=0x01234567, people=2, ids=("A", "B"),
        scales=(12, -7), origin_step=-20, references=(0,), keypoint_step=9, confidence=4, chunk=64,
        metadata={"made": "by hand", "take": 3},
    )  # fmt: skip
    priors = [prior(1, 2, 3, 5), prior(2, 3, 2, 16), prior(3, 4, 1, 2)]
    source, layouts, people = numbers(11), [], []
    for c in range(header.chunks):
        (start, stop), (first, last) = header.span(c), header.frame_span(c)
        layout = Layout(
            last - first, 3, 3, (stop - start) // 32, 1, 4, priors,
            [header.steps(c, stride) for stride in (32, 16, 8)],
        )  # fmt: skip
        seen = runs(layout.frames, 3, 9)
        absent = np.ones_like(seen) if c else np.zeros_like(seen)
        layouts.append(layout)
        people.append((person(source, layout, seen), person(source, layout, absent)))
    return Case(header, tuple(layouts), tuple(people))


def _under_learned_priors(
    header: Header, source: Iterator[int], shapes: Sequence[tuple[int, list[int], int, int]]
) -> Case:
    """People of whom nothing is missing; each level's prior by seed, sizes, width and features."""
    priors: list[NetworkPrior] = []
    for seed, sizes, width, features in shapes:
        priors.append(network(seed, sizes, width, features, list(priors)))
    layouts, people = [], []
    for c in range(header.chunks):
        (start, stop), (first, last) = header.span(c), header.frame_span(c)
        layout = Layout(
            last - first, 20, header.dims, (stop - start) // 32, 0, 0, priors,
            [header.steps(c, 64) for _ in priors], bones=header.dims == 3,
        )  # fmt: skip
        seen = np.zeros((layout.frames, 20), bool)
        layouts.append(layout)
        people.append(tuple(person(source, layout, seen) for _ in range(header.people)))
    return Case(header, tuple(layouts), tuple(people))


def lapped() -> Case:
    """3D, two people, two chunks, bones, three levels of tokens under learned priors."""
    header = Header(
        frames=150, frame_rate=30.0, skeleton=1, model=4 * 4711 + 3, people=2, scales=(3, -9),
        chunk=64 * 2,
    )  # fmt: skip
    shapes = (21, [3, 5], 1, 3), (22, [16, 4], 2, 3), (23, [9], 3, 1)
    return _under_learned_priors(header, numbers(15), shapes)


def lapped_flat() -> Case:
    """2D, one person, two chunks, no bones, two levels of tokens under learned priors."""
    header = Header(
        frames=150, frame_rate=30.0, skeleton=1, model=4 * 4713 + 2, units="px", up="-y", dims=2,
        chunk=64 * 2,
    )  # fmt: skip
    return _under_learned_priors(header, numbers(19), ((24, [3, 5], 1, 3), (25, [12], 2, 1)))


def detections() -> Case:
    """2D at another rate, one level of tokens, no extra joints, 8 bits of confidence."""
    header = Header(
        frames=40, frame_rate=25.0, skeleton=0, names=("hip", "knee"), units="px", up="-y", dims=2,
        model=4 * 4712 + 1, fingerprint=0xFEDCBA98, origin_step=31, confidence=8,
    )  # fmt: skip
    layout = Layout(40, 2, 2, 2, 0, 8, [prior(4, 3, 4, 128)], [header.steps(0, 32)])
    return Case(header, (layout,), ((person(numbers(12), layout, runs(40, 2, 40)),),))


def markers() -> Case:
    """3D without a model: curves alone. Long names, folded by no compressor's whim."""
    header = Header(
        frames=70, frame_rate=30.0, skeleton=0, names=("m1", "m2", "m3"), references=(0, 0, 1),
        keypoint_step=-29,
    )  # fmt: skip
    layout = Layout(70, 3, 3, 3, 3, 0)
    missing = np.zeros((70, 3), bool)
    return Case(header, (layout,), ((person(numbers(13), layout, missing),),))


def strided() -> Case:
    """3D at 120 frames a second without a model: curves with a stride."""
    header = Header(
        frames=300, frame_rate=120.0, skeleton=0, names=("m1", "m2"), references=(0, 0),
        keypoint_step=-25, stride=4,
    )  # fmt: skip
    layout = Layout(300, 2, 3, 3, 2, 0, stride=4)
    missing = np.zeros((300, 2), bool)
    return Case(header, (layout,), ((person(numbers(41), layout, missing),),))


def adapting() -> Case:
    """2D, two people and two chunks: curves under tables that adapt, a joint that is not there."""
    header = Header(
        frames=200, frame_rate=30.0, skeleton=0, names=("a", "b", "c", "d"), units="px", up="-y",
        dims=2, people=2, references=(1, 1, 1, 0), keypoint_step=3, chunk=128, adaptive=True,
    )  # fmt: skip
    source, people, layouts = numbers(51), [], []
    for frames in (128, 72):
        layout = Layout(frames, 4, 2, -(-frames // 32), 4, 0, outside=(0, 1, 2, 3))
        layouts.append(layout)
        gone = np.zeros((frames, 4), bool)
        gone[:, 2] = len(layouts) == 2
        gone[40:, 3] = True
        some = [person(source, layout, gone) for _ in range(2)]
        for one in some:
            assert one.extra is not None
            one.extra.knots[:, 4:6] *= ~gone[0, 2]
            one.extra.sines[:, 4:6] *= ~gone[0, 2]
            # Most of a real motion's numbers are 0.
            one.extra.sines[1:] //= 20_000
        people.append(tuple(some))
    return Case(header, tuple(layouts), tuple(people))


def linked() -> Case:
    """3D without a model: a joint that others carry along."""
    header = Header(
        frames=40, frame_rate=30.0, skeleton=0, names=("a", "b", "c", "d"), references=(0, 0, 0, 1),
        keypoint_step=-29, adaptive=True, links=(None, None, None, Carried((0, 2), (40, -127, 9))),
    )  # fmt: skip
    layout = Layout(40, 4, 3, 2, 4, 0, outside=(0, 1, 2, 3))
    one = person(numbers(61), layout, np.zeros((40, 4), bool))
    return Case(header, (layout,), ((one,),))


def named() -> Case:
    """3D without a model: a body's joints but for two, and a person's name, folded by known names.

    Decoded alone: a compressor may find other bytes for them."""
    names = tuple(name for name in CANONICAL if name not in ("chest", "head_top"))
    header = Header(
        frames=3, frame_rate=30.0, skeleton=0, names=names, ids=("left_wrist\u00e9",), people=1,
        covered=tuple(CANONICAL.index(name) for name in names), references=(0,) * 18,
        keypoint_step=-29,
    )  # fmt: skip
    layout = Layout(3, 18, 3, 1, 18, 0)
    return Case(header, (layout,), ((person(numbers(31), layout, np.zeros((3, 18), bool)),),))


def bounded() -> Case:
    """2D at 60 frames a second with a bound: one person in numbers, one with coefficients of plain
    channels and corrections."""
    header = Header(
        frames=70, frame_rate=60.0, skeleton=0, names=("a", "b", "c", "d"), units="px", up="-y",
        dims=2, people=2, references=(0, 0, 1, 1), keypoint_step=5, fine_step=3, bound=0.5,
    )  # fmt: skip
    source = numbers(16)
    layout = Layout(
        70, 4, 2, 2, 4, 0, fine=(1, 70, 8), bounded=True,
    )  # fmt: skip
    missing = runs(70, 4, 11)
    people = person(source, layout, missing), person(source, layout, missing)
    fine = array(source, (1, 70, 8), small)
    people[0].fine = np.where(np.arange(70)[:, None] < 40, fine, 0)
    put = array(source, (70, 4), lambda n: n % 5 == 0) & ~missing
    corrected = array(source, (70, 4, 2), lambda n: n % 5 - 2 if n % 50 else n % 70)
    people[0].corrections = np.where(put[..., None], corrected, 0)
    people[1].numbers = whole(source, missing, 2, {2: Link(LINE, (0, 1), (0.5,))}, -700, 5000)
    people[1].extra = people[1].fine = people[1].corrections = None
    return Case(header, (layout,), (people,))


def jointed() -> Case:
    """3D of a lapped model, refined: three people with groups of all kinds and rigid bones, and
    with none; joints that are missing throughout, and an extra one."""
    names = (*(f"j{i}" for i in range(20)), "tail")
    header = Header(
        frames=150, frame_rate=30.0, skeleton=0, names=names, covered=(*range(20), -1),
        units="mm", model=4 * 4711 + 2, people=3, scales=(3, -60, 40), references=(0,),
        keypoint_step=9, chunk=192, fine_step=20,
    )  # fmt: skip
    priors: list[NetworkPrior] = []
    for seed, sizes in ((21, [3, 5]), (22, [4])):
        priors.append(network(seed, sizes, 1, 2, list(priors)))
    source = numbers(17)
    layout = Layout(
        150, 21, 3, 5, 1, 0, priors, [3, 3], bones=True, fine=(2, 76, 63), jointed=(10, 11, 10),
        covered=(*range(20), -1),
    )  # fmt: skip
    return Case(header, (layout,), (refined_people(source, layout),))


def refined_people(source: Iterator[int], layout: Layout) -> tuple[PersonChunk, ...]:
    """Three people of 150 frames with groups of all kinds and rigid bones, and with none."""
    people = []
    for i in range(3):
        missing = np.zeros((150, 21), bool)
        missing[:, [5, 19] if i else []] = True
        missing[:40, 7] = True
        one = person(source, layout, missing)
        one.bones = np.where(
            np.arange(20) % 20 > 0, array(source, (20,), lambda n: n % 9 - 4), FREE
        )
        if i == 2:
            one.bones[[4, 8, 16]] = FREE
        shape = array(source, (21, 3), lambda n: n % 101 - 50)
        shape[-1] = [(2, 1, 1), (1, 2, 1), (0, 0, 0)][i]
        here = layout.here(missing)
        one.shape = code_shape(Encoder(), shape, one.bones, here)
        assert one.shape[-1].tolist() == shape[-1].tolist()
        there = [*slots_of(one.shape, one.bones, here), 60, 61, 62]
        fine = array(source, (2, 76, 63), lambda n: small(n) // (1 + n % 40))
        ends = np.array([[50], [9 * i]])
        blank = np.arange(76) >= ends
        blank = blank[..., None] | ~np.isin(np.arange(63), there)
        one.fine = np.where(blank, 0, fine)
        people.append(one)
    return tuple(people)


def numbered() -> Case:
    """3D, two people in numbers, of whom one has tokens all the same."""
    header = Header(
        frames=60, frame_rate=30.0, skeleton=0, names=("hips", "b", "c", "d", "e", "f"),
        model=4 * 4711 + 1, people=2, scales=(3, -9), references=(0,), keypoint_step=-20,
        fine_step=-28, bound=0.001953125, covered=(0, 1, 2, 3, 4, -1), confidence=4,
    )  # fmt: skip
    source = numbers(17)
    priors = [network(24, [3, 5], 1, 3, [])]
    layout = Layout(
        60, 6, 3, 2, 1, 4, priors, [header.steps(0, 64)], bones=True, fine=(1, 64, 63),
        bounded=True, jointed=(10, 11), covered=(0, 1, 2, 3, 4, -1),
    )  # fmt: skip
    missing = runs(60, 6, 25)
    people = tuple(person(source, layout, missing) for _ in range(2))
    for one in people:
        one.numbers = whole(source, missing, 3, LINKS_3D, 100, 3000)
        one.extra = one.shape = one.fine = one.corrections = None
    people[0].drop_tokens()
    return Case(header, (layout,), (people,))


def lossless() -> Case:
    """3D to the bit: one person in floats, one in decimals with strays, one who is not there; what
    is missing has bits of its own."""
    header = Header(
        frames=50, frame_rate=30.0, skeleton=0, names=("a", "b", "c", "d", "e", "f"), people=3,
        confidence=8, lossless=True,
    )  # fmt: skip
    layout = Layout(50, 6, 3, 2, 0, 8, exact=True)
    source, people = numbers(18), []
    for i in range(3):
        missing = np.ones((50, 6), bool) if i == 2 else runs(50, 6, 13)
        count = int(missing.sum())
        links, first, reach = (
            (LINKS_OF_FLOATS, 0x3F80_0000, 1 << 22) if i == 0 else (LINKS_3D, -400, 900)
        )
        usual = np.full(3 * count, 0x7FC0_0000, np.uint32)
        gone = np.where(array(source, (3 * count,), lambda n: n % 9 == 0), usual, usual + i)
        strays = np.flatnonzero(np.repeat(~missing.ravel(), 3))[7::40]
        strays = strays[: 0 if i != 1 else None]
        words = 0x4000_0000 + array(source, strays.shape, int)
        one = PersonChunk(missing)
        one.exact = Exact(
            [0, 4, 0][i], whole(source, missing, 3, links, first, reach), strays,
            words.astype(np.uint32), gone.astype(np.uint32),
        )  # fmt: skip
        if i == 2:
            one.exact.numbers = Numbers.empty(50, 6, 3, True)
        sure = whole(source, missing, 1, {}, 500, 400)
        one.exact_confidence = Exact(
            4, sure if i < 2 else Numbers.empty(50, 6, 1, False), strays[:0],
            words[:0].astype(np.uint32), usual[:count],
        )  # fmt: skip
        people.append(one)
    return Case(header, (layout,), (tuple(people),))


def learned() -> Case:
    """3D without a model, with a bound: one person in numbers with learned predictors and
    companions, two with coefficients and corrections under tables that adapt."""
    header = Header(
        frames=70, frame_rate=30.0, skeleton=0, names=("a", "b", "c", "d", "e", "f"), people=3,
        references=(0, 0, 1, 2, 0, 5), keypoint_step=-20, adaptive=True, fine_step=-28,
        bound=0.001953125, chunk=96, learned=True,
    )  # fmt: skip
    source = numbers(31)
    layout = Layout(
        70, 6, 3, 3, 6, 0, fine=(1, 70, 18), bounded=True, outside=range(6), learned=True
    )
    people = []
    for i in range(3):
        missing = runs(70, 6, 27)
        one = person(source, layout, missing)
        if i == 1:
            companions = {1: 0, 2: 0, 3: 1, 5: 4}
            one.numbers = whole(source, missing, 3, LINKS_3D, 100, 3000, companions)
            one.extra = one.fine = one.corrections = None
        else:
            one.fine = array(source, (1, 70, 18), lambda n: small(n) // (1 + n % 60))
            often = array(source, (70, 6, 1), lambda n: n % 23) % (3 + 10 * i) == 0
            sizes = array(source, (70, 6, 3), lambda n: n % 5 - 2 if n % 40 else n % 90)
            one.corrections = np.where(often & ~missing[..., None], sizes, 0)
        people.append(one)
    return Case(header, (layout,), (tuple(people),))


def now_and_then(source: Iterator[int], missing: Any, keys: Any) -> Any:
    """(F, K, 3) corrections, none in key frames or where somebody is missing."""
    frames, joints = missing.shape
    often = array(source, (frames, joints, 1), lambda n: n % 19) % 7 == 0
    sizes = array(source, (frames, joints, 3), lambda n: n % 5 - 2 if n % 40 else n % 90)
    out = np.where(often & ~missing[..., None], sizes, 0)
    out[keys] = 0
    return out


def in_key_frames(
    source: Iterator[int],
    layout: Layout,
    missing: Any,
    spacing: Spacing,
    links: dict[int, Link],
    companions: dict[int, int],
) -> PersonChunk:
    """Somebody in numbers of key frames, with corrections between them."""
    keys = spacing.keys(layout.frames)
    one = person(source, layout, missing)
    one.numbers = whole(source, missing[keys], 3, links, 100, 3000, companions)
    one.spacing = spacing
    one.extra = one.fine = one.corrections = None
    if spacing.exponent:
        one.between = now_and_then(source, missing, keys)
    return one


def spaced(loose: bool = False) -> Case:
    """3D without a model, with a bound: three people in numbers, of key frames and of all."""
    header = Header(
        frames=150, frame_rate=60.0, skeleton=0, names=("a", "b", "c", "d", "e", "f"), people=3,
        references=(0, 0, 1, 2, 0, 5), keypoint_step=-20, adaptive=True, fine_step=-28,
        bound=0.001953125, chunk=96, learned=True, spaced=True, loose=loose,
    )  # fmt: skip
    source, people = numbers(33), []
    layout = Layout(
        150, 6, 3, 3, 6, 0, fine=(1, 150, 18), bounded=True, outside=range(6), learned=True,
        spaced=True,
    )  # fmt: skip
    for spacing in (Spacing(1), Spacing(), Spacing(4)):
        missing = runs(150, 6, 27)
        companions = {1: 0, 2: 0, 3: 1, 5: 4}
        people.append(in_key_frames(source, layout, missing, spacing, LINKS_3D, companions))
    return Case(header, (layout,), (tuple(people),))


def loose() -> Case:
    """The same without a promise."""
    return spaced(loose=True)


def to_the_bit(
    source: Iterator[int], layout: Layout, companions: dict[int, int]
) -> tuple[PersonChunk, ...]:
    """Somebody in floats and somebody in decimals, with confidences."""
    people, none = [], np.zeros(0, np.int64)
    for i in range(2):
        missing = runs(layout.frames, layout.joints, 13)
        links, first, reach = (
            (LINKS_OF_FLOATS, 0x3F80_0000, 1 << 22) if i == 0 else (LINKS_3D, -400, 900)
        )
        gone = np.full(3 * int(missing.sum()), 0x7FC0_0000, np.uint32)
        words = none.astype(np.uint32)
        one = PersonChunk(missing)
        mine = whole(source, missing, 3, links, first, reach, companions)
        one.exact = Exact([0, 4][i], mine, none, words, gone)
        sure = whole(source, missing, 1, {}, 500, 400, {1: 0})
        one.exact_confidence = Exact(4, sure, none, words, gone[: len(gone) // 3])
        people.append(one)
    return tuple(people)


def learned_floats() -> Case:
    """3D to the bit: floats and decimals with learned predictors and companions."""
    header = Header(
        frames=50, frame_rate=30.0, skeleton=0, names=("a", "b", "c", "d", "e", "f"), people=2,
        confidence=8, lossless=True, learned=True,
    )  # fmt: skip
    layout = Layout(50, 6, 3, 2, 0, 8, exact=True, learned=True)
    people = to_the_bit(numbers(32), layout, {1: 0, 2: 1, 3: 0, 4: 3})
    return Case(header, (layout,), (people,))


TREE = (-1, 14, 0, -1, 13, 6, 16, 9, -1)
"""Covered joints: a knee behind an ankle, shoulders without a chest, others between them."""


def terse() -> Case:
    """3D without a model, with a bound: three people in numbers that begin in a tree."""
    names = tuple("abcdefghi")
    header = Header(
        frames=150, frame_rate=60.0, skeleton=0, names=names, people=3, covered=TREE,
        references=(0, 0, 1, 2, 0, 5, 5, 6, 7), keypoint_step=-20, adaptive=True, fine_step=-28,
        bound=0.001953125, chunk=96, learned=True, spaced=True, terse=True,
    )  # fmt: skip
    source, people = numbers(35), []
    layout = Layout(
        150, 9, 3, 3, 9, 0, fine=(1, 150, 27), bounded=True, outside=range(9), learned=True,
        spaced=True, terse=True, covered=TREE,
    )  # fmt: skip
    links = {
        1: Link(LENGTH, (4,), (1700.0,)), 4: Link(LENGTH, (2,), (40_000.0,)),
        3: Link(LENGTH, (0,), (900.0,)), 6: Link(LINE, (1, 2), (0.375,)),
        7: Link(FRAME, (2, 0, 3), (0.5, -0.25, 0.0009765625)), 8: Link(LENGTH, (7,), (16.0,)),
    }  # fmt: skip
    companions = {1: 4, 2: 0, 4: 2, 3: 0, 5: 2, 8: 6}
    for spacing in (Spacing(1), Spacing(), Spacing(4)):
        missing = runs(150, 9, 27)
        if spacing.exponent == 4:
            # The root is another one where the first joint is never there.
            missing[:, 0] = True
        one = in_key_frames(source, layout, missing, spacing, links, companions)
        assert one.numbers is not None
        _forget_who_never_is(one.numbers, missing)
        people.append(one)
    return Case(header, (layout,), (tuple(people),))


def terse_floats() -> Case:
    """3D to the bit: floats and decimals that begin in a tree, and confidences."""
    names = tuple("abcdefghi")
    header = Header(
        frames=50, frame_rate=30.0, skeleton=0, names=names, people=2, covered=TREE,
        confidence=8, lossless=True, learned=True, terse=True,
    )  # fmt: skip
    layout = Layout(50, 9, 3, 2, 0, 8, exact=True, learned=True, terse=True, covered=TREE)
    people = to_the_bit(numbers(36), layout, {1: 0, 2: 1, 3: 0, 4: 3, 8: 7})
    return Case(header, (layout,), (people,))


def terse_loose() -> Case:
    """3D in nothing but numbers that promise nothing: two people, of whom one is not there."""
    header = Header(
        frames=150, frame_rate=60.0, people=2, fine_step=-28, bound=0.001953125, chunk=96,
        learned=True, spaced=True, loose=True, terse=True,
    )  # fmt: skip
    covered = range(20)
    layout = Layout(
        150, 20, 3, 3, 0, 0, bounded=True, learned=True, spaced=True, terse=True, covered=covered
    )
    source = numbers(37)
    links = {2: Link(LENGTH, (1,), (1700.0,)), 4: Link(LENGTH, (3,), (800.0,))}
    companions = {1: 0, 2: 1, 3: 2, 4: 3, 6: 2, 9: 6, 12: 0}
    somebody = in_key_frames(source, layout, runs(150, 20, 27), Spacing(3), links, companions)
    nobody = person(source, layout, np.ones((150, 20), bool))
    return Case(header, (layout,), ((somebody, nobody),))


def spectral() -> Case:
    """3D in spectra: two chunks at 60 frames a second, two people, of whom one comes later."""
    header = Header(
        frames=500, frame_rate=60.0, people=2, scales=(2, -9), chunk=192, spectrum=-85,
        confidence=4, origin_step=-18,
    )  # fmt: skip
    source = numbers(38)
    layouts, chunks = [], []
    for frames, windows, of_model in ((384, 6, 192), (116, 2, 59)):
        layout = Layout(
            frames, 20, 3, windows, 0, 4, bones=True, covered=range(20),
            spectral=Spectral(of_model, 2, Kind(-85, False, False)),
        )  # fmt: skip
        later = np.ones((frames, 20), bool) if frames == 384 else runs(frames, 20, 7)
        people = [person(source, layout, gone) for gone in (runs(frames, 20, 31), later)]
        layouts.append(layout)
        chunks.append(tuple(people))
    return Case(header, tuple(layouts), tuple(chunks))


def spectral_refined() -> Case:
    """The same, refined, and with an extra joint: the people of :func:`jointed`."""
    names = (*(f"j{i}" for i in range(20)), "tail")
    header = Header(
        frames=150, frame_rate=30.0, skeleton=0, names=names, covered=(*range(20), -1),
        units="mm", people=3, scales=(3, -60, 40), references=(0,), keypoint_step=9, chunk=192,
        fine_step=20, spectrum=-130, origin_step=-25, adaptive=True, learned=True,
    )  # fmt: skip
    layout = Layout(
        150, 21, 3, 5, 1, 0, bones=True, fine=(2, 76, 63), jointed=(10, 11, 10),
        covered=(*range(20), -1), outside=(20,), learned=True,
        spectral=Spectral(150, 3, Kind(-130, False, False)),
    )  # fmt: skip
    return Case(header, (layout,), (refined_people(numbers(39), layout),))


def turning() -> Case:
    """3D in spectra that turn: two chunks, of which the first has several windows."""
    header = Header(
        frames=220, frame_rate=30.0, scales=(5,), chunk=192, spectrum=-120, turns=True,
        origin_step=-22,
    )  # fmt: skip
    source = numbers(40)
    layouts, chunks = [], []
    for frames, windows in ((192, 6), (28, 1)):
        layout = Layout(
            frames, 20, 3, windows, 0, 0, bones=True, covered=range(20),
            spectral=Spectral(frames, 3, Kind(-120, True, False)),
        )  # fmt: skip
        layouts.append(layout)
        chunks.append((person(source, layout, runs(frames, 20, 31)),))
    return Case(header, tuple(layouts), tuple(chunks))


def free() -> Case:
    """The same about the centre, of two people, of whom one comes later."""
    header = Header(
        frames=220, frame_rate=30.0, people=2, scales=(5, -7), chunk=192, spectrum=-120,
        turns=True, free=True, origin_step=-25,
    )  # fmt: skip
    source = numbers(42)
    layouts, chunks = [], []
    for frames, windows in ((192, 6), (28, 1)):
        layout = Layout(
            frames, 20, 3, windows, 0, 0, bones=True, covered=range(20),
            spectral=Spectral(frames, 3, Kind(-120, True, True)),
        )  # fmt: skip
        gone = runs(frames, 20, 31), runs(frames, 20, 7)
        people = [person(source, layout, one) for one in gone]
        if frames == 192:
            people[0] = person(source, layout, np.ones((frames, 20), bool))
        layouts.append(layout)
        chunks.append(tuple(people))
    return Case(header, tuple(layouts), tuple(chunks))


def parted() -> Case:
    """3D of skeleton 1 less two joints, and no body."""
    header = Header(
        frames=40, frame_rate=30.0, left_out=36, units="cm", keypoint_step=-3, chunk=64,
        references=tuple(range(18)),
    )  # fmt: skip
    layout = Layout(40, 18, 3, 2, 18, 0)
    source = numbers(41)
    return Case(header, (layout,), ((person(source, layout, runs(40, 18, 13)),),))


def _forget_who_never_is(numbers: Numbers, missing: Any) -> None:
    """Of joints that are never there nothing is told."""
    for joint in np.flatnonzero(missing.all(axis=0)).tolist():
        numbers.links[joint], numbers.companions[joint] = None, -1
        numbers.shares[:, joint] = numbers.forms[:, joint] = 0


def symbols() -> tuple[list[list[int]], list[tuple[str, int, int]]]:
    """Tables of 2 to 4,096 symbols, and what is coded in turn: (how, with what, value)."""
    source = numbers(14)
    tables = [table(source, size) for size in (2, 3, 16, 128, 1024)]
    tables += [[1] * 4095 + [TOTAL - 4095], [TOTAL - 1, 1], [16] * 4096]
    steps: list[tuple[str, int, int]] = []
    for i in range(160):
        number = next(source)
        which = i % len(tables)
        steps.append(("symbol", which, number % len(tables[which])))
        count = number % 33
        steps.append(("bits", count, (number * 65_537) % (1 << count)))
        if i % 4 == 0:
            steps.append(("natural", 0, number >> number % 17))
            steps.append(("signed", 0, small(number)))
            steps.append(("magnitude", 2, small(next(source))))
    steps += [("natural", 0, 2**41 - 2), ("signed", 0, -(2**40 - 1)), ("magnitude", 2, -(2**40))]
    return tables, steps


def symbol_bytes() -> bytes:
    tables, steps = symbols()
    models, coder = [Table(one) for one in tables], Encoder()
    for how, which, value in steps:
        if how == "symbol":
            coder.code(value, models[which])
        elif how == "bits":
            coder.bits(value, which)
        elif how == "natural":
            code_natural(coder, value)
        elif how == "signed":
            code_signed(coder, value)
        else:
            code_magnitude(coder, value, models[which])
    return coder.finish()


FILES: dict[str, Callable[[], Case]] = {
    "body": body, "lapped": lapped, "lapped_flat": lapped_flat, "detections": detections,
    "markers": markers, "strided": strided, "adapting": adapting, "linked": linked,
    "bounded": bounded, "jointed": jointed, "numbered": numbered, "lossless": lossless,
    "learned": learned, "learned_floats": learned_floats, "spaced": spaced,
    "loose": loose, "terse": terse, "terse_floats": terse_floats,
    "terse_loose": terse_loose, "spectral": spectral, "spectral_refined": spectral_refined,
    "turning": turning, "parted": parted, "free": free,
}  # fmt: skip

READ: dict[str, Callable[[], Case]] = {**FILES, "named": named}
"""Those, and what is decoded alone."""


def golden() -> dict[str, bytes]:
    """Every golden byte string by name."""
    files = {name: case().file(plain_or_zstandard) for name, case in FILES.items()}
    return {"symbols": symbol_bytes(), **files}
