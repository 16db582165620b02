"""Many runs side by side: a grid of methods, targets and seeds, and its comparison.

A cell is the folder of an ordinary run, trained in a process of its own. This room does not know how a run
trains.
"""

from snnprune.common.lazy import lazily

__getattr__, __dir__ = lazily(__name__)
