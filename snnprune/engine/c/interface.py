"""What a program in C is called by: its header, its time steps, its events."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from snnprune.engine.c.memory import block, function_text, loop
from snnprune.engine.c.values import MOST_COUNTS, literal

if TYPE_CHECKING:
    from snnprune.engine.c.parts import Program


def header(name: str, made: Program, *, counts: bool, bin_us: int | None) -> str:
    """Return the text of the header.

    Args:
        name: prefix of all names.
        made: the program.
        counts: whether the input is counts of events.
        bin_us: length of a time step in microseconds; None where there are no events.
    """
    channels, height, width = made.plan.shape
    number = "uint16_t count" if counts else f"{made.real} value"
    said = (
        f"Add events at a place, (channel * {height} + row) * {width} + column, to the next step. A place\n"
        f"   holds {MOST_COUNTS} events at most; more are not counted. Returns {name}_OK or, for another\n"
        f"   place, {name}_OUT_OF_RANGE."
        if counts
        else f"Add a value at a place, (channel * {height} + row) * {width} + column, to the next step.\n"
        f"   Returns {name}_OK or, for another place or a sum beyond {MOST_COUNTS}, {name}_OUT_OF_RANGE."
    )
    push = "" if bin_us is None else _push_declared(name)
    bins = "" if bin_us is None else f"#define {name}_BIN_US {bin_us}\n"
    guard = f"{name.upper()}_H"
    return f"""\
#ifndef {guard}
#define {guard}

#include <stdint.h>

#ifdef __cplusplus
extern "C" {{
#endif

#define {name}_CHANNELS {channels}
#define {name}_HEIGHT {height}
#define {name}_WIDTH {width}
#define {name}_CLASSES {classes(made)}
{bins}
#define {name}_OK 0
#define {name}_OUT_OF_RANGE 1
#define {name}_OUT_OF_ORDER 2

typedef {made.real} {name}_score;

/* Bring the network to rest. Call it first, and before each recording. */
void {name}_reset(void);

/* {said} */
int32_t {name}_add(uint32_t place, {number});

/* Compute a time step with what was added since the last one. */
void {name}_step(void);
{push}
/* Write the scores of all classes so far, and return the class with the largest one, the first of several;
   -1 before the first time step. */
int32_t {name}_answer({name}_score scores[{name}_CLASSES]);

/* Number of time steps since the reset. */
uint32_t {name}_steps(void);

#ifdef __cplusplus
}}
#endif

#endif
"""


def classes(made: Program) -> int:
    """Return the number of scores."""
    return math.prod(made.plan.nodes[made.plan.output].shape)


def _push_declared(name: str) -> str:
    return f"""
/* Take in an event: column, row, channel, time in microseconds. Times never decrease; the first one begins
   the first bin of {name}_BIN_US. An event behind the end of a bin first computes its time step, and those of
   silent bins between. Returns {name}_OK, or {name}_OUT_OF_RANGE or {name}_OUT_OF_ORDER for an event that is
   left out. */
int32_t {name}_push(uint16_t x, uint16_t y, uint8_t p, int64_t t);

/* Compute the time step of the last bin, which is not full. The next event begins bins anew. */
void {name}_finish(void);
"""


def functions(name: str, made: Program, *, counts: bool, events: bool) -> str:
    """Return the functions that the header declares."""
    memory, plan = made.memory, made.plan
    outputs = classes(made)
    channels, height, width = plan.shape
    steps = memory.number("steps", "uint32_t")
    memory.state("totals", made.real, outputs)
    if events:
        memory.number("started", "uint8_t")
        memory.number("bin_begin", "int64_t")
        memory.number("latest", "int64_t")
    parts = [
        function_text(f"void {name}_reset(void)", memory.starts),
        _add(name, made, counts=counts),
        function_text(
            f"void {name}_step(void)",
            [*made.calls, *_totals(made), "(void)memset(input, 0, sizeof input);", f"{steps}++;"],
        ),
    ]
    if events:
        parts += _push(name, (channels, height, width))
    parts += [_answer(name, made), function_text(f"uint32_t {name}_steps(void)", [f"return {steps};"])]
    return "\n".join(parts)


def _add(name: str, made: Program, *, counts: bool) -> str:
    channels, height, width = made.plan.shape
    pixels = height * width
    number = "uint16_t count" if counts else f"{made.real} value"
    index = f"((place % {pixels}U) * {channels}U) + (place / {pixels}U)"
    most = literal(MOST_COUNTS, made.real)
    if counts:
        store = [
            "const uint32_t sum = (uint32_t)input[n] + count;",
            f"input[n] = (uint8_t)((sum > {MOST_COUNTS}U) ? {MOST_COUNTS}U : sum);",
        ]
    else:
        store = [
            f"const {made.real} sum = input[n] + value;",
            *block(f"if ((sum >= -{most}) && (sum <= {most}))", ["input[n] = sum;", f"status = {name}_OK;"]),
        ]
    inner = [f"const uint32_t n = {index};", *store, *([f"status = {name}_OK;"] if counts else [])]
    lines = [
        f"int32_t status = {name}_OUT_OF_RANGE;",
        *block(f"if (place < {pixels * channels}U)", inner),
        "return status;",
    ]
    return function_text(f"int32_t {name}_add(uint32_t place, {number})", lines)


def _totals(made: Program) -> list[str]:
    plan = made.plan
    kept = made.order.kept[made.order.owner[plan.output]]
    channels, height, width = kept.shape
    value = "out[k]"
    if channels > 1 and height * width > 1:
        value = f"out[((k % {height * width}) * {channels}) + (k / {height * width})]"
    scale = (
        ""
        if not kept.values.whole or not kept.values.places
        else f" * {literal(2.0**-kept.values.places, made.real)}"
    )
    number = f"const {made.real} y = ({made.real}){value}{scale};"
    over = {
        "mean": "totals[k] += y;",
        "max": "totals[k] = ((steps == 0U) || (y > totals[k])) ? y : totals[k];",
        "last": "totals[k] = y;",
    }[plan.over_time]
    body = loop("k", kept.count, [number, "OUTPUT(y);", over])
    return block("", [f"const {kept.kind} *const out = {kept.at()};", *body])


def _push(name: str, shape: tuple[int, int, int]) -> list[str]:
    channels, height, width = shape
    late = f"status = {name}_OUT_OF_ORDER;"
    inside = [
        *block("if (started == 0U)", ["started = 1U;", "bin_begin = t;"]),
        *block(
            f"while (((uint64_t)t - (uint64_t)bin_begin) >= (uint64_t){name}_BIN_US)",
            [f"{name}_step();", f"bin_begin += {name}_BIN_US;"],
        ),
        "latest = t;",
        f"status = {name}_add(((((uint32_t)p * {height}U) + y) * {width}U) + x, 1U);",
    ]
    lines = [
        f"int32_t status = {name}_OUT_OF_RANGE;",
        *block(
            f"if ((x < {width}U) && (y < {height}U) && (p < {channels}U))",
            _either("if ((started != 0U) && (t < latest))", [late], inside),
        ),
        "return status;",
    ]
    finish = block("if (started != 0U)", [f"{name}_step();", "started = 0U;"])
    return [
        function_text(f"int32_t {name}_push(uint16_t x, uint16_t y, uint8_t p, int64_t t)", lines),
        function_text(f"void {name}_finish(void)", finish),
    ]


def _answer(name: str, made: Program) -> str:
    mean = made.plan.over_time == "mean"
    zero = literal(0.0, made.real)
    score = f"totals[k] / ({made.real})steps" if mean else "totals[k]"
    lines = [
        "int32_t best = -1;",
        *loop(
            "k",
            f"{name}_CLASSES",
            [
                f"scores[k] = (steps == 0U) ? {zero} : ({score});",
                *block("if ((steps != 0U) && ((best < 0) || (scores[k] > scores[best])))", ["best = k;"]),
            ],
        ),
        "return best;",
    ]
    return function_text(f"int32_t {name}_answer({name}_score scores[{name}_CLASSES])", lines)


def _either(condition: str, lines: list[str], otherwise: list[str]) -> list[str]:
    first = block(condition, lines)
    return [*first[:-1], *block("} else", otherwise)]
