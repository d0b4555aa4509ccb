"""What T-Std says, and what it does not: reconstructions that are wrong in known ways.

usage: python benchmarks/paper/tstd.py --data DIR [--output benchmarks/paper/tstd.csv]
           [--windows 60] [--runs runs/paper]

Windows of 64 frames of val as limb drawings (3D, 32 pixels), no network: each is spoilt on purpose
and measured as the experiments measure. Lower T-Std is meant to be better.
"""

from __future__ import annotations

import csv

import numpy as np
import torch
from experiments import arguments, fidelity, windows
from scipy.ndimage import uniform_filter1d

from motioncodec.heatmap.fidelity import Fast
from motioncodec.model.moments import splat_limbs


def spoilt(volume: np.ndarray) -> dict[str, np.ndarray]:
    """(C, T, H, W) volumes, by what was done to them."""
    noise = np.random.default_rng(0).normal(0, 0.05, volume.shape)
    late = volume.copy()
    late[:, 1:] = volume[:, :-1]
    slip = volume.copy()
    slip[:, 32] = 0.0
    return {
        "a constant error: 0.05 too bright everywhere": volume + 0.05,
        "half as bright": volume / 2,
        "frozen: the first frame held": np.repeat(volume[:, :1], volume.shape[1], 1),
        "frozen: the middle frame held": np.repeat(volume[:, 32:33], volume.shape[1], 1),
        "smeared over 3 frames": uniform_filter1d(volume, 3, axis=1),
        "smeared over 9 frames": uniform_filter1d(volume, 9, axis=1),
        "a frame late": late,
        "noise of 0.05": np.clip(volume + noise, 0, 1),
        "perfect but for one empty frame": slip,
    }


def main() -> None:
    parser = arguments(__doc__, "tstd.csv")
    parser.add_argument("--windows", type=int, default=60)
    options = parser.parse_args()
    centres, seen = windows(options, "val", 3, options.windows)
    rows: dict[str, list[dict[str, float]]] = {}
    fast: dict[str, Fast] = {}
    for points, there in zip(centres, seen):
        planes = splat_limbs(points[None], there[None], 32, 1.0)[0, :, 0]
        volume = planes.transpose(0, 1).numpy().astype(np.float64)
        for name, other in spoilt(volume).items():
            row, changes = fidelity(volume, other)
            rows.setdefault(name, []).append(row)
            fast[name] = fast.get(name, Fast()) + changes
    with open(options.output, "w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(
            (
                "reconstruction",
                "SSIM",
                "PSNR",
                "L1",
                "T-Std",
                "undefined in",
                "fast kept",
                "fast true",
            )
        )
        for name, found in rows.items():
            undefined = sum(np.isnan(row["T-Std"]) for row in found) / len(found)
            values = {key: np.array([row[key] for row in found]) for key in found[0]}
            t = np.nanmean(values["T-Std"]) if undefined < 1 else float("nan")
            means = [values[key].mean() for key in ("SSIM", "PSNR", "L1")]
            figures = [*means, t, undefined, fast[name].kept, fast[name].true]
            writer.writerow([name, *(f"{figure:.4g}" for figure in figures)])
    print(options.output.read_text())


if __name__ == "__main__":
    torch.set_num_threads(1)
    main()
