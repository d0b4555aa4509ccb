"""Acclaim: bones against another way of turning them and the skeleton's lengths."""

from __future__ import annotations

import io
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from motioncodec.clip import Clip
from motioncodec.errors import FormatError
from motioncodec.io import read_clip
from motioncodec.io.amc import read_amc
from motioncodec.io.source import Source
from motioncodec.skeleton import CANONICAL

AMC = Path(__file__).parent / "data/amc"
SKELETON = """:units
  length 1.0
  angle deg
:root
  order TX TY TZ RX RY RZ
  axis XYZ
  position 0 0 0
  orientation 0 0 0
:bonedata
  begin
    id 1
    name arm
    direction 1 0 0
    length 2
    axis 0 0 0 XYZ
    dof rx ry rz
    limits (-180 180)
           (-180 180)
  end
  begin
    name hand
    direction 0 1 0
    length 1
    axis 90 0 0 XYZ
    dof rz
  end
:hierarchy
  begin
    root arm
    arm hand
  end
"""
MOTION = """# made by hand
:FULLY-SPECIFIED
:DEGREES
1
root 1 2 3 0 0 0
arm 0 0 90
hand 0
2
root 1 2 3 0 0 90
arm 0 0 0
hand 90
"""


def read(motion: str = MOTION, skeleton: str | None = SKELETON, **said: str) -> Clip:
    beside = {} if skeleton is None else {"walk.asf": lambda: skeleton.encode()}
    return read_amc(
        Source("walk.amc", io.BytesIO(motion.encode()), siblings=lambda: beside, **said)
    )  # type: ignore[arg-type]


def test_by_hand() -> None:
    clip = read(units="m")
    assert clip.skeleton.joints == ("root", "arm", "hand", "hand_end")
    first = [(1, 2, 3), (1, 2, 3), (1, 4, 3), (0, 4, 3)]
    # The hand turns about its own z axis, which its axis puts along the world's -y: along itself.
    second = [(1, 2, 3), (1, 2, 3), (1, 4, 3), (0, 4, 3)]
    np.testing.assert_allclose(clip.keypoints[:, 0], [first, second], atol=1e-6)
    assert (clip.frame_rate, clip.units, clip.up) == (120, "m", "y")


def test_units_are_scaled_to_metres_unless_the_caller_names_some() -> None:
    plain = read(units="cm")
    assert plain.units == "cm"
    inches = read()
    assert inches.units == "m"
    np.testing.assert_allclose(inches.keypoints, plain.keypoints * 0.0254, rtol=1e-6)
    cmu = read(skeleton=SKELETON.replace("length 1.0", "length 0.45"))
    np.testing.assert_allclose(cmu.keypoints, plain.keypoints * 0.0254 / 0.45, rtol=1e-6)


def test_radians_and_orders() -> None:
    turned = read(MOTION.replace(":DEGREES", ":RADIANS").replace(" 90", " 1.5707963267948966"))
    np.testing.assert_allclose(turned.keypoints, read().keypoints, atol=1e-7)
    other = SKELETON.replace("dof rx ry rz", "dof rz rx ry")
    swapped = MOTION.replace("arm 0 0 90", "arm 90 0 0")
    np.testing.assert_allclose(read(swapped, other).keypoints, read().keypoints, atol=1e-7)


def independent(frame: dict[str, list[float]]) -> dict[str, np.ndarray]:
    """Ends of the bones of one frame of 16_11, by SciPy's rotations and by recursion."""
    text = (AMC / "16.asf").read_text()
    bones = {}
    for block in text.partition(":bonedata")[2].partition(":hierarchy")[0].split("begin")[1:]:
        said = {w[0]: w[1:] for w in (line.split() for line in block.splitlines()) if w}
        bones[said["name"][0]] = said
    ends = {}

    def go(name: str, turn: Rotation, start: np.ndarray) -> None:
        ends[name] = start
        for line in text.partition(":hierarchy")[2].splitlines():
            parent, *children = line.split() or [""]
            if parent != name:
                continue
            for child in children:
                said = bones[child]
                axis = Rotation.from_euler("xyz", [float(v) for v in said["axis"][:3]], True)
                dof = "".join(d[1] for d in said.get("dof", []))
                own = Rotation.from_euler(dof, frame[child], True) if dof else Rotation.identity()
                now = turn * axis * own * axis.inv()
                arrow = np.array([float(v) for v in said["direction"]]) * float(said["length"][0])
                go(child, now, start + now.apply(arrow))

    root = frame["root"]
    go("root", Rotation.from_euler("xyz", root[3:], True), np.array(root[:3]))
    return {name: place * 0.0254 / 0.45 for name, place in ends.items()}


def test_the_real_file_as_another_way_has_it() -> None:
    clip = read_clip(AMC / "16_11.amc")
    assert clip.keypoints.shape == (40, 1, 38, 3)
    names = clip.skeleton.joints
    text = (AMC / "16_11.amc").read_text().split("\n40\n")[1]
    frame = {w[0]: [float(v) for v in w[1:]] for w in map(str.split, text.splitlines())}
    ends = independent(frame)
    # A bone begins where its parent ends.
    for joint, end in [
        ("root", "root"), ("ltibia", "lfemur"), ("rfoot", "rtibia"), ("ltoes_end", "ltoes"),
        ("lowerneck", "thorax"), ("head_end", "head"), ("lwrist", "lradius"),
        ("rthumb_end", "rthumb"), ("rfingers_end", "rfingers"),
    ]:  # fmt: skip
        np.testing.assert_allclose(
            clip.keypoints[39, 0, names.index(joint)], ends[end], atol=1e-6, err_msg=joint
        )


def test_the_models_joints_are_where_they_belong() -> None:
    clip = read_clip(AMC / "16_11.amc")
    assert set(clip.skeleton.covered) == {-1, *range(20)}
    at = {
        CANONICAL[c]: clip.keypoints[:, 0, i] for i, c in enumerate(clip.skeleton.covered) if c >= 0
    }
    up = {name: float(place[:, 1].mean()) for name, place in at.items()}
    spine = ["left_toe", "left_ankle", "left_knee", "left_hip", "chest", "neck", "head", "head_top"]
    assert [up[name] for name in spine] == sorted(up[name] for name in spine)
    assert 1.5 < up["head_top"] < 1.8
    for upper, lower, length in [
        ("left_hip", "left_knee", 7.03469), ("left_knee", "left_ankle", 7.78223),
        ("right_shoulder", "right_elbow", 5.29613), ("right_elbow", "right_wrist", 3.76144),
    ]:  # fmt: skip
        apart = np.linalg.norm(at[upper] - at[lower], axis=1)
        np.testing.assert_allclose(apart, length * 0.0254 / 0.45, rtol=1e-5)
    # Whoever walks towards where the toes point has the left hip on the left.
    ahead = at["left_toe"] - at["left_ankle"] + at["right_toe"] - at["right_ankle"]
    left = np.cross([0, 1, 0], ahead)
    assert (np.sum(left * (at["left_hip"] - at["right_hip"]), axis=1) > 0).all()


def test_which_skeleton_is_taken(tmp_path: Path) -> None:
    def found(*names: str, motion: str = "16_11.amc") -> Clip:
        for old in tmp_path.iterdir():
            old.unlink()
        shutil.copy(AMC / "16_11.amc", tmp_path / motion)
        for name in names:
            shutil.copy(AMC / "16.asf", tmp_path / name)
        return read_clip(tmp_path / motion)

    assert found("16.asf", "1.asf", "17.asf").frames == 40
    assert found("16_11.ASF").frames == 40
    assert found("someone.asf").frames == 40
    assert found("Justin_Nancy.ASF", "b.asf").frames == 40
    with pytest.raises(FormatError, match=r"expected its skeleton, .*, found none; put it there"):
        found()
    with pytest.raises(FormatError, match=r"found 1.asf, 6.asf; put it there"):
        found("1.asf", "6.asf")
    (tmp_path / "16.asf").write_bytes(b":version 1.10\n")
    with pytest.raises(FormatError, match=r"16_11.amc: 16.asf: expected a root with order"):
        read_clip(tmp_path / "16_11.amc")


def test_an_opened_file_knows_its_folder() -> None:
    with (AMC / "16_11.amc").open("rb") as file:
        assert read_clip(file, name="16_11.amc").frames == 40


def test_a_skeleton_alone_and_a_motion_without_a_folder() -> None:
    with pytest.raises(FormatError, match=r"16.asf: expected a motion, found an ASF"):
        read_clip(AMC / "16.asf")
    with pytest.raises(FormatError, match="expected its skeleton"):
        read_clip((AMC / "16_11.amc").read_bytes())


def test_bones_never_mentioned_stay_at_rest_and_frames_left_out_are_missing() -> None:
    still = read(MOTION.replace("hand 0\n", "").replace("hand 90\n", "").replace("\n2\n", "\n4\n"))
    assert still.frames == 4
    assert still.missing[:, 0].all(axis=1).tolist() == [False, True, True, False]
    np.testing.assert_allclose(still.keypoints[[0, 3]], read().keypoints, atol=1e-7)


def test_line_ends_marks_and_case() -> None:
    for change in (
        lambda t: t.replace("\n", "\r\n"), lambda t: "\ufeff" + t, lambda t: t.replace(" ", "\t"),
        lambda t: t.replace(":FULLY-SPECIFIED\n", ""), lambda t: t + "\n\n",
    ):  # fmt: skip
        change_it: Callable[[str], str] = change
        clip = read(change_it(MOTION), change_it(SKELETON))
        assert clip.keypoints.tobytes() == read().keypoints.tobytes()


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("arm 0 0 90", "leg 0 0 90", "expected frame numbers and bones of walk.asf, found"),
        ("arm 0 0 90", "arm 0 0", "frame 1: expected 3 numbers"),
        ("arm 0 0 90", "arm 0 0 90 1", "frame 1: expected 3 values of 'arm' once"),
        ("arm 0 0 90\n", "arm 0 0 90\narm 0 0 90\n", "frame 1: expected 3 values of 'arm' once"),
        ("arm 0 0 90", "arm 0 0 nan", "frame 1: expected 3 numbers"),
        ("arm 0 0 90\n", "", "frame 2: expected 3 values of 'arm' once"),
        ("\nhand 90", "", "expected 'hand' in every frame, found it left out of the 2th"),
        ("\n2\n", "\n1\n", "expected every frame number once"),
        ("\n2\n", "\n99999\n", "without great gaps"),
    ],
)
def test_damaged_motions_are_named(old: str, new: str, message: str) -> None:
    assert old in MOTION
    with pytest.raises(FormatError) as caught:
        read(MOTION.replace(old, new, 1))
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("length 1.0", "length 0", "expected a unit of length above 0"),
        ("length 1.0", "length -1", "expected a unit of length above 0"),
        ("length 2", "length two", "expected 1 numbers"),
        ("direction 1 0 0", "direction 1 0", "expected 3 numbers"),
        ("0 0 0 XYZ", "0 0 0 XYX", "expected an order of axes"),
        ("dof rx ry rz", "dof rx l", "expected dof rx, ry and rz of 'arm'"),
        ("order TX TY TZ RX RY RZ", "order A", "expected a root with order"),
        ("name hand", "name arm", "expected bones of one name each, found 'arm'"),
        ("arm hand", "arm foot", "expected names of bones"),
        ("arm hand", "hand hand", "expected every bone below the root, found 'hand'"),
        ("arm hand", "arm hand hand", "expected one parent of 'hand', found two"),
    ],
)
def test_damaged_skeletons_are_named(old: str, new: str, message: str) -> None:
    assert old in SKELETON
    with pytest.raises(FormatError) as caught:
        read(skeleton=SKELETON.replace(old, new, 1))
    assert str(caught.value).startswith("walk.amc: walk.asf: ")
    assert message in str(caught.value)


def test_cut_anywhere_is_an_error_or_a_clip() -> None:
    for text, which in ((MOTION, 0), (SKELETON, 1)):
        for end in range(len(text)):
            parts = [MOTION, SKELETON]
            parts[which] = text[:end]
            try:
                clip = read(*parts)
            except FormatError as error:
                assert "\n" not in str(error)
            else:
                assert clip.frames <= 2
