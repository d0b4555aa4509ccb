"""Encodes a real capture with every preset, decodes it, and shows what came back.

usage: python examples/demo.py [CLIP] [-o FOLDER]

Runs the `motioncodec` command as a user would. Writes the .mtok files, the decoded clips and a
picture of both skeletons over each other to FOLDER (default demo-out).
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from pathlib import Path

from draw import draw

from motioncodec import read_clip

PRESETS = ("f32", "f16", "f8")


def run(*words: str | Path) -> str:
    """One motioncodec command; its standard output."""
    command = [sys.executable, "-m", "motioncodec", *map(str, words)]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    return done.stdout


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    here = Path(__file__).parent
    parser.add_argument("clip", nargs="?", type=Path, default=here / "cmu_135_07.npz")
    parser.add_argument("-o", "--output", type=Path, default=Path("demo-out"))
    options = parser.parse_args()
    options.output.mkdir(exist_ok=True)
    clip = read_clip(options.clip)
    unit = "mm" if clip.dims == 3 else "px"
    print(
        f"{options.clip.name}: {clip.frames} frames, {clip.duration:.1f} s, "
        f"{len(clip.skeleton)} joints, {clip.keypoints.nbytes:,} bytes as float32\n"
    )
    print(f"{'preset':8}{'bytes':>8}{'bit/s':>8}{'1 :':>8}{'mean ' + unit:>10}{'p99 ' + unit:>10}")
    rows = []
    for preset in PRESETS:
        packed = options.output / f"{options.clip.stem}.{preset}.mtok"
        back = options.output / f"{options.clip.stem}.{preset}.npz"
        run("encode", options.clip, "-o", packed, "--preset", preset, "-f", "-q")
        run("decode", packed, "-o", back, "-f", "-q")
        found = json.loads(run("compare", options.clip, packed, "--json"))
        size = packed.stat().st_size
        rate = size * 8 / clip.duration
        print(
            f"{preset:8}{size:8,}{rate:8.0f}{clip.keypoints.nbytes / size:8.0f}"
            f"{found['mpjpe']:10.1f}{found['p99']:10.1f}"
        )
        label = (
            f"{preset}: {size:,} bytes, {rate:.0f} bit/s, {found['mpjpe']:.1f} {unit} mean error"
        )
        rows.append((label, read_clip(back)))
    picture = options.output / "skeletons.png"
    draw(clip, rows, picture)
    print(f"\noriginal in grey, decoded in colour: {picture}")


if __name__ == "__main__":
    main()
