"""An engine, called as a torch network is."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

from snnprune.engine.plan import Neurons

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy.typing as npt
    from torch import Tensor

    from snnprune.engine.engine import Engine
    from snnprune.engine.plan import Plan
    from snnprune.export.comparison import Run


def outputs(engine: Engine) -> Callable[[Tensor], Tensor]:
    """Return a function from encoded frames [T, B, ...] to outputs [T, B, K]."""

    def answer(encoded: Tensor) -> Tensor:
        return torch.from_numpy(engine(_frames(engine.plan, encoded)))

    return answer


def spiking_run(engine: Engine) -> Run:
    """Return a function from encoded frames to outputs and to the spikes of each layer of neurons."""
    neurons = [node.name for node in engine.plan.nodes if isinstance(node, Neurons)]
    last = engine.plan.nodes[engine.plan.output].name

    def run(encoded: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        found = engine.spikes(_frames(engine.plan, encoded))
        answers = torch.from_numpy(found[last]).flatten(2)
        return answers, {name: torch.from_numpy(found[name]) for name in neurons}

    return run


def _frames(plan: Plan, encoded: Tensor) -> npt.NDArray[Any]:
    return encoded.cpu().numpy().reshape(*encoded.shape[:2], *plan.shape)
