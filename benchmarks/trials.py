"""Short training runs that differ in one thing each: what a change is worth before it is made.

usage: python benchmarks/trials.py CONFIG.json DATA_DIR [--steps 500] [--only NAME ...]

The first two levels of the configuration, trained for a few hundred steps on DATA_DIR/train without
the clips of every eighth subject, on which all figures are: val is not looked at. For each preset
the error in thousandths of a body unit, the bits a second under the codes' usage, and the error at
the rate of the first run, taking error to fall as rate^0.8 as it does about there.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any
from unittest import mock

import torch
from torch import Tensor, nn

from motioncodec.io import read_clip
from motioncodec.model import vqgan
from motioncodec.training.data import Motion, load_motion
from motioncodec.training.trainer import Trainer, TrainingConfig


class AttentionBlock(nn.Module):
    """As a residual block over time, but attending: 4 heads, 16 patches to either side."""

    def __init__(self, width: int, dropout: float = 0.0) -> None:
        super().__init__()
        self.norm, self.second = nn.LayerNorm(width), nn.LayerNorm(width)
        self.mix = nn.MultiheadAttention(width, 4, dropout, batch_first=True)
        self.apart = nn.Parameter(torch.zeros(33))
        self.wide, self.narrow = nn.Linear(width, 2 * width), nn.Linear(2 * width, width)

    def forward(self, x: Tensor) -> Tensor:
        at = torch.arange(x.shape[1])
        gap = at[None] - at[:, None]
        mask = self.apart[gap.clamp(-16, 16) + 16].masked_fill(gap.abs() > 16, -torch.inf)
        y = self.norm(x)
        x = x + self.mix(y, y, y, attn_mask=mask.to(y.dtype), need_weights=False)[0]
        out: Tensor = x + self.narrow(nn.functional.gelu(self.wide(self.second(x))))
        return out


def split(folder: Path) -> tuple[Motion, Motion]:
    """Training motion without every eighth subject, and theirs."""
    paths = sorted(folder.glob("*.npz"))
    subjects = sorted({path.stem.split("_")[0] for path in paths})
    held = set(subjects[::8])
    parts = ([p for p in paths if p.stem.split("_")[0] not in held],
             [p for p in paths if p.stem.split("_")[0] in held])  # fmt: skip
    train, judge = (load_motion([read_clip(p) for p in part]) for part in parts)
    return train, judge


def variants(base: TrainingConfig) -> dict[str, TrainingConfig]:
    def model(**changes: Any) -> TrainingConfig:
        return replace(base, model={**base.model, **changes})

    levels, prices = base.model["levels"], base.model["prices"]
    both = {"stride": 64, "slots": sum(level["slots"] for level in levels)}
    return {
        "base": base,
        "attentive trunk": base,
        "f16 alone, one level": model(levels=[both], prices=prices[1:]),
        "width 256": model(width=256),
        "5 blocks (wider in time)": model(blocks=5),
        "latent 4": model(latent=4),
        "256 codes": model(codes=256),
        "no velocity loss": replace(base, velocity=0.0),
        "velocity loss 2": replace(base, velocity=2.0),
        "no mixing of clips": replace(
            base, augmentation={**base.augmentation, "mix_legs": 0.0, "mix_arms": 0.0}
        ),
        "no dropout": replace(base, dropout=0.0),
        "averaging 0.99": replace(base, average=0.99),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("config", type=Path)
    parser.add_argument("data", type=Path)
    parser.add_argument("--steps", type=int, default=500)
    parser.add_argument("--only", action="append")
    options = parser.parse_args()
    torch.set_num_threads(1)
    train, judge = split(options.data / "train")
    given = TrainingConfig.read(options.config)
    levels, prices = given.model["levels"][:2], given.model["prices"][:2]
    base = replace(
        given, model={**given.model, "levels": levels, "prices": prices}, steps=options.steps,
        start_windows=2048, evaluate_every=options.steps, adversarial_from=1.0,
    )  # fmt: skip
    first: dict[int, float] = {}
    print(
        "| trial | f32 | f16 | at the same rate: f32 | f16 | seconds a step |\n" + "|---" * 6 + "|"
    )
    for name, config in variants(base).items():
        if options.only and name not in options.only and name != "base":
            continue
        block: Callable[..., nn.Module] = vqgan.ResidualBlock
        if name == "attentive trunk":
            block = AttentionBlock
        with (
            tempfile.TemporaryDirectory() as folder,
            mock.patch.object(vqgan, "ResidualBlock", block),
            mock.patch.object(Trainer, "_log"),
        ):
            began = time.perf_counter()
            trainer = Trainer(config, train, judge, Path(folder))
            started = time.perf_counter() - began
            figures = trainer.train()
            seconds = (time.perf_counter() - began - started) / config.steps
        cells, same = ["", ""], ["", ""]
        alone = len(figures["val"]) == 1
        for i, (error, rate) in enumerate(zip(figures["val"], figures["bit_s"])):
            preset = 1 if alone else i
            first.setdefault(preset, rate)
            cells[preset] = f"{error:.1f} at {rate}"
            same[preset] = f"{error * (rate / first[preset]) ** 0.8:.2f}"
        print(f"| {name} | {' | '.join(cells)} | {' | '.join(same)} | {seconds:.2f} |", flush=True)


if __name__ == "__main__":
    main()
