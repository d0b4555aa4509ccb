"""The experiments on the paper's claims run from end to end, on a toy."""

from __future__ import annotations

import csv
import json
import subprocess
import sys
from pathlib import Path

import pytest

PAPER = Path(__file__).parents[1] / "benchmarks" / "paper"
CLIPS = Path(__file__).parent / "data" / "npz"


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("paper")
    for name in ("train", "val", "hdm05"):
        (folder / name).symlink_to(CLIPS)
    return folder


def run(script: str, *arguments: str | Path) -> str:
    command = [sys.executable, str(PAPER / f"{script}.py"), *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=240)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_every_experiment_has_arms() -> None:
    sys.path.insert(0, str(PAPER))
    try:
        from experiments import arms, name_of
    finally:
        sys.path.pop(0)
    scales = json.loads((PAPER / "scales.json").read_text())
    for letter, experiment in json.loads((PAPER / "experiments.json").read_text()).items():
        for scale in scales.values():
            found = arms(experiment, scale)
            assert found, letter
            assert len({name_of(arm) for arm in found}) == len(found)


def test_an_experiment_trains_measures_and_goes_on(data: Path, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    asked = ["--data", data, "--scale", "smoke", "--runs", tmp_path / "runs", "--output", tmp_path]
    said = run("experiments", "e", *asked)
    assert "trunk 3d-f8-none" in said
    with open(tmp_path / "e-smoke.csv") as file:
        rows = list(csv.DictReader(file))
    assert {(row["bottleneck"], row["set"]) for row in rows} == {
        (bottleneck, name) for bottleneck in ("vq", "gumbel", "none") for name in ("val", "hdm05")
    }
    assert all(-1 <= float(row["SSIM"]) < 1 and float(row["L1"]) > 0 for row in rows)
    # What is there is not trained again.
    assert run("experiments", "e", *asked).count("trunk") == 0
    run("tstd", "--data", data, "--windows", "2", "--runs", tmp_path / "runs", "--output",
        tmp_path / "tstd.csv")  # fmt: skip
    run("report", "--scale", "smoke", "--folder", tmp_path)
    text = (tmp_path / "tables.md").read_text()
    assert "## e (1 seed)" in text
    assert "frozen: the first frame held" in text
    assert (tmp_path / "baseline.png").stat().st_size > 5_000
