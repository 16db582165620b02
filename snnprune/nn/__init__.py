"""Networks: fused neurons with the same spikes as SpikingJelly's, and the papers' models.

It does not depend on pruning or on any data set.
"""

from snnprune.common.lazy import lazily

__getattr__, __dir__ = lazily(__name__)
