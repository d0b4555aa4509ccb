"""Who works on the tasks: this process, several of this machine, or the workers of a cluster.

Outcomes come in the order of the tasks, and few of these are under way at once, so memory is the
same for a hundred inputs and for a million. A worker that dies (killed, out of memory) costs its
tasks a second try, each alone; what kills a worker twice has failed.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from multiprocessing.connection import wait
from typing import Any

from motioncodec.batch.manifest import FAILED, Outcome, Task
from motioncodec.errors import UsageError
from motioncodec.io import storage

Tasks = tuple[Task, ...]
Call = Callable[[Tasks], list[Outcome]]

_AHEAD = 3
"""Handfuls of tasks under way or waiting for each worker."""

_SMALL = 1 << 18
"""Bytes of inputs that may be worked on with others in one go."""

_LOST = (
    "expected a worker to finish this, found that two were killed on it (out of memory?); try it "
    "alone, or a part of it"
)


def handfuls(tasks: Iterable[Task], most: int) -> Iterator[Tasks]:
    """Up to ``most`` tasks at a time, in their order, where inputs are small; larger ones alone, so
    that workers have about as much to do each."""
    waiting: list[Task] = []
    for task in tasks:
        small = most > 1 and _is_small(task)
        if waiting and not small:
            yield tuple(waiting)
            waiting = []
        waiting.append(task)
        if len(waiting) >= most or not small:
            yield tuple(waiting)
            waiting = []
    if waiting:
        yield tuple(waiting)


def _is_small(task: Task) -> bool:
    """Whether its input may share a handful; of what is far away nobody asks the size."""
    path = task.input.path
    if (path and storage.is_address(path)) or task.input.is_folder:
        return False
    return 0 < bytes_of(task) <= _SMALL


def run_here(call: Call, tasks: Iterable[Task], handful: int = 1) -> Iterator[tuple[Task, Outcome]]:
    """One handful after another, in this process."""
    for some in handfuls(tasks, handful):
        yield from zip(some, call(some))


def bytes_of(task: Task) -> int:
    """Bytes of an input, 0 where they cannot be told."""
    try:
        return task.input.size
    except OSError:
        return 0


def cores() -> int:
    """Processors that this process may run on."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def run_processes(
    call: Call, tasks: Iterable[Task], jobs: int, handful: int = 1
) -> Iterator[tuple[Task, Outcome]]:
    """Tasks in processes of this machine, each of which loads the model once.

    Args:
        call: works on some; picklable.
        tasks: which.
        jobs: processes.
        handful: tasks with small inputs that a process gets at a time.
    """
    # The processes share the machine's cores. They read this when they load their libraries.
    os.environ.setdefault("OMP_NUM_THREADS", str(max(cores() // jobs, 1)))
    waiting: deque[tuple[Tasks, Future[list[Outcome]]]] = deque()
    source = handfuls(tasks, handful)
    pool = _pool(jobs)
    try:
        while True:
            while len(waiting) < _AHEAD * jobs and (some := next(source, None)) is not None:
                try:
                    waiting.append((some, pool.submit(call, some)))
                except BrokenProcessPool as error:
                    broken: Future[list[Outcome]] = Future()
                    broken.set_exception(error)
                    waiting.append((some, broken))
                    break
            if not waiting:
                return
            some, future = waiting[0]
            try:
                found = future.result()
                waiting.popleft()
                yield from zip(some, found)
            except BrokenProcessPool:
                pool.shutdown(wait=True)
                for some, future in waiting:
                    if done := _finished(future):
                        yield from zip(some, done)
                    else:
                        yield from ((task, _alone(call, task.again())) for task in some)
                waiting.clear()
                pool = _pool(jobs)
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


def _finished(future: Future[list[Outcome]]) -> list[Outcome] | None:
    """What tasks came to before their pool broke."""
    done = future.done() and not future.cancelled() and future.exception() is None
    return future.result() if done else None


def _alone(call: Call, task: Task) -> Outcome:
    """Two tries, each in a process that nothing else can take with it: whether the first one in the
    pool had begun is not known."""
    for _ in range(2):
        with _pool(1) as pool:
            try:
                return pool.submit(call, (task,)).result()[0]
            except BrokenProcessPool:
                continue
    return Outcome(FAILED, _LOST)


def _pool(jobs: int) -> ProcessPoolExecutor:
    # Not forked: torch's threads would be missing in the copy.
    context = multiprocessing.get_context("spawn")
    return ProcessPoolExecutor(jobs, context, _start_worker)


def _start_worker() -> None:
    """Leaves interrupts to the parent, and ends with it."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = multiprocessing.parent_process()
    if parent is not None:
        sentinel = parent.sentinel

        def watch() -> None:
            wait([sentinel])
            os._exit(1)

        threading.Thread(target=watch, daemon=True).start()


def run_cluster(call: Call, tasks: Iterable[Task], address: str) -> Iterator[tuple[Task, Outcome]]:
    """Tasks on the workers of a Dask cluster, which must have this package and see the same paths.

    A worker that dies costs its tasks another try elsewhere; the scheduler gives up on a task after
    three.

    Args:
        call: works on one; picklable.
        tasks: which.
        address: of the scheduler, such as ``tcp://10.0.0.1:8786``, or a scheduler file.

    Raises:
        UsageError: there is no Dask, or no scheduler at that address.
    """
    try:
        from distributed import Client, KilledWorker
    except ImportError:
        raise UsageError(
            "--scheduler: expected the package distributed, found none; "
            "pip install 'motioncodec[cluster]'"
        ) from None
    try:
        where = {"scheduler_file": address} if os.path.isfile(address) else {"address": address}
        client = Client(**where, set_as_default=False, timeout=20)
    except (OSError, ValueError, TimeoutError) as error:
        reason = " ".join(str(error).split())
        raise UsageError(
            f"--scheduler {address}: expected a Dask scheduler, found none: {reason}"
        ) from None
    with client:
        waiting: deque[tuple[Task, Any]] = deque()
        source = iter(tasks)
        while True:
            ahead = _AHEAD * max(sum(client.nthreads().values()), 2)
            while len(waiting) < ahead and (task := next(source, None)) is not None:
                # A worker may die between writing the output and saying so.
                once = task.again() if task.target is not None else task
                waiting.append((task, client.submit(call, (once,), pure=False)))
            if not waiting:
                return
            task, future = waiting.popleft()
            try:
                yield task, future.result()[0]
            except KilledWorker:
                yield task, Outcome(FAILED, _LOST)
