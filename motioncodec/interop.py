"""Clips to what other tools of the field hold, and back: xarray as ``movement`` has it, Rerun.

``pip install 'motioncodec[movement]'`` and ``'motioncodec[rerun]'`` bring what these need.
"""

from __future__ import annotations

import json
from importlib import import_module
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from motioncodec.clip import Clip
from motioncodec.errors import ClipError, UsageError
from motioncodec.skeleton import Skeleton

if TYPE_CHECKING:
    import rerun
    import xarray

_AXES = ("x", "y", "z")
_DIMENSIONS = ("time", "space", "keypoints", "individuals")


def to_xarray(clip: Clip) -> xarray.Dataset:
    """A clip as a ``movement`` poses dataset.

    Returns:
        ``position`` (time, space, keypoints, individuals) and ``confidence`` (time, keypoints,
        individuals), NaN throughout for a clip that has none; coordinates in seconds and names;
        attributes ``fps``, ``time_unit``, ``source_software`` and ``ds_type`` as movement has them,
        and ``units``, ``up`` and ``metadata`` (JSON) for the way back.

    Raises:
        UsageError: xarray is not installed.
    """
    xr = _imported("xarray", "movement")
    position = clip.keypoints.transpose(0, 3, 2, 1)
    confidence = np.full((clip.frames, len(clip.skeleton), clip.persons), np.nan, np.float32)
    if clip.confidence is not None:
        confidence = clip.confidence.transpose(0, 2, 1)
    # movement wants names, and none of them twice.
    named = clip.people and len(set(clip.people)) == clip.persons
    return xr.Dataset(
        {
            "position": (_DIMENSIONS, position.copy()),
            "confidence": ((_DIMENSIONS[0], *_DIMENSIONS[2:]), confidence.copy()),
        },
        {
            "time": np.arange(clip.frames) / clip.frame_rate,
            "space": list(_AXES[: clip.dims]),
            "keypoints": list(clip.skeleton.joints),
            "individuals": list(clip.people) if named else _numbered(clip.persons),
        },
        {
            "source_software": "motioncodec",
            "ds_type": "poses",
            "fps": clip.frame_rate,
            "time_unit": "seconds",
            "units": clip.units,
            "up": clip.up,
            "metadata": json.dumps(clip.metadata, default=str),
        },
    )


def from_xarray(
    dataset: xarray.Dataset,
    *,
    frame_rate: float | None = None,
    units: str | None = None,
    up: str | None = None,
) -> Clip:
    """A ``movement`` poses dataset as a clip.

    Args:
        dataset: with ``position`` over time, space, keypoints and, for several, individuals, in any
            order; and ``confidence``, which counts as 1 where it is NaN and the joint is there, and
            is cut to 0 to 1.
        frame_rate: in place of the dataset's ``fps`` or times.
        units: of the positions; by default the dataset's, else ``px`` in 2D and ``m`` in 3D.
        up: axis that points up; by default the dataset's, else ``-y`` in pixels and ``y``.

    Raises:
        ClipError: it is no poses dataset, or nothing tells its frame rate.
    """
    if "position" not in dataset or not {"time", "space", "keypoints"} <= set(
        dataset["position"].dims
    ):
        raise ClipError(
            "dataset: expected position over time, space and keypoints, found "
            f"{', '.join(map(str, dataset.data_vars)) or 'nothing'}"
        )
    if "individuals" not in dataset.dims:
        dataset = dataset.expand_dims("individuals")
    dims = dataset.sizes["space"]
    if "space" in dataset.coords and dims in (2, 3):
        if set(dataset["space"].values) != set(_AXES[:dims]):
            raise ClipError(
                f"dataset: expected space to be {', '.join(_AXES[:dims])}, found "
                f"{', '.join(map(str, dataset['space'].values))}"
            )
        dataset = dataset.sel(space=list(_AXES[:dims]))
    position = dataset["position"].transpose("time", "individuals", "keypoints", "space").values
    confidence = None
    if "confidence" in dataset and not np.isnan(dataset["confidence"].values).all():
        found = dataset["confidence"].transpose("time", "individuals", "keypoints").values
        confidence = np.clip(np.nan_to_num(found, nan=1.0), 0, 1)
    people = _names(dataset, "individuals", "id_")
    units = units or dataset.attrs.get("units") or ("px" if dims == 2 else "m")
    return Clip(
        position,
        frame_rate or _frame_rate(dataset),
        Skeleton.from_names(_names(dataset, "keypoints", "keypoint_")),
        confidence,
        units,
        up or dataset.attrs.get("up") or ("-y" if units == "px" else "y"),
        () if list(people) == _numbered(len(people)) else people,
        json.loads(dataset.attrs.get("metadata") or "{}"),
    )


def _numbered(persons: int) -> list[str]:
    """What movement calls individuals that nobody named."""
    return [f"id_{i}" for i in range(persons)]


def _names(dataset: xarray.Dataset, dimension: str, prefix: str) -> tuple[str, ...]:
    if dimension in dataset.coords:
        return tuple(str(name) for name in np.atleast_1d(dataset[dimension].values))
    return tuple(f"{prefix}{i}" for i in range(dataset.sizes[dimension]))


def _frame_rate(dataset: xarray.Dataset) -> float:
    """By the attribute, else by the times where they are in seconds."""
    fps = dataset.attrs.get("fps")
    if fps:
        return float(fps)
    if dataset.attrs.get("time_unit") == "seconds" and dataset.sizes["time"] > 1:
        times = dataset["time"].values
        return float((len(times) - 1) / (times[-1] - times[0]))
    raise ClipError("dataset: expected fps or times in seconds, found neither; give frame_rate")


def log_to_rerun(
    clip: Clip,
    entity: str = "motion",
    *,
    recording: rerun.RecordingStream | None = None,
    timeline: str = "time",
) -> None:
    """Logs joints as points and bones as line strips, in the clip's units and axes.

    People are ``entity/0``, ``entity/1`` and so on, or as their ids name them, each with ``joints``
    and ``bones``; what is missing in a frame is not there.

    Args:
        clip: what to log.
        entity: path above all of it.
        recording: where to; the current one if None.
        timeline: name of the timeline, which gets the clip's seconds, beside ``frame``.

    Raises:
        UsageError: rerun-sdk is not installed.
    """
    rr = _imported("rerun", "rerun")
    points, strips = (
        (rr.Points3D, rr.LineStrips3D) if clip.dims == 3 else (rr.Points2D, rr.LineStrips2D)
    )
    times = [
        rr.TimeColumn(timeline, duration=np.arange(clip.frames) / clip.frame_rate),
        rr.TimeColumn("frame", sequence=np.arange(clip.frames)),
    ]
    if clip.dims == 3:
        way = "DOWN" if clip.up.startswith("-") else "UP"
        view = getattr(rr.ViewCoordinates, f"RIGHT_HAND_{clip.up[-1].upper()}_{way}")
        rr.log(entity, view, static=True, recording=recording)
    names = [rr.AnnotationInfo(i, label=joint) for i, joint in enumerate(clip.skeleton.joints)]
    about = rr.AnnotationContext(
        rr.ClassDescription(info=rr.AnnotationInfo(0), keypoint_annotations=names)
    )
    rr.log(entity, about, static=True, recording=recording)
    bones = np.array(clip.skeleton.bones, int).reshape(-1, 2)
    for person in range(clip.persons):
        name = clip.people[person] if clip.people else str(person)
        path = f"{entity}/{rr.escape_entity_path_part(name)}"
        where, there = clip.keypoints[:, person], ~clip.missing[:, person]
        joints = points.columns(
            positions=where[there],
            keypoint_ids=np.nonzero(there)[1].astype(np.uint16),
            class_ids=np.zeros(there.sum(), np.uint16),
        ).partition(there.sum(1))
        rr.send_columns(f"{path}/joints", times, joints, recording=recording)
        if len(bones):
            both = there[:, bones].all(-1)
            ends: NDArray[np.float32] = where[:, bones][both]
            lines = strips.columns(strips=list(ends)).partition(both.sum(1))
            rr.send_columns(f"{path}/bones", times, lines, recording=recording)


def _imported(package: str, extra: str) -> Any:
    """A package that an extra brings.

    Raises:
        UsageError: it is not installed.
    """
    try:
        return import_module(package)
    except ImportError:
        raise UsageError(
            f"expected {package} to be installed, found it is not; "
            f"pip install 'motioncodec[{extra}]'"
        ) from None


__all__ = ["from_xarray", "log_to_rerun", "to_xarray"]
