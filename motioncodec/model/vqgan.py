"""The slot VQ-GAN: heatmap volumes to tokens and back, one level refining another.

Each level is a small autoencoder over time of what the levels before it left over:

    left   = joints - reconstruction so far
    latent = linear(left) + encoder(left, presence, reconstruction so far)
    code   = nearest in each slot's own codebook
    reconstruction so far += linear'(code) + decoder(code, reconstruction so far)

The linear paths start as the principal components of ``left``, so that training starts from a
transform coder and departs from it where a network knows better. Decoding to level L needs the
tokens of levels 0 to L and nothing else, so presets nest.

Everything is convolutional over time with zeros beyond the ends: any length works, and a window
decoded with :data:`MARGIN` model frames of tokens on either side equals the whole decoded at once.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from motioncodec.model.config import Config, Level
from motioncodec.model.lapped import LappedTransform
from motioncodec.model.moments import MomentStem, splat
from motioncodec.model.quantizer import Rate, SlotQuantizer


class ResidualBlock(nn.Module):
    """Norm, convolution over three steps, non-linearity, pointwise, added to the input."""

    def __init__(self, width: int, dropout: float = 0.0) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.over_time = nn.Conv1d(width, width, 3, padding=1)
        self.pointwise = nn.Linear(width, width)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor) -> Tensor:
        """(B, G, width) to the same shape."""
        y = self.over_time(self.norm(x).transpose(1, 2)).transpose(1, 2)
        out: Tensor = x + self.dropout(self.pointwise(functional.gelu(y)))
        return out


class LevelCoder(nn.Module):
    """One level: encoder, codebooks, decoder and the linear paths beside both.

    Args:
        config: the model's shape.
        level: this level's stride and slots.
        dropout: share of the networks' activations dropped in training.
        encoder: whether it has what encodes.
    """

    latent_scale: Tensor

    def __init__(
        self, config: Config, level: Level, dropout: float = 0.0, encoder: bool = True
    ) -> None:
        super().__init__()
        self.config, self.level = config, level
        self.merge = level.stride // config.patch
        frame = config.joints * config.dims
        latents = level.slots * config.latent
        if encoder:
            patch_in = config.patch * (2 * frame + config.joints)
            self.enc_in = nn.Linear(patch_in, config.width)
            self.enc = nn.Sequential(
                *[ResidualBlock(config.width, dropout) for _ in range(config.blocks)]
            )
            self.enc_out = nn.Linear(config.width * self.merge, latents)
            nn.init.zeros_(self.enc_out.weight)
            nn.init.zeros_(self.enc_out.bias)
            self.linear_enc = nn.Linear(level.stride * frame, latents, bias=False)
        self.quantizer = SlotQuantizer(level.slots, config.codes, config.latent)
        self.dec_in = nn.Linear(latents, config.width * self.merge)
        self.dec_context = nn.Linear(config.patch * frame, config.width)
        self.dec = nn.Sequential(
            *[ResidualBlock(config.width, dropout) for _ in range(config.blocks)]
        )
        self.dec_out = nn.Linear(config.width, config.patch * frame)
        self.linear_dec = nn.Linear(latents, level.stride * frame, bias=False)
        # Standard deviation of the latents at the start: the networks work in units of it.
        self.register_buffer("latent_scale", torch.ones(latents))
        nn.init.zeros_(self.dec_out.weight)
        nn.init.zeros_(self.dec_out.bias)

    def encode(self, left: Tensor, presence: Tensor, so_far: Tensor) -> Tensor:
        """Latents (B, steps, slots, latent) of (B, T, joints * dims) what is left over."""
        b, t, _frame = left.shape
        patch = self.config.patch
        stacked = torch.cat([left, presence, so_far], -1).reshape(b, t // patch, -1)
        hidden = self.enc(self.enc_in(stacked)).reshape(b, t // self.level.stride, -1)
        linear = self.linear_enc(left.reshape(b, t // self.level.stride, -1))
        latents: Tensor = linear + self.enc_out(hidden) * self.latent_scale
        return latents.float().reshape(*latents.shape[:2], self.level.slots, self.config.latent)

    def decode(self, vectors: Tensor, so_far: Tensor) -> Tensor:
        """(B, T, joints * dims) to be added to the reconstruction so far."""
        b, steps = vectors.shape[:2]
        t = steps * self.level.stride
        flat = vectors.flatten(-2)
        hidden = self.dec_in(flat / self.latent_scale).reshape(b, t // self.config.patch, -1)
        hidden = hidden + self.dec_context(so_far.reshape(b, t // self.config.patch, -1))
        out = self.dec_out(self.dec(hidden)).reshape(b, t, -1)
        linear: Tensor = self.linear_dec(flat).reshape(b, t, -1)
        found: Tensor = linear + out
        return found.to(vectors.dtype)

    def carry(self, vectors: Tensor, so_far: Tensor) -> Tensor:
        """What is added to the reconstruction that the next level refines."""
        return self.decode(vectors, so_far)


class LappedCoder(nn.Module):
    """One level of a lapped model: networks in time about a fixed, orthonormal linear path.

    Every slot takes a few coefficients (frequency x component of the pose) and quantises them as
    one vector. Squared distances of latents are squared errors of joints, so that a bit has the
    same price in every slot, and idle slots cost a fraction of a bit.

    A finer level refines the linear reconstruction alone, and the networks of the last level have
    the last word: what a network adds is right on average and rough in detail, and to refine that
    cost more bits than it saved. For the same reason the finest level has no encoder network.

    Args:
        config: the model's shape.
        level: this level's stride and slots.
        dropout: share of the networks' activations dropped in training.
        encoder: whether it has an encoder network.
    """

    basis: Tensor
    spread: Tensor
    pick: Tensor

    def __init__(
        self, config: Config, level: Level, dropout: float = 0.0, encoder: bool = True
    ) -> None:
        super().__init__()
        self.config, self.level, self.encoder = config, level, encoder
        frame = config.joints * config.dims
        self.transform = LappedTransform(level.stride)
        self.quantizer = SlotQuantizer(level.slots, config.codes, config.latent)

        def blocks() -> nn.Sequential:
            return nn.Sequential(
                *[ResidualBlock(config.width, dropout) for _ in range(config.blocks)]
            )

        if encoder:
            self.enc_in = nn.Linear(config.patch * (2 * frame + config.joints), config.width)
            self.enc = blocks()
            self.enc_out = nn.Linear(config.width, config.patch * frame)
            nn.init.zeros_(self.enc_out.weight)
            nn.init.zeros_(self.enc_out.bias)
        self.dec_in = nn.Linear(config.patch * frame, config.width)
        self.dec_context = nn.Linear(config.patch * frame, config.width)
        self.dec = blocks()
        self.dec_out = nn.Linear(config.width, config.patch * frame)
        # Principal components of the pose, in columns, their variances, and which of the stride x
        # frame coefficients each slot takes; stride x frame stands for none.
        self.register_buffer("basis", torch.eye(frame))
        self.register_buffer("spread", torch.ones(frame))
        self.register_buffer("pick", torch.full((level.slots, config.latent), level.stride * frame))
        nn.init.zeros_(self.dec_out.weight)
        nn.init.zeros_(self.dec_out.bias)

    @torch.no_grad()
    def fill(self, left: Tensor, seen: Tensor) -> Tensor:
        """(B, T, joints * dims) with the values of missing joints, where ``seen`` (B, T, joints) is
        False, as the others let expect them: the conditional mean of a Gaussian."""
        if bool(seen.all()):
            return left
        rows, joints = left.reshape(-1, left.shape[-1]), self.config.joints
        patterns, which, counts = (
            (seen.reshape(-1, joints) << torch.arange(joints, device=left.device))
            .sum(-1)
            .unique(return_inverse=True, return_counts=True)
        )
        if len(patterns) <= _KEPT:
            # The same joints are missing in clip after clip.
            state = self.basis._version, self.spread._version, self.basis.dtype, self.basis.device
            known, weights = _expected(self, state, tuple(patterns.tolist()))
        else:
            known, weights = self.expected(patterns)
        with torch.autocast(left.device.type, enabled=False):
            order = which.argsort()
            there = torch.where(known[which], rows, 0.0)[order].split(counts.tolist())
            guess = torch.empty_like(rows)
            guess[order] = torch.cat([part @ one for part, one in zip(there, weights)])
        # Where nothing is known there is nothing to go by.
        return torch.where(known[which], rows, guess).view(left.shape)

    @torch.no_grad()
    def expected(self, patterns: Tensor) -> tuple[Tensor, Tensor]:
        """What is known where the joints of ``patterns`` (N,), bits of an integer, are seen:
        (N, joints * dims), and (N, joints * dims, joints * dims) by which rows that are 0 elsewhere
        are to be multiplied for what is to be expected there."""
        joint = torch.arange(self.config.joints, device=patterns.device)
        known = (patterns[:, None] >> joint & 1).bool().repeat_interleave(self.config.dims, -1)
        with torch.autocast(known.device.type, enabled=False):
            covariance = (self.basis * self.spread) @ self.basis.T
            alone = torch.eye(len(covariance), dtype=covariance.dtype, device=known.device)
            covariance = covariance + 1e-3 * self.spread.mean() * alone
            both = known[:, :, None] & known[:, None]
            across = known[:, :, None] & ~known[:, None]
            # Missing coordinates stand apart, with a one on the diagonal, so that patterns with
            # different numbers of them are solved side by side.
            weights = torch.linalg.solve(
                torch.where(both, covariance, alone), torch.where(across, covariance, 0.0)
            )
        return known, weights

    def analyse(self, signal: Tensor) -> Tensor:
        """(B, T, joints * dims) to latents (B, steps, slots, latent)."""
        with torch.autocast(signal.device.type, enabled=False):
            found = self.transform.analyse(signal.float() @ self.basis).flatten(-2)
        out: Tensor = functional.pad(found, (0, 1))[..., self.pick.long()]
        return out

    def synthesise(self, latents: Tensor) -> Tensor:
        """Code vectors (B, steps, slots, latent) to (B, T, joints * dims)."""
        b, steps = latents.shape[:2]
        size = self.level.stride * len(self.basis)
        found = latents.new_zeros(b, steps, size + 1)
        at = self.pick.long().flatten().expand(b, steps, -1)
        found = found.scatter(-1, at, latents.flatten(-2))[..., :size]
        with torch.autocast(latents.device.type, enabled=False):
            signal = self.transform.synthesise(found.unflatten(-1, (self.level.stride, -1)))
            out: Tensor = signal @ self.basis.T
        return out

    def encode(self, left: Tensor, presence: Tensor, so_far: Tensor) -> Tensor:
        """Latents (B, steps, slots, latent) of (B, T, joints * dims) what is left over, for a
        stream of which this is the last level."""
        if not self.encoder:
            return self.analyse(left)
        b, t, _frame = left.shape
        stacked = torch.cat([left, presence, so_far], -1)
        hidden = self.enc(self.enc_in(stacked.reshape(b, t // self.config.patch, -1)))
        moved = self.enc_out(hidden).reshape(b, t, -1).float()
        return self.analyse(left + moved)

    def decode(self, vectors: Tensor, so_far: Tensor) -> Tensor:
        """(B, T, joints * dims) to be added to the reconstruction so far."""
        linear = self.synthesise(vectors)
        b, t, _frame = linear.shape
        patches = t // self.config.patch
        hidden = self.dec_in(linear.reshape(b, patches, -1))
        hidden = hidden + self.dec_context(so_far.reshape(b, patches, -1))
        out: Tensor = self.dec_out(self.dec(hidden)).reshape(b, t, -1)
        return linear + out.to(linear.dtype)

    def carry(self, vectors: Tensor, so_far: Tensor) -> Tensor:
        """What is added to the reconstruction that the next level refines: the linear path."""
        return self.synthesise(vectors)


_KEPT = 4
"""Patterns of missing joints in a stretch whose expectations are kept for the next one."""


@lru_cache(maxsize=16)
def _expected(
    coder: LappedCoder, state: tuple[object, ...], patterns: tuple[int, ...]
) -> tuple[Tensor, Tensor]:
    """:meth:`LappedCoder.expected`, found once for each ``state`` of its basis."""
    return coder.expected(torch.tensor(patterns, device=coder.basis.device))


class SlotVQGAN(nn.Module):
    """Stem, levels and head.

    Args:
        config: the model's shape.
        dropout: share of the networks' activations dropped in training.
        encodes: whether it has its encoders; without, it turns tokens back alone.
    """

    mean: Tensor

    def __init__(self, config: Config, dropout: float = 0.0, encodes: bool = True) -> None:
        super().__init__()
        self.config = config
        self.stem = MomentStem(config.dims)
        finest = len(config.levels) - 1
        self.coders = nn.ModuleList(
            LappedCoder(config, level, dropout, encoder=encodes and i < finest)
            if config.lapped
            else LevelCoder(config, level, dropout, encoder=encodes)
            for i, level in enumerate(config.levels)
        )
        for one, price in zip(self.levels, config.prices):
            one.quantizer.rate_weight = price
        # Mean pose in body units: what a missing joint counts as.
        self.register_buffer("mean", torch.zeros(config.joints, config.dims))

    @property
    def levels(self) -> list[LevelCoder | LappedCoder]:
        """Coders of the levels, coarse to fine."""
        return cast("list[LevelCoder | LappedCoder]", list(self.coders))

    @property
    def codebooks(self) -> list[Tensor]:
        """(slots, codes, latent) of each level."""
        return [coder.quantizer.codebook for coder in self.levels]

    @property
    def device(self) -> torch.device:
        """Where the network is."""
        return self.mean.device

    def prepare(self, centres: Tensor, peaks: Tensor) -> tuple[Tensor, Tensor]:
        """(B, T, K, D) centres in body units and (B, T, K) peaks to the networks' input:
        (B, T, K * D) offsets from the mean pose, 0 where missing, and (B, T, K) presence."""
        seen = peaks > 0
        offset = torch.where(seen[..., None], (centres - self.mean) / self.config.unit, 0.0)
        return offset.flatten(-2), peaks

    def joints(self, offset: Tensor) -> Tensor:
        """(B, T, K * D) network output to (B, T, K, D) centres in body units."""
        return (
            offset.unflatten(-1, (self.config.joints, self.config.dims)) * self.config.unit
            + self.mean
        )

    def _left(self, coder: LevelCoder | LappedCoder, left: Tensor, presence: Tensor) -> Tensor:
        """(B, T, K * D) what is left over, with something to expect, or 0, at missing joints."""
        seen = presence > 0
        left = torch.where(seen.repeat_interleave(self.config.dims, -1), left, 0.0)
        return coder.fill(left, seen) if isinstance(coder, LappedCoder) else left

    def latents(
        self,
        coder: LevelCoder | LappedCoder,
        left: Tensor,
        presence: Tensor,
        so_far: Tensor,
        last: bool,
    ) -> Tensor:
        """What a level quantises: (B, steps, slots, latent).

        Args:
            coder: of the level.
            left: (B, T, K * D) the offset less what is known so far; may be anything at joints that
                are missing.
            presence: (B, T, K).
            so_far: (B, T, K * D).
            last: whether the stream ends with this level.
        """
        left = self._left(coder, left, presence)
        if isinstance(coder, LappedCoder) and not last:
            return coder.analyse(left)
        return coder.encode(left, presence, so_far)

    @torch.no_grad()
    def tokenize(
        self, centres: Tensor, peaks: Tensor, depth: int, rates: Sequence[Rate] | None = None
    ) -> list[Tensor]:
        """Tokens of levels 0 to ``depth`` - 1.

        Args:
            centres: (B, T, K, D) joint centres in body units; T a multiple of the window.
            peaks: (B, T, K) from 0 (missing) to 1.
            depth: how many levels, from 1.
            rates: what bits cost at each level; nearest codes where None.

        Returns:
            For each level (B, T / stride, slots) int64.
        """
        offset, presence = self.prepare(centres, peaks)
        so_far = torch.zeros_like(offset)
        tokens = []
        for level, coder in enumerate(self.levels[:depth]):
            latents = self.latents(
                coder, offset - so_far, presence, so_far, last=level + 1 == depth
            )
            if rates is None or not rates[level].weight:
                flat = latents.flatten(0, 1)
                chosen = coder.quantizer.assign(flat).reshape(latents.shape[:-1])
            else:
                chosen = coder.quantizer.assign_along(latents, rates[level])
            tokens.append(chosen)
            if level + 1 < depth:
                so_far = so_far + coder.carry(coder.quantizer.lookup(chosen), so_far)
        return tokens

    def tokenize_volume(self, volume: Tensor, depth: int) -> list[Tensor]:
        """As :meth:`tokenize`, from (B, T, K, planes, H, W) heatmaps with sigma 1.5 pixels."""
        centres, mass = self.stem(volume)
        return self.tokenize(centres, mass / (2 * torch.pi * 1.5**2), depth)

    @torch.no_grad()
    def detokenize(self, tokens: Sequence[Tensor]) -> Tensor:
        """Tokens of levels 0 to L to (B, T, K, D) joint centres in body units."""
        if not tokens:
            raise ValueError("detokenize: expected the tokens of at least one level, found none")
        frames = tokens[0].shape[1] * self.levels[0].level.stride
        so_far = self.mean.new_zeros(len(tokens[0]), frames, self.mean.numel())
        for level, (coder, chosen) in enumerate(zip(self.levels, tokens), 1):
            vectors = coder.quantizer.lookup(chosen)
            step = coder.carry if level < len(tokens) else coder.decode
            so_far = so_far + step(vectors, so_far)
        return self.joints(so_far)

    def detokenize_volume(
        self, tokens: Sequence[Tensor], size: int = 64, sigma: float = 1.5
    ) -> Tensor:
        """As :meth:`detokenize`, splatted to (B, T, K, planes, size, size) heatmaps."""
        centres = self.detokenize(tokens)
        return splat(centres, torch.ones_like(centres[..., 0]), size, sigma)

    def forward(
        self, centres: Tensor, peaks: Tensor, rows: Sequence[int]
    ) -> list[tuple[Tensor, Tensor, Tensor]]:
        """Training pass: for each level centres (B, T, K, D), the same of the linear path, and
        commitment loss.

        ``rows`` says how many rows of the batch each level sees, never more than the one before:
        a fine level has many slots and little left to learn, so it may do with fewer.
        """
        offset, presence = self.prepare(centres, peaks)
        so_far = torch.zeros_like(offset)
        out = []
        for coder, n in zip(self.levels, rows):
            offset, presence, so_far = offset[:n], presence[:n], so_far[:n]
            left = self._left(coder, offset - so_far, presence)
            vectors, _, commitment = coder.quantizer(coder.encode(left, presence, so_far))
            refined = so_far + coder.decode(vectors, so_far)
            linear = so_far + coder.carry(vectors, so_far) if self.config.lapped else refined
            out.append((self.joints(refined), self.joints(linear), commitment))
            # Each preset is as good as it can be on its own: no gradient from the finer ones.
            if len(out) == len(self.levels):
                break
            with torch.no_grad():
                if isinstance(coder, LappedCoder):
                    latents = coder.analyse(left)
                    chosen = coder.quantizer.assign(latents.flatten(0, 1))
                    vectors = coder.quantizer.lookup(chosen).view(latents.shape)
                    so_far = so_far + coder.carry(vectors, so_far)
                else:
                    so_far = refined.detach()
        return out
