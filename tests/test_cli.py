"""The command line: what it passes on, and what it says of input that cannot be used."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml

from snnprune import cli, export, training
from snnprune.config.schema import DataConfig, MethodConfig, ModelConfig, RunConfig, TrainConfig
from snnprune.export import nir_file

OLD_RUN = Path(__file__).parent / "fixtures" / "v0.1" / "run"

HEAVY = ("torch", "lightning", "spikingjelly", "tonic", "torchvision", "matplotlib", "sklearn", "scipy")


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Any, ...]]:
    """Stand in for training, and keep what it was called with."""
    made: list[tuple[Any, ...]] = []
    stand_in = SimpleNamespace(
        train=lambda *arguments: made.append(("train", *arguments)),
        resume=lambda *arguments: made.append(("resume", *arguments)),
    )
    measuring = SimpleNamespace(evaluate=lambda *given, **options: made.append(("evaluate", *given, options)))
    writing = SimpleNamespace(export=lambda *given, **options: made.append(("export", *given, options)))
    for room, name, module in (
        (training, "run", stand_in),
        (export, "evaluation", measuring),
        (export, "exporting", writing),
    ):
        monkeypatch.setattr(room, name, module, raising=False)
        monkeypatch.setitem(sys.modules, f"{room.__name__}.{name}", module)
    return made


def write(folder: Path, text: str) -> str:
    file = folder / "run.yaml"
    file.write_text(text)
    return str(file)


def test_no_option_is_the_default_run(calls: list[tuple[Any, ...]]) -> None:
    assert cli.main(["train"]) == 0
    assert calls == [("train", RunConfig(), Path("runs/digits-events-dpap-seed0"))]


def test_file_and_options_are_one_thing(calls: list[tuple[Any, ...]], tmp_path: Path) -> None:
    file = write(tmp_path, "data: {name: digits-events, time_steps: 4}\ntrain: {lr: 1e-2, epochs: 3}\n")
    given = ["train", "--config", file, "--train.epochs", "5", "--train.seed=7", "--method.target", "null"]
    assert cli.main([*given, "--method.options.eta", "3", "--model.name", "mlp-snn", "--model.hidden=9"]) == 0
    config = RunConfig(
        data=DataConfig(name="digits-events", time_steps=4),
        model=ModelConfig(name="mlp-snn", hidden=9),
        method=MethodConfig(target=None, options={"eta": 3}),
        train=TrainConfig(lr=0.01, epochs=5, seed=7),
    )
    assert calls == [("train", config, Path("runs/digits-events-mlp-snn-dpap-seed7"))]


def test_printed_configuration_is_a_configuration(
    calls: list[tuple[Any, ...]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = [
        "--data.root",
        "/data",
        "--method.options",
        "{eta: 3, layers: {fc1: 0.5}}",
        "--train.lr",
        "1e-5",
    ]
    assert cli.main(["train", *options, "--print_config"]) == 0
    printed = capsys.readouterr().out
    assert list(yaml.safe_load(printed)) == ["data", "model", "method", "train"]
    assert calls == []
    assert cli.main(["train", "--config", write(tmp_path, printed), "--out", "here"]) == 0
    assert cli.main(["train", *options, "--out", "here"]) == 0
    assert calls[0] == calls[1]
    assert calls[0][1].method.options == {"eta": 3, "layers": {"fc1": 0.5}}
    assert calls[0][2] == Path("here")


def test_resume_and_eval_take_a_run(calls: list[tuple[Any, ...]]) -> None:
    run = str(OLD_RUN)
    assert cli.main(["train", "--resume", run]) == 0
    assert cli.main(["eval", run]) == 0
    network = str(OLD_RUN / "model.safetensors")
    moved = ["--data.root", "there", "--data.time_steps=5"]
    assert cli.main(["eval", network, *moved, "--bits", "4", "--device", "cpu", "--out", "r.json"]) == 0
    plain = {"bits": None, "device": None, "dt": None, "neurobench": False, "out": None}
    assert calls == [
        ("resume", OLD_RUN),
        ("evaluate", OLD_RUN, {}, plain),
        (
            "evaluate",
            Path(network),
            {"root": "there", "time_steps": 5},
            plain | {"bits": 4, "device": "cpu", "out": Path("r.json")},
        ),
    ]


def test_export_takes_a_run_and_a_format(calls: list[tuple[Any, ...]]) -> None:
    assert cli.main(["export", str(OLD_RUN)]) == 0
    given = ["--to", "csr", "--out", "x", "--bits", "8", "--samples", "9", "--budgets", "mine.yaml"]
    assert cli.main(["export", str(OLD_RUN), *given, "--data.root", "there"]) == 0
    assert cli.main(["export", str(OLD_RUN), "--to", "nir", "--nir-r", "1", "--nir-dt", "1e-3"]) == 0
    plain = {"data": {}, "samples": None, "bits": None, "bin": None, "form": None, "chips": None}
    asked = {"data": {"root": "there"}, "samples": 9, "bits": 8, "chips": Path("mine.yaml")}
    assert calls == [
        ("export", OLD_RUN, None, None, plain),
        ("export", OLD_RUN, "csr", Path("x"), plain | asked),
        ("export", OLD_RUN, "nir", None, plain | {"form": nir_file.Form(dt=1e-3, r="1")}),
    ]


def test_ctrl_c_says_how_to_go_on(
    calls: list[tuple[Any, ...]], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupted(*_arguments: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(training.run, "train", interrupted)
    assert cli.main(["train"]) == 130
    assert "the same command continues" in capsys.readouterr().err


WRONG = [
    ("tran", "did you mean 'train'"),
    ("train --train.epoch 3", "no option --train.epoch: did you mean '--train.epochs'"),
    ("train --data nmnist", "write --data.name"),
    (
        "train --train.epochs many",
        "--train.epochs must be a whole number from 1 to 1,000,000,000, and is 'many'",
    ),
    ("train --train.epochs 2.5", "train.epochs must be a whole number"),
    ("train --train.lr fast", "train.lr must be a number"),
    ("train --train.twin perhaps", "train.twin must be true or false"),
    ("train --train.optimizer adm", "must be one of adam, adamw, sgd"),
    ("train --model.hidden 2.5", "model.hidden must be a whole number from 1 to 1,000,000,000 or null"),
    ("train --method.options 5", "method.options must be a mapping"),
    ("train --train.epochs", "expected one argument"),
    ("train stray", "stray"),
    ("train --train.epochs 0", "train.epochs must be a whole number from 1"),
    ("train --train.batch_size 0", "train.batch_size must be a whole number from 1"),
    ("train --train.lr 0", "train.lr must be a number above 0"),
    ("train --train.lr nan", "train.lr must be"),
    ("train --method.target 1", "method.target must be a number from 0 to below 1 or null"),
    ("train --method.structured 1.1", "method.structured must be a number from 0 to 1"),
    ("train --data.time_steps 0", "data.time_steps must be a whole number from 1 to"),
    ("train --data.validation 1", "data.validation must be a number from 0 to below 1"),
    ("train --model.hidden 0", "model.hidden must be a whole number from 1"),
    ("train --data.name nminst", "did you mean 'nmnist'"),
    ("train --model.name conv-sn", "did you mean 'conv-snn'"),
    ("train --method.name dpaq", "did you mean 'dpap'"),
    ("train --resume runs/a --train.epochs 3", "leave the other options out"),
    ("train --config /nowhere.yaml", "cannot read the configuration /nowhere.yaml: No such file"),
    ("train --resume runs/nowhere", "is not a run of snnprune"),
    ("train --data.name nmnist --data.root /nowhere", "N-MNIST is expected in /nowhere"),
    ("train --method.options.tua 1", "has no option 'tua': did you mean 'tau'"),
    ("train --method.options.tau half", "option 'tau' of method 'dpap' must be a number, and is 'half'"),
    ("train --method.options.target 0.5", "write method.target"),
    ("train --model.activation gelu", "is for networks without time"),
    ("bench --compare runs/nowhere", "there is no folder runs/nowhere"),
    ("bench --methods dense,dpap --train.epochs abc", "--train.epochs must be a whole number"),
    ("eval runs/nowhere", "there is no file or folder runs/nowhere"),
    ("eval", "required: network"),
    ("eval runs/a --bits few", "bits"),
    ("eval runs/a --train.epochs 3", "--train.epochs"),
    ("export runs/a --to pickle", "invalid choice: 'pickle'"),
    ("list modles", "invalid choice: 'modles'"),
    ("data", "snnprune data prepare NAME"),
    ("data prepar nmnist", "snnprune data prepare NAME"),
    ("data inspct", "did you mean 'inspect'?"),
    ("data prepare", "required: name"),
    ("data prepare nminst", "did you mean 'nmnist'"),
]


@pytest.mark.parametrize("option", ["--out", "--resume"])
def test_an_empty_name_starts_nothing(
    option: str, calls: list[tuple[Any, ...]], capsys: pytest.CaptureFixture[str]
) -> None:
    for given in ([option, ""], [f"{option}="]):
        assert cli.main(["train", *given]) == 2
        check_sentence(capsys.readouterr().err, f"{option} must be the name of a folder, and is ''")
    assert calls == []


@pytest.mark.parametrize(("line", "said"), WRONG, ids=[line for line, _ in WRONG])
def test_wrong_input_is_one_sentence(
    calls: list[tuple[Any, ...]], capsys: pytest.CaptureFixture[str], line: str, said: str
) -> None:
    assert cli.main(line.split()) == 2
    check_sentence(capsys.readouterr().err, said)
    assert calls == []


WRONG_FILES = [
    ("train:\n  epcohs: 3\n", "unknown key 'train.epcohs': did you mean 'train.epochs'"),
    ("tarin:\n  epochs: 3\n", "unknown key 'tarin': did you mean 'train'"),
    ("epochs: 3\n", "unknown key 'epochs': did you mean 'train.epochs'"),
    ("data:\n  epochs: 3\n", "unknown key 'data.epochs': did you mean 'train.epochs'"),
    (
        "train:\n  epochs: three\n",
        "train.epochs must be a whole number from 1 to 1,000,000,000, and is 'three' in the configuration ",
    ),
    ("train:\n  epochs: 2.5\n", "and is 2.5 in the configuration "),
    ("train:\n  twin: 7\n", "train.twin must be true or false, and is 7 in the configuration "),
    ("data:\n  binning: [1]\n", "in the configuration "),
    ("train: 5\n", "'train' in the configuration"),
    ("train:\n", "'train' in the configuration"),
    ("- 1\n", "needs sections"),
    ("", "needs sections"),
    ("train: [1\ndata: }", "is not valid YAML in line 2"),
    ("train: \x00", "is not valid YAML"),
    ("out: here\n", "unknown key 'out'"),
    ("targets: [0.4]\n", "unknown key 'targets': it belongs in a file for `snnprune bench --config`"),
]


@pytest.mark.parametrize(("text", "said"), WRONG_FILES, ids=[text for text, _ in WRONG_FILES])
def test_wrong_files_are_one_sentence(
    calls: list[tuple[Any, ...]], tmp_path: Path, capsys: pytest.CaptureFixture[str], text: str, said: str
) -> None:
    assert cli.main(["train", f"--config={write(tmp_path, text)}"]) == 2
    check_sentence(capsys.readouterr().err, said)
    assert calls == []


def test_a_wrong_value_is_looked_for_where_it_was_written(
    calls: list[tuple[Any, ...]], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    good = write(tmp_path, "train: {epochs: 3}\n")
    (tmp_path / "other.yaml").write_text("train: {epochs: three}\n")
    bad = str(tmp_path / "other.yaml")
    assert cli.main(["train", "--config", good, "--config", bad]) == 2
    check_sentence(capsys.readouterr().err, f"'three' in the configuration {bad}\n")
    assert cli.main(["train", "--config", good, "--train.epochs", "four"]) == 2
    said = capsys.readouterr().err
    check_sentence(said, "and is 'four'\n")
    assert calls == []


def test_files_that_are_no_text(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "bytes.yaml").write_bytes(b"\xff\xfe\xfa")
    assert cli.main(["train", "--config", str(tmp_path / "bytes.yaml")]) == 2
    check_sentence(capsys.readouterr().err, "not text in UTF-8")
    assert cli.main(["train", "--config", str(tmp_path)]) == 2
    check_sentence(capsys.readouterr().err, "Is a directory")


def check_sentence(said: str, expected: str) -> None:
    assert said.startswith("snnprune: ")
    assert said.count("\n") == 1
    assert expected in said


def test_missing_data_unwritable_output_and_a_folder_in_use(tmp_path: Path) -> None:
    """As a process: nothing but the sentence may reach stderr, whatever the libraries would like to say."""
    import fcntl

    (tmp_path / "file").write_text("")
    run = tmp_path / "run"
    run.mkdir()
    with (run / ".lock").open("a+") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        for arguments, said in (
            (
                ["--data.name", "dvs-gesture", "--data.root", str(tmp_path), "--out", str(tmp_path / "a")],
                "DVS",
            ),
            (["--out", str(tmp_path / "file" / "run")], "cannot write in the run folder"),
            (["--out", str(run)], "is in use by another process"),
        ):
            done = process("train", *arguments)
            assert done.returncode == 2, done.stderr
            check_sentence(done.stderr, said)


def process(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [
        sys.executable,
        "-c",
        "import sys; from snnprune.cli import main; sys.exit(main())",
        *arguments,
    ]
    environment = {key: value for key, value in os.environ.items() if key != "SNNPRUNE_DATA"}
    return subprocess.run(command, capture_output=True, text=True, check=False, env=environment)


LIGHT = (
    "--help",
    "--version",
    "list",
    "list model conv-snn",
    "train --print_config",
    "train --train.epochs 0",
    "train --train.epoch 3",
    "train --method.name dpaq",
    "train --config nowhere.yaml",
    "train --resume nowhere",
    "train --data.name nmnist --data.root nowhere",
    "train --out /dev/null/run",
    "train --data.name nowhere:Mine",
    "bench --methods dense,dpaq",
    "bench --compare nowhere",
    "bench --out /dev/null/bench",
    "eval nowhere",
    "export nowhere",
    "report nowhere",
    "data prepare nmnist --data.root nowhere",
    "data --help",
    "data inspect nowhere",
)
"""Lines that name things, and are answered before anything that takes seconds to import."""


def test_names_and_help_are_answered_before_anything_heavy_is_imported() -> None:
    code = (
        "import sys; from snnprune import cli\n"
        f"for line in {LIGHT}:\n"
        "    cli.main(line.split())\n"
        f"    heavy = [name for name in {HEAVY} if name in sys.modules]\n"
        "    assert not heavy, (line, heavy)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    for word in ("train", "eval NETWORK", "export RUN", "nmnist", "conv-snn", "dpap"):
        assert word in done.stdout
    assert done.stderr.count("snnprune: ") == 17


def test_help_of_a_command_lists_its_options(capsys: pytest.CaptureFixture[str]) -> None:
    for command, option in (
        (["train"], "--method.target"),
        (["eval"], "--bits"),
        (["export"], "--budgets"),
        (["list"], "--data.root"),
        (["data", "prepare"], "--data.download"),
        (["data", "inspect"], "--data.sensor"),
    ):
        with pytest.raises(SystemExit) as stop:
            cli.main([*command, "--help"])
        assert stop.value.code == 0
        assert option.lower() in capsys.readouterr().out.lower()


def test_no_command_shows_the_commands(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main([]) == 2
    assert "data prepare NAME" in capsys.readouterr().out
    assert cli.main(["data"]) == 2
    assert cli.main(["data", "--help"]) == 0
    assert "inspect FOLDER" in capsys.readouterr().out


def test_list_of_one_says_where_it_is_and_what_it_takes(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["list", "dataset", "recordings"]) == 0
    said = capsys.readouterr().out
    assert "in the folder that --data.root names" in said
    assert "options of the data set" in said
    assert "--data.group" in said


def test_list_says_what_is_on_disk(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["list", "datasets", "--data.root", str(tmp_path)]) == 0
    rows = capsys.readouterr().out.splitlines()
    assert "yes" in next(row for row in rows if "digits-events" in row)
    assert " no" in next(row for row in rows if "poker-dvs" in row)
    assert not any("conv-snn" in row for row in rows)


def test_data_prepare_takes_the_settings_of_the_data(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    import snnprune.data

    monkeypatch.setattr(snnprune.data, "prepare", lambda config: f"got {config}")
    assert (
        cli.main(["data", "prepare", "digits-events", "--data.cache", "prepare", "--data.time_steps=4"]) == 0
    )
    assert capsys.readouterr().out == f"got {DataConfig(cache='prepare', time_steps=4)}\n"
