"""Checkpoints written aside and renamed, and read without pickle."""

# ruff: noqa: ARG002 - the methods' signatures are Lightning's
from __future__ import annotations

from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch
from lightning.pytorch.plugins.io import TorchCheckpointIO

from snnprune import atomic
from snnprune.errors import UserError


def load(path: Path) -> dict[str, Any]:
    """Return the checkpoint in ``path``, on the CPU.

    Raises:
        UserError: the file cannot be read, or holds more than tensors, numbers, strings and their containers.
    """
    try:
        loaded: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    except (OSError, EOFError, RuntimeError, UnpicklingError) as error:
        reason = str(error).partition("\n")[0][:120]
        raise UserError(
            f"cannot read the checkpoint {path} ({reason}): delete it to train this run from the start"
        ) from error
    return loaded


class AtomicCheckpoints(TorchCheckpointIO):
    """Lightning's checkpoint files, made safe against a kill at any moment."""

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any = None) -> None:
        """Write ``checkpoint`` to ``path``, whole or not at all."""
        atomic.write(Path(path), lambda file: torch.save(checkpoint, file))

    def load_checkpoint(
        self, path: Any, map_location: Any = None, weights_only: bool | None = True
    ) -> dict[str, Any]:
        """Read ``path`` with ``weights_only=True``, whatever is asked."""
        return load(Path(path))
