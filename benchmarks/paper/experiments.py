"""The experiments on what arXiv 2509.19252 claims: trains every arm, measures it, writes a table.

usage: python benchmarks/paper/experiments.py EXPERIMENT... --data DIR [--scale reduced] [--jobs 2]
           [--runs runs/paper] [--output benchmarks/paper] [--device cpu]

EXPERIMENT: letters of experiments.json, which says what varies; scales.json says how large networks
and volumes are and how long arms train. DIR holds train, val and hdm05. Arms of one experiment
differ in what its grid says and in nothing else: same windows, same steps, same start. Every arm
starts from an autoencoder of its shape that was trained for trunk_steps (one for each seed), its
codes from k-means of the same latents, and trains for steps more; "shipped" ones go on from the
conv3d weights that ship instead, at a fifth of the rate.

What is there already is not trained again: a run that was stopped goes on with the next arm. Rows
(one for each arm, seed and data set) go to OUTPUT/EXPERIMENT-SCALE.csv.

Measured on windows of 64 frames, cut one after another from all clips of val and hdm05, evenly
spaced ones if there are more than enough, rendered at the arm's size; means over windows:

    SSIM, PSNR, L1, T-Std   motioncodec.heatmap.fidelity, T-Std over windows where it is defined
    fast kept, fast true    changes of pixels above 3 Hz: energy over the original's; share in phase
    codes used              perplexity of the tokens in these windows

and where joints are drawn, which keypoints come back from:

    MPJPE                   thousandths of a body unit: millimetres on the reference person
    acceleration            mean length of the error of second differences, body units / s^2
    joints kept, true       speeds of joints above 3 Hz: energy over the original's; share in phase
"""

from __future__ import annotations

import argparse
import csv
import itertools
import json
import os
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
FRAMES = 64
RATE = 30.0
PLAIN = {
    "dims": 3, "preset": "f8", "codes": 1024, "bottleneck": "vq", "trunk": "convolution",
    "sigma": None, "adversarial": 0, "drawing": "limbs", "shipped": False,
}  # fmt: skip
"""What an arm is where its experiment says nothing; codes are 128 in 2D."""

# Volumes are tens of megabytes that come and go: without these, half of the time goes to the kernel
# handing out pages.
MALLOC = {
    "MALLOC_MMAP_THRESHOLD_": "100000000000", "MALLOC_TRIM_THRESHOLD_": "100000000000",
    "MALLOC_TOP_PAD_": "1000000000", "MALLOC_ARENA_MAX": "1",
}  # fmt: skip


def arms(experiment: dict[str, Any], scale: dict[str, Any]) -> list[dict[str, Any]]:
    """Every arm of an experiment with every seed."""
    grid = experiment["grid"]
    out = []
    for values in itertools.product(*grid.values()):
        arm = {**PLAIN, **dict(zip(grid, values))}
        if "codes" not in grid and arm["dims"] == 2:
            arm["codes"] = 128
        arm["codes"] = min(arm["codes"], scale.get("codes_most", 1 << 30))
        if arm["sigma"] is None:
            arm["sigma"] = scale["model"]["sigma"]
        for seed in range(min(experiment.get("seeds", 3), scale["seeds"])):
            if {**arm, "seed": seed} not in out:
                out.append({**arm, "seed": seed})
    return out


def trunk_of(arm: dict[str, Any]) -> dict[str, Any]:
    """The autoencoder that an arm starts from."""
    return {**arm, "bottleneck": "none", "codes": 1, "adversarial": 0}


def name_of(arm: dict[str, Any], speeds: tuple[float, ...] = (1,)) -> str:
    """A file's name that tells arms apart."""
    words = [f"{arm['dims']}d", arm["preset"], arm["bottleneck"], arm["trunk"], arm["drawing"]]
    words += [f"c{arm['codes']}", f"g{arm['sigma']:g}", f"a{arm['adversarial']:g}"]
    words += ["shipped"] * arm["shipped"]
    return "-".join([*words, f"s{arm['seed']}"] + [f"x{x:g}" for x in speeds if x != 1])


def arguments(doc: str | None, output: str) -> argparse.ArgumentParser:
    """What the scripts beside this one ask for, too."""
    parser = argparse.ArgumentParser(description=(doc or "").split("\n")[0])
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--output", type=Path, default=HERE / output)
    parser.add_argument("--runs", type=Path, default=Path("runs/paper"))
    return parser


def train(arm: dict[str, Any], scale: dict[str, Any], options: argparse.Namespace, trunk: bool):
    """The arm's network, or as a trunk the autoencoder that arms start from, trained or from its
    checkpoint, and the seconds that it took."""
    import torch

    from motioncodec.training.trainer import TrainingConfig
    from motioncodec.training.volumes import VolumeTrainer

    torch.set_num_threads(options.threads)
    steps = scale["trunk_steps" if trunk else "steps"]
    name = ("trunk-" if trunk else "") + name_of(arm)
    # torch 2.13 on a CPU: bfloat16 gradients of a convolution over a single position are NaN.
    single = scale["model"]["size"] == int(arm["preset"][1:])
    shape, start, rate = model_of(arm, scale), None, scale["training"]["learning_rate"]
    if arm["shipped"]:
        start, rate = shipped(arm).network(), rate / 5
    config = TrainingConfig(
        name=name, precision="float32" if single else options.precision,
        model=shape,
        augmentation={"noise": 0, "noise_2d": 0, "gap": 0, "absent": 0, "absent_2d": 0},
        steps=steps, evaluate_every=steps, seed=arm["seed"], clip=10.0, start_windows=512,
        # The discriminator starts late: after a third of the arm's steps.
        adversarial_from=1 / 3 if arm["adversarial"] else 1.0,
        adversarial_weight=arm["adversarial"], adversarial_most=1e4,
        **{**scale["training"], "learning_rate": rate},
    )  # fmt: skip
    folder = options.runs / options.scale / name
    if not trunk and start is None:
        start, _ = train(trunk_of(arm), scale, options, trunk=True)
    trainer = VolumeTrainer(config, motion(options, "train"), None, folder, options.device, start)
    trainer.train()
    return trainer.average.cpu(), trainer.seconds


def shipped(arm: dict[str, Any]):
    """The conv3d weights that ship and are of an arm's kind."""
    from motioncodec.model.weights import find_weights

    return find_weights(f"conv3d-{arm['dims']}d-{arm['preset']}")


def model_of(arm: dict[str, Any], scale: dict[str, Any]) -> dict[str, Any]:
    """The shape of an arm's network: the scale's, or that of the weights that it starts from."""
    if arm["shipped"]:
        return {"family": "conv3d"} | json.loads(shipped(arm).config.to_json())
    keys = ("dims", "preset", "codes", "bottleneck", "trunk", "drawing")
    shape = {key: arm[key] for key in keys}
    return {"family": "conv3d", **scale["model"], **shape, "sigma": arm["sigma"]}


def motion(options: argparse.Namespace, name: str):
    """Motion of a folder, kept for the next arm."""
    import torch

    from motioncodec.training.data import Motion, load_motion, read_folder

    kept = options.runs / f"motion-{name}.pt"
    if not kept.exists():
        options.runs.mkdir(parents=True, exist_ok=True)
        found = load_motion(read_folder(options.data / name, quiet=True))
        partial = kept.with_suffix(f".{os.getpid()}")
        torch.save(vars(found), partial)
        partial.replace(kept)
    return Motion(**torch.load(kept))


def windows(options: argparse.Namespace, name: str, dims: int, most: int, speed: float = 1.0):
    """(N, 64, 20, dims) centres and (N, 64, 20) presence of windows that never vary; in 2D seen by
    cameras drawn once."""
    import torch

    from motioncodec.training.augmentation import NO_AUGMENTATION, Windows

    found = motion(options, name)
    speed = float(speed)
    span = FRAMES * speed
    rows = [
        (int(start), k * span)
        for start, length in zip(found.starts, found.lengths)
        for k in range(int((length - 1) // span))
    ]
    rows = [rows[i] for i in torch.linspace(0, len(rows) - 1, min(most, len(rows))).long()]
    at = (
        torch.tensor([start + begin for start, begin in rows])[:, None]
        + torch.arange(FRAMES) * speed
    )
    low = at.floor().long()
    share = (at - low)[..., None]

    def cut(values):
        return torch.lerp(
            values[low], values[low + 1], share.view(*share.shape[:2], *[1] * (values.ndim - 1))
        )

    points, seen = cut(found.points), (cut(found.seen) > 0.99).float()
    if dims == 2:
        # The cameras of the training windows, drawn once.
        cameras = Windows(found, 2, FRAMES, NO_AUGMENTATION, 1)
        points, seen, _ = cameras.shown(
            points, seen, cut(found.heading[:, None])[..., 0], cut(found.hips)
        )
    return points, seen


def fidelity(a, b):
    """Of a window's (C, T, H, W) volume and what became of it: means over frames and T-Std, and
    what fast changes became."""
    import numpy as np

    from motioncodec.heatmap.fidelity import by_frame, fast_changes, t_std

    frames = by_frame(a, b)
    row = {key: float(values.mean()) for key, values in frames.items()}
    changes = (np.diff(x, axis=1).swapaxes(0, 1) for x in (a, b))
    return {**row, "T-Std": t_std(frames)}, fast_changes(*changes, RATE)


class Keypoints:
    """What became of joints, over windows."""

    def __init__(self) -> None:
        from motioncodec.heatmap.fidelity import Fast

        self.fast = Fast()
        self.apart: list[Any] = []
        self.accelerations: list[Any] = []

    def add(self, found, truth, there) -> None:
        """A window's (T, 20, D) joints in body units, found and true, and (T, 20) presence."""
        import numpy as np

        from motioncodec.heatmap.fidelity import fast_changes

        self.apart.append(np.linalg.norm(found - truth, axis=-1)[there > 0])
        # Joints come and go in no window that is fit to measure motion in.
        mine = (there > 0).all(0)
        wrong = np.diff((found - truth)[:, mine], 2, axis=0) * RATE**2
        self.accelerations.append(np.linalg.norm(wrong, axis=-1).ravel())
        speeds = (np.linalg.norm(np.diff(x[:, mine], axis=0), axis=-1) for x in (truth, found))
        self.fast += fast_changes(*speeds, RATE)

    def figures(self) -> dict[str, float]:
        """Of all windows."""
        import numpy as np

        return {
            "MPJPE": 1000 * float(np.concatenate(self.apart).mean()),
            "acceleration": float(np.concatenate(self.accelerations).mean()),
            "joints kept": self.fast.kept,
            "joints true": self.fast.true,
        }


def measure(network, centres, seen) -> dict[str, float]:
    """Figures of a network on windows."""
    import numpy as np
    import torch

    from motioncodec.heatmap.fidelity import Fast

    rows: list[dict[str, float]] = []
    counts = np.zeros(network.config.codes)
    fast = Fast()
    keypoints = Keypoints() if network.config.drawing == "joints" else None
    with torch.no_grad():
        for points, there in zip(centres.split(4), seen.split(4)):
            volume = network.draw(points, there)
            drawn = network(volume).volume.clamp(0, 1)
            found = drawn.numpy()
            if keypoints is not None:
                for window in zip(network.locate(drawn).numpy(), points.numpy(), there.numpy()):
                    keypoints.add(*window)
            if network.config.bottleneck != "none":
                tokens = network.tokenize_volume(volume).numpy()
                counts += np.bincount(tokens.ravel(), minlength=len(counts))
            for a, b in zip(volume.numpy(), found):
                row, changes = fidelity(a, b)
                rows.append(row)
                fast += changes
    out = {key: float(np.nanmean([row[key] for row in rows])) for key in rows[0]}
    out["fast kept"], out["fast true"] = fast.kept, fast.true
    share = counts[counts > 0] / max(counts.sum(), 1)
    out["codes used"] = (
        float(np.exp(-(share * np.log(share)).sum())) if len(share) else float("nan")
    )
    return out if keypoints is None else out | keypoints.figures()


def one(arm: dict[str, Any], options: argparse.Namespace, speeds: tuple[float, ...]) -> None:
    """Trains and measures an arm; its rows go to a file of their own."""
    scale = json.loads((HERE / "scales.json").read_text())[options.scale]
    network, seconds = train(arm, scale, options, options.trunk)
    if options.trunk:
        return
    rows = []
    for name, speed in itertools.product(("val", "hdm05"), speeds):
        centres, seen = windows(options, name, arm["dims"], scale["windows"], speed)
        if not len(centres):
            # At four times the speed no clip of hdm05 is long enough for a window.
            continue
        figures = measure(network.eval(), centres, seen)
        rows.append(
            {"set": name, "speed": speed, "windows": len(centres), **figures, "train s": seconds}
        )
    folder = options.runs / options.scale / "rows"
    folder.mkdir(parents=True, exist_ok=True)
    partial = folder / f"{name_of(arm, speeds)}.{os.getpid()}"
    partial.write_text(json.dumps(rows))
    partial.replace(folder / f"{name_of(arm, speeds)}.json")


def command(arm: dict[str, Any], options: argparse.Namespace, speeds, trunk: bool) -> None:
    """Runs an arm in a process of its own."""
    if trunk:
        done = options.runs / options.scale / f"trunk-{name_of(arm)}" / "done"
    else:
        done = options.runs / options.scale / "rows" / f"{name_of(arm, speeds)}.json"
    if done.exists():
        return
    began = time.perf_counter()
    argv = [sys.executable, __file__, "one", "--data", options.data, "--scale", options.scale]
    argv += ["--runs", options.runs, "--device", options.device, "--threads", options.threads]
    argv += ["--precision", options.precision]
    argv += ["--arm", json.dumps([arm, speeds])] + ["--trunk"] * trunk
    done_ok = subprocess.run(
        list(map(str, argv)), env={**MALLOC, **os.environ}, stdout=subprocess.DEVNULL
    )
    if done_ok.returncode:
        raise SystemExit(f"{name_of(arm)}: failed")
    if trunk:
        done.touch()
    print(
        f"{'trunk ' * trunk}{name_of(arm, speeds)}: {time.perf_counter() - began:.0f} s", flush=True
    )


def table(letter: str, mine: list[dict[str, Any]], options: argparse.Namespace, speeds) -> None:
    """Writes the rows of an experiment's arms that are done."""
    rows = []
    for arm in mine:
        path = options.runs / options.scale / "rows" / f"{name_of(arm, speeds)}.json"
        if path.exists():
            rows += [{**arm, **row} for row in json.loads(path.read_text())]
    if not rows:
        return
    path = options.output / f"{letter}-{options.scale}.csv"
    with open(path, "w", newline="") as file:
        # Arms that draw joints have more figures.
        columns = max(rows, key=len)
        writer = csv.DictWriter(file, list(columns))
        writer.writeheader()
        for row in rows:
            writer.writerow({k: f"{v:.5g}" if isinstance(v, float) else v for k, v in row.items()})
    print(f"{path}: {len(rows)} rows", flush=True)


def main() -> None:
    parser = arguments(__doc__, ".")
    parser.add_argument("experiments", nargs="+", help="letters, or all")
    parser.add_argument("--scale", default="reduced")
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--device", default="cpu")
    parser.add_argument(
        "--precision", default="float32",
        help="bfloat16 halves the time of a processor that has it; others take 15 times as long",
    )  # fmt: skip
    parser.add_argument("--arm", help=argparse.SUPPRESS)
    parser.add_argument("--trunk", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.arm:
        arm, speeds = json.loads(options.arm)
        one(arm, options, tuple(speeds))
        return
    known = json.loads((HERE / "experiments.json").read_text())
    scale = json.loads((HERE / "scales.json").read_text())[options.scale]
    letters = list(known) if options.experiments == ["all"] else options.experiments
    motion(options, "train")
    with ThreadPoolExecutor(options.jobs) as pool:
        for letter in letters:
            speeds = tuple(known[letter].get("speeds", (1,)))
            mine = arms(known[letter], scale)
            trunks = []
            for arm in map(trunk_of, mine):
                if arm not in trunks and not arm["shipped"]:
                    trunks.append(arm)
            list(pool.map(partial(command, options=options, speeds=(1,), trunk=True), trunks))
            list(pool.map(partial(command, options=options, speeds=speeds, trunk=False), mine))
            table(letter, mine, options, speeds)


if __name__ == "__main__":
    main()
