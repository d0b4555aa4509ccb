"""Experiment h: are tokens enough to tell actions apart?

usage: python benchmarks/paper/recognition.py --data DIR [--model conv3d-3d-f8] [--seeds 5]
           [--output benchmarks/paper/h.csv] [--limit N]

The same small classifier (examples/classify_tokens.py) on clips cut into windows of 64 frames, as
keypoints, as latents before quantisation, and as tokens (the codebook's vector of each): of a
conv3d model and of the default one at f16.

HDM05: actions by name, of which there are four clips or more; every actor left out in turn. CMU:
clips of the train folder whose source names an action; fifths of the takes left out in turn, so
that no take is on both sides, though its actor may be, and the models' training has seen them.
"""

from __future__ import annotations

import argparse
import csv
import sys
from collections import Counter
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

sys.path.insert(0, str(Path(__file__).parents[2] / "examples"))
from actions import LEAST, WINDOW
from classify_tokens import accuracy

from motioncodec.io import read_clip
from motioncodec.model.conv3d import Conv3dVQGAN
from motioncodec.model.weights import default_weights, find_weights
from motioncodec.training.data import Motion, load_motion

FOLDS = 5


def hdm05(folder: Path) -> dict[Path, tuple[str, str]]:
    """Action and actor of each clip."""
    words = {path: path.stem.split("_") for path in sorted(folder.glob("*.npz"))}
    return {path: (w[2].rstrip("0123456789"), w[1]) for path, w in words.items()}


def cmu(folder: Path) -> dict[Path, tuple[str, str]]:
    """Action and fold of each clip that says its action."""
    found = {}
    takes: dict[str, int] = {}
    for path in sorted(folder.glob("*.npz")):
        source = str(np.load(path)["source"]).split("#")[0]
        parts = source.split("/")
        if "cmu_eval" in parts:
            name = parts[parts.index("cmu_eval") + 2].replace("_extra", "")
        elif "train_data_bvh" in source:
            name = parts[-2]
        else:
            continue
        fold = takes.setdefault(source, len(takes)) % FOLDS
        found[path] = (name, str(fold))
    return found


def held(values: Tensor) -> Tensor:
    """(T, ...) with the last row held up to whole windows."""
    short = -len(values) % WINDOW
    return torch.cat([values, values[-1:].expand(short, *values.shape[1:])])


@torch.no_grad()
def features(points: Tensor, seen: Tensor, conv3d: Conv3dVQGAN, slots) -> dict[str, Tensor]:
    """(windows, features) of a clip's (T, 20, 3) body units, by kind."""
    centres, peaks = held(points)[None], held(seen)[None]
    count = centres.shape[1] // WINDOW
    out = {"keypoints": centres.reshape(count, -1)}
    latents = torch.cat(
        [
            conv3d.encode(conv3d.draw(c, p))
            for c, p in zip(centres.split(256, 1), peaks.split(256, 1))
        ],
        1,
    )
    (tokens,) = conv3d.tokenize(centres, peaks)
    out["conv3d latents"] = latents.reshape(count, -1)
    out["conv3d tokens"] = conv3d.codebook[tokens].reshape(count, -1)
    offset, presence = slots.prepare(centres, peaks)
    so_far = torch.zeros_like(offset)
    before, after = [], []
    chosen = slots.tokenize(centres, peaks, 2)
    for i, (coder, level) in enumerate(zip(slots.levels, chosen)):
        before.append(slots.latents(coder, offset - so_far, presence, so_far, last=i == 1))
        vectors = coder.quantizer.lookup(level)
        after.append(vectors)
        so_far = so_far + coder.carry(vectors, so_far)
    out["f16 latents"] = torch.cat([x.reshape(count, -1) for x in before], 1)
    out["f16 tokens"] = torch.cat([x.reshape(count, -1) for x in after], 1)
    return out


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--model", default="conv3d-3d-f8")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--limit", type=int, help="clips of each set at most")
    parser.add_argument("--output", type=Path, default=Path(__file__).parent / "h.csv")
    options = parser.parse_args()
    torch.set_num_threads(1)
    conv3d, slots = find_weights(options.model).network(), default_weights(3).network()
    assert isinstance(conv3d, Conv3dVQGAN)
    rows = []
    for name, labelled in (
        ("hdm05", hdm05(options.data / "hdm05")),
        ("cmu", cmu(options.data / "train")),
    ):
        labelled = dict(list(labelled.items())[: options.limit])
        counts = Counter(action for action, _ in labelled.values())
        kept = {path: both for path, both in labelled.items() if counts[both[0]] >= LEAST}
        classes = sorted({action for action, _ in kept.values()})
        labels = torch.tensor([classes.index(action) for action, _ in kept.values()])
        groups = [group for _, group in kept.values()]
        kinds: dict[str, list[Tensor]] = {}
        for path in kept:
            motion: Motion = load_motion([read_clip(path)])
            for kind, found in features(motion.points, motion.seen, conv3d, slots).items():
                kinds.setdefault(kind, []).append(found)
        commonest = max(Counter(labels.tolist()).values()) / len(kept)
        rows.append((name, "always the commonest", len(kept), len(classes), commonest, 0.0))
        for kind, found in kinds.items():
            shares = [accuracy(found, labels, groups, seed) for seed in range(options.seeds)]
            rows.append((name, kind, len(kept), len(classes), np.mean(shares), np.std(shares)))
    with open(options.output, "w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(("set", "features", "clips", "actions", "accuracy", "spread"))
        writer.writerows([*row[:4], f"{row[4]:.4f}", f"{row[5]:.4f}"] for row in rows)
    print(options.output.read_text())


if __name__ == "__main__":
    main()
