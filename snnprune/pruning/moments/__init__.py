"""What an optimiser keeps of each weight: found out once, then masked and cut with it."""

from __future__ import annotations

from snnprune.pruning.moments.moments import Moments, moments_of, outermost

__all__ = ["Moments", "moments_of", "outermost"]
