"""Fits the tables that numbers start from (motioncodec/bitstream/numbers.bin) to training clips.

usage: python benchmarks/fit_numbers.py TRAIN_DIR [--clips 200]

The tables are part of the format: to run this again makes another format.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

from motioncodec.bitstream import numbers
from motioncodec.bitstream.entropy import normalise
from motioncodec.clip import Clip
from motioncodec.io import read_clip
from motioncodec.lossless import find_exact
from motioncodec.prediction import find_numbers
from motioncodec.refinement import correction_step, kept_bound

BOUNDS = (40.0, 20.0, 10.0, 5.0, 2.0, 1.0, 0.2, 0.02)
FRAMES = 600


def counts_of(clip: Clip) -> np.ndarray:
    """Counts of the first seconds at every bound, and as the file has them."""
    rows = clip.keypoints[:FRAMES, 0]
    present = ~np.isnan(rows[..., 0])
    total = numbers.count_contexts(find_exact(rows, ~present).numbers, present)
    for bound in BOUNDS:
        step = correction_step(bound / 1000, clip.dims)
        kept = kept_bound(bound / 1000, 0.0)
        found = find_numbers(rows / np.float64(step), floats=False, reach=kept / step)
        total = total + numbers.count_contexts(found, present)
    return total


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("train", type=Path)
    parser.add_argument("--clips", type=int, default=200)
    options = parser.parse_args()
    paths = sorted(options.train.glob("*.npz"))
    paths = [paths[i] for i in np.random.default_rng(0).permutation(len(paths))[: options.clips]]
    counts = np.zeros((), np.int64)
    for path in paths:
        counts = counts + counts_of(read_clip(path))
    # A table that was hardly ever asked leans on those of its kind.
    lean = counts.sum(axis=2, keepdims=True) + 1e-3
    out = normalise(counts + 8.0 * lean / lean.sum(axis=-1, keepdims=True) + 0.02)
    path = Path(numbers.__file__).with_name("numbers.bin")
    path.write_bytes(out.astype("<u2").tobytes())
    print(f"{path.name}: {path.stat().st_size} bytes from {int(counts.sum()):,} numbers")


if __name__ == "__main__":
    main()
