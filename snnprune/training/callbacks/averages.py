"""Copies of the network beside it: averages of its weights (EMA, SWA), and copies of unknown use."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING

import lightning
import torch
from torch import Tensor, nn

from snnprune.common.errors import UserError

if TYPE_CHECKING:
    from torch.optim import Optimizer

    from snnprune.pruning.masks import Masks

AVERAGES = {"AveragedModel", "StochasticWeightAveraging", "ModelEma", "ModelEmaV2", "ModelEmaV3"}
"""Classes that keep an average of weights: of torch, Lightning (its others hold torch's) and timm."""

DEPTH = 4  # of attributes, lists and dicts in one another
LONGEST = 10_000  # entries of a list or dict: longer ones hold data, not copies of a network

Found = tuple[str, bool, object]  # place, whether it is known for an average, and the value


class Averages:
    """Copies of a network that a LightningModule or the callbacks of a Trainer keep.

    Averages of the weights lose what dies along with the network. A copy of unknown use is said, once.

    Args:
        network: the network that is pruned.
        place: its name in the LightningModule, "" for the module itself.
        cut: whether the network is cut while it trains.
    """

    def __init__(self, network: nn.Module, place: str, *, cut: bool) -> None:
        self.network, self.place, self.cut = network, place, cut
        self.shapes = _shapes(network)
        self._known: list[nn.Module] = []
        self._said: set[str] = set()
        self._version = -1

    def find(
        self, task: nn.Module, holders: Iterable[lightning.Callback], optimizers: Iterable[Optimizer]
    ) -> None:
        """Look for the copies, and say what pruning cannot reach.

        Raises:
            UserError: there is an average of weights whose shapes a cut would change.
        """
        trained = {id(p) for optimizer in optimizers for g in optimizer.param_groups for p in g["params"]}
        known: dict[int, nn.Module] = {}
        others: list[tuple[str, nn.Module | list[Tensor]]] = []
        for place, average, value in _kept(task, holders):
            for copied in self._copies(value, trained):
                if average and self.cut:
                    raise UserError(
                        "compact_every changes the shapes of the weights, and an average of them "
                        f"({place}) keeps its own: leave it out, and call callback.pruner.compact() after "
                        "training"
                    )
                if average and isinstance(copied, nn.Module):
                    known[id(copied)] = copied
                elif not average:
                    others.append((place, copied))
        for place, copied in others:
            if id(copied) not in known and self._is_equal(copied):
                self._say(place)
        self._known = list(known.values())
        self._version = -1

    def zero(self, masks: Masks) -> None:
        """Set what is dead to zero in the averages, where ``masks`` have changed since the last call.

        An average of zeros stays zero, so there is nothing to do in between.
        """
        if self._known and masks.version != self._version:
            for average in self._known:
                masks.zero(average)
            self._version = masks.version

    def _copies(self, value: object, trained: set[int]) -> Iterator[nn.Module | list[Tensor]]:
        """Yield the copies of the network in ``value``; those that an optimiser trains are other networks."""
        if isinstance(value, nn.Module):
            mine = {id(p) for p in self.network.parameters()} | trained
            for module in value.modules():
                if _shapes(module) == self.shapes and not mine & {id(p) for p in module.parameters()}:
                    yield module
                    return
        elif self.cut and isinstance(value, list | Mapping):
            tensors = self._tensors(value)
            if tensors and not {id(t) for t in tensors} & (
                trained | {id(p) for p in self.network.parameters()}
            ):
                yield tensors

    def _tensors(self, value: list[object] | Mapping[object, object]) -> list[Tensor] | None:
        """Return the tensors of a list or dict that has one for each parameter of the network."""
        if isinstance(value, Mapping):
            prefixes = ("", f"{self.place}.")
            every = [[value.get(prefix + name) for name in self.shapes] for prefix in prefixes]
        else:
            every = [value]
        for each in every:
            tensors = [t for t in each if isinstance(t, Tensor)]
            if len(tensors) == len(each) and [tuple(t.shape) for t in tensors] == list(self.shapes.values()):
                return tensors
        return None

    def _is_equal(self, copied: nn.Module | list[Tensor]) -> bool:
        theirs = copied.parameters() if isinstance(copied, nn.Module) else copied
        return all(
            torch.equal(a.detach().to(b.device), b.detach())
            for a, b in zip(theirs, self.network.parameters(), strict=True)
        )

    def _say(self, place: str) -> None:
        if place in self._said:
            return
        self._said.add(place)
        follows = "if it follows the weights of the network (a moving average, a momentum encoder)"
        if self.cut:
            said = (
                f"{place} is a copy of the network, and keeps its shapes when compact_every cuts the network: "
                f"{follows}, leave compact_every out, and call callback.pruner.compact() after training"
            )
        else:
            said = (
                f"{place} is a copy of the network that pruning does not reach: {follows}, call "
                "callback.pruner.masks.zero(copy) after every step of the optimiser"
            )
        warnings.warn(said, stacklevel=2)


def _shapes(module: nn.Module) -> dict[str, tuple[int, ...]]:
    return {name: tuple(p.shape) for name, p in module.named_parameters()}


def _kept(task: nn.Module, holders: Iterable[lightning.Callback]) -> Iterator[Found]:
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
    return isinstance(value, nn.Module) and key in {*vars(nn.Module()), "_trainer", "_fabric"}


def _is_average(value: object) -> bool:
    return any(cls.__name__ in AVERAGES for cls in type(value).__mro__)
