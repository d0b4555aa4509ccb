"""The one in-memory type: a validated clip of keypoints."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from motioncodec.errors import ClipError
from motioncodec.skeleton import Skeleton

Float32 = NDArray[np.float32]

METRES: dict[str, float] = {"m": 1.0, "cm": 0.01, "mm": 0.001}
UNITS: tuple[str, ...] = ("m", "cm", "mm", "px")
UP_AXES: tuple[str, ...] = ("x", "y", "z", "-x", "-y", "-z")


def error_scale(units: str) -> float:
    """Millimetres in a unit of length, or 1 for pixels: what errors are told in."""
    return 1.0 if units == "px" else 1000.0 * METRES[units]


def _settled(values: Any) -> Float32:
    """Float32 that nobody can change any more: a copy, unless nobody could before, for a long
    clip's arrays are most of the memory that it takes."""
    array: Float32 = np.asarray(values, dtype=np.float32)
    base = array.base
    fixed = base is None or (isinstance(base, np.ndarray) and not base.flags.writeable)
    fresh = array is not values and base is None
    if not fresh and not (array is values and fixed and not array.flags.writeable):
        array = array.copy()
    array.flags.writeable = False
    return array


@dataclass(frozen=True, eq=False)
class Clip:
    """Keypoints of one or several people over time.

    Attributes:
        keypoints: (T, P, K, D) float32: frames, people, joints, coordinates (D is 2 or 3), in
            ``units``, in world (3D) or image (2D) coordinates. A missing joint is NaN in all
            D coordinates; a person absent from a frame has all joints missing.
        frame_rate: frames per second, above 0, at most 100,000.
        skeleton: names the K joints.
        confidence: (T, P, K) float32 from 0 to 1, 0 where the joint is missing; or None.
        units: ``m``, ``cm``, ``mm`` or ``px``.
        up: the axis that points up: ``x``, ``y``, ``z``, or one of them with a minus.
        people: an id for each person as the source names them, or empty.
        metadata: free-form strings and numbers that travel with the clip.
    """

    keypoints: Float32
    frame_rate: float
    skeleton: Skeleton
    confidence: Float32 | None = None
    units: str = "m"
    up: str = "y"
    people: tuple[str, ...] = ()
    metadata: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        keypoints = _settled(self.keypoints)
        if keypoints.ndim == 3:
            keypoints = keypoints[:, None]
        if keypoints.ndim != 4 or keypoints.shape[3] not in (2, 3):
            raise ClipError(
                "keypoints: expected shape (T, K, D) or (T, P, K, D) with D 2 or 3, "
                f"found {np.shape(self.keypoints)}"
            )
        frames, persons, joints, _ = keypoints.shape
        if joints != len(self.skeleton):
            raise ClipError(
                f"keypoints: expected {len(self.skeleton)} joints as in skeleton "
                f"{self.skeleton.name!r}, found {joints}"
            )
        if np.isinf(keypoints).any():
            frame, person, joint = (int(i) for i in np.argwhere(np.isinf(keypoints))[0][:3])
            raise ClipError(
                f"keypoints: expected finite numbers or NaN, found infinity at frame {frame}, "
                f"person {person}, joint {self.skeleton.joints[joint]}"
            )
        absent = np.isnan(keypoints)
        if (absent != absent[..., :1]).any():  # some are there in part
            keypoints = keypoints.copy()
            keypoints[absent.any(axis=-1)] = np.nan
            keypoints.flags.writeable = False
        object.__setattr__(self, "keypoints", keypoints)
        rate = float(self.frame_rate)
        if not 0 < rate <= 100_000:
            raise ClipError(f"frame rate: expected above 0 and at most 100000, found {rate:g}")
        object.__setattr__(self, "frame_rate", rate)
        if self.units not in UNITS:
            raise ClipError(f"units: expected one of {', '.join(UNITS)}, found {self.units!r}")
        if self.up not in UP_AXES:
            raise ClipError(f"up axis: expected one of {', '.join(UP_AXES)}, found {self.up!r}")
        if self.confidence is not None:
            confidence = np.array(self.confidence, dtype=np.float32)
            if confidence.ndim == 2 and persons == 1:
                confidence = confidence[:, None]
            if confidence.shape != (frames, persons, joints):
                raise ClipError(
                    f"confidence: expected shape {(frames, persons, joints)}, "
                    f"found {np.shape(self.confidence)}"
                )
            confidence = np.where(np.isnan(keypoints[..., 0]), np.float32(0), confidence)
            if (
                np.isnan(confidence).any()
                or confidence.min(initial=0) < 0
                or confidence.max(initial=0) > 1
            ):
                raise ClipError("confidence: expected numbers from 0 to 1 at every present joint")
            confidence.flags.writeable = False
            object.__setattr__(self, "confidence", confidence)
        people = tuple(str(person) for person in self.people)
        if people and len(people) != persons:
            raise ClipError(f"people: expected {persons} ids, found {len(people)}")
        object.__setattr__(self, "people", people)

    @property
    def frames(self) -> int:
        """Number of frames, T."""
        return int(self.keypoints.shape[0])

    @property
    def persons(self) -> int:
        """Number of people, P."""
        return int(self.keypoints.shape[1])

    @property
    def dims(self) -> int:
        """Coordinates of a keypoint, D: 2 or 3."""
        return int(self.keypoints.shape[3])

    @property
    def duration(self) -> float:
        """Seconds that the frames fill: T / frame rate."""
        return self.frames / self.frame_rate

    @property
    def missing(self) -> NDArray[np.bool_]:
        """(T, P, K): True where a joint is missing."""
        missing: NDArray[np.bool_] = np.isnan(self.keypoints[..., 0])
        return missing

    def window(self, start: int, stop: int) -> Clip:
        """Frames ``start`` to ``stop`` (exclusive) as a clip of their own."""
        confidence = None if self.confidence is None else self.confidence[start:stop]
        return replace(self, keypoints=self.keypoints[start:stop], confidence=confidence)
