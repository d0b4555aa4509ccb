"""How near one heatmap volume is to another: the measures of arXiv 2509.19252, and one of smearing.

T-Std says how uneven an error is over time, and nothing of how large it is: a reconstruction that
is wrong by as much in every frame has the least, and one that is perfect but for a frame has a
large one. What smearing takes away is fast motion, so :func:`fast_changes` measures that.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Float64 = NDArray[np.float64]

SSIM_WINDOW = 7
"""Side of the uniform window in pixels."""

FAST = 3.0
"""Hertz above which motion counts as fast: gait and gestures have their fundamentals below."""

_FLAT = 1e-9
"""Measures that vary by less than this over a window are constant, and have no T-Std."""


def ssim(planes: NDArray[np.floating], others: NDArray[np.floating]) -> Float64:
    """(N, H, W) planes from 0 to 1 to (N,) structural similarity (Wang et al. 2004), uniform
    windows of 7 pixels, 1 for equal planes."""
    from scipy.ndimage import uniform_filter

    a, b = planes.astype(np.float64), others.astype(np.float64)
    size = (1, SSIM_WINDOW, SSIM_WINDOW)

    def mean(values: Float64) -> Float64:
        out: Float64 = uniform_filter(values, size)
        return out

    mean_a, mean_b = mean(a), mean(b)
    var_a, var_b = mean(a * a) - mean_a**2, mean(b * b) - mean_b**2
    both = mean(a * b) - mean_a * mean_b
    c1, c2 = 0.01**2, 0.03**2
    value = (2 * mean_a * mean_b + c1) * (2 * both + c2)
    value /= (mean_a**2 + mean_b**2 + c1) * (var_a + var_b + c2)
    out: Float64 = value.mean(axis=(1, 2))
    return out


def by_frame(volume: NDArray[np.floating], other: NDArray[np.floating]) -> dict[str, Float64]:
    """(C, T, H, W) volumes from 0 to 1 to ``SSIM``, ``PSNR`` (decibels for a peak of 1, at most
    120) and ``L1`` of each of the T frames, over all channels."""
    apart = volume.astype(np.float64) - other
    alike = [ssim(a, b) for a, b in zip(volume, other)]
    squared = np.maximum((apart**2).mean(axis=(0, 2, 3)), 1e-12)
    return {
        "SSIM": np.mean(alike, axis=0),
        "PSNR": -10 * np.log10(squared),
        "L1": np.abs(apart).mean(axis=(0, 2, 3)),
    }


def t_std(measures: Mapping[str, Float64]) -> float:
    """T-Std of a window as the paper's code has it: each measure of :func:`by_frame` min-max
    normalised over the window, the standard deviation of each, their mean. NaN where a measure does
    not vary."""
    spread = []
    for values in measures.values():
        low, high = values.min(), values.max()
        if high - low <= _FLAT:
            return float("nan")
        spread.append(float(((values - low) / (high - low)).std()))
    return float(np.mean(spread))


@dataclass(frozen=True)
class Fast:
    """Energies of fast changes, which add up over windows: a ratio for every window would be ruled
    by those in which nobody moves.

    Attributes:
        original, other: of each series.
        common: what the two have in common, in phase.
    """

    original: float = 0.0
    other: float = 0.0
    common: float = 0.0

    def __add__(self, more: Fast) -> Fast:
        return Fast(
            self.original + more.original, self.other + more.other, self.common + more.common
        )

    @property
    def kept(self) -> float:
        """Energy of the other over the original's: below 1 is smeared, above is jitter."""
        return self.other / self.original if self.original else float("nan")

    @property
    def true(self) -> float:
        """Share of the original's that is in the other, in phase: 1 at best; jitter does not raise
        it."""
        return self.common / self.original if self.original else float("nan")


def fast_changes(original: NDArray[np.floating], other: NDArray[np.floating], rate: float) -> Fast:
    """Smearing, and jitter: what two series (T, ...) have above :data:`FAST`.

    Args:
        original, other: speeds of joints, or differences of pixels from frame to frame; T from 4.
        rate: samples a second.
    """
    window = np.hanning(len(original) + 2)[1:-1].reshape(-1, *[1] * (original.ndim - 1))
    fast = np.fft.rfftfreq(len(original), 1 / rate) > FAST
    a, b = (np.fft.rfft((x - x.mean(axis=0)) * window, axis=0)[fast] for x in (original, other))
    return Fast(
        float((np.abs(a) ** 2).sum()),
        float((np.abs(b) ** 2).sum()),
        float((a.conj() * b).real.sum()),
    )
