"""NumPy's own files: ``.npy``, one bare array, and ``.npz``, the contract of this project.

An ``.npz`` holds ``keypoints`` (T, K, D) or (T, P, K, D) float32 and optionally ``confidence``
(T, K) or (T, P, K), ``frame_rate``, ``joints`` (K names), ``units`` (m, cm, mm, px), ``up`` (x, y,
z, -x, -y, -z) and ``people`` (P ids). Other fields that hold one string or number are read into the
clip's metadata. Pickled objects are never loaded.

Two forms of others are understood beside the contract:

- *AMASS-like* ``.npz`` without ``keypoints``: positions (T, K, 3) as ``joints`` (numbers, where the
  contract has names), ``Jtr``, ``jtr``, ``joint_positions`` or ``poses_joints``, at
  ``mocap_framerate``; metres, z up; 22, 24, 52 and 55 joints are SMPL's, SMPL-H's and SMPL-X's. A
  file of body parameters alone (``poses``, ``betas``, ``trans``) has no positions and is refused.
- *HumanML3D* ``.npy``: (T, 22, 3) joints of SMPL, or (T, 263) features, from which these are
  recovered; metres, y up, 20 frames/s unless the caller says otherwise.
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
from functools import lru_cache
from typing import Any, BinaryIO

import numpy as np
from numpy.lib import format as npy_format
from numpy.typing import NDArray

from motioncodec.clip import Clip
from motioncodec.errors import FormatError
from motioncodec.io.source import MAX_BYTES, Source, short
from motioncodec.skeleton import find_skeleton

# What NumPy and zipfile raise on bytes that are not what they say.
_DAMAGE = (
    ValueError, TypeError, KeyError, IndexError, AttributeError, EOFError, OSError, SyntaxError,
    RecursionError, MemoryError, OverflowError, RuntimeError, NotImplementedError, struct.error,
    tokenize.TokenError, zipfile.BadZipFile, zlib.error, lzma.LZMAError,
)  # fmt: skip

_FIRST_ZIP_DATE = (1980, 1, 1, 0, 0, 0)
_METADATA_BYTES = 2**16
_SMALL = 2**20
_HEADER_BYTES = 2**16
_HEADERS = {
    (1, 0): npy_format.read_array_header_1_0,
    (2, 0): npy_format.read_array_header_2_0,
}
_POSITIONS = ("joints", "Jtr", "jtr", "joint_positions", "poses_joints")
_RATES = ("mocap_framerate", "mocap_frame_rate")
_BODY_PARAMETERS = ("poses", "betas", "trans", "pose_body", "root_orient")
_FINGERS = tuple(
    f"{side}_{finger}{i}"
    for side in ("left", "right")
    for finger in ("index", "middle", "pinky", "ring", "thumb")
    for i in (1, 2, 3)
)
_SMPL_22 = find_skeleton("smpl-22").joints
# Joint names of the SMPL family by their number.
_SMPL: dict[int, tuple[str, ...]] = {
    22: _SMPL_22,
    24: find_skeleton("smpl-24").joints,
    52: (*_SMPL_22, *_FINGERS),
    55: (*_SMPL_22, "jaw", "left_eye_smplhf", "right_eye_smplhf", *_FINGERS),
}
HUMANML3D_FRAME_RATE = 20.0
_HUMANML3D_FEATURES = 263
_FIELDS = ("keypoints", "confidence", "frame_rate", "joints", "units", "up", "people")


def _read_array(source: Source, stream: Any, size: int, what: str) -> NDArray[Any]:
    """One ``.npy`` array of ``size`` bytes in all, allocated only once its header adds up."""
    try:
        version = npy_format.read_magic(stream)
        if version not in _HEADERS:
            raise ValueError(f"version {version[0]}.{version[1]}")
        length = stream.read(2 * version[0])
        text = stream.read(min(int.from_bytes(length, "little"), _HEADER_BYTES))
        shape, columns_first, dtype = _header(version, length + text)
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


@lru_cache(maxsize=256)
def _header(version: tuple[int, int], text: bytes) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    """Shape, order and kind of an array; one archive's files mostly have the same."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return _HEADERS[version](io.BytesIO(text))


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


def _one_number(source: Source, fields: dict[str, NDArray[Any]], what: str) -> float | None:
    if what not in fields:
        return None
    if _numbers(source, fields[what], what).size != 1:
        raise source.error(f"{what}: expected one number, found {fields[what].size}")
    return float(fields[what].reshape(-1)[0])


def _smpl_clip(source: Source, fields: dict[str, NDArray[Any]], positions: str) -> Clip:
    keypoints = _keypoints(source, fields[positions])
    rates = [_one_number(source, fields, name) for name in (*_RATES, "frame_rate", "fps")]
    return source.clip(
        keypoints,
        joints=_SMPL.get(keypoints.shape[-2]),
        frame_rate=next((rate for rate in rates if rate is not None), None),
        units="m" if keypoints.shape[-1] == 3 else None,
        up="z" if keypoints.shape[-1] == 3 else None,
        metadata={"gender": _one_string(source, fields["gender"], "gender")}
        if "gender" in fields and fields["gender"].dtype.kind in "US"
        else None,
    )


def _bare(clip: Clip) -> bool:
    """Whether the one-person axis is left out: one person, who has no id to keep."""
    return clip.persons == 1 and not clip.people


def read_npy(source: Source) -> Clip:
    """A bare array: (T, K, D) or (T, P, K, D); the caller gives the frame rate."""
    data = source.read_bytes()
    array = _read_array(source, io.BytesIO(data), len(data), "array")
    if array.ndim == 2 and array.shape[1] == _HUMANML3D_FEATURES:
        source.check_size(len(array), 1, _HUMANML3D_FEATURES, 1)
        array = _recovered(_numbers(source, array, "array"))
    if array.ndim == 3 and array.shape[1:] == (22, 3):
        return source.clip(
            _keypoints(source, array),
            joints=find_skeleton("smpl-22"),
            frame_rate=HUMANML3D_FRAME_RATE,
        )
    return source.clip(_keypoints(source, array))


def _recovered(features: NDArray[np.float32]) -> NDArray[np.float32]:
    """(T, 22, 3) positions of HumanML3D's features (T, 263), which are told from the moving root.

    Of a frame's features number 0 is half the root's turn about y to the next frame (radians), 1
    and 2 its step in x and z as the root sees it, 3 its height, and 4 to 66 the other joints, taken
    from the point below the root, as the root sees them.
    """
    values = features.astype(np.float64)
    turn = np.concatenate([[0.0], 2 * np.cumsum(values[:-1, 0])]) if len(values) else np.zeros(0)
    cosine, sine = np.cos(turn), np.sin(turn)

    def to_world(x: NDArray[np.float64], z: NDArray[np.float64], extra: int) -> Any:
        c, s = (v.reshape(-1, *[1] * extra) for v in (cosine, sine))
        return x * c - z * s, x * s + z * c

    steps = np.concatenate([np.zeros((1, 2)), values[:-1, 1:3]])[: len(values)]
    root_x, root_z = (np.cumsum(v) for v in to_world(steps[:, 0], steps[:, 1], 0))
    places = values[:, 4:67].reshape(-1, 21, 3)
    x, z = to_world(places[..., 0], places[..., 2], 1)
    out = np.empty((len(values), 22, 3), dtype=np.float32)
    with np.errstate(over="ignore", invalid="ignore"):
        out[:, 0] = np.stack([root_x, values[:, 3], root_z], axis=-1)
        out[:, 1:, 0], out[:, 1:, 2] = x + root_x[:, None], z + root_z[:, None]
        out[:, 1:, 1] = places[..., 1]
    return out


def write_npy(clip: Clip, stream: BinaryIO) -> None:
    """The keypoints alone: (T, K, D) for one person, else (T, P, K, D)."""
    keypoints = clip.keypoints[:, 0] if clip.persons == 1 else clip.keypoints
    npy_format.write_array(stream, np.ascontiguousarray(keypoints), (1, 0), allow_pickle=False)


def read_npz(source: Source) -> Clip:
    """A clip as in the module's contract, or AMASS-like positions."""
    fields: dict[str, NDArray[Any]] = {}
    names: set[str] = set()
    try:
        with zipfile.ZipFile(source.opened()) as archive:
            for info in archive.infolist():
                field = info.filename.removesuffix(".npy")
                names.add(field)
                known = field in _FIELDS or field in _POSITIONS
                wanted = known or info.file_size <= _METADATA_BYTES
                if not (wanted and info.filename.endswith(".npy")):
                    continue
                if info.file_size > MAX_BYTES:
                    raise source.error(
                        f"{field}: expected at most {MAX_BYTES} bytes, found {info.file_size}"
                    )
                # Many small reads of a member take longer than a small member.
                small = info.file_size <= _SMALL
                with io.BytesIO(archive.read(info)) if small else archive.open(info) as stream:
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
    positions = next((n for n in _POSITIONS if n in fields and fields[n].ndim > 1), None)
    if "keypoints" not in fields and positions:
        return _smpl_clip(source, fields, positions)
    if "keypoints" not in fields and not names.isdisjoint(_BODY_PARAMETERS):
        raise source.error(
            "expected joint positions, found parameters of a body model "
            f"({', '.join(sorted(names.intersection(_BODY_PARAMETERS)))}); run the body model and "
            "save its joints (T, K, 3) under the name joints"
        )
    if "keypoints" not in fields:
        found = ", ".join(sorted(fields)) or "nothing"
        raise source.error(
            f"expected an array named keypoints, found {short(found, 80)}; save the (T, K, D) or "
            "(T, P, K, D) positions under that name"
        )
    frame_rate = _one_number(source, fields, "frame_rate")
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
