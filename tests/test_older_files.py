"""Files of earlier versions, with weights that no longer encode or as spectra: they decode as they
did."""

from __future__ import annotations

import hashlib
import io
from pathlib import Path

import numpy as np
import pytest

import motioncodec
from motioncodec.clip import Clip
from motioncodec.codec import Decoder, Settings, encode_clip, trim
from motioncodec.errors import ModelError
from motioncodec.io import read_clip
from motioncodec.model.weights import find_encoder, shipped

DATA = Path(__file__).parent / "data"
FOLDER = DATA / "mtok"

TOKENS = {
    "patches_f8": ["a2ee8eafeb4239c0", "33cc4ff4a1c4a2e8", "f8ee8f3358dbae08"],
    "patches_2d_f16": ["cd2efe8420c6408e", "5e830a231a59d56d"],
    "patches_bound": ["00974f1c522c718c", "e386d625039c5b47"],
}
"""Of each file's levels, the start of the sha256 of its tokens as 16-bit numbers."""


@pytest.mark.parametrize("name", TOKENS)
def test_tokens_are_what_they_were(name: str) -> None:
    with motioncodec.open(FOLDER / f"{name}.mtok") as recording:
        levels = recording.tokens()
    found = [hashlib.sha256(level.astype("<u2").tobytes()).hexdigest()[:16] for level in levels]
    assert found == TOKENS[name]


@pytest.mark.parametrize(
    ("name", "source", "mean"),
    [
        ("patches_f8", "npz/cmu_49_08.npz", 26.245),
        ("patches_2d_f16", "openpose", 10.317),
        ("patches_bound", "npz/hdm05_kick_left_front_001.npz", 18.029),
        ("spectrum", "npz/cmu_49_08.npz", 11.911),
        ("turning", "npz/cmu_49_08.npz", 34.743),
    ],
)
def test_keypoints_are_as_near_as_they_were(name: str, source: str, mean: float) -> None:
    """Mean error in millimetres or pixels as it was measured when the file was written, to 1 %."""
    clip = read_clip(DATA / source, frame_rate=60 if source == "openpose" else None)
    found = motioncodec.decode(FOLDER / f"{name}.mtok")
    there = np.concatenate([clip.keypoints] * (found.frames // clip.frames))
    if name == "patches_bound":
        assert np.nanmax(np.linalg.norm(found.keypoints - there, axis=-1)) <= 0.08
    apart = np.linalg.norm(found.keypoints - there, axis=-1)
    scale = 1.0 if clip.units == "px" else 1000.0
    assert np.nanmean(apart) * scale == pytest.approx(mean, rel=0.01)


@pytest.mark.parametrize("name", [one.name for one in shipped() if not one.encodes])
def test_weights_that_no_longer_encode_say_so(capture: Clip, name: str) -> None:
    with pytest.raises(ModelError, match=f"model {name}: expected one that encodes .slots-3d-2"):
        find_encoder(name)
    with pytest.raises(ModelError, match="kept to decode older files"):
        encode_clip(capture, io.BytesIO(), Settings(model=name))


def test_trimming_goes_to_weights_that_encode() -> None:
    data = (FOLDER / "patches_f8.mtok").read_bytes()
    source, target = Decoder(io.BytesIO(data)), io.BytesIO()
    trim(source, target, Settings(preset="f32"))
    assert source.header.model_id == 1
    target.seek(0)
    assert Decoder(target).header.model_id == 3
    assert len(target.getvalue()) < len(data) / 2
