"""The weights that ship, by name and by permanent id, each with prior, card and fingerprint.

The table of weights, configurations and priors are read without torch, so that ``info``, ``test``
and ``decode --to tokens`` run without it; only :meth:`Weights.network` imports it.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property, lru_cache
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias, cast

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import load_file, save

from motioncodec.errors import ModelError, UsageError
from motioncodec.model.config import AnyConfig, Config, Conv3dConfig, read_config

if TYPE_CHECKING:
    from motioncodec.model.conv3d import Conv3dVQGAN
    from motioncodec.model.vqgan import SlotVQGAN

Network: TypeAlias = "SlotVQGAN | Conv3dVQGAN"
"""Of either family."""

Tensors = dict[str, NDArray[Any]]

PRIOR = "prior."
SCALE = ".scale_of_row"
_MATRIX = re.compile(
    r"((encoder|decoder)\..+\.weight"
    r"|coders\.\d+\.((enc|dec)\.\d+\.(over_time|pointwise)|enc_in|enc_out|dec_in|dec_context|dec_out)\.weight)$"
)


@dataclass(frozen=True)
class Weights:
    """One weights file.

    Attributes:
        id: permanent number that files name; 0 for weights that do not ship.
        name: that ``--model`` takes.
        path: of the safetensors file.
        original: sha256, in hex, of the file that older streams name, where this one has kept its
            decoder alone; None where it is that file.
    """

    id: int
    name: str
    path: Path
    original: str | None = None

    @cached_property
    def metadata(self) -> dict[str, str]:
        """The file's own: ``config``, ``card`` and ``rate_weights``, each JSON."""
        try:
            with safe_open(self.path, framework="numpy") as tensors:
                return dict(tensors.metadata() or {})
        except (OSError, SafetensorError) as error:
            raise ModelError(
                f"{self.path.name}: expected a safetensors file of weights ({error}); "
                "install motioncodec again"
            ) from error

    @cached_property
    def config(self) -> AnyConfig:
        """The network's shape."""
        try:
            return read_config(self.metadata["config"])
        except (KeyError, TypeError, ValueError) as error:
            raise ModelError(
                f"{self.path.name}: expected a model configuration, found {error!r}"
            ) from error

    @property
    def card(self) -> dict[str, Any]:
        """Data, licence, steps, figures: see ``motioncodec models``."""
        card: dict[str, Any] = json.loads(self.metadata.get("card", "{}"))
        return card

    @property
    def rate_weights(self) -> dict[str, list[float]]:
        """For each preset what a bit costs at each of its levels, in squared network units."""
        weights: dict[str, list[float]] = json.loads(self.metadata.get("rate_weights", "{}"))
        return weights

    @cached_property
    def basis(self) -> NDArray[np.float64] | None:
        """(joints x dims, joints x dims) principal components of a pose, in columns, largest first;
        None for a model that is not lapped."""
        if not self.config.lapped:
            return None
        try:
            with safe_open(self.path, framework="numpy") as tensors:
                basis: NDArray[np.float64] = tensors.get_tensor("coders.0.basis").astype(np.float64)
        except (OSError, SafetensorError) as error:
            raise ModelError(
                f"{self.path.name}: expected the basis of a lapped model ({error}); "
                "install motioncodec again"
            ) from error
        return basis

    @cached_property
    def fingerprint(self) -> str:
        """sha256, in hex, of the file that streams name."""
        return self.original or hashlib.sha256(self.path.read_bytes()).hexdigest()

    @property
    def encodes(self) -> bool:
        """Whether it makes tokens; old weights are kept for the streams that have theirs."""
        return self.original is None

    @property
    def fingerprint_word(self) -> int:
        """The first 32 bits of the fingerprint, which a ``.mtok`` carries."""
        return int(self.fingerprint[:8], 16)

    @cached_property
    def prior_arrays(self) -> list[Tensors]:
        """For each level the tensors of its prior, by name."""
        try:
            with safe_open(self.path, framework="numpy") as tensors:
                names = list(tensors.keys())
                return [
                    {
                        name[len(start) :]: tensors.get_tensor(name)
                        for name in names
                        if name.startswith(start)
                    }
                    for start in (f"{PRIOR}{level}." for level in range(len(self.config.levels)))
                ]
        except (OSError, SafetensorError) as error:
            raise ModelError(
                f"{self.path.name}: expected the tensors of a prior ({error})"
            ) from error

    def network(self, device: str = "cpu", *, exact: bool = False) -> Network:
        """The network on a device, ready to tokenize: in float32, or in float64 if ``exact``."""
        return _network(self, device, exact)

    def depth(self, preset: str) -> int:
        """Levels of a preset.

        Raises:
            UsageError: the model has no such preset.
        """
        presets = self.config.presets
        if preset not in presets:
            raise UsageError(
                f"model {self.name}: expected a preset that it has ({', '.join(presets)}), "
                f"found {preset}; name that, or leave out --model"
            )
        return presets.index(preset) + 1


@lru_cache(maxsize=4)
def _network(weights: Weights, device: str, exact: bool) -> Network:
    import torch

    network = build_network(weights.config, encodes=weights.encodes)
    try:
        state = unpack_tensors(load_file(weights.path))
        if weights.config.lapped:
            state |= unpack_codebooks(state, weights)
        network.load_state_dict({name: torch.from_numpy(value) for name, value in state.items()})
    except (OSError, KeyError, ValueError, RuntimeError, SafetensorError) as error:
        raise ModelError(
            f"{weights.path.name}: expected the tensors of its configuration, found others: "
            f"{str(error).splitlines()[0]}"
        ) from error
    network = network.to(device).eval()
    return network.double() if exact else network


def build_network(config: AnyConfig, dropout: float = 0.0, *, encodes: bool = True) -> Network:
    """An untrained network of either family; a slot model has no encoder unless it ``encodes``."""
    from motioncodec.model.conv3d import Conv3dVQGAN
    from motioncodec.model.vqgan import SlotVQGAN

    if isinstance(config, Conv3dConfig):
        return Conv3dVQGAN(config)
    return SlotVQGAN(config, dropout, encodes)


def resolve_device(device: str) -> str:
    """``auto`` to ``cuda`` where there is one, else ``cpu``.

    Raises:
        ModelError: CUDA was asked for by name and there is none.
    """
    import torch

    available = torch.cuda.is_available()
    if device == "cuda" and not available:
        raise ModelError(
            "device cuda: expected a CUDA device and a torch built for it, found none; "
            "use --device cpu"
        )
    return "cuda" if device in ("auto", "cuda") and available else "cpu"


@lru_cache(maxsize=1)
def shipped() -> tuple[Weights, ...]:
    """Weights in the package, by ``weights/registry.json``. Ids are permanent."""
    folder = files("motioncodec.weights")
    table = json.loads((folder / "registry.json").read_text())
    return tuple(
        Weights(
            entry["id"], entry["name"], Path(str(folder / entry["file"])), entry.get("original")
        )
        for entry in table
    )


def find_weights(key: str | int | Path) -> Weights:
    """Weights by name, by permanent id, or a safetensors file by path.

    Raises:
        ModelError: there are none.
    """
    for weights in shipped():
        if key in (weights.name, weights.id):
            return weights
    if isinstance(key, (str, Path)) and Path(key).suffix == ".safetensors" and Path(key).is_file():
        return Weights(0, Path(key).stem, Path(key))
    known = ", ".join(weights.name for weights in shipped())
    if isinstance(key, int):
        raise ModelError(
            f"model {key}: expected one that this version ships ({known}); upgrade motioncodec"
        )
    raise ModelError(f"model {key!r}: expected one of {known}, or a .safetensors file")


def find_encoder(key: str | Path) -> Weights:
    """Weights as of :func:`find_weights` that can make tokens.

    Raises:
        ModelError: there are none, or they are kept for decoding alone.
    """
    weights = find_weights(key)
    if not weights.encodes:
        known = ", ".join(weights.name for weights in shipped() if weights.encodes)
        raise ModelError(
            f"model {weights.name}: expected one that encodes ({known}), found one that is kept to "
            "decode older files; name another, or leave out --model"
        )
    return weights


def default_weights(dims: int) -> Weights:
    """The newest shipped weights of slot models for 2 or 3 dimensions."""
    for weights in reversed(shipped()):
        if isinstance(weights.config, Config) and weights.config.dims == dims:
            return weights
    raise ModelError(f"expected shipped weights for {dims} dimensions, found none")


def pack_tensors(state: Mapping[str, NDArray[Any]]) -> Tensors:
    """Float32 tensors as a weights file keeps them: the networks' matrices in int8 with a float16
    scale for every row; a basis and a mean pose in float32, for the finest preset's sake; whole
    numbers as int16; everything else, codebooks and linear paths among it, in float16."""
    packed: Tensors = {}
    for name, value in state.items():
        if not _MATRIX.match(name) or value.ndim < 2:
            exact = name.endswith((".basis", ".spread")) or (
                name == "mean" and "coders.0.basis" in state
            )
            whole = np.issubdtype(value.dtype, np.integer)
            packed[name] = value.astype(np.float32 if exact else np.int16 if whole else np.float16)
            continue
        rows = value.reshape(len(value), -1).astype(np.float32)
        scale = (np.abs(rows).max(axis=1) / 127).astype(np.float16)
        steps = np.maximum(scale.astype(np.float32), 1e-7)[:, None]
        packed[name] = (
            np.clip(np.rint(rows / steps), -127, 127).astype(np.int8).reshape(value.shape)
        )
        packed[name + SCALE] = scale
    return packed


def unpack_tensors(packed: Mapping[str, NDArray[Any]]) -> Tensors:
    """Inverse of :func:`pack_tensors`, float32 or whole; priors are left out."""
    state: Tensors = {}
    for name, value in packed.items():
        if name.startswith(PRIOR) or name.endswith(SCALE):
            continue
        whole = value.dtype == np.int16
        full: NDArray[Any] = value.astype(np.int64 if whole else np.float32)
        if name + SCALE in packed:
            scale = packed[name + SCALE].astype(np.float32)
            full = full * scale.reshape(-1, *[1] * (full.ndim - 1))
        state[name] = full
    return state


NOWHERE = 1e4
"""Coordinates of the codes that a slot does not have, where nothing is near them."""


def round_codebook(codebook: NDArray[np.float32]) -> NDArray[np.float32]:
    """(slots, latent) steps of an int8 for each coordinate of (slots, codes, latent) codes."""
    return np.maximum(np.abs(codebook).max(axis=1) / 127, 1e-12).astype(np.float32)


def pack_codebook(
    codebook: NDArray[np.float32], pick: NDArray[np.int64], sizes: NDArray[np.int32], none: int
) -> tuple[NDArray[np.int8], NDArray[np.float32]]:
    """(slots, codes, latent) codes to a row of whole numbers: of each slot its group's number of
    codes, of each coordinate that stands for a coefficient (``pick`` below ``none``) all codes;
    and what they are to be multiplied by (slots, latent)."""
    width = len(codebook) // len(sizes)
    kept = codebook.copy()
    for slot in range(len(codebook)):
        kept[slot, sizes[slot // width] :] = 0.0
    steps = round_codebook(kept)
    whole = np.rint(kept / steps[:, None]).astype(np.int8)
    row = [
        whole[slot, : sizes[slot // width], pick[slot] < none].reshape(-1)
        for slot in range(len(codebook))
    ]
    return np.concatenate(row), steps


def unpack_codebooks(state: Tensors, weights: Weights) -> Tensors:
    """Codebooks of a lapped model, and the usage that its priors' static tables stand for, which
    are lengths in 256ths of a bit."""
    out: Tensors = {}
    for level, (shape, prior) in enumerate(zip(weights.config.levels, weights.prior_arrays)):
        name = f"coders.{level}.quantizer"
        row, steps = state[f"{name}.codebook"], state.pop(f"{name}.steps")
        pick, sizes = state[f"coders.{level}.pick"], prior["sizes"]
        none = shape.stride * weights.config.joints * weights.config.dims
        book = np.zeros((shape.slots, weights.config.codes, weights.config.latent), np.float32)
        usage = np.zeros(book.shape[:2], np.float32)
        width = shape.slots // len(sizes)
        at = seen = 0
        for slot in range(shape.slots):
            size, there = int(sizes[slot // width]), pick[slot] < none
            count = size * int(there.sum())
            book[slot][:, there] = NOWHERE
            whole = row[at : at + count].reshape(-1, size)
            book[slot, :size, there] = whole * steps[slot, there, None]
            usage[slot, :size] = 2.0 ** (-prior["lengths"][seen : seen + size] / 256)
            at, seen = at + count, seen + size
        out[f"{name}.codebook"], out[f"{name}.usage"] = book, usage
    return out


def save_weights(
    path: Path,
    network: Network,
    priors: list[Tensors],
    card: dict[str, Any],
    rate_weights: dict[str, list[float]],
) -> None:
    """Writes network (see :func:`pack_tensors`) and the tensors of each level's prior to a
    safetensors file with its card."""
    tensors = pack_tensors(
        {name: value.detach().cpu().numpy() for name, value in network.state_dict().items()}
    )
    for level, prior in enumerate(priors):
        tensors |= {f"{PRIOR}{level}.{name}": value for name, value in prior.items()}
        if network.config.lapped:
            coder = cast("SlotVQGAN", network).levels[level]
            name = f"coders.{level}.quantizer"
            pick = coder.state_dict()["pick"].cpu().numpy()
            none = coder.level.stride * network.mean.numel()
            book = coder.quantizer.codebook.cpu().numpy()
            tensors[f"{name}.codebook"], tensors[f"{name}.steps"] = pack_codebook(
                book, pick, prior["sizes"], none
            )
            del tensors[f"{name}.usage"]
    metadata = {
        "config": network.config.to_json(),
        "card": json.dumps(card, sort_keys=True),
        "rate_weights": json.dumps(rate_weights, sort_keys=True),
    }
    partial = path.with_name(path.name + ".partial")
    partial.write_bytes(save(tensors, metadata))
    partial.replace(path)
