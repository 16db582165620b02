"""Two processes beside one, and 16-bit autocast beside float32: do they prune the same?

A network of two convolutions with norms is trained for 200 steps on the recordings that come with the
package, pruned by DPAP, and compared mask by mask. Where two processes part from one, one process that adds
up the samples of each batch backwards does so as well: it is training that makes rounding grow.

    python -m benchmarks.distributed.processes [--seeds 5] [--only float64]

A loop of its own, as no run of a bench is in float64, or takes the samples of its batches backwards.
"""

from __future__ import annotations

import statistics
import tempfile
from contextlib import nullcontext
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from spikingjelly.activation_based import functional, layer, neuron
from torch import distributed, multiprocessing, nn
from torch.nn.parallel import DistributedDataParallel

from benchmarks.harness import accuracy, parser
from snnprune import data
from snnprune.common import ranks
from snnprune.config.schema import DataConfig
from snnprune.nn import norms
from snnprune.nn.fused import accelerate
from snnprune.pruning import Pruner
from support.markdown import table

if TYPE_CHECKING:
    from torch import Tensor

EPOCHS, BATCHES, BATCH, STEPS = 20, 10, 20, 5
TARGET = 0.6
Masks = dict[str, "Tensor"]


@dataclass(frozen=True)
class Way:
    """A way to train the same network on the same batches.

    Attributes:
        name: in the table.
        dtype: of weights and input.
        autocast: of layers' arithmetic, None for that of ``dtype``.
        threads: of a process.
        count: of processes.
        rate: of learning.
        backwards: whether the samples of each batch come in the opposite order.
    """

    name: str
    dtype: torch.dtype = torch.float32
    autocast: torch.dtype | None = None
    threads: int = 1
    count: int = 1
    rate: float = 2e-3
    backwards: bool = False


SLOW64 = Way("one process, float64, a tenth of the rate", torch.float64, rate=2e-4)
ONE64, ONE = Way("one process, float64", torch.float64), Way("one process, float32")
WAYS = (
    (ONE64, Way("two processes, float64", torch.float64, count=2)),
    (ONE64, Way("one process, float64, batches backwards", torch.float64, backwards=True)),
    (SLOW64, Way("two processes, float64, a tenth of the rate", torch.float64, count=2, rate=2e-4)),
    (ONE, Way("two processes, float32", count=2)),
    (ONE, Way("two threads, float32", threads=2)),
    (ONE, Way("bfloat16 autocast", autocast=torch.bfloat16)),
    (ONE, Way("float16 autocast, scaled loss", autocast=torch.float16)),
)
"""What is compared, each with what."""


@dataclass(frozen=True)
class Trained:
    """What a training came to.

    Attributes:
        masks: after each epoch, of all units and synapses, flat bool.
        weights: flat, of all parameters.
        accuracy: on the test set, in [0, 1].
    """

    masks: list[Tensor]
    weights: Tensor
    accuracy: float


def network(seed: int) -> nn.Module:
    torch.manual_seed(seed)
    lif = partial(neuron.LIFNode, decay_input=False)
    net = nn.Sequential(
        layer.Conv2d(2, 16, 5, stride=3, bias=False), layer.BatchNorm2d(16), lif(),
        layer.Conv2d(16, 32, 3, bias=False), layer.BatchNorm2d(32), lif(), layer.MaxPool2d(2),
        layer.Flatten(), layer.Linear(512, 64), lif(), layer.Linear(64, 10), lif(),
    )  # fmt: skip
    functional.set_step_mode(net, "m")
    return accelerate(net)


def train(way: Way, seed: int) -> Trained:
    """Train this process's share."""
    torch.set_num_threads(way.threads)
    splits = data.load(DataConfig("digits-events", time_steps=STEPS))
    frames, labels = splits.train.__getitems__(range(BATCHES * BATCH))
    x = frames.transpose(0, 1).to(way.dtype)
    model = network(seed).to(way.dtype)
    pruner = Pruner(model, x[:, :1], "dpap", epochs=EPOCHS, seed=seed, target=TARGET)
    optimizer = torch.optim.Adam(model.parameters(), way.rate)
    scaler = torch.amp.GradScaler("cpu", enabled=way.autocast == torch.float16)
    called = DistributedDataParallel(norms.synchronise(model)) if ranks.world_size() > 1 else model
    masks = []
    for epoch in range(EPOCHS):
        order = torch.randperm(len(labels), generator=torch.Generator().manual_seed(1000 * seed + epoch))
        for whole in order.split(BATCH):
            batch = whole.flip(0) if way.backwards else whole
            mine = batch.chunk(ranks.world_size())[ranks.rank()]
            with torch.autocast("cpu", way.autocast) if way.autocast else nullcontext():
                rates = called(x[:, mine]).to(way.dtype).mean(0)
            loss = nn.functional.cross_entropy(rates, labels[mine])
            optimizer.zero_grad()
            scaler.scale(loss).backward()
            scaler.step(optimizer)
            scaler.update()
            pruner.step(optimizer)
            functional.reset_net(model)
        pruner.end_epoch()
        alive = pruner.dense_masks()
        masks.append(torch.cat([mask.flatten() for kind in alive.values() for mask in kind.values()]))
    weights = torch.cat([parameter.detach().double().flatten() for parameter in model.parameters()])
    frames, labels = splits.test.__getitems__(range(len(splits.test)))
    told = accuracy(norms.separate(model), [(frames.transpose(0, 1).to(way.dtype), labels)])
    return Trained(masks, weights, told)


def member(number: int, count: int, jobs: list[tuple[Way, int]], folder: str) -> None:
    """Be one of ``count`` processes that train all ``jobs``; the first writes down what came out."""
    store = f"file://{folder}/meeting"
    distributed.init_process_group("gloo", init_method=store, rank=number, world_size=count)
    for place, (way, seed) in enumerate(jobs):
        trained = train(way, seed)
        if ranks.is_first():
            torch.save(vars(trained), Path(folder) / f"{place}.pt")
    distributed.destroy_process_group()


def together(jobs: list[tuple[Way, int]]) -> list[Trained]:
    """Train ``jobs`` in two processes."""
    with tempfile.TemporaryDirectory() as folder:
        multiprocessing.spawn(member, (2, jobs, folder), nprocs=2)
        return [Trained(**torch.load(Path(folder) / f"{n}.pt", weights_only=True)) for n in range(len(jobs))]


def row(name: str, pairs: list[tuple[Trained, Trained]]) -> tuple[str, ...]:
    """Return what ``pairs`` of a reference and of a way have in common, one a seed."""
    equal = sum(all(torch.equal(p, q) for p, q in zip(a.masks, b.masks, strict=True)) for a, b in pairs)
    agree = [float((a.masks[-1] == b.masks[-1]).double().mean()) for a, b in pairs]
    apart = max(float((a.weights - b.weights).abs().max()) for a, b in pairs)
    left = statistics.mean(b.accuracy for _, b in pairs)
    gained = statistics.mean(b.accuracy - a.accuracy for a, b in pairs)
    return (
        name,
        f"{equal} of {len(pairs)}",
        f"{statistics.median(agree):.2%} ({min(agree):.2%})",
        f"{apart:.1e}",
        f"{left:.1%} ({100 * gained:+.1f})",
    )


HEAD = ":trained as | equal masks in all epochs | masks that agree at the end | weights apart | accuracy"


def main() -> None:
    options = parser(__doc__)
    options.add_argument("--seeds", type=int, default=5)
    options.add_argument("--only", choices=["float64", "float32"], help="rows of these numbers")
    given = options.parse_args()
    seeds = range(given.seeds)
    pairs = [pair for pair in WAYS if given.only is None or f"torch.{given.only}" == str(pair[1].dtype)]
    done: dict[tuple[str, int], Any] = {}
    jobs = [(way, seed) for _, way in pairs if way.count > 1 for seed in seeds]
    for (way, seed), trained in zip(jobs, together(jobs), strict=True):
        done[way.name, seed] = trained
    for way in dict.fromkeys(way for pair in pairs for way in pair if way.count == 1):
        for seed in seeds:
            done[way.name, seed] = train(way, seed)
    print(
        table(
            HEAD,
            (row(way.name, [(done[ref.name, s], done[way.name, s]) for s in seeds]) for ref, way in pairs),
        )
    )


if __name__ == "__main__":
    main()
