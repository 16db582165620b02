"""DPAP's parts at the place where its users look for them; they live in `snnprune.methods.dpap`."""

from snnprune.methods.dpap import (
    BCM,
    DPAP,
    SpineCriterion,
    SurvivalFunction,
    min_max,
    percentile,
    rank,
    spiking_trace,
)

__all__ = [
    "BCM",
    "DPAP",
    "SpineCriterion",
    "SurvivalFunction",
    "min_max",
    "percentile",
    "rank",
    "spiking_trace",
]
