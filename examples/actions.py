"""Labelled clips of ``examples/hdm05``, as tokens and as keypoints, for the examples that learn.

A clip's name tells who moves and how: ``bd_squat1Reps_004`` is actor bd, a squat. Both kinds of
features are of the same windows, 64 frames at 30 a second, a row each.
"""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

import motioncodec
from motioncodec.datasets import TokenDataset

HERE = Path(__file__).parent / "hdm05"
WINDOW = 64
RATE = 30

LEAST = 4
"""Clips that an action must have to be one of the classes."""


def actor(path: Path) -> str:
    return path.stem.split("_")[0]


def action(path: Path) -> str:
    return path.stem.split("_")[1]


def labelled(folder: Path = HERE) -> list[Path]:
    """Files of tokens, of actions that have enough clips."""
    files = sorted((folder / "tokens").glob("*.mtok"))
    counts = Counter(map(action, files))
    return [path for path in files if counts[action(path)] >= LEAST]


def token_features(files: list[Path]) -> list[Tensor]:
    """For each clip (windows, slots x latent): the codebook's vector of every token, no network."""
    book = TokenDataset(files).codebook()
    slots = torch.arange(len(book))
    found = []
    for path in files:
        clip = TokenDataset([path])
        found.append(torch.stack([book[slots, tokens[0]].flatten() for tokens in clip]))
    return found


def keypoint_features(files: list[Path]) -> list[Tensor]:
    """For each clip (windows, frames x joints x 3): keypoints within 1 mm of the capture, each
    frame with the hips at the origin and turned to face one way; the last one held."""
    found = []
    for path in files:
        clip = motioncodec.decode(path.parents[1] / "keypoints" / path.name)
        step = round(clip.frame_rate / RATE)
        points = facing(clip)[::step]
        hold = -len(points) % WINDOW
        points = np.pad(points, ((0, hold), (0, 0), (0, 0)), "edge")
        found.append(torch.from_numpy(points.reshape(len(points) // WINDOW, -1)).float())
    return found


def facing(clip: motioncodec.Clip) -> np.ndarray:
    """(T, K, 3) one person about the hips, the left hip on the x axis, 0 where missing."""
    joints = clip.skeleton.joints
    points = clip.keypoints[:, 0] - clip.keypoints[:, 0, [joints.index("pelvis")]]
    side = points[:, joints.index("left_hip")] - points[:, joints.index("right_hip")]
    angle = np.arctan2(side[:, 2], side[:, 0])[:, None]
    x, y, z = np.moveaxis(points, -1, 0)
    turned = [x * np.cos(angle) + z * np.sin(angle), y, z * np.cos(angle) - x * np.sin(angle)]
    return np.nan_to_num(np.stack(turned, -1))
