"""DPAP's parts at the place where its users look for them; they live in `snnprune.methods.dpap`."""

from snnprune.methods.dpap import BCM, SurvivalFunction, min_max, percentile, preset, rank, spiking_trace

__all__ = ["BCM", "SurvivalFunction", "min_max", "percentile", "preset", "rank", "spiking_trace"]
