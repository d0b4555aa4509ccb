"""Fits what spectra of poses are coded with to training clips: principal components of the pose
(motioncodec/bitstream/components.bin), and the network that chooses tables
(motioncodec/bitstream/spectrum.bin).

usage: python benchmarks/fit_spectrum.py TRAIN_DIR [--hold-out 8] [--clips N] [--steps 9000]
           [--only network]

They are part of the format: to run this again makes another format.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from table_networks import (
    Block,
    FloatNetwork,
    Windows,
    asked,
    at_model_rate,
    fit,
    refit_tables,
    some_paths,
)  # fmt: skip

import motioncodec.spectrum
from motioncodec.bitstream import spectrum
from motioncodec.bitstream.choosing import SLOTS
from motioncodec.bitstream.spectrum import step_of
from motioncodec.clip import Clip
from motioncodec.encoding import Encoding
from motioncodec.heatmap.bones import to_reference
from motioncodec.heatmap.placement import fill_gaps
from motioncodec.io import read_clip
from motioncodec.plan import Settings

STEPS = (-168, -24)
"""Exponents of steps, from and to."""
PROVISIONAL = 160.0
LONGEST = 2048


def clips(paths: list[Path]) -> Iterator[Clip]:
    """At 30 frames a second."""
    for path in paths:
        clip = at_model_rate(read_clip(path))
        yield replace(clip, keypoints=clip.keypoints[:LONGEST])


def fit_components(paths: list[Path]) -> None:
    poses = []
    for clip in clips(paths):
        encoding = Encoding(clip, Settings(step=PROVISIONAL))
        for chunk in encoding.people[0]:
            points, bones = encoding.pose(0, chunk)
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
        encoding = Encoding(clip, Settings(step=1000 * step_of(step)))
        encoding.spectrum_price = float(rng.choice([0.12, 0.17, 0.25]))
        encoding.add_spectra()
        for one in encoding.people[0].values():
            if one.spectrum is not None:
                shape = one.spectrum.shape
                classes, depth, kind = spectrum.classes_of(shape[1], step)
                out.append(Block(np.abs(one.spectrum), range(SLOTS), classes, depth, kind))
    return out


def main() -> None:
    options = asked(__doc__ or "", 9000, ["network"])
    torch.manual_seed(0)
    torch.set_num_threads(1)
    rng = np.random.default_rng(0)
    paths = some_paths(options, rng)
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
