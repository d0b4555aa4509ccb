"""The trainer: reconstruction, vector quantisation, and a discriminator that starts late."""

from __future__ import annotations

import json
import math
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from motioncodec.errors import FormatError
from motioncodec.heatmap.placement import MODEL_RATE
from motioncodec.model.config import AnyConfig, read_config
from motioncodec.model.moments import splat, stacked
from motioncodec.model.quantizer import SlotQuantizer
from motioncodec.model.vqgan import SlotVQGAN
from motioncodec.model.weights import build_network
from motioncodec.training.augmentation import NO_AUGMENTATION, Augmentation, Windows
from motioncodec.training.checkpoint import has_checkpoint, load_checkpoint, save_checkpoint
from motioncodec.training.components import start_from_components
from motioncodec.training.data import Motion
from motioncodec.training.discriminator import Discriminator
from motioncodec.training.losses import (
    adaptive_weight,
    hinge_discriminator_loss,
    position_loss,
    velocity_loss,
)

if TYPE_CHECKING:
    from motioncodec.model.weights import Network


@dataclass(frozen=True)
class TrainingConfig:
    """Everything a run needs beside its data; read from JSON, kept in the checkpoint.

    Attributes:
        name: of the model, in the weights' file name.
        model: fields of :class:`motioncodec.model.config.Config`.
        augmentation: fields of :class:`motioncodec.training.augmentation.Augmentation`.
        steps: of the optimiser in all.
        batch: windows in a step.
        fine_share: share of the batch that the finest level sees.
        start_windows: windows that the start from principal components looks at.
        frames: model frames in a window.
        learning_rate: highest; rises over ``warmup`` steps, falls as a cosine to a hundredth.
        commitment, velocity: weights of these losses.
        linear: weight of the position loss of a lapped model's linear path. It keeps the encoder's
            networks from saying more than codes at their price: bits have no gradient.
        dropout: in the networks over time.
        clip: largest norm of the gradient.
        average: decay of the averaged weights, which are what is evaluated and exported.
        adversarial_from: share of the steps after which the discriminator starts; 1 for never.
        adversarial_most: upper limit of the adaptive weight.
        adversarial_weight: what the adaptive weight is multiplied by.
        adversarial_rows: windows in a step that are rendered for it.
        evaluate_every: steps.
        seed: of data and weights.
        precision: ``float32`` or ``bfloat16`` (autocast; codebooks stay float32).
        prior_batches, prior_steps: batches of 64 windows that the priors are fitted to, and steps
            that each level's learned prior is trained for; no part of the training either.
        perceptual, mass: weights in the loss of volumes (conv3d:
            :func:`motioncodec.training.losses.volume_loss`).
        quantise_from: share of the steps before which a conv3d model's latents pass as they are;
            then codes start from k-means of them.
        divergence: weight of the dVAE's divergence from even use of its codes.
        temperature: of the dVAE's relaxed categories at the end; it falls from 1.
        rate_weights: for each preset the price of a bit at each of its levels, in squared network
            units, which encoders go by; given to the export, no part of the training.
        card: what the model card says beside what the run knows of itself: attribution, licence,
            known failures.
    """

    name: str
    model: dict[str, Any] = field(default_factory=dict)
    augmentation: dict[str, Any] = field(default_factory=dict)
    steps: int = 10_000
    batch: int = 64
    fine_share: float = 0.25
    start_windows: int = 4096
    frames: int = 128
    learning_rate: float = 6e-4
    warmup: int = 200
    weight_decay: float = 0.01
    commitment: float = 0.25
    velocity: float = 1.0
    linear: float = 0.7
    dropout: float = 0.05
    clip: float = 1.0
    average: float = 0.998
    adversarial_from: float = 0.9
    adversarial_most: float = 0.05
    adversarial_weight: float = 1.0
    adversarial_rows: int = 4
    evaluate_every: int = 500
    seed: int = 0
    precision: str = "bfloat16"
    prior_batches: int = 24
    prior_steps: int = 4000
    perceptual: float = 10.0
    mass: float = 0.0
    quantise_from: float = 0.0
    divergence: float = 1e-4
    temperature: float = 1 / 16
    rate_weights: dict[str, list[float]] = field(default_factory=dict)
    card: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def read(cls, path: Path) -> TrainingConfig:
        """From a JSON file.

        Raises:
            FormatError: it is not JSON, or has a key that is not a field.
        """
        try:
            return cls(**json.loads(path.read_text()))
        except (OSError, ValueError, TypeError) as error:
            raise FormatError(
                f"{path}: expected a training configuration in JSON: {error}"
            ) from error


class Trainer:
    """Trains one slot model; a run that was stopped goes on from its last checkpoint.

    Args:
        config: of the run.
        train, val: motion; ``val`` is only looked at.
        folder: for checkpoint.pt and log.jsonl.
        device: ``cpu`` or ``cuda``.
        start: weights to start from instead of principal components.
    """

    model: SlotVQGAN
    average: SlotVQGAN
    val_windows = 192

    def __init__(
        self,
        config: TrainingConfig,
        train: Motion,
        val: Motion | None,
        folder: Path,
        device: str = "cpu",
        start: Network | None = None,
    ) -> None:
        torch.manual_seed(config.seed)
        self.config, self.folder, self.device = config, folder, torch.device(device)
        folder.mkdir(parents=True, exist_ok=True)
        shape = self._shape(start)
        self.model = self._network(shape).to(self.device)
        train = train.to(self.device)
        self.windows = Windows(
            train, shape.dims, config.frames, Augmentation(**config.augmentation), config.seed
        )
        self.val = None
        if val is not None:
            # 2D is evaluated on projections too: cameras drawn once, no noise, and by the CPU, so
            # that runs on any device are judged by the same windows.
            self.val = Windows(val, shape.dims, config.frames, NO_AUGMENTATION, 1).batch(
                self.val_windows
            )
        self.step = 0
        self.seconds = 0.0
        if not has_checkpoint(folder):
            self._begin(train, start)
        self.average = self._network(shape).to(self.device).eval()
        self.average.load_state_dict(self.model.state_dict())
        self.discriminator = Discriminator(self._channels()).to(self.device)
        self.optimizer = torch.optim.AdamW(
            self.model.parameters(),
            config.learning_rate,
            betas=(0.9, 0.99),
            weight_decay=config.weight_decay,
        )
        self.judge = torch.optim.Adam(self.discriminator.parameters(), 2e-4, betas=(0.5, 0.9))
        if has_checkpoint(folder):
            load_checkpoint(self)

    def _shape(self, start: Network | None) -> AnyConfig:
        """What is trained: the configured shape, or that of the weights to start from."""
        return read_config(json.dumps(self.config.model)) if start is None else start.config

    def _network(self, shape: AnyConfig) -> Any:
        return build_network(shape, self.config.dropout)

    def _channels(self) -> int:
        """Of the volumes that the discriminator sees."""
        return self.model.config.joints * self.model.config.planes

    def _quantizers(self) -> list[SlotQuantizer]:
        """Of the model, in order."""
        return [coder.quantizer for coder in self.model.levels]

    def _begin(self, train: Motion, start: Network | None) -> None:
        """The first step's model: from weights, or from principal components."""
        shape, config = self.model.config, self.config
        if start is not None:
            self.model.load_state_dict(start.state_dict())
            for quantizer in self._quantizers():
                if shape.lapped:
                    # Files have shares; training keeps counts, about 100 windows of them.
                    share = quantizer.usage / quantizer.usage.sum(-1, keepdim=True)
                    quantizer.usage.copy_(100 * share)
                quantizer.restart()
            return
        calm = Windows(
            train, shape.dims, config.frames,
            Augmentation(**{**config.augmentation, "absent": 0, "absent_2d": 0, "gap": 0}),
            config.seed + 1,
        )  # fmt: skip
        noisy, seen, _ = calm.batch(config.start_windows)
        errors = start_from_components(self.model, noisy, seen)
        self._log(start_rms=[round(error, 4) for error in errors])

    def _log(self, **figures: Any) -> None:
        line = json.dumps({"step": self.step, "seconds": round(self.seconds), **figures})
        print(line, flush=True)
        with open(self.folder / "log.jsonl", "a") as log:
            log.write(line + "\n")

    def _autocast(self) -> torch.autocast:
        bf16 = self.config.precision == "bfloat16"
        return torch.autocast(self.device.type, torch.bfloat16, enabled=bf16)

    def _rate(self) -> float:
        c = self.config
        if self.step < c.warmup:
            return c.learning_rate * (self.step + 1) / c.warmup
        done = (self.step - c.warmup) / max(c.steps - c.warmup, 1)
        return c.learning_rate * (0.01 + 0.99 * (1 + math.cos(math.pi * min(done, 1))) / 2)

    def train(self) -> dict[str, Any]:
        """Runs to the last step; returns the last evaluation's figures."""
        figures: dict[str, Any] = {}
        if self.step >= self.config.steps and self.val is not None:
            figures = self.evaluate()
        while self.step < self.config.steps:
            began = time.perf_counter()
            losses = self.train_step()
            self.step += 1
            self.seconds += time.perf_counter() - began
            if self.step % self.config.evaluate_every == 0 or self.step == self.config.steps:
                figures = self.evaluate() if self.val is not None else {}
                self._log(**losses, **figures)
                save_checkpoint(self)
        return figures

    def train_step(self) -> dict[str, float]:
        """One step; returns its losses."""
        c = self.config
        for group in self.optimizer.param_groups:
            group["lr"] = self._rate()
        self.model.train()
        total, losses = self._losses(*self.windows.batch(c.batch))
        self.optimizer.zero_grad(set_to_none=True)
        total.backward()
        norm = torch.nn.utils.clip_grad_norm_(self.model.parameters(), c.clip)
        # A step that overflows is not taken: one would spoil everything after it.
        if bool(norm.isfinite()):
            self.optimizer.step()
        with torch.no_grad():
            decay = min(c.average, (1 + self.step) / (10 + self.step))
            for mean, now in zip(self.average.parameters(), self.model.parameters()):
                mean.lerp_(now, 1 - decay)
            for kept, current in zip(self.average.buffers(), self.model.buffers()):
                kept.copy_(current)
        return losses

    def _losses(
        self, noisy: Tensor, seen: Tensor, truth: Tensor
    ) -> tuple[Tensor, dict[str, float]]:
        """Of a batch: what is minimised, and what is logged."""
        c = self.config
        depth = len(self.model.config.levels)
        rows = [c.batch] * (depth - 1) + [max(1, int(c.batch * c.fine_share))]
        with self._autocast():
            out = self.model(noisy, seen, rows)
        losses = {}
        total: Tensor = torch.zeros((), device=self.device)
        reconstruction = []
        for i, (found, linear, commitment) in enumerate(out):
            n = len(found)
            position = position_loss(found, truth[:n], seen[:n])
            velocity = velocity_loss(found, truth[:n], seen[:n])
            reconstruction.append(position + c.velocity * velocity)
            if self.model.config.lapped:
                total = total + c.linear * position_loss(linear, truth[:n], seen[:n]) * (3.0**i)
            # Squared distances of latents fall by orders of magnitude from level to level; as a
            # share of the position loss the commitment weighs the same at each.
            share = c.commitment * position.detach() / (commitment.detach() + 1e-9)
            # A distance that shrinks by level would leave the fine levels' gradients behind.
            total = total + (reconstruction[-1] + share * commitment) * (3.0**i)
            losses[f"l{i}"] = round(float(position.detach()) * 1000, 2)
        if self.step >= c.adversarial_from * c.steps:
            level = self.step % depth
            found = out[level][0]
            n = min(c.adversarial_rows, len(found))
            begin = int(torch.randint(max(found.shape[1] - 32, 1), ()))
            cut = slice(begin, begin + 32)
            there = (seen[:n, cut] > 0).float()
            fake = splat(found[:n, cut], there, size=32, sigma=1.0)
            real = splat(truth[:n, cut], there, size=32, sigma=1.0)
            last = self.model.levels[level].dec_out.weight
            adversarial, judged = self._adversarial(
                stacked(fake), stacked(real), reconstruction[level], last
            )
            total = total + adversarial * (3.0**level)
            losses["judge"] = round(judged, 3)
        return total, losses

    def _adversarial(
        self, fake: Tensor, real: Tensor, reconstruction: Tensor, last: Tensor
    ) -> tuple[Tensor, float]:
        """The weighted generator loss of (B, C, T, H, W) volumes, after a step of the
        discriminator; ``last`` is the decoder's last layer."""
        with self._autocast():
            judged = hinge_discriminator_loss(
                self.discriminator(real).float(), self.discriminator(fake.detach()).float()
            )
        self.judge.zero_grad(set_to_none=True)
        judged.backward()
        self.judge.step()
        with self._autocast():
            loss = -self.discriminator(fake).float().mean()
        weight = adaptive_weight(reconstruction, loss, last, self.config.adversarial_most)
        return self.config.adversarial_weight * weight * loss, float(judged.detach())

    @torch.no_grad()
    def evaluate(self) -> dict[str, Any]:
        """Averaged weights on val windows: mean error by preset (thousandths of a body unit: mm on
        a person of the reference size), bits a second under the codes' running usage, and
        perplexity of the slots (least, median)."""
        assert self.val is not None
        noisy, seen, truth = (x.to(self.device) for x in self.val)
        depth = len(self.average.config.levels)
        figures: dict[str, Any] = {}
        error, perplexity, bits = [], [], []
        for i in range(depth):
            tokens = self.average.tokenize(noisy, seen, i + 1)
            found = self.average.detokenize(tokens)
            distance = (found - truth).norm(dim=-1)
            error.append(round(float((distance * (seen > 0)).sum() / (seen > 0).sum()) * 1000, 2))
            coder = self.average.levels[i]
            spread = coder.quantizer.perplexity()
            perplexity.append([round(float(spread.min())), round(float(spread.median()))])
            total = sum(
                float(
                    one.quantizer.lengths()
                    .gather(1, chosen.flatten(0, 1).T)
                    .sum(dtype=torch.float64)
                )
                for one, chosen in zip(self.average.levels, tokens)
            )
            bits.append(round(total * MODEL_RATE / noisy[..., 0, 0].numel()))
        figures["val"] = error
        figures["bit_s"] = bits
        figures["perplexity"] = perplexity
        return figures

    def state(self) -> dict[str, Any]:
        """All that a checkpoint keeps."""
        return {
            "config": asdict(self.config),
            "step": self.step,
            "seconds": self.seconds,
            "model": self.model.state_dict(),
            "sums": [quantizer.sums for quantizer in self._quantizers()],
            "average": self.average.state_dict(),
            "discriminator": self.discriminator.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "judge": self.judge.state_dict(),
            "windows": self.windows.generator.get_state(),
            "torch": torch.get_rng_state(),
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Inverse of :meth:`state`."""
        self.step, self.seconds = state["step"], state["seconds"]
        self.model.load_state_dict(state["model"])
        for quantizer, sums in zip(self._quantizers(), state["sums"]):
            quantizer.sums.copy_(sums)
        self.average.load_state_dict(state["average"])
        self.discriminator.load_state_dict(state["discriminator"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.judge.load_state_dict(state["judge"])
        drawn = state["windows"]
        if drawn.shape == self.windows.generator.get_state().shape:
            self.windows.generator.set_state(drawn)
        else:
            # The run began on another kind of device, whose generators are not ours.
            self.windows.generator.manual_seed(self.config.seed + self.step)
        torch.set_rng_state(state["torch"])
