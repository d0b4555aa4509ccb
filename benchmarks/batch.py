"""What many small files cost beside the same frames in one file per worker, and a kill.

usage: python benchmarks/batch.py DATA [--files 2000] [--seconds 5] [--jobs 2] [--again 90]
           [--ways f16,--lossless] [--markdown FILE]

Cuts real captures (DATA/train) into files of some seconds, encodes them in one run of the command
with --jobs, and, once more, the same frames as one file for each worker; in turns, of which the
fastest of each counts. Both include starting the processes and loading the model. Then a run is
killed (SIGKILL, the whole process group) when half is done and started again with --skip-existing;
its outputs are compared with the first run's.
"""

from __future__ import annotations

import argparse
import os
import platform
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from motioncodec import Clip, read_clip, write_clip

WAYS: dict[str, tuple[str, ...]] = {
    "f16": (), "--max-error 5": ("--max-error", "5"), "--lossless": ("--lossless",),
}  # fmt: skip


def cuts(data: Path, files: int, seconds: float) -> list[Clip]:
    """``files`` clips of ``seconds`` each, from one capture after another, over and over; of
    captures at one frame rate, or they would be no clip together."""
    out: list[Clip] = []
    captures = [read_clip(path) for path in sorted((data / "train").glob("*.npz"))]
    captures = [one for one in captures if one.frame_rate == captures[0].frame_rate]
    while len(out) < files:
        before = len(out)
        for clip in captures:
            length = round(seconds * clip.frame_rate)
            for start in range(0, clip.frames - length + 1, length):
                out.append(clip.window(start, start + length))
                if len(out) == files:
                    return out
        if len(out) == before:
            raise SystemExit(f"{data}: expected captures of {seconds} s in train, found none")
    return out


def measured(command: Sequence[str]) -> tuple[float, int]:
    """Seconds that a command takes, and the most bytes of one of its processes."""
    start = time.perf_counter()
    process = subprocess.Popen(command, start_new_session=True)
    most = 0
    done = threading.Event()

    def watch() -> None:
        nonlocal most
        while not done.wait(0.2):
            for one in Path("/proc").glob("[0-9]*"):
                try:
                    if os.getpgid(int(one.name)) != process.pid:
                        continue
                    for line in (one / "status").read_text().splitlines():
                        if line.startswith("VmHWM"):
                            most = max(most, int(line.split()[1]) * 1024)
                except (OSError, ValueError):
                    continue

    watcher = threading.Thread(target=watch)
    watcher.start()
    status = process.wait()
    took = time.perf_counter() - start
    done.set()
    watcher.join()
    if status:
        raise SystemExit(f"{' '.join(command)}: exit status {status}")
    return took, most


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("--files", type=int, default=2000)
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--ways", default=",".join(WAYS), help="some of these, the last is killed")
    parser.add_argument(
        "--again", type=float, default=90.0, help="seconds in which a way is measured again"
    )
    parser.add_argument("--markdown", type=Path)
    options = parser.parse_args()
    program = [sys.executable, "-m", "motioncodec", "encode", "-q", "--jobs", str(options.jobs)]
    rows = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        clips = cuts(options.data, options.files, options.seconds)
        (folder / "small").mkdir()
        (folder / "large").mkdir()
        for i, clip in enumerate(clips):
            write_clip(clip, folder / "small" / f"{i:05}.npz")
        for job in range(options.jobs):
            mine = clips[job :: options.jobs]
            points = np.concatenate([one.keypoints for one in mine])
            write_clip(replace(mine[0], keypoints=points), folder / "large" / f"{job}.npz")
        frames = sum(one.frames for one in clips)
        for way in options.ways.split(","):
            result: dict[str, tuple[float, int]] = {}
            began = time.perf_counter()
            while not result or time.perf_counter() - began < options.again:
                for kind in ("small", "large"):
                    out = folder / f"{kind}-out"
                    shutil.rmtree(out, ignore_errors=True)
                    found = measured(
                        [*program, str(folder / kind), "--output-dir", str(out), *WAYS[way]]
                    )
                    result[kind] = min(result.get(kind, found), found)
            (small, memory), (large, large_memory) = result["small"], result["large"]
            rows.append(
                f"| {way} | {small:.1f} s, {frames / small:,.0f} frames/s, "
                f"{memory >> 20} MiB | {large:.1f} s, {frames / large:,.0f} frames/s, "
                f"{large_memory >> 20} MiB | {small / large:.2f} |"
            )
            print(rows[-1], flush=True)
        again = folder / "again"
        command = [
            *program, str(folder / "small"), "--output-dir", str(again), *WAYS[way],
            "--skip-existing",
        ]  # fmt: skip
        process = subprocess.Popen(command, start_new_session=True)
        while not again.exists() or len(list(again.iterdir())) < options.files // 2:
            time.sleep(0.05)
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        there = len(list(again.iterdir()))
        measured(command)
        whole = folder / "small-out"
        same = sorted(one.name for one in again.iterdir()) == sorted(
            one.name for one in whole.iterdir()
        ) and all((again / one.name).read_bytes() == one.read_bytes() for one in whole.iterdir())
    killed = (
        f"Killed after {there} of {options.files} files and started again with --skip-existing: "
        f"outputs {'the same, byte for byte' if same else 'DIFFER'}."
    )
    print(killed)
    if options.markdown:
        options.markdown.write_text(
            f"`python benchmarks/batch.py DATA --files {options.files} --seconds "
            f"{options.seconds:g} --jobs {options.jobs}`: {frames:,} frames at "
            f"{clips[0].frame_rate:g}/s, CMU training captures, on {platform.machine()}, "
            f"{os.cpu_count()} cores, Python {platform.python_version()}. Times and the largest "
            "process's memory, starting included; the fastest of the turns that began within "
            f"{options.again:g} s.\n\n"
            f"| quality | {options.files} files | the same frames in {options.jobs} files | ratio "
            "|\n|---|---|---|---|\n" + "\n".join(rows) + f"\n\n{killed}\n"
        )


if __name__ == "__main__":
    main()
