"""What a header determines: skeleton, weights, shapes of chunks, and the network once needed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from motioncodec.articulated import links_of
from motioncodec.bitstream.bones import FREE, RIGID
from motioncodec.bitstream.header import FIRST_LATER, PATH_BLOCK, WINDOW, Header
from motioncodec.bitstream.network import NetworkPrior, NetworkTensors
from motioncodec.bitstream.payload import Layout, PersonChunk, Spectral
from motioncodec.bitstream.prior import LevelPrior, Prior
from motioncodec.bitstream.refinement import step_class
from motioncodec.bitstream.spectrum import Kind
from motioncodec.errors import ClipError, ContainerError, ModelError
from motioncodec.footing import REACH, bends, velocities
from motioncodec.heatmap.bones import HIPS, from_reference, to_reference
from motioncodec.heatmap.placement import (
    KNOT_SPACING,
    Placement,
    dequantise_scale,
    from_model_axes,
)
from motioncodec.heatmap.resampling import to_clip_rate
from motioncodec.interpolation import places_of
from motioncodec.model.config import PRESETS, Config
from motioncodec.model.weights import Weights, find_weights, resolve_device
from motioncodec.refinement import (
    Channels,
    Posed,
    correction_step,
    refined,
    shape_of,
    shape_step,
)
from motioncodec.skeleton import CANONICAL, Skeleton, find_skeleton
from motioncodec.spectrum import BORDER, poses_of
from motioncodec.tracks import (
    covered_joints,
    decode_extra,
    dequantise_bones,
    extra_order,
    joined,
    path_of,
    placement,
)

if TYPE_CHECKING:
    from torch import Tensor

    from motioncodec.model.quantizer import Rate
    from motioncodec.model.weights import Network

Float64 = NDArray[np.float64]


ROWS = 1 << 23
"""Frequencies, 64 MiB of them, that are found ahead of their use, at most."""


@contextmanager
def _few_threads(network: Network) -> Iterator[None]:
    """One thread for a slot model: its steps are so small that two take longer over them, and many
    times as long where other programs keep the processors busy."""
    import torch

    before = torch.get_num_threads()
    if isinstance(network.config, Config):
        torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


@dataclass(frozen=True)
class Untold:
    """A stretch of somebody's motion that has no tokens yet.

    Attributes:
        points: (N, 20, D) joints in body units.
        peaks: (N, 20) from 0 (missing) to 1.
        bones: (20,) lengths of the rigid ones, None for none.
        frames: those that tokens are wanted of, in whole windows; the others are neighbours.
    """

    points: Float64
    peaks: Float64
    bones: Float64 | None
    frames: slice


class Stream:
    """What a header determines: skeleton, weights, layouts, and a network once it is needed.

    Raises:
        ContainerError, ModelError: the header names what is not there.
    """

    def __init__(self, header: Header, device: str = "cpu", weights: Weights | None = None) -> None:
        self.header, self.device = header, device
        self.skeleton = (
            Skeleton(header.names, covered=header.covered or (-1,) * len(header.names))
            if header.skeleton == 0
            else _skeleton(header.skeleton, header.left_out)
        )
        header.check_size(len(self.skeleton))
        self.weights = weights if header.model else None
        if header.model and weights is None:
            if header.model_id == 0:
                raise ModelError(
                    f"made with weights of one's own (fingerprint {header.fingerprint:08x}): "
                    "expected their .safetensors file; name it with --model"
                )
            self.weights = find_weights(header.model_id)
        if header.model and self.weights is not None:
            config = self.weights.config
            if config.dims != header.dims or len(config.levels) < header.depth:
                raise ContainerError(
                    f"header: expected what model {self.weights.name} makes ({config.dims}D, up to "
                    f"{len(config.levels)} levels), found {header.dims}D, {header.depth} levels"
                )
        self.covered, self.canonical = (
            covered_joints(self.skeleton) if header.embodied else ([], [])
        )
        inside = set(range(len(self.skeleton)) if header.alone else self.covered)
        self.extra = [j for j in range(len(self.skeleton)) if j not in inside]
        if len(header.references) != len(self.extra):
            raise ContainerError(
                f"header: expected references of {len(self.extra)} joints, "
                f"found {len(header.references)}"
            )
        partners = [p for link in header.links if link for p in link.partners]
        if any(r >= len(self.skeleton) for r in (*header.references, *partners)):
            raise ContainerError(
                "header: expected references to joints of the skeleton, found others"
            )

        if self.weights is not None and header.chunk % self.weights.config.window:
            raise ContainerError(
                f"header: expected chunks of whole windows of {self.weights.config.window} model "
                f"frames, found {header.chunk}"
            )

    @cached_property
    def priors(self) -> list[Prior]:
        """Of the levels that the stream has tokens of."""
        if self.weights is None:
            return []
        named = self.header.fingerprint != 0 or self.weights.id < FIRST_LATER
        if named and self.weights.fingerprint_word != self.header.fingerprint:
            raise ModelError(
                f"model {self.weights.name}: expected weights with fingerprint "
                f"{self.header.fingerprint:08x} as the file names, found "
                f"{self.weights.fingerprint_word:08x}; install the version that wrote the file"
            )
        return priors_of(self.weights)[: self.header.depth]

    @property
    def kind(self) -> Kind:
        """Of spectrum, of a stream that has one."""
        assert self.header.spectrum is not None
        return Kind(self.header.spectrum, self.header.turns, self.header.free)

    @property
    def preset(self) -> str:
        """Of the stream's tokens; of a spectrum, the one that comes about as near."""
        return PRESETS[self.header.depth - 1] if self.weights is None else self.presets[-1]

    @property
    def presets(self) -> tuple[str, ...]:
        """What the tokens of each level complete."""
        assert self.weights is not None
        return self.weights.config.presets[: self.header.depth]

    @property
    def knows_bones(self) -> bool:
        """Whether the model sees everybody with reference bones: in 2D they foreshorten."""
        if self.header.spectrum is not None:
            return True
        config = None if self.weights is None else self.weights.config
        return config is not None and config.lapped and self.header.dims == 3

    @cached_property
    def strides(self) -> list[int]:
        """Model frames in a step of each level."""
        if self.weights is None:
            return []
        return [level.stride for level in self.weights.config.levels[: self.header.depth]]

    def layout(self, chunk: int) -> Layout:
        """Shapes of a chunk."""
        start, stop = self.header.span(chunk)
        first, last = self.header.frame_span(chunk)
        fine, jointed = None, []
        if self.header.fine_step is not None and not self.header.alone:
            fine = shape_of(last - first, self.channels, self.header.frame_rate)
            if self.channels.jointed:
                jointed = [
                    step_class(self.header.fine_step, self.header.units, scale)
                    for scale in self.header.scales
                ]
        return Layout(
            last - first, len(self.skeleton), self.header.dims, (stop - start) // WINDOW,
            len(self.extra), self.header.confidence, self.priors,
            [self.header.steps(chunk, stride) for stride in self.strides], KNOT_SPACING,
            self.knows_bones, fine, self.header.bound > 0, jointed, self.skeleton.covered,
            self.header.lossless, self.header.stride, self.extra if self.header.adaptive else (),
            self.header.learned, self.header.spaced, self.header.terse,
            None if self.header.spectrum is None
            else Spectral(self.header.steps(chunk, 1), self.header.depth, self.kind),
        )  # fmt: skip

    @cached_property
    def channels(self) -> Channels:
        """How what is left over becomes channels."""
        jointed = self.knows_bones and bool(self.covered)
        return Channels(self.covered, self.canonical, jointed, len(self.skeleton), self.header.dims)

    @cached_property
    def network(self) -> Network:
        """The network on its device; importing torch starts here."""
        assert self.weights is not None
        return self.weights.network(resolve_device(self.device))

    @cached_property
    def exact_network(self) -> Network:
        """The network in float64."""
        assert self.weights is not None
        return self.weights.network(resolve_device(self.device), exact=True)

    @cached_property
    def rates(self) -> list[Rate] | None:
        """What bits cost the encoder, by level; None where the network knows by itself."""
        from motioncodec.model.quantizer import Rate

        assert self.weights is not None
        if self.weights.config.lapped:
            return None
        prices = self.weights.rate_weights.get(self.preset, [0.0] * self.header.depth)
        return [
            Rate.of(price, prior.lengths, prior.class_of, self.network.device)
            for price, prior in zip(prices, self.priors)
            if isinstance(prior, LevelPrior)
        ]

    def bones(self, one: PersonChunk) -> Float64 | None:
        """(20,) lengths of a person's rigid bones in body units, NaN for others; None for none."""
        if one.bones is None or (one.bones == FREE).all():
            return None
        return dequantise_bones(one.bones, self.header.depth)

    def tokenizes_as(self, other: Stream) -> bool:
        """Whether the tokens of both are made in the same way."""
        return (
            self.weights is other.weights
            and self.device == other.device
            and self.header.depth == other.header.depth
        )

    def tokenize(self, asked: Sequence[Untold], effort: int) -> list[list[NDArray[np.int64]]]:
        """Motion to tokens: of each stretch and level (N / stride, slots), the last window filled
        up by holding the last frame.

        Args:
            asked: stretches of this stream, or of any with the same model and preset.
            effort: 1 to 9, for models that can be searched with.
        """
        with _few_threads(self.network):
            return self._tokenize(asked, effort)

    def _tokenize(self, asked: Sequence[Untold], effort: int) -> list[list[NDArray[np.int64]]]:
        network, depth = self.network, self.header.depth
        given = [self._tensors(one) for one in asked]
        if effort > 1 and network.config.lapped:
            from motioncodec.model.vqgan import SlotVQGAN
            from motioncodec.search import EFFORTS, Stretch, search

            assert isinstance(network, SlotVQGAN)
            window = network.config.window
            priors = [p for p in self.priors if isinstance(p, NetworkPrior)]
            stretches = [
                Stretch(*pair, slice(one.frames.start // window, -(-one.frames.stop // window)))
                for one, pair in zip(asked, given)
            ]
            return search(network, priors, stretches, depth, EFFORTS[effort])
        return [
            [
                level[0].cpu().numpy().astype(np.int64)
                for level in network.tokenize(*pair, depth, self.rates)
            ]
            for pair in given
        ]

    def find_rows(self, chunks: Sequence[PersonChunk]) -> None:
        """Finds what tokens are written under, of all side by side, where that takes less time and
        not much memory. The chunks may be of this stream, or of any with the same model."""
        priors = [p for p in self.priors if isinstance(p, NetworkPrior)]
        steps = sum(len(one.tokens[0]) for one in chunks)
        cells = steps * sum(prior.width * sum(prior.sizes) for prior in priors)
        if not priors or len(chunks) < 2 or cells > ROWS:
            return
        for level, prior in enumerate(priors):
            tokens = [one.tokens[level] for one in chunks]
            found = prior.rows(tokens, [one.tokens[:level] for one in chunks])
            for one, rows in zip(chunks, found):
                one.rows.append(rows)

    def _tensors(self, one: Untold) -> tuple[Tensor, Tensor]:
        """(1, N, 20, D) centres and (1, N, 20) peaks of whole windows, on the network's device."""
        import torch

        device, window = self.network.device, self.network.config.window
        points = one.points if one.bones is None else to_reference(one.points, one.bones)
        frames = len(points) + -len(points) % window
        held = np.minimum(np.arange(frames), len(points) - 1)

        def tensor(values: Float64) -> Tensor:
            return torch.from_numpy(values[held][None].astype(np.float32)).to(device)

        return tensor(points), tensor(one.peaks)

    def detokenize(self, tokens: list[NDArray[np.int64]], bones: Float64 | None) -> Float64:
        """Tokens of each level to (N, 20, D) body units of somebody with such bones."""
        import torch

        # What is refined must come out alike everywhere, to far less than the bound.
        network = self.network if self.header.fine_step is None else self.exact_network
        given = [torch.from_numpy(level[None]).to(network.device) for level in tokens]
        with _few_threads(network):
            points: Float64 = network.detokenize(given)[0].cpu().numpy().astype(np.float64)
        return points if bones is None else from_reference(points, bones)

    @cached_property
    def extra_rounds(self) -> list[list[int]]:
        """Uncovered joints in an order in which references come first."""
        return extra_order(self.extra, self.header.references, self.header.links)

    def margins(
        self, mine: dict[int, PersonChunk], start: int, stop: int, margin: int
    ) -> tuple[int, int]:
        """Model frames about ``start`` to ``stop``, ``margin`` wider but within the run of chunks
        in which the person is seen and has tokens: what lies beyond is another appearance."""
        chunk = self.header.chunk
        first, last = start // chunk, (stop - 1) // chunk
        while first * chunk > start - margin and first - 1 in mine and mine[first - 1].placed:
            first -= 1
        while (last + 1) * chunk < stop + margin and last + 1 in mine and mine[last + 1].placed:
            last += 1
        return max(start - margin, first * chunk), min(stop + margin, self.header.span(last)[1])

    def neighbours(self, start: int, stop: int) -> range:
        """Chunks that hold model frames ``start`` to ``stop``."""
        return range(start // self.header.chunk, -(-stop // self.header.chunk))

    @property
    def margin(self) -> int:
        """Model frames on either side that decoding looks at."""
        if self.header.spectrum is not None:
            return BORDER + WINDOW + (PATH_BLOCK + REACH + 1 if self.header.free else 0)
        return (0 if self.weights is None else self.weights.config.margin) + WINDOW

    def decode_body(
        self, mine: dict[int, PersonChunk], person: int, start: int, stop: int
    ) -> Float64:
        """(N, K, D) covered joints in the models' axes at model frames ``start`` to ``stop``, which
        are whole windows; other joints are 0.

        Args:
            mine: that person, in every chunk within the network's margin.
        """
        out = np.zeros((stop - start, len(self.skeleton), self.header.dims))
        if not self.covered:
            return out
        poses, where = self._placed(mine, person, start, stop)
        out[:, self.covered] = where.invert(poses)[:, self.canonical]
        return out

    def _placed(
        self, mine: dict[int, PersonChunk], person: int, start: int, stop: int
    ) -> tuple[Float64, Placement]:
        """(N, 20, D) body units at model frames ``start`` to ``stop``, and where their origin is,
        which is the centre of the joints or the hips."""
        if not self.header.free:
            found = self.poses if self.header.spectrum is not None else self._detokenized
            return found(mine, start, stop), self.told_placement(mine, person, start, stop)
        poses, where, bent = self.footed(mine, person, start, stop)
        near = self.neighbours(start, stop)
        curves = (mine[c].origin for c in near)
        told = np.concatenate([path_of(self.header, one)[:-1] for one in curves if one is not None])
        ahead = start % PATH_BLOCK
        first = start - ahead - near[0] * self.header.chunk
        path = told[first : first + len(bent)] + bent
        here = slice(ahead, ahead + stop - start)
        where = replace(where, origin=path * dequantise_scale(self.header.scales[person]))
        return poses[here], where.part(here)

    def footed(
        self, mine: dict[int, PersonChunk], person: int, start: int, stop: int
    ) -> tuple[Float64, Placement, Float64]:
        """Of whole blocks of the path about model frames ``start`` to ``stop``, what is known
        before the path is: (N, 20, 3) body units about the centre, the placement but for its
        origin, and (N, 3) body units in the models' axes that the path is off straight lines by,
        as these poses have it."""
        low, high = self.margins(mine, start, stop, PATH_BLOCK + REACH + 1)
        first, last = start // PATH_BLOCK, -(-stop // PATH_BLOCK)
        held = np.arange(first * PATH_BLOCK - REACH, last * PATH_BLOCK + REACH + 1)
        held = np.clip(held, low, high - 1) - low
        poses = self.poses(mine, low, high)[held]
        where = self.told_placement(mine, person, low, high).part(held)
        assert where.heading is not None
        here = slice(REACH, -REACH - 1)
        return poses[here], where.part(here), bends(velocities(poses, where.heading))

    def poses(self, mine: dict[int, PersonChunk], start: int, stop: int) -> Float64:
        """(N, 20, 3) body units at model frames ``start`` to ``stop``, from spectra."""
        low, high = self.margins(mine, start, stop, BORDER)
        near = self.neighbours(low, high)
        spectra = [one.spectrum for one in map(mine.get, near) if one and one.spectrum]
        frames = [self.header.steps(chunk, 1) for chunk in near]
        poses = poses_of([one.vectors for one in spectra], frames, self.kind)
        # The last frame is held up to the end of its windows.
        first = near[0] * self.header.chunk
        poses = poses[np.minimum(np.arange(start - first, stop - first), len(poses) - 1)]
        bones = self.bones(mine[near[0]])
        poses = poses if bones is None else from_reference(poses, bones)
        return poses - poses.mean(axis=1, keepdims=True) if self.header.free else poses

    def _detokenized(self, mine: dict[int, PersonChunk], start: int, stop: int) -> Float64:
        """(N, 20, D) body units at model frames ``start`` to ``stop``, from tokens."""
        assert self.weights is not None
        low, high = self.margins(mine, start, stop, self.weights.config.margin)
        near = self.neighbours(low, high)
        first = near[0] * self.header.chunk
        window = self.network.config.window
        low, high = low // window * window, -(-high // window) * window
        tokens = []
        for level, stride in enumerate(self.strides):
            steps = np.arange((low - first) // stride, (high - first) // stride)
            rows = np.concatenate([mine[c].tokens[level] for c in near])
            # Steps that begin after the clip's end are not written: the last one is held.
            tokens.append(rows[np.minimum(steps, len(rows) - 1)])
        return self.detokenize(tokens, self.bones(mine[near[0]]))[start - low : stop - low]

    def placement(
        self, mine: dict[int, PersonChunk], person: int, start: int, stop: int
    ) -> Placement:
        """Placement at model frames ``start`` to ``stop``."""
        if not self.header.free:
            return self.told_placement(mine, person, start, stop)
        poses, where = self._placed(mine, person, start, stop)
        hips = poses[:, list(HIPS)].mean(axis=1, keepdims=True)
        return replace(where, origin=where.invert(hips)[:, 0])

    def told_placement(
        self, mine: dict[int, PersonChunk], person: int, start: int, stop: int
    ) -> Placement:
        """Placement at model frames ``start`` to ``stop`` as far as it is told before the pose:
        without the origin where the path of the centre is told behind it."""
        near = self.neighbours(start, stop)
        parts = []
        for one in (mine[c] for c in near):
            assert one.turn is not None
            hips = None if self.header.free else one.origin
            parts.append(placement(self.header, person, hips, one.turn))
        first = near[0] * self.header.chunk
        return joined(parts, self.header.dims == 3, slice(start - first, stop - first))

    def at_clip_rate(self, values: Float64, low: int, frames: range) -> Float64:
        """Values at model frames from ``low`` on to some clip frames."""
        return to_clip_rate(values, self.header.frame_rate, frames.start, frames.stop, low)

    def placed_at_clip_rate(self, where: Placement, low: int, frames: range) -> Placement:
        """Placement at model frames from ``low`` on to some clip frames."""

        def moved(values: Float64) -> Float64:
            return self.at_clip_rate(values, low, frames)

        heading = None if where.heading is None else moved(np.unwrap(where.heading))
        return Placement(moved(where.origin), moved(where.size), heading)

    def body_at_clip_rate(self, mine: dict[int, PersonChunk], person: int, chunk: int) -> Float64:
        """(F, K, D) covered joints in the models' axes at a chunk's clip frames."""
        low, high = self.margins(mine, *self.header.span(chunk), WINDOW)
        frames = range(*self.header.frame_span(chunk))
        return self.at_clip_rate(self.decode_body(mine, person, low, high), low, frames)

    def keypoints_at_clip_rate(
        self, mine: dict[int, PersonChunk], person: int, chunk: int
    ) -> Float64:
        """(F, K, D) all joints in the models' axes at a chunk's clip frames, before refinement."""
        return self.with_extra(self.body_at_clip_rate(mine, person, chunk), mine[chunk])

    def with_extra(self, body: Float64, one: PersonChunk) -> Float64:
        """(F, K, D) a decoded body and the joints outside it, from their curves."""
        if one.extra is not None:
            body[:, self.extra] = decode_extra(
                one.extra, body, self.extra, self.extra_rounds, self.header
            )
        return body

    def heading_at_clip_rate(
        self, mine: dict[int, PersonChunk], person: int, chunk: int
    ) -> Float64 | None:
        """(F,) radians at a chunk's clip frames; None in 2D and without a body."""
        if not self.covered or self.header.dims == 2:
            return None
        low, high = self.margins(mine, *self.header.span(chunk), WINDOW)
        where = self.told_placement(mine, person, low, high)
        assert where.heading is not None
        frames = range(*self.header.frame_span(chunk))
        return self.at_clip_rate(np.unwrap(where.heading), low, frames)

    def bone_lengths(self, one: PersonChunk, person: int) -> Float64:
        """(20,) lengths of a person's rigid bones in the clip's units, roughly; NaN for others."""
        bones = self.bones(one)
        out: Float64 = np.full(len(CANONICAL), np.nan)
        if bones is not None:
            out = bones * dequantise_scale(self.header.scales[person])
        return out

    def posed(self, mine: dict[int, PersonChunk], person: int, chunk: int) -> Posed | None:
        """The body of a chunk before it is refined; None where all keypoints are plain."""
        one, header = mine[chunk], self.header
        heading = self.heading_at_clip_rate(mine, person, chunk)
        if one.shape is None or one.bones is None or header.fine_step is None or heading is None:
            return None
        layout = self.layout(chunk)
        here = layout.here(one.missing)
        off = one.shape[:-1] * np.float64(shape_step(header.fine_step))
        lengths: Float64 = self.bone_lengths(one, person)
        if not one.shape[-1, RIGID]:
            lengths[:] = np.nan
        links = links_of(one.shape[-1, :RIGID].tolist(), off, lengths, here)
        return Posed(heading, links, layout.jointed_of(person, one.shape, one.bones, here))

    def refine(
        self, points: Float64, mine: dict[int, PersonChunk], person: int, chunk: int
    ) -> Float64:
        """(F, K, D) decoded keypoints of a chunk and what its refinement adds."""
        one, header = mine[chunk], self.header
        if one.fine is None or header.fine_step is None:
            return points
        posed = self.posed(mine, person, chunk)
        points = refined(one.fine, header.fine_step, self.channels, points, posed)
        if one.corrections is not None:
            points = points + one.corrections * correction_step(header.bound, header.dims)
        return points

    def decoded(self, mine: dict[int, PersonChunk], person: int, chunk: int) -> Float64:
        """(F, K, D) all joints in the clip's axes at a chunk's clip frames, any where missing; not
        of a lossless stream."""
        one, header = mine[chunk], self.header
        if one.numbers is not None:
            step = correction_step(header.bound, header.dims)
            return places_of(one.numbers, one.spacing, one.between, ~one.missing) * step
        points = self.keypoints_at_clip_rate(mine, person, chunk)
        return from_model_axes(self.refine(points, mine, person, chunk), header.up)


@lru_cache(maxsize=4)
def priors_of(weights: Weights) -> list[Prior]:
    """What the tokens of each level are written under.

    Raises:
        ModelError: the weights file has not got it.
    """
    try:
        if not weights.config.lapped:
            return [LevelPrior(p["frequencies"], p["class_of"]) for p in weights.prior_arrays]
        networks: list[NetworkPrior] = []
        for arrays in weights.prior_arrays:
            networks.append(NetworkPrior(NetworkTensors(**arrays), networks))
        return list(networks)
    except (KeyError, TypeError, ValueError, IndexError) as error:
        raise ModelError(
            f"{weights.path.name}: expected the tensors of its priors, found others: {error}"
        ) from error


def _skeleton(number: int, left_out: int) -> Skeleton:
    try:
        whole = find_skeleton(number)
    except ClipError as error:
        raise ContainerError(
            f"header: expected a skeleton that this version knows, found id {number}; "
            "upgrade motioncodec"
        ) from error
    try:
        return whole.without(left_out)
    except ClipError as error:
        raise ContainerError(f"header: {error}") from error
