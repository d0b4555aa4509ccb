"""What every reader works from: an opened input, what the caller said of it, and the limits."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import ArrayLike, NDArray

from motioncodec.clip import Clip
from motioncodec.errors import ClipError, FormatError
from motioncodec.skeleton import Skeleton, find_skeleton

MAX_BYTES = 2**32
"""Most bytes of one input file; larger ones are refused before they are read."""

MAX_KEYPOINTS = 10_000
"""Most keypoints of one person in a frame that is text."""

MAX_VALUES = 2**29
"""Most coordinates (T x P x K x D) of one clip: 2 GiB of float32; checked before allocating."""

Siblings = Callable[[], Mapping[str, Callable[[], bytes]]]
"""Lists the files beside an input, each by its bare name with a function that reads it."""


def short(value: object, limit: int = 40) -> str:
    """``repr`` of a value from a file, cut so that a message stays one readable line."""
    text = repr(value)
    return text if len(text) <= limit else text[: limit - 3] + "..."


def numbered_joints(count: int, prefix: str = "joint") -> tuple[str, ...]:
    """``joint_0``, ``joint_1``, ...: names for keypoints that the source does not name."""
    return tuple(f"{prefix}_{i}" for i in range(count))


@dataclass(frozen=True)
class Source:
    """One input and the caller's word on it, which goes over what the file says.

    Attributes:
        name: the input as messages name it.
        file: the opened, seekable file; None where the input is a folder.
        folder: the folder of per-frame files, or None.
        frame_rate: frames per second, or None to go by the file.
        skeleton: name of a registered skeleton for the K joints in file order, or None.
        units: declared unit of the coordinates (nothing is rescaled), or None.
        up: declared up axis (nothing is turned), or None.
        siblings: lists the files beside the input, or None where there is no telling (bytes, a
            stream that is no file's).
    """

    name: str
    file: BinaryIO | None = None
    folder: Path | None = None
    frame_rate: float | None = None
    skeleton: str | None = None
    units: str | None = None
    up: str | None = None
    siblings: Siblings | None = None

    def error(self, message: str) -> FormatError:
        """A one-line error that names the input."""
        line = " ".join(message.splitlines())
        return FormatError(f"{self.name}: {line if len(line) <= 300 else line[:297] + '...'}")

    def package(self, name: str, extra: str, kind: str) -> Any:
        """An optional package that reads this ``kind`` of file, imported."""
        try:
            return importlib.import_module(name.replace("-", "_"))
        except ImportError:
            raise self.error(
                f"expected the package {name} to read {kind}, found none; "
                f"pip install 'motioncodec[{extra}]'"
            ) from None

    def opened(self) -> BinaryIO:
        """The file, for formats that cannot be a folder."""
        if self.file is None:
            raise self.error("expected a file, found a folder; only JSON comes as a folder")
        return self.file

    def read_bytes(self) -> bytes:
        """The whole file."""
        data = self.opened().read(MAX_BYTES + 1)
        if len(data) > MAX_BYTES:
            raise self.error(f"expected at most {MAX_BYTES} bytes, found more; split the file")
        return data

    def read_text(self) -> str:
        """The whole file as text: UTF-8, UTF-16 with its mark, else Latin-1; no mark kept."""
        return decode_text(self.read_bytes())

    def check_size(self, frames: int, persons: int, joints: int, dims: int) -> None:
        """Refuses a clip of (T, P, K, D) values that is over the limit, before it is allocated."""
        if max(frames, 1) * max(persons, 1) * max(joints, 1) * dims > MAX_VALUES:
            raise self.error(
                f"expected at most {MAX_VALUES} coordinates, found {frames} frames x {persons} "
                f"people x {joints} joints x {dims}; split the input"
            )

    def place_frames(self, numbers: Sequence[int]) -> tuple[int, NDArray[np.int64]]:
        """Frame count T and the index in [0, T) of each number, counted from the smallest.

        A number left out is a frame in which everything is missing. So many left out that they
        cannot be dropped frames (above ten for each one there, and 1,000) are an error.
        """
        if not numbers:
            return 0, np.zeros(0, dtype=np.int64)
        first, last = min(numbers), max(numbers)
        count = last - first + 1
        if count > 10 * len(set(numbers)) + 1000:
            raise self.error(
                f"expected frame numbers without great gaps, found {len(set(numbers))} frames "
                f"numbered {first} to {last}; renumber them"
            )
        return count, np.array([number - first for number in numbers], dtype=np.int64)

    def names_for(self, count: int) -> Skeleton | None:
        """The caller's skeleton, checked against K keypoints; None if the caller named none."""
        if self.skeleton is None:
            return None
        skeleton = find_skeleton(self.skeleton)
        if len(skeleton) != count:
            raise self.error(
                f"expected {len(skeleton)} joints for --skeleton {self.skeleton}, found {count}; "
                "give the skeleton that the file has, or none"
            )
        return skeleton

    def clip(
        self,
        keypoints: ArrayLike,
        *,
        joints: Sequence[str] | Skeleton | None = None,
        frame_rate: float | None = None,
        confidence: ArrayLike | None = None,
        units: str | None = None,
        up: str | None = None,
        people: Sequence[str] = (),
        metadata: dict[str, Any] | None = None,
    ) -> Clip:
        """The clip, the caller's word first, the file's second, defaults last.

        Args:
            keypoints: (T, K, D) or (T, P, K, D) in file units, NaN where missing.
            joints: K names or a skeleton; None numbers them.
            frame_rate: frames per second, None if the file does not say.
            confidence: (T, K) or (T, P, K), or None.
            units: None means ``m`` in 3D and ``px`` in 2D.
            up: None means ``-y`` (image rows count downwards) in pixels, else ``y``.
            people: P ids, or empty.
            metadata: further strings and numbers.

        Raises:
            FormatError: something required is missing, or the parts do not make a clip.
        """
        with np.errstate(over="ignore", invalid="ignore"):
            points = np.asarray(keypoints, dtype=np.float32)
        if points.ndim not in (3, 4) or points.shape[-1] not in (2, 3):
            raise self.error(
                "expected keypoints of shape (T, K, D) or (T, P, K, D) with D 2 or 3, "
                f"found {points.shape}"
            )
        count = points.shape[-2]
        if count == 0:
            raise self.error("expected at least one joint, found none")
        rate = self.frame_rate if self.frame_rate is not None else frame_rate
        if rate is None:
            raise self.error("expected a frame rate, found none in the file; give one with --fps")
        units = self.units or units or ("m" if points.shape[-1] == 3 else "px")
        up = self.up or up or ("-y" if units == "px" else "y")
        skeleton = self.names_for(count)
        try:
            if skeleton is None and isinstance(joints, Skeleton):
                skeleton = joints
            elif skeleton is None:
                names = numbered_joints(count) if joints is None else tuple(joints)  # type: ignore[arg-type]
                skeleton = Skeleton.from_names(names)
            # Read for this clip alone, so it need not be copied for it.
            for array in (points.base, points):
                if isinstance(array, np.ndarray):
                    array.flags.writeable = False
            return Clip(
                points, rate, skeleton, None if confidence is None else np.asarray(confidence),
                units, up, tuple(people), dict(metadata or {}),
            )  # fmt: skip
        except ClipError as error:
            raise self.error(str(error)) from None


def rate_of(step: float, resolution: float) -> float:
    """Frames per second of a frame time in seconds that was written with a ``resolution``.

    ``0.008333`` stands for 120 frames/s, not for 120.005: the whole number or the video rate
    (29.97, 23.976) that the digits allow.
    """
    rate = 1.0 / step
    for tidy in (round(rate), round(round(rate * 1.001) / 1.001, 3)):
        if tidy > 0 and abs(1.0 / tidy - step) <= min(resolution, 5e-4 * step):
            return float(tidy)
    return rate


def number_list(source: Source, numbers: Any, width: int, what: str) -> NDArray[np.float64]:
    """(K, width) from a flat list of numbers as JSON gives it, ``null`` as NaN."""
    if (
        not isinstance(numbers, list)
        or len(numbers) % width
        or len(numbers) > (width * MAX_KEYPOINTS)
    ):
        found = f"{len(numbers)}" if isinstance(numbers, list) else short(numbers)
        raise source.error(f"{what}: expected a list of {width} numbers a joint, found {found}")
    if not all(value is None or isinstance(value, (int, float)) for value in numbers):
        raise source.error(f"{what}: expected numbers, found something else among them")
    try:
        return np.array(numbers, dtype=np.float64).reshape(-1, width)
    except (TypeError, ValueError, OverflowError) as error:
        raise source.error(f"{what}: expected numbers, found {short(str(error), 60)}") from None


def decode_text(data: bytes) -> str:
    """Text of UTF-8, UTF-16 with its mark, or else Latin-1 bytes; the mark is dropped."""
    if data.startswith((b"\xff\xfe", b"\xfe\xff")):
        return data.decode("utf-16", errors="replace")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError:
        # Old exporters write names in the code page of their day; the numbers are ASCII.
        return data.decode("latin-1")
