"""What numbers begin with: the tree of joints, and everything that is told along it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from motioncodec.bitstream.beginnings import SIZES, Tree, tables
from motioncodec.bitstream.bones import PARENTS
from motioncodec.bitstream.entropy import TOTAL, Decoder, Encoder
from motioncodec.bitstream.foretold import FRAME, LENGTH, LINE, LINKED, Link, Numbers
from motioncodec.bitstream.numbers import code_numbers, fresh_tables
from motioncodec.errors import ContainerError
from motioncodec.interpolation import Finder
from motioncodec.io import read_clip
from motioncodec.prediction import values_of

CLIPS = sorted((Path(__file__).parent / "data" / "npz").glob("*.npz"))


def coded(numbers: Numbers, present: np.ndarray, covered: list[int] | None) -> bytes:
    coder = Encoder()
    code_numbers(coder, numbers, present, fresh_tables(), covered)
    return coder.finish()


def read(data: bytes, like: Numbers, present: np.ndarray, covered: list[int]) -> Numbers:
    empty = Numbers.empty(*like.differences.shape, like.floats, learned=True)
    return code_numbers(Decoder(data), empty, present, fresh_tables(), covered)


def same(one: Numbers, other: Numbers) -> None:
    assert one.links == other.links
    assert one.companions == other.companions
    for name in ("first", "orders", "shares", "forms", "differences"):
        np.testing.assert_array_equal(getattr(one, name), getattr(other, name), name)


def test_the_tables_are_frequencies() -> None:
    for name, found in tables().items():
        assert (found >= 1).all() and (found.sum(axis=1) == TOTAL).all(), name


def test_a_body_hangs_together_as_bodies_do() -> None:
    present = np.ones((2, 20), bool)
    tree = Tree(present, range(20))
    assert tree.base.tolist() == list(PARENTS)
    assert [level.tolist() for level in tree.levels()] == [
        [0], [1, 12, 16], [2, 13, 17], [3, 6, 9, 14, 18], [4, 7, 10, 15, 19], [5, 8, 11],
    ]  # fmt: skip
    # Without chest and spine shoulders and neck hang on the hips.
    present[:, [1, 2]] = False
    assert Tree(present, range(20)).base[[3, 6, 9]].tolist() == [0, 0, 0]


def test_what_is_no_body_hangs_on_what_is_before_it() -> None:
    present = np.ones((2, 5), bool)
    present[:, 2] = False
    assert Tree(present, [-1] * 5).base.tolist() == [-1, 0, -1, 1, 3]
    # A face before its shoulders: they are free, and so is it.
    assert Tree(np.ones((2, 4), bool), [-1, 6, -1, 9]).base.tolist() == [-1, 0, 1, 1]


@given(st.data())
def test_every_joint_hangs_on_one_root(data: st.DataObject) -> None:
    joints = data.draw(st.integers(1, 30))
    canonical = data.draw(st.permutations(range(20)))
    which = data.draw(st.lists(st.integers(-1, 19), min_size=joints, max_size=joints))
    covered = [canonical[c] if c >= 0 and c not in which[:j] else -1 for j, c in enumerate(which)]
    present = np.array([data.draw(st.lists(st.booleans(), min_size=joints, max_size=joints))])
    if not present.any():
        return
    tree = Tree(present, covered)
    assert sorted(tree.joints.tolist()) == np.flatnonzero(present[0]).tolist()
    done = {-1}
    for joint in tree.joints.tolist():
        assert int(tree.base[joint]) in done
        done.add(joint)
    assert [joint for joint in tree.joints.tolist() if tree.base[joint] < 0] == [tree.joints[0]]
    assert np.concatenate(tree.levels()).tolist() == tree.joints.tolist()


@st.composite
def some_numbers(draw: st.DrawFn) -> tuple[Numbers, np.ndarray, list[int]]:
    """Anything that can be told, which need not be what an encoder finds."""
    seed = draw(st.integers(0, 1 << 32))
    rng = np.random.default_rng(seed)
    frames, joints = draw(st.integers(1, 90)), draw(st.integers(1, 12))
    dims, floats = draw(st.sampled_from([1, 2, 3])), draw(st.booleans())
    numbers = Numbers.empty(frames, joints, dims, floats, learned=True)
    present = rng.random((frames, joints)) < draw(st.sampled_from([0.05, 0.7, 1.0]))
    seen = np.flatnonzero(present.any(axis=0))
    covered = np.where(rng.random(joints) < 0.7, rng.permutation(20)[:joints], -1).tolist()
    blocks = len(numbers.orders)
    reach = draw(st.sampled_from([0, 3, 1000, 1 << 39]))
    numbers.first[seen] = rng.integers(-reach, reach + 1, (len(seen), dims))
    for joint in seen.tolist():
        numbers.orders[:, joint] = rng.integers(1, 17, blocks)
        numbers.companions[joint] = int(rng.integers(-1, joints))
        if numbers.companions[joint] >= 0:
            numbers.shares[:, joint] = rng.integers(0, 5, blocks)
        kind = int(rng.choice([0, LENGTH, LINE, FRAME] if dims == 3 else [0, LINE]))
        if not kind:
            continue
        partners = tuple(rng.integers(0, joints, kind).tolist())
        if kind == LENGTH:
            weights = (float(np.float32(rng.random())) if floats else 4 * int(rng.integers(999)),)
            numbers.forms[:, joint] = rng.integers(0, 7, blocks)
        else:
            words = rng.normal(size=3 if kind == FRAME else 1).astype(np.float32).view(np.uint32)
            words = words if floats else words >> 12 << 12
            weights = tuple(words.view(np.float32).tolist())
            numbers.forms[:, joint] = LINKED * rng.integers(0, 2, blocks)
        numbers.links[joint] = Link(kind, partners, weights)
    later = present & (np.cumsum(present, axis=0) > 1)
    numbers.differences[later] = rng.integers(-9, 10, (int(later.sum()), dims))
    return numbers, present, covered


@given(some_numbers())
@settings(deadline=None)
def test_what_is_told_comes_back(case: tuple[Numbers, np.ndarray, list[int]]) -> None:
    numbers, present, covered = case
    if not present.any():
        return
    same(read(coded(numbers, present, covered), numbers, present, covered), numbers)


@given(st.binary(max_size=200), st.booleans(), st.sampled_from([1, 2, 3]))
@settings(deadline=None)
def test_random_bytes_are_numbers_or_refused(data: bytes, floats: bool, dims: int) -> None:
    present = np.ones((40, 5), bool)
    like = Numbers.empty(40, 5, dims, floats, learned=True)
    try:
        values = values_of(read(data, like, present, [3, -1, 0, 6, 7]), present)
    except ContainerError:
        return
    assert np.isfinite(values).all()


def test_a_root_hangs_on_nothing() -> None:
    """Whatever a file says."""
    numbers = Numbers.empty(4, 2, 3, False, learned=True)
    numbers.companions = [-1, 0]
    present = np.ones((4, 2), bool)
    # Of a tree with its root at joint 1, a companion that it hangs on is none.
    data = coded(numbers, present, [1, 0])
    same(read(data, numbers, present, [1, 0]), numbers)
    numbers.companions = [-1, -1]
    numbers.links[1] = Link(LENGTH, (-1,), (4,))
    with pytest.raises(ContainerError, match="a root that hangs on none"):
        coded(numbers, present, [1, 0])


def test_first_numbers_beyond_all_are_refused() -> None:
    numbers = Numbers.empty(1, 1, 1, False, learned=True)
    numbers.first[0] = (1 << 40) - 1
    present = np.ones((1, 1), bool)
    same(read(coded(numbers, present, [-1]), numbers, present, [-1]), numbers)
    wide = Encoder()
    for value, count in ((0, 6), (0, 0), (SIZES, 6)):
        wide.bits(value, count)
    like = Numbers.empty(1, 2, 1, False, learned=True)
    with pytest.raises(ContainerError, match="at most 45 bits"):
        read(wide.finish(), like, np.ones((1, 2), bool), [-1, -1])


@pytest.mark.parametrize("path", CLIPS, ids=lambda path: path.stem)
def test_a_clip_begins_in_fewer_bytes_than_it_did(path: Path) -> None:
    """Of five seconds at 5 mm, all differences left out: by a quarter and more."""
    clip = read_clip(path)
    every = max(round(clip.frame_rate / 30), 1)
    rows = clip.keypoints[::every, 0][:150].astype(np.float64) * (1000 if clip.units == "m" else 1)
    finder = Finder(rows / 5.7, 0.86)
    spacing, numbers, _ = finder.ways()
    numbers, _ = finder.fill(numbers, spacing)
    present = finder.present[spacing.keys(len(rows))]
    numbers.differences[:] = 0
    covered = list(clip.skeleton.covered)
    late, early = len(coded(numbers, present, covered)), len(coded(numbers, present, None))
    assert late < 0.75 * early
    same(read(coded(numbers, present, covered), numbers, present, covered), numbers)
