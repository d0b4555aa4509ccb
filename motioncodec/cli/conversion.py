"""``encode`` and ``decode``."""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Callable
from pathlib import Path, PurePath
from typing import TYPE_CHECKING, Any, BinaryIO

import click

from motioncodec.cli.options import (
    CONTEXT,
    QUALITIES,
    device_option,
    force_option,
    frames_option,
    model_option,
    output_dir_option,
    output_option,
    quality_options,
    quiet_option,
    reading_options,
    remove_option,
)
from motioncodec.cli.outputs import (
    STANDARD,
    SUFFIX,
    Job,
    opened,
    pair,
    refuse_existing,
    remove_input,
    scratch,
    written,
)
from motioncodec.cli.reporting import Report, explain, printable
from motioncodec.errors import ModelError, UsageError
from motioncodec.io import FORMATS, WRITERS, read_clip, write_clip

if TYPE_CHECKING:
    from motioncodec.clip import Clip
    from motioncodec.codec import Decoder, Settings

_TEXT = ("csv", "json")
"""Formats that a terminal can show."""


def encoded_name(source: str) -> str:
    """``walk.v2.bvh`` to ``walk.v2.mtok``: the suffix of a known format goes, no other does."""
    path = PurePath(source)
    known = {suffix for one in FORMATS.values() for suffix in one.suffixes}
    bare = path.suffix.lower() in known and not os.path.isdir(source)
    return (path.name[: -len(path.suffix)] if bare else path.name) + SUFFIX


def decoded_name(source: str, suffix: str) -> str:
    """``walk.v2.mtok`` to ``walk.v2`` and a suffix."""
    name = PurePath(source).name
    bare = name.lower().endswith(SUFFIX) and len(name) > len(SUFFIX)
    return (name[: -len(SUFFIX)] if bare else name) + suffix


def check_model(model: str | None, device: str) -> None:
    """Fails before the first file what would fail for every file.

    Raises:
        UsageError: no such weights, or no such device.
    """
    from motioncodec.model.weights import find_weights, resolve_device

    try:
        if model is not None:
            find_weights(model).config  # noqa: B018 - reading it is the check
        if device == "cuda":
            resolve_device(device)
    except ModelError as error:
        raise UsageError(explain(error)) from error


def open_stream(
    file: BinaryIO, device: str, model: str | None, *, salvage: bool = False
) -> Decoder:
    """A ``.mtok`` stream, decoded with weights of the caller's where some are given."""
    from motioncodec.codec import Decoder

    return Decoder(file, device, model, salvage=salvage)


def read_source(source: str, label: str, options: dict[str, Any]) -> Clip:
    """A clip from a path or ``-``."""
    if source == STANDARD:
        return read_clip(sys.stdin.buffer, name=label, **options)
    return read_clip(source, **options)


def prepare(
    inputs: tuple[str, ...],
    output: str | None,
    output_dir: str | None,
    rename: Callable[[str], str],
    *,
    model: str | None,
    device: str,
    binary: bool = True,
    force: bool,
    remove: bool,
) -> list[Job]:
    """What :func:`pair` gives, after all that would fail for every file and with the folder of the
    outputs made."""
    jobs = pair(inputs, output, output_dir, rename, binary=binary, force=force, remove=remove)
    check_model(model, device)
    if output_dir is not None:
        os.makedirs(output_dir, exist_ok=True)
    return jobs


@click.command(context_settings=CONTEXT)
@click.argument("inputs", nargs=-1, required=True, metavar="IN...")
@output_option
@output_dir_option
@quality_options
@click.option(
    "--lossless", is_flag=True, help="Every float32 as it is, to the bit; no model, no tokens."
)
@model_option
@click.option(
    "--confidence",
    type=click.Choice(["off", "4", "8"]),
    default="4",
    show_default=True,
    help="Bits that each confidence is kept with, where the input has them.",
)
@device_option
@reading_options
@force_option
@remove_option
@quiet_option
def encode(
    inputs: tuple[str, ...],
    output: str | None,
    output_dir: str | None,
    quality: dict[str, Any],
    lossless: bool,
    model: str | None,
    confidence: str,
    device: str,
    reading: dict[str, Any],
    force: bool,
    remove: bool,
    quiet: bool,
) -> int:
    """Encode clips to .mtok files.

    IN is a BVH, CSV, npz, npy or JSON file, a folder of JSON frames, or - for standard input. The
    output is written beside it: walk.v2.bvh becomes walk.v2.mtok. Inputs are kept.
    """
    from motioncodec.codec import Settings, encode_clip

    jobs = prepare(
        inputs, output, output_dir, encoded_name,
        model=model, device=device, force=force, remove=remove,
    )  # fmt: skip
    if lossless and any(quality[name] for name in QUALITIES):
        raise UsageError("--lossless: expected no preset, error or bit rate beside it, found one")
    bits = 0 if confidence == "off" else int(confidence)
    settings = Settings(
        **quality, model=model, device=device, confidence_bits=bits, lossless=lossless
    )
    report = Report(quiet)
    with report.bar(len(jobs) if len(jobs) > 1 else None, "encode", "file", scale=False) as done:
        for job in jobs:
            with report.about(job.label):
                refuse_existing(job, force)
                clip = read_source(job.source, job.label, reading)
                data = _gathered(encode_clip, clip, clip.frames, settings, report, job.label)
                _deliver(data, clip.frames, clip.duration, job, force, remove, report)
            done(1)
    return report.status


def _gathered(
    make: Callable[[Any, BinaryIO, Settings, Callable[[int], object]], int],
    source: object,
    frames: int,
    settings: Settings,
    report: Report,
    label: str,
) -> bytes:
    """A stream, whole: small, and so that a failure leaves no half of one."""
    target = io.BytesIO()
    # Tokens and bytes of a frame count one each.
    with report.bar(2 * frames, label, "frame") as done:
        make(source, target, settings, done)
    return target.getvalue()


def _deliver(
    data: bytes, frames: int, duration: float, job: Job, force: bool, remove: bool, report: Report
) -> None:
    """Writes a stream and says so."""
    with written(job, force, durable=remove) as target:
        target.write(data)
    if remove:
        remove_input(job)
    if job.target != STANDARD:
        rate = 8 * len(data) / duration if frames else 0.0
        report.say(
            f"{printable(job.label)}: {printable(job.target)}, {frames} frames, "
            f"{len(data):,} bytes, {rate:,.0f} bit/s"
        )


def trimmed_name(source: str) -> str:
    """``walk.v2.mtok`` to ``walk.v2.trim.mtok``."""
    return decoded_name(source, f".trim{SUFFIX}")


@click.command(context_settings=CONTEXT)
@click.argument("inputs", nargs=-1, required=True, metavar="IN.mtok...")
@output_option
@output_dir_option
@quality_options
@model_option
@device_option
@force_option
@remove_option
@quiet_option
def trim(
    inputs: tuple[str, ...],
    output: str | None,
    output_dir: str | None,
    quality: dict[str, Any],
    model: str | None,
    device: str,
    force: bool,
    remove: bool,
    quiet: bool,
) -> int:
    """Make .mtok files coarser and smaller, without what they were made of.

    From files with a bound, or lossless ones, to a larger bound; from any to a coarser preset. The
    output is written beside the input: walk.mtok becomes walk.trim.mtok. Inputs are kept.
    """
    from motioncodec.codec import Settings, trim

    if not any(quality[name] for name in QUALITIES):
        raise UsageError(
            "trim: expected --max-error, --mean-error, --bitrate or --preset, found none"
        )
    jobs = prepare(
        inputs, output, output_dir, trimmed_name,
        model=model, device=device, force=force, remove=remove,
    )  # fmt: skip
    settings = Settings(**quality, device=device)
    report = Report(quiet)
    with report.bar(len(jobs) if len(jobs) > 1 else None, "trim", "file", scale=False) as done:
        for job in jobs:
            with report.about(job.label):
                refuse_existing(job, force)
                with opened(job.source) as file:
                    size = file.seek(0, 2)
                    file.seek(0)
                    decoder = open_stream(file, device, model)
                    header = decoder.header
                    data = _gathered(trim, decoder, header.frames, settings, report, job.label)
                if len(data) >= size:
                    raise UsageError(
                        f"expected a stream of fewer than its {size:,} bytes, found "
                        f"{len(data):,}; ask for something coarser"
                    )
                duration = header.frames / header.frame_rate
                _deliver(data, header.frames, duration, job, force, remove, report)
            done(1)
    return report.status


@click.command(context_settings=CONTEXT)
@click.argument("inputs", nargs=-1, required=True, metavar="IN.mtok...")
@output_option
@output_dir_option
@click.option(
    "--to",
    "kind",
    type=click.Choice(["keypoints", "heatmaps", "tokens"]),
    default="keypoints",
    show_default=True,
    help="What to decode to; heatmaps and tokens are written as npz.",
)
@click.option(
    "--format",
    "output_format",
    type=click.Choice(WRITERS),
    help="Format of keypoints.  [default: by the suffix of -o, else npz]",
)
@frames_option
@click.option(
    "--heatmap-size",
    type=click.IntRange(4, 4096),
    default=64,
    show_default=True,
    metavar="N",
    help="Pixels along each side of a heatmap.",
)
@click.option(
    "--sigma",
    type=click.FloatRange(0, 4096, min_open=True),
    default=1.5,
    show_default=True,
    metavar="S",
    help="Spread of the Gaussians in heatmaps, in pixels.",
)
@click.option(
    "--dense", is_flag=True, help="Heatmaps of 3D clips as voxels in place of three projections."
)
@click.option(
    "--salvage",
    is_flag=True,
    help="From a damaged file what is whole; joints are missing in the rest. Fails all the same.",
)
@model_option
@device_option
@force_option
@remove_option
@quiet_option
def decode(
    inputs: tuple[str, ...],
    output: str | None,
    output_dir: str | None,
    kind: str,
    output_format: str | None,
    frames: tuple[int, int | None] | None,
    heatmap_size: int,
    sigma: float,
    dense: bool,
    salvage: bool,
    model: str | None,
    device: str,
    force: bool,
    remove: bool,
    quiet: bool,
) -> int:
    """Decode .mtok files to keypoints, heatmaps or tokens.

    The output is written beside the input: walk.mtok becomes walk.npz, walk.heatmaps.npz or
    walk.tokens.npz. Inputs are kept.
    """
    if salvage and (remove or kind == "tokens"):
        raise UsageError("--salvage: expected neither --rm nor --to tokens beside it, found one")
    chosen = _output_format(kind, output, output_format)
    suffix = FORMATS[chosen].suffixes[0] if kind == "keypoints" else f".{kind}.npz"
    jobs = prepare(
        inputs, output, output_dir, lambda source: decoded_name(source, suffix),
        model=model, device=device, binary=chosen not in _TEXT, force=force, remove=remove,
    )  # fmt: skip
    report = Report(quiet)
    with report.bar(len(jobs) if len(jobs) > 1 else None, "decode", "file", scale=False) as done:
        for job in jobs:
            with report.about(job.label):
                refuse_existing(job, force)
                with opened(job.source) as file:
                    decoder = open_stream(file, device, model, salvage=salvage)
                    some = _frames(decoder, frames)
                    if kind == "keypoints":
                        _decode_keypoints(decoder, some, job, force, remove, chosen, report)
                    elif kind == "tokens":
                        _decode_tokens(decoder, some, job, force, remove)
                    else:
                        look = {"size": heatmap_size, "sigma": sigma, "dense": dense}
                        _decode_heatmaps(decoder, some, job, force, remove, look, report)
                if remove:
                    remove_input(job)
                for chunk in sorted(decoder.damaged):
                    first, last = decoder.header.frame_span(chunk)
                    beside = "; frames beside them may be beyond the bound"
                    report.fail(
                        job.label,
                        f"frames {first}:{last} are damaged and left missing"
                        + (beside if decoder.header.bound else ""),
                    )
                if job.target != STANDARD:
                    count = len(decoder.frames(some))
                    report.say(
                        f"{printable(job.label)}: {printable(job.target)}, {count} frames of {kind}"
                    )
            done(1)
    return report.status


def _output_format(kind: str, output: str | None, given: str | None) -> str:
    """Format of the outputs."""
    suffix = "" if output in (None, STANDARD) else Path(str(output)).suffix.lower()
    by_suffix = next((one.name for one in FORMATS.values() if suffix in one.suffixes), None)
    if kind != "keypoints":
        if (given or by_suffix or "npz") != "npz":
            raise UsageError(f"--to {kind}: expected the format npz, found {given or by_suffix}")
        return "npz"
    if given is not None:
        return given
    if suffix and by_suffix not in WRITERS and os.path.exists(str(output)) is False:
        raise UsageError(
            f"-o {output}: expected a suffix of {', '.join(WRITERS)}, found {suffix}; name the "
            "format with --format"
        )
    return by_suffix if by_suffix in WRITERS else "npz"


def _frames(decoder: Decoder, asked: tuple[int, int | None] | None) -> range | None:
    if asked is None:
        return None
    start, stop = asked
    return decoder.frames(range(start, decoder.header.frames if stop is None else stop))


def _decode_keypoints(
    decoder: Decoder,
    frames: range | None,
    job: Job,
    force: bool,
    durable: bool,
    output_format: str,
    report: Report,
) -> None:
    with report.bar(len(decoder.frames(frames)), job.label, "frame") as done:
        clip = decoder.clip(frames, done)
    with written(job, force, durable=durable) as target:
        write_clip(clip, target, format=output_format)


def _decode_tokens(
    decoder: Decoder, frames: range | None, job: Job, force: bool, durable: bool
) -> None:
    from motioncodec.cli.archives import write_tokens

    with written(job, force, durable=durable) as target:
        write_tokens(decoder, frames, target)


def _decode_heatmaps(
    decoder: Decoder,
    frames: range | None,
    job: Job,
    force: bool,
    durable: bool,
    look: dict[str, Any],
    report: Report,
) -> None:
    from motioncodec.cli.archives import write_heatmaps

    total = len(decoder.frames(frames)) * decoder.header.people
    with (
        report.bar(total, job.label, "frame") as done,
        scratch(job) as space,
        written(job, force, durable=durable) as target,
    ):
        write_heatmaps(decoder, frames, target, space, done, **look)
