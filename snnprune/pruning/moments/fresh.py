"""Make another optimiser like the user's, over a stand-in, with nothing kept yet."""

from __future__ import annotations

import copy
import inspect
from collections import OrderedDict
from typing import TYPE_CHECKING, Any

import torch

from snnprune.pruning.moments.places import inner, is_by_parameter, is_optimizer
from snnprune.pruning.optimizers import parameters

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from torch import Tensor


def fresh_ones(optimizer: Any, parameter: Tensor) -> Iterator[Callable[[Tensor], Any]]:
    """Yield ways to make an optimiser like this one; each may fail, and the first one that works will do.

    A stand-in is trained with the options of the group that ``parameter`` is in. Three ways, because
    optimisers differ: the constructor leaves nothing out, but its arguments are not always kept; a copy of
    all attributes needs none, but misses state that is made at construction.
    """
    group = _group(optimizer, parameter)
    for counters in (False, True):
        for way in (_constructed, _copied):
            yield lambda standin, way=way, kept=counters: way(  # type: ignore[misc]
                optimizer,
                _options(optimizer, group, kept),
                standin,
                {name: _inner(part, parameter, standin) for name, part in inner(optimizer).items()},
            )


def fingerprint(optimizer: Any, parameter: Tensor) -> tuple[Any, ...] | None:
    """Return what optimisers have to share to be alike; None where they are never known to be."""
    options = {name: value for name, value in _group(optimizer, parameter).items() if name not in _NAMES}
    parts = inner(optimizer)
    apart = {"param_groups", "state", "defaults", "step", *parts}
    attributes = [
        v for name, v in vars(optimizer).items() if name not in apart and not name.endswith("_hooks")
    ]
    told = [*options.values(), *attributes]
    within = [fingerprint(part, parameter) for part in parts.values()]
    if not all(map(_is_plain, told)) or None in within:
        return None
    return type(optimizer), repr(options), repr(attributes), *within


_NAMES = {"params", "param_names"}


def _is_plain(value: Any) -> bool:
    if isinstance(value, (tuple, list)):
        return all(map(_is_plain, value))
    return (
        value is None
        or isinstance(value, (bool, int, float, str))
        or (isinstance(value, torch.Tensor) and value.numel() == 1)
    )


def _group(optimizer: Any, parameter: Tensor) -> dict[str, Any]:
    for group in optimizer.param_groups:
        if any(p is parameter for p in group["params"]):
            found: dict[str, Any] = group
            return found
    raise ValueError("the weight is in none of its groups")


def _options(optimizer: Any, group: dict[str, Any], counters: bool) -> dict[str, Any]:
    """Return a group's options; without ``counters``, numbers that no default knows (a count of steps)."""
    defaults = getattr(optimizer, "defaults", {})
    options = {}
    for name, value in group.items():
        number = isinstance(value, (int, float, torch.Tensor)) and not isinstance(value, bool)
        if name not in _NAMES and (counters or name in defaults or not number):
            options[name] = copy.deepcopy(value)
    if "lr" in options and not float(options["lr"]):  # a schedule that begins at 0 would show no step
        options["lr"] = defaults.get("lr") or 1e-3
    return options


def _constructed(optimizer: Any, options: dict[str, Any], standin: Tensor, parts: dict[str, Any]) -> Any:
    known = {**getattr(optimizer, "defaults", {}), **vars(optimizer), **options}
    _, *others = inspect.signature(type(optimizer)).parameters.values()
    named = {p.name for p in others}
    group = {name: value for name, value in options.items() if name not in named}
    given = {
        name: copy.deepcopy(known[name]) for name in named & known.keys() if not is_optimizer(known[name])
    }
    subject = next(iter(parts.values()), [{"params": [standin], **group}])
    return type(optimizer)(subject, **given)


def _copied(optimizer: Any, options: dict[str, Any], standin: Tensor, parts: dict[str, Any]) -> Any:
    twin = object.__new__(type(optimizer))
    memo: dict[int, Any] = {id(p): standin for p in parameters(optimizer)} | {id(optimizer): twin}
    memo |= {id(vars(optimizer)[name]): part for name, part in parts.items()}
    for name, value in vars(optimizer).items():
        if name.endswith("_hooks"):
            own: Any = OrderedDict()
        elif callable(value) and not is_optimizer(value) and hasattr(type(optimizer), name):
            continue  # a method that a schedule or a trainer has wrapped
        elif name == "param_groups":
            shared = [p.param_groups for n, p in parts.items() if vars(optimizer)[n].param_groups is value]
            own = shared[0] if shared else [{**options, "params": [standin]}]
        elif isinstance(value, dict) and (name == "state" or is_by_parameter(value)):
            own = copy.copy(value)
            own.clear()
        else:
            own = copy.deepcopy(value, memo)
        vars(twin)[name] = own
    return twin


def _inner(optimizer: Any, parameter: Tensor, standin: Tensor) -> Any:
    """Return the first fresh optimiser inside a wrapper that can be made."""
    for make in fresh_ones(optimizer, parameter):
        try:
            return make(standin)
        except Exception as error:
            failure = error
    raise failure
