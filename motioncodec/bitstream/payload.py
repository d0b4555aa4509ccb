"""One chunk's bytes: for each person in turn what is missing, placement, tokens, further keypoints
and confidence, under one range coder. The same lines write and read (see `entropy`)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from motioncodec.bitstream.between import (
    EVERY_FRAME,
    BetweenTables,
    Spacing,
    code_between,
    code_spacing,
)
from motioncodec.bitstream.bones import TWINS, code_bones, code_shape, no_bones, slots_of
from motioncodec.bitstream.corrections import CorrectionTables, code_corrections
from motioncodec.bitstream.curves import JOINTS, PATHS, CurveTables, code_curves
from motioncodec.bitstream.entropy import (
    AdaptiveTables,
    Coder,
    Decoder,
    Encoder,
    Meter,
    code_magnitude,
    code_natural,
)
from motioncodec.bitstream.exact import Exact, code_exact
from motioncodec.bitstream.foretold import Numbers
from motioncodec.bitstream.header import PATH_BLOCK
from motioncodec.bitstream.network import Rows, write_under
from motioncodec.bitstream.numbers import code_numbers, fresh_tables
from motioncodec.bitstream.prior import Prior, Tokens
from motioncodec.bitstream.refinement import (
    OVER_SPECTRUM,
    Jointed,
    code_coefficients,
    plain_tables,
    spectrum_class,
)
from motioncodec.bitstream.spectrum import Kind, Spectrum, code_spectrum
from motioncodec.bitstream.trajectory import (
    BLOCK,
    Curve,
    code_curve,
    code_knots,
    curve_blocks,
    curve_tables,
)
from motioncodec.errors import ContainerError

Integers = NDArray[np.int64]


class Spectral(NamedTuple):
    """A spectrum in the place of tokens.

    Attributes:
        frames: model frames.
        depth: how many levels of tokens it counts as.
        kind: of spectrum.
    """

    frames: int
    depth: int
    kind: Kind


@dataclass(frozen=True)
class Layout:
    """Shapes that the header fixes for a chunk.

    Attributes:
        frames: clip frames, F.
        joints: of the skeleton, K.
        dims: 2 or 3.
        windows: model frames / 32, B.
        extra: joints written as curves, E.
        confidence_bits: 0 for none.
        priors: of the levels of tokens; empty without a model.
        steps: of each level.
        knot_spacing: model frames between knots of heading or size.
        bones: the model knows reference bones: their lengths travel, and the hips' path has tables
            of its own for each depth.
        fine: shape of what is left over (:attr:`PersonChunk.fine`), None where that is not coded.
        bounded: there is a bound, and numbers where they are smaller.
        jointed: of each person the class of the step of what is left over, where it is a body's;
            empty where all channels are plain.
        covered: for each joint the canonical one that it is, or -1; needed where ``jointed`` or
            ``terse``.
        exact: values are float32 to the bit, and nothing else is written.
        stride: clip frames for each value of the curves.
        outside: which joints the curves are of, where their tables adapt; empty where they do not.
        learned, spaced, terse: as in the header.
        spectral: of a spectrum, which is there in the place of tokens; None where there is none.
    """

    frames: int
    joints: int
    dims: int
    windows: int
    extra: int
    confidence_bits: int
    priors: Sequence[Prior] = ()
    steps: Sequence[int] = ()
    knot_spacing: int = 16
    bones: bool = False
    fine: tuple[int, int, int] | None = None
    bounded: bool = False
    jointed: Sequence[int] = ()
    covered: Sequence[int] = ()
    exact: bool = False
    stride: int = 1
    outside: Sequence[int] = ()
    learned: bool = False
    spaced: bool = False
    terse: bool = False
    spectral: Spectral | None = None

    @property
    def depth(self) -> int:
        """Levels of tokens, or what counts as that many; 0 without a body."""
        return self.spectral.depth if self.spectral else len(self.priors)

    @property
    def body(self) -> Sequence[int] | None:
        """:attr:`covered` where numbers begin by it."""
        return self.covered if self.terse else None

    def here(self, missing: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """(20,) canonical joints that are there in any frame."""
        out = np.zeros(len(TWINS), bool)
        there = ~missing.all(axis=0) & (np.array(self.covered) >= 0)
        out[np.array(self.covered)[there]] = True
        return out

    def jointed_of(
        self, person: int, shape: Integers, bones: Integers, here: NDArray[np.bool_]
    ) -> Jointed:
        """What the coding of a person's coefficients knows about the body."""
        slots, step = slots_of(shape, bones, here), self.jointed[person]
        if self.spectral:
            return Jointed(slots, spectrum_class(self.spectral.kind.step), step, OVER_SPECTRUM)
        return Jointed(slots, self.depth, step)

    @property
    def free(self) -> bool:
        """Whether the path of the centre is told, behind the pose, and not that of the hips."""
        return self.spectral is not None and self.spectral.kind.free

    @property
    def path(self) -> int:
        """Blocks of the path of the hips or of the centre."""
        size = PATH_BLOCK if self.free else BLOCK
        return -(-self.windows * BLOCK // size)

    @property
    def hips(self) -> str:
        """Which tables the hips' path has."""
        if self.bones:
            return f"hips_{self.depth}"
        return "hips" if self.dims == 3 else "hips_2d"

    @property
    def knots(self) -> int:
        """Knots of heading or size, both ends counted."""
        return self.windows * BLOCK // self.knot_spacing + 1


@dataclass
class PersonChunk:
    """One person in one chunk, in whole numbers.

    Attributes:
        missing: (F, K) bool.
        origin: curve of the hips or of the centre, D channels; None without a model.
        turn: (knots, 1) heading in 64ths of a turn (3D) or size in eighths of an octave (2D).
        bones: (20,) lengths in steps (:mod:`motioncodec.bitstream.bones`); None where the model
            does not know reference bones.
        tokens: for each level (steps, slots).
        spectrum: in the place of tokens, or None.
        rows: what the tokens of each level are written under, where that is known already; for who
            writes.
        extra: curve of E x D channels, or None.
        confidence: (F, K) levels, 0 where missing, or None.
        shape: (21, 3) of a body that is refined (:mod:`motioncodec.bitstream.bones`), or None.
        fine: (windows, frequencies, C) coefficients of what is left over, or None.
        corrections: (F, K, D) of what is further off than the bound, or None without one.
        numbers: keypoints on a grid of the bound, in the place of extra, fine and corrections, and
            of placement and tokens too where no neighbour needs them; or None.
        spacing: of the key frames that these are of.
        between: (F, K, D) corrections of the frames between them; or None.
        exact: keypoints to the bit, and nothing else; or None.
        exact_confidence: (F, K, 1) confidences to the bit; or None.
        in_numbers: whether there are, or were, numbers.
    """

    missing: NDArray[np.bool_]
    origin: Curve | None = None
    turn: Integers | None = None
    bones: Integers | None = None
    tokens: list[Tokens] = field(default_factory=list)
    spectrum: Spectrum | None = None
    rows: list[Rows] = field(default_factory=list)
    extra: Curve | None = None
    confidence: Integers | None = None
    shape: Integers | None = None
    fine: Integers | None = None
    corrections: Integers | None = None
    numbers: Numbers | None = None
    spacing: Spacing = EVERY_FRAME
    between: Integers | None = None
    exact: Exact | None = None
    exact_confidence: Exact | None = None
    in_numbers: bool = False

    @property
    def present(self) -> bool:
        """Whether any joint is there in any frame; if not, nothing else is written."""
        return not bool(self.missing.all())

    @property
    def placed(self) -> bool:
        """Whether it is said where the person is, and what tokens make of them."""
        return self.present and self.turn is not None

    def forget(self) -> None:
        """Lets go of what no other chunk looks at."""
        self.extra = self.confidence = self.numbers = self.between = None
        self.shape = self.fine = self.corrections = None
        self.exact = self.exact_confidence = None
        self.rows = []

    def drop_tokens(self) -> None:
        """Leaves the keypoints to numbers."""
        self.origin = self.turn = self.bones = None
        self.tokens, self.rows = [], []
        self.spectrum = None

    @classmethod
    def empty(cls, layout: Layout) -> PersonChunk:
        """All zeros, in the shapes of a layout: what reading starts from."""

        def curve(blocks: int, channels: int) -> Curve:
            return Curve(
                np.zeros((blocks + 1, channels), np.int64),
                np.zeros((blocks, channels, BLOCK - 1), np.int64),
            )

        model = layout.depth > 0
        return cls(
            missing=np.zeros((layout.frames, layout.joints), bool),
            origin=curve(layout.path, layout.dims) if model else None,
            turn=np.zeros((layout.knots, 1), np.int64) if model else None,
            bones=no_bones() if layout.bones else None,
            tokens=[
                np.zeros((steps, prior.slots), np.int64)
                for prior, steps in zip(layout.priors, layout.steps)
            ],
            spectrum=Spectrum.empty(layout.spectral.frames) if layout.spectral else None,
            extra=curve(curve_blocks(layout.frames, layout.stride), layout.extra * layout.dims)
            if layout.extra
            else None,
            confidence=np.zeros((layout.frames, layout.joints), np.int64)
            if layout.confidence_bits and not layout.exact
            else None,
            shape=np.zeros((len(TWINS) + 1, 3), np.int64) if layout.jointed else None,
            fine=None if layout.fine is None else np.zeros(layout.fine, np.int64),
            corrections=np.zeros((layout.frames, layout.joints, layout.dims), np.int64)
            if layout.bounded
            else None,
            exact=Exact.empty(layout.frames, layout.joints, layout.dims, layout.learned)
            if layout.exact
            else None,
            exact_confidence=Exact.empty(layout.frames, layout.joints, 1, layout.learned)
            if layout.exact and layout.confidence_bits
            else None,
        )

    @classmethod
    def absent(cls, layout: Layout) -> PersonChunk:
        """Somebody who is not there throughout."""
        nobody = cls.empty(layout)
        nobody.missing = np.ones((layout.frames, layout.joints), bool)
        nobody.exact = nobody.exact_confidence = None
        return nobody


class _Shared:
    """Tables that the people of a chunk share, and which of them it is."""

    person = -1

    @cached_property
    def keypoints(self) -> AdaptiveTables:
        """Of numbers that keypoints are; most chunks have none."""
        return fresh_tables()

    @cached_property
    def confidences(self) -> AdaptiveTables:
        """Of numbers that confidences are."""
        return fresh_tables()

    @cached_property
    def plain(self) -> AdaptiveTables:
        """Of coefficients of channels that are no body's."""
        return plain_tables()

    @cached_property
    def corrections(self) -> CorrectionTables:
        """Of what is further off than the bound."""
        return CorrectionTables()

    @cached_property
    def between(self) -> BetweenTables:
        """Of the same, of frames between key frames."""
        return BetweenTables()

    @cached_property
    def curves(self) -> CurveTables:
        """Of curves of joints that no model covers."""
        return CurveTables(JOINTS)

    @cached_property
    def paths(self) -> CurveTables:
        """Of paths of the centre."""
        return CurveTables(PATHS)


_ONE = np.ones(1, bool)


def encode_chunk(people: Sequence[PersonChunk], layout: Layout) -> bytes:
    """People of one chunk to bytes."""
    coder, shared = Encoder(), _Shared()
    for person in people:
        _code_person(coder, person, layout, shared)
    return coder.finish()


def decode_chunk(data: bytes, people: int, layout: Layout) -> list[PersonChunk]:
    """Inverse of :func:`encode_chunk`.

    Raises:
        ContainerError: the bytes cannot have come from it.
    """
    coder, shared = Decoder(data), _Shared()
    return [_code_person(coder, PersonChunk.empty(layout), layout, shared) for _ in range(people)]


def layer_bits(data: bytes, people: int, layout: Layout) -> dict[str, float]:
    """Bits of each layer of a chunk, in the order in which they are written.

    Raises:
        ContainerError: as :func:`decode_chunk`.
    """
    coder, shared = Meter(data), _Shared()
    out: dict[str, float] = {}

    def note(layer: str) -> None:
        out[layer] = out.get(layer, 0.0) + coder.spent
        coder.spent = 0.0

    for _ in range(people):
        _code_person(coder, PersonChunk.empty(layout), layout, shared, note)
    return out


def _code_person(
    coder: Coder,
    given: PersonChunk,
    layout: Layout,
    shared: _Shared,
    note: Callable[[str], None] = lambda layer: None,
) -> PersonChunk:
    """Writes a person and returns it, or reads one; ``note`` is told of each layer once it is
    done."""
    shared.person += 1
    missing = _code_missing(coder, given.missing)
    note("missing joints")
    out = PersonChunk(missing)
    if missing.all() and not layout.exact:
        # Nothing else is written, and what reads needs shapes alone.
        return PersonChunk.absent(layout)
    if layout.exact:
        assert given.exact is not None
        out.exact = code_exact(coder, given.exact, ~missing, shared.keypoints, layout.body)
        note("numbers")
        if given.exact_confidence is not None:
            out.exact_confidence = code_exact(
                coder, given.exact_confidence, ~missing, shared.confidences, layout.body
            )
            note("confidence")
        return out
    in_numbers = layout.bounded and bool(coder.bits(int(given.numbers is not None), 1))
    if layout.bounded and layout.fine is None and not in_numbers:
        raise ContainerError("chunk: expected everybody in numbers, found somebody who is not")
    if layout.depth and (not in_numbers or coder.bits(int(given.placed), 1)):
        assert given.origin is not None and given.turn is not None
        if not layout.free:
            out.origin = code_curve(coder, given.origin, layout.hips)
        out.turn = code_knots(coder, given.turn, "heading" if layout.dims == 3 else "box")
        if given.bones is not None:
            out.bones = code_bones(coder, given.bones, layout.depth)
        note("placement")
        for level, (prior, tokens) in enumerate(zip(layout.priors, given.tokens), 1):
            if given.rows:
                write_under(coder, tokens, given.rows[level - 1])
                out.tokens.append(tokens)
            else:
                out.tokens.append(prior.code(coder, tokens, out.tokens))
            note(f"tokens {level}")
        if layout.spectral and given.spectrum is not None:
            frames, _, kind = layout.spectral
            out.spectrum = code_spectrum(coder, given.spectrum, frames, kind)
            note("spectrum")
        if layout.free:
            out.origin = code_curves(coder, given.origin, _ONE, shared.paths)
            note("placement")
    if given.extra is not None and not in_numbers:
        if layout.outside:
            gone: NDArray[np.bool_] = np.all(missing[:, list(layout.outside)], axis=0)
            out.extra = code_curves(coder, given.extra, ~gone, shared.curves)
        else:
            out.extra = code_curve(coder, given.extra, "keypoint")
        note("other joints")
    if given.confidence is not None:
        out.confidence = _code_confidence(coder, given.confidence, missing, layout.confidence_bits)
        note("confidence")
    if in_numbers:
        if layout.spaced:
            out.spacing = code_spacing(coder, given.spacing)
        keys = out.spacing.keys(layout.frames)
        empty = Numbers.empty(len(keys), layout.joints, layout.dims, False, layout.learned)
        out.numbers = code_numbers(
            coder, given.numbers or empty, ~missing[keys], shared.keypoints, layout.body
        )
        note("numbers")
        if out.spacing.exponent:
            none = np.zeros((layout.frames, layout.joints, layout.dims), np.int64)
            asked = none if given.between is None else given.between
            out.between = code_between(coder, asked, ~missing, out.spacing, shared.between)
            note("between key frames")
        return out
    if given.fine is not None:
        jointed = None
        if given.shape is not None and out.bones is not None:
            here = layout.here(missing)
            out.shape = code_shape(coder, given.shape, out.bones, here)
            jointed = layout.jointed_of(shared.person, out.shape, out.bones, here)
            note("shape")
        out.fine = code_coefficients(
            coder, given.fine, jointed, shared.plain if layout.learned else None
        )
        note("refinement")
    if given.corrections is not None:
        adapting = shared.corrections if layout.learned else None
        out.corrections = code_corrections(coder, given.corrections, ~missing, adapting)
        note("corrections")
    return out


def _code_missing(coder: Coder, missing: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """(F, K) flags: one bit where nothing is missing; else for each joint its first flag and the
    lengths of runs, and a joint that is like the one before it costs a bit."""
    if not coder.bits(int(missing.any()), 1):
        return np.zeros(missing.shape, bool)
    frames, joints = missing.shape
    out = np.zeros((frames, joints), bool)
    for joint in range(joints):
        given = missing[:, joint]
        before = out[:, joint - 1] if joint else np.ones(frames, bool)
        if coder.bits(int(bool(np.array_equal(given, before))), 1):
            out[:, joint] = before
            continue
        flag = bool(coder.bits(int(given[0]) if frames else 0, 1))
        ends = np.append(np.flatnonzero(np.diff(given)) + 1, frames).tolist()
        at = run = 0
        while at < frames:
            # Written as the run's length less one; one that reaches the end is written as 0 with
            # the remaining length unsaid, so that a joint never seen costs little.
            stop = ends[run] if run < len(ends) else frames
            length = code_natural(coder, 0 if stop == frames else stop - at)
            stop = at + length if length else frames
            if stop > frames:
                raise ContainerError(
                    f"missing joints: expected runs within {frames} frames, found {stop}"
                )
            out[at:stop, joint] = flag
            at, flag, run = stop, not flag, run + 1
    return out


def _code_confidence(
    coder: Coder, levels: Integers, missing: NDArray[np.bool_], bits: int
) -> Integers:
    """(F, K) levels at present joints, each as the difference from the joint's last; one bit and a
    level where all are alike."""
    here = ~missing
    alike = levels[here]
    one = int(alike[0]) if len(alike) else 0
    out = np.zeros(levels.shape, np.int64)
    if coder.bits(int(bool((alike == one).all())), 1):
        out[here] = coder.bits(one, bits)
        return out
    tables = curve_tables("confidence").knots
    top = (1 << bits) - 1
    for joint in range(levels.shape[1]):
        last, bucket = top, 5
        column = levels[:, joint].tolist()
        for frame in np.flatnonzero(here[:, joint]).tolist():
            step = code_magnitude(coder, column[frame] - last, tables[bucket])
            last += step
            if not 0 <= last <= top:
                raise ContainerError(f"confidence: expected levels from 0 to {top}, found {last}")
            bucket = 0 if step == 0 else 1 if abs(step) < 3 else 2 if abs(step) < 6 else 3
            out[frame, joint] = last
    return out
