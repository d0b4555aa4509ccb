"""Fits the static tables of refinement and numbers (motioncodec/bitstream/*.bin) to training clips.

usage: python benchmarks/fit_refinement.py TRAIN_DIR [--clips 160]

The tables are part of the format: to run this again makes another format.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path

import numpy as np

from motioncodec.bitstream import numbers, refinement
from motioncodec.bitstream.entropy import normalise
from motioncodec.clip import Clip
from motioncodec.encoding import Encoding
from motioncodec.heatmap.placement import to_model_axes
from motioncodec.io import read_clip
from motioncodec.lossless import find_exact
from motioncodec.plan import Settings
from motioncodec.prediction import find_numbers
from motioncodec.refinement import correction_step, find_coefficients, fine_step, kept_bound
from motioncodec.skeleton import Skeleton

BOUNDS = (40.0, 20.0, 10.0, 5.0, 2.0, 1.0)
LONGEST = 4096


def counts_of(clip: Clip, preset: str) -> np.ndarray:
    """Counts of the first chunk at every bound."""
    encoding = Encoding(clip, Settings(preset, effort=1, max_error=10.0))
    stream, mine = encoding.stream, encoding.people[0]
    true = to_model_axes(clip.keypoints[slice(*stream.header.frame_span(0)), 0], clip.up)
    left = true - encoding.known(0, 0)
    heading = stream.heading_at_clip_rate(mine, 0, 0)
    total = np.zeros((), np.int64)
    for bound in BOUNDS:
        step = fine_step(bound / 1000)
        given = find_coefficients(left, step, stream.channels, heading, clip.frame_rate)
        total = total + refinement.count_contexts(given, stream.channels.classes)
    return total


def number_counts(clip: Clip) -> np.ndarray:
    """Counts of the first seconds at every bound, and as the file has them."""
    rows = clip.keypoints[:600, 0]
    present = ~np.isnan(rows[..., 0])
    total = numbers.count_contexts(find_exact(rows, ~present).numbers, present)
    for bound in (*BOUNDS, 0.2, 0.02):
        step = correction_step(bound / 1000, clip.dims)
        kept = kept_bound(bound / 1000, 0.0)
        found = find_numbers(rows / np.float64(step), floats=False, reach=kept / step)
        total = total + numbers.count_contexts(found, present)
    return total


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("train", type=Path)
    parser.add_argument("--clips", type=int, default=160)
    parser.add_argument("--only", choices=("refinement", "numbers"))
    options = parser.parse_args()
    paths = sorted(options.train.glob("*.npz"))
    paths = [paths[i] for i in np.random.default_rng(0).permutation(len(paths))[: options.clips]]
    total = np.zeros((), np.int64)
    as_numbers = np.zeros((), np.int64)
    for i, path in enumerate(paths):
        clip = read_clip(path)
        clip = replace(clip, keypoints=clip.keypoints[:LONGEST])
        if options.only != "refinement":
            as_numbers = as_numbers + number_counts(clip)
        if options.only == "numbers":
            continue
        if i % 4 == 3:
            # Points that no model knows.
            names = tuple(f"m{j}" for j in range(len(clip.skeleton)))
            clip = replace(clip, skeleton=Skeleton(names))
        total = total + counts_of(clip, ("f16", "f16", "f32")[i % 3])
    if options.only != "numbers":
        write("refinement.bin", total, total.sum(axis=(0, 1)))
    if options.only != "refinement":
        write("numbers.bin", as_numbers, as_numbers.sum(axis=2, keepdims=True))


def write(name: str, counts: np.ndarray, lean: np.ndarray) -> None:
    """Normalised counts; a table that was hardly ever asked leans on those of its kind."""
    lean = lean + 1e-3
    lean = lean / lean.sum(axis=-1, keepdims=True)
    out = normalise(counts + 8.0 * lean + 0.02)
    path = Path(refinement.__file__).with_name(name)
    path.write_bytes(out.astype("<u2").tobytes())
    print(f"{path.name}: {path.stat().st_size} bytes from {int(counts.sum()):,} numbers")


if __name__ == "__main__":
    main()
