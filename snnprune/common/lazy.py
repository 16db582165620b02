"""Names and submodules of a package that are imported on first access."""

from __future__ import annotations

import importlib
import pkgutil
import sys
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping


def lazily(
    package: str, names: Mapping[str, Iterable[str]] | None = None
) -> tuple[Callable[[str], Any], Callable[[], list[str]]]:
    """Return the ``__getattr__`` and the ``__dir__`` of ``package``, whose submodules are attributes, too.

    Args:
        package: the ``__name__`` of the package.
        names: for each module, the names that are imported from it.
    """
    here = sys.modules[package]
    places = {name: module for module, listed in (names or {}).items() for name in listed}
    inside = {found.name for found in pkgutil.iter_modules(here.__path__)} - {"__main__"}

    def find(name: str) -> Any:
        if name in places:
            found = getattr(importlib.import_module(places[name]), name)
        elif name in inside:
            found = importlib.import_module(f"{package}.{name}")
        else:
            raise AttributeError(f"module '{package}' has no attribute '{name}'")
        setattr(here, name, found)
        return found

    def completions() -> list[str]:
        listed = {*vars(here).get("__all__", ()), *(name for name in vars(here) if name.startswith("__"))}
        return sorted(listed | places.keys() | inside)

    return find, completions
