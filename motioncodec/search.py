"""What an encoder may do beyond nearest codes: search for the least error and rate together.

The decoder is what it is; only the choice of tokens changes. Two moves, level by level:

    conditional  every token is chosen anew by what it costs after its neighbours, under the very
                 prior that writes it, some sweeps long: slots of a group together, for all steps
    descent      the latents that tokens are chosen for move down the gradient of the joints' mean
                 distance through the whole decoder, networks and all; where the decoder is linear
                 and the error squared, that is the latents themselves
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from motioncodec.bitstream.network import BIT, NetworkPrior
from motioncodec.model.vqgan import LappedCoder, SlotVQGAN

Integers = NDArray[np.int64]


@dataclass(frozen=True)
class Effort:
    """How hard to search.

    Attributes:
        sweeps: of conditional choice, after every choice of latents.
        descents: gradient steps at the last level.
    """

    sweeps: int
    descents: int


_STEP = 0.5
"""Share of the way to the minimum along the gradient that a descent goes: where the decoder is
linear and the error squared, 1 would arrive."""

_PRICE = 0.3
"""Which of the tokens met on the way are the best: mean distances against bits at this share of the
price that codes have, at which training clips came out lowest in error x rate^0.8."""

EFFORTS = {
    1: Effort(0, 0),
    2: Effort(1, 0),
    3: Effort(2, 0),
    4: Effort(1, 1),
    5: Effort(1, 2),
    6: Effort(2, 3),
    7: Effort(2, 5),
    8: Effort(2, 10),
    9: Effort(3, 20),
}


def search(
    network: SlotVQGAN,
    priors: Sequence[NetworkPrior],
    centres: Tensor,
    peaks: Tensor,
    depth: int,
    effort: Effort,
    steps: slice,
) -> list[Tensor]:
    """Tokens of levels 0 to ``depth`` - 1 of a lapped model, searched for.

    Args:
        network: the model.
        priors: of the levels.
        centres: (1, T, K, D) joint centres in body units; T a multiple of the window.
        peaks: (1, T, K) from 0 (missing) to 1.
        depth: how many levels.
        effort: how hard.
        steps: those of the chunk; the others are neighbours, whose tokens stay the nearest.

    Returns:
        For each level (1, T / stride, slots) int64.
    """
    offset, presence = network.prepare(centres, peaks)
    seen = (presence > 0).repeat_interleave(network.config.dims, -1)
    so_far = torch.zeros_like(offset)
    tokens: list[Tensor] = []
    for level in range(depth):
        coder, prior = network.levels[level], priors[level]
        assert isinstance(coder, LappedCoder)
        with torch.no_grad():
            last = level + 1 == depth
            latents = network.latents(coder, offset - so_far, presence, so_far, last)
            coarser = [chosen[0, steps].cpu().numpy() for chosen in tokens]
            chosen = coder.quantizer.assign(latents.flatten(0, 1)).view(latents.shape[:3])
            _sweep(coder, prior, latents, chosen, coarser, steps, effort.sweeps)
        if last and effort.descents:
            chosen = _descend(
                coder, prior, offset, seen, so_far, latents, chosen, coarser, steps, effort
            )
        tokens.append(chosen)
        with torch.no_grad():
            so_far = so_far + coder.carry(coder.quantizer.lookup(chosen), so_far)
    return tokens


def _bits(prior: NetworkPrior, chosen: Tensor, coarser: Sequence[Integers], steps: slice) -> float:
    """Bits of a level's tokens in the chunk."""
    mine = chosen[0, steps].cpu().numpy()
    known = prior.known(coarser)
    return sum(prior.bits(mine, known, group) for group in range(prior.groups))


def _sweep(
    coder: LappedCoder,
    prior: NetworkPrior,
    latents: Tensor,
    chosen: Tensor,
    coarser: Sequence[Integers],
    steps: slice,
    sweeps: int,
) -> None:
    """Chooses the chunk's tokens anew, in place, by distance and conditional length."""
    quantizer = coder.quantizer
    known = prior.known(coarser)
    norms = quantizer.codebook.square().sum(-1)
    for _ in range(sweeps):
        for group in range(prior.groups):
            mine = slice(group * prior.width, (group + 1) * prior.width)
            tokens = chosen[0, steps].cpu().numpy()
            lengths = torch.from_numpy(prior.lengths(tokens, known, group)).to(latents)
            codes = quantizer.codebook[mine, : lengths.shape[-1]]
            cost = torch.baddbmm(
                norms[mine, None, : lengths.shape[-1]],
                latents[0, steps, mine].transpose(0, 1),
                codes.transpose(1, 2),
                alpha=-2.0,
            )
            cost += lengths.transpose(0, 1) * (quantizer.rate_weight / BIT)
            chosen[0, steps, mine] = cost.argmin(-1).T


def _descend(
    coder: LappedCoder,
    prior: NetworkPrior,
    offset: Tensor,
    seen: Tensor,
    so_far: Tensor,
    latents: Tensor,
    chosen: Tensor,
    coarser: Sequence[Integers],
    steps: slice,
    effort: Effort,
) -> Tensor:
    """Moves latents against the gradient and chooses again; returns the best tokens met."""
    dims = coder.config.dims
    frames = slice(steps.start * coder.level.stride, steps.stop * coder.level.stride)
    best, least = chosen, float("inf")
    weight = 0.0
    price = coder.quantizer.rate_weight * _PRICE
    for turn in range(effort.descents + 1):
        vectors = coder.quantizer.lookup(chosen).requires_grad_(True)
        with torch.enable_grad():
            wrong = ((so_far + coder.decode(vectors, so_far)) - offset) * seen
            apart = (wrong.unflatten(-1, (-1, dims)).square().sum(-1) + 1e-8).sqrt()
            if not weight:
                # A distance counts as much as its square does where it is as large as the mean one.
                mean = apart.detach()[:, frames].sum() / seen[:, frames, ::dims].sum().clamp_min(1)
                weight = 2 * float(mean)
            error = apart.sum() * weight
        with torch.no_grad():
            cost = float(apart[:, frames].sum()) * weight
            cost += price * _bits(prior, chosen, coarser, steps)
            if cost < least:
                best, least = chosen.clone(), cost
        if turn == effort.descents:
            break
        (slope,) = torch.autograd.grad(error, vectors)
        with torch.no_grad():
            target = vectors - slope / 2
            latents = torch.lerp(latents, target, _STEP)
            chosen = chosen.clone()
            _sweep(coder, prior, latents, chosen, coarser, steps, max(effort.sweeps, 1))
    return best
