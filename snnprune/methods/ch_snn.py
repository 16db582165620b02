"""CH-SNN: links die by lot where they carry little, and grow where short paths suggest them; no gradients.

Y. Hua, J. Zhang, Y. Zhang, W. Gu, L. You, B. Xiong, C. V. Cannistraci, H. Chen, "Cannistraci-Hebb Training on
Ultra-Sparse Spiking Neural Networks", ICLR 2026, arXiv 2511.05581. CH3-L3: A. Muscoloni, U. Michieli, C. V.
Cannistraci, "Adaptive Network Automata Modelling of Complex Networks", 2020; in training: Y. Zhang et al.,
"Epitopological Learning and Cannistraci-Hebb Network Shape Intelligence", ICLR 2024.
"""

from __future__ import annotations

import copy
import math
from typing import TYPE_CHECKING

import torch

from snnprune.config.schema import MethodConfig
from snnprune.methods.growing import (
    FLOOR,
    LAST,
    Distribution,
    GrowingMethod,
    Start,
    at_random,
    check_shares,
    highest,
    lots_of,
)
from snnprune.pruning.chains import connected
from snnprune.pruning.rule import lowest
from snnprune.pruning.view import Decision

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import Tensor

    from snnprune.network.topology import Projection
    from snnprune.pruning.view import View


class CHSNN(GrowingMethod):
    """Removes links by lot, units that are left without links, and grows links by CH3-L3.

    A link joins two neurons, or in a convolution two channels with a whole kernel [reading]; |w| is then the
    sum over the kernel. After each epoch, in each layer::

        s = |w| / (1 + sum of |w| of its row) + |w| / (1 + sum of |w| of its column)

    and the share zeta of the links dies, drawn without replacement with a chance in proportion to
    s^(-d / (1 - d)), where d rises from 0.5 to 0.9 with the progress [reading: the soft rule of the same
    group's other work; the paper's own schedule is not known here]. Then units without a living synapse on
    one side die for good, with those that they leave alone. As many links grow as are missing: those with
    the highest `ch3_l3`; ties, as where no path leads, are broken at random. Links that have just died do not
    grow at once, unless places are few [reading].

    What dies with units that the output reads comes on top of the target.

    [reading] The first links are drawn at random, not by the correlation of inputs (the paper's SSCTI), and
    the first weights keep the variance of currents by ``rescale`` (in place of the paper's SSWI).

    Args:
        target: share of all weights to prune.
        target_macs: share of all multiply-accumulates to prune, in place of ``target``.
        layers: shares of single layers by name or glob, within either target.
        floor: smallest share of its synapses that every layer keeps (see `Target`).
        zeta: share of the living links that is replaced after each epoch. 0.3, as in the group's public code.
        chains: whether units that are left without synapses on one side die.
        distribution: "erk" or "uniform".
        initial_density: share of the synapses alive at the start; None: constant, as in the paper.
        last: share of the run after which nothing is rewired any more.
        first_weight: of a synapse that grows: "zero" or "drawn".
        rescale: keep the variance of currents of the dense network at the start.

    Raises:
        ValueError: no target, or a share outside its range.

    Examples:
        >>> import torch
        >>> from torch import nn
        >>> import snnprune
        >>> model, x = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 2)), torch.rand(16, 4)
        >>> pruner = snnprune.Pruner(model, x, snnprune.methods.CHSNN(target=0.6), epochs=60)
        >>> same = snnprune.Pruner(model, x, "ch-snn", epochs=60, target=0.6)
    """

    def __init__(
        self,
        target: float | None = MethodConfig.target,
        *,
        target_macs: float | None = None,
        layers: Mapping[str, float] | None = None,
        floor: float = FLOOR,
        zeta: float = 0.3,
        chains: bool = True,
        distribution: Distribution = "erk",
        initial_density: float | None = None,
        last: float = LAST,
        first_weight: Start = "zero",
        rescale: bool = True,
    ) -> None:
        super().__init__(
            target,
            target_macs=target_macs,
            layers=layers,
            floor=floor,
            distribution=distribution,
            initial_density=initial_density,
            last=last,
            first_weight=first_weight,
            rescale=rescale,
        )
        check_shares(zeta=zeta)
        self.zeta, self.chains = zeta, chains

    def sample(self, view: View, projection: Projection, share: float) -> Tensor:
        """Return, bool, a random ``share`` of a layer's links."""
        lot = self._link_lots(view, projection)
        links = at_random(lot, math.floor(share * lot.numel()) / lot.numel())
        return of_links(links, view.model.get_parameter(projection.weight))

    @torch.no_grad()
    def end_epoch(self, view: View, metrics: Mapping[str, float] | None) -> Decision:  # noqa: ARG002
        """Remove links, then units without links, and grow as many links as are missing."""
        if not self.grows_after(view.clock):
            return Decision()
        progress, before, kept = self.progress_after(view.clock), {}, {}
        for p, weight in self.weights(view):
            links = links_of(view.masks.alive(p))
            count, wanted = int(links.sum()), self._wanted(view, p, progress)
            dying = max(round(self.zeta * count), count - wanted)
            score = removal_score(links_of(weight.abs()))
            dead = drawn(score, links, self._link_lots(view, p), dying, progress)
            before[p.name], kept[p.name] = links, of_links(links & ~dead, weight)
        units = connected(view.masks, kept) if self.chains else {}
        after = copy.copy(view.masks)
        after.units, after.synapses = {**view.masks.units, **units}, {**view.masks.synapses, **kept}
        stays = {}
        for p, weight in self.weights(view):
            links, places = links_of(after.alive(p)), links_of(after.between(p))
            missing = self._wanted(view, p, progress) - int(links.sum())
            groups = getattr(view.model.get_submodule(p.name), "groups", 1)
            score, lot = ch3_l3(links, groups), self._link_lots(view, p)
            grown = highest(score, lot, places & ~before[p.name], missing)
            grown |= highest(score, lot, places & ~links & ~grown, missing - int(grown.sum()))
            stays[p.name] = of_links(links | grown, weight)
        decision = self.rewired(kept, stays)
        decision.units.update(units)
        return decision

    def _wanted(self, view: View, projection: Projection, progress: float) -> int:
        """Return how many links of a layer should be alive, at most all between living units."""
        rows, columns = view.dense.projections[projection.name].shape[:2]
        return max(math.floor(self.density(view, projection, progress) * rows * columns), 1)

    def _link_lots(self, view: View, projection: Projection) -> Tensor:
        """Return a number in [0, 1) per link, [rows, columns]."""
        lot = lots_of(view, projection)
        return lot.flatten(2)[:, :, 0] if lot.ndim > 2 else lot


def links_of(synapses: Tensor) -> Tensor:
    """Return [rows, columns] of values per synapse: their sum over a kernel, or whether any is True."""
    flat = synapses.flatten(2) if synapses.ndim > 2 else synapses.unsqueeze(2)
    return flat.any(2) if synapses.dtype == torch.bool else flat.sum(2)


def of_links(links: Tensor, like: Tensor) -> Tensor:
    """Return values per link, [rows, columns], for each of its synapses, in the shape of ``like``."""
    return links.view(*links.shape, *[1] * (like.ndim - 2)).expand(like.shape)


def removal_score(magnitude: Tensor) -> Tensor:
    """Return |w| / (1 + its row's sum) + |w| / (1 + its column's sum), for |w| in [rows, columns].

    Examples:
        >>> import torch
        >>> from snnprune.methods.ch_snn import removal_score
        >>> removal_score(torch.tensor([[1.0, 3.0], [0.0, 1.0]]))  # 1/5 + 1/2, 3/5 + 3/5; 0, 1/2 + 1/5
        tensor([[0.7000, 1.2000],
                [0.0000, 0.7000]])
    """
    return magnitude / (1.0 + magnitude.sum(1, keepdim=True)) + magnitude / (1.0 + magnitude.sum(0))


def drawn(score: Tensor, among: Tensor, lot: Tensor, count: int, progress: float) -> Tensor:
    """Return, bool, ``count`` entries of ``among``, drawn without replacement.

    The chance of each draw is in proportion to score^(-d / (1 - d)), d from 0.5 to 0.9 with ``progress``. By
    the Gumbel trick, those with the largest log of it minus log(-log(lot)) are such a draw.

    Args:
        score: positive, or 0 for what is drawn first.
        among: which entries may be drawn.
        lot: independent numbers in [0, 1).
        count: how many are drawn.
        progress: in [0, 1].
    """
    softness = 0.5 + 0.4 * progress
    tiny = torch.finfo(torch.float64).tiny
    number = lot.double().clamp(tiny, 1.0 - torch.finfo(torch.float64).eps)
    chance = -softness / (1.0 - softness) * score.double().clamp_min(tiny).log()
    return lowest(-(chance - (-number.log()).log()), lot, among, count)


def ch3_l3(links: Tensor, groups: int = 1) -> Tensor:
    """Return the score of each link that is not there, by the paths of three links between its ends.

    With N(v) the neighbours of v in the graph of the layer, for u before and v behind::

        CH3-L3(u, v) = sum over z1 in N(u), z2 in N(v) that are linked of
                       1 / sqrt((1 + e(z1)) (1 + e(z2)))

    where e(z) counts the links of z that lead neither to u or v nor to a node on any such path. [reading] All
    neighbours of z1 that are also neighbours of v are on one, so that e(z1) = deg(z1) - 1 - |N(z1) and N(v)|,
    and so for z2 and u: both depend on one end only. Links that are there score 0.

    Time is that of nnz products of [rows] x [rows, columns].

    Args:
        links: bool [rows, columns].
        groups: blocks of rows with columns of their own, as in a convolution with groups.

    Returns:
        float64 [rows, columns] on the device of ``links``.

    Examples:
        >>> import torch
        >>> from snnprune.methods.ch_snn import ch3_l3
        >>> ch3_l3(torch.tensor([[True, True], [True, False]]))  # one path, and no link leads elsewhere
        tensor([[0., 0.],
                [0., 1.]], dtype=torch.float64)
    """
    if groups > 1:
        return torch.cat([ch3_l3(block) for block in links.chunk(groups)])
    a = links.double()
    of_rows = (a.sum(1, keepdim=True) - a @ a.T).clamp_min(1.0).rsqrt()  # 1 / sqrt(1 + e(z1)), [z1, v]
    of_columns = (a.sum(0).unsqueeze(1) - a.T @ a).clamp_min(1.0).rsqrt()  # 1 / sqrt(1 + e(z2)), [z2, u]
    score = torch.zeros_like(a)
    for v in range(len(a)):
        near = links[v].nonzero().squeeze(1)
        paths = (a[:, near].T * of_rows[:, v]) @ a  # [z2, u]
        score[v] = (paths * of_columns[near]).sum(0)
    return score.masked_fill(links, 0.0)
