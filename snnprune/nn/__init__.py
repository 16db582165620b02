"""Networks: fused neurons that spike as SpikingJelly's do, and the papers' models.

It knows no pruning and no data set.
"""

from snnprune.common.lazy import lazily

__getattr__, __dir__ = lazily(__name__)
