"""What every optimiser of PyTorch and of four other packages makes of masks, and of cuts during training.

    python -m benchmarks.compaction.optimisers [--package torch timm pytorch_optimizer ...] [--only NAME]

A small network is trained twice from the same weights: with masks alone, and with a cut after each epoch.
Both have to come to the same masks and, for the living, to the same weights; or the pruner has to say that a
cut is not for this optimiser, or changes its training. What differs without a word ends the command with an
error.

Packages that are not installed are left out. A loop of its own, because a run of `snnprune bench` trains with
three optimisers only.
"""

from __future__ import annotations

import contextlib
import importlib
import io
import os
import sys
import warnings
from dataclasses import dataclass
from importlib import metadata
from typing import Any

import torch
from torch import nn
from torch.nn import functional as F

from benchmarks.harness import about, parser
from snnprune.common.errors import first_line
from snnprune.pruning import Pruner
from support.markdown import table
from support.optimisers import PLACES, Make, optimisers

EPOCHS, BATCHES, SAMPLES = 6, 4, 16
TARGET = 0.6
ROUNDING = 1e-6
"""Largest difference of a weight, in float64, that comes of sums in another order."""


@dataclass(frozen=True)
class Outcome:
    """What became of one optimiser.

    Attributes:
        word: "equal", "differs, said", "refused, said", "differs" or "fails without a pruner".
        masks: entries of the two networks' masks that differ.
        weights: largest difference of a living weight.
        said: the warning that speaks of it.
    """

    word: str
    masks: int | None = None
    weights: float | None = None
    said: str = ""


# --- a run


def train(
    make: Make, dtype: torch.dtype, *, pruned: bool = True, every: int | None = None
) -> tuple[nn.Module, Any]:
    """Train, and return the network and its pruner."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(8, 32), nn.ReLU(), nn.Linear(32, 24), nn.ReLU(), nn.Linear(24, 3)).to(
        dtype
    )
    x = torch.rand(EPOCHS, BATCHES, SAMPLES, 8, generator=torch.Generator().manual_seed(1)).to(dtype)
    y = x[..., :3].argmax(-1)
    optimizer = make(model)
    if callable(getattr(optimizer, "train", None)):
        optimizer.train()
    pruner = (
        Pruner(model, x[0, 0], "dpap", epochs=EPOCHS, target=TARGET, compact_every=every) if pruned else None
    )
    for epoch in range(EPOCHS):
        for batch in range(BATCHES):

            def closure(at: tuple[int, int] = (epoch, batch)) -> torch.Tensor:
                optimizer.zero_grad()
                loss = F.cross_entropy(model(x[at]), y[at])
                loss.backward(create_graph=_needs_graph(optimizer))  # type: ignore[no-untyped-call]
                return loss

            closure()
            optimizer.step(closure)
            if pruner is not None:
                pruner.step(optimizer)
        if pruner is not None:
            pruner.end_epoch()
    return model, pruner


def _needs_graph(optimizer: Any) -> bool:
    return any(word in type(optimizer).__name__.lower() for word in ("hessian", "sophia"))


def outcome(make: Make) -> Outcome:
    """Train with masks and with cuts, and compare."""
    for dtype in (torch.float64, torch.float32):
        try:
            train(make, dtype, pruned=False)
        except Exception as error:
            said = first_line(error)
            continue
        return _compared(make, dtype)
    return Outcome("fails without a pruner", said=said)


def _compared(make: Make, dtype: torch.dtype) -> Outcome:
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        model, pruner = train(make, dtype)
        small, cut = train(make, dtype, every=1)
    said = next((str(w.message) for w in caught if "masks" in str(w.message)), "")
    one, other = pruner.dense_masks(), cut.dense_masks()
    masks = sum(int((one[kind][name] != mask).sum()) for kind in one for name, mask in other[kind].items())
    taken = cut.survivors.cut(cut.dense)
    parameters = dict(small.named_parameters())
    apart = max(
        float((taken.take(name, weight) - parameters[name].detach()).abs().max())
        for name, weight in model.state_dict().items()
    )
    if small[0].out_features == model[0].out_features:
        return Outcome(
            "refused, said" if "cannot go along" in said or said else "not cut", masks, apart, said
        )
    equal = masks == 0 and apart < (ROUNDING if dtype is torch.float64 else 1e-3)
    word = "equal" if equal else "differs, said" if "takes other steps" in said else "differs"
    return Outcome(word, masks, apart, said)


def main() -> None:
    """Try the optimisers, and print what became of them."""
    arguments = parser(__doc__)
    arguments.add_argument("--package", nargs="+", default=list(PLACES), choices=list(PLACES))
    arguments.add_argument("--only", help="optimisers whose name has this in it")
    args = arguments.parse_args()
    os.environ["TORCHDYNAMO_DISABLE"] = "1"  # compiling a step takes minutes
    silent = []
    for package in args.package:
        try:
            importlib.import_module(PLACES[package])
        except ImportError:
            continue
        rows = []
        for name, make in optimisers(package):
            if args.only is not None and args.only not in name:
                continue
            with contextlib.redirect_stdout(io.StringIO()):
                found = outcome(make)
            silent += [f"{package}: {name}"] if found.word in {"differs", "not cut"} else []
            apart = "-" if found.weights is None else f"{found.weights:.0e}"
            rows.append(
                (name, found.word, "-" if found.masks is None else found.masks, apart, found.said[:120])
            )
            print("#", *rows[-1], file=sys.stderr)
        version = torch.__version__ if package == "torch" else metadata.version(package)
        print(f"\n{package} {version}\n")
        print(table(":optimiser | :cut each epoch | mask entries | weights | :what is said", rows))
    print(f"\n{about()}")
    if silent:
        sys.exit(f"differ without a word: {', '.join(silent)}")


if __name__ == "__main__":
    main()
