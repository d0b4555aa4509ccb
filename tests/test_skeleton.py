"""Names to canonical joints: registered skeletons, and the namings of real files."""

from __future__ import annotations

from pathlib import Path

import pytest

from motioncodec.errors import ClipError
from motioncodec.io import read_clip
from motioncodec.skeleton import CANONICAL, MIRROR, REGISTRY, Skeleton, find_skeleton

DATA = Path(__file__).parent / "data"
LIMBS = [f"{side}_{part}" for side in ("left", "right")
         for part in ("shoulder", "elbow", "wrist", "hip", "knee", "ankle")]  # fmt: skip


def mapping(skeleton: Skeleton) -> dict[str, str]:
    return {CANONICAL[c]: j for j, c in zip(skeleton.joints, skeleton.covered) if c >= 0}


def test_ids_are_permanent() -> None:
    """Files carry these numbers: a change here breaks every file of that skeleton."""
    assert [(s.id, s.name, len(s)) for s in REGISTRY] == [
        (1, "canonical-20", 20), (2, "panoptic-19", 19), (3, "coco-17", 17), (4, "body-25", 25),
        (5, "body-25b", 25), (6, "h36m-17", 17), (7, "smpl-22", 22), (8, "smpl-24", 24),
        (9, "mediapipe-33", 33), (10, "kinect-20", 20), (11, "kinect-25", 25),
    ]  # fmt: skip


@pytest.mark.parametrize("skeleton", REGISTRY, ids=lambda s: s.name)
def test_registered_skeletons_cover_both_arms_and_legs(skeleton: Skeleton) -> None:
    found = mapping(skeleton)
    assert set(LIMBS) <= set(found)
    for canonical, joint in found.items():
        if canonical.startswith(("left", "right")):
            side = canonical.split("_")[0]
            assert joint.lower().startswith((side, side[0])) or joint.lower().endswith(side)


def test_what_is_not_a_body_joint_is_uncovered() -> None:
    coco = find_skeleton("coco-17")
    assert [j for j, c in zip(coco.joints, coco.covered) if c < 0] == [
        "nose", "left_eye", "right_eye", "left_ear", "right_ear",
    ]  # fmt: skip
    body = mapping(find_skeleton("body-25"))
    assert (body["pelvis"], body["left_toe"]) == ("MidHip", "LBigToe")
    assert mapping(find_skeleton("h36m-17"))["head_top"] == "Head"
    assert mapping(find_skeleton("smpl-22"))["left_toe"] == "left_foot"


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        (
            "cmu_12_01_walk",
            {"left_shoulder": "LeftArm", "left_hip": "LeftUpLeg", "head_top": "Head_end"},
        ),
        (
            "cgspeed_02_01",
            {"right_wrist": "RightHand", "right_knee": "RightLeg", "spine": "LowerBack"},
        ),
        ("iclone_002_02", {"pelvis": "CC_Base_Hip", "left_elbow": "CC_Base_L_Forearm"}),
        ("test_freebvh", {"left_shoulder": "mixamorig:LeftArm", "chest": "mixamorig:Spine2"}),
    ],
)
def test_real_bvh_namings(name: str, expected: dict[str, str]) -> None:
    found = mapping(read_clip(DATA / "bvh" / f"{name}.bvh").skeleton)
    assert set(LIMBS) <= set(found)
    assert expected.items() <= found.items()


def test_a_collar_bone_is_no_shoulder_but_a_lone_shoulder_is() -> None:
    both = Skeleton(("Hips", "LeftShoulder", "LeftArm", "LeftForeArm"))
    assert mapping(both)["left_shoulder"] == "LeftArm"
    assert (
        mapping(Skeleton(("hip", "LeftShoulder", "LeftElbow")))["left_shoulder"] == "LeftShoulder"
    )


@pytest.mark.parametrize(
    "name", ["LUpLeg", "l_upleg", "upleg_l", "UpLegLeft", "left up-leg", "LeftUpLeg"]
)
def test_spellings_of_one_joint(name: str) -> None:
    assert mapping(Skeleton((name,))) == {"left_hip": name}


def test_animals_and_markers_map_to_nothing() -> None:
    skeleton = Skeleton(("snout", "tail_base", "LFHD", "T10", "marker_7"))
    assert set(skeleton.covered) == {-1}


def test_no_canonical_joint_is_claimed_twice() -> None:
    covered = Skeleton(("Hips", "pelvis", "root", "Spine", "Spine1", "Spine2", "Chest")).covered
    used = [c for c in covered if c >= 0]
    assert len(used) == len(set(used))


def test_mirror_swaps_sides_and_is_its_own_inverse() -> None:
    assert [MIRROR[m] for m in MIRROR] == list(range(20))
    assert CANONICAL[MIRROR[CANONICAL.index("left_knee")]] == "right_knee"


def test_bones_bridge_absent_joints() -> None:
    coco = find_skeleton("coco-17")
    bones = {(coco.joints[a], coco.joints[b]) for a, b in coco.bones}
    assert ("left_wrist", "left_elbow") in bones
    assert len(bones) == 8  # no pelvis, so nothing joins the limbs


def test_a_part_is_named_by_what_it_lacks() -> None:
    whole = find_skeleton("canonical-20")
    part = Skeleton.from_names([name for name in whole.joints if name not in ("chest", "head_top")])
    assert part.part_of == (1, (1 << 2) + (1 << 5))
    assert whole.without(part.part_of[1]) == part
    assert whole.part_of == (1, 0)
    assert whole.without(0) is whole
    # The smallest of which it is one: these are in SMPL's 22 and its 24.
    legs = find_skeleton("smpl-24").without((1 << 24) - 1 - 0b110110111)
    assert legs.part_of[0] == 7
    assert find_skeleton(7).without(legs.part_of[1]) == legs


def test_what_is_no_part_keeps_its_names() -> None:
    joints = find_skeleton("canonical-20").joints
    assert Skeleton(joints[::-1]).part_of == (0, 0)
    assert Skeleton(("tail", *joints)).part_of == (0, 0)
    # Covered otherwise than there.
    assert Skeleton(joints[:3], covered=(0, 2, 1)).part_of == (0, 0)


@pytest.mark.parametrize("left_out", [(1 << 20) - 1, 1 << 20, -1])
def test_not_all_can_be_left_out_nor_what_is_not_there(left_out: int) -> None:
    with pytest.raises(ClipError, match="20 joints"):
        find_skeleton(1).without(left_out)


def test_errors_say_what_was_found() -> None:
    with pytest.raises(ClipError, match="'a' twice"):
        Skeleton(("a", "a"))
    with pytest.raises(ClipError, match="found none"):
        Skeleton(())
    with pytest.raises(ClipError, match="coco-17"):
        find_skeleton("coco")
