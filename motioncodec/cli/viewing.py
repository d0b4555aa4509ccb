"""``view``."""

from __future__ import annotations

from pathlib import PurePath
from typing import Any

import click

from motioncodec.batch.inputs import STANDARD, Input
from motioncodec.batch.manifest import Task
from motioncodec.cli.conversion import check_model, encoded_name
from motioncodec.cli.inspection import load_clip
from motioncodec.cli.options import (
    CONTEXT,
    device_option,
    force_option,
    frames_option,
    model_option,
    quiet_option,
    reading_options,
)
from motioncodec.cli.outputs import Output, Targets, refuse_existing, refuse_terminal
from motioncodec.cli.reporting import Report, printable, shown
from motioncodec.errors import UsageError

KINDS = (".html", ".png", ".gif", ".mp4")


@click.command(context_settings=CONTEXT)
@click.argument("first", metavar="A")
@click.argument("second", required=False, metavar="[B]")
@click.option(
    "-o",
    "--output",
    metavar="OUT",
    help="A page (.html), a sheet of poses (.png) or a film (.gif, .mp4), by its suffix; - for a "
    "page on standard output.  [default: the name of A, .html]",
)
@frames_option
@model_option
@device_option
@reading_options
@force_option
@quiet_option
def view(
    first: str,
    second: str | None,
    output: str | None,
    frames: tuple[int, int | None] | None,
    model: str | None,
    device: str,
    reading: dict[str, Any],
    force: bool,
    quiet: bool,
) -> int:
    """Make something to look at: a clip, or an original A and what became of it, B.

    Either may be a .mtok file or a clip of any format. The page needs no network: skeletons over
    each other or side by side, errors of each joint over time, the codec's heatmap planes.
    """
    from motioncodec.view.staging import stage

    words = [first] if second is None else [first, second]
    if words.count(STANDARD) > 1:
        raise UsageError("-: expected standard input once, found it twice")
    kind = ".html" if output in (None, STANDARD) else PurePath(str(output)).suffix.lower()
    if kind not in KINDS:
        raise UsageError(
            f"-o {output}: expected a suffix of {', '.join(KINDS)}, found {kind or 'none'}"
        )
    inputs = [Input(shown(word), PurePath(word).name, word) for word in words]
    targets = Targets(
        output, None, lambda one: encoded_name(one.inside, one.is_folder)[: -len(".mtok")] + kind,
        force=force,
    )  # fmt: skip
    targets.keep(inputs)
    task = targets.task(inputs[0])
    if task.target == STANDARD:
        refuse_terminal(force)
    check_model(model, device)
    report = Report(quiet)
    with report.about(task.label):
        refuse_existing(task)
        clips = []
        start = 0
        for one in inputs:
            clip, size = load_clip(str(one.path), reading, model, device)
            if frames is not None:
                start, stop = frames[0], clip.frames if frames[1] is None else frames[1]
                if not start < stop <= clip.frames:
                    raise UsageError(
                        f"frames: expected a range within 0:{clip.frames}, found {start}:{stop}"
                    )
                # Sizes are of the whole file.
                size = round(size * (stop - start) / clip.frames)
                clip = clip.window(start, stop)
            clips.append((PurePath(one.name).name, size, clip))
        scene = stage(clips, " and ".join(name for name, _, _ in clips), start)
        _write(scene, kind, task)
        if task.target != STANDARD:
            report.say(f"{printable(task.label)}: {printable(task.target)}")
    return report.status


def _write(scene: Any, kind: str, task: Task) -> None:
    if kind == ".html":
        from motioncodec.view.page import write_page

        with Output(task).stream() as target:
            write_page(scene, target)
        return
    from motioncodec.view.drawing import write_film, write_sheet

    with Output(task).stream() as target:
        if kind == ".png":
            write_sheet(scene, target)
        else:
            write_film(scene, target, kind[1:])
