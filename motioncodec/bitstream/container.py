"""The frame of an ``.mtok`` file: prelude, header, checked chunks, index.

A short clip is some 25 bytes of tokens, so the frame is kept small: 16 bytes around header and
payload of a one-chunk file, and 10 in a brief one, which has one CRC-32 for all of it. It must
still notice every damage, because an entropy coder does not: it turns one flipped bit into
thousands of plausible wrong tokens. Hence a CRC-32 on the header and on each chunk, and a chunk's
CRC also covers its ordinal and the header's CRC, neither stored again, so that swapped, repeated
and foreign chunks fail like flipped bits do.

This module knows bytes and integers only. What header keys and payloads mean is the codec's
affair; the layout is normative in FORMAT.md beside this file. All sizes and offsets are in bytes.
"""

from __future__ import annotations

import operator
import struct
import zlib
from array import array
from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import chain, islice, pairwise
from typing import Any, BinaryIO, NamedTuple

import msgpack

from motioncodec.errors import ContainerError, MotionCodecError

__all__ = [
    "MAGIC",
    "MAX_CHUNKS",
    "MAX_HEADER",
    "MAX_PAYLOAD",
    "VERSION",
    "Reader",
    "Writer",
    "decode_varint",
    "encode_varint",
    "write_container",
]

# The first byte is not ASCII: transfers that strip bit 7 or re-encode as text break it visibly.
MAGIC = b"\x8dMTK"
VERSION = 1  # 1: the first. Low half of byte 4; the high half holds the flags.
FLAG_INDEXED = 1
FLAG_BRIEF = 2  # one clip chunk, without kind, length and header CRC

MAX_HEADER = 0xFFFF  # room for hundreds of joint names; read whole, so kept small
MAX_PAYLOAD = 64 << 20  # one chunk is held in memory
MAX_BRIEF = 1024  # payload of a brief file: read whole before anything is checked
MAX_CHUNKS = 1 << 20  # the index is held in memory: 8 MiB of offsets at most
MAX_DEPTH = 8  # nested arrays and maps in the header
MAX_ARRAY = 4096  # items; a parser allocates them on the word of three bytes
MAX_KEY = 127
FIRST_CRITICAL_KEY = 64  # a reader must know these keys, and may ignore those below

KIND_CLIP = 0x01
KIND_END = 0xFF
ANCILLARY = 0x40  # bit of the kinds that a reader may skip

_VARINT_BYTES = 4
_CRC_BYTES = 4
_SMALLEST_RECORD = 6  # kind, length of an empty payload, CRC
_LARGEST_INDEX = 1 + _VARINT_BYTES + MAX_CHUNKS * _VARINT_BYTES + _CRC_BYTES
_PIECE = 1 << 20  # never ask a source for more at once than this

_PIPE_ONCE = "a pipe is read once and in order: save it to a file first"

# What the magic turns into on the way through text: re-encoded, replaced, or 7 bits of it.
_TEXT_DAMAGE = (b"\xc2\x8dMT", b"\xef\xbf\xbdM", b"\rMTK", b"\nMTK", b"?MTK")


def encode_varint(value: int) -> bytes:
    """Write ``value`` (0 to 2**28 - 1) as LEB128: 7 bits a byte, lowest first, 1 to 4 bytes.

    Raises ContainerError for a value outside that range.
    """
    if not 0 <= value < 1 << 7 * _VARINT_BYTES:
        raise ContainerError(f"expected an integer from 0 to 2**28 - 1 to write, found {value}")
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


def decode_varint(data: bytes, at: int = 0) -> tuple[int, int]:
    """Read the varint at byte ``at`` of ``data``; return its value and the byte after it.

    Raises ContainerError if it does not end within the data or within 4 bytes, or is not the
    shortest form of its value (which would give one value several spellings).
    """
    value = 0
    for place, byte in enumerate(data[at : at + _VARINT_BYTES]):
        value |= (byte & 0x7F) << 7 * place
        if byte < 0x80:
            if byte == 0 and place:
                break
            return value, at + place + 1
    raise ContainerError(
        f"expected an integer in its shortest form of 1 to 4 bytes, "
        f"found {data[at : at + _VARINT_BYTES].hex() or 'nothing'}: the file is damaged"
    )


def write_container(
    header: Mapping[int, Any], chunks: Iterable[bytes], target: BinaryIO, *, indexed: bool
) -> int:
    """Write a whole container as ``chunks`` come, and return the number of bytes written.

    ``header`` maps keys 0 to 127 to None, bool, int, float, str, bytes, lists and maps of these.
    ``indexed`` asks for the index that random access needs; it is left out where there are fewer
    than two chunks. Never holds more than two chunks, and never seeks.
    Raises ContainerError for a header or a chunk that the format cannot hold.
    """
    remaining = iter(chunks)
    first = list(islice(remaining, 2))
    writer = Writer(header, target, indexed=indexed and len(first) == 2)
    while first:
        writer.write(first.pop(0))
    for payload in remaining:
        writer.write(payload)
    return writer.close()


class Writer:
    """Writes prelude and header at once, chunks as they come, the index on ``close``.

    The caller sees to it that the header tells how many chunks there are. ``target`` is not
    closed, and need not be seekable. ``alone`` says that there will be one chunk: nothing is
    written before it comes, and the file is brief where it can be.
    Raises ContainerError for a header or chunk that the format cannot hold.
    """

    def __init__(
        self,
        header: Mapping[int, Any],
        target: BinaryIO,
        *,
        indexed: bool = False,
        alone: bool = False,
    ) -> None:
        self._target = target
        self._lengths: array[int] | None = array("I") if indexed else None
        self._ordinal = 0
        self._written = 0
        self._alone = alone
        self._packed: bytes | None = _pack_header(header)
        if not alone:
            self._begin(FLAG_INDEXED if indexed else 0)

    def _begin(self, flags: int) -> None:
        """Write prelude and header, with its CRC unless the file is brief."""
        assert self._packed is not None
        size = encode_varint(len(self._packed))
        front = MAGIC + bytes([flags << 4 | VERSION]) + size + self._packed
        self._packed = None
        self._header_crc = zlib.crc32(front)
        self._put(front + (b"" if flags & FLAG_BRIEF else struct.pack("<I", self._header_crc)))

    def write(self, payload: bytes) -> None:
        """Write one chunk of clip data, 0 to MAX_PAYLOAD bytes."""
        if len(payload) > MAX_PAYLOAD:
            raise ContainerError(
                f"expected at most {MAX_PAYLOAD} bytes in a chunk, found {len(payload)}: "
                "cut the clip into shorter chunks"
            )
        if self._ordinal == MAX_CHUNKS:
            raise ContainerError(
                f"expected at most {MAX_CHUNKS} chunks in a file, found more: use longer chunks"
            )
        if self._alone and self._ordinal:
            raise ContainerError("expected one chunk in a file said to have one, found more")
        if self._packed is not None and len(payload) <= MAX_BRIEF:
            self._begin(FLAG_BRIEF)
            self._put(payload + struct.pack("<I", zlib.crc32(payload, self._header_crc)))
            self._ordinal = 1
            return
        if self._packed is not None:
            self._begin(0)
        length = self._record(KIND_CLIP, payload)
        if self._lengths is not None:
            self._lengths.append(length)
        self._ordinal += 1

    def close(self) -> int:
        """Write the index, if there is to be one; return the number of bytes written in all."""
        if self._packed is not None:
            raise ContainerError("expected one chunk in a file said to have one, found none")
        if self._lengths is not None:
            if len(self._lengths) < 2:
                raise ContainerError(
                    f"expected two chunks or more in an indexed file, found {self._ordinal}: "
                    "write it without an index"
                )
            length = self._record(KIND_END, _pack_lengths(self._lengths))
            self._put(struct.pack("<I", length))
            self._lengths = None
        return self._written

    def _record(self, kind: int, payload: bytes) -> int:
        head = bytes([kind]) + encode_varint(len(payload))
        crc = zlib.crc32(payload, zlib.crc32(head, _crc_seed(self._ordinal, self._header_crc)))
        self._put(head)
        self._put(payload)
        self._put(struct.pack("<I", crc))
        return len(head) + len(payload) + _CRC_BYTES

    def _put(self, data: bytes) -> None:
        view = memoryview(data)
        while view:
            taken = self._target.write(view)
            if not taken:
                raise ContainerError(f"expected to write {len(view)} bytes, the target took none")
            view = view[taken:]
        self._written += len(data)


class _Record(NamedTuple):
    """A record whose CRC is right; ``end`` is the byte after it."""

    kind: int
    payload: bytes
    end: int


class _RecordError(ContainerError):
    """A record that is damaged; ``end`` is where its length says it ends, None if nowhere."""

    def __init__(self, message: str, end: int | None) -> None:
        super().__init__(message)
        self.end = end


class _NothingThere(_RecordError):
    """The source ends where a record was looked for."""


class _Index(NamedTuple):
    """What a sound index says.

    ``starts`` has the offset of every record and of the index; ``shift`` is how far the index
    really lies from there: 0, unless bytes were lost or put in before it.
    """

    starts: array[int]
    shift: int


class Reader:
    """Reads a container from a file or, once and in order, from a pipe.

    ``source`` stands at the first byte of the container, which reaches to its end.
    ``known`` are the header keys that the caller understands: keys from 64 on that are not among
    them are refused, below 64 they are kept and ignored. ``chunks_of`` computes the number of
    chunks from the header; what it cannot find or convert there may simply raise.

    Prelude and header are read and checked at once, chunks when asked for. A chunk is given only
    after its CRC was found right. Any bytes whatever give data or a ContainerError (OSError is
    left to mean that the disk or pipe failed).
    """

    def __init__(
        self,
        source: BinaryIO,
        known: frozenset[int],
        *,
        chunks_of: Callable[[Mapping[int, Any]], int],
    ) -> None:
        self._source = source
        self._seekable = source.seekable()
        self._origin = source.tell() if self._seekable else 0
        self._size = source.seek(0, 2) - self._origin if self._seekable else 0
        self._position = 0  # of a pipe
        self._begun = False  # a pipe gives its chunks once
        self._forward: Iterator[bytes] | None = None  # what chunk() takes from a pipe
        self._taken = 0
        self._index: _Index | None = None

        # 9 bytes hold the longest prelude, and no whole file has fewer than 11.
        front = self._read(0, 9)
        _check_magic(front)
        if len(front) < 9:
            raise ContainerError(_truncated("the header", len(front)))
        self._version, self._flags = front[4] & 0x0F, front[4] >> 4
        if self._version != VERSION:
            raise ContainerError(
                f"expected format version {VERSION}, found {self._version}: "
                + ("upgrade motioncodec" if self._version > VERSION else "the file is damaged")
            )
        self._brief: bytes | None = None
        length, start = decode_varint(front, 5)
        if not 0 < length <= MAX_HEADER:
            raise ContainerError(
                f"expected a header of 1 to {MAX_HEADER} bytes, found {length}: the file is damaged"
            )
        brief = self._flags == FLAG_BRIEF
        self._body = start + length + (0 if brief else _CRC_BYTES)
        # The byte too many, if there is one, shows that more follows.
        end = self._body + MAX_BRIEF + _CRC_BYTES + 1 if brief else self._body
        front += self._read(len(front), end - len(front))
        if len(front) < self._body + (_CRC_BYTES if brief else 0):
            raise ContainerError(_truncated("the header", len(front)))
        if brief and len(front) == end:
            raise ContainerError(_trailing(end - 1))
        (self._header_crc,) = struct.unpack("<I", front[-_CRC_BYTES:])
        crc = zlib.crc32(front[:-_CRC_BYTES])
        if crc != self._header_crc:
            what = "the file is damaged or cut short" if brief else "header damaged"
            raise ContainerError(
                f"{what}: expected CRC-32 {self._header_crc:08x}, found {crc:08x}; "
                "nothing can be read without it: fetch the file again"
            )
        if self._flags not in (0, FLAG_INDEXED, FLAG_BRIEF):
            raise ContainerError(
                f"expected flags 0, 1 or 2, found {self._flags}: made by a newer version, "
                "upgrade motioncodec"
            )
        self._header = _unpack_header(front[start : start + length])
        if brief:
            self._brief = front[self._body : -_CRC_BYTES]
        self._indexed = bool(self._flags & FLAG_INDEXED)

        unknown = [key for key in self._header if key >= FIRST_CRITICAL_KEY and key not in known]
        if unknown:
            raise ContainerError(
                f"header key {unknown[0]} must be understood and is not known here: "
                "made by a newer version, upgrade motioncodec"
            )
        self._count = _count_chunks(self._header, chunks_of)
        if self._indexed and self._count < 2:
            raise ContainerError(
                f"expected two chunks or more in an indexed file, the header says {self._count}: "
                "not written by motioncodec"
            )
        if brief and self._count != 1:
            raise ContainerError(
                f"expected one chunk in a brief file, the header says {self._count}: "
                "not written by motioncodec"
            )
        self._starts = array("Q", [self._body])  # of chunks found so far by their lengths

    @property
    def header(self) -> dict[int, Any]:
        """The header; the codec knows what its keys mean."""
        return self._header

    @property
    def version(self) -> int:
        """Format version of the file."""
        return self._version

    @property
    def flags(self) -> int:
        """Flags of the file; bit 0: there is an index."""
        return self._flags

    @property
    def overhead(self) -> int:
        """Bytes in front of the first chunk: prelude, header and its CRC."""
        return self._body

    @property
    def chunk_count(self) -> int:
        """Number of chunks of clip data, as the header has it."""
        return self._count

    def chunk(self, i: int) -> bytes:
        """Give the payload of chunk ``i``, counted from 0.

        Reads nothing but the index (once) and the chunk, or without an index the lengths before
        it. A pipe can only go forward: there every chunk before it is read and checked.
        Raises ContainerError if the chunk or the index is damaged, or ``i`` is out of range.
        """
        if not 0 <= i < self._count:
            raise ContainerError(
                f"expected a chunk number from 0 and below {self._count}, found {i}"
            )
        if self._brief is not None:
            return self._brief
        if not self._seekable:
            return self._chunk_of_pipe(i)
        if not self._indexed:
            return self._clip(i, self._find(i)).payload
        starts = self._sound_index().starts
        record = self._clip(i, starts[i])
        if record.end != starts[i + 1]:
            raise ContainerError(self._index_disagrees())
        return record.payload

    def _chunk_of_pipe(self, i: int) -> bytes:
        if self._forward is None:
            self._forward = iter(self)
        if i < self._taken:
            raise ContainerError(_PIPE_ONCE)
        skip, self._taken = i - self._taken, i + 1
        for payload in islice(self._forward, skip, None):
            return payload
        raise ContainerError("a pipe cannot be read past damage: save it to a file first")

    def __iter__(self) -> Iterator[bytes]:
        """Give all payloads in order; after the last, check the index and the end of the file.

        Raises ContainerError at the first damage, after the payloads before it were given.
        """
        if self._brief is not None:
            yield self._brief
            return
        self._begin()
        at, starts = self._body, array("Q", [self._body])
        for i in range(self._count):
            record = self._clip(i, at)
            at = record.end
            if self._indexed:
                starts.append(at)
            yield record.payload
        self._check_end(at, starts)

    def verify(self) -> list[str]:
        """List every damage found, a line each; an empty list means that the file is good.

        Reads the whole file: every chunk, the index, whether the two agree, and what follows.
        Where chunks can no longer be found, one line stands for all of them.
        """
        if self._brief is not None:
            return []
        self._begin()
        index, index_problem = self._try_index()
        problems: list[str] = []
        at: int | None = self._body
        starts = array("Q", [self._body])
        tried = 0
        for found, at in self._recover(index):
            tried += 1
            if isinstance(found, _RecordError):
                problems.append(str(found))
            if at is not None:
                starts.append(at)
        if tried < self._count:
            problems.append(
                f"chunks from {tried} to {self._count - 1}: cannot be found after that damage"
            )
        if at is None:
            return problems + index_problem
        if index is not None and problems:
            # Where the index says that the chunks end is surer than what damaged ones say.
            starts = index.starts[: self._count + 1]
            at = starts[-1] + index.shift
        try:
            self._check_end(at, starts)
        except ContainerError as error:
            problems.append(str(error))
        return problems

    def salvage(self) -> Iterator[tuple[int, bytes | None]]:
        """Give every chunk's number and its payload, or None where it is damaged or missing.

        With an index (and a source that can seek), damage in a chunk costs that chunk alone, its
        length field included, and so does the loss of a run of bytes. Without, damage in a length
        field costs the chunks after it. Always gives ``chunk_count`` pairs: for a file cut short
        that is as many as its header claims, up to MAX_CHUNKS.
        """
        if self._brief is not None:
            yield 0, self._brief
            return
        self._begin()
        index, _ = self._try_index()
        i = -1
        for i, (found, _end) in enumerate(self._recover(index)):
            yield i, found.payload if isinstance(found, _Record) else None
        for missing in range(i + 1, self._count):
            yield missing, None

    def sizes(self) -> list[int]:
        """Size in bytes of every chunk's payload; on a pipe this reads all of it.

        Takes the index's word, or that of the length fields: payloads are not read or checked.
        Raises ContainerError if the index is damaged or a length field cannot be read.
        """
        if self._brief is not None or not self._seekable:
            return [len(payload) for payload in self]
        if self._indexed:
            starts = self._sound_index().starts
        else:
            self._find(self._count)
            starts = self._starts
        return [_payload_size(starts[i + 1] - starts[i]) for i in range(self._count)]

    # -- bytes ---------------------------------------------------------------------------------

    def _read(self, at: int, size: int) -> bytes:
        """Read ``size`` bytes from offset ``at``, fewer only at the end of the source."""
        if self._seekable:
            size = min(size, max(self._size - at, 0))
            if size:
                self._source.seek(self._origin + at)
        elif at != self._position:
            raise ContainerError(_PIPE_ONCE)
        pieces, missing = [], size
        while missing:
            piece = self._source.read(min(missing, _PIECE))
            if not piece:
                break
            pieces.append(piece)
            missing -= len(piece)
        self._position = at + size - missing
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def _begin(self) -> None:
        if self._begun and not self._seekable:
            raise ContainerError(_PIPE_ONCE)
        self._begun = True

    # -- records -------------------------------------------------------------------------------

    def _record_head(self, name: str, at: int) -> tuple[bytes, int]:
        """Read the first six bytes of the record at ``at``, and tell where its length ends it."""
        head = self._read(at, _SMALLEST_RECORD)
        if len(head) < _SMALLEST_RECORD:
            error = _RecordError if head else _NothingThere
            raise error(_truncated(name, at + len(head)), None)
        try:
            size, start = decode_varint(head, 1)
        except ContainerError:
            size, start = MAX_PAYLOAD + 1, 0
        if size > MAX_PAYLOAD:
            raise _RecordError(
                f"{name} damaged at byte {at}: expected a length of at most {MAX_PAYLOAD} bytes, "
                f"found {head[1:5].hex()}; {self._advice()}",
                None,
            )
        return head, at + start + size + _CRC_BYTES

    def _record(self, name: str, ordinal: int, at: int) -> _Record:
        """Read the record at ``at`` and check its CRC as that of record ``ordinal``."""
        head, end = self._record_head(name, at)
        data = head + self._read(at + len(head), end - at - len(head))
        if len(data) < end - at:
            raise _RecordError(_truncated(name, at + len(data)), None)
        body = memoryview(data)[:-_CRC_BYTES]
        (stored,) = struct.unpack_from("<I", data, len(body))
        crc = zlib.crc32(body, _crc_seed(ordinal, self._header_crc))
        if crc != stored:
            raise _RecordError(
                f"{name} damaged at byte {at}: expected CRC-32 {stored:08x}, found {crc:08x}; "
                f"{self._advice()}",
                end,
            )
        return _Record(data[0], bytes(body[decode_varint(data, 1)[1] :]), end)

    def _clip(self, i: int, at: int) -> _Record:
        """Read the record at ``at``, which must be chunk ``i``: clip chunks come first."""
        record = self._record(self._name(i), i, at)
        if record.kind != KIND_CLIP:
            newer = record.kind != KIND_END and not record.kind & ANCILLARY
            raise _RecordError(
                f"{self._name(i)}: expected kind {KIND_CLIP} at byte {at}, found {record.kind}: "
                + ("made by a newer version, upgrade motioncodec" if newer else "chunks are lost"),
                record.end,
            )
        return record

    def _find(self, i: int) -> int:
        """Follow the length fields to where chunk ``i`` starts."""
        while len(self._starts) <= i:
            before = len(self._starts) - 1
            self._starts.append(self._record_head(self._name(before), self._starts[before])[1])
        return self._starts[i]

    def _recover(self, index: _Index | None) -> Iterator[tuple[_Record | _RecordError, int | None]]:
        """Give each chunk or what is wrong with it, and where the next one is looked for.

        A chunk is tried where the one before it ended, then where the index has it, counted from
        the front and from the back; its CRC tells whether it was found. Stops where nothing says
        how to go on.
        """
        at: int | None = self._body
        for i in range(self._count):
            places = [] if at is None else [at]
            if index is not None:
                places.append(index.starts[i])
                if index.starts[i] + index.shift >= self._body:
                    places.append(index.starts[i] + index.shift)
            found: _Record | _RecordError | None = None
            for place in dict.fromkeys(places):
                try:
                    found = self._clip(i, place)
                    break
                except _RecordError as error:
                    found = found or error
            assert found is not None
            at = found.end
            if isinstance(found, _RecordError) and index is not None:
                at = index.starts[i + 1]
            yield found, at
            if at is None:
                return

    # -- index and end -------------------------------------------------------------------------

    def _try_index(self) -> tuple[_Index | None, list[str]]:
        if not (self._indexed and self._seekable):
            return None, []
        try:
            return self._load_index(), []
        except ContainerError as error:
            return None, [str(error)]

    def _sound_index(self) -> _Index:
        index = self._load_index()
        if index.shift:
            raise ContainerError(self._index_disagrees())
        return index

    def _load_index(self) -> _Index:
        """Read the index from the end of the file; it is checked by itself, not with the chunks."""
        if self._index is not None:
            return self._index
        lost = ContainerError(
            "no sound index at the end of the file: it is truncated, damaged, or other bytes "
            f"follow it; {self._advice()}"
        )
        end = self._size - 4
        if end < self._body + _SMALLEST_RECORD:
            raise lost
        (length,) = struct.unpack("<I", self._read(end, 4))
        start = end - length
        if not _SMALLEST_RECORD <= length <= _LARGEST_INDEX or start < self._body:
            raise lost
        data = self._read(start, length)
        starts = array("Q", [self._body])
        try:
            size, at = decode_varint(data, 1)
            payload_end = at + size
            if data[0] != KIND_END or payload_end + _CRC_BYTES != length:
                raise lost
            while at < payload_end:
                step, at = decode_varint(data, at)
                _payload_size(step)
                starts.append(starts[-1] + step)
        except ContainerError:
            raise lost from None
        (stored,) = struct.unpack_from("<I", data, length - _CRC_BYTES)
        crc = zlib.crc32(data[:-_CRC_BYTES], _crc_seed(len(starts) - 1, self._header_crc))
        if crc != stored or not self._count < len(starts) <= MAX_CHUNKS + 1:
            raise lost
        self._index = _Index(starts, start - starts[-1])
        return self._index

    def _check_end(self, at: int, starts: array[int]) -> None:
        """Check all that follows the clip chunks: ancillary chunks, the index, the end.

        ``at`` is the byte after the last clip chunk; ``starts`` (used with an index) has the
        offsets of the clip chunks and where the last one ends.
        """
        ordinal = self._count
        while (record := self._record_or_end(ordinal, at)) is not None:
            if record.kind == KIND_END:
                if not self._indexed:
                    raise ContainerError(f"an index that the flags do not announce at byte {at}")
                lengths = (after - start for start, after in pairwise(starts))
                if record.payload != _pack_lengths(lengths):
                    raise ContainerError(self._index_disagrees())
                tail = self._read(record.end, 5)
                if len(tail) < 4:
                    raise ContainerError(_truncated("the index", record.end + len(tail)))
                if struct.unpack_from("<I", tail)[0] != record.end - at:
                    raise ContainerError(
                        f"index damaged: expected its length, {record.end - at}, at byte "
                        f"{record.end}, found {tail[:4].hex()}; {self._advice()}"
                    )
                if len(tail) > 4:
                    raise ContainerError(_trailing(record.end + 4))
                return
            if record.kind == KIND_CLIP:
                raise ContainerError(
                    f"expected {self._count} chunks as the header says, found one more at byte "
                    f"{at}: not written by motioncodec"
                )
            if not record.kind & ANCILLARY:
                raise ContainerError(
                    f"chunk of unknown kind {record.kind} at byte {at}: made by a newer version, "
                    "upgrade motioncodec"
                )
            ordinal += 1
            if ordinal > MAX_CHUNKS:
                raise ContainerError(
                    f"expected at most {MAX_CHUNKS} chunks, found more: not written by motioncodec"
                )
            starts.append(starts[-1] + record.end - at)
            at = record.end

    def _record_or_end(self, ordinal: int, at: int) -> _Record | None:
        """Read a record that follows the clip chunks; None where an unindexed file ends."""
        try:
            return self._record("the index", ordinal, at)
        except _NothingThere:
            if self._indexed:
                raise
            return None
        except _RecordError:
            if self._indexed:
                raise
            raise ContainerError(_trailing(at)) from None

    # -- words ---------------------------------------------------------------------------------

    def _name(self, i: int) -> str:
        return f"chunk {i} (of {self._count}, the first is 0)"

    def _advice(self) -> str:
        if self._count > 1:
            return "`decode --salvage` gives the others back"
        return "fetch the file again"

    def _index_disagrees(self) -> str:
        return f"the index does not agree with the chunks; {self._advice()}"


def _truncated(name: str, at: int) -> str:
    return f"truncated at byte {at}: expected more of {name}; fetch the file again"


def _trailing(at: int) -> str:
    return f"expected the end of the file at byte {at}, found more: cut off what follows"


def _crc_seed(ordinal: int, header_crc: int) -> int:
    """Start a record's CRC with its place and its file, which are not stored in the record."""
    return zlib.crc32(struct.pack("<II", ordinal, header_crc))


def _check_magic(front: bytes) -> None:
    if not front:
        raise ContainerError("the file is empty: not an .mtok file")
    found = front[: len(MAGIC)]
    if MAGIC.startswith(found):  # a truncated one is reported as such
        return
    if front.startswith(_TEXT_DAMAGE):
        raise ContainerError(
            f"expected the bytes {MAGIC.hex()} first, found {found.hex()}: an .mtok file that was "
            "sent as text; fetch it again as binary"
        )
    raise ContainerError(
        f"not an .mtok file: expected the bytes {MAGIC.hex()} first, found {found.hex()}"
    )


def _count_chunks(header: dict[int, Any], chunks_of: Callable[[Mapping[int, Any]], int]) -> int:
    try:
        count = operator.index(chunks_of(header))
    except MotionCodecError:
        raise
    except (LookupError, TypeError, ValueError, ArithmeticError, AttributeError) as error:
        raise ContainerError(
            "expected a header that tells the number of chunks, found one that does not "
            f"({type(error).__name__}): not written by motioncodec"
        ) from error
    if not 0 <= count <= MAX_CHUNKS:
        raise ContainerError(
            f"expected 0 to {MAX_CHUNKS} chunks, the header says {count}: "
            "not written by motioncodec"
        )
    return count


# -- index ---------------------------------------------------------------------------------------


def _pack_lengths(lengths: Iterable[int]) -> bytes:
    return b"".join(map(encode_varint, lengths))


def _payload_size(length: int) -> int:
    """Size of the payload of a record of ``length`` bytes; no length but a record's will do."""
    for varint_bytes in range(1, _VARINT_BYTES + 1):
        size = length - 1 - varint_bytes - _CRC_BYTES
        if 0 <= size <= MAX_PAYLOAD and len(encode_varint(size)) == varint_bytes:
            return size
    raise ContainerError(f"expected the length of a chunk record, found {length}")


# -- header --------------------------------------------------------------------------------------


def _pack_header(header: Mapping[int, Any]) -> bytes:
    packed = _pack(dict(header), 0)
    if len(packed) > MAX_HEADER:
        raise ContainerError(
            f"expected a header of at most {MAX_HEADER} bytes, found {len(packed)}: "
            "shorten its names or metadata"
        )
    return packed


def _unpack_header(packed: bytes) -> dict[int, Any]:
    """Parse a header that is exactly what ``_pack_header`` writes for its values.

    Packing again and comparing refuses at once keys out of order or twice, long spellings, and
    all that is not allowed: one header has one spelling.
    """
    try:
        header = msgpack.unpackb(
            packed,
            raw=False,
            strict_map_key=False,
            max_str_len=MAX_HEADER,
            max_bin_len=MAX_HEADER,
            max_array_len=MAX_ARRAY,
            max_map_len=MAX_KEY + 1,
            max_ext_len=0,
        )
    except (ValueError, TypeError, OverflowError, RecursionError, msgpack.UnpackException) as error:
        raise ContainerError(
            f"expected a header in msgpack, found other bytes ({type(error).__name__}): "
            "not written by motioncodec"
        ) from error
    if type(header) is not dict:
        raise ContainerError(
            f"expected a map as the header, found {type(header).__name__}: "
            "not written by motioncodec"
        )
    if _pack_header(header) != packed:
        raise ContainerError(
            "expected the header in its shortest spelling with keys in order, found another: "
            "not written by motioncodec"
        )
    return header


def _pack(value: Any, depth: int) -> bytes:
    """Spell a header value the one shortest way that msgpack has for it."""
    if depth > MAX_DEPTH:
        raise ContainerError(f"expected at most {MAX_DEPTH} levels in the header, found more")
    kind = type(value)
    if kind is dict:
        for key in value:
            if type(key) is not int or not 0 <= key <= MAX_KEY:
                raise ContainerError(
                    f"expected header keys from 0 to {MAX_KEY}, found {_short(key)}"
                )
        items = chain.from_iterable(sorted(value.items()))
        return _pack_count(0x80, 0xDE, len(value)) + _pack_all(items, depth)
    if kind is list or kind is tuple:
        if len(value) > MAX_ARRAY:
            raise ContainerError(
                f"expected at most {MAX_ARRAY} items in a header's list, found {len(value)}"
            )
        return _pack_count(0x90, 0xDC, len(value)) + _pack_all(value, depth)
    if kind is float:
        return _pack_float(value)
    if value is not None and kind not in (bool, int, str, bytes):
        raise ContainerError(
            f"expected None, bool, int, float, str, bytes, list or dict in a header, "
            f"found {kind.__name__}"
        )
    try:
        return bytes(msgpack.packb(value))
    except (ValueError, OverflowError) as error:
        raise ContainerError(
            f"expected integers of 64 bits and valid Unicode in a header, found {_short(value)}"
        ) from error


def _pack_all(values: Iterable[Any], depth: int) -> bytes:
    return b"".join(_pack(value, depth + 1) for value in values)


def _pack_count(short: int, long: int, count: int) -> bytes:
    """How many items follow: in the low bits of ``short``, or in two bytes after ``long``."""
    return bytes([short | count]) if count < 16 else struct.pack(">BH", long, count)


def _pack_float(value: float) -> bytes:
    """Spell a float in 32 bits where that is exact, which msgpack itself cannot do per value."""
    if value != value:
        raise ContainerError("expected a number in the header, found NaN: leave its key out")
    try:
        single = struct.pack(">f", value)
    except OverflowError:
        return struct.pack(">Bd", 0xCB, value)
    if struct.unpack(">f", single)[0] == value:
        return b"\xca" + single
    return struct.pack(">Bd", 0xCB, value)


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 40 else text[:37] + "..."
