"""A layer of neurons that compete, and the network of Diehl and Cook, which learns without gradients."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar

import torch
from spikingjelly.activation_based import layer, neuron, surrogate
from torch import Tensor, nn

from snnprune.nn.models.notation import check_sizes
from snnprune.nn.plasticity import LocalNetwork, TraceSTDP
from snnprune.nn.plasticity.kernels import compete

if TYPE_CHECKING:
    from snnprune.config.schema import ModelConfig

HIDDEN = 400
"""Units of the middle one of the authors' networks."""

TOTAL = 0.1
"""What the weights of a unit sum up to, for each input: the authors' 78.4 for 784 pixels."""

THRESHOLD = 0.015
"""V_th, for each input: a new unit that sees a digit of MNIST for some steps fires."""

RISE = 0.02
"""How far a spike raises theta, as a share of V_th."""

DECAY = 3.5e-5
"""How much of theta is lost with each sample: the authors' 10^7 ms, where a sample takes 350 ms."""


class WinnerTakesAllNode(neuron.BaseNode):
    """Leaky units of which one at most fires in a step, with thresholds that rise with their own spikes.

    With x the current [..., N] of a step, tau the time constant in steps and c the inhibition::

        h[t]   = v[t-1] - v[t-1] / tau + x[t]                               v[-1] = 0
        s_j[t] = 1 if h_j[t] >= V_th + theta_j and no other unit is further above its own threshold, else 0
        v_j[t] = h_j[t] (1 - c) where any unit fires, and h_j[t] where none does; 0 for the one that fires

    theta grows by `adapt`, not in a forward, so a forward changes nothing. A unit without input is silent,
    never wins, and holds nobody back.

    Source: P. Diehl and M. Cook, Frontiers in Computational Neuroscience 9:99, 2015, section 2.
    **[reading]** There each spike passes through a second, inhibitory population, which holds all other
    units down for some milliseconds; here a spike inhibits them directly and in its own step, and of those
    that would fire in it, the one that is furthest above its threshold wins; the lower index where two are
    equally far. Conductances and refractory periods are left out. Constants are measured in steps.

    Args:
        size: number of units N.
        tau: time constant of the potential, in steps.
        threshold: V_th.
        rise: what `adapt` adds to theta for each spike, in units of V_th.
        decay: share of theta that is lost with each sample.
        inhibition: c, the share of their potential that the others lose at a spike, in [0, 1].
        step_mode: "m" for currents [T, B, N], "s" for those of one step, [B, N].

    Attributes:
        theta: [N], a buffer.
        competing: names of the tensors with one entry for each unit, which discovery cannot find out by
            itself, since these units see one another.

    Raises:
        ValueError: the inhibition is out of its bounds, or tau is below 1.

    Examples:
        >>> import torch
        >>> from snnprune.nn.models.wta import WinnerTakesAllNode
        >>> node = WinnerTakesAllNode(3, tau=2.0, step_mode="m")
        >>> node(torch.tensor([[[0.8, 0.6, 0.0]], [[0.8, 0.6, 0.0]], [[0.5, 1.2, 0.0]]])).squeeze(1)
        tensor([[0., 0., 0.],
                [1., 0., 0.],
                [0., 1., 0.]])
    """

    competing: ClassVar[tuple[str, ...]] = ("theta",)
    theta: Tensor

    def __init__(
        self,
        size: int,
        *,
        tau: float = 15.0,
        threshold: float = 1.0,
        rise: float = RISE,
        decay: float = DECAY,
        inhibition: float = 1.0,
        detach_reset: bool = False,
        step_mode: str = "s",
    ) -> None:
        if tau < 1 or not 0 <= inhibition <= 1:
            raise ValueError(
                f"tau must be at least 1 step and inhibition in [0, 1], and they are {tau} and {inhibition}"
            )
        super().__init__(
            v_threshold=float(threshold),
            v_reset=0.0,
            surrogate_function=surrogate.ATan(),
            detach_reset=detach_reset,
            step_mode=step_mode,
        )
        self.tau, self.rise, self.decay, self.inhibition = float(tau), rise, decay, float(inhibition)
        self.register_buffer("theta", torch.zeros(size))

    def single_step_functional_forward(self, inputs: Any, states: Any, **_: Any) -> Any:
        """Compute one step: (current [B, N],), (potential,) to (spikes,), (potential,)."""
        v = states[0]
        h = v - v / self.tau + inputs[0]
        above = h - (self.v_threshold + self.theta)
        first = torch.zeros_like(above).scatter_(-1, above.argmax(-1, keepdim=True), 1.0)
        s = self.surrogate_function(above) * first
        reset = s.detach() if self.detach_reset else s
        fired = reset.sum(-1, keepdim=True)
        return (s,), (h * (1 - self.inhibition * fired) * (1 - reset),)

    def multi_step_forward(self, x_seq: Tensor, *args: Any, **kwargs: Any) -> Any:
        """Compute T steps: currents [T, B, N] to spikes, by one kernel where no gradient goes through."""
        known = x_seq.device.type == "cpu" and x_seq.dtype in {torch.float32, torch.float64}
        needed = torch.is_grad_enabled() and x_seq.requires_grad
        if args or kwargs or needed or self.store_v_seq or not known or x_seq.ndim != 3:
            return super().multi_step_forward(x_seq, *args, **kwargs)
        (v,) = self.materialize_states((x_seq,), (self._memories["v"],), "m")
        spikes, self._memories["v"] = torch.zeros_like(x_seq), v.detach().clone().contiguous()
        number: Any = x_seq.detach().numpy().dtype.type
        threshold = (self.v_threshold + self.theta).to(x_seq.dtype)
        compete(
            x_seq.detach().numpy(), self._memories["v"].numpy(), spikes.numpy(), threshold.numpy(),
            number(self.tau), number(self.inhibition),
        )  # fmt: skip
        return spikes

    @torch.no_grad()
    def adapt(self, spikes: Tensor) -> None:
        """Let theta follow a batch: it decays with each sample, and rises with each spike.

        theta <- theta (1 - decay)^B + rise V_th n, n the spikes of a unit in the batch. **[reading]** Within
        a batch theta is constant; with batches of one sample it moves from sample to sample.

        Args:
            spikes: [T, B, N].
        """
        lost = (1 - self.decay) ** spikes.shape[1]
        self.theta.mul_(lost).add_(spikes.sum((0, 1)), alpha=self.rise * self.v_threshold)

    def extra_repr(self) -> str:
        """Return the constants."""
        return (
            f"{len(self.theta)}, tau={self.tau:.4g}, v_threshold={self.v_threshold:.4g}, "
            f"inhibition={self.inhibition:.4g}, step_mode={self.step_mode}"
        )


class WinnerTakesAll(LocalNetwork):
    """784-N-K: N units that compete for a sample, and a readout that counts for each class its own units.

    Layers are named flatten, fc1, fc1_wta and out. ``fc1`` has weights of 0 and above, no bias, and learns by
    `TraceSTDP`. ``out`` [K, N] is set from the labels (`LocalNetwork`), and its outputs are the mean of each
    class's units at a step.

    Source: Diehl and Cook 2015, as `WinnerTakesAllNode`.
    """

    def rule(self) -> TraceSTDP:
        """Return the rule of the hidden layer, with the constants of the configuration."""
        config, fc1 = self.config, self.get_submodule("fc1")
        assert isinstance(fc1, nn.Linear)
        return TraceSTDP(
            fc1,
            self.get_submodule("fc1_wta"),
            kind=config.stdp,
            eta=config.eta,
            tau=config.trace,
            total=TOTAL * fc1.in_features,
        )


def wta_snn(config: ModelConfig, shape: tuple[int, int, int], classes: int) -> WinnerTakesAll:
    """Flatten - N units that compete - K.

    Weights begin evenly drawn from [0, 1), scaled so that those of each unit sum up to a tenth of its inputs.

    Args:
        config: settings of the model: ``hidden``, ``membrane``, ``inhibition``, ``stdp``, ``eta``, ``trace``.
        shape: channels, height and width of a frame.
        classes: units of the readout.

    Raises:
        UserError: no class, or no pixel.
    """
    check_sizes(shape, classes)
    inputs, units = shape[0] * shape[1] * shape[2], config.hidden or HIDDEN
    built = WinnerTakesAll(config)
    built.add_module("flatten", layer.Flatten(step_mode="m"))
    built.add_module("fc1", _drawn(layer.Linear(inputs, units, bias=False, step_mode="m")))
    built.add_module(
        "fc1_wta",
        WinnerTakesAllNode(
            units,
            tau=config.membrane,
            threshold=THRESHOLD * inputs,
            inhibition=config.inhibition,
            detach_reset=config.detach_reset,
            step_mode="m",
        ),
    )
    out = layer.Linear(units, classes, bias=False, step_mode="m")
    nn.init.zeros_(out.weight)
    built.add_module("out", out)
    return built


@torch.no_grad()
def _drawn(made: nn.Linear) -> nn.Linear:
    nn.init.uniform_(made.weight, 0.0, 1.0)
    made.weight.mul_(TOTAL * made.in_features / made.weight.sum(1, keepdim=True))
    return made
