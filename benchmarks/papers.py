"""The tables of the BSP and BDNN papers: three-layer networks, from a few samples.

    python benchmarks/papers.py run FOLDER          # what is there already is not done again
    python benchmarks/papers.py table FOLDER

Each cell of a table is a file in FOLDER, with the test accuracy after every epoch, so that a run that was
stopped goes on. A plain loop, since a trainer would cost a third of the time of networks as small as these;
the network, the data, the methods and the pruner are those that `snnprune train` takes.
"""

from __future__ import annotations

import argparse
import itertools
import json
import statistics
import sys
import time
from collections import defaultdict
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch.nn import functional as F

from snnprune import atomic, data, models
from snnprune.config import DataConfig, ModelConfig
from snnprune.measures.convergence import learning_speed
from snnprune.pruning import Pruner
from snnprune.registry import METHODS, build
from snnprune.seeds import Stream, generator

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from torch import Tensor, nn

DATASETS = {"mnist": "MNIST", "fashion-mnist": "Fashion-MNIST"}
HIDDEN = (10, 100, 500)
SAMPLES, EPOCHS = 1200, 500
BSP_BATCH, DSD_BATCH = 20, 600


@dataclass(frozen=True)
class Cell:
    """One network, trained once.

    Attributes:
        dataset: its name.
        hidden: units of the hidden layer.
        name: of the row.
        batch: samples of a step.
        seed: of weights, order and dropout.
        method: what prunes or bounds it.
        options: of the method.
        dropout: of the hidden units.
        decay: of the weights (L2).
    """

    dataset: str
    hidden: int
    name: str
    batch: int
    seed: int
    method: str = "dense"
    options: dict[str, Any] = field(default_factory=dict)
    dropout: float = 0.0
    decay: float = 0.0

    @property
    def file(self) -> str:
        """Name of the file that holds it."""
        return f"{self.dataset}-h{self.hidden}-{self.name}-b{self.batch}-s{self.seed}.json"


ROWS = (
    Cell("", 0, "plain", BSP_BATCH, 0),
    Cell("", 0, "dropout", BSP_BATCH, 0, dropout=0.5),
    Cell("", 0, "bsp", BSP_BATCH, 0, method="bsp"),
    Cell("", 0, "plain", DSD_BATCH, 0),
    Cell("", 0, "dropout", DSD_BATCH, 0, dropout=0.5),
    Cell("", 0, "l2", DSD_BATCH, 0, decay=1e-3),
    Cell("", 0, "bdnn-dsd", DSD_BATCH, 0, method="bdnn-dsd"),
)
"""What is compared, each at the batch size of the paper that it stands in. The papers print neither the
dropout rate nor the strength of L2: 0.5 and 1e-3 are ours."""

PAPER = {
    ("mnist", 10): {"plain": "81.38", "dropout": "78.97", "l2": "81.33", "bdnn-dsd": "83.76 (L 7.21)"},
    ("mnist", 100): {"plain": "85.01", "dropout": "87.74", "l2": "88.65", "bdnn-dsd": "89.56 (L 9.01)"},
    ("fashion-mnist", 10): {
        "plain": "76.03",
        "dropout": "73.63",
        "l2": "75.93",
        "bdnn-dsd": "78.54 (L 3.33)",
    },
    ("fashion-mnist", 100): {
        "plain": "78.12",
        "dropout": "79.89",
        "l2": "80.49",
        "bdnn-dsd": "80.77 (L 3.2)",
    },
}
"""Accuracy in per cent that the BDNN-dsd paper prints, at batch 600; there is no row for 500 hidden units."""

PAPER_BSP = {("mnist", 500): "90.31 % pruned", ("fashion-mnist", 10): "81.74 % pruned, 0.7 points lost"}
"""What the BSP paper prints of 1,200 samples; of all settings, 59 to 90 % pruned and L above 1."""


def cells(seeds: Sequence[int], datasets: Sequence[str], hidden: Sequence[int]) -> Iterator[Cell]:
    """Yield every cell, all those of the first seed first."""
    for seed, size, dataset, row in itertools.product(seeds, hidden, datasets, ROWS):
        yield replace(row, dataset=dataset, hidden=size, seed=seed)


@dataclass(frozen=True)
class Images:
    """Samples in memory: pixels [N, C, H, W] in [0, 1], and labels [N]."""

    pixels: Tensor
    labels: Tensor

    @staticmethod
    def of(frames: data.FrameSet) -> Images:
        """Take all of a set."""
        pixels, labels = frames.__getitems__(range(len(frames)))
        return Images(pixels.float().div_(255), labels)


def read(dataset: str, **options: Any) -> tuple[data.Splits, Images, Images, Images]:
    """Return a data set, and its training, validation and test images."""
    splits = data.load(DataConfig(name=dataset, **options))
    train, validation, test = (Images.of(s) for s in (splits.train, splits.validation, splits.test))
    return splits, train, validation, test


def network(cell: Cell, splits: data.Splits) -> nn.Module:
    """Return the papers' network: sigmoid hidden units, logits."""
    torch.manual_seed(cell.seed)
    config = ModelConfig(name="mlp-ann", activation="sigmoid", hidden=cell.hidden, dropout=cell.dropout)
    return models.build(config, splits.shape, len(splits.classes))


def learn(
    model: nn.Module, train: Images, optimizer: torch.optim.Optimizer, pruner: Pruner, cell: Cell
) -> None:
    """Train an epoch, in an order that seed and epoch decide."""
    model.train()
    dice = generator(torch.device("cpu"), cell.seed, Stream.ORDER, pruner.clock.epoch)
    for chosen in torch.randperm(len(train.labels), generator=dice).split(cell.batch):
        loss = F.cross_entropy(model(train.pixels[chosen]), train.labels[chosen])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        pruner.step(optimizer)


@torch.no_grad()
def accuracy(model: nn.Module, images: Images) -> float:
    """Return the share of ``images`` that the network names rightly."""
    hits = sum(
        int((model.eval()(x).argmax(1) == y).sum())
        for x, y in zip(images.pixels.split(1000), images.labels.split(1000), strict=True)
    )
    return hits / len(images.labels)


def train_cell(cell: Cell, epochs: int) -> dict[str, Any]:
    """Train one cell and return what it came to."""
    splits, train, _, test = read(cell.dataset, samples=SAMPLES)
    model = network(cell, splits)
    optimizer = torch.optim.SGD(model.parameters(), 0.1, weight_decay=cell.decay)
    method = build(METHODS, "method", cell.method, cell.options)
    began, curve, pruned = time.perf_counter(), [], []
    with Pruner(
        model, train.pixels[:1], method, epochs=epochs, seed=cell.seed, samples=len(train.labels)
    ) as pruner:
        for _ in range(epochs):
            learn(model, train, optimizer, pruner, cell)
            curve.append(accuracy(model, test))
            pruned.append(pruner.rates().synapses)  # of the network that was just measured
            if pruner.clock.decisions_left:
                pruner.end_epoch()
        layers = {name: layer.pruned for name, layer in pruner.rates().layers.items()}
    weights = torch.cat([p.detach().flatten() for p in model.parameters() if p.ndim > 1])
    return {
        "cell": asdict(cell),
        "epochs": epochs,
        "accuracy": curve,
        "pruned": pruned,
        "layers": layers,
        "histogram": torch.histc(weights, 60, -1.5, 1.5).int().tolist(),
        "seconds": round(time.perf_counter() - began, 1),
    }


def run(folder: Path, given: argparse.Namespace) -> None:
    """Train what is not there yet."""
    folder.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(1)
    for cell in cells(given.seeds, given.datasets, given.hidden):
        file = folder / cell.file
        if not file.exists():
            done = train_cell(cell, given.epochs)
            atomic.write_text(file, json.dumps(done))
            print(f"{file.stem}: {100 * done['accuracy'][-1]:.2f} %, {done['seconds']:.0f} s", flush=True)


# --- tables


def spread(values: Sequence[float], form: str = "{:.2f}") -> str:
    """Return the mean and, of several values, their standard deviation."""
    mean = form.format(statistics.mean(values))
    return mean if len(values) < 2 else f"{mean} ± {form.format(statistics.stdev(values))}"


Runs = dict[tuple[str, int, str, int], dict[int, dict[str, Any]]]


def load(folder: Path) -> Runs:
    """Return all finished cells, by what they are and by seed."""
    found: Runs = defaultdict(dict)
    for file in sorted(folder.glob("*.json")):
        done = json.loads(file.read_text(encoding="utf-8"))
        cell = done["cell"]
        if "name" in cell:
            found[cell["dataset"], cell["hidden"], cell["name"], cell["batch"]][cell["seed"]] = done
    return found


def table(folder: Path) -> list[str]:
    """Return the table of the regularisers, as Markdown."""
    runs = load(folder)
    lines = [
        "| data, hidden units | row | batch | seeds | accuracy, last epoch (%) | best epoch (%) | L "
        "| pruned (%) | the paper's |",
        "| --- | --- | ---: | ---: | ---: | ---: | ---: | ---: | --- |",
    ]
    for (dataset, title), hidden, row in itertools.product(DATASETS.items(), HIDDEN, ROWS):
        own = runs.get((dataset, hidden, row.name, row.batch))
        if not own:
            continue
        plain = runs.get((dataset, hidden, "plain", row.batch), {})
        races = [
            learning_speed(plain[seed]["accuracy"], done["accuracy"])
            for seed, done in own.items()
            if seed in plain and row.name != "plain"
        ]
        speeds = [race.ratio for race in races if race is not None and race.ratio is not None]
        printed = PAPER.get((dataset, hidden), {}).get(row.name, "-") if row.batch == DSD_BATCH else "-"
        if row.name == "bsp":
            printed = PAPER_BSP.get((dataset, hidden), "-")
        cells = (
            f"{title}, {hidden}",
            row.name,
            str(row.batch),
            str(len(own)),
            spread([100 * done["accuracy"][-1] for done in own.values()]),
            spread([100 * max(done["accuracy"]) for done in own.values()]),
            spread(speeds) if speeds else "-",
            spread([100 * done["pruned"][-1] for done in own.values()]) if row.method == "bsp" else "-",
            printed,
        )
        lines.append(f"| {' | '.join(cells)} |")
    return lines


def main() -> int:
    """Run cells, or print the tables of those that are there."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("what", choices=["run", "table"])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    parser.add_argument("--datasets", nargs="+", default=list(DATASETS))
    parser.add_argument("--hidden", nargs="+", type=int, default=list(HIDDEN))
    parser.add_argument("--epochs", type=int, default=EPOCHS)
    given = parser.parse_args()
    if given.what == "run":
        run(given.folder, given)
    else:
        print("\n".join(table(given.folder)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
