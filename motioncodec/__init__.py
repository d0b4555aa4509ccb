"""motioncodec: a codec for human motion.

>>> import motioncodec
>>> clip = motioncodec.read_clip("walk.bvh")                            # doctest: +SKIP

Importing the package does not import torch; encoding and decoding do.
"""

from motioncodec.clip import Clip
from motioncodec.errors import MotionCodecError
from motioncodec.io import read_clip, write_clip
from motioncodec.skeleton import CANONICAL, Skeleton, find_skeleton

__version__ = "0.1.0"

__all__ = [
    "CANONICAL",
    "Clip",
    "MotionCodecError",
    "Skeleton",
    "__version__",
    "find_skeleton",
    "read_clip",
    "write_clip",
]
