"""Write a trained network to files, read it back, and measure its answers and costs in any of these files.

It does not depend on how a network was trained. Modules are imported on first use: a list of connections
runs without torch.
"""

from typing import TYPE_CHECKING

from snnprune.common.lazy import lazily

if TYPE_CHECKING:
    from snnprune.export.compact import load, save
else:
    __getattr__, __dir__ = lazily(__name__, {"snnprune.export.compact": ["load", "save"]})

__all__ = ["load", "save"]
