"""What a network may do with other inputs than the example, where its way depends on values.

As long as no value reaches Python, the operations of a forward are the same for every input of a shape. Once
Python has seen one (`if x.mean() > 0.1`, a loop until it is sure, experts that are chosen), another input may
go another way. A layer that the example did not reach may then read any population, and its columns would
not be there to be masked or cut.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from snnprune.network.findings import Findings


def freeze_branches(found: Findings) -> None:
    """Freeze all populations where values were looked at and a module is left of which nothing was read."""
    unread = found.provenance.unread()
    if found.look is not None and unread:
        reason = (
            f"{unread[0]} was not reached by the example and may read it: "
            f"which way an input goes depends on values ({found.look})"
        )
        found.units.freeze(found.units.roots(), reason)
