"""Rate and error of every preset on held-out clips, beside a tailored transform coder.

usage: python benchmarks/targets.py DATA_DIR [--opponent transform_coder.py] [--markdown OUT]

DATA_DIR holds the folders train, val and hdm05 of .npz clips in the contract of `motioncodec.io`.
Protocol: clips over 4 s; resampled linearly to 30 frames a second; every byte of the .mtok file
counts; error in world coordinates without alignment over all joints that the clip has; bits over
seconds and mean error over joints and frames are pooled over the clips of a set. 2D: COCO-17 of
the same clips (its five face points missing, for the clips have none) seen by one still camera in
a 1,000-pixel-high image: 6 m from the middle of the take, 1.4 m high, 50 degrees of vertical view.
The opponent is run on its own 18 joints and whole 64-frame windows, and charged no header.
"""

from __future__ import annotations

import argparse
import importlib.util
import io
import platform
import sys
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
TARGETS_3D = {"f32": (110, 95, 100), "f16": (420, 38, 40), "f8": (2400, 15, 15)}
HEIGHT, DISTANCE, CAMERA, VIEW = 1000, 6.0, 1.4, 50.0


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


def measure(some: list[Clip], preset: str) -> dict[str, float]:
    """Pooled bit rate and errors of a preset."""
    size = 0
    errors = []
    for clip in some:
        data = io.BytesIO()
        size += encode_clip(clip, data, Settings(preset=preset))
        data.seek(0)
        decoded = Decoder(data).clip()
        distance = np.linalg.norm(decoded.keypoints - clip.keypoints, axis=-1)
        errors.append(distance[np.isfinite(distance)])
    error = np.concatenate(errors) * (1000 if some[0].dims == 3 else 1)
    seconds = sum(clip.duration for clip in some)
    return {
        "bytes": size,
        "bit_s": size * 8 / seconds,
        "mean": float(error.mean()),
        "p99": float(np.percentile(error, 99)),
        "max": float(error.max()),
    }


def opponent(path: Path, data: Path) -> dict[str, list[tuple[float, float]]]:
    """(bit/s, mm) points of the transform coder on val and hdm05."""
    spec = importlib.util.spec_from_file_location("transform_coder", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    coder = module.TransformCoder(module.windows(str(data / "train"), 32))
    out = {}
    for name in ("val", "hdm05"):
        test = module.windows(str(data / name))
        points = []
        for step in (2.5, 1.8, 1.2, 0.8, 0.5, 0.3, 0.2, 0.12, 0.08, 0.05, 0.03, 0.02, 0.01, 0.006):
            rate, found = coder.run(test, step)
            points.append((float(rate), float(np.linalg.norm(found - test, axis=-1).mean() * 1000)))
        out[name] = points
    return out


def at_rate(points: list[tuple[float, float]], rate: float) -> float:
    """Error at a rate, interpolated between measured points in logarithms; NaN beyond them."""
    x, y = np.log(np.array(sorted(points))).T
    return float(np.exp(np.interp(np.log(rate), x, y, left=np.nan, right=np.nan)))


def table(rows: list[dict[str, object]]) -> str:
    """Markdown, a row for each keypoint kind, set and preset."""
    lines = [
        "| keypoints | set | preset | bytes | bit/s | mean error | p99 | max | target | opponent |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        unit = "mm" if row["dims"] == 3 else "px"
        lines.append(
            f"| {row['dims']}D | {row['set']} | {row['preset']} | {row['bytes']:,} "
            f"| {row['bit_s']:.0f} | {row['mean']:.1f} {unit} | {row['p99']:.0f} {unit} "
            f"| {row['max']:.0f} {unit} | {row['target']} | {row['opponent']} |"
        )
    return "\n".join(lines) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("--opponent", type=Path, help="transform_coder.py, run beside it")
    parser.add_argument("--markdown", type=Path, help="write the table here, too")
    options = parser.parse_args()
    sets = {name: clips(options.data / name) for name in ("val", "hdm05")}
    sets["both"] = sets["val"] + sets["hdm05"]
    rival = opponent(options.opponent, options.data) if options.opponent else {}
    rows: list[dict[str, object]] = []
    for dims in (3, 2):
        for name, some in sets.items():
            for preset in PRESETS:
                seen = some if dims == 3 else [projected(clip) for clip in some]
                got = measure(seen, preset)
                target = them = ""
                if dims == 3:
                    rate, *limits = TARGETS_3D[preset]
                    limit = dict(zip(("val", "hdm05"), limits)).get(name)
                    target = f"{rate} bit/s" + (f", {limit} mm" if limit else "")
                    if name in rival and (error := at_rate(rival[name], got["bit_s"])) > 0:
                        them = f"{error:.1f} mm at this rate"
                elif preset == "f16" and name == "val":
                    target = "350 bit/s, 8 px"
                rows.append(
                    {"dims": dims, "set": name, "preset": preset, "target": target}
                    | {"opponent": them, **got}
                )
                print(table(rows[-1:]).splitlines()[-1], file=sys.stderr, flush=True)
    count = ", ".join(
        f"{name} {len(some)} ({sum(clip.duration for clip in some):.0f} s)"
        for name, some in sets.items()
    )
    text = (
        f"{table(rows)}\nClips over {SECONDS:.0f} s: {count}. motioncodec "
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
