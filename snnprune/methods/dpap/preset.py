"""DPAP as the paper has it: one criterion, one rule, every constant by name."""

from __future__ import annotations

from typing import TYPE_CHECKING

from snnprune.config.schema import MethodConfig
from snnprune.methods.dpap.bcm import BCM
from snnprune.methods.dpap.survival import (
    EPSILON,
    GROWTH_CONV,
    GROWTH_LINEAR,
    Constants,
    SurvivalFunction,
)
from snnprune.pruning.method import CriterionMethod
from snnprune.pruning.target import Scope, Target, aim

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from snnprune.pruning.criterion import Criterion


def preset(
    target: float | None = MethodConfig.target,
    structured: float = MethodConfig.structured,
    *,
    target_macs: float | None = None,
    layers: Mapping[str, float] | None = None,
    scope: Scope = Target.scope,
    criterion: Callable[[float], Criterion] = BCM,
    tau: float = 0.5,
    epsilon: float = EPSILON,
    growth_conv: float = GROWTH_CONV,
    growth_linear: float = GROWTH_LINEAR,
    start: int = Constants.start,
    eta: float = Constants.eta,
    beta: float = Constants.beta,
    gamma: float = Constants.gamma,
    scale_to_epochs: bool = True,
    normalisation: str = "percentile",
    neurons: bool = True,
    synapses: bool = True,
) -> CriterionMethod:
    """Return DPAP with the paper's constants, any of them changed by name.

    Args:
        target: share of all weights to prune, reached by feedback; None: the paper's fixed epsilon.
        structured: how much of the target comes from channels and neurons (share of the log-survival).
        target_macs: share of all multiply-accumulates to prune, in place of ``target``.
        layers: shares of single layers by name or glob, within either target (see `Target`).
        scope: "local": all other layers give the same share; "global": the least important go, wherever
            they are (see `spread`).
        criterion: makes, from tau, what scores units; another one in place of `BCM` is an ablation.
        tau: decay of the spiking trace (equation 5).
        epsilon: threshold of the survival functions where there is no target (12, 13).
        growth_conv: C of convolutions (14).
        growth_linear: C of fully connected layers (15).
        start: epoch e0 of the first decision (16).
        eta: epochs of its decay (16).
        beta: survival at the start (17).
        gamma: decay of survival (16).
        scale_to_epochs: start, eta and beta are for 300 epochs and scale with the run; False: as given.
        normalisation: "percentile", "min-max" or "rank" (before 12).
        neurons: whether channels and neurons may die.
        synapses: whether single synapses of fully connected layers may die.

    Raises:
        ValueError: a target, share or constant outside its range, or no such normalisation.
    """
    for name, value, high in (
        ("tau", tau, 1.0),
        ("gamma", gamma, 1.0),
        ("eta", eta, None),
        ("beta", beta, None),
    ):
        if value <= 0 or (high is not None and value > high):
            raise ValueError(
                f"{name} has to be above 0{f' and at most {high:g}' if high else ''}, came {value}"
            )
    constants = Constants(start, eta, beta, gamma, Constants.epochs if scale_to_epochs else None)
    return CriterionMethod(
        criterion(tau),
        SurvivalFunction(epsilon, growth_conv, growth_linear, constants, normalisation),
        target=aim(target, target_macs, structured=structured, layers=layers, scope=scope),
        neurons=neurons,
        synapses=synapses,
    )
