"""From files and options to a `RunConfig`: every value is read once, by its type, and its source is known.

Sources are YAML files (``--config``, any number), options, and the configuration that a run keeps. What comes
later on a command line replaces what came before. A value that cannot be used raises a `UserError` that names
the key, the file or option, and the value.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from snnprune.common import document
from snnprune.common.errors import UserError
from snnprune.config import values
from snnprune.config.check import check, check_names, types_of
from snnprune.config.names import METHODS, nearest, typed
from snnprune.config.schema import SECTIONS, DataConfig, RunConfig
from snnprune.config.signature import documented

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping, Sequence
    from typing import NoReturn

FREE = "method.options"
"""The key below which the method defines the names."""

KEYS: dict[str, Any] = {
    f"{name}.{key}": kind for name, section in SECTIONS.items() for key, kind in types_of(section).items()
}
"""Every dotted key of a run, with its type."""

BENCH_LISTS = {
    "methods": "a list such as dense,dpap,magnitude (default: dense and method.name)",
    "targets": "a list of shares to prune such as 0.4,0.6,0.8 (default: method.target)",
    "seeds": "number of seeds, or a list such as 0,1,2 (default: 5, from train.seed on)",
}
"""Options of a bench that a file may hold too, with their meanings."""


@dataclass(frozen=True)
class Given:
    """A value that the user gave.

    Attributes:
        value: the value, converted to its type.
        file: the file that holds it; None for an option.
    """

    value: Any
    file: Path | None = None

    def named(self, key: str) -> str:
        """Name the key and where it stands, or the option."""
        return f"--{key}" if self.file is None else f"{key} in the configuration {self.file}"


class Parser(argparse.ArgumentParser):
    """Options of a command, each of them read by its type.

    Args:
        name: the name of the command.
        description: what the command does.
        takes: the arguments behind the name, such as "RUN ".
        in_files: keys that a configuration file may hold besides those of a run.

    `parse_args` returns a namespace. Its ``given`` holds the keys of a run, and those of ``in_files``, that
    the user gave: a dict from the key to `Given`.
    """

    def __init__(self, name: str, description: str, takes: str = "", in_files: Collection[str] = ()) -> None:
        usage = f"%(prog)s {takes}[OPTION ...]"
        super().__init__(prog=f"snnprune {name}", description=description, allow_abbrev=False, usage=usage)
        self.in_files = in_files
        self.set_defaults(given={})

    def error(self, message: str) -> NoReturn:
        """Raise what is wrong with the command line.

        Raises:
            UserError: always.
        """
        raise UserError(f"{message} (`{self.prog} --help` lists the options)")

    def option(self, name: str, kind: Any, meaning: str, *, group: Any = None, **more: Any) -> None:
        """Add an option of the command, to a group of its help if one is given."""
        place = self if group is None else group
        place.add_argument(f"--{name}", action=_Own, kind=kind, help=_escaped(meaning), **more)

    def settings(self, *sections: str, skip: Collection[str] = ()) -> None:
        """Add an option for every key of ``sections`` except those in ``skip``."""
        for name in sections:
            said = (SECTIONS[name].__doc__ or "").partition("\n")[0].rstrip(".")
            group = self.add_argument_group(f"{name}: {said}")
            meanings, defaults = documented(SECTIONS[name]), SECTIONS[name]()
            for key, kind in types_of(SECTIONS[name]).items():
                dotted = f"{name}.{key}"
                if dotted not in skip:
                    default = values.shown(getattr(defaults, key))
                    said = f"{meanings.get(key, '')} [{values.wanted(kind)}; default: {default}]"
                    group.add_argument(
                        f"--{dotted}", action=_Setting, help=_escaped(said), metavar=key.upper()
                    )

    def lists(self) -> None:
        """Add the lists of a bench."""
        for name, what in BENCH_LISTS.items():
            self.add_argument(f"--{name}", action=_Setting, help=what, metavar=name.upper())

    def files(self) -> None:
        """Add ``--config``."""
        said = "YAML file with any of the keys below; there may be several"
        self.add_argument("--config", action=_Config, help=said, metavar="FILE")

    def read(self, arguments: Sequence[str]) -> argparse.Namespace:
        """Parse ``arguments``: the command line without the command's name.

        Raises:
            UserError: there is no such option, a file cannot be read, or a value does not fit.
        """
        for word in arguments:
            option = word.partition("=")[0]
            if option.startswith(f"--{FREE}.") and option not in self._option_string_actions:
                self.add_argument(option, action=_Constant, help=argparse.SUPPRESS)
        parsed, left = self.parse_known_args(list(arguments))
        for word in left:
            self._refuse(word)
        return parsed

    def _refuse(self, word: str) -> None:
        option = word.partition("=")[0]
        if not option.startswith("--"):
            self.error(f"unexpected argument '{word:.{values.SHOWN}}'")
        known = [name for name in self._option_string_actions if name.startswith("--")]
        if any(name.startswith(f"{option}.") for name in known):
            raise UserError(f"{option} is a group of options: write {option}.name, for instance")
        raise UserError(f"there is no option {option:.{values.SHOWN}}: {nearest(option, known)}")


class _Own(argparse.Action):
    """An option of a command, read by its type."""

    def __init__(self, *, kind: Any, **rest: Any) -> None:
        super().__init__(**rest)
        self.kind = kind

    def __call__(self, _parser: Any, namespace: Any, value: Any, option: str | None = None) -> None:
        setattr(namespace, self.dest, values.read(value, self.kind, option or self.dest))


class _Setting(argparse.Action):
    """A key of a run, or a list of a bench."""

    def __call__(self, _parser: Any, namespace: Any, value: Any, option: str | None = None) -> None:
        namespace.given = namespace.given | _read({self.dest: value}, option or "", "")


class _Constant(argparse.Action):
    """An option of a method."""

    def __call__(self, _parser: Any, namespace: Any, value: Any, _option: str | None = None) -> None:
        before = namespace.given.get(FREE)
        options = {} if before is None else before.value
        added = options | {self.dest.removeprefix(f"{FREE}."): value}
        namespace.given = namespace.given | {FREE: Given(added)}


class _Config(argparse.Action):
    """A file with keys of a run."""

    def __call__(self, parser: Any, namespace: Any, value: Any, option: str | None = None) -> None:
        path = Path(values.read(value, values.File, option or ""))
        namespace.given = namespace.given | read_file(path, parser.in_files)


def read_file(path: Path, own: Collection[str] = ()) -> dict[str, Given]:
    """Return the keys that a file holds.

    Args:
        path: a YAML file.
        own: keys of the command besides those of a run.

    Raises:
        UserError: it cannot be read, is not YAML, or has an unknown key or a value that does not fit.
    """
    where = f"the configuration {path}"
    read = _yaml(path, where)
    if not isinstance(read, dict):
        raise UserError(f"{where} needs sections ({', '.join(SECTIONS)}), and has none")
    found = {name: Given(read[name], path) for name in own if name in read}
    sections = {name: part for name, part in read.items() if name not in found}
    for name in sections:
        if name not in SECTIONS:
            raise UserError(f"{where} has an unknown key '{name!s:.80}': {_nearest_key(str(name), own)}")
    plain = _flat(sections, where)
    return found | {key: replace(given, file=path) for key, given in _read(plain, "", f" in {where}").items()}


def as_config(read: Any, where: str) -> RunConfig:
    """Return the configuration that plain values stand for; missing keys get their defaults.

    Args:
        read: sections of keys, as a run keeps them.
        where: the place of the values, for the message, such as "runs/a/config.yaml".

    Raises:
        UserError: a section is missing, a key is unknown, or a value does not fit.
    """
    if not isinstance(read, dict) or set(read) != set(SECTIONS):
        raise UserError(f"{where} must have the sections {', '.join(SECTIONS)}, and has others")
    return _made(_read(_flat(read, where), "", f" in {where}"))


def run_config(given: Mapping[str, Given]) -> RunConfig:
    """Return the checked configuration of a run from what was given, with its method's options converted.

    Raises:
        UserError: a name is unknown, or settings do not go together.
    """
    config = _made(given)
    check(config)
    try:
        check_names(config)
    except UserError as error:
        file = given[FREE].file if FREE in given else None
        raise UserError(f"{error}{'' if file is None else f' (method.options in {file})'}") from error
    if not config.method.options:
        return config
    options = typed(METHODS, "method", config.method.name, config.method.options)
    return replace(config, method=replace(config.method, options=options))


def data_config(given: Mapping[str, Given], name: str) -> DataConfig:
    """Return the checked settings of the data set ``name`` from what was given."""
    config = run_config({**given, "data.name": Given(values.read(name, KEYS["data.name"], "NAME"))})
    return config.data


def chosen(given: Mapping[str, Given]) -> set[str]:
    """Return the keys that the user chose: every option, and what differs from its default in a file."""
    defaults = {
        f"{name}.{key}": getattr(section(), key)
        for name, section in SECTIONS.items()
        for key in types_of(section)
    }
    return {
        key for key, one in given.items() if one.file is None or key not in KEYS or one.value != defaults[key]
    }


def _made(given: Mapping[str, Given]) -> RunConfig:
    parts: dict[str, dict[str, Any]] = {name: {} for name in SECTIONS}
    for key, one in given.items():
        section, _, name = key.partition(".")
        if key in KEYS:
            parts[section][name] = one.value
    made: dict[str, Any] = {name: SECTIONS[name](**part) for name, part in parts.items()}
    return RunConfig(**made)


def _flat(sections: Mapping[Any, Any], where: str) -> dict[str, Any]:
    """Return the dotted keys of ``sections``, each of which is one of `SECTIONS`."""
    found = {}
    for name, part in sections.items():
        if not isinstance(part, dict):
            raise UserError(f"'{name}' in {where} must hold keys, as {name}: {{name: ...}}")
        for key, value in part.items():
            if f"{name}.{key}" not in KEYS:
                hint = _nearest_key(f"{name}.{key}")
                raise UserError(f"{where} has an unknown key '{name}.{key!s:.80}': {hint}")
            found[f"{name}.{key}"] = value
    return found


def _read(plain: Mapping[str, Any], option: str, place: str) -> dict[str, Given]:
    """Return values converted to their keys' types; the lists of a bench unchanged."""
    return {
        key: Given(values.read(value, KEYS[key], option or key, place) if key in KEYS else value)
        for key, value in plain.items()
    }


def _yaml(path: Path, where: str) -> Any:
    try:
        return document.parse_yaml(document.read_text(path, document.LARGEST_YAML))
    except OSError as error:
        raise UserError(f"cannot read {where}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise UserError(f"{where} is not text in UTF-8") from error
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        place = f" in line {mark.line + 1}" if mark else ""
        problem = " ".join(str(getattr(error, "problem", None) or "it cannot be read").split())
        raise UserError(f"{where} is not valid YAML{place}: {problem}") from error


def _nearest_key(word: str, own: Iterable[str] = ()) -> str:
    """Return a hint at the key that was meant; ``epochs`` alone means train.epochs."""
    own = tuple(own)
    if word in BENCH_LISTS and not own:
        return "it belongs in a file for `snnprune bench --config`"
    if f"{word}s" in own:
        return f"did you mean '{word}s'?"
    leaf = word.rpartition(".")[2]
    same = [key for key in KEYS if key.endswith(f".{leaf}")]
    if same:
        return f"did you mean '{same[0]}'?"
    return nearest(word, KEYS if "." in word else {*KEYS, *SECTIONS})


def _escaped(text: str) -> str:
    return text.replace("%", "%%")
