"""YAML and JSON from untrusted sources: bounded in size, depth and time, with one error for each format."""

from __future__ import annotations

import errno
import json
from typing import TYPE_CHECKING, Any

import yaml

if TYPE_CHECKING:
    from pathlib import Path

LARGEST = 64 * 2**20
"""Most bytes of a text file: a comparison of some hundred runs takes a few megabytes."""

LARGEST_YAML = 2**17
"""Most bytes of a configuration: fifty times the longest one of this package, and read within a second."""

DEPTH = 24
"""Most levels of a YAML file: its readers recurse, and a configuration has three."""

LONGEST = 1000
"""Most characters of a key or a value in YAML: a message may have to repeat it."""


class _Loader(yaml.SafeLoader):
    """PyYAML's safe loader, without aliases: ten lines of aliases can expand beyond any memory."""

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
    """Return the text of a file.

    Raises:
        OSError: it cannot be read, or has more than ``largest`` bytes.
        UnicodeDecodeError: it is not text in UTF-8.
    """
    with path.open("rb") as file:
        content = file.read(largest + 1)  # its size is not asked first: a device file has none
    if len(content) > largest:
        raise OSError(errno.EFBIG, f"it has more than {largest:,} bytes", str(path))
    return content.decode()


def parse_yaml(text: str) -> Any:
    """Return the plain values that ``text`` stands for.

    Raises:
        yaml.YAMLError: it is not YAML, or has aliases, tags of code, or values that no configuration has.
    """
    try:
        return yaml.load(text, _Loader)  # noqa: S506 - a SafeLoader
    except (ValueError, OverflowError, TypeError, AttributeError, RecursionError) as error:
        # PyYAML raises these for the 31st of February, a number of 5,000 digits, and some misplaced tags.
        raise yaml.YAMLError(f"a value cannot be read: {error}") from error


def parse_json(text: str) -> Any:
    """Return the plain values that ``text`` stands for.

    Raises:
        json.JSONDecodeError: it is not JSON, or has deeper nesting or longer numbers than Python reads.
    """
    try:
        return json.loads(text)
    except json.JSONDecodeError:
        raise
    except (ValueError, RecursionError) as error:
        raise json.JSONDecodeError(str(error), text, 0) from error
