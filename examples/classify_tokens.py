"""Tells actions apart by tokens alone, and by keypoints, each with the same small network.

usage: python examples/classify_tokens.py [--seeds N] [--data FOLDER]

Every actor in turn is left out: the network learns from the others and is asked about that one's
clips. FOLDER has tokens/ and keypoints/, as examples/hdm05, on which it runs by default.
"""

from __future__ import annotations

import argparse
from collections import Counter
from pathlib import Path

import torch
from actions import HERE, action, actor, keypoint_features, labelled, token_features
from torch import Tensor, nn

STEPS = 150
WIDTH = 64


class Classifier(nn.Module):
    """A layer for each window, the mean over a clip's windows, a layer for the class."""

    def __init__(self, features: int, classes: int) -> None:
        super().__init__()
        self.window = nn.Sequential(nn.Linear(features, WIDTH), nn.ReLU(), nn.Dropout(0.5))
        self.clip = nn.Linear(WIDTH, classes)

    def forward(self, windows: Tensor, there: Tensor) -> Tensor:
        """(N, windows, features), of which ``there`` (N, windows) counts, to (N, classes)."""
        mean = (self.window(windows) * there[..., None]).sum(1) / there.sum(1, keepdim=True)
        return self.clip(mean)


def right(features: list[Tensor], labels: Tensor, held_out: Tensor, seed: int) -> int:
    """How many of the clips held out are told right by a network that learned from the others."""
    torch.manual_seed(seed)
    windows = nn.utils.rnn.pad_sequence(features, batch_first=True)
    ones = [torch.ones(len(clip)) for clip in features]
    there = nn.utils.rnn.pad_sequence(ones, batch_first=True)
    known = torch.cat([clip for clip, out in zip(features, held_out) if not out])
    windows = (windows - known.mean(0)) / known.std() * there[..., None]
    network = Classifier(windows.shape[-1], int(labels.max()) + 1)
    optimizer = torch.optim.AdamW(network.parameters(), 1e-3, weight_decay=1e-2)
    for _ in range(STEPS):
        scores = network(windows[~held_out], there[~held_out])
        optimizer.zero_grad()
        nn.functional.cross_entropy(scores, labels[~held_out]).backward()
        optimizer.step()
    network.eval()
    with torch.no_grad():
        told = network(windows[held_out], there[held_out]).argmax(1)
    return int((told == labels[held_out]).sum())


def accuracy(features: list[Tensor], labels: Tensor, groups: list[str], seed: int) -> float:
    """Share of the clips that are told right when every group in turn is left out."""
    told = 0
    for one in sorted(set(groups)):
        held_out = torch.tensor([group == one for group in groups])
        told += right(features, labels, held_out, seed)
    return told / len(groups)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--data", type=Path, default=HERE)
    options = parser.parse_args()
    files = labelled(options.data)
    classes, actors = sorted(set(map(action, files))), list(map(actor, files))
    labels = torch.tensor([classes.index(action(path)) for path in files])
    counts = Counter(map(action, files))
    print(f"{len(files)} clips of {len(classes)} actions by {len(set(actors))} actors:")
    print(", ".join(f"{name} {counts[name]}" for name in classes))
    print(f"always the commonest: {max(counts.values()) / len(files):.1%}\n")
    print(f"{'':10}{'bytes a clip':>14}   accuracy, every actor left out in turn")
    keypoints = keypoint_features(files)
    for name, features, size in (
        ("tokens", token_features(files), sum(path.stat().st_size for path in files)),
        ("keypoints", keypoints, sum(4 * clip.numel() for clip in keypoints)),
    ):
        found = [accuracy(features, labels, actors, seed) for seed in range(options.seeds)]
        each = ", ".join(f"{share:.1%}" for share in found)
        mean = sum(found) / len(found)
        print(f"{name:10}{size / len(files):14,.0f}   {mean:.1%} (mean of seeds: {each})")


if __name__ == "__main__":
    main()
