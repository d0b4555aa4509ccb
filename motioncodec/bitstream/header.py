"""What a file says about its clip before any chunk: the header's keys and their defaults.

Keys and the numbers behind them are permanent (FORMAT.md, section 6). What equals its default is
left out, so that a short clip of a known skeleton has a header of some 15 bytes.
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib.resources import files
from typing import Any

import msgpack
import zstandard

from motioncodec.bitstream.container import decode_varint, encode_varint
from motioncodec.errors import ContainerError

WINDOW = 32
"""Model frames that chunks are a multiple of."""

PATH_BLOCK = 64
"""Model frames from knot to knot of the path of a body's centre; chunks with one are a multiple."""

CHUNK = 1024
"""Model frames in a chunk unless the header says otherwise."""

MODEL_RATE = 30
MAX_FRAMES = 1 << 40
MAX_CELLS = 1 << 24
"""Keypoints that one chunk may hold: frames x people x joints."""

CANONICAL = 20
"""Joints that models know."""

MAX_JOINTS = 1 << 16
MAX_PEOPLE = 1 << 16
MIN_RATE, MAX_RATE = 1e-6, 100_000
"""Frames per second: from one in twelve days. Below, times lose their precision in a float64."""

MAX_TEXT = 1 << 22
"""Bytes that names, ids, references and metadata may each unfold to."""

_FRAMES, _RATE, _SKELETON, _NAMES, _UNITS, _UP, _DIMS, _MODEL, _FINGERPRINT = range(9)
_PEOPLE, _IDS, _SCALES, _ORIGIN_STEP, _REFERENCES, _KEYPOINT_STEP = range(9, 15)
_CONFIDENCE, _CHUNK, _METADATA, _COVERED = range(15, 19)
_REFINEMENT, _LOSSLESS, _STRIDE, _APART, _LINKS, _LEARNED, _SPECTRUM, _TURNING = range(64, 72)
_LEFT_OUT, _FREE = 72, 73
KNOWN_KEYS = frozenset([*range(19), *range(_REFINEMENT, _FREE + 1)])

_SPECTRA = (_SPECTRUM, _TURNING, _FREE)
"""Keys of the step of a spectrum: which of them it is says of which kind."""

SLOWEST, MAX_STRIDE = 20, 64
"""Values a second that curves of extra joints with a stride have at least; the stride at most."""

ORIGIN_STEPS = (0, -13, -21, -26)
"""Default of ``origin_step`` in 3D by depth: 105, 26 and 11 mm on a person of the reference size.
At these the hips cost under a third of f16's tokens, and their error adds less than a millimetre
to the joints' (in quadrature)."""

LATER_ORIGIN_STEPS = (0, -13, -21, -28)
"""The same for weights from id 3 on: 105, 26 and 8 mm."""

_SPECTRUM_LIKE = (-40, -100)
"""Steps of a spectrum below which it is taken for f16, and for f8."""

FIRST_LATER = 3
"""The first id of weights with :data:`LATER_ORIGIN_STEPS` and without need of a fingerprint: what
ships under an id never changes, and naming it again cost short clips a tenth of their bytes."""

UNITS = ("m", "cm", "mm", "px")
UP_AXES = ("y", "z", "x", "-y", "-z", "-x")


@dataclass(frozen=True)
class Link:
    """What carries a joint along when its reference and two others turn, in 3D.

    Attributes:
        partners: the two others, u and v away from the reference.
        weights: of u, v and (u x v) / sqrt(|u| |v|) in 64ths, -127 to 127.
    """

    partners: tuple[int, int]
    weights: tuple[int, int, int]


@dataclass(frozen=True)
class Header:
    """Attributes, in the order of their keys.

    frames: of the clip, at its own rate.
    frame_rate: per second, :data:`MIN_RATE` to :data:`MAX_RATE`.
    skeleton: id of a registered skeleton, 0 where ``names`` travel.
    left_out: bits of the joints of a registered skeleton that this one lacks.
    names: of joints of a custom skeleton.
    units, up: as in a clip.
    dims: 2 or 3.
    model: 4 x permanent id of the weights + depth (levels of tokens, 1 to 3); 0 without tokens.
    fingerprint: first 32 bits of the weights' sha256; 0 for weights that need not be named so
        (:data:`FIRST_LATER`).
    people: how many.
    ids: of people, as the source names them.
    scales: one for each person in 3D, in 128ths of an octave.
    origin_step: of the curve of the hips, or of the centre: exponent e of a step of 2^(e/4), in
        body units (3D) or the clip's units (2D).
    references: for each joint that the model does not cover, in order of joints, the joint it is
        written relative to; its own number where it is written by itself.
    keypoint_step: as ``origin_step``, for these joints, in the clip's units.
    confidence: bits for each confidence, 0 for none.
    chunk: model frames in a chunk.
    metadata: free-form.
    covered: for each joint of a custom skeleton the canonical joint that it is, or -1; empty
        where none is.
    fine_step: as ``keypoint_step``, of what is left over after all that; None where that is not
        coded.
    bound: in the clip's units, what every keypoint is within; 0 for none. Only with a fine step.
    promised: the same against what the clip was made of, where that had a bound of its own; 0 where
        both are the same.
    lossless: keypoints are float32 to the bit, and so are confidences, if ``confidence`` is not 0.
    stride: clip frames for each value of the curves of joints that no model covers.
    adaptive: these curves are coded under tables that adapt, as all but early files have them.
    links: for each entry of ``references`` a :class:`Link` or None; empty where there is none.
    learned: keypoints in numbers are foretold by learned predictors and companions; corrections and
        plain channels of what is left over have tables that adapt. As in all but early files.
    spaced: and numbers may be of key frames alone, with corrections between them. As in all but
        early files with a bound.
    loose: and the bound says how fine numbers are, and is not kept between key frames.
        As in all but early files, everybody is in numbers.
    terse: numbers begin as :mod:`motioncodec.bitstream.beginnings` has it. As in all but early
        files.
    spectrum: exponent e of the step 2^(e/32), in body units, of the spectrum that a body's pose is
        in the place of tokens; None where it is not.
    turns: its bases turn with the motion (:mod:`motioncodec.bitstream.turning`). As in all but
        early files with a spectrum.
    free: and its poses are about their centre, whose path is told behind it. As in all but early
        files with a spectrum, and those of captures that jump or shake.
    """

    frames: int
    frame_rate: float
    skeleton: int = 1
    names: tuple[str, ...] = ()
    units: str = "m"
    up: str = "y"
    dims: int = 3
    model: int = 0
    fingerprint: int = 0
    people: int = 1
    ids: tuple[str, ...] = ()
    scales: tuple[int, ...] = ()
    origin_step: int = 0
    references: tuple[int, ...] = ()
    keypoint_step: int = 0
    confidence: int = 0
    chunk: int = CHUNK
    metadata: dict[str, Any] = field(default_factory=dict)
    covered: tuple[int, ...] = ()
    fine_step: int | None = None
    bound: float = 0.0
    promised: float = 0.0
    lossless: bool = False
    stride: int = 1
    adaptive: bool = False
    links: tuple[Link | None, ...] = ()
    learned: bool = False
    spaced: bool = False
    loose: bool = False
    terse: bool = False
    spectrum: int | None = None
    turns: bool = False
    left_out: int = 0
    free: bool = False

    @property
    def alone(self) -> bool:
        """Whether there is nothing but numbers: no model, and no joint that is a curve."""
        return self.lossless or (self.loose and self.terse)

    @property
    def promise(self) -> float:
        """In the clip's units, what every keypoint is within of what the clip was made of; 0 where
        nothing is promised."""
        return 0.0 if self.loose else self.promised or self.bound

    @property
    def model_id(self) -> int:
        """Permanent id of the weights, 0 for none."""
        return self.model >> 2

    @property
    def embodied(self) -> bool:
        """Whether there is a body, placed, in tokens or as a spectrum."""
        return self.model > 0 or self.spectrum is not None

    @property
    def depth(self) -> int:
        """Levels of tokens; of a spectrum, those that come about as near."""
        return self.model & 3 if self.spectrum is None else like_tokens(self.spectrum)

    @property
    def model_frames(self) -> int:
        """Frames at 30 a second that reach the last frame or beyond."""
        if self.frames == 0:
            return 0
        return math.ceil((self.frames - 1) * MODEL_RATE / self.frame_rate - 1e-9) + 1

    @property
    def chunks(self) -> int:
        """How many chunks the clip takes."""
        return -(-self.model_frames // self.chunk)

    def span(self, chunk: int) -> tuple[int, int]:
        """Model frames of a chunk, the last one's padded to a whole number of windows."""
        start = chunk * self.chunk
        stop = min(start + self.chunk, -(-self.model_frames // WINDOW) * WINDOW)
        return start, stop

    def steps(self, chunk: int, stride: int) -> int:
        """Steps of a level in a chunk: those that begin within the clip."""
        start = chunk * self.chunk
        stop = min(start + self.chunk, self.model_frames)
        return -(-(stop - start) // stride)

    def frame_span(self, chunk: int) -> tuple[int, int]:
        """Clip frames of a chunk: those at or after its first model frame, before the next's."""
        start, stop = (
            min(
                max(math.ceil(c * self.chunk * self.frame_rate / MODEL_RATE - 1e-9), 0), self.frames
            )
            for c in (chunk, chunk + 1)
        )
        return start, stop if chunk + 1 < self.chunks else self.frames

    def pack(self) -> dict[int, Any]:
        """The header's map, defaults left out.

        Raises:
            ContainerError: :meth:`unpack` would refuse it.
        """
        out: dict[int, Any] = {_FRAMES: self.frames}
        rate = int(self.frame_rate) if self.frame_rate == int(self.frame_rate) else self.frame_rate
        scales = self.scales[0] if len(self.scales) == 1 else list(self.scales)
        default_units = "m" if self.dims == 3 else "px"
        origin = default_origin(self.dims, self.model, self.spectrum, self.free)
        for key, value, default in (
            (_RATE, rate, MODEL_RATE),
            (_SKELETON, self.skeleton, 1),
            (_UNITS, UNITS.index(self.units), UNITS.index(default_units)),
            (_UP, UP_AXES.index(self.up), 0 if self.dims == 3 else 3),
            (_DIMS, self.dims, 3),
            (_MODEL, self.model, 0),
            (_FINGERPRINT, self.fingerprint, 0),
            (_PEOPLE, self.people, 1),
            (_SCALES, scales, []),
            (_ORIGIN_STEP, self.origin_step, origin),
            (_KEYPOINT_STEP, self.keypoint_step, 0),
            (_CONFIDENCE, self.confidence, 0),
            (_CHUNK, self.chunk, CHUNK),
        ):
            if value != default:
                out[key] = value
        if self.skeleton == 0:
            out[_NAMES] = _fold(_joined(self.names))
            if self.covered:
                out[_COVERED] = _fold(bytes(canonical & 0xFF for canonical in self.covered))
        if self.fine_step is not None:
            bounds = [float(bound) for bound in (self.bound, self.promised) if bound]
            out[_REFINEMENT] = [self.fine_step, *bounds] if bounds else self.fine_step
        if self.lossless:
            out[_LOSSLESS] = 1
        if self.learned:
            out[_LEARNED] = 1 + self.spaced + self.loose + 3 * self.terse
        if self.spectrum is not None:
            out[_SPECTRA[self.turns + self.free]] = self.spectrum
        if self.left_out:
            out[_LEFT_OUT] = self.left_out
        if self.stride != 1:
            out[_STRIDE] = self.stride
        if self.ids:
            out[_IDS] = _fold(_joined(self.ids))
        if self.references:
            told = list(self.references)
            if self.adaptive:
                told = [_zigzag(r - i) for i, r in enumerate(told)]
            out[_APART if self.adaptive else _REFERENCES] = _fold(msgpack.packb(told))
        if self.links:
            out[_LINKS] = _fold(_pack_links(self.links, self.references))
        if self.metadata:
            try:
                out[_METADATA] = _fold(msgpack.packb(self.metadata))
            except (TypeError, ValueError, OverflowError, RecursionError) as error:
                raise ContainerError(
                    f"metadata: expected text, numbers, lists and maps, found others: {error}"
                ) from error
        self.unpack(out)
        return out

    @classmethod
    def unpack(cls, packed: Mapping[int, Any]) -> Header:
        """Inverse of :meth:`pack`.

        Raises:
            ContainerError: a value is absent, of the wrong kind or out of its limits.
        """
        dims = _whole(packed, _DIMS, 3, 2, 3)
        rate = packed.get(_RATE, MODEL_RATE)
        if isinstance(rate, bool) or not isinstance(rate, (int, float)):
            raise ContainerError(f"header: expected a number as frame rate, found {rate!r}")
        if not MIN_RATE <= rate <= MAX_RATE:
            raise ContainerError(
                f"header: expected a frame rate from {MIN_RATE:g} to {MAX_RATE}, found {rate:g}"
            )
        scales = packed.get(_SCALES, [])
        scales = [scales] if isinstance(scales, int) else scales
        if not isinstance(scales, list) or any(
            isinstance(s, bool) or not isinstance(s, int) or abs(s) > 16_384 for s in scales
        ):
            raise ContainerError(f"header: expected whole numbers as scales, found {scales!r}")
        skeleton = _whole(packed, _SKELETON, 1, 0, 1 << 16)
        names = _lines(packed, _NAMES) if skeleton == 0 else ()
        if len(names) > MAX_JOINTS or len(set(names)) != len(names):
            raise ContainerError(
                f"header: expected at most {MAX_JOINTS} names of joints, none of them twice, "
                f"found {len(names)}, {len(set(names))} of them different"
            )
        metadata = _unpacked(packed, _METADATA, {})
        if not isinstance(metadata, dict):
            raise ContainerError("header: expected a map as metadata, found something else")
        references = _references(packed)
        model = _whole(packed, _MODEL, 0, 0, 1 << 24)
        fine_step, bound, promised = _refinement(packed)
        learned = _whole(packed, _LEARNED, 0, 1 if _LEARNED in packed else 0, 6)
        spectra = [key for key in _SPECTRA if key in packed]
        spectrum = _whole(packed, spectra[0], None, -320, 0) if spectra else None
        if len(spectra) > 1:
            raise ContainerError("header: expected one spectrum, found two")
        free = _FREE in packed
        out = cls(
            frames=_whole(packed, _FRAMES, None, 0, MAX_FRAMES),
            frame_rate=float(rate),
            skeleton=skeleton,
            names=names,
            units=UNITS[_whole(packed, _UNITS, 0 if dims == 3 else 3, 0, len(UNITS) - 1)],
            up=UP_AXES[_whole(packed, _UP, 0 if dims == 3 else 3, 0, len(UP_AXES) - 1)],
            dims=dims,
            model=model,
            fingerprint=_whole(packed, _FINGERPRINT, 0, 0, (1 << 32) - 1),
            people=_whole(packed, _PEOPLE, 1, 0, MAX_PEOPLE),
            ids=_lines(packed, _IDS) if _IDS in packed else (),
            scales=tuple(scales),
            origin_step=_whole(
                packed, _ORIGIN_STEP, default_origin(dims, model, spectrum, free), -400, 400
            ),
            references=references,
            keypoint_step=_whole(packed, _KEYPOINT_STEP, 0, -400, 400),
            confidence=_whole(packed, _CONFIDENCE, 0, 0, 8),
            chunk=_whole(packed, _CHUNK, CHUNK, WINDOW, 1 << 20),
            metadata=metadata,
            covered=_covered(packed, len(names)),
            fine_step=fine_step,
            bound=bound,
            promised=promised,
            lossless=bool(_whole(packed, _LOSSLESS, 0, 1 if _LOSSLESS in packed else 0, 1)),
            stride=_whole(packed, _STRIDE, 1, 1, longest_stride(rate)),
            adaptive=_APART in packed,
            links=_links(packed, references, dims),
            learned=learned > 0,
            spaced=learned in (2, 3, 5, 6),
            loose=learned in (3, 6),
            terse=learned > 3,
            spectrum=spectrum,
            turns=free or _TURNING in packed,
            free=free,
            left_out=_whole(packed, _LEFT_OUT, 0, 1 if _LEFT_OUT in packed else 0, (1 << 64) - 1),
        )
        if out.left_out and not out.skeleton:
            raise ContainerError("header: expected a registered skeleton beside key 72, found none")
        if out.model and not 1 <= out.depth <= 3:
            raise ContainerError(f"header: expected 1 to 3 levels of tokens, found {out.depth}")
        if out.spectrum is not None and (out.model or dims == 2):
            raise ContainerError("header: expected a spectrum in 3D and without tokens, found one")
        if out.alone and (out.embodied or out.references):
            raise ContainerError("header: expected nothing but numbers, found a model or curves")
        if out.lossless and out.fine_step is not None:
            raise ContainerError("header: expected nothing but keypoints beside key 65, found more")
        if out.embodied and dims == 3 and len(out.scales) != out.people:
            raise ContainerError(
                f"header: expected a scale for each of {out.people} people, found {len(out.scales)}"
            )
        if out.ids and len(out.ids) != out.people:
            raise ContainerError(
                f"header: expected {out.people} ids of people, found {len(out.ids)}"
            )
        if out.chunk % (PATH_BLOCK if free else WINDOW):
            raise ContainerError(
                f"header: expected chunks of whole windows, found {out.chunk} frames"
            )
        return out

    def check_size(self, joints: int) -> None:
        """Refuses headers whose chunks would take more memory than any real clip's.

        Raises:
            ContainerError: they would.
        """
        cells = chunk_cells(self.chunk, self.frame_rate, self.people, joints)
        if cells > MAX_CELLS:
            raise ContainerError(
                f"header: expected at most {MAX_CELLS} keypoints in a chunk, found {cells:.3g}"
            )


def chunk_cells(chunk: int, frame_rate: float, people: int, joints: int) -> float:
    """Keypoints that a chunk of as many model frames holds at the clip's rate or the models',
    whichever is more."""
    return (chunk * max(frame_rate / MODEL_RATE, 1.0) + 2) * max(people, 1) * joints


def longest_stride(frame_rate: float) -> int:
    """Clip frames for each value of extra joints' curves, at most."""
    return min(max(int(frame_rate / SLOWEST), 1), MAX_STRIDE)


def step_size(exponent: int) -> float:
    """A step of 2^(exponent / 4)."""
    return float(2.0 ** (exponent / 4))


def step_exponent(step: float) -> int:
    """Exponent of the largest step that is not above ``step``."""
    return max(min(math.floor(4 * math.log2(step) + 1e-9), 400), -400)


def like_tokens(spectrum: int) -> int:
    """Levels of tokens that come about as near as a spectrum of this step."""
    return 1 + (spectrum < _SPECTRUM_LIKE[0]) + (spectrum < _SPECTRUM_LIKE[1])


def default_origin(dims: int, model: int, spectrum: int | None, free: bool) -> int:
    """Step of the curve of the hips, or of the centre, where none is told."""
    if spectrum is not None:
        return spectrum // 8 - (10 if free else 7)
    steps = LATER_ORIGIN_STEPS if model >> 2 >= FIRST_LATER else ORIGIN_STEPS
    return steps[model & 3] if dims == 3 else 0


def _zigzag(value: int) -> int:
    return 2 * value if value >= 0 else -2 * value - 1


def _unzigzag(value: int) -> int:
    return -(value + 1 >> 1) if value % 2 else value >> 1


def _references(packed: Mapping[int, Any]) -> tuple[int, ...]:
    """References of joints outside the body, told as they are or by how far each is from its place
    in the list: a chain of joints then is the same number again and again."""
    if _REFERENCES in packed and _APART in packed:
        raise ContainerError(f"header: expected one of keys {_REFERENCES} and {_APART}, found both")
    told = _unpacked(packed, _APART if _APART in packed else _REFERENCES, [])
    if not isinstance(told, list) or any(type(r) is not int or r < 0 for r in told):
        raise ContainerError("header: expected whole numbers as references, found something else")
    if _APART in packed:
        told = [i + _unzigzag(z) for i, z in enumerate(told)]
        if not told or min(told) < 0:
            raise ContainerError("header: expected references from 0 on, found others")
    return tuple(told)


def _pack_links(links: tuple[Link | None, ...], references: tuple[int, ...]) -> bytes:
    """A bit for each reference, low ones first, and 5 bytes or more for each link."""
    out = bytearray(-(-len(links) // 8))
    for i, (link, reference) in enumerate(zip(links, references, strict=True)):
        if link is None:
            continue
        out[i // 8] |= 1 << i % 8
        for partner in link.partners:
            out += encode_varint(_zigzag(partner - reference))
        out += bytes(weight & 0xFF for weight in link.weights)
    return bytes(out)


def _links(
    packed: Mapping[int, Any], references: tuple[int, ...], dims: int
) -> tuple[Link | None, ...]:
    """Inverse of :func:`_pack_links`."""
    if _LINKS not in packed:
        return ()
    data, at = _unfold(packed[_LINKS]), -(-len(references) // 8)
    flags = int.from_bytes(data[:at], "little")
    out: list[Link | None] = []
    try:
        for i, reference in enumerate(references):
            if not flags >> i & 1:
                out.append(None)
                continue
            partners = []
            for _ in range(2):
                told, at = decode_varint(data, at)
                partners.append(reference + _unzigzag(told))
            weights = [(data[at + j] ^ 0x80) - 0x80 for j in range(3)]
            at += 3
            if min(partners) < 0 or -128 in weights:
                raise ContainerError("a joint or a weight that cannot be")
            out.append(Link((partners[0], partners[1]), (weights[0], weights[1], weights[2])))
    except (ContainerError, IndexError):
        at = -1
    if at != len(data) or dims != 3 or _APART not in packed or flags >> len(references):
        raise ContainerError(
            f"header: expected links of joints in 3D beside key {_APART}, found something else"
        )
    return tuple(out)


def _refinement(packed: Mapping[int, Any]) -> tuple[int | None, float, float]:
    """Step and bound of what is left over, and the bound that is promised."""
    if _REFINEMENT not in packed:
        return None, 0.0, 0.0
    value = packed[_REFINEMENT]
    if type(value) is int:
        value = [value, 0.0]
    if (
        not isinstance(value, list)
        or len(value) not in (2, 3)
        or type(value[0]) is not int
        or not -400 <= value[0] <= 400
        or any(type(bound) is not float for bound in value[1:])
        or not 0 <= value[1] <= value[-1] <= 1e30
        or (len(value) == 3 and not value[1])
    ):
        raise ContainerError(
            f"header: expected a step from -400 to 400 and one or two rising bounds from 0 under "
            f"key {_REFINEMENT}, found {str(value)[:60]}"
        )
    return value[0], value[1], value[2] if len(value) == 3 else 0.0


def _covered(packed: Mapping[int, Any], joints: int) -> tuple[int, ...]:
    """Canonical joints of a custom skeleton: a byte for each, 255 for none."""
    if _COVERED not in packed:
        return ()
    covered = tuple(-1 if c == 0xFF else c for c in _unfold(packed[_COVERED]))
    known = [c for c in covered if c >= 0]
    if len(covered) != joints or any(c >= CANONICAL for c in known) or len(set(known)) < len(known):
        raise ContainerError(
            f"header: expected {joints} canonical joints below {CANONICAL}, none twice, "
            f"found {list(covered)[:40]}"
        )
    return covered


@cache
def _names() -> bytes:
    """Joint names of formats, rigs and marker sets, and which covered joints they are: what short
    lists of names are told by. Permanent, as FORMAT.md has it."""
    return (files("motioncodec.bitstream") / "names.bin").read_bytes()


def _fold(data: bytes) -> bytes:
    """A byte that says how, and the data plain (0), as a zstandard frame (1) or deflated by known
    names (2), whichever is the shortest."""
    deflater = zlib.compressobj(9, zlib.DEFLATED, -15, 9, zdict=_names())
    ways = (
        data,
        zstandard.ZstdCompressor(level=19, write_checksum=False).compress(data),
        deflater.compress(data) + deflater.flush(),
    )
    how = min(range(3), key=lambda one: len(ways[one]))
    return bytes([how]) + ways[how]


def _unfold(value: Any) -> bytes:
    if not isinstance(value, bytes) or not value or value[0] > 2:
        raise ContainerError("header: expected folded bytes, found something else")
    if value[0] == 0:
        return value[1:]
    if value[0] == 2:
        return _inflated(value[1:])
    try:
        size = zstandard.frame_content_size(value[1:])
        if not 0 <= size <= MAX_TEXT:
            raise ContainerError(f"header: expected at most {MAX_TEXT} bytes of text, found {size}")
        return zstandard.ZstdDecompressor().decompress(
            value[1:], max_output_size=MAX_TEXT, allow_extra_data=False
        )
    except zstandard.ZstdError as error:
        raise ContainerError(f"header: expected a zstandard frame: {error}") from error


def _inflated(data: bytes) -> bytes:
    inflater = zlib.decompressobj(-15, zdict=_names())
    try:
        out = inflater.decompress(data, MAX_TEXT + 1)
    except zlib.error as error:
        raise ContainerError(f"header: expected a deflate stream: {error}") from error
    if len(out) > MAX_TEXT:
        raise ContainerError(f"header: expected at most {MAX_TEXT} bytes of text, found more")
    if not inflater.eof or inflater.unused_data:
        raise ContainerError("header: expected a deflate stream and no more, found another end")
    return out


def _joined(names: tuple[str, ...]) -> bytes:
    """Names, each but the last followed by a line feed."""
    if any("\n" in name for name in names):
        name = next(name for name in names if "\n" in name)
        raise ContainerError(f"name: expected no line feed in it, found {name!r}: rename it")
    try:
        return "\n".join(names).encode()
    except UnicodeEncodeError as error:
        raise ContainerError(f"name: expected Unicode, found {error}: rename it") from error


def _lines(packed: Mapping[int, Any], key: int) -> tuple[str, ...]:
    try:
        return tuple(_unfold(packed.get(key)).decode().split("\n"))
    except UnicodeDecodeError as error:
        raise ContainerError("header: expected names in UTF-8, found other bytes") from error


def _unpacked(packed: Mapping[int, Any], key: int, default: Any) -> Any:
    if key not in packed:
        return default
    try:
        return msgpack.unpackb(_unfold(packed[key]), strict_map_key=False)
    except (ValueError, TypeError, OverflowError, msgpack.UnpackException) as error:
        raise ContainerError(f"header: expected msgpack under key {key}: {error}") from error


def _whole(packed: Mapping[int, Any], key: int, default: int | None, low: int, high: int) -> int:
    value = packed.get(key, default)
    if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
        raise ContainerError(
            f"header: expected a whole number from {low} to {high} under key {key}, found {value!r}"
        )
    return value
