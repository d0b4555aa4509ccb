"""Fits the tables that corrections begin with (motioncodec/bitstream/corrections.bin), or those of
corrections between key frames (between.bin), to training clips.

usage: python benchmarks/fit_corrections.py TRAIN_DIR [--clips 200] [--only between]

At 30 frames a second, a fourth of the clips at their own rate. The tables are part of the format
(sections 8.13 and 8.14): to run this again makes another format.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from motioncodec.bitstream import corrections
from motioncodec.bitstream.between import BetweenTables, code_between
from motioncodec.bitstream.corrections import CorrectionTables, code_corrections
from motioncodec.bitstream.entropy import AdaptiveTables, Encoder, normalise
from motioncodec.clip import Clip
from motioncodec.codec import Settings
from motioncodec.encoding import encoded
from motioncodec.heatmap.resampling import to_model_rate
from motioncodec.io import read_clip

BOUNDS = (40.0, 20.0, 10.0, 5.0, 2.0, 1.0)
LONGEST = 900


class Counting(AdaptiveTables):
    """Tables that stay as they are, and count."""

    def __init__(self, frequencies: NDArray[np.int64]) -> None:
        super().__init__(frequencies, 1)
        self.seen = np.zeros_like(frequencies)

    def adapt(self, rows: NDArray[np.int64], symbols: NDArray[np.int64]) -> None:
        np.add.at(self.seen, (rows, symbols), 1)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("train", type=Path)
    parser.add_argument("--clips", type=int, default=200)
    parser.add_argument("--only", choices=["corrections", "between"])
    options = parser.parse_args()
    paths = sorted(options.train.glob("*.npz"))
    paths = [paths[i] for i in np.random.default_rng(0).permutation(len(paths))[: options.clips]]
    tables, others = CorrectionTables(), BetweenTables()
    both: list[CorrectionTables | BetweenTables] = [tables, others]
    for some in both:
        some.flags = Counting(some.flags.frequencies)
        some.magnitudes = Counting(some.magnitudes.frequencies)
    for at, path in enumerate(paths):
        clip = read_clip(path)
        if at % 4:
            moved = to_model_rate(clip.keypoints[:, 0].astype(np.float64), clip.frame_rate)
            clip = Clip(moved[:, None], 30.0, clip.skeleton, units=clip.units, up=clip.up)
        clip = Clip(
            clip.keypoints[:LONGEST], clip.frame_rate, clip.skeleton, units=clip.units, up=clip.up
        )
        for bound in BOUNDS:
            encoding = encoded(clip, Settings(effort=1, max_error=bound))
            for chunk in range(encoding.stream.header.chunks):
                one = encoding.people[0][chunk]
                if one.present:
                    encoding._finish(0, chunk)
                if one.between is not None:
                    code_between(Encoder(), one.between, ~one.missing, one.spacing, others)
                elif one.corrections is not None and not one.in_numbers:
                    code_corrections(Encoder(), one.corrections, ~one.missing, tables)
    if options.only != "between":
        write("corrections.bin", tables)
    if options.only != "corrections":
        write("between.bin", others)


def write(name: str, tables: CorrectionTables | BetweenTables) -> None:
    """Frequencies of what was counted, those of flags as shares of those set."""
    flags, sizes = tables.flags.seen, tables.magnitudes.seen
    share = (flags[:, 1] + 4 * flags[:, 1].sum() / flags.sum()) / (flags.sum(axis=1) + 4)
    lean = sizes.sum(axis=0) / sizes.sum()
    path = Path(corrections.__file__).with_name(name)
    out = [
        np.clip(np.rint(65_536 * share), 64, 65_536 - 64).astype("<u2").ravel(),
        normalise(sizes + 20 * lean + 0.02).astype("<u2").ravel(),
    ]
    path.write_bytes(np.concatenate(out).tobytes())
    print(f"{path.name}: {path.stat().st_size} bytes from {int(flags.sum()):,} flags")


if __name__ == "__main__":
    main()
