"""Starting from weights that somebody has: a run, a checkpoint, a state_dict, safetensors."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
import torch
from safetensors.torch import save_file

from snnprune.common.errors import UserError
from snnprune.config.schema import MethodConfig
from snnprune.nn import models
from snnprune.runs import checkpoint
from snnprune.training import initial, run
from support import tiny_run

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def model() -> torch.nn.Module:
    config, splits = tiny_run.config(), tiny_run.splits()
    torch.manual_seed(7)
    return models.build(config.model, splits.shape, len(splits.classes))


def same(one: torch.nn.Module, state: dict[str, torch.Tensor]) -> bool:
    return all(torch.equal(value, state[name]) for name, value in one.state_dict().items())


def test_a_run_starts_where_another_ended(tmp_path: Path, model: torch.nn.Module) -> None:
    first = run.train(tiny_run.config("dense", epochs=4, lr=1e-2), tmp_path / "first", page=False)
    started = tiny_run.config("dpap", epochs=1, init=str(tmp_path / "first"), lr=1e-9, schedule="constant")
    again = run.train(started, tmp_path / "second", page=False)
    assert again["accuracy"] == first["accuracy"]
    initial.load(model, tmp_path / "first")
    saved = torch.load(tmp_path / "first" / "checkpoints" / "last.ckpt", weights_only=True)["state_dict"]
    assert same(model, {name.removeprefix("model."): value for name, value in saved.items()})


PRUNED = {
    "bdnn-sp": {"train_epochs": 1, "patience": 1, "share": 0.5},
    "bsp": {"schedule": "constant", "p_r": 0.5, "p_c": 1},
}


@pytest.mark.parametrize("compact_every", [None, 1])
@pytest.mark.parametrize("method", sorted(PRUNED))
def test_a_pruned_network_goes_on_as_it_was_left(
    tmp_path: Path, method: str, compact_every: int | None
) -> None:
    own = MethodConfig(method, options=PRUNED[method], compact_every=compact_every)
    pruned = run.train(replace(tiny_run.config(method), method=own), tmp_path / "first", page=False)
    assert pruned["pruning_rate"] > 0.3
    started = tiny_run.config("dense", epochs=2, init=str(tmp_path / "first"))
    dense = MethodConfig("dense", target=None, compact_every=None)
    again = run.train(replace(started, method=dense), tmp_path / "second", page=False)
    for key in ("weights_dense", "weights_left", "neurons_left", "pruning_rate"):
        assert again[key] == pruned[key]
    first, second = (
        checkpoint.load(tmp_path / name / "checkpoints" / "last.ckpt")["state_dict"]
        for name in ("first", "second")
    )
    assert not torch.equal(first["model.fc1.weight"], second["model.fc1.weight"])
    assert torch.equal(first["model.fc1.weight"] == 0, second["model.fc1.weight"] == 0)
    (tmp_path / "second" / "summary.json").unlink()
    assert run.resume(tmp_path / "second", page=False)["accuracy"] == again["accuracy"]


def test_plain_files_work_as_well(tmp_path: Path, model: torch.nn.Module) -> None:
    state = {name: torch.randn_like(value) for name, value in model.state_dict().items()}
    torch.save(state, tmp_path / "weights.pt")
    save_file(state, tmp_path / "weights.safetensors")
    for name in ("weights.pt", "weights.safetensors"):
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.zero_()
        initial.load(model, tmp_path / name)
        assert same(model, state)


class Evil:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return (exec, ("raise SystemExit('the pickle ran')",))


def test_what_cannot_be_used_is_said_in_a_sentence(tmp_path: Path, model: torch.nn.Module) -> None:
    before = {name: value.clone() for name, value in model.state_dict().items()}
    torch.save({name: value[:1] for name, value in before.items()}, tmp_path / "small.pt")
    torch.save({"unrelated": torch.ones(1)}, tmp_path / "other.pt")
    torch.save(Evil(), tmp_path / "evil.pt")
    (tmp_path / "broken.safetensors").write_bytes(b"no such thing")
    for name, words in (
        ("missing.pt", "expected a run"),
        ("small.pt", "is of another network"),
        ("other.pt", "is missing there"),
        ("evil.pt", "cannot read"),
        ("broken.safetensors", "cannot read"),
    ):
        with pytest.raises(UserError, match=words):
            initial.load(model, tmp_path / name)
    assert same(model, before)
