"""Lapped models: the transform, the linear path, missing joints, and what a search finds."""

from __future__ import annotations

import copy
import io
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from motioncodec.bitstream.network import NetworkPrior
from motioncodec.clip import Clip
from motioncodec.codec import Decoder, Settings, encode_clip
from motioncodec.errors import UsageError
from motioncodec.lapping import analyse, border_filter, synthesise
from motioncodec.model.lapped import LappedTransform
from motioncodec.model.vqgan import LappedCoder, SlotVQGAN
from motioncodec.model.weights import default_weights
from motioncodec.search import EFFORTS, Stretch, search
from motioncodec.stream import priors_of
from motioncodec.training.components import deal_out


@pytest.fixture(scope="module")
def network() -> SlotVQGAN:
    torch.set_num_threads(1)
    return default_weights(3).network("cpu")


def swaying(frames: int) -> tuple[torch.Tensor, torch.Tensor]:
    """(1, T, 20, 3) centres about the mean pose, and peaks."""
    t = torch.arange(frames) / 30
    wave = 0.08 * torch.sin(2.5 * t)[:, None, None] * torch.linspace(-1, 1, 60).view(20, 3)
    mean = default_weights(3).network("cpu").mean
    return (mean + wave)[None], torch.ones(1, frames, 20)


# -- transform -------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [4, 8, 64])
def test_the_filter_about_a_border_is_orthogonal(size: int) -> None:
    matrix = border_filter(size)
    np.testing.assert_allclose(matrix @ matrix.T, np.eye(size), atol=1e-12)


@given(windows=st.integers(1, 5), channels=st.integers(1, 3), seed=st.integers(0, 999))
@settings(deadline=None)
def test_the_transform_keeps_signals_and_distances(windows: int, channels: int, seed: int) -> None:
    transform = LappedTransform(16)
    source = torch.Generator().manual_seed(seed)
    signal = torch.randn(2, windows * 16, channels, generator=source)
    found = transform.analyse(signal)
    assert found.shape == (2, windows, 16, channels)
    torch.testing.assert_close(transform.synthesise(found), signal, atol=1e-5, rtol=0)
    torch.testing.assert_close(found.square().sum(), signal.square().sum(), rtol=1e-4, atol=0)
    same = analyse(signal[0].double().numpy(), 16)
    np.testing.assert_allclose(same, found[0].numpy(), atol=1e-5)
    np.testing.assert_allclose(synthesise(same), signal[0].numpy(), atol=1e-12)


def test_a_slow_motion_is_a_few_coefficients() -> None:
    t = torch.arange(64 * 6) / 30
    signal = torch.sin(2 * t)[None, :, None]
    found = LappedTransform(64).analyse(signal)[0, 1:-1].square().sum((0, 2))
    assert float(found[:10].sum() / found.sum()) > 0.99


def test_coefficients_are_dealt_by_what_they_deserve() -> None:
    variances = 4.0 ** -np.arange(20.0)
    shares = deal_out(variances, slots=4, price=2 * np.log(2) * 4.0**-8, most=5)
    dealt = [c for share in shares for c in share]
    assert dealt == list(range(len(dealt)))
    assert len(shares[0]) == 1
    assert all(len(share) <= 5 for share in shares)
    # Those below the water level get none.
    assert len(dealt) <= 9


# -- coder -----------------------------------------------------------------------------------------


def test_what_a_level_synthesises_it_analyses(network: SlotVQGAN) -> None:
    coder = network.levels[1]
    assert isinstance(coder, LappedCoder)
    tokens = torch.multinomial(coder.quantizer.usage, 3, True).T[None]
    vectors = coder.quantizer.lookup(tokens)
    there = (coder.pick < 64 * 60).float()
    again = coder.analyse(coder.synthesise(vectors))
    torch.testing.assert_close(again * there, vectors * there, atol=2e-4, rtol=1e-4)


def test_squared_distances_of_latents_are_those_of_joints(network: SlotVQGAN) -> None:
    coder = network.levels[0]
    assert isinstance(coder, LappedCoder)
    vectors = torch.randn(1, 2, coder.level.slots, network.config.latent)
    vectors = vectors * (coder.pick < 64 * 60)
    moved = coder.synthesise(vectors)
    torch.testing.assert_close(moved.square().sum(), vectors.square().sum(), rtol=1e-3, atol=0)


def test_missing_joints_are_filled_with_what_the_others_say(network: SlotVQGAN) -> None:
    coder = network.levels[0]
    assert isinstance(coder, LappedCoder)
    # A pose along the first component: what is hidden of it follows from what is not.
    pose = coder.basis[:, 0] * coder.spread[0].sqrt()
    left = pose.expand(1, 64, 60).clone()
    seen = torch.ones(1, 64, 20, dtype=torch.bool)
    assert coder.fill(left, seen) is left
    seen[:, :, 8] = False
    hidden = slice(24, 27)
    spoilt = left.clone()
    spoilt[..., hidden] = 0
    found = coder.fill(spoilt, seen)
    assert torch.equal(found[..., :24], left[..., :24])
    before = float((spoilt - left)[..., hidden].norm())
    assert float((found - left)[..., hidden].norm()) < 0.5 * before


def test_what_is_expected_goes_by_the_basis_as_it_is(network: SlotVQGAN) -> None:
    coder = copy.deepcopy(network.levels[0])
    assert isinstance(coder, LappedCoder)
    left, seen = torch.randn(1, 64, 60), torch.ones(1, 64, 20, dtype=torch.bool)
    seen[:, :, 8] = False
    before = coder.fill(left, seen)
    assert torch.equal(coder.fill(left, seen), before)
    coder.spread.copy_(coder.spread.flip(0))
    assert not torch.equal(coder.fill(left, seen), before)
    exact = coder.double().fill(left.double(), seen)
    assert exact.dtype == torch.float64


def test_the_linear_path_of_a_preset_is_in_the_finer_ones(network: SlotVQGAN) -> None:
    centres, peaks = swaying(192)
    fine = network.tokenize(centres, peaks, 3)
    errors = [
        float((network.detokenize(fine[:depth]) - centres).norm(dim=-1).mean())
        for depth in (1, 2, 3)
    ]
    assert errors[2] < errors[1] < errors[0] < 0.1


# -- search ----------------------------------------------------------------------------------------


def cost(clip: Clip, effort: int, preset: str = "f16") -> tuple[int, float, bytes]:
    data = io.BytesIO()
    size = encode_clip(clip, data, Settings(preset, effort=effort))
    found = Decoder(io.BytesIO(data.getvalue())).clip()
    apart = np.linalg.norm(found.keypoints - clip.keypoints, axis=-1)
    return size, float(np.nanmean(apart)), data.getvalue()


@pytest.mark.parametrize("preset", ["f32", "f16", "f8"])
def test_effort_pays(capture: Clip, preset: str) -> None:
    plain, hard = cost(capture, 1, preset), cost(capture, 6, preset)
    # Error and rate are traded for each other; together they never get worse by more than chance.
    assert hard[1] * hard[0] ** 0.8 < 1.02 * plain[1] * plain[0] ** 0.8


def test_effort_repeats_and_decodes_like_any(capture: Clip) -> None:
    one, other = cost(capture, 5), cost(capture, 5)
    assert one[2] == other[2]
    assert one[2] != cost(capture, 1)[2]


def test_search_leaves_the_neighbours_alone(network: SlotVQGAN) -> None:
    priors = [p for p in priors_of(default_weights(3)) if isinstance(p, NetworkPrior)]
    centres, peaks = swaying(64 * 4)
    nearest = network.tokenize(centres, peaks, 1)[0][0].numpy()
    asked = Stretch(centres, peaks, slice(1, 3))
    ((found,),) = search(network, priors, [asked], 1, EFFORTS[6])
    np.testing.assert_array_equal(found[:1], nearest[:1])
    np.testing.assert_array_equal(found[3:], nearest[3:])


@pytest.mark.parametrize("effort", [2, 3, 5])
def test_stretches_do_not_see_each_other(network: SlotVQGAN, effort: int) -> None:
    priors = [p for p in priors_of(default_weights(3)) if isinstance(p, NetworkPrior)]
    asked = [
        Stretch(*swaying(64 * windows), slice(start, stop))
        for windows, start, stop in ((3, 0, 3), (1, 0, 1), (6, 1, 4))
    ]
    together = search(network, priors, asked, 2, EFFORTS[effort])
    for one, found in zip(asked, together):
        (alone,) = search(network, priors, [one], 2, EFFORTS[effort])
        for a, b in zip(alone, found, strict=True):
            np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("effort", [0, 10, -1])
def test_an_effort_that_is_none_is_refused(stick: Clip, effort: int) -> None:
    with pytest.raises(UsageError, match="effort: expected 1 to 9"):
        encode_clip(stick, io.BytesIO(), Settings(effort=effort))


def test_models_that_cannot_be_searched_ignore_effort(stick: Clip) -> None:
    files = []
    for effort in (1, 9):
        data = io.BytesIO()
        encode_clip(stick, data, Settings(preset="f8", model="conv3d-3d-f8", effort=effort))
        files.append(data.getvalue())
    assert files[0] == files[1]


# -- clips -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("frames", [1, 2, 63, 64, 65, 1023, 1025])
def test_any_length(stick: Clip, frames: int) -> None:
    clip = replace(stick, keypoints=stick.keypoints[np.arange(frames) % 60])
    assert cost(clip, 3)[1] < 0.15


def test_a_part_is_what_the_whole_has_there(capture: Clip) -> None:
    long = replace(capture, keypoints=np.concatenate([capture.keypoints] * 12))
    data = io.BytesIO()
    encode_clip(long, data, Settings("f16"))
    whole = Decoder(io.BytesIO(data.getvalue())).clip()
    part = Decoder(io.BytesIO(data.getvalue())).clip(range(1000, 1100))
    np.testing.assert_allclose(
        part.keypoints, whole.keypoints[1000:1100], atol=2e-4, equal_nan=True
    )
