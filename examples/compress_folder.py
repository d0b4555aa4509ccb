"""Encodes every clip of a folder, checks what comes back, and prints a table.

usage: python examples/compress_folder.py [FOLDER] [-o FOLDER] [--max-error MM] [--fps R]

Takes bvh, npz and csv files, by default the captures that come with the tests. A file that cannot
be read, such as a csv without --fps, is told of and left out.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import motioncodec
from motioncodec.metrics import compare

SUFFIXES = (".bvh", ".npz", ".csv")
CAPTURES = Path(__file__).parents[1] / "tests" / "data"


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("folder", nargs="?", type=Path, default=CAPTURES)
    parser.add_argument("-o", "--output", type=Path, default=Path("compressed"))
    parser.add_argument("--max-error", type=float, help="in place of the preset f16")
    parser.add_argument("--fps", type=float, help="in place of what files say")
    options = parser.parse_args()
    print(f"{'clip':30}{'frames':>8}{'bytes':>8}{'1 :':>6}{'mean':>9}{'largest':>9}")
    before = after = 0
    for source in sorted(p for p in options.folder.rglob("*") if p.suffix in SUFFIXES):
        target = options.output / source.relative_to(options.folder).with_suffix(".mtok")
        target.parent.mkdir(parents=True, exist_ok=True)
        try:
            clip = motioncodec.read_clip(source, frame_rate=options.fps)
            motioncodec.encode(clip, target, max_error=options.max_error)
        except motioncodec.MotionCodecError as error:
            print(error)
            continue
        found = compare(clip, motioncodec.decode(target))
        size = target.stat().st_size
        print(
            f"{source.stem[:29]:30}{clip.frames:8}{size:8,}{clip.keypoints.nbytes / size:6.0f}"
            f"{found.mpjpe:6.1f} {found.unit}{found.max:6.1f} {found.unit}"
        )
        before, after = before + clip.keypoints.nbytes, after + size
    if after:
        print(f"\n{before:,} bytes of float32 keypoints to {after:,}, 1 : {before / after:.0f}")


if __name__ == "__main__":
    main()
