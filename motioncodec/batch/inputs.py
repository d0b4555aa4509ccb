"""From the words of a command line to inputs, one after another.

A word is a file; a folder of one clip's JSON frames; any other folder, whose files and folders of
frames are inputs each; a pattern; an archive (zip, tar, compressed tar), whose members are inputs,
streamed and never unpacked to disk; ``-``, standard input, which may be a tar; or an address
(:mod:`motioncodec.io.storage`).
"""

from __future__ import annotations

import io
import itertools
import os
import tarfile
import zipfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import BinaryIO, TypeVar, cast

from motioncodec.errors import FormatError, UsageError
from motioncodec.io import FORMATS, MAX_BYTES, is_frame, storage

T = TypeVar("T")

STANDARD = "-"
STREAM_SUFFIX = ".mtok"
ARCHIVE_SUFFIXES = (".zip", ".tar", ".tgz", ".tar.gz", ".tar.xz", ".txz", ".tar.bz2", ".tar.zst")

# Any folder may have notes in it.
_SELDOM_CLIPS = (".txt",)
_SKELETON = ".asf"


@dataclass(frozen=True)
class Input:
    """One clip or stream, and where it is.

    Attributes:
        name: as messages and manifests name it: a path, ``-``, or ``ARCHIVE!MEMBER``.
        inside: its path, with slashes, below what was given: its place below a folder of outputs.
        path: of a file or a folder of frames; None for a member of an archive.
        data: of a member.
        frames: names and contents of the JSON frames of a clip that is a folder in an archive.
        beside: what a member may need besides, by name: skeletons of Acclaim motions.
        given: named by the caller, not found in a folder or an archive.
        fault: why there is nothing to work on.
    """

    name: str
    inside: str
    path: str | None = None
    data: bytes | None = None
    frames: tuple[tuple[str, bytes], ...] | None = None
    beside: Mapping[str, bytes] = field(default_factory=dict)
    given: bool = True
    fault: str | None = None

    @property
    def is_folder(self) -> bool:
        """Whether its name has no suffix to lose."""
        return self.frames is not None or (self.path is not None and storage.is_folder(self.path))

    @property
    def size(self) -> int:
        """Bytes, 0 for standard input."""
        if self.frames is not None:
            return sum(len(data) for _, data in self.frames)
        if self.data is not None:
            return len(self.data)
        return 0 if self.path in (None, STANDARD) else storage.size_of(str(self.path))


@dataclass(frozen=True)
class Archive:
    """A file with inputs in it; ``path`` may be ``-``."""

    path: str


@dataclass(frozen=True)
class Wanted:
    """Which files of a folder or an archive are inputs.

    Attributes:
        suffixes: of their names.
        frames: whether a folder of JSON frames is one input.
    """

    suffixes: tuple[str, ...]
    frames: bool

    @classmethod
    def clips(cls, input_format: str | None = None) -> Wanted:
        """Clips of any format, or of one."""
        if input_format is not None:
            return cls((*FORMATS[input_format].suffixes, ".txt"), input_format == "json")
        known = [suffix for one in FORMATS.values() if one.can_read for suffix in one.suffixes]
        return cls(tuple(one for one in known if one not in _SELDOM_CLIPS), True)

    @classmethod
    def streams(cls) -> Wanted:
        """``.mtok`` files."""
        return cls((STREAM_SUFFIX,), False)


def is_archive(path: str) -> bool:
    """Whether it is named as one."""
    return path.lower().endswith(ARCHIVE_SUFFIXES)


def find(words: Iterable[str], wanted: Wanted) -> Iterator[Input | Archive]:
    """What the words stand for; nothing but names is read, and of folders' JSON the first file.

    Raises:
        UsageError: a pattern matches nothing.
    """
    for word in words:
        path = storage.settle(word)
        if path == STANDARD:
            yield Input("<stdin>", "stdin", STANDARD)
        elif storage.is_pattern(path):
            found = storage.matches(path)
            if not found:
                raise UsageError(
                    f"{word}: expected a pattern that matches something, found nothing"
                )
            for one in found:
                yield from _at(one, wanted, given=False)
        else:
            yield from _at(path, wanted, given=True)


def _at(path: str, wanted: Wanted, given: bool) -> Iterator[Input | Archive]:
    if storage.is_folder(path):
        yield from _in_folder(path, wanted)
    elif is_archive(path) and not (wanted.frames and _is_one_clip(path)):
        yield Archive(path)
    else:
        yield Input(path, _last(path), path, given=given)


def _last(path: str) -> str:
    """The name of a path; ``.`` and ``..`` have none of their own."""
    if storage.is_address(path):
        return path.rstrip("/").rpartition("/")[2]
    name = os.path.basename(path.rstrip("/"))
    return name if name not in ("", ".", "..") else os.path.basename(os.path.abspath(path))


def _in_folder(root: str, wanted: Wanted) -> Iterator[Input | Archive]:
    found = False
    for below, names in storage.walk(root):
        folder = storage.join(root, below) if below else root
        frames = [name for name in names if storage.has_suffix(name, (".json",))]
        if wanted.frames and frames and _is_frame_file(storage.join(folder, frames[0])):
            found = True
            yield Input(folder, below or _last(root), folder, given=not below)
            names = [name for name in names if name not in frames]
        for name in names:
            path = storage.join(folder, name)
            if storage.has_suffix(name, wanted.suffixes) or is_archive(name):
                found = True
                inside = f"{below}/{name}" if below else name
                if is_archive(name) and not (wanted.frames and _is_one_clip(path)):
                    yield Archive(path)
                else:
                    yield Input(path, inside, path, given=False)
    if not found:
        yield Input(
            root, _last(root),
            fault="expected a folder with files of "
            f"{', '.join(dict.fromkeys(wanted.suffixes))} in it, found none; name the format "
            "with --input-format" if wanted.frames or len(wanted.suffixes) > 1
            else f"expected a folder with {wanted.suffixes[0]} files in it, found none",
        )  # fmt: skip


def _is_frame_file(path: str) -> bool:
    try:
        with storage.open_input(path) as file:
            return is_frame(file.read(MAX_BYTES))
    except OSError:
        return False


def _is_one_clip(path: str) -> bool:
    """Whether all that an archive holds are JSON frames in one folder."""
    if path.lower().endswith(".tar.zst"):
        return False
    try:
        with storage.open_input(path) as file:
            members = _zip_members(file) if path.lower().endswith(".zip") else _tar_members(file)
            folders, first = set(), None
            for member in members:
                if not member.name.lower().endswith(".json"):
                    return False
                folders.add(PurePosixPath(member.name).parent)
                first = member.read() if first is None else first
                if len(folders) > 1 or not is_frame(first):
                    return False
            return first is not None
    except (OSError, EOFError, tarfile.TarError, zipfile.BadZipFile, ValueError):
        return False  # what is wrong with it is told where it is read


@dataclass(frozen=True)
class _Member:
    """A file in an archive; a tar's is to be read before the next one is asked for."""

    name: str
    size: int
    open: object

    def read(self) -> bytes:
        stream = self.open() if callable(self.open) else None
        if stream is None:
            return b""
        with cast(BinaryIO, stream) as opened:
            return opened.read(MAX_BYTES)


def _zip_members(file: BinaryIO) -> Iterator[_Member]:
    with zipfile.ZipFile(file) as archive:
        for info in sorted(archive.infolist(), key=lambda one: one.filename):
            if not info.is_dir():
                yield _Member(info.filename, info.file_size, lambda info=info: archive.open(info))


def _tar_members(file: BinaryIO) -> Iterator[_Member]:
    with tarfile.open(fileobj=file, mode="r|*") as archive:
        for member in archive:
            if member.isfile():
                yield _Member(
                    member.name, member.size, lambda member=member: archive.extractfile(member)
                )


@contextmanager
def _opened(archive: Archive, standard: BinaryIO | None) -> Iterator[Iterator[_Member]]:
    if archive.path == STANDARD:
        assert standard is not None
        yield _tar_members(standard)
        return
    with storage.open_input(archive.path) as file:
        if archive.path.lower().endswith(".zip"):
            yield _zip_members(file)
        elif archive.path.lower().endswith(".tar.zst"):
            import zstandard

            with zstandard.ZstdDecompressor().stream_reader(file) as stream:
                yield _tar_members(cast(BinaryIO, stream))
        else:
            yield _tar_members(file)


def members(archive: Archive, wanted: Wanted, standard: BinaryIO | None = None) -> Iterator[Input]:
    """Inputs in an archive, in its order, each with its content.

    Frames of one folder that follow one another are one input. What is wrong with the archive
    itself is an input with that fault, after those that could be read.

    Args:
        archive: which.
        wanted: which of its members.
        standard: a tar's stream, for ``-``.
    """
    label = "<stdin>" if archive.path == STANDARD else archive.path
    try:
        with _opened(archive, standard) as listed:
            yield from _grouped(label, listed, wanted)
    except (
        OSError, EOFError, tarfile.TarError, zipfile.BadZipFile, ValueError, RuntimeError,
        NotImplementedError,
    ) as error:  # fmt: skip
        reason = " ".join(str(error).split()) or type(error).__name__
        yield Input(
            label, label, fault=f"expected a zip or tar archive, found damaged data ({reason})"
        )


def _grouped(label: str, listed: Iterator[_Member], wanted: Wanted) -> Iterator[Input]:
    beside: dict[str, dict[str, bytes]] = {}
    frames: list[tuple[str, bytes]] = []
    at = ""

    def gathered() -> Iterator[Input]:
        if frames:
            inside = at or _bare(label)
            yield Input(f"{label}!{at}", inside, frames=tuple(frames), given=False)
            frames.clear()

    for member in listed:
        inside = _safe(member.name)
        name = f"{label}!{member.name}"
        hidden = member.name.startswith(("__MACOSX/",)) or PurePosixPath(
            member.name
        ).name.startswith(".")
        if hidden:
            continue
        if inside is None:
            if storage.has_suffix(member.name, wanted.suffixes):
                yield Input(
                    name, name, given=False,
                    fault="expected a path within the archive's own folder, found one that leads "
                    "out of it",
                )  # fmt: skip
            continue
        folder = str(PurePosixPath(inside).parent)
        folder = "" if folder == "." else folder
        if inside.lower().endswith(_SKELETON) and wanted.frames:
            beside.setdefault(folder, {})[PurePosixPath(inside).name] = member.read()
            continue
        if not storage.has_suffix(inside, wanted.suffixes):
            continue
        if member.size > MAX_BYTES:
            yield Input(
                name, inside, given=False,
                fault=f"expected at most {MAX_BYTES} bytes, found {member.size}",
            )  # fmt: skip
            continue
        data = member.read()
        if wanted.frames and inside.lower().endswith(".json") and is_frame(data):
            if frames and folder != at:
                yield from gathered()
            at = folder
            frames.append((inside, data))
            continue
        yield from gathered()
        acclaim = inside.lower().endswith(".amc")
        near = dict(beside.get(folder, {})) if acclaim else {}
        yield Input(name, inside, data=data, beside=near, given=False)
    yield from gathered()


def _safe(name: str) -> str | None:
    """A member's path below any folder, None where it leads out of it."""
    parts = [part for part in name.replace("\\", "/").split("/") if part not in ("", ".")]
    return None if ".." in parts or not parts else "/".join(parts)


def _bare(path: str) -> str:
    name = path.rpartition("/")[2]
    for suffix in sorted(ARCHIVE_SUFFIXES, key=len, reverse=True):
        if name.lower().endswith(suffix):
            return name[: -len(suffix)]
    return name


class Rewound(io.RawIOBase):
    """A stream with its first bytes, which were read to see what it is, before it."""

    def __init__(self, head: bytes, rest: BinaryIO) -> None:
        self._head, self._rest = head, rest

    def readable(self) -> bool:
        """Always."""
        return True

    def readinto(self, buffer: object) -> int:
        """Fills what it can of a buffer, at least a byte before the end."""
        view = memoryview(buffer).cast("B")  # type: ignore[arg-type]
        data = self._head[: len(view)] or self._rest.read(len(view))
        self._head = self._head[len(data) :]
        view[: len(data)] = data
        return len(data)


def is_tar(head: bytes) -> bool:
    """Whether the first 64 KiB of a stream begin a tar, gzipped or not."""
    if head.startswith(b"\x1f\x8b"):
        import zlib

        try:
            head = zlib.decompressobj(31).decompress(head, 512)
        except zlib.error:
            return False
    return head[257:262] == b"ustar"


def shard(found: Iterable[T], number: int, count: int) -> Iterator[T]:
    """Every ``count``-th of some things, the ``number``-th first, counted from 1."""
    return itertools.islice(found, number - 1, None, count)


def read_list(text: bytes) -> list[str]:
    """Paths of a list: a line each, or with a NUL after each as ``find -print0`` writes them.

    Raises:
        FormatError: it is not text.
    """
    mark = b"\0" if b"\0" in text else b"\n"
    names = [os.fsdecode(one) for one in text.split(mark)]
    names = names if mark == b"\0" else [name.removesuffix("\r") for name in names]
    if any("\n" in name or "\0" in name for name in names) and mark == b"\n":
        raise FormatError("file list: expected a path a line, found something else")
    return [name for name in names if name]
