"""TRC: a real file against NumPy's reading, what exporters do differently, damage."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest

from motioncodec.clip import Clip
from motioncodec.errors import FormatError
from motioncodec.io import read_clip, write_clip
from motioncodec.skeleton import Skeleton

WALK = Path(__file__).parent / "data/trc/walk.trc"
SMALL = (
    "PathFileType\t4\t(X/Y/Z)\ta.trc\n"
    "DataRate\tCameraRate\tNumFrames\tNumMarkers\tUnits\n"
    "50.0\t50.0\t3\t2\tm\n"
    "Frame#\tTime\tHead\t\t\tLeft Toe\t\t\n"
    "\t\tX1\tY1\tZ1\tX2\tY2\tZ2\n"
    "\n"
    "1\t0.00\t1.5\t2\t3\t4\t5\t6\n"
    "2\t0.02\t\t\t\t4.5\t5\t6\n"
    "3\t0.04\t1.5\t2\t3.25\t\t\t\n"
)
NAN = np.nan
VALUES = [
    [[1.5, 2, 3], [4, 5, 6]], [[NAN] * 3, [4.5, 5, 6]], [[1.5, 2, 3.25], [NAN] * 3],
]  # fmt: skip


def read(text: str) -> Clip:
    return read_clip(text.encode(), name="it.trc")


def test_the_real_file_as_numpy_reads_it() -> None:
    clip = read_clip(WALK)
    assert clip.keypoints.shape == (40, 1, 28, 3)
    assert (clip.frame_rate, clip.units, clip.up) == (150, "mm", "y")
    # 27 computed markers are named that were not exported.
    assert clip.skeleton.joints[0] == "R.ASIS" and clip.skeleton.joints[-1] == "L.MT2"
    table = np.genfromtxt(WALK, delimiter="\t", skip_header=6)[:, 2:86]
    np.testing.assert_array_equal(clip.keypoints, table.reshape(40, 1, 28, 3).astype(np.float32))


def test_a_small_one() -> None:
    clip = read(SMALL)
    np.testing.assert_array_equal(clip.keypoints[:, 0], VALUES)
    assert (clip.frame_rate, clip.units, clip.up) == (50, "m", "y")
    assert clip.skeleton.joints == ("Head", "Left Toe")


@pytest.mark.parametrize(
    "text",
    [
        "\ufeff" + SMALL,
        "\n" + SMALL.replace("\n", "\r\n"),
        SMALL.replace("\n", "\t\n"),
        SMALL.replace("5\t6\n", "5\t6\t\t\t\n"),
        SMALL.replace("3.25\t\t\t\n", "3.25\n"),
        SMALL.replace("50.0", "50,0").replace("1.5", "1,5").replace("4.5", "4,5"),
        SMALL.replace("\t\t\t4.5", "nan\tNaN\t \t4.5"),
        SMALL.replace("\n\n", "\n"),
        SMALL.replace("\t\tX1\tY1\tZ1\tX2\tY2\tZ2\n\n", ""),
        SMALL.replace("Head\t\t\tLeft Toe\t\t", "Head\tLeft Toe"),
        SMALL.replace("NumMarkers", "nummarkers"),
        SMALL.replace("50.0\t50.0\t3", "50.0\t50.0\t"),
        SMALL + "\n \n",
    ],
)
def test_what_exporters_do_differently_does_not_matter(text: str) -> None:
    clip = read(text)
    np.testing.assert_allclose(clip.keypoints[:, 0], np.array(VALUES, np.float32))
    assert (clip.frame_rate, clip.units, clip.skeleton.joints) == (50, "m", ("Head", "Left Toe"))


def test_spaces_between_fields() -> None:
    text = SMALL.replace("Left Toe", "LToe").replace("\t\t\t4.5", "\tnan\tnan\tnan\t4.5")
    text = text.replace("3.25\t\t\t", "3.25\tnan\tnan\tnan").replace("\t", "   ")
    np.testing.assert_array_equal(read(text).keypoints[:, 0], VALUES)


def test_frames_left_out_are_missing() -> None:
    text = SMALL.replace("\n3\t0.04", "\n5\t0.08")
    for stated in ("3", "5"):
        clip = read(text.replace("50.0\t3", f"50.0\t{stated}"))
        assert clip.frames == 5
        np.testing.assert_array_equal(clip.missing[:, 0].all(axis=1), [0, 0, 1, 1, 0])


def test_without_a_rate_the_times_say_it() -> None:
    assert read(SMALL.replace("50.0\t50.0", "\t")).frame_rate == 50
    assert read_clip(SMALL.encode(), frame_rate=25).frame_rate == 25


def test_names_beyond_those_counted() -> None:
    more = SMALL.replace("Left Toe\t\t", "Left Toe\t\t\tV_Mid\t\t")
    assert read(more).skeleton.joints == ("Head", "Left Toe")
    filled = more.replace("4\t5\t6\n", "4\t5\t6\t7\t8\t9\n")
    assert read(filled).skeleton.joints == ("Head", "Left Toe", "V_Mid")


def test_people_by_their_prefix() -> None:
    clip = read(SMALL.replace("Head", "Ann:Head").replace("Left Toe", "Bo:Head"))
    assert (clip.people, clip.skeleton.joints) == (("Ann", "Bo"), ("Head",))
    np.testing.assert_array_equal(clip.keypoints[:, :, 0], VALUES)


@pytest.mark.parametrize(("persons", "people"), [(1, ()), (1, ("Ann",)), (3, ("a", "b", "c"))])
@pytest.mark.parametrize("frames", [0, 1, 7])
def test_written_files_read_back(persons: int, people: tuple[str, ...], frames: int) -> None:
    random = np.random.default_rng(1)
    shape = (frames, persons, 4, 3)
    values = random.integers(0, 2**32, shape, dtype=np.uint32).view(np.float32)
    values = np.where(np.isfinite(values), values, np.float32(0))
    values[random.random(shape[:3]) < 0.3] = np.nan
    names = Skeleton(("nose", "left eye", "ß", "a_2"))
    clip = Clip(values, 29.97, names, None, "cm", "y", people)
    stream = io.BytesIO()
    write_clip(clip, stream, format="trc")
    back = read_clip(stream.getvalue())
    assert back.keypoints.tobytes() == clip.keypoints.tobytes()
    assert (back.frame_rate, back.skeleton, back.people) == (29.97, names, people)
    assert (back.units, back.up) == ("cm", "y")


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("PathFileType", "PathType", "expected a TRC that starts with PathFileType"),
        ("(X/Y/Z)", "(X/Y)", "expected coordinates (X/Y/Z), found (X/Y)"),
        ("Frame#", "Image", "expected a line Frame#, Time and names"),
        ("50.0\t3", "50.0\t4", "expected 4 frames as NumFrames says, found 3"),
        ("50.0\t3", "50.0\t2", "expected 2 frames as NumFrames says, found 3"),
        ("\t6\n2", "\n2", "row 1: expected 8 fields as the names say, found 7"),
        ("\t6\n2", "\t6\t7\n2", "row 1: expected 8 fields as the names say, found 9"),
        ("4.5", "four", "expected a number or an empty field, found 'four'"),
        ("4.5", "1e99", "found infinity"),
        ("\n3\t", "\n2\t", "expected every frame number once"),
        ("\n3\t", "\n2.5\t", "expected whole frame numbers, found '2.5'"),
        ("\n3\t", "\n99999\t", "frame numbers without great gaps"),
        ("\tm\n", "\tinches\n", "expected units m, cm or mm, found 'inches'"),
        ("Head\t\t\tLeft Toe\t\t\n", "\n", "expected 2 fields as the names say"),
    ],
)
def test_damage_is_named(old: str, new: str, message: str) -> None:
    assert old in SMALL
    with pytest.raises(FormatError) as caught:
        read_clip(SMALL.replace(old, new, 1).encode(), name="it.trc", input_format="trc")
    assert message in str(caught.value)
    assert str(caught.value).startswith("it.trc: ")


def test_no_markers_and_an_empty_file() -> None:
    none = "".join(SMALL.splitlines(keepends=True)[:4]).replace("Head\t\t\tLeft Toe\t\t", "")
    with pytest.raises(FormatError, match="expected at least one joint, found none"):
        read(none.replace("50.0\t3\t2", "50.0\t0\t0"))
    with pytest.raises(FormatError, match="starts with PathFileType"):
        read_clip(b"", input_format="trc")


def test_cut_short_anywhere_is_an_error_or_a_clip_of_fewer_digits() -> None:
    data = WALK.read_bytes()
    for end in range(0, len(data) - 600, 293):
        with pytest.raises(FormatError):
            read_clip(data[:end], input_format="trc")
