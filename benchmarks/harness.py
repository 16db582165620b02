"""How all benchmarks measure, keep what they have measured, and print it.

What is compared takes turns: a round has one turn of each, every round begins with another one, and ratios
are taken within a round, so that whatever else the machine does meets all of them alike. A figure is the
median over at least `ROUNDS` rounds.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import random
import statistics
import subprocess
import sys
import time
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from spikingjelly.activation_based import functional
from torch.utils.benchmark import Measurement, TaskSpec
from torch.utils.benchmark import timer as wall

from snnprune.common import atomic

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from torch import Tensor, nn

    from snnprune.pruning import Masks

ROOT = Path(__file__).parents[1]
IMAGES = ROOT / "docs" / "images"

WARM_UP = 2
ROUNDS = 5
"""With fewer, a median says little."""

ALLOCATORS = {
    "default": {},
    # Tensors above 32 MB otherwise go back to the system at every step, and come back page by page.
    "tuned": {"MALLOC_MMAP_MAX_": "0", "MALLOC_TRIM_THRESHOLD_": str(2**34)},
}
"""Settings of malloc, which is read once, when a process starts."""


# --- times

timer = wall
"""The clock of `take_turns`."""


def take_turns(
    contenders: Mapping[Any, Callable[[], object]],
    rounds: int,
    warm_up: int = WARM_UP,
    *,
    settled: bool = False,
) -> dict[Any, Measurement]:
    """Give each contender a turn a round, in another order each time, and return their times, round by round.

    `torch.utils.benchmark.Timer` warms up before each of its measurements, which would triple a round; its
    clock (which waits for a GPU) and its `Measurement` (median, quartiles) serve.

    Args:
        contenders: what is measured, by its key.
        rounds: that count.
        warm_up: rounds before them.
        settled: whether a turn begins with a call that does not count. What took its turn before leaves its
            data in the caches, and its threads wait for work for some milliseconds on cores of their own: a
            contender of less than that would be measured with its neighbour.
    """
    seconds: dict[Any, list[float]] = {key: [] for key in contenders}
    order = list(contenders)
    shuffled = random.Random(0)
    for number in range(rounds + warm_up):
        shuffled.shuffle(order)
        for key in order:
            if settled:
                contenders[key]()
            begun = timer()
            contenders[key]()
            took = timer() - begun
            if number >= warm_up:
                seconds[key].append(took)
    threads = torch.get_num_threads()
    return {
        key: Measurement(1, times, TaskSpec(str(key), "", num_threads=threads))
        for key, times in seconds.items()
    }


def add_clock(options: argparse.ArgumentParser) -> None:
    """Add an option for the clock of `take_turns`; `set_clock` takes its value."""
    options.add_argument(
        "--clock", choices=("wall", "processor"), default="wall",
        help="processor: time that contenders compute themselves, for one thread on a busy machine",
    )  # fmt: skip


def set_clock(name: str) -> None:
    """Let `take_turns` measure by this clock: "wall", or "processor" for time that this process computes."""
    global timer  # noqa: PLW0603 - there is one clock
    timer = time.process_time if name == "processor" else wall


def ratio(own: Sequence[float], other: Sequence[float]) -> float:
    """Return the median over the rounds of what one took in units of the other."""
    return statistics.median(a / b for a, b in zip(own, other, strict=True))


class Contender:
    """A network that trains on one batch, or infers it, again and again.

    Args:
        name: of the contender.
        model: [T, B, ...] to [T, B, K], on the device of the batch.
        x: the batch [T, B, ...].
        y: what the output rates should be, [B, K].
        after_step: is given the optimiser after each of its steps, as `Pruner.step` is.
    """

    def __init__(
        self,
        name: str,
        model: nn.Module,
        x: Tensor,
        y: Tensor,
        after_step: Callable[[torch.optim.Optimizer], None] | None = None,
    ) -> None:
        self.name, self.model, self.x, self.y, self.after_step = name, model, x, y, after_step
        self.optimizer = torch.optim.Adam(model.parameters(), 1e-4)

    def train(self) -> None:
        """Train on the batch once, as a plain loop does."""
        self.model.train()
        step(
            self.model,
            self.optimizer,
            lambda: (self.model(self.x).mean(0) - self.y).square().sum(1).mean(),
            self.after_step,
        )

    @torch.inference_mode()
    def infer(self) -> None:
        """Infer the batch once."""
        self.model.eval()
        self.model(self.x)
        functional.reset_net(self.model)


# --- the plain loop of benchmarks that `snnprune bench` cannot express


def step(
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    loss: Callable[[], Tensor],
    after_step: Callable[[torch.optim.Optimizer], object] | None = None,
) -> None:
    """Take one step of training, as a user's loop does."""
    optimizer.zero_grad()
    loss().backward()
    optimizer.step()
    if after_step is not None:
        after_step(optimizer)
    functional.reset_net(model)


@torch.inference_mode()
def accuracy(model: nn.Module, batches: Iterable[tuple[Tensor, Tensor]]) -> float:
    """Return the share of the samples whose class has the largest output.

    Args:
        model: batches to outputs [B, K], or [T, B, K], of which the mean over time counts.
        batches: inputs as the model takes them, and labels [B].
    """
    model.eval()
    hits = samples = 0
    for x, labels in batches:
        out = model(x)
        rates = out.mean(0) if out.ndim == 3 else out
        hits += int((rates.argmax(1) == labels).sum())
        samples += len(labels)
        functional.reset_net(model)
    return hits / samples


def weights(model: nn.Module) -> int:
    """Return how many parameters a network has, zeros among them."""
    return sum(parameter.numel() for parameter in model.parameters())


def kill(masks: Masks, share: float) -> None:
    """Let ``share`` of the units of each free population die, the same ones whenever it is called."""
    generator = torch.Generator().manual_seed(1)
    for population in masks.topology.free():
        order = torch.randperm(population.size, generator=generator)
        alive = order >= round(share * population.size)
        masks.keep_units(population, alive.to(masks.units[population.name].device))
    masks.refresh()


# --- processes and files


def environment(allocator: str) -> dict[str, str]:
    """Return this process's environment with the allocator's setting, and no other."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith("MALLOC_")}
    return clean | ALLOCATORS[allocator]


def child(module: str, words: Iterable[str], allocator: str = "default") -> Any:
    """Let a process with the allocator's setting run a module; return the JSON of its last line."""
    done = subprocess.run(
        [sys.executable, "-m", module, *words],
        cwd=ROOT, env=environment(allocator), stdout=subprocess.PIPE, check=True,
    )  # fmt: skip
    return json.loads(done.stdout.splitlines()[-1])


def once(file: Path, make: Callable[[], Any]) -> Any:
    """Return what ``file`` holds; where it is not there, make it and keep it there first.

    So a benchmark of hours may be stopped, and its command repeated.
    """
    if not file.exists():
        file.parent.mkdir(parents=True, exist_ok=True)
        atomic.write_text(file, json.dumps(make()))
    return json.loads(file.read_text(encoding="utf-8"))


def cells(folder: Path, pattern: str = "*.json") -> list[Any]:
    """Return what the files of a folder hold, in the order of their names."""
    return [json.loads(file.read_text(encoding="utf-8")) for file in sorted(folder.glob(pattern))]


# --- words


def parser(description: str | None, *, rounds: int = 0) -> argparse.ArgumentParser:
    """Return a parser that shows ``description`` as it stands.

    Args:
        description: a module's docstring.
        rounds: that are measured by default; 0 for a benchmark without.
    """
    made = argparse.ArgumentParser(
        description=description, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    if rounds:
        made.add_argument("--rounds", type=int, default=rounds, help=f"{WARM_UP} more warm up")
        made.add_argument("--threads", type=int, default=None)
        made.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    return made


def spread(values: Sequence[float], form: str = "{:.2f}") -> str:
    """Return the mean and, of several values, their standard deviation."""
    mean = form.format(statistics.mean(values))
    return mean if len(values) < 2 else f"{mean} ± {form.format(statistics.stdev(values))}"


def machine(device: str = "cpu", *packages: str) -> dict[str, Any]:
    """Return what the figures of this process depend on."""
    name = torch.cuda.get_device_name() if device == "cuda" else platform.processor() or platform.machine()
    return {
        "device": name,
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "python": platform.python_version(),
        "torch": torch.__version__,
        **{package: metadata.version(package) for package in ("spikingjelly", *packages)},
    }


def about(device: str = "cpu") -> str:
    """Return the same in words."""
    return ", ".join(f"{name} {value}" for name, value in machine(device).items())
