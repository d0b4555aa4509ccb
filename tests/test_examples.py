"""Every example runs as its first lines say, on what comes with it."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

EXAMPLES = Path(__file__).parents[1] / "examples"
PARTS = {"actions", "draw"}
"""Modules that the examples share."""


def run(name: str, *arguments: str, cwd: Path) -> str:
    command = [sys.executable, str(EXAMPLES / f"{name}.py"), *arguments]
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return done.stdout


def shares(text: str) -> list[float]:
    return [float(share) for share in re.findall(r"([\d.]+)%", text)]


def test_every_example_is_listed_and_says_how_it_runs() -> None:
    listed = (EXAMPLES / "README.md").read_text()
    for path in EXAMPLES.glob("*.py"):
        assert f"`{path.name}`" in listed
        if path.stem not in PARTS:
            assert f"usage: python examples/{path.name}" in path.read_text()
            assert f"def test_{path.stem}" in Path(__file__).read_text()


def test_demo(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    out = run("demo", cwd=tmp_path)
    assert re.findall(r"^f\d+", out, re.MULTILINE) == ["f32", "f16", "f8"]
    assert (tmp_path / "demo-out" / "skeletons.png").stat().st_size > 10_000


def test_compress_folder(tmp_path: Path) -> None:
    out = run("compress_folder", "--max-error", "5", cwd=tmp_path)
    largest = [float(row) for row in re.findall(r"([\d.]+) mm$", out, re.MULTILINE)]
    assert len(largest) == len(list((tmp_path / "compressed").rglob("*.mtok"))) == 7
    assert max(largest) <= 5
    assert out.count("give one with --fps") == 2  # tables, which do not say


def test_classify_tokens(tmp_path: Path) -> None:
    out = run("classify_tokens", "--seeds", "1", cwd=tmp_path)
    assert "72 clips of 10 actions by 5 actors" in out
    (chance,), tokens, keypoints = (
        shares(next(line for line in out.splitlines() if line.startswith(start)))
        for start in ("always", "tokens", "keypoints")
    )
    assert chance == 19.4
    assert tokens[0] > 80 and keypoints[0] > 80


def test_nearest_motion(tmp_path: Path) -> None:
    out = run("nearest_motion", "tr_squat1Reps_043", cwd=tmp_path)
    nearest = re.findall(r"^ +[\d.]+  \w+?_(\w+?)_", out, re.MULTILINE)
    assert len(nearest) == 5 and nearest[0] == "squat1Reps"
    tokens, keypoints, chance = shares(out)
    assert min(tokens, keypoints) > 80 > 15 > chance


def test_heatmap_loader(tmp_path: Path) -> None:
    out = run("heatmap_loader", "--batches", "3", cwd=tmp_path)
    assert "a batch: (8, 60, 48, 56, 56) torch.float32" in out
    assert re.search(r"[\d.]+ samples a second, [\d,]+ heatmaps, 2 workers", out)
