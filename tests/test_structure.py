"""The house stays as the design draws it: imports point one way, torch waits till it is needed."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "motioncodec"

# What each part may import of the others at the top of its modules or anywhere.
MAY = {
    "errors": set(),
    "skeleton": {"errors"},
    "clip": {"errors", "skeleton"},
    "metrics": {"errors", "skeleton", "clip"},
    "io": {"errors", "skeleton", "clip"},
    "heatmap": {"errors", "skeleton", "clip"},
    "bitstream": {"errors"},
    "lapping": set(),
    "model": {"errors", "skeleton", "heatmap", "lapping"},
    "articulated": {"skeleton", "bitstream"},
    "refinement": {"errors", "heatmap", "bitstream", "lapping", "articulated"},
    "spectrum": {"heatmap", "bitstream", "lapping"},
    "footing": {"heatmap", "bitstream"},
    "prediction": {"errors", "bitstream"},
    "lossless": {"errors", "bitstream", "prediction"},
    "interpolation": {"bitstream", "prediction", "refinement"},
    "tracks": {"errors", "skeleton", "clip", "heatmap", "bitstream"},
    "search": {"bitstream", "model"},
    "stream": {
        "errors",
        "skeleton",
        "heatmap",
        "bitstream",
        "model",
        "tracks",
        "articulated",
        "refinement",
        "spectrum",
        "footing",
        "interpolation",
        "search",
    },
    "plan": {"errors", "clip", "heatmap", "bitstream", "model", "tracks", "refinement"},
    "encoding": {
        "errors",
        "articulated",
        "clip",
        "heatmap",
        "bitstream",
        "tracks",
        "refinement",
        "spectrum",
        "interpolation",
        "lossless",
        "stream",
        "plan",
    },
    "decoding": {
        "errors",
        "skeleton",
        "clip",
        "heatmap",
        "bitstream",
        "model",
        "tracks",
        "lossless",
        "stream",
        "plan",
        "encoding",
    },
    "codec": {"errors", "clip", "bitstream", "model", "plan", "encoding", "decoding"},
    "recording": {
        "errors",
        "skeleton",
        "clip",
        "heatmap",
        "bitstream",
        "io",
        "model",
        "decoding",
    },
    "api": {"clip", "io", "codec", "recording"},
    "datasets": {"errors", "heatmap", "recording"},
    "interop": {"errors", "skeleton", "clip"},
    "batch": {"errors", "io"},
    "view": {"errors", "skeleton", "clip", "metrics", "heatmap"},
    "training": {"errors", "skeleton", "clip", "io", "heatmap", "bitstream", "model"},
    "weights": set(),
}
MODULES = sorted(PACKAGE.rglob("*.py"))


def part(path: Path) -> str:
    inside = path.relative_to(PACKAGE)
    return inside.parts[0].removesuffix(".py")


def imported(path: Path) -> set[str]:
    """Parts of motioncodec that a module imports, wherever in it; `if TYPE_CHECKING` counts too."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        names = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: imports are absolute"
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        found |= {name.split(".")[1] for name in names if name.startswith("motioncodec.")}
    return found


@pytest.mark.parametrize("path", MODULES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_imports_point_one_way(path: Path) -> None:
    mine = part(path)
    if mine in ("cli", "__init__", "__main__"):
        return
    assert imported(path) - {mine} <= MAY[mine]


def test_only_the_command_line_imports_training() -> None:
    for path in MODULES:
        if part(path) not in ("cli", "training"):
            assert "training" not in imported(path), path


@pytest.mark.parametrize("part_", ["bitstream", "io", "heatmap"])
def test_these_parts_never_import_torch(part_: str) -> None:
    for path in (PACKAGE / part_).glob("*.py"):
        assert "import torch" not in path.read_text(), path


def test_spectra_need_no_torch() -> None:
    """From the clip to the stream and back, with a step or a mean error."""
    capture = PACKAGE.parent / "tests" / "data" / "npz" / "hdm05_kick_left_front_001.npz"
    code = (
        "import sys, motioncodec;"
        f"clip = motioncodec.read_clip({str(capture)!r});"
        "motioncodec.decode(motioncodec.encode(clip, mean_error=8.0));"
        "motioncodec.decode(motioncodec.encode(clip, step=150.0));"
        "assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_importing_the_package_imports_no_torch() -> None:
    code = (
        "import motioncodec.codec, motioncodec.cli, motioncodec.interop, sys; motioncodec.open; "
        "assert not {'torch', 'xarray', 'rerun'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_no_drawer_for_odds_and_ends() -> None:
    assert not [p for p in MODULES if p.stem in ("utils", "helpers", "common", "misc")]
