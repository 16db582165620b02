"""The comment at the beginning of a source file: what the network is, what it takes, how it is called."""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING

import numpy as np

from snnprune.engine.c.interface import classes
from snnprune.engine.plan import Layer

if TYPE_CHECKING:
    from collections.abc import Iterable

    from snnprune.engine.c.parts import Program

WIDTH = 110


def head(name: str, made: Program, notes: Iterable[str], *, counts: bool, bin_us: int | None) -> str:
    """Return the comment.

    Args:
        name: prefix of all names.
        made: the program, complete.
        notes: further sentences.
        counts: whether the input is counts of events.
        bin_us: length of a time step in microseconds; None where there are no events.
    """
    plan, (flash, ram) = made.plan, made.memory.totals
    channels, height, width = plan.shape
    layers = [node for node in plan.nodes if isinstance(node, Layer)]
    size = sum(node.weights.size for node in layers)
    alive = sum(np.count_nonzero(node.weights) for node in layers)
    numbers = f"{made.real}, each operation rounded by itself"
    if plan.bits is not None:
        numbers = f"whole numbers: weights of {plan.bits} bits, potentials with 16 binary places"
    what = "counts" if counts else "values"
    if bin_us is not None:
        what = f"counts of events in {bin_us:,} us"
    lines = [
        f"{name}: a spiking network that snnprune wrote. C99; it needs memset and memcpy of string.h alone.",
        "",
        f"Time step  {channels} x {height} x {width} (channels, height, width): {what}",
        f"Answer     {classes(made)} scores: {_OVER_TIME[plan.over_time]}",
        f"Numbers    {numbers}",
        f"Weights    {alive:,} of {size:,} are not zero",
        f"Flash      {flash:,} bytes of constants, and the code",
        f"RAM        {ram:,} bytes of static data, and the stack of one call",
        "",
        *_table(made),
        "",
        *_calls(name, counts=counts, events=bin_us is not None),
    ]
    for note in [*made.notes, *notes]:
        lines += ["", *textwrap.wrap(note, WIDTH - 3)]
    if made.watched:
        order = ", ".join(f"{layer} ({kept.count})" for layer, kept in made.watched)
        about = f"Compiled with -D{name}_MAIN it has a main function. {_MAIN} {order}."
        lines += ["", *textwrap.wrap(about, WIDTH - 3)]
    body = "\n".join(f"   {line}".rstrip() for line in lines).replace("*/", "* /").replace("/*", "/ *")
    return f"/* {body[3:]} */\n"


_OVER_TIME = {
    "mean": "the mean of the outputs over all time steps",
    "max": "the largest output of all time steps",
    "last": "the outputs of the last time step",
}

_MAIN = (
    "It reads events from standard input (13 bytes each, packed, little endian: int64 t, uint16 x, uint16 y, "
    "uint8 p) and prints class and scores. With 'frames T' it reads T frames for each answer, and with "
    "'spikes T' it writes, for each step, a byte for each neuron, then the outputs. The layers of neurons, "
    "each in the order height, width, channels:"
)


def _calls(name: str, *, counts: bool, events: bool) -> list[str]:
    lines = [f"{name}_score scores[{name}_CLASSES];"]
    if events:
        return [
            *lines,
            f"{name}_reset();",
            f"{name}_push(x, y, p, t);               for each event: column, row, channel, microseconds",
            f"{name}_finish();                       at the end of a recording",
            f"best = {name}_answer(scores);          at any time",
            "",
            f"Frames that are there need no push and no finish: {name}_add(place, count) for each place with",
            f"events, then {name}_step(), once for each time step, also for silent ones.",
        ]
    return [
        *lines,
        f"{name}_reset();",
        f"{name}_add(place, {'count' if counts else 'value'});    for each place, then",
        f"{name}_step();                  for each time step",
        f"best = {name}_answer(scores);",
    ]


def _table(made: Program) -> list[str]:
    """Return bytes layer by layer."""
    rows = [("layer", "weights", "table", "flash", "RAM")]
    for place, node in enumerate(made.plan.nodes):
        flash, ram = made.memory.sizes(place)
        weights, table = "", ""
        if isinstance(node, Layer):
            weights, table = f"{np.count_nonzero(node.weights):,}", made.tables[place].said
        if weights or flash or ram:
            rows.append((node.name, weights, table, f"{flash:,}", f"{ram:,}"))
    rows.append(("input, rows, shared", "", "", "0", f"{made.memory.sizes(None)[1]:,}"))
    wide = [max(len(row[column]) for row in rows) for column in range(5)]
    return [
        "  ".join(
            cell.ljust(wide[column]) if column in (0, 2) else cell.rjust(wide[column])
            for column, cell in enumerate(row)
        )
        for row in rows
    ]
