"""NeuroBench's report on a network and its test set, by NeuroBench itself.

It calls what has values of -1, 0 and 1 in a batch an accumulation (AC), and else a multiply-accumulate (MAC).
Its sums of both are the SynOps and MACs of `snnprune eval`, which parts them by what a layer reads, spikes or
other numbers. It is shown one time step after the other, because it takes the first axis for samples.
"""

from __future__ import annotations

import contextlib
import io
import math
from typing import TYPE_CHECKING, Any

import torch

from snnprune.common.errors import UserError
from snnprune.common.extras import need
from snnprune.export.arithmetic import Arithmetic
from snnprune.export.step import step_of
from snnprune.nn.scores import scores_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from torch import Tensor

    from snnprune.export.subject import Subject

STATIC = ("ParameterCount", "Footprint", "ConnectionSparsity")
WORKLOAD = ("ClassificationAccuracy", "ActivationSparsity", "SynapticOperations")
"""Metrics of the report, by NeuroBench's names."""


def report(subject: Subject) -> dict[str, Any]:
    """Return NeuroBench's results on the network and test set of ``subject``, as it names them.

    Raises:
        UserError: neurobench is not installed, or the network has no time steps that can be shown one by one.
    """
    need("neurobench", "--neurobench", "neurobench")
    from neurobench.benchmarks import Benchmark  # noqa: PLC0415 - an extra
    from neurobench.metrics import static, workload  # noqa: PLC0415
    from neurobench.models import NeuroBenchModel  # noqa: PLC0415

    if subject.model is None or not subject.spiking:
        raise UserError(
            f"--neurobench needs a spiking network of torch, and {subject.name} is none: give the run, its "
            "model.safetensors, or a NIR file of another tool"
        )
    step = step_of(subject.model, subject.example()).to(subject.device).eval()

    class Model(NeuroBenchModel):
        """A network that is shown recordings [B, T, ...] step by step, and answers with classes [B]."""

        def __call__(self, batch: Tensor) -> Tensor:
            states = [torch.tensor(rest).to(batch) for *_, rest in step.states]
            outputs = []
            for frame in batch.transpose(0, 1):
                y, states = step(frame, states)
                outputs.append(y)
            return scores_of(torch.stack(outputs), subject.config.train.over_time).argmax(1)

        def __net__(self) -> torch.nn.Module:
            return step

    model = Model()
    model.add_activation_module(Arithmetic)
    metrics = [[getattr(static, name) for name in STATIC], [getattr(workload, name) for name in WORKLOAD]]
    with torch.no_grad(), contextlib.redirect_stdout(io.StringIO()):
        found: dict[str, Any] = Benchmark(model, _Batches(subject), [], [], metrics).run(quiet=True)
    return found


class _Batches:
    """The encoded test set in the form that NeuroBench reads: batches first, and the size of the whole."""

    def __init__(self, subject: Subject) -> None:
        self.subject, self.dataset = subject, subject.splits.test

    def __len__(self) -> int:
        return math.ceil(len(self.dataset) / self.subject.config.train.batch_size)

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        for encoded, labels in self.subject.batches():
            yield encoded.transpose(0, 1), labels.to(encoded.device)
