"""A plan computes what its network does: every answer and every spike, in floats and in whole numbers."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch

from snnprune.common.errors import UserError
from snnprune.export.comparison import spiking_run
from snnprune.export.planning import plan
from support import plain_engine
from support.families import FAMILIES

if TYPE_CHECKING:
    from collections.abc import Iterable

    from torch import Tensor, nn

    from snnprune.engine.plan import Plan

PLANNED = (
    *("conv-snn", "mlp-snn", "vgg-snn", "residual", "four layers", "sew_resnet18 ADD", "spiking_resnet18"),
    *("spiking_vgg11_bn", "NMNISTNet", "SeqToANNContainer", "depthwise", "Conv1d, tdBN, PLIF", "recurrent"),
    *("LinearRecurrentContainer", "ElementWiseRecurrentContainer"),
)
"""Families that a plan can hold, in multi-step mode."""

SLOW = {"spiking_vgg11_bn"}


def agree(made: Plan, model: nn.Module, frames: Tensor, neurons: Iterable[str] | None = None) -> None:
    """Hold a plan to its network: outputs to 1e-12, and every spike of every layer."""
    with torch.no_grad():
        wanted, spikes = spiking_run(model, neurons)(frames)
    outputs, found = plain_engine.answers(
        made, frames.double().numpy().reshape(*frames.shape[:2], *made.shape)
    )
    over_time = {"mean": outputs.mean(0), "max": outputs.max(0), "last": outputs[-1]}
    scores = outputs if wanted.ndim == 3 else over_time[made.over_time]
    assert np.abs(scores - wanted.numpy()).max() <= 1e-12
    assert np.abs(scores).max() > 0
    for name, fired in spikes.items():
        assert np.array_equal(found[name].reshape(fired.shape), fired.numpy()), name
    assert any(fired.any() and not fired.all() for fired in spikes.values())


@pytest.mark.parametrize(
    "name", [pytest.param(n, marks=[pytest.mark.slow] if n in SLOW else []) for n in PLANNED]
)
def test_every_spike_of_every_family(name: str) -> None:
    model = FAMILIES[name].network("m").double().eval()
    frames = FAMILIES[name].example("m", batch=1).double()
    made = plan(model, frames)
    assert made.dtype == np.float64
    agree(made, model, frames)


@pytest.mark.parametrize(
    ("name", "told"),
    [
        ("sew_resnet18 AND", "'mul' is the operation 'mul', and in an event-driven network values can only"),
        ("sew_resnet18 IAND", "'sub' is the operation 'sub', and in an event-driven network values can only"),
        ("concatenation", "'cat' is the operation 'cat'"),
        ("grouped, transposed", "layer '12' is a ConvTranspose2d, which an event-driven network has no node"),
        ("Spikformer", "the forward of Spikformer cannot be followed"),
    ],
)
def test_what_a_plan_cannot_hold_is_refused_by_name(name: str, told: str) -> None:
    with pytest.raises(UserError, match=told):
        plan(FAMILIES[name].network("m").eval(), FAMILIES[name].example("m", batch=1))
