"""Checkpoints: written to a temporary file and renamed, sealed with a checksum, and read without pickle.

A checkpoint is torch's zip archive. The archive's comment holds the SHA-256 of everything before it, so torch
and every zip reader open it as usual. The previous checkpoint is kept until the next one is complete, so that
a damaged file costs an epoch, not the run.
"""

# ruff: noqa: ARG002 - the methods' signatures are Lightning's
from __future__ import annotations

import hashlib
import io
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from lightning.pytorch.plugins.io import TorchCheckpointIO

from snnprune.common import atomic
from snnprune.common.errors import MemoryFullError, UserError, memory_full

if TYPE_CHECKING:
    from collections.abc import Sequence

SEAL = b"snnprune sha256 "
SEAL_SIZE = len(SEAL) + 2 * hashlib.sha256().digest_size
PARTS = {"state_dict", "callbacks", "epoch"}
"""Keys that a run's checkpoint has; Lightning writes more."""


def load(path: Path) -> dict[str, Any]:
    """Return the checkpoint in ``path``, on the CPU. If it has a checksum, the checksum is verified.

    Raises:
        UserError: the file cannot be read, is damaged, or holds more than tensors, numbers, strings and their
            containers.
    """
    return _load(path, sealed=False)


PREFIX = "model."
"""Prefix of the network's tensors in a run's checkpoint: the network is a part of the LightningModule."""


def network(saved: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any] | None]:
    """Return the state_dict of the network in a checkpoint, and the state of its pruner or None.

    Args:
        saved: what `load` or `newest` returned, or a state_dict alone.
    """
    state = saved.get("state_dict", saved)
    inside = {name.removeprefix(PREFIX): t for name, t in state.items() if name.startswith(PREFIX)}
    pruners = [own["pruner"] for own in saved.get("callbacks", {}).values() if "pruner" in own]
    return inside or state, pruners[0] if pruners else None


def newest(paths: Sequence[Path]) -> tuple[Path, dict[str, Any], list[str]]:
    """Return the first of a run's checkpoints that can be read, and what is wrong with those before it.

    Args:
        paths: the newest first; a missing one is skipped.

    Raises:
        UserError: none of them can be read, none is there, or the memory is full.
    """
    wrong: list[str] = []
    for path in paths:
        if path.is_file():
            try:
                return path, _load(path, sealed=True), wrong
            except MemoryFullError:
                raise  # the file may be intact
            except UserError as error:
                wrong.append(str(error))
    raise UserError("; ".join(wrong) or f"there is no checkpoint {paths[0]}")


def _load(path: Path, *, sealed: bool) -> dict[str, Any]:
    try:
        content = path.read_bytes()
        _check_seal(content, sealed=sealed)
        _check_size(content)
        read: Any = torch.load(io.BytesIO(content), map_location="cpu", weights_only=True)
        _check_parts(read, sealed=sealed)
    except Exception as error:
        if memory_full(error) is not None:
            raise MemoryFullError(
                f"the memory is full, and cannot hold the checkpoint {path}: end other programs on this "
                "machine"
            ) from error
        # The file may come from an untrusted source, and torch's reader can then raise any error.
        reason = str(error).partition("\n")[0][:120]
        raise UserError(
            f"cannot read the checkpoint {path} ({reason}): delete it to train this run from the start"
        ) from error
    found: dict[str, Any] = read
    return found


def _check_seal(content: bytes, *, sealed: bool) -> None:
    body, mark, digest = content[:-SEAL_SIZE], content[-SEAL_SIZE:-64], content[-64:]
    if mark != SEAL:
        if sealed:
            raise ValueError("it is damaged or cut short, or another version wrote it: it has no checksum")
    elif hashlib.sha256(body).hexdigest().encode() != digest:
        raise ValueError("it is damaged: its content does not match its checksum")


def _check_size(content: bytes) -> None:
    """Refuse an archive that grows when it is read: torch does not compress, but a zip bomb does."""
    if zipfile.is_zipfile(io.BytesIO(content)):
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            if sum(member.file_size for member in archive.infolist()) > len(content):
                raise ValueError("its members are larger than the file")


def _check_parts(read: Any, *, sealed: bool) -> None:
    if not isinstance(read, dict) or (sealed and not read.keys() >= PARTS):
        raise ValueError("it is not the checkpoint of a run")


def seal(content: bytes) -> bytes:
    """Return torch's archive ``content`` with its checksum as the comment of the archive."""
    # The last two bytes of a zip archive without a comment are the length of the comment.
    body = content[:-2] + SEAL_SIZE.to_bytes(2, "little")
    return body + SEAL + hashlib.sha256(body).hexdigest().encode()


class AtomicCheckpoints(TorchCheckpointIO):
    """Lightning's checkpoint files, made safe against a kill at any moment and against damage.

    Args:
        previous: the path of the checkpoint before the last one.
    """

    def __init__(self, previous: Path) -> None:
        super().__init__()
        self.previous = previous

    def save_checkpoint(self, checkpoint: dict[str, Any], path: Any, storage_options: Any = None) -> None:
        """Write ``checkpoint`` to ``path``, whole or not at all, and keep the file that was there."""
        memory = io.BytesIO()  # torch would raise another error for a full disk
        torch.save(checkpoint, memory)
        atomic.write(Path(path), lambda file: file.write(seal(memory.getvalue())), before=self.previous)

    def load_checkpoint(
        self, path: Any, map_location: Any = None, weights_only: bool | None = True
    ) -> dict[str, Any]:
        """Read ``path``, always with ``weights_only=True``."""
        return _load(Path(path), sealed=True)
