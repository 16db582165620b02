"""Pages and pictures of the folder of a run or a bench, from its files alone.

It does not know how a run trains.
"""

from snnprune.common.lazy import lazily

__getattr__, __dir__ = lazily(__name__)
