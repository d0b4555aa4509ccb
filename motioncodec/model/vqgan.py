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
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from motioncodec.model.config import Config, Level
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
    """

    latent_scale: Tensor

    def __init__(self, config: Config, level: Level, dropout: float = 0.0) -> None:
        super().__init__()
        self.config, self.level = config, level
        self.merge = level.stride // config.patch
        frame = config.joints * config.dims
        latents = level.slots * config.latent
        patch_in = config.patch * (2 * frame + config.joints)
        self.enc_in = nn.Linear(patch_in, config.width)
        self.enc = nn.Sequential(
            *[ResidualBlock(config.width, dropout) for _ in range(config.blocks)]
        )
        self.enc_out = nn.Linear(config.width * self.merge, latents)
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
        for last in (self.enc_out, self.dec_out):
            nn.init.zeros_(last.weight)
            nn.init.zeros_(last.bias)

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
        return found.float()


class SlotVQGAN(nn.Module):
    """Stem, levels and head.

    Args:
        config: the model's shape.
        dropout: share of the networks' activations dropped in training.
    """

    mean: Tensor

    def __init__(self, config: Config, dropout: float = 0.0) -> None:
        super().__init__()
        self.config = config
        self.stem = MomentStem(config.dims)
        self.coders = nn.ModuleList(LevelCoder(config, level, dropout) for level in config.levels)
        # Mean pose in body units: what a missing joint counts as.
        self.register_buffer("mean", torch.zeros(config.joints, config.dims))

    @property
    def levels(self) -> list[LevelCoder]:
        """Coders of the levels, coarse to fine."""
        return cast("list[LevelCoder]", list(self.coders))

    @property
    def device(self) -> torch.device:
        """Where the network is."""
        return self.mean.device

    @property
    def margin(self) -> int:
        """Model frames of context on either side beyond which nothing changes a decoded frame."""
        reach = self.config.patch * self.config.blocks * len(self.config.levels)
        window = self.config.window
        return -(-reach // window) * window + window

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
        seen = (presence > 0).repeat_interleave(self.config.dims, -1)
        tokens = []
        for level, coder in enumerate(self.levels[:depth]):
            left = (offset - so_far) * seen
            latents = coder.encode(left, presence, so_far)
            if rates is None or not rates[level].weight:
                flat = latents.flatten(0, 1)
                chosen = coder.quantizer.assign(flat).reshape(latents.shape[:-1])
            else:
                chosen = coder.quantizer.assign_along(latents, rates[level])
            tokens.append(chosen)
            so_far = so_far + coder.decode(coder.quantizer.lookup(chosen), so_far)
        return tokens

    def tokenize_volume(self, volume: Tensor, depth: int) -> list[Tensor]:
        """As :meth:`tokenize`, from (B, T, K, planes, H, W) heatmaps with sigma 1.5 pixels."""
        centres, mass = self.stem(volume)
        return self.tokenize(centres, mass / (2 * torch.pi * 1.5**2), depth)

    @torch.no_grad()
    def detokenize(self, tokens: Sequence[Tensor]) -> Tensor:
        """Tokens of levels 0 to L to (B, T, K, D) joint centres in body units."""
        so_far: Tensor | None = None
        for coder, chosen in zip(self.levels, tokens):
            vectors = coder.quantizer.lookup(chosen)
            if so_far is None:
                frames = chosen.shape[1] * coder.level.stride
                so_far = vectors.new_zeros(
                    chosen.shape[0], frames, self.config.joints * self.config.dims
                )
            so_far = so_far + coder.decode(vectors, so_far)
        if so_far is None:
            raise ValueError("detokenize: expected the tokens of at least one level, found none")
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
        """Training pass: for each level (centres (B, T, K, D), tokens, commitment loss).

        ``rows`` says how many rows of the batch each level sees, never more than the one before:
        a fine level has many slots and little left to learn, so it may do with fewer.
        """
        offset, presence = self.prepare(centres, peaks)
        seen = (presence > 0).repeat_interleave(self.config.dims, -1)
        so_far = torch.zeros_like(offset)
        out = []
        for coder, n in zip(self.levels, rows):
            offset, presence, seen, so_far = offset[:n], presence[:n], seen[:n], so_far[:n]
            latents = coder.encode((offset - so_far) * seen, presence, so_far)
            vectors, tokens, commitment = coder.quantizer(latents)
            refined = so_far + coder.decode(vectors, so_far)
            out.append((self.joints(refined), tokens, commitment))
            # Each preset is as good as it can be on its own: no gradient from the finer ones.
            so_far = refined.detach()
        return out
