"""Derivatives of the surrogates on the CPU, one loop for each."""

from __future__ import annotations

import math

from snnprune.common.compiling import compiled
from snnprune.nn.fused.surrogates import (
    ATAN,
    ERF,
    FOURIER,
    LEAKY_K_RELU,
    LEAKY_WINDOW,
    LOG_TAIL,
    MULTI_GAUSSIAN,
    NUMERICAL,
    PASS,
    PIECEWISE_EXP,
    Q_PSEUDO,
    QUADRATIC,
    RECT,
    S2NN,
    SIGMOID,
    SIGN_LOG,
    SOFT_SIGN,
    SUPER_SPIKE,
)


@compiled
def slope(h, out, threshold, kind, a, b):  # type: ignore[no-untyped-def]  # noqa: C901, PLR0912, PLR0915, PLR0917 - a case each
    """Write the surrogate's derivative at H - threshold; `snnprune.nn.fused.surrogates` has the equations."""
    number = h.dtype.type
    zero, one, two, half = number(0), number(1), number(2), number(0.5)
    n = h.size
    if kind == RECT:
        width = number(0.5) / a
        for i in range(n):
            out[i] = a if abs(h[i] - threshold) < width else zero
    elif kind == SIGMOID:
        for i in range(n):
            e = math.exp(-abs(a * (h[i] - threshold)))
            out[i] = a * e / ((one + e) * (one + e))
    elif kind == ATAN:
        c = number(math.pi) * half * a
        for i in range(n):
            z = c * (h[i] - threshold)
            out[i] = half * a / (one + z * z)
    elif kind == QUADRATIC:
        for i in range(n):
            z = a - a * a * abs(h[i] - threshold)
            out[i] = z if not z < zero else zero
    elif kind == PIECEWISE_EXP:
        for i in range(n):
            out[i] = half * a * math.exp(-a * abs(h[i] - threshold))
    elif kind == SOFT_SIGN:
        for i in range(n):
            z = one / a + abs(h[i] - threshold)
            out[i] = one / (two * a * z * z)
    elif kind == SUPER_SPIKE:
        for i in range(n):
            z = one + abs(h[i] - threshold)
            out[i] = a / (z * z)
    elif kind == ERF:
        c = a / number(math.sqrt(math.pi))
        for i in range(n):
            z = a * (h[i] - threshold)
            out[i] = c * math.exp(-z * z)
    elif kind == SIGN_LOG:
        for i in range(n):
            out[i] = one / (one / a + abs(h[i] - threshold))
    elif kind == LEAKY_WINDOW:
        for i in range(n):
            out[i] = half / a if abs(h[i] - threshold) < a else b
    elif kind == FOURIER:
        w = number(2 * math.pi) / b
        for i in range(n):
            z = zero
            for k in range(1, int(a)):
                z += math.cos(number(2 * k - 1) * w * (h[i] - threshold))
            out[i] = z * number(4) / b
    elif kind == S2NN:
        for i in range(n):
            u = h[i] - threshold
            e = math.exp(-abs(a * u))
            out[i] = a * e / ((one + e) * (one + e)) if u < zero else b / (u + one)
    elif kind == Q_PSEUDO:
        for i in range(n):
            out[i] = (one + two / (a - one) * abs(h[i] - threshold)) ** (-a)
    elif kind == LEAKY_K_RELU:
        for i in range(n):
            out[i] = b if h[i] >= threshold else a
    elif kind == NUMERICAL:
        for i in range(n):
            u = h[i] - threshold
            z = (one if u >= zero else -one) / u
            out[i] = a if z > a else z
    elif kind == LOG_TAIL:
        for i in range(n):
            u = h[i] - threshold
            out[i] = a if u <= zero else (one / u if u > one else one)
    elif kind == PASS:
        for i in range(n):
            out[i] = one
    elif kind == MULTI_GAUSSIAN:  # 0.5 (1.15 N(u; 0, 0.5) - 0.15 N(u; 0.5, 3) - 0.15 N(u; -0.5, 3))
        scale = one / number(math.sqrt(2 * math.pi))
        narrow, wide, third = number(1.15) * scale, number(0.025) * scale, one / number(3)
        for i in range(n):
            u = h[i] - threshold
            left, right = (u + half) * third, (u - half) * third
            around = math.exp(-half * left * left) + math.exp(-half * right * right)
            out[i] = narrow * math.exp(-two * u * u) - wide * around
