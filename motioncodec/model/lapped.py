"""The linear part of a lapped model: a lapped orthogonal transform over time.

Motion is so smooth that a transform of 8 or 16 frames spends most of its bits on saying again where
the window before ended. Over 64 frames, with windows that lap, the same error costs some 40 % less.

The same transform as :mod:`motioncodec.lapping` has for arrays.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from motioncodec.lapping import border_filter, cosines


class LappedTransform(nn.Module):
    """(B, T, C) signals to (B, T / size, size, C) coefficients and back; T a multiple of size.

    The ends of a signal do not lap, so any number of windows transforms back exactly.
    """

    border: Tensor
    cosines: Tensor

    def __init__(self, size: int) -> None:
        super().__init__()
        self.size = size
        border, rows = border_filter(size), cosines(size)
        self.register_buffer("border", torch.from_numpy(border).float(), persistent=False)
        self.register_buffer("cosines", torch.from_numpy(rows).float(), persistent=False)

    def _lap(self, signal: Tensor, matrix: Tensor) -> Tensor:
        half = self.size // 2
        inner = signal[:, half:-half]
        if not inner.shape[1]:
            return signal
        b, t, c = inner.shape
        inner = (matrix @ inner.reshape(-1, self.size, c)).reshape(b, t, c)
        return torch.cat([signal[:, :half], inner, signal[:, -half:]], 1)

    def analyse(self, signal: Tensor) -> Tensor:
        """Signals to coefficients."""
        b, t, c = signal.shape
        windows = self._lap(signal, self.border).reshape(b, t // self.size, self.size, c)
        out: Tensor = self.cosines @ windows
        return out

    def synthesise(self, coefficients: Tensor) -> Tensor:
        """Inverse of :meth:`analyse`."""
        b, steps, size, c = coefficients.shape
        windows = (self.cosines.T @ coefficients).reshape(b, steps * size, c)
        return self._lap(windows, self.border.T)
