"""Fits what chooses the tables of refinement (motioncodec/bitstream/*.bin) to training clips: a
network over a body's channels, and static tables of all others.

usage: python benchmarks/fit_refinement.py TRAIN_DIR [--hold-out 8] [--clips N] [--steps 6000]
           [--only network]

They are part of the format: to run this again makes another format.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch

from motioncodec.bitstream import refinement
from motioncodec.bitstream.entropy import normalise
from motioncodec.bitstream.magnitudes import LEVELS, SYMBOLS, counts_of
from motioncodec.bitstream.refinement import SHAPES, SLOTS, TABLES, Jointed
from motioncodec.clip import Clip
from motioncodec.encoding import encoded
from motioncodec.heatmap.resampling import to_model_rate
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
LONGEST = 2048
G, EMPTY = 16.0, 2
"""Logarithms are in 16ths; empty windows before the first."""


@dataclass
class Part:
    """A chunk of a training clip: its exact coefficients over the step."""

    exact: np.ndarray
    jointed: Jointed | None
    posed: object


def left_of(clip: Clip, preset: str, step: int) -> list[Part]:
    """What a clip leaves over, chunk by chunk."""
    encoding = encoded(clip, Settings(preset, effort=1, mean_error=10.0))
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


class Network(torch.nn.Module):
    """The network of :mod:`motioncodec.bitstream.refinement` before it is rounded."""

    def __init__(self) -> None:
        super().__init__()
        for name, shape in SHAPES.items():
            value = torch.zeros(shape)
            if name in ("local", "middle", "last"):
                torch.nn.init.normal_(value, 0, shape[0] ** -0.5)
            elif name in ("channel", "frequency"):
                torch.nn.init.normal_(value, 0, 0.1)
            setattr(self, name, torch.nn.Parameter(value))
        # Geometric distributions, from steep to flat.
        scale = 2.0 ** torch.linspace(-4.5, 3.5, TABLES)
        logits = -torch.arange(SYMBOLS) / scale[:, None]
        logits[:, 1:] += 0.69
        logits[:, -1] -= torch.log1p(-torch.exp(-1 / scale))
        self.tables.data = logits

    def scale(self, batch: dict[str, torch.Tensor]) -> torch.Tensor:
        near = batch["near"]
        mixed = [near[..., i] @ self.mix[n] for n, i in enumerate((0, 1, 3))]
        x = torch.cat([near, torch.stack(mixed, -1)], -1)
        row = self.frequency[batch["k"]] + self.depth[batch["depth"]] + self.step[batch["step"]]
        hidden = (x @ self.local + self.channel + row[:, None]).relu()
        hidden = (hidden @ self.middle + self.middle_bias).relu()
        out = (hidden @ self.last + self.last_bias) * 4 + TABLES / 3
        return out.clamp(0, TABLES - 1.001)

    def forward(self, batch: dict[str, torch.Tensor]) -> torch.Tensor:
        """Mean nats of the symbols that there are."""
        scale = self.scale(batch)
        low = scale.detach().floor().long()
        share = scale - low
        log = torch.log_softmax(self.tables, -1).reshape(-1)
        at = low * SYMBOLS + batch["symbols"]
        nats = -(log[at] * (1 - share) + log[at + SYMBOLS] * share)
        return (nats * batch["there"]).sum() / batch["there"].sum()

    def whole(self) -> dict[str, np.ndarray]:
        """Rounded, as ``channels.bin`` has it; hidden layers are in 64ths."""
        p = {name: value.detach().double().numpy() for name, value in self.named_parameters()}
        hidden, last = 64 * 2.0**refinement.HIDDEN_SHIFT, 2.0**refinement.LAST_SHIFT
        out = {
            "mix": p["mix"] * 2.0**refinement.MIX_SHIFT,
            "local": p["local"] * hidden / G,
            "channel": p["channel"] * hidden + 2.0 ** (refinement.HIDDEN_SHIFT - 1),
            "frequency": p["frequency"] * hidden,
            "depth": p["depth"] * hidden,
            "step": p["step"] * hidden,
            "middle": p["middle"] * 2.0**refinement.HIDDEN_SHIFT,
            "middle_bias": p["middle_bias"] * hidden + 2.0 ** (refinement.HIDDEN_SHIFT - 1),
            "last": p["last"] * 4 / 64 * last,
            "last_bias": (p["last_bias"] * 4 + TABLES / 3 + 0.5) * last,
        }
        shares = np.exp(p["tables"] - p["tables"].max(-1, keepdims=True))
        return {n: np.rint(v).astype("<i4") for n, v in out.items()} | {
            "tables": normalise(shares).astype("<i4")
        }


def save(whole: dict[str, np.ndarray]) -> None:
    path = Path(refinement.__file__).with_name("channels.bin")
    path.write_bytes(b"".join(whole[name].tobytes() for name in SHAPES))
    refinement.network.cache_clear()
    refinement.network_bits.cache_clear()


class Windows:
    """Coefficients in whole numbers, a window at a time."""

    def __init__(self, parts: list[Part], numbers: list[np.ndarray]) -> None:
        self.given, self.items = [], []
        for part, given in zip(parts, numbers):
            assert part.jointed
            sizes = np.abs(given[..., :SLOTS])
            known = refinement._LOGARITHMS[np.minimum(sizes, 4095)].astype(np.float32) / G
            padded = np.pad(known, ((EMPTY, 0), (3, 1), (0, 0)))
            there = np.zeros(SLOTS, np.float32)
            there[list(part.jointed.slots)] = 1
            self.given.append((padded, np.minimum(sizes, SYMBOLS - 1), there, part.jointed))
            counts = counts_of(given[..., :SLOTS])
            self.items += [(len(self.given) - 1, w, n) for w, n in enumerate(counts) if n]

    def batch(self, chosen: np.ndarray) -> dict[str, torch.Tensor]:
        out: dict[str, list[np.ndarray]] = {n: [] for n in ("near", "k", "depth", "step",
                                                            "symbols", "there")}  # fmt: skip
        for i in chosen:
            at, w, n = self.items[i]
            g, sizes, there, jointed = self.given[at]
            k, w2 = np.arange(n) + 3, w + EMPTY
            near = [g[w2, k - 1], g[w2, k - 2], g[w2, k - 3], g[w2 - 1, k], g[w2 - 1, k + 1],
                    g[w2 - 1, k - 1], g[w2 - 2, k]]  # fmt: skip
            out["near"].append(np.stack(near, -1))
            out["k"].append(np.arange(n) * refinement.FREQUENCIES // sizes.shape[1])
            out["depth"].append(np.full(n, jointed.depth - 1))
            out["step"].append(np.full(n, jointed.step))
            out["symbols"].append(sizes[w, :n])
            out["there"].append(np.tile(there, (n, 1)))
        return {name: torch.from_numpy(np.concatenate(rows)) for name, rows in out.items()}


def fit_network(windows: Windows, steps: int, network: Network | None = None) -> Network:
    network = network or Network()
    optimiser = torch.optim.Adam(network.parameters(), 4e-3)
    rng = np.random.default_rng(0)
    lately = []
    for step in range(steps):
        for group in optimiser.param_groups:
            warm = min(1, (step + 1) / 50)
            group["lr"] = 2e-3 * warm * (1 + np.cos(np.pi * step / steps)) + 1e-5
        loss = network(windows.batch(rng.integers(0, len(windows.items), 16)))
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        lately.append(loss.item() / np.log(2))
        if step % 500 == 499:
            print(f"{step + 1}: {np.mean(lately[-500:]):.4f} bits a magnitude", flush=True)
    return network


def refit_tables(network: Network, parts: list[Part], numbers: list[np.ndarray]) -> float:
    """Tables as the rounded network is seen to choose them; bits of all magnitudes."""
    whole = network.whole()
    save(whole)
    counts = np.zeros((TABLES, SYMBOLS))
    for part, given in zip(parts, numbers):
        assert part.jointed
        which, _ = refinement.tables_of(given, part.jointed)
        for w, count in enumerate(counts_of(given)):
            symbols = np.minimum(np.abs(given[w, :count][:, list(part.jointed.slots)]), SYMBOLS - 1)
            np.add.at(counts, (which[w, :count], symbols), 1)
    whole["tables"] = normalise(counts + 200.0 * whole["tables"] / 65536).astype("<i4")
    save(whole)
    return float((counts * np.log2(65536 / whole["tables"])).sum())


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("train", type=Path)
    parser.add_argument("--clips", type=int)
    parser.add_argument("--hold-out", type=int, default=0)
    parser.add_argument("--steps", type=int, default=6000)
    parser.add_argument("--only", choices=["network", "tables"])
    options = parser.parse_args()
    paths = sorted(options.train.glob("*.npz"))
    if options.hold_out:
        paths = [path for i, path in enumerate(paths) if i % options.hold_out]
    rng = np.random.default_rng(0)
    paths = [paths[i] for i in rng.permutation(len(paths))[: options.clips]]
    if options.only != "tables":
        torch.manual_seed(0)
        network_of(paths, options.steps, rng)
    if options.only != "network":
        tables_of_others(paths[:160])


def network_of(paths: list[Path], steps: int, rng: np.random.Generator) -> None:
    parts = []
    for i, path in enumerate(paths):
        clip = read_clip(path)
        if i % 6:
            points = to_model_rate(clip.keypoints.astype(np.float64), clip.frame_rate)
            clip = replace(clip, keypoints=points, frame_rate=30.0, confidence=None)
        clip = replace(clip, keypoints=clip.keypoints[:LONGEST])
        for preset, (coarse, fine) in BODY_STEPS.items():
            step = int(rng.integers(fine, coarse + 1))
            parts += [part for part in left_of(clip, preset, step) if part.jointed]
    numbers = [rounded(part.exact) for part in parts]
    network = fit_network(Windows(parts, numbers), steps // 3)
    refit_tables(network, parts, numbers)
    for _ in range(2):
        # What encoders choose depends on the tables, and these on what they choose. A few are
        # left as hard bounds have them.
        numbers = [
            rounded(p.exact) if i % 8 == 0 else thrifty(p.exact, p.posed, PRICE)  # type: ignore[arg-type]
            for i, p in enumerate(parts)
        ]
        network = fit_network(Windows(parts, numbers), steps // 3, network)
        print(f"{refit_tables(network, parts, numbers) / 8e6:.3f} MB of magnitudes")


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
                for part in left_of(clip, "f32", fine_step(bound / 1000)):
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
