"""Many inputs at once: folders, patterns, archives, lists, processes, a cluster, a kill."""

from __future__ import annotations

import io
import json
import os
import shutil
import signal
import subprocess
import sys
import tarfile
import time
import zipfile
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result

import motioncodec
from motioncodec.batch import running
from motioncodec.batch.inputs import Archive, Input, Wanted, find, members
from motioncodec.batch.manifest import DONE, FAILED, Manifest, Outcome, Task
from motioncodec.cli import main
from motioncodec.clip import Clip
from motioncodec.codec import decode_clip
from motioncodec.io import read_clip, storage, write_clip
from motioncodec.skeleton import Skeleton, find_skeleton

DATA = Path(__file__).parent / "data"
CAPTURE = DATA / "npz" / "cmu_49_08.npz"
ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(DATA.parents[1])}
PROGRAM = [sys.executable, "-m", "motioncodec"]


def run(*arguments: object, input: bytes | None = None) -> Result:
    result = CliRunner().invoke(main, [str(one) for one in arguments], input=input)
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result


def files(folder: Path | str) -> list[str]:
    root = Path(folder)
    return sorted(str(one.relative_to(root)) for one in root.rglob("*") if one.is_file())


def small(path: Path, seed: int = 0, frames: int = 6) -> None:
    """A clip that takes milliseconds: five points without a body."""
    random = np.random.default_rng(seed)
    path.parent.mkdir(parents=True, exist_ok=True)
    np.savez(
        path, keypoints=random.normal(size=(frames, 5, 3)).astype(np.float32), frame_rate=30.0,
        joints=[f"p{i}" for i in range(5)],
    )  # fmt: skip


@pytest.fixture
def captures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A tree of clips of several formats, with a folder of frames and things that are no clips."""
    monkeypatch.chdir(tmp_path)
    root = tmp_path / "captures"
    small(root / "a.npz", 1)
    small(root / "deep" / "er" / "b.npz", 2)
    shutil.copy(DATA / "bvh" / "rotation_first_root.bvh", root / "deep" / "c.bvh")
    shutil.copytree(DATA / "openpose", root / "cam1")
    (root / "README.txt").write_text("notes")
    (root / ".hidden.npz").write_bytes(b"no")
    return root


def pack(root: Path, target: Path, mode: str = "w") -> Path:
    with tarfile.open(target, mode) as archive:
        for name in files(root):
            archive.add(root / name, name)
    return target


EXPECTED = ["a.mtok", "cam1.mtok", "deep/c.mtok", "deep/er/b.mtok"]


# -- what the inputs are ---------------------------------------------------------------------------


def test_a_folder_is_mirrored(captures: Path) -> None:
    result = run("encode", "captures", "--output-dir", "out", "--fps", 30, "--lossless")
    assert result.exit_code == 0, result.stderr
    assert files("out") == EXPECTED
    assert result.stderr.splitlines()[-1].startswith("encode: 4 done, 0 skipped, 0 failed; ")
    back = run("decode", "out", "--output-dir", "back", "-q")
    assert back.exit_code == 0, back.stderr
    assert files("back") == [name.replace(".mtok", ".npz") for name in EXPECTED]
    for name in ("a.npz", "deep/er/b.npz"):
        one, other = read_clip(captures / name), read_clip(Path("back") / name)
        assert one.keypoints.tobytes() == other.keypoints.tobytes()
    assert read_clip("back/cam1.npz").keypoints.shape == (20, 2, 25, 2)


def test_without_a_folder_of_outputs_they_lie_beside_the_inputs(captures: Path) -> None:
    assert run("encode", "captures", "--fps", 30, "--lossless", "-q").exit_code == 0
    assert [name for name in files(captures) if name.endswith(".mtok")] == EXPECTED
    shutil.rmtree(captures / "cam1")
    assert run("test", *captures.rglob("*.mtok")).exit_code == 0


def test_patterns(captures: Path) -> None:
    result = run("encode", "captures/**/*.npz", "--output-dir", "out", "--lossless", "-q")
    assert result.exit_code == 0, result.stderr
    assert files("out") == ["a.mtok", "b.mtok"]
    nothing = run("encode", "captures/*.c3d")
    assert nothing.exit_code == 2
    assert "expected a pattern that matches something, found nothing" in nothing.stderr


def test_a_folder_with_nothing_in_it_is_one_failure(tmp_path: Path) -> None:
    result = run("encode", tmp_path, "--output-dir", tmp_path / "out")
    assert result.exit_code == 1
    assert "expected a folder with files of" in result.stderr
    assert "expected a folder with .mtok files" in run("decode", tmp_path).stderr


def test_two_that_would_share_an_output_are_told(captures: Path) -> None:
    shutil.copy(captures / "deep" / "c.bvh", captures / "a.bvh")
    result = run("encode", "captures", "--output-dir", "out", "--fps", 30, "--lossless", "-q")
    assert result.exit_code == 1
    assert "a.npz: expected an output of its own, found out/a.mtok" in result.stderr
    assert files("out") == EXPECTED


@pytest.mark.parametrize("name", ["x.zip", "x.tar", "x.tar.gz", "x.tar.xz", "x.tar.zst"])
def test_archives_are_read_as_they_are(captures: Path, name: str) -> None:
    if name == "x.zip":
        with zipfile.ZipFile(name, "w") as archive:
            for one in files(captures):
                archive.write(captures / one, one)
    elif name == "x.tar.zst":
        import zstandard

        plain = pack(captures, Path("x.tar")).read_bytes()
        Path(name).write_bytes(zstandard.ZstdCompressor().compress(plain))
    else:
        pack(captures, Path(name), f"w:{name.rpartition('.')[2]}" if name != "x.tar" else "w")
    result = run("encode", name, "--output-dir", "out", "--fps", 30, "--lossless")
    assert result.exit_code == 0, result.stderr
    assert files("out") == EXPECTED
    assert sorted(files(".")) == sorted(
        {*(f"captures/{one}" for one in files(captures)), *(f"out/{one}" for one in EXPECTED),
         name, *(["x.tar"] if name == "x.tar.zst" else [])}
    )  # fmt: skip
    assert run("encode", "captures", "--output-dir", "as", "--fps", 30, "--lossless").exit_code == 0
    for one in EXPECTED:
        assert (Path("as") / one).read_bytes() == (Path("out") / one).read_bytes()


def test_a_tar_in_a_pipe_is_a_tar_of_streams(captures: Path) -> None:
    pack(captures, Path("x.tar"))
    line = (
        f"cat x.tar | {' '.join(PROGRAM)} encode - -o - --fps 30 --lossless -q | "
        f"{' '.join(PROGRAM)} decode - -o - -q | tar t"
    )
    done = subprocess.run(["bash", "-c", line], env=ENVIRONMENT, capture_output=True, text=True)
    assert done.stderr == ""
    assert sorted(done.stdout.split()) == [name.replace(".mtok", ".npz") for name in EXPECTED]
    # The same from a folder, to a file; twice the same bytes.
    for target in ("one.tar", "two.tar"):
        assert run("encode", captures, "-o", target, "--fps", 30, "--lossless").exit_code == 0
    assert Path("one.tar").read_bytes() == Path("two.tar").read_bytes()
    with tarfile.open("one.tar") as archive:
        assert sorted(archive.getnames()) == EXPECTED
        stream = archive.extractfile("a.mtok")
        assert stream is not None
        assert decode_clip(stream.read()).frames == 6


def test_frames_of_one_clip_in_a_tar_are_one_clip(tmp_path: Path) -> None:
    tar = pack(DATA / "openpose", tmp_path / "hdPose3d.tar.gz", "w:gz")
    assert run("encode", tar, "--fps", 60).exit_code == 0
    assert (tmp_path / "hdPose3d.mtok").exists()


def test_an_acclaim_motion_in_an_archive_finds_its_skeleton(tmp_path: Path) -> None:
    acclaim = DATA / "amc"
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as archive:
        for path in sorted(acclaim.iterdir()):
            if path.suffix in (".asf", ".amc"):
                archive.write(path, f"16/{path.name}")
    result = run("encode", tmp_path / "x.zip", "--output-dir", tmp_path / "out")
    assert result.exit_code == 0, result.stderr
    assert all(name.startswith("16/") for name in files(tmp_path / "out"))


def test_hostile_archives(tmp_path: Path) -> None:
    small(tmp_path / "a.npz")
    with tarfile.open(tmp_path / "x.tar", "w") as archive:
        archive.add(tmp_path / "a.npz", "../../escaped.npz")
        archive.add(tmp_path / "a.npz", "/rooted.npz")
    result = run("encode", tmp_path / "x.tar", "--output-dir", tmp_path / "out", "--lossless")
    assert result.exit_code == 1
    assert "leads out of it" in result.stderr
    assert files(tmp_path / "out") == ["rooted.mtok"]
    data = (tmp_path / "x.tar").read_bytes()
    for cut in (300, 700, 1500, len(data) // 2):
        (tmp_path / "cut.tar").write_bytes(data[:cut])
        found = run("encode", tmp_path / "cut.tar", "--output-dir", tmp_path / "o", "-f")
        assert found.exit_code == 1, cut
        assert all(line.startswith(("motioncodec: ", "encode: ")) or "mtok" in line
                   for line in found.stderr.splitlines())  # fmt: skip


def test_an_archive_needs_a_place_for_what_comes_of_it(tmp_path: Path) -> None:
    small(tmp_path / "a.npz")
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as archive:
        archive.write(tmp_path / "a.npz", "a.npz")
        archive.write(tmp_path / "a.npz", "b.npz")
    result = run("encode", tmp_path / "x.zip")
    assert result.exit_code == 2
    assert "expected --output-dir or -o OUT.tar" in result.stderr
    assert run("encode", tmp_path / "x.zip", "-o", tmp_path / "x.mtok").exit_code == 2
    assert run("encode", tmp_path / "x.zip", "-o", "y.tar", "--rm").exit_code == 2


@pytest.mark.parametrize("mark", ["\n", "\r\n", "\0"])
def test_a_list_of_inputs(captures: Path, mark: str) -> None:
    text = "".join(f"captures/{one}{mark}" for one in ("a.npz", "deep/c.bvh"))
    result = run(
        "encode", "--filelist", "-", "--output-dir", "out", "--lossless", input=text.encode()
    )
    assert result.exit_code == 0, result.stderr
    assert files("out") == ["a.mtok", "c.mtok"]
    Path("list").write_text(text)
    again = run("encode", "--filelist", "list", "--output-dir", "again", "--lossless")
    assert again.exit_code == 0
    assert files("again") == files("out")


def test_names_are_found_without_reading_the_clips(captures: Path) -> None:
    found = list(find([str(captures)], Wanted.clips()))
    assert all(isinstance(one, Input) and one.data is None for one in found)
    tar = pack(captures, captures.parent / "x.tar")
    assert list(find([str(tar)], Wanted.clips())) == [Archive(str(tar))]
    inside = list(members(Archive(str(tar)), Wanted.clips()))
    assert [one.inside for one in inside] == ["a.npz", "cam1", "deep/c.bvh", "deep/er/b.npz"]


# -- how they are gone through ---------------------------------------------------------------------


def test_processes_make_the_same_files(captures: Path) -> None:
    for folder, jobs in (("one", 1), ("two", 2)):
        result = run(
            "encode", "captures", "--output-dir", folder, "--fps", 30, "--max-error", 5,
            "--jobs", jobs, "--manifest", f"{folder}.jsonl",
        )  # fmt: skip
        assert result.exit_code == 0, result.stderr
    assert files("one") == files("two") == EXPECTED
    for name in EXPECTED:
        assert (Path("one") / name).read_bytes() == (Path("two") / name).read_bytes()
    lines = [json.loads(line) for line in Path("two.jsonl").read_text().splitlines()]
    assert [line["outcome"] for line in lines] == ["done"] * 4
    for line in lines:
        assert line["bytes_out"] == Path(line["output"]).stat().st_size
        assert line["errors"]["max"] <= 5
        assert line["frames"] > 0 and line["seconds"] > 0
    assert lines[0]["bytes_in"] == (captures / "a.npz").stat().st_size


def test_what_is_there_can_be_passed_over(captures: Path) -> None:
    Path("out").mkdir()
    Path("out/a.mtok").write_bytes(b"mine")
    arguments = ("encode", "captures", "--output-dir", "out", "--fps", 30, "--lossless")
    result = run(*arguments, "--skip-existing", "--manifest", "log.jsonl")
    assert result.exit_code == 0
    assert Path("out/a.mtok").read_bytes() == b"mine"
    assert "3 done, 1 skipped, 0 failed" in result.stderr
    outcomes = [json.loads(line)["outcome"] for line in Path("log.jsonl").read_text().splitlines()]
    assert outcomes == ["skipped", "done", "done", "done"]
    assert run(*arguments, "--skip-existing", "-f").exit_code == 2
    assert run(*arguments).exit_code == 1


def test_shards_share_the_inputs(captures: Path) -> None:
    for i in (1, 2, 3):
        result = run(
            "encode", "captures", "--output-dir", "out", "--fps", 30, "--lossless", "-q",
            "--shard", f"{i}/3",
        )  # fmt: skip
        assert result.exit_code == 0, result.stderr
        assert len(files("out")) == {1: 2, 2: 3, 3: 4}[i]
    assert files("out") == EXPECTED
    for wrong in ("0/3", "4/3", "1", "a/b"):
        assert run("encode", "captures", "--shard", wrong).exit_code == 2


def test_a_broken_one_is_noted_and_the_others_done(captures: Path) -> None:
    (captures / "broken.npz").write_bytes(b"PK\3\4no")
    for jobs in (1, 2):
        result = run(
            "encode", "captures", "--output-dir", f"out{jobs}", "--fps", 30, "--lossless",
            "--jobs", jobs, "--manifest", f"{jobs}.jsonl",
        )  # fmt: skip
        assert result.exit_code == 1
        assert "4 done, 0 skipped, 1 failed" in result.stderr
        assert files(f"out{jobs}") == EXPECTED
        failed = [
            line for line in map(json.loads, Path(f"{jobs}.jsonl").read_text().splitlines())
            if line["outcome"] == "failed"
        ]  # fmt: skip
        assert len(failed) == 1
        assert failed[0]["input"].endswith("broken.npz") and "expected" in failed[0]["message"]


def test_a_manifest_drops_the_line_that_a_kill_cut_short(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    path.write_bytes(b'{"input": "a"}\n{"input": "b", "outc')
    task = Task(Input("c", "c", "c"), "c.mtok")
    with Manifest(str(path)) as manifest:
        manifest.add(task, Outcome(DONE, errors={"mpjpe": float("nan")}))
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    assert [line["input"] for line in lines] == ["a", "c"]
    assert lines[1]["errors"] == {"mpjpe": None}


def test_trim_and_decode_go_through_folders_too(captures: Path) -> None:
    assert (
        run("encode", "captures", "--output-dir", "out", "--fps", 30, "--lossless").exit_code == 0
    )
    result = run("trim", "out", "--output-dir", "small", "--max-error", 5, "--jobs", 2)
    assert result.exit_code in (0, 1)  # what gets no smaller is told
    assert set(files("small")) <= {name.replace(".mtok", ".trim.mtok") for name in EXPECTED}
    assert files("small")
    result = run("decode", "out", "-o", "back.tar", "--format", "csv", "--jobs", 2)
    assert result.exit_code == 0, result.stderr
    with tarfile.open("back.tar") as archive:
        assert sorted(archive.getnames()) == [one.replace(".mtok", ".csv") for one in EXPECTED]


def test_folders_and_archives_are_looked_into_and_tested(captures: Path) -> None:
    assert run("encode", "captures", "-o", "x.tar", "--fps", 30, "--lossless").exit_code == 0
    assert run("decode", "x.tar", "--output-dir", "back").exit_code == 0
    assert run("encode", "back", "--output-dir", "out", "--lossless").exit_code == 0
    for place in ("x.tar", "out"):
        result = run("test", place)
        assert result.exit_code == 0, result.stderr
        assert len(result.stdout.splitlines()) == 4
        assert all(line.endswith(".mtok: ok") for line in result.stdout.splitlines())
        assert len(json.loads(run("info", place, "--json").stdout)) == 4
    data = bytearray(Path("out/a.mtok").read_bytes())
    data[-5] ^= 1
    Path("out/a.mtok").write_bytes(data)
    assert run("test", "out").exit_code == 1


# -- several at a time -----------------------------------------------------------------------------


def test_handfuls_are_of_small_inputs_in_their_order(tmp_path: Path) -> None:
    sizes = [10, 10, 10, 10, 1 << 20, 10, 0, 10, 10]
    tasks = [Task(Input(f"{i}", f"{i}", f"{i}", data=bytes(n)), None) for i, n in enumerate(sizes)]
    found = [[task.label for task in some] for some in running.handfuls(tasks, 3)]
    assert found == [["0", "1", "2"], ["3"], ["4"], ["5"], ["6"], ["7", "8"]]
    assert [len(some) for some in running.handfuls(tasks, 1)] == [1] * 9
    far = [Task(Input(f"{i}", f"{i}", f"s3://nowhere/{i}.npz"), None) for i in range(3)]
    assert [len(some) for some in running.handfuls(far, 3)] == [1] * 3


@pytest.mark.parametrize(
    "quality", [(), ("--preset", "f8"), ("--mean-error", "5"), ("--lossless",)]
)
def test_clips_come_out_alike_alone_and_together(tmp_path: Path, quality: tuple[str, ...]) -> None:
    """Clips of all lengths, with and without a body, some of which are none."""
    source = tmp_path / "in"
    small(source / "0.npz", frames=40)
    small(source / "1.npz", frames=0)
    whole = read_clip(CAPTURE)
    for i, frames in enumerate((1, 31, 150), 2):
        write_clip(whole.window(0, frames), source / f"{i}.npz")
    shutil.copy(CAPTURE, source / "5.npz")
    (source / "6.npz").write_bytes(b"nothing")
    markers = Clip(np.ones((30, 2, 2), np.float32), 30, Skeleton(("a", "b")), units="px", up="-y")
    write_clip(markers, source / "7.npz")
    out = tmp_path / "out"
    log = tmp_path / "log.jsonl"
    result = run("encode", source, "--output-dir", out, *quality, "--manifest", log)
    assert result.exit_code == 1
    assert "7 done, 0 skipped, 1 failed" in result.stderr
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    assert [line["outcome"] for line in lines] == [DONE] * 6 + [FAILED, DONE]
    for one in sorted(out.iterdir()):
        alone = tmp_path / one.name
        clip = source / one.with_suffix(".npz").name
        assert run("encode", clip, "-o", alone, *quality).exit_code == 0
        assert alone.read_bytes() == one.read_bytes()


def test_what_cannot_be_done_with_one_is_told_of_it_alone(tmp_path: Path) -> None:
    """A model for three dimensions, and a clip of two."""
    source = tmp_path / "in"
    for i in range(3):
        small(source / f"{i}.npz", i, frames=60)
    flat = Clip(np.ones((60, 17, 2)), 30, find_skeleton("coco-17"), units="px", up="-y")
    write_clip(flat, source / "3.npz")
    result = run("encode", source, "--output-dir", tmp_path / "out", "--model", "slots-3d-2")
    assert result.exit_code == 2, result.stderr
    assert result.stderr.count("expected a model for 2D keypoints") == 1
    assert len(list((tmp_path / "out").iterdir())) == 3


# -- workers that die ------------------------------------------------------------------------------


def deadly(folder: str, tasks: Sequence[Task]) -> list[Outcome]:
    return [one_deadly(folder, task) for task in tasks]


def one_deadly(folder: str, task: Task) -> Outcome:
    """Kills its process at inputs named ``deadly``, at ``once`` the first time only."""
    mark = Path(folder) / f"{task.input.inside}.tried"
    if task.input.inside == "deadly" or (task.input.inside == "once" and not mark.exists()):
        mark.write_text("")
        os.kill(os.getpid(), signal.SIGKILL)
    time.sleep(0.01)
    with (Path(folder) / "done").open("a") as log:
        log.write(f"{task.input.inside}\n")
    return Outcome(DONE, task.input.inside)


@pytest.mark.parametrize("handful", [1, 4])
def test_a_killed_worker_costs_its_inputs_a_second_try(tmp_path: Path, handful: int) -> None:
    names = [f"{i}" for i in range(20)]
    names[3], names[11] = "once", "deadly"
    tasks = [Task(Input(name, name, name, data=b"1"), None) for name in names]
    ran = list(running.run_processes(partial(deadly, str(tmp_path)), tasks, 2, handful))
    assert [task.input.inside for task, _ in ran] == names
    assert [found.outcome for _, found in ran] == [
        FAILED if name == "deadly" else DONE for name in names
    ]
    assert "killed" in ran[11][1].message


def test_a_run_that_is_killed_goes_on_where_it_was(tmp_path: Path) -> None:
    source, out = tmp_path / "in", tmp_path / "out"
    for i in range(40):
        small(source / f"{i:03}.npz", i, frames=400)
    command = [
        *PROGRAM, "encode", str(source), "--output-dir", str(out), "--max-error", "1", "-q",
        "--jobs", "2", "--skip-existing", "--manifest", str(tmp_path / "log.jsonl"),
    ]  # fmt: skip
    process = subprocess.Popen(command, env=ENVIRONMENT)
    deadline = time.time() + 60
    while not (out.exists() and len(list(out.glob("*.mtok"))) >= 5) and time.time() < deadline:
        time.sleep(0.02)
    process.kill()
    process.wait()
    before = len(list(out.glob("*.mtok")))
    assert 5 <= before < 40
    assert subprocess.run(command, env=ENVIRONMENT).returncode == 0
    whole = tmp_path / "whole"
    assert run("encode", source, "--output-dir", whole, "--max-error", 1, "-q").exit_code == 0
    assert sorted(one.name for one in out.iterdir()) == sorted(one.name for one in whole.iterdir())
    for one in whole.iterdir():
        assert (out / one.name).read_bytes() == one.read_bytes()
    log = (tmp_path / "log.jsonl").read_text().splitlines()
    assert {Path(json.loads(line)["input"]).name for line in log} == {
        one.name for one in source.iterdir()
    }


def slow(tasks: Sequence[Task]) -> list[Outcome]:
    """Writes the process that did it to the output."""
    (task,) = tasks
    time.sleep(0.05)
    with storage.whole_file(str(task.target), replace=task.force) as stream:
        stream.write(str(os.getpid()).encode())
    return [Outcome(DONE, str(os.getpid()))]


def test_a_cluster_that_loses_a_worker_loses_nothing(tmp_path: Path) -> None:
    distributed = pytest.importorskip("distributed")
    tasks = [Task(Input(f"{i}", f"{i}", f"{i}"), str(tmp_path / f"{i}")) for i in range(60)]
    with distributed.LocalCluster(
        n_workers=2, threads_per_worker=1, processes=True, dashboard_address=None
    ) as cluster:
        ran = []
        for task, found in running.run_cluster(slow, tasks, cluster.scheduler_address):
            ran.append((task, found))
            if len(ran) == 20:
                victim = next(iter(cluster.workers.values()))
                os.kill(victim.process.process.pid, signal.SIGKILL)
    assert [task.input.inside for task, _ in ran] == [f"{i}" for i in range(60)]
    assert all(found.outcome == DONE for _, found in ran)
    assert len(list(tmp_path.iterdir())) == 60


def test_a_batch_runs_on_a_cluster(captures: Path) -> None:
    distributed = pytest.importorskip("distributed")
    with distributed.LocalCluster(
        n_workers=2, threads_per_worker=1, processes=True, dashboard_address=None
    ) as cluster:
        result = run(
            "encode", captures, "--output-dir", captures.parent / "out", "--fps", 30, "--max-error",
            5, "--scheduler", cluster.scheduler_address, "--manifest", "log.jsonl",
        )  # fmt: skip
    assert result.exit_code == 0, result.stderr
    assert files("out") == EXPECTED
    assert len(Path("log.jsonl").read_text().splitlines()) == 4
    gone = run("encode", captures, "--output-dir", "x", "--scheduler", "nowhere")
    assert gone.exit_code == 2
    assert len(gone.stderr.splitlines()) == 1


# -- addresses -------------------------------------------------------------------------------------


def test_addresses(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fsspec = pytest.importorskip("fsspec")
    memory = fsspec.filesystem("memory")
    small(tmp_path / "a.npz", 5)
    memory.pipe_file("/bucket/in/a.npz", (tmp_path / "a.npz").read_bytes())
    memory.pipe_file("/bucket/in/deep/b.npz", (tmp_path / "a.npz").read_bytes())
    for path in (DATA / "openpose").iterdir():
        memory.pipe_file(f"/bucket/in/cam/{path.name}", path.read_bytes())
    result = run(
        "encode", "memory://bucket/in", "--output-dir", "memory://bucket/out", "--fps", 30,
        "--lossless",
    )  # fmt: skip
    assert result.exit_code == 0, result.stderr
    assert sorted(memory.find("/bucket/out")) == [
        "/bucket/out/a.mtok", "/bucket/out/cam.mtok", "/bucket/out/deep/b.mtok",
    ]  # fmt: skip
    assert run("test", "memory://bucket/out/a.mtok").exit_code == 0
    assert run("info", "memory://bucket/out/cam.mtok").exit_code == 0
    again = run("encode", "memory://bucket/in/a.npz", "--output-dir", "memory://bucket/out")
    assert again.exit_code == 1 and "there already" in again.stderr
    file = f"file://{tmp_path}/back.npz"
    assert run("decode", "memory://bucket/out/a.mtok", "-o", file).exit_code == 0
    back = read_clip(tmp_path / "back.npz")
    assert back.keypoints.tobytes() == read_clip(tmp_path / "a.npz").keypoints.tobytes()
    assert run("encode", "memory://bucket/in/*.npz", "-o", "memory://bucket/x.mtok").exit_code == 0
    assert memory.exists("/bucket/x.mtok")
    assert run("encode", "memory://bucket/in/a.npz", "-o", "memory://bucket/x.mtok").exit_code == 1
    assert run("encode", "memory://bucket/none.npz").exit_code == 1
    assert "expected" in run("encode", "nosuch://x/y.npz").stderr
    clip = Clip(np.zeros((2, 20, 3)), 30, find_skeleton("canonical-20"))
    write_clip(clip, "memory://bucket/w.npz")
    assert read_clip("memory://bucket/w.npz").frames == 2
    assert motioncodec.decode("memory://bucket/out/a.mtok").frames == 6
    with motioncodec.open("memory://bucket/out/a.mtok") as recording:
        assert recording[2:4].frames == 2
    monkeypatch.setitem(sys.modules, "fsspec", None)
    assert "motioncodec[remote]" in run("encode", "memory://bucket/in/a.npz").stderr


def test_files_appear_whole_or_not_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for nameless in (True, False):
        if not nameless:
            monkeypatch.setattr(storage, "_nameless", lambda _: None)
        path = tmp_path / f"{nameless}"
        with storage.whole_file(str(path), replace=False) as stream:
            stream.write(b"1")
            assert not path.exists()
        assert path.read_bytes() == b"1"
        with pytest.raises(FileExistsError), storage.whole_file(str(path), replace=False) as stream:
            stream.write(b"2")
        with storage.whole_file(str(path), replace=True, durable=True) as stream:
            stream.write(b"3")
        assert path.read_bytes() == b"3"
        with pytest.raises(ZeroDivisionError), storage.whole_file(str(path), replace=True) as out:
            out.write(b"4")
            raise ZeroDivisionError
        assert path.read_bytes() == b"3"
    assert len(files(tmp_path)) == 2
    mask = os.umask(0)
    os.umask(mask)
    assert (tmp_path / "True").stat().st_mode & 0o777 == 0o666 & ~mask


def test_a_gzipped_clip_is_named_for_what_is_in_it(tmp_path: Path) -> None:
    import gzip

    data = (DATA / "bvh" / "rotation_first_root.bvh").read_bytes()
    (tmp_path / "walk.v2.bvh.gz").write_bytes(gzip.compress(data))
    assert run("encode", tmp_path / "walk.v2.bvh.gz", "--lossless").exit_code == 0
    assert (tmp_path / "walk.v2.mtok").exists()
    result = run("encode", "-", input=gzip.compress(data))
    assert result.exit_code == 0
    assert decode_clip(io.BytesIO(result.stdout_bytes)).frames > 0
