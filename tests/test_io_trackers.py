"""HDF5 of DeepLabCut and SLEAP, text of Kinects, positions of body models."""

from __future__ import annotations

import io
import pickle
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from motioncodec.errors import FormatError, MotionCodecError
from motioncodec.io import hdf5, read_clip
from motioncodec.skeleton import CANONICAL, find_skeleton

h5py = pytest.importorskip("h5py")
DATA = Path(__file__).parent / "data"


@pytest.mark.parametrize("name", ["dlc_testdata", "madlc_testdata", "madlc_testdata_fixed"])
def test_deeplabcut_is_its_csv(name: str) -> None:
    clip = read_clip(DATA / f"dlc/{name}.h5", frame_rate=30)
    table = read_clip(DATA / f"dlc/{name.removesuffix('_fixed')}.csv", frame_rate=30)
    np.testing.assert_array_equal(clip.keypoints, table.keypoints)
    assert (clip.skeleton, clip.people) == (table.skeleton, table.people)
    assert (clip.units, clip.up, clip.confidence) == (table.units, table.up, table.confidence)
    with pytest.raises(FormatError, match="--fps"):
        read_clip(DATA / f"dlc/{name}.h5")


class Trap:
    def __reduce__(self) -> Any:
        return print, ("it ran",)


def test_pickles_that_run_something_are_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "a.h5"
    path.write_bytes((DATA / "dlc/dlc_testdata.h5").read_bytes())
    with h5py.File(path, "r+") as file:
        attributes = file["df_with_missing/table"].attrs
        attributes["values_block_0_kind"] = np.bytes_(pickle.dumps([Trap()], 0))
    with pytest.raises(FormatError, match="never loaded"):
        read_clip(path, frame_rate=30)
    assert capsys.readouterr().out == ""


def test_sleap_analysis() -> None:
    clip = read_clip(DATA / "sleap/predictions.analysis.h5", frame_rate=30)
    assert clip.keypoints.shape == (40, 2, 13, 2)
    assert clip.people == ("track_0", "track_1")
    assert (clip.skeleton.joints[0], clip.units) == ("head", "px")
    with h5py.File(DATA / "sleap/predictions.analysis.h5") as file:
        assert clip.keypoints[3, 1, 5, 0] == np.float32(file["tracks"][1, 0, 5, 3])


def test_links_out_of_the_file_are_not_followed(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["tracks"] = h5py.ExternalLink(str(DATA / "sleap/predictions.analysis.h5"), "tracks")
        file["node_names"] = np.array([b"a"])
    with pytest.raises(FormatError, match="found a link"):
        read_clip(tmp_path / "a.h5", frame_rate=30)


def test_promises_of_hdf5_are_checked(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file.create_dataset("tracks", (10**6, 2, 10**5, 10), "f8", chunks=(1, 1, 1, 10))
        file["node_names"] = np.array([b"a"])
    with pytest.raises(FormatError, match="coordinates"):
        read_clip(tmp_path / "a.h5", frame_rate=30)


@pytest.mark.parametrize("path", ["dlc/dlc_testdata.h5", "sleap/predictions.analysis.h5"])
def test_damaged_hdf5(path: str) -> None:
    data = (DATA / path).read_bytes()
    damaged = [data[:end] for end in range(8, len(data), len(data) // 12)]
    for at in range(8, len(data), max(1, len(data) // 40)):
        damaged.append(data[:at] + bytes([data[at] ^ 0x41]) + data[at + 1 :])
    for one in damaged:
        try:
            read_clip(one, frame_rate=30)
        except MotionCodecError as error:
            assert "\n" not in str(error) and len(str(error)) < 400


def test_a_library_that_crashes_is_an_error_like_any_other(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    crash = f"import os, signal; from {hdf5.__name__} import answer"
    real = subprocess.run

    def run(command: list[str], **rest: object) -> object:
        killed = [*command[:2], f"{crash}; os.kill(os.getpid(), signal.SIGSEGV)"]
        return real(killed, **rest)  # type: ignore[call-overload]

    monkeypatch.setattr(hdf5.subprocess, "run", run)
    with pytest.raises(FormatError, match="damage that its library crashes on"):
        read_clip(DATA / "sleap/predictions.analysis.h5", frame_rate=30)


def test_other_hdf5(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "a.h5", "w") as file:
        file["weights"] = np.zeros(3)
    with pytest.raises(FormatError, match="SLEAP analysis or project, found 'weights'"):
        read_clip(tmp_path / "a.h5")


def test_sleap_project(tmp_path: Path) -> None:
    sleap = pytest.importorskip("sleap_io")
    skeleton = sleap.Skeleton(nodes=["head", "tail"])
    track = sleap.Track("mouse")
    video = sleap.Video("none.mp4", open_backend=False)
    frames = []
    for i in (2, 3, 5):
        points = np.array([[i, 1.0], [np.nan, np.nan] if i == 3 else [2.0, 3.0]])
        instance = sleap.PredictedInstance.from_numpy(
            points, skeleton=skeleton, point_scores=np.array([0.5, 0.75]), track=track
        )
        frames.append(sleap.LabeledFrame(video=video, frame_idx=i, instances=[instance]))
    sleap.Labels(frames).save(str(tmp_path / "a.slp"))
    clip = read_clip(tmp_path / "a.slp", frame_rate=30)
    np.testing.assert_array_equal(clip.keypoints[:, 0, 0, 0], [2, 3, np.nan, 5])
    assert clip.missing[1, 0].tolist() == [False, True]
    assert clip.skeleton.joints == ("head", "tail") and clip.people == ("mouse",)


def ntu(frames: list[list[tuple[str, float, int]]]) -> str:
    lines = [str(len(frames))]
    for bodies in frames:
        lines.append(str(len(bodies)))
        for name, x, state in bodies:
            lines += [f"{name} 0 1 1 1 1 0 0.02 -0.1 2", "25"]
            lines += [f"{x} {i * 0.1} 3.5 1 2 3 4 0 0 0 0 {state}" for i in range(25)]
    return "\r\n".join(lines) + "\r\n"


def test_ntu(tmp_path: Path) -> None:
    one, two = "72057594037931101", "72057594037931102"
    text = ntu([[(one, 1, 2), (two, 5, 2)], [(two, 5, 1), (one, 1, 0)], []])
    clip = read_clip(text.encode())
    assert clip.keypoints.shape == (3, 2, 25, 3)
    assert clip.skeleton is find_skeleton("kinect-25")
    assert (clip.frame_rate, clip.units, clip.up, clip.people) == (30, "m", "y", (one, two))
    assert clip.keypoints[1, 1, 1].tolist() == [5, np.float32(0.1), 3.5]
    assert clip.missing[1, 0].all() and clip.missing[2].all()
    assert clip.confidence is not None and clip.confidence[:2, 1, 0].tolist() == [1, 0.5]
    (tmp_path / "a.skeleton").write_text("0\n")
    assert read_clip(tmp_path / "a.skeleton").frames == 0
    for end in range(1, len(text), 101):
        try:
            read_clip(text[:end].encode(), name="a.skeleton")
        except MotionCodecError as error:
            assert "\n" not in str(error)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("2\n0\n0\n0\n", "found more"),
        ("x\n", "frames: expected a count"),
        ("1\n1\n" + "1 " * 10 + "\n20\n", "expected 25 joints, found 20"),
        (ntu([[("1", 1, 3)]]), "tracking states"),
        ("1 2 3\n", "expected a frame count"),
    ],
)
def test_ntu_that_is_none(text: str, message: str) -> None:
    with pytest.raises(FormatError, match=message):
        read_clip(text.encode(), input_format="kinect")


def test_utkinect() -> None:
    rows = [f"{n} " + " ".join(f"{n + i * 0.01:.6f}" for i in range(60)) for n in (4, 5, 5, 7)]
    clip = read_clip("\n".join(rows).encode(), name="joints_s01_e01.txt")
    assert clip.keypoints.shape == (4, 1, 20, 3)
    assert clip.skeleton is find_skeleton("kinect-20")
    assert clip.missing[:, 0, 0].tolist() == [False, False, True, False]
    assert clip.keypoints[0, 0, 1].tolist() == np.array([4.03, 4.04, 4.05], np.float32).tolist()


def test_msr_action() -> None:
    rows = [f"{i % 20}.5 -1e-1 {2 + i // 20} 0.9" for i in range(40)]
    clip = read_clip("\n".join(rows).encode(), name="a01_s01_e01_skeleton3D.txt")
    assert clip.keypoints.shape == (2, 1, 20, 3)
    assert clip.skeleton.joints[19] == "Head"
    assert clip.keypoints[1, 0, 19].tolist() == [19.5, np.float32(-0.1), 3]
    covered = {CANONICAL[c] for c in clip.skeleton.covered if c >= 0}
    assert {"head", "neck", "pelvis", "left_wrist", "right_ankle"} <= covered
    with pytest.raises(FormatError, match="20 rows a frame, found 39"):
        read_clip("\n".join(rows[:39]).encode())


def test_long_lines_of_digits_are_told_quickly() -> None:
    for data in (b"1" * 60_000 + b"x", b"1 " * 30_000 + b"x", b"1\n" * 30_000):
        with pytest.raises(FormatError):
            read_clip(data)


def test_tables_stay_tables() -> None:
    table = b"frame\ta_x\ta_y\n0\t1\t2\n1\t3\t4\n"
    assert read_clip(table, name="a.txt", frame_rate=30).skeleton.joints == ("a",)


def npz(**fields: Any) -> bytes:
    stream = io.BytesIO()
    np.savez(stream, **fields)
    return stream.getvalue()


@pytest.mark.parametrize("field", ["joints", "Jtr", "joint_positions"])
@pytest.mark.parametrize(("count", "name"), [(22, "smpl-22"), (24, "smpl-24"), (52, "custom")])
def test_positions_of_body_models(field: str, count: int, name: str) -> None:
    data = npz(**{field: np.ones((2, count, 3)), "mocap_framerate": 120.0, "poses": np.ones(3)})
    clip = read_clip(data)
    assert (clip.frame_rate, clip.units, clip.up) == (120, "m", "z")
    assert clip.skeleton.name == name and clip.skeleton.joints[20] == "left_wrist"
    if count == 52:
        assert clip.skeleton.joints[22] == "left_index1"
        assert clip.skeleton.joints[-1] == "right_thumb3"


def test_body_parameters_alone() -> None:
    data = npz(poses=np.ones((2, 156)), betas=np.ones(16), trans=np.ones((2, 3)))
    with pytest.raises(FormatError, match="found parameters of a body model"):
        read_clip(data)


def npy(array: np.ndarray) -> bytes:
    stream = io.BytesIO()
    np.save(stream, array)
    return stream.getvalue()


def test_humanml3d_joints() -> None:
    clip = read_clip(npy(np.ones((3, 22, 3))))
    assert clip.skeleton is find_skeleton("smpl-22")
    assert (clip.frame_rate, clip.units, clip.up) == (20, "m", "y")
    assert read_clip(npy(np.ones((3, 22, 3))), frame_rate=60).frame_rate == 60
    with pytest.raises(FormatError, match="--fps"):
        read_clip(npy(np.ones((3, 21, 3))))


def test_humanml3d_features() -> None:
    # One metre ahead (z) a frame, a quarter turn after the first: the next step is along x.
    features = np.zeros((3, 263), np.float32)
    features[:, 2], features[:, 3] = 1, 0.9
    features[0, 0] = -np.pi / 4
    features[:, 6] = 0.5
    clip = read_clip(npy(features))
    root, joint = clip.keypoints[:, 0, 0], clip.keypoints[:, 0, 1]
    np.testing.assert_allclose(root, [[0, 0.9, 0], [1, 0.9, 0], [2, 0.9, 0]], atol=1e-6)
    np.testing.assert_allclose(joint - root, [[0, -0.9, 0.5]] + [[0.5, -0.9, 0]] * 2, atol=1e-6)
