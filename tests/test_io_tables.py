"""Tables of text: wide, long and DeepLabCut, as spreadsheets and scripts leave them."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest

from motioncodec.clip import Clip
from motioncodec.errors import FormatError
from motioncodec.io import read_clip, write_clip
from motioncodec.skeleton import Skeleton, find_skeleton

DLC = Path(__file__).parent / "data/dlc"
NAN = np.nan
WIDE = "frame,a_x,a_y,a_z,b_x,b_y,b_z\n0,1,2,3,4,5,6\n1,1.5,2.5,3.5,,,\n"
POINTS = np.array([[[1, 2, 3], [4, 5, 6]], [[1.5, 2.5, 3.5], [NAN, NAN, NAN]]], np.float32)


def read(text: str, **given: object) -> Clip:
    return read_clip(text.encode(), name="x.csv", **{"frame_rate": 30, **given})  # type: ignore[arg-type]


def test_wide() -> None:
    clip = read(WIDE)
    np.testing.assert_array_equal(clip.keypoints[:, 0], POINTS)
    assert clip.skeleton.joints == ("a", "b")
    assert (clip.units, clip.up, clip.confidence) == ("m", "y", None)


@pytest.mark.parametrize(
    "text",
    [
        "\ufeff" + WIDE,
        WIDE.replace("\n", "\r\n"),
        WIDE.replace(",", "\t"),
        WIDE.replace(",", ";").replace(".", ","),
        WIDE.replace(",", "\t").replace(".", ","),
        WIDE.replace(",,,\n", ",nan,NaN,NA\n").rstrip("\n"),
        WIDE.replace(",", ", ").replace("a_", "a."),
        WIDE.replace("_x", "_X").replace("frame", "Frame") + "\n\n",
        WIDE.replace("\n", ",\n"),
        "\n".join(line.split(",", 1)[1] for line in WIDE.splitlines()),
        "time" + WIDE[5:],
        "frame,joint,x,y,z\n0,a,1,2,3\n0,b,4,5,6\n1,a,1.5,2.5,3.5\n",
        "Joint;Frame;X;Y;Z\na;0;1;2;3\nb;0;4;5;6\nb;1;;;\na;1;1,5;2,5;3,5\n",
        "person,frame,joint,x,y,z\n,7,a,1,2,3\n,7,b,4,5,6\n,8,a,1.5,2.5,3.5\n",
        "# frame_rate: 25\n#units: cm\n\n# made by hand\n" + WIDE,
    ],
)
def test_the_same_table_in_other_dress(text: str) -> None:
    clip = read(text)
    np.testing.assert_array_equal(clip.keypoints, POINTS[:, None])
    assert (clip.skeleton.joints, clip.frame_rate) == (("a", "b"), 30)


def test_utf_16_as_spreadsheets_save_it() -> None:
    data = WIDE.replace(",", "\t").encode("utf-16")
    np.testing.assert_array_equal(read_clip(data, frame_rate=30).keypoints[:, 0], POINTS)


def test_comment_lines_say_what_has_no_column() -> None:
    clip = read("# frame_rate: 59.94\n# units: mm\n# up: -z\n" + WIDE, frame_rate=None)
    assert (clip.frame_rate, clip.units, clip.up) == (59.94, "mm", "-z")
    # A spreadsheet pads comment lines to the table's width.
    clip = read("# frame_rate: 59.94,,,,,,\n# units: mm,,,,,,\n" + WIDE, frame_rate=None)
    assert (clip.frame_rate, clip.units) == (59.94, "mm")


@pytest.mark.parametrize(("step", "rate"), [(1 / 30, 30), (0.04, 25), (1 / 29.97, 29.97), (2, 0.5)])
def test_a_time_column_gives_the_frame_rate(step: float, rate: float) -> None:
    rows = "".join(f"{i * step:.6f},{i},0\n" for i in range(50))
    assert read("time,a_x,a_y\n" + rows, frame_rate=None).frame_rate == pytest.approx(rate, 1e-5)
    rows = "".join(f"{i * step:.6f},a,{i},0\n" for i in range(50))
    clip = read("time,joint,x,y\n" + rows, frame_rate=None)
    assert clip.frame_rate == pytest.approx(rate, 1e-5)
    assert clip.keypoints[:, 0, 0, 0].tolist() == list(range(50))


def test_frames_left_out_are_missing() -> None:
    wide = read("frame,a_x,a_y,a_c\n10,1,2,1\n13,3,4,.5\n11,7,8,\n")
    assert wide.missing[:, 0, 0].tolist() == [False, False, True, False]
    assert wide.keypoints[:, 0, 0, 0].tolist()[::3] == [1, 3]
    assert wide.confidence is not None
    assert wide.confidence[:, 0, 0].tolist() == [1, 1, 0, 0.5]
    long = read("frame,person,joint,x,y\n0,anna,a,1,2\n3,anna,a,3,4\n3,ben,a,5,6\n")
    assert long.keypoints.shape == (4, 2, 1, 2)
    assert long.people == ("anna", "ben")
    assert long.missing[:, 1, 0].tolist() == [True, True, True, False]


def test_people_in_another_order_keep_their_place() -> None:
    clip = read("frame,person,joint,x,y\n0,1,a,1,1\n0,0,a,0,0\n1,0,a,0,0\n1,1,a,1,1\n")
    assert clip.people == ("1", "0")
    assert clip.keypoints[:, :, 0, 0].tolist() == [[1, 0], [1, 0]]


def test_deeplabcut() -> None:
    one = read_clip(DLC / "dlc_testdata.csv", frame_rate=30)
    assert (one.keypoints.shape, one.units) == ((4, 1, 3, 2), "px")
    assert one.skeleton.joints == ("A", "B", "C")
    assert one.keypoints[0, 0].tolist() == [[0, 1], [2, 3], [4, 5]]
    assert one.missing[1, 0].tolist() == [False, True, False]
    two = read_clip(DLC / "madlc_testdata.csv", frame_rate=30)
    assert (two.keypoints.shape, two.people) == ((4, 2, 3, 2), ("Animal1", "Animal2"))
    assert two.keypoints[0, 1, 0].tolist() == [6, 7]
    scored = read("scorer,s,s,s\nbodyparts,A,A,A\ncoords,x,y,likelihood\n0,1,2,0.25\n")
    assert scored.confidence is not None
    assert scored.confidence.tolist() == [[[0.25]]]


def test_what_is_written() -> None:
    stream = io.BytesIO()
    write_clip(Clip(POINTS, 30, Skeleton(("a", "b"))), stream, format="csv")
    assert stream.getvalue().decode() == (
        "# frame_rate: 30.0\n# units: m\n# up: y\n# skeleton: custom\n"
        "frame,a_x,a_y,a_z,b_x,b_y,b_z\n0,1.0,2.0,3.0,4.0,5.0,6.0\n1,1.5,2.5,3.5,,,\n"
    )
    stream = io.BytesIO()
    pair = Clip(POINTS[:1, :, None, :2], 30, Skeleton(("a",)), np.array([[[0.5], [1]]]), "px", "-y")
    write_clip(pair, stream, format="csv")
    assert stream.getvalue().decode() == (
        "# frame_rate: 30.0\n# units: px\n# up: -y\n# skeleton: custom\n"
        "frame,person,joint,x,y,confidence\n0,0,a,1.0,2.0,0.5\n0,1,a,4.0,5.0,1.0\n"
    )


def test_the_caller_names_the_joints() -> None:
    header = ",".join(f"p{i}_{axis}" for i in range(17) for axis in "xy")
    clip = read(f"{header}\n{','.join('1' * 34)}\n", skeleton="coco-17")
    assert clip.skeleton is find_skeleton("coco-17")


def test_a_header_alone_is_a_clip_of_no_frames() -> None:
    assert read("frame,a_x,a_y\n").keypoints.shape == (0, 1, 1, 2)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("1,2,3\n4,5,6\n", "expected columns such as left_wrist_x"),
        ("a_x,a_z\n1,2\n", "expected a column a_y"),
        ("a_x,a_y,b_x,b_y,b_z\n1,2,3,4,5\n", "expected a column a_z"),
        ("a_x,a_y,a_x\n1,2,3\n", "found 'a_x' twice"),
        ("a_x,a_y\n1,two\n", "found 'two'"),
        ("a_x,a_y\n1,2\n3\n", "row 2: expected 2 fields"),
        ("a_x,a_y\n1,2,3\n", "row 1: expected 2 fields"),
        ("a_x,a_y\n1,inf\n", "found infinity at frame 0"),
        ("frame,a_x,a_y\n0,1,2\n0,1,2\n", "every frame number once"),
        ("frame,a_x,a_y\n0.5,1,2\n", "whole frame numbers"),
        ("frame,a_x,a_y\n0,1,2\n99999999,1,2\n", "frames numbered 0 to 99999999"),
        ("frame,joint,x,y\n0,a,1,2\n0,a,1,2\n", "one row for each frame"),
        ("frame,joint,x,y\n", "expected rows with joints"),
        ("joint,x,y\na,1,2\n", "expected a column frame or time"),
        ("a_x,a_y,a_c\n1,2,3\n", "numbers from 0 to 1"),
        ("# frame_rate: fast\na_x,a_y\n1,2\n", "expected a number, found 'fast'"),
        ("# people: 3\na_x,a_y\n1,2\n", "JSON list"),
        ("# frames: -1\nframe,a_x,a_y\n1,1,2\n", "expected a count, found '-1'"),
        ("time,a_x,a_y\n1,1,2\n1,1,2\n", "expected times that rise"),
        ("a_x,a_y\n1,2\n", "--fps"),
        ("a_x,a_y\n1," + "2" * 200_000, "expected a table of text"),
        ("scorer,s\nbodyparts,A\n", "header rows scorer"),
    ],
)
def test_tables_that_are_no_clip(text: str, message: str) -> None:
    with pytest.raises(FormatError) as caught:
        said_by_file = "--fps" in message or "rate" in text or "time" in text
        read(text, frame_rate=None if said_by_file else 30)
    assert message in str(caught.value)
    assert str(caught.value).startswith("x.csv: ")


def test_quotes_and_blanks_take_no_time() -> None:
    for text in ('"' * 5001 + "\n1", "\n" * 200_000 + "a", " " * 200_000 + "a\n", "#" * 200_000):
        with pytest.raises(FormatError):
            read_clip(text.encode(), frame_rate=30, input_format="csv")
    with pytest.raises(FormatError):
        read_clip(b"HIERARCHY" + b"\n" * 200_000, input_format="bvh")
