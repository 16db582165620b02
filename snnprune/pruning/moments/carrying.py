"""Carry a mask or a cut over to what an optimiser keeps of one weight."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from snnprune.pruning.moments.finding import PLAIN, dense, take
from snnprune.pruning.moments.places import keyed, leaves, put

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from torch import Tensor

    from snnprune.pruning.moments.finding import Role
    from snnprune.pruning.moments.places import Path


def kept_of(optimizer: Any, parameter: Tensor) -> Iterator[tuple[Path, Any, Any, Any]]:
    """Yield what an optimiser keeps of a parameter, without views of it: path, holder, key there, leaf."""
    for path, mapping in keyed(optimizer):
        if parameter in mapping:
            for inside, holder, leaf in leaves(mapping[parameter]):
                if not is_view(leaf, parameter):
                    at = (holder, inside[-1]) if inside else (mapping, parameter)
                    yield (*path, *inside), *at, leaf


def is_view(leaf: Any, parameter: Tensor) -> bool:
    """Tell whether a leaf is the parameter, or a view of it."""
    return (
        type(leaf) in PLAIN
        and leaf.numel() > 0
        and leaf.untyped_storage().data_ptr() == parameter.untyped_storage().data_ptr()
    )


def write_rest(tensor: Tensor, role: Role, dead: Tensor) -> None:
    """Set dead entries to what an entry holds that never had a gradient."""
    dead = dead.to(tensor.device)
    if type(tensor) in PLAIN:
        tensor.masked_fill_(dead, role.rest)
        return
    numbers = dense(tensor)
    if numbers is not None:
        tensor.copy_(numbers.masked_fill(dead, 0))


def cut_kept(
    optimizer: Any,
    parameter: Tensor,
    roles: Mapping[Path, Role],
    stays: Sequence[Tensor],
    undo: Callable[[Callable[[], object]], None],
) -> None:
    """Cut what an optimiser keeps of a parameter; the parameter itself is cut afterwards.

    Views of the parameter are dropped: the optimiser makes them anew, or the trial of a cut has failed.

    Args:
        optimizer: whose state is cut.
        parameter: in its size before the cut.
        roles: of each tensor, by path.
        stays: bool, for each axis of the parameter.
        undo: takes a function that takes a change back.
    """
    for path, holder, key, leaf in list(kept_of(optimizer, parameter)):
        role = roles.get(path)
        if role is not None and any(a is not None for a in role.axes):
            undo(lambda holder=holder, key=key, leaf=leaf: put(holder, key, leaf))  # type: ignore[misc]
            put(holder, key, take(leaf, role.axes, stays).contiguous())
    for _, mapping in list(keyed(optimizer)):
        value = mapping.get(parameter)
        if value is not None and any(is_view(leaf, parameter) for _, _, leaf in leaves(value)):
            undo(lambda mapping=mapping, value=value: mapping.update({parameter: value}))  # type: ignore[misc]
            del mapping[parameter]
