"""``encode``, ``decode`` and ``trim``."""

from __future__ import annotations

import io
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePath
from typing import TYPE_CHECKING, Any, BinaryIO

import click

from motioncodec.batch.inputs import ARCHIVE_SUFFIXES, STANDARD, Input, Wanted
from motioncodec.batch.manifest import Outcome, Task
from motioncodec.batch.running import bytes_of
from motioncodec.cli.batches import Batch, Orders, batch_options, tried
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
    SUFFIX,
    Output,
    opened_input,
    remove_input,
    scratch,
)
from motioncodec.cli.reporting import Report, explain, printable
from motioncodec.errors import ModelError, UsageError
from motioncodec.io import FORMATS, WRITERS, read_clip, write_clip

if TYPE_CHECKING:
    from motioncodec.clip import Clip
    from motioncodec.codec import Decoder, Settings

_TEXT = ("csv", "json", "bvh", "trc")
"""Formats that a terminal can show."""


def encoded_name(source: str, folder: bool = False) -> str:
    """``walk.v2.bvh`` or ``walk.v2.bvh.gz`` to ``walk.v2.mtok``: the suffix of a known format goes,
    no other does, and none of a folder."""
    name = PurePath(source).name
    if not folder:
        packed = sorted((*ARCHIVE_SUFFIXES, ".gz"), key=len, reverse=True)
        around = next((one for one in packed if name.lower().endswith(one)), "")
        name = name[: len(name) - len(around)] or name
        suffix = PurePath(name).suffix
        if any(suffix.lower() in one.suffixes for one in FORMATS.values()):
            name = name[: -len(suffix)]
    return name + SUFFIX


def decoded_name(source: str, suffix: str) -> str:
    """``walk.v2.mtok`` to ``walk.v2`` and a suffix."""
    name = PurePath(source).name
    bare = name.lower().endswith(SUFFIX) and len(name) > len(SUFFIX)
    return (name[: -len(SUFFIX)] if bare else name) + suffix


def check_model(model: str | None, device: str, *, encodes: bool = False) -> None:
    """Fails before the first file what would fail for every file.

    Raises:
        UsageError: no such weights, or none that encode where they are to, or no such device.
    """
    from motioncodec.model.weights import find_encoder, find_weights, resolve_device

    try:
        if model is not None:
            (find_encoder if encodes else find_weights)(model).config  # noqa: B018 - reading it is the check
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


def read_input(one: Input, options: dict[str, Any]) -> Clip:
    """A clip from wherever it is."""
    if one.frames is not None:
        return read_clip(dict(one.frames), name=one.name, **options)
    if one.data is not None:
        return read_clip(one.data, name=one.name, beside=one.beside, **options)
    assert one.path is not None
    if one.path == STANDARD:
        with opened_input(one) as stream:
            return read_clip(stream, name=one.name, **options)
    return read_clip(one.path, **options)


@dataclass(frozen=True)
class Encoding:
    """Encodes a clip.

    Attributes:
        settings: of the stream.
        reading: what the caller says of the clips.
        measured: decode what was made and find its errors.
    """

    settings: Settings
    reading: dict[str, Any]
    measured: bool = False

    @property
    def handful(self) -> int:
        """Clips at a time; the searches for a mean error or a rate gain nothing by company."""
        searched = self.settings.mean_error is not None or self.settings.bitrate is not None
        return 1 if searched else 10

    def __call__(self, task: Task, report: Report) -> Outcome:
        """See :class:`motioncodec.cli.batches.Work`."""
        from motioncodec.codec import encode_clip

        clip = read_input(task.input, self.reading)
        data = _gathered(encode_clip, clip, clip.frames, self.settings, report, task.label)
        return self._deliver(clip, data, task)

    def together(self, tasks: Sequence[Task], report: Report) -> list[Outcome]:
        """See :class:`motioncodec.cli.batches.Handful`."""
        from motioncodec.codec import encode_clips

        clips = [tried(partial(read_input, task.input, self.reading)) for task in tasks]
        whole = [clip for clip in clips if not isinstance(clip, Outcome)]
        streams = tried(lambda: list(encode_clips(whole, self.settings)))
        if isinstance(streams, Outcome):
            # One of them cannot be done: which, and what of it, each shows alone.
            return [tried(partial(self, task, report)) for task in tasks]
        made = iter(streams)
        return [
            clip
            if isinstance(clip, Outcome)
            else tried(partial(self._deliver, clip, next(made), task))
            for clip, task in zip(clips, tasks)
        ]

    def _deliver(self, clip: Clip, data: bytes, task: Task) -> Outcome:
        errors = None
        if self.measured and clip.frames:
            from motioncodec.metrics import compare

            stream = open_stream(io.BytesIO(data), self.settings.device, self.settings.model)
            errors = compare(clip, stream.clip()).to_dict()
        return _deliver(data, clip.frames, clip.duration, task, errors)


@click.command(context_settings=CONTEXT)
@click.argument("inputs", nargs=-1, metavar="IN...")
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
@batch_options
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
    orders: Orders,
    force: bool,
    remove: bool,
    quiet: bool,
) -> int:
    """Encode clips to .mtok files.

    IN is a file of any format that `motioncodec formats` lists, a folder of one clip's JSON frames,
    any other folder (every clip in and below it), a pattern, a zip or tar of clips, an address
    such as s3://bucket/walk.bvh, or - for standard input, which may be a tar. The output is written
    beside the input: walk.v2.bvh becomes walk.v2.mtok; with --output-dir folders are mirrored; with
    -o OUT.tar, or several inputs and -o -, the outputs are members of a tar. Inputs are kept.
    """
    from motioncodec.codec import Settings

    batch = Batch(
        "encode", inputs, Wanted.clips(reading["input_format"]),
        lambda one: encoded_name(PurePath(one.inside).name, one.is_folder),
        output=output, output_dir=output_dir, force=force, remove=remove, quiet=quiet,
        orders=orders,
    )  # fmt: skip
    check_model(model, device, encodes=True)
    if lossless and any(quality[name] for name in QUALITIES):
        raise UsageError("--lossless: expected no preset, error or bit rate beside it, found one")
    bits = 0 if confidence == "off" else int(confidence)
    settings = Settings(
        **quality, model=model, device=device, confidence_bits=bits, lossless=lossless
    )
    return batch.run(Encoding(settings, reading, orders.manifest is not None))


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
    data: bytes, frames: int, duration: float, task: Task, errors: dict[str, Any] | None = None
) -> Outcome:
    """Writes a stream and says so."""
    size = bytes_of(task)
    output = Output(task)
    with output.stream() as target:
        target.write(data)
    if task.remove:
        remove_input(task)
    message = ""
    if task.target != STANDARD:
        rate = 8 * len(data) / duration if frames else 0.0
        where = "" if task.target is None else f"{printable(task.target)}, "
        message = (
            f"{printable(task.label)}: {where}{frames} frames, {len(data):,} bytes, "
            f"{rate:,.0f} bit/s"
        )
    return Outcome(
        message=message, frames=frames, seconds_of_motion=duration, bytes_in=size,
        bytes_out=len(data), errors=errors, data=output.data,
    )  # fmt: skip


def trimmed_name(source: str) -> str:
    """``walk.v2.mtok`` to ``walk.v2.trim.mtok``."""
    return decoded_name(source, f".trim{SUFFIX}")


@dataclass(frozen=True)
class Trimming:
    """Makes a stream coarser.

    Attributes:
        settings: of the smaller stream.
        model: path of the weights of the larger one, where they do not ship.
    """

    settings: Settings
    model: str | None

    def __call__(self, task: Task, report: Report) -> Outcome:
        """See :class:`motioncodec.cli.batches.Work`."""
        from motioncodec.codec import trim

        with opened_input(task.input) as file:
            size = file.seek(0, 2)
            file.seek(0)
            decoder = open_stream(file, self.settings.device, self.model)
            header = decoder.header
            data = _gathered(trim, decoder, header.frames, self.settings, report, task.label)
        if len(data) >= size:
            raise UsageError(
                f"expected a stream of fewer than its {size:,} bytes, found "
                f"{len(data):,}; ask for something coarser"
            )
        return _deliver(data, header.frames, header.frames / header.frame_rate, task)


@click.command(context_settings=CONTEXT)
@click.argument("inputs", nargs=-1, metavar="IN.mtok...")
@output_option
@output_dir_option
@quality_options
@model_option
@device_option
@batch_options
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
    orders: Orders,
    force: bool,
    remove: bool,
    quiet: bool,
) -> int:
    """Make .mtok files coarser and smaller, without what they were made of.

    From files with a bound, or lossless ones, to a larger bound; from any to a coarser preset or
    step, or to a bit rate. IN may be files, folders, patterns and archives, as for encode. The
    output is written beside the input: walk.mtok becomes walk.trim.mtok. Inputs are kept.
    """
    from motioncodec.codec import Settings

    if not any(quality[name] for name in QUALITIES):
        raise UsageError(
            "trim: expected --max-error, --mean-error, --bitrate, --step or --preset, found none"
        )
    batch = Batch(
        "trim", inputs, Wanted.streams(), lambda one: trimmed_name(one.inside),
        output=output, output_dir=output_dir, force=force, remove=remove, quiet=quiet,
        orders=orders,
    )  # fmt: skip
    check_model(model, device)
    return batch.run(Trimming(Settings(**quality, device=device), model))


@dataclass(frozen=True)
class Decoding:
    """Decodes a stream.

    Attributes:
        kind: ``keypoints``, ``heatmaps`` or ``tokens``.
        output_format: of keypoints.
        frames: first and the one after the last, None for the stream's end; or None for all.
        look: of heatmaps: keywords of :func:`motioncodec.cli.archives.write_heatmaps`.
        salvage, model, device: as the options.
    """

    kind: str
    output_format: str
    frames: tuple[int, int | None] | None
    look: dict[str, Any]
    salvage: bool
    model: str | None
    device: str

    def __call__(self, task: Task, report: Report) -> Outcome:
        """See :class:`motioncodec.cli.batches.Work`."""
        size = bytes_of(task)
        output = Output(task)
        with opened_input(task.input) as file:
            decoder = open_stream(file, self.device, self.model, salvage=self.salvage)
            some = _frames(decoder, self.frames)
            count = len(decoder.frames(some))
            if self.kind == "keypoints":
                self._write_keypoints(decoder, some, output, report)
            else:
                self._write_arrays(decoder, some, output, report)
        if task.remove:
            remove_input(task)
        notes = []
        for chunk in sorted(decoder.damaged):
            first, last = decoder.header.frame_span(chunk)
            beside = (
                "; frames beside them may be beyond the bound" if decoder.header.promise else ""
            )
            notes.append(f"frames {first}:{last} are damaged and left missing{beside}")
        message = ""
        if task.target != STANDARD:
            where = "" if task.target is None else f"{printable(task.target)}, "
            message = f"{printable(task.label)}: {where}{count} frames of {self.kind}"
        return Outcome(
            message=message, notes=tuple(notes), frames=count,
            seconds_of_motion=count / decoder.header.frame_rate, bytes_in=size,
            bytes_out=output.size, data=output.data,
        )  # fmt: skip

    def _write_keypoints(
        self, decoder: Decoder, frames: range | None, output: Output, report: Report
    ) -> None:
        with report.bar(len(decoder.frames(frames)), output.task.label, "frame") as done:
            clip = decoder.clip(frames, done)
        with output.stream() as target:
            write_clip(clip, target, format=self.output_format)

    def _write_arrays(
        self, decoder: Decoder, frames: range | None, output: Output, report: Report
    ) -> None:
        from motioncodec.cli import archives

        if self.kind == "tokens":
            with output.stream() as target:
                archives.write_tokens(decoder, frames, target)
            return
        total = len(decoder.frames(frames)) * decoder.header.people
        with (
            report.bar(total, output.task.label, "frame") as done,
            scratch(output.task) as space,
            output.stream() as target,
        ):
            archives.write_heatmaps(decoder, frames, target, space, done, **self.look)


@click.command(context_settings=CONTEXT)
@click.argument("inputs", nargs=-1, metavar="IN.mtok...")
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
@batch_options
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
    orders: Orders,
    force: bool,
    remove: bool,
    quiet: bool,
) -> int:
    """Decode .mtok files to keypoints, heatmaps or tokens.

    IN may be files, folders, patterns, archives and addresses, as for encode. The output is written
    beside the input: walk.mtok becomes walk.npz, walk.heatmaps.npz or walk.tokens.npz. Inputs are
    kept.
    """
    if salvage and (remove or kind == "tokens"):
        raise UsageError("--salvage: expected neither --rm nor --to tokens beside it, found one")
    chosen = _output_format(kind, output, output_format)
    suffix = FORMATS[chosen].suffixes[0] if kind == "keypoints" else f".{kind}.npz"
    batch = Batch(
        "decode", inputs, Wanted.streams(), lambda one: decoded_name(one.inside, suffix),
        output=output, output_dir=output_dir, force=force, remove=remove, quiet=quiet,
        orders=orders, binary=chosen not in _TEXT,
    )  # fmt: skip
    check_model(model, device)
    look = {"size": heatmap_size, "sigma": sigma, "dense": dense}
    return batch.run(Decoding(kind, chosen, frames, look, salvage, model, device))


def _output_format(kind: str, output: str | None, given: str | None) -> str:
    """Format of the outputs."""
    suffix = "" if output in (None, STANDARD) else Path(str(output)).suffix.lower()
    suffix = "" if suffix == ".tar" else suffix
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
