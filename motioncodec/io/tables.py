"""Tables of text (``.csv``, ``.tsv``): wide, long, and DeepLabCut's three- or four-row header.

*Wide*: a row a frame, a column a joint and axis: ``frame, left_wrist_x, left_wrist_y,
left_wrist_z, left_wrist_confidence, ...``; one person. *Long*: a row a joint: ``frame, person,
joint, x, y, z, confidence``. The frame (or time, in seconds) column may be absent from a wide
table, and person, z and confidence from a long one. Frame numbers left out are frames in which
everything is missing. An empty field, ``nan``, ``NA`` or ``null`` is a missing value. The
delimiter is a comma, semicolon or tab; with the latter two, a decimal comma is understood.

Comment lines before the header carry what has no column: ``# frame_rate: 30``, ``# units: m``,
``# up: y``; ``# skeleton: body-25`` for the eye (the names in the table count); and, where the
rows do not tell, ``# frames: 90``, ``# persons: 2``, ``# joints: [...]`` and ``# people: [...]``
(JSON lists). Numbers are written with as many digits as float32 needs.
"""

from __future__ import annotations

import csv
import io
import json
import math
import re
from collections.abc import Callable, Sequence
from itertools import repeat
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from motioncodec.clip import Clip
from motioncodec.io.source import Source, rate_of, short

_MISSING = frozenset({"", "nan", "na", "n/a", "null", "none"})
_CONFIDENCE = ("confidence", "conf", "score", "likelihood", "visibility", "c")
_FRAME = ("frame", "frames", "frame_number", "frame_index", "frame_id", "index", "")
_TIME = ("time", "time_s", "timestamp", "seconds", "t")
_PERSON = ("person", "person_id", "individual", "track", "track_id", "id")
_JOINT = ("joint", "bodypart", "keypoint", "marker")
_COLUMN = re.compile(rf"(.+)[ _.:\-](x|y|z|{'|'.join(_CONFIDENCE)})", re.IGNORECASE | re.DOTALL)
_COMMENT = re.compile(r"[ \t]*(?:\"?#([^\r\n]*))?(?:\r\n|\r|\n)")
_ROWS_AT_ONCE = 4096
MAX_PERSONS = 10**6

Rows = list[list[str]]


def read_csv(source: Source) -> Clip:
    """A clip from a wide, long or DeepLabCut table."""
    said, text = _comments(source.read_text())
    # The first mark after the first name: later names may have the others in them.
    mark = re.match(r'(?:"[^"]*"|[^",;\t\r\n])*([,;\t])', text)
    delimiter = mark[1] if mark else ","
    try:
        rows = [
            row for row in csv.reader(io.StringIO(text, newline=""), delimiter=delimiter)
            if any(cell.strip() for cell in row)
        ]  # fmt: skip
    except csv.Error as error:
        raise source.error(f"expected a table of text, found {error}; export it again") from None
    if not rows:
        raise source.error("expected a header line with column names, found an empty table")
    number = _number_parser(source, decimal_comma=delimiter != ",")
    columns = [cell.strip() for cell in rows[0]]
    lower = [name.lower() for name in columns]
    if lower[0] == "scorer":
        columns, lower, rows = _flatten_deeplabcut(source, rows)
    if any(name in _JOINT for name in lower) and {"x", "y"} <= set(lower):
        return _read_long(source, lower, rows[1:], said, number)
    return _read_wide(source, columns, rows[1:], said, number)


def _comments(text: str) -> tuple[dict[str, str], str]:
    """What the leading ``# key: value`` lines say, and the table after them."""
    said: dict[str, str] = {}
    start = 0
    while match := _COMMENT.match(text, start):
        key, _, value = (match[1] or "").partition(":")
        # A spreadsheet that saves the table again pads comment lines with delimiters.
        said[key.strip().lower()] = value.strip().rstrip(',;\t"').strip()
        start = match.end()
    return said, text[start:]


def _number_parser(source: Source, decimal_comma: bool) -> Callable[[str], float]:
    def number(cell: str) -> float:
        try:
            return float(cell)
        except ValueError:
            if cell.strip().lower() in _MISSING:
                return math.nan
        try:
            if decimal_comma:
                return float(cell.replace(",", "."))
        except ValueError:
            pass
        raise source.error(f"expected a number or an empty field, found {short(cell)}")

    return number


def _flatten_deeplabcut(source: Source, rows: Rows) -> tuple[list[str], list[str], Rows]:
    """Column names and rows of the same table with its header rows folded into one."""
    heads: dict[str, list[str]] = {}
    while rows and (key := rows[0][0].strip().lower()) in (
        "scorer", "individuals", "bodyparts", "coords"
    ):  # fmt: skip
        heads[key], rows = rows[0], rows[1:]
    parts, coords = heads.get("bodyparts"), heads.get("coords")
    if parts is None or coords is None or len(parts) != len(coords):
        raise source.error("expected header rows scorer, bodyparts and coords of equal length")
    individuals = heads.get("individuals")
    if individuals is None or len(set(individuals[1:])) == 1:
        columns = ["frame", *(f"{p}_{c}" for p, c in zip(parts[1:], coords[1:], strict=True))]
        # Image paths instead of numbers: the frames follow one another as listed.
        flat = [[str(i), *row[1:]] for i, row in enumerate(rows)]
        return columns, [name.lower() for name in columns], [columns, *flat]
    if len(individuals) != len(parts):
        raise source.error("expected header rows individuals and bodyparts of equal length")
    columns = ["frame", "person", "joint", "x", "y", "confidence"]
    at: dict[tuple[str, str], dict[str, int]] = {}
    for i, (person, joint, axis) in enumerate(zip(individuals, parts, coords, strict=True)):
        if i:
            at.setdefault((person, joint), {})[axis.strip().lower()] = i
    long: Rows = [columns]
    for frame, row in enumerate(rows):
        for (person, joint), axes in at.items():
            cells = [axes.get("x", -1), axes.get("y", -1), axes.get("likelihood", -1)]
            long.append(
                [str(frame), person, joint, *(row[i] if 0 <= i < len(row) else "" for i in cells)]
            )
    if not any("likelihood" in axes for axes in at.values()):
        columns, long = columns[:5], [row[:5] for row in long]
    return columns, columns, long


def _said_list(source: Source, said: dict[str, str], key: str) -> list[str] | None:
    if key not in said:
        return None
    try:
        values = json.loads(said[key])
    except (ValueError, RecursionError):
        values = None
    if not isinstance(values, list) or not all(isinstance(v, str) for v in values):
        raise source.error(f"# {key}: expected a JSON list of names, found {short(said[key])}")
    return values


def _said_rate(source: Source, said: dict[str, str], times: Sequence[float]) -> float | None:
    """Frame rate by the comment line, else by the median step of a time column in seconds.

    None where the caller gave one: what is wrong with the file's does not matter then.
    """
    if source.frame_rate is not None:
        return None
    text = said.get("frame_rate") or said.get("fps")
    if text is not None:
        try:
            return float(text)
        except ValueError:
            raise source.error(f"# frame_rate: expected a number, found {short(text)}") from None
    if len(times) > 1:
        step = float(np.median(np.diff(np.array(times))))
        if not 0 < step < math.inf:
            raise source.error(f"expected times that rise, found a median step of {step:g} s")
        # Where no frame is left out, the mean step is the finer of the two.
        mean = (times[-1] - times[0]) / (len(times) - 1)
        return rate_of(mean if abs(mean - step) < 0.01 * step else step, 1e-4 * step)
    return None


def _said_count(source: Source, said: dict[str, str], key: str) -> int | None:
    if key not in said:
        return None
    if not re.fullmatch(r"[0-9]{1,12}", said[key]):
        raise source.error(f"# {key}: expected a count, found {short(said[key])}")
    return int(said[key])


def _place(
    source: Source, numbers: Sequence[float], declared: int | None
) -> tuple[int, NDArray[np.int64]]:
    """Frame count and each row's frame index, from the frame column's numbers."""
    if not all(number.is_integer() and abs(number) < 1e15 for number in numbers):
        raise source.error("expected whole frame numbers in every row, found another value")
    whole = [int(number) for number in numbers]
    if declared is None:
        return source.place_frames(whole)
    if whole and (min(whole) < 0 or max(whole) >= declared):
        raise source.error(
            f"expected frames 0 to {declared - 1} as the # frames: line says, found "
            f"{min(whole)} to {max(whole)}"
        )
    return declared, np.array(whole, dtype=np.int64)


def _clip(
    source: Source,
    said: dict[str, str],
    values: NDArray[np.float32],
    joints: list[str],
    dims: int,
    times: Sequence[float],
    people: Sequence[str] = (),
) -> Clip:
    """A clip from values (T, P, K, D) or (T, P, K, D + 1), confidence last."""
    keypoints = values[..., :dims]
    confidence = None
    if values.shape[-1] > dims:
        # A position without a stated confidence is taken at its word.
        confidence = np.where(np.isnan(values[..., dims]), np.float32(1), values[..., dims])
        confidence = np.where(np.isnan(keypoints).any(axis=-1), np.float32(0), confidence)
    return source.clip(
        keypoints,
        joints=joints,
        frame_rate=_said_rate(source, said, times),
        confidence=confidence,
        units=said.get("units") or None,
        up=said.get("up") or None,
        people=people,
    )


def _read_wide(
    source: Source,
    columns: list[str],
    rows: Rows,
    said: dict[str, str],
    number: Callable[[str], float],
) -> Clip:
    at: dict[str, dict[str, int]] = {}
    frame_column, time_column = -1, -1
    for i, column in enumerate(columns):
        if match := _COLUMN.fullmatch(column):
            axis = match[2].lower()
            axes = at.setdefault(match[1], {})
            if axes.setdefault("confidence" if axis in _CONFIDENCE else axis, i) != i:
                raise source.error(f"expected every column once, found {short(column)} twice")
        elif column.lower() in _FRAME and frame_column < 0 and i == 0:
            frame_column = i
        elif column.lower() in _TIME and time_column < 0:
            time_column = i
    at = {joint: axes for joint, axes in at.items() if axes.keys() - {"confidence"}}
    if not at:
        raise source.error(
            "expected columns such as left_wrist_x and left_wrist_y, or frame, joint, x, y, found "
            f"{short(', '.join(columns), 80)}; rename the header"
        )
    dims = 3 if any("z" in axes for axes in at.values()) else 2
    with_confidence = any("confidence" in axes for axes in at.values())
    order: list[int] = []
    for joint, axes in at.items():
        for axis in ("x", "y", "z")[:dims]:
            if axis not in axes:
                raise source.error(f"expected a column {joint}_{axis} beside the others of {joint}")
            order.append(axes[axis])
        if with_confidence:
            order.append(axes.get("confidence", -1))
    numbers: list[float] = []
    times: list[float] = []
    width = max(*order, frame_column, time_column) + 1
    source.check_size(len(rows), 1, len(at), dims + 1)
    values = np.full((len(rows), len(order)), np.nan, dtype=np.float32)
    with np.errstate(over="ignore"):
        for i, row in enumerate(rows):
            if len(row) < width or any(cell.strip() for cell in row[len(columns) :]):
                raise source.error(
                    f"row {i + 1}: expected {len(columns)} fields as in the header, found "
                    f"{len(row)}"
                )
            values[i] = [number(row[k]) if k >= 0 else math.nan for k in order]
            if frame_column >= 0:
                numbers.append(number(row[frame_column]))
            if time_column >= 0:
                times.append(number(row[time_column]))
    if frame_column >= 0:
        count, index = _place(source, numbers, _said_count(source, said, "frames"))
        if len(np.unique(index)) != len(index):
            raise source.error("expected every frame number once, found one twice")
        source.check_size(count, 1, len(at), dims + 1)
        in_order = np.full((count, len(order)), np.nan, dtype=np.float32)
        in_order[index] = values
        values = in_order
    placed = values.reshape(len(values), 1, len(at), len(order) // len(at))
    people = _said_list(source, said, "people") or []
    return _clip(source, said, placed, list(at), dims, times, people)


def _read_long(
    source: Source,
    columns: list[str],
    rows: Rows,
    said: dict[str, str],
    number: Callable[[str], float],
) -> Clip:
    def find(names: tuple[str, ...]) -> int:
        return next((i for i, column in enumerate(columns) if column in names), -1)

    frame_column, time_column = find(_FRAME), find(_TIME)
    person_column, joint_column, confidence_column = find(_PERSON), find(_JOINT), find(_CONFIDENCE)
    if frame_column < 0 and time_column < 0:
        raise source.error("expected a column frame or time, found neither; add one")
    order = [find((axis,)) for axis in ("x", "y", "z")]
    if order[2] < 0:
        order.pop()
    dims = len(order)
    if confidence_column >= 0:
        order.append(confidence_column)
    declared_people = _said_list(source, said, "people")
    joints = {name: i for i, name in enumerate(_said_list(source, said, "joints") or [])}
    declared_persons = _said_count(source, said, "persons") or 0
    if declared_persons > MAX_PERSONS:
        raise source.error(f"expected at most {MAX_PERSONS} people, found {declared_persons}")
    persons = {name: i for i, name in enumerate(declared_people or _numbered(declared_persons))}
    numbers: list[float] = []
    cells: list[tuple[int, int]] = []
    values = np.empty((len(rows), len(order)), dtype=np.float32)
    key_column = frame_column if frame_column >= 0 else time_column
    width = max(*order, key_column, joint_column, person_column) + 1
    with np.errstate(over="ignore"):
        for i, row in enumerate(rows):
            if len(row) < width:
                raise source.error(
                    f"row {i + 1}: expected {len(columns)} fields as in the header, found "
                    f"{len(row)}"
                )
            numbers.append(number(row[key_column]))
            person = row[person_column].strip() if person_column >= 0 else ""
            cells.append(
                (
                    persons.setdefault(person, len(persons)),
                    joints.setdefault(row[joint_column].strip(), len(joints)),
                )
            )
            values[i] = [number(row[k]) for k in order]
    times: list[float] = []
    if frame_column >= 0:
        count, index = _place(source, numbers, _said_count(source, said, "frames"))
    else:
        times, inverse = np.unique(np.array(numbers, dtype=np.float64), return_inverse=True)  # type: ignore[assignment]
        count, index = len(times), inverse.reshape(-1).astype(np.int64)
    if not joints:
        raise source.error("expected rows with joints below the header, found none")
    source.check_size(count, len(persons), len(joints), dims + 1)
    people = declared_people or list(persons)
    if people == [""] or (not declared_people and people == _numbered(len(people))):
        people = []
    placed = np.full((count, len(persons), len(joints), len(order)), np.nan, dtype=np.float32)
    who = np.array(cells, dtype=np.int64).reshape(-1, 2)
    taken = (index * max(len(persons), 1) + who[:, 0]) * len(joints) + who[:, 1]
    if len(np.unique(taken)) != len(taken):
        raise source.error("expected one row for each frame, person and joint, found two for one")
    placed[index, who[:, 0], who[:, 1]] = values
    return _clip(source, said, placed, list(joints), dims, times, people)


def write_csv(clip: Clip, stream: BinaryIO) -> None:
    """A wide table for one person, else a long one; reads back to the same float32 numbers."""
    text = io.TextIOWrapper(stream, encoding="utf-8", newline="")
    axes = ("x", "y", "z")[: clip.dims]
    wide = clip.persons == 1
    said = [
        ("frame_rate", repr(clip.frame_rate)),
        ("units", clip.units),
        ("up", clip.up),
        ("skeleton", clip.skeleton.name),
    ]
    # What the rows themselves do not tell.
    rowless = not wide and not clip.frames * clip.persons
    if rowless:
        said += [("frames", str(clip.frames)), ("joints", json.dumps(clip.skeleton.joints))]
        said += [("persons", str(clip.persons))]
    if clip.people and (wide or rowless or list(clip.people) == _numbered(clip.persons)):
        said += [("people", json.dumps(clip.people))]
    text.writelines(f"# {key}: {value}\n" for key, value in said)
    writer = csv.writer(text, lineterminator="\n")
    fields = (*axes, "confidence") if clip.confidence is not None else axes
    if wide:
        writer.writerow(["frame", *(f"{j}_{f}" for j in clip.skeleton.joints for f in fields)])
    else:
        writer.writerow(["frame", "person", "joint", *fields])
    people = clip.people or _numbered(clip.persons)
    for start in range(0, clip.frames, _ROWS_AT_ONCE):
        part = clip.window(start, min(start + _ROWS_AT_ONCE, clip.frames))
        values = part.keypoints
        if part.confidence is not None:
            confidence = np.where(part.missing, np.float32(np.nan), part.confidence)
            values = np.concatenate([values, confidence[..., None]], axis=-1)
        cells = number_texts(values, missing="")
        for frame, persons in enumerate(cells, start):
            if wide:
                writer.writerow([frame, *(cell for joint in persons[0] for cell in joint)])
                continue
            for person, joints in zip(people, persons, strict=True):
                names = zip(repeat(frame), repeat(person), clip.skeleton.joints, strict=False)
                writer.writerows([*key, *joint] for key, joint in zip(names, joints, strict=True))
    text.flush()
    text.detach()


def _numbered(count: int) -> list[str]:
    """``"0"``, ``"1"``, ...: what the person column holds where people have no ids."""
    return [str(i) for i in range(count)]


def number_texts(values: NDArray[np.float32], missing: str) -> list[list[list[list[str]]]]:
    """Nested lists of the shortest text that reads back to each float32, NaN as ``missing``."""
    texts = values.astype(np.str_)
    return np.where(np.isnan(values), missing, texts).tolist()
