"""The configuration of a run: the schema of its settings, reading, checks, and names.

It does not know how a run trains or prunes.
"""

from snnprune.common.lazy import lazily

__getattr__, __dir__ = lazily(__name__)
