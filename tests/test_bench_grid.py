"""What `snnprune bench` is asked for: the grid, its files, and what it says of input that cannot be used."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml

from snnprune import bench, cli
from snnprune.bench.executor import Local
from snnprune.bench.folder import BenchFolder, settled
from snnprune.bench.grid import Cell, Grid, grid
from snnprune.common.child import cores
from snnprune.common.errors import UserError
from snnprune.config.names import METHODS, options_of
from snnprune.config.schema import DataConfig, MethodConfig, RunConfig, TrainConfig

BENCHES = sorted((Path(__file__).parents[1] / "configs" / "bench").glob("*.yaml"))


def test_a_grid_is_methods_by_targets_by_seeds_and_dense_has_no_target() -> None:
    cells = [cell.name for cell in Grid(("dense", "dpap", "hebb"), (0.4, 0.65), (0, 3)).cells()]
    of_one_seed = ["dense", "dpap-0.4", "dpap-0.65", "hebb-0.4", "hebb-0.65"]
    assert cells == [f"{name}-seed{seed}" for seed in (0, 3) for name in of_one_seed]


def test_what_is_not_asked_for_is_taken_from_the_configuration() -> None:
    base = RunConfig(method=MethodConfig(name="hebb", target=0.7), train=TrainConfig(seed=10))
    assert grid(base) == Grid(("dense", "hebb"), (0.7,), (10, 11, 12, 13, 14))


@pytest.mark.parametrize(
    ("seeds", "meant"), [(2, (0, 1)), ("2", (0, 1)), ("0,4", (0, 4)), ([4], (4,)), ("4,", (4,))]
)
def test_seeds_are_a_number_or_a_list(seeds: Any, meant: tuple[int, ...]) -> None:
    assert grid(RunConfig(), seeds=seeds).seeds == meant


@pytest.mark.parametrize("targets", ["0.4, 0.6,0.4,none", [0.4, 0.6, "own"], "[0.4,0.6,null]"])
def test_targets_are_a_list_and_none_is_the_methods_own_stopping(targets: Any) -> None:
    assert grid(RunConfig(), targets=targets).targets == (0.4, 0.6, None)
    assert Cell("dpap", None, 1).name == "dpap-seed1"


def test_a_target_may_be_a_share_of_another_measure() -> None:
    asked = grid(RunConfig(), "dense,bsp,magnitude", "0.9,synops:0.95,weights:0.5", 1)
    assert asked.targets == (0.9, ("synops", 0.95), 0.5)
    cells = {cell.name: cell.config(RunConfig()).method for cell in asked.cells()}
    assert list(cells) == [
        "dense-seed0", "bsp-seed0",
        "magnitude-0.9-seed0", "magnitude-synops-0.95-seed0", "magnitude-0.5-seed0",
    ]  # fmt: skip
    own = cells["magnitude-synops-0.95-seed0"]
    assert (own.target, own.further_targets) == (None, {"target_synops": 0.95})
    assert cells["magnitude-0.9-seed0"].further_targets == {}


def test_targets_of_a_configuration_are_those_of_its_bench() -> None:
    both = RunConfig(method=MethodConfig("magnitude", target=0.5, target_synops=0.8))
    assert grid(both).targets == (0.5, ("synops", 0.8))
    assert grid(RunConfig(method=MethodConfig("magnitude", target_bytes=0.8))).targets == (("bytes", 0.8),)
    with pytest.raises(UserError, match=r"target_synops stands beside .* put synops:0.8 into --targets"):
        grid(both, targets="0.9")


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({"targets": "spikes:0.9"}, "has 'spikes:0.9', whose measure is not one of weights, macs, synops"),
        ({"targets": "synops:1"}, "one is 'synops:1'"),
        ({"targets": ":0.5"}, "has ':0.5', whose measure is not one of"),
        ({"methods": "dense,dpaq"}, "did you mean 'dpap'"),
        ({"methods": ","}, "--methods must be a list"),
        ({"targets": "0.4,1"}, "one is '1'"),
        ({"targets": "half"}, "one is 'half'"),
        ({"targets": [True]}, "one is true"),
        ({"seeds": 0}, "--seeds must be a number of seeds"),
        ({"seeds": "0,-1"}, "--seeds must be a number of seeds"),
        ({"seeds": 2.5}, "--seeds must be a number of seeds"),
        ({"seeds": 10**9}, "from 1 to 1000"),
        ({"targets": [float("nan")]}, "one is nan"),
        ({"methods": [["dense"]]}, "must be names of methods"),
    ],
)
def test_a_grid_that_cannot_be_is_a_sentence(asked: dict[str, Any], said: str) -> None:
    with pytest.raises(UserError, match=said):
        grid(RunConfig(), **asked)


def test_a_cell_is_an_ordinary_run_and_constants_stay_with_their_method() -> None:
    base = RunConfig(method=MethodConfig(name="dpap", structured=0.3, options={"eta": 9.0}))
    dpap, hebb, dense = (
        Cell(*at).config(base) for at in (("dpap", 0.4, 2), ("hebb", 0.4, 2), ("dense", None, 2))
    )
    assert dpap.method == replace(base.method, target=0.4)
    assert hebb.method == MethodConfig(name="hebb", target=0.4, structured=0.3)
    assert dense.method == MethodConfig(name="dense", target=None, structured=0.3)
    assert {c.train for c in (dpap, hebb, dense)} == {replace(base.train, seed=2, twin=False)}


def test_a_folder_belongs_to_one_configuration(tmp_path: Path) -> None:
    folder, base = BenchFolder(tmp_path), RunConfig()
    folder.claim(base, grid(base))
    folder.claim(base, grid(base, "dense,hebb", "0.1", "7,8"))
    moved = replace(base, data=replace(base.data, root="/elsewhere"))
    folder.claim(moved, grid(moved))
    for other, key in (
        (replace(base, data=DataConfig(name="nmnist")), "data.name is 'digits-events' there and 'nmnist'"),
        (replace(base, train=TrainConfig(epochs=3)), "train.epochs is 12 there and 3 here"),
    ):
        with pytest.raises(UserError, match=key):
            folder.claim(other, grid(other))


def test_a_folder_of_something_else_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("")
    with pytest.raises(UserError, match=r"holds 'thesis.tex' and no bench.yaml"):
        BenchFolder(tmp_path).claim(RunConfig(), grid(RunConfig()))
    (tmp_path / "bench.yaml").write_text("run: [")
    with pytest.raises(UserError, match="cannot read"):
        BenchFolder(tmp_path).claim(RunConfig(), grid(RunConfig()))


def test_settled_is_what_method_target_and_seed_do_not_change() -> None:
    base = RunConfig()
    assert all(settled(cell.config(base)) == settled(base) for cell in grid(base, seeds=2).cells())


# --- the command


@pytest.fixture
def called(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Any, ...]]:
    made: list[tuple[Any, ...]] = []
    stand_in = SimpleNamespace(
        bench=lambda *given: made.append(given) or 1, compare=lambda *given: made.append(given)
    )
    monkeypatch.setattr(bench, "run", stand_in, raising=False)
    monkeypatch.setitem(sys.modules, "snnprune.bench.run", stand_in)
    return made


def test_the_command_passes_on_what_was_asked(called: list[tuple[Any, ...]], tmp_path: Path) -> None:
    file = tmp_path / "bench.yaml"
    file.write_text("data: {time_steps: 4}\nmethods: [dense, hebb]\ntargets: [0.2]\nseeds: 2\n")
    options = ["--targets", "0.3,0.5", "--train.epochs", "7", "--jobs", "2"]
    assert cli.main(["bench", "--config", str(file), *options]) == 1  # what the bench answered
    ((base, asked, out, local),) = called
    assert base == RunConfig(data=DataConfig(time_steps=4), train=TrainConfig(epochs=7))
    assert asked == Grid(("dense", "hebb"), (0.3, 0.5), (0, 1))
    assert out == Path("runs/bench-digits-events")
    assert isinstance(local, Local)
    assert (local.slots, local.threads) == (2, max(1, cores() // 2))


def test_compare_trains_nothing(called: list[tuple[Any, ...]], tmp_path: Path) -> None:
    assert cli.main(["bench", "--compare", str(tmp_path)]) == 0
    assert called == [(tmp_path,)]


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("bench --methods dense,dpaq", "did you mean 'dpap'"),
        ("bench --jobs 0", "--jobs must be a whole number from 1"),
        ("bench --method dense", "write --method.name"),
        ("bench --executor slurm", "slurm"),
        ("bench --compare runs/b --jobs 2", "leave the other options out"),
        ("bench --train.epochs 0", "train.epochs must be a whole number from 1"),
    ],
)
def test_wrong_input_is_one_sentence(
    called: list[tuple[Any, ...]], capsys: pytest.CaptureFixture[str], line: str, said: str
) -> None:
    assert cli.main(line.split()) == 2
    error = capsys.readouterr().err
    assert error.startswith("snnprune: ")
    assert error.count("\n") == 1
    assert said in error
    assert called == []


@pytest.mark.parametrize("file", BENCHES, ids=lambda file: file.stem)
def test_a_file_of_a_bench_loads(called: list[tuple[Any, ...]], file: Path, tmp_path: Path) -> None:
    elsewhere = ["--data.root", str(tmp_path), "--data.download", "true"]
    assert cli.main(["bench", "--config", str(file), *elsewhere]) == 1
    ((base, asked, _, _),) = called
    written = yaml.safe_load(file.read_text())
    assert base.data.name == written["data"]["name"]
    assert list(asked.methods) == written["methods"]
    aims = [f"{aim[0]}:{aim[1]}" if isinstance(aim, tuple) else aim for aim in asked.targets]
    assert aims == written["targets"]
    assert asked.seeds == tuple(range(written["seeds"]))
    aimed = sum("target" in options_of(METHODS, "method", name) for name in asked.methods)
    alone = len(asked.methods) - aimed  # dense, and methods that stop by themselves
    assert len(list(asked.cells())) == (alone + aimed * len(asked.targets)) * written["seeds"]


def test_a_run_refuses_the_file_of_a_bench(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["train", "--config", str(BENCHES[0])]) == 2
    assert "unknown key 'methods'" in capsys.readouterr().err
