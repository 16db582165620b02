"""Tables of data sets, models and methods, and of the options of one of them."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from snnprune import data
from snnprune.config.check import types_of
from snnprune.config.names import DATASETS, METHODS, MODELS, pick
from snnprune.config.schema import SECTIONS, DataConfig, ModelConfig, RunConfig
from snnprune.config.signature import documented, options
from snnprune.config.unused import reasons
from snnprune.config.values import shown, wanted

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

OWN = "-"
"""Where a data set is on disk that may be any folder."""

TABLES = {"datasets": DATASETS, "models": MODELS, "methods": METHODS}

KINDS = tuple(TABLES)

WORDS = {kind: kind for kind in KINDS} | {kind.removesuffix("s"): kind for kind in KINDS}
"""Words that a user may write for a kind, each with its kind."""

Row = tuple[str, str, str, str]


def show(kinds: Iterable[str], root: str | None) -> None:
    """Print a table for each of ``kinds``.

    Args:
        kinds: of "datasets", "models", "methods".
        root: the folder to look for data sets in; without one, the folder that SNNPRUNE_DATA names.
    """
    console = Console()
    for kind in kinds:
        console.print(_table(kind, root))


def describe(kind: str, name: str, root: str | None) -> None:
    """Print the options of one data set, model or method, with types, defaults and meanings.

    Args:
        kind: a word of `WORDS`.
        name: a name of the registry, or "module:attribute" of the user's own.
        root: as in `show`.

    Raises:
        UserError: there is no such name, or the user's own cannot be imported.
    """
    kind = WORDS[kind]
    word = {"datasets": "data set", "models": "model", "methods": "method"}[kind]
    entry = pick(TABLES[kind], word, name)
    found = entry.load() if kind == "methods" or entry.kind is not None else None
    lines = [f"{name}: {entry.summary}" if entry.kind is None else f"{name}: {_first_line(found)}"]
    if entry.source != "-":
        lines.append(f"source: {entry.source}")
    if kind == "datasets":
        lines.append(_place(name, root))
    rows = list(_constants(found)) if kind == "methods" else list(_settings(kind, name))
    console = Console()
    console.print("\n".join(lines), markup=False, highlight=False, soft_wrap=True)
    if not rows:
        console.print(f"the {word} has no options", highlight=False)
        return
    table = Table(title=f"options of the {word}", title_justify="left", title_style="bold", show_lines=True)
    table.add_column("option", overflow="fold")
    table.add_column("default", overflow="fold")
    table.add_column("what it is", ratio=1)
    for option, wants, default, meaning in rows:
        table.add_row(*map(Text, (option, default, f"{meaning} [{wants}]" if wants else meaning)))
    console.print(table)
    if kind == "methods":
        console.print(
            "Write an option without -- as --method.options.NAME VALUE, or in a file as method: {options: "
            "{NAME: VALUE}}.",
            markup=False,
            highlight=False,
        )


def _constants(builder: Any) -> Iterator[Row]:
    """Yield the options of a method, as a command line writes them."""
    places = documented(SECTIONS["method"])
    for option in options(builder).values():
        general = option.name in ("target", "structured")
        key = f"--method.{option.name}" if general else option.name
        default = "needed" if option.is_needed else _written(option.default)
        meaning = option.meaning or (places[option.name] if general else "")
        yield key, "" if option.kind is None else wanted(option.kind), default, meaning


def _settings(kind: str, name: str) -> Iterator[Row]:
    """Yield the settings that a data set or model uses, as a command line writes them."""
    section, config = ("data", RunConfig(data=DataConfig(name=name)))
    if kind == "models":
        section, config = ("model", RunConfig(model=ModelConfig(name=name)))
    keys = {
        f"{section}.{key}": (key, wants)
        for key, wants in types_of(SECTIONS[section]).items()
        if key != "name"
    }
    left_out, meanings = reasons(config, keys), documented(SECTIONS[section])
    for dotted, (key, wants) in keys.items():
        if dotted not in left_out:
            yield f"--{dotted}", wanted(wants), shown(getattr(getattr(config, section), key)), meanings[key]


def _first_line(found: Any) -> str:
    return (inspect.getdoc(found) or "your own").partition("\n")[0]


def _written(default: Any) -> str:
    return getattr(default, "__name__", None) or shown(default)


def _table(kind: str, root: str | None) -> Table:
    table = Table(title=kind, title_justify="left", title_style="bold")
    table.add_column("name", no_wrap=True)
    table.add_column("what it is")
    table.add_column("source")
    if kind == "datasets":
        table.add_column("on disk", no_wrap=True)
    for name, entry in TABLES[kind].items():
        row = [name, entry.summary, entry.source]
        if kind == "datasets":
            row.append(_on_disk(name, root))
        table.add_row(*map(Text, row))
    return table


def _place(name: str, root: str | None) -> str:
    """Return a line that says where a data set is."""
    place, held = data.where(name, root), _on_disk(name, root)
    if held == OWN:
        return "in the folder that --data.root names"
    return (
        "not on disk" if place is None else f"on disk: {place}{f' ({held})' if held.endswith('only') else ''}"
    )


def _on_disk(name: str, root: str | None) -> str:
    """Return "yes", "no", "train only" or "test only"; `OWN` for the user's own recordings."""
    if pick(TABLES["datasets"], "data set", name).has("own"):
        return OWN
    halves = data.halves(name, root)
    return f"{halves[0]} only" if len(halves) == 1 else "yes" if halves else "no"
