"""Write a plan as one source file in C99 and its header."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from snnprune.common import atomic
from snnprune.common.errors import UserError
from snnprune.engine.c import harness, interface
from snnprune.engine.c.head import head
from snnprune.engine.c.program import program
from snnprune.engine.plan import Layer

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from snnprune.engine.c.parts import Program
    from snnprune.engine.plan import Plan, Shape

LONGEST_BIN = 2**31 - 1
"""Microseconds of the longest time step."""

KEYWORDS = (
    "auto break case char const continue default do double else enum extern float for goto if inline int "
    "long register restrict return short signed sizeof static struct switch typedef union unsigned void "
    "volatile while"
)

BEGINNINGS = (
    "adaptation bias columns compute divisor fraction input last leak main mark mean memory out potential "
    "renewal rest row rows scale shared shift spike start threshold unit value weight"
)
"""Beginnings of names inside of the file."""

TAKEN = frozenset(f"{KEYWORDS} {BEGINNINGS}".split())
"""What cannot be the name of a network."""

EXACT = """\
#if defined(__FAST_MATH__)
#error "options such as -ffast-math change the answers: compile without them"
#endif

/* A product and a sum are rounded one after the other. For other compilers: switch fused operations off. */
#if defined(__clang__)
#pragma STDC FP_CONTRACT OFF
#elif defined(__GNUC__)
#pragma GCC optimize("fp-contract=off")
#endif
"""


@dataclass(frozen=True)
class Written:
    """A network in C.

    Attributes:
        source: NAME.c.
        header: NAME.h.
        name: prefix of all names.
        flash: bytes of its constants.
        ram: bytes of its static data.
        text: bytes of both files.
        real: C type of its scores.
        counts: whether it reads counts of events.
        neurons: name and shape of each layer of neurons, in the order in which they are computed.
    """

    source: Path
    header: Path
    name: str
    flash: int
    ram: int
    text: int
    real: str
    counts: bool
    neurons: tuple[tuple[str, Shape], ...]


def write(
    plan: Plan,
    out: Path,
    *,
    bin_us: int | None,
    name: str | None = None,
    counts: bool = True,
    notes: Sequence[str] = (),
) -> Written:
    """Write NAME.c and NAME.h, which compute what `snnprune.engine.engine.Engine` computes.

    Args:
        plan: the network.
        out: a folder, or a file that ends in .c.
        bin_us: length of a time step in microseconds; None for a network that takes no events.
        name: prefix of all names in C; by default that of the file, or "network".
        counts: whether the network reads counts, of 0 to 255; else it reads values, and takes no events.
        notes: sentences for the beginning of the file.

    Raises:
        UserError: a name that C does not allow, a node that cannot be computed exactly in C, weights that are
            not finite, or files that cannot be written.
    """
    single = out.suffix == ".c"
    called = name or (out.stem if single else "network")
    source = out if single else out / f"{called}.c"
    header = source.with_suffix(".h")
    text, declared, made = texts(plan, called, header.name, bin_us=bin_us, counts=counts, notes=notes)
    atomic.write_text(header, declared)
    atomic.write_text(source, text)
    flash, ram = made.memory.totals
    neurons = tuple((layer, kept.shape) for layer, kept in made.watched)
    size = source.stat().st_size + header.stat().st_size
    return Written(source, header, called, flash, ram, size, made.real, counts, neurons)


def texts(
    plan: Plan, name: str, header: str, *, bin_us: int | None, counts: bool = True, notes: Sequence[str] = ()
) -> tuple[str, str, Program]:
    """Return the texts of the source and of the header, and what they were made of.

    Args:
        plan: as in `write`.
        name: prefix of all names in C.
        header: name of the header's file.
        bin_us: as in `write`.
        counts: as in `write`.
        notes: as in `write`.

    Raises:
        UserError: as in `write`.
    """
    _check(plan, name, bin_us)
    assert counts or bin_us is None, "events are counted"
    made = program(plan, counts=counts)
    calls = interface.functions(name, made, counts=counts, events=bin_us is not None)
    beginning = head(name, made, notes, counts=counts, bin_us=bin_us)
    parts = [
        beginning,
        f'#include "{header}"\n\n#include <string.h>\n',
        EXACT,
        harness.watches(name),
        *(block.text + "\n" for block in made.memory.flash),
        "\n".join(block.text for block in made.memory.ram) + "\n",
        *made.helpers,
        *(function + "\n" for function in made.functions),
        calls,
        harness.main(name, made, counts=counts, events=bin_us is not None),
    ]
    return "\n".join(parts), interface.header(name, made, counts=counts, bin_us=bin_us), made


def _check(plan: Plan, name: str, bin_us: int | None) -> None:
    if not re.fullmatch(r"[A-Za-z][A-Za-z0-9_]*", name, re.ASCII) or name in TAKEN:
        raise UserError(
            f"'{name}' cannot be a name in C: expected a letter, then letters, digits and underscores, "
            "and no word that C or the file itself uses"
        )
    if bin_us is not None and not 1 <= bin_us <= LONGEST_BIN:
        raise UserError(f"a time step of {bin_us:,} us is out of range: expected 1 us to {LONGEST_BIN:,} us")
    for node in plan.nodes:
        if isinstance(node, Layer) and not np.isfinite(node.weights).all():
            raise UserError(
                f"layer '{node.name}' has weights that are not finite numbers, which C cannot hold"
            )
