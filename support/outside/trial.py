"""One network as users of another library write it: what becomes of it, and how that is measured."""

from __future__ import annotations

import fnmatch
import warnings
from collections import defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

import torch
from spikingjelly.activation_based import functional
from torch import Tensor, nn
from torch.nn.parameter import is_lazy

import snnprune
from snnprune.network.axes import tensors_in
from snnprune.pruning import Method, Pruner
from support.families import half_dead

if TYPE_CHECKING:
    from collections.abc import Callable

    from snnprune.network import Topology

Series = Literal["time first", "batch first", "by sample", "by step", "loop", "no time"]
"""Where time is: an axis of what neurons take, folded into the samples' axis, a call for each, or nowhere."""

TAU = 0.5
STEPS, SAMPLES = 4, 3


@dataclass(frozen=True)
class Trial:
    """A network of another library, and what is expected of it.

    Attributes:
        name: what stands in the network.
        build: makes the network.
        shape: of the example. Numbers in it are drawn from [0, 3).
        free: names of the populations that are pruned; the cut is exact.
        kept: words of the reason why another one is kept whole, by population. The rest is the output. Where
            several reasons are true, a bar stands between their words.
        series: where time is.
        neurons: returns the classes that are named to discovery.
        apart: globs of the tensors with several axes that nothing is multiplied with, so that they do not
            count as weights.
        uncut: words of the sentence with which a cut is refused; "" where it is exact.
        indices: the example holds whole numbers below this, for embeddings; 0 for real numbers.
    """

    name: str
    build: Callable[[], nn.Module]
    shape: tuple[int, ...]
    free: tuple[str, ...] = ()
    kept: dict[str, str] = field(default_factory=dict)
    series: Series = "time first"
    neurons: Callable[[], tuple[type[nn.Module], ...]] = tuple
    apart: tuple[str, ...] = ()
    uncut: str = ""
    indices: int = 0

    def network(self) -> nn.Module:
        """Return the network, of the same weights each time, and strong enough to fire."""
        torch.manual_seed(0)
        net = self.build()
        with torch.no_grad():
            for module in net.modules():
                if isinstance(module, (nn.Linear, nn.modules.conv._ConvNd)) and not is_lazy(module.weight):
                    module.weight.mul_(3.0)
        return net

    def example(self) -> Tensor:
        """Return the example, on which the network is trained as well."""
        dice = torch.Generator().manual_seed(1)
        if self.indices:
            return torch.randint(0, self.indices, self.shape, generator=dice)
        return torch.rand(self.shape, generator=dice) * 3


class Traces(Method):
    """Keeps what it is given."""

    reads = "trace"
    tau = TAU

    def __init__(self) -> None:
        self.batches: list[Any] = []

    def after_step(self, view: Any) -> None:
        self.batches.append(dict(view.traces))


def at_rest(net: nn.Module) -> nn.Module:
    """Put the neurons of any library at rest."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        functional.reset_net(net)
    for module in net.modules():
        for reset in ("reset_states", "reset_mem"):
            if callable(getattr(module, reset, None)):
                getattr(module, reset)()
    return net


def loss_of(output: Any) -> Tensor:
    """Return a loss of the first tensor of an output."""
    return tensors_in(output)[0].square().mean()


def found(trial: Trial) -> Topology:
    """Return what discovery says."""
    return snnprune.discover(trial.network(), trial.example(), neurons=trial.neurons())


def trained(trial: Trial, epochs: int = 3) -> Pruner:
    """Train for a few steps with DPAP, one an epoch."""
    net, x = trial.network(), trial.example()
    optimizer = torch.optim.SGD(net.parameters(), 0.01)
    with Pruner(net, x, "dpap", epochs=epochs, target=None, neurons=trial.neurons()) as pruner:
        for _ in range(epochs):
            loss = loss_of(at_rest(net)(x))
            optimizer.zero_grad()
            if loss.requires_grad:
                loss.backward()
            optimizer.step()
            at_rest(net)
            pruner.step(optimizer)
            pruner.end_epoch()
    return pruner


# --- traces


def recorded(trial: Trial) -> tuple[dict[str, tuple[Tensor, Tensor]], dict[str, Any]]:
    """Return (pre, post) of each projection that is pruned, computed by hand, and as the pruner has them."""
    net, method = trial.network(), Traces()
    with Pruner(net, trial.example(), method, epochs=2, neurons=trial.neurons()) as pruner:
        given: dict[str, list[Tensor]] = defaultdict(list)
        fired: dict[str, list[Tensor]] = defaultdict(list)
        projections = [p for p in pruner.topology.projections.values() if p.frozen is None and not p.output]
        for p in projections:
            net.get_submodule(p.name).register_forward_pre_hook(
                lambda _, args, kwargs, name=p.name: given[name].append(tensors_in([args, kwargs])[0]),
                with_kwargs=True,
            )
            net.get_submodule(str(p.neuron)).register_forward_hook(
                lambda _, args, output, name=p.name: fired[name].append(tensors_in(output)[0])
            )
        loss_of(at_rest(net.train())(trial.example())).backward()
        at_rest(net)
        pruner.step()
    right = {}
    for p in projections:
        assert p.site is not None
        columns = -1 if p.kind == "linear" else -(len(p.shape) - 1)
        calls = [y for n, y in enumerate(fired[p.name]) if n % p.site.calls == p.site.call]
        own = [p.site.rows(y, p.site.axis) for y in calls]
        right[p.name] = trace(given[p.name], trial.series, columns), trace(own, trial.series, p.site.axis)
    return right, method.batches[-1]


def trace(calls: list[Tensor], series: Series, axis: int) -> Tensor:
    """Return the trace [B, C] of tensors that were seen call by call, by a loop over time.

    Args:
        calls: what a layer was given, or a neuron put out.
        series: where time is in the network. A layer inside it may have it folded into the samples' axis, or
            stand behind a mean over time, and is then taken for the same at every step.
        axis: of the channels, counted from the end.
    """
    spikes = torch.stack(_steps(calls, series)).detach()
    spikes = spikes.movedim(axis, 2)
    spikes = spikes.flatten(3).sum(-1) if spikes.ndim > 3 else spikes
    total = torch.zeros_like(spikes[0])
    for step in spikes:
        total = TAU * total + step
    return total


def _steps(calls: list[Tensor], series: Series) -> list[Tensor]:
    """Return one tensor [B, ...] a step."""
    if series in {"loop", "no time"} or len(calls) > 1:
        return calls
    (whole,) = calls
    if len(whole) == STEPS * SAMPLES:
        by_sample = series in {"by sample", "batch first"}
        return [
            whole[step::STEPS] if by_sample else whole[step * SAMPLES : (step + 1) * SAMPLES]
            for step in range(STEPS)
        ]
    if series == "time first" and whole.shape[:2] == (STEPS, SAMPLES):
        return list(whole)
    if whole.shape[:2] == (SAMPLES, STEPS):
        return list(whole.transpose(0, 1))
    return [whole] * STEPS


# --- cuts


def cut(trial: Trial) -> tuple[float, int, int]:
    """Let half of every free population die, and cut.

    Returns:
        The largest difference of the outputs, how many activations flip, and how many weights went.
    """
    net, x = trial.network(), trial.example()
    masks = half_dead(net, snnprune.discover(net, x, neurons=trial.neurons()))
    small = snnprune.compact(net, masks)
    agreement = snnprune.verify(net, small, x, neurons=trial.neurons())
    with torch.no_grad():
        a, b = (tensors_in(at_rest(n.eval())(x))[0] for n in (net, small))
    gone = sum(p.numel() for p in net.parameters()) - sum(p.numel() for p in small.parameters())
    return max(float((a - b).abs().max()), agreement.difference), agreement.flipped, gone


def weights_by_hand(trial: Trial, net: nn.Module) -> int:
    """Return the number of weights: all parameters with several axes, but those that are set ``apart``."""
    return sum(
        p.numel()
        for name, p in net.named_parameters()
        if p.ndim > 1 and not any(fnmatch.fnmatch(name, glob) for glob in trial.apart)
    )
