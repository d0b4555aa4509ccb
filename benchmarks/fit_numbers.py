"""Fits what numbers start from (motioncodec/bitstream) to training clips: predictors.bin, the ways
in which values foretell the next one; numbers.bin, the tables of what is left; and beginnings.bin,
those of what foretells them.

usage: python benchmarks/fit_numbers.py TRAIN_DIR [--clips 200] [--only beginnings]

All three are part of the format: to run this again makes another format.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

from motioncodec.bitstream import beginnings, foretold, numbers
from motioncodec.bitstream.beginnings import Beginning, Tree
from motioncodec.bitstream.entropy import Encoder, normalise
from motioncodec.bitstream.foretold import BLOCK, PREDICTOR_PARTS, PREDICTORS, TAPS, Numbers
from motioncodec.clip import METRES, Clip
from motioncodec.interpolation import Finder
from motioncodec.io import read_clip
from motioncodec.lossless import find_exact
from motioncodec.prediction import find_numbers, values_of
from motioncodec.refinement import correction_step, kept_bound

BOUNDS = (40.0, 20.0, 10.0, 5.0, 2.0, 1.0, 0.2, 0.02)
"""Bounds of the numbers that tables are fitted to, in mm."""

FINE = (5.0, 2.0, 1.0, 0.2, 0.02, 0.002)
"""Of those that predictors are fitted to."""

FRAMES = 600
ROUNDS = 6


def counts_of(clip: Clip) -> np.ndarray:
    """Counts of the first seconds at every bound, and as the file has them."""
    rows = clip.keypoints[:FRAMES, 0]
    present = ~np.isnan(rows[..., 0])
    total = numbers.count_contexts(find_exact(rows, ~present).numbers, present)
    for bound in BOUNDS:
        step = correction_step(bound / 1000, clip.dims)
        kept = kept_bound(bound / 1000, 0.0)
        found = find_numbers(rows / np.float64(step), floats=False, reach=kept / step)
        total = total + numbers.count_contexts(found, present)
    return total


def blocks_of(clip: Clip, bound: float, every: int) -> tuple[np.ndarray, np.ndarray]:
    """(n, BLOCK, D, TAPS) what values before the last differ from it by, and (n, BLOCK, D) what the
    next one does, of joints that are there throughout, one frame in ``every`` counting."""
    rows = clip.keypoints[::every, 0][:FRAMES].astype(np.float64) * METRES[clip.units]
    rows = rows[:, ~np.isnan(rows).any(axis=(0, 2))]
    step, kept = correction_step(bound / 1000, clip.dims), kept_bound(bound / 1000, 0.0)
    found = find_numbers(rows / step, floats=False, reach=kept / step)
    values = values_of(found, np.ones(rows.shape[:2], bool))
    windows = np.lib.stride_tricks.sliding_window_view(values, TAPS + 2, axis=0)[..., ::-1]
    count = len(windows) // BLOCK
    shape = (count, BLOCK, *windows.shape[1:])
    some = windows[: count * BLOCK].reshape(shape).swapaxes(1, 2).reshape(-1, BLOCK, 3, TAPS + 2)
    return some[..., 2:] - some[..., 1:2], some[..., 0] - some[..., 1]


def bits_of(off: np.ndarray) -> np.ndarray:
    """(n,) about what (n, BLOCK, D) differences cost."""
    return (BLOCK * np.log2(1 + 5.4 * np.abs(np.rint(off)).mean(axis=1))).sum(axis=-1)


def fitted(before: np.ndarray, after: np.ndarray, start: np.ndarray) -> np.ndarray:
    """(TAPS,) least squares, in which all blocks count alike."""
    off = np.abs(after - before @ start).mean(axis=1, keepdims=True)
    weight = np.broadcast_to(1 / (0.3 + off), after.shape).reshape(-1)
    a = before.reshape(-1, TAPS) * weight[:, None]
    b = after.reshape(-1) * weight
    out: np.ndarray = np.linalg.solve(a.T @ a + 1e-3 * np.eye(TAPS), a.T @ b)
    return out


def fit_predictors(clips: list[Clip]) -> np.ndarray:
    """(PREDICTORS, TAPS): every block goes to the way that is best for it, ways are fitted to their
    blocks, and so on; then each way becomes two. The first two stay: what jumps and stands is best
    foretold by its last value, and by nothing near it."""
    parts = []
    for at, clip in enumerate(clips):
        rate = max(round(clip.frame_rate / 30), 1)
        for i, bound in enumerate(FINE):
            parts.append(blocks_of(clip, bound, rate if (at + i) % 2 else 1))
    before = np.concatenate([a for a, _ in parts])
    after = np.concatenate([b for _, b in parts])
    kept = [np.zeros(TAPS), -np.eye(TAPS)[0]]
    ways = [*kept, fitted(before, after, np.zeros(TAPS))]
    while True:
        for _ in range(ROUNDS):
            cost = np.stack([bits_of(after - before @ way) for way in ways], axis=1)
            best = cost.argmin(axis=1)
            ways = [
                *kept,
                *[
                    fitted(before[best == i], after[best == i], ways[i])
                    for i in range(2, len(ways))
                ],
            ]
        use = np.bincount(best, minlength=len(ways))
        print(len(ways), f"{cost.min(axis=1).mean() / BLOCK / 3:.4f} bits", use, flush=True)
        if len(ways) == PREDICTORS:
            return np.array([*kept, *np.array(ways[2:])[np.argsort(-use[2:])]])
        # Blocks that a way suits badly pull its twin their way; the most used ways come first.
        for i in np.argsort(-use)[: PREDICTORS - len(ways)].tolist():
            mine = np.argsort(cost[:, i] + 1e9 * (best != i))[use[i] // 2 : use[i]]
            ways.append(fitted(before[mine], after[mine], np.zeros(TAPS)))


class Counting(Beginning):
    """Counts what a beginning has under each of its tables."""

    def __init__(self, given: Numbers, tree: Tree, counts: dict[str, np.ndarray]) -> None:
        out = Numbers.empty(*given.differences.shape, given.floats, given.learned)
        super().__init__(Encoder(), given, out, tree)
        self.counts = counts

    def under(self, name: str, rows: np.ndarray, values: np.ndarray) -> np.ndarray:
        np.add.at(self.counts[name], (rows, values), 1)
        return values


def fit_beginnings(clips: list[Clip]) -> bytes:
    """Tables by what key frames have under several bounds, every second clip at half its rate,
    every third without the two joints of the body that captures lack most often. What was seldom or
    never seen leans: orders on those behind the same one before and on the same one of what they
    hang on, all else on nothing being rarer than one in a thousand."""
    counts = {name: np.zeros(shape) for name, shape in beginnings.SHAPES.items()}
    for at, clip in enumerate(clips):
        every = 1 + at % 2 * (clip.frame_rate > 40)
        rows = clip.keypoints[::every, 0][:1024].astype(np.float64) * METRES[clip.units] * 1000
        covered = list(clip.skeleton.covered)
        if at % 3 == 0:
            some = [j for j, canonical in enumerate(covered) if canonical not in (2, 5)]
            rows, covered = rows[:, some], [covered[j] for j in some]
        for bound, is_loose in ((1.0, False), (5.0, False), (20.0, False), (5.6, True)):
            step = correction_step(bound, 3)
            finder = Finder(rows / step, kept_bound(bound, 0.0) / step)
            spacing, found, _ = finder.ways()
            found, _ = finder.fill(found, spacing, is_loose)
            present = finder.present[spacing.keys(len(rows))]
            Counting(found, Tree(present, covered), counts).code()
    orders = counts["orders"].reshape(PREDICTORS + 1, PREDICTORS + 1, PREDICTORS)
    of_before, of_base = orders.sum(axis=1, keepdims=True), orders.sum(axis=0, keepdims=True)
    lean = of_before / (of_before.sum(axis=-1, keepdims=True) + 1)
    lean = lean + of_base / (of_base.sum(axis=-1, keepdims=True) + 1)
    orders += 4 * lean + 0.05
    for name, some in counts.items():
        if name != "orders":
            some += 0.001 * some.sum(axis=1, keepdims=True) + 1
    fitted = [normalise(some).astype("<u2") for some in counts.values()]
    return b"".join(one.tobytes() for one in fitted)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("train", type=Path)
    parser.add_argument("--clips", type=int, default=200)
    parser.add_argument("--only", choices=["predictors", "tables", "beginnings"])
    options = parser.parse_args()
    paths = sorted(options.train.glob("*.npz"))
    paths = [paths[i] for i in np.random.default_rng(0).permutation(len(paths))[: options.clips]]
    folder = Path(numbers.__file__).parent
    if options.only in (None, "predictors"):
        some = [clip for clip in map(read_clip, paths) if clip.frames > 4 * BLOCK]
        found = fit_predictors(some)
        (folder / "predictors.bin").write_bytes(
            np.rint(found * PREDICTOR_PARTS).astype("<i2").tobytes()
        )
        foretold.predictors.cache_clear()
        print("predictors.bin:", found.round(2).tolist())
    if options.only in (None, "tables"):
        counts = np.zeros((), np.int64)
        for path in paths:
            counts = counts + counts_of(read_clip(path))
        # A table that was hardly ever asked leans on those of its kind.
        lean = counts.sum(axis=2, keepdims=True) + 1e-3
        out = normalise(counts + 8.0 * lean / lean.sum(axis=-1, keepdims=True) + 0.02)
        path = folder / "numbers.bin"
        path.write_bytes(out.astype("<u2").tobytes())
        print(f"{path.name}: {path.stat().st_size} bytes from {int(counts.sum()):,} numbers")
    if options.only in (None, "beginnings"):
        path = folder / "beginnings.bin"
        path.write_bytes(fit_beginnings([read_clip(path) for path in paths]))
        print(f"{path.name}: {path.stat().st_size} bytes")


if __name__ == "__main__":
    main()
