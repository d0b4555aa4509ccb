"""motioncodec: a codec for human motion.

>>> import motioncodec
>>> clip = motioncodec.read_clip("walk.bvh")                            # doctest: +SKIP
>>> motioncodec.encode(clip, "walk.mtok", preset="f8")                  # doctest: +SKIP
>>> with motioncodec.open("walk.mtok") as recording:                    # doctest: +SKIP
...     part = recording[300:450]

Importing the package does not import torch; encoding and decoding do.
"""

from typing import TYPE_CHECKING, Any

from motioncodec.clip import Clip
from motioncodec.errors import MotionCodecError
from motioncodec.io import read_clip, write_clip
from motioncodec.skeleton import CANONICAL, Skeleton, find_skeleton

if TYPE_CHECKING:
    from motioncodec.api import decode, encode, open
    from motioncodec.recording import Recording

__version__ = "0.1.0"

__all__ = [
    "CANONICAL",
    "Clip",
    "MotionCodecError",
    "Recording",
    "Skeleton",
    "__version__",
    "decode",
    "encode",
    "find_skeleton",
    "open",
    "read_clip",
    "write_clip",
]

_LATER = {"decode": "api", "encode": "api", "open": "api", "Recording": "recording"}
"""Names that wait, with what they import, until somebody asks for them."""


def __getattr__(name: str) -> Any:
    if name not in _LATER:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f"{__name__}.{_LATER[name]}"), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *_LATER])
