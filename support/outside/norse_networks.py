"""Networks of norse 1.1: neurons hand out (spikes, state), a SequentialState the states of all."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from support.outside.parts import IMAGE, ROWS, Taken, by_hand, kinds_of, library, mlp, named
from support.outside.trial import SAMPLES, STEPS, Trial

if TYPE_CHECKING:
    from collections.abc import Callable

SERIES = (STEPS, SAMPLES, *ROWS)
FRAMES = (STEPS, SAMPLES, *IMAGE)


def norse() -> Any:
    return library("norse.torch")


kinds = kinds_of("norse.torch")


def neuron(kind: str, parameters: str = "LIF", v_th: float = 0.05) -> Any:
    """Return a neuron with a low threshold: currents last a thousandth of a time constant."""
    made = getattr(norse(), f"{parameters}Parameters")(v_th=torch.as_tensor(v_th))
    return getattr(norse(), kind)(made)


def sequence(*parts: Callable[[], nn.Module]) -> Callable[[], nn.Module]:
    return lambda: norse().SequentialState(*(part() for part in parts))


def series(make: Callable[[], nn.Module]) -> Callable[[], nn.Module]:
    return mlp(lambda _: make(), lambda *parts: norse().SequentialState(*parts))


def lif() -> nn.Module:
    return neuron("LIF")


def linear(a: int, b: int) -> Callable[[], nn.Module]:
    return lambda: nn.Linear(a, b)


def lifted(part: Callable[[], nn.Module]) -> Callable[[], nn.Module]:
    return lambda: norse().Lift(part())


def conv(a: int, b: int) -> Callable[[], nn.Module]:
    return lambda: nn.Conv2d(a, b, 3, padding=1)


def block() -> nn.Module:
    """Return a whole network of one step in a Lift."""
    cell = partial(neuron, "LIFCell")
    return norse().Lift(  # type: ignore[no-any-return]
        norse().SequentialState(
            nn.Conv2d(2, 8, 3, padding=1), cell(), nn.MaxPool2d(2), nn.Flatten(),
            nn.Linear(72, 12), cell(), nn.Linear(12, 4), norse().LICell(),
        )
    )  # fmt: skip


def recurrent(size: int) -> Callable[[], nn.Module]:
    return sequence(
        linear(20, 16), lif, *((linear(16, 16),) if size == 16 else ()),
        lambda: norse().LIFRecurrent(16, size, norse().LIFParameters(v_th=torch.as_tensor(0.05))),
        linear(size, 5), lif, linear(5, 3),
    )  # fmt: skip


_UNNAMED = "pass neurons=(LIF,)"
_OF_SHAPE = "changes the shape of its input"
TRIALS = named(
    (
        *(
            Trial(
                f"{cell}, states by hand", by_hand(lambda _, c=cell, p=p: neuron(c, p)), SERIES,
                ("layers.0", "layers.1"), series="loop", neurons=kinds(cell),
            )
            for cell, p in (
                ("LIFCell", "LIF"), ("LIFBoxCell", "LIFBox"), ("IAFCell", "IAF"), ("LSNNCell", "LSNN"),
            )
        ),
        *(
            Trial(
                f"{cell}, states by hand", by_hand(lambda _, c=cell: getattr(norse(), c)()), SERIES,
                ("layers.0", "layers.1"), series="loop", neurons=kinds(cell),
            )
            for cell in ("LIFRefracCell", "LIFAdExCell", "LIFExCell")
        ),
        Trial(
            "IzhikevichCell, states by hand",
            by_hand(lambda _: norse().IzhikevichCell(norse().tonic_spiking)),
            SERIES, ("layers.0", "layers.1"), series="loop", neurons=kinds("IzhikevichCell"),
        ),
        *(
            Trial(kind, series(partial(neuron, kind, kind)), SERIES, ("0", "2"), neurons=kinds(kind))
            for kind in ("LIF", "IAF", "LSNN")
        ),
        *(
            Trial(
                kind, series(partial(neuron, kind, kind)), SERIES, ("0", "2"), neurons=kinds(kind),
                uncut="outputs 1 without input",  # its exponential current crosses so low a threshold
            )
            for kind in ("LIFAdEx", "LIFEx")
        ),
        Trial("LIF, not named", series(lif), SERIES, (), {"0": _UNNAMED, "2": _UNNAMED}),
        Trial(
            "Lift(Conv2d)",
            sequence(
                lifted(conv(2, 8)), lif, lifted(lambda: nn.AvgPool2d(2)), lifted(conv(8, 6)), lif,
                lambda: nn.Flatten(2), linear(54, 4),
            ),
            FRAMES, ("0.lifted_module", "3.lifted_module"), neurons=kinds("LIF"),
        ),
        *(
            Trial(
                f"Lift(SequentialState), {said}", block, FRAMES, ("lifted_module.0", "lifted_module.4"),
                series="loop", neurons=kinds(*names),
            )
            for said, names in (
                ("LICell named", ("LIFCell", "LICell")), ("LICell not named", ("LIFCell",)),
            )
        ),
        Trial(
            "LIFRecurrent", recurrent(12), SERIES, ("3",), {"0": _OF_SHAPE},
            neurons=kinds("LIF", "LIFRecurrent"),
        ),
        Trial(
            "LIFRecurrent, not named", recurrent(12), SERIES, ("3",), {"0": "pass neurons=(LIFRecurrent,)"},
            neurons=kinds("LIF"),
        ),
        Trial(
            "LIFRecurrent, as many as before it", recurrent(16), SERIES, ("0", "4"),
            {"2": "see one another"},
            neurons=kinds("LIF", "LIFRecurrent"),
        ),
        Trial(
            "LI as the readout", sequence(linear(20, 16), lif, linear(16, 3), lambda: norse().LI()), SERIES,
            ("0",), neurons=kinds("LIF", "LI"),
        ),
        Trial(
            "LI inside", sequence(linear(20, 16), lif, linear(16, 12), lambda: norse().LI(), linear(12, 3)),
            SERIES, ("0", "2"), neurons=kinds("LIF", "LI"),
        ),
        Trial(
            "LConv2d",
            sequence(
                lambda: norse().LConv2d(2, 8, 3), lif, lambda: norse().LConv2d(8, 6, 3), lif,
                lambda: nn.Flatten(2), linear(24, 4),
            ),
            FRAMES, (), {"0": "in its own way (LConv2d)", "2": "in its own way (LConv2d)"},
            neurons=kinds("LIF"),
        ),
        Trial(
            "LIF, states dropped",
            lambda: nn.Sequential(
                nn.Linear(20, 16), Taken(lif()), nn.Linear(16, 12), Taken(lif()), nn.Linear(12, 3)
            ),
            SERIES, ("0", "2"), neurons=kinds("LIF"),
        ),
    )
)  # fmt: skip
