"""A lapped orthogonal transform over time: smooth motion in few numbers, without seams.

The fast LOT (Malvar and Staelin 1989): samples about each border between two windows go through an
orthogonal butterfly, then every window through a DCT-II. All of it is orthonormal, so squared
distances between coefficients are squared distances between signals.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

Float64 = NDArray[np.float64]


def cosines(size: int, kind: int = 2) -> Float64:
    """(size, size) orthonormal DCT of a kind, rows to be multiplied with samples."""
    from scipy.fft import dct  # a tenth of a second, which ``info`` need not wait for

    out: Float64 = dct(np.eye(size), type=kind, axis=0, norm="ortho")
    return out


def border_filter(size: int) -> Float64:
    """(size, size) orthogonal butterfly about a border, rows to be multiplied with samples."""
    half = size // 2
    eye, none = np.eye(half), np.zeros((half, half))
    turned = eye[::-1]
    butterfly = np.block([[eye, turned], [turned, -eye]]) / np.sqrt(2)
    rotation = turned @ cosines(half, 2).T @ cosines(half, 4) @ turned
    out: Float64 = butterfly @ np.block([[eye, none], [none, rotation]]) @ butterfly
    return out


@lru_cache(maxsize=8)
def _matrices(size: int) -> tuple[Float64, Float64]:
    return border_filter(size), cosines(size)


def _lap(signal: Float64, matrix: Float64) -> Float64:
    size = len(matrix)
    half = size // 2
    if len(signal) == size:
        return signal
    inner = matrix @ signal[half:-half].reshape(-1, size, signal.shape[1])
    return np.concatenate([signal[:half], inner.reshape(-1, signal.shape[1]), signal[-half:]])


def analyse(signal: Float64, size: int) -> Float64:
    """(T, C) signals, T a multiple of ``size``, to (T / size, size, C) coefficients. The ends of a
    signal do not lap, so any number of windows transforms back exactly."""
    border, dct2 = _matrices(size)
    windows: Float64 = _lap(signal, border).reshape(-1, size, signal.shape[1])
    return dct2 @ windows


def synthesise(coefficients: Float64) -> Float64:
    """Inverse of :func:`analyse`: (W, size, C) to (W x size, C)."""
    size = coefficients.shape[1]
    border, dct2 = _matrices(size)
    return _lap((dct2.T @ coefficients).reshape(-1, coefficients.shape[2]), border.T)


def lap(signals: list[Float64], sizes: list[int], back: bool = False) -> None:
    """Laps signals that follow each other, in place: about each border between two as many samples
    as the smaller of their windows' ``sizes`` has, before they are analysed; or, ``back``, after
    they are synthesised."""
    for left, right, size in zip(signals, signals[1:], map(min, sizes, sizes[1:])):
        matrix, half = _matrices(size)[0], size // 2
        about = np.concatenate([left[-half:], right[:half]])
        found = (matrix.T if back else matrix) @ about
        left[-half:], right[:half] = found[:half], found[half:]
