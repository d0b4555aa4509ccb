"""Which output belongs to which input, and how outputs come to be: whole or not at all."""

from __future__ import annotations

import io
import os
import sys
import tarfile
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import PurePosixPath
from types import TracebackType
from typing import BinaryIO

from motioncodec.batch.inputs import STANDARD, STREAM_SUFFIX, Input
from motioncodec.batch.manifest import Task
from motioncodec.errors import FormatError, UsageError
from motioncodec.io import storage

SUFFIX = STREAM_SUFFIX

Rename = Callable[[Input], str]
"""The name of an input to that of its output."""


def on_terminal() -> bool:
    """Whether standard output is what a person looks at."""
    return sys.stdout.isatty()


def refuse_terminal(force: bool) -> None:
    """Refuses binary output on a terminal.

    Raises:
        UsageError: it is one, and nothing forces it.
    """
    if not force and on_terminal():
        raise UsageError(
            "expected a file or a pipe for binary output, found a terminal; use -o, or -f"
        )


class Targets:
    """Gives each input an output of its own.

    Args:
        output: for one input: a path or ``-``.
        output_dir: folder of the outputs, in place of the inputs' own.
        rename: gives the names.
        force: replace what is there.
        remove: inputs are to be removed afterwards.
    """

    def __init__(
        self,
        output: str | None,
        output_dir: str | None,
        rename: Rename,
        *,
        force: bool = False,
        remove: bool = False,
    ) -> None:
        self.output, self.output_dir, self.rename = output, output_dir, rename
        self.force, self.remove = force, remove
        self._inputs: dict[str, str] = {}
        self._made: dict[str, str] = {}

    def keep(self, inputs: Sequence[Input]) -> None:
        """Notes inputs that no output may replace."""
        for one in inputs:
            if one.path not in (None, STANDARD):
                self._inputs[identity(str(one.path))] = one.name

    def task(self, one: Input) -> Task:
        """The input with its output.

        Raises:
            UsageError: the output would be an input, or another's output.
        """
        target = self._target(one)
        if target != STANDARD and not storage.is_address(target):
            key = identity(target)
            if key in self._inputs:
                raise UsageError(
                    f"{one.name}: expected an output other than the inputs, found {target}; use -o"
                )
            if key in self._made:
                raise UsageError(
                    f"{one.name}: expected an output of its own, found {target}, which "
                    f"{self._made[key]} has; use -o"
                )
            self._made[key] = one.name
        return Task(one, target, self.force, self.remove)

    def _target(self, one: Input) -> str:
        if self.output is not None:
            return self.output
        if one.path == STANDARD or (one.path is None and self.output_dir is None):
            return STANDARD
        below = PurePosixPath(one.inside).parent / self.rename(one)
        if self.output_dir is not None:
            return storage.join(self.output_dir, str(below))
        path = str(one.path).rstrip("/")
        if storage.is_address(path):
            return storage.join(path.rpartition("/")[0], below.name)
        if os.path.basename(path) in ("", ".", ".."):
            path = os.path.abspath(path)
        return os.path.join(os.path.dirname(path), below.name)


def identity(path: str) -> str:
    """Equal for two names of one file, there or not."""
    if storage.is_address(path):
        return path
    try:
        found = os.stat(path)
    except OSError:
        return os.path.realpath(path)
    return f"{found.st_dev}:{found.st_ino}"


def refuse_existing(task: Task) -> None:
    """Refuses before any work what writing would refuse after it.

    Raises:
        FormatError: the output is there and may not be replaced.
    """
    target = task.target
    if target in (None, STANDARD) or storage.is_special(str(target)):
        return
    path = str(target)
    if storage.is_folder(path):
        raise FormatError(f"expected to write {path}, found a folder of that name; use -o")
    if not task.force and storage.exists(path):
        raise _there_already(path)


def _there_already(path: str) -> FormatError:
    return FormatError(f"expected to write {path}, found it there already; use -f or -o")


class Output:
    """An output that comes to be: a file, standard output, or bytes for a tar.

    Attributes:
        data: the bytes, where the task has no target.
        size: bytes written.
    """

    def __init__(self, task: Task) -> None:
        self.task = task
        self.data: bytes | None = None
        self.size = 0

    @contextmanager
    def stream(self) -> Iterator[BinaryIO]:
        """A stream for it; it appears under its name once all went well.

        Raises:
            FormatError: it has appeared meanwhile.
        """
        target = self.task.target
        if target is None:
            buffer = io.BytesIO()
            yield buffer
            self.data = buffer.getvalue()
            self.size = len(self.data)
        elif target == STANDARD:
            yield sys.stdout.buffer
            sys.stdout.buffer.flush()
        else:
            folder = os.path.dirname(target)
            if folder and self.task.input.inside.count("/"):
                storage.make_folder(folder)
            if storage.is_folder(target):
                refuse_existing(self.task)
            try:
                with storage.whole_file(
                    target, replace=self.task.force, durable=self.task.remove
                ) as file:
                    yield file
            except FileExistsError:
                raise _there_already(target) from None
            if not storage.is_special(target):
                self.size = storage.size_of(target)


@contextmanager
def scratch(task: Task) -> Iterator[BinaryIO]:
    """A file for a while, on the output's disk where there is one: it may not fit elsewhere."""
    folder, target = None, task.target
    if target not in (None, STANDARD) and not storage.is_address(str(target)):
        path = os.path.realpath(str(target))
        folder = None if storage.is_special(path) else os.path.dirname(path)
        if folder:
            os.makedirs(folder, exist_ok=True) if task.input.inside.count("/") else None
    with tempfile.TemporaryFile(dir=folder, prefix=".motioncodec-", suffix=".tmp") as file:
        yield file


def opened(source: str) -> BinaryIO:
    """An input to read and seek in; standard input is read to its end first."""
    if source == STANDARD:
        return io.BytesIO(sys.stdin.buffer.read())
    return storage.open_input(storage.settle(source))


def opened_input(one: Input) -> BinaryIO:
    """An input's bytes to read and seek in."""
    if one.data is not None:
        return io.BytesIO(one.data)
    assert one.path is not None
    return opened(one.path)


def remove_input(task: Task) -> None:
    """Removes an input whose output is written."""
    path = task.input.path
    if path in (None, STANDARD):
        return
    if storage.is_address(str(path)):
        system, inside = storage.file_system(str(path))
        system.rm(inside)
    else:
        os.unlink(str(path))


class Tar:
    """Outputs, one after another, as members of a tar on a stream that need not seek.

    Args:
        target: a path, which appears whole or not at all, or ``-``.
        force: replace what is there.
    """

    def __init__(self, target: str, force: bool) -> None:
        self._stack = ExitStack()
        if target == STANDARD:
            stream: BinaryIO = sys.stdout.buffer
        else:
            try:
                stream = self._stack.enter_context(storage.whole_file(target, replace=force))
            except FileExistsError:
                raise _there_already(target) from None
        self._tar = self._stack.enter_context(
            tarfile.open(fileobj=stream, mode="w|", format=tarfile.PAX_FORMAT)  # noqa: SIM115
        )

    def add(self, name: str, data: bytes) -> None:
        """A member; the same outputs give the same bytes."""
        info = tarfile.TarInfo(name)
        info.size, info.mode = len(data), 0o644
        self._tar.addfile(info, io.BytesIO(data))

    def __enter__(self) -> Tar:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> bool | None:
        return self._stack.__exit__(kind, error, trace)
