"""The container: small, checked everywhere, and calm about any bytes whatever."""

from __future__ import annotations

import contextlib
import io
import struct
import tracemalloc
import zlib
from collections.abc import Iterator, Mapping
from typing import Any, BinaryIO, cast

import msgpack  # type: ignore[import-untyped]
import pytest
from damage import damaged_files, flipped
from hypothesis import given, settings
from hypothesis import strategies as st

from motioncodec.bitstream import container
from motioncodec.bitstream.container import (
    MAX_BRIEF,
    MAX_CHUNKS,
    MAX_PAYLOAD,
    Reader,
    Writer,
    decode_varint,
    encode_varint,
    write_container,
)
from motioncodec.errors import ContainerError

COUNT = 0  # the header key that holds the number of chunks in these tests
KNOWN = frozenset({COUNT, 70})
THREE = [b"first chunk", b"", b"third, the longest of them"]


def written(
    chunks: list[bytes], header: Mapping[int, Any] | None = None, *, indexed: bool = True
) -> bytes:
    target = io.BytesIO()
    size = write_container({COUNT: len(chunks), **(header or {})}, chunks, target, indexed=indexed)
    assert size == len(target.getvalue())
    return target.getvalue()


def alone(payload: bytes, header: Mapping[int, Any] | None = None) -> bytes:
    """A file of one chunk whose writer was told that there will be one."""
    target = io.BytesIO()
    writer = Writer({COUNT: 1, **(header or {})}, target, alone=True)
    assert target.getvalue() == b""
    writer.write(payload)
    assert writer.close() == len(target.getvalue())
    return target.getvalue()


class Pipe(io.RawIOBase):
    """Gives a few bytes at a time, and cannot seek."""

    def __init__(self, data: bytes) -> None:
        self._data = io.BytesIO(data)

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return False

    def read(self, size: int = -1) -> bytes:
        return self._data.read(min(size, 3))


def opened(data: bytes, *, pipe: bool = False) -> Reader:
    source = cast(BinaryIO, Pipe(data) if pipe else io.BytesIO(data))
    return Reader(source, KNOWN, chunks_of=lambda header: header[COUNT])


def found_in(data: bytes, *, pipe: bool = False) -> list[str]:
    """What verify finds; a file that does not open counts as one finding."""
    try:
        return opened(data, pipe=pipe).verify()
    except ContainerError as error:
        return [str(error)]


def framed(header: bytes, rest: bytes = b"", *, flags: int = 0) -> bytes:
    """A prelude with the right CRC around any header bytes."""
    front = b"\x8dMTK" + bytes([flags << 4 | 1]) + encode_varint(len(header)) + header
    return front + struct.pack("<I", zlib.crc32(front)) + rest


def record(data: bytes, ordinal: int, kind: int, payload: bytes) -> bytes:
    """A record with the right CRC for its place in the file that starts with ``data``."""
    head = bytes([kind]) + encode_varint(len(payload)) + payload
    crc = zlib.crc32(struct.pack("<I", ordinal) + header_crc(data) + head)
    return head + struct.pack("<I", crc)


def header_crc(data: bytes) -> bytes:
    body = opened(data).overhead
    return data[body - 4 : body]


def spans(data: bytes) -> list[tuple[int, int]]:
    """Where each chunk's record starts and ends."""
    at, out = opened(data).overhead, []
    for payload in THREE:
        end = at + 1 + 1 + len(payload) + 4
        out.append((at, end))
        at = end
    return out


# -- what is written -------------------------------------------------------------------------------


def test_golden_one_chunk() -> None:
    data = written([b"\xaa\xbb"])
    assert data.hex(" ", 1) == (
        "8d 4d 54 4b 01 03 81 00 01 fe d4 ab c9 "  # magic, version, length, header, CRC
        "01 02 aa bb aa 01 05 ea"  # kind, length, payload, CRC
    )


def test_golden_brief() -> None:
    assert alone(b"\xaa\xbb").hex(" ", 1) == (
        "8d 4d 54 4b 21 03 81 00 01 "  # magic, version + flag 1, length, header
        "aa bb 51 06 be 8d"  # payload, CRC
    )


@pytest.mark.parametrize("pipe", [False, True])
@pytest.mark.parametrize("size", [0, 1, 200, MAX_BRIEF, MAX_BRIEF + 1, 2 * MAX_BRIEF])
def test_brief_round_trip(size: int, pipe: bool) -> None:
    payload = bytes(i % 251 for i in range(size))
    data = alone(payload)
    brief = size <= MAX_BRIEF
    assert data[4] == (0x21 if brief else 0x01)
    assert not brief or len(data) == 3 + size + 10
    assert not found_in(data, pipe=pipe)
    reader = opened(data, pipe=pipe)
    assert (reader.chunk(0), reader.chunk_count) == (payload, 1)
    assert list(opened(data, pipe=pipe)) == [payload]
    assert list(opened(data, pipe=pipe).salvage()) == [(0, payload)]
    assert opened(data, pipe=pipe).sizes() == [size]


@pytest.mark.parametrize("pipe", [False, True])
def test_brief_files_notice_every_damage(pipe: bool) -> None:
    data = alone(b"the tokens of one clip")
    trailing = [data + b"x", data + bytes(MAX_BRIEF), data + data]
    for bad in [*damaged_files(data), *trailing]:
        with pytest.raises(ContainerError) as caught:
            opened(bad, pipe=pipe)
        assert "\n" not in str(caught.value)


def test_brief_files_that_were_never_written() -> None:
    front = b"\x8dMTK\x21\x03\x81\x00\x02payload"
    with pytest.raises(ContainerError, match="expected one chunk in a brief file"):
        opened(front + struct.pack("<I", zlib.crc32(front)))
    with pytest.raises(ContainerError, match="expected one chunk"):
        Writer({COUNT: 1}, io.BytesIO(), alone=True).close()
    writer = Writer({COUNT: 1}, io.BytesIO(), alone=True)
    writer.write(b"")
    with pytest.raises(ContainerError, match="found more"):
        writer.write(b"")


def test_golden_index() -> None:
    data = written([b"\xaa", b""])
    assert data.hex(" ", 1) == (
        "8d 4d 54 4b 11 03 81 00 02 c6 12 42 30 "  # high half of byte 4: indexed
        "01 01 aa c5 5a 96 76 "
        "01 00 64 7e b4 dd "
        "ff 02 07 06 2b 69 74 43 08 00 00 00"  # record lengths, CRC, length of the index
    )


def test_frame_is_small() -> None:
    header = {COUNT: 3, 5: "twenty or so bytes in it"}
    packed = len(msgpack.packb(header))
    assert len(written([bytes(25)], header)) - packed - 25 == 16
    assert len(written(THREE, header)) - packed - sum(map(len, THREE)) == 10 + 3 * 6 + 13


@pytest.mark.parametrize("pipe", [False, True])
@given(
    chunks=st.lists(st.binary(max_size=300), max_size=6),
    indexed=st.booleans(),
    header=st.dictionaries(
        st.integers(1, 63),
        st.recursive(
            st.none()
            | st.booleans()
            | st.integers(-(2**63), 2**64 - 1)
            | st.floats(allow_nan=False)
            | st.text(max_size=20)
            | st.binary(max_size=20),
            lambda inner: (
                st.lists(inner, max_size=20)
                | st.dictionaries(st.integers(0, 127), inner, max_size=20)
            ),
            max_leaves=10,
        ),
        max_size=5,
    ),
)
@settings(max_examples=60, deadline=None)
def test_round_trip(pipe: bool, chunks: list[bytes], indexed: bool, header: dict[int, Any]) -> None:
    data = written(chunks, header, indexed=indexed)
    assert list(opened(data, pipe=pipe)) == chunks
    assert opened(data, pipe=pipe).verify() == []
    assert list(opened(data, pipe=pipe).salvage()) == list(enumerate(chunks))
    reader = opened(data, pipe=pipe)
    assert reader.header == {COUNT: len(chunks), **header}
    assert (reader.version, reader.flags) == (1, int(indexed and len(chunks) > 1))
    assert reader.chunk_count == len(chunks)
    assert reader.sizes() == list(map(len, chunks))


def test_header_does_not_depend_on_order_and_is_short() -> None:
    assert written([], {9: 0.5, 2: "a"}) == written([], {2: "a", 9: 0.5})
    assert len(written([], {1: 0.5})) + 4 == len(written([], {1: 0.1}))
    assert list(opened(written([], {9: 1, 2: 2})).header) == [0, 2, 9]


@pytest.mark.parametrize(
    "header",
    [
        {128: 1},
        {-1: 1},
        {"a": 1},
        {True: 1},
        {1: float("nan")},
        {1: 2**64},
        {1: "\ud800"},
        {1: object()},
        {1: {"a": 1}},
        {1: [0] * 4097},
        {1: bytes(65536)},
        {1: [[[[[[[[[]]]]]]]]]},
    ],
    ids=lambda header: repr(header)[:20],
)
def test_headers_that_cannot_be_written(header: dict[int, Any]) -> None:
    target = io.BytesIO()
    with pytest.raises(ContainerError) as caught:
        write_container(header, [], target, indexed=False)
    assert "\n" not in str(caught.value)
    assert not target.getvalue()


def test_writer_limits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(container, "MAX_PAYLOAD", 10)
    monkeypatch.setattr(container, "MAX_CHUNKS", 2)
    writer = Writer({}, io.BytesIO(), indexed=False)
    with pytest.raises(ContainerError, match="at most 10 bytes"):
        writer.write(bytes(11))
    writer.write(bytes(10))
    writer.write(b"")
    with pytest.raises(ContainerError, match="at most 2 chunks"):
        writer.write(b"")


def test_index_needs_two_chunks() -> None:
    with pytest.raises(ContainerError, match="two chunks"):
        Writer({}, io.BytesIO(), indexed=True).close()
    front = opened(written([b""])).overhead
    with pytest.raises(ContainerError, match="two chunks"):
        opened(framed(bytes.fromhex("810001"), written([b""])[front:], flags=1))


def test_writing_is_streamed_and_survives_partial_writes() -> None:
    class Slow(io.RawIOBase):
        data = b""

        def write(self, data: Any) -> int:
            self.data += bytes(data[:5])
            return min(len(data), 5)

    def chunks() -> Iterator[bytes]:
        for payload in THREE:
            pulled.append(len(slow.data))
            yield payload

    slow, pulled = Slow(), list[int]()
    write_container({COUNT: 3}, chunks(), cast(BinaryIO, slow), indexed=True)
    assert slow.data == written(THREE)
    assert pulled[:2] == [0, 0]
    assert pulled[2] > 0


# -- what is read ----------------------------------------------------------------------------------


@pytest.mark.parametrize("indexed", [False, True])
def test_random_access(indexed: bool) -> None:
    chunks = [bytes([i]) * (i * 7 % 200) for i in range(50)]
    data = b"before" + written(chunks, indexed=indexed)
    source = io.BytesIO(data)
    source.seek(6)
    reader = Reader(source, KNOWN, chunks_of=lambda header: header[COUNT])
    for i in (31, 0, 49, 31, 7):
        assert reader.chunk(i) == chunks[i]
    mixed = [(payload, reader.chunk(49 - i)) for i, payload in enumerate(reader)]
    assert mixed == list(zip(chunks, chunks[::-1], strict=True))
    assert reader.sizes() == list(map(len, chunks))
    for i in (-1, 50):
        with pytest.raises(ContainerError, match="below 50"):
            reader.chunk(i)


def test_random_access_reads_little() -> None:
    class Counting(io.BytesIO):
        total = 0

        def read(self, size: int | None = -1) -> bytes:
            data = super().read(size)
            self.total += len(data)
            return data

    for indexed, limit in ((True, 11_000), (False, 11_000)):
        source = Counting(written([bytes(10_000)] * 100, indexed=indexed))
        reader = Reader(source, KNOWN, chunks_of=lambda header: header[COUNT])
        reader.chunk(90)
        assert source.total < limit


def test_pipe_goes_forward_once() -> None:
    reader = opened(written(THREE), pipe=True)
    assert reader.chunk(0) == THREE[0]
    assert reader.chunk(2) == THREE[2]
    with pytest.raises(ContainerError, match="pipe is read once"):
        reader.chunk(1)
    for again in (list, Reader.verify, Reader.sizes, lambda r: list(r.salvage())):
        with pytest.raises(ContainerError, match="pipe is read once"):
            again(reader)
    start = spans(written(THREE))[0][0]
    reader = opened(flipped(written(THREE), start + 3), pipe=True)
    with pytest.raises(ContainerError, match="chunk 0"):
        reader.chunk(0)
    with pytest.raises(ContainerError, match="past damage"):
        reader.chunk(1)


def test_critical_keys() -> None:
    opened(written([], {63: "not known", 70: "known"}))
    with pytest.raises(ContainerError, match=r"key 71 .* upgrade motioncodec"):
        opened(written([], {71: 0}))


def test_ancillary_chunks_are_skipped_and_others_refused() -> None:
    front = written(THREE, indexed=False)
    extra = front + record(front, 3, 0x41, b"skip me") + record(front, 4, 0xC0, b"")
    for pipe in (False, True):
        assert list(opened(extra, pipe=pipe)) == THREE
        assert found_in(extra, pipe=pipe) == []
    assert found_in(flipped(extra, len(front) + 3)) != []
    for kind, words in (
        (0x00, "kind 0 .* upgrade"),
        (0x02, "kind 2 .* upgrade"),
        (0x01, "one more"),
        (0xFF, "do not announce"),
    ):
        data = front + record(front, 3, kind, b"")
        with pytest.raises(ContainerError, match=words):
            list(opened(data))
        assert found_in(data)
    start = opened(front).overhead
    for kind, words in ((0x41, "lost"), (0xFF, "lost"), (0x02, "upgrade")):
        data = front[:start] + record(front, 0, kind, b"")
        with pytest.raises(ContainerError, match=words):
            list(opened(data))


def test_ancillary_chunks_are_indexed() -> None:
    plain = written(THREE)
    chunks_end = spans(plain)[-1][1]
    extra = record(plain, 3, 0x41, b"skip me")
    lengths = bytes(end - start for start, end in spans(plain)) + bytes([len(extra)])
    index = record(plain, 4, 0xFF, lengths)
    data = plain[:chunks_end] + extra + index + struct.pack("<I", len(index))
    assert found_in(data) == []
    assert list(opened(data)) == THREE
    assert [opened(data).chunk(i) for i in range(3)] == THREE
    without = plain[:chunks_end] + index + struct.pack("<I", len(index))
    assert found_in(without)
    with pytest.raises(ContainerError, match="does not agree"):
        opened(without).chunk(0)


# -- damage ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("pipe", [False, True])
@pytest.mark.parametrize(
    ("chunks", "indexed"),
    [([b"the tokens of one clip"], False), (THREE, True), (THREE, False), ([], False)],
)
def test_every_truncation_and_every_bit(chunks: list[bytes], indexed: bool, pipe: bool) -> None:
    for data in damaged_files(written(chunks, indexed=indexed)):
        with pytest.raises(ContainerError) as caught:
            list(opened(data, pipe=pipe))
        assert "\n" not in str(caught.value)
        assert found_in(data, pipe=pipe)
        try:
            reader = opened(data, pipe=pipe)
        except ContainerError:
            continue
        salvaged = list(reader.salvage())
        assert [i for i, _ in salvaged] == list(range(len(chunks)))
        assert all(payload in (chunks[i], None) for i, payload in salvaged)


def test_every_damage_under_random_access() -> None:
    for data in damaged_files(written(THREE)):
        for i, payload in enumerate(THREE):
            with contextlib.suppress(ContainerError):
                assert opened(data).chunk(i) == payload
        with contextlib.suppress(ContainerError):
            opened(data).sizes()


@given(data=st.data())
@settings(max_examples=200, deadline=None)
def test_random_damage_never_changes_payloads(data: st.DataObject) -> None:
    good = written(THREE)
    start = data.draw(st.integers(0, len(good)))
    end = data.draw(st.integers(start, min(start + 12, len(good))))
    bad = good[:start] + data.draw(st.binary(max_size=12)) + good[end:]
    pipe = data.draw(st.booleans())
    if bad == good:
        return
    assert found_in(bad, pipe=pipe)
    with pytest.raises(ContainerError):
        list(opened(bad, pipe=pipe))


@pytest.mark.parametrize(
    "order", [(0, 2, 1), (1, 0, 2), (0, 0, 2), (0, 1, 1), (0, 1), (0, 1, 2, 2)]
)
@pytest.mark.parametrize("indexed", [False, True])
def test_moved_chunks(order: tuple[int, ...], indexed: bool) -> None:
    data = written(THREE, indexed=indexed)
    records = [data[start:end] for start, end in spans(data)]
    first, last = spans(data)[0][0], spans(data)[-1][1]
    moved = data[:first] + b"".join(records[i] for i in order) + data[last:]
    with pytest.raises(ContainerError):
        list(opened(moved))
    assert found_in(moved)


def test_equal_sized_chunks_swapped_and_foreign() -> None:
    def halves(data: bytes) -> tuple[bytes, bytes, bytes]:
        start = opened(data).overhead
        return data[:start], data[start : start + 10], data[start + 10 :]

    front, one, two = halves(written([b"aaaa", b"bbbb"], indexed=False))
    _, foreign, _ = halves(written([b"cccc", b"dddd"], {1: "other"}, indexed=False))
    assert list(opened(front + one + two)) == [b"aaaa", b"bbbb"]
    for bad in (front + two + one, front + one + one, front + foreign + two):
        assert found_in(bad)


@pytest.mark.parametrize("chunks", [[], [b"one"], THREE])
@pytest.mark.parametrize("pipe", [False, True])
@pytest.mark.parametrize("more", [b"\0", b"\n", bytes(40), b"\x01\0\0\0\0\0"])
def test_trailing_bytes(chunks: list[bytes], pipe: bool, more: bytes) -> None:
    data = written(chunks) + more
    with pytest.raises(ContainerError, match="expected the end of the file"):
        list(opened(data, pipe=pipe))
    (problem,) = found_in(data, pipe=pipe)
    assert "expected the end of the file" in problem
    assert list(opened(data, pipe=pipe).salvage()) == list(enumerate(chunks))


def test_two_files_in_one() -> None:
    assert found_in(written(THREE) * 2)
    assert found_in(written([b"one"]) * 2)


@pytest.mark.parametrize("bad", [0, 1, 2])
@pytest.mark.parametrize("part", [0, 1, -1], ids=["kind", "length", "crc"])
def test_salvage_gives_the_others_back(bad: int, part: int) -> None:
    data = written(THREE)
    start, end = spans(data)[bad]
    for bit in range(8):
        broken = flipped(data, start + part if part >= 0 else end - 1, bit)
        expected = [(i, None if i == bad else payload) for i, payload in enumerate(THREE)]
        assert list(opened(broken).salvage()) == expected
        (problem,) = opened(broken).verify()
        assert f"chunk {bad} " in problem
        assert [opened(broken).chunk(i) for i in range(3) if i != bad] == [
            payload for i, payload in enumerate(THREE) if i != bad
        ]


def test_salvage_after_lost_or_inserted_bytes() -> None:
    data = written(THREE)
    start, end = spans(data)[0]
    for broken in (data[: start + 4] + data[start + 9 :], data[:start] + data[end:]):
        assert list(opened(broken).salvage()) == [(0, None), (1, THREE[1]), (2, THREE[2])]
        assert found_in(broken)
    inserted = data[:end] + b"junk" + data[end:]
    assert list(opened(inserted).salvage()) == list(enumerate(THREE))
    assert found_in(inserted)


def test_salvage_without_index() -> None:
    data = written(THREE, indexed=False)
    start, _ = spans(data)[1]
    for pipe in (False, True):
        in_crc = flipped(data, start + 3)
        assert [p for _, p in opened(in_crc, pipe=pipe).salvage()] == [THREE[0], None, THREE[2]]
        in_length = flipped(data, start + 1, 7)
        assert [p for _, p in opened(in_length, pipe=pipe).salvage()] == [THREE[0], None, None]
        assert "chunks from 2 to 2" in found_in(in_length, pipe=pipe)[-1]


def test_verify_finds_all() -> None:
    data = written(THREE)
    (first, _), (_, _), (third, _) = spans(data)
    broken = flipped(flipped(flipped(data, first + 3), third + 3), len(data) - 6)
    problems = opened(broken).verify()
    assert len(problems) == 3
    assert "chunk 0 " in problems[0]
    assert "chunk 2 " in problems[1]
    assert "index" in problems[2]


# -- hostile files ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "empty"),
        (b"\x8dM", "truncated at byte 2"),
        (b"PK\x03\x04 a zip file", "not an .mtok file"),
        (b"\xc2\x8dMTK\x01\x03", "sent as text"),
        (b"\xef\xbf\xbdMTK\x01\x03", "sent as text"),
        (b"\x8dMTK\x02" + bytes(9), "found 2: upgrade motioncodec"),
        (b"\x8dMTK\x00" + bytes(9), "found 0: the file is damaged"),
        (b"\x8dMTK\x01\x80\x80\x04" + bytes(70000), "1 to 65535"),
        (b"\x8dMTK\x01\x83\x00" + bytes(9), "shortest form"),
        (b"\x8dMTK\x01\x00" + bytes(9), "1 to 65535"),
        (framed(b"\x80", flags=4), "upgrade motioncodec"),
        (framed(b"\x80"), "number of chunks"),
        (framed(b"\x90"), "expected a map"),
        (framed(b"\x80\x80"), "msgpack"),
        (framed(b"\x82\x00\x00\x00\x00"), "shortest spelling"),
        (framed(b"\x82\x01\x00\x00\x00"), "shortest spelling"),
        (framed(b"\x81\x00\xcc\x00"), "shortest spelling"),
        (framed(b"\x81\x00\xcb" + bytes(8)), "shortest spelling"),
        (framed(b"\x81\xa1a\x00"), "header keys"),
        (framed(b"\x81\x90\x00"), "msgpack"),
        (framed(b"\x82\x00\x00\x01\xd4\x01\x00"), "msgpack"),
        (framed(b"\x82\x00\x00\x01\xa1\xff"), "msgpack"),
        (framed(b"\x82\x00\x00\x01\xca\x7f\xc0\x00\x00"), "NaN"),
        (framed(b"\x82\x00\x00\x01" + b"\x91" * 500 + b"\x90"), "levels"),
        (framed(b"\x82\x00\x00\x01" + b"\x91" * 60000 + b"\x90"), "msgpack"),
        (framed(b"\x82\x00\x00\x01" + b"\xdd\xff\xff\xff\xff" * 10), "msgpack"),
        (framed(b"\x82\x00\x00\x01" + b"\xc6\xff\xff\xff\xff" * 10), "msgpack"),
        (framed(b"\x81\x00\xff"), "0 to 1048576"),
        (framed(b"\x81\x00\xcf" + b"\xff" * 8), "0 to 1048576"),
        (framed(b"\x81\x00\xa2ab"), "number of chunks"),
    ],
    ids=lambda value: repr(value)[:30],
)
def test_hostile_fronts(data: bytes, words: str) -> None:
    for pipe in (False, True):
        with pytest.raises(ContainerError, match=words) as caught:
            opened(data, pipe=pipe)
        assert "\n" not in str(caught.value)


def test_hostile_lengths_allocate_nothing() -> None:
    front = written([], {70: 0})[:6]
    millions = framed(b"\x81\x00\xce" + struct.pack(">I", MAX_CHUNKS))
    huge = b"\x01" + encode_varint(MAX_PAYLOAD) + b"short"
    too_long = b"\x01" + encode_varint(MAX_PAYLOAD + 1) + bytes(50)
    endless = b"\x01" + b"\xff" * 50
    nested = framed(b"\x82\x00\x00\x01" + b"\xdc\x0f\xff" * 1000)
    index = framed(b"\x81\x00\x02", bytes(30) + b"\xff" * 4, flags=1)
    files = [front, nested, index, millions + huge, millions + too_long, millions + endless]
    tracemalloc.start()
    try:
        for data in files:
            for pipe in (False, True):
                with pytest.raises(ContainerError):
                    list(opened(data, pipe=pipe))
                assert 0 < len(found_in(data, pipe=pipe)) < 4
        assert tracemalloc.get_traced_memory()[1] < 60e6
    finally:
        tracemalloc.stop()


def test_chunk_count_out_of_proportion_costs_one_line() -> None:
    data = framed(b"\x81\x00\xce" + struct.pack(">I", MAX_CHUNKS))
    assert len(found_in(data)) == 2
    assert sum(payload is None for _, payload in opened(data).salvage()) == MAX_CHUNKS


@pytest.mark.parametrize(
    "lengths",
    [b"", b"\x06", b"\x07\x05", b"\x80\x00\x07", b"\x07\xff\xff\xff\x7f", b"\x07\x86", b"\x07\x07"],
    ids=bytes.hex,
)
def test_hostile_index(lengths: bytes) -> None:
    plain = written([b"a", b""], indexed=True)
    front = plain[: opened(plain).overhead + 13]
    for ordinal in range(4):
        index = record(front, ordinal, 0xFF, lengths)
        data = front + index + struct.pack("<I", len(index))
        with pytest.raises(ContainerError):
            list(opened(data))
        with pytest.raises(ContainerError):
            opened(data).chunk(0)
        assert found_in(data)
        assert list(opened(data).salvage()) == [(0, b"a"), (1, b"")]


@given(st.binary(max_size=80), st.booleans(), st.booleans())
@settings(max_examples=300, deadline=None)
def test_any_header_bytes(header: bytes, indexed: bool, pipe: bool) -> None:
    data = framed(b"\x82\x00\x02\x01" + header, flags=int(indexed))
    assert found_in(data, pipe=pipe)


@given(st.binary(max_size=120), st.booleans(), st.booleans())
@settings(max_examples=300, deadline=None)
def test_any_bytes_after_the_header(rest: bytes, indexed: bool, pipe: bool) -> None:
    data = framed(b"\x81\x00\x02", rest, flags=int(indexed))
    assert found_in(data, pipe=pipe)
    assert len(list(opened(data, pipe=pipe).salvage())) == 2
    with pytest.raises(ContainerError):
        opened(data, pipe=pipe).chunk(1)


@pytest.mark.parametrize("value", [0, 1, 127, 128, 16383, 16384, 2**21 - 1, 2**21, 2**28 - 1])
def test_varint(value: int) -> None:
    data = encode_varint(value)
    assert decode_varint(b"x" + data + b"x", 1) == (value, 1 + len(data))
    for cut in range(len(data)):
        with pytest.raises(ContainerError):
            decode_varint(data[:cut])


def test_varint_refusals() -> None:
    assert encode_varint(300) == b"\xac\x02"
    for value in (-1, 2**28):
        with pytest.raises(ContainerError):
            encode_varint(value)
    for data in (b"\x80\x00", b"\xff\xff\xff\xff\x01", b"\x80", b"", b"\x80\x80\x00"):
        with pytest.raises(ContainerError, match="shortest form"):
            decode_varint(data)
