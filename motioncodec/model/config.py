"""What shape a model has: plain numbers, stored in the weights file as JSON."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass

PRESETS: tuple[str, ...] = ("f32", "f16", "f8")
"""From coarse to fine. A finer preset holds the coarser: its files have these tokens and more."""


@dataclass(frozen=True)
class Level:
    """One level of latent slots.

    Attributes:
        stride: model frames that one step of this level covers (a power of two times ``patch``).
        slots: tokens per step; each slot owns a codebook.
    """

    stride: int
    slots: int


@dataclass(frozen=True)
class Config:
    """Shape of a slot VQ-GAN.

    Levels nest. In a patch model the presets spend the paper's counts in all: f32 = 4 tokens per 32
    frames, f16 = 16 per 16, f8 = 64 per 8, so it has 4 slots per 32 frames, then 14 more per 16,
    then 56 more per 8. A lapped model's slots cost what they say, an idle one a fraction of a bit,
    so it has as many as pay: 24, then 72, then 448 more per window of 64 frames.

    Attributes:
        dims: coordinates of a joint, 2 or 3.
        joints: canonical joints, 20.
        codes: entries in each slot's codebook (128 in 2D, 1,024 in 3D).
        latent: width of a code vector.
        width: channels of the networks over time.
        blocks: residual blocks in each network.
        patch: model frames that the networks take as one step.
        levels: coarse to fine, one for each preset.
        unit: body units that one unit of the networks' input stands for.
        lapped: the linear paths are a lapped transform over windows of the levels' stride
            (:class:`motioncodec.model.vqgan.LappedCoder`), not matrices over patches.
        prices: for each level what a bit of a token is worth in training, in squared network
            units; empty for nearest codes.
    """

    dims: int = 3
    joints: int = 20
    codes: int = 1024
    latent: int = 8
    width: int = 224
    blocks: int = 3
    patch: int = 8
    levels: tuple[Level, ...] = (Level(32, 4), Level(16, 14), Level(8, 56))
    unit: float = 0.2
    lapped: bool = False
    prices: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        if self.lapped and len({level.stride for level in self.levels}) > 1:
            raise ValueError("levels of a lapped model: expected one stride, found several")

    @property
    def planes(self) -> int:
        """Heatmap planes per joint: 1 in 2D, the three projections xy, zy, xz in 3D."""
        return 1 if self.dims == 2 else 3

    @property
    def window(self) -> int:
        """Model frames that the coarsest step covers; clips are padded to a multiple of it."""
        return max(level.stride for level in self.levels)

    @property
    def margin(self) -> int:
        """Model frames of context on either side beyond which nothing changes a decoded frame."""
        reach = self.patch * self.blocks * len(self.levels)
        # Windows that lap reach into their neighbours.
        lap = self.window if self.lapped else 0
        return -(-(reach + lap) // self.window) * self.window + self.window

    def to_json(self) -> str:
        """Compact JSON with sorted keys."""
        fields = asdict(self)
        if not self.lapped:
            # As patch models' files have it.
            del fields["lapped"], fields["prices"]
        return json.dumps(fields, sort_keys=True, separators=(",", ":"))

    @classmethod
    def from_json(cls, text: str) -> Config:
        """Inverse of :meth:`to_json`; absent keys are defaults, unknown keys raise TypeError."""
        fields = json.loads(text)
        if "levels" in fields:
            fields["levels"] = tuple(Level(**level) for level in fields["levels"])
        fields["prices"] = tuple(fields.get("prices", ()))
        return cls(**fields)
