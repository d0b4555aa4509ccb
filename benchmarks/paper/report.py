"""Tables and plots of the experiments' CSVs.

usage: python benchmarks/paper/report.py [--scale reduced] [--folder benchmarks/paper]

Writes tables.md, codes.png (c) and baseline.png (e): means over seeds, from lowest to highest.
"""

from __future__ import annotations

import argparse
import csv
from collections import defaultdict
from pathlib import Path

import numpy as np

FIGURES = ("SSIM", "PSNR", "L1", "T-Std", "fast kept", "fast true", "codes used")
KEYPOINTS = ("MPJPE", "acceleration", "joints kept", "joints true")
"""Where joints are drawn."""

VARIES = {
    "a": ("dims", "adversarial"),
    "a8": ("dims", "adversarial"),
    "a-shipped": ("dims", "adversarial"),
    "b": ("adversarial",),
    "c": ("dims", "codes"),
    "d": ("dims", "preset"),
    "e": ("bottleneck",),
    "f": ("trunk",),
    "g": ("speed",),
}


def pooled(path: Path, keys: tuple[str, ...]) -> dict[tuple[str, ...], dict[str, np.ndarray]]:
    """Of each arm and set the figures of its seeds."""
    out: dict[tuple[str, ...], dict[str, list[float]]] = defaultdict(lambda: defaultdict(list))
    with open(path) as file:
        for row in csv.DictReader(file):
            arm = (row["set"], *(row[key] for key in keys))
            for figure in (*FIGURES, *KEYPOINTS):
                out[arm][figure].append(float(row.get(figure) or "nan"))
    return {
        arm: {figure: np.array(values) for figure, values in figures.items()}
        for arm, figures in out.items()
    }


def cell(values: np.ndarray) -> str:
    """A mean, and how far seeds lie apart."""
    if np.isnan(values).all():
        return ""
    mean = f"{values.mean():.4g}"
    return mean if len(values) == 1 else f"{mean} ({values.min():.4g} to {values.max():.4g})"


def tables(folder: Path, scale: str) -> str:
    """Markdown of every experiment that there is."""
    out = [
        "# Tables of the experiments",
        "",
        "Written by `python benchmarks/paper/report.py`; means, and in brackets the lowest and the",
        "highest of the seeds.",
    ]
    for letter, keys in VARIES.items():
        path = folder / f"{letter}-{scale}.csv"
        if not path.exists():
            continue
        found = pooled(path, keys)
        seeds = max(len(figures["SSIM"]) for figures in found.values())
        out += ["", f"## {letter} ({seeds} seed{'s' * (seeds > 1)}), `{path.name}`", ""]
        some = [f for f in (*FIGURES, *KEYPOINTS) if any(cell(row[f]) for row in found.values())]
        out += ["| set | " + " | ".join((*keys, *some)) + " |"]
        out += ["|---" * (1 + len(keys) + len(some)) + "|"]
        for arm, figures in found.items():
            out.append("| " + " | ".join((*arm, *(cell(figures[f]) for f in some))) + " |")
    for name in ("tstd", "h", "i"):
        path = folder / f"{name}.csv"
        if path.exists():
            with open(path) as file:
                rows = list(csv.reader(file))
            out += ["", f"## `{path.name}`", "", "| " + " | ".join(rows[0]) + " |"]
            out += ["|---" * len(rows[0]) + "|", *("| " + " | ".join(r) + " |" for r in rows[1:])]
    path = folder / "merging.csv"
    if path.exists():
        out += ["", "## `merging.csv`: share of joints told apart from their neighbours", ""]
        with open(path) as file:
            found_rows = list(csv.DictReader(file))
        speeds = sorted({float(row["speed"]) for row in found_rows})
        out += ["| size | sigma | frames | " + " | ".join(f"{s:g}x" for s in speeds) + " |"]
        out += ["|---" * (3 + len(speeds)) + "|"]
        shares: dict[tuple[str, str, str], dict[float, str]] = defaultdict(dict)
        for row in found_rows:
            at = row["size"], row["sigma"], row["frames"]
            shares[at][float(row["speed"])] = row["told apart"]
        for at, by_speed in shares.items():
            out.append("| " + " | ".join((*at, *(by_speed[s] for s in speeds))) + " |")
    return "\n".join(out) + "\n"


def plots(folder: Path, scale: str) -> None:
    """codes.png and baseline.png."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    path = folder / f"c-{scale}.csv"
    if path.exists():
        found = pooled(path, VARIES["c"])
        figure, axes = plt.subplots(1, 2, figsize=(9, 3.6), sharex=True)
        for axis, measure in zip(axes, ("SSIM", "codes used")):
            for name, style in (("val", "-o"), ("hdm05", "--s")):
                for dims, colour in (("2", "tab:blue"), ("3", "tab:orange")):
                    arms = sorted(
                        (int(arm[2]), values[measure])
                        for arm, values in found.items()
                        if arm[:2] == (name, dims)
                    )
                    codes = [codes for codes, _ in arms]
                    means = np.array([values.mean() for _, values in arms])
                    low = means - [values.min() for _, values in arms]
                    high = np.array([values.max() for _, values in arms]) - means
                    axis.errorbar(
                        codes, means, [low, high], fmt=style, color=colour, capsize=3,
                        label=f"{dims}D, {name}", ms=4, lw=1.3,
                    )  # fmt: skip
            axis.set_xscale("log", base=2)
            axis.set_xticks(codes, [str(c) for c in codes])
            axis.set_xlabel("codes in the book")
            axis.set_ylabel(measure)
            axis.grid(alpha=0.3)
        axes[1].plot(codes, codes, ":", color="grey", lw=1)
        axes[1].set_yscale("log", base=2)
        axes[0].legend(frameon=False, fontsize=8)
        figure.suptitle("F8, conv3d, reduced size: what more codes bring", fontsize=10)
        figure.tight_layout()
        figure.savefig(folder / "codes.png", dpi=130)
        plt.close(figure)
    path = folder / f"e-{scale}.csv"
    if path.exists():
        found = pooled(path, VARIES["e"])
        figure, axis = plt.subplots(figsize=(6, 3.4))
        names = {"gumbel": "dVAE", "vq": "VQ-GAN", "none": "autoencoder"}
        for i, name in enumerate(("val", "hdm05")):
            for j, bottleneck in enumerate(names):
                values = found[name, bottleneck]["SSIM"]
                at = np.full(len(values), j + 0.16 * (2 * i - 1))
                colour = ("tab:blue", "tab:green")[i]
                label = name if j == 0 else None
                axis.scatter(at, values, color=colour, s=22, alpha=0.7, label=label)
                axis.hlines(values.mean(), at[0] - 0.1, at[0] + 0.1, color=colour)
        axis.set_xticks(range(len(names)), list(names.values()))
        axis.set_ylabel("SSIM, F8, 3D")
        axis.grid(alpha=0.3, axis="y")
        axis.legend(frameon=False)
        axis.set_title("Three seeds each, same trunk, same steps", fontsize=10)
        figure.tight_layout()
        figure.savefig(folder / "baseline.png", dpi=130)
        plt.close(figure)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--scale", default="reduced")
    parser.add_argument("--folder", type=Path, default=Path(__file__).parent)
    options = parser.parse_args()
    text = tables(options.folder, options.scale)
    (options.folder / "tables.md").write_text(text)
    plots(options.folder, options.scale)


if __name__ == "__main__":
    main()
