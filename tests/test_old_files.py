"""What version 0.1 wrote still loads: states of every method in mid-training, some of a cut network."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from families import FAMILIES
from loops import Loop, equal

METHODS = sorted((Path(__file__).parent / "fixtures/v0.1/methods").glob("*.pt"))


@pytest.mark.parametrize("path", METHODS, ids=lambda path: path.stem)
def test_a_state_of_each_method_is_trained_on_to_the_same_end(path: Path) -> None:
    torch.set_num_threads(1)
    saved = torch.load(path, weights_only=True)
    torch.manual_seed(0)
    loop = Loop(FAMILIES["four layers"], "m", path.stem, epochs=7, **saved["options"])
    loop.load(saved["at"]).epochs(4, 7, 2)
    assert equal(loop.alive(), saved["after"])
    assert loop.pruner.finished == saved["finished"]
