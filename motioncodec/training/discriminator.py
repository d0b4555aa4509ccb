"""A 3D CNN that tells rendered heatmaps of real motion from reconstructed ones."""

from __future__ import annotations

from torch import Tensor, nn


class Discriminator(nn.Module):
    """PatchGAN over (time, height, width): a verdict for each patch of the volume.

    Args:
        channels: of the volumes.
        width: channels after the first convolution.
    """

    def __init__(self, channels: int, width: int = 32) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv3d(channels, width, (3, 4, 4), stride=(1, 4, 4), padding=(1, 0, 0)),
            nn.LeakyReLU(0.2),
            nn.Conv3d(width, 2 * width, (4, 4, 4), stride=(2, 2, 2), padding=1),
            nn.GroupNorm(4, 2 * width),
            nn.LeakyReLU(0.2),
            nn.Conv3d(2 * width, 4 * width, (4, 4, 4), stride=(2, 2, 2), padding=1),
            nn.GroupNorm(4, 4 * width),
            nn.LeakyReLU(0.2),
            nn.Conv3d(4 * width, 1, 3, padding=1),
        )

    def forward(self, volume: Tensor) -> Tensor:
        """(B, C, T, H, W) heatmaps to (B, 1, T', H', W') verdicts."""
        verdicts: Tensor = self.layers(volume)
        return verdicts
