"""A scene as pictures: a sheet of poses, or a film; an original in grey, else in colour."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from motioncodec.errors import FormatError, UsageError
from motioncodec.view.staging import Scene, Side, drawn_bones

POSES = 8
FILM_RATE = 25.0
MOST_PICTURES = 1500

_CELL = (190, 250)
_FILM = (720, 540)
_FINE = 2  # drawn this much larger, then made smaller: Pillow's lines are not smooth
_PAPER, _INK, _SOFT, _GREY = (255, 255, 255), (30, 41, 59), (100, 116, 139), (186, 194, 204)
_PEOPLE = (
    (37, 99, 235), (217, 119, 6), (5, 150, 105), (219, 39, 119), (124, 58, 237), (8, 145, 178),
)  # fmt: skip
_TURN = np.radians(25.0)


def _pillow() -> Any:
    try:
        from PIL import Image, ImageDraw, ImageFont
    except ImportError:
        raise FormatError(
            "view: expected the package Pillow for pictures, found none; "
            "pip install 'motioncodec[view]'"
        ) from None
    return Image, ImageDraw, ImageFont


def write_sheet(scene: Scene, stream: BinaryIO) -> None:
    """A PNG of :data:`POSES` poses, evenly spread over the clip, each about its own place."""
    image_of, draw_of, font_of = _pillow()
    frames = np.unique(np.linspace(0, scene.frames - 1, POSES).round().astype(int))
    width, height = _CELL[0] * len(frames), _CELL[1] + 64
    image = image_of.new("RGB", (width * _FINE, height * _FINE), _PAPER)
    draw = draw_of.Draw(image)
    font = font_of.load_default(13 * _FINE)
    small = font_of.load_default(11 * _FINE)
    draw.text((14 * _FINE, 12 * _FINE), _caption(scene), _INK, font)
    flat = [_flat(side.points) for side in scene.sides]
    middles, reach = _poses(flat[0], frames)
    scale = min(_CELL[0] / max(reach[0], 1e-6), _CELL[1] / max(reach[1], 1e-6)) * 0.88 * _FINE
    for place, frame in enumerate(frames):
        at = np.array([(place + 0.5) * _CELL[0], 40 + _CELL[1] / 2]) * _FINE
        for side, points in enumerate(flat):
            _skeletons(
                draw, scene, scene.sides[side], side,
                (points[frame] - middles[place]) * [scale, -scale] + at, frame, 1.0,
            )  # fmt: skip
        label = f"{(frame + scene.first) / scene.frame_rate:.2f} s"
        draw.text((at[0], (height - 20) * _FINE), label, _SOFT, small, anchor="mm")
    image.resize((width, height), image_of.Resampling.LANCZOS).save(stream, "PNG", optimize=True)


def write_film(scene: Scene, stream: BinaryIO, kind: str) -> None:
    """A GIF or MP4 in the clip's own time, at most :data:`FILM_RATE` pictures a second.

    Raises:
        UsageError: it would have more than :data:`MOST_PICTURES`.
        FormatError: what it needs is not installed.
    """
    rate = min(scene.frame_rate, FILM_RATE)
    count = max(int(scene.frames / scene.frame_rate * rate), 1)
    if count > MOST_PICTURES:
        raise UsageError(
            f"view: expected at most {MOST_PICTURES / rate:.0f} s for a film, found "
            f"{scene.frames / scene.frame_rate:.0f}; take a part with --frames"
        )
    frames = np.minimum((np.arange(count) * scene.frame_rate / rate).astype(int), scene.frames - 1)
    pictures = _pictures(scene, frames)
    if kind == "gif":
        first = next(pictures)
        first.save(
            stream, "GIF", save_all=True, append_images=pictures, duration=round(1000 / rate),
            loop=0, optimize=True,
        )  # fmt: skip
        return
    try:
        import imageio_ffmpeg
    except ImportError:
        raise FormatError(
            "view: expected the package imageio-ffmpeg for films, found none; "
            "pip install 'motioncodec[view]'"
        ) from None
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "film.mp4"
        writer = imageio_ffmpeg.write_frames(
            str(path), _FILM, fps=rate, codec="libx264", quality=7, macro_block_size=2
        )
        writer.send(None)
        for picture in pictures:
            writer.send(np.asarray(picture.convert("RGB")).tobytes())
        writer.close()
        stream.write(path.read_bytes())


def _pictures(scene: Scene, frames: NDArray[np.int64]) -> Iterator[Any]:
    image_of, draw_of, font_of = _pillow()
    font = font_of.load_default(14 * _FINE)
    flat = [_flat(side.points) for side in scene.sides]
    seen = flat[0][~np.isnan(flat[0][..., 0])]
    if not len(seen):
        seen = np.zeros((1, 2))
    low, high = np.percentile(seen, 0.5, axis=0), np.percentile(seen, 99.5, axis=0)
    span = np.maximum(high - low, 1e-6)
    scale = min((_FILM[0] - 60) / span[0], (_FILM[1] - 100) / span[1]) * _FINE
    middle = np.array([_FILM[0] / 2, _FILM[1] / 2 + 14]) * _FINE
    for frame in frames:
        image = image_of.new("RGB", (_FILM[0] * _FINE, _FILM[1] * _FINE), _PAPER)
        draw = draw_of.Draw(image)
        for side, points in enumerate(flat):
            placed = (points[frame] - (low + high) / 2) * [scale, -scale] + middle
            _skeletons(draw, scene, scene.sides[side], side, placed, frame, 1.3)
        now = f"{(frame + scene.first) / scene.frame_rate:.2f} s"
        if scene.errors is not None and not np.isnan(scene.errors[frame]).all():
            now += f", {np.nanmean(scene.errors[frame]):.1f} {scene.unit} off on average"
        draw.text((16 * _FINE, 12 * _FINE), _caption(scene), _INK, font)
        draw.text((16 * _FINE, (_FILM[1] - 28) * _FINE), now, _SOFT, font)
        yield image.resize(_FILM, image_of.Resampling.LANCZOS)


def _caption(scene: Scene) -> str:
    wanted = ("Original", "Decoded", "File", "Ratio", "Mean error", "Largest error")
    told = [f"{name.lower()} {text}" for name, text in scene.figures if name in wanted]
    return "   ".join([scene.title, *told])


def _flat(points: NDArray[np.float32]) -> NDArray[np.float64]:
    """(T, P, K, 2) as seen from the front, a little from the side."""
    wide = points.astype(np.float64)
    if wide.shape[-1] == 2:
        return wide
    x = wide[..., 0] * np.cos(_TURN) + wide[..., 2] * np.sin(_TURN)
    return np.stack([x, wide[..., 1]], axis=-1)


def _poses(
    flat: NDArray[np.float64], frames: NDArray[np.int64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Middle of each pose, and the sides of a box that holds any of them."""
    middles, reach = np.zeros((len(frames), 2)), np.full(2, 1e-6)
    for i, frame in enumerate(frames):
        seen = flat[frame][~np.isnan(flat[frame][..., 0])]
        if len(seen):
            middles[i] = (seen.min(axis=0) + seen.max(axis=0)) / 2
            reach = np.maximum(reach, np.ptp(seen, axis=0))
    return middles, reach


def _skeletons(
    draw: Any, scene: Scene, side: Side, number: int, points: NDArray[np.float64], frame: int,
    weight: float,
) -> None:  # fmt: skip
    original = number == 0 and len(scene.sides) > 1
    bold = (4.4 if original else 1.9) * weight * _FINE
    bones = drawn_bones(scene.skeleton)
    ends = {joint for bone in bones for joint in bone}
    for person in range(points.shape[0]):
        colour = _GREY if original else _PEOPLE[person % len(_PEOPLE)]
        for child, parent in bones:
            line = points[person, [child, parent]]
            if not np.isnan(line).any():
                draw.line([tuple(end) for end in line], colour, round(bold), joint="curve")
        for joint, at in enumerate(points[person]):
            if np.isnan(at).any():
                continue
            size = bold / 2 if joint in ends else bold * 0.6
            draw.ellipse([*(at - size), *(at + size)], colour)


__all__ = ["MOST_PICTURES", "write_film", "write_sheet"]
