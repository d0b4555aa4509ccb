"""Experiment i: what the paper's F8 spends, against the default family.

usage: python benchmarks/paper/versus.py --data DIR [--runs runs/paper] [--scale reduced]
           [--model conv3d-3d-f8] [--limit N] [--output benchmarks/paper/i.csv]

Clips of val and hdm05 over 4 s, at 30 frames a second, poses alone, every model's tokens under its
own prior or running usage, bits a second of tokens alone (neither pays for placement or header):

    limbs F8    the paper's system as experiment e trained it (limb drawings, 1,024 codes, seed 0)
    joints F8   the conv3d model that ships: a channel for each joint, keypoints come back
    f32, f16    presets of the default model

MPJPE in mm on a person of the reference size, where there are keypoints; SSIM and PSNR of the same
limb drawings (3 projections, 32 pixels, sigma 1), drawn of the decoded keypoints or by the network.
"""

from __future__ import annotations

import csv
import json

import numpy as np
import torch
from experiments import HERE, arguments, arms, motion, name_of
from torch import Tensor

from motioncodec.bitstream.entropy import Encoder
from motioncodec.heatmap.fidelity import by_frame
from motioncodec.model.config import PRESETS, Conv3dConfig
from motioncodec.model.conv3d import Conv3dVQGAN
from motioncodec.model.moments import splat_limbs, stacked
from motioncodec.model.weights import default_weights, find_weights
from motioncodec.stream import priors_of

RATE = 30
LEAST = 4 * RATE


def limbs(points: Tensor, seen: Tensor) -> Tensor:
    """(1, 3, T, 32, 32)."""
    drawn = [splat_limbs(p, s, 32, 1.0) for p, s in zip(points.split(256, 1), seen.split(256, 1))]
    return stacked(torch.cat(drawn, 1))


def prior_bits(priors, tokens: list[Tensor]) -> float:
    """Bits of tokens under the priors that files use."""
    coder = Encoder()
    coarser: list[np.ndarray] = []
    for prior, level in zip(priors, tokens):
        chosen = level[0].numpy().astype(np.int64)
        prior.code(coder, chosen, coarser)
        coarser.append(chosen)
    return 8.0 * len(coder.finish())


def note(
    totals: dict[str, dict[str, float]],
    what: str,
    bits: float,
    drawn: Tensor,
    truth: Tensor,
    frames: int,
    apart: Tensor | None = None,
) -> None:
    """Adds a clip's figures to those of a model; ``apart`` has distances of joints, where it has
    joints."""
    found = by_frame(truth[0].numpy(), drawn[0].numpy())
    add = {"bits": bits, "frames": float(frames)}
    add |= {key: float(values.sum()) for key, values in found.items()}
    if apart is not None:
        add |= {"apart": float(apart.sum()) * 1000, "joints": float(len(apart))}
    one = totals.setdefault(what, {})
    for key, value in add.items():
        one[key] = one.get(key, 0.0) + value


@torch.no_grad()
def main() -> None:
    parser = arguments(__doc__, "i.csv")
    parser.add_argument("--scale", default="reduced")
    parser.add_argument("--model", default="conv3d-3d-f8")
    parser.add_argument("--limit", type=int)
    options = parser.parse_args()
    scale = json.loads((HERE / "scales.json").read_text())[options.scale]
    experiment = json.loads((HERE / "experiments.json").read_text())["e"]
    plain = next(arm for arm in arms(experiment, scale) if arm["bottleneck"] == "vq")
    kept = torch.load(options.runs / options.scale / name_of(plain) / "checkpoint.pt")
    shape = Conv3dConfig.from_json(json.dumps(kept["config"]["model"]))
    paper = Conv3dVQGAN(shape).eval()
    paper.load_state_dict(kept["average"])
    joints, slots = find_weights(options.model), default_weights(3)
    files = [(f"{options.model}, joints", joints.network(), priors_of(joints), 1)]
    files += [
        (f"{slots.name} {preset}", slots.network(), priors_of(slots), depth)
        for depth, preset in enumerate(PRESETS, 1)
    ]
    rows = []
    for name in ("val", "hdm05"):
        found = motion(options, name)
        spans = [
            slice(int(a), int(a + n)) for a, n in zip(found.starts, found.lengths) if n > LEAST
        ][: options.limit]
        totals: dict[str, dict[str, float]] = {}
        for span in spans:
            whole = len(found.points[span]) // 64 * 64
            points, seen = found.points[span][None, :whole], found.seen[span][None, :whole]
            truth = limbs(points, seen)

            tokens = paper.tokenize(points, seen)
            lengths = float(paper.quantizer.lengths()[0][tokens[0]].sum())
            drawn = paper.detokenize_volume(tokens)
            note(totals, "conv3d limbs F8, the paper's", lengths, drawn, truth, points.shape[1])
            for what, network, priors, depth in files:
                tokens = network.tokenize(points, seen, depth)
                decoded = network.detokenize(tokens)
                drawn = limbs(decoded, seen)
                apart = (decoded - points).norm(dim=-1)[seen > 0]
                bits = prior_bits(priors, tokens)
                note(totals, what, bits, drawn, truth, points.shape[1], apart)
        for what, one in totals.items():
            n = one["frames"]
            mm = one["apart"] / one["joints"] if "apart" in one else float("nan")
            figures = (one["bits"] * RATE / n, mm, one["SSIM"] / n, one["PSNR"] / n, one["L1"] / n)
            rows.append((name, what, len(spans), *(f"{figure:.4g}" for figure in figures)))
    with open(options.output, "w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(("set", "model", "clips", "bit/s", "MPJPE mm", "SSIM", "PSNR", "L1"))
        writer.writerows(rows)
    print(options.output.read_text())


if __name__ == "__main__":
    main()
