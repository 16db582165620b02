"""Methods against each other: conv-snn on MNIST's first 6,000 training images, all 10,000 test images.

    python -m benchmarks.papers.comparison --out FOLDER [--seeds 0 1 2] [--only dpap hebb] [--root FOLDER]
    python -m benchmarks.papers.comparison --out FOLDER --table

Every method is asked for the same share of all weights and gets the same first weights, batches and budget,
on one thread. A cell is one method with one seed, and a file of its own: cells that are there are not trained
again, so the command may be stopped and repeated. Accuracy is that of the network after the last epoch; the
test set is looked at once. `--table` prints what is there as Markdown.

Data sets are found in the folder that SNNPRUNE_DATA names, or in --root. A loop of its own: a bench has each
method once, and compares it with the unpruned network alone.
"""

from __future__ import annotations

import itertools
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

import snnprune
from benchmarks.harness import accuracy, cells, once, parser, spread, step
from snnprune import data
from snnprune.common.statistics import paired_difference
from snnprune.config.schema import DataConfig, ModelConfig
from snnprune.nn import models
from snnprune.nn.losses import squared_error
from snnprune.training.sampler import EpochSampler
from support.markdown import table

if TYPE_CHECKING:
    from collections.abc import Iterator

    from torch import Tensor

TARGET = 0.6
TRAINING_IMAGES = 6000
STEPS = 4  # T; with 8, as configs/mnist has it, everything takes twice the time
EPOCHS = 16
BATCH = 100
LEARNING_RATE = 1e-3  # of Adam, constant

METHODS: dict[str, tuple[str, dict[str, Any]]] = {
    "dense": ("dense", {}),
    "DPAP (BCM)": ("dpap", {"target": TARGET}),
    "DPAP, Hebb": ("hebb", {"target": TARGET}),
    "DPAP, STDP": ("stdp", {"target": TARGET}),
    "magnitude": ("magnitude", {"target": TARGET}),
    "random": ("random", {"target": TARGET}),
    "Grad R": ("grad-r", {"target": TARGET}),
    "Deep R": ("deep-r", {"target": TARGET}),
    "magnitude, units of DPAP": ("magnitude", {"target": TARGET, "unit": "both"}),
    "random, units of DPAP": ("random", {"target": TARGET, "unit": "both"}),
}
"""By the name in the table: the method, and its options."""

Cell = dict[str, Any]


def train(name: str, seed: int, splits: data.Splits, config: DataConfig, epochs: int) -> Cell:
    """Train one cell and return its numbers."""
    begun = time.perf_counter()
    torch.manual_seed(seed)
    model = models.build(ModelConfig("conv-snn"), splits.shape, len(splits.classes))
    snnprune.accelerate(model, channels_last=True)
    optimizer = torch.optim.Adam(model.parameters(), LEARNING_RATE)
    order = EpochSampler(TRAINING_IMAGES, seed)
    example = next(batches(splits.train, config, range(BATCH)))[0]
    method, options = METHODS[name]
    pruned = []
    with snnprune.Pruner(model, example, method, epochs=epochs, seed=seed, **options) as pruner:
        for epoch in range(epochs):
            order.set_epoch(epoch)
            model.train()
            for x, labels in batches(splits.train, config, order):
                step(
                    model,
                    optimizer,
                    lambda x=x, y=labels: squared_error(model(x).mean(0), y),
                    pruner.step,
                )
            pruner.end_epoch()
            pruned.append(pruner.rates().synapses)
        rates = pruner.rates()
    return {
        "method": name,
        "seed": seed,
        "accuracy": accuracy(model, batches(splits.test, config, range(len(splits.test)))),
        "pruned_synapses": rates.synapses,
        "pruned_neurons": rates.neurons,
        "macs": rates.macs_left,
        "macs_dense": rates.macs_dense,
        "layers": {layer: cost.pruned for layer, cost in rates.layers.items()},
        "pruned_by_epoch": pruned,
        "settings": {"T": STEPS, "epochs": epochs, "batch": BATCH, "lr": LEARNING_RATE, **options},
        "seconds": time.perf_counter() - begun,
    }


def batches(frames: data.FrameSet, config: DataConfig, order: Any) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield encoded batches [T, B, C, H, W] with their labels."""
    indices = list(order)
    for first in range(0, len(indices), BATCH):
        images, labels = frames.__getitems__(indices[first : first + BATCH])
        yield data.encode(images, config, torch.Generator(), time=True), labels


def path_of(folder: Path, name: str, seed: int) -> Path:
    """Return the file of a cell."""
    word = "".join(c if c.isalnum() else "-" for c in name.lower())
    return folder / f"{word}-seed{seed}.json"


def by_method(folder: Path) -> dict[str, dict[int, Cell]]:
    """Return the cells that are there, by method and seed, in the order of `METHODS`."""
    found: dict[str, dict[int, Cell]] = {name: {} for name in METHODS}
    for cell in cells(folder):
        found[cell["method"]][cell["seed"]] = cell
    return {name: by_seed for name, by_seed in found.items() if by_seed}


def compared(found: dict[str, dict[int, Cell]]) -> str:
    """Return the numbers of every method, and their differences to the first pruned one, paired by seed."""
    points = _points(found)
    rows = [
        (
            name,
            len(own),
            spread(list(points[name].values())),
            spread([100 * c["pruned_synapses"] for c in own.values()]),
            spread([100 * c["pruned_neurons"] for c in own.values()]),
            spread([100 * c["macs"] / c["macs_dense"] for c in own.values()]),
            _difference(points, name, "DPAP (BCM)"),
        )
        for name, own in found.items()
    ]
    head = ":method | seeds | accuracy, % | pruned, % | neurons pruned, % | MACs left, % | :to DPAP, points"
    return table(head, rows)


def _points(found: dict[str, dict[int, Cell]]) -> dict[str, dict[int, float]]:
    """Return accuracies in points, by method and seed."""
    return {name: {s: 100 * c["accuracy"] for s, c in own.items()} for name, own in found.items()}


def _difference(points: dict[str, dict[int, float]], name: str, reference: str) -> str:
    between = paired_difference(points[name], points.get(reference, {})) if name != reference else None
    if between is None:
        return "-"
    if between.half is None:
        return f"{between.mean:+.2f} (one seed)"
    verdict = "beyond the spread" if between.excludes_zero else "within the spread"
    return f"{between.mean:+.2f} ± {between.half:.2f}: {verdict}"


def apart(found: dict[str, dict[int, Cell]]) -> list[str]:
    """Return all pairs whose difference in accuracy, paired by seed, excludes zero."""
    points = _points(found)
    pairs = list(itertools.combinations(points, 2))
    said = []
    for first, second in pairs:
        between = paired_difference(points[first], points[second])
        if between is not None and between.half is not None and between.excludes_zero:
            said.append(f"{first} - {second}: {between.mean:+.2f} ± {between.half:.2f} points")
    return [f"beyond the spread, of {len(pairs)} pairs:", *(said or ["none"])]


def main() -> None:
    options = parser(__doc__)
    options.add_argument("--out", type=Path, required=True)
    options.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    options.add_argument("--only", nargs="+", choices=METHODS, default=list(METHODS), metavar="METHOD")
    options.add_argument("--epochs", type=int, default=EPOCHS)
    options.add_argument("--root", default=None, help="folder of the data sets")
    options.add_argument("--table", action="store_true", help="print what is there, train nothing")
    given = options.parse_args()
    if not given.table:
        torch.set_num_threads(1)
        config = DataConfig("mnist", root=given.root, time_steps=STEPS, validation=0.0)
        splits = data.load(config)
        for seed, name in itertools.product(given.seeds, given.only):
            file = path_of(given.out, name, seed)
            cell = once(file, lambda name=name, seed=seed: train(name, seed, splits, config, given.epochs))
            print(f"{name}, seed {seed}: {cell['accuracy']:.2%}, {cell['seconds']:.0f} s", flush=True)
    found = by_method(given.out)
    print("\n".join([compared(found), "", *apart(found)]))
    print("\nintervals: 95 %, Student, of differences paired by seed; ± in the other columns: one deviation")


if __name__ == "__main__":
    main()
