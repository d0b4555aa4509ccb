"""Checkpoints: everything a run needs to go on as if it had not stopped."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import torch

from motioncodec.errors import FormatError

if TYPE_CHECKING:
    from motioncodec.training.trainer import Trainer


NAME = "checkpoint.pt"


def has_checkpoint(folder: Path) -> bool:
    """Whether a run left one there."""
    return (folder / NAME).exists()


def save_checkpoint(trainer: Trainer) -> None:
    """Writes ``checkpoint.pt`` in the trainer's folder, whole or not at all."""
    path = trainer.folder / NAME
    partial = path.with_name(NAME + ".partial")
    torch.save(trainer.state(), partial)
    os.replace(partial, path)


def load_checkpoint(trainer: Trainer) -> None:
    """Restores ``checkpoint.pt`` from the trainer's folder.

    Raises:
        FormatError: it belongs to a run with another configuration.
    """
    path = trainer.folder / NAME
    state = torch.load(path, map_location="cpu", weights_only=True)
    found, expected = state["config"]["model"], trainer.config.model
    if found != expected:
        raise FormatError(
            f"{path}: expected a checkpoint of model {expected}, found {found}; "
            "choose another folder"
        )
    trainer.restore(state)
