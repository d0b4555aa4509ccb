"""The start of training: linear paths from principal components, codebooks from k-means."""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor

from motioncodec.model.vqgan import SlotVQGAN


def share_out(variances: np.ndarray, slots: int, bits: float, most: int) -> list[list[int]]:
    """Components for each slot so that every slot has about ``bits`` bits to spend.

    Reverse water-filling: at distortion level w a component of variance v deserves
    max(0, log2(v / w) / 2) bits; w is such that they add up to slots * bits.

    Args:
        variances: of the components, falling.
        slots: how many.
        bits: log2 of the codebook's size.
        most: components that a slot can take.
    """
    v = np.maximum(variances[: slots * most].astype(np.float64), 1e-12)
    low, high = 1e-12, float(v[0])
    for _ in range(100):
        water = math.sqrt(low * high)
        if np.maximum(0.5 * np.log2(v / water), 0).sum() > slots * bits:
            low = water
        else:
            high = water
    deserved = np.maximum(0.5 * np.log2(v / water), 0)
    out: list[list[int]] = [[] for _ in range(slots)]
    slot, spent = 0, 0.0
    for component, b in enumerate(deserved):
        full = len(out[slot]) == most or (out[slot] and spent + b / 2 > (slot + 1) * bits)
        if full and slot + 1 < slots:
            slot += 1
        if len(out[slot]) < most:
            out[slot].append(component)
        spent += b
    return out


@torch.no_grad()
def start_from_components(model: SlotVQGAN, centres: Tensor, peaks: Tensor) -> list[float]:
    """Fits mean pose, linear paths and codebooks of an untrained model to (B, T, K, D) centres.

    Returns:
        Root mean square error after each level, in body units.
    """
    config = model.config
    seen = peaks > 0
    total = torch.where(seen[..., None], centres, 0.0).sum((0, 1))
    model.mean.copy_(total / seen.sum((0, 1)).clamp_min(1)[:, None])
    offset, _presence = model.prepare(centres, peaks)
    mask = seen.repeat_interleave(config.dims, -1)
    so_far = torch.zeros_like(offset)
    errors = []
    for coder in model.levels:
        level = coder.level
        left = (offset - so_far) * mask
        windows = left.reshape(-1, level.stride * left.shape[-1])
        variances, basis = np.linalg.eigh((windows.T @ windows / len(windows)).double().numpy())
        order = np.argsort(variances)[::-1]
        shares = share_out(variances[order], level.slots, math.log2(config.codes), config.latent)
        weight = np.zeros((level.slots, config.latent, windows.shape[1]))
        for slot, components in enumerate(shares):
            weight[slot, : len(components)] = basis[:, order[components]].T
        flat = torch.from_numpy(weight.reshape(-1, windows.shape[1])).float()
        coder.linear_enc.weight.copy_(flat)
        coder.linear_dec.weight.copy_(flat.T)
        latents = windows @ flat.T
        scale = latents.std(0)
        coder.latent_scale.copy_(scale.clamp_min(float(scale[scale > 0].min())))
        latents = latents.reshape(-1, level.slots, config.latent)
        keep = torch.randperm(len(latents))[: 12 * config.codes]
        coder.quantizer.start(latents[keep])
        chosen = coder.quantizer.assign(latents)
        vectors = coder.quantizer.lookup(chosen).reshape(
            *left.shape[:1], -1, level.slots, config.latent
        )
        so_far = so_far + coder.decode(vectors, so_far)
        errors.append(
            float((((offset - so_far) * mask).square().sum() / mask.sum()).sqrt()) * config.unit
        )
    return errors
