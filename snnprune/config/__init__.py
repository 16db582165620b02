"""What a run is asked to do: the schema of its settings, how they are read and checked, and names.

It does not know how anything is done.
"""

from snnprune.common.lazy import lazily

__getattr__, __dir__ = lazily(__name__)
