"""Networks: fused neurons with the same spikes as SpikingJelly's, and the papers' models.

It does not depend on pruning or on any data set.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from snnprune.nn.recurrent import Recurrent
    from snnprune.nn.rnn import RNN, RNNCell
else:
    from snnprune.common.lazy import lazily

    __getattr__, __dir__ = lazily(
        __name__, {"snnprune.nn.recurrent": ("Recurrent",), "snnprune.nn.rnn": ("RNN", "RNNCell")}
    )

__all__ = ["RNN", "RNNCell", "Recurrent"]
