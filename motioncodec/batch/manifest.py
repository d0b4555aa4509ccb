"""What became of each input, and the file that keeps it: a JSON document a line."""

from __future__ import annotations

import json
import math
import os
import time
from dataclasses import asdict, dataclass, replace
from types import TracebackType
from typing import Any

from motioncodec.batch.inputs import Input

DONE, SKIPPED, FAILED = "done", "skipped", "failed"


@dataclass(frozen=True)
class Task:
    """An input and what is to come of it.

    Attributes:
        input: what to work on.
        target: path of the output; ``-``; or None to have its bytes with the outcome.
        force: replace what is there.
        remove: the input, once the output is written.
    """

    input: Input
    target: str | None
    force: bool = False
    remove: bool = False

    @property
    def label(self) -> str:
        """The input as messages name it."""
        return self.input.name

    @property
    def target_label(self) -> str:
        """The output as messages name it."""
        return "<stdout>" if self.target in (None, "-") else str(self.target)

    def again(self) -> Task:
        """The same for a second worker, who may find what the first one had finished."""
        return replace(self, force=True)


@dataclass(frozen=True)
class Outcome:
    """What became of a task.

    Attributes:
        outcome: ``done``, ``skipped`` or ``failed``.
        message: for people: a line.
        usage: it failed because what was asked for makes no sense.
        notes: further failures of an output that is there.
        frames, seconds_of_motion: of the clip.
        bytes_in, bytes_out: of the files.
        errors: what :mod:`motioncodec.metrics` finds, if asked.
        seconds: that it took.
        data: the output, where the task has no target.
        broken_pipe: whoever read standard output has gone.
    """

    outcome: str = DONE
    message: str = ""
    usage: bool = False
    notes: tuple[str, ...] = ()
    frames: int | None = None
    seconds_of_motion: float | None = None
    bytes_in: int | None = None
    bytes_out: int | None = None
    errors: dict[str, Any] | None = None
    seconds: float = 0.0
    data: bytes | None = None
    broken_pipe: bool = False


class Manifest:
    """A file of lines, one an input, added to as they come; a line cut short by a kill is dropped.

    Args:
        path: of the file, made where there is none.
    """

    def __init__(self, path: str) -> None:
        self._file = open(path, "ab+")  # noqa: SIM115 - closed by close
        self._drop_half_a_line()

    def _drop_half_a_line(self) -> None:
        end = self._file.seek(0, os.SEEK_END)
        start = max(end - (1 << 20), 0)
        self._file.seek(start)
        tail = self._file.read()
        if tail and not tail.endswith(b"\n"):
            self._file.truncate(start + tail.rfind(b"\n") + 1)
        self._file.seek(0, os.SEEK_END)

    def add(self, task: Task, found: Outcome) -> None:
        """A line, handed to the system before this returns."""
        fields = asdict(replace(found, data=None))
        for name in ("data", "usage", "broken_pipe"):
            del fields[name]
        fields["notes"] = list(found.notes)
        line = {
            "input": task.label,
            "output": None if task.target is None else task.target_label,
            **fields,
            "time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        }
        text = json.dumps({key: _finite(value) for key, value in line.items()})
        self._file.write(text.encode("utf-8", "backslashreplace") + b"\n")
        self._file.flush()

    def close(self) -> None:
        """Closes the file."""
        self._file.close()

    def __enter__(self) -> Manifest:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _finite(inside) for key, inside in value.items()}
    return None if isinstance(value, float) and not math.isfinite(value) else value
