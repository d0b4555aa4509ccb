"""Training: batches, the start from components, a run that stops and goes on, export."""

from __future__ import annotations

import io
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from motioncodec.clip import Clip
from motioncodec.codec import Decoder, Settings, encode_clip
from motioncodec.errors import FormatError, ModelError
from motioncodec.model.weights import find_weights
from motioncodec.training.augmentation import NO_AUGMENTATION, Augmentation, Windows
from motioncodec.training.checkpoint import save_checkpoint
from motioncodec.training.components import share_out
from motioncodec.training.data import Motion
from motioncodec.training.export import export
from motioncodec.training.losses import (
    adaptive_weight,
    hinge_discriminator_loss,
    position_loss,
    velocity_loss,
)
from motioncodec.training.trainer import Trainer, TrainingConfig

TINY = {"codes": 16, "latent": 4, "width": 16, "blocks": 1}


def config(**changes: object) -> TrainingConfig:
    fields: dict[str, object] = {
        "name": "tiny", "model": TINY, "steps": 8, "batch": 4, "frames": 64, "warmup": 2,
        "adversarial_from": 0.5, "adversarial_rows": 2, "evaluate_every": 4, "precision": "float32",
        "start_windows": 128,
    }  # fmt: skip
    return TrainingConfig(**{**fields, **changes})  # type: ignore[arg-type]


def test_motion_is_about_the_hips_and_faces_one_way(motion: Motion) -> None:
    hips = (motion.points[:, 12] + motion.points[:, 16]) / 2
    assert float(hips.abs().max()) < 1e-5
    across = (motion.points[:, 9] - motion.points[:, 6])[:, 0]
    assert float((across > 0).float().mean()) > 0.8
    assert int(motion.lengths.sum()) == len(motion.points)


@pytest.mark.parametrize("dims", [2, 3])
def test_batches_repeat_and_stay_in_the_volume(motion: Motion, dims: int) -> None:
    first = Windows(motion, dims, 64, Augmentation(), seed=3).batch(16)
    again = Windows(motion, dims, 64, Augmentation(), seed=3).batch(16)
    for a, b in zip(first, again):
        assert torch.equal(a, b)
    centres, peaks, truth = first
    assert centres.shape == truth.shape == (16, 64, 20, dims)
    assert float(peaks.min()) >= 0
    assert float(peaks.max()) <= 1
    assert float(truth[peaks > 0].abs().max()) < 2.0


def test_without_augmentation_windows_are_the_data(motion: Motion) -> None:
    centres, _, truth = Windows(motion, 3, 32, NO_AUGMENTATION, seed=0).batch(4)
    assert torch.equal(centres, truth)
    row = (motion.points - truth[0, 0]).abs().sum((1, 2)).argmin()
    # Windows start between frames; a neighbour is never far.
    assert float((motion.points[row] - truth[0, 0]).abs().max()) < 0.05


def test_bits_are_shared_out_evenly() -> None:
    variances = 2.0 ** -np.arange(64.0)
    shares = share_out(variances, slots=4, bits=8, most=6)
    used = [c for share in shares for c in share]
    assert used == sorted(set(used))
    assert all(1 <= len(share) <= 6 for share in shares)
    assert len(shares[0]) <= len(shares[-1])


def test_losses_by_hand() -> None:
    found = torch.zeros(1, 2, 2, 3)
    truth = torch.zeros(1, 2, 2, 3)
    truth[0, :, 0] = torch.tensor([3.0, 4.0, 0.0])
    seen = torch.ones(1, 2, 2)
    assert float(position_loss(found, truth, seen, soft=1e-6)) == pytest.approx(2.5, rel=1e-4)
    seen[..., 1] = 0
    assert float(position_loss(found, truth, seen, soft=1e-6)) == pytest.approx(5.0, rel=1e-4)
    assert float(velocity_loss(found, truth, seen)) == 0
    assert float(hinge_discriminator_loss(torch.tensor([2.0]), torch.tensor([-2.0]))) == 0
    weight = torch.ones(3, requires_grad=True)
    ratio = adaptive_weight((weight * 6).sum(), (weight * 2).sum(), weight, most=10)
    assert float(ratio) == pytest.approx(3.0, rel=1e-3)


def check_that_it_goes_on(
    kind: type[Trainer], how: TrainingConfig, motion: Motion, folder: Path, stop: int
) -> dict[str, Any]:
    """A run that is stopped after so many steps ends with the weights of one that is not, whose
    figures are returned."""
    whole = kind(how, motion, motion, folder / "whole")
    figures = whole.train()
    first = kind(how, motion, motion, folder / "halves")
    while first.step < stop:
        first.train_step()
        first.step += 1
    save_checkpoint(first)
    second = kind(how, motion, motion, folder / "halves")
    assert second.step == stop
    second.train()
    for (name, a), b in zip(
        whole.average.state_dict().items(), second.average.state_dict().values()
    ):
        torch.testing.assert_close(a, b, msg=name)
    return figures


@pytest.mark.parametrize("dims", [2, 3])
def test_a_stopped_run_goes_on_as_if_it_had_not(motion: Motion, tmp_path: Path, dims: int) -> None:
    how = config(model={**TINY, "dims": dims})
    Trainer(config(model={**TINY, "dims": dims}, steps=8), motion, motion, tmp_path / "halves")
    check_that_it_goes_on(Trainer, how, motion, tmp_path, stop=4)


def test_a_checkpoint_of_another_model_is_refused(motion: Motion, tmp_path: Path) -> None:
    Trainer(config(steps=1, evaluate_every=1), motion, motion, tmp_path).train()
    with pytest.raises(FormatError, match="expected a checkpoint of model"):
        Trainer(config(model={**TINY, "width": 24}), motion, motion, tmp_path)


def test_training_lowers_the_error_and_logs(motion: Motion, tmp_path: Path) -> None:
    calm = {"mix_legs": 0, "mix_arms": 0, "absent": 0, "gap": 0, "limbs": 0}
    how = config(
        steps=60, batch=16, evaluate_every=30, adversarial_from=1.0, learning_rate=3e-3,
        dropout=0.0, augmentation=calm,
    )  # fmt: skip
    trainer = Trainer(how, motion, motion, tmp_path)
    before = trainer.evaluate()["val"]
    after = trainer.train()["val"]
    assert after[1] < before[1]
    lines = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines] == [0, 30, 60]
    assert len(lines[-1]["perplexity"]) == 3


def test_exported_weights_encode_and_decode(motion: Motion, tmp_path: Path, stick: Clip) -> None:
    trainer = Trainer(config(steps=2), motion, None, tmp_path)
    path = tmp_path / "mine.safetensors"
    prices = {"f32": [0.1], "f16": [0.1, 0.1], "f8": [0.1, 0.1, 0.1]}
    export(trainer.average, motion, path, {"name": "mine"}, prices, batches=1, quiet=True)
    weights = find_weights(path)
    assert weights.card == {"name": "mine"}
    data = io.BytesIO()
    encode_clip(stick, data, Settings(model=str(path)))
    data.seek(0)
    with pytest.raises(ModelError, match="name it with --model"):
        Decoder(data).clip()
    data.seek(0)
    decoded = Decoder(data, model=str(path)).clip()
    assert np.linalg.norm(decoded.keypoints - stick.keypoints, axis=-1).mean() < 0.5
    data.seek(0)
    with pytest.raises(ModelError, match="fingerprint"):
        Decoder(data, model="slots-3d-1").clip()


def test_a_lapped_model_trains_exports_and_encodes(
    motion: Motion, tmp_path: Path, stick: Clip
) -> None:
    levels = [{"stride": 64, "slots": n} for n in (8, 16, 24)]
    model = {**TINY, "lapped": True, "prices": [3.0, 0.2, 0.02], "levels": levels}
    how = config(model=model, steps=4, frames=128, evaluate_every=2)
    trainer = Trainer(how, motion, motion, tmp_path)
    figures = trainer.train()
    assert figures["bit_s"][0] < figures["bit_s"][1] < figures["bit_s"][2]
    assert figures["val"][2] < figures["val"][0]
    path = tmp_path / "mine.safetensors"
    export(trainer.average, motion, path, {"name": "mine"}, {}, batches=1, steps=5, quiet=True)
    weights = find_weights(path)
    assert weights.config == trainer.average.config
    data = io.BytesIO()
    encode_clip(stick, data, Settings("f8", model=str(path)))
    data.seek(0)
    decoded = Decoder(data, model=str(path)).clip()
    assert np.linalg.norm(decoded.keypoints - stick.keypoints, axis=-1).mean() < 0.1
    for asked in (Settings(mean_error=20.0), Settings(bitrate=5000.0)):
        data = io.BytesIO()
        size = encode_clip(stick, data, replace(asked, model=str(path)))
        data.seek(0)
        decoded = Decoder(data, model=str(path)).clip()
        off = np.linalg.norm(decoded.keypoints - stick.keypoints, axis=-1).mean() * 1000
        assert off <= 20.0 if asked.mean_error else 8 * size <= 5000 * stick.duration


@pytest.mark.parametrize("text", ["", "[]", '{"name": "a", "stepz": 3}', "{"])
def test_a_broken_configuration_is_one_line(tmp_path: Path, text: str) -> None:
    path = tmp_path / "config.json"
    path.write_text(text)
    with pytest.raises(FormatError, match="expected a training configuration") as error:
        TrainingConfig.read(path)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("name", ["slots-3d", "slots-2d", "smoke"])
def test_shipped_configurations_read(name: str) -> None:
    import motioncodec.training

    folder = Path(motioncodec.training.__file__).parent / "configs"
    config = TrainingConfig.read(folder / f"{name}.json")
    assert config.model.get("prices") or config.rate_weights.keys() == {"f32", "f16", "f8"}
