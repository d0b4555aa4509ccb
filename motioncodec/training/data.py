"""Training motion in memory: every clip in body units at the models' frame rate."""

from __future__ import annotations

from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from motioncodec.clip import METRES, Clip
from motioncodec.errors import FormatError
from motioncodec.heatmap.bones import find_bones, to_reference
from motioncodec.heatmap.placement import (
    Placement,
    choose_anchor,
    fill_gaps,
    find_heading,
    find_hips,
    find_scale,
    to_model_axes,
)
from motioncodec.heatmap.resampling import to_model_rate
from motioncodec.skeleton import CANONICAL


@dataclass
class Motion:
    """Clips laid end to end.

    Attributes:
        points: (N, 20, 3) float32 body units about the hips, heading off, rigid bones as long as
            the reference person's; 0 where missing.
        seen: (N, 20) float32, 1 where a joint is present.
        heading: (N,) radians that were taken off.
        hips: (N, 3) body units.
        scale: (C,) metres per body unit, a clip.
        starts, lengths: (C,) rows of each clip.
    """

    points: Tensor
    seen: Tensor
    heading: Tensor
    hips: Tensor
    scale: Tensor
    starts: Tensor
    lengths: Tensor

    def to(self, device: torch.device | str) -> Motion:
        """The same on a device."""
        return Motion(*(getattr(self, one.name).to(device) for one in fields(self)))


def canonical_points(clip: Clip, person: int) -> np.ndarray:
    """(T, 20, D) float64 canonical joints of one person, NaN where missing."""
    points = np.full((clip.frames, len(CANONICAL), clip.dims), np.nan)
    for joint, canonical in enumerate(clip.skeleton.covered):
        if canonical >= 0:
            points[:, canonical] = clip.keypoints[:, person, joint]
    return points


def load_motion(clips: list[Clip]) -> Motion:
    """3D clips (metric units) to :class:`Motion`; each person of a clip counts as a clip."""
    parts = []
    for clip in clips:
        for person in range(clip.persons):
            points = to_model_axes(canonical_points(clip, person), clip.up) * METRES[clip.units]
            seen = np.isfinite(points[..., 0])
            if not seen.any():
                continue
            seen = to_model_rate(seen.astype(np.float64), clip.frame_rate) > 0.99
            points = to_model_rate(fill_gaps(points), clip.frame_rate)
            points[~seen] = np.nan
            scale = find_scale(points)
            hips = find_hips(points, scale, choose_anchor(seen))
            heading = find_heading(points)
            body = Placement(hips, np.full(len(points), scale), heading).apply(points)
            # A joint that is missing here and there has no say in where those after it are.
            whole = to_reference(fill_gaps(body), find_bones(body))
            body = np.where(np.isnan(body), np.nan, whole)
            parts.append((np.nan_to_num(body), seen, heading, hips / scale, scale))
    if not parts:
        raise FormatError("training data: expected clips with body joints, found none")
    lengths = torch.tensor([len(part[0]) for part in parts])

    def joined(i: int) -> Tensor:
        return torch.from_numpy(np.concatenate([part[i] for part in parts]).astype(np.float32))

    return Motion(
        points=joined(0),
        seen=joined(1),
        heading=joined(2),
        hips=joined(3),
        scale=torch.tensor([part[4] for part in parts], dtype=torch.float32),
        starts=torch.cumsum(lengths, 0) - lengths,
        lengths=lengths,
    )


def read_folder(folder: Path, quiet: bool = False) -> list[Clip]:
    """Every 3D clip of a folder, in the order of its names.

    Raises:
        FormatError: there is none.
    """
    from motioncodec.io import read_clip

    paths = sorted(path for path in folder.iterdir() if path.suffix in (".npz", ".bvh", ".csv"))
    clips = [
        read_clip(path) for path in tqdm(paths, desc=f"reading {folder}", disable=quiet or None)
    ]
    clips = [clip for clip in clips if clip.dims == 3]
    if not clips:
        raise FormatError(f"{folder}: expected .npz, .bvh or .csv clips in 3D, found none")
    return clips
