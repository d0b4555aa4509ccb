"""Ways to damage a file."""

from __future__ import annotations

from collections.abc import Iterator


def flipped(data: bytes, at: int, bit: int = 0) -> bytes:
    return data[:at] + bytes([data[at] ^ 1 << bit]) + data[at + 1 :]


def damaged_files(data: bytes) -> Iterator[bytes]:
    """Every truncation, and every flipped bit."""
    for cut in range(len(data)):
        yield data[:cut]
    for at in range(len(data)):
        for bit in range(8):
            yield flipped(data, at, bit)
