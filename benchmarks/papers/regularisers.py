"""The tables and pictures of the BSP and BDNN-dsd papers: three-layer networks, most from a few samples.

    python -m benchmarks.papers.regularisers run FOLDER          # what is there already is not done again
    python -m benchmarks.papers.regularisers run FOLDER --plan sweeps
    python -m benchmarks.papers.regularisers run FOLDER --plan initial
    python -m benchmarks.papers.regularisers run FOLDER --plan large --seeds 0
    python -m benchmarks.papers.regularisers table FOLDER
    python -m benchmarks.papers.regularisers pictures FOLDER [PICTURES]

Each cell of a table is a file in FOLDER, with the test accuracy after every epoch, so that a run that was
stopped goes on. A plain loop, since a bench knows no dropout, L2 or initial weights of several sizes, and a
trainer would cost a third of the time of networks as small as these; the network, the data, the methods and
the pruner are those that `snnprune train` takes.
"""

from __future__ import annotations

import itertools
import time
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import nn
from torch.nn import functional as F

from benchmarks.harness import IMAGES, accuracy, once, parser, step
from benchmarks.papers import regularisers_shown
from benchmarks.papers.regularisers_shown import DSD_BATCH
from snnprune import data
from snnprune.common.seeds import Stream, generator
from snnprune.config.names import METHODS, build
from snnprune.config.schema import DataConfig, ModelConfig
from snnprune.methods.bdnn_dsd import BDNNdsd
from snnprune.nn import models
from snnprune.pruning import Pruner

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator

    from torch import Tensor

DATASETS = ("mnist", "fashion-mnist")
HIDDEN = (10, 100, 500)
SAMPLES, EPOCHS = 1200, 500
BINS, EDGE = 160, 2.0  # of the histograms of weights; what is larger is left out
BSP_BATCH = 20


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
        samples: trained on; None for all but those set aside.
        deviation: of the initial weights; None for 1 / sqrt(fan-in).
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
    samples: int | None = SAMPLES
    deviation: float | None = None

    @property
    def file(self) -> str:
        """Name of the file that holds it."""
        size = "" if self.samples == SAMPLES else "all-"
        return f"{self.dataset}-{size}h{self.hidden}-{self.name}-b{self.batch}-s{self.seed}.json"


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

LARGE = (
    *(row for row in ROWS if row.batch == DSD_BATCH),
    Cell("", 0, "bsp", DSD_BATCH, 0, method="bsp"),
)
"""With all samples both papers take batches of 600."""

LARGE_DATASETS, LARGE_HIDDEN = (*DATASETS, "cifar10"), 100

SWEEPS: dict[str, tuple[float, ...]] = {
    "R_i": (0.15, 0.3, 0.45, 0.6, 0.9),
    "R_d": (0.01, 0.03, 0.06, 0.12, 0.24),
    "T_num": (2, 5, 10, 20, 50),
}
"""Values of the constants of BDNN-dsd around the paper's, one at a time (its Fig. 4)."""

SWEPT, SWEPT_HIDDEN = "mnist", 100


DEVIATIONS = (0.1, 0.2, 0.5, 1.0)
"""Of initial weights, which no paper prints: bounds of 0.45 clip only weights that begin that large."""


def regularisers(given: argparse.Namespace) -> Iterator[Cell]:
    """Yield the cells of the table, all those of the first seed first."""
    datasets = given.datasets or DATASETS
    for seed, size, dataset, row in itertools.product(given.seeds, given.hidden, datasets, ROWS):
        yield replace(row, dataset=dataset, hidden=size, seed=seed)


def sweeps(given: argparse.Namespace) -> Iterator[Cell]:
    """Yield a cell for every value of every constant of BDNN-dsd."""
    for seed, (constant, values) in itertools.product(given.seeds, SWEEPS.items()):
        for value in values:
            name = f"{constant}={value:g}"
            options = {constant: value}
            yield Cell(SWEPT, SWEPT_HIDDEN, name, DSD_BATCH, seed, method="bdnn-dsd", options=options)


def initial(given: argparse.Namespace) -> Iterator[Cell]:
    """Yield plain networks and BDNN-dsd from initial weights of several sizes."""
    rows = [row for row in ROWS if row.batch == DSD_BATCH and row.name in {"plain", "bdnn-dsd"}]
    for seed, hidden, size, row in itertools.product(given.seeds, HIDDEN[:2], DEVIATIONS, rows):
        name = f"{row.name}@{size:g}"
        yield replace(row, dataset=SWEPT, hidden=hidden, seed=seed, name=name, deviation=size)


def large(given: argparse.Namespace) -> Iterator[Cell]:
    """Yield the cells that train on all samples."""
    for seed, dataset, row in itertools.product(given.seeds, given.datasets or LARGE_DATASETS, LARGE):
        yield replace(row, dataset=dataset, hidden=LARGE_HIDDEN, seed=seed, samples=None)


PLANS = {"regularisers": regularisers, "sweeps": sweeps, "initial": initial, "large": large}


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

    def batches(self) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield all samples, a thousand at a time."""
        return zip(self.pixels.split(1000), self.labels.split(1000), strict=True)


def read(dataset: str, **options: Any) -> tuple[data.Splits, Images, Images, Images]:
    """Return a data set, and its training, validation and test images."""
    splits = data.load(DataConfig(name=dataset, **options))
    train, validation, test = (Images.of(s) for s in (splits.train, splits.validation, splits.test))
    return splits, train, validation, test


def network(cell: Cell, splits: data.Splits) -> nn.Module:
    """Return the papers' network: sigmoid hidden units, logits."""
    torch.manual_seed(cell.seed)
    config = ModelConfig(name="mlp-ann", activation="sigmoid", hidden=cell.hidden, dropout=cell.dropout)
    model = models.build(config, splits.shape, len(splits.classes))
    if cell.deviation is not None:
        for weight in model.parameters():
            if weight.ndim > 1:
                nn.init.normal_(weight, 0.0, cell.deviation)
    return model


def learn(
    model: nn.Module, train: Images, optimizer: torch.optim.Optimizer, pruner: Pruner, cell: Cell
) -> None:
    """Train an epoch, in an order that seed and epoch decide."""
    model.train()
    dice = generator(torch.device("cpu"), cell.seed, Stream.ORDER, pruner.clock.epoch)
    for chosen in torch.randperm(len(train.labels), generator=dice).split(cell.batch):
        x, y = train.pixels[chosen], train.labels[chosen]
        step(model, optimizer, lambda x=x, y=y: F.cross_entropy(model(x), y), pruner.step)


def train_cell(cell: Cell, epochs: int) -> dict[str, Any]:
    """Train one cell and return what it came to."""
    splits, train, _, test = read(cell.dataset, samples=cell.samples)
    model = network(cell, splits)
    optimizer = torch.optim.SGD(model.parameters(), 0.1, weight_decay=cell.decay)
    method = build(METHODS, "method", cell.method, cell.options)
    began = time.perf_counter()
    curves: dict[str, list[float]] = {"accuracy": [], "pruned": [], "zeros": []}
    if isinstance(method, BDNNdsd):
        curves["bound"] = []
    with Pruner(
        model, train.pixels[:1], method, epochs=epochs, seed=cell.seed, samples=len(train.labels)
    ) as pruner:
        for _ in range(epochs):
            learn(model, train, optimizer, pruner, cell)
            curves["accuracy"].append(accuracy(model, test.batches()))
            curves["pruned"].append(pruner.rates().synapses)  # of the network that was just measured
            curves["zeros"].append(float((weights(model) == 0).float().mean()))
            if isinstance(method, BDNNdsd):
                bounds = torch.cat([state["bound"].flatten() for state in method.state.values()])
                curves["bound"].append(float(bounds.mean()))
            if pruner.clock.decisions_left:
                pruner.end_epoch()
        layers = {name: layer.pruned for name, layer in pruner.rates().layers.items()}
    return {
        "cell": asdict(cell),
        "epochs": epochs,
        **curves,
        "layers": layers,
        "histogram": torch.histc(weights(model), BINS, -EDGE, EDGE).int().tolist(),
        "edge": EDGE,
        "seconds": round(time.perf_counter() - began, 1),
    }


@torch.no_grad()
def weights(model: nn.Module) -> Tensor:
    """Return all weights but biases, [n]."""
    return torch.cat([p.flatten() for p in model.parameters() if p.ndim > 1])


def run(folder: Path, given: argparse.Namespace) -> None:
    """Train what is not there yet."""
    torch.set_num_threads(1)
    for cell in PLANS[given.plan](given):
        done = once(folder / cell.file, lambda cell=cell: train_cell(cell, given.epochs))
        print(f"{cell.file}: {100 * done['accuracy'][-1]:.2f} %, {done['seconds']:.0f} s", flush=True)


def main() -> None:
    """Run cells, or print the tables of those that are there."""
    options = parser(__doc__)
    options.add_argument("what", choices=["run", "table", "pictures"])
    options.add_argument("folder", type=Path)
    options.add_argument("pictures", type=Path, nargs="?", default=IMAGES)
    options.add_argument("--plan", choices=PLANS, default="regularisers")
    options.add_argument("--seeds", nargs="+", type=int, default=[0, 1, 2])
    options.add_argument(
        "--datasets", nargs="+", choices=LARGE_DATASETS, help="all those of the plan, if none"
    )
    options.add_argument("--hidden", nargs="+", type=int, default=list(HIDDEN))
    options.add_argument("--epochs", type=int, default=EPOCHS)
    given = options.parse_args()
    if given.what == "run":
        run(given.folder, given)
    elif given.what == "table":
        print("\n".join(regularisers_shown.tables(given.folder)))
    else:
        regularisers_shown.draw(given.folder, given.pictures)


if __name__ == "__main__":
    main()
