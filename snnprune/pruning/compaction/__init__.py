"""Really smaller, with the same outputs: the dead are proved silent and taken out of every tensor."""

from snnprune.pruning.compaction.compacting import compact
from snnprune.pruning.compaction.cut import Cut
from snnprune.pruning.compaction.verification import Agreement, verify

__all__ = ["Agreement", "Cut", "compact", "verify"]
