"""What ``import motioncodec`` gives for ``.mtok`` files: encode, decode, open."""

from __future__ import annotations

import io
import os
from typing import BinaryIO, overload

from motioncodec.clip import Clip
from motioncodec.codec import Settings, encode_clip
from motioncodec.io import read_clip, write_whole
from motioncodec.recording import Recording, Source

Path = str | os.PathLike[str]


@overload
def encode(
    clip: Clip | Path,
    target: None = None,
    *,
    preset: str | None = None,
    step: float | None = None,
    max_error: float | None = None,
    mean_error: float | None = None,
    bitrate: float | None = None,
    lossless: bool = False,
    effort: int = 3,
    confidence_bits: int = 4,
    model: str | None = None,
    device: str = "auto",
) -> bytes: ...


@overload
def encode(
    clip: Clip | Path,
    target: Path | BinaryIO,
    *,
    preset: str | None = None,
    step: float | None = None,
    max_error: float | None = None,
    mean_error: float | None = None,
    bitrate: float | None = None,
    lossless: bool = False,
    effort: int = 3,
    confidence_bits: int = 4,
    model: str | None = None,
    device: str = "auto",
) -> None: ...


def encode(
    clip: Clip | Path,
    target: Path | BinaryIO | None = None,
    *,
    preset: str | None = None,
    step: float | None = None,
    max_error: float | None = None,
    mean_error: float | None = None,
    bitrate: float | None = None,
    lossless: bool = False,
    effort: int = 3,
    confidence_bits: int = 4,
    model: str | None = None,
    device: str = "auto",
) -> bytes | None:
    """Encodes a clip.

    >>> import motioncodec, numpy as np
    >>> still = motioncodec.Clip(np.zeros((30, 3, 2)), 30, motioncodec.Skeleton(("a", "b", "c")),
    ...                          units="px", up="-y")
    >>> motioncodec.decode(motioncodec.encode(still, max_error=0.5)).keypoints.shape
    (30, 1, 3, 2)

    Args:
        clip: or the path of a file that :func:`motioncodec.read_clip` reads.
        target: a path, where a file appears whole or not at all and replaces what was there, or a
            binary stream; None for bytes.
        preset: ``f32``, ``f16`` or ``f8``, from small to good; by default ``f16``, and what suits
            an error where one is given.
        step: in the place of a preset, in 3D: millimetres, 1 to 800, of which a seventh or so is
            the mean error, larger where the motion is; needs no network.
        max_error: what every keypoint of every frame is to be within, in millimetres for clips in
            metric units, else in pixels.
        mean_error: as max_error, for the mean over keypoints and frames.
        bitrate: bits a second that it takes at most; as good as it gets with these.
        lossless: every float32 to the bit.
        effort: 1 to 9, how hard to search for fewer bits and a smaller error.
        confidence_bits: for each confidence, 4 or 8; 0 leaves it out.
        model: name of shipped weights, or path of others; by default the newest that fit.
        device: ``auto``, ``cpu`` or ``cuda``.

    Returns:
        The bytes, where there is no target.

    Raises:
        MotionCodecError: what was asked for cannot be done, or a file cannot be read or written.
    """
    settings = Settings(
        preset=preset, model=model, device=device, confidence_bits=confidence_bits, effort=effort,
        step=step, max_error=max_error, mean_error=mean_error, bitrate=bitrate, lossless=lossless,
    )  # fmt: skip
    found = clip if isinstance(clip, Clip) else read_clip(clip)
    if target is None:
        stream = io.BytesIO()
        encode_clip(found, stream, settings)
        return stream.getvalue()
    if isinstance(target, (str, os.PathLike)):
        write_whole(target, lambda stream: encode_clip(found, stream, settings))
    else:
        encode_clip(found, target, settings)
    return None


def decode(
    source: Source,
    *,
    frames: range | None = None,
    device: str = "auto",
    model: str | None = None,
) -> Clip:
    """Decodes a ``.mtok`` file to keypoints.

    Args:
        source: a path, bytes, or a binary stream, which need not seek.
        frames: of the clip, or all.
        device: ``auto``, ``cpu`` or ``cuda``.
        model: path of the weights, where it was made with some that do not ship.

    Raises:
        MotionCodecError: it is damaged, or made with weights that are not here.
    """
    with Recording(source, device=device, model=model) as recording:
        return recording.clip(frames)


def open(source: Source, *, device: str = "auto", model: str | None = None) -> Recording:
    """Opens a ``.mtok`` file, of which nothing but the header is read before it is asked for.

    >>> import motioncodec, numpy as np
    >>> walk = motioncodec.Clip(np.ones((90, 2, 3)), 30, motioncodec.Skeleton(("nose", "tail")))
    >>> with motioncodec.open(motioncodec.encode(walk, lossless=True)) as recording:
    ...     recording.duration, recording[30:45].keypoints.shape
    (3.0, (15, 1, 2, 3))

    Args:
        source, device, model: see :class:`motioncodec.Recording`.

    Raises:
        ContainerError: it is not there, or not a whole, undamaged header.
    """
    return Recording(source, device=device, model=model)
