"""The parts of a program in C, while it is written."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from snnprune.engine.c.memory import Memory
from snnprune.engine.c.tables import NIBBLES
from snnprune.engine.c.terms import FUNCTIONS

if TYPE_CHECKING:
    from snnprune.engine.c.schedule import Kept, Schedule
    from snnprune.engine.c.tables import Table
    from snnprune.engine.c.values import Values
    from snnprune.engine.plan import Plan


@dataclass
class Program:
    """The parts of a program.

    Attributes:
        plan: the network, as `snnprune.engine.c.direct.direct` returns it.
        real: C type of reals.
        values: what each node hands on.
        order: what is computed when.
        memory: constants and states.
        functions: text of the functions, in the order of their calls.
        calls: statements of a time step.
        notes: what a user has to know.
        watched: neurons in the order in which they are computed: name, and where their spikes are.
        tables: how the weights of each layer are written, by its place.
        rows: length of the arrays for rows of currents, by C type and number; all groups share them.
    """

    plan: Plan
    real: str
    values: dict[int, Values]
    order: Schedule
    memory: Memory = field(default_factory=Memory)
    functions: list[str] = field(default_factory=list)
    calls: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    watched: list[tuple[str, Kept]] = field(default_factory=list)
    tables: dict[int, Table] = field(default_factory=dict)
    rows: dict[tuple[str, int], int] = field(default_factory=dict)

    def row(self, kind: str, number: int, count: int) -> str:
        """Return the name of an array for a row of ``count`` currents, the ``number``-th of its group."""
        self.rows[kind, number] = max(self.rows.get((kind, number), 0), count)
        return row_name(kind, number)

    @property
    def helpers(self) -> list[str]:
        """Functions that others call, in the order of their definitions."""
        called, chosen = "\n".join(self.functions), []
        for name in reversed(FUNCTIONS):
            if re.search(rf"\b{name}\(", called):
                chosen.append(FUNCTIONS[name])
                called += FUNCTIONS[name]
        return [NIBBLES] * bool(re.search(r"\bnibble\(", called)) + chosen[::-1]


def row_name(kind: str, number: int) -> str:
    """Return the name of an array for a row of currents."""
    return f"row_{kind.removesuffix('_t')}_{number}"
