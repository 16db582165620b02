"""Tensors that are computed or that several modules hold, and the names that a tensor has."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from snnprune.network.topology import OUTPUT
from snnprune.network.weights import computed

if TYPE_CHECKING:
    from collections.abc import Iterator

    import torch
    from torch import nn

    from snnprune.network.findings import Findings
    from snnprune.network.units import Units


def freeze_computed(model: nn.Module, found: Findings) -> None:
    """Freeze populations that index a tensor which is computed, or which masks would not find by its key."""
    computing = {name: computed(module) for name, module in model.named_modules()}
    keys = model.state_dict().keys()
    for number in found.units.roots():
        for slot in found.units[number].slots:
            for tensor, how in computing.get(slot.module, {}).items():
                found.units.freeze([number], f"the {tensor} of {slot.module} is computed {how}")
            if slot.role != "neuron" and slot.key not in keys:
                found.units.freeze([number], f"{slot.key} is missing in the state_dict of the network")


def freeze_tied(found: Findings) -> None:
    """Tensors that two layers hold, or that the network uses beside their layer."""
    outermost = {
        name: module
        for name, (module, _) in found.leaves.items()
        if not any(name != other and f"{name}.".startswith(f"{other}.".lstrip(".")) for other in found.leaves)
    }
    held = {name: dict(_tensors(module, name)) for name, module in outermost.items()}
    times = Counter(i for tensors in held.values() for i in {id(t) for t in tensors.values()})
    tied = {key for tensors in held.values() for key, t in tensors.items() if times[id(t)] > 1}
    for number in found.units.roots():
        for slot in found.units[number].slots:
            if slot.key in tied:
                reason = f"{slot.key} is one tensor with that of another layer"
            elif slot.key in found.used_outside:
                reason = f"{slot.key} is used outside of its layer as well"
            else:
                continue
            found.units.freeze([number], reason, foremost=found.units[number].frozen == OUTPUT)


def aliases(model: nn.Module, units: Units) -> dict[str, str]:
    """Return the further names of tensors that are cut: whoever holds one sees it cut."""
    names, slots = dict(_tensors(model)), [s for n in units.roots() for s in units[n].slots]
    keys = {id(names[slot.key]): slot.key for slot in slots if slot.key in names}
    return {name: keys[id(t)] for name, t in names.items() if id(t) in keys and keys[id(t)] != name}


def _tensors(module: nn.Module, prefix: str = "") -> Iterator[tuple[str, torch.Tensor]]:
    """Yield parameters and buffers by every name that they have inside a module."""
    for name, inner in module.named_modules(prefix=prefix):
        for own, tensor in [*inner._parameters.items(), *inner._buffers.items()]:
            if tensor is not None:
                yield f"{name}.{own}" if name else own, tensor
