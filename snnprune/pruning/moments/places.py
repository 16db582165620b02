"""Where an optimiser keeps what: in its state, in that of an optimiser inside it, in dicts within dicts."""

from __future__ import annotations

import types
from collections import deque
from typing import TYPE_CHECKING, Any

import torch
from torch import nn
from torch.optim import Optimizer

if TYPE_CHECKING:
    from collections.abc import Iterator, MutableMapping

Path = tuple[Any, ...]
"""The names and keys that lead from an optimiser to something that it keeps."""

_CLOSED = (nn.Module, Optimizer, type, types.ModuleType, types.FunctionType, types.MethodType)
"""What is not looked into: it is no state, or it is found in another way."""


def is_optimizer(thing: object) -> bool:
    """Tell whether something trains parameters: torch's kind of optimiser, or a wrapper of one."""
    if isinstance(thing, (nn.Module, type)):
        return False
    return isinstance(thing, Optimizer) or (hasattr(thing, "param_groups") and hasattr(thing, "step"))


def inner(optimizer: object) -> dict[str, Any]:
    """Return the optimisers right inside this one, by attribute."""
    return {name: value for name, value in vars(optimizer).items() if is_optimizer(value)}


def nested(optimizer: object, path: Path = ()) -> Iterator[tuple[Path, Any]]:
    """Yield an optimiser and all that are inside it, each with the attributes that lead there."""
    yield path, optimizer
    for name, value in inner(optimizer).items():
        yield from nested(value, (*path, name))


def keyed(optimizer: object) -> Iterator[tuple[Path, MutableMapping[Any, Any]]]:
    """Yield every mapping from parameters to what is kept of them, each once.

    It is looked for anew each time, because loading a state replaces the mapping.
    """
    seen: set[int] = set()
    for path, each in nested(optimizer):
        for name, value in vars(each).items():
            if is_by_parameter(value) and id(value) not in seen:
                seen.add(id(value))
                yield (*path, name), value


def is_by_parameter(value: Any) -> bool:
    """Tell whether something is a mapping from parameters, maybe with other keys among them."""
    return isinstance(value, dict) and any(isinstance(key, torch.Tensor) for key in value)


def leaves(value: Any, path: Path = (), holder: Any = None) -> Iterator[tuple[Path, Any, Any]]:
    """Yield what a value consists of: the path to each leaf, what holds it right there, and the leaf."""
    inside = None if isinstance(value, torch.Tensor) else _inside(value)
    if inside is None:
        yield path, holder, value
        return
    for key, each in inside:
        if len(path) < _DEEP and not isinstance(key, torch.Tensor):
            yield from leaves(each, (*path, key), value)


_DEEP = 12
"""Where the walk ends; only a circle of references is deeper."""


def _inside(value: Any) -> list[tuple[Any, Any]] | None:
    if isinstance(value, dict):
        return list(value.items())
    if isinstance(value, (list, deque)) or type(value) is tuple:
        return list(enumerate(value))
    if isinstance(value, _CLOSED) or type(value).__module__ == "builtins" or not hasattr(value, "__dict__"):
        return None
    return list(vars(value).items())


def put(holder: Any, key: Any, value: Any) -> None:
    """Set the leaf that ``holder`` holds under ``key``."""
    if isinstance(holder, (dict, list, deque)):
        holder[key] = value
    elif isinstance(holder, tuple):
        raise TypeError("a tuple cannot be changed")
    else:
        setattr(holder, key, value)


def name_of(path: Path) -> str:
    """Return how a message calls what is kept under a path: its last name."""
    return next((key for key in reversed(path) if isinstance(key, str)), "state")
