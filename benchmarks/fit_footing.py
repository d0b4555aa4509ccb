"""Fits what paths of a body's centre are coded with to training clips: the network that says how a
path bends (motioncodec/bitstream/footing.bin), and the tables that its curve begins with
(paths.bin).

usage: python benchmarks/fit_footing.py TRAIN_DIR [--hold-out 8] [--clips N] [--steps 20000]
           [--only network | tables]

They are part of the format: to run this again makes another format. Poses are as they are decoded,
with what benchmarks/fit_spectrum.py made.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from fit_curves import save_tables
from fit_spectrum import beside, clips
from numpy.typing import NDArray
from table_networks import asked, some_paths

from motioncodec import footing
from motioncodec.bitstream import curves
from motioncodec.bitstream.header import PATH_BLOCK, WINDOW, step_size
from motioncodec.bitstream.spectrum import step_of
from motioncodec.encoding import Encoding
from motioncodec.footing import FEET, REACH, SHAPES, steps_of
from motioncodec.heatmap.placement import turn
from motioncodec.plan import Settings
from motioncodec.skeleton import MIRROR
from motioncodec.tracks import PATH_STRIDE

STEPS = (-168, -56)
"""Exponents of steps of spectra, from and to."""

CONTEXT = PATH_BLOCK + 2 * REACH
"""Steps from frame to frame that a block is foretold by."""


@dataclass
class Way:
    """Somebody's motion as a spectrum has it, and where they really went.

    Attributes:
        seen: (N - 1, 120) what the network looks at, of steps from frame to frame.
        feet: (N - 1, 4, 3) how far each foot goes in a step.
        heading: (N - 1,) radians.
        path: (N, 3) of the centre.
        step: of the curve that tells it.
    """

    seen: NDArray[np.float32]
    feet: NDArray[np.float32]
    heading: NDArray[np.float64]
    path: NDArray[np.float64]
    step: float

    @classmethod
    def of(
        cls,
        poses: NDArray[np.float64],
        heading: NDArray[np.float64],
        path: NDArray[np.float64],
        step: float,
    ) -> Way:
        steps = steps_of(poses, heading)
        seen, feet = footing.seen_of(poses, steps), steps[:, list(FEET)]
        return cls(seen.astype("f4"), feet.astype("f4"), heading[:-1], path, step)


def with_spectra(paths: list[Path], rng: np.random.Generator) -> Iterator[Encoding]:
    for clip in clips(paths):
        step = 1000 * step_of(int(rng.integers(*STEPS)))
        encoding = Encoding(clip, Settings(step=step))
        if encoding.stream.header.free:
            encoding.add_spectra()
            yield encoding


def ways(paths: list[Path], rng: np.random.Generator) -> Iterator[Way]:
    """Of each clip that is long enough, and of its mirror image."""
    flip = np.array([-1.0, 1, 1])
    for encoding in with_spectra(paths, rng):
        mine, header = encoding.people[0], encoding.stream.header
        # What is past the last frame is held.
        end = header.model_frames // WINDOW * WINDOW
        if end <= CONTEXT + 1 or not all(one.present for one in mine.values()):
            continue
        poses = encoding.stream.poses(mine, 0, end)
        where = encoding.stream.told_placement(mine, 0, 0, end)
        path = encoding.centres(0, 0, poses, where)
        assert where.heading is not None
        step = step_size(header.origin_step)
        yield Way.of(poses, where.heading, path, step)
        yield Way.of(poses[:, list(MIRROR)] * flip, -where.heading, path * flip, step)


class FloatNetwork(torch.nn.Module):
    """The network before it is rounded."""

    def __init__(self) -> None:
        super().__init__()
        self.arrays = torch.nn.ParameterList()
        for shape in SHAPES:
            size = float(np.prod(shape[:-1])) ** -0.5 if len(shape) > 1 else 0.0
            self.arrays.append(torch.nn.Parameter(size * torch.randn(shape)))
        self.arrays[4].data *= 0.1
        self.register_buffer("sines", torch.from_numpy(_sines()).float())

    def forward(self, seen: torch.Tensor, feet: torch.Tensor, turned: torch.Tensor) -> torch.Tensor:
        """(B, 31, 3) sines of how a path bends, in body units.

        Args:
            seen: (B, CONTEXT, 120).
            feet: (B, 64, 4, 3).
            turned: (B, 64, 3, 3) which takes steps to the axes of the path.
        """
        first, first_bias, second, second_bias, last, last_bias = self.arrays
        x = torch.nn.functional.conv1d(seen.transpose(1, 2), first.permute(2, 1, 0), first_bias)
        x = torch.nn.functional.conv1d(x.relu(), second.permute(2, 1, 0), second_bias)
        out = x.relu().transpose(1, 2) @ last + last_bias
        kinds = len(FEET) + 1
        shares = out[..., :kinds].softmax(-1)[..., :-1]
        found = (shares[..., None] * -feet).sum(2) + out[..., kinds:]
        return self.sines @ (turned @ found[..., None])[..., 0]


def _sines() -> NDArray[np.float64]:
    """(31, 64) velocities within a block to sines of its path, as the curve has them."""
    from scipy.fft import dst

    bends = np.stack([footing.bends(np.eye(PATH_BLOCK)[:, [j] * 3])[:, 0] for j in range(64)])
    found = dst(bends[:, 1:], type=1, axis=1, norm="ortho")[:, :31]
    return np.ascontiguousarray(found.T) / np.sqrt(PATH_STRIDE)


def batch(some: list[Way], rng: np.random.Generator, size: int) -> tuple[torch.Tensor, ...]:
    """Blocks that begin anywhere; the last two are true velocities and steps."""
    parts = []
    for one in (some[i] for i in rng.integers(0, len(some), size)):
        at = int(rng.integers(0, len(one.seen) - CONTEXT + 1))
        here = slice(at + REACH, at + REACH + PATH_BLOCK)
        # Which way it goes does not matter.
        angle = -one.heading[here] + rng.uniform(0, 2 * np.pi)
        turned = turn(np.tile(np.eye(3), (PATH_BLOCK, 1, 1)), angle).transpose(0, 2, 1)
        true = np.diff(one.path[at + REACH : at + REACH + PATH_BLOCK + 1], axis=0)
        true = turn(true[:, None], np.full(PATH_BLOCK, angle[0] + one.heading[here][0]))[:, 0]
        parts.append((one.seen[at : at + CONTEXT], one.feet[here], turned, true, one.step))
    return tuple(torch.from_numpy(np.stack(rows)).float() for rows in zip(*parts))


def fit_network(some: list[Way], steps: int, rng: np.random.Generator) -> None:
    network = FloatNetwork()
    optimiser = torch.optim.AdamW(network.parameters(), 2e-3, weight_decay=0.01)
    lately = []
    for step in range(steps):
        for group in optimiser.param_groups:
            rate = 1e-3 * (1 + np.cos(np.pi * step / steps))
            group["lr"] = rate * min(1, (step + 1) / 100) + 1e-6
        seen, feet, turned, true, unit = batch(some, rng, 48)
        wanted = network.sines @ true
        left = (wanted - network(seen, feet, turned)) / unit[:, None, None]
        bits = torch.log2(1 + left**2).sum(dim=(1, 2)).mean() / 2
        optimiser.zero_grad()
        bits.backward()
        optimiser.step()
        plain = torch.log2(1 + (wanted / unit[:, None, None]) ** 2).sum(dim=(1, 2)).mean() / 2
        lately.append((bits.item(), plain.item()))
        if step % 1000 == 999 or step + 1 == steps:
            now, before = np.mean(lately[-1000:], axis=0)
            print(f"{step + 1}: {now:.1f} bits a block, {before:.1f} without", flush=True)
            _save([one.detach().numpy() for one in network.arrays])


def _save(arrays: list[NDArray[np.float32]]) -> None:
    beside("footing.bin").write_bytes(b"".join(one.astype("<f2").tobytes() for one in arrays))
    footing.network.cache_clear()


def fit_tables(paths: list[Path], rng: np.random.Generator) -> None:
    totals = [np.zeros(shape) for shape in curves.SHAPES]
    for encoding in with_spectra(paths, rng):
        encoding.add_paths()
        for one in encoding.people[0].values():
            if one.origin is not None:
                more = curves.count_contexts(one.origin, 1)
                totals = [total + some for total, some in zip(totals, more)]
    save_tables(curves.PATHS, totals)
    curves.first_tables.cache_clear()


def main() -> None:
    options = asked(__doc__ or "", 20_000, ["network", "tables"])
    torch.manual_seed(0)
    torch.set_num_threads(1)
    rng = np.random.default_rng(0)
    paths = some_paths(options, rng)
    for file in ("footing.bin", curves.PATHS):
        if not beside(file).exists():
            size = sum(map(np.prod, SHAPES if file == "footing.bin" else curves.SHAPES))
            beside(file).write_bytes(np.ones(size, "<u2").tobytes())
    if options.only != "tables":
        some = [way for _ in range(2) for way in ways(paths, rng)]
        print(f"{len(some)} ways", flush=True)
        fit_network(some, options.steps, rng)
    if options.only != "network":
        for _ in range(2):
            # What is told depends on what it costs.
            fit_tables(paths, rng)


if __name__ == "__main__":
    main()
