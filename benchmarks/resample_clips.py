"""Clips at the models' 30 frames a second: half the bytes, where training data must travel.

usage: python benchmarks/resample_clips.py IN_DIR OUT_DIR
"""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np

from motioncodec.heatmap.resampling import to_model_rate
from motioncodec.io import read_clip, write_clip


def main(source: Path, target: Path) -> None:
    target.mkdir(parents=True, exist_ok=True)
    for path in sorted(source.glob("*.npz")):
        clip = read_clip(path)
        points = to_model_rate(clip.keypoints.astype(np.float64), clip.frame_rate)
        write_clip(replace(clip, keypoints=points, frame_rate=30.0), target / path.name)
    total = sum(path.stat().st_size for path in target.glob("*.npz"))
    print(f"{target}: {total / 1e6:.0f} MB")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
