"""Options that several commands share."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import wraps
from typing import Any

import click

from motioncodec.clip import UNITS, UP_AXES
from motioncodec.errors import UsageError
from motioncodec.io import READERS
from motioncodec.skeleton import REGISTRY

Command = Callable[..., Any]

CONTEXT = {"help_option_names": ["-h", "--help"]}

QUALITIES = ("preset", "step", "max_error", "mean_error", "bitrate")
"""Ways to say how good a stream is to be."""

force_option = click.option(
    "-f", "--force", is_flag=True, help="Replace existing outputs; write binary to a terminal."
)
quiet_option = click.option(
    "-q", "--quiet", is_flag=True, help="No messages and no progress; failures are still told."
)
remove_option = click.option(
    "--rm", "remove", is_flag=True, help="Remove each input after its output is written."
)
output_option = click.option(
    "-o", "--output", metavar="OUT", help="Output file, or - for standard output; for one input."
)
output_dir_option = click.option(
    "--output-dir", metavar="DIR", help="Folder for the outputs, made if there is none."
)
device_option = click.option(
    "--device",
    type=click.Choice(["auto", "cpu", "cuda"]),
    default="auto",
    show_default=True,
    help="Where the network runs; auto takes CUDA where there is one.",
)
json_option = click.option("--json", "as_json", is_flag=True, help="Print one JSON document.")
model_option = click.option(
    "--model",
    metavar="MODEL",
    help="Weights: a name from `motioncodec models` or a .safetensors file.  [default: the newest "
    "that fit, and for .mtok files those that they name]",
)


def with_options(command: Command, *options: Callable[[Command], Command]) -> Command:
    """A command with options, which its help lists in this order."""
    for option in reversed(options):
        command = option(command)
    return command


def reading_options(command: Command) -> Command:
    """What the caller knows about an input and its file does not say, for the command as one
    ``reading``: keywords of :func:`motioncodec.io.read_clip`."""

    @wraps(command)
    def gathered(
        *,
        input_format: str | None,
        fps: float | None,
        skeleton: str | None,
        units: str | None,
        up: str | None,
        **rest: Any,
    ) -> Any:
        reading = {
            "input_format": input_format, "frame_rate": fps, "skeleton": skeleton, "units": units,
            "up": up,
        }  # fmt: skip
        return command(reading=reading, **rest)

    return with_options(
        gathered,
        click.option(
            "--input-format",
            type=click.Choice(READERS),
            help="Format of the inputs.  [default: told by content and suffix]",
        ),
        click.option(
            "--fps",
            type=click.FloatRange(0, 100_000, min_open=True),
            metavar="R",
            help="Frames per second, in place of what the file says.",
        ),
        click.option(
            "--skeleton",
            type=click.Choice([skeleton.name for skeleton in REGISTRY]),
            help="Skeleton that names the joints in file order.",
        ),
        click.option(
            "--units", type=click.Choice(UNITS), help="Unit of the coordinates as they are."
        ),
        click.option("--up", type=click.Choice(UP_AXES), help="Axis that points up as they are."),
    )


def parse_frames(
    ctx: click.Context, param: click.Parameter, value: str | None
) -> tuple[int, int | None] | None:
    """``A:B`` as in Python: first frame, and the frame after the last, None for the clip's end."""
    if value is None:
        return None
    match = re.fullmatch(r"([0-9]{0,15}):([0-9]{0,15})", value)
    if not match:
        raise click.BadParameter(f"expected A:B with whole numbers from 0, found {value!r}")
    start, stop = match.groups()
    return int(start or 0), int(stop) if stop else None


frames_option = click.option(
    "--frames",
    callback=parse_frames,
    metavar="A:B",
    help="Frames A to B - 1 of the clip, counted from 0; either may be left out.",
)


def quality_options(command: Command) -> Command:
    """How good a stream is to be, for the command as one ``quality``: fields of
    :class:`motioncodec.codec.Settings`."""

    @wraps(command)
    def gathered(
        *,
        preset: str | None,
        effort: int,
        step: float | None,
        max_error: float | None,
        mean_error: float | None,
        bitrate: float | None,
        **rest: Any,
    ) -> Any:
        if sum(one is not None for one in (step, max_error, mean_error, bitrate)) > 1:
            raise UsageError(
                "expected one of --step, --max-error, --mean-error and --bitrate, found more"
            )
        if step is not None and preset is not None:
            raise UsageError("expected either --step or --preset, found both")
        quality = {
            "preset": preset, "effort": effort, "step": step, "max_error": max_error,
            "mean_error": mean_error, "bitrate": bitrate,
        }  # fmt: skip
        return command(quality=quality, **rest)

    return with_options(
        gathered,
        click.option(
            "--preset",
            type=click.Choice(["f8", "f16", "f32"]),
            help="Quality: f8 is the finest and largest, f32 the coarsest and smallest.  "
            "[default: f16, or what suits an error]",
        ),
        click.option(
            "--step",
            type=click.FloatRange(1, 800),
            metavar="MM",
            help="Bodies in 3D without a network, as a spectrum in steps of so many millimetres: "
            "an error of about a seventh of them, larger where the motion is.",
        ),
        click.option(
            "--effort",
            type=click.IntRange(1, 9),
            default=3,
            show_default=True,
            metavar="N",
            help="1 to 9: how hard to search for fewer bits and a smaller error; decoding "
            "costs the same.",
        ),
        click.option(
            "--max-error",
            type=click.FloatRange(0, min_open=True),
            metavar="E",
            help="What every joint of every frame must be within: mm in 3D, pixels in 2D.",
        ),
        click.option(
            "--mean-error",
            type=click.FloatRange(0, min_open=True),
            metavar="E",
            help="What all joints of all frames must be within on average.",
        ),
        click.option(
            "--bitrate",
            type=click.FloatRange(0, min_open=True),
            metavar="R",
            help="Bits a second that a file may take; as good as it gets with these.",
        ),
    )
