"""The constants of neurons, as a plan holds them (`snnprune.engine.plan.Neurons`)."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from snnprune.common.errors import UserError, with_article

if TYPE_CHECKING:
    import numpy.typing as npt
    from torch import nn

    from snnprune.export.whole_numbers import GridNeurons

    Array = npt.NDArray[Any]

KINDS = {
    "IFNode": ("spikingjelly.", "if"),
    "LIFNode": ("spikingjelly.", "lif"),
    "ParametricLIFNode": ("spikingjelly.", "plif"),
    "HeterogeneousLIFNode": ("snnprune.", "heterogeneous"),
    "AdaptiveLIFNode": ("snnprune.", "adaptive"),
}
"""Neurons that a plan can hold: where they come from, and the name of their equations."""


def equations_of(name: str, module: nn.Module) -> str:
    """Return the name of the equations of neurons.

    Raises:
        UserError: a plan cannot hold them.
    """
    kind = type(module).__name__
    place, equations = KINDS.get(kind, ("", ""))
    if not place or not type(module).__module__.startswith(place):
        raise UserError(
            f"layer '{name}' is {with_article(kind)}, and an event-driven network has the neurons "
            f"{', '.join(KINDS)}: use one of these"
        )
    if not getattr(getattr(module, "surrogate_function", None), "spiking", True):
        raise UserError(
            f"layer '{name}' is {with_article(kind)} that hands on a smooth function in place of spikes: "
            "give its surrogate function spiking=True"
        )
    return equations


def of_floats(name: str, module: Any, units: int | None, dtype: np.dtype[Any]) -> dict[str, Any]:
    """Return the fields of `Neurons` that ``module`` has.

    Args:
        name: of the layer, for errors.
        module: the neurons.
        units: of a row, None for maps.
        dtype: of the plan.

    Raises:
        UserError: a plan cannot hold them.
    """
    kind = equations_of(name, module)
    own = {
        "if": lambda: 1.0,
        "lif": lambda: module.tau,
        "plif": lambda: module.w.detach().sigmoid(),
        "heterogeneous": lambda: _kept(module.decay),
        "adaptive": lambda: _kept(module.decay),
    }[kind]()
    fields: dict[str, Any] = {
        "kind": kind,
        "threshold": _array(_number(name, "v_threshold", module.v_threshold), dtype),
        "leak": _constant(name, own, units, dtype, kind),
        "reset": None if module.v_reset is None else _array(_number(name, "v_reset", module.v_reset), dtype),
        "decay_input": bool(getattr(module, "decay_input", False)),
    }
    if kind == "adaptive":
        from snnprune.nn.models.adaptive import RISE  # noqa: PLC0415 - its network has imported it

        fields["adaptation"] = _constant(name, _kept(module.adaptation), units, dtype, kind)
        fields["rise"] = RISE
    return fields


def of_grid(grid: GridNeurons) -> dict[str, Any]:
    """Return the fields of `Neurons` in whole numbers."""
    leak = grid.leak if isinstance(grid.leak, int) else grid.leak.cpu().numpy()
    return {
        "kind": "whole",
        "threshold": grid.thresholds.cpu().numpy().astype(np.int32),
        "leak": np.atleast_1d(np.asarray(leak, np.int32)),
        "reset": None if grid.resets is None else grid.resets.cpu().numpy().astype(np.int32),
    }


def _kept(decay: Any) -> Any:
    from snnprune.nn.models.decays import bounded  # noqa: PLC0415 - its network has imported it

    return bounded(decay)


def _number(name: str, key: str, value: Any) -> float:
    """Return a constant of a layer, which is one finite number.

    Raises:
        UserError: it is not.
    """
    several = isinstance(value, torch.Tensor) and value.numel() != 1
    number = math.nan if several else float(value)
    if not math.isfinite(number):
        raise UserError(
            f"layer '{name}' has {key} = {'a tensor' if several else value}, and an event-driven network "
            "needs one finite number"
        )
    return number


def _array(number: float, dtype: np.dtype[Any]) -> Array:
    with np.errstate(over="ignore"):  # what is too large for float32 is found to be not finite
        return np.array([number], dtype)


def _constant(name: str, value: Any, units: int | None, dtype: np.dtype[Any], kind: str) -> Array:
    """Return a constant [1] or [units]. One number of "adaptive" stays float64, as Python computes with it.

    Raises:
        UserError: it is not finite, or does not stand for the units of a row.
    """
    if not isinstance(value, torch.Tensor):
        number = _number(name, "a constant", value)
        return _array(number, np.dtype(np.float64) if kind == "adaptive" else dtype)
    numbers: Array = value.detach().double().cpu().numpy().reshape(-1)
    if len(numbers) not in (1, units):
        raise UserError(
            f"layer '{name}' has {len(numbers)} time constants, which do not stand for the units of a row: "
            "flatten what it reads first"
        )
    if not np.isfinite(numbers).all():
        raise UserError(f"layer '{name}' has a time constant that is no finite number")
    return numbers.astype(dtype)
