"""Brain-inspired synaptic pruning (BSP): prune synapses that stay weak for many consecutive epochs.

F. Zhao, Y. Zeng, "Dynamically Optimizing Network Structure Based on Synaptic Pruning in the Brain", Frontiers
in Systems Neuroscience 15:620558, 2021.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, Literal

import torch

from snnprune.pruning.method import Method
from snnprune.pruning.solver import is_prunable
from snnprune.pruning.state import WEIGHT
from snnprune.pruning.view import Decision

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from torch import Tensor

    from snnprune.network.topology import Projection
    from snnprune.pruning.state import Axes
    from snnprune.pruning.view import View

MOST = 0.9
"""Largest share of candidates [reading]: the reconstructed p_r can exceed 1 (many neurons, few samples)."""


@dataclass(frozen=True)
class Progress:
    """The numbers that the schedules depend on.

    Attributes:
        neurons: N_neu, number of hidden neurons of the dense network: those that a layer reads.
        samples: N_sam, number of training samples.
        pruned: N_p, number of synapses pruned so far.
        left: N_s, number of synapses left.
    """

    neurons: int
    samples: int
    pruned: int
    left: int


@dataclass(frozen=True)
class Reconstruction:
    """The paper's two schedules **[reconstruction]**: its equations are images that could not be recovered.

    Both agree with the text of the paper. p_r rises with the number of neurons and falls with the number of
    samples. p_c falls with the number of neurons, rises with the number of samples, and grows exponentially
    with the number of pruned synapses::

        p_r = alpha (1 + ln N_neu) (1 + a / N_sam)
        p_c = beta (N_sam / b)^(1/2) / (1 + N_neu / mu) exp(kappa N_p / N_s)

    alpha, beta, mu, a (A in the paper) and b (B) are the paper's. kappa was fitted to the two compression
    rates that the paper states, so agreement with these rates is no evidence.
    """

    alpha: float = 0.048
    beta: float = 50.0
    mu: float = 146.0
    a: float = 1244.0
    b: float = 60000.0
    kappa: float = 0.8

    def rate(self, at: Progress) -> float:
        """Return p_r: the share of the remaining synapses that are candidates in this epoch."""
        rate = self.alpha * (1 + math.log(max(at.neurons, 1))) * (1 + self.a / at.samples)
        return min(rate, MOST)

    def patience(self, at: Progress) -> float:
        """Return p_c: a synapse is pruned after it was a candidate in more consecutive epochs than this."""
        growth = min(self.kappa * at.pruned / max(at.left, 1), 700.0)  # exp() overflows at 710
        return self.beta * math.sqrt(at.samples / self.b) / (1 + at.neurons / self.mu) * math.exp(growth)


class BSP(Method):
    """Prunes synapses that are among the smallest in many consecutive epochs.

    In each epoch the remaining synapses with the smallest |w| are candidates; their share is p_r. The count
    of a candidate rises by 1, and the count of any other synapse returns to 0. A synapse is pruned when its
    count exceeds p_c. **[reading]** Candidates are ranked over the whole network, the output layer included,
    and their number is rounded down. Biases stay. The strongest synapse of each layer is never pruned.

    Args:
        schedule: "reconstruction", the paper's schedules as `Reconstruction` has them, or "constant", the
            same p_r and p_c in all epochs (0.1 and 10 by default).
        p_r: share of the remaining synapses that are candidates, in [0, 1); replaces the schedule's: a
            number, or a function of `Progress`.
        p_c: number of consecutive epochs as a candidate after which a synapse is pruned; replaces the
            schedule's: a number, or a function of `Progress`.
        alpha: factor of the reconstructed p_r.
        beta: factor of the reconstructed p_c.
        mu: number of hidden neurons at which p_c is half of its value for few neurons.
        a: number of training samples at which p_r is twice its value for many samples.
        b: number of training samples to which beta belongs; also N_sam if the Pruner got no ``samples``.
        kappa: rate at which p_c grows with the pruned share, fitted (see `Reconstruction`).

    Raises:
        ValueError: an unknown schedule, a share outside [0, 1), or a number below 0.

    Examples:
        >>> import torch
        >>> from torch import nn
        >>> import snnprune
        >>> model, x = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 2)), torch.rand(16, 4)
        >>> pruner = snnprune.Pruner(model, x, snnprune.methods.BSP(alpha=0.05), epochs=60)
        >>> same = snnprune.Pruner(model, x, "bsp", epochs=60, alpha=0.05)
    """

    axes: ClassVar[Mapping[str, Axes]] = {"count": WEIGHT}

    def __init__(
        self,
        *,
        schedule: Literal["reconstruction", "constant"] = "reconstruction",
        p_r: float | Callable[[Progress], float] | None = None,
        p_c: float | Callable[[Progress], float] | None = None,
        alpha: float = Reconstruction.alpha,
        beta: float = Reconstruction.beta,
        mu: float = Reconstruction.mu,
        a: float = Reconstruction.a,
        b: float = Reconstruction.b,
        kappa: float = Reconstruction.kappa,
    ) -> None:
        if schedule not in ("reconstruction", "constant"):
            raise ValueError(f"schedule is 'reconstruction' or 'constant', came '{schedule}'")
        if isinstance(p_r, int | float) and not 0 <= p_r < 1:
            raise ValueError(f"p_r is a share in [0, 1), came {p_r}")
        if isinstance(p_c, int | float) and p_c < 0:
            raise ValueError(f"p_c is a number of epochs from 0, came {p_c}")
        if schedule == "constant":
            p_r, p_c = 0.1 if p_r is None else p_r, 10.0 if p_c is None else p_c
        own = Reconstruction(alpha, beta, mu, a, b, kappa)
        self.p_r, self.p_c, self.reconstruction, self.samples = p_r, p_c, own, int(b)
        self.rate = own.rate if p_r is None else _function(p_r)
        self.patience = own.patience if p_c is None else _function(p_c)

    @torch.no_grad()
    def end_epoch(self, view: View, metrics: Mapping[str, float] | None) -> Decision:  # noqa: ARG002
        """Find the candidates, update the counts, and prune synapses whose count exceeds p_c."""
        projections = [p for p in view.topology.projections.values() if _belongs(p)]
        weights = {p.name: view.model.get_parameter(p.weight).abs() for p in projections}
        alive = {p.name: view.masks.alive(p) for p in projections}
        at = self.progress(view, sum(int(a.sum()) for a in alive.values()))
        named = smallest(weights, alive, int(self.rate(at) * at.left))
        patience, synapses = self.patience(at), {}
        for name, chosen in named.items():
            state = self.state.setdefault(name, {"count": torch.zeros_like(chosen, dtype=torch.int32)})
            count = state["count"].add_(1).mul_(chosen)
            pruned = count > patience
            if bool(pruned.any()):
                synapses[name] = _without(pruned, alive[name], weights[name])
        return Decision(synapses=synapses)

    def progress(self, view: View, left: int) -> Progress:
        """Return the numbers that the schedules depend on, with ``left`` synapses alive."""
        dense = [p for p in view.dense.projections.values() if _belongs(p)]
        hidden = [p for p in view.dense.populations.values() if view.dense.outgoing(p.name)]
        samples = self.samples if view.samples is None else view.samples
        total = sum(math.prod(p.shape) for p in dense)
        return Progress(sum(p.size for p in hidden), samples, total - left, left)


def _belongs(projection: Projection) -> bool:
    return is_prunable(projection, output=True, convolutions=True)


def smallest(weights: dict[str, Tensor], alive: dict[str, Tensor], count: int) -> dict[str, Tensor]:
    """Return bool, shape of each weight: the ``count`` alive entries of all layers with the smallest |w|.

    Ties go to the earlier layer, and within it to the earlier entry, on every machine.

    Args:
        weights: magnitudes by layer.
        alive: bool, the same shapes.
        count: number of entries, at most the number alive.
    """
    places = {name: mask.flatten().nonzero().squeeze(1) for name, mask in alive.items()}
    values = [weights[name].flatten()[index] for name, index in places.items()]
    order = torch.cat(values).argsort(stable=True) if values else torch.zeros(0)
    chosen = torch.zeros(len(order), dtype=torch.bool, device=order.device)
    chosen[order[:count].long()] = True
    named, start = {}, 0
    for name, index in places.items():
        flat = torch.zeros_like(alive[name]).flatten()
        flat[index] = chosen[start : start + len(index)]
        named[name] = flat.view(alive[name].shape)
        start += len(index)
    return named


def _without(pruned: Tensor, alive: Tensor, weight: Tensor) -> Tensor:
    """Return the synapses that stay; if all would be pruned, the strongest of the layer stays."""
    left = alive & ~pruned
    if not bool(left.any()):
        left.view(-1)[weight.masked_fill(~alive, -1.0).argmax()] = True
    return left


def _function(value: float | Callable[[Progress], float]) -> Callable[[Progress], float]:
    return value if callable(value) else lambda _: value
