"""From a YAML file and dotted options to a `RunConfig`; what cannot be used is said in one sentence.

jsonargparse reads the files, the options and the types of the dataclasses. What it does not say in a sentence
is looked for first: keys that do not exist, sections that are none, files that cannot be read.
"""

from __future__ import annotations

import argparse
import re
import types
from dataclasses import asdict, fields
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

import yaml

from snnprune.common import document
from snnprune.common.errors import UserError
from snnprune.config.names import DATASETS, nearest, pick
from snnprune.config.schema import DataConfig, MethodConfig, ModelConfig, RunConfig, TrainConfig

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Sequence

    from jsonargparse import ArgumentParser

SECTIONS: dict[str, type] = {
    "data": DataConfig,
    "model": ModelConfig,
    "method": MethodConfig,
    "train": TrainConfig,
}

FREE = "method.options"
"""The key below which the method, not this module, knows the names."""

KEYS: dict[str, Any] = {
    f"{section}.{name}": kind
    for section, config in SECTIONS.items()
    for name, kind in get_type_hints(config).items()
}
"""Every dotted key of a run, with its type."""

SHOWN = 200
"""Characters of a value that a sentence repeats."""

Section = TypeVar("Section", DataConfig, ModelConfig, MethodConfig, TrainConfig)

BENCH_LISTS = {
    "methods": "a list such as dense,dpap,magnitude (default: dense and method.name)",
    "targets": "a list of shares to prune such as 0.4,0.6,0.8 (default: method.target)",
    "seeds": "how many, or a list such as 0,1,2 (default: 5, from train.seed on)",
}
"""Options of a bench that a file may hold too, with what they are."""


def add_run_options(parser: ArgumentParser) -> None:
    """Give ``parser`` ``--config`` and an option for every key of a run."""
    from jsonargparse import ActionConfigFile  # noqa: PLC0415  the list of commands needs none

    parser.add_argument("--config", action=ActionConfigFile, help="YAML file with any of the keys below")
    for name, section in SECTIONS.items():
        parser.add_class_arguments(section, name)


def parse(
    parser: ArgumentParser, arguments: Sequence[str], own: Iterable[str], in_files: Collection[str] = ()
) -> argparse.Namespace:
    """Parse ``arguments`` with ``parser``.

    Args:
        parser: one that raises its errors.
        arguments: of the command line, without the command's name.
        own: options of the command besides the keys of a run, such as "--out".
        in_files: which of these a file may hold as well, without the dashes.

    Raises:
        UserError: an unknown option, a file that cannot be read, a key or a type that does not fit.
    """
    _check_options(arguments, {*own, "--help", "-h"})
    for file in _config_files(arguments):
        _check_file(file, in_files)
    try:
        parsed: argparse.Namespace = parser.parse_args(list(arguments))
    except argparse.ArgumentError as error:
        raise UserError(_sentence(error, _config_files(arguments))) from error
    return parsed


def chosen(arguments: Sequence[str]) -> set[str]:
    """Return the dotted keys that somebody chose: every option, and what differs from its default in a file.

    Args:
        arguments: of the command line, which `parse` has accepted.
    """
    options = {word.partition("=")[0].removeprefix("--") for word in arguments if word.startswith("--")}
    defaults = asdict(RunConfig())
    for file in _config_files(arguments):
        for key, value in _read(file).items():
            section, _, name = key.partition(".")
            # As text: YAML takes 1e-3 for a word, and a number in quotes is one for jsonargparse.
            if str(value) != str(defaults[section][name]):
                options.add(key)
    return options & KEYS.keys()


def run_config(parsed: Any) -> RunConfig:
    """Make the configuration of a run from what was parsed, and look at its values.

    Raises:
        UserError: an unknown name, or a value out of range.
    """
    config = RunConfig(
        data=section(DataConfig, parsed.data),
        model=section(ModelConfig, parsed.model),
        method=section(MethodConfig, parsed.method),
        train=section(TrainConfig, parsed.train),
    )
    check(config)
    return config


def section(kind: type[Section], parsed: Any, **fixed: Any) -> Section:
    """Make one part of a configuration from what was parsed, with ``fixed`` in place of what was not.

    Raises:
        UserError: null where a value is needed.
    """
    names = [field.name for field in fields(kind) if field.name not in fixed]
    for field in fields(kind):
        # jsonargparse lets null through for any type
        if field.name in names and getattr(parsed, field.name) is None and "None" not in str(field.type):
            room = kind.__name__.removesuffix("Config").lower()
            raise UserError(
                f"{room}.{field.name} must have a value, and is null: leave it out for its default"
            )
    return kind(**{name: getattr(parsed, name) for name in names}, **fixed)


def check(config: RunConfig) -> None:
    """Look at what every room says of its settings, before anything slow is imported.

    Raises:
        UserError: an unknown name, or a value out of range.
    """
    from snnprune.config.check import check as check_training  # noqa: PLC0415
    from snnprune.data import source  # noqa: PLC0415  --help needs neither

    pick(DATASETS, "data set", config.data.name)
    source.check(config.data)
    check_training(config)


def _check_options(arguments: Sequence[str], own: set[str]) -> None:
    """Refuse options that do not exist, naming the nearest that does."""
    known = own | {"--config"} | {f"--{key}" for key in KEYS}
    for argument in arguments:
        option = argument.partition("=")[0]
        if not option.startswith("--") or option in known or option.startswith(f"--{FREE}."):
            continue
        if option.removeprefix("--") in SECTIONS:
            raise UserError(f"{option} is a group of options: write {option}.name, for instance")
        raise UserError(f"there is no option {option}: {nearest(option, known)}")


def _config_files(arguments: Sequence[str]) -> list[Path]:
    apart = [value for option, value in pairwise(arguments) if option == "--config"]
    joined = [word.partition("=")[2] for word in arguments if word.startswith("--config=")]
    return [Path(file) for file in apart + joined]


def _check_file(path: Path, own: Collection[str] = ()) -> None:
    """Refuse a file that is no YAML, or that has keys which no run knows and the command does not own."""
    try:
        read = document.parse_yaml(document.read_text(path, document.LARGEST_YAML))
    except OSError as error:
        raise UserError(f"cannot read the configuration {path}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise UserError(f"the configuration {path} is not text in UTF-8") from error
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        place = f" in line {mark.line + 1}" if mark else ""
        problem = getattr(error, "problem", None) or "it cannot be read"
        raise UserError(f"the configuration {path} is not valid YAML{place}: {problem}") from error
    if not isinstance(read, dict):
        raise UserError(f"the configuration {path} needs sections ({', '.join(SECTIONS)}), and has none")
    for name, values in read.items():
        if name in own:
            continue
        if name not in SECTIONS:
            raise UserError(
                f"the configuration {path} has an unknown key '{name}': {_nearest_key(str(name), own)}"
            )
        if not isinstance(values, dict):
            raise UserError(f"'{name}' in the configuration {path} must hold keys, as {name}: {{name: ...}}")
        for key in values:
            if f"{name}.{key}" not in KEYS:
                hint = _nearest_key(f"{name}.{key}")
                raise UserError(f"the configuration {path} has an unknown key '{name}.{key}': {hint}")


def _nearest_key(word: str, own: Collection[str] = ()) -> str:
    """Hint at the key that was meant; ``epochs`` on its own means train.epochs."""
    if word in BENCH_LISTS and not own:
        return "it is of a file for `snnprune bench --config`"
    if f"{word}s" in own:
        return f"did you mean '{word}s'?"
    leaf = word.rpartition(".")[2]
    same = [key for key in KEYS if key.endswith(f".{leaf}")]
    if same:
        return f"did you mean '{same[0]}'?"
    return nearest(word, KEYS if "." in word else {*KEYS, *SECTIONS})


def _sentence(error: argparse.ArgumentError, files: Sequence[Path]) -> str:
    """Say in one sentence what jsonargparse says in a paragraph, and which of ``files`` it is about."""
    text = str(error)
    key = re.search(r'key "([\w.]+)"', text)
    value = re.search(r"(?:Got|Given) value: (.*)", text)
    if key and value and key[1] in KEYS:
        came = value[1].strip()
        where = [file for file in files if str(_read(file).get(key[1])) == came]
        place = f" in the configuration {where[-1]}" if where else ""
        return f"{key[1]} must be {_wanted(KEYS[key[1]])}, and is '{came:.{SHOWN}}'{place}"
    return f"{' '.join(text.split()):.{4 * SHOWN}}"


def _read(path: Path) -> dict[str, Any]:
    """Return the dotted keys of a file that `_check_file` has found to be one, with their values."""
    sections = document.parse_yaml(document.read_text(path, document.LARGEST_YAML))
    return {f"{name}.{key}": value for name, values in sections.items() for key, value in values.items()}


def _wanted(kind: Any) -> str:
    """Say what a value of type ``kind`` looks like."""
    if get_origin(kind) is Literal:
        return "one of " + ", ".join(map(str, get_args(kind)))
    if get_origin(kind) in (Union, types.UnionType):
        return " or ".join(_wanted(option) for option in get_args(kind))
    words = {int: "a whole number", float: "a number", bool: "true or false", str: "text"}
    words[type(None)] = "null"
    return words.get(get_origin(kind) or kind, "a mapping of names to values")
