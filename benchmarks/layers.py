"""Where the bits of a file go, and what the coding of placement adds to the error.

usage: python benchmarks/layers.py DATA_DIR

The 3D clips of benchmarks/targets.py. Bits of a layer: what a range coder makes of it alone.
Error added by placement: the mean error of whole files less that of the same tokens under the
clip's own, uncoded hips.
"""

from __future__ import annotations

import io
import sys
from pathlib import Path

import numpy as np
from targets import clips

from motioncodec.bitstream.entropy import Encoder
from motioncodec.bitstream.trajectory import code_curve, code_knots
from motioncodec.clip import Clip
from motioncodec.codec import Decoder, Settings, encode_clip
from motioncodec.heatmap.placement import Placement, choose_anchor, dequantise_scale, find_hips
from motioncodec.model.config import PRESETS
from motioncodec.tracks import covered_joints, sample_canonical


def layers(clip: Clip, preset: str) -> dict[str, float]:
    """Bits of each layer of a one-person clip, and errors in mm with coded and with true hips."""
    data = io.BytesIO()
    size = encode_clip(clip, data, Settings(preset=preset))
    data.seek(0)
    decoder = Decoder(data)
    header, stream = decoder.header, decoder.stream
    chunks = decoder._load(range(header.chunks), 0)
    mine = {c: people[0] for c, people in chunks.items()}
    bits = {"placement": 0, "tokens": 0}
    for one in mine.values():
        assert one.origin is not None and one.turn is not None
        coder = Encoder()
        code_curve(coder, one.origin, "hips")
        code_knots(coder, one.turn, "heading")
        bits["placement"] += 8 * len(coder.finish())
        coder = Encoder()
        for prior, tokens in zip(stream.priors, one.tokens):
            prior.code(coder, tokens)
        bits["tokens"] += 8 * len(coder.finish())
    end = header.span(header.chunks - 1)[1]
    coded = stream.decode_body(mine, 0, 0, end)[: clip.frames]
    samples = sample_canonical(clip, 0, 0, end)
    points = np.where(samples.seen[..., None], samples.points, np.nan)
    scale = dequantise_scale(header.scales[0])
    hips = find_hips(points, scale, choose_anchor(samples.seen))[: clip.frames]
    where = stream.placement(mine, 0, 0, end)
    assert where.heading is not None
    now = Placement(
        where.origin[: clip.frames], where.size[: clip.frames], where.heading[: clip.frames]
    )
    covered, canonical = covered_joints(clip.skeleton)
    body = now.apply(coded)
    exact = Placement(hips, now.size, now.heading).invert(body)
    truth = points[: clip.frames][:, canonical]
    return {
        "all": 8 * size,
        **bits,
        "coded": float(np.nansum(np.linalg.norm(coded[:, covered] - truth, axis=-1))),
        "exact": float(np.nansum(np.linalg.norm(exact[:, covered] - truth, axis=-1))),
        "joints": float(np.isfinite(truth[..., 0]).sum()),
    }


def main() -> None:
    data = Path(sys.argv[1])
    print("| set | preset | tokens | placement | of tokens | the rest | error added by placement |")
    print("|---|---|---|---|---|---|---|")
    for name in ("val", "hdm05"):
        some = clips(data / name)
        seconds = sum(clip.duration for clip in some)
        for preset in PRESETS:
            rows = [layers(clip, preset) for clip in some]
            total = {key: sum(row[key] for row in rows) for key in rows[0]}
            tokens, placed = total["tokens"] / seconds, total["placement"] / seconds
            rest = total["all"] / seconds - tokens - placed
            added = (total["coded"] - total["exact"]) / total["joints"] * 1000
            print(
                f"| {name} | {preset} | {tokens:.0f} bit/s | {placed:.0f} bit/s "
                f"| {placed / tokens:.0%} | {rest:.0f} bit/s | {added:.2f} mm |",
                flush=True,
            )


if __name__ == "__main__":
    main()
