"""NIR and ONNX round trips of networks that were trained and compacted: the table of docs/export.md.

    python benchmarks/roundtrips.py [--data FOLDER] [--network conv-snn|sew_resnet18] [--quick]

conv-snn trains on N-MNIST, the recordings of the README's example; sew_resnet18 (SpikingJelly's, its maximum
pool an average pool for NIR) on the digits that come with the package. Both are trained briefly with
DPAP, compacted, written, read back, and shown test recordings. In float64 the same
comparison shows that what differs in float32 is rounding.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from spikingjelly.activation_based import functional, layer, neuron, surrogate
from spikingjelly.activation_based.model.sew_resnet import sew_resnet18

from snnprune import Pruner, data
from snnprune.config.schema import DataConfig, ModelConfig
from snnprune.export import nir_file, onnx_file
from snnprune.export.comparison import compare, spiking_run
from snnprune.export.graph import plain
from snnprune.nn import models

if TYPE_CHECKING:
    from torch import Tensor, nn

    from snnprune.export.comparison import RoundTrip

STEPS, BATCH = 4, 20


def conv_snn(root: str | None) -> tuple[nn.Module, data.Splits]:
    splits = data.load(DataConfig("nmnist", root, time_steps=STEPS))
    return models.build(ModelConfig("conv-snn"), splits.shape, len(splits.classes)), splits


def sew(_root: str | None) -> tuple[nn.Module, data.Splits]:
    splits = data.load(DataConfig("digits-events", time_steps=STEPS))
    model = sew_resnet18(
        spiking_neuron=neuron.LIFNode, surrogate_function=surrogate.ATan(), cnf="ADD", num_classes=10
    )
    model.conv1 = layer.Conv2d(splits.shape[0], 64, 7, stride=2, padding=3, bias=False)
    model.maxpool = layer.AvgPool2d(3, 2, 1)
    functional.set_step_mode(model, "m")
    return model, splits


NETWORKS = {"conv-snn": conv_snn, "sew_resnet18": sew}


def batch(frames: data.FrameSet, start: int) -> tuple[Tensor, Tensor]:
    """Return frames [T, B, C, H, W] and labels from ``start`` on, in an order without classes."""
    spread = torch.randperm(len(frames), generator=torch.Generator().manual_seed(0)).tolist()
    x, y = frames.__getitems__(spread[start : start + BATCH])
    return x.transpose(0, 1).float(), y


def trained(model: nn.Module, splits: data.Splits, batches: int, epochs: int) -> nn.Module:
    """Train with pruning, and return the compact network."""
    x, _ = batch(splits.train, 0)
    pruner = Pruner(model, x, method="dpap", epochs=epochs, target=0.5)
    optimiser = torch.optim.Adam(model.parameters(), lr=1e-3)
    for _ in range(epochs):
        model.train()
        for number in range(batches):
            frames, labels = batch(splits.train, number * BATCH)
            loss = torch.nn.functional.cross_entropy(model(frames).mean(0), labels)
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            pruner.step(optimiser)
            functional.reset_net(model)
        pruner.end_epoch()
    rates = pruner.rates()
    print(
        f"{rates.synapses:.0%} of weights, {rates.neurons:.0%} of channels and units pruned", file=sys.stderr
    )
    return plain(pruner.compact())


def shown(name: str, fmt: str, kind: torch.dtype, found: RoundTrip, size: int) -> str:
    return (
        f"| {name} | {fmt} | {str(kind).removeprefix('torch.')} | {size:,} | {found.difference:.1e} | "
        f"{found.flipped:,} of {found.spikes:,} | {found.answers} of {found.samples} |"
    )


def rows(name: str, given: argparse.Namespace) -> None:
    torch.manual_seed(0)
    model, splits = NETWORKS[name](given.data)
    small = trained(model, splits, *((2, 3) if given.quick else (given.batches, given.epochs)))
    frames = [batch(splits.test, start)[0] for start in range(0, min(len(splits.test), given.samples), BATCH)]
    with tempfile.TemporaryDirectory() as folder:
        for kind in (torch.float32, torch.float64):
            net: Any = small.to(kind)
            shots = [x.to(kind) for x in frames]
            path = Path(folder) / "net.nir"
            nir_file.write(net, shots[0], path)
            again = nir_file.spiking_run(nir_file.read(path, kind)[0], net)
            found = compare(spiking_run(net), again, shots)
            print(shown(name, "NIR", kind, found, path.stat().st_size), flush=True)
        small.float()
        path = Path(folder) / "net.onnx"
        onnx_file.write(small, frames[0], path)
        found = compare(spiking_run(small), onnx_file.Runner.of(path, spikes=True), frames)
        print(shown(name, "ONNX", torch.float32, found, path.stat().st_size), flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", help="folder of N-MNIST (default: $SNNPRUNE_DATA)")
    parser.add_argument("--network", choices=NETWORKS, action="append")
    parser.add_argument("--batches", type=int, default=10, help="of an epoch")
    parser.add_argument("--epochs", type=int, default=6)
    parser.add_argument("--samples", type=int, default=100, help="test recordings")
    parser.add_argument("--quick", action="store_true", help="hardly train")
    given = parser.parse_args()
    print(
        "| network | format | numbers | bytes | largest difference | spikes flipped | answers that differ |"
    )
    print("| --- | --- | --- | ---: | ---: | ---: | ---: |", flush=True)
    for name in given.network or NETWORKS:
        rows(name, given)


if __name__ == "__main__":
    main()
