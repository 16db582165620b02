"""A main function for a computer: it reads events or frames from standard input, and prints scores.

NAME < events              13 bytes an event, packed, little endian: int64 t, uint16 x, uint16 y, uint8 p
NAME frames T < frames     [T][channels][height][width] numbers after each other: uint8 counts, or the reals
                           of a network that reads values; a line of class and scores for each T frames
NAME spikes T < frames     the same, and bytes: for each step the spikes of each layer of neurons, in the
                           order of the header and each in the order height, width, channels, then the outputs
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from snnprune.engine.c.parts import Program

WATCHES = """\
#ifdef @_MAIN
#include <stdio.h>
#include <stdlib.h>
static uint8_t watching;
#define WATCH(spikes, count) \\
    do { if (watching != 0U) { (void)fwrite((spikes), 1U, (size_t)(count), stdout); } } while (0)
#define OUTPUT(y) \\
    do { if (watching != 0U) { (void)fwrite(&(y), sizeof (y), 1U, stdout); } } while (0)
#else
#define WATCH(spikes, count)
#define OUTPUT(y)
#endif
"""

MAIN = """\
#ifdef @_MAIN
static void print_answer(void)
{
    @_score scores[@_CLASSES];
    const int32_t best = @_answer(scores);
    (void)printf("%ld", (long)best);
    for (int32_t k = 0; k < @_CLASSES; k++) {
        (void)printf(" %.@digits@g", (double)scores[k]);
    }
    (void)printf("\\n");
}

static int frames(int32_t count)
{
    static @number@ frame[@places@];
    int32_t step = 0;
    @_reset();
    while (fread(frame, sizeof frame[0], @places@U, stdin) == @places@U) {
        for (uint32_t place = 0U; place < @places@U; place++) {
            if (@_add(place, frame[place]) != @_OK) {
                (void)fprintf(stderr, "a value is out of range\\n");
                return 2;
            }
        }
        @_step();
        step++;
        if (step == count) {
            if (watching == 0U) {
                print_answer();
            }
            @_reset();
            step = 0;
        }
    }
    return (step == 0) ? 0 : 2;
}
@events@
int main(int argc, char **argv)
{
    int code = 2;
    if (argc == 1) {
        code = @default@;
    } else if (argc == 3) {
        const long count = strtol(argv[2], NULL, 10);
        watching = (argv[1][0] == 's') ? 1U : 0U;
        if ((count > 0) && (count < 1000000)) {
            code = frames((int32_t)count);
        }
    } else {
        (void)fprintf(stderr, "usage: %s [frames T | spikes T]\\n", argv[0]);
    }
    return code;
}
#endif
"""

EVENTS = """
static int events(void)
{
    uint8_t r[13];
    int code = 0;
    @_reset();
    while ((code == 0) && (fread(r, 1U, sizeof r, stdin) == sizeof r)) {
        uint64_t t = 0U;
        for (int32_t i = 7; i >= 0; i--) {
            t = (t << 8) | r[i];
        }
        const uint16_t x = (uint16_t)(r[8] | (r[9] << 8));
        const uint16_t y = (uint16_t)(r[10] | (r[11] << 8));
        code = (int)@_push(x, y, r[12], (int64_t)t);
    }
    if (code == 0) {
        @_finish();
        print_answer();
    } else {
        (void)fprintf(stderr, "an event is out of %s\\n", (code == @_OUT_OF_ORDER) ? "order" : "range");
        code = 2;
    }
    return code;
}
"""


def watches(name: str) -> str:
    """Return what stands before the functions."""
    return WATCHES.replace("@", name, 1)


def main(name: str, made: Program, *, counts: bool, events: bool) -> str:
    """Return the main function, which is compiled with -DNAME_MAIN alone."""
    words = {
        "@events@": EVENTS if events else "",
        "@default@": "events()" if events else "2",
        "@digits@": "17" if made.real == "double" else "9",
        "@number@": "uint8_t" if counts else made.real,
        "@places@": str(math.prod(made.plan.shape)),
    }
    text = MAIN
    for word, by in words.items():
        text = text.replace(word, by)
    return text.replace("@", name)
