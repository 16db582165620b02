"""Leaky integrators: readouts that answer with their potentials and do not spike."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from torch import nn


def is_integrator(module: nn.Module | None) -> bool:
    """Tell whether ``module`` is a layer of leaky integrators."""
    place = sys.modules.get("snnprune.nn.models.integrator")  # a network that has one has imported it
    return place is not None and isinstance(module, place.LeakyIntegrator)
