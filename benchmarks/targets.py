"""Rate and error of every preset on held-out clips, in 3D, in 2D and in noisy 2D.

usage: python benchmarks/targets.py DATA_DIR [--markdown OUT]

DATA_DIR holds the folders train, val and hdm05 of .npz clips in the contract of `motioncodec.io`.
Protocol: clips over 4 s; resampled linearly to 30 frames a second; every byte of the .mtok file
counts; error in world coordinates without alignment over all joints that the clip has; bits over
seconds and mean error over joints and frames are pooled over the clips of a set. 2D: COCO-17 of
the same clips (its five face points missing, for the clips have none) seen by one still camera in
a 1,000-pixel-high image: 6 m from the middle of the take, 1.4 m high, 50 degrees of vertical view.
Noisy 2D: every coordinate that the encoder sees is off by a normal deviate of 5 px, 3 cm on the
person, in every frame anew; the error is that against the clean truth. benchmarks/frontier.py has
3D beside a tailored transform coder.
"""

from __future__ import annotations

import argparse
import io
import platform
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

import motioncodec
from motioncodec.clip import Clip
from motioncodec.codec import Decoder, Settings, encode_clip
from motioncodec.heatmap.resampling import to_model_rate
from motioncodec.io import read_clip
from motioncodec.model.config import PRESETS
from motioncodec.skeleton import CANONICAL, find_skeleton

SECONDS = 4.0
HEIGHT, DISTANCE, CAMERA, VIEW = 1000, 6.0, 1.4, 50.0
NOISE = 5.0
TARGETS = {("2D", "f16"): "300 bit/s, 5 px", ("noisy 2D", "f16"): "6 px"}


def clips(folder: Path) -> list[Clip]:
    """Clips over 4 s at 30 frames a second."""
    out = []
    for path in sorted(folder.glob("*.npz")):
        clip = read_clip(path)
        if clip.duration > SECONDS:
            points = to_model_rate(clip.keypoints.astype(np.float64), clip.frame_rate)
            out.append(Clip(points, 30.0, clip.skeleton, units=clip.units, up=clip.up))
    return out


def projected(clip: Clip) -> Clip:
    """What one still camera sees of a clip in metres with y up: COCO-17, pixels."""
    coco = find_skeleton("coco-17")
    world = clip.keypoints[:, 0].astype(np.float64)
    middle = np.nanmean(
        world[:, [CANONICAL.index("left_hip"), CANONICAL.index("right_hip")]], (0, 1)
    )
    away = world - [middle[0], CAMERA, middle[2] - DISTANCE]
    focal = HEIGHT / 2 / np.tan(np.radians(VIEW / 2))
    depth = np.maximum(away[..., 2], 0.5)
    pixels = np.stack([away[..., 0], -away[..., 1]], -1) * (focal / depth)[..., None] + HEIGHT / 2
    points = np.full((clip.frames, 17, 2), np.nan)
    for joint, canonical in enumerate(coco.covered):
        if canonical >= 0:
            points[:, joint] = pixels[:, canonical]
    return Clip(points, 30.0, coco, units="px", up="-y")


def noisy(clip: Clip, seed: int) -> Clip:
    """The same clip as a detector might see it."""
    off = np.random.default_rng(seed).normal(0, NOISE, clip.keypoints.shape)
    return replace(clip, keypoints=(clip.keypoints + off).astype(np.float32))


def measure(given: list[Clip], truth: list[Clip], preset: str) -> dict[str, float]:
    """Pooled bit rate of some clips and errors against the truth."""
    size = 0
    errors = []
    for clip, true in zip(given, truth):
        data = io.BytesIO()
        size += encode_clip(clip, data, Settings(preset=preset))
        data.seek(0)
        decoded = Decoder(data).clip()
        distance = np.linalg.norm(decoded.keypoints - true.keypoints, axis=-1)
        errors.append(distance[np.isfinite(distance)])
    error = np.concatenate(errors) * (1000 if truth[0].dims == 3 else 1)
    seconds = sum(clip.duration for clip in truth)
    return {
        "bytes": size,
        "bit_s": size * 8 / seconds,
        "mean": float(error.mean()),
        "p99": float(np.percentile(error, 99)),
        "max": float(error.max()),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("--markdown", type=Path, help="write the table here, too")
    options = parser.parse_args()
    sets = {name: clips(options.data / name) for name in ("val", "hdm05")}
    lines = [
        "| keypoints | set | preset | bytes | bit/s | mean error | p99 | max | target |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for kind in ("3D", "2D", "noisy 2D"):
        unit = "mm" if kind == "3D" else "px"
        for name, some in sets.items():
            truth = some if kind == "3D" else [projected(clip) for clip in some]
            given = truth
            if kind == "noisy 2D":
                given = [noisy(clip, i) for i, clip in enumerate(truth)]
            for preset in PRESETS:
                got = measure(given, truth, preset)
                target = TARGETS.get((kind, preset), "") if name == "val" else ""
                lines.append(
                    f"| {kind} | {name} | {preset} | {got['bytes']:,} | {got['bit_s']:.0f} "
                    f"| {got['mean']:.1f} {unit} | {got['p99']:.0f} {unit} "
                    f"| {got['max']:.0f} {unit} | {target} |"
                )
                print(lines[-1], file=sys.stderr, flush=True)
    count = ", ".join(
        f"{name} {len(some)} ({sum(clip.duration for clip in some):.0f} s)"
        for name, some in sets.items()
    )
    text = (
        "\n".join(lines) + f"\n\nClips over {SECONDS:.0f} s: {count}. motioncodec "
        f"{motioncodec.__version__}, torch {torch.__version__}, Python "
        f"{platform.python_version()}, {platform.machine()}, {torch.get_num_threads()} threads.\n"
    )
    print(text)
    if options.markdown:
        options.markdown.write_text(
            "# Presets on held-out clips\n\nWritten by `benchmarks/targets.py`, whose first lines "
            f"say what is measured and how.\n\n{text}"
        )


if __name__ == "__main__":
    main()
