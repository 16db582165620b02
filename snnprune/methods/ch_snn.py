"""CH-SNN: links die by lot where they carry little, and grow where short paths suggest them; no gradients.

Y. Hua, J. Zhang, Y. Zhang, W. Gu, L. You, B. Xiong, C. V. Cannistraci, H. Chen, "Cannistraci-Hebb Training on
Ultra-Sparse Spiking Neural Networks", ICLR 2026, arXiv 2511.05581. CH3-L3: A. Muscoloni, U. Michieli, C. V.
Cannistraci, "Adaptive Network Automata Modelling of Complex Networks", 2020; in training: Y. Zhang et al.,
"Epitopological Learning and Cannistraci-Hebb Network Shape Intelligence", ICLR 2024.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Unpack

import torch

from snnprune.config.schema import MethodConfig
from snnprune.methods.growing import LAST, GrowingMethod, Scope, Start, check_shares, highest, lots_of
from snnprune.pruning.aims import FurtherTargets  # noqa: TC001 - options are read by their types
from snnprune.pruning.chains import connected
from snnprune.pruning.rule import lowest
from snnprune.pruning.view import Decision

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import Tensor

    from snnprune.network.topology import Projection
    from snnprune.pruning.view import View


WORK = 6e10
"""Multiply-adds that the scores of all layers together take at most in a decision: some four seconds on a
core, in float32. The paper's networks take no more than that."""


class CHSNN(GrowingMethod):
    """Removes links by lot, units that are left without links, and grows links by CH3-L3.

    A link joins two neurons; in a convolution a channel and one place in the kernel of a channel before it
    [reading]: whole kernels as links leave most channels without any at 98 % pruned, so that chains of them
    die. After each epoch, in each layer::

        s = |w| / (1 + sum of |w| of its row) + |w| / (1 + sum of |w| of its column)

    and the share zeta of the links dies, drawn without replacement with a chance in proportion to
    s^(-d / (1 - d)), where d rises from 0.5 to 0.9 with the progress [reading: the soft rule of the same
    group's other work; the paper's own schedule is not known here]. Then units without a living synapse on
    one side die for good, with those that they leave alone. As many links grow as are missing: those with
    the highest `ch3_l3`; ties, as where no path leads, are broken at random. Links that have just died do not
    grow at once, unless places are few [reading].

    What dies with units that the output reads comes on top of the target. In a network so large that the
    scores would take more than `WORK`, the same share of the rows of each layer is scored, drawn anew in each
    epoch, and all others tie [reading].

    [reading] The first links are drawn at random, not by the correlation of inputs (the paper's SSCTI), and
    the first weights keep the variance of currents by ``rescale`` (in place of the paper's SSWI).

    Args:
        target: share of all weights to prune.
        zeta: share of the living links that is replaced after each epoch. 0.3, as in the group's public code.
        chains: whether units that are left without synapses on one side die.
        scope: "erk" or "local".
        initial_density: share of the synapses alive at the start; None: constant, as in the paper.
        last: share of the run after which nothing is rewired any more.
        first_weight: of a synapse that grows: "zero" or "drawn".
        rescale: keep the variance of currents of the dense network at the start.
        aims: further targets: the options of `Aims`.

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
        zeta: float = 0.3,
        chains: bool = True,
        scope: Scope = "erk",
        initial_density: float | None = None,
        last: float = LAST,
        first_weight: Start = "zero",
        rescale: bool = True,
        **aims: Unpack[FurtherTargets],
    ) -> None:
        super().__init__(
            target,
            scope=scope,
            initial_density=initial_density,
            last=last,
            first_weight=first_weight,
            rescale=rescale,
            **aims,
        )
        check_shares(zeta=zeta)
        self.zeta, self.chains = zeta, chains

    @torch.no_grad()
    def end_epoch(self, view: View, metrics: Mapping[str, float] | None) -> Decision:  # noqa: ARG002
        """Remove links, then units without links, and grow as many links as are missing."""
        if not self.grows_after(view.clock):
            return Decision()
        progress, before, kept = self.progress_after(view.clock), {}, {}
        for p, weight in self.weights(view):
            links, lot = view.masks.alive(p), lots_of(view, p)
            dying, _ = self.counts(view, p, self.zeta, progress)
            score = removal_score(weight.abs().flatten(1)).view(weight.shape)
            before[p.name], kept[p.name] = links, links & ~drawn(score, links, lot, dying, progress)
        units = connected(view.masks, kept, spared=self.spared(view)) if self.chains else {}
        after = view.masks.after(units, kept)
        share = WORK / max(sum(_work(after.alive(p)) for p, _ in self.weights(view)), WORK)
        stays = {}
        for p, weight in self.weights(view):
            links, lot = after.alive(p), lots_of(view, p)
            missing = self.wanted(view, p, progress) - int(links.sum())
            groups = getattr(view.model.get_submodule(p.name), "groups", 1)
            rows = self._scored(view, p, links, share)
            score = ch3_l3(links.flatten(1), groups, weight.dtype, rows).view(weight.shape)
            places = after.between(p) & ~links
            grown = highest(score, lot, places & ~before[p.name], missing)
            stays[p.name] = links | grown
            stays[p.name] |= highest(score, lot, places & ~grown, missing - int(grown.sum()))
        decision = self.rewired(kept, stays)
        decision.units.update(units)
        return decision

    def _scored(self, view: View, projection: Projection, links: Tensor, share: float) -> Tensor:
        """Return, bool [rows], the rows whose links are scored: a random share of those that have any."""
        drawn_rows = torch.rand(view.dense.projections[projection.name].shape[0], generator=view.generator)
        lot = drawn_rows[view.survivors.cut(view.dense).post(projection.name)].to(links.device)
        linked = links.flatten(1).any(1)
        return lowest(lot, lot, linked, max(math.floor(share * int(linked.sum())), 1))


def _work(links: Tensor) -> float:
    """Return how many multiply-adds the scores of all rows of a layer take."""
    flat = links.flatten(1)
    return 2.0 * int(flat.sum()) * int(flat.any(1).sum()) * int(flat.any(0).sum())


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


def ch3_l3(
    links: Tensor, groups: int = 1, dtype: torch.dtype = torch.float64, rows: Tensor | None = None
) -> Tensor:
    """Return the score of each link that is not there, by the paths of three links between its ends.

    With N(v) the neighbours of v in the graph of the layer, for u before and v behind::

        CH3-L3(u, v) = sum over z1 in N(u), z2 in N(v) that are linked of
                       1 / sqrt((1 + e(z1)) (1 + e(z2)))

    where e(z) counts the links of z that lead neither to u or v nor to a node on any such path. [reading] All
    neighbours of z1 that are also neighbours of v are on one, so that e(z1) = deg(z1) - 1 - |N(z1) and N(v)|,
    and so for z2 and u: both depend on one end only. Links that are there score 0.

    Each row takes two products of [its links, rows] x [rows, columns].

    Args:
        links: bool [rows, columns].
        groups: blocks of rows with columns of their own, as in a convolution with groups.
        dtype: of the scores.
        rows: bool [rows], those whose links are scored; the others score 0. None: all.

    Returns:
        [rows, columns] on the device of ``links``.

    Examples:
        >>> import torch
        >>> from snnprune.methods.ch_snn import ch3_l3
        >>> ch3_l3(torch.tensor([[True, True], [True, False]]))  # one path, and no link leads elsewhere
        tensor([[0., 0.],
                [0., 1.]], dtype=torch.float64)
    """
    if groups > 1:
        asked = [None] * groups if rows is None else rows.chunk(groups)
        blocks = zip(links.chunk(groups), asked, strict=True)
        return torch.cat([ch3_l3(block, 1, dtype, own) for block, own in blocks])
    a = links.to(dtype)
    of_rows, of_columns = a.sum(1), a.sum(0)
    score = torch.zeros_like(a)
    for v in range(len(a)) if rows is None else rows.nonzero().flatten().tolist():
        near = links[v].nonzero().squeeze(1)
        behind = a[:, near].T  # [z2, z1]
        before = (of_rows - a @ a[v]).clamp_min(1.0).rsqrt()  # 1 / sqrt(1 + e(z1)), [z1]
        columns = (
            (of_columns[near].unsqueeze(1) - behind @ a).clamp_min(1.0).rsqrt()
        )  # the same of z2, [z2, u]
        score[v] = ((behind * before) @ a).mul_(columns).sum(0)
    return score.masked_fill_(links, 0.0)
