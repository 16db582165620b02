"""The folder of a run on disk: its record, checkpoints and lock.

It does not know how a run is trained.
"""

from snnprune.common.lazy import lazily

__getattr__, __dir__ = lazily(__name__)
