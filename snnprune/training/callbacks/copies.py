"""Find copies of a network in what a LightningModule and the callbacks of a Trainer keep."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

import lightning
import torch
from torch import Tensor, nn

AVERAGES = {"AveragedModel", "StochasticWeightAveraging", "ModelEma", "ModelEmaV2", "ModelEmaV3"}
"""Classes that keep an average of weights: of torch, Lightning (its others hold torch's) and timm."""

DEPTH = 4  # of attributes, lists and dicts in one another
LONGEST = 10_000  # entries of a list or dict: longer ones hold data, not copies of a network
TORCHS = {*vars(nn.Module()), "_trainer", "_fabric"}
"""Attributes in which torch and Lightning keep what is a module's own."""

Copy = nn.Module | list[Tensor]
Found = tuple[str, bool, object]  # place, whether it is known for an average, and the value


class Search:
    """Finds copies of a network in values.

    Args:
        network: the network.
        place: its name in the LightningModule, "" for the module itself.
        trained: ids of the parameters that optimisers train: a network of these is another one, not a copy.
    """

    def __init__(self, network: nn.Module, place: str, trained: set[int]) -> None:
        self._shapes = _shapes(network)
        self._not = trained | {id(p) for p in network.parameters()}
        self._prefixes = ("", f"{place}.")

    def copies(self, value: object) -> Iterator[Copy]:
        """Yield the copies of the network in ``value``: modules, or a tensor for each parameter."""
        if isinstance(value, nn.Module):
            same = (module for module in value.modules() if _shapes(module) == self._shapes)
            yield from (module for module in same if self._is_apart(list(module.parameters())))
        elif isinstance(value, list | Mapping):
            yield from (tensors for tensors in self._listed(value) if self._is_apart(tensors))

    def _is_apart(self, tensors: list[Tensor]) -> bool:
        return not self._not & {id(tensor) for tensor in tensors}

    def _listed(self, value: list[object] | Mapping[object, object]) -> Iterator[list[Tensor]]:
        """Yield the tensors of a list or dict that has one for each parameter of the network."""
        every = [value] if isinstance(value, list) else []
        if isinstance(value, Mapping):
            every = [[value.get(prefix + name) for name in self._shapes] for prefix in self._prefixes]
        for each in every:
            tensors = [t for t in each if isinstance(t, Tensor)]
            shapes = [tuple(t.shape) for t in tensors]
            if len(tensors) == len(each) and shapes == list(self._shapes.values()):
                yield tensors
                return


def _shapes(module: nn.Module) -> dict[str, tuple[int, ...]]:
    return {name: tuple(p.shape) for name, p in module.named_parameters()}


def reachable(task: nn.Module, holders: Iterable[lightning.Callback]) -> Iterator[Found]:
    """Yield what ``task`` and callbacks keep, in attributes, lists, dicts and objects of other classes."""
    seen: set[int] = {id(task)}
    whose = type(task).__name__
    for name, module in task.named_modules():
        place = f"{whose}.{name}" if name else whose
        if name:
            yield place, _is_average(module), module
        yield from _inside(module, place, _is_average(module), seen, DEPTH)
    for holder in holders:
        yield from _inside(holder, type(holder).__name__, _is_average(holder), seen, DEPTH)


def _inside(value: object, place: str, average: bool, seen: set[int], depth: int) -> Iterator[Found]:
    for name, inner in _parts(value):
        if id(inner) in seen or isinstance(inner, (lightning.Callback, lightning.Trainer)):
            continue
        seen.add(id(inner))
        known = average or _is_average(inner)
        if isinstance(inner, nn.Module | list | Mapping):
            yield f"{place}{name}", known, inner
        if depth and not isinstance(inner, nn.Module):
            yield from _inside(inner, f"{place}{name}", known, seen, depth - 1)


def _parts(value: object) -> Iterator[tuple[str, object]]:
    """Yield what ``value`` holds, by name, as it is written behind the name of ``value``."""
    if isinstance(value, str | bytes | type | Tensor | torch.optim.Optimizer):
        return
    if isinstance(value, Mapping):
        items = [(f"[{key!r}]", inner) for key, inner in value.items()] if len(value) < LONGEST else []
    elif isinstance(value, list | tuple | set):
        items = [(f"[{i}]", inner) for i, inner in enumerate(value)] if len(value) < LONGEST else []
    else:
        own = getattr(value, "__dict__", {})
        items = [(f".{key}", inner) for key, inner in own.items() if not _is_torchs(value, key)]
    yield from items


def _is_torchs(value: object, key: str) -> bool:
    """Tell whether an attribute of a module is the way in which torch and Lightning keep what is its own."""
    return isinstance(value, nn.Module) and key in TORCHS


def _is_average(value: object) -> bool:
    return any(cls.__name__ in AVERAGES for cls in type(value).__mro__)
