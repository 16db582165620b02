"""Averages of the network's weights (EMA, SWA) lose what dies; copies of another make are looked at."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from snnprune.common.errors import UserError
from snnprune.pruning.optimizers import parameters
from snnprune.training.callbacks.copies import Search, reachable

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    import lightning
    from torch.optim import Optimizer

    from snnprune.pruning.masks import Masks
from snnprune.training.callbacks.copies import Copy

COPY = (
    "{place} is a copy of the network, and keeps its shapes when compact_every cuts the network: if it "
    "follows the weights later (a moving average, a momentum encoder), leave compact_every out, and call "
    "callback.pruner.compact() after training"
)
MOVES = (
    "{place} is a copy of the network that moves, and pruning does not reach it: if it follows the weights "
    "(a moving average, a momentum encoder), set what is dead to zero in it after every step of the "
    "optimiser, with callback.pruner.masks.zero(copy)"
)


class Averages:
    """Copies of a network that a LightningModule or the callbacks of a Trainer keep.

    Averages of the weights lose what dies along with the network. A copy of another make may be an average,
    too, or a teacher whose weights stay: it is an average if it moves, which is looked at from time to time.

    Args:
        network: the network that is pruned.
        place: its name in the LightningModule, "" for the module itself.
        cut: whether the network is cut while it trains.
    """

    def __init__(self, network: nn.Module, place: str, *, cut: bool) -> None:
        self.network, self.place, self.cut = network, place, cut
        self._known: list[nn.Module] = []
        self._others: dict[str, tuple[Copy, Tensor]] = {}
        self._said: set[str] = set()
        self._masked: Mapping[str, Tensor] | None = None

    def find(
        self, task: nn.Module, holders: Iterable[lightning.Callback], optimizers: Iterable[Optimizer]
    ) -> None:
        """Look for the copies, and at those of another make.

        Raises:
            UserError: there is an average of weights whose shapes a cut would change.
        """
        trained = {id(p) for optimizer in optimizers for p in parameters(optimizer)}
        search = Search(self.network, self.place, trained)
        found = [
            (place, known, c) for place, known, kept in reachable(task, holders) for c in search.copies(kept)
        ]
        self._known = [c for _, known, c in found if known and isinstance(c, nn.Module)]
        self._masked = None
        for place, known, copied in found:
            if known and self.cut:
                raise _refused(place)
            if place not in self._others and not self._has(copied):
                self._others[place] = (copied, _print_of(copied))
                if self.cut and _is_equal(copied, self.network):
                    self._say(place, COPY)
        self.look()

    def look(self) -> None:
        """Look whether a copy of another make has moved since it was found, and say so.

        Raises:
            UserError: it has, and a cut would change its shapes.
        """
        for place, (copied, before) in self._others.items():
            if not torch.equal(before, _print_of(copied)):
                if self.cut:
                    raise _refused(place)
                self._say(place, MOVES)

    def zero(self, masks: Masks) -> None:
        """Set what is dead to zero in the averages, where ``masks`` have changed since the last call.

        An average of zeros stays zero, so there is nothing to do in between.
        """
        if self._known and masks.factors() is not self._masked:
            for average in self._known:
                masks.zero(average)
            self._masked = masks.factors()

    def _has(self, copied: Copy) -> bool:
        """Tell whether a copy was found in another place."""
        found = [*self._known, *(other for other, _ in self._others.values())]
        return id(_tensors_of(copied)[0]) in {id(_tensors_of(each)[0]) for each in found}

    def _say(self, place: str, sentence: str) -> None:
        if place not in self._said:
            warnings.warn(sentence.format(place=place), stacklevel=2)
        self._said.add(place)


def _refused(place: str) -> UserError:
    return UserError(
        f"compact_every changes the shapes of the weights, and an average of them ({place}) keeps its own: "
        "leave it out, and call callback.pruner.compact() after training"
    )


def _print_of(copied: Copy) -> Tensor:
    """Return a sum by tensor: an update changes it."""
    return torch.stack([t.detach().double().sum().cpu() for t in _tensors_of(copied)])


def _is_equal(copied: Copy, network: nn.Module) -> bool:
    pairs = zip(_tensors_of(copied), network.parameters(), strict=True)
    return all(torch.equal(a.detach().to(b.device), b.detach()) for a, b in pairs)


def _tensors_of(copied: Copy) -> list[Tensor]:
    return list(copied.parameters()) if isinstance(copied, nn.Module) else copied
