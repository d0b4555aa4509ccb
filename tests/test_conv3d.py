"""The conv3d family: shapes, reach, drawings, bottlenecks, training, and files made with it."""

from __future__ import annotations

import io
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from test_training import check_that_it_goes_on
from test_training import config as slots_config

from motioncodec.clip import Clip
from motioncodec.codec import Decoder, Settings, encode_clip
from motioncodec.errors import UsageError
from motioncodec.heatmap.rendering import to_pixels
from motioncodec.io import read_clip
from motioncodec.model.config import Config, Conv3dConfig, read_config
from motioncodec.model.conv3d import Attention, Conv3dVQGAN, GumbelQuantizer
from motioncodec.model.moments import splat, splat_limbs, stacked
from motioncodec.model.weights import build_network, find_weights, pack_tensors, unpack_tensors
from motioncodec.skeleton import CANONICAL_PARENTS
from motioncodec.training.data import Motion
from motioncodec.training.export import export
from motioncodec.training.losses import volume_loss
from motioncodec.training.trainer import Trainer, TrainingConfig
from motioncodec.training.volumes import VolumeTrainer, trainer_of

DATA = Path(__file__).parent / "data"
SMALL = Conv3dConfig(
    preset="f8", codes=16, latent=4, size=32, sigma=1.0, widths=(8, 8, 16, 16, 16), heads=2
)


def config(**changes: object) -> TrainingConfig:
    shape = {**json.loads(SMALL.to_json()), **changes.pop("model", {})}  # type: ignore[dict-item]
    fields = {"model": shape, "batch": 2, "frames": 32, "start_windows": 8, "clip": 10.0}
    return slots_config(**{**fields, **changes})


def pose(dims: int, frames: int = 64, rows: int = 1) -> torch.Tensor:
    """Smooth centres inside the volume."""
    generator = torch.Generator().manual_seed(3)
    ends = torch.rand(rows, 9, 20 * dims, generator=generator) * 1.8 - 0.9
    line = torch.nn.functional.interpolate(ends.transpose(1, 2), frames, mode="linear")
    return line.transpose(1, 2).unflatten(-1, (20, dims))


# -- configuration -----------------------------------------------------------------------------


@pytest.mark.parametrize(("preset", "grid"), [("f8", 8), ("f16", 4), ("f32", 2)])
def test_presets_are_the_papers_factors(preset: str, grid: int) -> None:
    shape = Conv3dConfig(preset=preset)
    assert (shape.grid, shape.window) == (grid, int(preset[1:]))
    assert shape.levels[0].slots == grid**2
    assert shape.presets == (preset,)


def test_a_configuration_comes_back_from_json() -> None:
    shape = replace(SMALL, trunk="transformer", dims=2)
    assert read_config(shape.to_json()) == shape
    assert isinstance(read_config(Config().to_json()), Config)


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        ({"preset": "f4"}, "preset"),
        ({"size": 40, "preset": "f16"}, "size: expected a multiple of 16"),
        ({"widths": [8, 8]}, "widths: expected 4"),
        ({"bottleneck": "magic"}, "bottleneck"),
        ({"family": "conv4d"}, "family: expected conv3d or slots"),
    ],
)
def test_a_configuration_that_cannot_be_is_refused(fields: dict[str, object], told: str) -> None:
    with pytest.raises(ValueError, match=told):
        read_config(json.dumps({"family": "conv3d", **fields}))


# -- network -----------------------------------------------------------------------------------


@pytest.mark.parametrize("preset", ["f8", "f16", "f32"])
@pytest.mark.parametrize("dims", [2, 3])
@pytest.mark.parametrize("drawing", ["joints", "limbs"])
def test_what_goes_in_comes_out_in_shape(preset: str, dims: int, drawing: str) -> None:
    """F32 too, which the paper's released code does not give back in its size."""
    shape = replace(SMALL, preset=preset, dims=dims, drawing=drawing)
    network = Conv3dVQGAN(shape).eval()
    volume = network.draw(pose(dims), torch.ones(1, 64, 20))
    assert volume.shape == (1, shape.channels, 64, 32, 32)
    tokens = network.tokenize_volume(volume)
    assert tokens.shape == (1, 64 // shape.factor, shape.grid**2)
    assert network.detokenize_volume([tokens]).shape == volume.shape
    assert network(volume).volume.shape == volume.shape


def test_keypoints_are_tokenized_as_their_volume_is() -> None:
    network = Conv3dVQGAN(SMALL).eval()
    centres, peaks = pose(3), torch.ones(1, 64, 20)
    (tokens,) = network.tokenize(centres, peaks)
    assert torch.equal(tokens, network.tokenize_volume(network.draw(centres, peaks)))
    volume = network.detokenize_volume([tokens])
    torch.testing.assert_close(network.detokenize([tokens]), network.locate(volume))


def stirred(shape: Conv3dConfig) -> Conv3dVQGAN:
    """A network whose attention, which starts as nothing, does something."""
    torch.manual_seed(0)
    network = Conv3dVQGAN(shape).eval()
    for module in network.modules():
        if isinstance(module, Attention):
            torch.nn.init.normal_(module.out.weight, std=0.3)
            torch.nn.init.normal_(module.place, std=0.5)
    return network


@pytest.mark.parametrize("trunk", ["convolution", "transformer"])
@pytest.mark.parametrize("preset", ["f8", "f16"])
def test_nothing_looks_further_than_the_margin(trunk: str, preset: str) -> None:
    shape = replace(SMALL, preset=preset, trunk=trunk, reach=1)
    network = stirred(shape).double()
    steps = 2 * shape.margin // shape.window + 5
    centres = pose(3, steps * shape.window).double()
    peaks = torch.ones(*centres.shape[:3], dtype=torch.float64)
    middle = steps // 2
    moved = centres.clone()
    moved[:, : middle * shape.window - shape.margin] *= 0.5
    moved[:, (middle + 1) * shape.window + shape.margin :] *= 0.5
    with torch.no_grad():
        found = [network.encode(network.draw(c, peaks)) for c in (centres, moved)]
        assert not torch.equal(found[0], found[1])
        torch.testing.assert_close(found[0][:, middle], found[1][:, middle])
        vectors = torch.randn(1, steps, shape.grid**2, shape.latent, dtype=torch.float64)
        other = vectors.clone()
        reach = shape.margin // shape.window
        other[:, : middle - reach] += 1
        other[:, middle + 1 + reach :] += 1
        frames = slice(middle * shape.window, (middle + 1) * shape.window)
        torch.testing.assert_close(
            network.decode(vectors)[:, :, frames], network.decode(other)[:, :, frames]
        )


def test_long_clips_in_pieces_are_as_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    network = stirred(SMALL).double()
    centres = pose(3, 320).double()
    peaks = torch.ones(*centres.shape[:3], dtype=torch.float64)
    whole = network.tokenize(centres, peaks)
    points = network.detokenize(whole)
    monkeypatch.setattr("motioncodec.model.conv3d.PIECE", 64)
    assert torch.equal(network.tokenize(centres, peaks)[0], whole[0])
    torch.testing.assert_close(network.detokenize(whole), points)


@pytest.mark.parametrize("dims", [2, 3])
def test_peaks_are_located_to_a_fraction_of_a_pixel(dims: int) -> None:
    network = Conv3dVQGAN(replace(SMALL, dims=dims))
    network.mean.fill_(0.25)
    centres, peaks = pose(dims, 16, 2), torch.ones(2, 16, 20)
    peaks[0, 3, 5] = 0
    found = network.locate(network.draw(centres, peaks))
    apart = (to_pixels(found, 32) - to_pixels(centres, 32)).abs()
    assert float(apart[peaks > 0].max()) < 0.1
    assert bool((found[0, 3, 5] == 0.25).all())


def test_limbs_are_drawn_as_by_hand() -> None:
    centres, peaks = pose(3, 2), torch.ones(1, 2, 20)
    peaks[0, 0, 4] = 0
    peaks[0, 1, 7] = 0.5
    found = splat_limbs(centres, peaks, 24, 1.2)
    assert found.shape == (1, 2, 1, 3, 24, 24)
    pixels = to_pixels(centres, 24).numpy()
    for frame in range(2):
        expected = np.zeros((24, 24))
        for joint, parent in enumerate(CANONICAL_PARENTS):
            if parent < 0:
                continue
            a, b = pixels[0, frame, parent, :2], pixels[0, frame, joint, :2]
            for v, u in np.ndindex(24, 24):
                share = np.clip(np.dot([u, v] - a, b - a) / np.dot(b - a, b - a), 0, 1)
                away = np.linalg.norm([u, v] - a - share * (b - a))
                height = float(torch.minimum(peaks[0, frame, joint], peaks[0, frame, parent]))
                value = height * np.exp(-(away**2) / (2 * 1.2**2))
                expected[v, u] = max(expected[v, u], value)
        np.testing.assert_allclose(found[0, frame, 0, 0], expected, atol=1e-4)


def test_a_model_of_limbs_has_no_keypoints() -> None:
    network = Conv3dVQGAN(replace(SMALL, drawing="limbs"))
    with pytest.raises(ValueError, match="draws joints"):
        network.locate(torch.zeros(1, 3, 8, 32, 32))


def test_the_dvaes_codes_are_mixtures_in_training_alone() -> None:
    torch.manual_seed(0)
    bottleneck = GumbelQuantizer(8, 4)
    latents = torch.randn(50, 4)
    bottleneck.start(torch.randn(8, 4), latents)
    bottleneck.eval()
    vectors, divergence = (x.detach() for x in bottleneck(latents))
    nearest = torch.cdist(latents, bottleneck.codebook).argmin(-1)
    torch.testing.assert_close(vectors, bottleneck.codebook[nearest])
    assert 0 < float(divergence) <= np.log(8) + 1e-5
    bottleneck.train()
    mixed, _ = bottleneck(latents)
    assert not any(bool((row == bottleneck.codebook).all(-1).any()) for row in mixed)
    torch.nn.init.zeros_(bottleneck.logits.weight)
    torch.nn.init.zeros_(bottleneck.logits.bias)
    assert float(bottleneck(latents)[1]) == pytest.approx(0, abs=1e-5)


def test_weights_in_a_file_are_nearly_those_in_training() -> None:
    network = build_network(SMALL)
    state = {name: value.numpy() for name, value in network.state_dict().items()}
    packed = pack_tensors(state)
    assert packed["decoder.0.weight"].dtype == np.int8
    back = unpack_tensors(packed)
    assert back.keys() == state.keys()
    for name, value in state.items():
        np.testing.assert_allclose(back[name], value, atol=np.abs(value).max() / 100)


def by_the_format(shape: Conv3dConfig, tensors: dict[str, np.ndarray], tokens: np.ndarray) -> Any:
    """What FORMAT.md 9.2 says of (steps, slots) tokens, in NumPy: (steps x F, 20, dims)."""
    from scipy.special import erf

    f, s = shape.factor, shape.grid

    def silu(x: Any) -> Any:
        return x / (1 + np.exp(-x))

    def norm(x: Any, name: str) -> Any:
        parts = x.reshape(8, -1, *x.shape[1:])
        mean = parts.mean((1, 3, 4), keepdims=True)
        spread = parts.var((1, 3, 4), keepdims=True)
        flat = ((parts - mean) / np.sqrt(spread + 1e-5)).reshape(x.shape)
        weight, bias = (tensors[f"{name}.norm.{part}"] for part in ("weight", "bias"))
        return flat * weight[:, None, None, None] + bias[:, None, None, None]

    def conv(x: Any, name: str) -> Any:
        kernel, bias = tensors[f"{name}.weight"], tensors[f"{name}.bias"]
        edge = kernel.shape[-1] // 2
        padded = np.pad(x, ((0, 0), *[(edge, edge)] * 3))
        out = bias[:, None, None, None] * np.ones((1, *x.shape[1:]))
        for i, j, k in np.ndindex(*kernel.shape[2:]):
            part = padded[:, i : i + x.shape[1], j : j + x.shape[2], k : k + x.shape[3]]
            out = out + np.einsum("oc,cthw->othw", kernel[:, :, i, j, k], part)
        return out

    def up(x: Any, name: str) -> Any:
        kernel, bias = tensors[f"{name}.weight"], tensors[f"{name}.bias"]
        _, t, h, w = x.shape
        out = np.zeros((kernel.shape[1], 2 * t, 2 * h, 2 * w))
        for i, j, k in np.ndindex(2, 2, 2):
            out[:, i::2, j::2, k::2] = np.einsum("co,cthw->othw", kernel[:, :, i, j, k], x)
        return out + bias[:, None, None, None]

    def resnet(x: Any, name: str) -> Any:
        y = conv(silu(norm(x, f"{name}.layers.0")), f"{name}.layers.2")
        return x + conv(silu(norm(y, f"{name}.layers.3")), f"{name}.layers.5")

    def attention(x: Any, name: str, reach: int) -> Any:
        c, t, h, w = x.shape
        rows = norm(x, f"{name}.norm").reshape(c, t, h * w).transpose(1, 2, 0)
        asked = rows @ tensors[f"{name}.ask.weight"].T + tensors[f"{name}.ask.bias"]
        q, key, value = np.split(asked.reshape(t, h * w, 3 * shape.heads, -1), 3, axis=2)
        out = np.zeros_like(rows)
        for step in range(t):
            near = range(max(step - reach, 0), min(step + reach + 1, t))
            found = []
            for head in range(shape.heads):
                scores = [
                    q[step, :, head] @ key[n, :, head].T / np.sqrt(c / shape.heads)
                    + tensors[f"{name}.place"][head]
                    + tensors[f"{name}.apart"][head, step - n + reach]
                    for n in near
                ]
                weights = np.exp(np.concatenate(scores, 1))
                weights /= weights.sum(1, keepdims=True)
                found.append(weights @ np.concatenate([value[n, :, head] for n in near]))
            mixed = np.concatenate(found, 1)
            out[step] = mixed @ tensors[f"{name}.out.weight"].T + tensors[f"{name}.out.bias"]
        return x + out.transpose(2, 0, 1).reshape(x.shape)

    x = tensors["quantizer.codebook"][0][tokens].reshape(-1, s, s, shape.latent)
    x = conv(x.transpose(3, 0, 1, 2), "decoder.0")
    for i in range(2 * shape.blocks + (shape.trunk == "convolution")):
        name = f"decoder.1.{i}"
        if shape.trunk == "transformer":
            x = attention(x, f"{name}.attention", shape.reach)
            y = conv(norm(x, f"{name}.pointwise.0"), f"{name}.pointwise.1")
            x = x + conv(y * 0.5 * (1 + erf(y / 2**0.5)), f"{name}.pointwise.3")
        elif i == shape.blocks:
            x = attention(x, name, 0)
        else:
            x = resnet(x, name)
    module = 2
    for _ in range(shape.halvings - 1):
        x = up(x, f"decoder.{module}")
        for block in range(shape.blocks):
            x = resnet(x, f"decoder.{module + 1 + block}")
        module += 1 + shape.blocks
    volume = np.clip(up(x, f"decoder.{module}"), 0, 1)
    assert volume.shape[1:] == (f * len(tokens), shape.size, shape.size)
    out = np.zeros((volume.shape[1], 20, shape.dims))
    reach = round(3 * shape.sigma)
    pairs = [(0, 1), (2, 1), (0, 2)] if shape.dims == 3 else [(0, 1)]
    for t, j in np.ndindex(*out.shape[:2]):
        total, weight = np.zeros(shape.dims), np.zeros(shape.dims)
        tops = []
        for p, axes in enumerate(pairs):
            plane = volume[len(pairs) * j + p, t]
            top = plane.max()
            row, column = np.argwhere(plane == top)[0]
            mass = np.maximum(plane - top / 10, 0)
            inside = np.zeros_like(mass)
            low, left = max(row - reach, 0), max(column - reach, 0)
            square = np.s_[low : row + reach + 1, left : column + reach + 1]
            inside[square] = mass[square]
            rows, columns = np.indices(plane.shape)
            for axis, at in zip(axes, (columns, rows)):
                total[axis] += top * (inside * at).sum() / max(inside.sum(), 1e-12)
                weight[axis] += top
            tops.append(top)
        pixel = total / np.maximum(weight, 1e-12)
        body = ((pixel + 0.5) / (shape.size / 2) - 1) * 1.28
        out[t, j] = body if max(tops) >= 1e-3 else tensors["mean"][j]
    return out


@pytest.mark.parametrize(("name", "most"), [("conv3d-3d-f8", 250.0), ("slots-3d-2", 40.0)])
def test_what_ships_encodes_a_capture(name: str, most: float) -> None:
    """A test of the weights: it is no match for the default, but no mean pose either."""
    clip = read_clip(DATA.parents[1] / "examples" / "cmu_135_07.npz")
    part = replace(clip, keypoints=clip.keypoints[:256], confidence=None)
    decoded = round_trip(part, Settings("f8", model=name))
    off = np.linalg.norm(decoded.keypoints - part.keypoints, axis=-1) * 1000
    assert float(np.nanmean(off)) < most


@pytest.mark.parametrize("trunk", ["convolution", "transformer"])
@pytest.mark.parametrize("dims", [2, 3])
def test_it_decodes_as_the_format_says(trunk: str, dims: int) -> None:
    shape = replace(SMALL, trunk=trunk, dims=dims, widths=(8, 16, 16), reach=1)
    network = stirred(shape).double()
    torch.nn.init.constant_(network.decoder.last.bias, 0.3)
    tokens = torch.randint(shape.codes, (1, 4, shape.grid**2))
    tensors = {name: value.numpy() for name, value in network.state_dict().items()}
    expected = by_the_format(shape, tensors, tokens[0].numpy())
    np.testing.assert_allclose(network.detokenize([tokens])[0].numpy(), expected, atol=1e-6)


# -- training ----------------------------------------------------------------------------------


def test_the_loss_is_nothing_for_what_is_right_and_grows() -> None:
    volume = stacked(splat_limbs(pose(3, 8), torch.ones(1, 8, 20), 32, 1.0))
    assert float(volume_loss(volume, volume, mass=1.0)) == 0
    small, large = volume * 0.9, volume * 0.5
    assert 0 < float(volume_loss(small, volume)) < float(volume_loss(large, volume))
    plain = float(volume_loss(small, volume, perceptual=0))
    assert plain == pytest.approx(0.1, rel=1e-3)


def test_mass_draws_a_peak_from_far_away() -> None:
    """Without it a peak that lies elsewhere does not get nearer by moving a little."""
    ones = torch.ones(1, 1, 1)
    truth = stacked(splat(torch.zeros(1, 1, 1, 2), ones, 32, 1.0))

    def loss(at: float, mass: float) -> float:
        far = stacked(splat(torch.full((1, 1, 1, 2), at), ones, 32, 1.0))
        return float(volume_loss(far, truth, 0.0, mass))

    assert loss(0.9, 0.0) == pytest.approx(loss(0.7, 0.0), rel=1e-3)
    assert loss(0.9, 1.0) > 1.05 * loss(0.2, 1.0)


def test_the_family_chooses_the_trainer() -> None:
    assert trainer_of(config()) is VolumeTrainer
    assert trainer_of(slots_config()) is Trainer


@pytest.mark.parametrize("drawing", ["joints", "limbs"])
def test_a_stopped_run_goes_on_as_if_it_had_not(
    motion: Motion, tmp_path: Path, drawing: str
) -> None:
    """With codes that start half-way, and a discriminator that starts later still."""
    how = config(
        model={"drawing": drawing}, quantise_from=0.4, steps=6, adversarial_from=0.6,
        evaluate_every=6,
    )  # fmt: skip
    figures = check_that_it_goes_on(VolumeTrainer, how, motion, tmp_path, stop=3)
    assert ("val" in figures) == (drawing == "joints")


@pytest.mark.parametrize("bottleneck", ["vq", "gumbel", "none"])
def test_arms_start_from_the_same_autoencoder(
    motion: Motion, tmp_path: Path, bottleneck: str
) -> None:
    trunk = VolumeTrainer(config(model={"bottleneck": "none"}), motion, None, tmp_path / "trunk")
    how = config(model={"bottleneck": bottleneck}, steps=2, evaluate_every=2)
    arm = VolumeTrainer(how, motion, motion, tmp_path / "arm", start=trunk.average)
    for name, value in trunk.average.encoder.state_dict().items():
        assert torch.equal(value, arm.model.encoder.state_dict()[name])
    if bottleneck == "vq":
        assert float(arm.model.quantizer.perplexity()) > 2
    assert arm.train()["l1"] > 0
    assert arm.average.config.bottleneck == bottleneck


def test_training_lowers_the_loss(motion: Motion, tmp_path: Path) -> None:
    how = config(
        model={"drawing": "limbs", "bottleneck": "none", "dims": 2}, steps=40, evaluate_every=40,
        learning_rate=5e-3, adversarial_from=1.0,
    )  # fmt: skip
    trainer = VolumeTrainer(how, motion, motion, tmp_path)
    before = trainer.evaluate()["l1"]
    assert trainer.train()["l1"] < 0.8 * before


# -- files -------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def weights(motion: Motion, tmp_path_factory: pytest.TempPathFactory) -> str:
    """Untrained but whole: what matters is that files come back."""
    folder = tmp_path_factory.mktemp("conv3d")
    trainer = VolumeTrainer(config(name="tiny3"), motion, None, folder)
    path = folder / "tiny3.safetensors"
    prices = {"f8": [0.0]}
    export(trainer.average, motion, path, {"name": "tiny3"}, prices, batches=1, quiet=True)
    return str(path)


def round_trip(clip: Clip, settings: Settings) -> Clip:
    data = io.BytesIO()
    encode_clip(clip, data, settings)
    data.seek(0)
    return Decoder(data, model=settings.model).clip()


def test_files_are_made_and_read_with_it(weights: str, stick: Clip) -> None:
    """The one preset that it has is taken without asking."""
    assert find_weights(weights).config == SMALL
    data = io.BytesIO()
    encode_clip(stick, data, Settings(model=weights))
    data.seek(0)
    decoder = Decoder(data, model=weights)
    assert decoder.verify() == []
    assert decoder.stream.presets == ("f8",)
    tokens = decoder.tokens()
    assert tokens[0].shape[2] == 16
    decoded = decoder.clip()
    assert decoded.keypoints.shape == stick.keypoints.shape
    assert bool((np.isfinite(decoded.keypoints) == np.isfinite(stick.keypoints)).all())
    part = decoder.clip(range(20, 40)).keypoints
    np.testing.assert_allclose(part, decoded.keypoints[20:40], atol=1e-4)


@pytest.mark.parametrize("error", [{"max_error": 20.0}, {"mean_error": 15.0}])
def test_promises_hold_with_it(weights: str, stick: Clip, error: dict[str, float]) -> None:
    decoded = round_trip(stick, Settings(model=weights, **error))  # type: ignore[arg-type]
    off = np.linalg.norm(decoded.keypoints - stick.keypoints, axis=-1) * 1000
    assert float(off.max() if "max_error" in error else off.mean()) <= 20.0


def test_a_preset_that_it_lacks_is_one_line(weights: str, stick: Clip) -> None:
    with pytest.raises(UsageError, match=r"expected a preset that it has \(f8\), found f16"):
        encode_clip(stick, io.BytesIO(), Settings("f16", model=weights))


def test_limbs_are_refused_for_files(motion: Motion, tmp_path: Path, stick: Clip) -> None:
    trainer = VolumeTrainer(config(model={"drawing": "limbs"}), motion, None, tmp_path)
    path = tmp_path / "limbs.safetensors"
    export(trainer.average, motion, path, {}, {"f8": [0.0]}, batches=1, quiet=True)
    with pytest.raises(UsageError, match="draws joints"):
        encode_clip(stick, io.BytesIO(), Settings(model=str(path)))
