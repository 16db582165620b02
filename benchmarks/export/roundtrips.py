"""NIR and ONNX round trips of a network that was trained and compacted: a table of docs/export.md.

    python -m benchmarks.export.roundtrips [--quick]

SpikingJelly's sew_resnet18 (its maximum pool an average pool, for NIR) is trained briefly with DPAP on the
digits that come with the package, compacted, written, read back, and shown test recordings. In float64 the
same comparison shows that what differs in float32 is rounding. Of a run of `snnprune train`, `snnprune
export` says the same; this loop is the one of a network that somebody else made.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from spikingjelly.activation_based import layer
from torch.nn.functional import cross_entropy

from benchmarks.harness import parser, step
from benchmarks.workloads import sew_resnet18
from snnprune import Pruner, data
from snnprune.config.schema import DataConfig
from snnprune.export import nir_file, onnx_file
from snnprune.export.comparison import compare, spiking_run
from snnprune.export.graph import plain
from support.markdown import table

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterator

    from torch import Tensor, nn

    from snnprune.export.comparison import RoundTrip

STEPS, BATCH = 4, 20


def batch(frames: data.FrameSet, start: int) -> tuple[Tensor, Tensor]:
    """Return frames [T, B, C, H, W] and labels from ``start`` on, in an order without classes."""
    spread = torch.randperm(len(frames), generator=torch.Generator().manual_seed(0)).tolist()
    x, y = frames.__getitems__(spread[start : start + BATCH])
    return x.transpose(0, 1).float(), y


def trained(splits: data.Splits, batches: int, epochs: int) -> nn.Module:
    """Train with pruning, and return the compact network."""
    torch.manual_seed(0)
    model = sew_resnet18(splits.shape[0], 10)
    model.maxpool = layer.AvgPool2d(3, 2, 1, step_mode="m")
    pruner = Pruner(model, batch(splits.train, 0)[0], "dpap", epochs=epochs, target=0.5)
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3)
    for _ in range(epochs):
        model.train()
        for number in range(batches):
            x, y = batch(splits.train, number * BATCH)
            step(model, optimizer, lambda x=x, y=y: cross_entropy(model(x).mean(0), y), pruner.step)
        pruner.end_epoch()
    rates = pruner.rates()
    print(
        f"{rates.synapses:.0%} of weights, {rates.neurons:.0%} of channels and units pruned", file=sys.stderr
    )
    return plain(pruner.compact())


def rows(given: argparse.Namespace, folder: Path) -> Iterator[tuple[str, ...]]:
    splits = data.load(DataConfig("digits-events", time_steps=STEPS))
    small = trained(splits, *((2, 3) if given.quick else (given.batches, given.epochs)))
    frames = [batch(splits.test, start)[0] for start in range(0, min(len(splits.test), given.samples), BATCH)]
    for kind in (torch.float32, torch.float64):
        net: Any = small.to(kind)
        shots, path = [x.to(kind) for x in frames], folder / "net.nir"
        nir_file.write(net, shots[0], path)
        again = nir_file.spiking_run(nir_file.read(path, kind)[0], net)
        yield shown("NIR", kind, compare(spiking_run(net), again, shots), path)
    small.float()
    path = folder / "net.onnx"
    onnx_file.write(small, frames[0], path)
    found = compare(spiking_run(small), onnx_file.Runner.of(path, spikes=True), frames)
    yield shown("ONNX", torch.float32, found, path)


def shown(fmt: str, kind: torch.dtype, found: RoundTrip, path: Path) -> tuple[str, ...]:
    flipped, answers = f"{found.flipped:,} of {found.spikes:,}", f"{found.answers} of {found.samples}"
    size = f"{path.stat().st_size:,}"
    return fmt, str(kind).removeprefix("torch."), size, f"{found.difference:.1e}", flipped, answers


def main() -> None:
    options = parser(__doc__)
    options.add_argument("--batches", type=int, default=10, help="of an epoch")
    options.add_argument("--epochs", type=int, default=6)
    options.add_argument("--samples", type=int, default=100, help="test recordings")
    options.add_argument("--quick", action="store_true", help="hardly train")
    head = ":file | :numbers | bytes | largest difference | spikes flipped | answers that differ"
    with tempfile.TemporaryDirectory() as folder:
        print(table(head, rows(options.parse_args(), Path(folder))))


if __name__ == "__main__":
    main()
