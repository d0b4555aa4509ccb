"""Heatmaps and tokens as ``.npz`` archives, written part by part whatever their size."""

from __future__ import annotations

import math
import shutil
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, BinaryIO, cast

import numpy as np
from numpy.lib import format as npy_format
from numpy.typing import NDArray

from motioncodec.errors import UsageError
from motioncodec.heatmap.placement import EXTENT
from motioncodec.heatmap.rendering import PLANES
from motioncodec.skeleton import CANONICAL

if TYPE_CHECKING:
    from motioncodec.codec import Decoder

MOST_BYTES = 16 << 30
"""Of heatmaps in one file; more is a mistake more often than a wish."""

_BLOCK_BYTES = 32 << 20
"""Of a float32 volume that is rendered at once; what is around it takes some times that."""

# Mostly zeros: the fastest level already takes nine tenths off.
_LEVEL = 1


def write_tokens(decoder: Decoder, frames: range | None, target: BinaryIO) -> None:
    """An array of (P, steps, slots) token numbers for each level, named for the preset that it
    completes, and ``strides``, the model frames in a step of each."""
    levels = decoder.tokens(frames)
    with _archive(target) as archive:
        for name, tokens in zip(decoder.stream.presets, levels):
            _write_array(archive, name, tokens)
        _write_array(archive, "strides", np.array(decoder.stream.strides, np.int64))


def write_heatmaps(
    decoder: Decoder,
    frames: range | None,
    target: BinaryIO,
    scratch: BinaryIO,
    progress: Callable[[int], object],
    *,
    size: int,
    sigma: float,
    dense: bool,
) -> None:
    """``heatmaps`` float16, (C, T, H, W) for one person or (P, C, T, H, W), and what they mean.

    Beside them: ``frame_rate``; ``joints``, the models'; ``planes``, axes of each joint's C / 20
    volumes (the first letter runs along W, the second along H, a third along D); ``origin``,
    ``size`` and, in 3D, ``heading``, the placement of every frame that takes body units back to the
    clip's with ``up`` as y (NaN where the person is absent); ``extent``, body units from the middle
    of the volume to its side; ``sigma`` in pixels; ``units``; ``up``.

    Args:
        decoder: of the stream.
        frames: of the clip, None for all.
        target: a binary stream, which need not seek.
        scratch: an empty file that seeks: frames come one after another, channels lie one after
            another.
        progress: called with the frames of one person that got done.
        size, sigma, dense: see :meth:`motioncodec.codec.Decoder.heatmaps`.

    Raises:
        UsageError: the volume would be over :data:`MOST_BYTES`, or there is nothing to render.
    """
    header, asked = decoder.header, decoder.frames(frames)
    planes = ["xyz"] if dense else ["xyz"[u] + "xyz"[v] for u, v in PLANES[header.dims]]
    channels = len(CANONICAL) * len(planes)
    picture = (size,) * (3 if dense else 2)
    shape = (header.people, channels, len(asked), *picture)
    one_picture = 2 * math.prod(picture)
    if math.prod(shape) * 2 > MOST_BYTES:
        most = MOST_BYTES // (header.people * channels * one_picture)
        raise UsageError(
            f"heatmaps: expected at most {MOST_BYTES >> 30} GiB, found "
            f"{math.prod(shape) * 2 / 2**30:.1f}; take at most {most} frames with --frames, or a "
            "smaller --heatmap-size"
        )
    origin = np.full((header.people, len(asked), header.dims), np.nan, np.float32)
    scale = np.full((header.people, len(asked)), np.nan, np.float32)
    heading = np.full((header.people, len(asked)), np.nan, np.float32)
    step = max(1, _BLOCK_BYTES // (2 * channels * one_picture))
    for start in range(asked.start, asked.stop, step):
        block = range(start, min(start + step, asked.stop))
        for part in decoder.heatmaps(block, size=size, sigma=sigma, dense=dense):
            rows = slice(part.frames.start - asked.start, part.frames.stop - asked.start)
            volume = _to_float16(part.volume)
            for channel in range(channels):
                at = (part.person * channels + channel) * len(asked) + rows.start
                scratch.seek(at * one_picture)
                scratch.write(np.ascontiguousarray(volume[channel]).data)
            if part.placement is not None:
                origin[part.person, rows] = part.placement.origin
                scale[part.person, rows] = part.placement.size
                if part.placement.heading is not None:
                    turn = np.mod(part.placement.heading + np.pi, 2 * np.pi) - np.pi
                    heading[part.person, rows] = turn
            progress(len(part.frames))
    scratch.seek(0)
    one = header.people == 1
    fields: dict[str, Any] = {
        "frame_rate": np.float64(header.frame_rate),
        "joints": np.array(CANONICAL),
        "planes": np.array(planes),
        "origin": origin[0] if one else origin,
        "size": scale[0] if one else scale,
        "extent": np.float64(EXTENT),
        "sigma": np.float64(sigma),
        "units": np.array(header.units),
        "up": np.array(header.up),
    }
    if header.dims == 3:
        fields["heading"] = heading[0] if one else heading
    with _archive(target) as archive:
        with _member(archive, "heatmaps") as stream:
            npy_format.write_array_header_1_0(
                stream,
                {"descr": "<f2", "fortran_order": False, "shape": shape[1:] if one else shape},
            )
            shutil.copyfileobj(scratch, stream, 1 << 20)
        for name, array in fields.items():
            _write_array(archive, name, array)


def _to_float16(volume: NDArray[np.float32]) -> NDArray[np.float16]:
    """Rounded as NumPy does, which for the Gaussians' feet takes 20 times as long."""
    import torch

    half: NDArray[np.float16] = torch.from_numpy(volume).half().numpy()
    return half


def _archive(target: BinaryIO) -> zipfile.ZipFile:
    return zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED, compresslevel=_LEVEL)


@contextmanager
def _member(archive: zipfile.ZipFile, name: str) -> Iterator[BinaryIO]:
    info = zipfile.ZipInfo(f"{name}.npy")
    info.compress_type = zipfile.ZIP_DEFLATED
    # Python 3.13 gave the level a public name; both spellings are of the same slot before.
    info._compresslevel = _LEVEL  # type: ignore[attr-defined]
    info.create_system, info.external_attr = 3, 0o644 << 16
    with archive.open(info, "w", force_zip64=True) as stream:
        yield cast(BinaryIO, stream)


def _write_array(archive: zipfile.ZipFile, name: str, array: NDArray[Any]) -> None:
    with _member(archive, name) as stream:
        npy_format.write_array(stream, np.asarray(array), (1, 0), allow_pickle=False)


__all__ = ["MOST_BYTES", "write_heatmaps", "write_tokens"]
