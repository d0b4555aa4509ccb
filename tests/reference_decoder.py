"""A second decoder of `.mtok` payloads, written from FORMAT.md (sections 7 and 8) and nothing else.

Plain Python integers; no line is shared with the package. Slow, and short enough to check by eye
against the document. It shows that the document says what the coder does.
"""

from __future__ import annotations

import json
from bisect import bisect_right
from collections.abc import Sequence
from pathlib import Path
from typing import Any

TABLES = json.loads(
    (Path(__file__).parents[1] / "motioncodec" / "bitstream" / "tables.json").read_text()
)

MASK = (1 << 64) - 1
MAX_KNOT = (1 << 40) - 1


class Refused(Exception):
    """Bytes that FORMAT.md says to refuse."""


class Range:
    """7.1: the range decoder."""

    def __init__(self, data: bytes) -> None:
        self.words = [
            int.from_bytes(data[i : i + 4].ljust(4, b"\0"), "big") for i in range(0, len(data), 4)
        ]
        self.taken = 0
        self.lower, self.range = 0, MASK
        self.point = self.word() << 32
        self.point |= self.word()

    def word(self) -> int:
        self.taken += 1
        return self.words[self.taken - 1] if self.taken <= len(self.words) else 0

    def symbol(self, sides: Sequence[int]) -> int:
        """7.2: sides[k] is the left side of symbol k, the last one 2^24."""
        scale = self.range >> 24
        q = ((self.point - self.lower) & MASK) // scale
        if q >= 1 << 24:
            raise Refused("quotient")
        k = bisect_right(sides, q) - 1
        self.lower = (self.lower + scale * sides[k]) & MASK
        self.range = scale * (sides[k + 1] - sides[k])
        if self.range < 1 << 32:
            self.lower = (self.lower << 32) & MASK
            self.range <<= 32
            self.point = (self.point << 32) & MASK | self.word()
        return k

    def table(self, frequencies: Sequence[int]) -> int:
        """7.3: a symbol under a table."""
        n = len(frequencies)
        sides, total = [], 0
        for k, frequency in enumerate(frequencies):
            sides.append(total * ((1 << 24) - n) // (1 << 16) + k)
            total += frequency
        assert total == 1 << 16
        return self.symbol([*sides, 1 << 24])

    def bits(self, count: int) -> int:
        """7.4: plain bits."""
        value = shift = 0
        while count:
            part = min(count, 16)
            value |= self.symbol(range(0, (1 << 24) + 1, 1 << (24 - part))) << shift
            shift += part
            count -= part
        return value

    def natural(self) -> int:
        """7.5."""
        length = self.bits(6)
        if length > 40:
            raise Refused("natural")
        return (1 << length) + self.bits(length) - 1

    def signed(self) -> int:
        """7.5."""
        folded = self.natural()
        return folded // 2 if folded % 2 == 0 else -(folded + 1) // 2

    def magnitude(self, frequencies: Sequence[int]) -> int:
        """7.6."""
        value = self.table(frequencies)
        if value == 0:
            return 0
        if value == 15:
            value += self.natural()
        return -value if self.bits(1) else value


def bucket(number: int) -> int:
    """8.3, the table of buckets."""
    return sum(number >= least for least in (1, 3, 6, 12))


def knots(coder: Range, kind: str, count: int, channels: int, order: int) -> list[list[int]]:
    """8.3: for each channel its knots."""
    tables = TABLES[kind]["knots"]
    out = []
    for _ in range(channels):
        line: list[int] = []
        context = 5
        for i in range(count):
            if i == 0:
                value = coder.signed()
            else:
                guess = 2 * line[-1] - line[-2] if order == 2 and i > 1 else line[-1]
                difference = coder.magnitude(tables[context])
                context = bucket(abs(difference))
                value = guess + difference
            if abs(value) > MAX_KNOT:
                raise Refused("knot")
            line.append(value)
        out.append(line)
    return out


def level(near: int) -> int:
    """8.4, the table of levels."""
    return sum(near >= least for least in (1, 2, 3, 5, 9, 17, 33))


def band(k: int) -> int:
    """8.4, the table of bands."""
    return sum(k >= least for least in (1, 2, 4, 8, 16))


def curve(coder: Range, kind: str, blocks: int, channels: int) -> dict[str, Any]:
    """8.4: knots[channel][i], sines[channel][block][k]."""
    lines = knots(coder, kind, blocks + 1, channels, 2)
    tables = TABLES[kind]
    sines = []
    for _ in range(channels):
        before, context = [0] * 33, 5
        mine = []
        for _ in range(blocks):
            count = coder.table(tables["counts"][context])
            context = bucket(count)
            now = [0] * 33
            values = [0] * 31
            for k in range(count):
                one = now[k - 1] if k >= 1 else 0
                two = now[k - 2] if k >= 2 else 0
                near = 2 * (one + before[k]) + two + before[k + 1]
                values[k] = coder.magnitude(tables["sines"][band(k)][level(near)])
                now[k] = abs(values[k])
            before = now
            mine.append(values)
        sines.append(mine)
    return {"knots": lines, "sines": sines}


def missing(coder: Range, frames: int, joints: int) -> list[list[bool]]:
    """8.2: missing[joint][frame]."""
    if not coder.bits(1):
        return [[False] * frames for _ in range(joints)]
    out: list[list[bool]] = []
    for joint in range(joints):
        if coder.bits(1):
            out.append(list(out[-1]) if joint else [True] * frames)
            continue
        flag = bool(coder.bits(1))
        line: list[bool] = []
        while len(line) < frames:
            length = coder.natural() or frames - len(line)
            if len(line) + length > frames:
                raise Refused("run")
            line += [flag] * length
            flag = not flag
        out.append(line)
    return out


def tokens(
    coder: Range, steps: int, frequencies: list[list[list[int]]], class_of: list[list[int]]
) -> list[list[int]]:
    """8.5: tokens[slot][step] of one level."""
    out = []
    for slot_frequencies, slot_classes in zip(frequencies, class_of):
        line, kind = [], 0
        for _ in range(steps):
            line.append(coder.table(slot_frequencies[kind]))
            kind = slot_classes[line[-1]]
        out.append(line)
    return out


def confidence(coder: Range, gone: list[list[bool]], bits: int) -> list[list[int]]:
    """8.6: levels[joint][frame], 0 where missing."""
    if coder.bits(1):
        one = coder.bits(bits)
        return [[0 if flag else one for flag in line] for line in gone]
    top = (1 << bits) - 1
    out = []
    for line in gone:
        last, context, mine = top, 5, []
        for flag in line:
            if flag:
                mine.append(0)
                continue
            step = coder.magnitude(TABLES["confidence"]["knots"][context])
            last += step
            if not 0 <= last <= top:
                raise Refused("confidence")
            context = min(bucket(abs(step)), 3)
            mine.append(last)
        out.append(mine)
    return out


def chunk(
    data: bytes,
    *,
    people: int,
    frames: int,
    joints: int,
    dims: int,
    windows: int,
    extra: int,
    confidence_bits: int,
    priors: Sequence[tuple[list[list[list[int]]], list[list[int]]]] = (),
    steps: Sequence[int] = (),
) -> list[dict[str, Any]]:
    """8.1: all people of a chunk."""
    coder = Range(data)
    out = []
    for _ in range(people):
        person: dict[str, Any] = {"missing": missing(coder, frames, joints)}
        out.append(person)
        if all(all(line) for line in person["missing"]):
            continue
        if priors:
            person["origin"] = curve(coder, "hips" if dims == 3 else "hips_2d", windows, dims)
            kind = "heading" if dims == 3 else "box"
            person["turn"] = knots(coder, kind, 2 * windows + 1, 1, 1)[0]
            person["tokens"] = [tokens(coder, count, *prior) for prior, count in zip(priors, steps)]
        if extra:
            blocks = max((frames + 30) // 32, 0)
            person["extra"] = curve(coder, "keypoint", blocks, extra * dims)
        if confidence_bits:
            person["confidence"] = confidence(coder, person["missing"], confidence_bits)
    return out
