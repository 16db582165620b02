"""Several processes that train one network: what they add up, and norms that see the whole batch."""

from snnprune.processes.group import agree, count, from_first, is_first, number, summed
from snnprune.processes.norms import separate, synchronise

__all__ = ["agree", "count", "from_first", "is_first", "number", "separate", "summed", "synchronise"]
