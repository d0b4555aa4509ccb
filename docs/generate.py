"""Writes what the documentation takes from the program itself.

usage: python docs/generate.py [--pictures]

`docs/commands.md` from the help of every command, and `docs/man/*.1` from the same by click-man.
With --pictures also `docs/choosing.png`, the bundled capture at presets and bounds, and
`docs/view-*.png`, the page of `motioncodec view` in Chromium.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import click

DOCS = Path(__file__).parent
sys.path.insert(0, str(DOCS.parent))

import motioncodec  # noqa: E402
from motioncodec.cli import main as program  # noqa: E402

WIDTH = 96
DATE = "November 2026"
CHOICES: tuple[dict[str, object], ...] = (
    {"preset": "f32"},
    {"preset": "f16"},
    {"preset": "f8"},
    {"max_error": 20.0},
    {"max_error": 5.0},
)


def commands() -> str:
    """The reference: every command's help as the terminal shows it."""
    names = sorted(program.commands)
    parts = [
        "# Commands\n",
        "Made by `python docs/generate.py` from the program's own help.\n",
        " · ".join(f"[{name}](#motioncodec-{name})" for name in names) + "\n",
        "Exit statuses: 0 done; 1 something failed, the others were still done; 2 a request that "
        "cannot be meant; 130 interrupted. Results go to standard output, everything else to "
        "standard error.\n",
        f"```\n{_help(program, 'motioncodec')}\n```\n",
    ]
    for name in names:
        text = _help(program.commands[name], f"motioncodec {name}")
        parts.append(f"## motioncodec {name}\n\n```\n{text}\n```\n")
    return "\n".join(parts)


def _help(command: click.Command, path: str) -> str:
    with click.Context(
        command, info_name=path, terminal_width=WIDTH, max_content_width=WIDTH,
        help_option_names=["-h", "--help"],
    ) as context:  # fmt: skip
        return command.get_help(context).rstrip()


def write_pages(folder: Path) -> None:
    """Manual pages, `motioncodec.1` and one for each command."""
    from click_man.core import write_man_pages

    folder.mkdir(exist_ok=True)
    # Not today's date: the same program gives the same pages.
    write_man_pages(
        "motioncodec", program, version=motioncodec.__version__, target_dir=str(folder), date=DATE
    )


def picture(target: Path) -> None:
    """The bundled capture at each of :data:`CHOICES`."""
    sys.path.insert(0, str(DOCS.parent / "examples"))
    from draw import draw

    from motioncodec.metrics import compare

    clip = motioncodec.read_clip(DOCS.parent / "examples" / "cmu_135_07.npz")
    rows = []
    for choice in CHOICES:
        data = motioncodec.encode(clip, **choice)
        assert data is not None
        back = motioncodec.decode(data)
        found = compare(clip, back)
        said = " ".join(
            f"--{key.replace('_', '-')} {value:g}"
            if isinstance(value, float)
            else f"--{key} {value}"
            for key, value in choice.items()
        )
        rows.append(
            (
                f"{said}: {len(data):,} bytes, {8 * len(data) / clip.duration:,.0f} bit/s, "
                f"{found.mpjpe:.1f} mm mean, {found.max:.0f} mm at most",
                back,
            )
        )
    draw(clip, rows, target)


def screenshots() -> None:
    """`docs/view-*.png`: the page in Chromium, of a capture, of detections, and dark."""
    sys.path.insert(0, str(DOCS.parent / "tests"))
    from browser import Browser

    data = DOCS.parent / "tests" / "data"
    looks: tuple[tuple[str, Path, list[str], bool, str], ...] = (
        ("3d", DOCS.parent / "examples" / "cmu_135_07.npz", [], False, "viewer.worst()"),
        ("people", data / "openpose", ["--fps", "60"], False, "viewer.seek(10)"),
        ("dark", data / "bvh" / "cmu_12_01_walk.bvh", [], True,
         "viewer.seek(150); viewer.overlay()"),
        ("2d", data / "openpose", ["--fps", "60"], False,
         "viewer.seek(4); document.querySelectorAll('#people input')[1].click()"),
    )  # fmt: skip
    with tempfile.TemporaryDirectory() as name:
        stream, page = Path(name) / "decoded.mtok", Path(name) / "page.html"
        for look, clip, reading, dark, script in looks:
            for words in (
                ["encode", str(clip), *reading, "-o", str(stream), "-fq"],
                ["view", str(clip), str(stream), *reading, "-o", str(page), "-fq"],
            ):
                subprocess.run([sys.executable, "-m", "motioncodec", *words], check=True)
            with Browser(dark=dark) as browser:
                browser.open(page)
                browser.run(script)
                time.sleep(0.5)
                browser.picture(DOCS / f"view-{look}.png")


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--pictures", action="store_true")
    options = parser.parse_args()
    (DOCS / "commands.md").write_text(commands())
    write_pages(DOCS / "man")
    if options.pictures:
        picture(DOCS / "choosing.png")
        screenshots()


if __name__ == "__main__":
    main()
