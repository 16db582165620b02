"""Describe a network without its tensors, by classes and constants of its modules, for comparison."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from snnprune.export.recurrence import recurrent_layers
from snnprune.network.cells import HELD, is_cell, is_stack

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import nn

_SIZES = {
    *("in_channels", "out_channels", "in_features", "out_features", "num_features", "groups"),
    "sub_module_out_features",
}
"""Constants of any module that follow from the shapes of the tensors, and that a cut changes."""

_NOT_CONSTANT = {"training", "snnprune_survivors"}


def describe(model: nn.Module, dense: Mapping[str, int] | None = None) -> dict[str, dict[str, Any]]:
    """Return class and constants of each module by name, in values that JSON can hold.

    Constants are public attributes that are numbers, strings, None or lists of these: thresholds, time
    constants, reset potentials, strides. They are in no state_dict of torch or SpikingJelly. Attributes that
    only say how a module computes are left out; a class names them in ``ways``. So is the step mode inside of
    a recurrent layer, which sets it when it is called.

    Args:
        model: the network.
        dense: constants that a cut has changed, by "module.attribute", as they were before the first cut.
    """
    inside = {id(m) for loop in recurrent_layers(model).values() for m in loop.modules() if m is not loop}
    found: dict[str, dict[str, Any]] = {
        name: {
            "class": type(module).__name__,
            "constants": _constants(module, {"step_mode"} if id(module) in inside else set()),
        }
        for name, module in model.named_modules()
    }
    for key, value in (dense or {}).items():
        name, _, attribute = key.rpartition(".")
        found[name]["constants"][attribute] = value
    read: dict[str, dict[str, Any]] = json.loads(json.dumps(found))
    return read


def first_difference(wanted: dict[str, dict[str, Any]], model: nn.Module) -> str | None:
    """Return a description of the first difference between ``model`` and the described network, or None.

    Args:
        wanted: as `describe` returns it.
        model: another network.
    """
    mine = describe(model)
    for name in [*wanted, *(n for n in mine if n not in wanted)]:
        title = f"layer '{name}'" if name else "the network itself"
        if name not in mine:
            return f"{title} ({wanted[name]['class']}) is missing"
        if name not in wanted:
            return f"{title} ({mine[name]['class']}) is not in the file"
        if mine[name]["class"] != wanted[name]["class"]:
            return (
                f"{title} is of class {mine[name]['class']}, and of class {wanted[name]['class']} in the file"
            )
        one, other = mine[name]["constants"], wanted[name]["constants"]
        follow = _sizes_of(model.get_submodule(name))  # a file of before may name some
        for key in sorted((one.keys() | other.keys()) - follow):
            if one.get(key) != other.get(key):  # None counts as absent
                return f"{title} has {key} = {one.get(key)!r}, and {other.get(key)!r} in the file"
    return None


def _constants(module: nn.Module, left: set[str]) -> dict[str, Any]:
    named = {k: v for k, v in vars(module).items() if not k.startswith("_")}
    if hasattr(module, "step_mode"):
        named["step_mode"] = module.step_mode
    other = left | _sizes_of(module) | _NOT_CONSTANT | getattr(type(module), "ways", frozenset())
    return {k: v for k, v in named.items() if k not in other and _is_plain(v)}


def _sizes_of(module: nn.Module) -> set[str]:
    """Return the names of the constants that follow from the shapes of the tensors."""
    return _SIZES | set(HELD) if is_cell(module) or is_stack(module) else _SIZES


def _is_plain(value: Any) -> bool:
    if isinstance(value, (list, tuple)):
        return all(_is_plain(v) for v in value)
    return value is None or isinstance(value, (bool, int, float, str))
