"""Which output belongs to which input, and how outputs come to be: whole or not at all."""

from __future__ import annotations

import io
import os
import secrets
import stat
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from motioncodec.cli.reporting import shown
from motioncodec.errors import FormatError, UsageError

SUFFIX = ".mtok"
STANDARD = "-"

_TEMPORARY = ".motioncodec-"
"""How names of unfinished files begin; ls hides them."""


@dataclass(frozen=True)
class Job:
    """One input and its output; either may be ``-``."""

    source: str
    target: str

    @property
    def label(self) -> str:
        """The input as messages name it."""
        return shown(self.source)

    @property
    def target_label(self) -> str:
        """The output as messages name it."""
        return shown(self.target, writing=True)


def pair(
    inputs: Sequence[str],
    output: str | None,
    output_dir: str | None,
    rename: Callable[[str], str],
    *,
    binary: bool,
    force: bool,
    remove: bool,
) -> list[Job]:
    """An output for each input; nothing is touched yet.

    Args:
        inputs: paths or ``-``.
        output: for one input: a path or ``-``.
        output_dir: folder of the outputs, in place of the inputs' own.
        rename: path of an input to the name of its output.
        binary: outputs are not text.
        force: allows binary on a terminal.
        remove: inputs are to be removed afterwards.

    Raises:
        UsageError: the request contradicts itself.
    """
    if output is not None and output_dir is not None:
        raise UsageError("expected -o or --output-dir, found both")
    if output is not None and len(inputs) > 1:
        raise UsageError(f"-o: expected one input, found {len(inputs)}; use --output-dir")
    if list(inputs).count(STANDARD) > 1:
        raise UsageError("-: expected standard input once, found it twice")
    if STANDARD in inputs and output_dir is not None:
        raise UsageError("-: expected a name for the output of standard input; use -o")
    if output is not None and output != STANDARD and os.path.isdir(output):
        raise UsageError(f"-o {output}: expected a file, found a folder; use --output-dir")
    jobs = [Job(source, _target(source, output, output_dir, rename)) for source in inputs]
    taken = {_identity(job.source): job.source for job in jobs if job.source != STANDARD}
    made: dict[str, str] = {}
    for job in jobs:
        if job.target == STANDARD:
            if binary and not force and on_terminal():
                raise UsageError(
                    "expected a file or a pipe for binary output, found a terminal; use -o, or -f"
                )
            continue
        identity = _identity(job.target)
        if identity in taken:
            raise UsageError(
                f"{job.label}: expected an output other than the inputs, found {job.target}; use -o"
            )
        if identity in made:
            raise UsageError(
                f"{job.label}: expected an output of its own, found {job.target}, which "
                f"{made[identity]} has; use -o"
            )
        made[identity] = job.source
    if remove:
        for job in jobs:
            if os.path.isdir(job.source):
                raise UsageError(f"--rm: expected files, found the folder {job.source}")
            if job.target == STANDARD or _special(job.target):
                raise UsageError(f"--rm: expected outputs that are files, found {job.target_label}")
    return jobs


def on_terminal() -> bool:
    """Whether standard output is what a person looks at."""
    return sys.stdout.isatty()


def _target(
    source: str, output: str | None, output_dir: str | None, rename: Callable[[str], str]
) -> str:
    if output is not None:
        return output
    if source == STANDARD:
        return STANDARD
    path = Path(source)
    # `.` and `..` have no name of their own.
    path = path if path.name not in ("", "..") else Path(os.path.abspath(path))
    folder = path.parent if output_dir is None else Path(output_dir)
    return str(folder / rename(str(path)))


def _identity(path: str) -> str:
    """Equal for two names of one file, there or not."""
    try:
        found = os.stat(path)
    except OSError:
        return os.path.realpath(path)
    return f"{found.st_dev}:{found.st_ino}"


def _special(path: str) -> bool:
    """Whether it is there and neither file nor folder: a device, a pipe."""
    try:
        mode = os.stat(path).st_mode
    except OSError:
        return False
    return not (stat.S_ISREG(mode) or stat.S_ISDIR(mode))


def refuse_existing(job: Job, force: bool) -> None:
    """Refuses before any work what :func:`written` would refuse after it.

    Raises:
        FormatError: the output is there and may not be replaced.
    """
    if job.target == STANDARD or _special(job.target):
        return
    if os.path.isdir(job.target):
        raise FormatError(f"expected to write {job.target}, found a folder of that name; use -o")
    if not force and os.path.lexists(job.target):
        raise FormatError(f"expected to write {job.target}, found it there already; use -f or -o")


@contextmanager
def written(job: Job, force: bool, *, durable: bool = False) -> Iterator[BinaryIO]:
    """A stream for the output, which appears under its name once all went well.

    Args:
        job: says where.
        force: replace what is there.
        durable: on the disk before this returns, as it must be if the input is removed next.
    """
    if job.target == STANDARD:
        stream = sys.stdout.buffer
        yield stream
        stream.flush()
        return
    if _special(job.target):
        with open(job.target, "wb") as device:
            yield device
        return
    # A link stays a link: what it points to is replaced.
    target = Path(os.path.realpath(job.target))
    # In the same folder, for only within one file system is renaming at once.
    beside = target.with_name(f"{_TEMPORARY}{secrets.token_hex(8)}.tmp")
    try:
        with beside.open("xb") as file:
            yield file
            if durable:
                file.flush()
                os.fsync(file.fileno())
        refuse_existing(job, force)
        os.replace(beside, target)
    except BaseException:
        beside.unlink(missing_ok=True)
        raise


@contextmanager
def scratch(job: Job) -> Iterator[BinaryIO]:
    """A file for a while, on the output's disk where there is one: it may not fit elsewhere."""
    folder = None
    if job.target != STANDARD and not _special(job.target):
        folder = os.path.dirname(os.path.realpath(job.target))
    with tempfile.TemporaryFile(dir=folder, prefix=_TEMPORARY, suffix=".tmp") as file:
        yield file


def opened(source: str) -> BinaryIO:
    """An input to read and seek in; standard input is read to its end first."""
    if source == STANDARD:
        return io.BytesIO(sys.stdin.buffer.read())
    file = open(source, "rb")  # noqa: SIM115 - the caller closes it
    if file.seekable():
        return file
    with file:
        return io.BytesIO(file.read())


def remove_input(job: Job) -> None:
    """Removes an input whose output is written."""
    if job.source != STANDARD:
        os.unlink(job.source)
