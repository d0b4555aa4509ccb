"""The network: stem against closed form, quantiser against brute force, shapes and nesting."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from motioncodec.heatmap.placement import EXTENT
from motioncodec.heatmap.rendering import render_heatmaps, to_pixels
from motioncodec.model.config import PRESETS, Config, Level
from motioncodec.model.moments import MomentStem, splat
from motioncodec.model.quantizer import Rate, SlotQuantizer
from motioncodec.model.vqgan import SlotVQGAN
from motioncodec.model.weights import (
    default_weights,
    pack_tensors,
    shipped,
    unpack_tensors,
)

SMALL = Config(codes=16, latent=4, width=16, blocks=1)


@pytest.mark.parametrize("dims", [2, 3])
def test_the_stem_agrees_with_the_closed_form(dims: int) -> None:
    """Within 1e-4 px wherever the Gaussian lies inside the plane, at any peak height."""
    rng = torch.Generator().manual_seed(0)
    inside = EXTENT * (1 - 2 * 9 / 64)  # 9 px, six sigma, from every border
    centres = (torch.rand(2, 5, 20, dims, generator=rng) * 2 - 1) * inside
    peaks = torch.rand(2, 5, 20, generator=rng) * 0.9 + 0.1
    peaks[0, 0, 3] = 0
    found, mass = MomentStem(dims)(splat(centres, peaks))
    apart = (to_pixels(found, 64) - to_pixels(centres, 64)).abs()[peaks > 0]
    assert float(apart.max()) < 1e-4
    np.testing.assert_allclose(mass / (2 * np.pi * 1.5**2), peaks, atol=1e-5)
    assert not found[0, 0, 3].any()


def test_the_stem_is_linear_in_the_volume() -> None:
    stem = MomentStem(3)
    a, b = torch.rand(2, 1, 1, 2, 3, 64, 64).unbind(0)

    def sums(volume: torch.Tensor) -> torch.Tensor:
        return torch.nn.functional.conv2d(volume.reshape(-1, 1, 64, 64), stem.weight)

    torch.testing.assert_close(sums(2 * a + b), 2 * sums(a) + sums(b), rtol=1e-4, atol=0.2)


@pytest.mark.parametrize("dims", [2, 3])
def test_splat_and_renderer_draw_the_same(dims: int) -> None:
    points = np.random.default_rng(0).uniform(-1, 1, (3, 20, dims))
    drawn = splat(torch.from_numpy(points[None]).float(), torch.ones(1, 3, 20), 48, 2.0)[0]
    rendered = render_heatmaps(points, size=48, sigma=2.0)
    planes = rendered.reshape(20, -1, 3, 48, 48).transpose(2, 0, 1, 3, 4)
    np.testing.assert_allclose(drawn, planes, atol=2e-5)


def test_tokens_from_volume_and_from_keypoints_agree() -> None:
    torch.manual_seed(0)
    network = SlotVQGAN(SMALL).eval()
    centres = (torch.rand(1, 32, 20, 3) * 2 - 1) * 0.7
    peaks = torch.ones(1, 32, 20)
    closed = network.tokenize(centres, peaks, 3)
    dense = network.tokenize_volume(splat(centres, peaks), 3)
    same = sum(int((a == b).sum()) for a, b in zip(closed, dense))
    assert same >= 0.98 * sum(level.numel() for level in closed)


def test_detokenized_volume_peaks_at_the_detokenized_joints() -> None:
    torch.manual_seed(0)
    network = SlotVQGAN(SMALL).eval()
    tokens = [torch.randint(16, (1, 32 // level.stride, level.slots)) for level in SMALL.levels]
    centres = network.detokenize(tokens).clamp(-0.8, 0.8)
    volume = network.detokenize_volume(tokens)
    assert volume.shape == (1, 32, 20, 3, 64, 64)
    back, _ = network.stem(splat(centres, torch.ones(1, 32, 20)))
    torch.testing.assert_close(back, centres, atol=1e-4, rtol=0)


def test_the_paper_s_token_counts() -> None:
    """f32 spends 4 tokens on 32 frames, f16 16 on 16, f8 64 on 8, coarser levels included."""
    levels = Config().levels
    for depth, (preset, tokens, frames) in enumerate(
        [("f32", 4, 32), ("f16", 16, 16), ("f8", 64, 8)], 1
    ):
        assert PRESETS[depth - 1] == preset
        rate = sum(level.slots / level.stride for level in levels[:depth])
        assert rate == tokens / frames


def test_presets_nest() -> None:
    torch.manual_seed(0)
    network = SlotVQGAN(SMALL).eval()
    centres = torch.randn(1, 64, 20, 3) * 0.3
    all_levels = network.tokenize(centres, torch.ones(1, 64, 20), 3)
    for depth in (1, 2):
        coarse = network.tokenize(centres, torch.ones(1, 64, 20), depth)
        for a, b in zip(coarse, all_levels):
            assert torch.equal(a, b)


def test_missing_joints_do_not_leak() -> None:
    """What a missing joint's coordinates hold changes nothing."""
    torch.manual_seed(0)
    network = SlotVQGAN(SMALL).eval()
    centres, peaks = torch.randn(1, 32, 20, 3) * 0.3, torch.ones(1, 32, 20)
    peaks[:, 5:20, 7] = 0
    other = centres.clone()
    other[:, 5:20, 7] = 99.0
    for a, b in zip(network.tokenize(centres, peaks, 3), network.tokenize(other, peaks, 3)):
        assert torch.equal(a, b)


def test_assignment_is_the_nearest_code() -> None:
    torch.manual_seed(0)
    quantizer = SlotQuantizer(3, 16, 4)
    latents = torch.randn(50, 3, 4)
    distance = (latents[:, :, None] - quantizer.codebook[None]).square().sum(-1)
    assert torch.equal(quantizer.assign(latents), distance.argmin(-1))


def test_priced_assignment_minimises_distance_plus_length() -> None:
    torch.manual_seed(0)
    quantizer = SlotQuantizer(2, 8, 4)
    latents = torch.randn(6, 2, 4)
    lengths = torch.rand(2, 3, 8) * 10
    class_of = torch.randint(3, (2, 8))
    free = quantizer.assign_along(latents[None], Rate(0.0, lengths, class_of))[0]
    assert torch.equal(free, quantizer.assign(latents))
    both = torch.stack([latents.flip(0), latents])
    tokens = quantizer.assign_along(both, Rate(0.4, lengths, class_of))[1]
    for slot in range(2):
        kind = 0
        for step in range(6):
            cost = (latents[step, slot] - quantizer.codebook[slot]).square().sum(-1)
            cost = cost + 0.4 * lengths[slot, kind]
            assert int(tokens[step, slot]) == int(cost.argmin())
            kind = int(class_of[slot, tokens[step, slot]])


def test_gradients_pass_straight_through() -> None:
    quantizer = SlotQuantizer(2, 8, 4).eval()
    latents = torch.randn(5, 2, 4, requires_grad=True)
    out = quantizer(latents)
    out.vectors.sum().backward()
    assert latents.grad is not None
    assert torch.equal(latents.grad, torch.ones_like(latents))
    torch.testing.assert_close(out.vectors.detach(), quantizer.lookup(out.tokens))


def test_codebooks_follow_the_data_and_dead_codes_come_back() -> None:
    torch.manual_seed(0)
    quantizer = SlotQuantizer(1, 8, 2)
    data = torch.randn(4096, 1, 2)
    quantizer.start(data)
    quantizer.codebook[0, 3] = 1e3
    quantizer.usage[0, 3] = 0
    quantizer.sums[0, 3] = 0
    data = data + 5
    for _ in range(400):
        quantizer(data[torch.randint(4096, (256,))])
    assert float((data - quantizer.lookup(quantizer.assign(data))).norm(dim=-1).mean()) < 0.7
    assert float(quantizer.codebook.abs().max()) < 12
    assert float(quantizer.perplexity()[0]) > 4


def test_bfloat16_stays_close_to_float32() -> None:
    network = default_weights(3).network("cpu")
    # Codes as often as training chose them: a slot need not have all of them.
    tokens = [
        torch.multinomial(coder.quantizer.usage, 64 // coder.level.stride, True).T[None]
        for coder in network.levels
    ]
    exact = network.detokenize(tokens)
    with torch.autocast("cpu", torch.bfloat16):
        rough = network.detokenize(tokens)
    assert float((rough - exact).norm(dim=-1).mean()) < 0.03


def test_config_survives_json() -> None:
    config = Config(dims=2, codes=128, levels=(Level(16, 3), Level(8, 5)))
    assert Config.from_json(config.to_json()) == config


def test_packed_tensors_are_close_and_packing_again_changes_nothing() -> None:
    torch.manual_seed(0)
    state = {k: v.numpy() for k, v in SlotVQGAN(SMALL).state_dict().items()}
    once = unpack_tensors(pack_tensors(state))
    assert once.keys() == state.keys()
    for name, value in state.items():
        np.testing.assert_allclose(once[name], value, atol=np.abs(value).max() / 200 + 1e-6)
    for name, value in unpack_tensors(pack_tensors(once)).items():
        np.testing.assert_allclose(value, once[name], rtol=2e-3, atol=1e-6)


def test_shipped_weights_keep_within_their_budget() -> None:
    assert sum(weights.path.stat().st_size for weights in shipped()) <= 24_000_000
    assert {weights.config.dims for weights in shipped()} == {2, 3}
    for weights in shipped():
        card = weights.card
        for key in (
            "name",
            "data",
            "attribution",
            "licence",
            "steps",
            "hours",
            "machine",
            "figures",
        ):
            assert card.get(key), f"{weights.name}: model card lacks {key}"
