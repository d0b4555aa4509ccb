"""A second decoder of `.mtok` payloads, written from FORMAT.md (7, 8 and 9.9) and nothing else.

Plain Python integers; no line is shared with the package. Slow, and short enough to check by eye
against the document. It shows that the document says what the coder does.
"""

from __future__ import annotations

import json
import math
import struct
from bisect import bisect_right
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from typing import Any

BITSTREAM = Path(__file__).parents[1] / "motioncodec" / "bitstream"
TABLES = json.loads((BITSTREAM / "tables.json").read_text())

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


TWINS = {9: 6, 10: 7, 11: 8, 16: 12, 17: 13, 18: 14, 19: 15}


def bones(coder: Range, depth: int) -> dict[int, int]:
    """8.7: the steps of the rigid bones."""
    tables = TABLES[f"bones_{depth}"]
    out: dict[int, int] = {}
    for j in range(1, 20):
        if coder.table(tables["counts"][0 if j < 6 else 1]):
            twin = TWINS.get(j, 0)
            apart = coder.magnitude(tables["knots"][1 if twin in out else 0])
            out[j] = apart + out.get(twin, 0)
    return out


def share(length: int) -> int:
    """8.8: how much of 2^24, by integer square roots alone."""
    whole, part = divmod(length, 256)
    if whole > 24:
        return 0
    # floor(2^(24 - part / 256) + 1/2): the largest v with (2v - 1)^256 <= 2^(25 * 256 - part).
    low, high = 1, 1 << 25
    while low < high:
        v = (low + high + 1) // 2
        low, high = (v, high) if (2 * v - 1) ** 256 <= 1 << (25 * 256 - part) else (low, v - 1)
    return low >> whole


SHARES: dict[int, int] = {}


def frequencies(lengths: list[int]) -> list[int]:
    """8.8: lengths to frequencies."""
    least = min(lengths)
    shares = []
    for length in lengths:
        apart = length - least
        if apart not in SHARES:
            SHARES[apart] = share(apart)
        shares.append(SHARES[apart])
    total, n = sum(shares), len(lengths)
    out = [one * (65536 - n) // total + 1 for one in shares]
    out[out.index(max(out))] += 65536 - sum(out)
    return out


def rows_of(matrix: list[list[int]], vector: list[int]) -> list[int]:
    return [sum(a * b for a, b in zip(row, vector)) for row in matrix]


class Learned:
    """8.8: a level's tensors, cut up by group, slot and code."""

    def __init__(self, tensors: dict[str, Any]) -> None:
        self.t = tensors
        sizes = tensors["sizes"]
        self.f = len(tensors["features"][0])
        self.slots = len(tensors["head_bias"]) // (self.f + 1)
        self.width = self.slots // len(sizes)
        self.lengths, self.features, at = [], [], 0
        for slot in range(self.slots):
            size = sizes[slot // self.width]
            self.lengths.append(tensors["lengths"][at : at + size])
            self.features.append(tensors["features"][at : at + size])
            at += size

    def seen(self, step: list[int] | None) -> list[list[int]]:
        """f of 8.8."""
        if step is None:
            return [[0] * self.f for _ in range(self.slots)]
        return [self.features[slot][token] for slot, token in enumerate(step)]

    def read(
        self, coder: Range, steps: int, coarser: list[tuple[Learned, list[list[int]]]]
    ) -> list[list[int]]:
        """tokens[step][slot]."""
        out: list[list[int]] = []
        t = self.t
        for now in range(steps):
            x = [v for one in self.seen(out[-1] if out else None) for v in one]
            for prior, known in coarser:
                x += [v for one in prior.seen(known[now]) for v in one]
                for near in (now - 1, now + 1):
                    there = known[near] if 0 <= near < steps else None
                    x += [one[-1] for one in prior.seen(there)]
            x.append(0 if out else 1)
            a = [v + b for v, b in zip(rows_of(t["context_weight"], x), t["context_bias"])]
            step: list[int] = []
            for group in range(len(t["sizes"])):
                before = [v for s, token in enumerate(step) for v in self.features[s][token]]
                w = rows_of(t["within_weight"], before)
                h = [min(max((u + v) // 2**11, 0), 4095) for u, v in zip(a, w)]
                k = [
                    min(max((u + v) // 2**11, 0), 4095)
                    for u, v in zip(rows_of(t["middle_weight"], h), t["middle_bias"])
                ]
                fresh = []
                for slot in range(group * self.width, (group + 1) * self.width):
                    mine = slice(slot * (self.f + 1), (slot + 1) * (self.f + 1))
                    d = [
                        (u + v) // 2**12
                        for u, v in zip(rows_of(t["head_weight"][mine], k), t["head_bias"][mine])
                    ]
                    lengths = [
                        length - sum(p * q for p, q in zip(d, [*u, u[-1] ** 2 // 32])) // 2**8
                        for length, u in zip(self.lengths[slot], self.features[slot])
                    ]
                    fresh.append(coder.table(frequencies(lengths)))
                step += fresh
            out.append(step)
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


def numbers_of(name: str, *shape: int) -> Any:
    """A table file as nested lists."""
    raw = (Path(__file__).parents[1] / "motioncodec" / "bitstream" / name).read_bytes()
    flat: list[Any] = [int.from_bytes(raw[i : i + 2], "little") for i in range(0, len(raw), 2)]
    for size in reversed(shape):
        flat = [flat[i : i + size] for i in range(0, len(flat), size)]
    assert len(flat) == 1
    return flat[0]


EVEN = (1 << 15, 1 << 15)

PREDICTORS = [
    [(weight - (weight >> 15 << 16)) / 4096 for weight in row]
    for row in numbers_of("predictors.bin", 16, 7)
]
"""9.9."""


def half_octaves(number: int, most: int) -> int:
    """8.9: floor(2 log2(1 + number)), at most so many: the largest k with 2^k <= (1 + number)^2."""
    return min(((1 + number) ** 2).bit_length() - 1, most)


def shape(
    coder: Range, rigid: set[int], here: set[int]
) -> tuple[dict[tuple[int, int], int], list[int], list[int]]:
    """8.9: numbers[joint, which], the choices of groups, and the slots that are there."""
    real = {j for j in rigid if j in here and PARENTS[j] in here}
    if real and not coder.bits(1):
        real = set()
    choices, members, places = [], set(), []
    slots = []
    for kinds in ([(12, 16), (12, 1, 16)], [(6, 9), (6, 3, 9)]):
        choices.append(coder.bits(2) if real.issuperset(kinds[0]) else 0)
        if choices[-1] == 3 or (choices[-1] and not real.issuperset(kinds[choices[-1] - 1])):
            raise Refused("group")
        if choices[-1]:
            joints = kinds[choices[-1] - 1]
            members |= set(joints)
            slots += [3 * joints[0], 3 * joints[0] + 1, 3 * joints[0] + 2]
            places += [(joint, k) for i, joint in enumerate(joints) for k in range(i + 1)]
    told = {}
    for some in (places, [(joint, 0) for joint in sorted(real - members)]):
        if some:
            wide = coder.bits(6)
            if wide > 30:
                raise Refused("shape")
            for at in some:
                told[at] = coder.bits(wide + 1) - ((1 << wide) - 1)
    for joint in here - members:
        slots += [3 * joint + i for i in range(2 if joint in real else 3)]
    return told, [*choices, int(bool(real))], sorted(slots)


PARENTS = [-1, 0, 1, 2, 3, 4, 2, 6, 7, 2, 9, 10, 0, 12, 13, 14, 0, 16, 17, 18]


@cache
def network_numbers(file: str, depths: int, local: int = 10) -> dict[str, Any]:
    """8.9: the arrays of channels.bin, and of others like it."""
    raw = (BITSTREAM / file).read_bytes()
    flat = [int.from_bytes(raw[i : i + 4], "little", signed=True) for i in range(0, len(raw), 4)]
    out: dict[str, Any] = {}
    for name, sizes in {
        "mix": (3, 60, 60), "local": (local, 32), "channel": (60, 32), "frequency": (64, 32),
        "depth": (depths, 32), "step": (21, 32), "middle": (32, 16), "middle_bias": (16,),
        "last": (16,), "last_bias": (1,), "tables": (48, 18),
    }.items():  # fmt: skip
        count = 1
        for size in sizes:
            count *= size
        part, flat = flat[:count], flat[count:]
        for size in reversed(sizes[1:]):
            part = [part[i : i + size] for i in range(0, len(part), size)]
        out[name] = part
    assert not flat
    return out


def chosen(
    net: dict[str, Any], seen: list[int], slot: int, frequency: int, depth: int, step: int
) -> list[int]:
    """8.9: the table of a slot."""
    more = zip(
        times(seen, net["local"]), net["channel"][slot], net["frequency"][frequency],
        net["depth"][depth], net["step"][step],
    )  # fmt: skip
    h = [limited(sum(parts), 10, 4095) for parts in more]
    h = [limited(a + b, 10, 4095)
         for a, b in zip(times(h, net["middle"]), net["middle_bias"])]  # fmt: skip
    last = sum(a * b for a, b in zip(h, net["last"])) + net["last_bias"][0]
    found: list[int] = net["tables"][limited(last, 14, 47)]
    return found


def limited(number: int, shift: int, most: int) -> int:
    return min(max(number >> shift, 0), most)


def times(row: list[int], matrix: list[list[int]]) -> list[int]:
    return [sum(a * line[i] for a, line in zip(row, matrix)) for i in range(len(matrix[0]))]


def coefficients(
    coder: Range,
    windows: int,
    size: int,
    channels: int,
    tables: Adaptive,
    later: bool,
    slots: Sequence[int] = (),
    depth: int = 0,
    step: int = 0,
    network: tuple[str, int] = ("channels.bin", 3),
    class_of: Callable[[int, int], int] = lambda k, size: 64 * k // size,
) -> list[list[list[int]]]:
    """8.9: coefficients[window][frequency][channel]."""
    first = 60 if slots else 0
    net = network_numbers(*network) if slots else {}
    counts = [coder.bits(size.bit_length()) for _ in range(windows)]
    if max(counts, default=0) > size:
        raise Refused("frequencies")
    out = [[[0] * channels for _ in range(size)] for _ in range(windows)]

    def known(w: int, k: int, c: int) -> int:
        inside = w >= 0 and 0 <= k < size
        return min(out[w][k][c], 4095) if inside else 0

    def logarithms(w: int, k: int) -> list[int]:
        return [((1 + known(w, k, c)) ** 16).bit_length() - 1 for c in range(60)]

    def for_slots(w: int, k: int) -> list[list[int]]:
        v = [logarithms(w, k - 1), logarithms(w, k - 2), logarithms(w, k - 3),
             logarithms(w - 1, k), logarithms(w - 1, k + 1), logarithms(w - 1, k - 1),
             logarithms(w - 2, k)]  # fmt: skip
        for i, mix in zip((0, 1, 3), net["mix"]):
            v.append([n >> 8 for n in times(v[i], mix)])
        at = class_of(k, size), depth - 1, step
        return [chosen(net, [row[i] for row in v], i, *at) for i in slots]

    def for_plain(w: int, k: int) -> list[tuple[int, int]]:
        found = []
        for c in range(first, channels):
            near = sum(known(w, k - 1, i) for i in range(max(c - 2, first), min(c + 3, channels)))
            about = 3 * known(w, k - 1, c) + 2 * known(w, k - 2, c) + 2 * known(w - 1, k, c)
            about += known(w - 1, k + 1, c) + near
            found.append((half_octaves(k, 11), half_octaves(about, 15)))
        return found

    for t in range(size + 2 * windows):
        rows = [(w, t - 2 * w) for w in range(windows) if 0 <= t - 2 * w < counts[w]]
        for places, find in ((slots, for_slots), (range(first, channels), for_plain)):
            if not places:
                continue
            under = [(w, k, c, row) for w, k in rows for c, row in zip(places, find(w, k))]
            got = [
                coder.table(tables.frequencies[row] if find is for_plain else row)
                for *_, row in under
            ]
            if later and find is for_plain:
                tables.adapt([(row, symbol) for (*_, row), symbol in zip(under, got)])
            for (w, k, c, _), symbol in zip(under, got):
                out[w][k][c] = symbol + (coder.natural() if symbol == 17 else 0)
    for window in out:
        for row in window:
            for c, value in enumerate(row):
                if value and coder.table(EVEN):
                    row[c] = -value
    return out


def shape_of_spectrum(coder: Range, frames: int, step: int) -> tuple[int, int, int, int]:
    """8.16: windows, frequencies, and classes of these and of the step."""
    longer = coder.bits(2)
    windows = max((frames + 32 * 2**longer) // (64 * 2**longer), 1)
    size = 2 * -(-frames // (2 * windows))
    length = sum(size >= n for n in (46, 64, 91, 128, 182, 256, 363))
    return windows, size, length, min(max((step + 192) // 8, 0), 20)


def frequency_class(k: int, size: int) -> int:
    """8.16: f."""
    q = 512 * k // size
    return sum((q + 8) ** 9 >= 8**9 * 2**i for i in range(1, 64))


def spectrum(coder: Range, frames: int, step: int) -> dict[str, Any]:
    """8.16: numbers[window][frequency][component], and vectors, in 64ths."""
    windows, size, length, kind = shape_of_spectrum(coder, frames, step)
    none = Adaptive.of_plain()
    numbers = coefficients(
        coder, windows, size, 60, none, False, range(60), length + 1, kind,
        ("spectrum.bin", 8), frequency_class,
    )  # fmt: skip
    return {"numbers": numbers, "vectors": [[[64 * n for n in row] for row in w] for w in numbers]}


def turning(coder: Range, frames: int, step: int, kit: str = "") -> dict[str, Any]:
    """8.17: numbers[window][frequency][component], and vectors as these."""
    windows, size, length, kind = shape_of_spectrum(coder, frames, step)
    counts = [coder.bits(size.bit_length()) for _ in range(windows)]
    if max(counts) > size:
        raise Refused("frequencies")
    net, every = network_numbers(kit + "turning.bin", 8, 12), range(60)
    raw = (BITSTREAM / (kit + "bands.bin")).read_bytes()
    words = [n for (n,) in struct.iter_unpack("<i", raw[: 4 * 549])]
    alike, spreads = words[:9], [words[9 + 60 * b :][:60] for b in range(9)]
    halves = [n for (n,) in struct.iter_unpack("<h", raw[4 * 549 :])]
    usual = [[halves[3600 * b + 60 * i :][:60] for i in every] for b in range(9)]
    limits = 12, 35, 70, 120, 200, 320, 500, 800
    band = [0] + [max(sum(n * 2 * size <= 1500 * (2 * k + 1) for n in limits), 1)
                  for k in range(1, size)]  # fmt: skip
    starts = [0, 1]
    while starts[-1] < size:
        starts.append(max(starts[-1] + 1, (5 * starts[-1] + 3) // 4))
    about = [(0, -j, 0.85 ** (j - 1)) for j in range(1, 25)]
    about += [
        (-1, 0, 1.0),
        (-1, 1, 0.8),
        (-1, -1, 0.8),
        (-2, 0, 0.6),
        (-2, 1, 0.48),
        (-2, -1, 0.48),
    ]
    none = [0] * 60
    numbers = [[none for _ in range(size)] for _ in range(windows)]
    vectors = [[none for _ in range(size)] for _ in range(windows)]
    bases: dict[int, list[list[int]]] = {}
    firsts: dict[int, list[list[int]]] = {}
    told: dict[int, tuple[list[int], int]] = {}

    def known(w: int, k: int) -> list[int]:
        inside = w >= 0 and 0 <= k < size
        return [min(max(x, -(2**18)), 2**18) for x in vectors[w][k]] if inside else none

    def product(rows: list[list[int]], by: list[list[int]]) -> list[list[int]]:
        return [times(row, by) for row in rows]

    def dot(one: list[int], two: list[int]) -> int:
        return sum(a * b for a, b in zip(one, two))

    def make(w: int, k: int) -> None:
        own = usual[band[k]]
        near, weight = [], 64
        for dw, dk, g in about:
            if w + dw >= 0 and 0 <= k + dk < size and (k + dk > 0) == (k > 0):
                a = alike[band[k + dk]] * round(256 * math.sqrt(g))
                near.append([nearest(x * a, 16) for x in known(w + dw, k + dk)])
                weight += round(256 * g)
        digits = max((abs(x) for z in near for x in z), default=0).bit_length()
        c = max(digits - 20, 0)
        near = [[nearest(x, c) for x in z] for z in near]
        s = [[sum(z[x] * z[y] for z in near) for y in every] for x in every]
        total = sum(s[x][x] for x in every)
        shift = total.bit_length() - 26
        whole = nearest(total, shift) if total else 2**26
        for x in every:
            for y in every:
                p = sum(v[x] * r * v[y] for v, r in zip(own, spreads[band[k]]))
                s[x][y] = nearest(s[x][y], shift) + nearest(nearest(p, 28) * 32 * whole, 26)
            s[x][x] += 256
        q = own
        if total:
            start = bases[w] if k > 1 else own
            if k == 1 and w and any(vectors[w - 1][1]):
                start = firsts[w - 1]
            left = [[nearest(x, 4) for x in row] for row in product(start, s)]
            q = []
            while left:
                h, *left = left
                h = [nearest(x, max(map(abs, h)).bit_length() - 23) for x in h]
                long = max(math.sqrt(dot(h, h)), 1.0)
                unit = [round(x * 2**14 / long) for x in h]
                square = max(dot(unit, unit), 1)
                for i, row in enumerate(left):
                    along = round(float(dot(row, unit) * 2**14) / square)
                    left[i] = [x - nearest(along * u, 14) for x, u in zip(row, unit)]
                q.append(unit)
            for _ in range(2):
                inner = [[nearest(dot(one, two), 14) for two in q] for one in q]
                q = [[nearest(3 * x * 2**14 - y, 15) for x, y in zip(*rows)]
                     for rows in zip(q, product(inner, q))]  # fmt: skip
        ends = [[nearest(x, 10) for x in row] for row in product(q, s)]
        pairs = sorted(((dot(e, v), v) for e, v in zip(ends, q)), key=lambda pair: -pair[0])
        bases[w] = [v for _, v in pairs]
        if k == 1:
            firsts[w] = bases[w]
        energy = float(total * 4**c) * 2**16 / weight / alike[band[k]] ** 2
        v7 = [sum(v >= 2 ** (20 + j / 8) for j in range(1, 193)) for v, _ in pairs]
        told[w] = v7, sum(energy >= math.ceil(16 * (2 ** (j / 8) - 1)) for j in range(1, 193))

    def tables(w: int, k: int) -> list[list[int]]:
        where = [(w, k - 1), (w, k - 2), (w, k - 3), (w - 1, k), (w - 1, k + 1), (w - 1, k - 1),
                 (w - 2, k)]  # fmt: skip
        v = []
        for at in where:
            turned = [abs(nearest(dot(known(*at), q), 16)) for q in bases[w]]
            v.append([sum(x >= 16 * (2 ** (j / 16) - 1) for j in range(1, 193)) for x in turned])
        v += [told[w][0], [told[w][1]] * 60]
        for i, mix in zip((0, 1, 3), net["mix"]):
            v.append([n >> 8 for n in times(v[i], mix)])
        at = frequency_class(k, size), length, kind
        return [chosen(net, [row[i] for row in v], i, *at) for i in every]

    for t in range(len(starts) + 2 * windows):
        some = [(w, starts[t - 2 * w], starts[t - 2 * w + 1]) for w in range(windows)
                if 0 <= t - 2 * w < len(starts) - 1 and starts[t - 2 * w] < counts[w]]  # fmt: skip
        for w, start, _ in some:
            make(w, start)
        for more in range(size):
            rows = [(w, a + more) for w, a, b in some if a + more < min(b, counts[w])]
            which = [table for w, k in rows for table in tables(w, k)]
            found = [coder.table(table) for table in which]
            found = [n + (coder.natural() if n == 17 else 0) for n in found]
            found = [-n if n and coder.table(EVEN) else n for n in found]
            for i, (w, k) in enumerate(rows):
                numbers[w][k] = found[60 * i : 60 * i + 60]
                vectors[w][k] = [nearest(x, 8) for x in times(numbers[w][k], bases[w])]
    return {"numbers": numbers, "vectors": vectors}


def nearest(x: int, bits: int) -> int:
    """< x / 2^bits >."""
    if bits <= 0:
        return x << -bits
    whole, rest = x >> bits, x & ((1 << bits) - 1)
    return whole + (2 * rest > 1 << bits or (2 * rest == 1 << bits and whole & 1))


def corrections(
    coder: Range, gone: list[list[bool]], dims: int
) -> dict[tuple[int, int], list[int]]:
    """8.9: corrections[frame, joint]."""
    if not coder.bits(1):
        return {}
    shares = [min(max(round(2 ** (16 - coder.bits(7) / 8)), 1), 65_535) for _ in range(2)]
    found: dict[tuple[int, int], list[int]] = {}
    for frame in range(len(gone[0])):
        for joint, line in enumerate(gone):
            if not line[frame]:
                share = shares[(frame - 1, joint) in found]
                if coder.table([65_536 - share, share]):
                    found[frame, joint] = []
    table = [38000, 24000, 2600, 500, 200, 80, 40, 30, 20, 15, 12, 10, 8, 6, 5, 4, 3, 3]
    for value in found.values():
        value.extend(coder.table(table) for _ in range(dims))
    finish(coder, list(found.values()), 17)
    return found


def later_corrections(
    coder: Range, gone: list[list[bool]], dims: int, flags: Adaptive, sizes: Adaptive
) -> dict[tuple[int, int], list[int]]:
    """8.13: corrections[frame, joint]."""
    if not coder.bits(1):
        return {}
    found: dict[tuple[int, int], list[int]] = {}
    rates = [2048] * len(gone)
    since: list[tuple[Any, int]] = []
    for frame in range(len(gone[0])):
        near = sum(at in (frame - 1, frame - 2) for at, _ in found)
        there = sum(not line[frame - 1] for line in gone) if frame else 0
        crowd = half_octaves(20 * near // max(there, 1), 7)
        for joint, line in enumerate(gone):
            if line[frame]:
                continue
            at = ((frame - 1, joint) in found, crowd, half_octaves(rates[joint] // 1024, 11))
            got = coder.table(flags.frequencies[at])
            since.append((at, got))
            rates[joint] += (65_536 * got - rates[joint]) // 16
            if got:
                found[frame, joint] = []
        if frame % 8 == 7:
            flags.adapt(since)
            since = []
    turns = [sorted(frame for frame, other in found if other == j) for j in range(len(gone))]
    since = []
    for turn in range(max(map(len, turns), default=0)):
        some = [joint for joint, mine in enumerate(turns) if len(mine) > turn]
        for k in range(dims):
            rows = []
            for joint in some:
                frame, age, last = turns[joint][turn], 0, 0
                if turn:
                    before = turns[joint][turn - 1]
                    gap = frame - before
                    age = 0 if gap > 8 else 2 if gap <= 2 else 1
                    last = min(found[before, joint][k], 2) if age else 0
                so_far = min(sum(found[frame, joint]), 2)
                rows.append((age, last, so_far, int(k == dims - 1)))
            got = [coder.table(sizes.frequencies[row]) for row in rows]
            for joint, symbol in zip(some, got):
                more = coder.natural() if symbol == 17 else 0
                found[turns[joint][turn], joint].append(symbol + more)
            since += zip(rows, got)
        if turn % 4 == 3:
            sizes.adapt(since)
            since = []
    for value in found.values():
        for k, number in enumerate(value):
            if number and coder.table(EVEN):
                value[k] = -number
    return found


def between_rows(frames: int, e: int) -> list[tuple[int, list[int]]]:
    """8.14: the distance and the frames of each row."""
    distances = [1 << i for i in reversed(range(e))]
    return [(h, list(range(h, frames - 1, 2 * h))) for h in distances]


def between(
    coder: Range, gone: list[list[bool]], dims: int, e: int, flags: Adaptive, sizes: Adaptive
) -> dict[tuple[int, int], list[int]]:
    """8.14: corrections[frame, joint]."""
    frames, found = len(gone[0]), {}
    rates = [2048] * len(gone)
    for h, row in between_rows(frames, e):
        mine: set[tuple[int, int]] = set()
        for start in range(0, len(row), 64):
            some = row[start : start + 64]
            since: list[tuple[Any, int]] = []
            grown = list(rates)
            for joint, line in enumerate(gone):
                here = [frame for frame in some if not line[frame]]
                for t in here:
                    near = sum((at, joint) in found for at in {t - h, min(t + h, frames - 1)})
                    last = [(t, joint - 1) in mine, (t, joint - 2) in mine]
                    any_of = any((t, other) in mine for other in range(joint))
                    c = 2 + last[1] if last[0] else int(any_of)
                    d = min(h.bit_length() - 1, 2)
                    which = (d, near, c, half_octaves(rates[joint] // 1024, 7))
                    got = coder.table(flags.frequencies[which])
                    since.append((which, got))
                    if got:
                        mine.add((t, joint))
                m, n = len(here), sum((t, joint) in mine for t in here)
                if m:
                    grown[joint] += (65_536 * n // m - rates[joint]) * m // (m + 16)
            rates = grown
            flags.adapt(since)
        values: dict[tuple[int, int], list[int]] = {at: [] for at in sorted(mine)}
        since = []
        for k in range(dims):
            asked = [(min(sum(value), 2), int(k == dims - 1)) for value in values.values()]
            symbols = [coder.table(sizes.frequencies[which]) for which in asked]
            for value, symbol in zip(values.values(), symbols):
                value.append(symbol + (coder.natural() if symbol == 17 else 0))
            since += zip(asked, symbols)
        sizes.adapt(since)
        for value in values.values():
            for k, number in enumerate(value):
                if number and coder.table(EVEN):
                    value[k] = -number
        found.update(values)
    return found


def places(
    values: dict[tuple[int, int], list[float]],
    gone: list[list[bool]],
    dims: int,
    e: int,
    companions: dict[int, int],
    corrections: dict[tuple[int, int], list[int]],
) -> dict[tuple[int, int], list[int]]:
    """9.10: places[frame, joint], in 64ths of a step."""
    frames = len(gone[0])
    keys = [*range(0, frames - 1, 1 << e), frames - 1]
    out = {(keys[t], joint): [64 * int(n) for n in value] for (t, joint), value in values.items()}
    for h, row in between_rows(frames, e):
        known = dict(out)
        for t in row:
            ways: dict[int, list[int]] = {}

            def way(joint: int, t: int = t, ways: dict[int, list[int]] = ways) -> list[int]:
                if joint not in ways:
                    own = corrections.get((t, joint), [0] * dims)
                    along = [0] * dims
                    if joint in companions:
                        along = [number // 2 for number in way(companions[joint])]
                    ways[joint] = [64 * n + a for n, a in zip(own, along)]
                return ways[joint]

            for joint, line in enumerate(gone):
                if line[t]:
                    continue
                left, right = t - h, min(t + h, frames - 1)
                a, c = known.get((left, joint)), known.get((right, joint))
                b, d = known.get((t - 3 * h, joint)), known.get((t + 3 * h, joint))
                if a and c and b and d:
                    told = [(9 * (a[k] + c[k]) - b[k] - d[k] + 8) // 16 for k in range(dims)]
                elif a and c:
                    span = right - left
                    told = [
                        a[k] + (2 * (c[k] - a[k]) * (t - left) + span) // (2 * span)
                        for k in range(dims)
                    ]
                elif a or c:
                    told = list(a or c or ())
                else:
                    mine = sorted(frame for frame, other in known if other == joint)
                    before = [frame for frame in mine if frame < t]
                    nearest = before[-1:] or mine[:1]
                    told = list(known[nearest[0], joint]) if nearest else [0] * dims
                out[t, joint] = [x + w for x, w in zip(told, way(joint))]
    return out


def finish(coder: Range, values: list[list[int]], last: int) -> None:
    """8.9, points 3 and 4: more for the last symbol, then signs."""
    for value in values:
        for k, number in enumerate(value):
            if number == last:
                value[k] += coder.natural()
    for value in values:
        for k, number in enumerate(value):
            if number and coder.table(EVEN):
                value[k] = -number


def cube_root_above(cube: int) -> int:
    """The least n with n^3 >= cube."""
    low, high = 0, 1 << (cube.bit_length() // 3 + 1)
    while low < high:
        middle = (low + high) // 2
        low, high = (low, middle) if middle**3 >= cube else (middle + 1, high)
    return low


THRESHOLDS = [cube_root_above(64**3 << one) - 64 for one in range(1, 106)]
"""8.10: the least n with (n + 64)^3 >= 64^3 2^l, in whole numbers."""


SIZES = [*range(8)] + [2**k * half // 2 for k in range(3, 43) for half in (2, 3)]
"""8.10: the least difference of each size."""


def width_of(size: int) -> int:
    """8.10: bits behind a size."""
    return (
        (SIZES[size + 1] - SIZES[size]).bit_length() - 1
        if 8 <= size < 87
        else 41
        if size == 87
        else 0
    )


class Adaptive:
    """8.10: counts and frequencies of tables, which all people of a chunk share."""

    def __init__(self, start: dict[Any, list[int]], gain: int) -> None:
        self.counts = start
        self.frequencies = {at: list(row) for at, row in start.items()}
        self.gain = gain

    @classmethod
    def of_numbers(cls) -> Adaptive:
        start = numbers_of("numbers.bin", 2, 40, 3, 40)
        rows = {
            (kind, level, trend): list(start[kind][level][trend])
            for kind in range(2) for level in range(40) for trend in range(3)
        }  # fmt: skip
        return cls(rows, 512)

    @classmethod
    def of_plain(cls) -> Adaptive:
        start = numbers_of("refinement.bin", 12, 16, 18)
        return cls({(b, a): start[b][a] for b in range(12) for a in range(16)}, 1024)

    @classmethod
    def of_between(cls) -> tuple[Adaptive, Adaptive]:
        words = numbers_of("between.bin", 288 + 6 * 18)
        flags = {
            (at // 96, at // 32 % 3, at // 8 % 4, at % 8): [65_536 - words[at], words[at]]
            for at in range(288)
        }
        sizes = {(at // 2, at % 2): words[288 + 18 * at : 306 + 18 * at] for at in range(6)}
        return cls(flags, 512), cls(sizes, 512)

    @classmethod
    def of_corrections(cls) -> tuple[Adaptive, Adaptive]:
        words = numbers_of("corrections.bin", 192 + 54 * 18)
        flags = {
            (bool(at // 96), at // 12 % 8, at % 12): [65_536 - words[at], words[at]]
            for at in range(192)
        }
        sizes = {
            (at // 18, at // 6 % 3, at // 2 % 3, at % 2): words[192 + 18 * at : 210 + 18 * at]
            for at in range(54)
        }
        return cls(flags, 512), cls(sizes, 512)

    def adapt(self, seen: list[tuple[Any, int]]) -> None:
        for at, symbol in seen:
            self.counts[at][symbol] += self.gain
        for at in {at for at, _ in seen}:
            counts = self.counts[at]
            if sum(counts) >= 1 << 20:
                counts = self.counts[at] = [(count + 1) // 2 for count in counts]
            row = [count * (65_536 - len(counts)) // sum(counts) + 1 for count in counts]
            row[row.index(max(row))] += 65_536 - sum(row)
            self.frequencies[at] = row


def early_beginning(
    coder: Range, some: list[int], joints: int, dims: int, floats: bool, later: bool, blocks: int
) -> tuple[Any, ...]:
    """8.10, 1 to 3: first numbers, kinds, partners, weights, companions, orders, forms, shares."""
    axes = range(dims)
    first = {some[0]: [coder.signed() for _ in axes]}
    width = coder.bits(6)
    if width > 41:
        raise Refused("first numbers")
    for joint in some[1:]:
        told = [coder.bits(width + 1) for _ in axes]
        first[joint] = [first[some[0]][k] + told[k] - (1 << width) + 1 for k in axes]
    kinds, partners, weights = {}, {}, {}
    for joint in some:
        kind = kinds[joint] = coder.bits(2)
        if not kind:
            continue
        partners[joint] = [coder.bits(max((joints - 1).bit_length(), 1)) for _ in range(kind)]
        if kind == 1 and not floats:
            weights[joint] = [coder.natural() / 16]
        else:
            words = [coder.bits(32) for _ in range(3 if kind == 3 else 1)]
            weights[joint] = [struct.unpack("<f", struct.pack("<I", word))[0] for word in words]
    linked = [joint for joint in some if kinds[joint]]
    companions = {}
    for joint in some if later else []:
        kind = coder.bits(2)
        if kind == 1:
            companions[joint] = partners[joint][0]
        elif kind:
            companions[joint] = coder.bits(max((joints - 1).bit_length(), 1))
    orders, forms = [dict.fromkeys(some, 2)], [{j: 1 if kinds[j] == 1 else 7 for j in linked}]
    shares = [dict.fromkeys(companions, 2)]
    for _ in range(blocks):
        for ways, count, start in (
            (orders, 16 if later else 3, 1), (shares, 5, 0), (forms, 8, 0)
        ):  # fmt: skip
            before = ways[-1]
            same = {joint: coder.table([16_384, 49_152]) for joint in before}
            even = [65_536 // count] * count
            even[0] += 65_536 - sum(even)
            ways.append({j: before[j] if same[j] else coder.table(even) + start for j in before})
    return first, kinds, partners, weights, companions, orders[1:], forms[1:], shares[1:]


BODY = [-1, 0, 1, 2, 3, 4, 2, 6, 7, 2, 9, 10, 0, 12, 13, 14, 0, 16, 17, 18]
"""8.7, parents."""


def by_length(coder: Range, table: list[int], count: int, top: int | None = None) -> list[int]:
    """8.15."""
    lengths = [coder.table(table) for _ in range(count)]
    lengths = lengths if top is None else [top - length for length in lengths]
    out = [1 << length - 1 | coder.bits(length - 1) if length > 0 else 0 for length in lengths]
    return [-n if n and coder.table(EVEN) else n for n in out]


def beginning(
    coder: Range,
    some: list[int],
    joints: int,
    dims: int,
    floats: bool,
    blocks: int,
    covered: Sequence[int],
) -> tuple[Any, ...]:
    """8.15, as early_beginning."""
    words = numbers_of("beginnings.bin", 46 + 46 + 6 + 12 + 6 + 289 * 16 + 30 + 88)

    def rows(count: int, size: int) -> list[list[int]]:
        out = [words[i * size : (i + 1) * size] for i in range(count)]
        del words[: count * size]
        return out

    firsts, lengths = rows(1, 46)[0], rows(1, 46)[0]
    of_companions, of_kinds, of_same = rows(2, 3), rows(3, 4), rows(3, 2)
    of_orders, of_shares, of_forms = rows(289, 16), rows(6, 5), rows(11, 8)
    by_body = {covered[joint]: joint for joint in some if covered[joint] >= 0}
    hangs, free = {}, []
    for at, joint in enumerate(some):
        up = covered[joint]
        while up >= 0:
            up = BODY[up]
            if up in by_body:
                hangs[joint] = by_body[up]
                break
        if joint in hangs:
            continue
        if covered[joint] < 0 and at > 0:
            hangs[joint] = some[at - 1]
            continue
        if free:
            hangs[joint] = free[-1]
        free.append(joint)

    def depth(joint: int) -> int:
        return 1 + depth(hangs[joint]) if joint in hangs else 0

    order = sorted(some, key=lambda joint: (depth(joint), joint))
    root, others = order[0], order[1:]
    first = {root: [coder.signed() for _ in range(dims)]}
    top = coder.bits(6)
    if top > 45:
        raise Refused("first numbers")
    told = by_length(coder, firsts, dims * len(others), top) if top else [0] * dims * len(others)
    for i, joint in enumerate(others):
        first[joint] = [a + told[dims * i + k] for k, a in enumerate(first[hangs[joint]])]
    width = max((joints - 1).bit_length(), 1)
    how = {joint: coder.table(of_companions[joint != root]) for joint in order}
    expected = {j: coder.bits(width) if how[j] == 2 else hangs.get(j, -1) for j in order}
    companions = {joint: expected[joint] for joint in order if how[joint]}
    kinds = {joint: coder.table(of_kinds[how[joint]]) for joint in order}
    same = {joint: coder.table(of_same[how[joint]]) for joint in order if kinds[joint] == 1}
    partners = {joint: [expected[joint]] for joint in order if same.get(joint)}
    linked = [joint for joint in order if kinds[joint]]
    for joint in linked:
        if joint not in partners:
            partners[joint] = [coder.bits(width) for _ in range(kinds[joint])]
    kept = [joint for joint in order if kinds[joint] == 1 and not floats]
    weights: dict[int, list[float]] = {}
    for joint, number in zip(kept, by_length(coder, lengths, len(kept)) if kept else []):
        square = 0.0
        for a, b in zip(first[joint], first.get(partners[joint][0], [0] * dims)):
            square += float(a - b) * float(a - b)
        weights[joint] = [(round(4 * math.sqrt(square)) + number) / 4]
    for joint in linked:
        if joint not in weights:
            count, bits = 3 if kinds[joint] == 3 else 1, 32 if floats else 20
            raw = [coder.bits(bits) << 32 - bits for _ in range(count)]
            weights[joint] = [struct.unpack("<f", struct.pack("<I", word))[0] for word in raw]
    orders: list[dict[int, int]] = []
    shares: list[dict[int, int]] = []
    forms: list[dict[int, int]] = []
    for block in range(blocks):
        mine: dict[int, int] = {}
        for joint in order:
            before = orders[-1][joint] if block else 0
            about = mine[hangs[joint]] if joint in hangs else 0
            mine[joint] = 1 + coder.table(of_orders[17 * before + about])
        orders.append(mine)
        mine = {}
        for joint in order:
            if joint in companions:
                mine[joint] = coder.table(of_shares[1 + shares[-1][joint] if block else 0])
        shares.append(mine)
        mine = {}
        for joint in linked:
            row = 0 if kinds[joint] == 1 else 9
            if block:
                row = 1 + forms[-1][joint]
                row = 10 if kinds[joint] > 1 and row == 1 else row
            mine[joint] = coder.table(of_forms[row])
        forms.append(mine)
    return first, kinds, partners, weights, companions, orders, forms, shares


def numbers(
    coder: Range,
    gone: list[list[bool]],
    dims: int,
    floats: bool,
    tables: Adaptive,
    later: bool,
    companions: dict[int, int] | None = None,
    covered: Sequence[int] | None = None,
) -> dict[tuple[int, int], list[float]]:
    """8.10, 8.15 and 9.9: values[frame, joint]; ``companions`` takes up those of joints."""
    frames, joints, axes = len(gone[0]), len(gone), range(dims)
    here = [[t for t in range(frames) if not line[t]] for line in gone]
    some = [joint for joint, line in enumerate(here) if line]
    if not some:
        return {}
    blocks = -(-frames // 32)
    if covered is None:
        begun = early_beginning(coder, some, joints, dims, floats, later, blocks)
    else:
        begun = beginning(coder, some, joints, dims, floats, blocks, covered)
    first, kinds, partners, weights, found, orders, forms, shares = begun
    companions = {} if companions is None else companions
    companions.update(found)

    def form(frame: int, joint: int) -> int:
        there = kinds[joint] and all(not gone[p][frame] for p in partners[joint])
        return forms[frame // 32][joint] if there else 0

    means = [([256] * (dims + 1), [256] * (dims + 1)) for _ in gone]
    symbols: list[tuple[tuple[int, int, int], int, int]] = []
    since: list[tuple[tuple[int, int, int], int]] = []
    for frame in range(frames):
        for joint in some:
            if frame not in here[joint][1:]:
                continue
            way = form(frame, joint)
            others = [way == 7 or (way > 0 and (way - 1) // 2 == k) for k in axes]
            slow, fast = means[joint]
            ys = []
            for k in axes:
                middle, lately, past = sum(slow[:dims]) // dims, sum(fast[:dims]) // dims, slow[k]
                mean = (slow[k] + middle) // 2
                if others[k]:
                    mean, lately, past = slow[dims], fast[dims], slow[dims]
                level = bisect_right(THRESHOLDS, mean)
                trend = 1 - (2 * lately < past) + (lately > 2 * past)
                row = level if level < 40 else 37 + (level - 40) % 3
                base = max(2 * ((level - 37) // 3), 0)
                symbol = coder.table(tables.frequencies[others[k], row, trend])
                since.append(((int(others[k]), row, trend), symbol))
                symbols.append(((frame, joint, k), base, symbol))
                size = base + symbol
                middle = SIZES[size] + (1 << width_of(size)) // 2
                ys.append(256 * (0 if base and not symbol else min(middle, 1 << 34)))
            own = [y for y, by in zip(ys, others) if not by]
            rest = [y for y, by in zip(ys, others) if by]
            for mean_of, part in ((slow, 8), (fast, 2)):
                for k in axes:
                    if own:
                        y = sum(own) // len(own) if others[k] else ys[k]
                        mean_of[k] += (y - mean_of[k]) // part
                if rest:
                    mean_of[dims] += (sum(rest) // len(rest) - mean_of[dims]) // part
        if frame % 8 == 7:
            tables.adapt(since)
            since = []
    sizes = {at: base + symbol for at, base, symbol in symbols}
    for at, _, symbol in symbols:
        if symbol == 39:
            sizes[at] += coder.natural()
            if sizes[at] >= len(SIZES):
                raise Refused("size")
    small = {at: base for at, base, symbol in symbols if base and not symbol}
    widths = {
        at: (SIZES[small[at] + 1] - 1).bit_length() if at in small else width_of(size)
        for at, size in sizes.items()
    }
    off = {at: 0 if at in small else SIZES[size] for at, size in sizes.items()}
    for width in sorted(set(widths.values()) - {0}):
        ends = dict.fromkeys((at for at, mine in widths.items() if mine == width), 0)
        for low in range(0, width, 8):
            wide = 1 << min(8, width - low)
            for at in ends:
                ends[at] |= coder.table([65_536 // wide] * wide) << low
        for at, end in ends.items():
            off[at] += end
    for at in off:
        if off[at] and coder.table(EVEN):
            off[at] = -off[at]

    def add(foretold: float, difference: int) -> float:
        if floats:
            return float_at(place_of(foretold) + difference)
        return foretold + difference

    out: dict[tuple[int, int], list[float]] = {}
    past_of: dict[int, list[list[float]]] = {joint: [] for joint in some}
    surprises: dict[tuple[int, int], list[float]] = {}
    for frame in range(frames):
        waiting = [joint for joint in some if not gone[joint][frame]]
        while waiting:
            joint = waiting.pop(0)
            past, way = past_of[joint], form(frame, joint)
            if joint in companions and companions[joint] in waiting:
                waiting.append(joint)
                continue
            if not past:
                out[frame, joint] = [float_at(n) if floats else float(n) for n in first[joint]]
                past.insert(0, out[frame, joint])
                continue
            if way and any((frame, p) not in out for p in partners[joint]):
                waiting.append(joint)
                continue
            order = min(orders[frame // 32][joint], 16 if later else len(past))
            a, b, c = (*past, past[0], past[0])[:3]
            if later:
                told = list(a)
                for i, weight in enumerate(PREDICTORS[order - 1], 1):
                    value = past[min(i, len(past) - 1)]
                    told = [x + weight * (y - z) for x, y, z in zip(told, value, a)]
                alone = told
                if joint in companions:
                    part = shares[frame // 32][joint] / 4
                    other = surprises.get((frame, companions[joint]), [0.0] * dims)
                    told = [x + part * y for x, y in zip(told, other)]
            elif order == 1:
                told = list(a)
            elif order == 2:
                told = [2 * x - y for x, y in zip(a, b)]
            else:
                told = [(3 * x + -3 * y) + z for x, y, z in zip(a, b, c)]
            if way == 7:
                told = place(weights[joint], [out[frame, p] for p in partners[joint]])
            told = [x + 0.0 if floats else float(round(x)) for x in told]
            now = [add(told[k], off[frame, joint, k]) for k in axes]
            if 0 < way < 7:
                k, partner = (way - 1) // 2, out[frame, partners[joint][0]]
                square = weights[joint][0] * weights[joint][0]
                for other in axes:
                    if other != k:
                        apart = now[other] - partner[other]
                        square = square - apart * apart
                root = math.sqrt(max(square, 0.0))
                root = root if floats else float(round(root))
                side = partner[k] + (root if way % 2 else -root) + 0.0
                now[k] = add(side, off[frame, joint, k])
            out[frame, joint] = now
            past.insert(0, now)
            if later:
                surprises[frame, joint] = [x - y for x, y in zip(now, alone)]
    return out


def place(weights: list[float], partners: list[list[float]]) -> list[float]:
    """9.9, lines and frames."""
    p, q = partners[:2]
    u = [y - x for x, y in zip(p, q)]
    out = [x + weights[0] * y for x, y in zip(p, u)]
    if len(partners) == 3:
        v = [y - x for x, y in zip(p, partners[2])]
        cross = [u[i - 2] * v[i - 1] - u[i - 1] * v[i - 2] for i in range(3)]
        out = [x + weights[1] * y for x, y in zip(out, v)]
        out = [x + weights[2] * y for x, y in zip(out, cross)]
    return out


def place_of(value: float) -> int:
    """9.9: the place of a float in their order."""
    (bits,) = struct.unpack("<I", struct.pack("<f", value))
    return bits if bits < 1 << 31 else -(bits - (1 << 31)) - 1


def float_at(at: int) -> float:
    """Inverse of place_of."""
    bits = at if at >= 0 else -at - 1 + (1 << 31)
    value: float = struct.unpack("<f", struct.pack("<I", bits))[0]
    return value


def exact(
    coder: Range,
    gone: list[list[bool]],
    dims: int,
    tables: Adaptive,
    later: bool,
    covered: Sequence[int] | None = None,
) -> list[int]:
    """8.11: bits of all values, frame by frame."""
    scale = coder.bits(4)
    values = numbers(coder, gone, dims, scale == 0, tables, later, None, covered)
    out = [0x7FC0_0000] * (len(gone[0]) * len(gone) * dims)
    for (frame, joint), value in values.items():
        for k, number in enumerate(value):
            number = number / 10.0 ** (scale - 1) if scale else number
            (word,) = struct.unpack("<I", struct.pack("<f", number))
            out[(frame * len(gone) + joint) * dims + k] = word
    at, strays = -1, []
    for _ in range(coder.natural()):
        at += 1 + coder.natural()
        strays.append((at, coder.bits(32)))
    lacking = [
        (frame * len(gone) + joint) * dims + k
        for frame in range(len(gone[0]))
        for joint, line in enumerate(gone)
        if line[frame]
        for k in range(dims)
    ]
    if lacking and coder.bits(1):
        same = [coder.table([64, 65_472]) for _ in lacking]
        last = 0x7FC0_0000
        for where, as_before in zip(lacking, same):
            last = last if as_before else coder.bits(32)
            out[where] = last
    for at, word in strays:
        out[at] = word
    return out


def adaptive_curves(file: str) -> list[Adaptive]:
    """8.12: tables of sines, knots and bits."""
    raw = (BITSTREAM / file).read_bytes()
    told = [number for (number,) in struct.iter_unpack("<H", raw)]
    sines = {
        (band, level): [told.pop(0) for _ in range(18)] for band in range(8) for level in range(14)
    }
    differences = {row: [told.pop(0) for _ in range(18)] for row in range(11)}
    assert len(told) == 41
    return [Adaptive(sines, 512), Adaptive(differences, 1024), Adaptive({0: told}, 8192)]


def row_of(coder: Range, tables: Adaptive, which: list[Any]) -> list[int]:
    """8.12: magnitudes in a row."""
    symbols = [coder.table(tables.frequencies[at]) for at in which]
    tables.adapt(list(zip(which, symbols)))
    return [symbol + (coder.natural() if symbol == 17 else 0) for symbol in symbols]


def signed_row(coder: Range, magnitudes: list[int]) -> list[int]:
    return [-m if m and coder.table([32_768, 32_768]) else m for m in magnitudes]


def adaptive_curve(
    coder: Range, blocks: int, gone: list[bool], dims: int,
    sines: Adaptive, differences: Adaptive, lengths: Adaptive,
) -> dict[str, Any]:  # fmt: skip
    """8.12."""

    def level(x: int, most: int) -> int:
        return min(int(2 * math.log2(1 + x) + 1e-9), most)

    channels = len(gone) * dims
    out = {
        "knots": [[0] * (blocks + 1) for _ in range(channels)],
        "sines": [[[0] * 31 for _ in range(blocks)] for _ in range(channels)],
    }
    joints = [joint for joint, away in enumerate(gone) if not away]
    if not joints:
        return out
    mine = [joint * dims + axis for joint in joints for axis in range(dims)]
    bits: list[int] = []
    for _ in joints:
        some = [coder.table(lengths.frequencies[0]) for _ in range(dims)]
        lengths.adapt([(0, one) for one in some])
        bits += some
    first = [(1 << b - 1) + coder.bits(b - 1) if b else 0 for b in bits]
    now = signed_row(coder, first)
    which: list[Any] = [10] * len(mine)
    for knot in range(blocks + 1):
        if knot:
            sizes = row_of(coder, differences, which)
            now = [a + b for a, b in zip(now, signed_row(coder, sizes))]
            low = [min(size, 4095) for size in sizes]
            joint = [sum(low[i : i + dims]) for i in range(0, len(low), dims)]
            which = [level(m + joint[i // dims], 9) for i, m in enumerate(low)]
        if max(map(abs, now)) > MAX_KNOT:
            raise Refused("knot")
        for channel, value in zip(mine, now):
            out["knots"][channel][knot] = value
    counts = [coder.bits(5) for _ in range(blocks)]
    found = {(b, k): [0] * len(mine) for b in range(-1, blocks) for k in range(-2, 33)}
    for t in range(31 + 2 * blocks):
        here = [(b, t - 2 * b) for b in range(blocks) if 0 <= t - 2 * b < counts[b]]
        which = []
        for b, k in here:
            near = (b, k - 1), (b, k - 2), (b - 1, k), (b - 1, k + 1)
            a, c, p, q = ([min(m, 4095) for m in found[at]] for at in near)
            both = [x + y for x, y in zip(a, p)]
            joint = [sum(both[i : i + dims]) for i in range(0, len(both), dims)]
            band = bisect_right([0, 1, 2, 3, 4, 6, 9, 13], k) - 1
            which += [
                (band, level(2 * a[i] + 2 * c[i] + p[i] + q[i] + joint[i // dims], 13))
                for i in range(len(mine))
            ]
        if here:
            sizes = row_of(coder, sines, which)
            for i, at in enumerate(here):
                found[at] = sizes[i * len(mine) : (i + 1) * len(mine)]
    for b in range(blocks):
        for k in range(31):
            for channel, value in zip(mine, signed_row(coder, found[b, k])):
                out["sines"][channel][b][k] = value
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
    learned: Sequence[dict[str, Any]] = (),
    steps: Sequence[int] = (),
    fine: tuple[int, int, int] | None = None,
    bounded: bool = False,
    lossless: bool = False,
    stride: int = 1,
    jointed: Sequence[int] = (),
    covered: Sequence[int] = (),
    outside: Sequence[int] = (),
    later: bool = False,
    spaced: bool = False,
    terse: bool = False,
    spectral: tuple[int, int, tuple[int, bool, bool]] | None = None,
) -> list[dict[str, Any]]:
    """8.1: all people of a chunk."""
    coder = Range(data)
    shared, sure = Adaptive.of_numbers(), Adaptive.of_numbers()
    begun = adaptive_curves("curves.bin") if outside else []
    ways = adaptive_curves("paths.bin") if spectral else []
    plain, corrected = Adaptive.of_plain(), Adaptive.of_corrections()
    amid = Adaptive.of_between()
    body = covered if terse else None
    out = []
    for number in range(people):
        person: dict[str, Any] = {"missing": missing(coder, frames, joints)}
        out.append(person)
        if lossless:
            person["exact"] = exact(coder, person["missing"], dims, shared, later, body)
            if confidence_bits:
                person["exact_confidence"] = exact(coder, person["missing"], 1, sure, later, body)
            continue
        if all(all(line) for line in person["missing"]):
            continue
        in_numbers = bounded and coder.bits(1)
        placed = bool(priors or learned or spectral) and (not in_numbers or coder.bits(1))
        depth = spectral[1] if spectral else len(learned)
        step, turns, free = spectral[2] if spectral else (0, False, False)
        if placed:
            hips = "hips_2d" if dims == 2 else f"hips_{depth}" if depth else "hips"
            if not free:
                person["origin"] = curve(coder, hips, windows, dims)
            kind = "heading" if dims == 3 else "box"
            person["turn"] = knots(coder, kind, 2 * windows + 1, 1, 1)[0]
            person["tokens"] = [tokens(coder, count, *prior) for prior, count in zip(priors, steps)]
        if placed and depth:
            if dims == 3:
                person["bones"] = bones(coder, depth)
            known: list[tuple[Learned, list[list[int]]]] = []
            for tensors, count in zip(learned, steps):
                one = Learned(tensors)
                known.append((one, one.read(coder, count, known)))
            if spectral:
                person["spectrum"] = (
                    turning(coder, spectral[0], step, "free_" if free else "")
                    if turns
                    else spectrum(coder, spectral[0], step)
                )
                if free:
                    person["path"] = adaptive_curve(coder, -(-windows // 2), [False], 3, *ways)
            else:
                person["tokens"] = [[list(slot) for slot in zip(*found)] for _, found in known]
        if extra and not in_numbers:
            blocks = max(-((1 - frames) // (32 * stride)), 0)
            if outside:
                gone = [all(person["missing"][joint]) for joint in outside]
                person["extra"] = adaptive_curve(coder, blocks, gone, dims, *begun)
            else:
                person["extra"] = curve(coder, "keypoint", blocks, extra * dims)
        if confidence_bits:
            person["confidence"] = confidence(coder, person["missing"], confidence_bits)
        if in_numbers:
            gone = person["missing"]
            e = coder.bits(3) if spaced else 0
            keys = sorted({*range(0, frames, 1 << e), frames - 1})
            keyed = [[line[t] for t in keys] for line in gone]
            along: dict[int, int] = {}
            values = numbers(coder, keyed, dims, False, shared, later, along, body)
            if e:
                person["between"] = between(coder, gone, dims, e, *amid)
                values = places(values, gone, dims, e, along, person["between"])
            person["numbers"] = values
        elif fine:
            about: tuple[Any, ...] = ()
            if jointed:
                here = {
                    canonical
                    for canonical, line in zip(covered, person["missing"])
                    if canonical >= 0 and not all(line)
                }
                told, choices, slots = shape(coder, set(person["bones"]), here)
                person["shape"] = told, choices
                about = slots, depth, jointed[number]
                if spectral:
                    fineness = min(max(1 + (-step - 40) // 16, 1), 8)
                    about = slots, fineness, jointed[number], ("rest.bin", 8)
            person["fine"] = coefficients(coder, *fine, plain, later, *about)
            if bounded:
                person["corrections"] = (
                    later_corrections(coder, person["missing"], dims, *corrected)
                    if later
                    else corrections(coder, person["missing"], dims)
                )
    return out
