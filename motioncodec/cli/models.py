"""``models``, ``train`` and ``evaluate``."""

from __future__ import annotations

import io
import json
import os
import platform
import sys
from collections.abc import Iterator
from contextlib import redirect_stdout
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

import motioncodec
from motioncodec.cli.conversion import check_model, open_stream
from motioncodec.cli.options import (
    CONTEXT,
    device_option,
    json_option,
    model_option,
    quiet_option,
)
from motioncodec.cli.reporting import Report, Silent, one_line, printable, write_json
from motioncodec.errors import FormatError, UsageError
from motioncodec.io import FORMATS, read_clip

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from motioncodec.clip import Clip
    from motioncodec.codec import Settings
    from motioncodec.model.weights import Weights
    from motioncodec.training.trainer import TrainingConfig


@click.command(context_settings=CONTEXT)
@json_option
@quiet_option
def models(as_json: bool, quiet: bool) -> int:
    """List the weights that are installed, with their cards."""
    from motioncodec.model.weights import shipped

    report = Report(quiet)
    found = []
    for weights in shipped():
        with report.about(weights.name):
            found.append(_describe(weights))
    if as_json:
        write_json(found)
        return report.status
    for i, one in enumerate(found):
        tokens = ", ".join(f"{name} {rate:g}" for name, rate in one["tokens_per_second"].items())
        rows = {
            "number": one["id"],
            "clips": f"{one['dims']}D"
            + ("" if one["encodes"] else ", to decode older files alone"),
            "tokens a second": tokens,
            "codes a slot": one["codes"],
            "fingerprint": one["fingerprint"],
            "size": f"{one['bytes']:,} bytes",
            **{key: value for key, value in one["card"].items() if key != "name"},
        }
        lines = [f"  {printable(key):<16}{printable(value)}" for key, value in rows.items()]
        click.echo("\n".join([*([""] if i else []), one["name"], *lines]))
    return report.status


def _describe(weights: Weights) -> dict[str, Any]:
    from motioncodec.bitstream.header import MODEL_RATE

    config = weights.config
    rates, total = {}, 0.0
    for preset, level in zip(config.presets, config.levels):
        total += level.slots * MODEL_RATE / level.stride
        rates[preset] = total
    return {
        "id": weights.id,
        "name": weights.name,
        "dims": config.dims,
        "encodes": weights.encodes,
        "codes": config.codes,
        "tokens_per_second": rates,
        "fingerprint": weights.fingerprint,
        "bytes": weights.path.stat().st_size,
        "card": weights.card,
    }


@click.command(context_settings=CONTEXT)
@click.argument("config", metavar="CONFIG")
@click.option(
    "--data", required=True, metavar="DIR", help="Folder with train/ and, if wanted, val/ of clips."
)
@click.option(
    "--output",
    metavar="RUN",
    help="Folder of the run: checkpoint, log, weights.  [default: runs/NAME]",
)
@click.option(
    "--init", metavar="WEIGHTS", help="Weights to start from: a name or a .safetensors file."
)
@click.option(
    "--threads", type=click.IntRange(1, 1024), metavar="N", help="Threads on the CPU at most."
)
@device_option
@quiet_option
def train(
    config: str,
    data: str,
    output: str | None,
    init: str | None,
    threads: int | None,
    device: str,
    quiet: bool,
) -> int:
    """Train a model and export its weights.

    CONFIG is a JSON file. A run that was stopped goes on from its last checkpoint. Prints the path
    of the weights, which --model takes.
    """
    folder = Path(data)
    if not (folder / "train").is_dir():
        raise UsageError(f"--data {data}: expected a folder with train/ in it, found none")
    check_model(init, device, encodes=True)
    from motioncodec.training.trainer import TrainingConfig

    settings = TrainingConfig.read(Path(config))
    _check_config(settings, config)

    import torch

    from motioncodec.model.weights import find_encoder, resolve_device
    from motioncodec.training.data import load_motion, read_folder
    from motioncodec.training.export import export
    from motioncodec.training.volumes import trainer_of

    if threads is not None:
        torch.set_num_threads(threads)
    run = Path(output) if output is not None else Path("runs") / settings.name
    # What the trainer logs is no result: that is the weights' path alone.
    with redirect_stdout(Silent() if quiet else sys.stderr):
        clips = read_folder(folder / "train", quiet)
        val = read_folder(folder / "val", quiet) if (folder / "val").is_dir() else []
        motion = load_motion(clips)
        start = None if init is None else find_encoder(init).network()
        trainer = trainer_of(settings)(
            settings, motion, load_motion(val) if val else None, run, resolve_device(device), start
        )
        figures = trainer.train()
        path = run / f"{settings.name}.safetensors"
        given = getattr(settings, "rate_weights", None) or {}
        prices = {
            preset: list(given.get(preset, [0.0] * (i + 1)))
            for i, preset in enumerate(trainer.average.config.presets)
        }
        card = {
            "name": settings.name,
            "data": f"{len(clips)} clips, {sum(clip.duration for clip in clips) / 3600:.2f} h",
            "licence": "that of the data",
            "steps": trainer.step,
            "hours": round(trainer.seconds / 3600, 2),
            "machine": f"{platform.machine()}, {trainer.device.type}, "
            f"{torch.get_num_threads()} threads",
            "figures": figures,
            "motioncodec": motioncodec.__version__,
            **settings.card,
        }
        export(
            trainer.average, motion, path, card, prices, batches=settings.prior_batches,
            steps=settings.prior_steps, quiet=quiet,
        )  # fmt: skip
    click.echo(path)
    return 0


def _check_config(settings: TrainingConfig, path: str) -> None:
    """Reads the parts of a configuration that training reads later, so that mistakes come early.

    Raises:
        FormatError: a key is not one of theirs.
    """
    from motioncodec.model.config import read_config
    from motioncodec.training.augmentation import Augmentation

    try:
        # A window is what its levels say, if they are levels.
        read_config(json.dumps(settings.model)).window  # noqa: B018 - reading it is the check
        Augmentation(**settings.augmentation)
        # A name is a file's and a folder's.
        if not settings.name or os.path.basename(settings.name) != settings.name:
            raise ValueError(f"name: expected one that a file can have, found {settings.name!r}")
    except (AttributeError, TypeError, ValueError) as error:
        raise FormatError(
            f"{path}: expected a training configuration: {one_line(str(error))}"
        ) from error


@click.command(context_settings=CONTEXT)
@click.option(
    "--data", required=True, metavar="DIR", help="Folder of clips, and of folders of them."
)
@model_option
@click.option(
    "--preset",
    type=click.Choice(["f8", "f16", "f32"]),
    help="One preset alone.  [default: each of them]",
)
@device_option
@json_option
@quiet_option
def evaluate(
    data: str, model: str | None, preset: str | None, device: str, as_json: bool, quiet: bool
) -> int:
    """Encode and decode every clip of a folder in memory: bit rate and error of each preset.

    Bits over seconds and errors over joints and frames are pooled, 2D and 3D apart.
    """
    from motioncodec.codec import Settings

    if not os.path.isdir(data):
        raise UsageError(f"--data {data}: expected a folder, found none")
    check_model(model, device, encodes=True)
    paths = list(_clip_paths(Path(data)))
    if not paths:
        raise UsageError(f"--data {data}: expected clips in it, found none")
    presets = [preset] if preset else list(Settings(model=model).available)
    pools: dict[tuple[int, str], _Pool] = {}
    report = Report(quiet)
    with report.bar(len(paths), "evaluate", "clip", scale=False) as done:
        for path in paths:
            with report.about(str(path)):
                clip = read_clip(path)
                for name in presets:
                    settings = Settings(name, model, device)
                    figures = _measure(clip, settings)
                    key = (clip.dims, name)
                    pools.setdefault(key, _Pool()).add(clip, *figures)
            done(1)
    rows = [
        {"dims": dims, "preset": name, **pools[dims, name].figures()}
        for dims in (3, 2)
        for name in presets
        if (dims, name) in pools
    ]
    if as_json:
        write_json(rows)
    elif rows:
        click.echo(f"{'':8}{'clips':>6}{'seconds':>10}{'bit/s':>10}{'MPJPE':>12}{'p99':>12}")
        for row in rows:
            unit = row["unit"]
            mean, p99 = (
                "none" if row[key] is None else f"{row[key]:.2f} {unit}" for key in ("mpjpe", "p99")
            )
            click.echo(
                f"{row['preset']} {row['dims']}D".ljust(8)
                + f"{row['clips']:>6}{row['seconds']:>10,.1f}{row['bit_rate'] or 0:>10,.0f}"
                + f"{mean:>12}{p99:>12}"
            )
    return report.status


def _clip_paths(folder: Path) -> Iterator[Path]:
    """Clips of a folder and of those in it: files by suffix, folders of JSON frames as one clip."""
    suffixes = {s for one in FORMATS.values() if one.can_read for s in one.suffixes} - {".txt"}
    for place, folders, files in os.walk(folder):
        folders.sort()
        paths = [Path(place, name) for name in sorted(files) if not name.startswith(".")]
        frames = [path for path in paths if path.suffix.lower() == ".json"]
        if len(frames) > 1:
            yield Path(place)
            paths = [path for path in paths if path not in frames]
        yield from (path for path in paths if path.suffix.lower() in suffixes)


def _measure(clip: Clip, settings: Settings) -> tuple[int, NDArray[np.float32]]:
    """Bytes of a clip, and the distances of the joints that come back."""
    import numpy as np

    from motioncodec.codec import encode_clip
    from motioncodec.metrics import distances

    stream = io.BytesIO()
    size = encode_clip(clip, stream, settings)
    stream.seek(0)
    decoded = open_stream(stream, settings.device, settings.model).clip()
    apart = distances(clip, decoded)
    return size, apart[np.isfinite(apart)]


class _Pool:
    """Figures of clips taken together."""

    def __init__(self) -> None:
        self.clips = self.bytes = 0
        self.seconds = 0.0
        self.unit = "mm"
        self.distances: list[NDArray[np.float32]] = []

    def add(self, clip: Clip, size: int, apart: NDArray[np.float32]) -> None:
        """One clip more."""
        from motioncodec.metrics import distance_unit

        self.clips += 1
        self.bytes += size
        self.seconds += clip.duration
        self.unit = distance_unit(clip)
        self.distances.append(apart)

    def figures(self) -> dict[str, Any]:
        """Pooled."""
        import numpy as np

        apart = np.concatenate(self.distances)
        return {
            "clips": self.clips,
            "seconds": self.seconds,
            "bytes": self.bytes,
            "bit_rate": 8 * self.bytes / self.seconds if self.seconds else None,
            "unit": self.unit,
            "mpjpe": float(apart.mean(dtype=np.float64)) if len(apart) else None,
            "p99": float(np.percentile(apart, 99)) if len(apart) else None,
        }
