"""Training of the learned prior over tokens (:mod:`motioncodec.bitstream.network`).

In floating point with the shapes and units of the whole-number network, then rounded to it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional
from tqdm import tqdm

from motioncodec.bitstream.network import (
    BIT,
    FEATURE_SHIFT,
    HEAD_SHIFT,
    HIDDEN_SHIFT,
    HIDDEN_TOP,
    NetworkTensors,
)

GROUPS = 8
HIDDEN = 128
WIDE = 64
"""A level of at most so many slots looks at what its codes stand for, a larger one at their energy
alone: there, signs of neighbours say nothing."""

_UNIT = 32.0
"""Features that stand for 1 in the floating-point network."""

_SQUARE_UNIT = 128.0


def code_features(codebook: Tensor, share: Tensor, wide: bool) -> Tensor:
    """(slots, codes, latent) codes and (slots, codes) shares to (slots, codes, features) whole
    numbers from -127 to 127: where wide each coordinate in sixteenths of its spread; then 16 times
    the base-2 logarithm of 1 + 4 energies over the mean energy."""
    variance = (share[..., None] * codebook.square()).sum(1)
    spread = variance.sqrt().clamp_min(1e-4)
    energy = codebook.square().sum(-1) / variance.sum(-1).clamp_min(1e-8)[:, None]
    out = (torch.log2(1 + 4 * energy) * 16).round().clamp(0, 127)[..., None]
    if wide:
        signed = (codebook / spread[:, None] * 16).round().clamp(-127, 127)
        out = torch.cat([signed, out], -1)
    return out


def _looked_up(features: Tensor, tokens: Tensor) -> Tensor:
    """(slots, codes, features) of (..., slots) tokens: (..., slots, features)."""
    return features[torch.arange(len(features), device=tokens.device), tokens]


class LevelNetwork(nn.Module):
    """One level's prior in floating point.

    Args:
        features: (slots, codes, features) from :func:`code_features`.
        counts: (slots, codes) how often each code is chosen in training.
        coarser: features of the levels before.
        sizes: (groups,) codes of the slots in each group; later codes do not occur.
    """

    phi: Tensor
    feature: Tensor

    def __init__(
        self, features: Tensor, counts: Tensor, coarser: Sequence[Tensor], sizes: Sequence[int]
    ) -> None:
        super().__init__()
        self.slots, self.codes, self.seen = features.shape
        self.sizes = list(sizes)
        self.width = self.slots // len(self.sizes)
        self.register_buffer("feature", features / _UNIT)
        last = features[..., -1:]
        square = torch.div(last * last, _UNIT, rounding_mode="floor") / _SQUARE_UNIT
        self.register_buffer("phi", torch.cat([self.feature, square], -1))
        self.coarse = [f / _UNIT for f in coarser]
        smooth = counts + 0.05
        self.bias = nn.Parameter(torch.log(smooth / smooth.sum(-1, keepdim=True)))
        own = self.slots * self.seen
        inputs = own + sum(f.shape[0] * (f.shape[2] + 2) for f in coarser) + 1
        self.context = nn.Linear(inputs, HIDDEN)
        self.within = nn.Linear(own, HIDDEN, bias=False)
        self.middle = nn.Linear(HIDDEN, HIDDEN)
        self.head = nn.Linear(HIDDEN, self.slots * (self.seen + 1))
        nn.init.zeros_(self.head.weight)
        nn.init.zeros_(self.head.bias)

    def forward(self, tokens: Tensor, coarser: Sequence[Tensor], group: int) -> Tensor:
        """(B, steps, slots) tokens, and those of coarser levels, to (B, steps, slots of the group)
        nats."""
        own = _looked_up(self.feature, tokens).flatten(2)
        parts = [functional.pad(own, (0, 0, 1, 0))[:, :-1]]
        for table, found in zip(self.coarse, coarser):
            features = _looked_up(table, found)
            energy = features[..., -1]
            parts.append(features.flatten(2))
            parts.append(functional.pad(energy, (0, 0, 1, 0))[:, :-1])
            parts.append(functional.pad(energy, (0, 0, 0, 1))[:, 1:])
        first = torch.zeros(*tokens.shape[:2], 1, device=tokens.device)
        first[:, 0] = 1.0 / _UNIT
        top = HIDDEN_TOP / _HIDDEN_UNIT
        known = group * self.width * self.seen
        sums = self.context(torch.cat([*parts, first], -1))
        sums = sums + own[..., :known] @ self.within.weight[:, :known].T
        hidden = self.middle(sums.clamp(0, top)).clamp(0, top)
        mine = slice(group * self.width, (group + 1) * self.width)
        size = self.sizes[group]
        weight = self.head.weight.unflatten(0, (self.slots, -1))[mine]
        shift = torch.einsum("bth,snh->btsn", hidden, weight)
        shift = shift + self.head.bias.unflatten(0, (self.slots, -1))[mine]
        logits = torch.einsum("btsn,scn->btsc", shift, self.phi[mine, :size])
        logits = logits + self.bias[mine, :size]
        nats = functional.cross_entropy(
            logits.flatten(0, 2), tokens[..., mine].flatten(), reduction="none"
        )
        return nats.view(*tokens.shape[:2], -1)

    @torch.no_grad()
    def rounded(self) -> NetworkTensors:
        """As the weights file has it."""
        # A hidden value h is kept as 256 h, a sum over features f / 32 as 2^19 of it.
        first = 2.0**HIDDEN_SHIFT * _HIDDEN_UNIT
        later = 2.0**HIDDEN_SHIFT
        natural = BIT / math.log(2) * 2.0**FEATURE_SHIFT
        per_feature = torch.full((self.seen + 1,), natural / _UNIT, device=self.bias.device)
        per_feature[-1] = natural / _SQUARE_UNIT
        scale = (per_feature * 2.0**HEAD_SHIFT).repeat(self.slots)

        def whole(value: Tensor, kind: type) -> np.ndarray:
            limits = np.iinfo(kind)
            rounded = value.double().round().clamp(limits.min, limits.max)
            return rounded.cpu().numpy().astype(kind)

        lengths, features = [], []
        raw = (self.feature * _UNIT).round()
        for group, size in enumerate(self.sizes):
            mine = slice(group * self.width, (group + 1) * self.width)
            share = torch.log_softmax(self.bias[mine, :size], -1)
            lengths.append((-share * BIT / math.log(2)).reshape(-1))
            features.append(raw[mine, :size].reshape(-1, self.seen))
        return NetworkTensors(
            sizes=np.array(self.sizes, np.int32),
            lengths=whole(torch.cat(lengths), np.int16),
            features=whole(torch.cat(features), np.int8),
            context_weight=whole(self.context.weight * first / _UNIT, np.int16),
            context_bias=whole(self.context.bias * first, np.int32),
            within_weight=whole(self.within.weight * first / _UNIT, np.int16),
            middle_weight=whole(self.middle.weight * later, np.int16),
            middle_bias=whole(self.middle.bias * later * _HIDDEN_UNIT, np.int32),
            head_weight=whole(self.head.weight * scale[:, None] / _HIDDEN_UNIT, np.int16),
            head_bias=whole(self.head.bias * scale, np.int32),
        )


_HIDDEN_UNIT = 256.0
"""What 1 of a hidden layer in floating point is in whole numbers."""


def train_level(
    features: Tensor,
    tokens: Tensor,
    coarser_features: Sequence[Tensor],
    coarser: Sequence[Tensor],
    sizes: Sequence[int],
    *,
    steps: int = 4000,
    batch: int = 48,
    seed: int = 3,
    quiet: bool = False,
) -> NetworkTensors:
    """Trains a level's prior on (N, steps, slots) tokens and those of coarser levels, where they
    are."""
    torch.manual_seed(seed)
    slots, codes, _ = features.shape
    counts = torch.stack(
        [torch.bincount(tokens[..., slot].flatten(), minlength=codes) for slot in range(slots)]
    ).float()
    network = LevelNetwork(features, counts, coarser_features, sizes).to(features.device)
    optimizer = torch.optim.AdamW(network.parameters(), 2e-3, weight_decay=0.01)
    for step in tqdm(range(steps), desc=f"prior of {slots} slots", disable=quiet or None):
        rate = 0.02 + 0.49 * (1 + math.cos(math.pi * step / steps))
        for group in optimizer.param_groups:
            group["lr"] = 2e-3 * rate * min(1.0, (step + 1) / 50)
        rows = torch.randint(len(tokens), (batch,)).to(tokens.device)
        which = int(torch.randint(len(network.sizes), ()))
        nats = network(tokens[rows], [level[rows] for level in coarser], which)
        optimizer.zero_grad(set_to_none=True)
        nats.sum(-1).mean().backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimizer.step()
    return network.eval().rounded()
