"""Vector quantisation with a codebook for every slot, kept by exponential moving averages.

A code is chosen to minimise squared distance + rate_weight x code length (entropy-constrained VQ:
Chou, Lookabaugh and Gray 1989); a rate weight of 0 is the nearest neighbour. Code lengths come from
the running usage of the codes. Gradients pass straight through (van den Oord et al. 2017).
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn


class Quantised(NamedTuple):
    """Code vectors (..., slots, latent) with straight-through gradient, tokens (..., slots) and the
    commitment loss (a scalar)."""

    vectors: Tensor
    tokens: Tensor
    commitment: Tensor


class Rate(NamedTuple):
    """What the bits of a level's tokens cost.

    Attributes:
        weight: squared latent units that a bit is worth; 0 to ignore rate.
        lengths: (slots, classes, codes) bits of a token after one of a class.
        class_of: (slots, codes) int64 class that a token puts its successor in.
    """

    weight: float
    lengths: Tensor
    class_of: Tensor

    @classmethod
    def of(
        cls,
        weight: float,
        lengths: NDArray[np.float32],
        class_of: NDArray[np.uint8],
        device: torch.device | str = "cpu",
    ) -> Rate:
        """From a prior's arrays."""
        return cls(
            weight,
            torch.from_numpy(lengths).to(device),
            torch.from_numpy(class_of.astype(np.int64)).to(device),
        )


class SlotQuantizer(nn.Module):
    """One level's codebooks.

    Args:
        slots: tokens per step.
        codes: entries per codebook.
        latent: width of a code vector.
    """

    codebook: Tensor
    usage: Tensor
    sums: Tensor

    def __init__(self, slots: int, codes: int, latent: int) -> None:
        super().__init__()
        self.slots, self.codes, self.latent = slots, codes, latent
        self.register_buffer("codebook", torch.randn(slots, codes, latent))
        self.register_buffer("usage", torch.ones(slots, codes))
        self.register_buffer("sums", torch.zeros(slots, codes, latent), persistent=False)
        self.rate_weight = 0.0

    def lookup(self, tokens: Tensor) -> Tensor:
        """(..., slots) tokens to (..., slots, latent) vectors."""
        slot = torch.arange(self.slots, device=tokens.device)
        return self.codebook[slot, tokens]

    def lengths(self) -> Tensor:
        """(slots, codes) ideal code lengths in bits under the running usage."""
        share = self.usage / self.usage.sum(-1, keepdim=True).clamp_min(1e-9)
        return -torch.log2(0.99 * share + 0.01 / self.codes)

    def assign(self, latents: Tensor, rate_weight: float | None = None) -> Tensor:
        """(N, slots, latent) to (N, slots) tokens of least distance plus weighted length."""
        weight = self.rate_weight if rate_weight is None else rate_weight
        # |z|^2 is the same for every code and stays out.
        offset = self.codebook.square().sum(-1)
        if weight:
            offset = offset + weight * self.lengths()
        codes = self.codebook.transpose(1, 2)
        # So many at a time as bound the memory of the cost matrix.
        some = max(8, (1 << 25) // (self.slots * self.codes))
        return torch.cat(
            [
                torch.baddbmm(offset[:, None], rows.transpose(0, 1), codes, alpha=-2.0).argmin(-1).T
                for rows in latents.split(some)
            ]
        )

    def assign_along(self, latents: Tensor, rate: Rate) -> Tensor:
        """(B, steps, slots, latent) to (B, steps, slots) tokens, step by step: each is the code of
        least distance plus weighted length after the token chosen before it in its slot."""
        slot = torch.arange(self.slots, device=latents.device)[:, None]
        offset = self.codebook.square().sum(-1)[:, None]
        codes = self.codebook.transpose(1, 2)
        weighted = rate.lengths * rate.weight
        kind = torch.zeros(self.slots, len(latents), dtype=torch.int64, device=latents.device)
        out = []
        for step in latents.permute(1, 2, 0, 3):
            cost = torch.baddbmm(offset, step, codes, alpha=-2.0) + weighted[slot, kind]
            token = cost.argmin(-1)
            kind = rate.class_of[slot, token]
            out.append(token)
        return torch.stack(out).permute(2, 0, 1)

    def forward(self, latents: Tensor) -> Quantised:
        """(..., slots, latent) latents to code vectors, tokens and commitment loss."""
        flat = latents.detach().reshape(-1, self.slots, self.latent).float()
        with torch.no_grad():
            tokens = self.assign(flat)
            vectors = self.lookup(tokens)
            if self.training:
                self.update(flat, tokens)
        vectors = vectors.reshape(latents.shape)
        commitment = (latents - vectors).square().sum((-1, -2)).mean()
        return Quantised(
            latents + (vectors - latents).detach(), tokens.reshape(latents.shape[:-1]), commitment
        )

    @torch.no_grad()
    def update(self, latents: Tensor, tokens: Tensor) -> None:
        """Moves codes towards what they stand for; revives codes that stand for nothing."""
        n = len(latents)
        # Where rate counts most codes are rare, and their means need a longer memory.
        decay = 0.998 if self.rate_weight else 0.99
        at = tokens + torch.arange(self.slots, device=tokens.device) * self.codes
        count = torch.bincount(at.reshape(-1), minlength=self.slots * self.codes)
        total = torch.zeros(self.slots * self.codes, self.latent, device=latents.device)
        total.index_add_(0, at.reshape(-1), latents.reshape(-1, self.latent))
        self.usage.mul_(decay).add_(count.view_as(self.usage).float(), alpha=1 - decay)
        self.sums.mul_(decay).add_(total.view_as(self.sums), alpha=1 - decay)
        known = self.usage > 1e-3
        self.codebook.copy_(
            torch.where(
                known[..., None], self.sums / self.usage.clamp_min(1e-3)[..., None], self.codebook
            )
        )
        # A code chosen less than a fiftieth as often as it would be by an even share starts anew
        # at a latent of this batch. Where rate counts, an idle code is a saving, not a fault.
        even = n / self.codes
        dead = self.usage < 0.02 * even
        if self.rate_weight == 0 and bool(dead.any()):
            slot, code = dead.nonzero(as_tuple=True)
            pick = torch.randint(n, (len(slot),), device=latents.device)
            fresh = latents[pick, slot]
            self.codebook[slot, code] = fresh
            self.usage[slot, code] = 0.1 * even
            self.sums[slot, code] = fresh * 0.1 * even

    @torch.no_grad()
    def restart(self) -> None:
        """Averages go on from the codes and their usage as they are."""
        self.sums.copy_(self.codebook * self.usage[..., None])

    @torch.no_grad()
    def start_priced(self, latents: Tensor, rounds: int = 12) -> None:
        """Entropy-constrained start from (N, slots, latent) latents (Chou, Lookabaugh and Gray
        1989): code 0 at rest and cheap, the others drawn more often the further out they lie, since
        few latents lie there and each of them costs much."""
        n = len(latents)
        slot = torch.arange(self.slots, device=latents.device)
        reach = latents.square().sum(-1).sqrt().T + 1e-6
        picks = torch.multinomial(reach, self.codes, replacement=n < self.codes)
        self.codebook.copy_(latents[picks, slot[:, None]])
        # Idle codes are free, so a third of them stand where no latent of these lies: a motion that
        # goes several times as far as any here must not be cut off.
        far = self.codes - self.codes * 2 // 3
        stretch = torch.rand(self.slots, far, 1, device=latents.device)
        self.codebook[:, -far:] *= torch.exp(stretch * math.log(8 / 1.5)) * 1.5
        self.codebook[:, 0] = 0.0
        self.usage.fill_(0.5 / self.codes)
        self.usage[:, 0] = 0.5
        for _ in range(rounds):
            tokens = self.assign(latents)
            at = (tokens + slot * self.codes).reshape(-1)
            count = torch.bincount(at, minlength=self.slots * self.codes).view_as(self.usage)
            total = torch.zeros(self.slots * self.codes, self.latent, device=latents.device)
            total.index_add_(0, at, latents.reshape(-1, self.latent))
            mean = total.view_as(self.sums) / count.clamp_min(1)[..., None]
            self.codebook.copy_(torch.where(count[..., None] > 0, mean, self.codebook))
            self.usage.copy_(count * (100.0 / n))
        self.restart()

    @torch.no_grad()
    def start(self, latents: Tensor, rounds: int = 10) -> None:
        """K-means start from (N, slots, latent) latents, N at least the number of codes."""
        pick = torch.randperm(len(latents), device=latents.device)[: self.codes]
        self.codebook.copy_(latents[pick].transpose(0, 1))
        slot = torch.arange(self.slots, device=latents.device)
        for _ in range(rounds):
            tokens = self.assign(latents, 0.0)
            at = (tokens + slot * self.codes).reshape(-1)
            count = (
                torch.bincount(at, minlength=self.slots * self.codes).view_as(self.usage).float()
            )
            total = torch.zeros(self.slots * self.codes, self.latent, device=latents.device)
            total.index_add_(0, at, latents.reshape(-1, self.latent))
            total = total.view_as(self.sums)
            mean = total / count.clamp_min(1)[..., None]
            self.codebook.copy_(torch.where(count[..., None] > 0, mean, self.codebook))
        scale = 100.0 / len(latents)
        self.usage.copy_(count * scale)
        self.restart()

    def perplexity(self) -> Tensor:
        """(slots,) effective number of codes in use, from 1 to ``codes``."""
        share = self.usage / self.usage.sum(-1, keepdim=True).clamp_min(1e-9)
        return torch.exp(-(share * torch.log(share.clamp_min(1e-12))).sum(-1))
