"""BVH: joint angles to positions and back, and the liberties that exporters take."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest

from motioncodec.clip import Clip
from motioncodec.errors import FormatError
from motioncodec.io import read_clip, write_clip
from motioncodec.skeleton import Skeleton, find_skeleton

BVH = Path(__file__).parent / "data/bvh"


def arm(channels: str, values: str, root: str = "", offset: str = "0 0 0") -> str:
    """A root, an elbow one unit along x from it, an end one unit along y from that."""
    return (
        f"HIERARCHY\nROOT Base\n{{\nOFFSET {offset}\nCHANNELS {channels}\n"
        f"JOINT Mid\n{{\nOFFSET 1 0 0\nCHANNELS {root or '0'}\n"
        "End Site\n{\nOFFSET 0 1 0\n}\n}\n}\n"
        f"MOTION\nFrames: 1\nFrame Time: 0.1\n{values}\n"
    )


def positions(text: str) -> np.ndarray:
    return read_clip(text.encode(), input_format="bvh").keypoints[0, 0]


@pytest.mark.parametrize(
    ("channel", "mid", "end"),
    [
        ("Xrotation", (1, 0, 0), (1, 0, 1)),
        ("Yrotation", (0, 0, -1), (0, 1, -1)),
        ("Zrotation", (0, 1, 0), (-1, 1, 0)),
    ],
)
def test_a_quarter_turn_about_each_axis(
    channel: str, mid: tuple[int, ...], end: tuple[int, ...]
) -> None:
    np.testing.assert_allclose(positions(arm(f"1 {channel}", "90"))[1:], [mid, end], atol=1e-6)


@pytest.mark.parametrize(
    ("order", "mid", "end"),
    [
        # The first listed is outermost: "X Y" turns about y, then about the fixed x.
        ("Xrotation Yrotation", (0, 1, 0), (0, 1, 1)),
        ("Yrotation Xrotation", (0, 0, -1), (1, 0, -1)),
        ("Xrotation Zrotation", (0, 0, 1), (-1, 0, 1)),
        ("Zrotation Xrotation", (0, 1, 0), (0, 1, 1)),
        ("Yrotation Zrotation", (0, 1, 0), (0, 1, 1)),
        ("Zrotation Yrotation", (0, 0, -1), (-1, 0, -1)),
    ],
)
def test_two_quarter_turns_in_each_order(
    order: str, mid: tuple[int, ...], end: tuple[int, ...]
) -> None:
    np.testing.assert_allclose(positions(arm(f"2 {order}", "90 90"))[1:], [mid, end], atol=1e-6)


def test_rotations_match_matrix_products_in_any_order() -> None:
    def matrix(axis: int, degrees: float) -> np.ndarray:
        angle, out = np.radians(degrees), np.eye(3)
        i, j = (axis + 1) % 3, (axis + 2) % 3
        out[[i, j], [i, j]] = np.cos(angle)
        out[i, j], out[j, i] = -np.sin(angle), np.sin(angle)
        return out

    for order in ("xyz", "xzy", "yxz", "yzx", "zxy", "zyx"):
        angles = (31.0, -47.0, 118.0)
        listed = " ".join(f"{axis}rotation" for axis in order)
        both = positions(arm(f"3 {listed}", "31 -47 118 31 -47 118", f"3 {listed}"))
        product = np.eye(3)
        for axis, angle in zip(order, angles, strict=True):
            product = product @ matrix("xyz".index(axis), angle)
        np.testing.assert_allclose(both[1], product @ [1, 0, 0], atol=1e-6)
        np.testing.assert_allclose(both[2], both[1] + product @ product @ [0, 1, 0], atol=1e-6)


def test_positions_before_and_after_rotations_are_the_same() -> None:
    first = positions(arm("4 Zrotation Xposition Yposition Zposition", "90 5 6 7"))
    last = positions(arm("4 Xposition Yposition Zposition Zrotation", "5 6 7 90"))
    np.testing.assert_array_equal(first, last)
    np.testing.assert_allclose(first, [(5, 6, 7), (5, 7, 7), (4, 7, 7)], atol=1e-6)


def test_positions_that_repeat_the_offset_stand_for_it() -> None:
    channels = "3 Xposition Yposition Zposition"
    repeated = positions(arm("1 Yposition", "90 1 0.1 0", channels, "0 90 0"))
    np.testing.assert_allclose(repeated, [(0, 90, 0), (1, 90.1, 0), (1, 91.1, 0)], atol=1e-5)
    relative = positions(arm("1 Yposition", "2 0 0.1 0", channels, "0 90 0"))
    np.testing.assert_allclose(relative, [(0, 92, 0), (1, 92.1, 0), (1, 93.1, 0)], atol=1e-5)


def test_bones_keep_the_length_of_their_offsets() -> None:
    text = (BVH / "cmu_12_01_walk.bvh").read_text()
    offsets = [
        np.linalg.norm([float(word) for word in line.split()[1:]])
        for line in text.splitlines() if line.split()[:1] == ["OFFSET"]
    ]  # fmt: skip
    clip = read_clip(BVH / "cmu_12_01_walk.bvh")
    names = clip.skeleton.joints
    bones = [("LeftUpLeg", "LeftLeg"), ("LeftLeg", "LeftFoot"), ("Head", "Head_end")]
    for parent, child in bones:
        ends = clip.keypoints[:, 0, [names.index(parent), names.index(child)]].astype(np.float64)
        lengths = np.linalg.norm(ends[:, 1] - ends[:, 0], axis=1)
        np.testing.assert_allclose(lengths, offsets[names.index(child)], rtol=1e-5)


@pytest.mark.parametrize(
    ("name", "frames", "joints", "rate", "covered", "height"),
    [
        ("cmu_12_01_walk", 90, 38, 120, 20, 25),
        ("cgspeed_02_01", 60, 38, 120, 20, 25),
        ("iclone_002_02", 30, 142, 60, 19, 176),
        ("test_freebvh", 69, 70, 30, 19, 176),
    ],
)
def test_real_files(
    name: str, frames: int, joints: int, rate: float, covered: int, height: float
) -> None:
    clip = read_clip(BVH / f"{name}.bvh")
    assert clip.keypoints.shape == (frames, 1, joints, 3)
    assert clip.frame_rate == rate
    assert (clip.units, clip.up) == ("cm", "y")
    assert sum(index >= 0 for index in clip.skeleton.covered) == covered
    assert np.ptp(clip.keypoints[10, 0, :, 1]) == pytest.approx(height, rel=0.05)


def test_rotation_first_root() -> None:
    clip = read_clip(BVH / "rotation_first_root.bvh")
    assert clip.skeleton.joints == (
        "Hips", "Spine", "Head", "Head_end", "LeftLeg", "LeftLeg_end",
    )  # fmt: skip
    assert clip.frame_rate == 25
    np.testing.assert_array_equal(
        clip.keypoints[:, 0, 0], [(10, 50, -20), (11, 51, -19), (12, 52, -18), (13, 53, -17)]
    )


def test_line_ends_marks_tabs_and_exponents_do_not_matter() -> None:
    text = (BVH / "rotation_first_root.bvh").read_text()
    plain = read_clip(text.encode()).keypoints
    for other in (
        "\ufeff" + text,
        text.replace("\n", "\r\n"),
        text.replace("\n", "\r"),
        text.replace(" ", "\t"),
        text.replace("5.000000", "5e0").replace("10.000000", "+1.0E+01"),
        text.replace("\n\t{", " {").replace("End Site", "END SITE"),
        text.replace("MOTION\n", "Motion\n\n").replace("Frame Time:", "Frame Time :"),
        text.replace("Frames: 4\n", "Frames:\t4  \n") + "\n \n",
    ):
        np.testing.assert_array_equal(read_clip(other.encode()).keypoints, plain)
    np.testing.assert_array_equal(read_clip(text.encode("utf-16"), name="x.bvh").keypoints, plain)


def test_names_are_made_unique_and_may_have_spaces() -> None:
    text = (BVH / "rotation_first_root.bvh").read_text()
    text = text.replace("Head", "Spine").replace("ROOT Hips", "ROOT Bip01 Pelvis")
    clip = read_clip(text.encode())
    assert clip.skeleton.joints == (
        "Bip01 Pelvis", "Spine", "Spine_2", "Spine_end", "LeftLeg", "LeftLeg_end",
    )  # fmt: skip


def upright(scale: float, axis: int) -> bytes:
    def offset(height: float) -> str:
        place = [0.0, 0.0, 0.0]
        place[axis] = height * scale
        return "OFFSET " + " ".join(map(str, place))

    return (
        f"HIERARCHY\nROOT Hips\n{{\n{offset(0)}\nCHANNELS 1 Xposition\n"
        f"JOINT Head\n{{\n{offset(0.7)}\nCHANNELS 0\nEnd Site\n{{\n{offset(0.1)}\n}}\n}}\n"
        f"JOINT LeftFoot\n{{\n{offset(-0.9)}\nCHANNELS 0\nEnd Site\n{{\n{offset(0)}\n}}\n}}\n}}\n"
        "MOTION\nFrames: 2\nFrame Time: 0.05\n0\n1\n"
    ).encode()


def test_units_and_up_are_guessed_and_overridden() -> None:
    found = [
        (clip.units, clip.up)
        for scale in (1, 100, 1000)
        for clip in [read_clip(upright(scale, 1)), read_clip(upright(scale, 2))]
    ]
    assert found == [("m", "y"), ("m", "z"), ("cm", "y"), ("cm", "z"), ("mm", "y"), ("mm", "z")]
    said = read_clip(upright(1, 1), units="cm", up="z", frame_rate=24)
    assert (said.units, said.up, said.frame_rate) == ("cm", "z", 24)
    np.testing.assert_array_equal(said.keypoints, read_clip(upright(1, 1)).keypoints)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("Frames: 4", "Frames: 5", "expected 5 frames of 15 numbers, found 60 numbers"),
        ("Frames: 4", "Frames: 3", "expected 3 frames"),
        ("Frames: 4", "Frames: 99999999999", "expected 99999999999 frames"),
        ("Frames: 4", "Frames: -4", "expected a count, found '-4'"),
        ("Frames: 4", "", "expected Frames: and Frame Time:"),
        ("Frame Time: 0.04", "Frame Time: 0", "Frame Time: expected seconds above 0, found '0'"),
        ("Frame Time: 0.04", "Frame Time: nan", "Frame Time: expected seconds above 0"),
        ("Frame Time: 0.04", "Frame Time: fast", "Frame Time: expected numbers"),
        ("5.000000", "five", "MOTION: expected numbers"),
        ("5.000000", "inf", "found infinity in frame 0"),
        ("5.000000", "1e308", None),
        ("MOTION", "MOTIONS", "expected a MOTION section"),
        ("HIERARCHY", "HIERARCHIES", "starts with HIERARCHY"),
        ("CHANNELS 6", "CHANNELS 5", "expected CHANNELS"),
        ("Yrotation Xposition", "Yrotation Wposition", "expected CHANNELS"),
        ("OFFSET 2.000000", "OFFSET", "OFFSET with three numbers"),
        ("JOINT Spine", "BONE Spine", "found 'BONE Spine'"),
        ("ROOT Hips", "JOINT Hips", "expected ROOT outermost"),
        ("MOTION", "{\nMOTION", "expected a joint"),
        ("}\nMOTION", "MOTION", "braces left open"),
    ],
)
def test_damage_is_named(old: str, new: str, message: str | None) -> None:
    text = (BVH / "rotation_first_root.bvh").read_text()
    assert old in text
    data = text.replace(old, new, 1).encode()
    if message is None:
        assert isinstance(read_clip(data), Clip)
        return
    with pytest.raises(FormatError) as caught:
        read_clip(data, name="it.bvh", input_format="bvh")
    assert message in str(caught.value)
    assert str(caught.value).startswith("it.bvh: ")


def test_a_missing_angle_hides_what_hangs_on_it() -> None:
    text = (BVH / "rotation_first_root.bvh").read_text().replace("4.000000 5.000000", "4 nan", 1)
    clip = read_clip(text.encode())
    hidden = [clip.skeleton.joints[i] for i in np.flatnonzero(clip.missing[0, 0])]
    assert hidden == ["Head_end"]


def test_no_frames_at_all_and_one() -> None:
    head, _, tail = (BVH / "rotation_first_root.bvh").read_text().partition("Frames: 4")
    assert read_clip((head + "Frames: 0\nFrame Time: 0.04\n").encode()).frames == 0
    one = head + "Frames: 1" + "\n".join(tail.splitlines()[:3])
    assert read_clip(one.encode()).frames == 1


def test_frame_times_are_read_as_far_as_their_digits_go() -> None:
    for text, rate in [
        ("0.008333", 120), (".0083333", 120), ("0.0333333", 30), ("0.033367", 29.97),
        ("0.0416667", 24), ("0.03", 1 / 0.03), ("0.00833", 120), ("0.041708", 23.976),
        ("1.25e-2", 80),
    ]:  # fmt: skip
        data = arm("1 Xrotation", "0").replace("Frame Time: 0.1", f"Frame Time: {text}").encode()
        assert read_clip(data).frame_rate == pytest.approx(rate, rel=1e-12)


DATA = BVH.parent
RIGID = [
    "bvh/cmu_12_01_walk.bvh", "bvh/cgspeed_02_01.bvh", "bvh/iclone_002_02.bvh",
    "bvh/rotation_first_root.bvh", "bvh/test_freebvh.bvh", "amc/16_11.amc",
]  # fmt: skip
ANY = [
    *RIGID, "npz/hdm05_kick_left_front_001.npz", "trc/walk.trc", "c3d/running_0002.c3d",
    "c3d/cmu_85_02.c3d", "c3d/gait.c3d",
]  # fmt: skip


def as_bvh(clip: Clip) -> str:
    stream = io.BytesIO()
    write_clip(clip, stream, format="bvh")
    return stream.getvalue().decode()


def apart(clip: Clip, other: Clip) -> float:
    """Greatest distance of joints of one name, in the clip's units, where ``clip`` has them."""
    assert set(clip.skeleton.joints) == set(other.skeleton.joints)
    order = [other.skeleton.joints.index(name) for name in clip.skeleton.joints]
    between = clip.keypoints.astype(np.float64) - other.keypoints[:, :, order]
    return float(np.nanmax(np.linalg.norm(between, axis=-1)))


@pytest.mark.parametrize("name", ANY)
def test_written_joints_are_where_they_were(name: str) -> None:
    clip = read_clip(DATA / name)
    text = as_bvh(clip)
    back = read_clip(text.encode())
    assert (back.units, back.up, back.frame_rate) == (clip.units, clip.up, clip.frame_rate)
    assert back.frames == clip.frames and not back.missing.any()
    assert apart(clip, back) * {"m": 1000, "cm": 10, "mm": 1}[clip.units] < 0.101
    if name in RIGID:
        assert text.count("Xposition") == 1


@pytest.mark.parametrize("name", ["bvh/cmu_12_01_walk.bvh", "amc/16_11.amc"])
def test_a_rigid_skeleton_keeps_its_tree(name: str) -> None:
    clip = read_clip(DATA / name)
    back = read_clip(as_bvh(clip).encode())
    assert back.skeleton == clip.skeleton
    once_more = as_bvh(back)
    assert once_more.count("CHANNELS 3") == as_bvh(clip).count("CHANNELS 3")


def test_every_angle_of_an_arm_is_found_again() -> None:
    """One bone below a joint leaves its twist open, three in a corner do not."""
    random = np.random.default_rng(2)
    turns, _ = np.linalg.qr(random.normal(size=(50, 3, 3)))
    turns *= np.sign(np.linalg.det(turns))[:, None, None]
    corner = np.concatenate([np.zeros((50, 1, 3)), turns.transpose(0, 2, 1)], axis=1)
    corner[:2] = [np.eye(4, 3, -1)] * 2
    corner[1, 1:] = [(0, 1, 0), (0, 0, 1), (1, 0, 0)]
    clip = Clip(corner + random.normal(size=(50, 1, 3)), 30, Skeleton(("a", "b", "c", "d")))
    text = as_bvh(clip)
    assert text.count("Xposition") == 1 and text.count("JOINT") == 3
    assert apart(clip, read_clip(text.encode())) < 1e-5


def test_bones_that_stretch_move_besides() -> None:
    random = np.random.default_rng(4)
    clip = Clip(random.normal(size=(40, 1, 20, 3)), 29.97, find_skeleton("canonical-20"))
    text = as_bvh(clip)
    assert text.count("Xposition") == 20
    back = read_clip(text.encode())
    assert back.skeleton is clip.skeleton and back.frame_rate == 29.97
    assert apart(clip, back) < 1e-5


def test_gaps_are_bridged_and_what_is_never_seen_is_left_out() -> None:
    values = np.zeros((4, 1, 3, 3), dtype=np.float32)
    values[:, 0, 1] = [(0, 1, 0), (0, np.nan, 0), (0, np.nan, 0), (0, 4, 0)]
    values[:, 0, 2] = np.nan
    clip = Clip(values, 10, Skeleton(("hips", "head", "tail")), units="m", up="y")
    back = read_clip(as_bvh(clip).encode())
    assert back.skeleton.joints == ("hips", "head")
    np.testing.assert_allclose(back.keypoints[:, 0, 1, 1], [1, 2, 3, 4], atol=1e-5)
    with pytest.raises(FormatError, match="expected a joint that is seen, found none"):
        as_bvh(Clip(np.full((2, 1, 1, 3), np.nan), 10, Skeleton(("a",))))
    with pytest.raises(FormatError, match="expected keypoints in 3D, found 2D"):
        as_bvh(Clip(np.zeros((2, 1, 1, 2)), 10, Skeleton(("a",)), units="px"))


@pytest.mark.parametrize("people", [("Ann", "Bo"), ()])
def test_people_are_roots(people: tuple[str, ...]) -> None:
    one = read_clip(DATA / "npz/hdm05_kick_left_front_001.npz")
    both = np.concatenate([one.keypoints, one.keypoints + 2], axis=1)
    clip = Clip(both, one.frame_rate, one.skeleton, None, one.units, one.up, people)
    text = as_bvh(clip)
    assert text.count("ROOT") == 2
    back = read_clip(text.encode())
    assert (back.people, back.skeleton) == (people or ("0", "1"), one.skeleton)
    assert apart(clip, back) < 1.01e-4


def test_names_that_would_break_the_file() -> None:
    names = ("a{b}", "End Site", "MOTION", " c\td ", "JOINT")
    clip = Clip(np.eye(5, 3)[None].repeat(3, 0), 25, Skeleton(names))
    back = read_clip(as_bvh(clip).encode())
    assert set(back.skeleton.joints) == {"a_b_", "End Site", "MOTION", "c d", "JOINT"}


def test_one_joint_and_one_frame() -> None:
    clip = Clip(np.array([[[[1, 2, 3.5]]]]), 25, Skeleton(("a",)))
    back = read_clip(as_bvh(clip).encode())
    np.testing.assert_array_equal(back.keypoints, clip.keypoints)
    assert back.skeleton == clip.skeleton


def test_only_an_end_site_that_marks_the_end_is_no_joint() -> None:
    turning = arm("3 Xposition Yposition Zposition", "0 0 0").replace(
        "OFFSET 0 1 0", "OFFSET 0 0 0"
    )
    assert read_clip(turning.encode()).skeleton.joints == ("Base", "Mid")
    turning = turning.replace("CHANNELS 0", "CHANNELS 1 Xrotation").replace("\n0 0 0", "\n0 0 0 9")
    assert read_clip(turning.encode()).skeleton.joints == ("Base", "Mid", "Mid_end")
