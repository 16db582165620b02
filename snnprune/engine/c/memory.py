"""The constants and the states of a program in C, with their bytes."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from snnprune.engine.c.values import BYTES, literals

if TYPE_CHECKING:
    from collections.abc import Iterable

    from snnprune.engine.plan import Array

WIDTH = 100
"""Columns of a table of numbers."""


@dataclass(frozen=True)
class Block:
    """An array in C.

    Attributes:
        name: of the array.
        kind: C type.
        count: number of elements.
        owner: place of the node that it belongs to; None for what nodes share.
        text: its declaration.
    """

    name: str
    kind: str
    count: int
    owner: int | None
    text: str

    @property
    def bytes(self) -> int:
        """Size in bytes."""
        return self.count * BYTES[self.kind]


@dataclass
class Memory:
    """What a program keeps.

    Attributes:
        flash: constants.
        ram: states, in the order of their declarations.
        starts: statements that bring the states to rest.
    """

    flash: list[Block] = field(default_factory=list)
    ram: list[Block] = field(default_factory=list)
    starts: list[str] = field(default_factory=list)

    def constant(self, name: str, kind: str, numbers: Array | Iterable[float], owner: int) -> str:
        """Add an array of constants that is not there yet, and return its name."""
        if any(block.name == name for block in self.flash):
            return name
        words = literals(numbers, kind)
        lines = [f"static const {kind} {name}[{len(words)}] = {{", *_lines(words), "};"]
        self.flash.append(Block(name, kind, len(words), owner, "\n".join(lines)))
        return name

    def state(self, name: str, kind: str, count: int, owner: int | None = None, *, rest: bool = True) -> str:
        """Add an array of states, and return its name.

        Args:
            name: of the array.
            kind: C type.
            count: number of elements.
            owner: as in `Block`.
            rest: whether it is zero at rest; else its contents do not matter there, or are set otherwise.
        """
        self.ram.append(Block(name, kind, count, owner, f"static {kind} {name}[{count}];"))
        if rest:
            self.starts.append(f"(void)memset({name}, 0, sizeof {name});")
        return name

    def number(self, name: str, kind: str) -> str:
        """Add one number that is zero at rest, and return its name."""
        self.ram.append(Block(name, kind, 1, None, f"static {kind} {name};"))
        self.starts.append(f"{name} = 0;")
        return name

    def each(self, name: str, kind: str, numbers: Array, owner: int, unit: str) -> str:
        """Return an expression for the number of a unit: a literal where all are equal.

        Args:
            name: of the array where they are not.
            kind: C type.
            numbers: one for all, or [units].
            owner: as in `Block`.
            unit: the index of the unit in C.
        """
        words = literals(numbers, kind)
        if len(set(words)) == 1:
            return words[0]
        return f"{self.constant(name, kind, numbers, owner)}[{unit}]"

    def sizes(self, owner: int | None) -> tuple[int, int]:
        """Return the bytes of constants and states of a node, or of what nodes share."""
        return (
            sum(block.bytes for block in self.flash if block.owner == owner),
            sum(block.bytes for block in self.ram if block.owner == owner),
        )

    @property
    def totals(self) -> tuple[int, int]:
        """Bytes of all constants and of all states."""
        return sum(block.bytes for block in self.flash), sum(block.bytes for block in self.ram)


def _lines(words: list[str]) -> list[str]:
    """Return words with commas, in lines of about `WIDTH` columns."""
    lines, line = [], "   "
    for word in words:
        if len(line) + len(word) > WIDTH:
            lines.append(line)
            line = "   "
        line += f" {word},"
    return [*lines, line]


def block(opening: str, lines: Iterable[str]) -> list[str]:
    """Return lines in braces behind ``opening``, indented."""
    return [f"{opening} {{".lstrip(), *(f"    {line}" for line in lines), "}"]


def function_text(opening: str, lines: Iterable[str], about: str = "") -> str:
    """Return the text of a function, behind a comment."""
    return "\n".join([*([about] if about else []), opening, "{", *(f"    {line}" for line in lines), "}", ""])


def loop(index: str, count: int | str, lines: Iterable[str]) -> list[str]:
    """Return lines in a loop over 0 .. count - 1."""
    return block(f"for (int32_t {index} = 0; {index} < {count}; {index}++)", lines)
