"""The optimisers of PyTorch and of other packages, each made for a network."""

from __future__ import annotations

import importlib
import itertools
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

if TYPE_CHECKING:
    from collections.abc import Iterator

    from torch import Tensor

Make = Callable[[nn.Module], Any]

RATE = 0.01

PLACES = {
    "torch": "torch.optim",
    "timm": "timm.optim",
    "pytorch_optimizer": "pytorch_optimizer",
    "schedulefree": "schedulefree",
    "heavyball": "heavyball",
}
"""Where a package keeps its optimisers."""


def optimisers(package: str) -> Iterator[tuple[str, Make]]:
    """Yield the optimisers of a package that take parameters and a learning rate, by name."""
    library = importlib.import_module(PLACES[package])
    if package == "timm":
        for name in [*library.list_optimizers(), "lookahead_adamw"]:
            yield name, lambda model, name=name: library.create_optimizer_v2(model, opt=name, lr=RATE)
    elif package == "pytorch_optimizer":
        for name in sorted(library.get_supported_optimizers()):
            yield name, _of_class(library.load_optimizer(name))
        yield "Lookahead(AdamW)", lambda m: library.Lookahead(torch.optim.AdamW(m.parameters(), RATE))
    else:
        for name, kind in sorted(vars(library).items()):
            if isinstance(kind, type) and issubclass(kind, torch.optim.Optimizer) and name != "Optimizer":
                yield name, _of_class(kind)


def _of_class(kind: type) -> Make:
    def make(model: nn.Module) -> Any:
        weights = list(model.parameters())
        groups = [
            {"params": [w for w in weights if w.ndim == 2], "use_muon": True},
            {"params": [w for w in weights if w.ndim < 2], "use_muon": False},
        ]
        options = {"momentum": 0.9} if kind is torch.optim.SGD else {}
        subjects = (weights, groups, groups[0]["params"], model)
        for subject, more in itertools.product(subjects, ({"lr": RATE}, {})):
            try:
                return kind(subject, **options, **more)
            except (TypeError, ValueError, RuntimeError, AttributeError, KeyError) as error:
                failure = error
        raise failure

    return make


def kept(optimizer: Any, parameter: Tensor) -> Iterator[Tensor]:
    """Yield the tensors that an optimiser, or a wrapper around one, keeps of a parameter."""
    for holder in (optimizer, getattr(optimizer, "base", optimizer)):
        for mapping in vars(holder).values():
            if isinstance(mapping, dict) and parameter in mapping:
                yield from _tensors(mapping[parameter])


def _tensors(value: Any) -> Iterator[Tensor]:
    if isinstance(value, torch.Tensor):
        yield value
    elif isinstance(value, (dict, list)):
        for each in value.values() if isinstance(value, dict) else value:
            yield from _tensors(each)
