"""The command line: parsing and a call, nothing else.

What is slow to import (torch, Lightning, SpikingJelly, Tonic, matplotlib) is imported inside the commands.
"""

from __future__ import annotations

import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from snnprune import __version__
from snnprune.common.errors import UserError, memory_full
from snnprune.config import reading as settings
from snnprune.config.names import nearest
from snnprune.config.schema import DataConfig, RunConfig

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from jsonargparse import ArgumentParser

WRONG_INPUT = 2
INTERRUPTED = 130

FREE = (
    "lower --data.time_steps, choose another --device where the command has one, or end what else runs on "
    "this machine"
)
"""What to do about full memory; training knows more."""

USAGE = """\
usage: snnprune COMMAND [OPTION ...]

Train spiking networks that prune themselves while they learn.

commands:
  train                train and prune; without options the demo, on data that comes with the package
  bench                many runs: methods, targets and seeds, compared with the unpruned network
  eval NETWORK         measure a run, a compact network, or an ONNX or NIR export on any data set
  export RUN           write its compact network as NIR, ONNX, safetensors or a list of connections
  report RUN           one page with the numbers and pictures of a run or a bench, to show
  list [KIND]          data sets (and whether they are on disk), models and methods
  data prepare NAME    fetch a data set, or build its cache of frames

`snnprune COMMAND --help` lists the options of a command; `snnprune --version` says which version this is.
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command.

    Args:
        arguments: of the command line; without them, the process's own.

    Returns:
        The exit code: 0, 1 if a run of a bench failed or was left out, 2 for input that cannot be used or
        memory that is full (one sentence on stderr says why), 130 after Ctrl-C.
    """
    given = list(sys.argv[1:] if arguments is None else arguments)
    try:
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
        sys.stderr.write("\nsnnprune: stopped; the same command goes on from the last finished epoch\n")
        return INTERRUPTED


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
    parser = _parser("train", "Train a network and prune it while it learns.")
    parser.add_argument("--out", help="folder of the run (default: runs/DATA-METHOD-seedN)")
    parser.add_argument("--resume", metavar="RUN", help="continue the killed run in this folder")
    parser.add_argument("--print_config", action="store_true", help="print the whole configuration and stop")
    settings.add_run_options(parser)
    parsed: Any = settings.parse(parser, given, ("--out", "--resume", "--print_config"))
    for name in ("out", "resume"):
        if getattr(parsed, name) == "":
            raise UserError(
                f"--{name} needs the name of a folder, and is empty: --{name} runs/mine, for instance"
            )
    if parsed.resume is not None:
        if len([word for word in given if word.startswith("-")]) > 1:
            raise UserError("--resume goes on with the run's own configuration: leave the other options out")
        from snnprune.training import run  # noqa: PLC0415

        run.resume(Path(parsed.resume))
        return
    config = settings.run_config(parsed)
    if parsed.print_config:
        sys.stdout.write(yaml.safe_dump(asdict(config), sort_keys=False))
        return
    from snnprune.config.unused import unused  # noqa: PLC0415
    from snnprune.training import run  # noqa: PLC0415

    for sentence in unused(config, settings.chosen(given)):
        sys.stderr.write(f"snnprune: warning: {sentence}\n")
    run.train(config, default_folder(config) if parsed.out is None else Path(parsed.out))


def default_folder(config: RunConfig) -> Path:
    """Name the folder of a run after what was chosen: runs/nmnist-dpap-seed0."""
    parts = [config.data.name, config.method.name, f"seed{config.train.seed}"]
    if config.model.name != RunConfig().model.name:
        parts.insert(1, config.model.name)
    return Path("runs") / "-".join(parts)


def bench(given: list[str]) -> int:
    """Train and compare many runs."""
    parser = _parser("bench", "Train methods, targets and seeds, and compare with the unpruned network.")
    for option, what in settings.BENCH_LISTS.items():
        parser.add_argument(f"--{option}", type=Any, help=what)
    parser.add_argument("--out", help="folder of the bench (default: runs/bench-DATA); a killed one goes on")
    parser.add_argument("--jobs", type=int, help="runs at a time, which share the processors (default: 1)")
    parser.add_argument("--executor", choices=["local", "ray"], default="local", help="where runs train")
    parser.add_argument("--compare", metavar="BENCH", help="only write the tables of this folder anew")
    settings.add_run_options(parser)
    own = [f"--{name}" for name in (*settings.BENCH_LISTS, "out", "jobs", "executor", "compare")]
    parsed: Any = settings.parse(parser, given, own, in_files=settings.BENCH_LISTS)
    if parsed.compare is not None:
        if len([word for word in given if word.startswith("-")]) > 1:
            raise UserError("--compare trains nothing: leave the other options out")
        from snnprune.bench import run  # noqa: PLC0415

        return run.compare(Path(parsed.compare))
    base = settings.run_config(parsed)
    if parsed.jobs is not None and parsed.jobs < 1:
        raise UserError(f"--jobs must be at least 1, and is {parsed.jobs}")
    from snnprune.bench import executor, run  # noqa: PLC0415
    from snnprune.bench.grid import grid  # noqa: PLC0415

    asked = grid(base, parsed.methods, parsed.targets, parsed.seeds)
    out = default_bench(base) if parsed.out is None else Path(parsed.out)
    return run.bench(base, asked, out, executor.build(parsed.executor, parsed.jobs, base, out / "logs"))


def default_bench(config: RunConfig) -> Path:
    """Name the folder of a bench after what is compared on: runs/bench-nmnist."""
    parts = ["bench", config.data.name]
    if config.model.name != RunConfig().model.name:
        parts.append(config.model.name)
    return Path("runs") / "-".join(parts)


def evaluate(given: list[str]) -> None:
    """Measure a network in any of its files."""
    parser = _parser("eval", "Measure a network on a test set: answers, operations, latency.")
    parser.add_argument("network", help="folder of a run, or a file: .safetensors, .onnx or .nir")
    parser.add_argument(
        "--bits", type=int, help="round weights, thresholds and leaks to so many bits: 8 or 4"
    )
    parser.add_argument("--device", choices=["auto", "cpu", "cuda"], help="where (default: as the run says)")
    parser.add_argument("--out", help="a JSON file for the result")
    parser.add_class_arguments(DataConfig, "data")
    parsed: Any = settings.parse(parser, given, ("--bits", "--device", "--out"))
    from snnprune.export import evaluation  # noqa: PLC0415

    evaluation.evaluate(
        Path(parsed.network),
        _data(parsed, given),
        bits=parsed.bits,
        device=parsed.device,
        out=None if parsed.out is None else Path(parsed.out),
    )


def export(given: list[str]) -> None:
    """Write a compact network for chips and runtimes."""
    parser = _parser("export", "Write a compact network, and say what it asks of a chip.")
    parser.add_argument("run", help="folder of a finished run, or a compact network (.safetensors)")
    parser.add_argument(
        "--to", choices=["nir", "onnx", "safetensors", "csr"], help="without: only the demand"
    )
    parser.add_argument("--out", help="the file (default: export/model.nir and its like, in the run)")
    parser.add_argument("--samples", type=int, help="test recordings to compare it on (default: 500)")
    parser.add_argument("--bits", type=int, help="of the weights of --to csr (default: floats)")
    parser.add_argument("--budgets", metavar="FILE", help="YAML with what further chips offer")
    parser.add_class_arguments(DataConfig, "data")
    parsed: Any = settings.parse(parser, given, ("--to", "--out", "--samples", "--bits", "--budgets"))
    from snnprune.export import exporting  # noqa: PLC0415

    exporting.export(
        Path(parsed.run),
        parsed.to,
        None if parsed.out is None else Path(parsed.out),
        data=_data(parsed, given),
        samples=parsed.samples,
        bits=parsed.bits,
        chips=None if parsed.budgets is None else Path(parsed.budgets),
    )


def _data(parsed: Any, given: list[str]) -> dict[str, Any]:
    """Return the settings of the data that somebody gave, in place of a run's own."""
    chosen = [key.removeprefix("data.") for key in settings.chosen(given) if key.startswith("data.")]
    return {name: getattr(parsed.data, name) for name in chosen}


def report(given: list[str]) -> None:
    """Write the page of a run or a bench."""
    parser = _parser("report", "Write one HTML page with numbers and pictures of a run or a bench.")
    parser.add_argument("run", help="folder of a finished run, or of a bench")
    parsed: Any = settings.parse(parser, given, ())
    from snnprune.report.report import report as write  # noqa: PLC0415

    written = write(Path(parsed.run))
    for sentence in written.failures:
        sys.stderr.write(f"snnprune: warning: {sentence}\n")
    sys.stdout.write(f"{written.path}\n")


def show(given: list[str]) -> None:
    """List what there is to choose from."""
    from snnprune import listing  # noqa: PLC0415

    parser = _parser("list", "List data sets, models and methods.")
    parser.add_argument("kind", nargs="?", choices=listing.KINDS, help="only these")
    parser.add_argument("--data.root", help="folder to look for data sets in (default: $SNNPRUNE_DATA)")
    parsed: Any = settings.parse(parser, given, ())
    listing.show([parsed.kind] if parsed.kind else listing.KINDS, parsed.data.root)


def data(given: list[str]) -> None:
    """Prepare a data set."""
    if not given or given[0] not in ("prepare", "-h", "--help"):
        raise UserError("`snnprune data` has one command: snnprune data prepare NAME")
    parser = _parser("data prepare", "Fetch a data set where asked, and build its cache of frames.")
    parser.add_argument("name", help="a data set (`snnprune list` names them)")
    parser.add_class_arguments(DataConfig, "data", skip={"name"})
    parsed: Any = settings.parse(parser, given[1:] if given[0] == "prepare" else given, ())
    from snnprune.data import prepare  # noqa: PLC0415

    sys.stdout.write(f"{prepare(settings.section(DataConfig, parsed.data, name=parsed.name))}\n")


def _parser(name: str, description: str) -> ArgumentParser:
    from jsonargparse import ArgumentParser  # noqa: PLC0415  the list of commands needs none

    return ArgumentParser(
        prog=f"snnprune {name}", description=description, exit_on_error=False, print_config=None
    )


COMMANDS: dict[str, Callable[[list[str]], int | None]]
COMMANDS = {
    "train": train,
    "bench": bench,
    "eval": evaluate,
    "export": export,
    "report": report,
    "list": show,
    "data": data,
}
