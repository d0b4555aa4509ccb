"""NumPy's own files: ``.npy``, one bare array, and ``.npz``, the contract of this project.

An ``.npz`` holds ``keypoints`` (T, K, D) or (T, P, K, D) float32 and optionally ``confidence``
(T, K) or (T, P, K), ``frame_rate``, ``joints`` (K names), ``units`` (m, cm, mm, px), ``up`` (x, y,
z, -x, -y, -z) and ``people`` (P ids). Other fields that hold one string or number are read into the
clip's metadata. Pickled objects are never loaded.
"""

from __future__ import annotations

import io
import lzma
import math
import struct
import tokenize
import warnings
import zipfile
import zlib
from typing import Any, BinaryIO

import numpy as np
from numpy.lib import format as npy_format
from numpy.typing import NDArray

from motioncodec.clip import Clip
from motioncodec.errors import FormatError
from motioncodec.io.source import MAX_BYTES, Source, short

# What NumPy and zipfile raise on bytes that are not what they say.
_DAMAGE = (
    ValueError, TypeError, KeyError, IndexError, AttributeError, EOFError, OSError, SyntaxError,
    RecursionError, MemoryError, OverflowError, RuntimeError, NotImplementedError, struct.error,
    tokenize.TokenError, zipfile.BadZipFile, zlib.error, lzma.LZMAError,
)  # fmt: skip

_FIRST_ZIP_DATE = (1980, 1, 1, 0, 0, 0)
_METADATA_BYTES = 2**16
_FIELDS = ("keypoints", "confidence", "frame_rate", "joints", "units", "up", "people")


def _read_array(source: Source, stream: Any, size: int, what: str) -> NDArray[Any]:
    """One ``.npy`` array of ``size`` bytes in all, allocated only once its header adds up."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            version = npy_format.read_magic(stream)
            if version == (1, 0):
                shape, columns_first, dtype = npy_format.read_array_header_1_0(stream)
            elif version == (2, 0):
                shape, columns_first, dtype = npy_format.read_array_header_2_0(stream)
            else:
                raise ValueError(f"version {version[0]}.{version[1]}")
        if dtype.kind not in "fiubUS":
            raise source.error(
                f"{what}: expected numbers or text, found {short(str(dtype))}; save plain arrays, "
                "for objects are never loaded"
            )
        need = math.prod(shape) * dtype.itemsize
        if min(shape, default=0) < 0 or need > min(size, MAX_BYTES):
            raise source.error(
                f"{what}: expected the {need} bytes that its header promises, found {size}; "
                "the file is damaged or cut short"
            )
        data = stream.read(need)
        if len(data) < need:
            raise source.error(
                f"{what}: expected {need} bytes, found {len(data)}; the file is cut short"
            )
        return np.frombuffer(data, dtype).reshape(shape, order="F" if columns_first else "C")
    except _DAMAGE as error:
        raise source.error(
            f"{what}: expected a NumPy array, found damaged data ({short(str(error), 60)}); "
            "save it again"
        ) from None


def _numbers(source: Source, array: NDArray[Any], what: str) -> NDArray[np.float32]:
    if array.dtype.kind not in "fiub":
        raise source.error(f"{what}: expected numbers, found {array.dtype}")
    with np.errstate(over="ignore", invalid="ignore"):
        return array.astype(np.float32, copy=False)


def _keypoints(source: Source, array: NDArray[Any]) -> NDArray[np.float32]:
    if array.ndim not in (3, 4) or array.shape[-1] not in (2, 3):
        raise source.error(
            "keypoints: expected shape (T, K, D) or (T, P, K, D) with D 2 or 3, "
            f"found {array.shape}"
        )
    persons = array.shape[1] if array.ndim == 4 else 1
    source.check_size(array.shape[0], persons, array.shape[-2], array.shape[-1])
    return _numbers(source, array, "keypoints")


def _strings(source: Source, array: NDArray[Any], what: str) -> list[str]:
    if array.ndim > 1 or array.dtype.kind not in "USiu":
        raise source.error(f"{what}: expected text, found {array.dtype} of shape {array.shape}")
    values = array.reshape(-1).tolist()
    return [v.decode("utf-8", "replace") if isinstance(v, bytes) else str(v) for v in values]


def _one_string(source: Source, array: NDArray[Any], what: str) -> str:
    values = _strings(source, array, what)
    if len(values) != 1:
        raise source.error(f"{what}: expected one value, found {len(values)}")
    return values[0]


def _bare(clip: Clip) -> bool:
    """Whether the one-person axis is left out: one person, who has no id to keep."""
    return clip.persons == 1 and not clip.people


def read_npy(source: Source) -> Clip:
    """A bare array: (T, K, D) or (T, P, K, D); the caller gives the frame rate."""
    data = source.read_bytes()
    array = _read_array(source, io.BytesIO(data), len(data), "array")
    return source.clip(_keypoints(source, array))


def write_npy(clip: Clip, stream: BinaryIO) -> None:
    """The keypoints alone: (T, K, D) for one person, else (T, P, K, D)."""
    keypoints = clip.keypoints[:, 0] if clip.persons == 1 else clip.keypoints
    npy_format.write_array(stream, np.ascontiguousarray(keypoints), (1, 0), allow_pickle=False)


def read_npz(source: Source) -> Clip:
    """A clip as in the module's contract."""
    fields: dict[str, NDArray[Any]] = {}
    try:
        with zipfile.ZipFile(source.opened()) as archive:
            for info in archive.infolist():
                field = info.filename.removesuffix(".npy")
                known = field in _FIELDS
                wanted = known or info.file_size <= _METADATA_BYTES
                if not (wanted and info.filename.endswith(".npy")):
                    continue
                if info.file_size > MAX_BYTES:
                    raise source.error(
                        f"{field}: expected at most {MAX_BYTES} bytes, found {info.file_size}"
                    )
                with archive.open(info) as stream:
                    try:
                        fields[field] = _read_array(source, stream, info.file_size, field)
                    except FormatError:
                        if known:
                            raise
    except _DAMAGE as error:
        raise source.error(
            f"expected an npz (zip) archive, found damaged data ({short(str(error), 60)}); "
            "save it again"
        ) from None
    if "keypoints" not in fields:
        found = ", ".join(sorted(fields)) or "nothing"
        raise source.error(
            f"expected an array named keypoints, found {short(found, 80)}; save the (T, K, D) or "
            "(T, P, K, D) positions under that name"
        )
    frame_rate = None
    if "frame_rate" in fields:
        rate = _numbers(source, fields["frame_rate"], "frame_rate")
        if rate.size != 1:
            raise source.error(f"frame_rate: expected one number, found {rate.size}")
        frame_rate = float(fields["frame_rate"].reshape(-1)[0])
    joints = _strings(source, fields["joints"], "joints") if "joints" in fields else None
    people = _strings(source, fields["people"], "people") if "people" in fields else []
    confidence = (
        _numbers(source, fields["confidence"], "confidence") if "confidence" in fields else None
    )
    metadata = {
        name: array.item() if array.dtype.kind != "S" else _one_string(source, array, name)
        for name, array in fields.items()
        if name not in _FIELDS and array.size == 1
    }
    return source.clip(
        _keypoints(source, fields["keypoints"]),
        joints=joints,
        frame_rate=frame_rate,
        confidence=confidence,
        units=_one_string(source, fields["units"], "units") if "units" in fields else None,
        up=_one_string(source, fields["up"], "up") if "up" in fields else None,
        people=people,
        metadata=metadata,
    )


def write_npz(clip: Clip, stream: BinaryIO) -> None:
    """A clip as in the module's contract; the same clip gives the same bytes."""
    one = _bare(clip)
    fields: dict[str, NDArray[Any]] = {
        "keypoints": clip.keypoints[:, 0] if one else clip.keypoints,
        "frame_rate": np.array(clip.frame_rate, dtype=np.float64),
        "joints": np.array(clip.skeleton.joints, dtype=np.str_),
        "units": np.array(clip.units, dtype=np.str_),
        "up": np.array(clip.up, dtype=np.str_),
    }
    if clip.confidence is not None:
        fields["confidence"] = clip.confidence[:, 0] if one else clip.confidence
    if clip.people:
        fields["people"] = np.array(clip.people, dtype=np.str_)
    for name, value in clip.metadata.items():
        # What was read as a field of its own goes back as one.
        if name.isidentifier() and name not in fields and isinstance(value, str | int | float):
            fields[name] = np.array(value)
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, array in fields.items():
            info = zipfile.ZipInfo(f"{name}.npy", _FIRST_ZIP_DATE)
            info.compress_type = zipfile.ZIP_DEFLATED
            # The same on every system, or the bytes would differ between them.
            info.create_system, info.external_attr = 3, 0o644 << 16
            large = array.nbytes > 2**30
            with archive.open(info, "w", force_zip64=large) as member:
                npy_format.write_array(
                    member, np.ascontiguousarray(array).reshape(array.shape), (1, 0),
                    allow_pickle=False,
                )  # fmt: skip
