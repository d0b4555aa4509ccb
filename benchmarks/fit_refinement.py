"""Fits the static tables of refinement (motioncodec/bitstream/refinement.bin) to training clips.

usage: python benchmarks/fit_refinement.py TRAIN_DIR [--clips 160]

The tables are part of the format: to run this again makes another format.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path

import numpy as np

from motioncodec.bitstream import refinement
from motioncodec.bitstream.entropy import normalise
from motioncodec.clip import Clip
from motioncodec.codec import _extra, _place, _tokens
from motioncodec.heatmap.placement import to_model_axes
from motioncodec.io import read_clip
from motioncodec.plan import Settings, plan
from motioncodec.refinement import find_coefficients, fine_step
from motioncodec.skeleton import Skeleton
from motioncodec.stream import Stream
from motioncodec.tracks import decode_extra

BOUNDS = (40.0, 20.0, 10.0, 5.0, 2.0, 1.0)
LONGEST = 4096


def counts_of(clip: Clip, preset: str) -> np.ndarray:
    """Counts of the first chunk at every bound."""
    header, weights = plan(clip, Settings(preset, effort=1, max_error=10.0))
    stream = Stream(header, "cpu", weights)
    mine = _place(clip, stream, 0)
    for chunk in range(header.chunks):
        if header.model and mine[chunk].present:
            mine[chunk].tokens = _tokens(clip, stream, mine, 0, chunk, 1)
    mine[0].extra = _extra(clip, stream, mine, 0, 0)
    found = stream.body_at_clip_rate(mine, 0, 0)
    extra = mine[0].extra
    if extra is not None:
        found[:, stream.extra] = decode_extra(
            extra, found, stream.extra, stream.extra_rounds, header
        )
    true = clip.keypoints[slice(*header.frame_span(0)), 0].astype(np.float64)
    left = to_model_axes(true, header.up) - found
    heading = stream.heading_at_clip_rate(mine, 0, 0)
    total = np.zeros((), np.int64)
    for bound in BOUNDS:
        step = fine_step(bound / 1000)
        given = find_coefficients(left, step, stream.channels, heading, clip.frame_rate)
        total = total + refinement.count_contexts(given, stream.channels.classes)
    return total


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("train", type=Path)
    parser.add_argument("--clips", type=int, default=160)
    options = parser.parse_args()
    paths = sorted(options.train.glob("*.npz"))
    paths = [paths[i] for i in np.random.default_rng(0).permutation(len(paths))[: options.clips]]
    total = np.zeros((), np.int64)
    for i, path in enumerate(paths):
        clip = read_clip(path)
        clip = replace(clip, keypoints=clip.keypoints[:LONGEST])
        if i % 4 == 3:
            # Points that no model knows.
            names = tuple(f"m{j}" for j in range(len(clip.skeleton)))
            clip = replace(clip, skeleton=Skeleton(names))
        total = total + counts_of(clip, ("f16", "f16", "f32")[i % 3])
    # A table that was hardly ever asked leans on those of other bands and classes.
    prior = total.sum(axis=(0, 1)) + 1e-3
    prior = prior / prior.sum(axis=-1, keepdims=True)
    out = normalise(total + 8.0 * prior)
    path = Path(refinement.__file__).with_name("refinement.bin")
    path.write_bytes(out.astype("<u2").tobytes())
    print(f"{path.name}: {path.stat().st_size} bytes from {int(total.sum()):,} coefficients")


if __name__ == "__main__":
    main()
