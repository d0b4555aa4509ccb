"""TRC: the marker tables of Motion Analysis and OpenSim.

Five lines come first: ``PathFileType``; names of properties; their values (DataRate, NumFrames,
NumMarkers, Units and others); ``Frame#``, ``Time`` and the markers' names, one for three columns;
``X1 Y1 Z1 X2 ...``. Then every row is a frame: its number, its time in seconds, the coordinates.
Fields are parted by tabs, an empty one is missing; in files that have spaces instead, nothing can
be left empty. A decimal comma is understood. Frame numbers left out are frames in which everything
is missing. Names beyond NumMarkers whose columns are empty to the end (computed markers that
were not exported) are no markers. Units are millimetres where the file names none, up is y, as
OpenSim has it.

Written are float32's shortest digits. Several people are labels ``person:joint`` (see
:mod:`motioncodec.io.markers`); confidence, metadata and the up axis are not written.
"""

from __future__ import annotations

import math
import re
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from motioncodec.clip import Clip
from motioncodec.io.markers import split_subjects, subject_labels, unique_names, units_in_words
from motioncodec.io.source import Source, rate_of, short
from motioncodec.io.tables import number_texts

_MISSING = frozenset({"", "nan", "na", "null"})
_ROWS_AT_ONCE = 4096


def read_trc(source: Source) -> Clip:
    """All markers, (T, P, K, 3), in file units."""
    lines = source.read_text().splitlines()
    while lines and not lines[0].strip():
        lines.pop(0)
    if len(lines) < 4 or not lines[0].lstrip().lower().startswith("pathfiletype"):
        raise source.error(
            f"expected a TRC that starts with PathFileType and three more lines, found "
            f"{short(lines[0] if lines else '')}; export it again"
        )
    if "(x/y)" in lines[0].lower():
        raise source.error("expected coordinates (X/Y/Z), found (X/Y); export them in 3D")
    tabs = "\t" in lines[3]
    said = dict(zip(map(str.lower, _fields(lines[1])), _fields(lines[2])))
    labels = _labels(source, lines[3])
    numbers, times, values = _rows(source, lines[4:], len(labels), tabs)
    stated = said.get("nummarkers", "")
    if stated.isdecimal() and np.isnan(values[:, int(stated[:9]) :]).all():
        labels = labels[: int(stated[:9])]
        values = values[:, : len(labels)]
    count, index = source.place_frames(numbers)
    if len(np.unique(index)) != len(index):
        raise source.error("expected every frame number once, found one twice")
    _check_frames(source, said.get("numframes", ""), len(numbers), count)
    people, joints, order = split_subjects(labels)
    source.check_size(count, 1, len(labels), 3)
    placed = np.full((count, len(labels), 3), np.nan, dtype=np.float32)
    placed[index] = values
    return source.clip(
        placed[:, order],
        joints=joints,
        frame_rate=_rate(source, said, times),
        units=units_in_words(source, said.get("units", "")) or "mm",
        up="y",
        people=people,
    )


def _fields(line: str) -> list[str]:
    return [cell.strip() for cell in line.split("\t")] if "\t" in line else line.split()


def _labels(source: Source, line: str) -> list[str]:
    """Markers' names: every third field from the third on, or all, where none is left empty."""
    cells = _fields(line)
    while cells and not cells[-1]:
        cells.pop()
    if len(cells) < 2 or not cells[0].lower().startswith("frame"):
        raise source.error(f"expected a line Frame#, Time and names, found {short(line)}")
    third, all_there = cells[2::3], [cell for cell in cells[2:] if cell]
    named = third if len([name for name in third if name]) == len(all_there) else all_there
    return unique_names([" ".join(name.split()) for name in named], "marker")


def _rows(
    source: Source, lines: list[str], joints: int, tabs: bool
) -> tuple[list[int], list[float], NDArray[np.float32]]:
    """Frame numbers, times and values (R, K, 3) of the rows below the names."""
    if lines and re.match(r"\s*x1\b", lines[0], re.IGNORECASE):
        lines = lines[1:]
    rows = [line for line in lines if line.strip()]
    width = 2 + 3 * joints
    source.check_size(len(rows), 1, joints, 3)
    numbers, times = [], []
    values = np.full((len(rows), 3 * joints), np.nan, dtype=np.float32)
    with np.errstate(over="ignore"):
        for i, line in enumerate(rows):
            cells = line.split("\t") if tabs else line.split()
            while len(cells) > width and not cells[-1].strip():
                cells.pop()
            # What is empty to the row's end may have been left out, whole points of it.
            if len(cells) < 2 or len(cells) > width or (len(cells) - 2) % 3:
                raise source.error(
                    f"row {i + 1}: expected {width} fields as the names say, found {len(cells)}; "
                    "the file is cut short or damaged"
                )
            number = _number(source, cells[0])
            if not number.is_integer() or abs(number) > 1e15:
                raise source.error(f"expected whole frame numbers, found {short(cells[0])}")
            numbers.append(int(number))
            times.append(_number(source, cells[1]))
            values[i, : len(cells) - 2] = [_number(source, cell) for cell in cells[2:]]
    return numbers, times, values.reshape(len(rows), joints, 3)


def _number(source: Source, cell: str) -> float:
    try:
        return float(cell)
    except ValueError:
        if cell.strip().lower() in _MISSING:
            return math.nan
    try:
        return float(cell.replace(",", "."))
    except ValueError:
        raise source.error(f"expected a number or an empty field, found {short(cell)}") from None


def _check_frames(source: Source, text: str, rows: int, span: int) -> None:
    """NumFrames counts the rows or, by some, what they span; else rows are lost."""
    if text.isdecimal() and int(text[:18]) not in (rows, span):
        raise source.error(
            f"expected {text[:18]} frames as NumFrames says, found {rows}; the file is cut short "
            "or its NumFrames is wrong"
        )


def _rate(source: Source, said: dict[str, str], times: list[float]) -> float | None:
    """DataRate, else by the median step of the times."""
    if source.frame_rate is not None:
        return None
    rate = _number(source, said.get("datarate", ""))
    if math.isfinite(rate) and rate > 0:
        return rate
    with np.errstate(invalid="ignore"):
        step = float(np.median(np.diff(times))) if len(times) > 1 else math.nan
    return rate_of(step, 1e-4 * step) if 0 < step < math.inf else None


def write_trc(clip: Clip, stream: BinaryIO) -> None:
    """Tabs between fields, nothing in those of a missing joint; frames from 1, times from 0."""
    labels = [" ".join(label.split()) for label in subject_labels(clip, "trc")]
    rate, count = repr(clip.frame_rate), str(clip.frames)
    properties = {
        "DataRate": rate, "CameraRate": rate, "NumFrames": count, "NumMarkers": str(len(labels)),
        "Units": clip.units, "OrigDataRate": rate, "OrigDataStartFrame": "1",
        "OrigNumFrames": count,
    }  # fmt: skip
    axes = [f"{axis}{i}" for i in range(1, len(labels) + 1) for axis in "XYZ"]
    head = [
        ["PathFileType", "4", "(X/Y/Z)", "motion.trc"],
        list(properties),
        list(properties.values()),
        ["Frame#", "Time", "\t\t\t".join(labels), "", ""],
        ["", "", *axes],
        [],
    ]
    stream.write("".join("\t".join(cells) + "\n" for cells in head).encode())
    for start in range(0, clip.frames, _ROWS_AT_ONCE):
        part = clip.window(start, min(start + _ROWS_AT_ONCE, clip.frames)).keypoints
        texts = number_texts(part.reshape(len(part), 1, len(labels), 3), missing="")
        for frame, (joints,) in enumerate(texts, start):
            cells = [cell for joint in joints for cell in joint]
            row = [str(frame + 1), f"{frame / clip.frame_rate:.6f}", *cells]
            stream.write(("\t".join(row) + "\n").encode())
