"""What the paper's system costs beside this one: frames a second, one table.

usage: python benchmarks/paper/cost.py [--threads 2] [--markdown benchmarks/paper/cost.md]

A window of 64 frames from keypoints to tokens and back to heatmaps (conv3d) or keypoints, the best
of three. The released code took 20.5 s to encode and 21.7 s to decode such a window at 128 x 128
pixels on two CPU cores (measured on it before, 50 M parameters); its networks are not run here.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import torch

from motioncodec.model.config import Conv3dConfig
from motioncodec.model.conv3d import Conv3dVQGAN
from motioncodec.model.weights import default_weights

HERE = Path(__file__).parent
FRAMES = 64
RELEASED = (20.5, 21.7)


def best(work: Callable[[], object]) -> float:
    """Seconds of the fastest of three, after one to warm up."""
    work()
    out = []
    for _ in range(3):
        began = time.perf_counter()
        work()
        out.append(time.perf_counter() - began)
    return min(out)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--markdown", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    torch.manual_seed(0)
    centres, peaks = torch.rand(1, FRAMES, 20, 3) * 1.6 - 0.8, torch.ones(1, FRAMES, 20)
    scales = json.loads((HERE / "scales.json").read_text())
    rows = [("released code, F8, 3D limbs, 128 px", 50.0, *(FRAMES / s for s in RELEASED))]
    shapes = {
        "conv3d F8, limbs, 128 px": {**scales["full"]["model"], "drawing": "limbs"},
        "conv3d F8, 20 joints, 128 px": scales["full"]["model"],
        "conv3d F8, limbs, 32 px (experiments)": {**scales["reduced"]["model"], "drawing": "limbs"},
        "conv3d-3d-f8, 20 joints, 32 px (ships)": {
            "size": 32, "sigma": 1.0, "widths": [16, 32, 48],
        },
    }  # fmt: skip
    with torch.no_grad():
        for name, shape in shapes.items():
            fields = json.dumps({**shape, "preset": "f8"})
            network = Conv3dVQGAN(Conv3dConfig.from_json(fields)).eval()
            size = sum(p.numel() for p in network.parameters()) / 1e6
            tokens = network.tokenize(centres, peaks)
            encode = best(partial(network.tokenize, centres, peaks))
            decode = best(partial(network.detokenize_volume, tokens))
            rows.append((name, size, FRAMES / encode, FRAMES / decode))
        slots = default_weights(3).network()
        for depth, preset in ((2, "f16"), (3, "f8")):
            size = sum(p.numel() for p in slots.parameters()) / 1e6
            tokens = slots.tokenize(centres, peaks, depth)
            encode = best(partial(slots.tokenize, centres, peaks, depth))
            decode = best(partial(slots.detokenize, tokens))
            rows.append((f"slots-3d-2 {preset} (default)", size, FRAMES / encode, FRAMES / decode))
    lines = [
        f"`python benchmarks/paper/cost.py --threads {options.threads}`: {FRAMES} frames at once,",
        f"torch {torch.__version__.split('+')[0]}, {options.threads} threads, x86_64; parameters",
        "in millions; frames a second from keypoints to tokens, and from tokens to heatmaps",
        "(slots: to keypoints).",
        "",
        "| network | parameters | encode | decode |",
        "|---|---|---|---|",
        *(f"| {name} | {p:.1f} | {e:,.1f} | {d:,.1f} |" for name, p, e, d in rows),
    ]
    text = "\n".join(lines) + "\n"
    print(text)
    if options.markdown:
        options.markdown.write_text("# Cost\n\n" + text)


if __name__ == "__main__":
    main()
