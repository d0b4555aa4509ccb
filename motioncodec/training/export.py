"""A trained network to the weights file that ships: rounded tensors, priors, prices, card."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from tqdm import tqdm

from motioncodec.bitstream.prior import LevelPrior
from motioncodec.model.config import PRESETS
from motioncodec.model.quantizer import Rate
from motioncodec.model.vqgan import SlotVQGAN
from motioncodec.model.weights import pack_tensors, save_weights, unpack_tensors
from motioncodec.training.augmentation import Augmentation, Windows
from motioncodec.training.data import Motion

CLASSES = 8
"""Tables per slot. 16 saved 0.3 % more bits than 8 on held-out motion, for twice the size."""

_MILD = Augmentation(mix_legs=0.25, mix_arms=0.1, absent=0.15, absent_2d=0.35, gap=0.03)


def rates_of(priors: list[LevelPrior], prices: Iterable[float]) -> list[Rate]:
    """What bits cost under priors."""
    return [Rate.of(price, p.lengths, p.class_of) for p, price in zip(priors, prices)]


def as_shipped(network: SlotVQGAN) -> SlotVQGAN:
    """The same network with every value rounded as it will be read back from its file."""
    state = {name: value.detach().cpu().numpy() for name, value in network.state_dict().items()}
    rounded = SlotVQGAN(network.config)
    rounded.load_state_dict(
        {
            name: torch.from_numpy(value)
            for name, value in unpack_tensors(pack_tensors(state)).items()
        }
    )
    return rounded.eval()


def fit_priors(
    network: SlotVQGAN,
    motion: Motion,
    rate_weights: dict[str, list[float]],
    *,
    batches: int = 24,
    batch: int = 64,
    frames: int = 256,
    seed: int = 11,
    quiet: bool = False,
) -> list[LevelPrior]:
    """Static tables from training windows, tokenized as encoders will: twice, since what a bit
    costs decides which tokens are chosen, and those what a bit costs."""
    depth = len(network.config.levels)
    codebooks = []
    for coder in network.levels:
        codebooks.append(coder.quantizer.codebook.numpy())
    priors: list[LevelPrior] | None = None
    for round_ in range(2):
        windows = Windows(motion, network.config.dims, frames, _MILD, seed + round_)
        runs: list[list[NDArray[np.int64]]] = [[] for _ in range(depth)]
        for _ in tqdm(
            range(batches), desc=f"tables, round {round_ + 1} of 2", disable=quiet or None
        ):
            centres, peaks, _ = windows.batch(batch)
            for levels in range(1, depth + 1) if priors else [depth]:
                prices = rate_weights[PRESETS[levels - 1]]
                rates = rates_of(priors, prices) if priors else None
                tokens = network.tokenize(centres, peaks, levels, rates)
                for level, chosen in enumerate(tokens):
                    runs[level].extend(chosen.numpy())
        priors = [LevelPrior.fit(runs[level], codebooks[level], CLASSES) for level in range(depth)]
    assert priors is not None
    return priors


def export(
    network: SlotVQGAN,
    motion: Motion,
    path: Path,
    card: dict[str, Any],
    rate_weights: dict[str, list[float]],
    *,
    batches: int = 24,
    quiet: bool = False,
) -> None:
    """Fits the priors and writes the weights file.

    Args:
        network: trained.
        motion: training motion, for the priors.
        path: of the safetensors file.
        card: what ``motioncodec models`` prints.
        rate_weights: for each preset the price of a bit at each of its levels, in squared network
            units (see :class:`motioncodec.model.quantizer.Rate`).
        batches: of 64 windows of 256 model frames that the priors are fitted to, a round.
        quiet: without a progress bar.
    """
    rounded = as_shipped(network)
    priors = fit_priors(rounded, motion, rate_weights, batches=batches, quiet=quiet)
    arrays = [(prior.frequencies, prior.class_of) for prior in priors]
    save_weights(path, rounded, arrays, card, rate_weights)
