"""SpikingJelly's modules, where they were imported: a network that has its layers has imported them."""

from __future__ import annotations

import sys
from typing import Any


def spikingjelly(place: str) -> Any:
    """Return the module ``place`` of SpikingJelly, None if nobody has imported it: that would take long."""
    return sys.modules.get(f"spikingjelly.activation_based.{place}")
