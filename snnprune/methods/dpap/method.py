"""DPAP as in the paper: one criterion, one rule, every constant by name."""

from __future__ import annotations

from typing import TYPE_CHECKING, ClassVar, Unpack

from snnprune.config.schema import MethodConfig
from snnprune.methods.dpap.bcm import BCM, SpineCriterion
from snnprune.methods.dpap.survival import (
    ETA,
    GROWTH_CONV,
    GROWTH_LINEAR,
    NORMALISATION,
    Constants,
    SurvivalFunction,
)
from snnprune.pruning.aims import ScoredAimOptions, ScoredAims
from snnprune.pruning.criterion import Criterion
from snnprune.pruning.method import CriterionMethod
from snnprune.pruning.normalisation import Normalisation  # noqa: TC001 - options are read by their types

if TYPE_CHECKING:
    from collections.abc import Callable


class DPAP(ScoredAims, CriterionMethod):
    """Prunes units whose survival falls below zero; units with low scores lose survival every epoch.

    `BCM` scores synapses and neurons (equations 5 to 11), and a `SurvivalFunction` decides (12 to 17). The
    constants are the paper's; each may be changed by name.

    Args:
        target: share of all weights to prune, reached by feedback; None: the paper's fixed epsilon.
        criterion: scores units in place of ``criterion_class``: a class or function that makes a criterion
            from tau, or a `Criterion` with its own tau. Any criterion but BCM is an ablation.
        tau: decay of the spiking trace (equation 5).
        epsilon: threshold of the survival functions where there is no target (12, 13). None: the authors',
            0.65 in convolutions and 1.5 in fully connected layers.
        growth_conv: C of convolutions (14).
        growth_linear: C of fully connected layers (15).
        start: epoch e0 of the first decision (16).
        eta: number of epochs in which the strength of decisions decays to 1 / e (16). None: 20; with
            neither a target nor an epsilon the authors' staircases, 12 in convolutions and 13 in fully
            connected layers.
        beta: survival at the start (17).
        gamma: decay of survival (16).
        scale_to_epochs: start, eta and beta hold for 300 epochs and scale with the run; False: used as given.
        normalisation: of scores, before 12 and, with several layers in one ranking, before that: the name
            of a function in `snnprune.pruning.normalisation`. None: "percentile" and "norm".
        neurons: whether channels and neurons may be pruned.
        synapses: whether single synapses of fully connected layers may be pruned.
        aims: further targets, and how they are distributed: the options of `ScoredAims`.

    Attributes:
        criterion_class: the class of the criterion, made from tau; a subclass may name another one.

    Raises:
        ValueError: a target, share or constant outside its range, or an unknown normalisation.
        TypeError: ``criterion`` is neither a `Criterion` nor makes one.

    Examples:
        >>> import torch
        >>> from torch import nn
        >>> import snnprune
        >>> model, x = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 2)), torch.rand(16, 4)
        >>> pruner = snnprune.Pruner(model, x, snnprune.methods.DPAP(target=0.6), epochs=60)
        >>> same = snnprune.Pruner(model, x, "dpap", epochs=60, target=0.6)
    """

    criterion_class: ClassVar[type[SpineCriterion]] = BCM
    formerly: ClassVar[tuple[str, ...]] = ("CriterionMethod",)

    def __init__(
        self,
        target: float | None = MethodConfig.target,
        *,
        criterion: Criterion | Callable[[float], Criterion] | None = None,
        tau: float = 0.5,
        epsilon: float | None = None,
        growth_conv: float = GROWTH_CONV,
        growth_linear: float = GROWTH_LINEAR,
        start: int = Constants.start,
        eta: float | None = Constants.eta,
        beta: float = Constants.beta,
        gamma: float = Constants.gamma,
        scale_to_epochs: bool = True,
        normalisation: Normalisation | None = None,
        neurons: bool = True,
        synapses: bool = True,
        **aims: Unpack[ScoredAimOptions],
    ) -> None:
        for name, value, high in (
            ("tau", tau, 1.0),
            ("gamma", gamma, 1.0),
            ("eta", eta, None),
            ("beta", beta, None),
        ):
            if value is None:
                continue
            if value <= 0 or (high is not None and value > high):
                raise ValueError(
                    f"{name} has to be above 0{f' and at most {high:g}' if high else ''}, came {value}"
                )
        scorer = self.criterion_class if criterion is None else criterion
        scorer = scorer(tau) if callable(scorer) else scorer
        if not isinstance(scorer, Criterion):
            raise TypeError(
                "criterion must be a Criterion, or a class or function that makes one from tau, "
                f"came {scorer!r}"
            )
        ScoredAims.__init__(self, target, normalisation=normalisation, **aims)
        if eta is None and (self.targets or epsilon is not None):
            eta = ETA
        constants = Constants(start, eta, beta, gamma, Constants.epochs if scale_to_epochs else None)
        CriterionMethod.__init__(
            self,
            scorer,
            SurvivalFunction(epsilon, growth_conv, growth_linear, constants, normalisation or NORMALISATION),
            target=self.targets,
            neurons=neurons,
            synapses=synapses,
        )
