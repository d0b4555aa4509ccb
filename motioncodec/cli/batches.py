"""What commands over many inputs share: their options, their way through the inputs, a summary."""

from __future__ import annotations

import re
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, nullcontext
from dataclasses import dataclass, replace
from functools import partial, wraps
from pathlib import PurePosixPath
from typing import Any, Protocol, TypeVar, runtime_checkable

import click

from motioncodec.batch.inputs import (
    STANDARD,
    Archive,
    Input,
    Rewound,
    Wanted,
    find,
    is_archive,
    is_tar,
    members,
    read_list,
    shard,
)
from motioncodec.batch.manifest import DONE, FAILED, SKIPPED, Manifest, Outcome, Task
from motioncodec.batch.running import run_cluster, run_here, run_processes
from motioncodec.cli.options import Command, with_options
from motioncodec.cli.outputs import Rename, Tar, Targets, refuse_existing, refuse_terminal
from motioncodec.cli.reporting import Report, explain, is_expected, shown
from motioncodec.errors import UsageError
from motioncodec.io import storage

_ONE_AT_A_TIME = threading.Lock()
"""A cluster's worker may have several threads; the network is theirs one after another."""

_HEAD = 1 << 16


class Work(Protocol):
    """What is done with a task; picklable, for it may be done in another process."""

    def __call__(self, task: Task, report: Report) -> Outcome:
        """Does it; failures are raised."""


@runtime_checkable
class Handful(Work, Protocol):
    """Work of which several small tasks take less time together."""

    @property
    def handful(self) -> int:
        """How many at a time, at most."""

    def together(self, tasks: Sequence[Task], report: Report) -> list[Outcome]:
        """Does them; failures of a single one are its outcome."""


@dataclass(frozen=True)
class Orders:
    """What the options of :func:`batch_options` say."""

    filelist: str | None = None
    jobs: int = 1
    skip_existing: bool = False
    shard: tuple[int, int] = (1, 1)
    manifest: str | None = None
    scheduler: str | None = None


def _parse_shard(ctx: click.Context, param: click.Parameter, value: str | None) -> tuple[int, int]:
    if value is None:
        return 1, 1
    match = re.fullmatch(r"([0-9]{1,9})/([0-9]{1,9})", value)
    if not match or not 1 <= int(match[1]) <= int(match[2]):
        raise click.BadParameter(f"expected I/N with I from 1 to N, found {value!r}")
    return int(match[1]), int(match[2])


def batch_options(command: Command) -> Command:
    """How a command goes through many inputs, for it as one ``orders``."""

    @wraps(command)
    def gathered(
        *,
        filelist: str | None,
        jobs: int,
        skip_existing: bool,
        shard: tuple[int, int],
        manifest: str | None,
        scheduler: str | None,
        **rest: Any,
    ) -> Any:
        orders = Orders(filelist, jobs, skip_existing, shard, manifest, scheduler)
        return command(orders=orders, **rest)

    return with_options(
        gathered,
        click.option(
            "--filelist",
            metavar="FILE",
            help="File with an input a line (or with NULs, as of find -print0); - for standard "
            "input.",
        ),
        click.option(
            "--jobs",
            type=click.IntRange(1, 1024),
            default=1,
            show_default=True,
            metavar="N",
            help="Inputs worked on side by side, each in a process of its own.",
        ),
        click.option(
            "--skip-existing", is_flag=True, help="Pass over inputs whose output is there."
        ),
        click.option(
            "--shard",
            callback=_parse_shard,
            metavar="I/N",
            help="Every N-th input only, the I-th first: for N machines, I from 1 to N.",
        ),
        click.option(
            "--manifest",
            metavar="FILE",
            help="File to which a line of JSON is added for each input: sizes, errors (what was "
            "written is decoded for them), seconds, outcome.",
        ),
        click.option(
            "--scheduler",
            metavar="ADDRESS",
            help="Work on the Dask cluster with this scheduler, not here.",
        ),
    )


Value = TypeVar("Value")


def tried(do: Callable[[], Value]) -> Value | Outcome:
    """What comes of something; what can go wrong with it without a bug is an outcome."""
    try:
        return do()
    except BrokenPipeError:
        raise
    except Exception as error:
        if not is_expected(error):
            raise
        return Outcome(FAILED, explain(error), usage=isinstance(error, UsageError))


def attempt(work: Work, tasks: Sequence[Task], report: Report | None = None) -> list[Outcome]:
    """Does tasks; what can go wrong without a bug is their outcome.

    Args:
        work: what to do.
        tasks: with what; more than one only where work is a :class:`Handful`.
        report: for bars; None in another process.
    """
    start = time.perf_counter()
    with nullcontext() if report else _ONE_AT_A_TIME:
        report = report or Report(quiet=True)
        if len(tasks) > 1 and isinstance(work, Handful):
            found = work.together(tasks, report)
        else:
            found = [tried(partial(work, task, report)) for task in tasks]
    seconds = (time.perf_counter() - start) / len(tasks)
    return [replace(one, seconds=seconds) for one in found]


@dataclass
class _Sum:
    """Over all inputs."""

    done: int = 0
    skipped: int = 0
    failed: int = 0
    frames: int = 0
    bytes_in: int = 0
    bytes_out: int = 0

    def add(self, found: Outcome) -> None:
        self.done += found.outcome == DONE
        self.skipped += found.outcome == SKIPPED
        self.failed += found.outcome == FAILED
        if found.outcome == DONE:
            self.frames += found.frames or 0
            self.bytes_in += found.bytes_in or 0
            self.bytes_out += found.bytes_out or 0

    def line(self, command: str, seconds: float) -> str:
        sizes = ""
        if self.bytes_in and self.bytes_out:
            sizes = f"; {self.bytes_in:,} bytes to {self.bytes_out:,}"
        rate = f", {self.frames / seconds:,.0f} frames/s" if self.frames else ""
        return (
            f"{command}: {self.done} done, {self.skipped} skipped, {self.failed} failed{sizes}; "
            f"{self.frames:,} frames in {seconds:.1f} s{rate}"
        )


class Batch:
    """One run of a command over its inputs.

    Args:
        command: its name.
        words: of the command line.
        wanted: which files of folders and archives are inputs.
        rename: an input to its output's name.
        output, output_dir, force, remove, quiet: options of those names.
        orders: what :func:`batch_options` say.
        binary: outputs are not text.
    """

    def __init__(
        self,
        command: str,
        words: tuple[str, ...],
        wanted: Wanted,
        rename: Rename,
        *,
        output: str | None,
        output_dir: str | None,
        force: bool,
        remove: bool,
        quiet: bool,
        orders: Orders,
        binary: bool = True,
    ) -> None:
        self.command, self.wanted, self.rename = command, wanted, rename
        self.output = None if output is None else storage.settle(output)
        self.output_dir = None if output_dir is None else storage.settle(output_dir)
        self.force, self.remove, self.orders = force, remove, orders
        self.report = Report(quiet)
        self._refuse_contradictions(words)
        self.found = list(find([*words, *self._listed()], wanted))
        self.standard: Rewound | None = None
        self._look_at_standard_input()
        self.many = len(self.found) > 1 or any(isinstance(one, Archive) for one in self.found)
        self.tar = self.output is not None and (
            self.output.lower().endswith(".tar") or (self.output == STANDARD and self.many)
        )
        if self.standard is not None and self.output is None and self.output_dir is None:
            self.output, self.tar = STANDARD, True
        self._refuse_what_has_no_place(binary)
        self.tasks = self._pair()

    # -- what is asked for -------------------------------------------------------------------------

    def _refuse_contradictions(self, words: tuple[str, ...]) -> None:
        orders = self.orders
        if not words and orders.filelist is None:
            raise UsageError("Missing argument 'IN...'")
        if self.output is not None and self.output_dir is not None:
            raise UsageError("expected -o or --output-dir, found both")
        if [*words, orders.filelist].count(STANDARD) > 1:
            raise UsageError("-: expected standard input once, found it twice")
        for word in words if self.remove else ():
            path = storage.settle(word)
            if path != STANDARD and (storage.is_folder(path) or is_archive(path)):
                kind = "folder" if storage.is_folder(path) else "archive"
                raise UsageError(f"--rm: expected files, found the {kind} {word}")
        if orders.skip_existing and self.force:
            raise UsageError("expected --skip-existing or -f, found both")
        if orders.scheduler is not None and orders.jobs > 1:
            raise UsageError("expected --scheduler or --jobs, found both")
        if self.output not in (None, STANDARD) and storage.is_folder(str(self.output)):
            raise UsageError(f"-o {self.output}: expected a file, found a folder; use --output-dir")

    def _listed(self) -> list[str]:
        name = self.orders.filelist
        if name is None:
            return []
        if name == STANDARD:
            return read_list(sys.stdin.buffer.read())
        with storage.open_input(storage.settle(name)) as file:
            return read_list(file.read())

    def _look_at_standard_input(self) -> None:
        """A tar there is an archive, unless its one output has a name."""
        named = self.output not in (None, STANDARD) and not str(self.output).endswith(".tar")
        for i, one in enumerate(self.found):
            if not isinstance(one, Input) or one.path != STANDARD or named:
                continue
            head = b""
            while len(head) < _HEAD and (more := sys.stdin.buffer.read(_HEAD - len(head))):
                head += more
            self.standard = Rewound(head, sys.stdin.buffer)
            if is_tar(head):
                self.found[i] = Archive(STANDARD)
            else:
                self.found[i] = replace(one, path=None, data=self.standard.read())
                self.standard = None

    def _refuse_what_has_no_place(self, binary: bool) -> None:
        standard = [
            one for one in self.found if isinstance(one, Input) and one.name == shown(STANDARD)
        ]
        if self.output is not None and self.many and not self.tar:
            raise UsageError(
                f"-o: expected one input, found {self._count()}; use --output-dir, or -o OUT.tar"
            )
        if standard and self.output_dir is not None:
            raise UsageError("-: expected a name for the output of standard input; use -o")
        archive = next((one for one in self.found if isinstance(one, Archive)), None)
        if archive is not None and self.output is None and self.output_dir is None:
            raise UsageError(
                f"{archive.path}: expected --output-dir or -o OUT.tar for what is in it, found "
                "neither"
            )
        if self.tar and self.orders.skip_existing:
            raise UsageError("--skip-existing: expected outputs that are files, found a tar")
        to_standard = self.output == STANDARD or (self.output is None and bool(standard))
        if to_standard and (binary or self.tar):
            refuse_terminal(self.force)
        special = self.output is not None and storage.is_special(self.output)
        if self.remove and (to_standard or special):
            found = shown(STANDARD, writing=True) if to_standard else self.output
            raise UsageError(f"--rm: expected outputs that are files, found {found}")

    def _count(self) -> str:
        if len(self.found) == 1:
            return "an archive"
        return str(len(self.found))

    def _pair(self) -> list[Task | Archive | tuple[Task, Outcome]]:
        """An output for each input that is known by now; nothing is touched yet."""
        self.targets = Targets(
            None if self.tar else self.output, self.output_dir, self.rename,
            force=self.force, remove=self.remove,
        )  # fmt: skip
        self.targets.keep([one for one in self.found if isinstance(one, Input)])
        if self.tar and self.output != STANDARD:
            self.targets.keep([Input(str(self.output), "", str(self.output))])
        return [one if isinstance(one, Archive) else self._task(one) for one in self.found]

    def _task(self, one: Input) -> Task | tuple[Task, Outcome]:
        if one.fault is not None:
            return Task(one, None), Outcome(FAILED, one.fault)
        if self.tar:
            return Task(one, None)
        try:
            return self.targets.task(one)
        except UsageError as error:
            if one.given:
                raise
            return Task(one, None), Outcome(FAILED, explain(error))

    # -- its way -----------------------------------------------------------------------------------

    def _in_order(self) -> Iterator[Task | tuple[Task, Outcome]]:
        for one in self.tasks:
            if isinstance(one, Archive):
                for member in members(one, self.wanted, self.standard):  # type: ignore[arg-type]
                    yield self._task(member)
            else:
                yield one

    def _to_do(self, note: Callable[[Task, Outcome], None]) -> Iterator[Task]:
        """Tasks that need work; what became of the others is noted."""
        for one in shard(self._in_order(), *self.orders.shard):
            if isinstance(one, tuple):
                note(*one)
                continue
            try:
                exists = one.target not in (None, STANDARD) and storage.exists(str(one.target))
                if self.orders.skip_existing and exists:
                    note(one, Outcome(SKIPPED))
                    continue
                refuse_existing(one)
            except Exception as error:
                if not is_expected(error):
                    raise
                note(one, Outcome(FAILED, explain(error), usage=isinstance(error, UsageError)))
                continue
            yield one

    def run(self, work: Work) -> int:
        """Goes through the inputs; the exit status."""
        start, total = time.perf_counter(), _Sum()
        report, orders = self.report, self.orders
        if self.output_dir is not None:
            storage.make_folder(self.output_dir)
        known = not any(isinstance(one, Archive) for one in self.tasks)
        count = len(range(orders.shard[0] - 1, len(self.tasks), orders.shard[1]))
        with ExitStack() as stack:
            tar = stack.enter_context(Tar(str(self.output), self.force)) if self.tar else None
            manifest = None
            if orders.manifest is not None:
                manifest = stack.enter_context(Manifest(orders.manifest))
            bar = stack.enter_context(
                report.bar(
                    (count if known else 0) if self.many else None, self.command, "file",
                    scale=False,
                )
            )  # fmt: skip

            def note(task: Task, found: Outcome) -> None:
                total.add(found)
                if manifest is not None:
                    manifest.add(task, found)
                if found.outcome == FAILED:
                    report.fail(task.label, found.message, usage=found.usage)
                elif found.message:
                    report.say(found.message)
                for line in found.notes:
                    report.fail(task.label, line)
                bar(1)

            tasks = self._to_do(note)
            handful = 1
            if isinstance(work, Handful):
                # Every process is to have several, or one would be left with the last alone.
                fair = count // (4 * orders.jobs) if known else work.handful
                handful = min(work.handful, max(fair, 1))
            if orders.scheduler is not None:
                ran = run_cluster(partial(attempt, work), tasks, orders.scheduler)
            elif orders.jobs > 1:
                ran = run_processes(partial(attempt, work), tasks, orders.jobs, handful)
            else:
                ran = run_here(partial(attempt, work, report=report), tasks, handful)
            for task, found in ran:
                if tar is not None and found.data is not None:
                    inside = PurePosixPath(task.input.inside).parent / self.rename(task.input)
                    tar.add(str(inside), found.data)
                note(task, found)
        if self.many:
            report.say(total.line(self.command, time.perf_counter() - start))
        return report.status


__all__ = ["Batch", "Orders", "Work", "attempt", "batch_options", "tried"]
