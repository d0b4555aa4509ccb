"""Windows of motion that nobody performed: little data, so every window is a new mixture.

What helps most is the upper body of one clip on the legs of another; then mirroring, speed, limb
lengths, heading, dropped joints, noise; and for 2D, random cameras.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from motioncodec.heatmap.placement import BOX_REACH
from motioncodec.skeleton import CANONICAL, CANONICAL_PARENTS, MIRROR
from motioncodec.training.data import Motion

_LEGS = [i for i, name in enumerate(CANONICAL) if name.endswith(("hip", "knee", "ankle", "toe"))]
_ARMS = {
    side: [CANONICAL.index(f"{side}_{part}") for part in ("shoulder", "elbow", "wrist")]
    for side in ("left", "right")
}
_HIPS = [CANONICAL.index("left_hip"), CANONICAL.index("right_hip")]
_LIMBS = [i for i, name in enumerate(CANONICAL) if name.startswith(("left", "right"))]

# Joint sets of skeletons that users bring, as names that are absent.
_ABSENT: tuple[tuple[str, ...], ...] = (
    ("head_top",),
    ("spine", "head"),
    ("pelvis", "spine", "chest", "neck", "head", "head_top", "left_toe", "right_toe"),  # COCO-17
    ("spine", "chest", "head", "head_top"),  # BODY-25
    ("spine", "chest", "head", "head_top", "left_toe", "right_toe"),  # Panoptic-19
    ("spine", "chest", "head_top"),  # Kinect-20
    ("chest", "left_toe", "right_toe"),  # Human3.6M
    ("pelvis", "spine", "chest", "neck", "head", "head_top"),  # MediaPipe
)


@dataclass(frozen=True)
class Augmentation:
    """Shares of windows that each change is applied to, and how far it goes.

    Motion has the reference person's bones, as people with rigid bones have who are encoded; a
    share ``other_bones`` of the windows gets others, as anybody else has: lengths differ by factors
    whose logarithms have a standard deviation of ``limbs`` in arms and legs, ``trunk`` elsewhere.
    """

    mix_legs: float = 0.5
    mix_arms: float = 0.25
    mirror: float = 0.5
    speed: float = 1.4
    limbs: float = 0.05
    other_bones: float = 0.25
    trunk: float = 0.25
    heading: float = 0.15
    absent: float = 0.35
    absent_2d: float = 0.6
    noise: float = 0.003
    noise_2d: float = 0.02
    gap: float = 0.1


NO_AUGMENTATION = Augmentation(0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0)


class Windows:
    """Draws batches of augmented windows.

    Args:
        motion: where they come from; batches are drawn on its device, on which what a seed draws
            depends.
        dims: 3, or 2 for projections by random cameras.
        frames: model frames in a window.
        augmentation: how strongly.
        seed: of the generator; the same seed draws the same batches.
    """

    def __init__(
        self, motion: Motion, dims: int, frames: int, augmentation: Augmentation, seed: int = 0
    ) -> None:
        self.motion, self.dims, self.frames, self.augmentation = motion, dims, frames, augmentation
        self.device = motion.points.device
        self.generator = torch.Generator(self.device).manual_seed(seed)

    def _uniform(self, *shape: int, low: float = 0.0, high: float = 1.0) -> Tensor:
        share = torch.rand(*shape, generator=self.generator, device=self.device)
        return share * (high - low) + low

    def _normal(self, *shape: int) -> Tensor:
        return torch.randn(*shape, generator=self.generator, device=self.device)

    def _chance(self, share: float, *shape: int) -> Tensor:
        return torch.rand(*shape, generator=self.generator, device=self.device) < share

    def _whole(self, *shape: int, low: int, high: int) -> Tensor:
        return torch.randint(low, high, shape, generator=self.generator, device=self.device)

    def _raw(self, batch: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Points, presence, heading and hips of random windows at random speeds."""
        m = self.motion
        clip = torch.multinomial(
            m.lengths.float(), batch, replacement=True, generator=self.generator
        )
        length = m.lengths[clip].float()
        fastest = self.augmentation.speed
        speed = torch.exp(self._uniform(batch, low=-1, high=1) * float(torch.tensor(fastest).log()))
        span = (self.frames - 1) * speed
        start = self._uniform(batch) * (length - 1 - span).clamp_min(0)
        at = start[:, None] + torch.arange(self.frames, device=self.device) * speed[:, None]
        at = at.clamp_max((length - 1)[:, None])
        low = at.floor()
        w = (at - low)[..., None]
        row = m.starts[clip][:, None] + low.long()
        following = m.starts[clip][:, None] + (low + 1).clamp_max((length - 1)[:, None]).long()
        points = torch.lerp(m.points[row], m.points[following], w[..., None])
        seen = m.seen[row] * m.seen[following]
        heading = torch.lerp(m.heading[row], m.heading[following], w[..., 0])
        hips = torch.lerp(m.hips[row], m.hips[following], w)
        flip = self._chance(self.augmentation.mirror, batch)
        mirror = list(MIRROR)
        sign = torch.tensor([-1.0, 1.0, 1.0], device=self.device)
        points = torch.where(flip[:, None, None, None], points[:, :, mirror] * sign, points)
        seen = torch.where(flip[:, None, None], seen[:, :, mirror], seen)
        heading = torch.where(flip[:, None], -heading, heading)
        hips = torch.where(flip[:, None, None], hips * sign, hips)
        return points, seen, heading, hips

    def _mixed(self, batch: int) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        points, seen, heading, hips = self._raw(batch)
        a = self.augmentation
        if a.mix_legs:
            other, other_seen, other_heading, other_hips = self._raw(batch)
            swap = self._chance(a.mix_legs, batch)[:, None, None]
            legs = torch.zeros(len(CANONICAL), dtype=torch.bool, device=self.device)
            legs[_LEGS] = True
            points = torch.where((swap & legs)[..., None], other, points)
            seen = torch.where(swap & legs, other_seen, seen)
            heading = torch.where(swap[..., 0], other_heading, heading)
            hips = torch.where(swap, other_hips, hips)
        if a.mix_arms:
            other, other_seen, _, _ = self._raw(batch)
            for arm in _ARMS.values():
                swap = self._chance(a.mix_arms, batch)[:, None, None]
                moved = points[:, :, arm[:1]] + other[:, :, arm] - other[:, :, arm[:1]]
                points[:, :, arm] = torch.where(swap[..., None], moved, points[:, :, arm])
                both = seen[:, :, arm] * other_seen[:, :, arm]
                seen[:, :, arm] = torch.where(swap, both, seen[:, :, arm])
        if a.other_bones:
            other = self._chance(a.other_bones, batch)[:, None, None, None]
            points = torch.where(other, self._rescaled(points), points)
        return points, seen, heading, hips

    def _rescaled(self, points: Tensor) -> Tensor:
        """Longer and shorter bones, alike on both sides."""
        a = self.augmentation
        spread = torch.full((len(CANONICAL),), a.trunk, device=self.device)
        spread[_LIMBS] = a.limbs
        factor = torch.exp(self._normal(len(points), len(CANONICAL)) * spread)
        out = points.clone()
        for joint, parent in enumerate(CANONICAL_PARENTS):
            if parent < 0:
                continue
            f = factor[:, min(joint, MIRROR[joint])][:, None, None]
            base = points[:, :, parent]
            out[:, :, joint] = out[:, :, parent] + (points[:, :, joint] - base) * f
        return out - out[:, :, _HIPS].mean(2, keepdim=True)

    def _dropped(self, seen: Tensor) -> Tensor:
        """Presence with joints that some skeletons lack, and gaps in time, taken away."""
        batch = len(seen)
        a = self.augmentation
        patterns = torch.ones(len(_ABSENT) + 1, len(CANONICAL), device=self.device)
        for row, names in enumerate(_ABSENT):
            patterns[row + 1, [CANONICAL.index(name) for name in names]] = 0.0
        share = a.absent if self.dims == 3 else a.absent_2d
        which = self._whole(batch, low=1, high=len(patterns))
        which = which * self._chance(share, batch)
        seen = seen * patterns[which][:, None]
        if a.gap:
            begin = self._whole(batch, 1, len(CANONICAL), low=0, high=self.frames)
            length = self._whole(batch, 1, len(CANONICAL), low=2, high=30)
            at = torch.arange(self.frames, device=self.device)[None, :, None]
            hole = (
                (at >= begin) & (at < begin + length) & self._chance(0.3, batch, 1, len(CANONICAL))
            )
            seen = seen * ~(hole & self._chance(a.gap, batch, 1, 1))
        return seen

    def batch(self, size: int) -> tuple[Tensor, Tensor, Tensor]:
        """Noisy centres (B, T, 20, dims) in body units, peaks (B, T, 20), true centres."""
        return self.shown(*self._mixed(size))

    def shown(
        self, points: Tensor, seen: Tensor, heading: Tensor, hips: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Windows that are given, turned and spoilt or seen by cameras; as :meth:`batch`.

        Args:
            points: (B, T, 20, 3) in body units.
            seen: (B, T, 20).
            heading: (B, T) radians.
            hips: (B, T, 3) body units.
        """
        size, a = len(points), self.augmentation
        seen = self._dropped(seen)
        if self.dims == 3:
            angle = self._normal(size, 1) * a.heading + torch.zeros(
                1, self.frames, device=self.device
            )
            truth = _turned(points, angle)
            level = self._uniform(size, 1, 1, 1) ** 2 * a.noise
            noisy = truth + self._normal(*truth.shape) * level * self._chance(0.5, size, 1, 1, 1)
            return noisy, seen, truth
        truth = self._projected(points, heading, hips)
        confidence = torch.ones_like(seen)
        level = self._uniform(size, 1, 1) ** 2 * a.noise_2d * self._chance(0.6, size, 1, 1)
        if a.noise_2d:
            # A detector is unsure of whole stretches, and errs more where it is unsure.
            slow = self._normal(size, self.frames // 8 + 2, len(CANONICAL))
            slow = torch.nn.functional.interpolate(
                slow.transpose(1, 2), size=self.frames, mode="linear"
            ).transpose(1, 2)
            confidence = (0.9 + 0.15 * slow).clamp(0.2, 1.0)
            confidence = torch.where(self._chance(0.5, size, 1, 1), confidence, 1.0)
            level = level * (2.0 - confidence)
        noisy = truth + self._normal(*truth.shape) * level[..., None]
        # Coded hips are off by a slow curve of a few hundredths.
        jitter = self._normal(size, self.frames // 8 + 2, 2) * 0.015
        jitter = torch.nn.functional.interpolate(
            jitter.transpose(1, 2), size=self.frames, mode="linear"
        ).transpose(1, 2)
        noisy, truth = _boxed(noisy, truth, seen, jitter)
        return noisy, seen * confidence, truth

    def _projected(self, points: Tensor, heading: Tensor, hips: Tensor) -> Tensor:
        """Seen by a random camera: (B, T, 20, 2), y down, in metres at the person."""
        size = len(points)
        # Turn and walk as the person did, seen from any side.
        about = heading - heading[:, :1] + self._uniform(size, 1, low=-torch.pi, high=torch.pi)
        world = _turned(points, -about)
        path = hips - hips[:, self.frames // 2, None]
        path = _turned(
            path[:, :, None], (about[:, :1] - heading[:, :1]).expand(-1, self.frames) * -1
        )
        world = world + path.clamp(-2.0, 2.0)
        distance = self._uniform(size, low=3.0, high=9.0)
        height = self._uniform(size, low=-0.6, high=1.6)
        pitch = torch.atan2(height, distance)[:, None, None]
        x, y, z = world[..., 0], world[..., 1] - height[:, None, None], world[..., 2]
        z = z + distance[:, None, None]
        c, s = torch.cos(pitch), torch.sin(pitch)
        up, depth = c * y + s * z, -s * y + c * z
        depth = depth.clamp_min(0.5)
        # In units of a metre at the person, so that noise means the same from near and far.
        return torch.stack([x, -up], -1) * (distance[:, None, None] / depth)[..., None]


def _turned(points: Tensor, angle: Tensor) -> Tensor:
    """(B, T, K, 3) turned about +y by (B, T) radians, from +z towards +x."""
    c, s = torch.cos(angle)[..., None], torch.sin(angle)[..., None]
    x, y, z = points.unbind(-1)
    return torch.stack([c * x + s * z, y, -s * x + c * z], -1)


def _smooth(values: Tensor, width: int) -> Tensor:
    """(B, T, C) averaged over ``width`` frames, the ends held."""
    padded = torch.nn.functional.pad(
        values.transpose(1, 2), (width // 2, width // 2), mode="replicate"
    )
    return torch.nn.functional.avg_pool1d(padded, width, 1).transpose(1, 2)


def _boxed(noisy: Tensor, truth: Tensor, seen: Tensor, jitter: Tensor) -> tuple[Tensor, Tensor]:
    """Both into body units about the noisy hips, by the size of the noisy points' smoothed box.

    ``jitter`` (B, T, 2) in body units stands for what the coding of the hips leaves over.
    """
    there = seen[..., None] > 0
    someone = there.any(2)
    low = torch.where(there, noisy, torch.inf).amin(2)
    high = torch.where(there, noisy, -torch.inf).amax(2)
    low = torch.where(someone, low, noisy.amin(2))
    high = torch.where(someone, high, noisy.amax(2))
    half = ((high - low).amax(-1, keepdim=True) / 2).clamp_min(0.05).log()
    size = _smooth(half, 61).exp() / BOX_REACH
    origin = noisy[:, :, _HIPS].mean(2) + jitter * size
    return (
        (noisy - origin[:, :, None]) / size[:, :, None],
        (truth - origin[:, :, None]) / size[:, :, None],
    )
