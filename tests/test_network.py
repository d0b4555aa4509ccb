"""The learned prior: whole numbers in, whole numbers out, the same everywhere."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from golden.cases import lapped, network, numbers, tokens
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from motioncodec.bitstream.entropy import TOTAL, Decoder, Encoder
from motioncodec.bitstream.network import NetworkPrior, frequencies_of
from motioncodec.model.weights import default_weights
from motioncodec.stream import priors_of


def priors() -> list[NetworkPrior]:
    return [p for p in lapped().layouts[0].priors if isinstance(p, NetworkPrior)]


def coded(steps: int) -> list[np.ndarray]:
    return [tokens(numbers(77), (steps, p.slots), p) for p in priors()]


@given(arrays(np.int64, st.tuples(st.integers(1, 4), st.integers(2, 300)),
              elements=st.integers(-(10**6), 10**6)))  # fmt: skip
def test_frequencies_add_up_and_are_never_zero(lengths: np.ndarray) -> None:
    found = frequencies_of(lengths)
    assert (found.sum(axis=1) == TOTAL).all()
    assert found.min() >= 1
    shorter = lengths[:, :1] < lengths
    assert (found[:, :1] + 1 >= found)[shorter].all()


def test_a_bit_shorter_is_twice_as_likely() -> None:
    (row,) = frequencies_of(np.array([[0, 256, 512, 768, 6000]]))
    assert row[0] / row[1] == pytest.approx(2, rel=1e-3)
    assert row[0] / row[3] == pytest.approx(8, rel=1e-3)


@pytest.mark.parametrize("steps", [0, 1, 2, 9])
def test_round_trip(steps: int) -> None:
    given_, coder = coded(steps), Encoder()
    for level, prior in enumerate(priors()):
        prior.code(coder, given_[level], given_[:level])
    decoder = Decoder(coder.finish())
    found: list[np.ndarray] = []
    for level, prior in enumerate(priors()):
        found.append(prior.code(decoder, np.zeros_like(given_[level]), found))
        np.testing.assert_array_equal(found[level], given_[level])


def test_bits_are_what_the_coder_spends() -> None:
    given_, coder = coded(40), Encoder()
    expected = 0.0
    for level, prior in enumerate(priors()):
        prior.code(coder, given_[level], given_[:level])
        expected += prior.bits(given_[level], prior.known(given_[:level]))
    assert 8 * len(coder.finish()) == pytest.approx(expected, abs=40)


class Noting(Decoder):
    """Reads, and keeps what under."""

    def __init__(self, data: bytes) -> None:
        super().__init__(data)
        self.rows: list[np.ndarray] = []

    def many(self, values: np.ndarray, frequencies: np.ndarray) -> np.ndarray:
        self.rows.append(frequencies)
        return super().many(values, frequencies)


def in_turn(given_: list[np.ndarray], level: int) -> list[list[np.ndarray]]:
    """Frequencies of each step and group as who reads has them, one after another."""
    coder = Encoder()
    prior = priors()[level]
    prior.code(coder, given_[level], given_[:level])
    reader = Noting(coder.finish())
    found = prior.code(reader, np.zeros_like(given_[level]), given_[:level])
    np.testing.assert_array_equal(found, given_[level])
    rows = iter(reader.rows)
    return [[next(rows) for _ in range(prior.groups)] for _ in found]


def test_lengths_at_once_are_those_in_turn() -> None:
    """What an encoder sees of all steps together is what the decoder uses step by step: of tokens
    that stand, of those that take the place of others, and of several clips."""
    given_, other = coded(7), [level[::-1][:5] for level in coded(9)]
    for level, prior in enumerate(priors()):
        expected = in_turn(given_, level) + in_turn(other, level)
        tokens_ = np.concatenate([given_[level], other[level]])
        known = [prior.known(one[:level]) for one in (given_, other)]
        beside = np.concatenate([one for one in known if one is not None]) if level else None
        first = np.isin(np.arange(12), (0, 7))
        for start in (tokens_, np.zeros_like(tokens_)):
            walk = prior.walk(start, beside, first)
            for turn in range(2):
                for group in range(prior.groups):
                    lengths = walk.lengths()
                    walk.take(tokens_[:, group * prior.width : (group + 1) * prior.width])
                    if turn == 0 and start is not tokens_:
                        continue  # what follows in the step before is still another
                    for step in range(12):
                        np.testing.assert_array_equal(
                            frequencies_of(lengths[:, step]), expected[step][group]
                        )


@settings(deadline=None)
@given(st.integers(2, 1 << 20), st.lists(st.integers(0, 7000), min_size=2, max_size=40))
def test_shares_are_divided_exactly(seed: int, lengths: list[int]) -> None:
    """As FORMAT.md has it, in whole numbers."""
    spread = np.random.default_rng(seed).integers(0, 7000, 4000)
    row = np.concatenate([lengths, spread])
    apart = row - row.min()
    fractions = np.floor(2.0 ** (24 - np.arange(256) / 256) + 0.5).astype(np.int64)
    shares = [int(fractions[n % 256]) >> min(n // 256, 25) for n in apart.tolist()]
    expected = [share * (TOTAL - len(row)) // sum(shares) + 1 for share in shares]
    expected[int(np.argmax(expected))] += TOTAL - sum(expected)
    assert frequencies_of(row[None].astype(np.float64))[0].tolist() == expected


def test_threads_and_matmul_precision_change_nothing() -> None:
    expected = bytes_of_case()
    threads, precision = torch.get_num_threads(), torch.get_float32_matmul_precision()
    try:
        for count in (1, 2):
            torch.set_num_threads(count)
            for how in ("highest", "medium"):
                torch.set_float32_matmul_precision(how)
                assert bytes_of_case() == expected
    finally:
        torch.set_num_threads(threads)
        torch.set_float32_matmul_precision(precision)


def bytes_of_case() -> bytes:
    return b"".join(lapped().payloads())


def test_the_shipped_priors_decode_without_torch(tmp_path: Path) -> None:
    """With the real weights: numpy alone reads what was written beside torch."""
    weights = default_weights(3)
    real = [p for p in priors_of(weights) if isinstance(p, NetworkPrior)]
    assert len(real) == 3
    chosen: list[np.ndarray] = []
    coder = Encoder()
    for level, prior in enumerate(real):
        sizes = np.repeat(prior.sizes, prior.width)
        source = numbers(level)
        raw = np.array([next(source) % 97 for _ in range(3 * prior.slots)]).reshape(3, -1)
        chosen.append(raw.astype(np.int64) % sizes)
        prior.code(coder, chosen[level], chosen[:level])
    (tmp_path / "payload").write_bytes(coder.finish())
    code = f"""
import sys
sys.modules["torch"] = None
import numpy as np
from motioncodec.bitstream.entropy import Decoder
from motioncodec.model.weights import default_weights
from motioncodec.stream import priors_of
coder = Decoder(open({str(tmp_path / "payload")!r}, "rb").read())
found = []
for prior in priors_of(default_weights(3)):
    found.append(prior.code(coder, np.zeros((3, prior.slots), np.int64), found))
np.savez({str(tmp_path / "found.npz")!r}, *found)
"""
    subprocess.run([sys.executable, "-c", code], check=True)
    with np.load(tmp_path / "found.npz") as found:
        for level, expected in enumerate(chosen):
            np.testing.assert_array_equal(found[f"arr_{level}"], expected)


def test_sums_stay_exact() -> None:
    """The largest sums that weights of these types allow are far below 2^53."""
    for prior in priors_of(default_weights(3)):
        assert isinstance(prior, NetworkPrior)
        t = prior.tensors
        first = np.abs(t.context_weight.astype(np.int64)).sum(1) * 127
        first += np.abs(t.within_weight.astype(np.int64)).sum(1) * 127
        first += np.abs(t.context_bias.astype(np.int64))
        later = np.abs(t.head_weight.astype(np.int64)).sum(1) * 4095
        later += np.abs(t.head_bias.astype(np.int64))
        shift = later.reshape(prior.slots, -1).sum(1).max() * 504
        assert max(int(first.max()), int(shift)) < 2**50


def test_a_prior_of_one_group_and_no_coarser_levels() -> None:
    prior = network(5, [4], 2, 1, [])
    chosen = tokens(numbers(6), (5, 2), prior)
    coder = Encoder()
    prior.code(coder, chosen)
    found = prior.code(Decoder(coder.finish()), np.zeros_like(chosen))
    np.testing.assert_array_equal(found, chosen)
