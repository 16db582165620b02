"""Compare a network before and after compaction: outputs and spikes, layer by layer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch

from snnprune.network.axes import tensors_in
from snnprune.network.cut import Cut
from snnprune.network.discovery import discover
from snnprune.network.duplicate import duplicate, reset_states
from snnprune.network.wrappers import as_written, inside
from snnprune.pruning.compaction.survivors import survivors_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from torch import Tensor, nn

    from snnprune.network.topology import Topology

    Calls = dict[str, list[Tensor]]


@dataclass(frozen=True)
class Flips:
    """Comparison of the outputs of one layer of neurons in two networks.

    Attributes:
        flipped: number of outputs that are active in one network and not in the other.
        active: number of outputs that are active in the masked network.
        size: number of outputs compared (over time, samples and places).
        difference: largest absolute difference.
    """

    flipped: int
    active: int
    size: int
    difference: float

    @property
    def share(self) -> float:
        """Share of the outputs that flipped, in [0, 1]."""
        return self.flipped / max(self.size, 1)


@dataclass(frozen=True)
class Agreement:
    """Comparison of a compact network with the masked one that it was made from; print it for a table.

    Attributes:
        difference: largest absolute difference of the networks' outputs.
        layers: comparison of each layer, by neuron module, in forward order.

    Examples:
        >>> import torch
        >>> from torch import nn
        >>> import snnprune
        >>> model, x = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 2)), torch.rand(16, 4)
        >>> agreement = snnprune.verify(model, model, x)  # a network agrees with itself
        >>> agreement.difference, agreement.flipped, agreement.layers["1"].size
        (0.0, 0, 128)
    """

    difference: float
    layers: dict[str, Flips]

    @property
    def flipped(self) -> int:
        """Number of neuron outputs that flipped, in all layers."""
        return sum(layer.flipped for layer in self.layers.values())

    @property
    def share(self) -> float:
        """Share of all neurons' outputs that flipped, in [0, 1]."""
        return self.flipped / max(sum(layer.size for layer in self.layers.values()), 1)

    @property
    def silent(self) -> list[str]:
        """Layers that were never active; their comparison shows nothing."""
        return [name for name, layer in self.layers.items() if not layer.active]

    def __str__(self) -> str:
        rows = [("neurons", "active", "flipped", "share", "difference")]
        rows += [
            (
                name,
                f"{f.active / max(f.size, 1):.1%}",
                str(f.flipped),
                f"{f.share:.1e}",
                f"{f.difference:.1e}",
            )
            for name, f in self.layers.items()
        ]
        widths = [max(len(row[i]) for row in rows) for i in range(5)]
        lines = ["  ".join(c.ljust(w) for c, w in zip(row, widths, strict=True)).rstrip() for row in rows]
        return "\n".join([*lines, f"largest difference of the outputs: {self.difference:.1e}"])


@torch.no_grad()
def verify(
    masked_model: nn.Module,
    compact_model: nn.Module,
    example_input: Any,
    *,
    steps: int = 1,
    neurons: Sequence[type[nn.Module]] = (),
) -> Agreement:
    """Run both networks on the same input and compare them.

    Copies of both networks run in evaluation mode, from the neurons' resting state. Of compiled networks, and
    of those in a wrapper such as DataParallel, the networks inside are compared, as they are written.

    Args:
        masked_model: the network with the masks applied.
        compact_model: the network that `compact` made from it, or `Pruner.compact` from a copy of it.
        example_input: an input of both networks, a tensor or a tuple of arguments.
        steps: number of calls, for networks in single-step mode, where a call is a time step.
        neurons: further neuron classes, as for `discover`.

    Raises:
        ValueError: the compact network was not made from such a network.

    Examples:
        >>> import torch
        >>> from torch import nn
        >>> import snnprune
        >>> model, x = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 2)), torch.rand(16, 4)
        >>> masks = snnprune.Masks(model, snnprune.discover(model, x))
        >>> masks.keep_units(masks.topology.populations["0"], torch.arange(8) < 6)
        >>> small = snnprune.compact(model, masks)
        >>> masks.refresh()
        >>> masks.apply()  # `model` is the masked network now
        >>> agreement = snnprune.verify(model, small, x)
        >>> agreement.flipped, agreement.difference < 1e-5
        (0, True)
    """
    masked_model, compact_model = inside(masked_model), inside(compact_model)
    arguments = example_input if isinstance(example_input, tuple) else (example_input,)
    topology = discover(masked_model, example_input, neurons=neurons)
    cut = _cut(masked_model, compact_model, topology)
    readers = [p.neuron for p in topology.projections.values() if p.neuron is not None and p.site is not None]
    outputs, activity = [], []
    for model in (masked_model, compact_model):
        seen: Calls = {name: [] for name in readers}
        outputs.append(_run(model, arguments, steps, seen))
        activity.append(seen)
    whole, small = outputs
    difference = max(
        _difference(cut.take_output(number % (len(whole) // steps), a), b)
        for number, (a, b) in enumerate(zip(whole, small, strict=True))
    )
    layers = {name: _flips(list(_pairs(name, cut, *activity))) for name in dict.fromkeys(readers)}
    return Agreement(difference, layers)


def _run(model: nn.Module, arguments: tuple[Any, ...], steps: int, seen: Calls) -> list[Tensor]:
    """Run a copy of ``model``, store the outputs of its neurons in ``seen``, and return its outputs."""
    model = duplicate(model).eval()
    reset_states(model)
    for name, calls in seen.items():
        model.get_submodule(name).register_forward_hook(
            lambda _m, _i, output, calls=calls: calls.append(tensors_in(output)[0])
        )
    with as_written():
        return [tensor for _ in range(steps) for tensor in tensors_in(model(*arguments))]


def _cut(masked: nn.Module, small: nn.Module, topology: Topology) -> Cut:
    """Return the cut that made the compact network from the masked one."""
    before, after = survivors_of(masked), survivors_of(small)
    stays = {}
    for name, population in topology.populations.items():
        here = before.get(name, torch.arange(population.size))
        there = after.get(name, here)
        if not bool(torch.isin(there, here).all()):
            raise ValueError(
                f"expected a network that was compacted from the masked one, but population {name} has units "
                "that the masked network lacks: pass the masked network first, then the compact one"
            )
        stays[name] = torch.isin(here, there)
    return Cut(topology, stays)


def _pairs(neuron: str, cut: Cut, masked: Calls, small: Calls) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield the outputs of the surviving units in both networks, call by call."""
    done = set()
    for p in cut.before.projections.values():
        one, other = p.site, cut.after.projections[p.name].site
        if p.neuron != neuron or one is None or other is None or one in done:
            continue
        done.add(one)
        for turn, (a, b) in enumerate(zip(masked[neuron], small[neuron], strict=True)):
            if turn % one.calls == one.call:
                whole = one.rows(a, one.axis)
                index = cut.post(p.name).nonzero().squeeze(1).to(a.device)
                yield whole.index_select(one.axis, index), other.rows(b, other.axis)


def _flips(pairs: list[tuple[Tensor, Tensor]]) -> Flips:
    return Flips(
        sum(int(((a != 0) != (b != 0)).sum()) for a, b in pairs),
        sum(int(a.count_nonzero()) for a, _ in pairs),
        sum(a.numel() for a, _ in pairs),
        max((_difference(a, b) for a, b in pairs), default=0.0),
    )


def _difference(a: Tensor, b: Tensor) -> float:
    return float((a - b).abs().max()) if a.numel() else 0.0
