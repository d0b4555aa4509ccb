"""Losses of the VQ-GAN in body units, and the adversarial terms on rendered heatmaps."""

from __future__ import annotations

import torch
from torch import Tensor


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
