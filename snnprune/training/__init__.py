"""Training with Lightning, from a configuration to a finished run folder; with `callbacks` and `distributed`.

It does not depend on the command line.
"""

from snnprune.common.lazy import lazily

__getattr__, __dir__ = lazily(__name__)
