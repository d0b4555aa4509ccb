"""Finds the motions that are most like one, by tokens alone.

usage: python examples/nearest_motion.py [QUERY] [--data FOLDER]

A clip is the mean of its tokens' vectors; the nearest clips are those at the least distance, which
with the newest model is one of joints. Prints the nearest to QUERY (a name such as
bd_squat1Reps_004), and how often the nearest clip of another actor is of the same action, by tokens
and by keypoints.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch
from actions import HERE, action, actor, keypoint_features, labelled, token_features
from torch import Tensor


def distances(features: list[Tensor]) -> Tensor:
    """(N, N) between the clips' means over windows."""
    means = torch.stack([clip.mean(0) for clip in features])
    return torch.cdist(means, means)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("query", nargs="?", default="bd_squat1Reps_004")
    parser.add_argument("--data", type=Path, default=HERE)
    options = parser.parse_args()
    files = labelled(options.data)
    names = [path.stem for path in files]
    if options.query not in names:
        parser.error(f"expected one of {', '.join(names)}")
    by_tokens, by_keypoints = distances(token_features(files)), distances(keypoint_features(files))
    query = names.index(options.query)
    print(f"nearest to {options.query} by tokens:")
    for i in by_tokens[query].argsort()[1:6].tolist():
        print(f"  {by_tokens[query, i]:6.2f}  {names[i]}")
    others = torch.tensor([[actor(a) != actor(b) for b in files] for a in files])
    alike = torch.tensor([[action(a) == action(b) for b in files] for a in files])
    print(f"\nnearest clip of another actor is of the same action ({len(files)} clips):")
    for name, apart in (("tokens", by_tokens), ("keypoints", by_keypoints)):
        nearest = apart.masked_fill(~others, torch.inf).argmin(1)
        print(f"  by {name:10} {alike[torch.arange(len(files)), nearest].float().mean():.1%}")
    chance = (alike & others).sum(1) / others.sum(1)
    print(f"  by chance     {chance.mean():.1%}")


if __name__ == "__main__":
    main()
