"""Where bytes come from and go to: paths of this machine and, through fsspec, addresses such as
``s3://bucket/walk.bvh``, ``gs://``, ``memory://``; ``file://`` is a path like any other.

Files appear whole or not at all. Where the system has files without a name (Linux), unfinished ones
are such, and a process that is killed leaves nothing behind.
"""

from __future__ import annotations

import errno
import fnmatch
import glob
import io
import os
import re
import secrets
import shutil
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any, BinaryIO, cast
from urllib.parse import unquote, urlsplit

from motioncodec.errors import FormatError

_ADDRESS = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+://")
_TEMPORARY = ".motioncodec-"
"""How names of unfinished files begin, where they need one; ls hides them."""
_IN_MEMORY = 64 << 20
_NO_NAMELESS = (errno.EOPNOTSUPP, errno.EISDIR, errno.EINVAL, errno.ENOENT, errno.EPERM)


def is_address(path: str) -> bool:
    """Whether it names something that fsspec opens."""
    return _ADDRESS.match(path) is not None


def settle(path: str) -> str:
    """A path or address as it is worked with: ``file://`` taken off."""
    if path[:7].lower() != "file://":
        return path
    return unquote(urlsplit(path).path) or "/"


def file_system(address: str) -> tuple[Any, str]:
    """fsspec's file system for an address, and the path in it.

    Raises:
        FormatError: fsspec, or what it needs for such addresses, is not installed.
    """
    try:
        import fsspec
    except ImportError:
        raise FormatError(
            f"{address}: expected the package fsspec for addresses, found none; "
            "pip install 'motioncodec[remote]'"
        ) from None
    try:
        system, path = fsspec.core.url_to_fs(address)
    except (ImportError, ValueError) as error:
        raise FormatError(
            f"{address}: expected an address that fsspec opens, found: {error}"
        ) from None
    return system, path


def open_input(path: str) -> BinaryIO:
    """A file to read and seek in; one that does not seek is read to its end first."""
    if is_address(path):
        system, inside = file_system(path)
        return cast(BinaryIO, system.open(inside, "rb"))
    file = open(path, "rb")  # noqa: SIM115 - the caller closes it
    if file.seekable():
        return file
    with file:
        return io.BytesIO(file.read())


def exists(path: str) -> bool:
    """Whether something is there, a dangling link included."""
    if is_address(path):
        system, inside = file_system(path)
        return bool(system.exists(inside))
    return os.path.lexists(path)


def is_folder(path: str) -> bool:
    """Whether it is a folder."""
    if is_address(path):
        system, inside = file_system(path)
        return bool(system.isdir(inside))
    return os.path.isdir(path)


def size_of(path: str) -> int:
    """Bytes of a file, or of the files in a folder itself."""
    if is_address(path):
        system, inside = file_system(path)
        if system.isdir(inside):
            return sum(int(one["size"] or 0) for one in system.ls(inside, detail=True))
        return int(system.size(inside) or 0)
    if os.path.isdir(path):
        with os.scandir(path) as entries:
            return sum(entry.stat().st_size for entry in entries if entry.is_file())
    return os.stat(path).st_size


def make_folder(path: str) -> None:
    """Makes a folder and those above it, where they are not there."""
    if is_address(path):
        system, inside = file_system(path)
        system.makedirs(inside, exist_ok=True)
    else:
        os.makedirs(path, exist_ok=True)


def join(folder: str, inside: str) -> str:
    """A path below a folder, with the marks of the folder's own kind."""
    if is_address(folder):
        return f"{folder.rstrip('/')}/{inside}"
    return os.path.join(folder, *inside.split("/"))


def walk(folder: str) -> Iterator[tuple[str, list[str]]]:
    """Each folder below one, itself first and ``""``, by its path with slashes below it, with the
    names of its files in order; hidden ones are left out.

    Raises:
        OSError: the folder cannot be read.
    """
    if is_address(folder):
        system, inside = file_system(folder)
        for at, _, files in system.walk(inside):
            below = str(at)[len(inside) :].strip("/")
            yield below, sorted(name for name in files if name and not name.startswith("."))
        return

    def stop(error: OSError) -> None:
        raise error

    for at, folders, files in os.walk(folder, onerror=stop):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        below = os.path.relpath(at, folder).replace(os.sep, "/")
        yield (
            "" if below == "." else below,
            sorted(name for name in files if not name.startswith(".")),
        )


def matches(pattern: str) -> list[str]:
    """Paths that a pattern with ``*``, ``?``, ``[...]`` or ``**`` stands for, in order."""
    if is_address(pattern):
        system, inside = file_system(pattern)
        return sorted(system.unstrip_protocol(one) for one in system.glob(inside))
    return sorted(glob.glob(pattern, recursive=True))


def is_pattern(path: str) -> bool:
    """Whether it has the marks of a pattern and nothing of that very name is there."""
    return glob.has_magic(path) and not exists(path)


@contextmanager
def whole_file(path: str, *, replace: bool, durable: bool = False) -> Iterator[BinaryIO]:
    """A stream for a file that appears under its name once all went well.

    A link stays a link: what it points to is replaced. What is no file (a device, a pipe) is
    written to as it is.

    Args:
        path: or address.
        replace: what is there; else it is an error, at the latest when the file would appear.
        durable: on the disk before this returns.

    Raises:
        FileExistsError: it is there and is not to be replaced.
        OSError: it cannot be written.
    """
    if is_address(path):
        with _uploaded(path, replace) as stream:
            yield stream
    elif is_special(path):
        with open(path, "wb") as device:
            yield device
    else:
        with _placed(os.path.realpath(path), replace, durable) as stream:
            yield stream


def is_special(path: str) -> bool:
    """Whether it is there and neither file nor folder: a device, a pipe."""
    try:
        mode = os.stat(path).st_mode
    except OSError:
        return False
    return not (stat.S_ISREG(mode) or stat.S_ISDIR(mode))


@contextmanager
def _uploaded(path: str, replace: bool) -> Iterator[BinaryIO]:
    system, inside = file_system(path)
    with tempfile.SpooledTemporaryFile(_IN_MEMORY) as space:
        yield cast(BinaryIO, space)
        if not replace and system.exists(inside):
            raise FileExistsError(errno.EEXIST, "there already", path)
        space.seek(0)
        # Stores take an object whole when it is closed; a local disk behind fsspec does not.
        with system.open(inside, "wb") as stream:
            shutil.copyfileobj(space, stream, 1 << 20)


@contextmanager
def _placed(path: str, replace: bool, durable: bool) -> Iterator[BinaryIO]:
    folder = os.path.dirname(path)
    beside = os.path.join(folder, f"{_TEMPORARY}{secrets.token_hex(8)}.tmp")
    nameless = _nameless(folder)
    named = nameless is None
    try:
        with open(beside, "xb") if nameless is None else os.fdopen(nameless, "wb") as file:
            yield file
            file.flush()
            if durable:
                os.fsync(file.fileno())
            if nameless is not None:
                # With a descriptor beside it, which an absolute path ignores, Python follows the
                # link in /proc.
                link = f"/proc/self/fd/{nameless}"
                if not replace or not os.path.lexists(path):
                    try:
                        os.link(link, path, src_dir_fd=nameless)
                        return
                    except FileExistsError:
                        if not replace:
                            raise
                os.link(link, beside, src_dir_fd=nameless)
                named = True
        if not replace:
            # Where files have a name from the start: the one way to rename that refuses.
            os.link(beside, path)
            os.unlink(beside)
        else:
            os.replace(beside, path)
        named = False
    finally:
        if named:
            with suppress(FileNotFoundError):
                os.unlink(beside)


def _nameless(folder: str) -> int | None:
    """An open file without a name in a folder, where the system has such."""
    flag = getattr(os, "O_TMPFILE", None)
    if flag is None or not os.path.isdir("/proc/self/fd"):
        return None
    try:
        return os.open(folder or ".", flag | os.O_WRONLY, 0o666)
    except OSError as error:
        if error.errno in _NO_NAMELESS and os.path.isdir(folder or "."):
            return None
        raise


def has_suffix(name: str, suffixes: tuple[str, ...]) -> bool:
    """Whether a file's name ends with one of some suffixes, whatever their case, gzipped or not."""
    bare = name.lower().removesuffix(".gz")
    return any(fnmatch.fnmatchcase(bare, f"?*{suffix}") for suffix in suffixes)
