"""Files in files: gzip around any format, and a tar or zip of one clip's JSON frames.

Nothing is written to disk, and a member's name is only ever read for its number.
"""

from __future__ import annotations

import gzip
import io
import lzma
import tarfile
import zipfile
import zlib
from collections.abc import Iterator
from typing import BinaryIO

from motioncodec.io.source import MAX_BYTES, Source, short

_DAMAGE = (
    OSError, EOFError, ValueError, RuntimeError, NotImplementedError, OverflowError, KeyError,
    zlib.error, lzma.LZMAError, tarfile.TarError, zipfile.BadZipFile,
)  # fmt: skip
_CHUNK = 2**20
MAX_FILES = 10**7


def unzipped(source: Source) -> BinaryIO | None:
    """What a gzip file holds, in memory, at most :data:`MAX_BYTES`; None where it is none."""
    file = source.opened()
    magic = file.read(2)
    file.seek(0)
    if magic != b"\x1f\x8b":
        return None
    out = io.BytesIO()
    try:
        with gzip.GzipFile(fileobj=file) as stream:
            while chunk := stream.read(_CHUNK):
                if out.tell() + len(chunk) > MAX_BYTES:
                    raise source.error(
                        f"expected at most {MAX_BYTES} bytes within the gzip, found more"
                    )
                out.write(chunk)
    except _DAMAGE as error:
        raise source.error(
            f"expected a gzip file, found damaged data ({short(str(error), 60)}); it may be cut "
            "short"
        ) from None
    out.seek(0)
    return out


def is_packed(file: BinaryIO) -> bool:
    """Whether it is a tar, or a zip, of .json files: the frames of a clip."""
    head = file.read(512)
    file.seek(0)
    if head[257:262] == b"ustar":
        return True
    if not head.startswith(b"PK") or b".npy" in head[30:128]:  # the first member's name
        return False
    try:
        with zipfile.ZipFile(file) as archive:
            names = archive.namelist()
    except _DAMAGE:
        names = []
    file.seek(0)
    return any(map(_is_json, names)) and not any(name.endswith(".npy") for name in names)


def _is_json(name: str) -> bool:
    return name.lower().endswith(".json") and not name.rpartition("/")[2].startswith(".")


def packed_frames(source: Source) -> Iterator[tuple[str, bytes]]:
    """Name and content of each .json file in a tar or zip."""
    file = source.opened()
    zipped = file.read(2) == b"PK"
    file.seek(0)
    try:
        yield from _zip_files(source, file) if zipped else _tar_files(source, file)
    except _DAMAGE as error:
        raise source.error(
            f"expected a tar or zip of .json frames, found damaged data ({short(str(error), 60)})"
        ) from None


def _zip_files(source: Source, file: BinaryIO) -> Iterator[tuple[str, bytes]]:
    with zipfile.ZipFile(file) as archive:
        listed = [info for info in archive.infolist() if _is_json(info.filename)]
        _check(source, len(listed), sum(info.file_size for info in listed))
        for info in listed:
            with archive.open(info) as stream:
                yield info.filename, stream.read(info.file_size)


def _tar_files(source: Source, file: BinaryIO) -> Iterator[tuple[str, bytes]]:
    count = size = 0
    with tarfile.open(fileobj=file, mode="r:") as archive:
        for member in archive:
            if not member.isfile() or not _is_json(member.name):
                continue
            count, size = count + 1, size + member.size
            _check(source, count, size)
            stream = archive.extractfile(member)
            if stream is not None:
                yield member.name, stream.read()


def _check(source: Source, count: int, size: int) -> None:
    if count > MAX_FILES or size > MAX_BYTES:
        raise source.error(
            f"expected at most {MAX_FILES} frames of {MAX_BYTES} bytes, found {count} of {size}"
        )
