"""Lists of spikes, and sums at spikes, as compiled loops on the CPU."""
# ruff: noqa: PLR0917 - a kernel is given arrays and numbers one by one

from __future__ import annotations

from snnprune.common.compiling import compiled


@compiled
def list_spikes(x, columns, values, ends, most):  # type: ignore[no-untyped-def]
    """List what is not zero in X [M, inputs], row by row; return whether there are at most ``most``.

    COLUMNS and VALUES have room for ``most`` and a row more. ENDS [M + 1] begins with 0.
    """
    number = 0
    samples, inputs = x.shape
    for m in range(samples):
        for i in range(inputs):  # without a branch: what is zero is written over
            value = x[m, i]
            columns[number] = i
            values[number] = value
            number += value != 0
        if number > most:
            return False
        ends[m + 1] = number
    return True


@compiled
def add_rows(first, last, columns, values, ends, g, sums):  # type: ignore[no-untyped-def]
    """Add x_m g_m^T to SUMS [inputs, units] for each sample m, for the units ``first`` to ``last``.

    COLUMNS, VALUES and ENDS list the activity x, and G [M, units] are gradients.
    """
    for m in range(ends.size - 1):
        row = g[m, first:last]
        for n in range(ends[m], ends[m + 1]):
            into, value = sums[columns[n], first:last], values[n]
            for j in range(row.size):
                into[j] += value * row[j]
