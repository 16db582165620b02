"""Which open pruners prune which networks: two on the same weights would undo each other's masks."""

from __future__ import annotations

from typing import TYPE_CHECKING
from weakref import WeakKeyDictionary, ref

from snnprune.common.errors import UserError

if TYPE_CHECKING:
    from torch import nn

_CLAIMS: WeakKeyDictionary[object, tuple[str, ref[nn.Module]]] = WeakKeyDictionary()


def claim(owner: object, name: str, model: nn.Module) -> None:
    """Note that ``owner``, called ``name``, prunes ``model`` until it releases it or is no more.

    Raises:
        UserError: another owner prunes some of the same parameters.
    """
    if owner in _CLAIMS:
        return
    mine = {id(parameter) for parameter in model.parameters()}
    for other, theirs in _CLAIMS.values():
        model_of_other = theirs()
        if model_of_other is not None and any(id(p) in mine for p in model_of_other.parameters()):
            raise UserError(
                f"another open Pruner ('{other}') prunes weights of this {type(model).__name__}, and two "
                "would undo each other's masks: call close() on the first one before the other's first step"
            )
    _CLAIMS[owner] = (name, ref(model))


def release(owner: object) -> None:
    """Note that ``owner`` prunes no network any more."""
    _CLAIMS.pop(owner, None)
