"""``info``, ``test``, ``compare`` and ``formats``."""

from __future__ import annotations

import os
from collections.abc import Iterator
from itertools import chain
from pathlib import Path
from textwrap import wrap
from typing import TYPE_CHECKING, Any, BinaryIO

import click

from motioncodec.batch.inputs import STANDARD, Archive, Input, Wanted, find, members
from motioncodec.cli.conversion import check_model, open_stream
from motioncodec.cli.options import (
    CONTEXT,
    device_option,
    json_option,
    model_option,
    quiet_option,
    reading_options,
)
from motioncodec.cli.outputs import opened, opened_input
from motioncodec.cli.reporting import Report, explain, printable, shown, write_json
from motioncodec.errors import (
    ContainerError,
    FormatError,
    ModelError,
    MotionCodecError,
    UsageError,
)

if TYPE_CHECKING:
    from motioncodec.clip import Clip


@click.command(context_settings=CONTEXT)
@click.argument("files", nargs=-1, required=True, metavar="FILE...")
@json_option
@quiet_option
def info(files: tuple[str, ...], as_json: bool, quiet: bool) -> int:
    """Show what .mtok files hold, and what takes how much of them.

    FILE may be a folder, a pattern or an archive of them, too.
    """
    report = Report(quiet)
    found = []
    several = len(files) > 1
    for stream in _streams(files):
        several = several or not stream.given
        with report.about(stream.name), _opened(stream) as file:
            one = describe(file, stream.name)
            found.append(one)
            if not as_json:
                click.echo(("\n" if len(found) > 1 else "") + _table(one))
            if one["damage"] is not None:
                report.fail(stream.name, one["damage"])
    if as_json and (found or several):
        write_json(found if several else found[0])
    return report.status


def _streams(words: tuple[str, ...]) -> Iterator[Input]:
    """The ``.mtok`` files that words stand for, members of archives among them."""
    if list(words).count(STANDARD) > 1:
        raise UsageError("-: expected standard input once, found it twice")
    for one in find(words, Wanted.streams()):
        if isinstance(one, Archive):
            yield from members(one, Wanted.streams())
        else:
            yield one


def _opened(stream: Input) -> BinaryIO:
    if stream.fault is not None:
        raise FormatError(stream.fault)
    return opened_input(stream)


def describe(file: BinaryIO, name: str) -> dict[str, Any]:
    """What the header, the lengths and some chunks of a file say.

    Args:
        file: one that seeks.
        name: as shown.

    Raises:
        ContainerError: the header is damaged.
    """
    from motioncodec.clip import error_scale
    from motioncodec.decoding import Decoder
    from motioncodec.model.config import PRESETS
    from motioncodec.model.weights import shipped

    size = file.seek(0, 2)
    file.seek(0)
    decoder = Decoder(file)
    reader, header = decoder.reader, decoder.header
    skeleton = decoder.stream.skeleton
    presets = next((one.config.presets for one in shipped() if one.id == header.model_id), PRESETS)
    damage = overhead = None
    try:
        overhead = size - sum(reader.sizes())
        # Lengths are taken at their word; that the last chunk is whole tells a file cut short.
        if reader.chunk_count:
            reader.chunk(reader.chunk_count - 1)
    except ContainerError as error:
        damage, overhead = explain(error), None
    layers = None
    if damage is None:
        try:
            layers = {
                f"tokens {presets[int(name[-1]) - 1]}" if name[:-1] == "tokens " else name: share
                for name, share in decoder.layers().items()
                if share >= 0.0005
            }
        except ModelError:
            pass  # only the weights tell what is what
        except ContainerError as error:
            damage = explain(error)
    names = {weights.id: weights.name for weights in shipped()}
    inside = [header.embodied and canonical >= 0 for canonical in skeleton.covered]
    duration = header.frames / header.frame_rate
    return {
        "file": name,
        "format_version": reader.version,
        "model": names.get(header.model_id) if header.model else None,
        "model_id": header.model_id if header.model else None,
        "fingerprint": f"{header.fingerprint:08x}" if header.model else None,
        "preset": presets[header.depth - 1] if header.model else None,
        "frames": header.frames,
        "frame_rate": header.frame_rate,
        "duration": duration,
        "people": header.people,
        "people_ids": list(header.ids),
        "skeleton": skeleton.name,
        "dims": header.dims,
        "joints": list(skeleton.joints),
        "covered": [joint for joint, is_in in zip(skeleton.joints, inside) if is_in],
        "uncovered": [joint for joint, is_in in zip(skeleton.joints, inside) if not is_in],
        "units": header.units,
        "up": header.up,
        "confidence_bits": header.confidence,
        "max_error": header.promise * error_scale(header.units) or None,
        "lossless": header.lossless,
        "numbers_alone": header.alone,
        "spectrum": header.spectrum is not None,
        "bytes": size,
        "bit_rate": 8 * size / duration if duration else None,
        "chunks": reader.chunk_count,
        "overhead_bytes": overhead,
        "layers": layers,
        "metadata": header.metadata,
        "damage": damage,
    }


def _bound(one: dict[str, Any]) -> str:
    if one["lossless"]:
        return "0: every float32 to the bit"
    if one["max_error"] is None:
        return "none given"
    return f"{one['max_error']:.6g} {'px' if one['units'] == 'px' else 'mm'}, every joint and frame"


_NAMED = 12
"""Joints outside the body that are named, to people, at most; --json has them all."""


def _table(one: dict[str, Any]) -> str:
    """For people to read."""
    model = "none: every joint is written as "
    model += "numbers" if one["numbers_alone"] else "a curve"
    if one["spectrum"]:
        model = "none: the body is a spectrum of its pose"
    if one["fingerprint"] is not None:
        name = one["model"] or f"number {one['model_id']}, which is not installed"
        # Shipped weights from id 3 on are named by their number alone.
        mark = f" ({one['fingerprint']})" if int(one["fingerprint"], 16) else ""
        model = f"{name}{mark}, preset {one['preset']}"
    people = str(one["people"])
    if one["people_ids"]:
        people += f" ({', '.join(one['people_ids'])})"
    joints = f"{len(one['joints'])} ({one['skeleton']}), {len(one['covered'])} "
    joints += "in it" if one["spectrum"] else "by the model"
    if (one["fingerprint"] is not None or one["spectrum"]) and one["uncovered"]:
        some, more = one["uncovered"][:_NAMED], len(one["uncovered"]) - _NAMED
        joints += f"; outside it: {', '.join(some)}" + (f" and {more} more" if more > 0 else "")
    rate = "" if one["bit_rate"] is None else f", {one['bit_rate']:,.0f} bit/s"
    overhead = "unknown" if one["overhead_bytes"] is None else f"{one['overhead_bytes']} bytes"
    rows = [
        ("format version", str(one["format_version"])),
        ("model", model),
        ("frames", f"{one['frames']} at {one['frame_rate']:g}/s: {one['duration']:.2f} s"),
        ("people", people),
        ("joints", joints),
        ("coordinates", f"{one['dims']}D in {one['units']}, {one['up']} up"),
        ("confidence", f"{one['confidence_bits']} bits" if one["confidence_bits"] else "none"),
        ("max error", _bound(one)),
        ("size", f"{one['bytes']:,} bytes{rate}"),
        ("chunks", str(one["chunks"])),
        ("overhead", overhead),
    ]
    if one["layers"]:
        some = "" if one["chunks"] <= 8 else ", of some chunks"
        shares = ", ".join(f"{layer} {share:.0%}" for layer, share in one["layers"].items())
        rows.append(("payload", shares + some))
    rows += [(f"metadata {key}", str(value)) for key, value in one["metadata"].items()]
    if one["damage"] is not None:
        rows.append(("damage", one["damage"]))
    lines = [printable(one["file"])]
    return "\n".join(lines + [f"  {printable(k):<16}{printable(v)}" for k, v in rows])


@click.command("test", context_settings=CONTEXT)
@click.argument("files", nargs=-1, required=True, metavar="FILE...")
@model_option
@quiet_option
def test(files: tuple[str, ...], model: str | None, quiet: bool) -> int:
    """Check .mtok files: every checksum, and that every chunk decodes.

    Prints "FILE: ok", or a line for each damage; exits with 1 if there is any. FILE may be a
    folder, a pattern or an archive of them, too.
    """
    check_model(model, "auto")
    report = Report(quiet)
    damaged = False
    streams = _streams(files)
    with report.bar(0 if len(files) > 1 else None, "test", "file", scale=False) as done:
        for stream in streams:
            with report.about(stream.name), _opened(stream) as file:
                try:
                    found = open_stream(file, "cpu", model).verify()
                except ModelError:
                    raise
                except MotionCodecError as error:
                    found = [explain(error)]
                damaged = damaged or bool(found)
                for line in found or ["ok"]:
                    click.echo(f"{printable(stream.name)}: {printable(line)}")
            done(1)
    return report.status or int(damaged)


@click.command(context_settings=CONTEXT)
@click.argument("original", metavar="ORIGINAL")
@click.argument("other", metavar="OTHER")
@json_option
@model_option
@device_option
@reading_options
@quiet_option
def compare(
    original: str,
    other: str,
    as_json: bool,
    model: str | None,
    device: str,
    reading: dict[str, Any],
    quiet: bool,
) -> int:
    """Compare a clip with what became of it: sizes and errors.

    Either may be a .mtok file. Errors are in world or image coordinates, without alignment.
    """
    from motioncodec.metrics import compare as compare_clips

    if original == other == STANDARD:
        raise UsageError("-: expected standard input once, found it twice")
    check_model(model, device)
    report = Report(quiet)
    sides = []
    for name in (original, other):
        with report.about(shown(name)):
            sides.append(load_clip(name, reading, model, device))
    if len(sides) < 2:
        return report.status
    with report.about(shown(other)):
        (clip, size), (decoded, small) = sides
        errors = compare_clips(clip, decoded)
        duration = clip.duration
        found = {
            "original": _side(original, size, duration),
            "other": _side(other, small, duration),
            "ratio": size / small if small else None,
            "duration": duration,
            **errors.to_dict(),
        }
        if as_json:
            write_json(found)
        else:
            click.echo(_comparison(found))
    return report.status


def load_clip(
    name: str, reading: dict[str, Any], model: str | None, device: str
) -> tuple[Clip, int]:
    """A clip and its bytes; what it is, its first bytes tell."""
    from motioncodec.bitstream.container import MAGIC
    from motioncodec.io import read_clip

    if name != STANDARD and os.path.isdir(name):
        return read_clip(name, **reading), sum(
            path.stat().st_size for path in Path(name).iterdir() if path.is_file()
        )
    with opened(name) as file:
        size = file.seek(0, 2)
        file.seek(0)
        magic = file.read(len(MAGIC)) == MAGIC
        file.seek(0)
        if magic:
            return open_stream(file, device, model).clip(), size
        return read_clip(file, name=shown(name), **reading), size


def _side(name: str, size: int, duration: float) -> dict[str, Any]:
    rate = 8 * size / duration if duration else None
    return {"file": shown(name), "bytes": size, "bit_rate": rate}


def _comparison(found: dict[str, Any]) -> str:
    def number(key: str, unit: str, digits: int = 2) -> str:
        value = found[key]
        return "none to compare" if value is None else f"{value:,.{digits}f} {unit}"

    def side(key: str) -> str:
        one = found[key]
        rate = "" if one["bit_rate"] is None else f", {one['bit_rate']:,.0f} bit/s"
        return f"{printable(one['file'])}: {one['bytes']:,} bytes{rate}"

    unit, pck = found["unit"], found["pck"]
    rows = [
        ("original", side("original")),
        ("other", side("other")),
        ("ratio", "none" if found["ratio"] is None else f"{found['ratio']:.4g}"),
        ("MPJPE", number("mpjpe", unit)),
        ("99 % within", number("p99", unit)),
        ("max", number("max", unit)),
        ("PCK", "none" if pck is None else f"{pck:.2%} within {found['pck_threshold']}"),
        ("acceleration", number("acceleration_error", found["acceleration_unit"])),
        ("compared", f"{found['compared']:,} joint positions"),
        ("missing in one", f"{found['missing_in_one']:,}"),
    ]
    return "\n".join(f"{key:<16}{value}" for key, value in rows)


@click.command(context_settings=CONTEXT)
@json_option
def formats(as_json: bool) -> int:
    """List the formats of clips: what is read and written, and what each has room for."""
    from motioncodec.io import FORMATS

    listed = [
        {
            "name": one.name,
            "reads": one.can_read,
            "writes": one.can_write,
            "suffixes": list(one.suffixes),
            "description": one.description,
            "carries": one.carries,
            "extra": one.extra or None,
        }
        for one in FORMATS.values()
    ]
    if as_json:
        write_json(listed)
        return 0
    for one in FORMATS.values():
        direction = "read and written" if one.can_write else "read"
        rows = {
            "for": one.description,
            "carries": one.carries,
            "files": f"{', '.join(one.suffixes)}; {direction}",
        }
        if one.extra:
            rows["extra"] = one.extra
        texts = [
            wrap(row, 96, initial_indent=f"  {key:<9}", subsequent_indent=" " * 11)
            for key, row in rows.items()
        ]
        click.echo("\n".join([one.name, *chain(*texts)]))
    return 0
