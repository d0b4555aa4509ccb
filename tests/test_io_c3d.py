"""C3D: real files against ezc3d, every processor's numbers, subjects, damage."""

from __future__ import annotations

import io
import struct
from pathlib import Path

import numpy as np
import pytest

from motioncodec.clip import Clip
from motioncodec.errors import FormatError
from motioncodec.io import read_clip, write_clip
from motioncodec.skeleton import Skeleton

C3D = Path(__file__).parent / "data/c3d"
INTEL, DEC, MIPS = 84, 85, 86
KINDS = [(p, s) for p in (INTEL, DEC, MIPS) for s in (-1.0, 0.25)]


def number(value: float, processor: int, kind: str) -> bytes:
    """An int16 (``h``), uint16 (``H``) or float32 (``f``) as a processor has it."""
    if processor == DEC and kind == "f":
        raw = struct.pack("<f", value * 4)
        return raw[2:] + raw[:2]
    return struct.pack((">" if processor == MIPS else "<") + kind, value)


def c3d(
    points: np.ndarray,
    labels: list[str],
    *,
    processor: int = INTEL,
    scale: float = -1.0,
    extra: dict[str, list[str] | str] | None = None,
    analog: int = 3,
    rate: float = 50.0,
) -> bytes:
    """A file of points (T, K, 4), residual last, made by hand: as little as the format asks for."""

    def entry(name: str, group: int, body: bytes) -> bytes:
        name_bytes = struct.pack("bb", len(name), group) + name.encode()
        return name_bytes + number(len(body) + 3, processor, "h") + body + b"\0"

    def texts(values: list[str]) -> bytes:
        width = max([len(v) for v in values], default=1)
        shape = bytes((255, 2, width, len(values)))
        return shape + "".join(v.ljust(width) for v in values).encode()

    frames, count = points.shape[:2]
    section = entry("POINT", -3, b"")
    section += entry("USED", 3, b"\2\0" + number(count, processor, "h"))
    section += entry("SCALE", 3, b"\4\0" + number(scale, processor, "f"))
    section += entry("RATE", 3, b"\4\0" + number(rate, processor, "f"))
    section += entry("LABELS", 3, texts(labels))
    for name, value in (extra or {}).items():
        section += entry(name, 3, texts([value] if isinstance(value, str) else value))
    section = bytes((0, 0, 0, processor)) + section + b"\0\0"
    section += b"\0" * (-len(section) % 512)
    start = 2 + len(section) // 512
    header = bytes((2, 0x50)) + b"".join(
        number(v, processor, "H") for v in (count, analog, 1, frames, 0)
    )
    header += number(scale, processor, "f") + number(start, processor, "H")
    header += number(1, processor, "H") + number(rate, processor, "f")
    data = b""
    for frame in points:
        for x, y, z, residual in frame:
            if scale < 0:
                data += b"".join(number(v, processor, "f") for v in (x, y, z, residual))
            else:
                words = (round(x / scale), round(y / scale), round(z / scale), int(residual))
                data += b"".join(number(v, processor, "h") for v in words)
        data += number(7, processor, "f" if scale < 0 else "h") * analog
    return header.ljust(512, b"\0") + section + data


POINTS = np.array(
    [[[1.25, -2.5, 300, 0], [4, 5, 6, 1]], [[7, 8, 9, -1], [10, 11.75, -12, 0]]], dtype=np.float64
)
PLACES = np.where(POINTS[..., 3:] < 0, np.nan, POINTS[..., :3])


def joints(data: bytes) -> tuple[str, ...]:
    return read_clip(data).skeleton.joints


@pytest.mark.parametrize(
    ("name", "shape", "rate", "people", "missing"),
    [
        ("running_0002", (20, 1, 64, 3), 200, (), 0),
        ("gait", (60, 1, 33, 3), 100, (), 0.222),
        ("cmu_85_02", (60, 1, 41, 3), 120, ("Male",), 0),
    ],
)
def test_real_files_as_ezc3d_reads_them(
    name: str, shape: tuple[int, ...], rate: float, people: tuple[str, ...], missing: float
) -> None:
    clip = read_clip(C3D / f"{name}.c3d")
    assert (clip.keypoints.shape, clip.frame_rate, clip.people) == (shape, rate, people)
    assert (clip.units, clip.up) == ("mm", "z")
    assert clip.missing.mean() == pytest.approx(missing, abs=1e-3)
    ezc3d = pytest.importorskip("ezc3d")
    other = ezc3d.c3d(str(C3D / f"{name}.c3d"))
    points = other["data"]["points"][:3].transpose(2, 1, 0)
    np.testing.assert_allclose(clip.keypoints[:, 0], points, rtol=2e-7)
    labels = other["parameters"]["POINT"]["LABELS"]["value"]
    prefix = f"{people[0]}:" if people else ""
    for own, its in zip(clip.skeleton.joints, labels):
        assert (prefix + own).startswith(its)


def test_labels_that_come_again_are_told_apart() -> None:
    assert joints((C3D / "gait.c3d").read_bytes())[-7:] == (
        "RFOO", "RFOO_2", "LFOO", "LFOO_2", "C7", "IJ", "PX",
    )  # fmt: skip


def test_the_head_is_above_the_feet() -> None:
    clip = read_clip(C3D / "running_0002.c3d")
    names = clip.skeleton.joints
    height = clip.keypoints[:, 0, :, "xyz".index(clip.up)]
    assert (height[:, names.index("LHeadTamp")] > height[:, names.index("LHeel")] + 1000).all()


@pytest.mark.parametrize(("processor", "scale"), KINDS)
def test_numbers_of_every_processor(processor: int, scale: float) -> None:
    clip = read_clip(c3d(POINTS, ["a", "b"], processor=processor, scale=scale))
    np.testing.assert_array_equal(clip.keypoints[:, 0], PLACES)
    assert (clip.frame_rate, clip.skeleton.joints) == (50, ("a", "b"))
    assert (clip.units, clip.up, clip.metadata) == ("mm", "z", {})


@pytest.mark.parametrize(("processor", "scale"), KINDS[:4])  # ezc3d reads no MIPS
def test_the_hand_made_files_are_c3d_to_ezc3d_too(
    processor: int, scale: float, tmp_path: Path
) -> None:
    ezc3d = pytest.importorskip("ezc3d")
    path = tmp_path / "a.c3d"
    path.write_bytes(c3d(POINTS, ["a", "b"], processor=processor, scale=scale, analog=0))
    points = ezc3d.c3d(str(path))["data"]["points"][:3].transpose(2, 1, 0)
    np.testing.assert_allclose(points, PLACES)


def test_a_point_with_nan_is_missing() -> None:
    points = POINTS.copy()
    points[0, 0, 1] = np.nan
    assert read_clip(c3d(points, ["a", "b"])).missing[:, 0].tolist() == [[True, False]] * 2


@pytest.mark.parametrize(
    ("said", "units"),
    [("mm ", "mm"), ("M", "m"), ("cm", "cm"), ("Meters", "m"), ("millimetres", "mm"), ("", "mm")],
)
def test_units_in_words(said: str, units: str) -> None:
    assert read_clip(c3d(POINTS, ["a", "b"], extra={"UNITS": said})).units == units


def test_an_unknown_unit_has_to_be_given() -> None:
    data = c3d(POINTS, ["a", "b"], extra={"UNITS": "inches"})
    with pytest.raises(FormatError, match="expected units m, cm or mm, found 'inches'"):
        read_clip(data)
    assert read_clip(data, units="cm").units == "cm"


@pytest.mark.parametrize(
    ("said", "up"), [("+Y", "y"), ("-Z", "z"), ("X", "x"), ("", "z"), ("up", "z")]
)
def test_up_by_the_screen_else_z(said: str, up: str) -> None:
    assert read_clip(c3d(POINTS, ["a", "b"], extra={"Y_SCREEN": said})).up == up


def test_names_are_filled_trimmed_and_cut() -> None:
    assert joints(c3d(POINTS, [" a ", ""])) == ("a", "point_1")
    assert joints(c3d(POINTS, ["a"])) == ("a", "point_1")
    assert joints(c3d(POINTS, ["a", "b", "c"])) == ("a", "b")
    assert joints(c3d(POINTS, ["a"], extra={"LABELS2": ["b"]})) == ("a", "b")


def test_what_is_no_position_is_left_out() -> None:
    data = c3d(POINTS, ["LKNE", "LKneeAngles"], extra={"ANGLES": ["LKneeAngles", "RKneeAngles"]})
    clip = read_clip(data)
    assert clip.skeleton.joints == ("LKNE",)
    np.testing.assert_array_equal(clip.keypoints[:, 0], PLACES[:, :1])
    assert clip.metadata == {"c3d_left_out": 1}
    both = {"ANGLES": ["LKneeAngles"], "POWERS": ["LKNE"]}
    with pytest.raises(FormatError, match="expected at least one joint"):
        read_clip(c3d(POINTS, ["LKNE", "LKneeAngles"], extra=both))


def test_subjects_with_the_same_markers_are_people() -> None:
    ann, bo = POINTS, POINTS + np.array((100, 100, 100, 0))
    points = np.stack([ann[:, 0], bo[:, 1], ann[:, 1], bo[:, 0]], axis=1)
    clip = read_clip(c3d(points, ["Ann:a", "Bo:b", "Ann:b", "Bo:a"]))
    assert (clip.people, clip.skeleton.joints) == (("Ann", "Bo"), ("a", "b"))
    np.testing.assert_array_equal(clip.keypoints[:, 0], PLACES)
    np.testing.assert_array_equal(clip.keypoints[:, 1], PLACES + 100)


def test_subjects_with_other_markers_are_one_person() -> None:
    clip = read_clip(c3d(POINTS, ["Ann:a", "Bo:b"]))
    assert (clip.people, clip.skeleton.joints) == ((), ("Ann:a", "Bo:b"))
    assert read_clip(c3d(POINTS, ["Ann:a", "b"])).skeleton.joints == ("Ann:a", "b")


def written(clip: Clip) -> bytes:
    stream = io.BytesIO()
    write_clip(clip, stream, format="c3d")
    return stream.getvalue()


@pytest.mark.parametrize(
    ("people", "persons", "joints", "frames", "up", "units", "rate"),
    [
        ((), 1, 3, 5, "z", "mm", 120),
        (("Ann",), 1, 3, 1, "y", "m", 29.97),
        (("Ann", "Bo"), 2, 200, 2, "x", "cm", 23.976),
        (("1", "2", "3"), 3, 1, 0, "z", "px", 1000),
        ((), 1, 1, 70_000, "y", "mm", 100),
    ],
)
def test_written_files_read_back(
    people: tuple[str, ...], persons: int, joints: int, frames: int, up: str, units: str,
    rate: float, tmp_path: Path,
) -> None:  # fmt: skip
    random = np.random.default_rng(3)
    values = random.normal(0, 500, (frames, persons, joints, 3)).astype(np.float32)
    values[random.random(values.shape[:3]) < 0.2] = np.nan
    names = Skeleton(tuple(f"müller_{i}" for i in range(joints)))
    clip = Clip(values, rate, names, None, units, up, people)
    back = read_clip(written(clip))
    assert back.keypoints.tobytes() == clip.keypoints.tobytes()
    assert (back.skeleton, back.frame_rate, back.people) == (names, rate, people)
    assert (back.units, back.up) == (units, up)
    ezc3d = pytest.importorskip("ezc3d")
    if frames in (0, 70_000):  # ezc3d takes neither
        return
    (tmp_path / "a.c3d").write_bytes(written(clip))
    other = ezc3d.c3d(str(tmp_path / "a.c3d"))
    points = other["data"]["points"][:3].transpose(2, 1, 0)
    np.testing.assert_array_equal(points, values.reshape(points.shape).astype(np.float64))
    assert other["parameters"]["POINT"]["UNITS"]["value"] == [units]


@pytest.mark.parametrize(
    ("clip", "message"),
    [
        (Clip(np.zeros((1, 1, 1, 2)), 30, Skeleton(("a",)), units="px"), "in 3D, found 2D"),
        (Clip(np.zeros((1, 0, 1, 3)), 30, Skeleton(("a",))), "at least one person, found none"),
        (Clip(np.zeros((1, 1, 1, 3)), 30, Skeleton(("a" * 256,))), "names up to 255 bytes"),
        (
            Clip(np.zeros((1, 1, 700, 3)), 30, Skeleton(tuple(f"{i:0200}" for i in range(700)))),
            "names that fit",
        ),
    ],
)
def test_what_cannot_be_written_is_told(clip: Clip, message: str) -> None:
    with pytest.raises(FormatError, match=message):
        written(clip)


@pytest.mark.parametrize("name", ["running_0002", "gait"])
def test_cut_short_is_an_error_wherever_it_is_cut(name: str) -> None:
    data = (C3D / f"{name}.c3d").read_bytes()
    for end in [*range(0, 6000, 97), *range(6000, len(data) - 512, 997), len(data) - 512]:
        with pytest.raises(FormatError) as caught:
            read_clip(data[:end], input_format="c3d")
        assert "\n" not in str(caught.value)


def test_every_flipped_bit_is_an_error_or_a_clip() -> None:
    data = c3d(POINTS, ["a", "b"], extra={"ANGLES": ["c"], "UNITS": "mm"})
    for at in range(len(data)):
        for bit in range(8):
            damaged = bytearray(data)
            damaged[at] ^= 1 << bit
            try:
                read_clip(bytes(damaged), input_format="c3d")
            except FormatError as error:
                assert "\n" not in str(error) and len(str(error)) < 400


@pytest.mark.parametrize(
    ("at", "value", "message"),
    [
        (0, b"\0", "expected a C3D header"),
        (1, b"P"[::-1] + b"\xff\xff", "65535 points as the header says, found POINT:USED 2"),
        (0, b"\x40", "expected parameters at byte 32256"),
        (515, b"\x57", "expected processor 84, 85 or 86, found 87"),
        (8, b"\xff\xff", "expected 65535 frames of 44 bytes from block 3 on, found"),
        (16, b"\x09\0", "from block 9 on, found 0 bytes"),
        (514, b"\x01\x54\x7f", "expected whole parameters"),
    ],
)
def test_damage_is_named(at: int, value: bytes, message: str) -> None:
    data = bytearray(c3d(POINTS, ["a", "b"]))
    data[at : at + len(value)] = value
    with pytest.raises(FormatError) as caught:
        read_clip(bytes(data), name="it.c3d", input_format="c3d")
    assert message in str(caught.value)


def test_no_frames_no_points_nothing() -> None:
    empty = np.zeros((0, 2, 4))
    assert read_clip(c3d(empty, ["a", "b"])).frames == 0
    with pytest.raises(FormatError, match="expected at least one joint, found none"):
        read_clip(c3d(np.zeros((2, 0, 4)), []))
    with pytest.raises(FormatError, match="expected a C3D header"):
        read_clip(b"", name="a.c3d", input_format="c3d")
    no_rate = c3d(POINTS, ["a", "b"], rate=0)
    with pytest.raises(FormatError, match="expected a frame rate"):
        read_clip(no_rate)
    assert read_clip(no_rate, frame_rate=30).frame_rate == 30
