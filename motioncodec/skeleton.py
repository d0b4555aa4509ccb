"""Skeletons: named joints, how they map onto the joints that the models cover, permanent ids.

The models cover the 20 body joints of :data:`CANONICAL`. A skeleton maps onto them by the names of
its joints; a joint that maps onto none (a nose, a finger, a marker, a mouse's tail) is *uncovered*
and is coded beside the tokens.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import compress

from motioncodec.errors import ClipError

CANONICAL: tuple[str, ...] = (
    "pelvis", "spine", "chest", "neck", "head", "head_top",
    "left_shoulder", "left_elbow", "left_wrist", "right_shoulder", "right_elbow", "right_wrist",
    "left_hip", "left_knee", "left_ankle", "left_toe",
    "right_hip", "right_knee", "right_ankle", "right_toe",
)  # fmt: skip
"""The joints that the models cover, in the order of their heatmap channels."""

CANONICAL_PARENTS: tuple[int, ...] = (
    -1, 0, 1, 2, 3, 4, 2, 6, 7, 2, 9, 10, 0, 12, 13, 14, 0, 16, 17, 18,
)  # fmt: skip
"""Parent of each canonical joint; -1 for the pelvis."""

MIRROR: tuple[int, ...] = tuple(
    CANONICAL.index(
        name.replace("left", "right") if name.startswith("left") else name.replace("right", "left")
    )
    for name in CANONICAL
)
"""Canonical index of each joint's mirror image."""

# What a normalised name (lower case, letters and digits, left/right as a prefix) stands for. Names
# whose meaning depends on their neighbours, such as a BVH "LeftShoulder" (a collar bone where
# there is a "LeftArm" too), are settled in `_canonical_names`.
_SYNONYMS: dict[str, str] = {
    "pelvis": "pelvis", "hips": "pelvis", "hip": "pelvis", "root": "pelvis", "midhip": "pelvis",
    "hipcenter": "pelvis", "spinebase": "pelvis", "bodycenter": "pelvis",
    "spine": "spine", "spine1": "spine", "spinemid": "spine", "abdomen": "spine",
    "lowerback": "spine", "waist": "spine",
    "chest": "chest", "spine3": "chest", "spine2": "chest", "chest2": "chest",
    "upperchest": "chest",
    "spineshoulder": "chest", "spine02": "chest",
    "neck": "neck", "neck1": "neck", "upperneck": "neck", "thorax": "neck",
    "shouldercenter": "neck", "necktwist01": "neck",
    "head": "head",
    "headtop": "head_top", "headend": "head_top", "headsite": "head_top", "headendsite": "head_top",
    "headnub": "head_top",
    "leftshoulder": "left_shoulder", "leftarm": "left_shoulder", "leftupperarm": "left_shoulder",
    "leftuparm": "left_shoulder", "lefthumerus": "left_shoulder",
    "leftelbow": "left_elbow", "leftforearm": "left_elbow", "leftlowerarm": "left_elbow",
    "leftlowarm": "left_elbow", "leftradius": "left_elbow",
    "leftwrist": "left_wrist", "lefthand": "left_wrist",
    "lefthip": "left_hip", "leftupleg": "left_hip", "leftthigh": "left_hip",
    "leftupperleg": "left_hip", "leftfemur": "left_hip",
    "leftknee": "left_knee", "leftleg": "left_knee", "leftlowleg": "left_knee",
    "leftlowerleg": "left_knee", "leftcalf": "left_knee", "leftshin": "left_knee",
    "lefttibia": "left_knee",
    "leftankle": "left_ankle", "leftfoot": "left_ankle",
    "lefttoe": "left_toe", "lefttoebase": "left_toe", "lefttoes": "left_toe",
    "leftbigtoe": "left_toe", "leftfootindex": "left_toe",
}  # fmt: skip
for _name, _joint in list(_SYNONYMS.items()):
    if _name.startswith("left"):
        _SYNONYMS["right" + _name[4:]] = _joint.replace("left", "right")

# Exporters' prefixes that say nothing about the joint.
_EXPORTER_PREFIX = re.compile(
    r"^(mixamorig\d*[:_]|.*[:|]|CC_Base_|RL_|Bip\d+[ _]|Character\d*_)", re.IGNORECASE
)


def _normalise(name: str) -> str:
    """``"mixamorig:LeftUpLeg"``, ``"LUpLeg"``, ``"upleg_l"`` all become ``"leftupleg"``."""
    name = _EXPORTER_PREFIX.sub("", name.strip())
    side = ""
    if match := re.match(r"^(left|right)[ _.-]?(?=\w)", name, re.IGNORECASE):
        side, name = match[1].lower(), name[match.end() :]
    elif match := re.search(r"(?<=\w)[ _.-]?(left|right)$", name, re.IGNORECASE):
        side, name = match[1].lower(), name[: match.start()]
    elif match := re.match(r"^([LR])(?:[ _.-](?=\w)|(?=[A-Z]))", name):
        side, name = {"L": "left", "R": "right"}[match[1]], name[match.end() :]
    elif match := re.match(r"^([lr])(?:[ _.-](?=\w)|(?=[A-Z]))", name):
        side, name = {"l": "left", "r": "right"}[match[1]], name[match.end() :]
    elif match := re.search(r"[ _.-]([LRlr])$", name):
        side, name = {"l": "left", "r": "right"}[match[1].lower()], name[: match.start()]
    elif match := re.match(
        r"^([lr])(?=(hip|femur|tibia|foot|toes|humerus|radius|wrist|hand|knee|"
        r"ankle|shoulder|elbow|clavicle|thumb|fingers|eye|ear)$)",
        name,
    ):
        side, name = {"l": "left", "r": "right"}[match[1]], name[1:]
    return side + re.sub(r"[^a-z0-9]", "", name.lower())


def _canonical_names(joints: Sequence[str]) -> tuple[int, ...]:
    """Canonical index of each joint name, -1 where the models do not cover it."""
    names = [_normalise(name) for name in joints]
    have = set(names)
    out = [_SYNONYMS.get(name) for name in names]
    for i, name in enumerate(names):
        for side in ("left", "right"):
            # A collar bone's head is called a shoulder where an (upper) arm is named beside it.
            if name == side + "shoulder" and have & {
                side + "arm", side + "uparm", side + "upperarm", side + "humerus"
            }:  # fmt: skip
                out[i] = None
            # "LeftHip" beside "LeftUpLeg" is a mere offset joint; beside "LeftThigh" likewise.
            if name == side + "hip" and have & {side + "upleg", side + "thigh", side + "femur"}:
                out[i] = None
            # A hand, a foot: the wrist and the ankle themselves, unless those have names.
            if name == side + "hand" and side + "wrist" in have:
                out[i] = None
            if name == side + "foot" and side + "ankle" in have:
                out[i] = None if have & {side + "toe", side + "toebase"} else side + "_toe"
            # "LeftLeg" is the shin in BVH namings that have an upper leg.
            if name == side + "leg" and side + "knee" in have:
                out[i] = None
        # An ASF's bones go by the joint at which they begin: its thorax at the chest, two necks.
        if "lowerneck" in have and name in ("thorax", "lowerneck", "upperneck"):
            out[i] = {"thorax": "chest", "lowerneck": "neck"}.get(name)
    # Spines count upwards: the last one named is the chest, the first the spine.
    spines = [
        i
        for i, name in enumerate(names)
        if re.fullmatch(r"(lowerback|spine\d*|chest\d*|upperchest)", name)
    ]
    if len(spines) >= 2:
        for i in spines:
            out[i] = None
        out[spines[0]], out[spines[-1]] = "spine", "chest"
    elif spines and names[spines[0]] in ("spine2", "spine3"):
        out[spines[0]] = "chest"
    taken: set[str] = set()
    covered = []
    for joint in out:
        if joint is None or joint in taken:
            covered.append(-1)
        else:
            taken.add(joint)
            covered.append(CANONICAL.index(joint))
    return tuple(covered)


@dataclass(frozen=True)
class Skeleton:
    """Joint names in order, and which canonical joint each one is.

    Attributes:
        joints: name of each keypoint, in the order of a clip's K axis; unique, non-empty.
        name: of a registered skeleton, else ``"custom"``.
        id: permanent number that files carry; 0 for a custom skeleton, whose names travel instead.
        covered: for each joint its index in :data:`CANONICAL`, or -1 (found from the names if
            not given).
    """

    joints: tuple[str, ...]
    name: str = "custom"
    id: int = 0
    covered: tuple[int, ...] = field(default=())

    def __post_init__(self) -> None:
        # Names travel one a line.
        joints = tuple(" ".join(str(name).splitlines()) for name in self.joints)
        object.__setattr__(self, "joints", joints)
        if not self.joints:
            raise ClipError("skeleton: expected at least one joint, found none")
        if len(set(self.joints)) != len(self.joints):
            twice = Counter(self.joints).most_common(1)[0][0]
            raise ClipError(f"skeleton: expected unique joint names, found {twice!r} twice")
        if not self.covered:
            object.__setattr__(self, "covered", _canonical_names(self.joints))
        if len(self.covered) != len(self.joints):
            raise ClipError(
                f"skeleton: expected {len(self.joints)} canonical indices, "
                f"found {len(self.covered)}"
            )

    def __len__(self) -> int:
        return len(self.joints)

    def without(self, left_out: int) -> Skeleton:
        """This skeleton less the joints j whose bit 2^j is set; itself if none is.

        Raises:
            ClipError: that leaves none, or leaves out what there is not.
        """
        if not left_out:
            return self
        kept = [j for j in range(len(self)) if not left_out >> j & 1]
        if not kept or left_out >> len(self):
            raise ClipError(
                f"skeleton {self.name}: expected some of {len(self)} joints to be left out, "
                f"found {left_out:#x}"
            )
        return Skeleton(
            tuple(self.joints[j] for j in kept), covered=tuple(self.covered[j] for j in kept)
        )

    @property
    def part_of(self) -> tuple[int, int]:
        """Id of the registered skeleton that this one is, and 0; or of the smallest of which it is
        a part, joints in the same order, and the bits of those that it lacks; or 0 and 0."""
        if self.id:
            return self.id, 0
        own = list(zip(self.joints, self.covered))
        for whole in sorted(REGISTRY, key=len):
            kept = [name in self.joints for name in whole.joints]
            if own == list(compress(zip(whole.joints, whole.covered), kept)):
                return whole.id, sum(1 << j for j, there in enumerate(kept) if not there)
        return 0, 0

    @classmethod
    def from_names(cls, joints: Sequence[str]) -> Skeleton:
        """The registered skeleton with exactly these joints in this order, else a custom one."""
        names = tuple(str(name) for name in joints)
        for skeleton in REGISTRY:
            if skeleton.joints == names:
                return skeleton
        return cls(names)

    @property
    def bones(self) -> tuple[tuple[int, int], ...]:
        """(child, parent) joint indices along the canonical tree, absent joints bridged."""
        at = {canonical: i for i, canonical in enumerate(self.covered) if canonical >= 0}
        bones = []
        for canonical, i in at.items():
            parent = CANONICAL_PARENTS[canonical]
            while parent >= 0 and parent not in at:
                parent = CANONICAL_PARENTS[parent]
            if parent >= 0:
                bones.append((i, at[parent]))
        return tuple(bones)


def _registered(number: int, name: str, joints: str, **renamed: str) -> Skeleton:
    names = tuple(joints.split())
    covered = list(_canonical_names(names))
    for joint, canonical in renamed.items():
        covered[names.index(joint)] = CANONICAL.index(canonical) if canonical else -1
    return Skeleton(names, name, number, tuple(covered))


# Ids are permanent: files carry them. Append, never renumber, never reorder joints.
REGISTRY: tuple[Skeleton, ...] = (
    Skeleton(CANONICAL, "canonical-20", 1, tuple(range(20))),
    _registered(
        2, "panoptic-19",
        "neck nose pelvis left_shoulder left_elbow left_wrist left_hip left_knee left_ankle "
        "right_shoulder right_elbow right_wrist right_hip right_knee right_ankle "
        "left_eye left_ear right_eye right_ear",
    ),
    _registered(
        3, "coco-17",
        "nose left_eye right_eye left_ear right_ear left_shoulder right_shoulder left_elbow "
        "right_elbow left_wrist right_wrist left_hip right_hip left_knee right_knee "
        "left_ankle right_ankle",
    ),
    _registered(
        4, "body-25",
        "Nose Neck RShoulder RElbow RWrist LShoulder LElbow LWrist MidHip RHip RKnee RAnkle "
        "LHip LKnee LAnkle REye LEye REar LEar LBigToe LSmallToe LHeel RBigToe RSmallToe RHeel",
    ),
    _registered(
        5, "body-25b",
        "Nose LEye REye LEar REar LShoulder RShoulder LElbow RElbow LWrist RWrist LHip RHip "
        "LKnee RKnee LAnkle RAnkle UpperNeck HeadTop LBigToe LSmallToe LHeel RBigToe RSmallToe "
        "RHeel",
    ),
    _registered(
        6, "h36m-17",
        "Hip RHip RKnee RFoot LHip LKnee LFoot Spine Thorax Nose Head LShoulder LElbow LWrist "
        "RShoulder RElbow RWrist",
        # Human3.6M's "Nose" sits in the middle of the head and its "Head" on top.
        Nose="head", Head="head_top",
    ),
    _registered(
        7, "smpl-22",
        "pelvis left_hip right_hip spine1 left_knee right_knee spine2 left_ankle right_ankle "
        "spine3 left_foot right_foot neck left_collar right_collar head left_shoulder "
        "right_shoulder left_elbow right_elbow left_wrist right_wrist",
    ),
    _registered(
        8, "smpl-24",
        "pelvis left_hip right_hip spine1 left_knee right_knee spine2 left_ankle right_ankle "
        "spine3 left_foot right_foot neck left_collar right_collar head left_shoulder "
        "right_shoulder left_elbow right_elbow left_wrist right_wrist left_hand right_hand",
    ),
    _registered(
        9, "mediapipe-33",
        "nose left_eye_inner left_eye left_eye_outer right_eye_inner right_eye right_eye_outer "
        "left_ear right_ear mouth_left mouth_right left_shoulder right_shoulder left_elbow "
        "right_elbow left_wrist right_wrist left_pinky right_pinky left_index right_index "
        "left_thumb right_thumb left_hip right_hip left_knee right_knee left_ankle right_ankle "
        "left_heel right_heel left_foot_index right_foot_index",
    ),
    _registered(
        10, "kinect-20",
        "HipCenter Spine ShoulderCenter Head ShoulderLeft ElbowLeft WristLeft HandLeft "
        "ShoulderRight ElbowRight WristRight HandRight HipLeft KneeLeft AnkleLeft FootLeft "
        "HipRight KneeRight AnkleRight FootRight",
    ),
    _registered(
        11, "kinect-25",
        "SpineBase SpineMid Neck Head ShoulderLeft ElbowLeft WristLeft HandLeft ShoulderRight "
        "ElbowRight WristRight HandRight HipLeft KneeLeft AnkleLeft FootLeft HipRight KneeRight "
        "AnkleRight FootRight SpineShoulder HandTipLeft ThumbLeft HandTipRight ThumbRight",
    ),
)  # fmt: skip


def find_skeleton(key: str | int) -> Skeleton:
    """A registered skeleton by name or permanent id.

    Raises:
        ClipError: there is none of that name or id.
    """
    for skeleton in REGISTRY:
        if key in (skeleton.name, skeleton.id):
            return skeleton
    known = ", ".join(skeleton.name for skeleton in REGISTRY)
    raise ClipError(f"skeleton {key!r}: expected one of {known}")
