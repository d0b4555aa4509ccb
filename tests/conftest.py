"""Clips that several tests use: small, real, and in the repository."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import settings

from motioncodec.clip import Clip
from motioncodec.io import read_clip
from motioncodec.skeleton import find_skeleton

if TYPE_CHECKING:
    from motioncodec.training.data import Motion

# In CI the same examples every time, so that a change is judged by what it changes; new ones are
# looked for wherever else the tests run.
settings.register_profile("ci", derandomize=True)
settings.register_profile("long", max_examples=400)
settings.load_profile(
    os.environ.get("HYPOTHESIS_PROFILE", "ci" if os.environ.get("CI") else "default")
)

DATA = Path(__file__).parent / "data"


@pytest.fixture(scope="session")
def capture() -> Clip:
    """A real 3D capture: a somersault at 30 frames a second, spine and head missing throughout."""
    return read_clip(DATA / "npz" / "cmu_49_08.npz")


@pytest.fixture(scope="session")
def walk() -> Clip:
    """A real BVH walk: 38 keypoints, 18 of which no model covers."""
    return read_clip(DATA / "bvh" / "cmu_12_01_walk.bvh")


@pytest.fixture(scope="session")
def detections() -> Clip:
    """Real OpenPose detections of one camera: several people, confidence, missing joints."""
    return read_clip(DATA / "openpose", frame_rate=60)


@pytest.fixture(scope="session")
def motion() -> Motion:
    """What training draws windows from: the captures in tests/data/npz."""
    import torch

    from motioncodec.training.data import load_motion

    torch.set_num_threads(1)
    return load_motion([read_clip(path) for path in sorted((DATA / "npz").glob("*.npz"))])


@pytest.fixture
def stick() -> Clip:
    """A person of the reference size who sways for two seconds at 30 frames a second."""
    height = {
        "pelvis": (0, 0.95), "spine": (0, 1.05), "chest": (0, 1.25), "neck": (0, 1.4),
        "head": (0, 1.55), "head_top": (0, 1.7),
        "left_shoulder": (-0.17, 1.38), "left_elbow": (-0.2, 1.1), "left_wrist": (-0.2, 0.9),
        "left_hip": (-0.09, 0.93), "left_knee": (-0.1, 0.5), "left_ankle": (-0.1, 0.08),
        "left_toe": (-0.1, 0.03),
    }  # fmt: skip
    skeleton = find_skeleton("canonical-20")
    points = np.zeros((60, 1, 20, 3))
    t = np.arange(60) / 30
    for joint, name in enumerate(skeleton.joints):
        x, y = height[name.replace("right", "left")]
        points[:, 0, joint, 0] = (-x if name.startswith("right") else x) + 0.1 * np.sin(3 * t) * y
        points[:, 0, joint, 1] = y
        points[:, 0, joint, 2] = 0.15 if name.endswith("toe") else 0.05 * np.cos(2 * t) * y
    return Clip(points, 30, skeleton)
