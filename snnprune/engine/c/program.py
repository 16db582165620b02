"""From a plan to the parts of a program in C."""

from __future__ import annotations

from typing import TYPE_CHECKING

from snnprune.engine.c.bounds import values_of
from snnprune.engine.c.direct import direct
from snnprune.engine.c.groups import GroupWriter
from snnprune.engine.c.memory import function_text
from snnprune.engine.c.parts import Program, row_name
from snnprune.engine.c.schedule import schedule
from snnprune.engine.c.values import real_of
from snnprune.engine.plan import INPUT, Neurons

if TYPE_CHECKING:
    from snnprune.engine.c.schedule import Group
    from snnprune.engine.plan import Plan


def program(plan: Plan, *, counts: bool) -> Program:
    """Write the functions of a plan, and what a time step calls.

    Args:
        plan: the network.
        counts: whether the input is counts of events; else it is real.

    Raises:
        UserError: a node that cannot be computed exactly in C.
    """
    plan = direct(plan)
    values = values_of(plan, counts=counts)
    made = Program(plan, real_of(plan), values, schedule(plan, values))
    for name, kind, count, owner in made.order.arrays:
        made.memory.state(name, kind, count, None if owner == INPUT else owner, rest=owner is not None)
    for owner, copy in made.order.copied.items():
        own = made.order.kept[owner]
        made.calls.append(f"(void)memcpy({copy.array}, {own.array}, sizeof {copy.array});")
    for group in made.order.groups:
        _add(made, group)
    for (kind, number), count in made.rows.items():
        made.memory.state(row_name(kind, number), kind, count, rest=False)
    return made


def _add(made: Program, group: Group) -> None:
    """Write the function of a group, and its call."""
    node, name = made.plan.nodes[group.root], made.order.names[group.root]
    members = ", ".join(f"'{made.plan.nodes[place].name}'" for place in group.members)
    about = f"/* {members.replace('*/', '* /').replace('/*', '/ *')} */"
    lines = GroupWriter(made, group).lines()
    made.functions.append(function_text(f"static void compute_{name}(void)", lines, about))
    made.calls.append(f"compute_{name}();")
    if isinstance(node, Neurons):
        kept = made.order.kept[group.root]
        made.calls.append(f"WATCH({kept.at()}, {kept.count});")
        made.watched.append((node.name, kept))
