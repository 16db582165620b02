"""The sizes that modules hold as numbers, beside their tensors."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import nn
from torch.nn.modules.batchnorm import _NormBase

from snnprune.network.cells import held_sizes
from snnprune.network.imported import spikingjelly
from snnprune.network.leaves import CONVOLUTIONS, TRANSPOSED

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from torch import Tensor


def tensor_of(model: nn.Module, key: str) -> Tensor:
    """Return the parameter or buffer called ``key``, even if it is in no state_dict."""
    path, _, name = key.rpartition(".")
    tensor = getattr(model.get_submodule(path), name)
    assert isinstance(tensor, torch.Tensor)
    return tensor


def sizes(model: nn.Module, keys: Iterable[str]) -> Iterator[tuple[nn.Module, str, int]]:
    """Yield the size attributes of the modules that own the tensors ``keys``, as their present shapes say."""
    for container, size in _containers(model):
        yield container, _WIDTH, size
    yield from held_sizes(model)
    for name in dict.fromkeys(key.rpartition(".")[0] for key in keys):
        module = model.get_submodule(name)
        for attribute, size in _sizes(module):
            yield module, attribute, size


_WIDTH = "sub_module_out_features"


def _containers(model: nn.Module) -> Iterator[tuple[nn.Module, int]]:
    """Yield SpikingJelly's containers with a recurrent layer, and how many units each feeds back now.

    These are the rows of the last layer inside that has as many as the container says; the recurrent layer
    itself, where there is none.
    """
    library = spikingjelly("layer")
    if library is None:
        return
    for container in model.modules():
        if isinstance(container, library.LinearRecurrentContainer):
            layers = [container.rc, *(m for m in container.sub_module.modules() if isinstance(m, nn.Linear))]
            fed = [m for m in layers if m.out_features == getattr(container, _WIDTH)]
            if fed:
                yield container, len(fed[-1].weight)


def _sizes(module: nn.Module) -> list[tuple[str, int]]:
    """Return the size attributes of a module, by name, computed from its tensors."""
    if isinstance(module, nn.Linear):
        return list(zip(("out_features", "in_features"), module.weight.shape, strict=True))
    if isinstance(module, TRANSPOSED) and module.groups == 1:
        return list(zip(("in_channels", "out_channels"), module.weight.shape, strict=False))
    if isinstance(module, (*CONVOLUTIONS, *TRANSPOSED)):
        out, columns = module.weight.shape[:2]
        groups = module.groups
        if groups > 1 and groups == module.in_channels:
            groups = out // (module.out_channels // groups)  # depthwise: a group is a channel
        return [("groups", groups), ("out_channels", out), ("in_channels", columns * groups)]
    if isinstance(module, _NormBase):
        vectors = (module.weight, module.bias, module.running_mean, module.running_var)
        return [("num_features", next(len(v) for v in vectors if v is not None))]
    if isinstance(module, nn.PReLU):
        return [("num_parameters", len(module.weight))]
    return []
