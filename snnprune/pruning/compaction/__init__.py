"""A smaller network with the same outputs: dead units are proved silent and removed from every tensor."""

from snnprune.network.cut import Cut
from snnprune.pruning.compaction.compacting import compact
from snnprune.pruning.compaction.verification import Agreement, verify

__all__ = ["Agreement", "Cut", "compact", "verify"]
