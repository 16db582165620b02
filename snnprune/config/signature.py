"""The options of a class or a function, with their types, defaults and meanings."""

from __future__ import annotations

import inspect
import re
import sys
import types
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

from snnprune.config import values

if TYPE_CHECKING:
    from collections.abc import Callable

NUMBERS: dict[type, Any] = {bool: bool, int: float, float: float, str: str}
"""The type of an option without an annotation, by the type of its default."""


@dataclass(frozen=True)
class Option:
    """One keyword of a class or function.

    Attributes:
        name: the keyword.
        kind: its type, if text can be converted to it; None if a value is passed on unchanged.
        default: its default value; `inspect.Parameter.empty` if there is none.
        meaning: its description in the docstring.
    """

    name: str
    kind: Any
    default: Any
    meaning: str

    @property
    def is_needed(self) -> bool:
        """Whether it has no default."""
        return self.default is inspect.Parameter.empty

    def read(self, value: Any, owner: str) -> Any:
        """Return ``value`` converted to the option's type.

        Raises:
            UserError: it does not fit. ``owner`` names whose option it is.
        """
        if self.kind is None:
            return values.guess(value) if isinstance(value, str) else value
        return values.read(value, self.kind, f"option '{self.name}' of {owner}")


def options(builder: Callable[..., Any]) -> dict[str, Option]:
    """Return the keywords of ``builder`` in their order, with those that a class passes on by ``**``."""
    meanings: dict[str, str] = {}
    found: dict[str, Option] = {}
    for source, written in _sources(builder):
        meanings |= {name: said for name, said in documented(written).items() if name not in meanings}
        parameters = [p for p in inspect.signature(source).parameters.values() if p.name not in found]
        for parameter in parameters:
            if parameter.kind in (parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY):
                kind = _kind(parameter, source)
                found[parameter.name] = Option(parameter.name, kind, parameter.default, "")
    return {
        name: Option(name, option.kind, option.default, meanings.get(name, ""))
        for name, option in found.items()
    }


def documented(thing: Any) -> dict[str, str]:
    """Return the descriptions in the section "Args:" or "Attributes:" of a docstring, by name."""
    text = inspect.getdoc(thing) or ""
    section = re.search(r"^(?:Args|Attributes):\n((?:[ ]+.*\n?|\n)*)", text, re.MULTILINE)
    entries = re.findall(r"^ {4}(\w+)[^\n:]*: (.*(?:\n {8}.*)*)", section[1] if section else "", re.MULTILINE)
    return {name: " ".join(said.split()) for name, said in entries}


def _sources(builder: Any) -> list[tuple[Callable[..., Any], Any]]:
    """Return the callables whose parameters are options, each with the object that documents them."""
    if isinstance(builder, partial):
        return [(builder, builder.func)]
    if not isinstance(builder, type):
        return [(builder, builder)]
    found: list[tuple[Callable[..., Any], Any]] = []
    for parent in builder.__mro__:
        made = parent.__dict__.get("__init__")
        if parent is object or not inspect.isfunction(made):
            continue
        found += [(partial(made, None), parent), (partial(made, None), made)]
        if all(p.kind is not p.VAR_KEYWORD for p in inspect.signature(made).parameters.values()):
            break
    return found


def _kind(parameter: inspect.Parameter, source: Any) -> Any:
    """Return a parameter's type if `values.convert` knows it, else None."""
    written = parameter.annotation
    if written is parameter.empty:
        return _of_default(parameter.default)
    try:
        function = source.func if isinstance(source, partial) else source
        space = vars(sys.modules[function.__module__])
        holder = types.SimpleNamespace(__annotations__={"it": written})
        kind = get_type_hints(holder, space, {}, include_extras=True)["it"]
    except Exception:  # the annotation has a name that is imported for type checkers only
        return None
    return kind if _is_known(kind) else None


def _of_default(default: Any) -> Any:
    kind = NUMBERS.get(type(default))
    return None if kind is None else kind | None


def _is_known(kind: Any) -> bool:
    origin = get_origin(kind)
    if origin in (Union, types.UnionType):
        return all(_is_known(option) for option in get_args(kind))
    if origin is Annotated:
        return _is_known(get_args(kind)[0]) and all(hasattr(b, "problem") for b in get_args(kind)[1:])
    if origin is Literal:
        return all(isinstance(word, str) for word in get_args(kind))
    return kind in (int, float, bool, str, type(None)) or (origin or kind) is dict
