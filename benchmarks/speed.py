"""Speed and memory: cold commands, and steady-state frames a second.

usage: python benchmarks/speed.py [CLIP]

CLIP (default the bundled 12 s capture) is repeated, forwards and backwards, to 20 minutes at 30
frames a second for the steady state. Cold commands are whole processes, the best of three. Threads:
torch's default.
"""

from __future__ import annotations

import io
import platform
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import torch

import motioncodec
from motioncodec.clip import Clip
from motioncodec.codec import Decoder, Settings, encode_clip
from motioncodec.heatmap.resampling import to_model_rate
from motioncodec.io import read_clip
from motioncodec.model.config import PRESETS

FRAMES = 36_000


def cold(*words: object) -> float:
    """Seconds of the fastest of three runs of a motioncodec command."""
    best = float("inf")
    for _ in range(3):
        began = time.perf_counter()
        subprocess.run(
            [sys.executable, "-m", "motioncodec", *map(str, words)],
            check=True,
            stdout=subprocess.DEVNULL,
        )
        best = min(best, time.perf_counter() - began)
    return best


def main() -> None:
    default = Path(__file__).parents[1] / "examples" / "cmu_135_07.npz"
    path = Path(sys.argv[1]) if len(sys.argv) > 1 else default
    clip = read_clip(path)
    points = to_model_rate(clip.keypoints.astype(np.float64), clip.frame_rate)
    there_and_back = np.concatenate([points, points[::-1]])
    long = Clip(np.resize(there_and_back, (FRAMES, *points.shape[1:])), 30.0, clip.skeleton)
    print(
        f"motioncodec {motioncodec.__version__}, torch {torch.__version__}, Python "
        f"{platform.python_version()}, {platform.machine()}, {torch.get_num_threads()} threads\n"
    )
    print("| what | measured |\n|---|---|")
    with tempfile.TemporaryDirectory() as folder:
        packed, back = Path(folder) / "a.mtok", Path(folder) / "a.npz"
        seconds = cold("encode", path, "-o", packed, "-f", "-q")
        print(f"| encode {path.name} ({clip.duration:.0f} s), cold process | {seconds:.2f} s |")
        print(
            f"| decode it, cold process | {cold('decode', packed, '-o', back, '-f', '-q'):.2f} s |"
        )
        print(f"| info, cold process | {cold('info', packed):.2f} s |", flush=True)
    ways = [(preset, Settings(preset)) for preset in PRESETS]
    ways += [(f"max error {bound:g} mm", Settings(max_error=bound)) for bound in (20.0, 5.0, 1.0)]
    ways += [("step 130 mm", Settings(step=130.0))]
    ways += [("mean error 5 mm", Settings(mean_error=5.0)), ("lossless", Settings(lossless=True))]
    for name, settings in ways:
        data = io.BytesIO()
        encode_clip(long.window(0, 2048), data, settings)
        data = io.BytesIO()
        began = time.perf_counter()
        encode_clip(long, data, settings)
        encoded = time.perf_counter() - began
        data.seek(0)
        began = time.perf_counter()
        Decoder(data).clip()
        decoded = time.perf_counter() - began
        print(
            f"| {name}, steady state | encode {FRAMES / encoded:,.0f} frames/s, "
            f"decode {FRAMES / decoded:,.0f} frames/s |",
            flush=True,
        )
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"| peak memory of this process | {peak:.0f} MiB |")


if __name__ == "__main__":
    main()
