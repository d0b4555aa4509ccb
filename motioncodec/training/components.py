"""The start of training: linear paths from principal components, codebooks from k-means."""

from __future__ import annotations

import math

import numpy as np
import torch
from torch import Tensor

from motioncodec.model.vqgan import LappedCoder, SlotVQGAN


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
        if isinstance(coder, LappedCoder):
            so_far = so_far + _start_lapped(coder, left)
            errors.append(_rms(offset - so_far, mask) * config.unit)
            continue
        windows = left.reshape(-1, level.stride * left.shape[-1])
        variances, basis = np.linalg.eigh(
            (windows.T @ windows / len(windows)).double().cpu().numpy()
        )
        order = np.argsort(variances)[::-1]
        shares = share_out(variances[order], level.slots, math.log2(config.codes), config.latent)
        weight = np.zeros((level.slots, config.latent, windows.shape[1]))
        for slot, components in enumerate(shares):
            weight[slot, : len(components)] = basis[:, order[components]].T
        flat = torch.from_numpy(weight.reshape(-1, windows.shape[1])).float().to(windows.device)
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
        errors.append(_rms(offset - so_far, mask) * config.unit)
    return errors


def _rms(wrong: Tensor, mask: Tensor) -> float:
    return float(((wrong * mask).square().sum() / mask.sum()).sqrt())


FULL = 6.5
"""Bits that a slot of a lapped model is given coefficients for: more would leave too few of 1,024
codes to choose from, fewer would make scalars of its vectors."""


def deal_out(variances: np.ndarray, slots: int, price: float, most: int) -> list[list[int]]:
    """Components for each slot: up to :data:`FULL` bits' worth of them, at the price of a bit.

    At high rates a bit lowers a component's squared error w by 2 ln(2) w, so at price p components
    are worth coding down to w = p / (2 ln 2), in max(0, log2(v / w) / 2) bits.

    Args:
        variances: of the components, falling.
        slots: how many.
        price: of a bit, in units of variance.
        most: components that a slot can take.
    """
    deserved = np.maximum(0.5 * np.log2(np.maximum(variances, 1e-12) * 2 * math.log(2) / price), 0)
    out: list[list[int]] = [[] for _ in range(slots)]
    at = 0
    for slot in range(slots):
        spent = 0.0
        while at < len(deserved) and len(out[slot]) < most:
            if out[slot] and spent + deserved[at] > FULL:
                break
            out[slot].append(at)
            spent += deserved[at]
            at += 1
    return out


def _start_lapped(coder: LappedCoder, left: Tensor, batch: int = 512) -> Tensor:
    """Basis, coefficients of the slots and codebooks; returns what the level makes of ``left``."""
    rows = left.reshape(-1, left.shape[-1])
    variances, basis = torch.linalg.eigh((rows.T @ rows / len(rows)).double())
    coder.basis.copy_(basis.flip(1))
    coder.spread.copy_(variances.flip(0).clamp_min(1e-9))
    flat = coder.transform.analyse(left @ coder.basis).flatten(0, 1).flatten(-2)
    energies = flat.square().mean(0).cpu().numpy()
    order = np.argsort(energies)[::-1]
    most = coder.config.latent
    shares = deal_out(energies[order], coder.level.slots, coder.quantizer.rate_weight, most)
    coder.pick.fill_(flat.shape[1])
    for slot, components in enumerate(shares):
        taken = torch.from_numpy(order[components].copy())
        coder.pick[slot, : len(components)] = taken.to(coder.pick)
    # A few slots at a time: all latents of the finest level would be gigabytes.
    latents = coder.analyse(left).flatten(0, 1)
    keep = torch.randperm(len(latents))[: 12 * coder.config.codes]
    coder.quantizer.start_priced(latents[keep])
    return torch.cat(
        [
            coder.synthesise(
                coder.quantizer.lookup(
                    coder.quantizer.assign(coder.analyse(part).flatten(0, 1))
                ).unflatten(0, (len(part), -1))
            )
            for part in left.split(batch)
        ]
    )
