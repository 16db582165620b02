"""Networks of sinabs 3.1: time behind the batch, or folded into it."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from support.outside.parts import IMAGE, ROWS, kinds_of, library, mlp, named
from support.outside.trial import SAMPLES, STEPS, Trial

if TYPE_CHECKING:
    from collections.abc import Callable

SERIES = (SAMPLES, STEPS, *ROWS)
FOLDED = (SAMPLES * STEPS, *ROWS)
FRAMES = (SAMPLES * STEPS, *IMAGE)


def layers() -> Any:
    return library("sinabs.layers")


kinds = kinds_of("sinabs.layers")


def neuron(kind: str, **constants: Any) -> Callable[[int], nn.Module]:
    return lambda _: getattr(layers(), kind)(**constants)  # type: ignore[no-any-return]


def lif() -> nn.Module:
    return layers().LIF(tau_mem=3.0, spike_threshold=0.3)  # type: ignore[no-any-return]


def convolutions(make: Callable[[int], nn.Module], pool: Callable[[], nn.Module]) -> Callable[[], nn.Module]:
    return lambda: nn.Sequential(
        nn.Conv2d(2, 8, 3, padding=1), make(8), pool(), nn.Conv2d(8, 6, 3, padding=1), make(6),
        nn.Flatten(1), nn.Linear(54, 12), make(12), nn.Linear(12, 4),
    )  # fmt: skip


def mean() -> nn.Module:
    return nn.AvgPool2d(2)


def converted(**size: int) -> nn.Module:
    """Return a network of ReLUs turned into a spiking one; the object holds both."""
    ann = nn.Sequential(
        nn.Conv2d(2, 8, 3, padding=1), nn.ReLU(), nn.AvgPool2d(2), nn.Flatten(),
        nn.Linear(72, 10), nn.ReLU(), nn.Linear(10, 4),
    )  # fmt: skip
    convert = library("sinabs.from_torch").from_model
    return convert(ann, input_shape=IMAGE, add_spiking_output=False, **size)  # type: ignore[no-any-return]


def learnt() -> nn.Module:
    taus = torch.full((16,), 3.0)
    return nn.Sequential(
        nn.Linear(20, 16), layers().LIF(tau_mem=taus, spike_threshold=0.3, train_alphas=True),
        nn.Linear(16, 12), lif(), nn.Linear(12, 3),
    )  # fmt: skip


def recurrent(kind: str, **constants: Any) -> nn.Module:
    feedback = nn.Linear(16, 16, bias=False)
    return nn.Sequential(
        nn.Linear(20, 16), getattr(layers(), kind)(rec_connect=feedback, **constants), nn.Linear(16, 12),
        lif(), nn.Linear(12, 3),
    )  # fmt: skip


def unfolded() -> nn.Module:
    """Return layers of rows and neurons of series."""
    apart, together = partial(layers().UnflattenTime, SAMPLES), layers().FlattenTime
    return nn.Sequential(
        nn.Linear(20, 16), apart(), lif(), together(),
        nn.Linear(16, 12), apart(), lif(), together(), nn.Linear(12, 3),
    )  # fmt: skip


class Merged(nn.Module):
    """Two populations that are added up."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b, self.out = nn.Linear(20, 16), nn.Linear(20, 16), nn.Linear(16, 3)
        self.na, self.nb, self.merge = layers().IAF(), layers().IAF(), layers().Merge()

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.out(self.merge(self.na(self.a(x)), self.nb(self.b(x))))
        return out


_SQUEEZE = kinds("IAFSqueeze")
_UNCOPIED = "cannot be copied by copy.deepcopy"
_ROWS = neuron("IAFSqueeze", num_timesteps=STEPS)
TRIALS = named(
    (
        *(
            Trial(said, mlp(neuron(kind, **constants)), SERIES, ("0", "2"), series="batch first",
                  neurons=kinds(kind))
            for said, kind, constants in (
                ("LIF", "LIF", {"tau_mem": 3.0, "spike_threshold": 0.3}),
                ("LIF with synapses", "LIF", {"tau_mem": 3.0, "spike_threshold": 0.3, "tau_syn": 2.0}),
                ("IAF", "IAF", {}),
                ("ALIF", "ALIF", {"tau_mem": 3.0, "spike_threshold": 0.3, "tau_adapt": 3.0}),
                ("ExpLeak", "ExpLeak", {"tau_mem": 3.0}),
            )
        ),
        Trial("LIF, a learnt time constant each", learnt, SERIES, ("0", "2"), series="batch first",
              neurons=kinds("LIF")),
        *(
            Trial(f"IAFSqueeze({size}), convolutions", convolutions(neuron("IAFSqueeze", **constants), mean),
                  FRAMES, ("0", "3", "6"), series="by sample", neurons=_SQUEEZE)
            for size, constants in (
                ("num_timesteps", {"num_timesteps": STEPS}), ("batch_size", {"batch_size": SAMPLES}),
            )
        ),
        Trial("IAFSqueeze(num_timesteps)", mlp(_ROWS), FOLDED, ("0", "2"), series="by sample",
              neurons=_SQUEEZE),
        Trial("LIFSqueeze",
              mlp(neuron("LIFSqueeze", tau_mem=3.0, spike_threshold=0.3, num_timesteps=STEPS)),
              FOLDED, ("0", "2"), series="by sample", neurons=kinds("LIFSqueeze")),
        Trial("SumPool2d", convolutions(_ROWS, lambda: layers().SumPool2d(2)), FRAMES, ("0", "3", "6"),
              series="by sample", neurons=_SQUEEZE),
        *(
            Trial(f"from_model({size})", partial(converted, **constants), FRAMES,
                  ("spiking_model.0", "spiking_model.4"), series="by sample", neurons=_SQUEEZE,
                  apart=("analog_model.*",))
            for size, constants in (
                ("batch_size", {"batch_size": SAMPLES}), ("num_timesteps", {"num_timesteps": STEPS}),
            )
        ),
        Trial("LIFRecurrent", partial(recurrent, "LIFRecurrent", tau_mem=3.0), SERIES, ("2",),
              {"0": _UNCOPIED}, series="batch first", neurons=kinds("LIF", "LIFRecurrent"), uncut=_UNCOPIED),
        Trial("IAFRecurrent", partial(recurrent, "IAFRecurrent"), SERIES, ("2",), {"0": _UNCOPIED},
              series="batch first", neurons=kinds("LIF", "IAFRecurrent"), uncut=_UNCOPIED),
        Trial("UnflattenTime", unfolded, FOLDED, ("0", "4"), series="by sample", neurons=kinds("LIF")),
        Trial("Merge", Merged, SERIES, ("a",), series="batch first", neurons=kinds("IAF")),
        Trial("NeuromorphicReLU", mlp(neuron("NeuromorphicReLU")), FOLDED, ("0", "2"), series="no time",
              neurons=kinds("NeuromorphicReLU")),
        Trial("LIF, not named", mlp(neuron("LIF", tau_mem=3.0, spike_threshold=0.3)), SERIES, (),
              {"0": "pass neurons=(LIF,)", "2": "pass neurons=(LIF,)"}, series="batch first"),
        Trial("IAFSqueeze, not named", mlp(_ROWS), FOLDED, (),
              {"0": "pass neurons=(IAFSqueeze,)", "2": "pass neurons=(IAFSqueeze,)"}, series="by sample"),
    )
)  # fmt: skip
