"""Corrections of the few samples that are still further off than the bound, in whole numbers.

Whether a sample has one is told frame by frame, under a table that is chosen by how often the joint
had one of late and how many joints had one in the two frames before; then what corrections are, the
first of every joint, the second, and so on: a joint is off in much the same direction again, or in
the opposite one. Tables adapt.
"""

from __future__ import annotations

from functools import cache
from importlib.resources import files

import numpy as np
from numpy.typing import NDArray

from motioncodec.bitstream.entropy import TOTAL, AdaptiveTables, Coder, code_signs
from motioncodec.bitstream.magnitudes import SYMBOLS, code_magnitudes, level_of

Integers = NDArray[np.int64]
Bool = NDArray[np.bool_]

CROWDS, RATES = 8, 12
"""Tables of flags: whether the joint had one in the frame before, by level of how many joints had
one in the two frames before, and by level of how often this one had one."""

AGES, SEEN = 3, 3
"""Tables of magnitudes: by how long ago the joint's last correction was, how large that one's was
in this coordinate, how large those of this one's coordinates before it are, and whether this is
the last coordinate."""

_RATE_LEVELS = level_of(np.arange(65), RATES)
_CROWD_LEVELS: list[int] = level_of(np.arange(41), CROWDS).tolist()
"""Of 40 and more the last: twice as many as there are joints."""

_RATE = 1 << 11
"""What joints' running share of frames with a correction begins at, in 65,536ths."""

_ADAPT = 8
"""Frames after which tables of flags take in what they coded."""

_TURNS = 4
"""Corrections of each joint after which tables of magnitudes do."""

_GAIN = 512
"""What a symbol counts as there."""


@cache
def _begin() -> tuple[Integers, Integers]:
    """(2 x CROWDS x RATES, 2) frequencies of flags, and (2 x AGES x SEEN x SEEN, SYMBOLS) of
    magnitudes."""
    raw = (files("motioncodec.bitstream") / "corrections.bin").read_bytes()
    words = np.frombuffer(raw, "<u2").astype(np.int64)
    flags = words[: 2 * CROWDS * RATES]
    return (
        np.stack([TOTAL - flags, flags], axis=1),
        words[len(flags) :].reshape(-1, SYMBOLS),
    )


class CorrectionTables:
    """Tables of corrections, of all people of a chunk."""

    def __init__(self) -> None:
        flags, magnitudes = _begin()
        self.flags = AdaptiveTables(flags, _GAIN)
        self.magnitudes = AdaptiveTables(magnitudes, _GAIN)


def code_corrections(
    coder: Coder, given: Integers, present: Bool, shared: CorrectionTables | None
) -> Integers:
    """Writes (F, K, D) corrections, most of them 0, and returns them, or reads as many: a bit,
    whether there are any; a flag for each present joint of each frame; magnitudes; their signs.

    Args:
        coder: either direction.
        given: corrections; zeros to read.
        present: (F, K).
        shared: tables, which adapt; None for early files, which have others.
    """
    flags = (given != 0).any(axis=-1) & present
    if not coder.bits(int(flags.any()), 1):
        return np.zeros_like(given)
    if shared:
        found = _code_flags(coder, flags, present, shared.flags)
        out = _code_sizes(coder, np.abs(given), found, shared.magnitudes)
    else:
        found = _code_early_flags(coder, flags, present)
        out = np.zeros_like(given)
        if found.any():
            sizes = np.abs(given[found])
            table = np.broadcast_to(_MAGNITUDES, (*sizes.shape, SYMBOLS))
            out[found] = code_magnitudes(coder, sizes, table)
    out[found] = code_signs(coder, given[found], out[found])
    return out


def _code_flags(coder: Coder, given: Bool, present: Bool, shared: AdaptiveTables) -> Bool:
    """(F, K) which joints have a correction."""
    frames, joints = given.shape
    flags = given.astype(np.int64)
    found = np.zeros((frames + 1, joints), np.int64)  # an empty frame comes first
    there = [0, *present.sum(axis=1).tolist()]
    counts = [0, 0]
    rate = np.full(joints, _RATE, np.int64)
    rows_since: list[Integers] = []
    symbols_since: list[Integers] = []
    for frame in range(frames):
        crowd = 20 * (counts[-1] + counts[-2]) // max(there[frame], 1)
        rows = found[frame] * (CROWDS * RATES) + _RATE_LEVELS[rate >> 10]
        rows += _CROWD_LEVELS[min(crowd, 40)] * RATES
        # A slice takes views, in which most frames are done faster.
        here = slice(None) if there[frame + 1] == joints else present[frame]
        rows = rows[here]
        got = shared.code(coder, rows, flags[frame, here])
        found[frame + 1, here] = got
        rate[here] += (got << 16) - rate[here] >> 4
        counts.append(int(got.sum()))
        rows_since.append(rows)
        symbols_since.append(got)
        if frame % _ADAPT == _ADAPT - 1:
            shared.adapt(np.concatenate(rows_since), np.concatenate(symbols_since))
            rows_since, symbols_since = [], []
    return found[1:] > 0


def _code_sizes(coder: Coder, given: Integers, found: Bool, shared: AdaptiveTables) -> Integers:
    """(F, K, D) magnitudes of corrections."""
    at = np.argwhere(found.T)
    joint, frame = at.T
    starts = np.searchsorted(joint, np.arange(found.shape[1]))
    rank = np.arange(len(at)) - starts[joint]
    mine = given[frame, joint]
    out = np.zeros_like(mine)
    dims = given.shape[2]
    rows_since: list[Integers] = []
    symbols_since: list[Integers] = []
    for turn in range(int(rank.max(initial=-1)) + 1):
        rows = np.flatnonzero(rank == turn)
        age = np.zeros(len(rows), np.int64)
        last = np.zeros((len(rows), dims), np.int64)
        if turn:
            gap = frame[rows] - frame[rows - 1]
            age = 1 + (gap <= 2) - (gap > 8)
            last = np.where(age[:, None] > 0, np.minimum(out[rows - 1], SEEN - 1), 0)
        so_far = np.zeros(len(rows), np.int64)
        for k in range(dims):
            which = ((age * SEEN + last[:, k]) * SEEN + so_far) * 2 + (k == dims - 1)
            got = code_magnitudes(coder, mine[rows, k], shared.frequencies[which])
            rows_since.append(which)
            symbols_since.append(np.minimum(got, SYMBOLS - 1))
            out[rows, k] = got
            so_far = np.minimum(so_far + got, SEEN - 1)
        if turn % _TURNS == _TURNS - 1:
            shared.adapt(np.concatenate(rows_since), np.concatenate(symbols_since))
            rows_since, symbols_since = [], []
    whole = np.zeros_like(given)
    whole[frame, joint] = out
    return whole


_SHARES = 8
"""Shares of corrected samples are told as 2^(-i / 8)."""


def _odds(index: int) -> int:
    return min(max(int(np.rint(TOTAL * 2.0 ** (-index / _SHARES))), 1), TOTAL - 1)


def _share(flags: NDArray[np.bool_]) -> int:
    """Index of the share of True among flags, 0 to 127."""
    share = max(float(flags.mean()), 2.0**-15) if len(flags) else 2.0**-15
    return int(np.clip(np.rint(-_SHARES * np.log2(share)), 1, 127))


def _code_early_flags(coder: Coder, given: Bool, present: Bool) -> Bool:
    """As :func:`_code_flags`, in early files: shares of samples that have a correction, where the
    same joint had none in the frame before and where it had one; then the flags."""
    last = np.concatenate([np.zeros_like(given[:1]), given[:-1]])
    odds = np.empty((2, 2), np.int64)
    for row, before in zip(odds, (False, True)):
        row[1] = _odds(coder.bits(_share(given[present & (last == before)]), 7))
        row[0] = TOTAL - row[1]
    found = np.zeros_like(given)
    had = np.zeros(given.shape[1], np.int64)
    for frame in range(len(given)):
        here = present[frame]
        got = coder.many(given[frame, here].astype(np.int64), odds[had[here]])
        found[frame, here] = got > 0
        had = found[frame].astype(np.int64)
    return found


_MAGNITUDES = np.array(
    [38_000, 24_000, 2_600, 500, 200, 80, 40, 30, 20, 15, 12, 10, 8, 6, 5, 4, 3, 3], np.int64
)
"""Frequencies of a correction's magnitudes."""
