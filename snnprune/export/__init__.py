"""A trained network as a file for others, and back; what it answers and costs, in any of its files.

It does not know how a network was trained.
"""

from snnprune.common.lazy import lazily
from snnprune.export.compact import load, save

__all__ = ["load", "save"]

__getattr__, __dir__ = lazily(__name__)
