"""Every setting, with values that it cannot have, from every source: one sentence, and nothing is begun."""

from __future__ import annotations

import math
from dataclasses import fields, replace
from itertools import product
from typing import TYPE_CHECKING, Any

import pytest
import yaml

from snnprune import cli
from snnprune.common.errors import UserError
from snnprune.config.check import check, types_of
from snnprune.config.reading import as_config
from snnprune.config.schema import SECTIONS, MethodConfig, RunConfig
from snnprune.runs.folder import RunFolder
from snnprune.training import run

if TYPE_CHECKING:
    from pathlib import Path

KEYS = [f"{section}.{key}" for section, kind in SECTIONS.items() for key in types_of(kind)]

AIMS = [key for key in types_of(MethodConfig) if key.startswith("target")]

EVERYWHERE: list[Any] = [[1], {"a": 1}, math.nan, math.inf, -math.inf, -1, True, 2.5, "abc", "", "a\nb", None]
"""Values of every kind, of which a setting takes a few."""

TAKEN: dict[str, tuple[Any, ...]] = {
    "data.name": ("abc",),  # text, which is looked for among the names afterwards
    "model.name": ("abc",),
    "method.name": ("abc",),
    "data.root": ("abc", None),
    "data.cache": ("abc", None),
    "data.classes": ("abc", None),
    "data.columns": ("abc", None),
    "data.stream": ("abc", None),
    "data.group": ("abc", None),
    **{
        f"data.{name}": (None,)
        for name in ("sensor", "time_unit", "crop", "size", "bin", "window", "stride", "augment", "test")
    },
    "train.init": ("abc", None),
    "data.samples": (None,),
    "data.download": (True,),
    "data.skip_corrupt": (True,),
    "model.hidden": (None,),
    "model.detach_reset": (True,),
    "model.accelerate": (True,),
    "model.file": ("abc", None),
    "model.dt": (2.5, None),
    **{f"model.{name}": (2.5,) for name in ("eta", "trace", "membrane")},
    **{f"method.{name}": (None,) for name in AIMS},
    "method.compact_every": (None,),
    "method.options": ({"a": 1},),  # names that the method is asked for afterwards
    "train.lr": (2.5,),
    "train.weight_decay": (2.5,),
    "train.momentum": (2.5,),
    "train.activity_penalty": (2.5,),
    "train.step_gamma": (2.5,),
    "train.threads": (None,),
    "train.twin": (True,),
    "train.export_check": (None,),
}
"""Which of them fit by type and bounds; every other one must be refused."""

EDGES: dict[str, tuple[Any, ...]] = {
    "data.time_steps": (0, 10_001),
    "data.validation": (1, 1.0),
    "data.samples": (0, 10**10),
    "data.test": (1, -0.1),
    "data.sensor": ("0x1", "34", "34x34x2"),
    "data.bin": ("0ms", "10", "1.5ms", "1h"),
    "data.augment": ("shift=0", "turn=1", "shift=1,shift=2", "drop=1"),
    "model.hidden": (0, 10**30),
    "model.dropout": (1,),
    "model.dt": (0,),
    "model.eta": (0,),
    "model.trace": (0.99,),
    "model.membrane": (0.99,),
    "model.inhibition": (1.01, -0.01),
    **{f"method.{name}": (1, -0.1) for name in AIMS},
    "method.structured": (1.01, -0.01),
    "method.compact_every": (0,),
    "train.epochs": (0, 10**10),
    "train.batch_size": (0,),
    "train.lr": (0,),
    "train.weight_decay": (-1e-9,),
    "train.step_gamma": (0,),
    "train.seed": (-1, 2**63),
    "train.devices": (0,),
    "train.threads": (0,),
    "train.optimizer": ("adagrad", "ADAM"),
}
"""Values of the right type just outside of the bounds."""


def same(a: Any, b: Any) -> bool:
    return type(a) is type(b) and a == b


def wrong(key: str) -> list[Any]:
    values = [v for v in EVERYWHERE if not any(same(v, taken) for taken in TAKEN.get(key, ()))]
    return [*values, *EDGES.get(key, ()), "x" * 1001]


def text(value: Any) -> str | None:
    """The value as an option, None where the text means something else than the value does."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return str(value).lower()
    return value if isinstance(value, str) else str(value)


def sentence(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    assert cli.main(list(arguments)) == 2, arguments
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.startswith("snnprune: ")
    assert said.err.count("\n") == 1, said.err
    assert len(said.err) < 800
    return said.err


TEXT = {key for key, taken in TAKEN.items() if "abc" in taken}
"""Keys that take text, which any option is."""


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Should a command begin something after all, let it be in a folder of the test."""
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize("key", KEYS)
def test_an_option_of_a_wrong_value_is_a_sentence_that_names_it(
    key: str, capsys: pytest.CaptureFixture[str]
) -> None:
    commands = [["train"], ["bench", "--methods", "dense,dpap"]]
    if key.startswith("data."):
        commands += [["eval", "run"], ["export", "run"]]
        commands += [["data", "prepare", "mnist"]] if key != "data.name" else []
    for value, command in product(wrong(key), commands):
        given = text(value)
        if given is None or (key in TEXT and not isinstance(value, str)):
            continue
        assert f"--{key} must be " in sentence(capsys, *command, f"--{key}={given}")


@pytest.mark.parametrize("beside", [[], ["--train.epochs", "3", "--data.time_steps=4"]])
@pytest.mark.parametrize("command", ["train", "bench"])
@pytest.mark.parametrize("key", KEYS)
def test_a_wrong_value_in_a_file_is_a_sentence_that_names_key_and_file(
    key: str, command: str, beside: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    section, _, name = key.partition(".")
    file = tmp_path / "run.yaml"
    lists = {"methods": ["dense", "dpap"]} if command == "bench" else {}
    for value in wrong(key):
        file.write_text(yaml.safe_dump({section: {name: value}, **lists}))
        said = sentence(capsys, command, "--config", str(file), *beside)
        assert f"the configuration {file}" in said
        assert f"{key} must be " in said or "more than 1000 characters" in said


@pytest.mark.parametrize("key", KEYS)
def test_a_wrong_value_made_in_python_is_a_sentence(key: str) -> None:
    section, _, name = key.partition(".")
    for value in wrong(key):
        config = RunConfig()
        part = replace(getattr(config, section), **{name: value})
        with pytest.raises(UserError, match=f"^{key} must be "):
            check(replace(config, **{section: part}))
    with pytest.raises(UserError, match=f"^{section} must be a "):
        check(replace(RunConfig(), **{section: None}))


@pytest.mark.parametrize("key", KEYS)
def test_a_wrong_value_in_the_folder_of_a_run_is_a_sentence(
    key: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    section, _, name = key.partition(".")
    for value in wrong(key):
        (tmp_path / "config.yaml").write_text(
            yaml.safe_dump({part: {name: value} if part == section else {} for part in SECTIONS})
        )
        for command in (["train", "--resume"], ["eval"], ["export"]):
            said = sentence(capsys, *command, str(tmp_path))
            assert str(tmp_path / "config.yaml") in said
            assert key in said or "more than 1000 characters" in said


def test_a_run_is_not_begun_with_a_wrong_value(tmp_path: Path) -> None:
    wrong_config = replace(RunConfig(), train=replace(RunConfig().train, epochs="3"))  # type: ignore[arg-type]
    with pytest.raises(UserError, match=r"^train\.epochs must be "):
        run.train(wrong_config, tmp_path / "run")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("written", "key", "meant"),
    [
        ("train: {lr: 1e-3}", "train.lr", 1e-3),
        ("train: {lr: '1e-3'}", "train.lr", 1e-3),
        ("train: {lr: 1}", "train.lr", 1.0),
        ("train: {epochs: '3'}", "train.epochs", 3),
        ("train: {twin: off}", "train.twin", False),
        ("train: {twin: 'false'}", "train.twin", False),
        ("method: {target: null}", "method.target", None),
        ("method: {target: 'null'}", "method.target", None),
        ("model: {hidden: ~}", "model.hidden", None),
    ],
)
def test_what_a_person_writes_is_what_they_mean(written: str, key: str, meant: Any, tmp_path: Path) -> None:
    (tmp_path / "config.yaml").write_text(yaml.safe_dump({name: {} for name in SECTIONS}))
    read = yaml.safe_load((tmp_path / "config.yaml").read_text()) | yaml.safe_load(written)
    section, _, name = key.partition(".")
    found = getattr(getattr(as_config(read, "it"), section), name)
    assert same(found, meant)


def test_a_bench_reads_its_lists_from_a_file_and_names_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "bench.yaml"
    wrong_lists: list[tuple[str, Any]] = [
        *(("methods", value) for value in ([], [1], [["dense"]], {"a": 1}, "", 3, math.nan)),
        *(("targets", value) for value in ([], [1], ["a"], [math.nan], [True], {"a": 1}, -1)),
        *(("seeds", value) for value in ([], 0, -1, 2.5, [1.5], "x", 10**9, [2**63], math.inf, {"a": 1})),
    ]
    for name, value in wrong_lists:
        file.write_text(yaml.safe_dump({"train": {"epochs": 3}, name: value}))
        said = sentence(capsys, "bench", "--config", str(file))
        assert f"{name} in the configuration {file} must be" in said, (name, value)
    file.write_text("methods: [a, b]\n")
    assert "--train.epochs must be" in sentence(
        capsys, "bench", "--config", str(file), "--train.epochs", "abc"
    )


def test_what_comes_later_on_the_line_counts(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "a.yaml").write_text("train: {epochs: 3, seed: 1}\nmethod: {options: {tau: 0.3}}\n")
    (tmp_path / "b.yaml").write_text("train: {epochs: 4}\n")
    a, b = (["--config", str(tmp_path / f"{name}.yaml")] for name in "ab")
    for line, epochs in (
        ([*a, *b], 4),
        ([*b, *a], 3),
        (["--train.epochs", "9", *a], 3),
        ([*a, "--train.epochs=9"], 9),
    ):
        assert cli.main(["train", *line, "--method.options.eta", "3", "--print_config"]) == 0
        read = yaml.safe_load(capsys.readouterr().out)
        assert (read["train"]["epochs"], read["train"]["seed"]) == (epochs, 1)
        assert read["method"]["options"] == {"tau": 0.3, "eta": 3.0}


def test_every_field_has_a_type_that_is_checked_and_a_meaning() -> None:
    for section, kind in SECTIONS.items():
        for field in fields(kind):
            assert f"{field.name}:" in (kind.__doc__ or ""), f"{section}.{field.name}"
            assert wrong(f"{section}.{field.name}")


def test_a_configuration_comes_back_from_its_folder(tmp_path: Path) -> None:
    config = replace(
        RunConfig(), method=replace(RunConfig().method, options={"tau": 0.3, "layers": {"fc1": 0.5}})
    )
    with RunFolder(tmp_path) as folder:
        folder.claim(config)
    assert RunFolder(tmp_path).read_config() == config
