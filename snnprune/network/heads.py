"""The numbers by which a network takes its channels apart into heads: a cut has to change them.

`x.reshape(B, N, self.heads, -1)` is right for a smaller network if `self.heads` follows. Which integers do so
is found out by trial: half of the heads and of their channels are taken out, the integers of the module that
reshapes are set to what is left, and the network has to answer as it does where these units are dead. What no
integer makes run is frozen.
"""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

from snnprune.network.cut import half_of
from snnprune.network.rehearsal import objection
from snnprune.network.runs import stretches
from snnprune.network.topology import Number

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from torch import nn

    from snnprune.network.topology import Topology

MOST = 32
"""Number of assignments of integers that are tried for one group of modules: two each for five of them."""

_NAMED = ("head", "dim", "embd", "embed", "channel", "feature", "hidden", "width", "inner", "size")
"""Words in the names of sizes: an integer of another name is left as it is, where the network allows that."""


def settle_heads(model: nn.Module, topology: Topology, users: Mapping[str, frozenset[str]]) -> None:
    """Find the integers that follow numbers of heads and of their channels, and freeze what cannot be cut.

    Args:
        model: the network.
        topology: its topology, which is changed.
        users: names of the populations that a module takes apart or puts together, by its name.
    """
    groups = list(_groups(topology, users))
    options = [_options(model, topology, *group) for group in groups]
    for numbers in options:
        topology.numbers += next(_assignments(numbers), ())
    everything = [name for _, names in groups for name in names]
    if not everything or _objection(model, topology, everything) is None:
        return
    topology.numbers = ()
    for (_, names), numbers in zip(groups, options, strict=True):
        _settle(model, topology, names, numbers)


def leave_whole(model: nn.Module, topology: Topology) -> None:
    """Note the populations without half of which the network would not run, or would answer otherwise.

    `x.reshape(B, N, self.heads, C // self.heads)` with the C of the network's stream asks for as many rows of
    x as the stream has channels. The heads are frozen then. The stream can be masked, and a cut has to leave
    it whole.

    Args:
        model: the network.
        topology: its topology, with settled heads; `Population.uncut` of such populations is changed.
    """
    names = [p.name for p in topology.free() if p.uncut is None]
    known = topology.example is not None and topology.example.left_over is None
    if known and _objection(model, topology, []) is None:
        for name, reason in _faults(model, topology, names):
            topology.populations[name].uncut, topology.populations[name].whole = reason, True


def _faults(model: nn.Module, topology: Topology, names: list[str]) -> Iterator[tuple[str, str]]:
    """Yield which populations cannot lose half of their units, with the reason: halves are tried in turn."""
    reason = _objection(model, topology, names)
    if reason is not None and len(names) == 1:
        yield names[0], reason
    elif reason is not None:
        half = len(names) // 2
        yield from _faults(model, topology, names[:half])
        yield from _faults(model, topology, names[half:])


def _groups(topology: Topology, users: Mapping[str, frozenset[str]]) -> Iterator[tuple[list[str], list[str]]]:
    """Yield modules with the free populations of heads and channels that they share with no other."""
    free = {p.name for p in topology.free() if p.kind in {"heads", "head channels"} and p.uncut is None}
    waiting = {module: set(names) & free for module, names in users.items()}
    for name in free - {n for names in waiting.values() for n in names}:
        waiting[""] = waiting.get("", set()) | {name}
    while waiting:
        module, names = waiting.popitem()
        modules = [module]
        while more := [m for m, other in waiting.items() if other & names]:
            modules += more
            names |= set().union(*(waiting.pop(m) for m in more))
        if names:
            yield modules, [name for name in topology.populations if name in names]


def _options(
    model: nn.Module, topology: Topology, modules: list[str], names: list[str]
) -> list[list[Number | None]]:
    """Return what each integer of ``modules`` may follow, the likeliest first; None: it stays as it is."""
    values = dict(_values(topology, names))
    found: list[list[Number | None]] = []
    for module in sorted(modules):
        for attribute, value in vars(model.get_submodule(module)).items():
            if type(value) is not int or value < 2:
                continue
            follows: list[Number | None] = [
                Number(module, attribute, *of) for of, size in values.items() if size == value
            ]
            follows.sort(key=lambda number: _suits(attribute, number, topology), reverse=True)
            if follows:
                found.append([*follows, None] if _is_likely(attribute, follows[0]) else [None, *follows])
    return found


def _suits(attribute: str, number: Number | None, topology: Topology) -> bool:
    """Tell whether a name is that of what a number counts: ``num_heads``, or ``head_dim``."""
    if number is None or len(number.populations) > 1:
        return False
    of_channels = any(word in attribute.lower() for word in _NAMED if word != "head")
    return of_channels == (topology.populations[number.populations[0]].kind == "head channels")


def _is_likely(attribute: str, number: Number | None) -> bool:
    """Tell whether an integer follows at all: that of all rows may be as well the width of the input."""
    named = any(word in attribute.lower() for word in _NAMED)
    return named and number is not None and len(number.populations) == 1


def _values(topology: Topology, names: list[str]) -> Iterator[tuple[tuple[tuple[str, ...], int], int]]:
    """Yield products of sizes with their values: of each population, and of those that share rows."""
    for name in names:
        yield ((name,), 1), topology.populations[name].size
    for p in topology.projections.values():
        for stretch in (s for runs in (p.outflow, p.inflow) for s in stretches(runs)):
            on = tuple(run.population for run in stretch)
            if len(on) > 1 and set(on) <= set(names):
                size = stretch[0].length
                once = size
                for run in stretch:
                    once //= run.size
                yield (on, 1), size // once
                yield (on, once), size


def _assignments(options: list[list[Number | None]]) -> Iterator[tuple[Number, ...]]:
    for chosen in itertools.islice(itertools.product(*options), MOST):
        yield tuple(number for number in chosen if number is not None)


def _settle(
    model: nn.Module, topology: Topology, names: list[str], options: list[list[Number | None]]
) -> None:
    """Find the integers of one group of modules; what cannot be cut with any of them is frozen."""
    before, chosen = topology.numbers, tuple[Number, ...]()
    reasons: dict[str, str] = {}
    cuttable: list[str] = []
    for more in (names, *([name] for name in names)):
        for numbers in _assignments(options):
            topology.numbers = before + numbers
            reason = _objection(model, topology, [*cuttable, *more])
            if reason is None:
                cuttable, chosen = [*cuttable, *more], numbers
                break
            reasons.setdefault(more[0] if len(more) == 1 else "", reason)
        if cuttable == names:
            break
    for name in set(names) - set(cuttable):
        topology.populations[name].frozen = f"it cannot be cut: {reasons[name]}"
    topology.numbers = before + tuple(n for n in chosen if set(n.populations) & set(cuttable))


def _objection(model: nn.Module, topology: Topology, names: list[str]) -> str | None:
    """Return why the network would not run, or answer otherwise, without half of each population."""
    return objection(model, half_of(topology, names))
