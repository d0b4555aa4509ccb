"""Fits what chooses the tables of refinement (motioncodec/bitstream/*.bin) to training clips: a
network over a body's channels, and static tables of all others.

usage: python benchmarks/fit_refinement.py TRAIN_DIR [--hold-out 8] [--clips N] [--steps 6000]
           [--only network | spectrum | tables]

They are part of the format: to run this again makes another format.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from table_networks import (
    FloatNetwork,
    Rows,
    asked,
    at_model_rate,
    fit,
    refit_tables,
    some_paths,
)  # fmt: skip

from motioncodec.bitstream import choosing, refinement
from motioncodec.bitstream.choosing import FREQUENCIES, SLOTS
from motioncodec.bitstream.entropy import normalise
from motioncodec.bitstream.magnitudes import LEVELS, SYMBOLS, counts_of
from motioncodec.bitstream.refinement import Jointed
from motioncodec.bitstream.spectrum import step_of
from motioncodec.clip import Clip
from motioncodec.encoding import encoded
from motioncodec.io import read_clip
from motioncodec.plan import Settings
from motioncodec.refinement import (
    PRICE,
    fine_step,
    rounded,
    step_size,
    thrifty,
    transformed,
)
from motioncodec.skeleton import Skeleton

BOUNDS = (40.0, 20.0, 10.0, 5.0, 2.0, 1.0)
BODY_STEPS = {"f32": (-8, -19), "f16": (-10, -29), "f8": (-16, -34)}
"""Exponents of steps, from and to, that are fitted for each preset."""
SPECTRA, OVER = (-136, -56), (-8, -34)
"""Exponents of steps of spectra, from and to, and of what they leave over."""
LONGEST = 2048


@dataclass
class Part:
    """A chunk of a training clip: its exact coefficients over the step."""

    exact: np.ndarray
    jointed: Jointed | None
    posed: object


def left_of(clip: Clip, settings: Settings, step: int) -> list[Part]:
    """What a clip leaves over, chunk by chunk."""
    encoding = encoded(clip, replace(settings, effort=1, mean_error=10.0))
    encoding.set_step(step)
    stream, mine = encoding.stream, encoding.people[0]
    out = []
    for chunk in range(stream.header.chunks):
        if not mine[chunk].present:
            continue
        known = encoding.known(0, chunk)
        left = encoding.left(0, chunk, known)
        posed = encoding.add_coefficients(0, chunk, left, known)
        exact = transformed(left, stream.channels, known, posed, clip.frame_rate)
        exact /= step_size(step)
        out.append(Part(exact, posed.jointed if posed else None, posed))
    return out


def rows_of(parts: list[Part], numbers: list[np.ndarray]) -> Rows:
    """Magnitudes of bodies' channels."""
    out = []
    for part, given in zip(parts, numbers):
        assert part.jointed
        size = given.shape[1]
        classes = np.arange(size) * FREQUENCIES // size
        sizes = np.abs(given[..., :SLOTS])
        jointed = part.jointed
        kind = jointed.depth - 1, jointed.step
        out.append(Rows.of_neighbours(sizes, jointed.slots, classes, *kind))
    return Rows.joined(out)


def main() -> None:
    options = asked(__doc__ or "", 6000, ["network", "tables", "spectrum"])
    rng = np.random.default_rng(0)
    paths = some_paths(options, rng)
    torch.manual_seed(0)
    if options.only in (None, "network"):
        network_of(refinement.NETWORK, parts_of(paths, rng), options.steps)
    if options.only in (None, "spectrum"):
        parts = parts_over_spectra(paths, rng)
        network_of(refinement.OVER_SPECTRUM, parts, options.steps)
    if options.only in (None, "tables"):
        tables_of_others(paths[:160])


def some_of(paths: list[Path]) -> Iterator[Clip]:
    """Clips, most of them at 30 frames a second."""
    for i, path in enumerate(paths):
        clip = read_clip(path)
        if i % 6:
            clip = at_model_rate(clip)
        yield replace(clip, keypoints=clip.keypoints[:LONGEST])


def parts_of(paths: list[Path], rng: np.random.Generator) -> list[Part]:
    """What tokens leave over."""
    parts = []
    for clip in some_of(paths):
        for preset, (coarse, fine) in BODY_STEPS.items():
            step = int(rng.integers(fine, coarse + 1))
            parts += [part for part in left_of(clip, Settings(preset), step) if part.jointed]
    return parts


def parts_over_spectra(paths: list[Path], rng: np.random.Generator) -> list[Part]:
    """What spectra leave over."""
    parts = []
    for clip in some_of(paths):
        for _ in range(2):
            settings = Settings(step=1000 * step_of(int(rng.integers(*SPECTRA))))
            step = int(rng.integers(OVER[1], OVER[0] + 1))
            parts += [part for part in left_of(clip, settings, step) if part.jointed]
    return parts


def network_of(kind: choosing.Network, parts: list[Part], steps: int) -> None:
    numbers = [rounded(part.exact) for part in parts]
    network = FloatNetwork(kind)
    rows = rows_of(parts, numbers)
    fit(rows, steps // 3, network)
    refit_tables(network, rows)
    for _ in range(2):
        # What encoders choose depends on the tables, and these on what they choose. A few are
        # left as hard bounds have them.
        numbers = [
            rounded(p.exact) if i % 8 == 0 else thrifty(p.exact, p.posed, PRICE)  # type: ignore[arg-type]
            for i, p in enumerate(parts)
        ]
        rows = rows_of(parts, numbers)
        fit(rows, steps // 3, network)
        print(f"{refit_tables(network, rows) / 8e6:.3f} MB of magnitudes", flush=True)


def tables_of_others(paths: list[Path]) -> None:
    shape = (refinement.BANDS * LEVELS, SYMBOLS)
    total = np.zeros(shape, np.int64)
    for i, path in enumerate(paths):
        clip = read_clip(path)
        clip = replace(clip, keypoints=clip.keypoints[:LONGEST])
        if i % 4 == 3:
            # Points that no model knows.
            names = tuple(f"m{j}" for j in range(len(clip.skeleton)))
            clip = replace(clip, skeleton=Skeleton(names))
            for bound in BOUNDS:
                for part in left_of(
                    clip, Settings("f32"), fine_step(bound / 1000, clip.frame_rate)
                ):
                    given = rounded(part.exact)
                    _, which = refinement.tables_of(given, None)
                    for w, count in enumerate(counts_of(given)):
                        symbols = np.minimum(np.abs(given[w, :count]), SYMBOLS - 1)
                        np.add.at(total, (which[w, :count], symbols), 1)
    by_level = total.reshape(refinement.BANDS, LEVELS, SYMBOLS).sum(axis=0)
    write("refinement.bin", total, np.tile(by_level, (refinement.BANDS, 1)))


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
