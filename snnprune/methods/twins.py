"""Twins: merge units that compute nearly the same.

S. Srinivas, R. V. Babu, "Data-free Parameter Pruning for Deep Neural Networks", BMVC 2015.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

import torch

from snnprune.config.schema import MethodConfig
from snnprune.methods.by_score import ByScore, Unit
from snnprune.methods.magnitude import MagnitudeCriterion
from snnprune.methods.units import columns, numbers, per_unit

if TYPE_CHECKING:
    from torch import Tensor

    from snnprune.network.topology import Population
    from snnprune.pruning.criterion import Criterion
    from snnprune.pruning.rule import UnitKind
    from snnprune.pruning.view import Decision, View

ALIKE = 1e-12
"""Squared distance, relative to the squared lengths, below which two units are the same: what rounding leaves
of a difference of products in float64."""


class TwinsCriterion(MagnitudeCriterion):
    """Scores a unit by what merging it into the unit nearest to it costs, and merges at the cut.

    With W_i all that makes unit i what it is, and a_i the weights with which others read it, the saliency of
    a pair is (equation 9 of the paper)::

        s_ij = <a_j^2> |W_i - W_j|^2

    The least of all pairs merges: a_i <- a_i + a_j, and j is gone. The next pair is looked for among those
    that are left. The score of a unit is the sum of the saliencies up to its own merge, so that the lowest
    scores are those that merge first. Units that die are merged in truth when the decision is taken, each
    into the nearest of those that stay. Twins that are equal merge without any change of the outputs.

    Single synapses are scored by |w|: redundancy says nothing of them.

    [reading] W_i are all parameters of a unit but the columns of its readers: rows, bias, norm, constants of
    its neuron. [reading] <a_j^2> is the sum, not the mean, over the readers, which is the same within a layer
    and does not change with the number of the dead. [reading] Saliencies add up, where the paper looks at the
    largest. Merging in the middle of training is ours; the paper prunes a trained network.
    """

    comparable: ClassVar[frozenset[UnitKind]] = frozenset({"synapse"})
    formerly: ClassVar[tuple[str, ...]] = ()

    @torch.no_grad()
    def unit_score(self, population: Population, view: View) -> Tensor:
        """Return the sum of saliencies up to each unit's merge, [size]; 0 for the dead."""
        alive = view.masks.units[population.name]
        living = alive.nonzero().squeeze(1)
        apart = distances(_made_of(population, view)[living])
        read = _read_by(population, view)[living]
        score = torch.zeros(population.size, dtype=read.dtype, device=read.device)
        score[living] = costs(apart, read)
        return score.to(
            view.model.get_parameter(view.topology.projections[population.producers[0]].weight).dtype
        )

    @torch.no_grad()
    def make_up(self, decision: Decision, view: View) -> dict[str, Tensor]:
        """Return the readers' weights with those of the dead added to those of their twins."""
        values: dict[str, Tensor] = {}
        for name, stays in decision.units.items():
            population, alive = view.topology.populations[name], view.masks.units[name]
            dying, staying = ((alive & which).nonzero().squeeze(1) for which in (~stays, stays))
            if not len(dying):
                continue
            made = _made_of(population, view)
            nearest = staying[distances(made[dying], made[staying]).argmin(1)]
            for slot in columns(population):
                weight = values.setdefault(slot.key, view.model.get_parameter(slot.key).detach().clone())
                entries = slot.run(population).per_unit(
                    torch.arange(weight.shape[slot.axis], device=weight.device)
                )
                for of, to in zip(entries[dying].T, entries[nearest].T, strict=True):
                    weight.index_add_(slot.axis, to, weight.index_select(slot.axis, of))
        return values


def _made_of(population: Population, view: View) -> Tensor:
    """Return W, [size, parameters of a unit]."""
    parameters = dict(view.model.named_parameters())
    own = [s for s in population.slots if s.role != "in" and s.key in parameters]
    return torch.cat([per_unit(parameters[s.key], s, population) for s in own], 1)


def _read_by(population: Population, view: View) -> Tensor:
    """Return a, [size, weights that read a unit]; ones where no layer reads it."""
    read = numbers(population, view, columns(population))
    if read is not None:
        return read
    like = view.masks.units[population.name]
    return torch.ones(population.size, 1, dtype=torch.float64, device=like.device)


def distances(a: Tensor, b: Tensor | None = None) -> Tensor:
    """Return the squared distances between rows, [rows of a, rows of b]; infinite from a row to itself.

    Args:
        a: [n, d].
        b: [m, d]; None: the same rows.
    """
    other = a if b is None else b
    lengths = a.square().sum(1).unsqueeze(1) + other.square().sum(1)
    apart = lengths - 2 * a @ other.T
    apart = apart.where(apart > ALIKE * lengths, 0.0)
    return apart if b is not None else apart.fill_diagonal_(torch.inf)


def costs(apart: Tensor, read: Tensor) -> Tensor:
    """Return, for each unit, the sum of the saliencies of all merges up to its own; the last ones stay.

    Args:
        apart: squared distances, [n, n], infinite on the diagonal.
        read: a, [n, weights that read a unit].

    Returns:
        [n]; the unit that is left at the end costs as much as the last merge.

    Examples:
        >>> import torch
        >>> from snnprune.methods.twins import costs, distances
        >>> made, read = torch.tensor([[0.0], [1.0], [3.0]]), torch.tensor([[1.0], [2.0], [1.0]])
        >>> costs(distances(made), read).tolist()  # 0 into 1 for 1; then 2 into 1 for 4 more; 1 is left
        [1.0, 5.0, 5.0]
    """
    apart, read = apart.clone(), read.clone()
    score, total = torch.zeros_like(apart[0]), apart.new_zeros(())
    left = torch.ones_like(score, dtype=torch.bool)
    weight = read.square().sum(1)
    near, twin = apart.min(1)
    for _ in range(len(read) - 1):
        saliency = (weight * near).where(left, torch.inf)
        gone = int(saliency.argmin())
        total = total + saliency[gone]
        score[gone], left[gone] = total, False
        into = int(twin[gone])
        read[into] += read[gone]
        weight[into] = read[into].square().sum()
        apart[:, gone] = torch.inf
        orphans = left & (twin == gone)
        if orphans.any():
            near[orphans], twin[orphans] = apart[orphans].min(1)
    score[left] = total
    return score


class Twins(ByScore):
    """Merges units that compute nearly the same, until the target is reached.

    Args:
        target: share of all weights to prune.
        unit: "neurons" and channels are merged; "synapses" are pruned by |w|; or "both".
        options: those of `ByScore`.

    Examples:
        >>> import torch
        >>> from torch import nn
        >>> import snnprune
        >>> model, x = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 2)), torch.rand(16, 4)
        >>> pruner = snnprune.Pruner(model, x, snnprune.methods.Twins(unit="neurons"), epochs=60)
        >>> same = snnprune.Pruner(model, x, "twins", epochs=60, unit="neurons")
    """

    criterion_class: ClassVar[type[Criterion]] = TwinsCriterion

    def __init__(
        self, target: float | None = MethodConfig.target, *, unit: Unit = "both", **options: Any
    ) -> None:
        super().__init__(target, unit=unit, **options)
