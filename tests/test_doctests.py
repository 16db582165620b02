"""The example of every public name runs, and prints what it says."""

from __future__ import annotations

import doctest
import warnings
from typing import TYPE_CHECKING, Any

import pytest

import snnprune
from snnprune.engine.stream import Stream
from snnprune.methods.weight_threshold import BelowThreshold
from snnprune.nn import fused
from snnprune.nn.models.wta import WinnerTakesAllNode
from snnprune.nn.plasticity import TraceSTDP
from snnprune.nn.plasticity.readout import Responses
from snnprune.pruning.lowest import Lowest
from snnprune.pruning.state import Stateful

if TYPE_CHECKING:
    from pathlib import Path
    from types import ModuleType

PLACES: tuple[ModuleType, ...] = (
    snnprune,
    snnprune.network,
    snnprune.pruning,
    snnprune.methods,
    snnprune.dpap,
    fused,
)
PUBLIC: dict[str, Any] = {
    name: getattr(place, name) for place in PLACES for name in place.__all__ if not name.startswith("_")
} | {
    kind.__name__: kind
    for kind in (Lowest, Stateful, Stream, TraceSTDP, Responses, WinnerTakesAllNode, BelowThreshold)
}

doctest.ELLIPSIS_MARKER = "[...]"
"""What may be printed between an example's lines; three dots alone would continue the line of code before."""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One for all examples, so that none is told to write where another has not."""
    return tmp_path_factory.mktemp("examples")


@pytest.mark.parametrize("name", sorted(PUBLIC))
def test_its_example_runs(name: str, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (found,) = doctest.DocTestFinder(recurse=False).find(PUBLIC[name], name, globs={})
    assert found.examples, f"{name} has no example"
    said: list[str] = []
    monkeypatch.chdir(folder)
    with warnings.catch_warnings():
        result = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS).run(found, out=said.append)
    assert result.failed == 0, "".join(said)
