"""A trained network to the weights file that ships: rounded tensors, priors, prices, card."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from tqdm import tqdm

from motioncodec.bitstream.prior import LevelPrior
from motioncodec.model.conv3d import Conv3dVQGAN
from motioncodec.model.quantizer import Rate, SlotQuantizer
from motioncodec.model.vqgan import SlotVQGAN
from motioncodec.model.weights import (
    Network,
    Tensors,
    build_network,
    pack_tensors,
    round_codebook,
    save_weights,
    unpack_tensors,
)
from motioncodec.training.augmentation import Augmentation, Windows
from motioncodec.training.data import Motion
from motioncodec.training.prior import GROUPS, WIDE, code_features, train_level

CLASSES = 8
"""Tables per slot. 16 saved 0.3 % more bits than 8 on held-out motion, for twice the size."""

_MILD = Augmentation(mix_legs=0.25, mix_arms=0.1, absent=0.15, absent_2d=0.35, gap=0.03)


def rates_of(
    priors: list[LevelPrior], prices: Iterable[float], device: torch.device | str = "cpu"
) -> list[Rate]:
    """What bits cost under priors."""
    return [Rate.of(price, p.lengths, p.class_of, device) for p, price in zip(priors, prices)]


def as_shipped(network: Network) -> Network:
    """The same network with every value rounded as it will be read back from its file."""
    state = {name: value.detach().cpu().numpy() for name, value in network.state_dict().items()}
    rounded = build_network(network.config)
    rounded.load_state_dict(
        {
            name: torch.from_numpy(value)
            for name, value in unpack_tensors(pack_tensors(state)).items()
        }
    )
    return rounded.eval()


def fit_priors(
    network: Network,
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
    presets = network.config.presets
    codebooks = [codes.detach().cpu().numpy() for codes in network.codebooks]
    if isinstance(network, Conv3dVQGAN):
        # Volumes take room: more batches of fewer.
        batch, batches = 4, batches * batch // 4
    priors: list[LevelPrior] | None = None
    rounds = 2 if any(map(any, rate_weights.values())) else 1
    for round_ in range(rounds):
        windows = Windows(motion, network.config.dims, frames, _MILD, seed + round_)
        runs: list[list[NDArray[np.int64]]] = [[] for _ in range(depth)]
        for _ in tqdm(
            range(batches), desc=f"tables, round {round_ + 1} of {rounds}", disable=quiet or None
        ):
            centres, peaks, _ = windows.batch(batch)
            for levels in range(1, depth + 1) if priors else [depth]:
                prices = rate_weights[presets[levels - 1]]
                rates = rates_of(priors, prices, network.device) if priors else None
                tokens = network.tokenize(centres, peaks, levels, rates)
                for level, chosen in enumerate(tokens):
                    runs[level].extend(chosen.cpu().numpy())
        priors = [LevelPrior.fit(runs[level], codebooks[level], CLASSES) for level in range(depth)]
    assert priors is not None
    return priors


def _tokenized(
    network: SlotVQGAN, motion: Motion, batches: int, frames: int, seed: int, quiet: bool
) -> tuple[list[Tensor], list[Tensor]]:
    """Tokens of each level (N, steps, slots) of training windows as encoders choose them: where it
    is the last one of a stream, and where finer ones follow (the same for the finest)."""
    windows = Windows(motion, network.config.dims, frames, _MILD, seed)
    depth = len(network.levels)
    last: list[list[Tensor]] = [[] for _ in network.levels]
    followed: list[list[Tensor]] = [[] for _ in network.levels]
    for _ in tqdm(range(batches), desc="tokens", disable=quiet or None):
        centres, peaks, _ = windows.batch(64)
        for levels in range(1, depth + 1):
            found = network.tokenize(centres, peaks, levels)
            last[levels - 1].append(found[-1])
        for run, chosen in zip(followed, found):
            run.append(chosen)
    return [torch.cat(run) for run in last], [torch.cat(run) for run in followed]


@torch.no_grad()
def _trim(quantizer: SlotQuantizer, tokens: Tensor) -> tuple[Tensor, list[int]]:
    """Sorts the codes of each slot by how often training chose them and says how many of them the
    slots of each group keep: all that were chosen, and a quarter more, from near to far, for what
    training has not seen. Returns the tokens by their new numbers, and these sizes."""
    slots, codes = quantizer.slots, quantizer.codes
    counts = torch.stack(
        [torch.bincount(tokens[..., slot].flatten(), minlength=codes) for slot in range(slots)]
    )
    chosen = (counts > 0).sum(-1).view(GROUPS, -1).amax(-1)
    sizes = [min(codes, max(16, int(most * 1.25) + 8)) for most in chosen.tolist()]
    renamed = torch.empty_like(tokens)
    for slot in range(slots):
        order = counts[slot].argsort(descending=True, stable=True)
        used = int((counts[slot] > 0).sum())
        spare = order[used:]
        spare = spare[quantizer.codebook[slot, spare].square().sum(-1).argsort()]
        room = sizes[slot // (slots // GROUPS)] - used
        at = torch.linspace(0, max(len(spare) - 1, 0), min(room, len(spare))).round().long()
        rest = torch.ones(len(spare), dtype=torch.bool, device=spare.device)
        rest[at] = False
        order = torch.cat([order[:used], spare[at], spare[rest]])
        place = torch.empty_like(order)
        place[order] = torch.arange(codes, device=order.device)
        renamed[..., slot] = place[tokens[..., slot]]
        quantizer.codebook[slot] = quantizer.codebook[slot, order]
        quantizer.usage[slot] = counts[slot, order].float()
        quantizer.codebook[slot, sizes[slot // (slots // GROUPS)] :] = 0.0
    steps = torch.from_numpy(round_codebook(quantizer.codebook.cpu().numpy()))[:, None]
    steps = steps.to(quantizer.codebook.device)
    quantizer.codebook.copy_((quantizer.codebook / steps).round() * steps)
    return renamed, sizes


def fit_networks(
    network: SlotVQGAN, motion: Motion, *, batches: int, steps: int, quiet: bool = False
) -> list[Tensors]:
    """Trains the learned priors of a lapped model, whose codebooks it sorts and trims."""
    last, followed = _tokenized(network, motion, batches, 5 * network.config.window, 11, quiet)
    features: list[Tensor] = []
    known: list[Tensor] = []
    out: list[Tensors] = []
    for level, coder in enumerate(network.levels):
        quantizer = coder.quantizer
        both = torch.cat([last[level], followed[level]])
        renamed, sizes = _trim(quantizer, both)
        share = quantizer.usage / quantizer.usage.sum(-1, keepdim=True)
        mine = code_features(quantizer.codebook, share, quantizer.slots <= WIDE)
        if level + 1 == len(network.levels):
            renamed = renamed[: len(followed[level])]
        twice = [torch.cat([one, one])[: len(renamed)] for one in known]
        tensors = train_level(mine, renamed, features, twice, sizes, steps=steps, quiet=quiet)
        features.append(mine)
        known.append(renamed[-len(followed[level]) :])
        out.append(dict(vars(tensors)))
    return out


def export(
    network: Network,
    motion: Motion,
    path: Path,
    card: dict[str, Any],
    rate_weights: dict[str, list[float]],
    *,
    batches: int = 24,
    steps: int = 4000,
    quiet: bool = False,
) -> None:
    """Fits the priors and writes the weights file.

    Args:
        network: trained; the priors are fitted on its device.
        motion: training motion, for the priors.
        path: of the safetensors file.
        card: what ``motioncodec models`` prints.
        rate_weights: for each preset the price of a bit at each of its levels, in squared network
            units (see :class:`motioncodec.model.quantizer.Rate`).
        batches: of 64 windows of 256 model frames that the priors are fitted to, a round.
        steps: that each level's learned prior is trained for.
        quiet: without a progress bar.
    """
    rounded = as_shipped(network).to(network.device)
    motion = motion.to(network.device)
    if isinstance(rounded, SlotVQGAN) and rounded.config.lapped:
        learned = fit_networks(rounded, motion, batches=batches, steps=steps, quiet=quiet)
        save_weights(path, rounded, learned, card, rate_weights)
        return
    priors = fit_priors(rounded, motion, rate_weights, batches=batches, quiet=quiet)
    arrays: list[Tensors] = [{"frequencies": p.frequencies, "class_of": p.class_of} for p in priors]
    save_weights(path, rounded, arrays, card, rate_weights)
