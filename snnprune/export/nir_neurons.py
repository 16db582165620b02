"""Neurons of snnprune as nodes of NIR, and back: SpikingJelly's exporter and importer do not know them.

While these make or read the graph, a layer of SpikingJelly's LIF neurons stands in for each.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import nn

from snnprune.common.errors import UserError
from snnprune.export.nir_conventions import constants
from snnprune.export.nir_factors import NEAR

if TYPE_CHECKING:
    from collections.abc import Sequence

KNOWN = {"LeakyIntegrator", "HeterogeneousLIFNode"}
"""Classes that can be written. A decay k is written as the time constant dt / (1 - k), with dt the length of
a time step in seconds."""


ROUNDING = 1e-6
"""How far a decay may lie beyond its bounds: time constants in float32 are rounded."""


def is_own(module: nn.Module) -> bool:
    """Tell whether ``module`` is a neuron of snnprune that can be written."""
    return type(module).__name__ in KNOWN and type(module).__module__.startswith("snnprune.nn.")


def stand_in() -> nn.Module:
    """Return a layer of neurons that SpikingJelly's exporter knows."""
    from spikingjelly.activation_based import neuron  # noqa: PLC0415 - slow to import

    return neuron.LIFNode(step_mode="m")


def node_of(module: Any, shape: Sequence[int], dt: float) -> Any:
    """Return the NIR node of a layer of ``module``, for samples of ``shape``."""
    import nir  # noqa: PLC0415 - an extra

    decay = module.decay
    if isinstance(decay, torch.Tensor):
        from snnprune.nn.models.decays import bounded  # noqa: PLC0415 - as `stand_in`

        decay = torch.as_tensor(bounded(decay.detach())).double().cpu().numpy()
    tau = np.broadcast_to(dt / (1.0 - decay), shape).copy()
    leak = {"tau": tau, "r": np.ones(shape), "v_leak": np.zeros(shape)}
    if not hasattr(module, "v_threshold"):
        return nir.LI(**leak)
    return nir.LIF(
        **leak, v_threshold=np.full(shape, module.v_threshold), v_reset=np.full(shape, module.v_reset)
    )


def module_of(name: str, node: Any, dt: float) -> nn.Module | None:
    """Return the layer that the NIR ``node`` stands for, in multi-step mode; None if SpikingJelly knows it.

    Raises:
        UserError: leaky integrators with constants that none of ours has.
    """
    import nir  # noqa: PLC0415 - an extra

    if not isinstance(node, nir.LI | nir.LIF) or node.tau.size == 0:
        return None
    with np.errstate(divide="ignore", invalid="ignore"):  # whoever reads a time constant of 0 refuses it
        decays = 1.0 - dt / node.tau
    plain = bool((node.r == 1).all() and (node.v_leak == 0).all())
    if isinstance(node, nir.LI):
        from snnprune.nn.models.integrator import LeakyIntegrator  # noqa: PLC0415 - as `stand_in`

        if not plain or np.ptp(decays) > 0 or not 0 <= decays.min() < 1:
            raise UserError(
                f"its leaky integrators '{name}' have r other than 1, v_leak other than 0, time constants of "
                f"their own, or below a time step of {dt:g} s, and only integrators without these can be read"
            )
        return LeakyIntegrator(float(decays.min()))
    return _heterogeneous(node, decays) if plain and np.ptp(decays) > 0 else None


def _heterogeneous(node: Any, decays: np.ndarray[Any, Any]) -> nn.Module | None:
    from snnprune.nn.models.decays import BOUNDS  # noqa: PLC0415 - as `stand_in`
    from snnprune.nn.models.heterogeneous import HeterogeneousLIFNode  # noqa: PLC0415 - as `stand_in`

    within = np.clip(decays, *BOUNDS)
    if (
        not np.allclose(decays, within, 0, ROUNDING)
        or np.ptp(node.v_threshold) > 0
        or np.ptp(node.v_reset) > 0
        or decays.ndim != 1
    ):
        return None
    made = HeterogeneousLIFNode(decays.size, step_mode="m")
    made.v_threshold, made.v_reset = float(node.v_threshold.flat[0]), float(node.v_reset.flat[0])
    made.decay = nn.Parameter(torch.from_numpy(within))
    return made


def why_not(node: Any, dt: float) -> str | None:
    """Return why SpikingJelly has no neurons like those of the NIR ``node``, or None.

    Args:
        node: `LIF`, `IF` or `CubaLIF`; of others nothing is said.
        dt: seconds of a time step.
    """
    kind = type(node).__name__
    if kind not in ("LIF", "IF", "CubaLIF"):
        return None
    values = dict(constants(node))
    for name, value in values.items():
        if value.size and not np.allclose(value, value.flat[0], NEAR, 0):
            return f"has different {name} for its neurons"
    found = {name: float(value.flat[0]) for name, value in values.items() if value.size}
    return _WHY[kind](found, dt) if kind in _WHY else None


def _why_not_lif(found: dict[str, float], dt: float) -> str | None:
    if not found["tau"] > dt:
        return f"has a time constant of {found['tau']:g} s, not above a time step of {dt:g} s"
    same = np.isclose(found["v_leak"], found["v_reset"], NEAR)
    return None if same else "has v_leak other than v_reset"


def _why_not_cuba(found: dict[str, float], dt: float) -> str | None:
    if min(found["tau_syn"], found["tau_mem"]) < dt:
        return f"has time constants below a time step of {dt:g} s"
    gains = [found["r"] * dt / found["tau_mem"], found["w_in"] * dt / found["tau_syn"]]
    if np.allclose(gains, 1, NEAR) and not found["v_leak"]:
        return None
    return "has r other than tau_mem / dt, w_in other than tau_syn / dt, or v_leak other than 0"


_WHY = {"LIF": _why_not_lif, "CubaLIF": _why_not_cuba}


def stand_in_node(node: Any) -> Any:
    """Return the NIR node of `stand_in`, for the samples of ``node``."""
    import nir  # noqa: PLC0415 - an extra

    ones, zeros = np.ones(node.tau.shape), np.zeros(node.tau.shape)
    return nir.LIF(tau=ones, r=ones, v_leak=zeros, v_threshold=ones, v_reset=zeros)
