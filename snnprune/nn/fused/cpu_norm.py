"""A batch norm inside the neurons' kernels: a multiply-add on the way in, two sums on the way back.

Vectors of the norm are ``[G, I]``: plane p of the input (see `snnprune.nn.fused.cpu`) has row p modulo G, one
number for each of its I innermost entries; I is 1 if a plane has a single channel.
"""
# ruff: noqa: D417, PLR0917 - a kernel is given arrays and numbers one by one

from __future__ import annotations

import math

from snnprune.common.compiling import compiled
from snnprune.nn.fused.lanes import multiply_add


@compiled
def coefficients(mean, variance, eps, weight, bias, scale, shift, steep):  # type: ignore[no-untyped-def]
    """Write what PyTorch's batch norm multiplies with and adds, rounded as there; 1 / sqrt(variance + eps).

    ``weight`` and ``bias`` are empty if the norm has none.
    """
    for c in range(mean.size):
        inverse = 1.0 / math.sqrt(variance[c] + eps)
        steep[c] = inverse
        scale[c] = steep[c] * weight[c] if weight.size else steep[c]
        shift[c] = multiply_add(-mean[c], scale[c], bias[c] if bias.size else mean.dtype.type(0))


@compiled
def normalise(x, to, scale, shift):  # type: ignore[no-untyped-def]
    """Write ``x`` times ``scale`` plus ``shift``."""
    if scale.size == 1:
        a, b = scale[0], shift[0]
        for i in range(x.size):
            to[i] = multiply_add(x[i], a, b)
    else:
        for start in range(0, x.size, scale.size):
            row, out = x[start : start + scale.size], to[start : start + scale.size]
            for c in range(scale.size):
                out[c] = multiply_add(row[c], scale[c], shift[c])


@compiled
def tally_norm(gradient, x, mean, totals, products):  # type: ignore[no-untyped-def]
    """Add a step's gradients of normalised values to ``totals``, and times x - mean to ``products``.

    Both are as long as ``mean``; or, where that is one number, at least as long as ``gradient``.
    """
    if mean.size == 1:
        m = mean[0]
        for i in range(gradient.size):
            totals[i] += gradient[i]
            products[i] += gradient[i] * (x[i] - m)
    else:
        for start in range(0, gradient.size, mean.size):
            g, row = gradient[start : start + mean.size], x[start : start + mean.size]
            for c in range(mean.size):
                totals[c] += g[c]
                products[c] += g[c] * (row[c] - mean[c])


@compiled
def flush(values, to):  # type: ignore[no-untyped-def]
    """Add ``values``, line by line as long as ``to``, to ``to``, and set them to zero."""
    for start in range(0, values.size, to.size):
        for c in range(to.size):
            to[c] += values[start + c]
            values[start + c] = 0


@compiled
def through(first, last, g, x, plane, scale, mean, level, tilt):  # type: ignore[no-untyped-def]
    """Turn gradients of normalised values into those of ``x``, in place, in planes ``first`` to ``last``.

    dL/dx = scale (dL/dz - level - (x - mean) tilt)

    Args:
        first, last: the planes.
        g: gradients of the normalised values, [T or 1, P x M x I].
        x: what was normalised, [T or 1, P x M x I].
        plane: M x I.
        scale, mean: of the norm, [G, I].
        level, tilt: what mean and variance pass on to every value, [G, I]; zeros if they are constants.
    """
    inner = scale.shape[1]
    for p in range(first, last):
        a, m, b, s = (
            scale[p % len(scale)],
            mean[p % len(scale)],
            level[p % len(scale)],
            tilt[p % len(scale)],
        )
        for t in range(len(g)):
            if inner == 1:
                row, of = g[t, p * plane : (p + 1) * plane], x[t, p * plane : (p + 1) * plane]
                a0, m0, b0, s0 = a[0], m[0], b[0], s[0]
                for i in range(plane):
                    row[i] = a0 * ((row[i] - b0) - (of[i] - m0) * s0)
            else:
                for start in range(p * plane, (p + 1) * plane, inner):
                    row, of = g[t, start : start + inner], x[t, start : start + inner]
                    for c in range(inner):
                        row[c] = a[c] * ((row[c] - b[c]) - (of[c] - m[c]) * s[c])
