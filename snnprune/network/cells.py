"""SpikingJelly's recurrent cells, with gates or without, and its loops over time around them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from snnprune.network.imported import spikingjelly

if TYPE_CHECKING:
    from collections.abc import Iterator

    from torch import nn

_CELLS = ("SpikingVanillaRNNCell", "SpikingLSTMCell", "SpikingGRUCell")

HELD = ("hidden_size", "input_size")
"""Sizes that cells, and loops around them, hold as numbers."""


def is_gate(module: nn.Module) -> bool:
    """Tell whether ``module`` is a surrogate function of SpikingJelly, which works entry by entry."""
    library = spikingjelly("surrogate")
    own = library is not None and type(module).__module__ == library.__name__
    return own and isinstance(module, library.SurrogateFunctionBase)


def is_cell(module: nn.Module) -> bool:
    """Tell whether ``module`` computes as one of SpikingJelly's cells does."""
    library = spikingjelly("rnn")
    forward = getattr(type(module), "forward", None)  # classes of scripted modules have none
    if library is None or not any(forward is getattr(library, c).forward for c in _CELLS):
        return False
    return all(is_gate(m) for n, m in module.named_children() if n.startswith("surrogate"))


def fires(module: nn.Module) -> bool:
    """Tell whether ``module`` is a cell that answers with spikes, as it does unless its gates are smooth."""
    gates: list[Any] = [m for m in module.children() if is_gate(m)] if is_cell(module) else []
    return bool(gates) and all(gate.spiking for gate in gates)


def is_stack(module: nn.Module) -> bool:
    """Tell whether ``module`` is SpikingJelly's loop over time around such cells."""
    library = spikingjelly("rnn")
    if library is None or not isinstance(module, library.SpikingRNNBase):
        return False
    plain = type(module).forward is library.SpikingRNNBase.forward
    return plain and all(is_cell(cell) for _, cell in cells_of(module))


def gates_of(model: nn.Module) -> dict[str, nn.Module]:
    """Return the gates of the cells in ``model`` by name; several cells may hold the same one."""
    held = {id(m) for cell in model.modules() if is_cell(cell) for m in cell.children() if is_gate(m)}
    return {name: m for name, m in model.named_modules() if id(m) in held}


def cells_of(stack: Any) -> Iterator[tuple[str, nn.Module]]:
    """Yield the cells of a loop over time by name, layer by layer; those of the way back come last."""
    for part in ("cells", "cells_reverse") if stack.bidirectional else ("cells",):
        yield from ((f"{part}.{n}", cell) for n, cell in enumerate(getattr(stack, part)))


def held_sizes(model: nn.Module) -> Iterator[tuple[nn.Module, str, int]]:
    """Yield the sizes that cells, and loops around them, hold as numbers, as their present shapes say."""
    for module in model.modules():
        if is_cell(module) or is_stack(module):
            first: Any = module if is_cell(module) else next(cell for _, cell in cells_of(module))
            for attribute, layer in zip(HELD, (first.linear_hh, first.linear_ih), strict=True):
                yield module, attribute, layer.weight.shape[1]
