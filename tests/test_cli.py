"""The command line as its users run it."""

from __future__ import annotations

import io
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import click
import numpy as np
import pytest
from click.testing import CliRunner, Result

import motioncodec
from motioncodec.batch.inputs import Input
from motioncodec.cli import archives, main, outputs
from motioncodec.clip import Clip
from motioncodec.heatmap.placement import Placement, from_model_axes
from motioncodec.heatmap.rendering import extract_keypoints
from motioncodec.io import read_clip, storage, write_clip
from motioncodec.skeleton import CANONICAL, Skeleton

DATA = Path(__file__).parent / "data"
CAPTURE = DATA / "npz" / "cmu_49_08.npz"
WALK = DATA / "bvh" / "cmu_12_01_walk.bvh"
TOY = DATA.parents[1] / "motioncodec" / "training" / "configs" / "smoke.json"
ENVIRONMENT = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(DATA.parents[1])}


def run(*arguments: object, input: bytes | None = None) -> Result:
    """The command in this process; no expected failure is an exception there."""
    result = CliRunner().invoke(main, [str(one) for one in arguments], input=input)
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result


def shell(command: str, folder: Path) -> subprocess.CompletedProcess[bytes]:
    """A shell's line with ``motioncodec`` in it."""
    program = f"{sys.executable} -m motioncodec"
    return subprocess.run(
        ["bash", "-o", "pipefail", "-c", command.replace("motioncodec ", f"{program} ")],
        cwd=folder, env=ENVIRONMENT, capture_output=True,
    )  # fmt: skip


def lines(result: Result) -> list[str]:
    """What was said on standard error."""
    return result.stderr.splitlines()


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder to work in, with a capture in it."""
    monkeypatch.chdir(tmp_path)
    shutil.copy(CAPTURE, "a.npz")
    return tmp_path


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Streams of a capture, of a walk with joints that no model covers, and of two people in 2D."""
    folder = tmp_path_factory.mktemp("made")
    for source, name, more in (
        (CAPTURE, "capture", ()),
        (WALK, "walk", ()),
        (DATA / "openpose", "detections", ("--fps", 60)),
    ):
        result = run("encode", source, "-o", folder / f"{name}.mtok", *more)
        assert result.exit_code == 0, result.stderr
    return folder


@pytest.fixture
def streams(made: Path, here: Path) -> Path:
    """Copies of them to spoil."""
    shutil.copytree(made, here, dirs_exist_ok=True)
    return here


# -- encode ----------------------------------------------------------------------------------------


def test_a_clip_comes_back_where_it_was(here: Path) -> None:
    assert run("encode", "a.npz").exit_code == 0
    assert run("decode", "a.mtok", "-o", "b.npz").exit_code == 0
    one, other = read_clip("a.npz"), read_clip("b.npz")
    assert other.keypoints.shape == one.keypoints.shape
    assert (other.frame_rate, other.skeleton, other.units, other.up) == (
        one.frame_rate, one.skeleton, one.units, one.up,
    )  # fmt: skip
    np.testing.assert_array_equal(other.missing, one.missing)
    assert np.nanmean(np.linalg.norm(other.keypoints - one.keypoints, axis=-1)) < 0.2
    assert names(here) == ["a.mtok", "a.npz", "b.npz"]


def test_the_suffix_of_a_known_format_goes_and_no_other(here: Path) -> None:
    shutil.copy(WALK, "walk.v2.bvh")
    shutil.copy("a.npz", "take.3")
    shutil.copytree(DATA / "openpose", "side.v1.json")
    result = run("encode", "walk.v2.bvh", "take.3")
    assert result.exit_code == 0, result.stderr
    assert run("encode", "side.v1.json/", "--fps", 60).exit_code == 0
    assert {"walk.v2.mtok", "take.3.mtok", "side.v1.json.mtok"} <= set(names(here))
    assert run("decode", "walk.v2.mtok", "--format", "csv").exit_code == 0
    assert Path("walk.v2.csv").exists()
    shutil.copy("take.3.mtok", "bare")
    assert run("decode", "bare").exit_code == 0
    assert Path("bare.npz").exists()


def test_a_folder_of_frames_is_one_clip(here: Path) -> None:
    shutil.copytree(DATA / "openpose", "take1")
    result = run("encode", "take1/", "--fps", 60)
    assert result.exit_code == 0, result.stderr
    assert "take1.mtok" in names(here)
    assert "take1.mtok" not in names(here / "take1")
    os.chdir("take1")
    assert run("encode", ".", "--fps", 60, "-f").exit_code == 0
    found = json.loads(run("info", "--json", "../take1.mtok").stdout)
    assert (found["frames"], found["people"], found["dims"]) == (20, 2, 2)
    assert (found["units"], found["up"], found["confidence_bits"]) == ("px", "-y", 4)


def test_outputs_that_are_there_are_kept_without_force(here: Path) -> None:
    Path("a.mtok").write_bytes(b"mine")
    result = run("encode", "a.npz")
    assert result.exit_code == 1
    assert lines(result) == [
        "motioncodec: a.npz: expected to write a.mtok, found it there already; use -f or -o"
    ]
    assert Path("a.mtok").read_bytes() == b"mine"
    assert run("encode", "a.npz", "-f").exit_code == 0
    assert run("test", "a.mtok").exit_code == 0


def test_a_link_stays_a_link(here: Path) -> None:
    Path("real.mtok").write_bytes(b"old")
    Path("link.mtok").symlink_to("real.mtok")
    assert run("encode", "a.npz", "-o", "link.mtok", "-f").exit_code == 0
    assert Path("link.mtok").is_symlink()
    assert run("test", "real.mtok").exit_code == 0


def test_one_broken_input_does_not_stop_the_others(here: Path) -> None:
    Path("broken.npz").write_bytes(b"PK\3\4 no archive")
    shutil.copy("a.npz", "b.npz")
    result = run("encode", "a.npz", "broken.npz", "absent.bvh", "b.npz", "-q")
    assert result.exit_code == 1
    assert [line.split(":")[:2] for line in lines(result)] == [
        ["motioncodec", " broken.npz"], ["motioncodec", " absent.bvh"],
    ]  # fmt: skip
    assert all("expected" in line and "found" in line for line in lines(result))
    assert names(here) == ["a.mtok", "a.npz", "b.mtok", "b.npz", "broken.npz"]


def test_output_dir_is_made(here: Path) -> None:
    shutil.copy("a.npz", "b.npz")
    assert run("encode", "a.npz", "b.npz", "--output-dir", "deep/out").exit_code == 0
    assert names(here / "deep" / "out") == ["a.mtok", "b.mtok"]


def test_inputs_are_kept_unless_rm(here: Path) -> None:
    assert run("encode", "a.npz").exit_code == 0
    assert Path("a.npz").exists()
    assert run("encode", "a.npz", "--rm", "-f").exit_code == 0
    assert names(here) == ["a.mtok"]
    assert run("decode", "a.mtok", "--rm").exit_code == 0
    assert names(here) == ["a.npz"]


def test_rm_removes_nothing_after_a_failure(here: Path) -> None:
    Path("a.mtok").write_bytes(b"mine")
    assert run("encode", "a.npz", "--rm").exit_code == 1
    Path("broken.bvh").write_text("HIERARCHY\nnothing")
    assert run("encode", "broken.bvh", "--rm").exit_code == 1
    assert names(here) == ["a.mtok", "a.npz", "broken.bvh"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["a.npz", "-o", "a.npz", "-f"], "expected an output other than the inputs"),
        (["a.npz", "a.bvh"], "expected an output of its own"),
        (["a.npz", "b.npz", "-o", "c.mtok"], "-o: expected one input, found 2"),
        (["a.npz", "-o", "c.mtok", "--output-dir", "d"], "found both"),
        (["-", "-"], "found it twice"),
        (["-", "--output-dir", "d"], "expected a name"),
        (["a.npz", "-o", "folder"], "found a folder; use --output-dir"),
        (["folder", "--rm"], "--rm: expected files, found the folder folder"),
        (["a.npz", "--rm", "-o", "-"], "--rm: expected outputs that are files"),
        (["a.npz", "--rm", "-o", "/dev/null"], "--rm: expected outputs that are files"),
        (["a.npz", "--model", "none-such"], "model 'none-such': expected one of"),
        (["a.npz", "--preset", "f4"], "'f4' is not one of"),
        (["a.npz", "--fps", "0"], "--fps"),
        (["a.npz", "--max-error", "0"], "--max-error"),
        (["a.npz", "--max-error", "1", "--mean-error", "1"], "found more"),
        ([], "IN..."),
    ],
)
def test_a_request_that_cannot_be_meant_is_refused_before_anything_is_written(
    here: Path, arguments: list[str], message: str
) -> None:
    shutil.copy("a.npz", "b.npz")
    shutil.copy(WALK, "a.bvh")
    Path("folder").mkdir()
    before = names(here)
    result = run("encode", *arguments)
    assert result.exit_code == 2
    assert len(lines(result)) == 1
    assert lines(result)[0].startswith("motioncodec: ")
    assert message in lines(result)[0]
    assert result.stdout == ""
    assert names(here) == before


def test_a_hard_link_to_the_input_is_the_input(here: Path) -> None:
    os.link("a.npz", "also.mtok")
    assert run("encode", "a.npz", "-o", "also.mtok", "-f").exit_code == 2


def test_the_model_must_fit_the_clip(here: Path) -> None:
    result = run("encode", "a.npz", "--model", "slots-2d-2")
    assert result.exit_code == 2
    assert lines(result)[0].startswith("motioncodec: a.npz: model slots-2d-2: expected")


@pytest.mark.parametrize(
    "words",
    [
        ("encode", "a.npz", "--model", "slots-3d-1"),
        ("evaluate", "--data", ".", "--model", "slots-3d-1"),
        ("train", TOY, "--data", "data", "--init", "slots-3d-1"),
    ],
    ids=lambda words: words[0],
)
def test_the_model_must_encode(here: Path, words: tuple[str | Path, ...]) -> None:
    """And is told so before anything is read."""
    for part in ("train", "val"):
        (here / "data" / part).mkdir(parents=True)
    result = run(*words)
    assert result.exit_code == 2
    assert lines(result)[0].startswith("motioncodec: model slots-3d-1: expected one that encodes")


def test_what_the_file_does_not_say_is_said_by_options(here: Path) -> None:
    clip = read_clip("a.npz")
    np.save("a.npy", clip.keypoints * 1000)
    assert run("encode", "a.npy").exit_code == 1
    result = run(
        "encode", "a.npy", "--fps", 25, "--skeleton", "canonical-20", "--units", "mm", "--up", "z",
        "--input-format", "npy", "--preset", "f32",
    )  # fmt: skip
    assert result.exit_code == 0, result.stderr
    found = json.loads(run("info", "a.mtok", "--json").stdout)
    assert (found["frame_rate"], found["skeleton"], found["units"], found["up"]) == (
        25, "canonical-20", "mm", "z",
    )  # fmt: skip
    assert (found["preset"], found["covered"]) == ("f32", list(CANONICAL))


@pytest.mark.parametrize(("option", "bits"), [("off", 0), ("4", 4), ("8", 8)])
def test_confidence_bits(here: Path, option: str, bits: int) -> None:
    result = run(
        "encode", DATA / "openpose", "--fps", 60, "-o", "x.mtok", "--confidence", option, "-f"
    )
    assert result.exit_code == 0, result.stderr
    assert json.loads(run("info", "x.mtok", "--json").stdout)["confidence_bits"] == bits


def test_quiet_says_nothing_and_success_says_one_line(here: Path) -> None:
    result = run("encode", "a.npz")
    assert len(lines(result)) == 1
    assert lines(result)[0].startswith("a.npz: a.mtok, 143 frames, ")
    assert result.stdout == ""
    quiet = run("encode", "a.npz", "-fq")
    assert (quiet.stdout, quiet.stderr) == ("", "")


# -- standard input and output ---------------------------------------------------------------------


def test_the_pipeline_of_the_readme(here: Path) -> None:
    done = shell(
        "cat a.npz | motioncodec encode - -o - | motioncodec decode - -o - --format npz > b.npz",
        here,
    )
    assert done.returncode == 0, done.stderr
    assert (done.stdout, done.stderr) == (b"", b"")
    assert read_clip("b.npz").keypoints.shape == read_clip("a.npz").keypoints.shape
    # The same bytes as by way of files.
    assert run("encode", "a.npz").exit_code == 0
    assert run("decode", "a.mtok", "-o", "c.npz").exit_code == 0
    assert Path("b.npz").read_bytes() == Path("c.npz").read_bytes()


def test_nothing_but_bytes_on_standard_output(streams: Path) -> None:
    encoded = run("encode", "-", input=CAPTURE.read_bytes())
    assert encoded.stdout_bytes.startswith(b"\x8dMTK")
    assert encoded.stderr == ""
    decoded = run("decode", "-", "--format", "csv", input=encoded.stdout_bytes)
    assert decoded.exit_code == 0
    assert read_clip(decoded.stdout_bytes, name="x.csv").frames == 143
    for kind in ("tokens", "heatmaps"):
        result = run("decode", "capture.mtok", "--to", kind, "-o", "-", "--frames", ":4")
        assert result.exit_code == 0, result.stderr
        assert len(np.load(io.BytesIO(result.stdout_bytes)).files) > 1


def test_a_failure_leaves_standard_output_empty(here: Path) -> None:
    result = run("encode", "-", input=b"no clip")
    assert result.exit_code == 1
    assert result.stdout_bytes == b""
    assert lines(result)[0].startswith("motioncodec: <stdin>: expected")


def test_no_binary_on_a_terminal_without_force(
    streams: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(outputs, "on_terminal", lambda: True)
    for command in (
        ["encode", "a.npz", "-o", "-"],
        ["decode", "capture.mtok", "-o", "-"],
        ["decode", "capture.mtok", "-o", "-", "--to", "tokens"],
    ):
        result = run(*command)
        assert result.exit_code == 2
        assert result.stdout_bytes == b""
        assert "terminal" in lines(result)[0]
    assert run("encode", "a.npz", "-o", "-", "-f").stdout_bytes.startswith(b"\x8dMTK")
    assert run("decode", "capture.mtok", "-o", "-", "--format", "csv").exit_code == 0


def test_devices_and_pipes_are_written_not_replaced(here: Path) -> None:
    assert run("encode", "a.npz", "-o", "/dev/null").exit_code == 0
    assert Path("/dev/null").is_char_device()
    done = shell("motioncodec encode <(cat a.npz) -o >(cat > out.mtok) -q; sleep 0.2", here)
    assert done.returncode == 0, done.stderr
    assert run("test", "out.mtok").exit_code == 0


def test_a_reader_that_goes_away_is_no_traceback(streams: Path) -> None:
    for command in ("info --json capture.mtok", "decode capture.mtok -o - -q"):
        done = shell(f"motioncodec {command} | true", streams)
        assert b"Traceback" not in done.stderr
        assert b"Exception" not in done.stderr


# -- decode ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("suffix", ["npz", "npy", "csv", "json"])
def test_the_suffix_names_the_format(streams: Path, suffix: str) -> None:
    assert run("decode", "capture.mtok", "-o", f"out.{suffix}").exit_code == 0
    assert read_clip(f"out.{suffix}", frame_rate=30).frames == 143


def test_a_format_that_cannot_be_written_is_refused(streams: Path) -> None:
    before = names(streams)
    for arguments in (
        ["-o", "out.amc"], ["-o", "out.xyz"], ["--format", "amc"],
        ["--to", "tokens", "--format", "csv"], ["--to", "heatmaps", "-o", "h.csv"],
    ):  # fmt: skip
        result = run("decode", "capture.mtok", *arguments)
        assert result.exit_code == 2, arguments
        assert len(lines(result)) == 1
    assert names(streams) == before
    assert run("decode", "capture.mtok", "-o", "out").exit_code == 0
    assert Path("out").read_bytes().startswith(b"PK")


@pytest.mark.parametrize(
    ("asked", "expected"),
    [("10:20", slice(10, 20)), (":7", slice(0, 7)), ("140:", slice(140, 143)), (":", slice(None)),
     ("5:5", slice(5, 5))],
)  # fmt: skip
def test_frames(streams: Path, asked: str, expected: slice) -> None:
    assert run("decode", "capture.mtok", "-o", "all.npz").exit_code == 0
    result = run("decode", "capture.mtok", "-o", "part.npz", "--frames", asked)
    assert result.exit_code == 0, result.stderr
    whole, part = read_clip("all.npz"), read_clip("part.npz")
    assert part.frames == len(range(*expected.indices(143)))
    np.testing.assert_allclose(part.keypoints, whole.keypoints[expected], atol=1e-5)


@pytest.mark.parametrize("asked", ["-3:5", "5", "1:2:3", "a:b", "5:200", "9:3", "1e3:", "٣:"])
def test_frames_that_are_not_there(streams: Path, asked: str) -> None:
    result = run("decode", "capture.mtok", "-o", "part.npz", "--frames", asked)
    assert result.exit_code == 2
    assert len(lines(result)) == 1
    assert "expected" in lines(result)[0]
    assert not Path("part.npz").exists()


def test_heatmaps_hold_what_keypoints_hold(streams: Path) -> None:
    result = run("decode", "capture.mtok", "--to", "heatmaps", "--frames", "20:50")
    assert result.exit_code == 0, result.stderr
    assert run("decode", "capture.mtok", "-o", "k.npz", "--frames", "20:50").exit_code == 0
    clip = read_clip("k.npz")
    with np.load("capture.heatmaps.npz") as found:
        volume = found["heatmaps"]
        assert volume.shape == (60, 30, 64, 64)
        assert volume.dtype == np.float16
        assert found["joints"].tolist() == list(CANONICAL)
        assert found["planes"].tolist() == ["xy", "zy", "xz"]
        assert found["frame_rate"] == clip.frame_rate
        assert (found["origin"].shape, found["heading"].shape) == ((30, 3), (30,))
        body, _ = extract_keypoints(volume, 3)
        where = Placement(
            found["origin"].astype(float),
            found["size"].astype(float),
            found["heading"].astype(float),
        )
        world = from_model_axes(where.invert(body), str(found["up"]))
    at = [CANONICAL.index(name) for name in clip.skeleton.joints]
    error = np.linalg.norm(world[:, at] - clip.keypoints[:, 0], axis=-1)
    # Joints at the volume's border are found less well, and float16 rounds.
    assert np.nanmedian(error) < 0.001
    assert np.nanmax(error) < 0.02


def test_heatmaps_of_two_people_in_2d(streams: Path) -> None:
    result = run(
        "decode", "detections.mtok", "--to", "heatmaps", "--heatmap-size", 32, "--sigma", 1
    )
    assert result.exit_code == 0, result.stderr
    with np.load("detections.heatmaps.npz") as found:
        assert found["heatmaps"].shape == (2, 20, 20, 32, 32)
        assert found["planes"].tolist() == ["xy"]
        assert found["origin"].shape == (2, 20, 2)
        assert "heading" not in found
        # Missing joints have no peak; the others' is their confidence at most.
        assert found["heatmaps"].max() <= 1.001


def test_dense_heatmaps(streams: Path) -> None:
    arguments = ("--to", "heatmaps", "--dense", "--frames", ":3", "--heatmap-size", 16)
    assert run("decode", "capture.mtok", *arguments).exit_code == 0
    with np.load("capture.heatmaps.npz") as found:
        assert found["heatmaps"].shape == (20, 3, 16, 16, 16)
        assert found["planes"].tolist() == ["xyz"]
    result = run("decode", "detections.mtok", *arguments)
    assert result.exit_code == 1
    assert "3D" in lines(result)[0]


def test_heatmaps_do_not_depend_on_how_they_are_cut(
    streams: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert run("decode", "capture.mtok", "--to", "heatmaps", "-o", "one.npz").exit_code == 0
    monkeypatch.setattr(archives, "_BLOCK_BYTES", 7 * 60 * 64 * 64 * 4)
    assert run("decode", "capture.mtok", "--to", "heatmaps", "-o", "two.npz").exit_code == 0
    with np.load("one.npz") as one, np.load("two.npz") as two:
        assert one.files == two.files
        for name in one.files:
            if one[name].dtype.kind == "f":
                np.testing.assert_allclose(one[name], two[name], atol=2e-3)


def test_too_large_heatmaps_are_refused_with_a_hint(
    streams: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(archives, "MOST_BYTES", 1 << 20)
    before = names(streams)
    result = run("decode", "capture.mtok", "--to", "heatmaps")
    assert result.exit_code == 2
    assert "take at most 2 frames with --frames" in lines(result)[0]
    assert names(streams) == before
    assert run("decode", "capture.mtok", "--to", "heatmaps", "--frames", ":2").exit_code == 0


def test_tokens(streams: Path) -> None:
    result = run("decode", "capture.mtok", "--to", "tokens")
    assert result.exit_code == 0, result.stderr
    with np.load("capture.tokens.npz") as found:
        assert set(found.files) == {"f32", "f16", "strides"}
        assert found["strides"].tolist() == [64, 64]
        people, steps, _slots = found["f32"].shape
        assert people == 1
        assert found["f16"].shape[:2] == (people, steps)


def test_a_clip_without_a_body_has_no_heatmaps(here: Path) -> None:
    clip = Clip(np.random.default_rng(0).random((40, 3, 2)), 30, Skeleton(("tail", "ear", "paw")))
    write_clip(clip, "mouse.npz")
    assert run("encode", "mouse.npz").exit_code == 0
    found = json.loads(run("info", "mouse.mtok", "--json").stdout)
    assert (found["model"], found["covered"]) == (None, [])
    assert found["uncovered"] == ["tail", "ear", "paw"]
    assert "none: every joint is written as a curve" in run("info", "mouse.mtok").stdout
    for kind in ("heatmaps", "tokens"):
        result = run("decode", "mouse.mtok", "--to", kind)
        assert result.exit_code == 2
        assert lines(result)[0].startswith(f"motioncodec: mouse.mtok: {kind}: expected")
    assert names(here) == ["a.npz", "mouse.mtok", "mouse.npz"]


# -- nothing is left behind ------------------------------------------------------------------------


@pytest.mark.parametrize("nameless", [True, False])
@pytest.mark.parametrize("error", [KeyboardInterrupt, OSError(28, "No space left"), MemoryError])
def test_no_unfinished_file_stays(
    streams: Path,
    monkeypatch: pytest.MonkeyPatch,
    error: type[BaseException] | BaseException,
    nameless: bool,
) -> None:
    if not nameless:
        # As on systems without files that have no name.
        monkeypatch.setattr(storage, "_nameless", lambda _: None)
    before = names(streams)
    during: list[str] = []

    def fail(*_: object, **__: object) -> None:
        during.extend(names(streams))
        raise error

    monkeypatch.setattr(archives, "write_heatmaps", fail)
    result = run("decode", "capture.mtok", "walk.mtok", "--to", "heatmaps")
    if not nameless:
        assert any(name.startswith(".motioncodec-") for name in during)
    assert names(streams) == before
    if error is KeyboardInterrupt:
        assert result.exit_code == 130
        assert lines(result)[-1] == "motioncodec: interrupted"
    else:
        assert result.exit_code == 1
        assert len(lines(result)) == 3
        assert lines(result)[-1].startswith("decode: 0 done, 0 skipped, 2 failed")


def test_an_output_that_appears_meanwhile_is_kept(
    streams: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def slow(*_: object, **__: object) -> None:
        Path("capture.heatmaps.npz").write_bytes(b"another's")

    monkeypatch.setattr(archives, "write_heatmaps", slow)
    result = run("decode", "capture.mtok", "--to", "heatmaps")
    assert result.exit_code == 1
    assert Path("capture.heatmaps.npz").read_bytes() == b"another's"
    assert not [name for name in names(streams) if name.startswith(".")]


def test_control_c(streams: Path) -> None:
    code = (
        "from motioncodec.cli import archives, main\n"
        "import time\n"
        "archives.write_heatmaps = lambda *a, **k: (print('started', flush=True), time.sleep(60))\n"
        "main(['decode', 'capture.mtok', '--to', 'heatmaps'])\n"
    )
    before = names(streams)
    process = subprocess.Popen(
        [sys.executable, "-c", code],
        env=ENVIRONMENT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == b"started\n"
    time.sleep(0.1)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=30)
    assert process.returncode == 130
    assert said.strip() == b"motioncodec: interrupted"
    assert names(streams) == before


def test_no_such_folder_is_one_line(here: Path) -> None:
    result = run("encode", "a.npz", "-o", "no/such/folder/a.mtok")
    assert result.exit_code == 1
    assert len(lines(result)) == 1
    assert "No such file or directory" in lines(result)[0]


# -- lossless, trim -------------------------------------------------------------------------------


def test_lossless_gives_the_same_bytes(here: Path) -> None:
    assert run("encode", "a.npz", "--lossless").exit_code == 0
    assert run("decode", "a.mtok", "-o", "b.npz").exit_code == 0
    one, two = read_clip("a.npz"), read_clip("b.npz")
    assert one.keypoints.tobytes() == two.keypoints.tobytes()
    found = json.loads(run("info", "a.mtok", "--json").stdout)
    assert (found["lossless"], found["model"]) == (True, None)
    assert set(found["layers"]) <= {"missing joints", "numbers"}
    assert "every float32 to the bit" in run("info", "a.mtok").stdout
    assert run("encode", "a.npz", "--lossless", "--preset", "f8", "-f").exit_code == 2


def test_trim_keeps_its_promise_without_the_source(here: Path) -> None:
    clip = read_clip("a.npz")
    sizes = []
    for name, arguments in (
        ("whole", ["encode", "a.npz", "--lossless"]),
        ("one", ["trim", "whole.mtok", "--max-error", "1"]),
        ("five", ["trim", "one.mtok", "--max-error", "5"]),
        ("mean", ["trim", "one.mtok", "--mean-error", "15"]),
        ("f16", ["trim", "five.mtok", "--preset", "f16"]),
        ("f32", ["trim", "f16.mtok", "--preset", "f32"]),
    ):
        result = run(*arguments, "-o", f"{name}.mtok")
        assert result.exit_code == 0, result.stderr
        sizes.append(Path(f"{name}.mtok").stat().st_size)
        assert run("decode", f"{name}.mtok", "-o", f"{name}.npz").exit_code == 0
        apart = read_clip(f"{name}.npz").keypoints.astype(float) - clip.keypoints
        off = np.linalg.norm(apart, axis=-1) * 1000
        if name in ("one", "five"):
            assert 0.5 < np.nanmax(off) <= {"one": 1.0, "five": 5.0}[name]
        if name == "mean":
            assert np.nanmean(off) <= 15
    assert sizes == sorted(sizes, reverse=True)
    found = json.loads(run("info", "five.mtok", "--json").stdout)
    assert found["max_error"] == pytest.approx(5, rel=1e-6)


@pytest.mark.parametrize(
    ("arguments", "status", "message"),
    [
        ([], 2, "expected --max-error, --mean-error, --bitrate, --step or --preset, found none"),
        (["--preset", "f16"], 2, "expected a stream finer than f16, found one of f16"),
        (["--preset", "f8"], 2, "expected a stream finer than f8, found one of f16"),
        (["--max-error", "5"], 2, "expected a stream that was made with a bound or lossless"),
    ],
)
def test_what_cannot_be_trimmed_is_refused(
    here: Path, arguments: list[str], status: int, message: str
) -> None:
    assert run("encode", "a.npz", "-q").exit_code == 0
    result = run("trim", "a.mtok", *arguments)
    assert result.exit_code == status
    assert message in result.stderr
    assert not Path("a.trim.mtok").exists()


def test_trim_writes_nothing_that_is_no_smaller(here: Path) -> None:
    assert run("encode", "a.npz", "--max-error", "30", "-q").exit_code == 0
    result = run("trim", "a.mtok", "--max-error", "31")
    assert result.exit_code == 2
    assert "ask for something coarser" in result.stderr
    assert not Path("a.trim.mtok").exists()


def test_info_tells_what_takes_how_much(here: Path) -> None:
    run("encode", "a.npz", "-q")
    layers = json.loads(run("info", "a.mtok", "--json").stdout)["layers"]
    assert {"placement", "tokens f32", "tokens f16"} <= set(layers)
    assert sum(layers.values()) == pytest.approx(1, abs=0.02)
    assert max(layers, key=lambda name: layers[name]) == "tokens f16"
    assert "tokens f16" in run("info", "a.mtok").stdout


# -- info, test, compare ---------------------------------------------------------------------------


def test_info_for_people(streams: Path) -> None:
    result = run("info", "walk.mtok", "detections.mtok")
    assert result.exit_code == 0
    assert "20 by the model; outside it: LHipJoint" in result.stdout
    assert "and 6 more" in result.stdout
    assert "preset f16" in result.stdout
    assert "2D in px, -y up" in result.stdout


def test_info_for_scripts(streams: Path) -> None:
    one = json.loads(run("info", "--json", "walk.mtok").stdout)
    assert (one["format_version"], one["model_id"], one["preset"]) == (1, 3, "f16")
    assert (one["frames"], one["frame_rate"], one["people"]) == (90, 120, 1)
    assert one["duration"] == pytest.approx(0.75)
    assert one["bytes"] == Path("walk.mtok").stat().st_size
    assert one["bit_rate"] == pytest.approx(8 * one["bytes"] / 0.75)
    assert len(one["fingerprint"]) == 8
    assert sorted(one["covered"] + one["uncovered"]) == sorted(one["joints"])
    assert (one["chunks"], one["damage"]) == (1, None)
    assert 0 < one["overhead_bytes"] < one["bytes"]
    several = json.loads(run("info", "--json", "walk.mtok", "capture.mtok").stdout)
    assert [found["file"] for found in several] == ["walk.mtok", "capture.mtok"]


def test_info_without_torch(streams: Path) -> None:
    code = (
        "import sys\n"
        "class No:\n"
        "    def find_spec(self, name, *_):\n"
        "        if name.split('.')[0] in ('torch', 'scipy'): raise ImportError(name)\n"
        "sys.meta_path.insert(0, No())\n"
        "from motioncodec.cli import main\n"
        "main(sys.argv[1:])\n"
    )
    for arguments in (["info", "--json"], ["info"]):
        done = subprocess.run(
            [sys.executable, "-c", code, *arguments, "capture.mtok", "walk.mtok"],
            env=ENVIRONMENT, capture_output=True,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr


def test_checks_and_tokens_need_no_torch(streams: Path) -> None:
    code = (
        "import sys\n"
        "from motioncodec.cli import main\n"
        "for command in (['test', 'capture.mtok'], ['models'], ['info', 'capture.mtok'],\n"
        "        ['decode', 'capture.mtok', '--to', 'tokens']):\n"
        "    assert main(command, standalone_mode=False) == 0, command\n"
        "assert 'torch' not in sys.modules\n"
    )
    done = subprocess.run([sys.executable, "-c", code], env=ENVIRONMENT, capture_output=True)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("cut", [0, 3, 20, -60, -1])
@pytest.mark.parametrize("name", ["walk.mtok", "capture.mtok"])
def test_a_truncated_file_says_so(streams: Path, cut: int, name: str) -> None:
    data = Path(name).read_bytes()
    Path("cut.mtok").write_bytes(data[:cut])
    for command in (["info", "cut.mtok"], ["info", "--json", "cut.mtok"]):
        result = run(*command)
        assert result.exit_code == 1
        assert len(lines(result)) == 1
        assert any(word in lines(result)[0] for word in ("truncated", "empty", "cut short"))
    if len(data) > 2000 and cut == -1:
        assert "truncated" in json.loads(run("info", "--json", "cut.mtok").stdout)["damage"]
    result = run("test", "cut.mtok")
    assert result.exit_code == 1
    assert result.stdout.startswith("cut.mtok: ")
    assert run("decode", "cut.mtok", "-o", "x.npz").exit_code == 1
    assert not Path("x.npz").exists()


def test_a_long_file_that_is_truncated_says_so(here: Path) -> None:
    clip = read_clip("a.npz")
    write_clip(replace(clip, keypoints=np.tile(clip.keypoints, (10, 1, 1, 1))), "long.npz")
    assert run("encode", "long.npz", "--preset", "f32").exit_code == 0
    assert json.loads(run("info", "long.mtok", "--json").stdout)["chunks"] == 2
    data = Path("long.mtok").read_bytes()
    for cut in (len(data) // 3, -1):
        Path("long.mtok").write_bytes(data[:cut])
        result = run("info", "long.mtok")
        assert result.exit_code == 1
        assert "truncated" in result.stderr
        assert "frames          1430" in result.stdout


def test_damage_is_told_line_by_line(streams: Path) -> None:
    # Lossless, for it to be so large that header and chunk have checksums of their own.
    assert run("encode", WALK, "--lossless", "-o", "whole.mtok").exit_code == 0
    data = bytearray(Path("whole.mtok").read_bytes())
    data[-20] ^= 1
    Path("bad.mtok").write_bytes(data)
    result = run("test", "capture.mtok", "bad.mtok", "walk.mtok")
    assert result.exit_code == 1
    said = result.stdout.splitlines()
    assert said[0] == "capture.mtok: ok"
    assert said[1].startswith("bad.mtok: chunk 0")
    assert said[-1] == "walk.mtok: ok"
    assert run("test", "capture.mtok", "walk.mtok").exit_code == 0
    absent = run("test", "absent.mtok")
    assert absent.exit_code == 1
    assert lines(absent)[0].startswith("motioncodec: absent.mtok: expected")


def test_a_stream_cut_or_changed_at_any_byte_is_found_out(here: Path) -> None:
    source = DATA / "bvh" / "rotation_first_root.bvh"
    assert run("encode", source, "-o", "good.mtok").exit_code == 0
    data = Path("good.mtok").read_bytes()
    for at in range(len(data)):
        changed = data[:at] + bytes([data[at] ^ 1 << at % 8]) + data[at + 1 :]
        for spoilt in (data[:at], changed):
            Path("bad.mtok").write_bytes(spoilt)
            assert run("test", "bad.mtok").exit_code == 1, at
            assert run("decode", "bad.mtok", "-o", "out.npz").exit_code == 1, at
            assert run("info", "bad.mtok").exit_code == 1, at
    assert names(here) == ["a.npz", "bad.mtok", "good.mtok"]


def test_what_is_no_stream_is_told(here: Path) -> None:
    for command in ("info", "test", "decode"):
        result = run(command, "a.npz")
        assert result.exit_code == 1
        assert "not an .mtok file" in result.output


def test_compare_tells_streams_by_their_content(streams: Path) -> None:
    shutil.copy("walk.mtok", "walk.bin")
    found = json.loads(run("compare", WALK, "walk.bin", "--json").stdout)
    assert found["original"]["bytes"] == WALK.stat().st_size
    assert found["other"]["bytes"] == Path("walk.mtok").stat().st_size
    assert found["ratio"] == pytest.approx(WALK.stat().st_size / Path("walk.mtok").stat().st_size)
    assert found["other"]["bit_rate"] == pytest.approx(found["other"]["bytes"] * 8 / 0.75)
    assert (found["unit"], found["frames"], found["joints"]) == ("mm", 90, 38)
    assert 0 < found["mpjpe"] <= found["p99"] <= found["max"]
    assert 0 <= found["pck"] <= 1
    assert found["acceleration_error"] > 0
    assert found["missing_in_one"] == 0
    same = json.loads(run("compare", "walk.bin", "walk.mtok", "--json").stdout)
    assert same["max"] == 0
    table = run("compare", WALK, "walk.mtok").stdout
    for row in ("MPJPE", "ratio", "PCK", "acceleration", "bit/s"):
        assert row in table


def test_compare_reads_folders_and_standard_input(streams: Path) -> None:
    folder = DATA / "openpose"
    found = json.loads(run("compare", folder, "detections.mtok", "--fps", 60, "--json").stdout)
    assert found["unit"] == "px"
    assert found["original"]["bytes"] == sum(p.stat().st_size for p in folder.iterdir())
    result = run("compare", WALK, "-", "--json", input=Path("walk.mtok").read_bytes())
    assert json.loads(result.stdout)["other"]["file"] == "<stdin>"


def test_clips_that_cannot_be_compared(streams: Path) -> None:
    result = run("compare", WALK, "capture.mtok")
    assert result.exit_code == 1
    assert lines(result) == ["motioncodec: capture.mtok: comparison: expected 90 frames, found 143"]
    assert len(lines(run("compare", "no", "neither"))) == 2


# -- models, train, evaluate -----------------------------------------------------------------------


def test_a_bound_is_kept_and_told(here: Path) -> None:
    assert run("encode", "a.npz", "--max-error", "4", "-o", "a.mtok").exit_code == 0
    found = json.loads(run("info", "--json", "a.mtok").stdout)
    assert found["max_error"] == pytest.approx(4)
    assert "4 mm, every joint and frame" in run("info", "a.mtok").stdout
    compared = json.loads(run("compare", "a.npz", "a.mtok", "--json").stdout)
    assert compared["max"] <= 4
    assert run("decode", "a.mtok", "-o", "b.npz").exit_code == 0
    one, other = read_clip("a.npz"), read_clip("b.npz")
    assert np.nanmax(np.linalg.norm(other.keypoints - one.keypoints, axis=-1)) <= 4e-3
    assert run("encode", "a.npz", "-o", "plain.mtok").exit_code == 0
    assert json.loads(run("info", "--json", "plain.mtok").stdout)["max_error"] is None


def test_models(here: Path) -> None:
    found = json.loads(run("models", "--json").stdout)
    assert {one["dims"] for one in found} == {2, 3}
    for one in found:
        assert len(one["fingerprint"]) == 64
        patches = {"f32": 3.75, "f16": 30.0, "f8": 240.0}
        lapped = {"f32": 11.25, "f16": 45.0, "f8": 255.0}
        conv3d = {"f8": 60.0}
        expected = {3: lapped, 4: conv3d, 5: conv3d, 6: lapped}.get(one["id"], patches)
        assert one["tokens_per_second"] == expected
        assert one["encodes"] == (expected is not patches)
        assert one["name"] in run("models").stdout


def test_evaluate(here: Path) -> None:
    Path("data/deep").mkdir(parents=True)
    shutil.copy("a.npz", "data/deep/a.npz")
    shutil.copytree(DATA / "openpose", "data/frames")
    result = run("evaluate", "--data", "data", "--json", "--preset", "f32")
    # The frames say no rate.
    assert result.exit_code == 1
    assert lines(result)[0].startswith("motioncodec: data/frames: expected a frame rate")
    (row,) = json.loads(result.stdout)
    assert (row["preset"], row["dims"], row["clips"], row["unit"]) == ("f32", 3, 1, "mm")
    assert row["bit_rate"] > 0
    assert 0 < row["mpjpe"] < row["p99"]
    shutil.rmtree("data/frames")
    table = run("evaluate", "--data", "data")
    assert table.exit_code == 0
    assert [line.split()[0] for line in table.stdout.splitlines()[1:]] == ["f32", "f16", "f8"]
    assert run("evaluate", "--data", "absent").exit_code == 2


TINY = {
    "name": "tiny", "steps": 2, "batch": 4, "frames": 64, "evaluate_every": 1, "warmup": 1,
    "precision": "float32", "model": {"codes": 16, "width": 16, "blocks": 1},
}  # fmt: skip


def test_train_makes_weights_that_encode(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from motioncodec.training import export as exporting

    monkeypatch.setitem(exporting.export.__kwdefaults__, "batches", 1)
    Path("tiny.json").write_text(json.dumps(TINY))
    for part in ("train", "val"):
        Path("data", part).mkdir(parents=True)
        shutil.copy("a.npz", f"data/{part}/a.npz")
    result = run("train", "tiny.json", "--data", "data", "--device", "cpu")
    assert result.exit_code == 0, result.stderr
    assert result.stdout == "runs/tiny/tiny.safetensors\n"
    weights = result.stdout.strip()
    encoded = run("encode", "a.npz", "--model", weights, "-q")
    assert encoded.exit_code == 0, encoded.stderr
    # No version ships these weights: what reads the file is told of them.
    assert run("decode", "a.mtok", "-o", "b.npz", "--model", weights).exit_code == 0
    assert run("test", "a.mtok", "--model", weights).exit_code == 0
    assert run("decode", "a.mtok", "-o", "c.npz").exit_code == 1
    scores = run("evaluate", "--data", "data/val", "--model", weights, "--json", "--preset", "f16")
    assert json.loads(scores.stdout)[0]["clips"] == 1
    assert (
        run(
            "train", "tiny.json", "--data", "data", "--init", weights, "--output", "again", "-q"
        ).stdout
        == "again/tiny.safetensors\n"
    )


@pytest.mark.parametrize(
    "config",
    ["no json", "[]", '{"name": "x", "stps": 3}', '{"name": "x", "model": {"wdth": 3}}',
        '{"name": "x", "model": {"levels": [{"stride": 8}]}}',
     '{"name": "../x"}', '{"steps": 3}'],
)  # fmt: skip
def test_a_configuration_that_is_none(here: Path, config: str) -> None:
    Path("c.json").write_text(config)
    Path("data/train").mkdir(parents=True)
    result = run("train", "c.json", "--data", "data")
    assert result.exit_code == 1
    assert len(lines(result)) == 1
    assert lines(result)[0].startswith("motioncodec: c.json: expected a training configuration")
    assert run("train", "c.json", "--data", "absent").exit_code == 2


# -- the program itself ----------------------------------------------------------------------------


def commands() -> list[tuple[str, click.Command]]:
    return sorted(main.commands.items())


def test_the_commands_are_those_of_the_contract() -> None:
    assert [name for name, _ in commands()] == [
        "compare", "decode", "encode", "evaluate", "formats", "info", "models", "test", "train",
        "trim", "view",
    ]  # fmt: skip


@pytest.mark.parametrize(("name", "command"), commands())
def test_every_command_and_option_is_explained(name: str, command: click.Command) -> None:
    assert command.help
    for parameter in command.params:
        if isinstance(parameter, click.Option):
            assert parameter.help, f"{name} {parameter.opts[0]}"
    for flag in ("-h", "--help"):
        result = run(name, flag)
        assert result.exit_code == 0
        assert result.stdout.startswith(f"Usage: motioncodec {name}")


@pytest.mark.parametrize(
    "arguments", [["--none"], ["none"], *[[n, "--none"] for n, _ in commands()]]
)
def test_what_is_unknown_is_a_usage_error(arguments: list[str]) -> None:
    result = run(*arguments)
    assert result.exit_code == 2
    assert len(lines(result)) == 1
    assert lines(result)[0].startswith("motioncodec: No such ")


def test_version_and_module() -> None:
    assert run("--version").stdout == f"motioncodec {motioncodec.__version__}\n"
    done = subprocess.run(
        [sys.executable, "-m", "motioncodec", "--version"], env=ENVIRONMENT, capture_output=True
    )
    assert done.stdout.decode() == f"motioncodec {motioncodec.__version__}\n"


def test_names_in_messages_obey_no_terminal(here: Path) -> None:
    name = "a\x1b[31m.npz"
    Path(name).write_bytes(b"nothing")
    result = run("encode", name)
    assert result.exit_code == 1
    assert "\x1b" not in result.stderr


def test_bars_are_drawn_on_a_terminal_alone(here: Path) -> None:
    done = shell("motioncodec encode a.npz", here)
    assert b"\r" not in done.stderr


@pytest.mark.parametrize(
    ("path", "expected"),
    [("walk.v2.bvh", "walk.v2.mtok"), ("WALK.BVH", "WALK.mtok"), ("walk", "walk.mtok"),
     ("walk.v2", "walk.v2.mtok"), ("in/a.b.c.npz", "a.b.c.mtok"), (".npz", ".npz.mtok")],
)  # fmt: skip
def test_encoded_names(path: str, expected: str) -> None:
    from motioncodec.cli.conversion import encoded_name

    assert encoded_name(path) == expected


def test_no_name_is_taken_for_two(here: Path) -> None:
    targets = outputs.Targets(None, None, lambda _: "x.mtok")
    targets.task(Input("a.npz", "a.npz", "a.npz"))
    with pytest.raises(motioncodec.MotionCodecError, match="of its own"):
        targets.task(Input("./b.npz", "b.npz", "./b.npz"))


def test_salvage_writes_what_is_whole_and_fails(here: Path) -> None:
    clip = read_clip("a.npz")
    long = replace(clip, keypoints=np.concatenate([clip.keypoints] * 16), frame_rate=30.0)
    write_clip(long, "long.npz")
    assert run("encode", "long.npz", "-q").exit_code == 0
    data = bytearray(Path("long.mtok").read_bytes())
    data[-200] ^= 1
    Path("long.mtok").write_bytes(data)
    assert run("decode", "long.mtok", "-o", "b.npz").exit_code == 1
    assert "--salvage" in run("decode", "long.mtok", "-o", "b.npz").stderr
    result = run("decode", "long.mtok", "-o", "b.npz", "--salvage")
    assert result.exit_code == 1
    assert "frames 2048:2288 are damaged and left missing" in result.stderr
    found = read_clip("b.npz")
    assert found.missing[2048:].all()
    assert (found.missing[:2048] == long.missing[:2048]).all()
    refused = run("decode", "long.mtok", "-o", "c.npz", "--salvage", "--rm")
    assert refused.exit_code == 2
