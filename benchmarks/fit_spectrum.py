"""Fits what spectra of poses are coded with to training clips: principal components of the pose
(motioncodec/bitstream/components.bin), and the network that chooses tables
(motioncodec/bitstream/spectrum.bin).

usage: python benchmarks/fit_spectrum.py TRAIN_DIR [--hold-out 8] [--clips N] [--steps 9000]
           [--only network]

They are part of the format: to run this again makes another format.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from table_networks import Block, FloatNetwork, Windows, fit, refit_tables

import motioncodec.spectrum
from motioncodec.bitstream import spectrum
from motioncodec.bitstream.choosing import SLOTS
from motioncodec.bitstream.spectrum import STEP_BITS
from motioncodec.clip import Clip
from motioncodec.encoding import Encoding
from motioncodec.heatmap.bones import to_reference
from motioncodec.heatmap.placement import fill_gaps
from motioncodec.heatmap.resampling import to_model_rate
from motioncodec.io import read_clip
from motioncodec.plan import Settings

STEPS = (-168, -24)
"""Exponents of steps, from and to."""
PROVISIONAL = 160.0
LONGEST = 2048


def clips(paths: list[Path]) -> Iterator[Clip]:
    """At 30 frames a second."""
    for path in paths:
        clip = read_clip(path)
        points = to_model_rate(clip.keypoints.astype(np.float64), clip.frame_rate)
        yield replace(clip, keypoints=points[:LONGEST], frame_rate=30.0, confidence=None)


def fit_components(paths: list[Path]) -> None:
    poses = []
    for clip in clips(paths):
        encoding = Encoding(clip, Settings(step=PROVISIONAL))
        for chunk in encoding.people[0]:
            points, bones = encoding.posed(0, chunk)
            if not np.isnan(points).all(axis=0).any():
                whole = fill_gaps(points)
                poses.append((whole if bones is None else to_reference(whole, bones))[::2])
    rows = np.concatenate(poses).reshape(-1, SLOTS)
    print(f"{len(rows):,} poses of {len(poses)} chunks")
    mean = rows.mean(axis=0)
    variances, basis = np.linalg.eigh(np.cov((rows - mean).T))
    variances, basis = variances[::-1], basis[:, ::-1]
    basis = basis * np.sign(basis[np.abs(basis).argmax(axis=0), np.arange(SLOTS)])
    deviations = np.sqrt(np.maximum(variances, 0))
    found = [np.rint(mean * 2**13), np.rint(deviations * 2**13), np.rint(basis * 2**15).ravel()]
    whole = np.clip(np.concatenate(found), -32_767, 32_767).astype("<i2")
    Path(spectrum.__file__).with_name("components.bin").write_bytes(whole.tobytes())
    motioncodec.spectrum.components.cache_clear()


def blocks_of(some: list[Clip], steps: list[int], rng: np.random.Generator) -> list[Block]:
    """Spectra as the encoder finds them, with the tables that there are."""
    out = []
    for clip, step in zip(some, steps):
        encoding = Encoding(clip, Settings(step=1000 * 2.0 ** (step / STEP_BITS)))
        encoding.spectrum_price = float(rng.choice([0.12, 0.17, 0.25]))
        encoding.add_spectra()
        for one in encoding.people[0].values():
            if one.spectrum is not None:
                shape = one.spectrum.shape
                classes, depth, kind = spectrum.classes_of(shape[1], step)
                out.append(Block(np.abs(one.spectrum), range(SLOTS), classes, depth, kind))
    return out


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("train", type=Path)
    parser.add_argument("--clips", type=int)
    parser.add_argument("--hold-out", type=int, default=0)
    parser.add_argument("--steps", type=int, default=9000)
    parser.add_argument("--only", choices=["network"])
    options = parser.parse_args()
    torch.manual_seed(0)
    torch.set_num_threads(1)
    paths = sorted(options.train.glob("*.npz"))
    if options.hold_out:
        paths = [path for i, path in enumerate(paths) if i % options.hold_out]
    rng = np.random.default_rng(0)
    paths = [paths[i] for i in rng.permutation(len(paths))[: options.clips]]
    if options.only != "network":
        fit_components(paths)
    some = list(clips(paths))
    network = FloatNetwork(spectrum.NETWORK)
    for turn in range(3):
        # What encoders choose depends on the tables, and these on what they choose.
        steps = [int(step) for step in rng.integers(*STEPS, size=len(some))]
        blocks = blocks_of(some, steps, rng)
        fit(Windows(blocks), options.steps // 3, network)
        print(f"{turn}: {refit_tables(network, blocks) / 8e6:.3f} MB of magnitudes", flush=True)


if __name__ == "__main__":
    main()
