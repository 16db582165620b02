"""Derivatives of SpikingJelly's surrogate functions, in the form of the kernels: a kind and two numbers.

Each replaces the derivative of the Heaviside step at u = H - threshold. The definitions are those of
SpikingJelly 2.0, `spikingjelly.activation_based.surrogate`. Sources are given where SpikingJelly gives them.

    Rect                     a if |u| < 1 / (2 a), else 0        DPAP, equation (4); Wu et al. 2018
    Sigmoid                  a s (1 - s), s = 1 / (1 + exp(-a u))
    ATan                     (a / 2) / (1 + (pi a u / 2)^2)
    PiecewiseQuadratic       max(0, a - a^2 |u|)
    PiecewiseExp             (a / 2) exp(-a |u|)
    SoftSign                 1 / (2 a (1 / a + |u|)^2)
    SuperSpike               a / (1 + |u|)^2                     arXiv:1705.11146
    Erf                      (a / sqrt(pi)) exp(-(a u)^2)
    NonzeroSignLogAbs        1 / (1 / a + |u|)
    PiecewiseLeakyReLU       1 / (2 w) if |u| < w, else c
    SquarewaveFourierSeries  (4 / P) sum_{i=1}^{n-1} cos(2 pi (2 i - 1) u / P)
    S2NN                     a s (1 - s) if u < 0, else b / (u + 1)    arXiv:2201.10879
    QPseudoSpike             (1 + 2 |u| / (a - 1))^(-a)                arXiv:2202.00282
    LeakyKReLU               k if u >= 0, else leak
    FakeNumericalGradient    min(sign(u) / u, a)
    LogTailedReLU            a if u <= 0, 1 / u if u > 1, else 1       arXiv:1702.00953
    DeterministicPass        1

One more is this package's, for neurons with an adaptive threshold (`snnprune.nn.models.adaptive`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from spikingjelly.activation_based import surrogate

if TYPE_CHECKING:
    from collections.abc import Callable

(
    RECT, SIGMOID, ATAN, QUADRATIC, PIECEWISE_EXP, SOFT_SIGN, SUPER_SPIKE, ERF, SIGN_LOG, LEAKY_WINDOW,
    FOURIER, S2NN, Q_PSEUDO, LEAKY_K_RELU, NUMERICAL, LOG_TAIL, PASS, MULTI_GAUSSIAN,
) = range(18)  # fmt: skip


@dataclass(frozen=True)
class Slope:
    """The derivative of a surrogate.

    Attributes:
        kind: which of the equations above.
        a: its first constant.
        b: its second constant, 0 if it has only one.
    """

    kind: int
    a: float = 0.0
    b: float = 0.0


_KINDS: dict[str, tuple[int, tuple[str, ...]]] = {
    "Rect": (RECT, ("alpha",)),
    "Sigmoid": (SIGMOID, ("alpha",)),
    "ATan": (ATAN, ("alpha",)),
    "PiecewiseQuadratic": (QUADRATIC, ("alpha",)),
    "PiecewiseExp": (PIECEWISE_EXP, ("alpha",)),
    "SoftSign": (SOFT_SIGN, ("alpha",)),
    "SuperSpike": (SUPER_SPIKE, ("alpha",)),
    "Erf": (ERF, ("alpha",)),
    "NonzeroSignLogAbs": (SIGN_LOG, ("alpha",)),
    "PiecewiseLeakyReLU": (LEAKY_WINDOW, ("w", "c")),
    "SquarewaveFourierSeries": (FOURIER, ("n", "T_period")),
    "S2NN": (S2NN, ("alpha", "beta")),
    "QPseudoSpike": (Q_PSEUDO, ("alpha",)),
    "LeakyKReLU": (LEAKY_K_RELU, ("leak", "k")),
    "FakeNumericalGradient": (NUMERICAL, ("alpha",)),
    "LogTailedReLU": (LOG_TAIL, ("alpha",)),
    "DeterministicPass": (PASS, ()),
}


def slope_of(function: Callable[..., object]) -> Slope | None:
    """Return the derivative of one of SpikingJelly's own surrogates, None for any other function.

    Subclasses count as other functions. So do surrogates that do not spike (their forward is the smooth
    function) or have learnt constants.
    """
    name = type(function).__name__
    if name not in _KINDS or type(function) is not getattr(surrogate, name, None):
        return None
    kind, names = _KINDS[name]
    constants = [getattr(function, constant) for constant in names]
    if not getattr(function, "spiking", True) or not all(isinstance(c, (int, float)) for c in constants):
        return None
    return Slope(kind, *(float(constant) for constant in constants))
