"""HDF5 of animal trackers: DeepLabCut's tables and SLEAP's analyses; ``.slp`` projects too.

- *DeepLabCut* ``.h5``: what pandas writes of a table with the columns of the CSV (scorer,
  individuals, bodyparts, coords), in its ``table`` or its ``fixed`` form; the clip is the CSV's.
  Column names stand in the file as a pickle. It is unpickled by a reader that knows lists, tuples,
  text and numbers and refuses every class and function, so nothing in it can run.
- *SLEAP* ``.analysis.h5``: ``tracks`` (P, D, K, T) with ``node_names``, ``track_names`` and
  ``point_scores`` (P, K, T).
- *SLEAP* ``.slp``: by the package sleap-io; untracked instances are followed by position.

The library below, libhdf5, is C and crashes on some damaged files. So a file is read in a process
of its own (some 0.2 s), and such a crash is an error like any other.

All are in pixels without a frame rate: the caller gives one. Links and data outside the file are
not followed.
"""

from __future__ import annotations

import io
import json
import os
import pickle
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from motioncodec.clip import Clip
from motioncodec.errors import FormatError, MotionCodecError
from motioncodec.io.npy import read_npz, write_npz
from motioncodec.io.people import follow_positions
from motioncodec.io.source import Source, short

_CLIP, _ERROR = b"+", b"-"
MAGIC = b"\x89HDF\r\n\x1a\n"
_MAX_NAMES = 2**22


def read_hdf5(source: Source) -> Clip:
    """A clip of whichever tracker wrote the file."""
    data = source.read_bytes()
    source.package("h5py", "hdf5", "HDF5 files")
    said = {
        "name": source.name, "frame_rate": source.frame_rate, "skeleton": source.skeleton,
        "units": source.units, "up": source.up,
    }  # fmt: skip
    done = subprocess.run(
        [sys.executable, "-c", f"from {__name__} import answer; answer()"],
        input=json.dumps(said).encode() + b"\n" + data,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
    )
    kind, told = done.stdout[:1], done.stdout[1:]
    if kind == _CLIP and done.returncode == 0:
        return read_npz(Source(source.name, io.BytesIO(told)))
    if kind == _ERROR and done.returncode == 0:
        raise FormatError(told.decode())
    raise source.error(
        "expected an HDF5 file of DeepLabCut or SLEAP, found damage that its library crashes on"
    )


def answer() -> None:
    """The other process: reads what :func:`read_hdf5` writes, and writes a clip or an error."""
    stdin, stdout = sys.stdin.buffer, sys.stdout.buffer
    said = json.loads(stdin.readline())
    name = said.pop("name")
    try:
        clip = _read(Source(name, io.BytesIO(stdin.read()), **said))
    except MotionCodecError as error:
        stdout.write(_ERROR + str(error).encode("utf-8", "replace"))
    else:
        stdout.write(_CLIP)
        write_npz(clip, stdout)
    stdout.flush()
    # Without the library's own cleaning up, which may crash after all went well.
    os._exit(0)


def _read(source: Source) -> Clip:
    h5py = source.package("h5py", "hdf5", "HDF5 files")
    try:
        with np.errstate(all="ignore"), h5py.File(source.opened(), "r") as file:
            clip = _read_file(source, h5py, file)
            if clip is not None:
                return clip
        with np.errstate(all="ignore"):
            return _read_slp(source)
    except MotionCodecError:
        raise
    # A damaged file makes the packages raise almost anything.
    except Exception as error:
        raise source.error(
            f"expected an HDF5 file of DeepLabCut or SLEAP, found damaged data "
            f"({short(str(error), 60)})"
        ) from None


def _read_file(source: Source, h5py: Any, file: Any) -> Clip | None:
    """The clip; None where it is a SLEAP project."""
    if "tracks" in file and "node_names" in file:
        return _read_analysis(source, h5py, file)
    for key in file:
        group = _inside(source, h5py, file, key)
        if isinstance(group, h5py.Group) and "pandas_type" in group.attrs:
            return _read_deeplabcut(source, h5py, group)
    if "pred_points" in file and "metadata" in file:
        return None
    raise source.error(
        "expected a DeepLabCut table or a SLEAP analysis or project, found "
        f"{short(', '.join(file) or 'nothing', 60)}"
    )


def _inside(source: Source, h5py: Any, group: Any, key: str) -> Any:
    """What a group holds under a key, unless it lies in another file."""
    if not isinstance(group.get(key, getlink=True), h5py.HardLink):
        raise source.error(f"{short(key)}: expected data in the file, found a link or nothing")
    return group[key]


def _array(source: Source, h5py: Any, group: Any, key: str) -> NDArray[Any]:
    """A whole dataset of the file itself, its size checked before it is read."""
    data = _inside(source, h5py, group, key)
    if not isinstance(data, h5py.Dataset) or data.is_virtual or data.external:
        raise source.error(f"{short(key)}: expected an array in the file, found something else")
    width = max(1, data.dtype.itemsize // 8)
    source.check_size(int(data.size or 0), 1, 1, width)
    return np.asarray(data[()])


def _texts(values: NDArray[Any]) -> list[str]:
    return [v.decode("utf-8", "replace") if isinstance(v, bytes) else str(v) for v in values.flat]


def _read_analysis(source: Source, h5py: Any, file: Any) -> Clip:
    tracks = _array(source, h5py, file, "tracks")
    if tracks.ndim != 4 or tracks.dtype.kind != "f":
        raise source.error(f"tracks: expected numbers (P, D, K, T), found shape {tracks.shape}")
    keypoints = tracks.transpose(3, 0, 2, 1)
    confidence = None
    if "point_scores" in file:
        scores = _array(source, h5py, file, "point_scores").transpose(2, 0, 1)
        if scores.shape != keypoints.shape[:3]:
            raise source.error(f"point_scores: expected (P, K, T), found {scores.shape[::-1]}")
        confidence = np.clip(np.nan_to_num(scores), 0, 1)
    people = _texts(_array(source, h5py, file, "track_names")) if "track_names" in file else []
    return _pixels(
        source, keypoints, _texts(_array(source, h5py, file, "node_names")), confidence,
        people if len(people) == keypoints.shape[1] else [],
    )  # fmt: skip


def _pixels(
    source: Source,
    keypoints: NDArray[Any],
    joints: list[str],
    confidence: NDArray[Any] | None,
    people: list[str],
) -> Clip:
    if len(joints) != keypoints.shape[2] or keypoints.shape[3] not in (2, 3):
        raise source.error(
            f"expected {keypoints.shape[2]} names and two or three axes, found {len(joints)} and "
            f"{keypoints.shape[3]}"
        )
    three = keypoints.shape[3] == 3
    return source.clip(
        keypoints, joints=joints, confidence=confidence, people=people,
        units="m" if three else "px",
    )  # fmt: skip


class _PlainUnpickler(pickle.Unpickler):
    """Lists, tuples, dicts, text and numbers; no class and no function at all."""

    def find_class(self, module: str, name: str) -> Any:
        raise pickle.UnpicklingError(f"{module}.{name} is not allowed")


def _columns(source: Source, data: Any) -> list[tuple[str, ...]]:
    """Column names, a tuple each, of a pickled list of tuples of text."""
    raw = bytes(data)
    if len(raw) > _MAX_NAMES:
        raise source.error(f"expected at most {_MAX_NAMES} bytes of names, found {len(raw)}")
    try:
        listed = _PlainUnpickler(io.BytesIO(raw), encoding="utf-8").load()
        columns = [tuple(str(part) for part in column) for column in listed]
    except Exception as error:
        raise source.error(
            f"expected column names, found another pickle ({short(str(error), 60)}), which is "
            "never loaded; save the table as CSV"
        ) from None
    return columns


def _read_deeplabcut(source: Source, h5py: Any, group: Any) -> Clip:
    columns: list[tuple[str, ...]] = []
    blocks: list[NDArray[Any]] = []
    if "table" in group:
        table = _inside(source, h5py, group, "table")
        rows = _array(source, h5py, group, "table")
        for name in rows.dtype.names or ():
            if name.startswith("values_block_"):
                columns += _columns(source, table.attrs[f"{name}_kind"])
                blocks.append(rows[name].reshape(len(rows), -1))
    else:
        for i in range(int(group.attrs["nblocks"])):
            levels = [
                np.array(_texts(_array(source, h5py, group, f"block{i}_items_level{level}")))[
                    _array(source, h5py, group, f"block{i}_items_label{level}")
                ]
                for level in range(int(group.attrs[f"block{i}_items_nlevels"]))
            ]
            columns += [tuple(map(str, column)) for column in zip(*levels, strict=True)]
            blocks.append(_array(source, h5py, group, f"block{i}_values"))
    values = np.concatenate(blocks, axis=1)
    if len(columns) != values.shape[1] or not {len(column) for column in columns} <= {3, 4}:
        raise source.error(
            f"expected columns of scorer, bodyparts and coords for {values.shape[1]} values, found "
            f"{len(columns)}"
        )
    return _placed(source, columns, values)


def _placed(source: Source, columns: list[tuple[str, ...]], values: NDArray[Any]) -> Clip:
    """The clip of a table (T, C) and its columns (scorer, [individual,] bodypart, coord)."""
    people = list(dict.fromkeys(column[1] for column in columns if len(column) == 4))
    joints = list(dict.fromkeys(column[-2] for column in columns))
    axes = ["x", "y", "z"] if any(column[-1] == "z" for column in columns) else ["x", "y"]
    fields = [*axes, "likelihood"]
    persons = max(len(people), 1)
    source.check_size(len(values), persons, len(joints), len(fields))
    placed = np.full((len(values), persons, len(joints), len(fields)), np.nan, dtype=np.float32)
    for i, column in enumerate(columns):
        if column[-1] in fields:
            person = people.index(column[1]) if len(column) == 4 else 0
            joint, axis = joints.index(column[-2]), fields.index(column[-1])
            placed[:, person, joint, axis] = values[:, i]
    confidence = None
    if any(column[-1] == "likelihood" for column in columns):
        # A position without a stated confidence is taken at its word.
        likelihood = placed[..., -1]
        confidence = np.clip(np.where(np.isnan(likelihood), 1, likelihood), 0, 1)
    return _pixels(source, placed[..., :-1], joints, confidence, people if len(people) > 1 else [])


def _read_slp(source: Source) -> Clip:
    sleap = source.package("sleap-io", "sleap", "SLEAP projects")
    file = source.opened()
    file.seek(0)
    with tempfile.TemporaryDirectory() as folder:
        # The package wants a path.
        path = Path(folder) / "project.slp"
        path.write_bytes(source.read_bytes())
        labels = sleap.load_slp(str(path), open_videos=False)
        video = labels.videos[0] if labels.videos else None
        frames = [frame for frame in labels.labeled_frames if frame.video is video]
        if len({id(frame.video) for frame in labels.labeled_frames}) > 1:
            raise source.error("expected one video in the project, found several; split it")
        joints = list(labels.skeleton.node_names)
        points = [[np.asarray(one.numpy(scores=True)) for one in f.instances] for f in frames]
        tracks = [[one.track for one in frame.instances] for frame in frames]
        numbers = [int(frame.frame_idx) for frame in frames]
    known = list({id(t): t for row in tracks for t in row if t is not None}.values())
    if known and all(t is not None for row in tracks for t in row):
        slots = [[known.index(track) for track in row] for row in tracks]
        count, people = len(known), [str(track.name) for track in known]
    else:
        slots, count = follow_positions([[one[:, :-1] for one in row] for row in points])
        people = []
    total, index = source.place_frames(numbers)
    source.check_size(total, count, len(joints), 3)
    values = np.full((total, count, len(joints), 3), np.nan, dtype=np.float32)
    for frame, row, places in zip(index.tolist(), points, slots, strict=True):
        for one, slot in zip(row, places, strict=True):
            if slot >= 0:
                values[frame, slot] = one
    scores = np.clip(np.nan_to_num(values[..., 2], nan=1.0), 0, 1)
    return _pixels(source, values[..., :2], joints, scores, people)
