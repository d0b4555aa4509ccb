"""Clips as other tools have them: movement's datasets, Rerun's recordings."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from motioncodec.clip import Clip
from motioncodec.errors import ClipError, UsageError
from motioncodec.interop import from_xarray, log_to_rerun, to_xarray
from motioncodec.skeleton import find_skeleton

ROOT = Path(__file__).parents[1]


def check_same(clip: Clip, back: Clip) -> None:
    np.testing.assert_array_equal(back.keypoints, clip.keypoints)
    for name in ("frame_rate", "skeleton", "units", "up", "people", "metadata"):
        assert getattr(back, name) == getattr(clip, name), name
    if clip.confidence is None:
        assert back.confidence is None
    else:
        np.testing.assert_array_equal(np.asarray(back.confidence), clip.confidence)


@pytest.mark.parametrize("name", ["capture", "walk", "detections"])
def test_a_clip_comes_back_from_xarray(name: str, request: pytest.FixtureRequest) -> None:
    pytest.importorskip("xarray")
    clip = request.getfixturevalue(name)
    check_same(clip, from_xarray(to_xarray(clip)))
    named = replace(clip, people=tuple(f"mouse {i}" for i in range(clip.persons)))
    check_same(named, from_xarray(to_xarray(named)))


def test_a_dataset_is_as_movement_s_validator_makes_it(detections: Clip) -> None:
    """Dimensions, variables, coordinates and attributes of movement 0.15's ValidPosesInputs."""
    pytest.importorskip("xarray")
    dataset = to_xarray(detections)
    assert dataset["position"].dims == ("time", "space", "keypoints", "individuals")
    assert dataset["confidence"].dims == ("time", "keypoints", "individuals")
    assert set(dataset.data_vars) == {"position", "confidence"}
    np.testing.assert_array_equal(dataset["time"], np.arange(detections.frames) / 60)
    assert dataset["space"].values.tolist() == ["x", "y"]
    assert dataset["keypoints"].values.tolist() == list(detections.skeleton.joints)
    expected = {"fps": 60.0, "time_unit": "seconds", "ds_type": "poses"}
    assert expected.items() <= dataset.attrs.items()
    assert all(isinstance(value, (str, float)) for value in dataset.attrs.values())  # as netCDF has
    name = detections.skeleton.joints[1]
    at = dataset["position"].sel(keypoints=name, individuals=dataset["individuals"][0])
    np.testing.assert_array_equal(at.values, detections.keypoints[:, 0, 1])
    twice = replace(detections, people=("a",) * detections.persons)
    assert len(set(to_xarray(twice)["individuals"].values)) == detections.persons


def test_datasets_of_others(stick: Clip) -> None:
    xr = pytest.importorskip("xarray")
    dataset = to_xarray(replace(stick, confidence=np.full((60, 1, 20), 0.5)))
    plain = dataset.assign_attrs(units=None, up=None, metadata=None, fps=None)
    found = from_xarray(plain)
    assert found.frame_rate == pytest.approx(30)
    assert (found.units, found.up, found.metadata) == ("m", "y", {})
    found = from_xarray(plain, frame_rate=25, units="mm", up="z")
    assert (found.frame_rate, found.units, found.up) == (25, "mm", "z")
    check_same(from_xarray(dataset), from_xarray(dataset.sel(space=["z", "x", "y"])))
    check_same(from_xarray(dataset), from_xarray(dataset.squeeze("individuals", drop=True)))
    check_same(from_xarray(dataset), from_xarray(dataset.transpose(*reversed(list(dataset.dims)))))
    sure = dataset.copy(deep=True)
    sure["confidence"][0] = np.nan
    sure["confidence"][1] = 1.2
    confidence = np.asarray(from_xarray(sure).confidence)
    assert (confidence[:2] == 1).all() and (confidence[2:] == 0.5).all()
    with pytest.raises(ClipError, match="expected position over time, space and keypoints"):
        from_xarray(xr.Dataset({"shape": dataset["position"]}))
    with pytest.raises(ClipError, match="expected fps or times in seconds"):
        from_xarray(plain.assign_attrs(time_unit="frames"))
    with pytest.raises(ClipError, match="expected space to be x, y, z, found a, b, c"):
        from_xarray(dataset.assign_coords(space=["a", "b", "c"]))


def logged(clip: Clip, path: Path, **how: Any) -> dict[str, Any]:
    """What a Rerun file holds: for each entity a batch of its rows."""
    rr = pytest.importorskip("rerun")
    reader = pytest.importorskip("rerun.chunk")
    recording = rr.RecordingStream("test")
    recording.save(path)
    log_to_rerun(clip, recording=recording, **how)
    recording.flush()
    recording.disconnect()
    return {
        chunk.entity_path: chunk.to_record_batch()
        for chunk in reader.RrdReader(path).stream().to_chunks()
        if not chunk.is_static
    }


def test_rerun_has_every_joint_and_bone_of_every_frame(capture: Clip, tmp_path: Path) -> None:
    found = logged(capture, tmp_path / "a.rrd", entity="take/one", timeline="clock")
    assert set(found) == {"/take/one/0/joints", "/take/one/0/bones"}
    joints = found["/take/one/0/joints"]
    assert joints.num_rows == capture.frames
    seconds = np.array(joints.column("clock").to_pylist(), "timedelta64[ns]").astype(float) / 1e9
    np.testing.assert_allclose(seconds, np.arange(capture.frames) / 30, atol=2e-6)
    there = ~capture.missing[:, 0]
    assert not there.all()
    for frame, row in enumerate(joints.column("Points3D:positions").to_pylist()):
        np.testing.assert_array_equal(np.float32(row), capture.keypoints[frame, 0, there[frame]])
    ids = joints.column("Points3D:keypoint_ids").to_pylist()
    assert ids[0] == np.nonzero(there[0])[0].tolist()
    strips = found["/take/one/0/bones"].column("LineStrips3D:strips").to_pylist()
    seen = [bone for bone in capture.skeleton.bones if there[7, list(bone)].all()]
    np.testing.assert_array_equal(np.float32(strips[7]), capture.keypoints[7, 0, seen])


def test_rerun_has_people_by_their_names_in_2d(detections: Clip, tmp_path: Path) -> None:
    names = tuple(f"person {i}" for i in range(detections.persons))
    found = logged(replace(detections, people=names), tmp_path / "a.rrd")
    # Rerun escapes what is no letter.
    assert {path.replace("\\", "") for path in found} == {
        f"/motion/{name}/{what}" for name in names for what in ("joints", "bones")
    }
    rows = [b.num_rows for b in found.values()]
    assert rows == [detections.frames] * len(rows)
    coco = find_skeleton("coco-17")
    empty = Clip(np.full((3, 1, 17, 2), np.nan), 30, coco, units="px", up="-y")
    assert logged(empty, tmp_path / "b.rrd")["/motion/0/joints"].num_rows == 3


@pytest.mark.parametrize(
    ("package", "extra", "use"),
    [("xarray", "movement", to_xarray), ("rerun", "rerun", log_to_rerun)],
)
def test_a_missing_package_is_one_line(
    stick: Clip, monkeypatch: pytest.MonkeyPatch, package: str, extra: str, use: Any
) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(UsageError) as caught:
        use(stick)
    assert str(caught.value) == (
        f"expected {package} to be installed, found it is not; pip install 'motioncodec[{extra}]'"
    )
    assert f'{extra} = ["' in (ROOT / "pyproject.toml").read_text()
