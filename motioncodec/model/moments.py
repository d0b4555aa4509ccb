"""The stem and the head: heatmap volumes to joint centres, and back.

The mass and the first moments of a heatmap are linear in it, and the first moment of a Gaussian
over its mass is its centre. So the stem is one convolution with fixed weights (kernel as large as
the plane), and where a volume was rendered from keypoints the centres are known without building
it: the closed form. The head splats Gaussians, which is differentiable in the centres.

3D volumes are three orthogonal projections per joint, xy, zy and xz, so every coordinate is held
twice and the stem takes the mean of the two.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from motioncodec.heatmap.rendering import PLANES, from_pixels, to_pixels
from motioncodec.skeleton import CANONICAL_PARENTS


class MomentStem(nn.Module):
    """Fixed convolution that takes each plane's mass and first moments.

    Args:
        dims: coordinates of a joint, 2 or 3.
        size: height and width of the planes in pixels.
    """

    weight: Tensor

    def __init__(self, dims: int, size: int = 64) -> None:
        super().__init__()
        self.dims = dims
        self.size = size
        # Moments about the middle, where sums of 4,096 pixels lose least in float32.
        at = torch.arange(size, dtype=torch.float32) - (size - 1) / 2
        rows = torch.stack(
            [torch.ones(size, size), at[None].expand(size, size), at[:, None].expand(size, size)]
        )
        self.register_buffer("weight", rows[:, None], persistent=False)

    def forward(self, volume: Tensor) -> tuple[Tensor, Tensor]:
        """(B, T, K, planes, H, W) heatmaps to centres (B, T, K, dims) and masses (B, T, K).

        Centres are in body units, 0 where a joint has no mass. A mass is the sum of a plane's
        pixels, the mean over planes: 2 pi sigma^2 times the peak of a Gaussian.
        """
        b, t, k, planes, h, w = volume.shape
        sums = nn.functional.conv2d(volume.reshape(-1, 1, h, w), self.weight.to(volume.dtype))
        mass, across, down = sums.reshape(b, t, k, planes, 3).unbind(-1)
        seen = mass > 1e-6
        mid = (self.size - 1) / 2
        first = torch.where(seen, across / mass.clamp_min(1e-6) + mid, 0.0)
        second = torch.where(seen, down / mass.clamp_min(1e-6) + mid, 0.0)
        total = torch.zeros(b, t, k, self.dims, dtype=volume.dtype, device=volume.device)
        count = torch.zeros_like(total)
        for plane, (u, v) in enumerate(PLANES[self.dims]):
            total[..., u] += first[..., plane]
            total[..., v] += second[..., plane]
            count[..., u] += seen[..., plane]
            count[..., v] += seen[..., plane]
        found = count.amin(-1) > 0
        centres = from_pixels(total / count.clamp_min(1.0), self.size)
        return torch.where(found[..., None], centres, 0.0), mass.mean(-1) * found


def splat(centres: Tensor, peaks: Tensor, size: int = 64, sigma: float | Tensor = 1.5) -> Tensor:
    """Gaussian planes about centres: exp(-((u - cu)^2 + (v - cv)^2) / (2 sigma^2)) times the peak.

    Args:
        centres: (B, T, K, dims) in body units.
        peaks: (B, T, K), 0 for a joint that is missing.
        size: height and width in pixels.
        sigma: spread in pixels, a number or (B, T, K, planes).

    Returns:
        (B, T, K, planes, size, size).
    """
    pixels = to_pixels(centres, size)
    grid = torch.arange(size, dtype=centres.dtype, device=centres.device)
    width = torch.as_tensor(sigma, dtype=centres.dtype, device=centres.device)
    planes = []
    for plane, (u, v) in enumerate(PLANES[centres.shape[-1]]):
        spread = width if width.ndim == 0 else width[..., plane, None]
        across = torch.exp(-((grid - pixels[..., u, None]) ** 2) / (2 * spread**2))
        down = torch.exp(-((grid - pixels[..., v, None]) ** 2) / (2 * spread**2))
        planes.append(down[..., :, None] * across[..., None, :] * peaks[..., None, None])
    return torch.stack(planes, dim=3)


def stacked(planes: Tensor) -> Tensor:
    """(B, T, K, planes, H, W) drawings to a (B, K x planes, T, H, W) volume."""
    return planes.flatten(2, 3).transpose(1, 2)


def splat_limbs(centres: Tensor, peaks: Tensor, size: int = 64, sigma: float = 1.5) -> Tensor:
    """All limbs in one drawing, as arXiv 2509.19252 has it: exp(-d^2 / (2 sigma^2)), d being how
    far a pixel is from the line between two joints, and of all limbs the largest value.

    Args:
        centres: (B, T, 20, dims) in body units.
        peaks: (B, T, 20); a limb is as high as the lower of its two ends.
        size: height and width in pixels.
        sigma: spread in pixels.

    Returns:
        (B, T, 1, planes, size, size).
    """
    pixels = to_pixels(centres, size)
    grid = torch.arange(size, dtype=centres.dtype, device=centres.device)
    joint = [i for i, parent in enumerate(CANONICAL_PARENTS) if parent >= 0]
    parent = [CANONICAL_PARENTS[i] for i in joint]
    # A lower limb is as a limb further away, so that the largest value is the least distance.
    height = torch.minimum(peaks[..., joint], peaks[..., parent])
    lower = -2 * sigma**2 * height.clamp_min(1e-12).log()
    planes = []
    for u, v in PLANES[centres.shape[-1]]:
        begin = [pixels[..., parent, axis, None] for axis in (u, v)]
        along = [pixels[..., joint, axis, None] - b for axis, b in zip((u, v), begin)]
        length = (along[0].square() + along[1].square()).clamp_min(1e-9)
        from_u, from_v = grid - begin[0], grid - begin[1]
        share = (from_v * along[1] / length)[..., :, None] + (from_u * along[0] / length)[
            ..., None, :
        ]
        share = share.clamp_(0, 1)
        distance = (from_u[..., None, :] - share * along[0][..., None]).square_()
        distance += (from_v[..., :, None] - share * along[1][..., None]).square_()
        distance += lower[..., None, None]
        planes.append(torch.exp(distance.amin(2) / (-2 * sigma**2)))
    return torch.stack(planes, dim=2)[:, :, None]
