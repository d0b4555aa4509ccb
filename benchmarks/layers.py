"""Where the bits of a file go, what the learned prior saves, and what coding the placement costs.

usage: python benchmarks/layers.py DATA_DIR [--markdown OUT.md]

The 3D clips of benchmarks/targets.py. Bits of a layer: what a range coder makes of it alone, in
whole bytes of each clip; the rest is frame, header and flags, less what that rounding adds.
Static tables: the same tokens in ideal code lengths under the shares of the codes in training, a
table for each slot. Error added by placement: the mean error of whole files less that of the same
tokens under the clip's own, uncoded hips.
"""

from __future__ import annotations

import argparse
import io
from pathlib import Path

import numpy as np
from targets import clips

from motioncodec.bitstream.bones import code_bones
from motioncodec.bitstream.entropy import Coder, Encoder
from motioncodec.bitstream.network import BIT, NetworkPrior
from motioncodec.bitstream.trajectory import code_curve, code_knots
from motioncodec.clip import Clip
from motioncodec.codec import Decoder, Settings, encode_clip
from motioncodec.heatmap.placement import Placement, choose_anchor, dequantise_scale, find_hips
from motioncodec.model.config import PRESETS
from motioncodec.tracks import covered_joints, sample_canonical

LAYERS = ("hips", "heading", "bones", "tokens")


def static_bits(prior: NetworkPrior, tokens: np.ndarray) -> float:
    """Ideal bits of (steps, slots) tokens under the shares that the codes had in training."""
    total = 0.0
    at = 0
    for group, size in enumerate(prior.sizes):
        rows = slice(at, at + prior.width * size)
        at = rows.stop
        lengths = prior.tensors.lengths[rows].reshape(prior.width, size) / BIT
        lengths = lengths + np.log2((2.0**-lengths).sum(axis=1, keepdims=True))
        mine = tokens[:, group * prior.width : (group + 1) * prior.width]
        total += float(lengths[np.arange(prior.width), mine].sum())
    return total


def layers(clip: Clip, preset: str) -> dict[str, float]:
    """Bits of each layer of a one-person clip, and errors in mm with coded and with true hips."""
    data = io.BytesIO()
    size = encode_clip(clip, data, Settings(preset=preset))
    data.seek(0)
    decoder = Decoder(data)
    header, stream = decoder.header, decoder.stream
    chunks = dict(decoder._load(range(header.chunks), 0))
    mine = {c: people[0] for c, people in chunks.items()}
    bits = dict.fromkeys((*LAYERS, "static"), 0.0)

    def alone(write: object, *given: object) -> int:
        coder: Coder = Encoder()
        write(coder, *given)  # type: ignore[operator]
        return 8 * len(coder.finish())  # type: ignore[attr-defined]

    for c, one in mine.items():
        bits["hips"] += alone(code_curve, one.origin, stream.layout(c).hips)
        bits["heading"] += alone(code_knots, one.turn, "heading")
        bits["bones"] += alone(code_bones, one.bones, header.depth)
        coder = Encoder()
        for prior, tokens, level in zip(stream.priors, one.tokens, range(9)):
            assert isinstance(prior, NetworkPrior)
            prior.code(coder, tokens, one.tokens[:level])
            bits["static"] += static_bits(prior, tokens)
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
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("--markdown", type=Path)
    options = parser.parse_args()
    lines = [
        "| set | preset | all | tokens | static tables | saved | hips | heading | bones | the rest "
        "| error added by placement |",
        "|---|---|---|---|---|---|---|---|---|---|---|",
    ]
    print("\n".join(lines), flush=True)
    for name in ("val", "hdm05"):
        some = clips(options.data / name)
        seconds = sum(clip.duration for clip in some)
        for preset in PRESETS:
            rows = [layers(clip, preset) for clip in some]
            total = {key: sum(row[key] for row in rows) for key in rows[0]}
            rate = {key: total[key] / seconds for key in ("all", "static", *LAYERS)}
            rest = rate["all"] - sum(rate[key] for key in LAYERS)
            added = (total["coded"] - total["exact"]) / total["joints"] * 1000
            lines.append(
                f"| {name} | {preset} | {rate['all']:.1f} | {rate['tokens']:.1f} "
                f"| {rate['static']:.1f} | {1 - rate['tokens'] / rate['static']:.1%} "
                f"| {rate['hips']:.1f} | {rate['heading']:.1f} | {rate['bones']:.1f} "
                f"| {rest:.1f} | {added:.2f} mm |"
            )
            print(lines[-1], flush=True)
    if options.markdown:
        options.markdown.write_text(
            "# Where the bits go\n\nBits a second, written by `benchmarks/layers.py`, whose first "
            "lines say what is measured and how.\n\n" + "\n".join(lines) + "\n"
        )


if __name__ == "__main__":
    main()
