"""Formats in general: detection, round trips, the caller's word, damage and awkward files."""

from __future__ import annotations

import io
import os
import struct
import warnings
import zipfile
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from motioncodec.clip import UNITS, UP_AXES, Clip
from motioncodec.errors import ClipError, FormatError, MotionCodecError
from motioncodec.io import FORMATS, READERS, WRITERS, read_clip, write_clip
from motioncodec.skeleton import REGISTRY, Skeleton, find_skeleton

DATA = Path(__file__).parent / "data"
KEEPS_ALL = ("npz", "csv", "json")


def written(clip: Clip, name: str) -> bytes:
    stream = io.BytesIO()
    write_clip(clip, stream, format=name)
    return stream.getvalue()


def assert_same(one: Clip, other: Clip) -> None:
    assert one.keypoints.tobytes() == other.keypoints.tobytes()
    assert one.keypoints.shape == other.keypoints.shape
    assert one.frame_rate == other.frame_rate
    assert one.skeleton == other.skeleton
    assert (one.confidence is None) == (other.confidence is None)
    if one.confidence is not None and other.confidence is not None:
        np.testing.assert_array_equal(one.confidence, other.confidence)
    assert (one.units, one.up, one.people) == (other.units, other.up, other.people)


@st.composite
def clips(draw: st.DrawFn) -> Clip:
    names = st.text(st.characters(exclude_categories=("C", "Z")), min_size=1, max_size=8)
    skeleton = draw(
        st.sampled_from(REGISTRY)
        | st.lists(names, min_size=1, max_size=4, unique=True).map(Skeleton.from_names)
    )
    frames, persons = draw(st.integers(0, 4)), draw(st.integers(0, 3))
    dims = draw(st.sampled_from((2, 3)))
    seed = draw(st.integers(0, 2**32 - 1))
    random = np.random.default_rng(seed)
    shape = (frames, persons, len(skeleton), dims)
    # Any bits that are a finite float32, not only the tame ones.
    keypoints = random.integers(0, 2**32, shape, dtype=np.uint32).view(np.float32)
    keypoints = np.where(np.isfinite(keypoints), keypoints, np.float32(0)).astype(np.float32)
    keypoints[random.random(shape[:3]) < draw(st.sampled_from((0, 0.3, 1)))] = np.nan
    confidence = random.random(shape[:3], dtype=np.float32) if draw(st.booleans()) else None
    people = draw(
        st.just(()) | st.lists(names, min_size=persons, max_size=persons, unique=True).map(tuple)
    )
    return Clip(
        keypoints, draw(st.floats(0.01, 1000)), skeleton, confidence,
        draw(st.sampled_from(UNITS)), draw(st.sampled_from(UP_AXES)), people,
    )  # fmt: skip


@pytest.mark.parametrize("name", KEEPS_ALL)
@settings(deadline=None, max_examples=40, suppress_health_check=list(HealthCheck))
@given(clip=clips())
def test_round_trip_keeps_everything(name: str, clip: Clip) -> None:
    data = written(clip, name)
    assert_same(clip, read_clip(data))
    assert data == written(clip, name)


@settings(deadline=None, max_examples=20)
@given(clip=clips())
def test_npy_keeps_the_positions(clip: Clip) -> None:
    back = read_clip(written(clip, "npy"), frame_rate=25)
    assert back.keypoints.tobytes() == clip.keypoints.tobytes()
    assert back.frame_rate == 25
    assert len(back.skeleton) == len(clip.skeleton)


@settings(deadline=None, max_examples=200)
@given(hnp.arrays(np.float32, (3, 1, 3), elements=st.floats(width=32, allow_infinity=False)))
def test_csv_and_json_numbers_are_exact(values: np.ndarray) -> None:
    clip = Clip(values, 30, Skeleton(("a",)))
    for name in ("csv", "json"):
        back = read_clip(written(clip, name)).keypoints
        # Text has one way to say that a number is missing.
        np.testing.assert_array_equal(np.isnan(back), np.isnan(clip.keypoints))
        here = ~np.isnan(back)
        assert back[here].tobytes() == clip.keypoints[here].tobytes()


@pytest.mark.parametrize("name", WRITERS)
def test_paths_and_bytes_are_the_same(name: str, tmp_path: Path) -> None:
    clip = read_clip(DATA / "npz/cmu_49_08.npz")
    path = tmp_path / f"clip{FORMATS[name].suffixes[0]}"
    write_clip(clip, path)
    assert path.read_bytes() == written(clip, name)
    assert os.listdir(tmp_path) == [path.name]
    with path.open("rb") as stream:
        back = read_clip(stream, frame_rate=30)
    if name != "bvh":  # the only one in which positions are not written as they are
        assert back.keypoints.tobytes() == clip.keypoints.tobytes()


def test_real_npz_files() -> None:
    clip = read_clip(DATA / "npz/cmu_49_08.npz")
    assert (clip.frames, clip.persons, clip.frame_rate) == (143, 1, 30)
    assert clip.skeleton is find_skeleton("canonical-20")
    assert "49_08" in clip.metadata["source"]
    other = read_clip(str(DATA / "npz/hdm05_kick_left_front_001.npz"))
    assert (other.frames, other.frame_rate, other.units, other.up) == (161, 120, "m", "y")


def test_npz_contract_by_literal_fields() -> None:
    clip = Clip(np.zeros((2, 1, 3, 2)), 30, Skeleton(("a", "b", "c")), units="px", up="-y")
    with np.load(io.BytesIO(written(clip, "npz")), allow_pickle=False) as fields:
        assert set(fields) == {"keypoints", "frame_rate", "joints", "units", "up"}
        assert fields["keypoints"].shape == (2, 3, 2)
        assert fields["keypoints"].dtype == np.float32
        assert fields["joints"].tolist() == ["a", "b", "c"]
        assert (fields["frame_rate"], fields["units"], fields["up"]) == (30, "px", "-y")
    named = Clip(clip.keypoints, 30, clip.skeleton, people=("7",))
    with np.load(io.BytesIO(written(named, "npz")), allow_pickle=False) as fields:
        assert fields["keypoints"].shape == (2, 1, 3, 2)
        assert fields["people"].tolist() == ["7"]
    with zipfile.ZipFile(io.BytesIO(written(clip, "npz"))) as archive:
        assert {info.date_time for info in archive.infolist()} == {(1980, 1, 1, 0, 0, 0)}


def npz(**fields: object) -> bytes:
    stream = io.BytesIO()
    np.savez(stream, **fields)  # type: ignore[arg-type]
    return stream.getvalue()


def test_npz_defaults() -> None:
    flat = read_clip(npz(keypoints=np.ones((2, 17, 2))), frame_rate=24)
    assert (flat.units, flat.up, flat.skeleton.joints[0]) == ("px", "-y", "joint_0")
    deep = read_clip(npz(keypoints=np.ones((2, 17, 3)), frame_rate=np.array([24])))
    assert (deep.units, deep.up, deep.frame_rate) == ("m", "y", 24)
    whole = npz(keypoints=np.ones((2, 17, 2), np.int16))
    named = read_clip(whole, frame_rate=24, skeleton="coco-17")
    assert named.skeleton is find_skeleton("coco-17")


def test_the_caller_goes_over_the_file() -> None:
    data = npz(
        keypoints=np.ones((2, 17, 3)), frame_rate=60.0, joints=[f"j{i}" for i in range(17)],
        units="cm", up="y",
    )  # fmt: skip
    clip = read_clip(data, frame_rate=50, skeleton="h36m-17", units="mm", up="z")
    assert (clip.frame_rate, clip.units, clip.up) == (50, "mm", "z")
    assert clip.skeleton is find_skeleton("h36m-17")
    assert (clip.keypoints == 1).all()


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"points": np.ones((2, 3, 3))}, "array named keypoints, found 'points'"),
        ({"keypoints": np.ones((2, 3, 3))}, "--fps"),
        ({"keypoints": np.ones((2, 3)), "frame_rate": 30}, "found (2, 3)"),
        ({"keypoints": np.ones((2, 3, 4)), "frame_rate": 30}, "found (2, 3, 4)"),
        ({"keypoints": np.ones((2, 0, 3)), "frame_rate": 30}, "at least one joint"),
        ({"keypoints": np.full((2, 3, 3), "x"), "frame_rate": 30}, "expected numbers"),
        ({"keypoints": np.full((2, 3, 3), np.inf), "frame_rate": 30}, "found infinity at frame 0"),
        ({"keypoints": np.full((2, 3, 3), 1e300), "frame_rate": 30}, "found infinity"),
        ({"keypoints": np.ones((2, 3, 3)), "frame_rate": 0}, "above 0"),
        ({"keypoints": np.ones((2, 3, 3)), "frame_rate": [1, 2]}, "one number, found 2"),
        ({"keypoints": np.ones((2, 3, 3)), "frame_rate": 30, "joints": ["a", "b"]}, "found 3"),
        ({"keypoints": np.ones((2, 3, 3)), "frame_rate": 30, "units": "inch"}, "found 'inch'"),
        ({"keypoints": np.ones((2, 3, 3)), "frame_rate": 30, "up": "up"}, "found 'up'"),
        (
            {"keypoints": np.ones((2, 3, 3)), "frame_rate": 30, "confidence": np.ones((3, 2))},
            "confidence: expected shape (2, 1, 3)",
        ),
        ({"keypoints": np.array([None, {}]), "frame_rate": 30}, "never loaded"),
    ],
)
def test_npz_that_is_no_clip(fields: dict[str, object], message: str) -> None:
    with pytest.raises(FormatError) as caught:
        read_clip(npz(**fields), name="it.npz")
    assert message in str(caught.value)
    assert str(caught.value).startswith("it.npz: ")
    assert "\n" not in str(caught.value)


def test_promises_are_checked_before_allocating() -> None:
    head = b"{'descr': '<f4', 'fortran_order': False, 'shape': (99999999999, 20, 3), }\n"
    data = b"\x93NUMPY\x01\x00" + struct.pack("<H", len(head)) + head + bytes(240)
    with pytest.raises(FormatError, match="header promises"):
        read_clip(data, frame_rate=30)
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as archive:
        archive.writestr("keypoints.npy", data)
    with pytest.raises(FormatError, match="header promises"):
        read_clip(stream.getvalue(), frame_rate=30)


def test_fortran_order_is_read_by_index() -> None:
    values = np.arange(24, dtype=np.float32).reshape(2, 4, 3)
    stream = io.BytesIO()
    np.save(stream, np.asfortranarray(values))
    clip = read_clip(stream.getvalue(), frame_rate=1)
    np.testing.assert_array_equal(clip.keypoints[:, 0], values)


def test_content_goes_before_suffix(tmp_path: Path) -> None:
    path = tmp_path / "walk.csv"
    path.write_bytes((DATA / "bvh/rotation_first_root.bvh").read_bytes())
    assert read_clip(path).skeleton.joints[0] == "Hips"
    with pytest.raises(FormatError, match="columns such as"):
        read_clip(path, input_format="csv")
    with pytest.raises(FormatError, match="expected one of npz, npy, bvh"):
        read_clip(path, input_format="fbx")


@pytest.mark.parametrize(
    ("data", "message"),
    [(b"", "empty file"), (b" \r\n", "empty file"), (b"\0\1\2\3", "found none of them")],
)
def test_what_no_format_reads(data: bytes, message: str) -> None:
    with pytest.raises(FormatError, match=message):
        read_clip(data)


def test_paths_that_cannot_be_read_or_written(tmp_path: Path) -> None:
    with pytest.raises(FormatError, match="No such file"):
        read_clip(tmp_path / "none.npz")
    with pytest.raises(FormatError, match="found none in it"):
        read_clip(tmp_path)
    with pytest.raises(FormatError, match="found a folder"):
        read_clip(tmp_path, input_format="npz")
    with pytest.raises(FormatError, match="found a NUL"):
        read_clip("a\0b")
    clip = read_clip(DATA / "npz/cmu_49_08.npz")
    with pytest.raises(FormatError, match="No such file"):
        write_clip(clip, tmp_path / "none" / "a.npz")
    with pytest.raises(FormatError, match=r"found amc; name one with --format"):
        write_clip(clip, tmp_path / "a.amc")
    with pytest.raises(FormatError, match="found none"):
        write_clip(clip, io.BytesIO())
    with pytest.raises(ClipError, match="expected one of canonical-20"):
        read_clip(DATA / "npz/cmu_49_08.npz", skeleton="octopus")
    with pytest.raises(FormatError, match="expected 17 joints for --skeleton coco-17, found 20"):
        read_clip(DATA / "npz/cmu_49_08.npz", skeleton="coco-17")
    assert os.listdir(tmp_path) == []


def test_a_failed_write_leaves_the_old_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clip = read_clip(DATA / "npz/cmu_49_08.npz")
    path = tmp_path / "a.npz"
    path.write_bytes(b"old")

    def fail(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", fail)
    with pytest.raises(FormatError, match="No space left"):
        write_clip(clip, path)
    assert path.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["a.npz"]


def test_a_link_stays_a_link(tmp_path: Path) -> None:
    (tmp_path / "link.npz").symlink_to(tmp_path / "real.npz")
    write_clip(read_clip(DATA / "npz/cmu_49_08.npz"), tmp_path / "link.npz")
    assert (tmp_path / "link.npz").is_symlink()
    assert read_clip(tmp_path / "real.npz").frames == 143


def test_the_registry_names_what_it_can() -> None:
    assert READERS == (
        "npz", "npy", "bvh", "c3d", "amc", "trc", "csv", "json", "pose", "kinect", "hdf5",
    )  # fmt: skip
    assert WRITERS == ("npz", "npy", "bvh", "c3d", "trc", "csv", "json", "pose")
    assert all(one.description and one.suffixes for one in FORMATS.values())


SMALL = Clip(
    np.arange(24, dtype=np.float32).reshape(2, 2, 3, 2), 30, Skeleton(("a", "b", "c")),
    np.full((2, 2, 3), 0.5), people=("1", "2"),
)  # fmt: skip
SOLID = Clip(
    np.arange(18, dtype=np.float32).reshape(2, 1, 3, 3), 30, Skeleton(("a", "b", "c")), units="mm"
)
OPENPOSE_FRAME = (DATA / "openpose/cam01.0000.json").read_bytes()
SEEDS = {
    "npz": written(SMALL, "npz"),
    "npy": written(SMALL, "npy"),
    "csv": written(SMALL, "csv"),
    "wide.csv": b"frame;a_x;a_y;a_c\n0;1,5;2;1\n2;;;\n",
    "json": written(SMALL, "json"),
    "openpose.json": OPENPOSE_FRAME,
    "c3d": written(SOLID, "c3d"),
    "trc": written(SOLID, "trc"),
    "bvh": (DATA / "bvh/rotation_first_root.bvh").read_bytes(),
}


@pytest.mark.parametrize("name", SEEDS)
def test_truncated_anywhere_is_an_error_or_a_clip(name: str) -> None:
    seed = SEEDS[name]
    for end in range(0, len(seed), max(1, len(seed) // 400)):
        attempt(seed[:end], name)


@pytest.mark.parametrize("name", SEEDS)
@settings(deadline=None, max_examples=150)
@given(data=st.data())
def test_damaged_bytes_are_an_error_or_a_clip(name: str, data: st.DataObject) -> None:
    damaged = bytearray(SEEDS[name])
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(damaged) - 1))
        what = data.draw(st.sampled_from(("flip", "cut", "repeat", "digits", "bracket")))
        if what == "flip":
            damaged[at] ^= 1 << data.draw(st.integers(0, 7))
        elif what == "cut":
            del damaged[at : at + data.draw(st.integers(1, 30))]
        elif what == "repeat":
            damaged[at:at] = damaged[at : at + data.draw(st.integers(1, 60))]
        elif what == "digits":
            numbers = (b"9" * 12, b"1e999", b"nan", b"-", b"9" * 5000)
            damaged[at:at] = data.draw(st.sampled_from(numbers))
        else:
            damaged[at:at] = data.draw(st.sampled_from((b"[" * 3000, b"{}", b'"', b"null", b"\0")))
        if not damaged:
            break
    attempt(bytes(damaged), name)


def attempt(data: bytes, name: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for chosen in (None, name.rpartition(".")[2]):
            try:
                clip = read_clip(data, name=f"x.{name}", frame_rate=30, input_format=chosen)
            except MotionCodecError as error:
                assert "\n" not in str(error)
                assert len(str(error)) < 400
            else:
                assert clip.frames >= 0


def test_npz_metadata_comes_back(tmp_path: Path) -> None:
    clip = Clip(
        np.zeros((2, 1, 1, 3)), 30.0, Skeleton(("a",)), metadata={"source": "studio 4", "take": 7}
    )
    write_clip(clip, tmp_path / "a.npz")
    assert read_clip(tmp_path / "a.npz").metadata == clip.metadata
