"""Start a run from existing weights."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from safetensors import SafetensorError
from safetensors.torch import load_file

from snnprune.common.errors import UserError
from snnprune.pruning.compaction.shapes import conform
from snnprune.pruning.compaction.survivors import numbers_in
from snnprune.runs import checkpoint
from snnprune.runs.folder import RunFolder

if TYPE_CHECKING:
    from pathlib import Path

    from torch import Tensor, nn


def load(model: nn.Module, source: Path) -> dict[str, Any] | None:
    """Load the weights in ``source`` into ``model``, all or none. If they were cut, ``model`` is cut, too.

    Args:
        model: the dense network, as large as the network of the weights was at first.
        source: the folder of a run, a checkpoint (of a run, or a state_dict), or a safetensors file.

    Returns:
        The state for `Pruner.inherit`, so that pruned units and synapses stay pruned; None without a pruner.

    Raises:
        UserError: there is no file, it cannot be read without pickle, or it is of another network.
    """
    if source.is_dir():
        path, read, _ = checkpoint.newest(RunFolder(source).checkpoints)
        state, pruned = checkpoint.network(read)
    elif source.is_file():
        path = source
        state, pruned = _read(path)
    else:
        raise UserError(
            f"train.init: expected a run, a checkpoint or a safetensors file, and {source} is none of these"
        )
    if pruned is not None and pruned.get("kept"):
        conform(model, state, numbers=numbers_in(pruned["kept"]))
    own = model.state_dict()
    for name, tensor in own.items():
        if name not in state or state[name].shape != tensor.shape:
            came = f"has shape {tuple(state[name].shape)}" if name in state else "is missing"
            raise UserError(
                f"train.init: {path} is of another network: '{name}' has shape {tuple(tensor.shape)} here, "
                f"and {came} there (a compact network cannot start a dense one)"
            )
    model.load_state_dict({name: state[name] for name in own})
    return pruned


def _read(path: Path) -> tuple[dict[str, Tensor], dict[str, Any] | None]:
    """Return the tensors, and the state of the pruner if there is one."""
    if path.suffix == ".safetensors":
        try:
            return load_file(path), None
        except (OSError, SafetensorError) as error:
            raise UserError(f"train.init: cannot read {path}: {error}") from error
    return checkpoint.network(checkpoint.load(path))
