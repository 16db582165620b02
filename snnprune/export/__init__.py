"""Write a trained network to files, read it back, and measure its answers and costs in any of these files.

It does not depend on how a network was trained.
"""

from snnprune.common.lazy import lazily
from snnprune.export.compact import load, save

__all__ = ["load", "save"]

__getattr__, __dir__ = lazily(__name__)
