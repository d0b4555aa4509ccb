"""Whole numbers to bytes and back, checked against the decoder that FORMAT.md describes."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from reference_decoder import Range, Refused

from motioncodec.bitstream.entropy import (
    TOTAL,
    Decoder,
    Encoder,
    Table,
    code_magnitude,
    code_natural,
    code_signed,
    normalise,
)
from motioncodec.errors import ContainerError

NATURAL = st.integers(0, 2**41 - 2) | st.integers(0, 40)
SIGNED = st.integers(-(2**40 - 1), 2**40 - 1) | st.integers(-40, 40)


@st.composite
def frequencies(draw: st.DrawFn, size: int | None = None) -> list[int]:
    """Tables from even to a single likely symbol."""
    n = size or draw(st.integers(2, 20) | st.sampled_from([128, 1024, 4096]))
    seed = draw(st.integers(0, 2**32 - 1))
    sharpness = draw(st.sampled_from([0.1, 1.0, 8.0, 60.0]))
    counts = np.random.default_rng(seed).random(n) ** sharpness
    return [int(f) for f in normalise(counts)]


@st.composite
def symbols(draw: st.DrawFn) -> tuple[list[list[int]], list[tuple[int, int]]]:
    """Tables, and (table, symbol) pairs, most of them in the tables' corners."""
    tables = draw(st.lists(frequencies(), min_size=1, max_size=3))
    pairs = []
    for _ in range(draw(st.integers(0, 60))):
        table = draw(st.integers(0, len(tables) - 1))
        last = len(tables[table]) - 1
        pairs.append((table, draw(st.sampled_from([0, last]) | st.integers(0, last))))
    return tables, pairs


@given(symbols())
@settings(max_examples=60, deadline=None)
def test_symbols_decode_as_the_document_says(
    case: tuple[list[list[int]], list[tuple[int, int]]],
) -> None:
    tables, pairs = case
    models = [Table(table) for table in tables]
    encoder = Encoder()
    for table, symbol in pairs:
        assert encoder.code(symbol, models[table]) == symbol
    data = encoder.finish()
    assert not data.endswith(b"\0")
    reference, decoder = Range(data), Decoder(data)
    for table, symbol in pairs:
        assert reference.table(tables[table]) == symbol
        assert decoder.code(0, models[table]) == symbol


@given(st.lists(st.tuples(st.integers(0, 40), st.integers(0, 2**40 - 1)), max_size=50))
@settings(max_examples=60, deadline=None)
def test_plain_bits_decode_as_the_document_says(numbers: list[tuple[int, int]]) -> None:
    encoder = Encoder()
    for count, value in numbers:
        encoder.bits(value & ((1 << count) - 1), count)
    data = encoder.finish()
    reference, decoder = Range(data), Decoder(data)
    for count, value in numbers:
        assert reference.bits(count) == value & ((1 << count) - 1)
        assert decoder.bits(0, count) == value & ((1 << count) - 1)


@given(st.lists(NATURAL, max_size=40), st.lists(SIGNED, max_size=40), frequencies(16))
@settings(max_examples=60, deadline=None)
def test_numbers_decode_as_the_document_says(
    naturals: list[int], signed: list[int], table: list[int]
) -> None:
    encoder, model = Encoder(), Table(table)
    for value in naturals:
        assert code_natural(encoder, value) == value
    for value in signed:
        assert code_signed(encoder, value) == value
        assert code_magnitude(encoder, value, model) == value
    data = encoder.finish()
    reference, decoder = Range(data), Decoder(data)
    for value in naturals:
        assert reference.natural() == value
        assert code_natural(decoder, 0) == value
    for value in signed:
        assert reference.signed() == value
        assert reference.magnitude(table) == value
        assert code_signed(decoder, 0) == value
        assert code_magnitude(decoder, 0, model) == value


@given(st.binary(max_size=40), st.lists(st.integers(0, 16), min_size=1, max_size=40))
@settings(max_examples=100, deadline=None)
def test_bytes_that_nobody_wrote_decode_alike_or_are_refused_alike(
    data: bytes, counts: list[int]
) -> None:
    reference, decoder = Range(data), Decoder(data)
    for count in counts:
        try:
            expected = reference.bits(count)
        except Refused:
            with pytest.raises(ContainerError, match="impossible"):
                decoder.bits(0, count)
            return
        assert decoder.bits(0, count) == expected


def test_an_impossible_stream_is_refused() -> None:
    # The first quotient of this point is 2^24, beyond any symbol's right side.
    data = b"\xff" * 8
    with pytest.raises(Refused):
        Range(data).bits(16)
    with pytest.raises(ContainerError, match="impossible"):
        Decoder(data).bits(0, 16)
    with pytest.raises(ContainerError, match="impossible"):
        Decoder(data).code(0, Table([TOTAL // 2, TOTAL // 2]))


@pytest.mark.parametrize(
    ("frequencies", "sides"),
    [
        ([32768, 32768], [0, 8388608, 1 << 24]),
        ([1, 65535], [0, 256, 1 << 24]),
        ([65535, 1], [0, 16776959, 1 << 24]),
        ([1, 2, 65533], [0, 256, 769, 1 << 24]),
    ],
)
def test_the_sides_in_the_document(frequencies: list[int], sides: list[int]) -> None:
    n, total, found = len(frequencies), 0, []
    for k, f in enumerate(frequencies):
        found.append(total * ((1 << 24) - n) // (1 << 16) + k)
        total += f
    assert [*found, 1 << 24] == sides


def test_the_example_in_the_document() -> None:
    encoder = Encoder()
    code_natural(encoder, 5)
    code_signed(encoder, -3)
    code_magnitude(encoder, 17, Table([4096] * 16))
    data = encoder.finish()
    assert data.hex(" ") == "0a 0a f0 60"
    reference = Range(data)
    assert reference.natural() == 5
    assert reference.signed() == -3
    assert reference.magnitude([4096] * 16) == 17


def test_nothing_costs_nothing() -> None:
    assert Encoder().finish() == b""
    encoder = Encoder()
    encoder.bits(0, 32)
    assert encoder.finish() == b""
    assert Decoder(b"").bits(0, 40) == 0


@pytest.mark.parametrize("value", [2**41 - 1, 2**64, 2**70])
def test_naturals_out_of_range_are_refused(value: int) -> None:
    with pytest.raises(ContainerError, match="whole number"):
        code_natural(Encoder(), value)


@pytest.mark.parametrize("value", [-(2**40), 2**40, -(2**63)])
def test_signed_numbers_out_of_range_are_refused(value: int) -> None:
    with pytest.raises(ContainerError, match="whole number"):
        code_signed(Encoder(), value)


def test_a_length_beyond_the_limit_is_refused() -> None:
    encoder = Encoder()
    encoder.bits(41, 6)
    encoder.bits(1, 41)
    data = encoder.finish()
    with pytest.raises(Refused):
        Range(data).natural()
    with pytest.raises(ContainerError, match="at most 40 bits, found 41"):
        code_natural(Decoder(data), 0)


@pytest.mark.parametrize(
    "frequencies",
    [
        [],
        [TOTAL],
        [0, TOTAL],
        [-1, TOTAL + 1],
        [1, TOTAL],
        [1, TOTAL - 2],
        [[TOTAL // 2, TOTAL // 2]],
        [1 << 40, TOTAL - (1 << 40)],
    ],
)
def test_tables_refuse_bad_frequencies(frequencies: list[int]) -> None:
    with pytest.raises(ContainerError, match="frequency table"):
        Table(frequencies)


@given(
    st.lists(st.floats(0, 1e9), min_size=2, max_size=300).filter(lambda c: sum(c) > 0),
    st.integers(1, 3),
)
@settings(max_examples=100, deadline=None)
def test_normalise_gives_tables(counts: list[float], rows: int) -> None:
    out = normalise(np.array([counts] * rows))
    assert out.dtype == np.uint16
    assert out.shape == (rows, len(counts))
    assert out.min() >= 1
    assert (out.sum(axis=-1, dtype=np.int64) == TOTAL).all()
    assert (out == out[0]).all()
    likeliest = int(np.argmax(counts))
    # What rounding leaves goes to one of the likeliest.
    assert int(out[0].max()) - int(out[0, likeliest]) <= len(counts)
    Table(out[0])


def test_normalise_at_its_extremes() -> None:
    assert normalise(np.array([1.0, 0.0])).tolist() == [65535, 1]
    assert normalise(np.ones(4096)).tolist() == [16] * 4096
    assert normalise(np.array([3e-300, 1e-300])).sum(dtype=np.int64) == TOTAL
