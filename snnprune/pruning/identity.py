"""The parts and constants of a method: saved with its state, and compared when the state is loaded."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, is_dataclass
from typing import TYPE_CHECKING, Any

from snnprune.common.errors import UserError
from snnprune.pruning.criterion import Criterion
from snnprune.pruning.rule import Rule

if TYPE_CHECKING:
    from snnprune.pruning.method import Method

METHOD = "method"
DEPTH = 4
"""Deepest level of nested parts that is described: a rule's constants of time are on the third."""


@dataclass(frozen=True)
class Identity:
    """The classes of a method's parts, and the values of its constants.

    Attributes:
        parts: names of classes, by dotted place in the method; the method's own class under "method".
        constants: numbers, strings and names of functions, as text, by dotted place.
        formerly: earlier names of a part's class, which older saved states carry, by dotted place.
    """

    parts: dict[str, str] = field(default_factory=dict)
    constants: dict[str, str] = field(default_factory=dict)
    formerly: dict[str, tuple[str, ...]] = field(default_factory=dict)

    @classmethod
    def of(cls, method: Method) -> Identity:
        """Describe ``method`` as it is: constants that changed since it was built are included."""
        made = cls({METHOD: type(method).__name__}, formerly={METHOD: method.formerly})
        made._add(method, "", 0)
        return made

    def _add(self, thing: Any, prefix: str, depth: int) -> None:
        for name, value in getattr(thing, "__dict__", {}).items():
            place = f"{prefix}{name}"
            if name.startswith("_") or depth == DEPTH:
                continue
            if isinstance(value, Criterion | Rule) or (is_dataclass(value) and not isinstance(value, type)):
                self.parts[place] = type(value).__name__
                self.formerly[place] = getattr(value, "formerly", ())
                self._add(value, f"{place}.", depth + 1)
            elif _is_plain(value) or (isinstance(value, Mapping) and all(map(_is_plain, value.values()))):
                self.constants[place] = repr(value)
            elif callable(value):
                self.constants[place] = getattr(value, "__qualname__", type(value).__name__)

    @property
    def _divides(self) -> bool:
        """Whether ``structured`` divides a target between units and synapses; else no value of it matters."""
        return "False" not in (self.constants.get("neurons"), self.constants.get("synapses"))

    def state_dict(self) -> dict[str, dict[str, str]]:
        """Return parts and constants, for a checkpoint."""
        return {"parts": dict(self.parts), "constants": dict(self.constants)}

    def check(self, saved: Mapping[str, Mapping[str, str]]) -> str | None:
        """Compare with the `state_dict` of another method's identity.

        Returns:
            The constants that differ, as text; None where none differs.

        Raises:
            UserError: the other method has other parts, so its state does not fit this one.
        """
        parts, constants = saved.get("parts", {}), saved.get("constants", {})
        for place, mine in self.parts.items():
            other = parts.get(place, mine)
            if other != mine and other not in self.formerly.get(place, ()):
                raise UserError(
                    f"the state is of another method: its {place} is {other!r:.80}, and here it is {mine!r}; "
                    "build the pruner with the method of the state, or take over its masks alone with "
                    "Pruner.inherit"
                )
        differ = [
            f"{place} {constants[place]:.80} (here {mine})"
            for place, mine in self.constants.items()
            if constants.get(place, mine) != mine
            and not (place.endswith(".structured") and not self._divides)
        ]
        return ", ".join(differ) or None


def _is_plain(value: Any) -> bool:
    return value is None or isinstance(value, bool | int | float | str)
