"""Trains one configuration twice from the same seed and says whether both come out alike.

usage: python benchmarks/twice.py CONFIG.json DATA_DIR [--steps 60] [--start-windows 512]

On the CPU, with few steps unless told otherwise; DATA_DIR holds train and val. Exit status 1 where
the val errors of any preset differ by more than 3 %.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

import torch

from motioncodec.training.data import load_motion, read_folder
from motioncodec.training.trainer import Trainer, TrainingConfig


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("config", type=Path)
    parser.add_argument("data", type=Path)
    parser.add_argument("--steps", type=int, default=60)
    parser.add_argument("--start-windows", type=int, default=512)
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    config = replace(
        TrainingConfig.read(options.config), steps=options.steps, evaluate_every=options.steps,
        start_windows=options.start_windows,
    )  # fmt: skip
    train, val = (load_motion(read_folder(options.data / name)) for name in ("train", "val"))
    found = []
    for _ in range(2):
        with tempfile.TemporaryDirectory() as folder:
            found.append(Trainer(config, train, val, Path(folder)).train()["val"])
    apart = max(abs(a / b - 1) for a, b in zip(*found))
    print(
        f"{config.name}, {config.steps} steps, twice: {found[0]} and {found[1]}: {apart:.2%} apart"
    )
    return int(apart > 0.03)


if __name__ == "__main__":
    sys.exit(main())
