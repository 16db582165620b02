"""SpikingJelly's SEW ResNets (Fang et al. 2021), whose layers do not stand in a Sequential."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import torch

from snnprune.nn.fused.mixing import Mixed, mixed
from snnprune.nn.fused.sequential import Chain, Pooling, run_all
from snnprune.nn.fused.watching import is_traced, is_watched

if TYPE_CHECKING:
    from torch import nn

HOME = "spikingjelly.activation_based.model.sew_resnet"
"""Where SpikingJelly keeps them; it is not imported here, because it imports packages of images."""


class Block(Mixed):
    """Mixin for ``BasicBlock`` and ``Bottleneck``: the same forward in fewer passes.

    With ``cnf="ADD"`` the last neurons add the block's input to their spikes as they write them.
    """

    cnf: str
    downsample: Any
    downsample_sn: Any

    def forward(self, x: Any) -> Any:
        """Run convolutions, norms and neurons as in a Sequential, then join spikes and input."""
        if is_traced(x):
            return super().forward(x)  # type: ignore[misc]
        out, last = x, 3 if hasattr(self, "conv3") else 2
        for number in range(1, last):
            out = run_all(self._layers(number), out)
        identity = x if self.downsample is None else self._shortcut(x)
        layers = self._layers(last)
        chain = Chain.of(layers, out)
        if self.cnf == "ADD" and chain is not None and chain.taken == len(layers):
            joined = chain.run_joined(out, identity)
            if joined is not None:
                return joined
        out = run_all(layers, out)
        one, other = (out, identity) if last == 3 else (identity, out)
        return sys.modules[HOME].sew_function(one, other, self.cnf)

    def _layers(self, number: int) -> list[nn.Module]:
        return [getattr(self, f"{kind}{number}") for kind in ("conv", "bn", "sn")]

    def _shortcut(self, x: Any) -> Any:
        if isinstance(self.downsample, Pooling) and not is_watched(self.downsample):  # type: ignore[arg-type]
            return run_all([*self.downsample, self.downsample_sn], x)  # type: ignore[misc]
        return self.downsample_sn(self.downsample(x))


class Network(Mixed):
    """Mixin for ``SEWResNet``: the layers before the first block in one pass."""

    def _forward_impl(self: Any, x: Any) -> Any:
        if is_traced(x) or self.avgpool.step_mode != "m":
            return super()._forward_impl(x)  # type: ignore[misc]
        x = run_all([self.conv1, self.bn1, self.sn1, self.maxpool], x)
        for stage in (self.layer1, self.layer2, self.layer3, self.layer4, self.avgpool):
            x = stage(x)
        return self.fc(torch.flatten(x, 2))


MIXINS = {"BasicBlock": Block, "Bottleneck": Block, "SEWResNet": Network}


def sew(kind: Any) -> Any:
    """Return the class ``kind`` with its mixin, None if it is none of SpikingJelly's SEW ResNets."""
    mixin = MIXINS.get(kind.__name__) if kind.__module__ == HOME else None
    if mixin is None or kind is not getattr(sys.modules[HOME], kind.__name__, None):
        return None
    return mixed(mixin, kind)
