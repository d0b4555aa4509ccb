"""The documentation says what the program does."""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
DATA = Path(__file__).parent / "data"


def generator() -> object:
    spec = importlib.util.spec_from_file_location("generate", ROOT / "docs" / "generate.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_command_reference_is_the_help() -> None:
    made = generator().commands()  # type: ignore[attr-defined]
    assert (ROOT / "docs" / "commands.md").read_text() == made, "run python docs/generate.py"


def test_the_manual_pages_are_the_help(tmp_path: Path) -> None:
    pytest.importorskip("click_man")
    generator().write_pages(tmp_path)  # type: ignore[attr-defined]
    kept = ROOT / "docs" / "man"
    assert sorted(one.name for one in tmp_path.iterdir()) == sorted(
        one.name for one in kept.iterdir()
    )
    for one in tmp_path.iterdir():
        assert one.read_text() == (kept / one.name).read_text(), "run python docs/generate.py"


def test_every_link_leads_somewhere() -> None:
    for page in [ROOT / "README.md", *(ROOT / "docs").glob("*.md"), ROOT / "examples/README.md"]:
        for link in re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", page.read_text()):
            if "://" not in link:
                assert (page.parent / link).exists(), f"{page.name}: {link}"


def test_completion() -> None:
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    code = "from motioncodec.cli import main; main(prog_name='motioncodec')"
    for shell, mark in (("bash", "complete -o"), ("zsh", "#compdef"), ("fish", "complete --")):
        done = subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True,
            env={**environment, "_MOTIONCODEC_COMPLETE": f"{shell}_source"},
        )  # fmt: skip
        assert mark in done.stdout, shell
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True,
        env={
            **environment, "_MOTIONCODEC_COMPLETE": "bash_complete",
            "COMP_WORDS": "motioncodec enc", "COMP_CWORD": "1",
        },
    )  # fmt: skip
    assert "encode" in done.stdout


LOCAL = [
    line.strip()
    for block in (ROOT / "docs" / "pipelines.md").read_text().split("\n\n")
    for line in block.splitlines()
    if line.startswith("    ")
    and re.search(r"^\s+(motioncodec|find|tar c)", line)
    and not re.search(r"parallel|s3://|scheduler|/data/|-o part|\$<", line)
]


def test_the_pipelines_run_as_they_stand(tmp_path: Path) -> None:
    """In the order of the page, in one folder, with what they go on from made first."""
    assert len(LOCAL) >= 6
    (tmp_path / "bin").mkdir()
    for name, text in (
        ("motioncodec", f'exec {sys.executable} -m motioncodec "$@"'),
        ("ssh", 'shift; exec bash -c "$*"'),
    ):
        program = tmp_path / "bin" / name
        program.write_text(f"#!/bin/bash\n{text}\n")
        program.chmod(0o755)
    captures = tmp_path / "captures"
    (captures / "a").mkdir(parents=True)
    for name in ("rotation_first_root.bvh", "test_freebvh.bvh"):
        shutil.copy(DATA / "bvh" / name, captures / "a" / name)
    subprocess.run(["tar", "czf", "captures.tar.gz", "captures"], cwd=tmp_path, check=True)
    environment = {
        **os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT),
        "PATH": f"{tmp_path / 'bin'}:{os.environ['PATH']}",
    }  # fmt: skip
    for line in LOCAL:
        shutil.rmtree(tmp_path / "packed", ignore_errors=True)
        if "-o captures.mtok.tar" in line:
            (tmp_path / "captures.mtok.tar").unlink()
        done = subprocess.run(
            ["bash", "-o", "pipefail", "-c", line.replace("--jobs 8", "--jobs 2")],
            cwd=tmp_path, env=environment, capture_output=True, text=True,
        )  # fmt: skip
        assert done.returncode == 0, (line, done.stderr)
    assert (tmp_path / "back" / "captures" / "a" / "test_freebvh.bvh").exists()
