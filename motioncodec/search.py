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
from functools import lru_cache

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from motioncodec.bitstream.network import BIT, NetworkPrior
from motioncodec.model.quantizer import SlotQuantizer
from motioncodec.model.vqgan import SlotVQGAN

ABREAST = 16
"""Steps that get their nearest tokens side by side, at most."""

Float64 = NDArray[np.float64]
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


@dataclass(frozen=True)
class Stretch:
    """What is searched for tokens of.

    Attributes:
        centres: (1, T, K, D) joint centres in body units; T a multiple of the window.
        peaks: (1, T, K) from 0 (missing) to 1.
        steps: those of the chunk; the others are neighbours, whose tokens stay the nearest.
    """

    centres: Tensor
    peaks: Tensor
    steps: slice


def search(
    network: SlotVQGAN,
    priors: Sequence[NetworkPrior],
    stretches: Sequence[Stretch],
    depth: int,
    effort: Effort,
) -> list[list[Integers]]:
    """Tokens of levels 0 to ``depth`` - 1 of a lapped model, searched for.

    Stretches go through the priors side by side, which is where the time is, and through the
    network each on its own: what becomes of one does not depend on the others.

    Args:
        network: the model.
        priors: of the levels.
        stretches: of one clip or several.
        depth: how many levels.
        effort: how hard.

    Returns:
        For each stretch and level (T / stride, slots).
    """
    # Without gradients to take, torch may keep fewer books.
    with torch.inference_mode(not effort.descents):
        ways = [_Way(network, one) for one in stretches]
        for level in range(depth):
            last = level + 1 == depth
            books = _books(network.levels[level].quantizer, priors[level])
            for way in ways:
                way.begin(level, last)
            _choose_nearest(books, ways)
            _sweep(books, priors[level], ways, effort.sweeps)
            for way in ways:
                if last and effort.descents:
                    _descend(books, priors[level], way, level, effort)
                if not last:
                    way.go_on(level)
    return [way.tokens for way in ways]


class _Way:
    """How far a stretch has come.

    Attributes:
        offset, presence, so_far: as the network has them.
        latents: (steps, slots, latent) of the level at hand.
        tokens: of each level up to the one at hand (steps, slots).
    """

    latents: Float64

    def __init__(self, network: SlotVQGAN, stretch: Stretch) -> None:
        self.network, self.steps = network, stretch.steps
        self.offset, self.presence = network.prepare(stretch.centres, stretch.peaks)
        self.so_far = torch.zeros_like(self.offset)
        self.tokens: list[Integers] = []

    @torch.no_grad()
    def begin(self, level: int, last: bool) -> None:
        """Latents of a level."""
        left = self.offset - self.so_far
        coder = self.network.levels[level]
        found = self.network.latents(coder, left, self.presence, self.so_far, last)
        self.latents = found[0].cpu().numpy().astype(np.float64)

    @torch.no_grad()
    def go_on(self, level: int) -> None:
        """To what the next level refines."""
        coder = self.network.levels[level]
        self.so_far = self.so_far + coder.carry(self.vectors(level), self.so_far)

    def vectors(self, level: int) -> Tensor:
        """(1, steps, slots, latent) that a level's tokens stand for."""
        tokens = torch.from_numpy(self.tokens[level]).to(self.so_far.device)
        return self.network.levels[level].quantizer.lookup(tokens)[None]

    @property
    def coarser(self) -> list[Integers]:
        """The chunk's tokens of the levels before the one at hand."""
        return [level[self.steps] for level in self.tokens[:-1]]


class _Books:
    """A level's codebooks as searching needs them.

    Args:
        quantizer: of the level.
        prior: of the level.
    """

    def __init__(self, quantizer: SlotQuantizer, prior: NetworkPrior) -> None:
        books = quantizer.codebook.cpu().numpy().astype(np.float64)
        static = quantizer.lengths().cpu().numpy() * quantizer.rate_weight
        self.weight = quantizer.rate_weight
        self.groups: list[tuple[slice, Float64, Float64]] = []
        for group, size in enumerate(prior.sizes):
            mine = slice(group * prior.width, (group + 1) * prior.width)
            codes = books[mine, :size]
            norms = (codes**2).sum(-1)[:, None]
            table = np.concatenate([-2.0 * codes.transpose(0, 2, 1), norms], axis=1)
            self.groups.append((mine, table, static[mine, None, :size]))

    def costs(self, rows: Float64, group: int) -> Float64:
        """(slots, steps, latent + 1) of all slots from :func:`_rows` to (slots, steps, codes)
        squared distances of a group's codes, less what all codes of a slot have in common."""
        mine, table, _ = self.groups[group]
        out: Float64 = rows[mine] @ table
        return out

    def nearest(self, latents: Float64) -> Integers:
        """(steps, slots) tokens of least distance and length in the static table."""
        out = np.empty(latents.shape[:2], np.int64)
        for start in range(0, len(latents), ABREAST):
            some = slice(start, start + ABREAST)
            rows = _rows(latents[some])
            for group, (mine, _, static) in enumerate(self.groups):
                cost = self.costs(rows, group)
                cost += static
                out[some, mine] = cost.argmin(-1).T
        return out


def _rows(latents: Float64) -> Float64:
    """(steps, slots, latent) to (slots, steps, latent + 1), the last of them 1."""
    out = np.ones((latents.shape[1], len(latents), latents.shape[2] + 1))
    out[..., :-1] = latents.transpose(1, 0, 2)
    return out


@lru_cache(maxsize=16)
def _books_of(quantizer: SlotQuantizer, prior: NetworkPrior, version: tuple[int, int]) -> _Books:
    return _Books(quantizer, prior)


def _books(quantizer: SlotQuantizer, prior: NetworkPrior) -> _Books:
    """Kept from clip to clip, as long as nobody changes the codebooks."""
    version = quantizer.codebook._version, quantizer.usage._version
    return _books_of(quantizer, prior, version)


def _choose_nearest(books: _Books, ways: Sequence[_Way]) -> None:
    """Gives stretches the tokens of the level at hand that are nearest to their latents."""
    tokens = books.nearest(np.concatenate([way.latents for way in ways]))
    ends = np.cumsum([len(way.latents) for way in ways])
    for way, some in zip(ways, np.split(tokens, ends[:-1])):
        way.tokens.append(some.copy())


def _sweep(books: _Books, prior: NetworkPrior, ways: Sequence[_Way], sweeps: int) -> None:
    """Chooses the chunks' tokens of the level at hand anew, by distance and conditional length."""
    if not sweeps:
        return
    mine = [way.tokens[-1][way.steps] for way in ways]
    walk = prior.abreast(mine, [way.coarser for way in ways])
    rows = _rows(np.concatenate([way.latents[way.steps] for way in ways]))
    tokens = np.concatenate(mine)
    for _ in range(sweeps):
        for group, (slots, _, _) in enumerate(books.groups):
            cost = walk.lengths()
            cost *= books.weight / BIT
            cost += books.costs(rows, group)
            tokens[:, slots] = cost.argmin(-1).T
            walk.take(tokens[:, slots])
    ends = np.cumsum([len(one) for one in mine])
    for way, found in zip(ways, np.split(tokens, ends[:-1])):
        way.tokens[-1][way.steps] = found


def _descend(books: _Books, prior: NetworkPrior, way: _Way, level: int, effort: Effort) -> None:
    """Moves latents against the gradient and chooses again; keeps the best tokens met."""
    coder = way.network.levels[level]
    dims, stride = coder.config.dims, coder.level.stride
    seen = (way.presence > 0).repeat_interleave(dims, -1)
    frames = slice(way.steps.start * stride, way.steps.stop * stride)
    best, least = way.tokens[level].copy(), float("inf")
    weight = 0.0
    price = books.weight * _PRICE
    for turn in range(effort.descents + 1):
        vectors = way.vectors(level).requires_grad_(True)
        with torch.enable_grad():
            wrong = ((way.so_far + coder.decode(vectors, way.so_far)) - way.offset) * seen
            apart = (wrong.unflatten(-1, (-1, dims)).square().sum(-1) + 1e-8).sqrt()
            if not weight:
                # A distance counts as much as its square does where it is as large as the mean one.
                mean = apart.detach()[:, frames].sum() / seen[:, frames, ::dims].sum().clamp_min(1)
                weight = 2 * float(mean)
            error = apart.sum() * weight
        cost = float(apart.detach()[:, frames].sum()) * weight
        cost += price * prior.bits(way.tokens[level][way.steps], prior.known(way.coarser))
        if cost < least:
            best, least = way.tokens[level].copy(), cost
        if turn == effort.descents:
            break
        (slope,) = torch.autograd.grad(error, vectors)
        target = (vectors.detach() - slope / 2)[0].cpu().numpy()
        way.latents += _STEP * (target - way.latents)
        _sweep(books, prior, [way], max(effort.sweeps, 1))
    way.tokens[level] = best
