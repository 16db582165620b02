"""LBFGS: one memory of all parameters, end to end, which no trial with a single stand-in would show."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any
from weakref import ref

import torch

from snnprune.pruning.moments.finding import crossed
from snnprune.pruning.optimizers import parameters

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping, Sequence

    from torch import Tensor

    from snnprune.network.cut import Cut
    from snnprune.pruning.compaction.transaction import Transaction


class Memory:
    """The memory of `torch.optim.LBFGS`: steps and differences of gradients, flat over all parameters.

    A newly dead entry cannot be set to zero in it, since products of whole vectors are kept, too. The memory
    is cleared instead, as LBFGS does itself at its first step. A cut takes out entries that are zero already,
    and changes no product.

    Args:
        optimizer: the optimiser; it is held weakly.
    """

    def __init__(self, optimizer: torch.optim.LBFGS) -> None:
        self._optimizer = ref(optimizer)
        self._masked: list[Tensor] = []

    def erasures(self, masked: Sequence[tuple[Tensor, Tensor]]) -> list[tuple[Tensor, Tensor]]:
        """Clear the memory if masks have changed, and it holds something of the dead; return nothing."""
        factors = [factor for _, factor in masked]
        changed = len(factors) != len(self._masked) or any(
            a is not b for a, b in zip(factors, self._masked, strict=True)
        )
        self._masked = factors
        if changed and self._state:
            dead = self._flat({id(parameter): factor == 0 for parameter, factor in masked}, rest=False)
            if any(bool(vector[dead.to(vector.device)].any()) for _, _, vector in self._vectors()):
                self._state.clear()
        return []

    def check(self, tensors: Mapping[str, Tensor]) -> None:
        """Do nothing: any cut can be followed."""

    def shrink(self, tensors: Mapping[str, Tensor], cut: Cut, changes: Transaction) -> None:
        """Take what is cut from parameters, by name, out of the memory, before they are cut themselves."""
        keys = {id(parameter): key for key, parameter in tensors.items()}
        axes = {id(p): enumerate(p.shape) for p in self._parameters if id(p) in keys}
        known = {
            of: crossed([cut.stays(keys[of], axis, n) for axis, n in shape]) for of, shape in axes.items()
        }
        stays = self._flat(known, rest=True)
        for holder, key, vector in list(self._vectors()):
            changes.on_failure(lambda holder=holder, key=key, vector=vector: holder.__setitem__(key, vector))  # type: ignore[misc]
            holder[key] = vector[stays.to(vector.device)]
        changes.remember(self._alive, "_numel_cache")
        self._alive._numel_cache = None

    def outlook(self, tensors: Mapping[str, Tensor], lasting: Collection[str]) -> str | None:  # noqa: ARG002
        """Return None: a cut changes no step."""
        return None

    def forget(self, parameter: Tensor) -> None:  # noqa: ARG002
        """Forget the memory, which is of all parameters."""
        self._alive.state.pop(self._parameters[0], None)

    @property
    def _alive(self) -> Any:
        return self._optimizer()

    @property
    def _parameters(self) -> list[Tensor]:
        return parameters(self._alive)

    @property
    def _state(self) -> dict[str, Any]:
        state: dict[str, Any] = self._alive.state[self._parameters[0]]
        return state

    def _vectors(self) -> Iterator[tuple[Any, Any, Tensor]]:
        """Yield what holds each vector, under which key, and the vector."""
        for holder in [self._state, *(v for v in self._state.values() if isinstance(v, list))]:
            for key, value in list(holder.items() if isinstance(holder, dict) else enumerate(holder)):
                if isinstance(value, torch.Tensor) and value.ndim == 1:
                    yield holder, key, value

    def _flat(self, known: Mapping[int, Tensor], *, rest: bool) -> Tensor:
        """Return bool for all entries of all parameters, in the order of the memory."""
        parts = [known.get(id(p), torch.full(p.shape, rest, device=p.device)) for p in self._parameters]
        return torch.cat([part.reshape(-1).to(parts[0].device) for part in parts])
