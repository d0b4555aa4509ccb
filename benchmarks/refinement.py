"""What adversarial refinement does to motion: smearing, if there is any, shows here.

usage: python benchmarks/refinement.py DATA_DIR --model NAME_OR_PATH [--model ...]
           [--preset f16] [--limit N]

The 3D clips over 4 s of val and hdm05, resampled to 30 frames a second, encoded and decoded with
each model. Pooled over clips, joints and frames:

    MPJPE         mm, world coordinates, no alignment
    acceleration  mean length of the difference of second differences x 30^2, m/s^2
    jerk          mean length of third differences x 30^3, m/s^3, decoded over true: 1 is right,
                  below is smeared
    spectrum      dB: speeds of each joint in Hann windows of 64 frames, log power in each band up
                  to 15 Hz, mean over windows; the mean absolute difference decoded to true
    SSIM, PSNR, L1, T-Std    of rendered heatmap planes (64 x 64, sigma 1.5 px, every
                  fourth frame of at most 256, same placement for both):
                  motioncodec.heatmap.fidelity, T-Std over the clip
"""

from __future__ import annotations

import argparse
import io
from pathlib import Path

import numpy as np
from targets import clips

from motioncodec.clip import Clip
from motioncodec.codec import Decoder, Settings, encode_clip
from motioncodec.heatmap.fidelity import by_frame, t_std
from motioncodec.heatmap.rendering import render_heatmaps

RATE = 30.0


def spectrum(points: np.ndarray) -> np.ndarray:
    """(T, K, 3) metres to (K, 33) mean power of joint speeds by band."""
    speed = np.linalg.norm(np.diff(points, axis=0), axis=-1) * RATE
    cut = np.stack([speed[a : a + 64] for a in range(0, max(len(speed) - 63, 1), 32)])
    window = np.hanning(cut.shape[1])[None, :, None]
    power: np.ndarray = (np.abs(np.fft.rfft(cut * window, axis=1)) ** 2).mean(0).T
    return power


def volumes(clip: Clip, decoder: Decoder) -> dict[str, np.ndarray]:
    """SSIM, PSNR and L1 of each of some frames."""
    part = next(iter(decoder.parts()))
    frames = range(0, min(clip.frames, 256), 4)
    where = part.placement()
    decoded = decoder.clip().keypoints[:, 0].astype(np.float64)
    canonical = decoder.stream.canonical
    drawn = []
    for points in (clip.keypoints[:, 0].astype(np.float64), decoded):
        whole = np.full((len(where.size), 20, 3), np.nan)
        body = points[: len(whole)][:, decoder.stream.covered]
        whole[:, canonical] = body
        placed = where.apply(whole)[list(frames)]
        drawn.append(render_heatmaps(placed).astype(np.float32))  # (60, F, 64, 64)
    return by_frame(*drawn)


def measure(some: list[Clip], model: str, preset: str) -> dict[str, float]:
    size, seconds = 0, 0.0
    errors, accelerations, bands, uneven = [], [], [], []
    jerk = [0.0, 0.0]
    planes: dict[str, list[np.ndarray]] = {"SSIM": [], "PSNR": [], "L1": []}
    for clip in some:
        data = io.BytesIO()
        size += encode_clip(clip, data, Settings(preset, model))
        seconds += clip.duration
        data.seek(0)
        decoder = Decoder(data, model=model)
        here = np.isfinite(clip.keypoints[:, 0, :, 0]).all(axis=0)
        truth = clip.keypoints[:, 0, here].astype(np.float64)
        found = decoder.clip().keypoints[:, 0, here].astype(np.float64)
        errors.append(np.linalg.norm(found - truth, axis=-1).ravel() * 1000)
        apart = np.diff(found, 2, axis=0) - np.diff(truth, 2, axis=0)
        accelerations.append(np.linalg.norm(apart, axis=-1).ravel() * RATE**2)
        for i, points in enumerate((found, truth)):
            jerk[i] += float(np.linalg.norm(np.diff(points, 3, axis=0), axis=-1).sum())
        levels = [10 * np.log10(spectrum(points) + 1e-6) for points in (found, truth)]
        bands.append(np.abs(levels[0] - levels[1]).mean())
        by_frame = volumes(clip, decoder)
        uneven.append(t_std(by_frame))
        for name, values in by_frame.items():
            planes[name].append(values)
    return {
        "bit/s": 8 * size / seconds,
        "MPJPE mm": float(np.concatenate(errors).mean()),
        "acceleration m/s²": float(np.concatenate(accelerations).mean()),
        "jerk": jerk[0] / jerk[1],
        "spectrum dB": float(np.mean(bands)),
        **{name: float(np.concatenate(values).mean()) for name, values in planes.items()},
        "T-Std": float(np.mean(uneven)),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("--model", action="append", required=True)
    parser.add_argument("--preset", default="f16")
    parser.add_argument("--limit", type=int)
    options = parser.parse_args()
    head = ""
    for name in ("val", "hdm05"):
        some = clips(options.data / name)[: options.limit]
        for model in options.model:
            found = measure(some, model, options.preset)
            if not head:
                head = "| set | model | " + " | ".join(found) + " |\n" + "|---" * (len(found) + 2)
                print(head + "|")
            figures = " | ".join(f"{value:.4g}" for value in found.values())
            print(f"| {name} | {Path(model).stem} | {figures} |", flush=True)


if __name__ == "__main__":
    main()
