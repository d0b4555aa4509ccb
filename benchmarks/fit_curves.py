"""Fits the tables that curves of joints outside the body begin with: bitstream/curves.bin.

usage: python benchmarks/fit_curves.py TRAIN_DIR [--clips 400] [--seed 1]

Training clips have 20 joints, all of them a body's, so what lies outside is made up: bodies under
names that no model knows, markers on skin that slides, hands and feet whose joints bend or do not,
and all of that as cameras see it, with a detector's noise or without. Under presets and at the
steps of mean errors. The tables are part of the format (section 8.12), and what fits them encodes
with them, if not much depends on it: to run this again makes another format.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from motioncodec.bitstream import curves
from motioncodec.bitstream.entropy import normalise
from motioncodec.bitstream.header import step_exponent
from motioncodec.clip import Clip
from motioncodec.codec import Settings
from motioncodec.encoding import encoded
from motioncodec.io import read_clip
from motioncodec.skeleton import CANONICAL, Skeleton
from motioncodec.training.data import canonical_points

Float64 = NDArray[np.float64]

AXES = {
    "left_wrist": ("left_elbow", "left_shoulder"), "right_wrist": ("right_elbow", "right_shoulder"),
    "head": ("neck", "left_shoulder"), "left_ankle": ("left_knee", "left_hip"),
    "right_ankle": ("right_knee", "right_hip"), "left_elbow": ("left_shoulder", "neck"),
    "right_elbow": ("right_shoulder", "neck"), "left_knee": ("left_hip", "right_hip"),
    "right_knee": ("right_hip", "left_hip"), "pelvis": ("left_hip", "right_hip"),
    "chest": ("left_shoulder", "right_shoulder"), "left_toe": ("left_ankle", "left_knee"),
    "right_toe": ("right_ankle", "right_knee"),
}  # fmt: skip
"""Joints, and the two that their axes are found with."""

HANDS, MORE = ("left_wrist", "right_wrist"), ("head", "left_ankle", "right_ankle", "pelvis")
KINDS = ("plain", "markers", "hands", "hands", "flat")


def axes_of(body: Float64, name: str) -> tuple[Float64, Float64] | None:
    """(T, 3) a joint, and (T, 3, 3) axes that turn with it, in columns; None where one is gone."""
    joint, along, beside = (body[:, CANONICAL.index(n)] for n in (name, *AXES[name]))
    if np.isnan([joint, along, beside]).any():
        return None

    def unit(vectors: Float64) -> Float64:
        out: Float64 = vectors / np.maximum(np.linalg.norm(vectors, axis=-1, keepdims=True), 1e-6)
        return out

    u = unit(joint - along)
    w = unit(np.cross(u, beside - joint))
    return joint, np.stack([u, np.cross(w, u), w], axis=-1)


def swaying(rng: np.random.Generator, frames: int, rate: float, size: float) -> Float64:
    """(T,) smooth noise of this standard deviation."""
    reach = int(rate * rng.uniform(0.3, 1.5))
    raw = rng.normal(size=frames + 8 * reach)
    out: Float64 = np.convolve(raw, np.hanning(2 * reach + 3), "same")[4 * reach :][:frames]
    return size * out / (out.std() + 1e-9)


def markers(rng: np.random.Generator, body: Float64, rate: float) -> list[Float64]:
    """Two to four on the skin about each joint."""
    out = []
    for name in AXES:
        if (found := axes_of(body, name)) is None:
            continue
        joint, axes = found
        for _ in range(rng.integers(2, 5)):
            place = rng.normal(size=3) * rng.uniform(0.03, 0.12)
            slides = [swaying(rng, len(body), rate, rng.uniform(0, 0.004)) for _ in range(3)]
            out.append(joint + np.einsum("tij,tj->ti", axes, place + np.stack(slides, axis=-1)))
    return out


def fingers(rng: np.random.Generator, body: Float64, rate: float) -> list[Float64]:
    """Rows of joints beyond the ends of limbs, stiff or bending."""
    out = []
    for name in HANDS + (MORE if rng.random() < 0.5 else ()):
        if (found := axes_of(body, name)) is None:
            continue
        joint, axes = found
        turns = [swaying(rng, len(body), rate, rng.choice([0, 0, 0.2, 0.4])) for _ in range(2)]
        bend = swaying(rng, len(body), rate, rng.choice([0, 0, 0, 0.2, 0.5]))
        for finger in range(rng.integers(2, 6)):
            at = joint
            for bone in range(rng.integers(1, 5)):
                a = turns[0] + (bend * (0.5 + 0.2 * finger) if bone else 0)
                along = np.stack(
                    [
                        np.cos(a) * np.cos(turns[1]),
                        np.sin(turns[1]) + (finger - 2) * 0.15,
                        np.sin(a),
                    ],
                    axis=-1,
                )
                at = at + np.einsum("tij,tj->ti", axes, along * (0.03 if bone else 0.08))
                out.append(at)
    return out


def projected(rng: np.random.Generator, points: Float64) -> Float64:
    """(T, K, 2) pixels of (T, K, 3) points, some joints of a detector shakier than others."""
    angle = rng.uniform(0, 2 * np.pi)
    about = points - points.mean(axis=(0, 1))
    c, s = np.cos(angle), np.sin(angle)
    x, z = c * about[..., 0] + s * about[..., 2], c * about[..., 2] - s * about[..., 0]
    shrink = rng.uniform(400, 1200) / (z + rng.uniform(3, 6))
    flat = np.stack([960 + x * shrink, 540 - about[..., 1] * shrink], axis=-1)
    shakes = rng.choice([0, 0.5, 1.5]) * rng.uniform(0.3, 2, size=(points.shape[1], 1))
    out: Float64 = flat + rng.normal(size=flat.shape) * shakes
    return out


def made_up(rng: np.random.Generator, source: Clip) -> Clip | None:
    """Some seconds of a training clip, with joints that it has not got."""
    frames = min(source.frames, int(source.frame_rate * rng.uniform(1.5, 14)))
    start = rng.integers(0, source.frames - frames + 1)
    body = canonical_points(source, 0)[start : start + frames]
    kind = rng.choice(KINDS)
    whole = [j for j in range(len(CANONICAL)) if not np.isnan(body[:, j]).any()]
    known = [CANONICAL[j] for j in whole]
    points = [body[:, j] for j in whole]
    if kind == "markers":
        known, points = [], markers(rng, body, source.frame_rate)
    elif kind != "plain":
        points += fingers(rng, body, source.frame_rate)
    if not points:
        return None
    values = np.stack(points, axis=1)
    if kind == "flat":
        values = projected(rng, values)
    if kind == "plain" or (kind == "flat" and rng.random() < 0.5):
        known = []
    names = known + [f"m{i}" for i in range(len(points) - len(known))]
    return Clip(
        values[:, None].astype(np.float32),
        frame_rate=source.frame_rate,
        skeleton=Skeleton(tuple(names)),
        units="px" if kind == "flat" else "m",
    )


def save_tables(file: str, totals: list[Float64]) -> None:
    """Tables to begin with, from how often each had each symbol."""
    path = Path(curves.__file__).with_name(file)
    tables = [normalise(total + 0.4) for total in totals]
    path.write_bytes(b"".join(table.astype("<u2").tobytes() for table in tables))
    print(f"{file}: {path.stat().st_size} bytes, from {[int(t.sum()) for t in totals]} symbols")


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("train", type=Path)
    parser.add_argument("--clips", type=int, default=400)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    rng = np.random.default_rng(options.seed)
    paths = sorted(options.train.glob("*.npz"))
    totals = [np.zeros(shape) for shape in curves.SHAPES]
    for _ in range(options.clips):
        clip = made_up(rng, read_clip(paths[rng.integers(len(paths))]))
        if clip is None:
            continue
        encoding = encoded(clip, Settings(preset=str(rng.choice(["f32", "f16", "f8"]))), None)
        stream = encoding.stream
        mean = rng.uniform(2, 20) * (0.001 if clip.dims == 3 else 0.3)
        for step in (stream.header.keypoint_step, step_exponent(3 * mean)):
            stream.header = replace(stream.header, keypoint_step=step)
            for chunk, one in encoding.people[0].items():
                encoding.known(0, chunk)
                assert one.extra is not None
                found = curves.count_contexts(one.extra, len(stream.extra))
                totals = [total + more for total, more in zip(totals, found)]
    save_tables(curves.JOINTS, totals)


if __name__ == "__main__":
    main()
