"""Training under Lightning, from a configuration to a finished folder; `callbacks` and `distributed` inside.

It does not know the command line.
"""

from snnprune.common.lazy import lazily

__getattr__, __dir__ = lazily(__name__)
