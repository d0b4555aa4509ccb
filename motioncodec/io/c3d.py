"""C3D: the points of biomechanics' binary file; its analog channels are left where they are.

A file is blocks of 512 bytes: a header; the parameters, in groups such as POINT; the frames, each
all points (x, y, z and a fourth word) and then all analog samples, as int16 times POINT:SCALE, or
as float32 where that scale is below 0. Byte order and kind of float are those of one of three
processors: Intel, DEC or MIPS.

It is read and written here and by no library: ezc3d 1.7 takes a file cut short for whole, the rest
made up, and runs without end on some that are damaged. The tests hold this module against it.

- *Missing* is a point whose fourth word is below 0 (no residual) or that has a NaN.
- *Units* are POINT:UNITS, millimetres where it is silent.
- *Up* is the axis that POINT:Y_SCREEN puts upright on a screen, whichever way round (files are
  about whose minus means nothing), and else z, as is the custom.
- *Not positions* are the points that POINT:ANGLES, FORCES, MOMENTS, POWERS and SCALARS list; they
  are left out, and ``c3d_left_out`` of the clip's metadata tells how many.

Confidence and metadata are not written; a minus of the up axis comes back as none.
"""

from __future__ import annotations

import math
import struct
from dataclasses import dataclass
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from motioncodec.clip import Clip
from motioncodec.errors import FormatError
from motioncodec.io.markers import split_subjects, subject_labels, unique_names, units_in_words
from motioncodec.io.source import Source

_BLOCK = 512
_SECTION = 256 * _BLOCK  # the most bytes of parameters
_MAGIC = 0x50
_INTEL, _DEC, _MIPS = 84, 85, 86
_NOT_POSITIONS = ("ANGLES", "FORCES", "MOMENTS", "POWERS", "SCALARS")
_WORD = 0xFFFF
_CHUNK = 4096
# As many labels as one parameter holds, and as many bytes as lead from one to the next.
_LABELS = 255
_LABEL_BYTES = 32_000

Parameters = dict[tuple[str, str], Any]


@dataclass(frozen=True)
class _Layout:
    """Where the frames are and how they are stored."""

    points: int
    frames: int
    start: int
    record: int
    scale: float


def read_c3d(source: Source) -> Clip:
    """The points that are positions, (T, P, K, 3), in file units."""
    data = source.read_bytes()
    if len(data) < _BLOCK or data[1] != _MAGIC or data[0] == 0:
        raise source.error("expected a C3D header of 512 bytes, found none; export the file again")
    section = (data[0] - 1) * _BLOCK
    if len(data) < section + _BLOCK:
        raise source.error(
            f"expected parameters at byte {section}, found {len(data)} bytes; the file is cut short"
        )
    processor = data[section + 3]
    if processor not in (_INTEL, _DEC, _MIPS):
        raise source.error(
            f"expected processor {_INTEL}, {_DEC} or {_MIPS}, found {processor}; the file is "
            "damaged"
        )
    parameters = _parameters(source, data[section : section + _SECTION], processor)
    layout = _layout(source, data, parameters, processor)
    names = _texts(parameters, "LABELS")[: layout.points]
    names += [""] * (layout.points - len(names))
    listed = {name for group in _NOT_POSITIONS for name in _texts(parameters, group)} - {""}
    kept = [i for i, name in enumerate(names) if name not in listed]
    labels = unique_names([names[i] for i in kept], "point")
    people, joints, order = split_subjects(labels)
    source.check_size(layout.frames, 1, layout.points, 4)
    values = _points(data, layout, processor, np.array(kept, dtype=np.int64)[order])
    up = "".join(_texts(parameters, "Y_SCREEN")).strip("+-").lower()
    rate = _number(parameters, ("POINT", "RATE"), _float(data, 20, processor))
    return source.clip(
        values,
        joints=joints,
        # 29.97 and not the float32 next to it.
        frame_rate=float(str(np.float32(rate))) if rate > 0 else None,
        units=units_in_words(source, "".join(_texts(parameters, "UNITS")[:1])) or "mm",
        up=up if up in ("x", "y", "z") else "z",
        people=people,
        metadata={"c3d_left_out": len(names) - len(kept)} if len(kept) < len(names) else None,
    )


def _parameters(source: Source, data: bytes, processor: int) -> Parameters:
    """(group, name), in capitals, to a list of numbers or of texts; from the section's bytes."""
    order = ">" if processor == _MIPS else "<"
    groups: dict[int, str] = {}
    found: list[tuple[int, str, Any]] = []
    at = 4
    try:
        while length := abs(struct.unpack_from("b", data, at)[0]):
            number = struct.unpack_from("b", data, at + 1)[0]
            name = data[at + 2 : at + 2 + length].decode("latin-1").strip().upper()
            at += 2 + length
            step = struct.unpack_from(order + "H", data, at)[0]
            if number < 0:
                groups[-number] = name
            else:
                found.append((number, name, _value(data, at + 2, processor)))
            if step == 0:
                break
            at += step
    except (struct.error, IndexError):
        raise source.error("expected whole parameters, found them cut short or damaged") from None
    return {(groups.get(number, ""), name): value for number, name, value in found}


def _value(data: bytes, at: int, processor: int) -> Any:
    """One parameter's value, from its byte of type on."""
    kind, dims = struct.unpack_from("b", data, at)[0], data[at + 1]
    shape = data[at + 2 : at + 2 + dims]
    at += 2 + dims
    count, size = math.prod(shape), abs(kind)
    if len(shape) < dims or at + count * size > len(data):
        raise IndexError
    raw = data[at : at + count * size]
    if kind == -1:
        width = shape[0] if shape else 1
        return [_text(raw[i : i + width]) for i in range(0, len(raw), width or 1)]
    if kind == 1:
        return list(raw)
    if kind == 2:
        return np.frombuffer(raw, ">i2" if processor == _MIPS else "<i2").tolist()
    return _floats(raw, processor).tolist() if kind == 4 else None


def _text(raw: bytes) -> str:
    try:
        text = raw.decode()
    except UnicodeDecodeError:
        text = raw.decode("latin-1")
    return " ".join(text.replace("\0", " ").split())


def _texts(parameters: Parameters, name: str) -> list[str]:
    """POINT:LABELS and the like, with LABELS2, LABELS3, ... that carry on where it is full."""
    out: list[str] = []
    number = 1
    while ("POINT", key := name if number == 1 else f"{name}{number}") in parameters:
        value = parameters["POINT", key]
        out += [text for text in value if isinstance(text, str)] if isinstance(value, list) else []
        number += 1
    return out


def _number(parameters: Parameters, key: tuple[str, str], default: float) -> float:
    value = parameters.get(key)
    if isinstance(value, list) and value and not isinstance(value[0], str):
        return float(value[0])
    return default


def _floats(raw: bytes, processor: int) -> NDArray[np.float32]:
    """float32 of the bytes of a processor's floats."""
    if processor == _MIPS:
        return np.frombuffer(raw, ">f4").astype(np.float32)
    if processor == _INTEL:
        return np.frombuffer(raw, "<f4").astype(np.float32)
    # DEC: the half with the exponent comes first, and the exponent is two more.
    halves = np.frombuffer(raw, "<u2").astype(np.uint32)
    return (halves[0::2] << 16 | halves[1::2]).view(np.float32) * np.float32(0.25)


def _float(data: bytes, at: int, processor: int) -> float:
    return float(_floats(data[at : at + 4], processor)[0])


def _layout(source: Source, data: bytes, parameters: Parameters, processor: int) -> _Layout:
    """Counts and places by the header and by the parameters, held against the file's size."""
    order = ">" if processor == _MIPS else "<"
    points, analog, first, last = struct.unpack_from(order + "4H", data, 2)
    start = struct.unpack_from(order + "H", data, 16)[0]
    start = start or int(_number(parameters, ("POINT", "DATA_START"), 0)) & _WORD
    if ("POINT", "USED") not in parameters:
        raise source.error("expected whole parameters, found no POINT:USED; the file is damaged")
    used = int(_number(parameters, ("POINT", "USED"), -1)) & _WORD
    if used != points:
        raise source.error(
            f"expected {points} points as the header says, found POINT:USED {used}; the file is "
            "damaged"
        )
    scale = _number(parameters, ("POINT", "SCALE"), _float(data, 12, processor))
    if not math.isfinite(scale) or scale == 0:
        raise source.error(f"expected a POINT:SCALE other than 0, found {scale:g}")
    frames = max(last - first + 1, 0)
    if last == 0 and _number(parameters, ("POINT", "FRAMES"), 1) == 0:
        frames = 0
    if (long := _long_frames(parameters)) > _WORD:
        frames = long
    record = (4 * points + analog) * (4 if scale < 0 else 2)
    there = len(data) - (start - 1) * _BLOCK
    if frames and (start < 2 or frames * record > there):
        raise source.error(
            f"expected {frames} frames of {record} bytes from block {start} on, found "
            f"{max(there, 0)} bytes; the file is cut short or damaged"
        )
    return _Layout(points, frames, (start - 1) * _BLOCK, record, scale)


def _long_frames(parameters: Parameters) -> int:
    """Frames by the parameters that hold what 16 bits do not; 0 where there are none."""
    ends = [parameters.get(("TRIAL", f"ACTUAL_{end}_FIELD")) for end in ("START", "END")]
    if all(isinstance(end, list) and len(end) == 2 for end in ends):
        first, last = ((int(low) & _WORD) | (int(high) & _WORD) << 16 for low, high in ends)  # type: ignore[misc]
        return max(last - first + 1, 0)
    count = _number(parameters, ("POINT", "LONG_FRAMES"), 0)
    count = count or _number(parameters, ("POINT", "FRAMES"), 0)
    return int(count) if 0 < count < 2**32 else 0


def _points(
    data: bytes, layout: _Layout, processor: int, order: NDArray[np.int64]
) -> NDArray[np.float32]:
    """(T, P, K, 3): the points that ``order`` (P, K) names, NaN where missing."""
    out = np.full((layout.frames, *order.shape, 3), np.nan, dtype=np.float32)
    for first in range(0, layout.frames, _CHUNK):
        count = min(_CHUNK, layout.frames - first)
        at = layout.start + first * layout.record
        raw = data[at : at + count * layout.record]
        if layout.scale > 0:
            words = np.frombuffer(raw, ">i2" if processor == _MIPS else "<i2").astype(np.float32)
            factor = np.float32(layout.scale)
        else:
            words, factor = _floats(raw, processor), np.float32(1)
        every = words.reshape(count, -1)[:, : 4 * layout.points].reshape(count, layout.points, 4)
        values = every[:, order]
        with np.errstate(over="ignore", invalid="ignore"):
            seen = ~((values[..., 3:] < 0) | np.isnan(values[..., :3]).any(axis=-1, keepdims=True))
            out[first : first + count] = np.where(seen, values[..., :3] * factor, np.nan)
    return out


def write_c3d(clip: Clip, stream: BinaryIO) -> None:
    """Intel floats, frames from 1; several people as labels ``person:joint``.

    A missing joint is a point of residual -1. Reads back to the same float32 numbers, the frame
    rate to float32's digits.
    """
    labels = subject_labels(clip, "c3d")
    points = len(labels)
    start = 2  # block of the parameters; the frames' follows from their size
    section = _parameter_section(clip, labels, 0)
    data_start = start + len(section) // _BLOCK
    section = _parameter_section(clip, labels, data_start)
    header = struct.pack(
        "<BB5H fHH f", start, _MAGIC, points, 0, 1, min(clip.frames, _WORD), 0,
        -1.0, data_start, 0, clip.frame_rate,
    )  # fmt: skip
    stream.write(header.ljust(_BLOCK, b"\0") + section)
    size = 0
    for first in range(0, clip.frames, _CHUNK):
        values = clip.keypoints[first : first + _CHUNK].reshape(-1, points, 3)
        words = np.zeros((len(values), points, 4), dtype="<f4")
        missing = np.isnan(values[..., 0])
        words[..., :3] = np.where(missing[..., None], 0, values)
        words[..., 3] = np.where(missing, -1, 0)
        size += stream.write(words.tobytes())
    stream.write(b"\0" * (-size % _BLOCK))


def _parameter_section(clip: Clip, labels: list[str], data_start: int) -> bytes:
    """Blocks of parameters: what readers ask for, and nothing else."""
    width = max(len(label.encode()) for label in labels)
    if width > 255 or len(labels) > _WORD:
        raise FormatError(
            f"c3d: expected names up to 255 bytes and up to {_WORD} points, found {width} bytes "
            f"and {len(labels)} points; write npz instead"
        )
    each = min(_LABELS, _LABEL_BYTES // width)
    upright = clip.up[-1].upper()
    point = [
        ("USED", _word(len(labels))),
        ("FRAMES", _word(min(clip.frames, _WORD))),
        ("LONG_FRAMES", _real(clip.frames)),
        ("SCALE", _real(-1)),
        ("RATE", _real(clip.frame_rate)),
        ("DATA_START", _word(data_start)),
        ("UNITS", _characters([clip.units])),
        ("X_SCREEN", _characters(["+Y" if upright == "X" else "+X"])),
        ("Y_SCREEN", _characters([f"+{upright}"])),
    ]
    for number, first in enumerate(range(0, len(labels), each), 1):
        name = "LABELS" if number == 1 else f"LABELS{number}"
        point.append((name, _characters(labels[first : first + each])))
    frames = struct.pack("<2H", clip.frames & _WORD, clip.frames >> 16)
    trial = [
        ("ACTUAL_START_FIELD", b"\x02\x01\x02" + struct.pack("<2H", 1, 0)),
        ("ACTUAL_END_FIELD", b"\x02\x01\x02" + frames),
    ]
    groups = {"POINT": point, "ANALOG": [("USED", _word(0))], "TRIAL": trial}
    body = b"".join(
        _entry(name, -number, b"") + b"".join(_entry(key, number, value) for key, value in group)
        for number, (name, group) in enumerate(groups.items(), 1)
    )
    blocks = -(-(4 + len(body) + 1) // _BLOCK)
    if blocks > 255:
        raise FormatError(
            f"c3d: expected names that fit {_SECTION} bytes, found {len(body)}; write npz instead"
        )
    return (bytes((1, _MAGIC, blocks, _INTEL)) + body).ljust(blocks * _BLOCK, b"\0")


def _entry(name: str, number: int, value: bytes) -> bytes:
    """A group (``number`` below 0) or a parameter, with no description."""
    return (
        struct.pack("<bb", len(name), number) + name.encode()
        + struct.pack("<H", 2 + len(value) + 1) + value + b"\0"
    )  # fmt: skip


def _word(value: int) -> bytes:
    return b"\x02\x00" + struct.pack("<H", value)


def _real(value: float) -> bytes:
    return b"\x04\x00" + struct.pack("<f", value)


def _characters(texts: list[str]) -> bytes:
    encoded = [text.encode() for text in texts]
    width = max(map(len, encoded))
    return bytes((0xFF, 2, width, len(texts))) + b"".join(text.ljust(width) for text in encoded)
