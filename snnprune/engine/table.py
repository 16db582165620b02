"""The table that the compiled interpreter reads: a row for each operation of a step.

All fields are places and lengths in flat arrays; -1 stands for what is not there. The arrays:

    w   numbers that stay: weights, biases, constants
    k   whole numbers that stay: where pixels, units and windows lie
    x   numbers of one sample: potentials, currents, what nodes hand on
    e   whole numbers of one sample: lists of events
    b   bytes of one sample: a bit for each spike, and which stretches of potentials are at rest
    n   64-bit whole numbers of one sample: how many events layers read, and potentials in whole numbers

What a node hands on is held in one or both of two forms, for each of a number of steps. **Dense**: numbers
in the order (height, width, channels). A **list** of events: the places in this order of all numbers other
than 0 (``addresses``), the numbers (``values``), and the pixels that have events (``starts``): how many there
are, then for each of them the pixel and where its events begin, then the number of pixels and of events. In
front of ``starts`` stands for each row how many of these pixels lie above it, and then how many there are.

Currents and potentials are padded: the units of a pixel fill whole vectors (`snnprune.engine.lanes`).
"""

from __future__ import annotations

import enum

import numpy as np


class Kind(enum.IntEnum):
    """What an operation does."""

    ROWS = 0
    SYNAPSES = 1
    PRODUCT = 2
    LOAD = 3
    COLLECT = 4
    FIRE = 5
    SCAN = 6
    SPREAD = 7
    POOL = 8
    SUM = 9
    NORM = 10
    INTEGRATE = 11
    PERMUTE = 12
    DELAY = 13
    ROUND = 14


class Model(enum.IntEnum):
    """How neurons charge; a ``WHOLE_INPUT`` is one that does not leak with the potential."""

    IF = 0
    LIF = 1
    LIF_WHOLE_INPUT = 2
    PLIF = 3
    PLIF_WHOLE_INPUT = 4
    HETEROGENEOUS = 5
    ADAPTIVE = 6
    WHOLE = 7


FIELDS = {
    "kind": "of the operation, `Kind`",
    "node": "place in the plan",
    "chained": "whether it follows the operation before it in each step; else all steps of that come first",
    "wide": "whether one call computes all steps",
    # what is read
    "dense": "x",
    "addresses": "e",
    "values": "x",
    "starts": "e",
    "starts_step": "from step to step",
    "size": "numbers of a step",
    "height": "of what is read",
    "width": "of what is read",
    "channels": "of what is read",
    # what is handed on
    "to_dense": "x",
    "to_addresses": "e",
    "to_values": "x",
    "to_starts": "e",
    "to_starts_step": "from step to step",
    "to_size": "numbers of a step",
    "to_height": "of what is handed on, before a pool",
    "to_width": "of what is handed on, before a pool",
    "to_channels": "of what is handed on",
    # currents
    "currents": "x: of the first unit of the first pixel",
    "currents_pitch": "from row to row",
    "currents_step": "from step to step; 0 where a step's currents are read before the next",
    "padded": "units of a pixel with their padding",
    "clear": "whether currents are set to 0 when they are read",
    "bias": "w: a row of pixels",
    "unit": "w: a row of pixels, what 1 stands for",
    # synapses
    "weights": "w",
    "merged": "whether all pixels are one",
    "tables": "k: for each pixel (rows: column) where its first current lies, then for each its class",
    "classes": "k: for each tap down and class where its segments begin, and where the last ones end",
    "segments": "k: for each segment where its currents, its weights, and how many vectors",
    "single": "whether an event has one segment in a line",
    "alone": "e: room for an entry of a list",
    "pointers": "k: for each class and channel where its synapses begin",
    "offsets": "k: for each synapse its current",
    "together": "steps whose currents of a line are computed, and then read, together",
    "line_step": "from step to step of these",
    "cursors": "e: if merged, for each step the event of a list to go on with",
    "lined": "x: for each input its numbers in all steps",
    "sums": "x: for each unit its currents in all steps",
    "marks": "b: which inputs have events",
    "inputs": "channels that a group of units reads",
    "units": "of a group",
    "groups": "of channels and units",
    "apart": "x: what is read with its border of zeros",
    "apart_pitch": "from row to row",
    "above": "rows of the border",
    "left": "columns of the border",
    "taps_down": "of a kernel",
    "taps_right": "of a kernel",
    "step_down": "of a convolution",
    "step_right": "of a convolution",
    "gap_down": "dilation",
    "gap_right": "dilation",
    # neurons
    "model": "`Model`",
    "hard": "whether spikes reset to a number",
    "uniform": "whether all units have the same constants and rest at 0",
    "alike": "whether pixels that no current has reached share their states",
    "potentials": "x, or n in whole numbers",
    "common": "x, or n: a pixel that no current has reached, before the first step and after each",
    "nothing": "x: currents of 0 for a pixel",
    "warm": "b: for each stretch of a row whether a current ever reached it",
    "reached": "n: how many stretches a current has reached",
    "common_bits": "b: for each step the spikes of such a pixel, and whether there are any",
    "bits": "b: for each step the spikes of some rows",
    "ring": "number of these rows",
    "fired": "b: for each step whether there are spikes in these rows",
    "threshold": "w: a row of pixels",
    "leak": "w: a row of pixels",
    "inverse": "w: 1 / leak, where neurons that divide by their leak may multiply; else -1",
    "share": "w: 1 - leak",
    "rest": "w: a row of pixels",
    "adaptation": "w: a row of pixels",
    "adaptation_share": "w: 1 - adaptation",
    "states": "from potentials to b of the adaptive threshold, and from there to the spikes of a step before",
    "rise": "w: of the adaptive threshold",
    "places": "binary places of a leak in whole numbers",
    # pools
    "pooled": "whether a pool follows, whose events are handed on; `own` are the spikes'",
    "pool_height": "windows",
    "pool_width": "windows",
    "rows": "k: first row of each window, and the first behind it",
    "ended": "k: for each row how many windows end above it, one more than there are rows",
    "columns": "k: alike",
    "divisors": "w: for each window",
    "maximum": "whether a pool takes the largest",
    "square": "whether windows are squares of two pixels that do not overlap, and each spike adds a part",
    "part": "w: of such an average, a power of two; of a maximum, 1",
    "own_addresses": "e",
    "own_values": "x",
    "own_starts": "e",
    "own_starts_step": "from step to step",
    "own_size": "numbers of a step",
    # norms, permutations and sums
    "mean": "w: for each channel",
    "scale": "w: for each channel",
    "shift": "w: for each channel",
    "map": "k: for each number its place, or for each term its place in x",
    "terms": "of a sum",
}
"""The fields of a row, and what they mean or which array they are places of."""

OPERATION = np.dtype([(name, np.int64) for name in FIELDS])
"""A row of the table."""

STRETCH = 16
"""Vectors of a row of neurons that are at rest or not together."""
