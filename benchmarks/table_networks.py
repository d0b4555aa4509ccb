"""Training of the networks that choose tables (motioncodec/bitstream/choosing.py): in floating
point, then rounded. What benchmarks/fit_refinement.py and benchmarks/fit_spectrum.py share."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path

import numpy as np
import torch

from motioncodec.bitstream import choosing
from motioncodec.bitstream.choosing import LOGARITHMS, SLOTS, TABLES
from motioncodec.bitstream.entropy import normalise
from motioncodec.bitstream.magnitudes import LARGEST, SYMBOLS, counts_of
from motioncodec.clip import Clip
from motioncodec.heatmap.placement import MODEL_RATE
from motioncodec.heatmap.resampling import to_model_rate

G = 16.0
"""What networks see is in 16ths."""


@dataclass
class Rows:
    """Rows of magnitudes, and what there is to see of each.

    Attributes:
        seen: (N, S, 60), below 256.
        symbols: (N, 60).
        there: (N, 60) which of them there are.
        classes: (N, 3) of frequency, depth and step.
    """

    seen: np.ndarray
    symbols: np.ndarray
    there: np.ndarray
    classes: np.ndarray

    @classmethod
    def joined(cls, some: Sequence[Rows]) -> Rows:
        return cls(*(np.concatenate([getattr(one, f.name) for one in some]) for f in fields(cls)))

    @classmethod
    def of_neighbours(
        cls, sizes: np.ndarray, slots: Sequence[int], classes: np.ndarray, depth: int, step: int
    ) -> Rows:
        """Of a chunk's (W, n, 60) magnitudes, of which a network sees those about each.

        Args:
            slots: channels that there are.
            classes: (n,) of each frequency.
            depth, step: of all rows.
        """
        known = LOGARITHMS[np.minimum(sizes, LARGEST)].astype(np.uint8)
        known = np.pad(known, ((2, 0), (3, 1), (0, 0)))
        counts = counts_of(sizes)
        w, k = np.repeat(np.arange(len(sizes)), counts), np.concatenate([*map(np.arange, counts)])
        at = w[:, None] + 2 + choosing.WINDOWS_OFF, k[:, None] + 3 + choosing.FREQUENCIES_OFF
        there = np.zeros((len(w), SLOTS), bool)
        there[:, list(slots)] = True
        rest = np.full(len(w), depth), np.full(len(w), step)
        symbols = np.minimum(sizes[w, k], SYMBOLS - 1).astype(np.uint8)
        return cls(known[at], symbols, there, np.stack([classes[k], *rest], axis=1))

    def batch(self, at: np.ndarray) -> dict[str, torch.Tensor]:
        """Some of them."""
        k, depth, step = torch.from_numpy(self.classes[at].astype(np.int64)).T
        return {
            "near": torch.from_numpy(self.seen[at]).transpose(1, 2).float() / G,
            "k": k, "depth": depth, "step": step,
            "symbols": torch.from_numpy(self.symbols[at]).long(),
            "there": torch.from_numpy(self.there[at]).float(),
        }  # fmt: skip


class FloatNetwork(torch.nn.Module):
    """A network before it is rounded."""

    def __init__(self, network: choosing.Network) -> None:
        super().__init__()
        self.network = network
        for name, shape in network.shapes.items():
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
        mixed = [near[..., i] @ self.mix[n] for n, i in enumerate(self.network.mixed)]
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
        """Rounded, as the file has it; hidden layers are in 64ths."""
        p = {name: value.detach().double().numpy() for name, value in self.named_parameters()}
        hidden, last = 64 * 2.0**choosing.HIDDEN_SHIFT, 2.0**choosing.LAST_SHIFT
        out = {
            "mix": p["mix"] * 2.0**choosing.MIX_SHIFT,
            "local": p["local"] * hidden / G,
            "channel": p["channel"] * hidden + 2.0 ** (choosing.HIDDEN_SHIFT - 1),
            "frequency": p["frequency"] * hidden,
            "depth": p["depth"] * hidden,
            "step": p["step"] * hidden,
            "middle": p["middle"] * 2.0**choosing.HIDDEN_SHIFT,
            "middle_bias": p["middle_bias"] * hidden + 2.0 ** (choosing.HIDDEN_SHIFT - 1),
            "last": p["last"] * 4 / 64 * last,
            "last_bias": (p["last_bias"] * 4 + TABLES / 3 + 0.5) * last,
        }
        shares = np.exp(p["tables"] - p["tables"].max(-1, keepdims=True))
        return {n: np.rint(v).astype("<i4") for n, v in out.items()} | {
            "tables": normalise(shares).astype("<i4")
        }


def asked(doc: str, steps: int, only: Sequence[str]) -> argparse.Namespace:
    """The command line: which training clips, how many steps, which of the parts."""
    parser = argparse.ArgumentParser(description=doc.split("\n")[0])
    parser.add_argument("train", type=Path)
    parser.add_argument("--clips", type=int)
    parser.add_argument("--hold-out", type=int, default=0)
    parser.add_argument("--steps", type=int, default=steps)
    parser.add_argument("--only", choices=only)
    return parser.parse_args()


def some_paths(options: argparse.Namespace, rng: np.random.Generator) -> list[Path]:
    """Training clips, those held out left out, in an order of their own."""
    paths = sorted(options.train.glob("*.npz"))
    if options.hold_out:
        paths = [path for i, path in enumerate(paths) if i % options.hold_out]
    return [paths[i] for i in rng.permutation(len(paths))[: options.clips]]


def at_model_rate(clip: Clip) -> Clip:
    """At 30 frames a second."""
    points = to_model_rate(clip.keypoints.astype(np.float64), clip.frame_rate)
    return replace(clip, keypoints=points, frame_rate=MODEL_RATE, confidence=None)


def save(network: choosing.Network, whole: dict[str, np.ndarray]) -> None:
    path = Path(choosing.__file__).with_name(network.file)
    path.write_bytes(b"".join(whole[name].tobytes() for name in network.shapes))
    for kept in network.__dict__.keys() - {field.name for field in fields(network)}:
        del network.__dict__[kept]


def fit(rows: Rows, steps: int, network: FloatNetwork) -> None:
    optimiser = torch.optim.Adam(network.parameters(), 4e-3)
    rng = np.random.default_rng(0)
    lately = []
    for step in range(steps):
        for group in optimiser.param_groups:
            warm = min(1, (step + 1) / 50)
            group["lr"] = 2e-3 * warm * (1 + np.cos(np.pi * step / steps)) + 1e-5
        loss = network(rows.batch(rng.integers(0, len(rows.symbols), 256)))
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        lately.append(loss.item() / np.log(2))
        if step % 500 == 499:
            print(f"{step + 1}: {np.mean(lately[-500:]):.4f} bits a magnitude", flush=True)


def refit_tables(network: FloatNetwork, rows: Rows) -> float:
    """Tables as the rounded network is seen to choose them; bits of all magnitudes."""
    whole = network.whole()
    save(network.network, whole)
    counts = np.zeros((TABLES, SYMBOLS))
    for start in range(0, len(rows.symbols), 4096):
        some = slice(start, start + 4096)
        same = network.network.of_rows(*rows.classes[some].T)
        seen = rows.seen[some].transpose(1, 0, 2).astype(np.float64)
        which = network.network.choose(seen, slice(None), same)
        there = rows.there[some]
        np.add.at(counts, (which[there], rows.symbols[some][there]), 1)
    whole["tables"] = normalise(counts + 200.0 * whole["tables"] / 65536).astype("<i4")
    save(network.network, whole)
    return float((counts * np.log2(65536 / whole["tables"])).sum())
