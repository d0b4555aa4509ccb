"""Files to clips and back: one format a module, one registry.

>>> clip = read_clip("walk.bvh")                                        # doctest: +SKIP
>>> write_clip(clip, "walk.npz")                                        # doctest: +SKIP
"""

from __future__ import annotations

import io
import os
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import partial
from importlib import import_module
from pathlib import Path, PurePath
from typing import Any, BinaryIO

from motioncodec.clip import Clip
from motioncodec.errors import FormatError
from motioncodec.io import storage
from motioncodec.io.source import MAX_BYTES, Siblings, Source, decode_text

__all__ = [
    "FORMATS",
    "MAX_BYTES",
    "READERS",
    "WRITERS",
    "Format",
    "is_frame",
    "read_clip",
    "write_clip",
    "write_whole",
]


@dataclass(frozen=True)
class Format:
    """One file format.

    Attributes:
        name: as options and messages have it.
        suffixes: of its files, lower case.
        description: a line about it.
        carries: what it has room for beside positions.
        read, write: its reader and writer, None where there is none.
        extra: what to install beside the package to read all of it, or nothing.
    """

    name: str
    suffixes: tuple[str, ...]
    description: str
    carries: str
    read: Callable[[Source], Clip] | None = None
    write: Callable[[Clip, BinaryIO], None] | None = None
    extra: str = ""

    @property
    def can_read(self) -> bool:
        """Whether :func:`read_clip` reads it."""
        return self.read is not None

    @property
    def can_write(self) -> bool:
        """Whether :func:`write_clip` writes it."""
        return self.write is not None


def _from(module: str, name: str) -> Callable[..., Any]:
    """A function of one of the modules here, which waits to be imported until it is called: what
    starts to show a help text need not read a dozen of them."""

    def call(*arguments: Any) -> Any:
        return getattr(import_module(f"{__name__}.{module}"), name)(*arguments)

    return call


is_frame: Callable[[bytes], bool] = _from("poses", "is_frame")
_read_frames: Callable[..., Clip] = _from("poses", "read_frames")

FORMATS: dict[str, Format] = {
    one.name: one
    for one in (
        Format(
            "npz", (".npz",), "NumPy archive, this project's contract; AMASS-like joints",
            "people, confidence, frame rate, joint names, units, up axis, metadata",
            _from("npy", "read_npz"), _from("npy", "write_npz"),
        ),
        Format(
            "npy", (".npy",), "NumPy array of keypoints alone; HumanML3D", "people",
            _from("npy", "read_npy"), _from("npy", "write_npy"),
        ),
        Format(
            "bvh", (".bvh",), "Biovision hierarchy; written with rotations solved from positions",
            "people, frame rate, joint names; no missing joints",
            _from("bvh", "read_bvh"), _from("bvh", "write_bvh"),
        ),
        Format(
            "c3d", (".c3d",), "points of biomechanics' binary file",
            "people, frame rate, point names, units, up axis",
            _from("c3d", "read_c3d"), _from("c3d", "write_c3d"),
        ),
        Format(
            "amc", (".amc",), "Acclaim motion, its skeleton (.asf) beside it", "joint names",
            _from("amc", "read_amc"),
        ),
        Format(
            "trc", (".trc",), "OpenSim's table of markers", "frame rate, marker names, units",
            _from("trc", "read_trc"), _from("trc", "write_trc"),
        ),
        Format(
            "csv", (".csv", ".tsv", ".txt"), "wide and long tables, DeepLabCut's",
            "people, confidence, frame rate, joint names, units, up axis",
            _from("tables", "read_csv"), _from("tables", "write_csv"),
        ),
        Format(
            "json", (".json",),
            "OpenPose, AlphaPose, MMPose, COCO, PoseTrack, MediaPipe, Panoptic: one file, or a "
            "folder, tar or zip of frames; written as OpenPose frames in one file",
            "people, confidence, joint names; as written also frame rate, units, up axis",
            _from("poses", "read_json"), _from("poses", "write_json"),
        ),
        Format(
            "pose", (".pose",), "pose-format's file, MediaPipe Holistic",
            "people, confidence, frame rate, joint names",
            _from("pose", "read_pose"), _from("pose", "write_pose"), "pose",
        ),
        Format(
            "kinect", (".skeleton",), "Kinect text: NTU RGB+D, UTKinect, MSR Action3D",
            "people, confidence", _from("kinect", "read_kinect"),
        ),
        Format(
            "hdf5", (".h5", ".hdf5", ".slp"), "DeepLabCut's and SLEAP's files",
            "people, confidence, joint names", _from("hdf5", "read_hdf5"),
            extra="hdf5, for .slp sleap",
        ),
    )
}  # fmt: skip
"""Every format by name."""

READERS: tuple[str, ...] = tuple(name for name, one in FORMATS.items() if one.can_read)
"""Names of the formats that can be read."""

WRITERS: tuple[str, ...] = tuple(name for name, one in FORMATS.items() if one.can_write)
"""Names of the formats that can be written."""


def read_clip(
    source: str | os.PathLike[str] | bytes | BinaryIO | Mapping[str, bytes],
    *,
    input_format: str | None = None,
    name: str | None = None,
    frame_rate: float | None = None,
    skeleton: str | None = None,
    units: str | None = None,
    up: str | None = None,
    beside: Mapping[str, bytes] | None = None,
) -> Clip:
    """Reads a clip; the format is told by the content first and the suffix second.

    Args:
        source: a path or an address that fsspec opens (a file, or a folder of JSON frames), the
            bytes of a file, a binary stream, which is read to its end, or JSON frames by name.
        input_format: one of :data:`READERS`, in place of telling it from the content.
        name: what messages call the input; its suffix counts as the input's.
        frame_rate: frames per second; goes over what the file says.
        skeleton: a registered skeleton that names the joints in file order.
        units: unit of the coordinates as they are (nothing is rescaled): m, cm, mm or px.
        up: axis that points up (nothing is turned): x, y, z, -x, -y or -z.
        beside: content, by name, of files that the input may need, where it is no path.

    Raises:
        FormatError: the input is absent, damaged, of no known format, or lacks something that
            must be given; one line says what.
        ClipError: ``skeleton`` is not a registered one.
    """
    if input_format is not None and input_format not in READERS:
        raise FormatError(f"input format {input_format!r}: expected one of {', '.join(READERS)}")
    said: dict[str, Any] = {
        "frame_rate": frame_rate,
        "skeleton": skeleton,
        "units": units,
        "up": up,
    }
    siblings: Siblings | None = None
    if beside is not None:
        siblings = partial(_listed, beside)
    if isinstance(source, Mapping):
        return _read_frames(Source(name or "<frames>", **said), source.items())
    if isinstance(source, bytes):
        file: BinaryIO = io.BytesIO(source)
        label = name or "<bytes>"
    elif isinstance(source, (str, os.PathLike)):
        path = storage.settle(os.fspath(source))
        label = name or path
        if "\0" in path:
            raise FormatError(f"{label!r}: expected a path, found a NUL in it")
        try:
            if storage.is_folder(path):
                if storage.is_address(path):
                    return _read_frames(Source(label, **said), _remote_frames(path))
                return _read(Source(label, None, Path(path), **said), input_format or "json")
            with storage.open_input(path) as opened:
                siblings = None if storage.is_address(path) else _siblings(Path(path))
                return _read(Source(label, opened, siblings=siblings, **said), input_format)
        except OSError as error:
            raise FormatError(
                f"{label}: expected a readable file, found: {error.strerror or error}"
            ) from None
    else:
        label = name or str(getattr(source, "name", "<stream>"))
        opened_as = getattr(source, "name", None)
        if siblings is None and isinstance(opened_as, str) and os.path.isfile(opened_as):
            siblings = _siblings(Path(opened_as))
        try:
            file = io.BytesIO(_drain(source, label))
        except OSError as error:
            raise FormatError(f"{label}: expected a readable stream, found: {error}") from None
    return _read(Source(label, file, siblings=siblings, **said), input_format)


def _listed(beside: Mapping[str, bytes]) -> dict[str, Callable[[], bytes]]:
    return {name: partial(bytes, data) for name, data in beside.items()}


def _remote_frames(folder: str) -> Iterator[tuple[str, bytes]]:
    """JSON files of a folder at an address."""
    for below, names in storage.walk(folder):
        for name in () if below else names:
            if name.lower().endswith(".json"):
                with storage.open_input(storage.join(folder, name)) as stream:
                    yield name, _drain(stream, name)


def _drain(stream: BinaryIO, label: str) -> bytes:
    data = stream.read(MAX_BYTES + 1)
    if len(data) > MAX_BYTES:
        raise FormatError(f"{label}: expected at most {MAX_BYTES} bytes, found more")
    return data


def _siblings(path: Path) -> Siblings:
    """What lists the files in the folder of ``path``, once it is asked."""

    def read(one: Path) -> bytes:
        with one.open("rb") as stream:
            return _drain(stream, os.fspath(one))

    return lambda: {one.name: partial(read, one) for one in path.parent.iterdir() if one.is_file()}


def _read(source: Source, input_format: str | None) -> Clip:
    from motioncodec.io.packed import unzipped

    if source.folder is None and (inside := unzipped(source)) is not None:
        source = replace(source, file=inside)
    reader = FORMATS[input_format or _detect(source)].read
    assert reader is not None
    return reader(source)


def _detect(source: Source) -> str:
    """The format's name by the first bytes, else by the suffix."""
    from motioncodec.io.hdf5 import MAGIC
    from motioncodec.io.kinect import is_kinect
    from motioncodec.io.packed import is_packed
    from motioncodec.io.pose import is_pose

    file = source.opened()
    head = file.read(65536)
    file.seek(0)
    if not head.strip():
        raise source.error("expected a clip, found an empty file")
    if is_packed(file):
        return "json"
    if head.startswith(b"PK"):
        return "npz"
    if head.startswith(b"\x93NUMPY"):
        return "npy"
    if head[1:2] == b"\x50" and b"\0" in head[:20]:
        return "c3d"
    if head.startswith(MAGIC):
        return "hdf5"
    if is_pose(head):
        return "pose"
    text = decode_text(head).lstrip()
    if text[:9].upper() == "HIERARCHY":
        return "bvh"
    if text[:12].lower() == "pathfiletype":
        return "trc"
    if re.search(r"^:(FULLY-SPECIFIED|DEGREES|RADIANS|BONEDATA)\b", text, re.M | re.I):
        return "amc"
    if text.startswith(("{", "[")):
        return "json"
    if is_kinect(text):
        return "kinect"
    suffix = PurePath(source.name.lower().removesuffix(".gz")).suffix
    for one in FORMATS.values():
        if suffix in one.suffixes and one.can_read:
            return one.name
    header = next((line for line in text.splitlines() if not line.lstrip().startswith("#")), "")
    if "\0" not in text and any(mark in header for mark in ",;\t"):
        return "csv"
    raise source.error(
        f"expected one of the formats {', '.join(READERS)}, found none of them; name it with "
        "--input-format"
    )


def write_clip(
    clip: Clip, target: str | os.PathLike[str] | BinaryIO, *, format: str | None = None
) -> None:
    """Writes a clip; a file at a path appears whole or not at all.

    Args:
        clip: what to write. ``npz`` keeps everything, ``csv`` and ``json`` everything but the
            metadata, ``c3d`` and ``trc`` no confidence either, ``npy`` the positions alone;
            ``bvh`` solves rotations for them.
        target: a path or a binary stream.
        format: one of :data:`WRITERS`; by the path's suffix if not given.

    Raises:
        FormatError: no such format, or the file cannot be written.
    """
    if isinstance(target, (str, os.PathLike)):
        label = os.fspath(target)
        suffix = PurePath(label).suffix.lower()
        chosen = format or next(
            (one.name for one in FORMATS.values() if suffix in one.suffixes), suffix
        )
    else:
        label, chosen = str(getattr(target, "name", "<stream>")), format or ""
    writer = FORMATS[chosen].write if chosen in FORMATS else None
    if writer is None:
        raise FormatError(
            f"{label}: expected an output format among {', '.join(WRITERS)}, found "
            f"{chosen or 'none'}; name one with --format"
        )
    if isinstance(target, (str, os.PathLike)):
        write_whole(target, lambda stream: writer(clip, stream))
    else:
        # Built in memory first, so that the bytes do not depend on what the stream can do.
        buffer = io.BytesIO()
        writer(clip, buffer)
        target.write(buffer.getbuffer())


def write_whole(target: str | os.PathLike[str], write: Callable[[BinaryIO], object]) -> None:
    """A file that appears whole or not at all: written beside ``target`` under another name, then
    renamed. A link stays a link, and what is no file (``/dev/stdout``, a pipe) is written to.

    Raises:
        FormatError: the file cannot be written.
    """
    path = storage.settle(os.fspath(target))
    try:
        with storage.whole_file(path, replace=True) as stream:
            write(stream)
    except OSError as error:
        raise FormatError(
            f"{path}: expected a writable path, found: {error.strerror or error}"
        ) from None
