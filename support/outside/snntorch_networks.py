"""Networks of snntorch 1.0: one time step a call, states by hand or inside the neurons."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from support.outside.parts import IMAGE, ROWS, Steps, by_hand, kinds_of, library, mlp, named
from support.outside.trial import SAMPLES, STEPS, Trial

if TYPE_CHECKING:
    from collections.abc import Callable

SERIES = (STEPS, SAMPLES, *ROWS)
FRAMES = (STEPS, SAMPLES, *IMAGE)


def snn() -> Any:
    return library("snntorch")


kinds = kinds_of("snntorch")


def hidden(kind: str, *constants: Any, **options: Any) -> Callable[[], nn.Module]:
    """Return a builder of a network whose neurons hold their states; those that are callable take a width."""

    def make(width: int) -> nn.Module:
        own = {k: v(width) if callable(v) else v for k, v in options.items()}
        first = [c(width) if callable(c) else c for c in constants]
        given = {"threshold": 0.2, "init_hidden": True, **own}
        return getattr(snn(), kind)(*first, **given)  # type: ignore[no-any-return]

    return mlp(make, lambda *parts: Steps(nn.Sequential(*parts)))


def each(value: float) -> Callable[[int], Tensor]:
    return lambda width: torch.full((width,), value)


class Tutorial(nn.Module):
    """As the tutorials have it: potentials by hand, the output's spikes and potentials recorded."""

    def __init__(self) -> None:
        super().__init__()
        self.fc1, self.lif1 = nn.Linear(20, 16), snn().Leaky(0.9, threshold=0.3)
        self.fc2, self.lif2 = nn.Linear(16, 4), snn().Leaky(0.9)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        mem1, mem2 = self.lif1.init_leaky(), self.lif2.init_leaky()
        told, also = [], []
        for step in x:
            spk1, mem1 = self.lif1(self.fc1(step), mem1)
            spk2, mem2 = self.lif2(self.fc2(self.read(spk1, mem1)), mem2)
            told.append(spk2)
            also.append(self.hand_out(spk1, mem1, mem2))
        return torch.stack(told), torch.stack(also)

    def read(self, spikes: Tensor, _potential: Tensor) -> Tensor:
        return spikes

    def hand_out(self, _spk1: Tensor, _mem1: Tensor, mem2: Tensor) -> Tensor:
        return mem2


class HandsSpikes(Tutorial):
    """For a regulariser of the rates of a hidden layer."""

    def hand_out(self, spk1: Tensor, _mem1: Tensor, _mem2: Tensor) -> Tensor:
        return spk1


class HandsPotential(Tutorial):
    """For a regulariser of hidden potentials, or to go on with them."""

    def hand_out(self, _spk1: Tensor, mem1: Tensor, _mem2: Tensor) -> Tensor:
        return mem1


class ReadsPotential(Tutorial):
    """The second layer reads the potential."""

    def read(self, _spikes: Tensor, potential: Tensor) -> Tensor:
        return potential


class Wired(nn.Module):
    """Two layers that are wired to themselves, their states by hand."""

    def __init__(self, kind: str, *constants: float) -> None:
        super().__init__()
        make = partial(getattr(snn(), kind), *constants, threshold=0.2)
        self.fc1, self.lif1 = nn.Linear(20, 16), make(linear_features=16)
        self.fc2, self.lif2 = nn.Linear(16, 12), make(linear_features=12)
        self.out = nn.Linear(12, 4)

    def forward(self, x: Tensor) -> Tensor:
        first, second, told = self.lif1.reset_mem(), self.lif2.reset_mem(), []
        for step in x:
            first = self.lif1(self.fc1(step), *first)
            second = self.lif2(self.fc2(first[0]), *second)
            told.append(self.out(second[0]))
        return torch.stack(told)


def convolved() -> nn.Module:
    wired = snn().RLeaky(0.9, conv2d_channels=5, kernel_size=3, threshold=0.2, init_hidden=True)
    return Steps(nn.Sequential(nn.Conv2d(2, 5, 3, padding=1), wired, nn.Flatten(), nn.Linear(180, 4)))


class WithLSTM(nn.Module):
    """A spiking LSTM between two layers."""

    def __init__(self, kind: str) -> None:
        super().__init__()
        conv = kind == "SConv2dLSTM"
        self.first = nn.Conv2d(2, 5, 3, padding=1) if conv else nn.Linear(20, 18)
        self.middle = (
            snn().SConv2dLSTM(5, 4, 3, threshold=0.02) if conv else snn().SLSTM(18, 12, threshold=0.05)
        )
        self.last = nn.Conv2d(4, 6, 3) if conv else nn.Linear(12, 8)
        self.n1, self.n2 = snn().Leaky(0.9, threshold=0.1), snn().Leaky(0.9, threshold=0.02)
        self.out = nn.Linear(96 if conv else 8, 3)

    def forward(self, x: Tensor) -> Tensor:
        syn, mem = self.middle.reset_mem()
        m1, m2, outputs = self.n1.reset_mem(), self.n2.reset_mem(), []
        for step in x:
            s1, m1 = self.n1(self.first(step), m1)
            spikes, syn, mem = self.middle(s1, syn, mem)
            s2, m2 = self.n2(self.last(spikes), m2)
            outputs.append(self.out(s2.flatten(1)))
        return torch.stack(outputs)


_BOTH = ("net.0", "net.2")
_LSTM = "it is wired to itself by the recurrent wrapper middle.lstm_cell"
TRIALS = named(
    (
        Trial("Leaky, as in the tutorials", Tutorial, SERIES, ("fc1",), series="loop",
              neurons=kinds("Leaky")),
        Trial("Leaky, hidden spikes are handed out", HandsSpikes, SERIES, (),
              {"fc1": "it is the output of the network"}, series="loop", neurons=kinds("Leaky")),
        Trial("Leaky, hidden potentials are handed out", HandsPotential, SERIES, ("fc1",), series="loop",
              neurons=kinds("Leaky")),
        Trial("Leaky, a layer reads the potential", ReadsPotential, SERIES, ("fc1",), series="loop",
              neurons=kinds("Leaky")),
        Trial("Synaptic, states by hand", by_hand(lambda _: snn().Synaptic(0.9, 0.8, threshold=0.2)), SERIES,
              ("layers.0", "layers.1"), series="loop", neurons=kinds("Synaptic")),
        *(
            Trial(said, hidden(kind, *constants, **options), SERIES, _BOTH, series="loop",
                  neurons=kinds(kind))
            for said, kind, constants, options in (
                ("Leaky", "Leaky", (0.9,), {}),
                ("Leaky, learnt values each", "Leaky", (each(0.9),),
                 {"threshold": each(0.2), "learn_beta": True, "learn_threshold": True}),
                ("Leaky, rounded state", "Leaky", (0.9,), {"state_quant": lambda _: quantised()}),
                ("Synaptic", "Synaptic", (0.9, 0.8), {}),
                ("Alpha", "Alpha", (0.9, 0.8), {}),
                ("Lapicque", "Lapicque", (0.9,), {}),
                ("RLeaky, one to one", "RLeaky", (0.9,), {"all_to_all": False, "V": each(0.3)}),
            )
        ),
        Trial("Leaky, inhibition", hidden("Leaky", 0.9, inhibition=True), SERIES, (),
              dict.fromkeys(_BOTH, "see one another"), series="loop", neurons=kinds("Leaky")),
        Trial("Leaky, not named", hidden("Leaky", 0.9), SERIES, (),
              dict.fromkeys(_BOTH, "pass neurons=(Leaky,)"), series="loop"),
        Trial("Leaky, potentials of the output handed out",
              lambda: Steps(nn.Sequential(
                  nn.Linear(20, 16), snn().Leaky(0.9, threshold=0.2, init_hidden=True),
                  nn.Linear(16, 3), snn().Leaky(0.9, init_hidden=True, output=True))),
              SERIES, ("net.0",), series="loop", neurons=kinds("Leaky")),
        *(
            Trial(said, hidden(kind, *constants, linear_features=int, **options), SERIES, _BOTH,
                  series="loop", neurons=kinds(kind))
            for said, kind, constants, options in (
                ("RLeaky", "RLeaky", (0.9,), {}),
                ("RLeaky, learnt values each", "RLeaky", (each(0.9),),
                 {"threshold": each(0.2), "learn_beta": True, "learn_threshold": True}),
                ("RSynaptic", "RSynaptic", (0.9, 0.8), {}),
            )
        ),
        *(
            Trial(f"{kind}, states by hand", partial(Wired, kind, *constants), SERIES, ("fc1", "fc2"),
                  series="loop", neurons=kinds(kind))
            for kind, constants in (("RLeaky", (0.9,)), ("RSynaptic", (0.9, 0.8)))
        ),
        *(
            Trial(f"RLeaky, {said}", hidden("RLeaky", 0.9, linear_features=int, **options), SERIES, (),
                  dict.fromkeys(_BOTH, "holds a layer of its own | see one another"), series="loop",
                  neurons=kinds("RLeaky"))
            for said, options in (
                ("inhibition", {"inhibition": True}),
                ("reset to zero", {"reset_mechanism": "zero"}),  # it calls its layer twice a step
            )
        ),
        Trial("RLeaky, convolutional", convolved, FRAMES, (),
              {"net.0": "holds a layer of its own (recurrent)"}, series="loop", neurons=kinds("RLeaky")),
        Trial("RLeaky, not named", hidden("RLeaky", 0.9, linear_features=int), SERIES, (),
              dict.fromkeys(_BOTH, "does not stay at zero through sub()"), series="loop"),
        *(
            Trial(f"SLSTM{said}", partial(WithLSTM, "SLSTM"), SERIES, ("last",), {"first": _LSTM},
                  series="loop", neurons=kinds("Leaky", *names))
            for said, names in (("", ("SLSTM",)), (", not named", ()))
        ),
        Trial("SConv2dLSTM", partial(WithLSTM, "SConv2dLSTM"), FRAMES, ("last",),
              {"first": "changes the shape of its input"}, series="loop",
              neurons=kinds("Leaky", "SConv2dLSTM")),
        Trial("SConv2dLSTM, not named", partial(WithLSTM, "SConv2dLSTM"), FRAMES, ("first", "last"),
              {"middle.conv.channels": "does not stay at zero through sub()"}, series="loop",
              neurons=kinds("Leaky")),
        Trial("LeakyParallel",
              lambda: nn.Sequential(nn.Linear(20, 16), nn.ReLU(), snn().LeakyParallel(16, 12, threshold=0.1),
                                    nn.Linear(12, 5), nn.ReLU(), nn.Linear(5, 3)),
              SERIES, ("3",), {"0": "recurrent layer 2.rnn"}),
    )
)  # fmt: skip


def quantised() -> Any:
    return library("snntorch.functional.quant").state_quant(num_bits=8)
