"""Many runs side by side: a grid of methods, targets and seeds, and what may be said of it.

A cell is the folder of an ordinary run in a process of its own. It does not know how a run trains.
"""

from snnprune.common.lazy import lazily

__getattr__, __dir__ = lazily(__name__)
