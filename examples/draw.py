"""Draws skeletons of two clips over each other.

usage: python examples/draw.py ORIGINAL DECODED [LABEL] -o PICTURE.png

Original in grey, decoded in colour, at evenly spaced frames, each person about where they stand.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np

from motioncodec import Clip, read_clip

POSES = 9


def draw(original: Clip, decoded: list[tuple[str, Clip]], path: Path) -> None:
    """A row of poses for each decoded clip, seen from the side that shows most.

    Args:
        original: 3D with y up, or 2D with y down.
        decoded: label and clip for each row, frame for frame as the original.
        path: of the PNG.
    """
    frames = np.linspace(0, original.frames - 1, POSES).astype(int)
    figure, rows = plt.subplots(len(decoded), 1, figsize=(13, 2.35 * len(decoded)), squeeze=False)
    for axes, (label, clip) in zip(rows[:, 0], decoded):
        for place, frame in enumerate(frames):
            for source, colour, width in ((original, "0.72", 4.0), (clip, "#c2410c", 1.4)):
                points = flat(source, frame, original)
                points[:, 0] += place * 1.2
                for child, parent in source.skeleton.bones:
                    axes.plot(*points[[child, parent]].T, color=colour, lw=width,
                              solid_capstyle="round", zorder=2 if width < 2 else 1)  # fmt: skip
            axes.text(
                place * 1.2,
                -0.16,
                f"{frame / original.frame_rate:.1f} s",
                ha="center",
                color="0.4",
            )
        axes.set_title(label, loc="left", fontsize=11)
        axes.set_aspect("equal")
        axes.set_ylim(-0.3, 1.95)
        axes.set_xlim(-0.8, (POSES - 1) * 1.2 + 0.8)
        axes.axis("off")
    figure.tight_layout()
    figure.savefig(path, dpi=110)
    plt.close(figure)


def flat(clip: Clip, frame: int, original: Clip) -> np.ndarray:
    """(K, 2) one person seen from the front, about the original's place, feet at about 0."""
    points = clip.keypoints[frame, 0].astype(float)
    base = original.keypoints[frame, 0].astype(float)
    if clip.dims == 2:
        height = np.nanmax(original.keypoints[..., 1]) - np.nanmin(original.keypoints[..., 1])
        return (points - np.nanmean(base, 0)) * [1.7 / height, -1.7 / height] + [0, 0.9]
    return np.stack([points[:, 0] - np.nanmean(base[:, 0]), points[:, 1]], -1)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("original", type=Path)
    parser.add_argument("decoded", type=Path)
    parser.add_argument("label", nargs="?", default="")
    parser.add_argument("-o", "--output", type=Path, required=True)
    options = parser.parse_args()
    label = options.label or options.decoded.name
    draw(read_clip(options.original), [(label, read_clip(options.decoded))], options.output)


if __name__ == "__main__":
    main()
