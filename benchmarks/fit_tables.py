"""Fits the static tables of curves (motioncodec/bitstream/tables.json) to training clips.

usage: python benchmarks/fit_tables.py TRAIN_DIR [--later]

The tables are part of format version 1: to run this again makes another format. --later fits those
of later models alone and leaves the others as they are.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np

from motioncodec.bitstream import trajectory
from motioncodec.bitstream.bones import FREE, TRUNK, TWINS
from motioncodec.bitstream.entropy import normalise
from motioncodec.bitstream.header import LATER_ORIGIN_STEPS, step_size
from motioncodec.bitstream.trajectory import BLOCK, Curve, analyse, count_contexts
from motioncodec.heatmap.bones import find_bones
from motioncodec.heatmap.placement import (
    HEADING_STEPS,
    KNOT_SPACING,
    SIZE_STEPS,
    Placement,
    find_scale,
    find_size,
    to_model_axes,
)
from motioncodec.skeleton import CANONICAL_PARENTS
from motioncodec.tracks import quantise_bones
from motioncodec.training.augmentation import NO_AUGMENTATION, Windows
from motioncodec.training.data import canonical_points, load_motion, read_folder

HIPS_STEPS = (0.048, 0.032, 0.016, 0.008, 0.004)
KEYPOINT_STEPS = (0.012, 0.006, 0.003)


def held(values: np.ndarray) -> np.ndarray:
    """Padded with the last value to a whole number of blocks and one."""
    extra = -(len(values) - 1) % BLOCK
    return np.concatenate([values, np.repeat(values[-1:], extra, axis=0)])


def later_tables(folder: str) -> dict[str, dict[str, list[object]]]:
    """Tables that models which know reference bones use: of bones' lengths and of the hips' path,
    at the steps of each preset."""
    clips = read_folder(Path(folder))
    out: dict[str, dict[str, list[object]]] = {}
    people = []
    for clip in clips:
        points = to_model_axes(canonical_points(clip, 0), clip.up)
        people.append(find_bones(points / find_scale(points)))
    for depth in (1, 2, 3):
        lengths = np.zeros((2, trajectory.ESCAPE + 1))
        rigid = np.zeros((2, 2))
        for one in people:
            steps = quantise_bones(one, depth)
            for joint in range(1, len(TWINS)):
                rigid[int(joint not in TRUNK), int(steps[joint] != FREE)] += 1
                if steps[joint] == FREE:
                    continue
                twin = TWINS[joint]
                twins = twin >= 0 and steps[twin] != FREE
                apart = abs(int(steps[joint] - (steps[twin] if twins else 0)))
                lengths[int(twins), min(apart, trajectory.ESCAPE)] += 1
        out[f"bones_{depth}"] = {
            "knots": normalise(lengths + 0.4).tolist(),
            "sines": [],
            "counts": normalise(rigid + 20).tolist(),
        }
    motion = load_motion(clips)
    for depth in (1, 2, 3):
        totals: dict[str, np.ndarray] = {}
        for start, length in zip(motion.starts.tolist(), motion.lengths.tolist()):
            hips = held(motion.hips[start : start + length].double().numpy())
            # A step finer and a step coarser count a little, so that no table is too sure.
            for exponent, weight in ((0, 1.0), (2, 0.1), (-2, 0.1)):
                curve = analyse(hips, step_size(LATER_ORIGIN_STEPS[depth] + exponent))
                for name, found in count_contexts(curve).items():
                    totals[name] = totals.get(name, 0) + weight * found
        out[f"hips_{depth}"] = {
            name: normalise(found + 0.4).tolist() for name, found in totals.items()
        }
    return out


def write(tables: dict[str, dict[str, list[object]]]) -> None:
    path = Path(trajectory.__file__).with_name("tables.json")
    text = json.dumps(tables, separators=(",", ":"), sort_keys=True)
    path.write_text(text.replace("]],", "]],\n").replace('},"', '},\n"') + "\n")
    print(f"{path.name}: {path.stat().st_size} bytes")


def main(folder: str, later_alone: bool = False) -> None:
    if later_alone:
        path = Path(trajectory.__file__).with_name("tables.json")
        write({**json.loads(path.read_text()), **later_tables(folder)})
        return
    clips = load_motion(read_folder(Path(folder)))
    totals: dict[str, dict[str, np.ndarray]] = {}

    def add(kind: str, curve: Curve, order: int = 2) -> None:
        for name, counts in count_contexts(curve, order).items():
            mine = totals.setdefault(kind, {})
            mine[name] = mine.get(name, 0) + counts

    for start, length in zip(clips.starts.tolist(), clips.lengths.tolist()):
        if length < 2:
            continue
        rows = slice(start, start + length)
        for step in HIPS_STEPS:
            add("hips", analyse(held(clips.hips[rows].double().numpy()), step))
        heading = np.rint(held(clips.heading[rows].double().numpy())[::KNOT_SPACING]
                          / (2 * np.pi / HEADING_STEPS)).astype(np.int64)[:, None]  # fmt: skip
        add("heading", Curve(heading, np.zeros((0, 1, BLOCK - 1), np.int64)), order=1)
        if start % 4 == 0:
            points = clips.points[rows].double().numpy()
            size = np.ones(length)
            world = Placement(
                clips.hips[rows].double().numpy(), size, clips.heading[rows].double().numpy()
            ).invert(points)
            ends = [j for j in (5, 7, 8, 10, 11, 15, 19) if clips.seen[rows, j].all()]
            offsets = world[:, ends] - world[:, [CANONICAL_PARENTS[j] for j in ends]]
            for step in KEYPOINT_STEPS:
                add("keypoint", analyse(held(offsets.reshape(length, -1)), step))
    # Boxes of projections, and hips as cameras see them; sizes are coded in eighths of an octave.
    windows = Windows(clips, 2, 257, NO_AUGMENTATION, seed=5)
    for _ in range(20):
        points, _, heading, hips = windows._mixed(32)
        flat = windows._projected(points, heading, hips).double().numpy()
        for row in flat:
            size = find_size(row)
            knots = np.rint(np.log2(size) * SIZE_STEPS)[::KNOT_SPACING].astype(np.int64)[:, None]
            add("box", Curve(knots, np.zeros((0, 1, BLOCK - 1), np.int64)), order=1)
            for share in (0.1, 0.05, 0.025):
                add("hips_2d", analyse(row[:, [12, 16]].mean(1), share * float(np.median(size))))
    # Steps of confidence have no clips to learn from: falling by half with each level of magnitude,
    # more slowly the larger the step before was.
    falls = np.array([0.12, 0.45, 0.6, 0.75, 0.85, 0.5])[:, None]
    totals["confidence"] = {"knots": falls ** np.arange(trajectory.ESCAPE + 1) * 1e6}
    out = {
        kind: {name: normalise(counts + 0.4).tolist() for name, counts in tables.items()}
        for kind, tables in totals.items()
    }
    for kind in ("heading", "box", "confidence"):
        out[kind]["sines"], out[kind]["counts"] = [], []
    write({**out, **later_tables(folder)})


if __name__ == "__main__":
    main(sys.argv[1], "--later" in sys.argv[2:])
