"""The trainer of the conv3d family: the same data, schedule, quantizer and discriminator, with the
losses of arXiv 2509.19252 on dense volumes."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from motioncodec.heatmap.placement import MODEL_RATE
from motioncodec.model.config import AnyConfig, Conv3dConfig, read_config
from motioncodec.model.conv3d import Conv3dVQGAN
from motioncodec.model.quantizer import SlotQuantizer
from motioncodec.training.augmentation import Augmentation, Windows
from motioncodec.training.data import Motion
from motioncodec.training.losses import volume_loss
from motioncodec.training.trainer import Trainer, TrainingConfig

if TYPE_CHECKING:
    from motioncodec.model.weights import Network


class VolumeTrainer(Trainer):
    """Trains one conv3d model: vector quantised, dVAE or plain autoencoder.

    Weights to start from may have another bottleneck: encoder and decoder are taken over, and codes
    start from k-means of the encoder's latents on training windows.
    """

    model: Conv3dVQGAN  # type: ignore[assignment]
    average: Conv3dVQGAN  # type: ignore[assignment]
    val_windows = 48

    def _shape(self, start: Network | None) -> AnyConfig:
        return read_config(json.dumps(self.config.model))

    def _channels(self) -> int:
        return self.model.config.channels

    def _quantizers(self) -> list[SlotQuantizer]:
        return [self.model.quantizer] if self.model.config.bottleneck == "vq" else []

    @torch.no_grad()
    def _begin(self, train: Motion, start: Network | None) -> None:
        config = self.model.config
        self.model.mean.copy_(train.points.mean(0)[:, : config.dims] * (config.dims == 3))
        if start is not None:
            kept = start.state_dict()
            mine = self.model.state_dict()
            fits = {k: v for k, v in kept.items() if k in mine and v.shape == mine[k].shape}
            self.model.load_state_dict(mine | fits)
            if self._same_codes(start):
                for quantizer in self._quantizers():
                    quantizer.restart()
                return
        if config.bottleneck != "none" and not self.config.quantise_from:
            self._start_codes()

    def _same_codes(self, start: Network) -> bool:
        c, s = self.model.config, start.config
        return isinstance(s, Conv3dConfig) and (s.bottleneck, s.codes) == (c.bottleneck, c.codes)

    @torch.no_grad()
    def _start_codes(self) -> None:
        """K-means codes of latents of training windows, drawn anew for the purpose."""
        c = self.config
        windows = Windows(
            self.windows.motion,
            self.model.config.dims,
            c.frames,
            Augmentation(**c.augmentation),
            c.seed + 1,
        )
        self.model.eval()
        latents: list[Tensor] = []
        wanted = 12 * self.model.config.codes
        drawn = 0
        while (found := sum(map(len, latents))) < wanted:
            # A coarse preset gives few a window: it must do with what many windows give.
            if found >= self.model.config.codes and drawn >= c.start_windows:
                break
            drawn += c.batch
            noisy, seen, _ = windows.batch(c.batch)
            rows = self.model.encode(self.model.draw(noisy, seen))
            latents.append(rows.reshape(-1, self.model.config.latent))
        rows = torch.cat(latents)[:wanted]
        if self.model.config.bottleneck == "vq":
            self.model.quantizer.start(rows[:, None])
            return
        codes = SlotQuantizer(1, self.model.config.codes, self.model.config.latent).to(rows.device)
        codes.start(rows[:, None])
        self.model.gumbel.start(codes.codebook[0], rows)

    def _quantises(self, step: int) -> bool:
        return step >= self.config.quantise_from * self.config.steps

    def _losses(
        self, noisy: Tensor, seen: Tensor, truth: Tensor
    ) -> tuple[Tensor, dict[str, float]]:
        c = self.config
        with torch.no_grad():
            given = self.model.draw(noisy, seen)
            wanted = given if torch.equal(noisy, truth) else self.model.draw(truth, seen)
        if self.model.config.bottleneck == "gumbel":
            done = self.step / max(c.steps, 1)
            self.model.gumbel.temperature = c.temperature**done
        quantise = self._quantises(self.step)
        if quantise and self.step and not self._quantises(self.step - 1):
            self._start_codes()
            self.model.train()
        with self._autocast():
            found, commitment = self.model(given, quantise)
        reconstruction = volume_loss(found, wanted, c.perceptual, c.mass)
        weight = c.divergence if self.model.config.bottleneck == "gumbel" else c.commitment
        total = reconstruction + weight * commitment
        losses = {"loss": round(float(reconstruction.detach()), 4)}
        if self.step >= c.adversarial_from * c.steps:
            adversarial, judged = self._adversarial(
                found, wanted, reconstruction, self.model.decoder.last.weight
            )
            total = total + adversarial
            losses["judge"] = round(judged, 3)
        return total, losses

    @torch.no_grad()
    def evaluate(self) -> dict[str, Any]:
        """Averaged weights on val windows: mean absolute difference as a share of the mean value,
        mean joint error in thousandths of a body unit where joints are drawn, and once there are
        codes bits a second under their running usage, and perplexity."""
        assert self.val is not None
        total = mean = 0.0
        apart, bits, frames = [], 0.0, 0
        quantised = self.model.config.bottleneck == "vq" and self._quantises(self.step)
        for noisy, seen, truth in zip(*(part.split(4) for part in self.val)):
            noisy, seen, truth = (x.to(self.device) for x in (noisy, seen, truth))
            given, wanted = self.average.draw(noisy, seen), self.average.draw(truth, seen)
            if quantised:
                tokens = self.average.tokenize_volume(given)
                bits += float(self.average.quantizer.lengths()[0][tokens].sum())
                found = self.average.detokenize_volume([tokens])
            else:
                found = self.average(given, self._quantises(self.step)).volume.clamp(0, 1)
            total += float((found - wanted).abs().sum())
            mean += float(wanted.sum())
            frames += noisy[..., 0, 0].numel()
            if self.model.config.drawing == "joints":
                distance = (self.average.locate(found) - truth).norm(dim=-1)
                apart.append(distance[seen > 0])
        figures: dict[str, Any] = {"l1": round(total / mean, 4)}
        if apart:
            figures["val"] = round(float(torch.cat(apart).mean()) * 1000, 2)
        if quantised:
            figures["bit_s"] = round(bits * MODEL_RATE / frames)
            figures["perplexity"] = round(float(self.average.quantizer.perplexity()[0]))
        return figures


def trainer_of(config: TrainingConfig) -> type[Trainer]:
    """The trainer for the family that a configuration names."""
    shape = read_config(json.dumps(config.model))
    return VolumeTrainer if isinstance(shape, Conv3dConfig) else Trainer
