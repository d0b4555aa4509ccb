"""What a command says: failures and messages on standard error, bars there too, results as JSON."""

from __future__ import annotations

import io
import json
import math
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import click

from motioncodec.errors import MotionCodecError, UsageError

PROGRAM = "motioncodec"


_LONGEST = 500


class Silent(io.StringIO):
    """Text that nobody reads."""

    def write(self, text: str) -> int:
        """Forgets it."""
        return len(text)


def one_line(text: str) -> str:
    """Text as one readable line: no line feeds or control characters, not endless."""
    line = printable(" ".join(text.split()))
    return line if len(line) <= _LONGEST else line[: _LONGEST - 3] + "..."


def printable(text: object) -> str:
    """Text from a file without what a terminal would obey."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in str(text))


def is_expected(error: Exception) -> bool:
    """Whether it can go wrong without a bug: one line, no traceback."""
    return isinstance(error, (MotionCodecError, OSError, MemoryError)) or _is_cuda_memory(error)


def _is_cuda_memory(error: Exception) -> bool:
    # torch's own class, told by its name because torch may not be imported.
    return type(error).__name__ == "OutOfMemoryError"


def explain(error: Exception) -> str:
    """An expected error as one line."""
    if isinstance(error, MotionCodecError):
        return one_line(str(error))
    if isinstance(error, MemoryError) or _is_cuda_memory(error):
        return "expected enough memory, found too little; take a part with --frames or split it"
    reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
    file = getattr(error, "filename", None)
    where = f"{file}: " if isinstance(file, str) else ""
    return one_line(f"{where}expected a file that can be read and written, found: {reason}")


def shown(path: str, writing: bool = False) -> str:
    """A path as messages name it."""
    return ("<stdout>" if writing else "<stdin>") if path == "-" else path


def write_json(document: Any) -> None:
    """One JSON document on standard output; NaN, which JSON lacks, as null."""
    click.echo(json.dumps(_plain(document), indent=2, ensure_ascii=False))


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(key): _plain(inside) for key, inside in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(inside) for inside in value]
    if value is None or isinstance(value, (bool, int)):
        return value
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    # Lone surrogates cannot be written as UTF-8.
    text = value if isinstance(value, str) else repr(value)
    return text.encode("utf-8", "backslashreplace").decode()


class Report:
    """Messages, bars and failures of one run of a command.

    Args:
        quiet: no messages and no bars; failures are still told.
    """

    def __init__(self, quiet: bool = False) -> None:
        self.quiet = quiet
        self._failed: list[bool] = []

    @property
    def status(self) -> int:
        """Exit status: 0, or 1 after failures, or 2 if all of them were for a wrong request."""
        if not self._failed:
            return 0
        return 2 if all(self._failed) else 1

    def say(self, message: str) -> None:
        """A message, unless quiet."""
        if not self.quiet:
            _line(message)

    def fail(self, name: str, message: str, *, usage: bool = False) -> None:
        """Tells one failure, which decides the status."""
        self._failed.append(usage)
        start = f"{one_line(name)}: "
        _line(f"{PROGRAM}: {message if message.startswith(start) else start + message}")

    @contextmanager
    def about(self, name: str) -> Iterator[None]:
        """What goes wrong inside fails this file; the others go on."""
        try:
            yield
        except BrokenPipeError:
            raise
        except Exception as error:
            if not is_expected(error):
                raise
            self.fail(name, explain(error), usage=isinstance(error, UsageError))

    @property
    def shows_bars(self) -> bool:
        """Whether there is a terminal to draw them on."""
        return not self.quiet and sys.stderr.isatty()

    @contextmanager
    def bar(
        self, total: int | None, name: str, unit: str, scale: bool = True
    ) -> Iterator[Callable[[int], object]]:
        """A bar for work over a second; gives what to call with the amount that got done.

        Args:
            total: amount of work; None for no bar.
            name: in front of it.
            unit: of the amount.
            scale: write 12k for 12,000.
        """
        if total is None or not self.shows_bars:
            yield lambda _: None
            return
        from tqdm import tqdm

        with tqdm(
            total=total, desc=printable(name), unit=unit, unit_scale=scale, leave=False, delay=1,
            file=sys.stderr, dynamic_ncols=True,
        ) as bar:  # fmt: skip
            yield bar.update


def _line(message: str) -> None:
    """A line on standard error, above any bar that is drawn."""
    if "tqdm" not in sys.modules:
        click.echo(message, err=True)
        return
    from tqdm import tqdm

    with tqdm.external_write_mode(file=sys.stderr):
        click.echo(message, err=True)
