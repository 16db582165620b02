"""Second order: prune what a layer's currents can do without, and fit the rest again.

B. Hassibi, D. G. Stork, "Second order derivatives for network pruning: Optimal Brain Surgeon", NIPS 1992.
The Hessian is that of a layer's currents, as in layer-wise compression (E. Frantar, D. Alistarh, "Optimal
Brain Compression", NeurIPS 2022; SBC for spikes), here on spiking traces.
"""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any, ClassVar

import torch

from snnprune.config.schema import MethodConfig
from snnprune.methods.by_score import ByScore
from snnprune.methods.inputs import inputs
from snnprune.network.runs import summed
from snnprune.pruning.criterion import Criterion
from snnprune.pruning.state import NUMBER

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from torch import Tensor

    from snnprune.network.topology import Population, Projection
    from snnprune.pruning.state import Axes
    from snnprune.pruning.view import Decision, View

LARGEST = 4096
"""Most inputs of a layer for which H is kept: in float64 its inverse has 134 MB."""

DAMPING = 0.01
"""Added to the diagonal of H, as a share of its mean: the usual choice of layer-wise compression."""

STEPS = 50
"""Most steps of conjugate gradients in a fit. Each is one product of the weights with H, so that the time is
bounded however different the synapses are that rows lose."""


class SecondOrderCriterion(Criterion):
    """Scores synapses and units by what the currents of their layer lose, and fits the others at the cut.

    With S the traces of a layer's inputs in the epoch, w the weights of a row, and H their second moment::

        H = E[S S^T] + damping mean(diag H) 1
        score of input q of a row  = w_q^2 / (2 [H^-1]_qq)                                (OBS, equation 5)
        score of a unit            = sum over rows of w_Q^T ([H^-1]_QQ)^-1 w_Q / 2        Q its columns
        when the inputs D of a row die:  w_A <- w_A + H_AA^-1 H_AD w_D,  A those that stay

    The last line is the least change of the row's current, and OBS's own update where one input dies. It is
    solved by conjugate gradients, `STEPS` at most.

    [reading] The current of a row stands for the loss, and a trace for the currents of all time steps. In a
    convolution S is of whole channels, and each place of a kernel is a row of its own. The output layer is
    not recorded: its S is the trace of the population before it, where each column is a unit of one layer;
    where it is not, H is the unit matrix. A layer with more than `LARGEST` inputs keeps the diagonal of H
    alone, and is not fitted; a warning says so once.

    Args:
        tau: decay of the trace.
        damping: added to the diagonal, as a share of its mean.
        refit: fit the weights that stay.
        largest: most inputs of a layer for which H is kept.

    Raises:
        ValueError: the damping is not above 0.
    """

    axes: ClassVar[Mapping[str, Axes]] = {
        "second": ("pre", "pre"),
        "power": ("pre",),
        "samples": NUMBER,
    }
    per_epoch: ClassVar[tuple[str, ...]] = ("second", "power", "samples")

    def __init__(
        self, tau: float = 0.5, *, damping: float = DAMPING, refit: bool = True, largest: int = LARGEST
    ) -> None:
        if damping <= 0:
            raise ValueError(f"damping has to be above 0, came {damping}: without it H has no inverse")
        self.tau, self.damping, self.refit, self.largest = tau, damping, refit, largest

    # --- statistics

    @torch.no_grad()
    def after_step(self, view: View) -> None:
        """Add a batch."""
        for p, pre in inputs(view):
            self._add(p, pre)

    def _add(self, projection: Projection, pre: Tensor) -> None:
        own = self.state.get(projection.name)
        if own is None:
            columns, full = pre.shape[1], pre.shape[1] <= self.largest
            moment = pre.new_zeros([columns] * (1 + full))
            own = self.state[projection.name] = {
                "second" if full else "power": moment,
                "samples": pre.new_zeros(()),
            }
            if not full:
                warnings.warn(
                    f"{projection.name} has {columns} inputs, more than {self.largest}: the diagonal of its "
                    "second moment is kept alone, and its weights are not fitted again",
                    stacklevel=2,
                )
        if "second" in own:
            own["second"].addmm_(pre.T, pre)
        else:
            own["power"].add_(pre.square().sum(0))
        own["samples"].add_(len(pre))

    def _moment(self, projection: Projection, view: View) -> Tensor:
        """Return H in float64, [columns, columns], or its diagonal, [columns]; 1 where an input is dead."""
        own, living = self.state.get(projection.name), view.masks.columns(projection)
        if own is None or not own["samples"]:
            return torch.ones(projection.columns, dtype=torch.float64, device=living.device)
        moment = (own["second"] if "second" in own else own["power"]).double() / own["samples"]
        diagonal = moment.diagonal() if moment.ndim == 2 else moment
        mean = diagonal[living].mean()
        floor = torch.where(mean > 0, self.damping * mean, torch.ones_like(mean))
        added = torch.where(living, floor, 1.0 - diagonal)
        return moment + (added.diag() if moment.ndim == 2 else added)

    # --- scores

    def synapse_score(self, projection: Projection, view: View) -> Tensor | None:
        """Return the score, in the shape of the weight."""
        if projection.name not in self.state:
            return None
        weight = view.model.get_parameter(projection.weight).detach()
        inverse = _inverse(self._moment(projection, view))
        diagonal = inverse.diagonal() if inverse.ndim == 2 else inverse
        columns = diagonal.view(1, -1, *(1,) * (weight.ndim - 2))
        return (weight.double().square() / (2 * columns)).to(weight.dtype)

    def unit_score(self, population: Population, view: View) -> Tensor | None:
        """Return the sum over readers, [size]; where no layer reads the units, |w|^2 / 2 of their rows."""
        if not self.state:
            return None
        alive = view.masks.units[population.name]
        total = torch.zeros(population.size, dtype=torch.float64, device=alive.device)
        readers = view.topology.outgoing(population.name)
        for p in readers or view.topology.incoming(population.name):
            weight = view.model.get_parameter(p.weight).detach().double()
            if not readers:
                halves = weight.flatten(1).square().sum(1) / 2
                total += summed(p.outflow, population.name, halves)
                continue
            rows, inverse = weight.transpose(0, 1).flatten(1), _inverse(self._moment(p, view))
            for run in (run for run in p.inflow if run.population == population.name):
                total += block_costs(run.per_unit(rows), inverse, run.per_unit(_indices(rows)))
        like = view.model.get_parameter(view.topology.projections[population.producers[0]].weight)
        return total.to(like.dtype)

    # --- fits

    @torch.no_grad()
    def make_up(self, decision: Decision, view: View) -> dict[str, Tensor]:
        """Return the weights of layers that lose inputs, fitted again."""
        return dict(self._fitted(decision, view)) if self.refit else {}

    def _fitted(self, decision: Decision, view: View) -> Iterator[tuple[str, Tensor]]:
        after = view.masks.after(decision.units)
        for p in view.topology.projections.values():
            moment = self._moment(p, view)
            stays = after.alive(p)
            if p.name in decision.synapses:
                stays = stays & decision.synapses[p.name]
            gone = view.masks.alive(p) & ~stays & after.rows(p).view(-1, *(1,) * (len(p.shape) - 1))
            if moment.ndim < 2 or not gone.any():
                continue
            weight = view.model.get_parameter(p.weight).detach()
            rows, dying, staying = (each.movedim(1, -1) for each in (weight.double(), gone, stays))
            shape = rows.shape
            rows, dying, staying = (each.reshape(-1, shape[-1]) for each in (rows, dying, staying))
            fitted = rows + change(moment, rows * dying, staying)
            yield p.weight, fitted.reshape(shape).movedim(-1, 1).to(weight.dtype)


def _indices(entries: Tensor) -> Tensor:
    return torch.arange(len(entries), device=entries.device)


def _inverse(moment: Tensor) -> Tensor:
    """Return the inverse of H, or of a diagonal."""
    if moment.ndim == 1:
        return 1 / moment
    return torch.cholesky_inverse(torch.linalg.cholesky(moment))


def block_costs(weights: Tensor, inverse: Tensor, indices: Tensor) -> Tensor:
    """Return sum over rows of w_Q^T ([H^-1]_QQ)^-1 w_Q / 2 for each unit, [units].

    Args:
        weights: [units, columns of a unit, rows].
        inverse: of H, [columns, columns], or of its diagonal, [columns].
        indices: of each unit's columns, [units, columns of a unit].
    """
    if inverse.ndim == 1:
        return (weights.square() / inverse[indices].unsqueeze(2)).sum((1, 2)) / 2
    blocks = inverse[indices.unsqueeze(2), indices.unsqueeze(1)]
    return (weights * torch.linalg.solve(blocks, weights)).sum((1, 2)) / 2


def change(moment: Tensor, dying: Tensor, stays: Tensor) -> Tensor:
    """Return H_AA^-1 H_AD w_D of each row, by conjugate gradients; 0 outside of A.

    Args:
        moment: H, [columns, columns].
        dying: w where an input dies, 0 elsewhere, [rows, columns].
        stays: bool [rows, columns], A.

    Examples:
        >>> import torch
        >>> from snnprune.methods.second_order import change
        >>> moment = torch.tensor([[2.0, 1.0], [1.0, 2.0]])
        >>> change(moment, torch.tensor([[4.0, 0.0]]), torch.tensor([[False, True]]))  # 1 / 2 of 4
        tensor([[0., 2.]])
    """
    residual = (dying @ moment) * stays
    found, towards = torch.zeros_like(residual), residual
    size = residual.square().sum(1, keepdim=True)
    enough = size * torch.finfo(size.dtype).eps ** 1.75
    for _ in range(min(STEPS, len(moment))):
        moved = (towards @ moment) * stays
        curve = (towards * moved).sum(1, keepdim=True)
        step = torch.where((size > enough) & (curve > 0), size / curve, 0.0)
        found = found + step * towards
        residual = residual - step * moved
        last, size = size, residual.square().sum(1, keepdim=True)
        towards = residual + torch.where(last > enough, size / last, 0.0) * towards
    return found


class SecondOrder(ByScore):
    """Prunes what the currents of a layer can do without, and fits the rest, until the target is reached.

    Args:
        target: share of all weights to prune.
        tau: decay of the trace.
        damping: added to the diagonal of the second moment, as a share of its mean.
        refit: fit the weights that stay to the currents as they were.
        options: those of `ByScore`.

    Examples:
        >>> import torch
        >>> from torch import nn
        >>> import snnprune
        >>> model, x = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 2)), torch.rand(16, 4)
        >>> pruner = snnprune.Pruner(model, x, snnprune.methods.SecondOrder(refit=False), epochs=60)
        >>> same = snnprune.Pruner(model, x, "second-order", epochs=60, refit=False)
    """

    criterion_class: ClassVar[type[Criterion]] = SecondOrderCriterion

    def __init__(
        self,
        target: float | None = MethodConfig.target,
        *,
        tau: float = SecondOrderCriterion.tau,
        damping: float = DAMPING,
        refit: bool = True,
        **options: Any,
    ) -> None:
        criterion = SecondOrderCriterion(tau, damping=damping, refit=refit)
        super().__init__(target, criterion=criterion, **options)
