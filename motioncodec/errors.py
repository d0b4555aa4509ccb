"""Every error that motioncodec raises on purpose, with one common base.

A message is one line that says what was expected, what was found and what to do.
"""

from __future__ import annotations


class MotionCodecError(Exception):
    """Base of all errors raised on purpose; the command line turns it into one line."""


class ClipError(MotionCodecError):
    """Arrays or attributes that do not make a clip."""


class FormatError(MotionCodecError):
    """An input file that is not what its format promises."""


class ContainerError(MotionCodecError):
    """A ``.mtok`` file that is damaged, truncated, hostile or from a newer format version."""


class ModelError(MotionCodecError):
    """Weights that are absent, unknown, or other than the file was made with."""


class UsageError(MotionCodecError):
    """A request that contradicts itself or the input (exit status 2)."""
