"""What shape a model has: plain numbers, stored in the weights file as JSON."""

from __future__ import annotations

import json
import math
from dataclasses import asdict, dataclass
from typing import ClassVar

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

    presets: ClassVar[tuple[str, ...]] = PRESETS
    locatable: ClassVar[bool] = True

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


@dataclass(frozen=True)
class Conv3dConfig:
    """Shape of a conv3d VQ-GAN, the family of arXiv 2509.19252: one preset, one shared codebook.

    Attributes:
        preset: ``f8``, ``f16`` or ``f32``: 3, 4 or 5 halvings of time, height and width.
        dims: coordinates of a joint, 2 or 3.
        joints: canonical joints, 20.
        codes: entries in the codebook.
        latent: width of a code vector.
        size: height and width of the heatmaps in pixels, a multiple of the preset's factor.
        sigma: of the Gaussians in pixels.
        widths: channels after each halving.
        blocks: ResNet blocks at each resolution, twice as many at the lowest.
        heads: of the attention at the lowest resolution.
        trunk: ``convolution``, or ``transformer``: the blocks of the lowest resolution attend over
            ``reach`` steps on either side instead.
        reach: steps of time.
        bottleneck: ``vq``; ``gumbel``, the dVAE (Ramesh et al. 2021); ``none``, an autoencoder.
        drawing: what a plane shows: ``joints``, one joint each, or ``limbs``, all limbs merged by
            maximum as the paper has it, from which keypoints cannot be had back.
    """

    preset: str = "f16"
    dims: int = 3
    joints: int = 20
    codes: int = 1024
    latent: int = 16
    size: int = 64
    sigma: float = 1.5
    widths: tuple[int, ...] = (32, 64, 96, 128, 128)
    blocks: int = 1
    heads: int = 4
    trunk: str = "convolution"
    reach: int = 2
    bottleneck: str = "vq"
    drawing: str = "joints"

    family: ClassVar[str] = "conv3d"
    lapped: ClassVar[bool] = False

    def __post_init__(self) -> None:
        for name, known in (
            ("preset", PRESETS),
            ("trunk", ("convolution", "transformer")),
            ("bottleneck", ("vq", "gumbel", "none")),
            ("drawing", ("joints", "limbs")),
        ):
            if getattr(self, name) not in known:
                raise ValueError(f"{name}: expected one of {known}, found {getattr(self, name)!r}")
        if self.size % self.factor:
            raise ValueError(
                f"size: expected a multiple of {self.factor} for {self.preset}, found {self.size}"
            )
        if len(self.widths) < self.halvings:
            raise ValueError(
                f"widths: expected {self.halvings} for {self.preset}, found {len(self.widths)}"
            )

    @property
    def factor(self) -> int:
        """By which time, height and width shrink: 8, 16 or 32."""
        return int(self.preset[1:])

    @property
    def halvings(self) -> int:
        """3, 4 or 5."""
        return int(math.log2(self.factor))

    @property
    def presets(self) -> tuple[str, ...]:
        """The one that there is."""
        return (self.preset,)

    @property
    def locatable(self) -> bool:
        """Whether keypoints can be had back of the volume."""
        return self.drawing == "joints"

    @property
    def grid(self) -> int:
        """Height and width of the latent."""
        return self.size // self.factor

    @property
    def levels(self) -> tuple[Level, ...]:
        """One level: a slot for each position of the grid, row by row."""
        return (Level(self.factor, self.grid**2),)

    @property
    def planes(self) -> int:
        """Planes per joint or drawing: 1 in 2D, the three projections xy, zy, xz in 3D."""
        return 1 if self.dims == 2 else 3

    @property
    def channels(self) -> int:
        """Of the volume."""
        return self.planes * (self.joints if self.drawing == "joints" else 1)

    @property
    def window(self) -> int:
        """Model frames of a step of tokens."""
        return self.factor

    @property
    def margin(self) -> int:
        """Model frames on either side beyond which nothing changes a decoded frame."""
        lowest = self.factor * (2 * 2 * self.blocks + 2)
        if self.trunk == "transformer":
            lowest = self.factor * (2 * self.blocks * self.reach + 2)
        higher = sum(2**i * (2 * self.blocks + 1) for i in range(self.halvings))
        return -(-(lowest + higher) // self.window) * self.window

    def to_json(self) -> str:
        """Compact JSON with sorted keys."""
        fields = {**asdict(self), "family": self.family}
        return json.dumps(fields, sort_keys=True, separators=(",", ":"))

    @classmethod
    def from_json(cls, text: str) -> Conv3dConfig:
        """Inverse of :meth:`to_json`; absent keys are defaults, unknown keys raise TypeError."""
        fields = json.loads(text)
        fields.pop("family", None)
        if "widths" in fields:
            fields["widths"] = tuple(fields["widths"])
        return cls(**fields)


AnyConfig = Config | Conv3dConfig


def read_config(text: str) -> AnyConfig:
    """A configuration of either family from JSON; a slot model's names none.

    Raises:
        TypeError, ValueError: it is not one.
    """
    fields = json.loads(text)
    if not isinstance(fields, dict):
        raise TypeError(f"model: expected a mapping, found {fields!r}")
    family = fields.get("family", "slots")
    if family == Conv3dConfig.family:
        return Conv3dConfig.from_json(text)
    if family != "slots":
        raise ValueError(f"family: expected conv3d or slots, found {family!r}")
    return Config.from_json(text)
