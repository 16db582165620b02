"""A data set, a model and a method of the user's own, by import path: in a run, its files, and a bench."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from textwrap import dedent

import pytest
import yaml

from snnprune import cli
from snnprune.config import names, signature
from snnprune.config.names import label
from snnprune.config.schema import ModelConfig, RunConfig

ROOT = Path(__file__).parents[1]

MINE = re.findall(r"```python\n(.*?)```", (ROOT / "docs/configuration.md").read_text(), re.DOTALL)[0]
"""What the documentation shows."""

MORE = '''

class Inner:
    Idle = Idle


class Heir(Idle):
    """Passes on what it is given."""

    def __init__(self, *, loud: bool = False, **rest) -> None:
        super().__init__(**rest)


number = 3
'''

NAMED = ["--data.name", "mine:Stripes", "--model.name", "mine:net", "--method.name", "mine:Idle"]
SHORT = ["--train.epochs", "1", "--train.batch_size", "12", "--train.twin", "false", "--train.device", "cpu"]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder, with a module of the user's own in it."""
    (tmp_path / "mine.py").write_text(MINE + MORE)
    (tmp_path / "broken.py").write_text("def f(:\n")
    (tmp_path / "needy.py").write_text("import no_such_package\n")
    (tmp_path / "script.py").write_text("import sys\nsys.exit('usage: script')\n")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [*sys.path])
    for module in ("mine", "broken", "needy", "script"):
        monkeypatch.delitem(sys.modules, module, raising=False)
    return tmp_path


@pytest.mark.parametrize("kind", ["data", "model", "method"])
@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("nowhere:Mine", "there is no module 'nowhere'"),
        ("mine.deeper:Mine", "there is no module 'mine.deeper'"),
        ("mine:Idel", "the module 'mine' has no 'Idel': did you mean 'Idle'"),
        ("mine:Inner.Nothing", "the module 'mine' has no 'Inner.Nothing'"),
        ("mine:number", ", and is int 3"),
        ("broken:f", "cannot be imported: SyntaxError"),
        ("needy:f", "cannot be imported: No module named 'no_such_package'"),
        ("script:f", "cannot be imported: SystemExit"),
        ("mine:", "must be written mypackage.module:Mine, and is 'mine:'"),
        (":Mine", "must be written mypackage.module:Mine"),
        ("a:b:c", "must be written mypackage.module:Mine"),
        ("../mine:Idle", "must be written mypackage.module:Mine"),
    ],
)
@pytest.mark.usefixtures("folder")
def test_a_name_that_stands_for_nothing_is_a_sentence(
    kind: str, name: str, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    for command in (["train", "--print_config"], ["bench"]):
        assert cli.main([*command, f"--{kind}.name", name]) == 2
        error = capsys.readouterr().err
        assert error.startswith("snnprune: ")
        assert error.count("\n") == 1
        assert said in error


@pytest.mark.parametrize(
    ("kind", "name"),
    [
        ("data", "mine:Idle"),
        ("model", "mine:Idle.begin"),
        ("model", "mine:Idle"),
        ("method", "mine:net"),
        ("method", "os:system"),
        ("method", "subprocess:run"),
    ],
)
@pytest.mark.usefixtures("folder")
def test_a_thing_of_another_kind_is_never_called(
    kind: str, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    given = [f"--{kind}.name", name, "--method.options", "{command: touch called, args: [touch, called]}"]
    assert cli.main(["train", *given]) == 2
    assert "must be " in capsys.readouterr().err
    assert not Path("called").exists()


@pytest.mark.usefixtures("folder")
def test_options_are_typed_by_the_signature(capsys: pytest.CaptureFixture[str]) -> None:
    line = ["train", *NAMED, "--method.options.share", "0.5", "--method.options.rounds=4"]
    assert cli.main([*line, "--print_config"]) == 0
    assert yaml.safe_load(capsys.readouterr().out)["method"]["options"] == {"share": 0.5, "rounds": 4}
    for option, said in (
        ("share=x", "option 'share' of method 'mine:Idle' must be a number, and is 'x'"),
        ("rounds=1.5", "option 'rounds' of method 'mine:Idle' must be a whole number, and is '1.5'"),
        ("shares=1", "method 'mine:Idle' has no option 'shares': did you mean 'share'"),
    ):
        assert cli.main([*line, f"--method.options.{option}"]) == 2
        assert said in capsys.readouterr().err
    Path("run.yaml").write_text("method: {name: 'mine:Idle', options: {share: x}}\n")
    assert cli.main(["train", "--config", "run.yaml"]) == 2
    assert "(method.options in run.yaml)" in capsys.readouterr().err


def test_what_a_class_passes_on_are_its_options(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(folder)
    options = signature.options(names.pick(names.METHODS, "method", "mine:Heir").load())
    assert list(options) == ["loud", "share", "rounds"]
    assert options["share"].meaning == "of what would be pruned."


@pytest.mark.usefixtures("folder")
def test_list_says_what_can_be_set_of_it(capsys: pytest.CaptureFixture[str]) -> None:
    for line, words in (
        ("method mine:Idle", ("Prunes nothing.", "share", "0.2", "of what would be pruned.", "a number")),
        ("model mine:net", ("A hidden layer, without time.", "--model.hidden")),
        ("dataset mine:Stripes", ("Frames whose class says", "--data.time_steps")),
        ("method dpap", ("tau", "0.5", "--method.target", "decay of the spiking trace")),
        ("methods magnitude", ("schedule", "gradual", "one of gradual, one-shot")),
        ("model mlp-ann", ("--model.activation", "one of relu, gelu, sigmoid")),
        ("dataset nmnist", ("--data.binning", "--data.skip_corrupt")),
    ):
        assert cli.main(["list", *line.split()]) == 0
        said = " ".join(capsys.readouterr().out.replace("│", " ").split())
        for word in words:
            assert word in said, (line, word)
    assert cli.main(["list", "model", "conv-snn"]) == 0
    assert "--model.activation" not in capsys.readouterr().out
    for line, said in (
        ("method dpaq", "did you mean 'dpap'"),
        ("model mine:number", "must be a class or function"),
        ("dataset nowhere:Mine", "there is no module 'nowhere'"),
    ):
        assert cli.main(["list", *line.split()]) == 2
        assert said in capsys.readouterr().err


@pytest.mark.parametrize("name", sorted(names.METHODS))
def test_every_method_explains_its_options(name: str) -> None:
    options = signature.options(names.METHODS[name].load())
    assert [option.name for option in options.values() if not option.meaning] == []


def test_a_run_its_files_and_a_bench(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["train", *NAMED, *SHORT, "--method.options.share", "0.5"]) == 0
    run = folder / "runs" / "mine.Stripes-mine.net-mine.Idle-seed0"
    written = yaml.safe_load((run / "config.yaml").read_text())
    assert [written[part]["name"] for part in ("data", "model", "method")] == NAMED[1::2]
    assert written["method"]["options"] == {"share": 0.5}
    (run / "summary.json").unlink()
    for line in (["train", "--resume"], ["eval"], ["export", "--to", "csr"], ["report"]):
        assert cli.main([*line, str(run)]) == 0, line
    assert cli.main(["eval", str(run / "model.safetensors"), "--data.time_steps", "3"]) == 0
    capsys.readouterr()
    # As the installed script starts, in whose path the current folder is not.
    script = folder / "elsewhere" / "script.py"
    script.parent.mkdir()
    script.write_text("import sys\nfrom snnprune.cli import main\nsys.exit(main())\n")
    line = [sys.executable, str(script), "bench", *NAMED, *SHORT, "--methods", "mine:Idle", "--seeds", "1"]
    done = subprocess.run(
        [*line, "--out", "bench"],
        capture_output=True,
        text=True,
        check=False,
        env={"PATH": "", "PYTHONPATH": str(ROOT), "XDG_CACHE_HOME": str(folder)},
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert (folder / "bench" / "mine.Idle-seed0" / "summary.json").is_file()


def test_a_run_needs_its_own_names_again(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "run").mkdir()
    parts = {"data": {}, "model": {"name": "gone:net"}, "method": {}, "train": {}}
    (folder / "run" / "config.yaml").write_text(yaml.safe_dump(parts))
    assert cli.main(["train", "--resume", "run"]) == 2
    assert "there is no module 'gone' for the model 'gone:net'" in capsys.readouterr().err


@pytest.mark.parametrize("returned", ["return 3", "return nn.Linear(2, 2)"])
def test_a_model_that_is_none_is_a_sentence(
    returned: str, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    name = f"bad{len(returned)}"
    (folder / f"{name}.py").write_text(
        dedent(f"""\
        from torch import nn
        def net(config, shape, classes):
            {returned}
        """)
    )
    assert cli.main(["train", *NAMED[:2], "--model.name", f"{name}:net", *SHORT]) == 2
    assert f"the model '{name}:net' " in capsys.readouterr().err


def test_labels_are_names_of_files() -> None:
    assert label("pack.age:Mine") == "pack.age.Mine"
    config = RunConfig(model=ModelConfig("a:b"))
    assert cli.default_folder(config) == Path("runs/digits-events-a.b-dpap-seed0")
    assert cli.default_bench(config) == Path("runs/bench-digits-events-a.b")
