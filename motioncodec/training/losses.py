"""Losses of the VQ-GAN in body units, and the adversarial terms on rendered heatmaps."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional


def position_loss(found: Tensor, truth: Tensor, seen: Tensor, soft: float = 0.01) -> Tensor:
    """Mean distance (Charbonnier: rounded below ``soft``) over present joints.

    Args:
        found, truth: (B, T, K, D) in body units.
        seen: (B, T, K), above 0 where a joint is present.
    """
    distance = torch.sqrt((found - truth).square().sum(-1) + soft**2) - soft
    weight = (seen > 0).float()
    return (distance * weight).sum() / weight.sum().clamp_min(1)


def velocity_loss(found: Tensor, truth: Tensor, seen: Tensor) -> Tensor:
    """:func:`position_loss` of the differences from frame to frame."""
    both = seen[:, 1:] * seen[:, :-1]
    return position_loss(found.diff(dim=1), truth.diff(dim=1), both, soft=0.002)


def volume_loss(
    found: Tensor, truth: Tensor, perceptual: float = 10.0, mass: float = 0.0, scales: int = 3
) -> Tensor:
    """L1 plus a perceptual loss of (B, C, T, H, W) volumes from 0 to 1, over the mean of ``truth``,
    so that neither depends on how large an empty border is.

    The perceptual loss compares features of a fixed bank of filters at several scales, squared:
    means of cells of 1, 2, 4... pixels, and their differences along width, height and time.
    Networks trained on photographs, which LPIPS takes its features from, have seen nothing like a
    heatmap; what a viewer of heatmaps sees is where mass lies and how it moves, and that is what
    these filters take.

    Args:
        found, truth: the volumes.
        perceptual: its weight.
        mass: weight of the squared difference of the cells' sums, which leads peaks of single
            joints, a pixel or two in an empty plane, to where they belong from far away.
        scales: how many; mass has one more.
    """
    wrong = found - truth
    loss = wrong.abs().mean()
    for scale in range(scales + bool(mass)):
        if scale:
            wrong = functional.avg_pool3d(wrong, (1, 2, 2))
        features = wrong.square().mean()
        if mass:
            loss = loss + mass * 4.0 ** (2 * scale - 1) * features
        if scale == scales:
            break
        for axis in (2, 3, 4):
            if wrong.shape[axis] > 1:
                features = features + wrong.diff(dim=axis).square().mean()
        loss = loss + perceptual / scales * features
    return loss / truth.mean().clamp_min(1e-4)


def hinge_discriminator_loss(real: Tensor, fake: Tensor) -> Tensor:
    """Hinge loss of the discriminator's outputs (Lim and Ye 2017)."""
    return (torch.relu(1 - real).mean() + torch.relu(1 + fake).mean()) / 2


def adaptive_weight(
    reconstruction: Tensor, adversarial: Tensor, last: Tensor, most: float
) -> Tensor:
    """Ratio of the two losses' gradient norms at the decoder's last layer (Esser et al. 2021)."""
    (a,) = torch.autograd.grad(reconstruction, last, retain_graph=True)
    (b,) = torch.autograd.grad(adversarial, last, retain_graph=True)
    return (a.norm() / (b.norm() + 1e-6)).clamp(0, most).detach()
