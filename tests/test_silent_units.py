"""DPAP's product leaves out the rows of silent units, and adds what the whole product adds."""

from __future__ import annotations

import pytest
import torch

from snnprune.methods.dpap.bcm import FEW, LARGE, add_product


@pytest.mark.parametrize("share", [0.0, 0.1, FEW, 0.7, 1.0])
def test_rows_of_silent_units_stay_as_they_were(share: float) -> None:
    """Whatever the share of active units: the same sums, and silent units' bit for bit."""
    units, inputs = 200, LARGE // 200 + 1
    dice = torch.Generator().manual_seed(0)
    post = torch.randn(12, units, generator=dice, dtype=torch.float64)
    post[:, torch.arange(units) >= share * units] = 0
    pre = torch.rand(12, inputs, generator=dice, dtype=torch.float64)
    before = torch.randn(units, inputs, generator=dice, dtype=torch.float64)
    after = before.clone()
    add_product(after, post, pre)
    assert (after - (before + post.T @ pre)).abs().max() < 1e-12
    silent = ~post.any(0)
    assert torch.equal(after[silent], before[silent])
    assert int(silent.sum()) == round((1 - share) * units)
