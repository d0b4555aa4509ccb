"""Curves to whole numbers and back: bounds of the error, no jumps, the bytes in the document."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import reference_decoder
from hypothesis import given, settings
from hypothesis import strategies as st

from motioncodec.bitstream.entropy import Decoder, Encoder, Table
from motioncodec.bitstream.trajectory import (
    BANDS,
    BLOCK,
    COUNTS,
    DEAD_ZONE,
    KNOTS,
    LEVELS,
    MAX_KNOT,
    Curve,
    analyse,
    code_curve,
    code_knots,
    count_contexts,
    curve_tables,
    synthesise,
)
from motioncodec.errors import ContainerError

FULL = ("hips", "hips_1", "hips_2", "hips_3", "hips_2d", "keypoint")
KINDS = (*FULL, "heading", "box", "confidence")


def random_curve(seed: int, blocks: int, channels: int, size: float) -> Curve:
    """Numbers as of real curves: small ones mostly, some sines 0 to the end, a few huge."""
    rng = np.random.default_rng(seed)
    knots = np.rint(rng.laplace(0, size, (blocks + 1, channels))).astype(np.int64)
    sines = np.rint(rng.laplace(0, size, (blocks, channels, 31))).astype(np.int64)
    sines[np.arange(31) >= rng.integers(0, 32, (blocks, channels, 1))] = 0
    return Curve(knots, sines)


def curves() -> st.SearchStrategy[Curve]:
    return st.builds(
        random_curve,
        st.integers(0, 2**32 - 1),
        st.integers(0, 4),
        st.integers(0, 4),
        st.sampled_from([0.0, 0.4, 3.0, 1e3, 1e9]),
    )


def as_reference(curve: Curve) -> dict[str, Any]:
    return {"knots": curve.knots.T.tolist(), "sines": curve.sines.transpose(1, 0, 2).tolist()}


def blank(curve: Curve) -> Curve:
    return Curve(np.zeros_like(curve.knots), np.zeros_like(curve.sines))


@given(curves(), st.sampled_from(FULL))
@settings(max_examples=60, deadline=None)
def test_curves_decode_as_the_document_says(curve: Curve, kind: str) -> None:
    encoder = Encoder()
    given_back = code_curve(encoder, curve, kind)
    decoder, blocks = Decoder(data := encoder.finish()), len(curve.sines)
    read = code_curve(decoder, blank(curve), kind)
    for found in (given_back, read):
        assert np.array_equal(found.knots, curve.knots)
        assert np.array_equal(found.sines, curve.sines)
    reference = reference_decoder.Range(data)
    channels = curve.sines.shape[1]
    assert reference_decoder.curve(reference, kind, blocks, channels) == as_reference(curve)


@given(curves(), st.sampled_from([2, 3, 7]), st.sampled_from([0.25, 4.0]))
@settings(max_examples=40, deadline=None)
def test_a_stride_puts_values_between_those_without(curve: Curve, stride: int, step: float) -> None:
    fine, coarse = synthesise(curve, step, stride), synthesise(curve, step)
    scale = max(np.abs(curve.knots).max(initial=1), np.abs(curve.sines).max(initial=1)) * step
    np.testing.assert_allclose(fine[::stride], coarse, atol=1e-11 * scale)
    blocks, channels = curve.sines.shape[:2]
    size = 32 * stride
    for at in range(0, blocks * size, 5):
        b, m = at // size, at % size / stride
        line = curve.knots[b] * (1 - m / 32) + curve.knots[b + 1] * (m / 32)
        waves = np.sin(np.pi * np.arange(1, 32) * m / 32) * np.sqrt(2 / 32)
        np.testing.assert_allclose(
            fine[at], step * (line + curve.sines[b] @ waves), atol=1e-11 * scale
        )
    assert fine.shape == (blocks * size + 1, channels)


@pytest.mark.parametrize("stride", [1, 4])
def test_what_is_slow_enough_comes_back_within_steps_whatever_the_stride(stride: int) -> None:
    t = np.arange(2 * 32 * stride + 1)[:, None] / stride
    values = np.sin(t * [0.05, 0.21]) * [3, 1]
    found = synthesise(analyse(values, 0.02, 0.5, stride), 0.02, stride)
    assert np.sqrt(((found - values) ** 2).mean()) < 0.01


@given(
    st.lists(st.integers(-MAX_KNOT, MAX_KNOT) | st.integers(-20, 20), min_size=1, max_size=20),
    st.sampled_from(KINDS),
    st.sampled_from([1, 2]),
)
@settings(max_examples=60, deadline=None)
def test_knots_decode_as_the_document_says(values: list[int], kind: str, order: int) -> None:
    # Half as large in order 2: a difference from a guess must fit a natural number.
    knots = np.array(values, dtype=np.int64)[:, None] // 4
    encoder = Encoder()
    code_knots(encoder, knots, kind, order)
    data = encoder.finish()
    read = code_knots(Decoder(data), np.zeros_like(knots), kind, order)
    assert np.array_equal(read, knots)
    reference = reference_decoder.knots(reference_decoder.Range(data), kind, len(knots), 1, order)
    assert reference == [knots[:, 0].tolist()]


def test_knots_beyond_the_limit_are_refused() -> None:
    with pytest.raises(ContainerError, match="knot: expected at most"):
        code_knots(Encoder(), np.array([[MAX_KNOT], [MAX_KNOT + 1]]), "hips")
    # Written by hand: differences that add up, as from a hostile writer.
    encoder = Encoder()
    for value in (MAX_KNOT, 2**40, 2**40, 2**40):
        if value == MAX_KNOT:
            encoder.bits(40, 6)
            encoder.bits(2 * value + 1 - 2**40, 40)
        else:
            encoder.code(15, curve_tables("hips").knots[5])
            encoder.bits(40, 6)
            encoder.bits(0, 40)
            encoder.bits(0, 1)
    data = encoder.finish()
    with pytest.raises(reference_decoder.Refused):
        reference_decoder.knots(reference_decoder.Range(data), "hips", 4, 1, 2)
    with pytest.raises(ContainerError, match="knot: expected at most"):
        code_knots(Decoder(data), np.zeros((4, 1), np.int64), "hips", 2)


@given(
    st.integers(0, 2**32 - 1),
    st.integers(1, 5),
    st.sampled_from([1e-3, 0.5, 8.0]),
    st.sampled_from([0.01, 1.0, 300.0]),
)
@settings(max_examples=60, deadline=None)
def test_the_error_is_bounded(seed: int, blocks: int, step: float, size: float) -> None:
    rng = np.random.default_rng(seed)
    values = np.cumsum(rng.normal(0, size, (blocks * BLOCK + 1, 3)), axis=0)
    curve = analyse(values, step)
    back = synthesise(curve, step)
    assert back.shape == values.shape
    # Knots are rounded to the nearest multiple, exactly.
    assert np.array_equal(back[::BLOCK], curve.knots * step)
    assert np.abs(back[::BLOCK] - values[::BLOCK]).max() <= step / 2 * (1 + 1e-9)
    # The sines are orthonormal: a block's error is its coefficients' errors, each at most
    # 1 - DEAD_ZONE of a step.
    error = (back - values)[:-1].reshape(blocks, BLOCK, 3)[:, 1:]
    room = 1e-9 * np.abs(values).max()
    assert np.sqrt((error**2).sum(axis=1)).max() <= (1 - DEAD_ZONE) * step * 31**0.5 + room


def test_a_multiple_of_the_step_on_a_line_comes_back_exactly() -> None:
    values = np.linspace(0, 64, 2 * BLOCK + 1)[:, None] * [1.0, -3.0]
    curve = analyse(values, 0.25)
    assert not curve.sines.any()
    assert np.array_equal(synthesise(curve, 0.25), values)


def test_blocks_join_without_a_jump() -> None:
    # A smooth curve with a step a hundredth of its size: steps across a knot are no larger
    # than steps within a block.
    t = np.arange(8 * BLOCK + 1) / 30
    values = np.stack([np.sin(2 * t), 0.3 * np.cos(3 * t)], axis=1)
    back = synthesise(analyse(values, 0.01), 0.01)
    second = np.abs(np.diff(back, 2, axis=0))
    smooth = np.abs(np.diff(values, 2, axis=0)).max()
    at_knots = second[BLOCK - 1 :: BLOCK].max()
    # Without the line through the knots a block's end would be off by steps of 0.01.
    assert at_knots < smooth + 0.01
    assert at_knots <= second.max()


def test_the_sines_in_the_document() -> None:
    # 8.4 and 9.3: value at frame m of a block is the line plus, over k from 0,
    # sines[k] * step * sqrt(2 / 32) * sin(pi (k + 1) m / 32).
    rng = np.random.default_rng(5)
    curve = Curve(rng.integers(-9, 9, (3, 2)), rng.integers(-9, 9, (2, 2, 31)))
    step = 0.3
    expected = np.zeros((2 * BLOCK + 1, 2))
    for frame in range(2 * BLOCK + 1):
        block, m = min(frame // BLOCK, 1), frame - BLOCK * min(frame // BLOCK, 1)
        left, right = curve.knots[block], curve.knots[block + 1]
        line = left * (1 - m / BLOCK) + right * (m / BLOCK)
        waves = np.sin(np.pi * np.arange(1, BLOCK) * m / BLOCK) * (2 / BLOCK) ** 0.5
        expected[frame] = (line + curve.sines[block] @ waves) * step
    assert np.allclose(synthesise(curve, step), expected, atol=1e-12)


def test_the_largest_numbers_stay_finite() -> None:
    curve = Curve(np.full((3, 1), MAX_KNOT), np.full((2, 1, 31), 2**41 + 13))
    assert np.isfinite(synthesise(curve, 2.0**100) * 2.0**128).all()


@pytest.mark.parametrize("value", [np.inf, -np.inf, np.nan, 1e30])
def test_values_out_of_reach_are_refused(value: float) -> None:
    values = np.zeros((BLOCK + 1, 1))
    values[7] = value
    with pytest.raises(ContainerError, match="curve: expected finite values"):
        analyse(values, 0.01)


def test_tables_have_the_shapes_in_the_document() -> None:
    for kind in KINDS:
        tables = curve_tables(kind)
        assert len(tables.knots) == KNOTS
        full = kind in FULL
        assert len(tables.counts) == (COUNTS if full else 0)
        assert [len(band) for band in tables.sines] == ([LEVELS] * BANDS if full else [])
        raw = reference_decoder.TABLES[kind]
        assert all(len(table) == 16 for table in raw["knots"])
        assert all(len(table) == 32 for table in raw["counts"])
        assert all(len(table) == 16 for band in raw["sines"] for table in band)
    bones = {f"bones_{depth}" for depth in (1, 2, 3)}
    for kind in bones:
        raw = reference_decoder.TABLES[kind]
        assert [len(table) for table in raw["knots"]] == [16, 16]
        assert [len(table) for table in raw["counts"]] == [2, 2]
    assert set(reference_decoder.TABLES) == {*KINDS, *bones}


class Counting(Encoder):
    """Notes how often each table coded each symbol."""

    def __init__(self) -> None:
        super().__init__()
        self.seen: dict[tuple[int, int], int] = {}

    def code(self, value: int, table: Table) -> int:
        key = id(table), value
        self.seen[key] = self.seen.get(key, 0) + 1
        return super().code(value, table)


@given(curves())
@settings(max_examples=20, deadline=None)
def test_contexts_are_counted_as_they_are_coded(curve: Curve) -> None:
    # What tables are fitted to must be what the coder does.
    counter = Counting()
    code_curve(counter, curve, "hips")
    counts, tables = count_contexts(curve), curve_tables("hips")
    for name, coded in (("counts", tables.counts), ("knots", tables.knots)):
        for context, table in enumerate(coded):
            for symbol, count in enumerate(counts[name][context].tolist()):
                assert counter.seen.get((id(table), symbol), 0) == count
    for band in range(BANDS):
        for level in range(LEVELS):
            for symbol, count in enumerate(counts["sines"][band, level].tolist()):
                key = id(tables.sines[band][level]), symbol
                assert counter.seen.get(key, 0) == count
