"""Feeds heatmaps, as PoseConv3D takes them, from .mtok files to a training loop.

usage: python examples/heatmap_loader.py [FOLDER] [--workers N] [--batches N]

Prints the shape of a batch and how many samples, and heatmaps, come a second.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import torch
from actions import HERE, action
from torch.utils.data import DataLoader

from motioncodec.datasets import HeatmapDataset


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("folder", nargs="?", type=Path, default=HERE / "tokens")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--batches", type=int, default=20)
    options = parser.parse_args()
    files = sorted(options.folder.rglob("*.mtok"))
    classes = sorted({action(path) for path in files})
    dataset = HeatmapDataset(
        files, window=48, stride=24, size=56, sigma=0.6,
        labels=lambda path: classes.index(action(path)),
    )  # fmt: skip
    print(f"{len(files)} files, {len(dataset)} windows of 48 frames, {len(classes)} labels")
    loader = DataLoader(
        dataset, batch_size=8, shuffle=True, num_workers=options.workers,
        generator=torch.Generator().manual_seed(0),
    )  # fmt: skip
    samples, start = 0, 0.0
    for batch, (heatmaps, labels) in enumerate(loader):
        if batch == 0:  # workers have started
            print(f"a batch: {tuple(heatmaps.shape)} {heatmaps.dtype}, labels {labels.tolist()}")
            start = time.perf_counter()
            continue
        samples += len(heatmaps)
        if batch == options.batches:
            break
    took = time.perf_counter() - start
    rate = samples / took
    maps = rate * heatmaps.shape[1] * heatmaps.shape[2]
    print(f"{rate:.1f} samples a second, {maps:,.0f} heatmaps, {options.workers} workers")


if __name__ == "__main__":
    main()
