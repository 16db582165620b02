"""Competition and traces over time as compiled loops, one sample after another.

A sum goes through samples and steps in their order, so results do not depend on the number of threads.
"""
# ruff: noqa: PLR0917 - a kernel is given arrays and numbers one by one

from __future__ import annotations

from snnprune.common.compiling import compiled


@compiled
def compete(x, v, s, threshold, tau, inhibition):  # type: ignore[no-untyped-def]
    """Compute T steps of `snnprune.nn.models.wta.WinnerTakesAllNode`.

    Currents X [T, B, N] to spikes S [T, B, N], which hold 0, and potentials V [B, N] to those of the last
    step. Products and sums are rounded as in the node's single step.
    """
    one = x.dtype.type(1)
    steps, samples, units = x.shape
    for b in range(samples):
        for t in range(steps):
            winner, most = -1, x.dtype.type(0)
            for j in range(units):
                h = v[b, j] - v[b, j] / tau + x[t, b, j]
                v[b, j] = h
                above = h - threshold[j]
                if above >= 0 and (winner < 0 or above > most):
                    winner, most = j, above
            if winner >= 0:
                s[t, b, winner] = one
                for j in range(units):
                    v[b, j] *= one - inhibition
                v[b, winner] = 0


@compiled
def sum_at_spikes(traced, spikes, tau, sums):  # type: ignore[no-untyped-def]
    """Add the traces of one side to SUMS [spiking units, traced units], at each spike of the other side.

    TRACED [T, B, I] and SPIKES [T, B, N] are activity. The trace r[t] = r[t-1] - r[t-1] / tau + traced[t] of
    a sample begins at 0; a spike meets the trace of its own step.
    """
    steps, samples, width = traced.shape
    units = spikes.shape[2]
    trace = sums[0].copy()
    for b in range(samples):
        trace[:] = 0
        for t in range(steps):
            for i in range(width):
                trace[i] = trace[i] - trace[i] / tau + traced[t, b, i]
            for j in range(units):
                spike = spikes[t, b, j]
                if spike != 0:
                    for i in range(width):
                        sums[j, i] += spike * trace[i]
