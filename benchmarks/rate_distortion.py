"""Bytes against error: motioncodec beside every packer that a toolbox holds, on the same clips.

usage: python benchmarks/rate_distortion.py DATA_DIR [--opponent transform_coder.py]
           [--samples DIR] [--groups val,hdm05] [--methods motioncodec,zfp] [--efforts 9]
           [--limit N] [--keep OLD.csv] [--csv OUT.csv] [--markdown OUT.md] [--plot OUT.png]
peers: pip install -c constraints.txt zfpy pysz blosc2 pcodec DracoPy zpe-mocap

Groups: val and hdm05, the clips of benchmarks/frontier.py (18 joints alone, over 4 s, 30 frames a
second); "val 120/s" and "hdm05 120/s", the same joints as they were captured, where that was at 120
frames a second; "val 10 s", those at 30 cut into pieces of 10 s; "val 60 s", these joined to pieces
of 60 s, for none is as long: each begins over the place where the one before ended, half a second
of blending later; "val 2D", seen by the camera of benchmarks/targets.py; the samples that
motioncodec reads, in 3D and in 2D, at their own rate (30 frames a second where the file does not
say), units and joints.
No confidences, no metadata.

Everybody is given float32 in the clip's units and is decoded here: errors are those of what comes
back, over joints that are not missing, pooled over a group; bounds are asserted. A bound is on the
distance of every joint in every frame. Every byte of a motioncodec file counts, names and checksums
included. A peer is not charged for shapes, tolerances, or which setting it used, has no header but
its own library's, and has missing joints filled with what was there before, their mask packed.

Each peer is at its best: for every clip and bound, of the settings listed in this file (layouts,
orders of differences, algorithms, filters) the smallest result, each at the largest tolerance, to
1 %, that keeps within the bound. Packers of whole numbers (zstd, xz, blosc2, pcodec, Draco) get
coordinates rounded to a grid, and their first or second differences over time, signs folded into
the lowest bit: without this, bytes of small negative numbers cost them a third more. Lossless, they
get float32 as it is, the differences of its bits, or, where nearly all values have few decimals (in
val and hdm05 four), of whole numbers. Draco keeps points in their order only if told to, and is.
zpe-mocap is made to retrieve motion, not to play it back, and has one setting; joints hang from the
first, with which it is nearest.

Frames a second are those of the best setting alone, without the search for it. One process a method
and group; its peak memory has interpreter, libraries and clips in it, 36 MiB where there is little
else.

--keep takes the rows of an earlier run where this one measures none, so that a change of ours need
not wait for hours of peers; the report says which these are.
"""

from __future__ import annotations

import argparse
import csv
import io
import json
import lzma
import os
import platform
import resource
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field, fields, replace
from functools import partial
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:  # torch would count as memory of methods that do without
    from motioncodec.clip import Clip
    from motioncodec.codec import Settings

Array = NDArray[Any]
Shape = tuple[int, int, int]

BOUNDS = {"mm": (20.0, 10.0, 5.0, 2.0, 1.0), "px": (5.0, 2.0, 1.0, 0.5)}
MEANS = {"mm": (20.0, 10.0, 5.0, 2.0), "px": (5.0, 2.0, 1.0)}
MEAN_TARGETS = {20.0: 0.70, 10.0: 0.75, 5.0: 0.75, 2.0: 0.80}
BOUND_TARGETS = {20.0: 0.55, 5.0: 0.60, 1.0: 0.70}
GROUPS = (
    "val", "hdm05", "val 120/s", "hdm05 120/s", "val 60 s", "val 10 s", "val 2D", "samples 3D",
    "samples 2D",
)  # fmt: skip
RATE, CAPTURED = 30.0, 120.0
BLEND = 15

PACKAGES = (
    "motioncodec", "numpy", "torch", "zstandard", "zfpy", "pysz", "blosc2", "pcodec", "DracoPy",
    "zpe-mocap",
)  # fmt: skip


@dataclass
class Row:
    """What one method made of a group at one setting; errors in the group's unit."""

    group: str
    method: str
    asked: str
    best: dict[str, int]
    bytes: int
    seconds: float
    bit_s: float
    mean: float
    p99: float
    max: float
    encode: float
    decode: float
    peak_mib: float = 0.0


@dataclass
class Tally:
    """Pools clips into a row."""

    size: int = 0
    seconds: float = 0.0
    frames: int = 0
    encoding: float = 0.0
    decoding: float = 0.0
    errors: list[Array] = field(default_factory=list)
    best: Counter[str] = field(default_factory=Counter)

    def row(self, group: str, method: str, asked: str) -> Row:
        apart = np.concatenate(self.errors)
        return Row(
            group, method, asked, dict(self.best), self.size, self.seconds,
            8 * self.size / self.seconds,
            float(apart.mean()), float(np.percentile(apart, 99)), float(apart.max()),
            self.frames / self.encoding if self.encoding else np.nan,
            self.frames / self.decoding if self.decoding else np.nan,
        )  # fmt: skip


# Peers: numbers in, bytes out.


def laid(points: Array, layout: str) -> Array:
    """(T, K, D) as a peer is given them."""
    flat = points.reshape(len(points), -1)
    return np.ascontiguousarray(
        {
            "frames": points,
            "channels": flat.T,
            "line": flat.T.reshape(-1),
            "joints": points.transpose(1, 0, 2),
        }[layout]
    )


def unlaid(values: Array, shape: Shape, layout: str) -> Array:
    """The inverse of :func:`laid`."""
    frames, joints, dims = shape
    if layout == "frames":
        return values.reshape(shape)
    if layout == "joints":
        return values.reshape(joints, frames, dims).transpose(1, 0, 2)
    return values.reshape(-1, frames).T.reshape(shape)


def differences(numbers: Array, order: int) -> Array:
    """Over time; numbers of few bits wrap around."""
    for i in range(order):
        numbers = np.concatenate([numbers[: i + 1], np.diff(numbers[i:], axis=0)])
    return numbers


def summed(numbers: Array, order: int) -> Array:
    """The inverse of :func:`differences`."""
    numbers = numbers.copy()
    for i in reversed(range(order)):
        numbers[i:] = np.cumsum(numbers[i:], axis=0, dtype=numbers.dtype)
    return numbers


def folded(numbers: Array) -> Array:
    """Signed numbers as the smallest unsigned ones with the sign in the lowest bit."""
    bits = 8 * numbers.dtype.itemsize
    folds = ((numbers << 1) ^ (numbers >> (bits - 1))).view(f"u{bits // 8}")
    most = int(folds.max(initial=0))
    return folds.astype(np.uint8 if most < 2**8 else np.uint16 if most < 2**16 else np.uint32)


def unfolded(folds: Array) -> Array:
    """The inverse of :func:`folded`, 64 bits wide."""
    wide = folds.astype(np.int64)
    return (wide >> 1) ^ -(wide & 1)


@dataclass(frozen=True)
class Packer:
    """Whole numbers of any shape to bytes, and back to as many in a row."""

    pack: Callable[[Array], bytes]
    unpack: Callable[[bytes, int], Array]


@dataclass(frozen=True)
class Setting:
    """One way to use a peer. Each way gets a tolerance for every coordinate in the clip's units;
    where there is no bound, the metres in such a unit.

    Attributes:
        grid: coordinates are rounded to multiples of twice the tolerance, and nothing else is lost.
    """

    encode: Callable[[Array, float], bytes]
    decode: Callable[[bytes, Shape, float], Array]
    grid: bool = False


def rounded(packer: Packer, order: int, layout: str) -> Setting:
    """Coordinates on a grid, and differences over time."""

    def encode(points: Array, tolerance: float) -> bytes:
        numbers = np.rint(points.astype(np.float64) / (2 * tolerance)).astype(np.int64)
        return packer.pack(laid(differences(numbers, order), layout))

    def decode(data: bytes, shape: Shape, tolerance: float) -> Array:
        numbers = unlaid(packer.unpack(data, int(np.prod(shape))), shape, layout)
        return (summed(numbers, order) * (2 * tolerance)).astype(np.float32)

    return Setting(encode, decode, grid=True)


def of_bits(kind: type, packer: Packer, order: int, layout: str) -> Setting:
    """Floats as whole numbers in the same order, and differences over time."""
    width = np.dtype(kind).itemsize
    integer = np.dtype(f"i{width}")
    most = np.iinfo(integer).max

    def ordered(bits: Array) -> Array:
        return bits ^ ((bits >> (8 * width - 1)) & most)

    def encode(points: Array, _: float) -> bytes:
        bits = ordered(points.astype(kind).view(integer))
        return packer.pack(laid(differences(bits, order), layout))

    def decode(data: bytes, shape: Shape, _: float) -> Array:
        numbers = unlaid(packer.unpack(data, int(np.prod(shape))).astype(integer), shape, layout)
        return ordered(summed(numbers, order)).view(kind).astype(np.float32)

    return Setting(encode, decode)


def of_decimals(packer: Packer, order: int, layout: str) -> Setting:
    """Float32 as whole numbers of the decimals that all but one in a hundred have, and these as
    they are; as bits, where there are more of them."""
    bits = of_bits(np.float32, packer, order, layout)
    none = 255

    def values(numbers: Array, decimals: int) -> Array:
        return (numbers / 10.0**decimals).astype(np.float32)

    def encode(points: Array, _: float) -> bytes:
        for decimals in range(7):
            numbers = np.rint(points.astype(np.float64) * 10.0**decimals).astype(np.int64)
            off = np.flatnonzero(values(numbers, decimals).view(np.int32) != points.view(np.int32))
            if np.abs(numbers).max(initial=0) < 2**29 and len(off) <= points.size / 100:
                strays = off.astype(np.uint32).tobytes() + points.reshape(-1)[off].tobytes()
                head = bytes([decimals]) + len(strays).to_bytes(4, "little") + strays
                return head + packer.pack(laid(differences(numbers, order), layout))
        return bytes([none]) + bits.encode(points, _)

    def decode(data: bytes, shape: Shape, _: float) -> Array:
        if data[0] == none:
            return bits.decode(data[1:], shape, _)
        stop = 5 + int.from_bytes(data[1:5], "little")
        numbers = unlaid(packer.unpack(data[stop:], int(np.prod(shape))), shape, layout)
        out = values(summed(numbers, order), data[0])
        middle = (5 + stop) // 2
        at = np.frombuffer(data[5:middle], np.uint32)
        out.reshape(-1)[at] = np.frombuffer(data[middle:stop], np.float32)
        return out

    return Setting(encode, decode)


def of_floats(
    compress: Callable[[Array, float], bytes],
    decompress: Callable[[bytes, tuple[int, ...], float], Array],
    layout: str,
) -> Setting:
    """Float32 as they are."""

    def encode(points: Array, tolerance: float) -> bytes:
        return compress(laid(points, layout), tolerance)

    def decode(data: bytes, shape: Shape, tolerance: float) -> Array:
        given = laid(np.broadcast_to(np.float32(0), shape), layout).shape
        return unlaid(decompress(data, given, tolerance), shape, layout)

    return Setting(encode, decode)


def planes(compress: Callable[[bytes], bytes], decompress: Callable[[bytes], bytes]) -> Packer:
    """For packers of bytes: bytes of one weight together. The first byte is a number's width."""

    def pack(numbers: Array) -> bytes:
        folds = folded(numbers).reshape(-1)
        raw = folds.view(np.uint8).reshape(-1, folds.itemsize).T.tobytes()
        return bytes([folds.itemsize]) + compress(raw)

    def unpack(data: bytes, count: int) -> Array:
        raw = np.frombuffer(decompress(data[1:]), np.uint8).reshape(data[0], count)
        return unfolded(np.ascontiguousarray(raw.T).view(f"u{data[0]}").reshape(-1))

    return Packer(pack, unpack)


def zstd() -> tuple[Callable[[bytes], bytes], Callable[[bytes], bytes]]:
    """Level 19, without magic number and content size."""
    import zstandard

    bare = zstandard.FORMAT_ZSTD1_MAGICLESS
    how = zstandard.ZstdCompressionParameters.from_level(19, write_content_size=False, format=bare)

    def compress(raw: bytes) -> bytes:
        return zstandard.ZstdCompressor(compression_params=how).compress(raw)

    def decompress(data: bytes) -> bytes:
        return zstandard.ZstdDecompressor(format=bare).decompress(data, max_output_size=1 << 28)

    return compress, decompress


def xz(
    literal_bits: int, alignment: int
) -> tuple[Callable[[bytes], bytes], Callable[[bytes], bytes]]:
    """Preset 9e, without a container; a dictionary of 4 MiB holds a clip, and takes less time."""
    how = [
        {
            "id": lzma.FILTER_LZMA1,
            "preset": 9 | lzma.PRESET_EXTREME,
            "lc": literal_bits,
            "pb": alignment,
            "dict_size": 1 << 22,
        }
    ]

    def compress(raw: bytes) -> bytes:
        return lzma.compress(raw, lzma.FORMAT_RAW, filters=how)

    def decompress(data: bytes) -> bytes:
        return lzma.decompress(data, lzma.FORMAT_RAW, filters=how)

    return compress, decompress


def raw_floats(
    compress: Callable[[bytes], bytes], decompress: Callable[[bytes], bytes], layout: str
) -> Setting:
    return of_floats(
        lambda values, _: compress(values.tobytes()),
        lambda data, shape, _: np.frombuffer(decompress(data), np.float32),
        layout,
    )


@dataclass(frozen=True)
class Peer:
    """Settings by name, for a bound, for losing nothing, and where there is one error alone."""

    bounded: dict[str, Setting] = field(default_factory=dict)
    lossless: dict[str, Setting] = field(default_factory=dict)
    fixed: dict[str, Setting] = field(default_factory=dict)


LAYOUTS = ("frames", "line")


def grid_settings(packers: dict[str, Packer]) -> dict[str, Setting]:
    return {
        f"{name}differences {order}, {layout}": rounded(packer, order, layout)
        for name, packer in packers.items()
        for order in (1, 2)
        for layout in LAYOUTS
    }


def lossless_settings(packers: dict[str, Packer]) -> dict[str, Setting]:
    return {
        f"{name}differences {order}, {layout}": of_decimals(packer, order, layout)
        for name, packer in packers.items()
        for order in (0, 1, 2)
        for layout in LAYOUTS
    }


def zstd_peer() -> Peer:
    pair = zstd()
    packers = {"": planes(*pair)}
    plain = {f"as it is, {layout}": raw_floats(*pair, layout) for layout in LAYOUTS}
    return Peer(grid_settings(packers), plain | lossless_settings(packers))


def xz_peer() -> Peer:
    pairs = {"lc 4, ": xz(4, 0), "lc 0, ": xz(0, 0)}
    packers = {name: planes(*pair) for name, pair in pairs.items()}
    plain = {f"as it is, {layout}": raw_floats(*xz(3, 2), layout) for layout in LAYOUTS}
    lossless = lossless_settings({"lc 4, ": packers["lc 4, "]})
    return Peer(grid_settings(packers), plain | lossless)


def float16_peer() -> Peer:
    packer = planes(*zstd())
    return Peer(
        fixed={
            f"differences {order}, {layout}": of_bits(np.float16, packer, order, layout)
            for order in (0, 1, 2)
            for layout in LAYOUTS
        }
    )


def blosc2_peer() -> Peer:
    """zstd at its level 9 behind a shuffle; and its own truncation of mantissas."""
    import blosc2

    def squeeze(values: Array, filters: list[Any], meta: list[int]) -> bytes:
        return blosc2.compress2(
            values, codec=blosc2.Codec.ZSTD, clevel=9, nthreads=1, typesize=values.itemsize,
            filters=filters, filters_meta=meta,
        )  # fmt: skip

    def packer(one: Any) -> Packer:
        def pack(numbers: Array) -> bytes:
            folds = folded(numbers)
            return bytes([folds.itemsize]) + squeeze(folds, [one], [0])

        def unpack(data: bytes, _: int) -> Array:
            return unfolded(np.frombuffer(blosc2.decompress2(data[1:]), f"u{data[0]}"))

        return Packer(pack, unpack)

    def truncated(values: Array, tolerance: float) -> bytes:
        kept = np.ceil(np.log2(np.abs(values).max(initial=tolerance) / tolerance)) + 1
        cut = [blosc2.Filter.TRUNC_PREC, blosc2.Filter.BITSHUFFLE]
        return squeeze(values, cut, [int(np.clip(kept, 1, 23)), 0])

    def whole(one: Any) -> Callable[[Array, float], bytes]:
        return lambda values, _: squeeze(values, [one], [0])

    def restored(data: bytes, shape: tuple[int, ...], _: float) -> Array:
        return np.frombuffer(blosc2.decompress2(data), np.float32)

    kinds = {"shuffle": blosc2.Filter.SHUFFLE, "bitshuffle": blosc2.Filter.BITSHUFFLE}
    packers = {f"{name}, ": packer(one) for name, one in kinds.items()}
    bounded = grid_settings(packers) | {"truncated, line": of_floats(truncated, restored, "line")}
    lossless = lossless_settings(packers)
    for name, one in kinds.items():
        for layout in LAYOUTS:
            lossless[f"{name}, as it is, {layout}"] = of_floats(whole(one), restored, layout)
    return Peer(bounded, lossless)


def pcodec_peer() -> Peer:
    """Level 12. Its convolutions are not tried: in 1.1.0 they panic on some clips."""
    from pcodec import ChunkConfig, DeltaSpec, standalone

    def packer(delta: Any) -> Packer:
        def pack(numbers: Array) -> bytes:
            least, most = int(numbers.min(initial=0)), int(numbers.max(initial=0))
            small = least >= -(2**15) and most < 2**15
            values = numbers.astype(np.int16 if small else np.int32).reshape(-1)
            return standalone.simple_compress(values, ChunkConfig(12, delta_spec=delta))

        def unpack(data: bytes, _: int) -> Array:
            return standalone.simple_decompress(data).astype(np.int64)

        return Packer(pack, unpack)

    def whole(delta: Any) -> Callable[[Array, float], bytes]:
        def compress(values: Array, _: float) -> bytes:
            return standalone.simple_compress(values.reshape(-1), ChunkConfig(12, delta_spec=delta))

        return compress

    def restored(data: bytes, shape: tuple[int, ...], _: float) -> Array:
        return standalone.simple_decompress(data)

    ours = {"": packer(DeltaSpec.no_op())}
    deltas = {"auto": DeltaSpec.auto(), "consecutive 2": DeltaSpec.try_consecutive(2)}
    bounded = grid_settings(ours)
    lossless = lossless_settings(ours)
    for name, delta in deltas.items():
        bounded[f"{name}, line"] = rounded(packer(delta), 0, "line")
        for layout in LAYOUTS:
            lossless[f"{name}, {layout}"] = of_floats(whole(delta), restored, layout)
    return Peer(bounded, lossless)


def zfp_peer() -> Peer:
    """Accuracy mode, which rounds tolerances down to powers of two; reversible mode; no header."""
    import zfpy

    kind = zfpy.dtype_to_ztype(np.dtype(np.float32))
    bounded, lossless = {}, {}
    for layout in ("line", "channels", "frames", "joints"):
        bounded[layout] = of_floats(
            lambda values, error: zfpy.compress_numpy(values, tolerance=error, write_header=False),
            lambda data, shape, error: zfpy._decompress(data, kind, shape, tolerance=error),
            layout,
        )
        lossless[layout] = of_floats(
            lambda values, _: zfpy.compress_numpy(values, write_header=False),
            lambda data, shape, _: zfpy._decompress(data, kind, shape),
            layout,
        )
    return Peer(bounded, lossless)


def sz3_peer() -> Peer:
    """Absolute error; three predictors."""
    from pysz import sz, szAlgorithm, szConfig, szErrorBoundMode

    def setting(algorithm: int, layout: str) -> Setting:
        def compress(values: Array, error: float) -> bytes:
            how = szConfig()
            how.errorBoundMode = szErrorBoundMode.ABS
            how.absErrorBound = error
            how.cmprAlgo = algorithm
            return sz.compress(values, how)[0].tobytes()

        def decompress(data: bytes, shape: tuple[int, ...], _: float) -> Array:
            return sz.decompress(np.frombuffer(data, np.uint8).copy(), np.float32, shape)[0]

        return of_floats(compress, decompress, layout)

    kinds = {
        "Lorenzo and regression": szAlgorithm.LORENZO_REG,
        "interpolation or Lorenzo": szAlgorithm.INTERP_LORENZO,
        "interpolation": szAlgorithm.INTERP,
    }
    return Peer(
        {
            f"{name}, {layout}": setting(kind, layout)
            for name, kind in kinds.items()
            for layout in ("line", "frames", "joints")
        }
    )


def draco_peer() -> Peer:
    """A clip as one cloud, a joint's points in a row: whole numbers as points, or as attributes."""
    import DracoPy

    def points_pack(numbers: Array) -> bytes:
        rows = numbers.reshape(-1, numbers.shape[-1]).astype(np.float32)
        rows = np.pad(rows, ((0, 0), (0, 3 - rows.shape[1])))
        least = rows.min(axis=0)
        bits = max(int(rows.max() - least.min()).bit_length(), 1)
        return bytes([numbers.shape[-1]]) + DracoPy.encode(
            rows, quantization_bits=bits, quantization_range=float(2**bits - 1),
            quantization_origin=least.astype(np.float64), compression_level=10, preserve_order=True,
        )  # fmt: skip

    def points_unpack(data: bytes, _: int) -> Array:
        rows = np.asarray(DracoPy.decode(data[1:]).points)[:, : data[0]]
        return np.rint(rows).astype(np.int64).reshape(-1)

    def attribute_pack(numbers: Array) -> bytes:
        rows = folded(numbers.reshape(-1, numbers.shape[-1])).astype(np.uint32)
        return DracoPy.encode(
            np.zeros((len(rows), 3), np.float32), quantization_bits=1, compression_level=10,
            preserve_order=True, generic_attributes={0: rows},
        )  # fmt: skip

    def attribute_unpack(data: bytes, _: int) -> Array:
        found = DracoPy.decode(data).get_attribute_by_unique_id(0)["data"]
        return unfolded(np.asarray(found).reshape(-1))

    attribute = Packer(attribute_pack, attribute_unpack)
    bounded = {"points": rounded(Packer(points_pack, points_unpack), 0, "joints")}
    for order in (0, 1, 2):
        bounded[f"attribute, differences {order}"] = rounded(attribute, order, "joints")
    return Peer(bounded)


def zpe_peer() -> Peer:
    from zpe_mocap import MotionClip, decode_zpmoc, encode_clip

    def encode(points: Array, metres: float) -> bytes:
        joints = points.shape[1]
        if points.shape[2] != 3:
            raise ValueError("zpe-mocap: expected 3D")
        names = [str(joint) for joint in range(joints)]
        tree = [-1, *[0] * (joints - 1)]
        given = points.astype(np.float64) * metres
        clip = MotionClip("", "", 30, names, tree, given, np.zeros((1, 1, 3)))
        return encode_clip(clip, 0).payload

    def decode(data: bytes, shape: Shape, metres: float) -> Array:
        return (decode_zpmoc(data).positions_m / metres).astype(np.float32)

    return Peer(fixed={"its only one": Setting(encode, decode)})


PEERS: dict[str, Callable[[], Peer]] = {
    "zstd 19": zstd_peer,
    "xz 9e": xz_peer,
    "blosc2": blosc2_peer,
    "pcodec": pcodec_peer,
    "SZ3": sz3_peer,
    "zfp": zfp_peer,
    "Draco": draco_peer,
    "float16 + zstd 19": float16_peer,
    "zpe-mocap": zpe_peer,
}


@dataclass(frozen=True)
class Take:
    """A clip as peers are given it.

    Attributes:
        points: (T, K, D) float32 without joints that are never there, gaps filled.
        there: (T, K), where an error counts.
        mask: packed bytes that tell what is missing.
        scale: millimetres, or pixels, in a unit.
    """

    points: Array
    there: Array
    mask: bytes
    seconds: float
    scale: float

    def errors(self, found: Array) -> Array:
        """Distances in millimetres or pixels."""
        apart = found.astype(np.float64) - self.points.astype(np.float64)
        return (np.linalg.norm(apart, axis=-1) * self.scale)[self.there]


def take(path: Path, scale: float) -> Take:
    """Reads what :func:`put` wrote, with NumPy alone."""
    with np.load(path) as file:
        points, rate = file["keypoints"], float(file["frame_rate"])
    points = points.reshape(len(points), -1, points.shape[-1])
    missing = np.isnan(points[..., 0])
    mask = b""
    if missing.any():
        rows = missing[:1] if (missing == missing[:1]).all() else missing
        raw = np.packbits(rows ^ np.concatenate([rows[:1] & False, rows[:-1]])).tobytes()
        mask = min(raw, zstd()[0](raw), key=len)
    seconds = len(points) / rate
    seen = ~missing.all(axis=0)
    points, missing = points[:, seen], missing[:, seen]
    last = np.maximum.accumulate(np.where(missing, -1, np.arange(len(points))[:, None]), axis=0)
    last = np.where(last < 0, (~missing).argmax(axis=0), last)
    filled = np.take_along_axis(points, last[..., None], axis=0)
    return Take(filled, ~missing, mask, seconds, scale)


def largest(works: Callable[[float], bool], start: float) -> float:
    """The largest tolerance, to 1 %, that works, sought about one that should."""
    low = start
    while not works(low):
        low /= 2
    while low < 64 * start and works(2 * low):
        low *= 2
    for step in range(1, 7):
        if works(low * 2 ** (0.5**step)):
            low *= 2 ** (0.5**step)
    return low


@dataclass(frozen=True)
class Coded:
    """One clip, there and back."""

    size: int
    errors: Array
    encoding: float
    decoding: float
    found: Array


def there_and_back(one: Take, setting: Setting, tolerance: float) -> Coded:
    began = time.perf_counter()
    data = setting.encode(one.points, tolerance)
    encoded = time.perf_counter()
    found = setting.decode(data, one.points.shape, tolerance)
    decoded = time.perf_counter()
    size = len(data) + len(one.mask)
    return Coded(size, one.errors(found), encoded - began, decoded - encoded, found)


def within(one: Take, setting: Setting, bound: float) -> Coded:
    """A clip at the largest tolerance that keeps within a bound."""

    def works(tolerance: float) -> bool:
        if setting.grid:
            found = np.rint(one.points.astype(np.float64) / (2 * tolerance)) * (2 * tolerance)
            return float(one.errors(found.astype(np.float32)).max()) <= bound
        return float(there_and_back(one, setting, tolerance).errors.max()) <= bound

    start = bound / one.scale / np.sqrt(one.points.shape[-1])
    return there_and_back(one, setting, largest(works, start))


def pooled(
    takes: list[Take], code: Callable[[Take, Setting], Coded], ways: dict[str, Any]
) -> Tally:
    """Every clip with the setting that is smallest for it."""
    tally = Tally()
    for one in takes:
        tried = {name: code(one, setting) for name, setting in ways.items()}
        name, best = min(tried.items(), key=lambda item: item[1].size)
        tally.best[name] += 1
        tally.size += best.size
        tally.seconds += one.seconds
        tally.frames += len(one.points)
        tally.encoding += best.encoding
        tally.decoding += best.decoding
        tally.errors.append(best.errors)
    return tally


def peer_rows(method: str, group: Group, folder: Path) -> Iterator[Row]:
    peer = PEERS[method]()
    takes = [take(path, scale) for path, scale in group.files(folder)]
    for bound in BOUNDS[group.unit] if peer.bounded else ():
        tally = pooled(takes, partial(within, bound=bound), peer.bounded)
        row = tally.row(group.name, method, f"max {bound:g} {group.unit}")
        assert row.max <= bound, f"{method}: {row.max} at a bound of {bound}"
        yield row
    if peer.lossless:

        def exactly(one: Take, setting: Setting) -> Coded:
            coded = there_and_back(one, setting, 0.0)
            assert coded.found.tobytes() == one.points.tobytes(), f"{method}: lossless is not"
            return coded

        yield pooled(takes, exactly, peer.lossless).row(group.name, method, "lossless")
    if peer.fixed and not (method == "zpe-mocap" and group.unit == "px"):
        tally = pooled(
            takes, lambda one, way: there_and_back(one, way, one.scale / 1000), peer.fixed
        )
        yield tally.row(group.name, method, "as it comes")


# motioncodec and the opponent.


def asked(method: str, group: Group, efforts: list[int]) -> Iterator[tuple[str, Settings]]:
    """What a row of motioncodec is called, and its settings."""
    from motioncodec.codec import Settings

    if method == "motioncodec preset":
        for preset in ("f32", "f16", "f8"):
            yield preset, Settings(preset)
        for effort in efforts:
            for preset in ("f16", "f8"):
                yield f"{preset}, effort {effort}", Settings(preset, effort=effort)
    elif method == "motioncodec max error":
        for bound in BOUNDS[group.unit]:
            yield f"max {bound:g} {group.unit}", Settings(max_error=bound)
    elif method == "motioncodec mean error":
        for mean in MEANS[group.unit]:
            yield f"mean {mean:g} {group.unit}", Settings(mean_error=mean)
    else:
        yield "lossless", Settings(lossless=True)


OURS = (
    "motioncodec max error",
    "motioncodec mean error",
    "motioncodec lossless",
    "motioncodec preset",
)


def our_rows(method: str, group: Group, folder: Path, efforts: list[int]) -> Iterator[Row]:
    from motioncodec.codec import Decoder, encode_clip
    from motioncodec.io import read_clip

    clips = [(read_clip(path), scale) for path, scale in group.files(folder)]
    for label, settings in asked(method, group, efforts):
        warm = io.BytesIO()
        longest = max((clip for clip, _ in clips), key=lambda clip: clip.frames)
        encode_clip(longest.window(0, 64), warm, settings)
        warm.seek(0)
        Decoder(warm).clip()
        tally = Tally()
        for clip, scale in clips:
            data = io.BytesIO()
            began = time.perf_counter()
            tally.size += encode_clip(clip, data, settings)
            tally.encoding += time.perf_counter() - began
            data.seek(0)
            began = time.perf_counter()
            decoded = Decoder(data).clip()
            tally.decoding += time.perf_counter() - began
            tally.seconds += clip.duration
            tally.frames += clip.frames
            if settings.lossless:
                same = np.array_equal(decoded.keypoints, clip.keypoints, equal_nan=True)
                assert same, "lossless is not"
            apart = decoded.keypoints.astype(np.float64) - clip.keypoints.astype(np.float64)
            tally.errors.append((np.linalg.norm(apart, axis=-1) * scale)[~clip.missing])
        row = tally.row(group.name, method, label)
        # A unit may be centimetres, in which float32 rounds what was asked for.
        for limit, got in ((settings.max_error, row.max), (settings.mean_error, row.mean)):
            assert limit is None or got <= limit * (1 + 1e-6), f"{label}: found {got}"
        yield row


def opponent_rows(group: Group, path: Path, data: Path, limit: int | None) -> Iterator[Row]:
    """As in benchmarks/frontier.py; it both encodes and decodes in the time said to be encoding."""
    from frontier import FROM, LIMIT, SECONDS, STEPS, load_opponent

    module = load_opponent(path)
    coder = module.TransformCoder(module.windows(str(data / "train"), 32))
    long = [x for x in module.clips(str(data / group.name)) if len(x) / RATE > SECONDS][:limit]
    size = module.T
    test = np.stack([x[a : a + size] for x in long for a in range(0, len(x) - size + 1, size)])
    frames = len(test) * size
    usual = module.LIMIT
    for step in STEPS:
        module.LIMIT = usual if step >= FROM else LIMIT
        began = time.perf_counter()
        rate, found = coder.run(test, step)
        tally = Tally(
            size=round(float(rate) * frames / RATE / 8),
            seconds=frames / RATE,
            frames=frames,
            encoding=time.perf_counter() - began,
            errors=[np.linalg.norm(found - test, axis=-1).ravel() * 1000],
        )
        yield tally.row(group.name, "opponent", f"step {step:g}")


# Groups.


@dataclass(frozen=True)
class Group:
    """Clips in files of a folder, and what errors are told in.

    Attributes:
        scales: for every file, millimetres or pixels in its unit.
    """

    name: str
    unit: str
    scales: tuple[float, ...]

    def files(self, folder: Path) -> list[tuple[Path, float]]:
        return [(folder / f"{i:04}.npz", scale) for i, scale in enumerate(self.scales)]


def put(name: str, clips: list[Clip], folder: Path) -> Group:
    """Writes a group's clips for the processes of every method."""
    from motioncodec.clip import error_scale
    from motioncodec.io import write_clip

    folder.mkdir()
    unit = "px" if clips[0].dims == 2 else "mm"
    group = Group(name, unit, tuple(error_scale(clip.units) for clip in clips))
    for clip, (path, _) in zip(clips, group.files(folder)):
        write_clip(replace(clip, confidence=None, people=(), metadata={}), path)
    return group


def bodies(folder: Path, captured: bool = False) -> list[Clip]:
    """The clips of benchmarks/frontier.py, with the opponent's joints alone; or those of them that
    were ``captured`` at 120 frames a second, at that."""
    from frontier import clips

    from motioncodec.clip import Clip
    from motioncodec.skeleton import CANONICAL, Skeleton

    joints = [name for name in CANONICAL if name not in ("chest", "head_top")]
    out = []
    for clip, rows in clips(folder, joints, captured):
        if clip.frame_rate == (CAPTURED if captured else RATE):
            skeleton = Skeleton.from_names([clip.skeleton.joints[row] for row in rows])
            points = clip.keypoints[:, :, rows]
            out.append(Clip(points, clip.frame_rate, skeleton, units="m", up=clip.up))
    return out


def pieces(clips: list[Clip], seconds: float) -> list[Clip]:
    """Whole pieces of so many seconds; what is left over is dropped."""
    size = round(seconds * RATE)
    return [
        clip.window(start, start + size)
        for clip in clips
        for start in range(0, clip.frames - size + 1, size)
    ]


def joined(clips: list[Clip]) -> Clip:
    """One after the other, in tenths of a millimetre as they are. y is up, pelvises come first."""
    s = np.linspace(0, 1, BLEND + 2)[1:-1, None, None, None]
    smooth = s * s * (3 - 2 * s)
    parts = [clips[0].keypoints]
    for clip in clips[1:]:
        last = parts[-1][-1:]
        following = clip.keypoints.astype(np.float64)
        following = following + (last[0, 0, 0] - following[0, 0, 0]) * [1, 0, 1]
        parts += [last * (1 - smooth) + following[:1] * smooth, following]
    return replace(clips[0], keypoints=np.round(np.concatenate(parts), 4).astype(np.float32))


def sampled(folder: Path, name: str) -> list[Clip]:
    """What motioncodec reads of the samples, in 3D or in 2D."""
    from motioncodec.errors import MotionCodecError
    from motioncodec.io import read_clip

    out = []
    for path in sorted(folder.glob("*/*")):
        try:
            try:
                clip = read_clip(path)
            except MotionCodecError as error:
                if "frame rate" not in str(error):
                    raise
                clip = read_clip(path, frame_rate=RATE)
        except MotionCodecError as error:
            if name.endswith("3D"):  # once is enough
                print(f"left out: {error}", file=sys.stderr)
            continue
        if f"samples {clip.dims}D" == name and (clip.dims == 2) == (clip.units == "px"):
            out.append(clip)
    return out


def gathered(name: str, options: argparse.Namespace) -> list[Clip]:
    """The clips of a group; none where their folder was not given."""
    if name.startswith("samples"):
        return sampled(options.samples, name) if options.samples else []
    if name == "val 2D":
        import targets

        return [targets.projected(clip) for clip in targets.clips(options.data / "val")]
    if name.endswith("120/s"):
        return bodies(options.data / name.split()[0], captured=True)
    clips = bodies(options.data / name.split()[0])
    if name == "val 60 s":
        return pieces([joined(clips)], 60)
    return pieces(clips, 10) if name == "val 10 s" else clips


# Tables and the plot.


def best_peer(rows: list[Row], group: str, asked: str) -> Row | None:
    """The smallest of the peers at the same bound."""
    if not asked.startswith(("max", "lossless")):
        return None
    rivals = [r for r in rows if r.method in PEERS and (r.group, r.asked) == (group, asked)]
    return min(rivals, key=lambda r: r.bytes, default=None)


def bound_table(rows: list[Row]) -> str:
    lines = [
        "| group | bound | motioncodec, bit/s | best peer | bit/s | ratio | target |",
        "|---|---|---|---|---|---|---|",
    ]
    for r in rows:
        rival = best_peer(rows, r.group, r.asked)
        if r.method.startswith("motioncodec") and rival:
            value = float(r.asked.split()[1]) if r.asked.endswith("mm") else None
            target = BOUND_TARGETS.get(value, "") if value and r.group in ("val", "hdm05") else ""
            lines.append(
                f"| {r.group} | {r.asked} | {r.bit_s:,.0f} | {rival.method} "
                f"| {rival.bit_s:,.0f} | **{r.bytes / rival.bytes:.2f}** | {target} |"
            )
    return "\n".join(lines) + "\n"


def mean_table(rows: list[Row]) -> str:
    from frontier import at_rate

    lines = [
        "| group | asked | MPJPE | motioncodec, bit/s | opponent there, bit/s | ratio | target |",
        "|---|---|---|---|---|---|---|",
    ]
    for r in rows:
        curve = [(o.mean, o.bit_s) for o in rows if (o.method, o.group) == ("opponent", r.group)]
        if r.method == "motioncodec mean error" and curve:
            theirs = at_rate(curve, r.mean)
            target = MEAN_TARGETS.get(float(r.asked.split()[1]), "")
            lines.append(
                f"| {r.group} | {r.asked} | {r.mean:.2f} mm | {r.bit_s:,.0f} | {theirs:,.0f} "
                f"| **{r.bit_s / theirs:.2f}** | {target} |"
            )
    return "\n".join(lines) + "\n"


def full_table(rows: list[Row]) -> str:
    lines = [
        "| method | asked | bytes | bit/s | to the best peer | MPJPE | p99 | max | encode | decode "
        "| peak, MiB |",
        "|---|---|---|---|---|---|---|---|---|---|---|",
    ]
    for r in rows:
        rival = best_peer(rows, r.group, r.asked)
        ratio = f"{r.bytes / rival.bytes:.2f}" if rival else ""
        decode = "" if np.isnan(r.decode) else f"{r.decode:,.0f}"
        lines.append(
            f"| {r.method} | {r.asked} | {r.bytes:,} | {r.bit_s:,.0f} | {ratio} | {r.mean:.4g} "
            f"| {r.p99:.4g} | {r.max:.4g} | {r.encode:,.0f} | {decode} | {r.peak_mib:,.0f} |"
        )
    return "\n".join(lines) + "\n"


def told(best: dict[str, int], most: int | None = None) -> str:
    """The settings that were smallest for most clips."""
    return "; ".join(f"{name} ({n})" for name, n in Counter(best).most_common(most))


def untold(text: str) -> dict[str, int]:
    """Inverse of :func:`told`."""
    pairs = (one.rsplit(" (", 1) for one in text.split("; ") if one)
    return {name: int(count.rstrip(")")) for name, count in pairs}


def settings_table(rows: list[Row]) -> str:
    """Of all groups and bounds together."""
    lines = ["| peer | asked | smallest with (clips) |", "|---|---|---|"]
    found: dict[tuple[str, str], Counter[str]] = {}
    for r in rows:
        if r.best:
            kind = "max error" if r.asked.startswith("max") else r.asked
            found.setdefault((r.method, kind), Counter()).update(r.best)
    for (method, kind), best in sorted(found.items()):
        lines.append(f"| {method} | {kind} | {told(best, 4)} |")
    return "\n".join(lines) + "\n"


def machine() -> str:
    """What it ran on and with; after the groups, which load torch anyway."""
    import torch

    versions = []
    for package in PACKAGES:
        try:
            versions.append(f"{package} {metadata.version(package)}")
        except metadata.PackageNotFoundError:
            versions.append(f"{package} absent")
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    named = [line.split(":")[1].strip() for line in lines if line.startswith("model name")]
    processor = named[0] if named else platform.processor()
    return (
        f"{processor or 'processor unknown'}, {platform.machine()}, {os.cpu_count()} cores; torch "
        f"with {torch.get_num_threads()} threads, peers with one. Python "
        f"{platform.python_version()}, {', '.join(versions)}."
    )


def counted(clips: list[Clip]) -> str:
    """How many clips, how long."""
    return f"{len(clips)} clips, {sum(clip.duration for clip in clips):.0f} s"


def read_rows(path: Path) -> list[Row]:
    """Of a CSV that an earlier run wrote."""
    with path.open(newline="") as file:
        return [
            Row(
                row["group"], row["method"], row["asked"], untold(row["best"]),
                int(row["bytes"]), *(float(row[one.name]) for one in fields(Row)[5:]),
            )
            for row in csv.DictReader(file)
        ]  # fmt: skip


def report(rows: list[Row], counts: dict[str, str]) -> str:
    parts = []
    if any(r.method == "opponent" for r in rows):
        parts += ["## Mean error: bits against the opponent\n", mean_table(rows)]
    parts += ["## Hard bound: bits against the best peer\n", bound_table(rows)]
    for group, count in counts.items():
        some = [r for r in rows if r.group == group]
        unit = "px" if any(r.asked.endswith("px") for r in some) else "mm"
        parts += [f"## {group}: {count}; errors in {unit}\n", full_table(some)]
    if any(r.best for r in rows):
        parts += [
            "## Settings that peers were smallest with, of all groups\n",
            settings_table(rows),
        ]
    return "\n".join([*parts, machine(), ""])


PACKED = ("zstd 19", "xz 9e", "blosc2", "pcodec")
CURVES = {
    "opponent": ("transform coder,\nno header charged", "#d55e00"),
    "motioncodec max error": ("motioncodec,\nmax error", "#0072b2"),
    "motioncodec mean error": ("motioncodec,\nmean error", "#56b4e9"),
    "packed": ("differences and the best\nof zstd, xz, blosc2, pcodec", "#009e73"),
    "Draco": ("Draco", "#e69f00"),
    "SZ3": ("SZ3", "#cc79a7"),
    "zfp": ("zfp", "#555555"),
}


def curve_rows(rows: list[Row], method: str) -> list[Row]:
    """Of one group, from coarse to fine; of packers the smallest at each bound."""
    if method != "packed":
        mine = [r for r in rows if r.method == method and r.asked != "lossless"]
        return sorted(mine, key=lambda r: r.bit_s)
    best: dict[str, Row] = {}
    for r in rows:
        if r.method in PACKED and r.asked != "lossless":
            best[r.asked] = min(best.get(r.asked, r), r, key=lambda one: one.bytes)
    return sorted(best.values(), key=lambda r: r.bit_s)


def draw(rows: list[Row], path: Path) -> None:
    """Error against bits of val and hdm05: needs matplotlib."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt
    from matplotlib.ticker import FuncFormatter

    groups = [name for name in ("val", "hdm05") if any(r.group == name for r in rows)]
    figure, axes = plt.subplots(2, len(groups), figsize=(6.5 * len(groups), 9), squeeze=False)
    plain = FuncFormatter(lambda v, _: f"{v:,g}")
    limits = {"mean": (0.25, 100), "max": (0.5, 700)}
    for column, group in enumerate(groups):
        some = [r for r in rows if r.group == group]
        for axis, (error, (low, high)) in zip(axes[:, column], limits.items()):
            axis.set(xscale="log", yscale="log", xlim=(75, 25_000), ylim=(low, high))
            ends = []
            for method, (label, colour) in CURVES.items():
                x = [r.bit_s for r in curve_rows(some, method)]
                y = [float(getattr(r, error)) for r in curve_rows(some, method)]
                if not x:
                    continue
                ours = method in OURS
                axis.plot(x, y, "o-" if ours else "-", color=colour, lw=2.2 if ours else 1.4, ms=4)
                height = np.log(max(y[-1], low) / low) / np.log(high / low)
                ends.append((round(float(height), 1), -x[-1], y[-1], label, colour))
            # Names in the margin, one below the other, each with a line to the end of its curve.
            below = -0.08
            for height, left, end, label, colour in sorted(ends):
                below = max(height, below + 0.08)
                axis.annotate(
                    label, (-left, end), (1.04, below), xycoords="data", textcoords="axes fraction",
                    color=colour, fontsize=8, va="center",
                    arrowprops={"arrowstyle": "-", "color": colour, "lw": 0.5, "shrinkB": 0},
                )  # fmt: skip
            for r in some:
                if r.method == "motioncodec preset":
                    at = (r.bit_s, getattr(r, error))
                    axis.plot(*at, "s", color="#0072b2", ms=5)
                    axis.annotate(
                        r.asked,
                        at,
                        (-6, -11),
                        textcoords="offset points",
                        ha="right",
                        color="#0072b2",
                        fontsize=8,
                    )
            axis.xaxis.set_major_formatter(plain)
            axis.yaxis.set_major_formatter(plain)
            axis.set_xticks([200, 500, 1000, 2000, 5000, 10_000, 20_000])
            axis.set_yticks([x for x in (0.5, 1, 2, 5, 10, 20, 50, 100, 200, 500) if x <= high])
            axis.minorticks_off()
            axis.grid(color="#dddddd", lw=0.6)
            axis.set_xlabel("bit/s")
            axis.set_ylabel(f"{'mean' if error == 'mean' else 'largest'} error, mm")
            axis.set_title(group)
            for side in ("top", "right"):
                axis.spines[side].set_visible(False)
    figure.tight_layout(w_pad=2)
    figure.savefig(path, dpi=130)


# Processes.


def peak() -> float:
    """This process's peak memory in MiB. What it was started by counts in ru_maxrss on Linux."""
    status = Path("/proc/self/status")
    if status.exists():
        line = next(x for x in status.read_text().splitlines() if x.startswith("VmHWM"))
        return int(line.split()[1]) / 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20  # bytes on macOS


def work(task: dict[str, Any]) -> None:
    """One method on one group, in a process of its own: rows as a line of JSON each."""
    shape = task["group"]
    group = Group(shape["name"], shape["unit"], tuple(shape["scales"]))
    method, folder = task["method"], Path(task["folder"])
    if method == "opponent":
        rows = opponent_rows(group, Path(task["opponent"]), Path(task["data"]), task["limit"])
    elif method in OURS:
        rows = our_rows(method, group, folder, task["efforts"])
    else:
        rows = peer_rows(method, group, folder)
    done = list(rows)
    for row in done:
        row.peak_mib = peak()
        print(json.dumps(asdict(row)))


def measured(method: str, group: Group, folder: Path, options: argparse.Namespace) -> list[Row]:
    """Rows of a method on a group; none, with a printed line, where its package is absent."""
    task = {
        "method": method, "group": asdict(group), "folder": str(folder), "limit": options.limit,
        "opponent": str(options.opponent), "data": str(options.data),
        "efforts": [int(effort) for effort in options.efforts.split(",") if effort],
    }  # fmt: skip
    began = time.perf_counter()
    ran = subprocess.run(
        [sys.executable, __file__, "--task", json.dumps(task)], capture_output=True, text=True
    )
    last = ran.stderr.strip().split("\n")[-1]
    if ran.returncode and last.startswith("ModuleNotFoundError"):
        print(f"{method}: left out: {last}", file=sys.stderr, flush=True)
        return []
    if ran.returncode:
        raise SystemExit(f"{method} on {group.name}:\n{ran.stderr}")
    rows = [Row(**json.loads(line)) for line in ran.stdout.splitlines() if line.startswith("{")]
    taken = time.perf_counter() - began
    print(f"{group.name}: {method}: {len(rows)} rows, {taken:.0f} s", file=sys.stderr, flush=True)
    return rows


def chosen(given: str | None, known: list[str]) -> list[str]:
    """Names that one of the given ones, separated by commas, begins."""
    if given is None:
        return known
    wanted = given.split(",")
    strange = [one for one in wanted if not any(name.startswith(one) for name in known)]
    if strange:
        raise SystemExit(f"expected some of {', '.join(known)}, found {', '.join(strange)}")
    return [name for name in known if any(name.startswith(one) for one in wanted)]


def with_earlier(
    rows: list[Row], counts: dict[str, str], options: argparse.Namespace
) -> tuple[list[Row], dict[str, str], str]:
    """Rows and counts with those of an earlier run where there are none, and what says so."""
    anew = {(row.group, row.method) for row in rows}
    kept = [row for row in read_rows(options.keep) if (row.group, row.method) not in anew]
    for name in dict.fromkeys(row.group for row in kept):
        counts.setdefault(name, counted(gathered(name, options)))
    order = [(group, method) for group in GROUPS for method in (*OURS, "opponent", *PEERS)]
    note = (
        f"\nOf this run: {'; '.join(f'{method} on {group}' for group, method in sorted(anew))}. "
        "The other rows are of an earlier one, on another machine: bytes and errors do not depend "
        "on it, speeds do.\n"
    )
    return (
        sorted([*rows, *kept], key=lambda row: order.index((row.group, row.method))),
        {group: counts[group] for group in GROUPS if group in counts},
        note,
    )


def main() -> None:
    if sys.argv[1:2] == ["--task"]:
        return work(json.loads(sys.argv[2]))
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("--opponent", type=Path)
    parser.add_argument("--samples", type=Path)
    parser.add_argument("--groups", help="some of " + ",".join(GROUPS))
    parser.add_argument("--methods", help="names, or how they begin")
    parser.add_argument("--efforts", default="", help="further ones, for f16 and f8: slow")
    parser.add_argument("--limit", type=int, help="clips of each group at most")
    parser.add_argument("--keep", type=Path, help="CSV of an earlier run")
    parser.add_argument("--csv", type=Path)
    parser.add_argument("--markdown", type=Path)
    parser.add_argument("--plot", type=Path)
    options = parser.parse_args()
    methods = chosen(options.methods, [*OURS, "opponent", *PEERS])
    names = GROUPS if options.groups is None else options.groups.split(",")
    rows: list[Row] = []
    counts = {}
    with tempfile.TemporaryDirectory() as scratch:
        for name in names:
            clips = gathered(name, options)[: options.limit]
            if not clips:
                print(f"{name}: left out: no clips", file=sys.stderr)
                continue
            counts[name] = counted(clips)
            folder = Path(scratch) / name.replace(" ", "_").replace("/", "_")
            group = put(name, clips, folder)
            for method in methods:
                if method == "opponent" and not (options.opponent and name in ("val", "hdm05")):
                    continue
                rows += measured(method, group, folder, options)
    note = ""
    if options.keep:
        rows, counts, note = with_earlier(rows, counts, options)
    text = report(rows, counts) + note
    print(text)
    if options.csv:
        with options.csv.open("w", newline="") as file:
            writer = csv.DictWriter(file, list(asdict(rows[0])))
            writer.writeheader()
            writer.writerows(asdict(row) | {"best": told(row.best)} for row in rows)
    if options.markdown:
        options.markdown.write_text(
            "# Bytes against error, beside every peer\n\nWritten by "
            "`benchmarks/rate_distortion.py`, whose first lines say what is measured and how. "
            f"Encode and decode in frames a second.\n\n{text}"
        )
    if options.plot:
        draw(rows, options.plot)


if __name__ == "__main__":
    main()
