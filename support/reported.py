"""What the DPAP paper reports: accuracies of its tables, in %, and how many epochs it saves.

Han, Zhao, Zeng, Shen, IEEE TPAMI 47(1):240-251, 2025. Where it gives a gain and no accuracy of the unpruned
network (mlp-snn, CIFAR-10), that accuracy is the difference of the two.
"""

from __future__ import annotations

from dataclasses import dataclass

USUAL_SPEEDUP = 1.5
"""Epochs to the unpruned network's best accuracy, unpruned / pruned: "about", over all tasks."""


@dataclass(frozen=True)
class Reported:
    """One task of the paper.

    Attributes:
        dense: accuracy of the unpruned network, in %.
        pruned: (share pruned, accuracy), in %.
        speedup: as `USUAL_SPEEDUP`, of this task.
    """

    dense: float
    pruned: tuple[tuple[float, float], ...]
    speedup: float = USUAL_SPEEDUP

    def nearest(self, target: float) -> tuple[float, float]:
        """Return (share pruned, gain in points) of the entry nearest to ``target``, a share in [0, 1]."""
        share, accuracy = min(self.pruned, key=lambda entry: abs(entry[0] - 100 * target))
        return share, accuracy - self.dense


REPORTED = {
    ("mnist", "conv-snn"): Reported(99.46, ((48.42, 99.51), (61.25, 99.59), (84.22, 99.56))),
    ("mnist", "mlp-snn"): Reported(98.81, ((77.36, 98.72),)),
    ("nmnist", "conv-snn"): Reported(99.53, ((50.41, 99.55), (63.95, 99.59), (74.66, 99.56)), 1.85),
    ("dvs-gesture", "conv-snn"): Reported(97.83, ((64.03, 98.56), (66.98, 98.20), (81.45, 97.83))),
    ("cifar10", "vgg-snn"): Reported(94.54, ((33.46, 94.27), (39.91, 94.14), (50.80, 93.83))),
    ("mnist", "lenet-ann"): Reported(99.20, ((56.00, 99.24), (67.17, 99.21)), 50 / 39),
    ("cifar10", "vgg16-ann"): Reported(94.53, ((41.54, 94.76),), 2.84),
}
"""By data set and model, as `snnprune list` names them."""

BEST = 0.6
"""Share pruned at which the paper sees its best accuracy."""

GAIN_FROM = 20
"""Epoch from which, at the earliest, the paper's pruned networks are ahead of unpruned ones (20 to 40)."""

FAN_IN = (272, 298)
"""Synapses of a neuron that was pruned, and of one that was kept, on average."""

ABLATIONS = {"stdp": "STDP", "hebb": "Hebb's rule"}
"""What BCM is compared with as a measure of importance, and found ahead of (Fig. 4H)."""
