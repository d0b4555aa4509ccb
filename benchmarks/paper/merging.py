"""Experiment g, without a network: where do the heatmaps of neighbouring joints merge?

usage: python benchmarks/paper/merging.py --data DIR [--output benchmarks/paper/merging.csv]
           [--windows 60] [--runs runs/paper]

All joints of a frame drawn into one plane (xy) by maximum, as the paper draws, averaged over the
frames that a latent step stands for, of val at several speeds. A joint is told apart from its
nearest neighbour where the drawing sinks by a tenth or more between the two (mean positions over
these frames). Per-joint channels, which motioncodec's models have, cannot merge:
this is what they are for.
"""

from __future__ import annotations

import csv

import numpy as np
from experiments import arguments, windows
from scipy.ndimage import map_coordinates

from motioncodec.heatmap.rendering import to_pixels


def told_apart(points: np.ndarray, size: int, sigma: float, span: int) -> float:
    """Share of joints of (T, K, 2) body units that peaks of the averaged drawing tell apart."""
    pixels = to_pixels(points, size)
    away = np.arange(size) - pixels[..., None]
    along = np.exp(-(away**2) / (2 * sigma**2))
    drawn = (along[:, :, 1, :, None] * along[:, :, 0, None, :]).max(1)
    found = total = 0
    for begin in range(0, len(points) - span + 1, span):
        plane = drawn[begin : begin + span].mean(0)
        centres = pixels[begin : begin + span].mean(0)
        apart = np.linalg.norm(centres[:, None] - centres, axis=-1)
        np.fill_diagonal(apart, np.inf)
        other = centres[apart.argmin(1)]
        path = centres + np.linspace(0, 1, 9)[:, None, None] * (other - centres)
        values = map_coordinates(plane, [path[..., 1], path[..., 0]], order=1)
        ends = np.minimum(values[0], values[-1])
        found += int((values.min(0) < 0.9 * ends).sum())
        total += len(centres)
    return found / total


def main() -> None:
    parser = arguments(__doc__, "merging.csv")
    parser.add_argument("--windows", type=int, default=60)
    options = parser.parse_args()
    rows = []
    for speed in (0.5, 1.0, 2.0, 4.0):
        centres, _ = windows(options, "val", 3, options.windows, speed)
        points = centres[..., :2].double().numpy()
        for size in (64, 128):
            for sigma in (0.5, 0.75, 1.0, 1.5, 2.0, 3.0):
                for span in (1, 8, 16, 32):
                    share = np.mean([told_apart(one, size, sigma, span) for one in points])
                    rows.append((size, sigma, speed, span, f"{share:.3f}"))
    with open(options.output, "w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(("size", "sigma", "speed", "frames", "told apart"))
        writer.writerows(rows)
    print(f"{options.output}: {len(rows)} rows of {len(points)} windows")


if __name__ == "__main__":
    main()
