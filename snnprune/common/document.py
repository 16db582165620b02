"""YAML and JSON that anybody may have written: bounded in size, depth and time, and refused in one way."""

from __future__ import annotations

import errno
import json
from typing import TYPE_CHECKING, Any

import yaml

if TYPE_CHECKING:
    from pathlib import Path

LARGEST = 64 * 2**20
"""Bytes of a text file: a comparison of some hundred runs takes a few megabytes."""

LARGEST_YAML = 2**17
"""Bytes of a configuration: fifty times the longest one that this package writes, and read in a second."""

DEPTH = 24
"""Levels of a YAML file: its readers recurse, and a configuration has three."""

LONGEST = 1000
"""Characters of a key or a value in YAML: a sentence may have to repeat it."""


class _Loader(yaml.SafeLoader):
    """PyYAML's safe loader, without aliases: ten lines of them stand for more than any memory holds."""

    depth = 0

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        self.depth += 1
        if self.check_event(yaml.events.AliasEvent):
            self._refuse("aliases (*name) are not read: write the value out")
        if self.depth > DEPTH:
            self._refuse(f"it is nested deeper than {DEPTH} levels")
        if self.check_event(yaml.events.ScalarEvent) and len(self.peek_event().value) > LONGEST:
            self._refuse(f"a key or value has more than {LONGEST} characters")
        node: yaml.Node | None = super().compose_node(parent, index)
        self.depth -= 1
        return node

    def _refuse(self, why: str) -> None:
        raise yaml.composer.ComposerError(None, None, why, self.get_mark())


def read_text(path: Path, largest: int = LARGEST) -> str:
    """Return what a file says.

    Raises:
        OSError: it cannot be read, or has more than ``largest`` bytes.
        UnicodeDecodeError: it is not text in UTF-8.
    """
    with path.open("rb") as file:
        content = file.read(largest + 1)  # and not its size first: a device has none
    if len(content) > largest:
        raise OSError(errno.EFBIG, f"it has more than {largest:,} bytes", str(path))
    return content.decode()


def parse_yaml(text: str) -> Any:
    """Return the plain values that ``text`` stands for.

    Raises:
        yaml.YAMLError: it is no YAML, or has aliases, tags of code, or values that no configuration has.
    """
    try:
        return yaml.load(text, _Loader)  # noqa: S506 - a SafeLoader
    except (ValueError, OverflowError, TypeError, AttributeError, RecursionError) as error:
        # PyYAML's answer to the 31st of February, to a number of 5,000 digits, and to some tags out of place.
        raise yaml.YAMLError(f"a value cannot be read: {error}") from error


def parse_json(text: str) -> Any:
    """Return the plain values that ``text`` stands for.

    Raises:
        json.JSONDecodeError: it is no JSON, or nested deeper or with longer numbers than Python reads.
    """
    try:
        return json.loads(text)
    except json.JSONDecodeError:
        raise
    except (ValueError, RecursionError) as error:
        raise json.JSONDecodeError(str(error), text, 0) from error
