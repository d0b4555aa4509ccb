"""Fits what spectra of poses are coded with to training clips: principal components of the pose
(motioncodec/bitstream/free_components.bin), how a body moves at large, by bands of frequencies
(free_bands.bin), and the network that chooses tables (free_turning.bin). Files without ``free_`` in
their names were fitted alike, to poses about their hips.

usage: python benchmarks/fit_spectrum.py TRAIN_DIR [--hold-out 8] [--clips N] [--steps 15000]
           [--only bands | network]

They are part of the format: to run this again makes another format.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from table_networks import (
    FloatNetwork,
    Rows,
    asked,
    at_model_rate,
    fit,
    refit_tables,
    save,
    some_paths,
)  # fmt: skip

from motioncodec.bitstream import spectrum, turning
from motioncodec.bitstream.choosing import SLOTS
from motioncodec.bitstream.magnitudes import SYMBOLS, counts_of
from motioncodec.bitstream.spectrum import Kind, Spectrum, step_of
from motioncodec.bitstream.turning import FREE
from motioncodec.clip import Clip
from motioncodec.encoding import Encoding
from motioncodec.heatmap.bones import to_reference
from motioncodec.heatmap.placement import fill_gaps
from motioncodec.io import read_clip
from motioncodec.lapping import analyse
from motioncodec.plan import Settings
from motioncodec.skeleton import MIRROR

STEPS = (-168, -24)
"""Exponents of steps, from and to."""
PROVISIONAL = 160.0
LONGEST = 2048


def clips(paths: list[Path]) -> Iterator[Clip]:
    """At 30 frames a second."""
    for path in paths:
        clip = at_model_rate(read_clip(path))
        yield replace(clip, keypoints=clip.keypoints[:LONGEST])


def poses_in(paths: list[Path]) -> Iterator[NDArray[np.float64]]:
    """(N, 20, 3) poses in a row about their centre, with reference bones, of which no joint
    lacks."""
    for clip in clips(paths):
        encoding = Encoding(clip, Settings(step=PROVISIONAL))
        for chunk in encoding.people[0]:
            points, bones = encoding.pose(0, chunk)
            if not np.isnan(points).all(axis=0).any():
                whole = fill_gaps(points)
                whole = whole if bones is None else to_reference(whole, bones)
                yield whole - whole.mean(axis=1, keepdims=True)


def fit_components(paths: list[Path]) -> None:
    rows = np.concatenate([poses[::2] for poses in poses_in(paths)]).reshape(-1, SLOTS)
    print(f"{len(rows):,} poses")
    mean = rows.mean(axis=0)
    variances, basis = principal(np.cov((rows - mean).T))
    found = [np.rint(mean * 2**13), np.rint(np.sqrt(variances) * 2**13), np.rint(basis * 2**15)]
    whole = np.clip(np.concatenate([one.ravel() for one in found]), -32_767, 32_767).astype("<i2")
    beside("free_components.bin").write_bytes(whole.tobytes())
    FREE.__dict__.pop("components", None)


def fit_bands(paths: list[Path]) -> None:
    mean, basis, _ = FREE.components
    bands = len(turning.BANDS) + 1
    sums, counts = np.zeros((bands, SLOTS, SLOTS)), np.zeros(bands)
    for poses in poses_in(paths):
        # What one side does the other may do as well.
        for one in (poses, poses[:, list(MIRROR)] * [-1, 1, 1]):
            signal = (one.reshape(len(one), SLOTS) - mean) @ basis
            for size in (64, 128, 256):
                whole = signal[: len(signal) // size * size]
                if len(whole):
                    found = analyse(whole, size)
                    for band in range(bands):
                        rows = found[:, turning.bands_of(size) == band].reshape(-1, SLOTS)
                        sums[band] += rows.T @ rows
                        counts[band] += len(rows)
    sizes = np.sqrt(np.trace(sums, axis1=1, axis2=2) / counts)
    alike = np.rint(256 * sizes[1] / sizes)
    alike[0] = 256
    variances, bases = zip(*map(principal, sums))
    shares = [np.rint(2.0**20 * one / one.sum()) for one in variances]
    numbers = np.concatenate([alike, *shares]).astype("<i4")
    vectors = np.clip(np.rint([basis.T * 2.0**turning.ONE for basis in bases]), -32_767, 32_767)
    beside("free_bands.bin").write_bytes(numbers.tobytes() + vectors.astype("<i2").tobytes())
    FREE.__dict__.pop("prior", None)


def principal(covariance: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Variances, and components, one to a column, largest first, their largest entry positive."""
    variances, basis = np.linalg.eigh(covariance)
    variances, basis = np.maximum(variances[::-1], 0), basis[:, ::-1]
    return variances, basis * np.sign(basis[np.abs(basis).argmax(axis=0), np.arange(SLOTS)])


def beside(name: str) -> Path:
    return Path(spectrum.__file__).with_name(name)


def rows_of(found: Spectrum, kind: Kind) -> Rows:
    """What the network sees of a spectrum that is not all 0."""
    windows, size, _ = found.numbers.shape
    frequencies, *rest = spectrum.classes_of(size, kind.step)
    bases = spectrum.turning((windows, size), kind)
    out = []
    for w, k in bases.walk(counts_of(found.numbers)):
        numbers = found.numbers[w, k].astype(np.int64)
        seen = bases.seen(w, k).transpose(1, 0, 2).astype(np.uint8)
        classes = np.stack([frequencies[k], *(np.full(len(k), kind) for kind in rest)], axis=1)
        symbols = np.minimum(np.abs(numbers), SYMBOLS - 1).astype(np.uint8)
        out.append(Rows(seen, symbols, np.ones(symbols.shape, bool), classes))
        bases.put(w, k, numbers)
    return Rows.joined(out)


def rows_as_encoded(some: list[Clip], rng: np.random.Generator) -> Rows:
    """Spectra as the encoder finds them, with the tables that there are."""
    out = []
    for clip, step in zip(some, rng.integers(*STEPS, size=len(some)).tolist()):
        encoding = Encoding(clip, Settings(step=1000 * step_of(step)))
        if not encoding.stream.header.free:
            continue
        encoding.spectrum_price = float(rng.choice([0.12, 0.17, 0.25]))
        encoding.add_spectra()
        told, kind = [one.spectrum for one in encoding.people[0].values()], encoding.stream.kind
        out += [rows_of(one, kind) for one in told if one is not None and one.numbers.any()]
    return Rows.joined(out)


def main() -> None:
    options = asked(__doc__ or "", 15_000, ["bands", "network"])
    torch.manual_seed(0)
    torch.set_num_threads(1)
    rng = np.random.default_rng(0)
    paths = some_paths(options, rng)
    if options.only is None:
        fit_components(paths)
    if options.only != "network":
        fit_bands(paths)
    some = list(clips(paths))
    network = FloatNetwork(FREE.network)
    if not beside(FREE.network.file).exists():
        save(FREE.network, network.whole())
    for turn in range(3):
        # What encoders choose depends on the tables, and these on what they choose.
        rows = rows_as_encoded([clip for clip in some for _ in range(2)], rng)
        fit(rows, options.steps // 3, network)
        bits = refit_tables(network, rows)
        print(f"{turn}: {bits / rows.symbols.size:.4f} bits a magnitude", flush=True)


if __name__ == "__main__":
    main()
