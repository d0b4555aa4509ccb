"""Rate against error: every preset beside a transform coder tailored to the data, in its protocol.

usage: python benchmarks/frontier.py DATA_DIR --opponent transform_coder.py [--efforts 1,3,9]
           [--means 20,10,5,2] [--spectra 420,200,130,90,57] [--model NAME] [--limit N]
           [--markdown OUT.md] [--plot OUT.png]

DATA_DIR holds the folders train, val and hdm05. Protocol: clips over 4 s that have the opponent's
18 joints, resampled linearly to 30 frames a second as it does; world coordinates; mean distance
over these 18 joints and all frames without any alignment, pooled over the clips of a set.

motioncodec is given each clip as it is, joints beyond the 18 included, and every byte of the file
counts. The opponent codes whole windows of 64 frames of the same clips, and is charged ideal code
lengths: no header, no rounding to bytes, not the first position of each window. Below a step of
0.014 its quantiser's limit, 60 steps, is raised to 160, for there it binds.
"""

from __future__ import annotations

import argparse
import importlib.util
import io
import platform
import sys
import time
from pathlib import Path
from types import ModuleType

import numpy as np
import torch

import motioncodec
from motioncodec.clip import METRES, Clip
from motioncodec.codec import Decoder, Settings, encode_clip
from motioncodec.io import read_clip
from motioncodec.model.config import PRESETS

RATE, SECONDS = 30.0, 4.0
TARGETS = {"f32": (1.0, 0.8), "f16": (1.0, 0.8), "f8": (1.3, 1.0)}
MEANS = {20.0: 0.70, 10.0: 0.75, 5.0: 0.75, 2.0: 0.80}
"""Mean errors in mm, and the shares of the opponent's bits that they are to take at most."""
STEPS = (
    3.5, 2.5, 1.8, 1.2, 0.8, 0.5, 0.3, 0.2, 0.12, 0.08, 0.05, 0.03, 0.02, 0.014, 0.01, 0.007, 0.005,
    0.0035,
)  # fmt: skip
LIMIT, FROM = 160, 0.014
"""The opponent's steps, and its limit below one of them."""

Curve = list[tuple[float, float]]


def load_opponent(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location("transform_coder", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def clips(folder: Path, joints: list[str], captured: bool = False) -> list[tuple[Clip, list[int]]]:
    """Clips over 4 s, at 30 frames a second or as they were ``captured``, and which of their joints
    count."""
    out = []
    for path in sorted(folder.glob("*.npz")):
        clip = read_clip(path)
        names = list(clip.skeleton.joints)
        rows = [names.index(joint) for joint in joints if joint in names]
        points = clip.keypoints[:, 0].astype(np.float64) * METRES[clip.units]
        if len(rows) < len(joints) or np.isnan(points[:, rows]).any():
            continue
        rate, moved = clip.frame_rate, points
        if not captured:
            rate, frames = RATE, int(len(points) / clip.frame_rate * RATE)
            at = np.arange(frames) * clip.frame_rate / RATE
            low = np.minimum(at.astype(int), len(points) - 2)
            w = (at - low)[:, None, None]
            moved = points[low] * (1 - w) + points[low + 1] * w
        if len(moved) / rate > SECONDS:
            out.append((Clip(moved[:, None], rate, clip.skeleton, units="m", up=clip.up), rows))
    return out


def measure(some: list[tuple[Clip, list[int]]], settings: Settings) -> dict[str, float]:
    """Bytes, bit rate, mean error in mm, and frames a second each way."""
    size, seconds = 0, 0.0
    encoding = decoding = 0.0
    errors = []
    for clip, rows in some:
        data = io.BytesIO()
        began = time.perf_counter()
        size += encode_clip(clip, data, settings)
        encoding += time.perf_counter() - began
        data.seek(0)
        began = time.perf_counter()
        decoded = Decoder(data, model=settings.model).clip()
        decoding += time.perf_counter() - began
        apart = decoded.keypoints[:, 0, rows].astype(np.float64) - clip.keypoints[:, 0, rows]
        errors.append(np.linalg.norm(apart, axis=-1).ravel() * 1000)
        seconds += clip.frames / RATE
    return {
        "bytes": size,
        "bit_s": 8 * size / seconds,
        "mpjpe": float(np.concatenate(errors).mean()),
        "encode": seconds * RATE / encoding,
        "decode": seconds * RATE / decoding,
    }


def opponent_curves(module: ModuleType, data: Path, sets: list[str]) -> dict[str, Curve]:
    """(bit/s, mm) of the opponent on the windows of clips over 4 s."""
    coder = module.TransformCoder(module.windows(str(data / "train"), 32))
    out = {}
    for name in sets:
        long = [x for x in module.clips(str(data / name)) if len(x) / RATE > SECONDS]
        size = module.T
        cut = [x[a : a + size] for x in long for a in range(0, len(x) - size + 1, size)]
        test = np.stack(cut)
        curve = []
        usual = module.LIMIT
        for step in STEPS:
            module.LIMIT = usual if step >= FROM else LIMIT
            rate, found = coder.run(test, step)
            curve.append((float(rate), float(np.linalg.norm(found - test, axis=-1).mean() * 1000)))
        module.LIMIT = usual
        out[name] = curve
    return out


def at_error(curve: Curve, error: float) -> float:
    """Rate at an error, as :func:`at_rate`."""
    y, x = np.log(np.array(sorted((e, r) for r, e in curve))).T
    return float(np.exp(np.interp(np.log(error), y, x, left=np.nan, right=np.nan)))


def at_rate(curve: Curve, rate: float) -> float:
    """Error at a rate, interpolated between measured points in logarithms; NaN beyond them."""
    x, y = np.log(np.array(sorted(curve))).T
    return float(np.exp(np.interp(np.log(rate), x, y, left=np.nan, right=np.nan)))


def table(rows: list[dict[str, object]]) -> str:
    lines = [
        "| set | preset | effort | bytes | bit/s | MPJPE | opponent at this rate | ratio "
        "| target | goal | encode | decode |",
        "|---|---|---|---|---|---|---|---|---|---|---|---|",
    ]
    for r in rows:
        target, goal = TARGETS[str(r["preset"])]
        lines.append(
            f"| {r['set']} | {r['preset']} | {r['effort']} | {r['bytes']:,} | {r['bit_s']:.0f} "
            f"| {r['mpjpe']:.1f} mm | {r['rival']:.1f} mm | **{r['ratio']:.2f}** "
            f"| {target:.2f} | {goal:.2f} | {r['encode']:,.0f} | {r['decode']:,.0f} |"
        )
    return "\n".join(lines) + "\n"


def means_table(rows: list[dict[str, object]]) -> str:
    lines = [
        "| set | asked | bit/s | MPJPE | opponent at this error | ratio | target "
        "| encode | decode |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for r in rows:
        target = MEANS.get(float(str(r["asked"]))) if r["way"] == "--mean-error" else None
        lines.append(
            f"| {r['set']} | `{r['way']} {r['asked']:g}` | {r['bit_s']:,.0f} | {r['mpjpe']:.2f} mm "
            f"| {r['rival']:,.0f} bit/s | **{r['ratio']:.2f}** "
            f"| {'' if target is None else format(target, '.2f')} "
            f"| {r['encode']:,.0f} | {r['decode']:,.0f} |"
        )
    return "\n".join(lines) + "\n"


def draw(
    rows: list[dict[str, object]],
    means: list[dict[str, object]],
    curves: dict[str, Curve],
    path: Path,
) -> None:
    """The plot of the README: needs matplotlib."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt
    from matplotlib.ticker import FuncFormatter

    colours = ("#0072b2", "#56b4e9", "#009e73", "#f0e442")
    figure, axes = plt.subplots(1, len(curves), figsize=(9, 3.8), sharey=True, squeeze=False)
    for axis, (name, curve) in zip(axes[0], curves.items()):
        x, y = np.array(sorted(curve)).T
        axis.plot(x, y, color="#d55e00", lw=1.8)
        near = int(np.argmin(np.abs(np.log(x / 330))))
        axis.annotate(
            "tailored transform coder\n(no header charged)", (x[near], y[near]), (16, 16),
            textcoords="offset points", color="#d55e00", fontsize=8,
        )  # fmt: skip
        efforts = sorted({int(str(r["effort"])) for r in rows})
        for colour, effort in zip(colours, efforts):
            mine = [r for r in rows if r["set"] == name and r["effort"] == effort]
            mine.sort(key=lambda r: float(str(r["bit_s"])))
            px = [float(str(r["bit_s"])) for r in mine]
            py = [float(str(r["mpjpe"])) for r in mine]
            axis.plot(px, py, "o-", color=colour, lw=1.8, ms=5, label=f"effort {effort}")
            if effort == efforts[0]:
                for r, a, b in zip(mine, px, py):
                    axis.annotate(
                        str(r["preset"]), (a, b), (4, 4), textcoords="offset points",
                        ha="left", fontsize=9, color=colour, weight="bold",
                    )  # fmt: skip
        for way, style, colour in (("--mean-error", "s--", "#404040"), ("--step", "D-", "#cc79a7")):
            kept = sorted(
                (float(str(r["bit_s"])), float(str(r["mpjpe"])))
                for r in means
                if r["set"] == name and r["way"] == way
            )
            if kept:
                px, py = (list(side) for side in zip(*kept))
                axis.plot(px, py, style, color=colour, lw=1.2, ms=4)
                at, off = (-1, (-8, -4)) if way == "--mean-error" else (1, (-8, -11))
                axis.annotate(
                    way, (px[at], py[at]), off, textcoords="offset points",
                    ha="right", fontsize=8, color=colour,
                )  # fmt: skip
        axis.set_xscale("log")
        axis.set_yscale("log")
        axis.set_xlim(40, 4500)
        axis.set_ylim(1.5, 150)
        plain = FuncFormatter(lambda v, _: f"{v:g}")
        axis.xaxis.set_major_formatter(plain)
        axis.yaxis.set_major_formatter(plain)
        axis.set_xticks([50, 100, 200, 500, 1000, 2000, 4000])
        axis.set_yticks([2, 5, 10, 20, 50, 100])
        axis.minorticks_off()
        axis.grid(color="#dddddd", lw=0.6)
        axis.set_title(name)
        axis.set_xlabel("bit/s, every byte of the file")
        for side in ("top", "right"):
            axis.spines[side].set_visible(False)
    axes[0][0].set_ylabel("MPJPE, mm")
    axes[0][-1].legend(frameon=False, fontsize=8, title="motioncodec", title_fontsize=8)
    figure.tight_layout()
    figure.savefig(path, dpi=150)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("--opponent", type=Path, required=True)
    parser.add_argument("--efforts", default=str(Settings().effort))
    parser.add_argument("--means", default=",".join(f"{mean:g}" for mean in MEANS))
    parser.add_argument("--spectra", default="420,200,130,90,57", help="steps in mm")
    parser.add_argument("--model", help="weights, by name or path; the default for 3D if absent")
    parser.add_argument("--limit", type=int, help="clips of each set at most")
    parser.add_argument("--markdown", type=Path)
    parser.add_argument("--plot", type=Path)
    options = parser.parse_args()
    module = load_opponent(options.opponent)
    curves = opponent_curves(module, options.data, ["val", "hdm05"])
    rows: list[dict[str, object]] = []
    means: list[dict[str, object]] = []
    counts = []
    for name in curves:
        some = clips(options.data / name, module.JOINTS)[: options.limit]
        counts.append(f"{name} {len(some)} ({sum(c.frames for c, _ in some) / RATE:.0f} s)")
        for effort in map(int, options.efforts.split(",")):
            for preset in PRESETS:
                got = measure(some, Settings(preset, options.model, effort=effort))
                rival = at_rate(curves[name], got["bit_s"])
                rows.append(
                    {"set": name, "preset": preset, "effort": effort, "rival": rival}
                    | {"ratio": got["mpjpe"] / rival, **got}
                )
                print(table(rows[-1:]).splitlines()[-1], file=sys.stderr, flush=True)
        ways = [
            (way, asked, Settings(model=options.model, **{field: asked}))
            for way, field, some_of in (
                ("--mean-error", "mean_error", options.means),
                ("--step", "step", options.spectra),
            )
            for asked in map(float, filter(None, some_of.split(",")))
        ]
        for way, asked, settings in ways:
            got = measure(some, settings)
            rival = at_error(curves[name], got["mpjpe"])
            means.append(
                {"set": name, "way": way, "asked": asked, "rival": rival}
                | {"ratio": got["bit_s"] / rival, **got}
            )
            print(means_table(means[-1:]).splitlines()[-1], file=sys.stderr, flush=True)
    text = (
        f"{table(rows)}\nBits with `--mean-error`, every clip's, and with `--step`, the same for "
        f"all clips as the opponent has it, over the opponent's at the very error that came "
        f"out:\n\n{means_table(means)}\nClips over {SECONDS:.0f} s: {', '.join(counts)}. Encode "
        f"and decode in frames a second. motioncodec {motioncodec.__version__}, torch "
        f"{torch.__version__}, Python {platform.python_version()}, {platform.machine()}, "
        f"{torch.get_num_threads()} threads.\n\nOpponent, bit/s and mm: "
        + "; ".join(
            f"{name} " + ", ".join(f"{rate:.0f} {error:.1f}" for rate, error in curve)
            for name, curve in curves.items()
        )
        + ".\n"
    )
    print(text)
    if options.markdown:
        options.markdown.write_text(
            "# Rate against error, beside a tailored transform coder\n\nWritten by "
            "`benchmarks/frontier.py`, whose first lines say what is measured and how. Ratio: "
            f"below 1 is better than the opponent.\n\n{text}"
        )
    if options.plot:
        draw(rows, means, curves, options.plot)


if __name__ == "__main__":
    main()
