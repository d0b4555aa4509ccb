"""The header's keys: what is packed comes back, and what is out of its limits is refused."""

from __future__ import annotations

import io
import math
import re
import zlib
from dataclasses import replace
from importlib.resources import files
from pathlib import Path
from typing import Any

import msgpack
import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from motioncodec.bitstream.container import Reader, write_container
from motioncodec.bitstream.header import (
    KNOWN_KEYS,
    MAX_CELLS,
    MAX_FRAMES,
    MAX_JOINTS,
    MAX_PEOPLE,
    MAX_TEXT,
    UNITS,
    UP_AXES,
    Header,
    Link,
    step_exponent,
    step_size,
)
from motioncodec.errors import ContainerError
from motioncodec.io import read_clip
from motioncodec.skeleton import REGISTRY, Skeleton

DATA = Path(__file__).parent / "data"

TEXT = st.text(st.characters(exclude_characters="\n", exclude_categories=["Cs"]), max_size=12)
VALUES = (
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | TEXT | st.floats(allow_nan=False)
)


WEIGHTS = st.integers(-127, 127)
LINKS = st.none() | st.builds(
    Link,
    st.tuples(st.integers(0, 70_000), st.integers(0, 70_000)),
    st.tuples(WEIGHTS, WEIGHTS, WEIGHTS),
)


@st.composite
def headers(draw: st.DrawFn) -> Header:
    dims = draw(st.sampled_from([2, 3]))
    depth = draw(st.sampled_from([0, 1, 2, 3]))
    people = draw(st.integers(0, 4))
    rate = draw(st.sampled_from([30.0, 120.0, 29.97, 1e-6, 1e5]) | st.floats(1e-6, 1e5))
    return Header(
        frames=draw(st.integers(0, 10**6)),
        frame_rate=rate,
        stride=draw(st.integers(1, min(max(int(rate / 20), 1), 64))),
        skeleton=(skeleton := draw(st.integers(0, 12))),
        left_out=draw(st.integers(0, 2**64 - 1)) if skeleton else 0,
        names=() if skeleton else tuple(draw(st.lists(TEXT, min_size=1, max_size=30, unique=True))),
        units=draw(st.sampled_from(UNITS)),
        up=draw(st.sampled_from(UP_AXES)),
        dims=dims,
        model=4 * draw(st.integers(1, 9)) + depth if depth else 0,
        fingerprint=draw(st.integers(0, 2**32 - 1)),
        people=people,
        ids=tuple(draw(st.lists(TEXT, min_size=people, max_size=people)))
        if draw(st.booleans())
        else (),
        scales=tuple(draw(st.lists(st.integers(-16384, 16384), min_size=people, max_size=people)))
        if depth and dims == 3
        else (),
        origin_step=draw(st.integers(-400, 400)),
        references=(references := tuple(draw(st.lists(st.integers(0, 40), max_size=20)))),
        adaptive=(adaptive := bool(references) and draw(st.booleans())),
        links=draw(st.lists(LINKS, min_size=len(references), max_size=len(references)).map(tuple))
        if adaptive and dims == 3 and draw(st.booleans())
        else (),
        keypoint_step=draw(st.integers(-400, 400)),
        confidence=draw(st.integers(0, 8)),
        chunk=32 * draw(st.integers(1, 2**15)),
        metadata=draw(st.dictionaries(TEXT, VALUES | st.lists(VALUES, max_size=3), max_size=4)),
    )


@given(headers())
@settings(max_examples=150, deadline=None)
def test_what_is_packed_comes_back(header: Header) -> None:
    packed = header.pack()
    assert Header.unpack(packed) == header
    assert KNOWN_KEYS.issuperset(packed)
    # Through bytes, too: integers, floats and folded bytes have their spelling there.
    target = io.BytesIO()
    write_container(packed, [], target, indexed=False)
    reader = Reader(io.BytesIO(target.getvalue()), KNOWN_KEYS, chunks_of=lambda _: 0)
    assert Header.unpack(reader.header) == header


def test_defaults_are_left_out() -> None:
    assert Header(frames=7, frame_rate=30.0).pack() == {0: 7}
    assert Header(frames=7, frame_rate=30.0, units="px", up="-y", dims=2).pack() == {0: 7, 6: 2}
    body = Header(7, 120.0, model=6, scales=(3,), origin_step=-21)
    assert body.pack() == {0: 7, 1: 120, 7: 6, 11: 3}


def test_the_numbers_of_keys_are_permanent() -> None:
    header = Header(
        frames=5, frame_rate=29.97, skeleton=0, names=("a", "b"), units="cm", up="z", dims=2,
        model=5, fingerprint=9, people=2, ids=("x", "y"), scales=(1, 2), origin_step=-3,
        references=(1, 1), keypoint_step=4, confidence=8, chunk=64, metadata={"k": 1},
        covered=(3, -1),
    )  # fmt: skip
    assert header.pack() == {
        0: 5, 1: 29.97, 2: 0, 3: b"\0a\nb", 4: 1, 5: 1, 6: 2, 7: 5, 8: 9, 9: 2, 10: b"\0x\ny",
        11: [1, 2], 12: -3, 13: b"\0\x92\x01\x01", 14: 4, 15: 8, 16: 64, 17: b"\0\x81\xa1k\x01",
        18: b"\0\x03\xff",
    }  # fmt: skip
    assert Header(frames=1, frame_rate=120.0, skeleton=1, stride=4).pack()[66] == 4
    assert Header(frames=1, frame_rate=30.0, left_out=36).pack() == {0: 1, 72: 36}
    spectral = Header(frames=1, frame_rate=30.0, scales=(0,), spectrum=-80, origin_step=-17)
    assert spectral.pack() == {0: 1, 11: 0, 70: -80}
    assert replace(spectral, turns=True).pack() == {0: 1, 11: 0, 71: -80}
    free = replace(spectral, turns=True, free=True)
    assert free.pack() == {0: 1, 11: 0, 12: -17, 73: -80}
    assert replace(free, origin_step=-20).pack() == {0: 1, 11: 0, 73: -80}
    apart = Header(frames=1, frame_rate=30.0, references=(0, 0, 1, 1), adaptive=True).pack()
    assert apart == {0: 1, 67: b"\0\x94\x00\x01\x01\x03"}
    links = (None, None, Link((1, 90), (64, -1, 127)), None)
    linked = Header(frames=1, frame_rate=30.0, references=(0, 0, 1, 1), adaptive=True, links=links)
    assert linked.pack()[68] == b"\0\x04\x00\xb2\x01\x40\xff\x7f"
    assert UNITS == ("m", "cm", "mm", "px")
    assert UP_AXES == ("y", "z", "x", "-y", "-z", "-x")


def folded(value: Any) -> bytes:
    packed: bytes = msgpack.packb(value)
    return b"\0" + packed


def deflated(data: bytes) -> bytes:
    known = (files("motioncodec.bitstream") / "names.bin").read_bytes()
    deflater = zlib.compressobj(9, zlib.DEFLATED, -15, zdict=known)
    return b"\2" + deflater.compress(data) + deflater.flush()


def zipped(data: bytes, **options: bool) -> bytes:
    return b"\1" + zstandard.ZstdCompressor(**options).compress(data)  # type: ignore[arg-type]


BAD: list[tuple[str, dict[int, Any]]] = [
    ("no frames", {}),
    ("frames below 0", {0: -1}),
    ("frames above the limit", {0: MAX_FRAMES + 1}),
    ("frames true", {0: True}),
    ("frames a float", {0: 5.0}),
    ("frames null", {0: None}),
    ("rate 0", {1: 0}),
    ("rate below 0", {1: -30}),
    ("rate tiny", {1: 5e-324}),
    ("rate below the limit", {1: 9e-7}),
    ("rate above the limit", {1: 100_001}),
    ("rate infinite", {1: math.inf}),
    ("rate NaN", {1: math.nan}),
    ("rate huge", {1: 2**64 - 1}),
    ("rate true", {1: True}),
    ("rate text", {1: "30"}),
    ("skeleton below 0", {2: -1}),
    ("nothing left out", {72: 0}),
    ("a joint below 0 left out", {72: -1}),
    ("joints left out of none", {2: 0, 3: b"\0a\nb", 72: 1}),
    ("skeleton above the limit", {2: 65_537}),
    ("skeleton text", {2: "coco"}),
    ("custom without names", {2: 0}),
    ("names text", {2: 0, 3: "a\nb"}),
    ("names empty bytes", {2: 0, 3: b""}),
    ("names folded otherwise", {2: 0, 3: b"\3a"}),
    ("names deflated, cut short", {2: 0, 3: deflated(b"hip\nknee")[:-1]}),
    ("names deflated, and more", {2: 0, 3: deflated(b"hip\nknee") + b"\0"}),
    ("names deflated, spoilt", {2: 0, 3: b"\2\xff\xff"}),
    ("nothing deflated", {2: 0, 3: b"\2"}),
    ("names deflated by another dictionary", {2: 0, 3: b"\2" + zlib.compress(b"hip\nknee")}),
    ("names that inflate too far", {2: 0, 3: deflated(b"a" * (MAX_TEXT + 1))}),
    ("names not UTF-8", {2: 0, 3: b"\0\xff"}),
    ("nothing but numbers, and a model", {7: 13, 11: 0, 64: [0, 1.0], 69: 6}),
    ("nothing but numbers, and curves", {64: [0, 1.0], 67: b"\0\x91\x00", 69: 6}),
    ("numbers learned beyond all", {64: [0, 1.0], 69: 7}),
    ("a step alone that is none", {64: 401}),
    ("a step alone that is true", {64: True}),
    ("a name twice", {2: 0, 3: b"\0a\nb\na"}),
    ("too many names", {2: 0, 3: zipped(b"\n".join(b"%x" % i for i in range(MAX_JOINTS + 1)))}),
    ("names not zstandard", {2: 0, 3: b"\1abc"}),
    ("names cut", {2: 0, 3: zipped(b"name\n" * 99)[:-1]}),
    ("names with bytes behind", {2: 0, 3: zipped(b"name") + b"x"}),
    ("names of unknown size", {2: 0, 3: zipped(b"name", write_content_size=False)}),
    ("names that unfold too far", {2: 0, 3: zipped(b"a" * (MAX_TEXT + 1))}),
    ("units below 0", {4: -1}),
    ("units unknown", {4: len(UNITS)}),
    ("up unknown", {5: len(UP_AXES)}),
    ("up text", {5: "y"}),
    ("dims 1", {6: 1}),
    ("dims 4", {6: 4}),
    ("model without depth", {7: 4, 11: 0}),
    ("model above the limit", {7: (1 << 24) + 1}),
    ("fingerprint above 32 bits", {8: 1 << 32}),
    ("people below 0", {9: -1}),
    ("people above the limit", {9: MAX_PEOPLE + 1}),
    ("ids for none", {9: 2, 10: b"\0a"}),
    ("ids for too many", {10: b"\0a\nb"}),
    ("ids text", {10: "a"}),
    ("scales text", {11: "1"}),
    ("scales true", {11: True}),
    ("scales floats", {11: [1.5]}),
    ("scales above the limit", {11: 16_385}),
    ("scales below the limit", {11: [-16_385]}),
    ("no scale", {7: 6}),
    ("scales for too many", {7: 6, 11: [1, 2]}),
    ("origin step below the limit", {12: -401}),
    ("origin step above the limit", {12: 401}),
    ("references not msgpack", {13: b"\0\xc1"}),
    ("references not folded", {13: [1]}),
    ("references not a list", {13: folded({0: 1})}),
    ("references below 0", {13: folded([-1])}),
    ("references true", {13: folded([True])}),
    ("references floats", {13: folded([0.5])}),
    ("references with bytes behind", {13: folded([1]) + b"\0"}),
    ("references that claim 2^32", {13: b"\0\xdd\xff\xff\xff\xff"}),
    ("keypoint step below the limit", {14: -401}),
    ("keypoint step above the limit", {14: 401}),
    ("stride 0", {66: 0}),
    ("references in both ways", {13: folded([0, 0]), 67: folded([0, 0])}),
    ("a reference below 0", {67: folded([0, 3])}),
    ("references apart, none of them", {67: folded([])}),
    ("references apart as text", {67: folded("1")}),
    ("links without references", {68: b"\0\x01"}),
    ("links in 2D", {6: 2, 67: folded([0]), 68: b"\0\x00"}),
    ("links of joints that are not there", {67: folded([0]), 68: b"\0\x02"}),
    ("a link cut short", {67: folded([0]), 68: b"\0\x01\x00\x02\x01\x01"}),
    ("a link and more", {67: folded([0]), 68: b"\0\x01\x00\x02\x01\x01\x01\x00"}),
    ("a partner below 0", {67: folded([0]), 68: b"\0\x01\x00\x01\x01\x01\x01"}),
    ("a partner without end", {67: folded([0]), 68: b"\0\x01\xff\xff\xff\xff\xff\x01\x01\x01\x01"}),
    ("a weight of -128", {67: folded([0]), 68: b"\0\x01\x00\x02\x80\x01\x01"}),
    ("links as text", {67: folded([0]), 68: "1"}),
    ("stride text", {66: "1"}),
    ("a stride of more than a 20th of a second", {1: 120, 66: 7}),
    ("a stride above the limit", {1: 90_000, 66: 65}),
    ("confidence below 0", {15: -1}),
    ("confidence above 8 bits", {15: 9}),
    ("chunk 0", {16: 0}),
    ("chunk of half a window", {16: 48}),
    ("chunk above the limit", {16: (1 << 20) + 32}),
    ("metadata not a map", {17: folded([1])}),
    ("metadata empty", {17: b"\0"}),
    ("metadata with a list as key", {17: b"\0\x81\x91\x00\x00"}),
    ("metadata with a map as key", {17: b"\0\x81\x81\x00\x00\x00"}),
    ("metadata nested too deep", {17: b"\0" + b"\x91" * 100_000}),
    ("metadata that claims 2^32", {17: b"\0\xdf\xff\xff\xff\xff"}),
    ("metadata not UTF-8", {17: b"\0\x81\xa1\xff\x00"}),
    ("metadata with a wrong timestamp", {17: b"\0\x81\x00\xc7\x0c\xff" + b"\xff" * 12}),
    ("metadata null", {17: None}),
]


@pytest.mark.parametrize(("packed"), [bad for _, bad in BAD], ids=[name for name, _ in BAD])
def test_every_limit_is_refused(packed: dict[int, Any]) -> None:
    with pytest.raises(ContainerError):
        Header.unpack(packed if packed == {} else {0: 5, **packed})


@pytest.mark.parametrize(
    "packed",
    [
        {0: 0},
        {0: MAX_FRAMES},
        {1: 1e-6},
        {1: 100_000},
        {2: 65_536},
        {2: 0, 3: b"\0"},
        {6: 2, 7: 5},
        {7: (1 << 24) - 1, 11: -16_384},
        {8: (1 << 32) - 1},
        {9: 0, 7: 5},
        {9: MAX_PEOPLE},
        {11: [16_384, -16_384]},
        {12: 400, 14: -400},
        {15: 8, 16: 1 << 20},
        {17: b"\0\x80"},
        {63: "unknown, and optional"},
    ],
    ids=str,
)
def test_the_limits_themselves_are_taken(packed: dict[int, Any]) -> None:
    Header.unpack({0: 5, **packed})


@given(st.dictionaries(st.integers(0, 17), VALUES | st.binary(max_size=9) | st.lists(VALUES)))
@settings(max_examples=150, deadline=None)
def test_any_map_is_taken_or_refused(packed: dict[int, Any]) -> None:
    try:
        header = Header.unpack(packed)
    except ContainerError:
        return
    assert Header.unpack(header.pack()) == header


@pytest.mark.parametrize(
    "header",
    [
        Header(5, 30.0, skeleton=0, names=("a\nb", "c")),
        Header(5, 30.0, skeleton=0, names=("a\ud800",)),
        Header(5, 30.0, skeleton=0, names=("a", "a")),
        Header(5, 30.0, ids=("a\nb",)),
        Header(5, 1e-9),
        Header(5, 30.0, metadata={"set": {1}}),
        Header(5, 30.0, metadata={"big": 2**70}),
        Header(5, 30.0, metadata={"text": "\ud800"}),
        Header(5, 30.0, chunk=33),
        Header(-1, 30.0),
    ],
    ids=str,
)
def test_a_writer_refuses_what_a_reader_would(header: Header) -> None:
    with pytest.raises(ContainerError):
        header.pack()


@pytest.mark.parametrize("source", [*REGISTRY[1:], *sorted((DATA / "bvh").glob("*.bvh"))], ids=str)
def test_usual_names_take_next_to_nothing(source: Skeleton | Path) -> None:
    skeleton = read_clip(source).skeleton if isinstance(source, Path) else source
    some = slice(1, None)  # no registered skeleton
    header = Header(
        frames=1, frame_rate=30.0, skeleton=0, names=skeleton.joints[some],
        covered=skeleton.covered[some],
    )  # fmt: skip
    packed = header.pack()
    assert len(packed[3]) + len(packed[18]) < 60
    assert Header.unpack(packed) == header


def test_long_names_are_folded() -> None:
    names = tuple(f"marker_{i:04d}" for i in range(500))
    packed = Header(5, 30.0, skeleton=0, names=names).pack()
    assert packed[3][0] == 1
    assert len(packed[3]) < 1500
    assert Header.unpack(packed).names == names


@given(
    st.integers(1, 10**7),
    st.sampled_from([1e-3, 24.0, 29.97, 30.0, 59.94, 60.0, 120.0, 1000.0]) | st.floats(0.1, 1e3),
    st.integers(1, 64).map(lambda n: 32 * n),
)
@settings(max_examples=150, deadline=None)
def test_spans_cover_every_frame_once(frames: int, rate: float, chunk: int) -> None:
    header = Header(frames, rate, chunk=chunk)
    chunks = header.chunks
    assert header.model_frames >= 1
    # The last model frame is at or after the last clip frame, by less than a model frame.
    assert -1e-6 < (header.model_frames - 1) / 30 - (frames - 1) / rate < 1 / 30 + 1e-6
    at = range(chunks) if chunks < 50 else [0, 1, 2, chunks // 2, chunks - 2, chunks - 1]
    for c in at:
        start, stop = header.span(c)
        first, last = header.frame_span(c)
        assert start == c * chunk
        assert stop - start == chunk or c == chunks - 1
        assert 0 < stop - start <= chunk
        assert (stop - start) % 32 == 0
        assert first <= last
        assert first == (0 if c == 0 else header.frame_span(c - 1)[1])
        if last > first and frames < 10**6:
            assert start <= first * 30 / rate + 1e-6
    assert header.frame_span(chunks - 1)[1] == frames


def test_chunks_that_would_not_fit_memory_are_refused() -> None:
    Header(5, 120.0).check_size(20)
    Header(5, 120.0, people=40).check_size(25)
    for header, joints in (
        (Header(5, 100_000.0), 20),
        (Header(5, 30.0, people=MAX_PEOPLE), 1),
        (Header(5, 30.0), MAX_JOINTS),
        # A low rate does not make a chunk's curves any shorter.
        (Header(5, 0.001, chunk=1 << 20), 20),
        (Header(5, 30.0, people=0), MAX_CELLS),
    ):
        with pytest.raises(ContainerError, match="keypoints in a chunk"):
            header.check_size(joints)


@given(st.integers(-400, 400))
def test_step_exponents_are_exact(exponent: int) -> None:
    assert step_exponent(step_size(exponent)) == exponent
    assert step_exponent(step_size(exponent) * 1.1) == min(exponent, 400)
    if exponent > -400:
        assert step_exponent(step_size(exponent) * 0.99) == exponent - 1


def test_replacing_keeps_the_model_number_together() -> None:
    header = Header(5, 30.0, model=4 * 7 + 2, scales=(0,))
    assert (header.model_id, header.depth) == (7, 2)
    assert replace(header, model=0).depth == 0


def test_the_document_lists_every_key_and_skeleton() -> None:
    text = (files("motioncodec.bitstream") / "FORMAT.md").read_text()
    keys = text.split("## 6 Header keys")[1].split("### 6.1")[0]
    assert {int(n) for n in re.findall(r"^\| (\d+) \|", keys, re.M)} == KNOWN_KEYS
    table = text.split("### 6.2")[1].split("### 6.3")[0]
    rows = re.findall(r"^\| (\d+) \| (\S+) \| (.+) \|$", table, re.M)
    assert len(rows) == len(REGISTRY)
    for (number, name, joints), skeleton in zip(rows, REGISTRY, strict=True):
        named = [(*joint.split(":"), "-1")[:2] for joint in joints.split()]
        assert (int(number), name) == (skeleton.id, skeleton.name)
        assert tuple(joint for joint, _ in named) == skeleton.joints
        assert tuple(int(covered) for _, covered in named) == skeleton.covered
