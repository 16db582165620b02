"""The command line: parsing and a call, nothing else.

What is slow to import (torch, Lightning, SpikingJelly, Tonic, matplotlib) is imported inside the commands.
"""

from __future__ import annotations

import contextlib
import os
import sys
import warnings
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import yaml

from snnprune import __version__, data
from snnprune.bench.folder import BenchFolder
from snnprune.bench.grid import grid, unused_in_bench
from snnprune.common.errors import UserError, memory_full
from snnprune.common.phases import phase, told
from snnprune.config import values
from snnprune.config.check import check, check_names, check_values
from snnprune.config.names import DATASETS, NIR_MODEL, label, nearest, pick
from snnprune.config.pace import out_of_step
from snnprune.config.reading import BENCH_LISTS, KEYS, Given, Parser, chosen, data_config, run_config
from snnprune.config.schema import SECTIONS, RunConfig
from snnprune.config.unused import unused
from snnprune.runs.folder import RunFolder

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

WRONG_INPUT = 2
INTERRUPTED = 130

FREE = (
    "lower --data.time_steps, choose another --device if the command has that option, or end other programs "
    "on this machine"
)
"""What to do about full memory; training knows more."""

IMPORTING = "importing torch, Lightning and SpikingJelly"

Bits = Annotated[int, values.Within(2, 16)]

NIR_FORMS: dict[str, tuple[Any, str]] = {
    "dt": (
        values.Seconds,
        "seconds of a time step; 1 for tools that count in steps, or want r = 1 of neurons without a leak "
        "(snntorch) (default: 1e-4)",
    ),
    "r": (
        Literal["own", "1"],
        "1: multiply r into weights and biases, for tools whose input leaks with the potential, without a "
        "factor (norse) (default: own)",
    ),
    "pool": (
        Literal["average", "sum"],
        "sum: sum pools, and the weights behind them divided, for tools without average pools (norse, "
        "sinabs, spyx) (default: average)",
    ),
    "neurons": (
        Literal["own", "if"],
        "if: neurons without their leak, for chips that have none (Speck); answers change (default: own)",
    ),
}
"""Options of `snnprune.export.nir_file.Form`, each with its type and what it changes."""

USAGE = """\
usage: snnprune COMMAND [OPTION ...]

Train spiking networks that prune themselves while they learn.

commands:
  train                train and prune; without options, a demo on data that comes with the package
  bench                many runs: methods, targets and seeds, compared with the unpruned network
  run NETWORK FILE     play events of a file, or as they come, and print what the network answers
  eval NETWORK         measure a run, a compact network, or an ONNX or NIR export on any data set
  export RUN           write its compact network as NIR, ONNX, safetensors, connections or C
  report RUN           write one page with the numbers and pictures of a run or a bench
  list [KIND [NAME]]   data sets (and whether they are on disk), models and methods; the options of one
  data prepare NAME    fetch a data set, or build its cache of frames
  data inspect FOLDER  look at recordings before training on them: a table, what is odd, and a page

`snnprune COMMAND --help` lists the options of a command; `snnprune --version` prints the version.
"""


DATA_USAGE = """\
usage: snnprune data COMMAND [OPTION ...]

commands:
  prepare NAME    fetch a data set, or build its cache of frames
  inspect FOLDER  look at recordings before training on them: a table, what is odd, and a page

`snnprune data COMMAND --help` lists the options of a command.
"""

OF_FILES = tuple(f"data.{name}" for name in ("sensor", "time_unit", "columns", "stream", "group", "test"))
"""Settings that say how the files of recordings are read."""

OF_PLAYING = tuple(
    f"data.{name}"
    for name in ("sensor", "time_unit", "columns", "stream", "crop", "size", "polarity", "hot_pixels")
)
"""Settings that say how a recording that is played becomes frames of the network."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command.

    Args:
        arguments: of the command line; without them, the process's own.

    Returns:
        The exit code: 0, 1 if a run of a bench failed or was left out, or if a recording that was looked at
        cannot be trained on, 2 for input that cannot be used or memory that is full (one sentence on stderr
        says why), 130 after Ctrl-C.
    """
    given = list(sys.argv[1:] if arguments is None else arguments)
    if not {"", str(Path.cwd())} & set(sys.path):
        sys.path.append(
            ""
        )  # the console script does not search the current folder, where the user's own modules are
    try:
        with _own_warnings_in_one_line():
            return command(given)
    except UserError as error:
        sys.stderr.write(f"snnprune: {error}\n")
        return WRONG_INPUT
    except (MemoryError, RuntimeError, OSError) as error:
        reason = memory_full(error)
        if reason is None:
            raise
        sys.stderr.write(f"snnprune: the memory is full ({reason}): {FREE}\n")
        return WRONG_INPUT
    except KeyboardInterrupt:
        sys.stderr.write("\nsnnprune: stopped; the same command continues from the last finished epoch\n")
        return INTERRUPTED


@contextlib.contextmanager
def _own_warnings_in_one_line() -> Iterator[None]:
    """Show warnings of the package as its errors are shown, without the place in its code."""
    usual, home = warnings.formatwarning, str(Path(__file__).parent)

    def shown(
        message: Warning | str, category: type[Warning], filename: str, lineno: int, line: str | None = None
    ) -> str:
        if filename.startswith(home):
            return f"snnprune: warning: {message}\n"
        return usual(message, category, filename, lineno, line)

    warnings.formatwarning = shown
    try:
        yield
    finally:
        warnings.formatwarning = usual


def command(given: list[str]) -> int:
    """Look up the command and give it the rest of the line.

    Raises:
        UserError: no such command, or input that it cannot use.
    """
    if not given or given[0] in ("-h", "--help"):
        sys.stdout.write(USAGE)
        return 0 if given else WRONG_INPUT
    if given[0] == "--version":
        sys.stdout.write(f"snnprune {__version__}\n")
        return 0
    name, *rest = given
    if name not in COMMANDS:
        raise UserError(f"there is no command '{name}': {nearest(name, COMMANDS)}")
    return COMMANDS[name](rest) or 0


def train(given: list[str]) -> None:
    """Train a run, or continue one."""
    parser = Parser("train", "Train a network and prune it while it learns.")
    parser.option("out", values.Folder, "folder of the run (default: runs/DATA-METHOD-seedN)")
    parser.option("resume", values.Folder, "continue the interrupted run in this folder", metavar="RUN")
    said = "start from a NIR file, whose network is trained, or from what --train.init takes"
    parser.option("init", values.File, said, metavar="FILE")
    parser.add_argument("--print_config", action="store_true", help="print the whole configuration and stop")
    parser.files()
    parser.settings(*SECTIONS)
    parsed: Any = parser.read(given)
    if parsed.init is not None:
        parsed.given = _started(parsed.init, parsed.given)
    if parsed.resume is not None:
        if parsed.given or parsed.out is not None or parsed.print_config:
            raise UserError("--resume uses the run's own configuration: leave the other options out")
        _resume(Path(parsed.resume))
        return
    config = run_config(parsed.given)
    if parsed.print_config:
        sys.stdout.write(yaml.safe_dump(asdict(config), sort_keys=False))
        return
    out = default_folder(config) if parsed.out is None else Path(parsed.out)
    data.look(config.data)
    RunFolder(out).look(config.located())
    with told(_say):
        phase(IMPORTING)
        _warn([*unused(config, chosen(parsed.given)), *out_of_step(config)])
        from snnprune.training import run  # noqa: PLC0415

        run.train(config, out)


def _started(file: str, given: Mapping[str, Given]) -> dict[str, Given]:
    """Return ``given`` with what ``--init`` stands for.

    Raises:
        UserError: a NIR file beside a model, or no such file.
    """
    if Path(file).suffix != ".nir":
        return {**given, "train.init": Given(file)}
    if "model.name" in given and given["model.name"].value != NIR_MODEL:
        raise UserError(f"--init {file} holds a network of its own: leave --model.name out")
    if not Path(file).is_file():
        raise UserError(f"there is no file {file}: give a NIR file that holds a network")
    return {**given, "model.name": Given(NIR_MODEL), "model.file": Given(file)}


def _resume(path: Path) -> None:
    config = RunFolder(path).read_config()
    check(config)
    check_names(config)
    data.look(config.data)
    with told(_say):
        phase(IMPORTING)
        from snnprune.training import run  # noqa: PLC0415

        run.resume(path)


def default_folder(config: RunConfig) -> Path:
    """Return the default folder of a run, such as runs/nmnist-dpap-seed0."""
    parts = [config.data.name, config.method.name, f"seed{config.train.seed}"]
    if config.model.name != RunConfig().model.name:
        parts.insert(1, config.model.name)
    return Path("runs") / "-".join(map(label, parts))


def bench(given: list[str]) -> int:
    """Train and compare many runs."""
    parser = Parser(
        "bench",
        "Train methods, targets and seeds, and compare with the unpruned network.",
        in_files=BENCH_LISTS,
    )
    parser.lists()
    parser.option(
        "out", values.Folder, "folder of the bench (default: runs/bench-DATA); an interrupted one continues"
    )
    parser.option("jobs", values.Count, "number of runs at a time; they share the processors (default: 1)")
    parser.add_argument(
        "--executor", choices=["local", "ray"], default="local", help="where the runs are trained"
    )
    parser.option("compare", values.Folder, "only write the tables of this folder again", metavar="BENCH")
    parser.files()
    parser.settings(*SECTIONS)
    parsed: Any = parser.read(given)
    if parsed.compare is not None:
        if len([word for word in given if word.startswith("-")]) > 1:
            raise UserError("--compare trains nothing: leave the other options out")
        if not Path(parsed.compare).is_dir():
            raise UserError(f"there is no folder {parsed.compare}: --compare takes the folder of a bench")
        with told(_say):
            phase(IMPORTING)
            from snnprune.bench import run  # noqa: PLC0415

            return run.compare(Path(parsed.compare))
    base = run_config(parsed.given)
    out = default_bench(base) if parsed.out is None else Path(parsed.out)
    lists = {name: parsed.given[name] for name in BENCH_LISTS if name in parsed.given}
    named = {name: one.named(name) for name, one in lists.items()}
    asked = grid(base, **{name: one.value for name, one in lists.items()}, named=named)
    data.look(base.data)
    BenchFolder(out).look()
    with told(_say):
        phase(IMPORTING)
        _warn([*unused_in_bench(base, asked, chosen(parsed.given)), *out_of_step(base)])
        from snnprune.bench import executor, run  # noqa: PLC0415

        return run.bench(base, asked, out, executor.build(parsed.executor, parsed.jobs, base, out / "logs"))


def default_bench(config: RunConfig) -> Path:
    """Return the default folder of a bench, such as runs/bench-nmnist."""
    parts = ["bench", config.data.name]
    if config.model.name != RunConfig().model.name:
        parts.append(config.model.name)
    return Path("runs") / "-".join(map(label, parts))


def play(given: list[str]) -> None:
    """Play events to a network, from a file or as they come."""
    parser = Parser(
        "run",
        "Play events to a network in steps, and print what it answers meanwhile. Steps of a file are those "
        "of the training's frames; from the standard input, and with --bin, they go on to the end.",
        "NETWORK FILE ",
    )
    parser.add_argument("network", help="folder of a run, its model.safetensors, or a list of connections")
    parser.add_argument("file", help="a recording, or - for packed events on the standard input")
    parser.option("bin", values.Span, "length of a step, such as 10ms (default: as in training)")
    parser.option("every", values.Span, "print after so much time (default: each answer that changes)")
    parser.option("bits", Bits, "round weights, thresholds and leaks to this many bits, such as 8 or 4")
    for name, which in (("late", "whose step is over"), ("outside", "outside of the sensor")):
        said = f"refuse events {which}, or leave them out and count them (standard input; default: refuse)"
        parser.add_argument(f"--{name}", choices=["refuse", "count"], help=said)
    parser.add_argument("--json", action="store_true", help="print JSON, an object a line")
    parser.settings("data", skip=[key for key in KEYS if key not in OF_PLAYING])
    parsed: Any = parser.read(given)
    if parsed.file != "-" and (parsed.late or parsed.outside):
        raise UserError(
            "--late and --outside are for events from the standard input (-): those of a file are sorted, "
            "and a file with events outside of the sensor is refused"
        )
    if parsed.file != "-" and not Path(parsed.file).exists():
        raise UserError(f"there is no file {parsed.file}: give a recording, or - for the standard input")
    changed = _look_at_network(Path(parsed.network), parsed.given)
    with told(lambda _: None), _until_nobody_reads():
        from snnprune.export import playing, telling  # noqa: PLC0415 - numba

        network = playing.network(Path(parsed.network), changed, parsed.bits)
        teller = telling.Teller(network.classes, _write, as_json=parsed.json)
        asking = playing.Asking(
            bin=None if parsed.bin is None else values.microseconds(parsed.bin),
            every=None if parsed.every is None else values.microseconds(parsed.every),
            late=parsed.late or "refuse",
            outside=parsed.outside or "refuse",
            tell=teller.tell,
            remark=lambda sentence: _warn([sentence]),
        )
        if parsed.file == "-":
            played = playing.play_input(network, sys.stdin.fileno(), asking)
        else:
            played = playing.play_file(network, Path(parsed.file), asking)
        teller.end(played)


def _write(text: str) -> None:
    sys.stdout.write(text)
    sys.stdout.flush()


@contextlib.contextmanager
def _until_nobody_reads() -> Iterator[None]:
    """End quietly where what reads the standard output has ended, such as `head`."""
    try:
        yield
    except BrokenPipeError:
        # At the end Python writes what is left, which would fail once more.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def evaluate(given: list[str]) -> None:
    """Measure a network in any of its files."""
    parser = Parser("eval", "Measure a network on a test set: accuracy, operations, latency.", "NETWORK ")
    parser.add_argument("network", help="folder of a run, or a file: .safetensors, .onnx or .nir")
    parser.option("bits", Bits, "round weights, thresholds and leaks to this many bits, such as 8 or 4")
    said = "seconds of a time step in a NIR file (default: what the file says, and 1e-4 if it says nothing)"
    parser.option("nir-dt", values.Seconds, said)
    parser.add_argument("--device", choices=["auto", "cpu", "cuda"], help="device (default: that of the run)")
    said = "add NeuroBench's report (pip install 'snnprune[neurobench]')"
    parser.add_argument("--neurobench", action="store_true", help=said)
    parser.option("out", values.File, "a JSON file for the result")
    parser.settings("data")
    parsed: Any = parser.read(given)
    changed = _look_at_network(Path(parsed.network), parsed.given)
    with told(_say):
        phase(IMPORTING)
        from snnprune.export import evaluation  # noqa: PLC0415

        evaluation.evaluate(
            Path(parsed.network),
            changed,
            bits=parsed.bits,
            device=parsed.device,
            dt=parsed.nir_dt,
            neurobench=parsed.neurobench,
            out=None if parsed.out is None else Path(parsed.out),
        )


def export(given: list[str]) -> None:
    """Write a compact network for chips and runtimes."""
    parser = Parser("export", "Write a compact network, and print what it needs of a chip.", "RUN ")
    parser.add_argument("run", help="folder of a finished run, or a compact network (.safetensors)")
    parser.add_argument(
        "--to",
        choices=["nir", "onnx", "safetensors", "csr", "c"],
        help="format; without it, only the demand is printed",
    )
    parser.option(
        "out", values.File, "the file (default: such as export/model.nir, in the folder of the run)"
    )
    parser.option("samples", values.Count, "number of test recordings for the comparison (default: 500)")
    parser.option("bits", Bits, "bits of a weight for --to csr and --to c (default: floats)")
    parser.option("bin", values.Span, "time step for --to c (default: that of the run's frames)")
    parser.option("budgets", values.File, "YAML file with the limits of further chips", metavar="FILE")
    group = parser.add_argument_group("forms of --to nir, for tools that do not read all of NIR")
    for name, (kind, meaning) in NIR_FORMS.items():
        parser.option(f"nir-{name}", kind, meaning, group=group)
    parser.settings("data")
    parsed: Any = parser.read(given)
    form = {name: getattr(parsed, f"nir_{name}") for name in NIR_FORMS}
    form = {name: value for name, value in form.items() if value is not None}
    changed = _look_at_network(Path(parsed.run), parsed.given)
    with told(_say):
        phase(IMPORTING)
        from snnprune.export import exporting, nir_file  # noqa: PLC0415

        exporting.export(
            Path(parsed.run),
            parsed.to,
            None if parsed.out is None else Path(parsed.out),
            data=changed,
            samples=parsed.samples,
            bits=parsed.bits,
            bin=parsed.bin,
            form=nir_file.Form(**form) if form else None,
            chips=None if parsed.budgets is None else Path(parsed.budgets),
        )


def _look_at_network(path: Path, given: Mapping[str, Given]) -> dict[str, Any]:
    """Check that there is a network at ``path``, and return the data settings that replace its own."""
    changed = {key.removeprefix("data."): one.value for key, one in given.items()}
    if not path.is_dir():
        if not path.is_file():
            raise UserError(
                f"there is no file or folder {path}: give the folder of a run, or the file of a network"
            )
        return changed
    config = RunFolder(path).read_config()
    check_values(replace(config.data, **changed), "data")
    if "name" in changed:
        pick(DATASETS, "data set", changed["name"])
    _warn(unused(replace(config, data=replace(config.data, **changed)), given))
    return changed


def report(given: list[str]) -> None:
    """Write the page of a run or a bench."""
    parser = Parser("report", "Write one HTML page with numbers and pictures of a run or a bench.", "RUN ")
    parser.add_argument("run", help="folder of a finished run, or of a bench")
    parsed: Any = parser.read(given)
    if not Path(parsed.run).is_dir():
        raise UserError(f"there is no folder {parsed.run}: give the folder of a finished run, or of a bench")
    sys.stderr.write(f"drawing the page of {parsed.run}\n")
    from snnprune.report.report import report as write  # noqa: PLC0415

    written = write(Path(parsed.run))
    _warn(written.failures)
    sys.stdout.write(f"{written.path}\n")


def show(given: list[str]) -> None:
    """List data sets, models and methods, or the options of one of them."""
    from snnprune import listing  # noqa: PLC0415 - rich

    parser = Parser(
        "list", "List data sets, models and methods, or the options of one of them.", "[KIND [NAME]] "
    )
    parser.add_argument("kind", nargs="?", choices=listing.WORDS, help="list this kind only")
    parser.add_argument("name", nargs="?", help="one of this kind, or module:attribute of your own")
    parser.option("data.root", values.Folder, "folder to look for data sets in (default: $SNNPRUNE_DATA)")
    parsed: Any = parser.read(given)
    root = getattr(parsed, "data.root")
    if parsed.name is not None:
        listing.describe(parsed.kind, parsed.name, root)
    else:
        listing.show([listing.WORDS[parsed.kind]] if parsed.kind else listing.KINDS, root)


def data_command(given: list[str]) -> int | None:
    """Look up a command on data, and give it the rest of the line."""
    if given and given[0] in ("-h", "--help"):
        sys.stdout.write(DATA_USAGE)
        return 0
    name, *rest = given or [""]
    if name not in DATA_COMMANDS:
        wrong = f"there is no command 'data {name}', {nearest(name, DATA_COMMANDS)}: " if name else ""
        raise UserError(f"{wrong}write snnprune data prepare NAME, or snnprune data inspect FOLDER")
    return DATA_COMMANDS[name](rest)


def prepare(given: list[str]) -> None:
    """Prepare a data set."""
    parser = Parser("data prepare", "Download a data set if asked, and build its cache of frames.", "NAME ")
    parser.add_argument("name", help="a data set (`snnprune list` names them)")
    parser.settings("data", skip=("data.name",))
    parsed: Any = parser.read(given)
    config = data_config(parsed.given, parsed.name)
    _warn(unused(RunConfig(data=config), chosen(parsed.given)))
    data.look(config)
    with told(_say):
        sys.stdout.write(f"{data.prepare(config)}\n")


def inspect(given: list[str]) -> int:
    """Look at recordings before anything is trained on them."""
    parser = Parser(
        "data inspect",
        "Look at every recording of a folder: numbers by class, what is odd, and a page with pictures. The "
        "exit code is 0 if all can be trained on, and 1 if some cannot.",
        "FOLDER ",
    )
    parser.add_argument("folder", help="a folder of recordings, or one recording")
    parser.option("out", values.File, "the page (default: FOLDER-inspection.html in the current folder)")
    parser.settings("data", skip=[key for key in KEYS if key not in OF_FILES])
    parsed: Any = parser.read(given)
    config = run_config(parsed.given).data
    path = Path(parsed.folder).expanduser()
    if not path.exists():
        raise UserError(f"there is no file or folder {path}: give a folder of recordings, or one recording")
    from snnprune import inspecting  # noqa: PLC0415 - matplotlib

    return 0 if inspecting.inspect(path, config, None if parsed.out is None else Path(parsed.out)) else 1


def _warn(sentences: Iterable[str]) -> None:
    for sentence in sentences:
        sys.stderr.write(f"snnprune: warning: {sentence}\n")


def _say(what: str) -> None:
    """Print the phase that begins: a minute of silence looks like a fault."""
    sys.stdout.write(f"{what}\n")
    sys.stdout.flush()


COMMANDS: dict[str, Callable[[list[str]], int | None]]
COMMANDS = {
    "train": train,
    "bench": bench,
    "run": play,
    "eval": evaluate,
    "export": export,
    "report": report,
    "list": show,
    "data": data_command,
}

DATA_COMMANDS: dict[str, Callable[[list[str]], int | None]]
DATA_COMMANDS = {"prepare": prepare, "inspect": inspect}
