"""A simplified cochlea turns the power of a sound at each place of the ear into spikes.

SHD and SSC were made with a model of the basilar membrane, of hair cells and of the bushy cells behind them
(Cramer, Stradmann, Schemmel and Zenke, IEEE TNNLS 33, 2022). This one keeps the order of their stages, each
as simple as it can be. With P(t) the power at the place of a channel:

    x = P^0.3                           compression by the basilar membrane           (1)
    r = g q x                           transmitter that a hair cell releases         (2)
    dq/dt = (1 - q) / tau_q - r         its store, which empties and fills again      (3)
    dv/dt = G r - v / tau_v             potential of the cell behind it               (4)
    v >= 1: a spike, v <- 0, and none for tau_r                                       (5)

(2) and (3) are Meddis' transmitter pool (JASA 79:702, 1986) with one of its three stores: the onset of a
sound gives more spikes than its course. Channels are equally spaced on the scale of equivalent rectangular
bandwidths (Glasberg and Moore, Hearing Research 47:103, 1990), E(f) = 21.4 log10(1 + 0.00437 f), f in hertz.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import numpy.typing as npt


@dataclass(frozen=True)
class Cochlea:
    """The constants of the model.

    Attributes:
        channels: number of places, from low to high frequencies.
        lowest: frequency of the first channel, in hertz.
        highest: frequency of the last channel.
        compression: exponent of (1).
        release: g of (2), per second.
        gain: G of (4), the potential that all of the transmitter would give at once.
        refill: tau_q, in seconds.
        leak: tau_v, in seconds.
        pause: tau_r, in seconds.
        step: of the simulation, in seconds.
    """

    channels: int = 70
    lowest: float = 100.0
    highest: float = 7000.0
    compression: float = 0.3
    release: float = 100.0
    gain: float = 6.0
    refill: float = 0.02
    leak: float = 0.01
    pause: float = 0.003
    step: float = 0.001

    @cached_property
    def frequencies(self) -> npt.NDArray[np.float64]:
        """Return the frequency of each channel in hertz."""
        low, high = (21.4 * np.log10(1 + 0.00437 * f) for f in (self.lowest, self.highest))
        places: npt.NDArray[np.float64] = (10 ** (np.linspace(low, high, self.channels) / 21.4) - 1) / 0.00437
        return places

    @cached_property
    def bandwidths(self) -> npt.NDArray[np.float64]:
        """Return the equivalent rectangular bandwidth of each channel in hertz: 24.7 (1 + 0.00437 f)."""
        return 24.7 * (1 + 0.00437 * self.frequencies)


def spikes(
    power: npt.NDArray[np.float32], start: npt.NDArray[np.float32], cochlea: Cochlea
) -> npt.NDArray[np.bool_]:
    """Return which channel spikes at which step.

    Args:
        power: float32 [T, N, C], of N sounds.
        start: float32 [N, C] in [0, 1), the potentials v at first: they keep channels out of step.
        cochlea: the constants.

    Returns:
        bool [T, N, C]
    """
    dt = np.float32(cochlea.step)
    x = power ** np.float32(cochlea.compression) * np.float32(cochlea.release)
    store, potential = np.ones_like(start), start.copy()
    pause, rest = round(cochlea.pause / cochlea.step), np.zeros(start.shape, np.int64)
    fired = np.zeros(power.shape, np.bool_)
    for t, drive in enumerate(x):
        released = np.minimum(store * drive * dt, store)
        store += (1 - store) * np.float32(cochlea.step / cochlea.refill) - released
        potential += np.float32(cochlea.gain) * released - potential * np.float32(cochlea.step / cochlea.leak)
        potential *= rest <= 0
        rest -= 1
        fired[t] = potential >= 1
        potential[fired[t]] = 0
        rest[fired[t]] = pause
    return fired
