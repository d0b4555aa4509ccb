"""Hard bounds: bits a second at a maximum error, beside quantising, differencing and packing.

usage: python benchmarks/bounds.py DATA_DIR [--bounds 20,10,5,2,1] [--sets val,hdm05]
           [--preset f32] [--limit N] [--markdown OUT.md]

The clips of benchmarks/frontier.py, given to everybody with 18 joints alone, in world coordinates,
at 30 frames a second, in float32. Every byte counts. The bound is on the distance of every joint in
every frame, and is checked on what comes back.

The peer rounds every coordinate to a grid on which no joint is off by more than the bound (steps of
2 E / sqrt 3), takes second differences over time, and packs them as int16 or int32 planes with
zstandard at level 19 or xz at 9e, whichever is smaller for a clip: the best of what there is in a
toolbox. It has no header.
"""

from __future__ import annotations

import argparse
import io
import lzma
import platform
import sys
import time
from pathlib import Path

import numpy as np
import torch
import zstandard
from frontier import RATE, clips

import motioncodec
from motioncodec.clip import Clip
from motioncodec.codec import Decoder, Settings, encode_clip
from motioncodec.skeleton import CANONICAL, Skeleton

JOINTS = [name for name in CANONICAL if name not in ("chest", "head_top")]


def packed(points: np.ndarray, bound: float) -> tuple[int, float]:
    """Bytes of the peer for (T, K, 3) points, and the largest error."""
    step = 2 * bound / np.sqrt(3) * 0.9999
    whole = np.rint(points / step).astype(np.int64)
    moved = np.concatenate([whole[:1], np.diff(whole, axis=0)])
    moved = np.concatenate([moved[:2], np.diff(moved[1:], axis=0)]).reshape(len(points), -1)
    kind = np.int16 if np.abs(moved).max() < 2**15 else np.int32
    # A channel after the other, bytes of one weight together: what packers do best with.
    planes = moved.T.astype(kind).reshape(-1).view(np.uint8).reshape(-1, np.dtype(kind).itemsize).T
    raw = np.ascontiguousarray(planes).tobytes()
    size = min(
        len(zstandard.ZstdCompressor(level=19).compress(raw)),
        len(lzma.compress(raw, preset=9 | lzma.PRESET_EXTREME)),
    )
    return size, float(np.linalg.norm(whole * step - points, axis=-1).max())


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("--bounds", default="20,10,5,2,1")
    parser.add_argument("--sets", default="val,hdm05")
    parser.add_argument("--preset")
    parser.add_argument("--limit", type=int)
    parser.add_argument("--markdown", type=Path)
    options = parser.parse_args()
    lines = [
        "| set | bound | bit/s | mean error | largest | peer, bit/s | ratio | encode | decode |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for name in options.sets.split(","):
        some = []
        for clip, rows in clips(options.data / name, JOINTS)[: options.limit]:
            skeleton = Skeleton.from_names([clip.skeleton.joints[row] for row in rows])
            points = clip.keypoints[:, :, rows]
            some.append(Clip(points, RATE, skeleton, units="m", up=clip.up))
        seconds = sum(clip.duration for clip in some)
        for bound in map(float, options.bounds.split(",")):
            size = peer = 0
            encoding = decoding = largest = total = count = 0.0
            for clip in some:
                data = io.BytesIO()
                began = time.perf_counter()
                size += encode_clip(clip, data, Settings(options.preset, max_error=bound))
                encoding += time.perf_counter() - began
                data.seek(0)
                began = time.perf_counter()
                decoded = Decoder(data).clip()
                decoding += time.perf_counter() - began
                true = clip.keypoints.astype(np.float64)
                apart = np.linalg.norm(decoded.keypoints.astype(np.float64) - true, axis=-1) * 1000
                largest = max(largest, float(apart.max()))
                total, count = total + float(apart.sum()), count + apart.size
                theirs, worst = packed(true[:, 0], bound / 1000)
                assert worst <= bound / 1000
                peer += theirs
            assert largest <= bound, f"{largest} mm at a bound of {bound} mm"
            frames = sum(clip.frames for clip in some)
            lines.append(
                f"| {name} | {bound:g} mm | {8 * size / seconds:,.0f} | {total / count:.2f} mm "
                f"| {largest:.3f} mm | {8 * peer / seconds:,.0f} | **{size / peer:.2f}** "
                f"| {frames / encoding:,.0f} | {frames / decoding:,.0f} |"
            )
            print(lines[-1], file=sys.stderr, flush=True)
    text = "\n".join(lines) + (
        f"\n\nEncode and decode in frames a second, preset {options.preset}. motioncodec "
        f"{motioncodec.__version__}, torch {torch.__version__}, Python "
        f"{platform.python_version()}, {platform.machine()}, {torch.get_num_threads()} threads.\n"
    )
    print(text)
    if options.markdown:
        options.markdown.write_text(
            "# Hard bounds\n\nWritten by `benchmarks/bounds.py`, whose first lines say what is "
            f"measured and how.\n\n{text}"
        )


if __name__ == "__main__":
    main()
