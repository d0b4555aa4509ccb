"""The conv3d VQ-GAN of arXiv 2509.19252: heatmap volumes through strided 3D convolutions.

A volume (B, C, T, H, W), one channel for each plane of each joint, is halved 3, 4 or 5 times in
time, height and width; every position of what is left is a token of one shared codebook; the
decoder is the encoder mirrored and gives a dense volume. Beside the vector quantizer there are the
two bottlenecks that it is compared with: the dVAE's relaxed categories and none at all.

Nothing looks further than :attr:`Conv3dConfig.margin` frames: normalisation is over single frames
and attention over single steps (the transformer's over its reach), so that clips of any length
decode in chunks without seams.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from motioncodec.heatmap.rendering import FLOOR, PLANES, from_pixels
from motioncodec.model.config import Conv3dConfig
from motioncodec.model.moments import splat, splat_limbs, stacked
from motioncodec.model.quantizer import Rate, SlotQuantizer

CONTRAST = 16.0
"""What volumes are multiplied by: their pixels, nearly all empty, deviate by about a 16th."""

PIECE = 256
"""Model frames that are drawn at once."""


class FrameNorm(nn.Module):
    """Group normalisation of every frame by itself."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm = nn.GroupNorm(8, width)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, T, H, W) to the same shape."""
        b, c, t, h, w = x.shape
        out: Tensor = self.norm(x.transpose(1, 2).reshape(b * t, c, h, w))
        return out.view(b, t, c, h, w).transpose(1, 2)


class ResNetBlock(nn.Module):
    """Norm, non-linearity and 3 x 3 x 3 convolution, twice, added to the input."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            FrameNorm(width),
            nn.SiLU(),
            nn.Conv3d(width, width, 3, padding=1),
            FrameNorm(width),
            nn.SiLU(),
            nn.Conv3d(width, width, 3, padding=1),
        )

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, T, H, W) to the same shape."""
        out: Tensor = x + self.layers(x)
        return out


class Attention(nn.Module):
    """Every position of the grid looks at those of its step and of ``reach`` steps on either side,
    with a learned bias for how far they are apart in time and where they lie in the grid."""

    def __init__(self, config: Conv3dConfig, width: int, reach: int) -> None:
        super().__init__()
        self.heads, self.reach = config.heads, reach
        self.norm = FrameNorm(width)
        self.ask = nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, width)
        self.apart = nn.Parameter(torch.zeros(config.heads, 2 * reach + 1))
        self.place = nn.Parameter(torch.zeros(config.heads, config.grid**2, config.grid**2))
        nn.init.zeros_(self.out.weight)
        nn.init.zeros_(self.out.bias)

    def _bias(self, steps: int) -> Tensor:
        """(heads, steps x positions, steps x positions), minus infinity beyond the reach."""
        at = torch.arange(steps, device=self.apart.device)
        apart = at[:, None] - at
        near = self.apart[:, (apart + self.reach).clamp(0, 2 * self.reach)]
        near = near.masked_fill(apart.abs() > self.reach, -torch.inf)
        both = near[:, :, None, :, None] + self.place[:, None, :, None, :]
        return both.flatten(3).flatten(1, 2)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, T, H, W) to the same shape."""
        b, c, t, h, w = x.shape
        rows = self.norm(x).flatten(3).permute(0, 2, 3, 1)
        # Without reach, steps are batches of their own, and time costs no more than it must.
        steps = t if self.reach else 1
        rows = rows.reshape(b * t // steps, steps * h * w, c)
        asked = self.ask(rows).unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        query, key, value = asked
        bias = self._bias(steps).to(query.dtype)
        found = functional.scaled_dot_product_attention(query, key, value, attn_mask=bias)
        out = self.out(found.transpose(1, 2).flatten(2)).view(b, t, h, w, c)
        return x + out.permute(0, 4, 1, 2, 3)


class TransformerBlock(nn.Module):
    """Attention over the reach, then two pointwise layers, each added to its input."""

    def __init__(self, config: Conv3dConfig, width: int) -> None:
        super().__init__()
        self.attention = Attention(config, width, config.reach)
        self.pointwise = nn.Sequential(
            FrameNorm(width),
            nn.Conv3d(width, 4 * width, 1),
            nn.GELU(),
            nn.Conv3d(4 * width, width, 1),
        )

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, T, H, W) to the same shape."""
        x = self.attention(x)
        out: Tensor = x + self.pointwise(x)
        return out


def _lowest(config: Conv3dConfig, width: int) -> nn.Sequential:
    """Blocks at the lowest resolution."""
    if config.trunk == "transformer":
        return nn.Sequential(*(TransformerBlock(config, width) for _ in range(2 * config.blocks)))
    blocks: list[nn.Module] = [ResNetBlock(width) for _ in range(2 * config.blocks)]
    blocks.insert(config.blocks, Attention(config, width, 0))
    return nn.Sequential(*blocks)


class Encoder(nn.Sequential):
    """(B, C, T, S, S) volume to (B, latent, T / F, S / F, S / F)."""

    def __init__(self, config: Conv3dConfig) -> None:
        widths = config.widths[: config.halvings]
        layers: list[nn.Module] = []
        for i, (before, width) in enumerate(zip((config.channels, *widths), widths)):
            if i:
                layers += [ResNetBlock(before) for _ in range(config.blocks)]
            layers.append(nn.Conv3d(before, width, 3, stride=2, padding=1))
        layers += [_lowest(config, widths[-1]), FrameNorm(widths[-1]), nn.SiLU()]
        layers.append(nn.Conv3d(widths[-1], config.latent, 1))
        super().__init__(*layers)


class Decoder(nn.Sequential):
    """The encoder mirrored: (B, latent, t, s, s) to a (B, C, F t, F s, F s) volume."""

    def __init__(self, config: Conv3dConfig) -> None:
        widths = config.widths[: config.halvings][::-1]
        layers: list[nn.Module] = [
            nn.Conv3d(config.latent, widths[0], 1),
            _lowest(config, widths[0]),
        ]
        for width, after in pairwise(widths):
            layers.append(nn.ConvTranspose3d(width, after, 2, stride=2))
            layers += [ResNetBlock(after) for _ in range(config.blocks)]
        layers.append(nn.ConvTranspose3d(widths[-1], config.channels, 2, stride=2))
        super().__init__(*layers)
        # Nearly all of a heatmap is empty: so is the first guess.
        assert self.last.bias is not None
        nn.init.zeros_(self.last.bias)

    @property
    def last(self) -> nn.ConvTranspose3d:
        """The last layer, of which the adaptive weight takes gradients."""
        layer = self[-1]
        assert isinstance(layer, nn.ConvTranspose3d)
        return layer


class GumbelQuantizer(nn.Module):
    """The dVAE's bottleneck: categories relaxed by Gumbel noise (Jang et al. 2017).

    Args:
        codes: categories.
        latent: width of a code vector.
    """

    def __init__(self, codes: int, latent: int) -> None:
        super().__init__()
        self.codes = codes
        self.logits = nn.Linear(latent, codes)
        self.codebook = nn.Parameter(torch.randn(codes, latent))
        self.temperature = 1.0

    @torch.no_grad()
    def start(self, codebook: Tensor, latents: Tensor) -> None:
        """From (codes, latent) codes: logits are squared distances, in units of their mean over
        (N, latent) latents."""
        nearest = torch.cdist(latents, codebook).amin(-1).square().mean().clamp_min(1e-6)
        self.codebook.copy_(codebook)
        self.logits.weight.copy_(2 * codebook / nearest)
        self.logits.bias.copy_(-codebook.square().sum(-1) / nearest)

    def forward(self, latents: Tensor) -> tuple[Tensor, Tensor]:
        """(..., latent) to code vectors and the divergence from even use in nats, a scalar: in
        training vectors are mixtures, else those of the likeliest codes."""
        logits = self.logits(latents).float()
        share = functional.log_softmax(logits, -1)
        divergence = (share.exp() * (share + torch.tensor(float(self.codes)).log())).sum(-1).mean()
        if self.training:
            mix = functional.gumbel_softmax(logits, self.temperature, dim=-1)
            return mix @ self.codebook, divergence
        return self.codebook[logits.argmax(-1)], divergence


class Reconstruction(NamedTuple):
    """What a training pass gives.

    Attributes:
        volume: (B, C, T, S, S) reconstruction, which may leave the range from 0 to 1 a little.
        commitment: of the quantizer, or the dVAE's divergence; a scalar, 0 without either.
    """

    volume: Tensor
    commitment: Tensor


class Conv3dVQGAN(nn.Module):
    """Encoder, bottleneck, decoder.

    Args:
        config: the model's shape.
    """

    mean: Tensor

    def __init__(self, config: Conv3dConfig) -> None:
        super().__init__()
        self.config = config
        self.encoder = Encoder(config)
        self.decoder = Decoder(config)
        if config.bottleneck == "vq":
            self.quantizer = SlotQuantizer(1, config.codes, config.latent)
        elif config.bottleneck == "gumbel":
            self.gumbel = GumbelQuantizer(config.codes, config.latent)
        # Mean pose in body units: where a joint is taken to be of which the volume shows nothing.
        self.register_buffer("mean", torch.zeros(config.joints, config.dims))

    @property
    def device(self) -> torch.device:
        """Where the network is."""
        return self.mean.device

    def draw(self, centres: Tensor, peaks: Tensor) -> Tensor:
        """(B, T, K, D) centres in body units and (B, T, K) peaks to the (B, C, T, S, S) volume."""
        c = self.config
        draw = splat if c.drawing == "joints" else splat_limbs
        return stacked(draw(centres, peaks, c.size, c.sigma))

    def encode(self, volume: Tensor) -> Tensor:
        """(B, C, T, S, S) to (B, steps, slots, latent), slots row by row."""
        found: Tensor = self.encoder(volume * CONTRAST)
        return found.flatten(3).permute(0, 2, 3, 1)

    def decode(self, vectors: Tensor) -> Tensor:
        """(B, steps, slots, latent) to the (B, C, T, S, S) volume."""
        grid = self.config.grid
        rows = vectors.permute(0, 3, 1, 2).unflatten(-1, (grid, grid))
        out: Tensor = self.decoder(rows)
        return out

    def forward(self, volume: Tensor, quantise: bool = True) -> Reconstruction:
        """Training pass over a (B, C, T, S, S) volume; without ``quantise``, of the autoencoder
        that is inside."""
        latents = self.encode(volume).float()
        if not quantise:
            vectors, loss = latents, latents.new_zeros(())
        elif self.config.bottleneck == "vq":
            vectors, _, loss = self.quantizer(latents[..., None, :])
            vectors = vectors[..., 0, :]
        elif self.config.bottleneck == "gumbel":
            vectors, loss = self.gumbel(latents)
        else:
            vectors, loss = latents, latents.new_zeros(())
        return Reconstruction(self.decode(vectors).float(), loss)

    def _tokens(self, latents: Tensor) -> Tensor:
        """(B, steps, slots, latent) to (B, steps, slots) tokens."""
        if self.config.bottleneck == "gumbel":
            tokens: Tensor = self.gumbel.logits(latents).argmax(-1)
            return tokens
        if self.config.bottleneck == "none":
            raise ValueError("tokens: expected a model that quantises, found an autoencoder")
        flat = latents.reshape(-1, 1, self.config.latent)
        return self.quantizer.assign(flat).reshape(latents.shape[:-1])

    @property
    def codebook(self) -> Tensor:
        """(codes, latent), shared by all positions."""
        if self.config.bottleneck == "gumbel":
            return self.gumbel.codebook
        return self.quantizer.codebook[0]

    @property
    def codebooks(self) -> list[Tensor]:
        """(slots, codes, latent) of the one level, all slots alike."""
        return [self.codebook.expand(self.config.grid**2, -1, -1)]

    @torch.no_grad()
    def tokenize(
        self, centres: Tensor, peaks: Tensor, depth: int = 1, rates: Sequence[Rate] | None = None
    ) -> list[Tensor]:
        """Tokens of the one level.

        Args:
            centres: (B, T, K, D) joint centres in body units; T a multiple of the window.
            peaks: (B, T, K) from 0 (missing) to 1.
            depth: 1.
            rates: not used: codes are the nearest.

        Returns:
            (B, T / stride, slots) int64.
        """
        tokens = []
        for low, begin, end, high in self._pieces(centres.shape[1] // self.config.factor):
            frames = slice(low * self.config.factor, high * self.config.factor)
            found = self.tokenize_volume(self.draw(centres[:, frames], peaks[:, frames]))
            tokens.append(found[:, begin - low : end - low])
        return [torch.cat(tokens, 1)]

    def _pieces(self, steps: int) -> Iterator[tuple[int, int, int, int]]:
        """Stretches of steps, each with what it looks at on either side, that bound the memory of
        volumes: first step that is seen, first and one past the last that count, one past the last
        that is seen."""
        reach = self.config.margin // self.config.factor
        piece = max(PIECE // self.config.factor, 1)
        for begin in range(0, steps, piece):
            end = min(begin + piece, steps)
            yield max(begin - reach, 0), begin, end, min(end + reach, steps)

    @torch.no_grad()
    def tokenize_volume(self, volume: Tensor) -> Tensor:
        """As :meth:`tokenize`, from the (B, C, T, S, S) volume."""
        return self._tokens(self.encode(volume))

    @torch.no_grad()
    def detokenize(self, tokens: Sequence[Tensor]) -> Tensor:
        """Tokens of the one level to (B, T, K, D) joint centres in body units."""
        points = []
        for low, begin, end, high in self._pieces(tokens[0].shape[1]):
            volume = self.detokenize_volume([tokens[0][:, low:high]])
            first = (begin - low) * self.config.factor
            count = (end - begin) * self.config.factor
            points.append(self.locate(volume[:, :, first : first + count]))
        return torch.cat(points, 1)

    @torch.no_grad()
    def detokenize_volume(self, tokens: Sequence[Tensor]) -> Tensor:
        """Tokens of the one level to the dense (B, C, T, S, S) volume, from 0 to 1."""
        return self.decode(self.codebook[tokens[0]]).clamp(0, 1)

    def locate(self, volume: Tensor) -> Tensor:
        """Joint centres (B, T, K, D) in body units of a (B, C, T, S, S) volume of joints: the
        centre of mass within three sigma of each plane's highest pixel, in 3D the mean of the two
        planes that hold a coordinate, weighted by their height; the mean pose where all is empty.

        Raises:
            ValueError: the volume shows limbs.
        """
        c = self.config
        if c.drawing != "joints":
            raise ValueError("keypoints: expected a model that draws joints, found one of limbs")
        b, _, t, size, _ = volume.shape
        planes = volume.transpose(1, 2).reshape(b * t * c.joints, c.planes, size, size)
        grid = torch.arange(size, dtype=volume.dtype, device=volume.device)
        reach = max(1, round(3 * c.sigma))
        top, at = planes.flatten(2).max(-1)
        best = at % size, at // size
        # Only what stands out counts: an empty plane's floor would draw its centre to the middle.
        above = (planes - 0.1 * top[..., None, None]).clamp_min(0)
        total = planes.new_zeros(len(planes), c.dims)
        weight = planes.new_full((len(planes), c.dims), 1e-12)
        for plane, axes in enumerate(PLANES[c.dims]):
            near = [(grid - one[:, plane, None]).abs() <= reach for one in best]
            window = above[:, plane] * near[1][:, :, None] * near[0][:, None, :]
            mass = window.sum((-1, -2)).clamp_min(1e-12)
            for axis, along in zip(axes, (window.sum(-2), window.sum(-1))):
                total[:, axis] += (along * grid).sum(-1) / mass * top[:, plane]
                weight[:, axis] += top[:, plane]
        points = from_pixels(total / weight, size).view(b, t, c.joints, c.dims)
        empty = (top.amax(-1) < FLOOR).view(b, t, c.joints, 1)
        return torch.where(empty, self.mean, points)
