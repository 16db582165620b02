"""Event-driven contrastive divergence: a spiking Boltzmann machine learns from what it sees and recalls."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

from snnprune.nn.plasticity.watching import Rule

if TYPE_CHECKING:
    from collections.abc import Callable

    from torch import Tensor, nn

    from snnprune.nn.plasticity.watching import Watched

CHANCE = 0.5
"""Share of spikes that a synapse transmits, as in Neftci et al. 2016 **[reading]**."""

CLAMPED = 0.5
"""Spikes in a step of the unit of the right class, while a sample is shown."""

SETTLING = 0.25
"""Share of each phase in which nothing is learnt, so that the potentials can follow."""


class EventDrivenCD(Rule):
    """Changes the weights of a two-layer network by spikes with data, less spikes in a reconstruction.

    A restricted Boltzmann machine of leaky neurons: visible ones, one for each input and one for each class,
    and hidden ones. Both directions have the same weights: W of ``layer`` between inputs and hidden neurons,
    U of ``readout`` between hidden neurons and classes. A sample is learnt in two phases of T steps:

    - with data: visible neurons fire as the sample says, and the unit of its class with a fixed chance;
    - in reconstruction: they are driven by the hidden neurons alone.

    A spike arrives one step later. Each synapse transmits it with the chance p, and then with the weight over
    p, so that currents have the mean W s and, drawn anew for each neuron and step, the variance
    (1 - p) / p W^2 s. Neurons are those of the network, h = v - v / tau + x, which fire at the threshold and
    are then at 0. With x_i and x_j the traces of both sides, x[t] = x[t-1] - x[t-1] / tau_x + s[t], each
    weight changes by::

        dw_ji = eta / (B T') (sum with data - sum in reconstruction) of (s_j x_i + x_j s_i) / 2

    over the B samples and the T' steps of a phase that count, and biases by the spikes of their neurons.

    Source: Neftci, Das, Pedroni, Kreutz-Delgado and Cauwenberghs, Frontiers in Neuroscience 7:272, 2014, for
    dw = eta g(t) STDP, g = 1 with data and -1 in reconstruction; Neftci, Pedroni, Joshi, Al-Shedivat and
    Cauwenberghs, Frontiers in Neuroscience 10:241, 2016, for synapses that fail at random. **[reading]** The
    papers were not at hand, and constants are ours. Currents have the mean and the variance of failing
    synapses and a normal distribution, the weights of a batch are changed once, by the sum over its samples,
    and the STDP window is symmetric.

    Args:
        layer: from inputs to hidden neurons, with a bias.
        neurons: the hidden neurons, with ``tau`` and ``v_threshold``.
        readout: from hidden neurons to classes, with a bias.
        visible: [I], the biases of the visible neurons; it is changed in place.
        eta: learning rate.
        tau: tau_x, in steps.
        chance: p.
        clamped: spikes in a step of the unit of the right class, with data.
        settling: share of each phase that does not count.

    Raises:
        ValueError: a chance is not in (0, 1], ``settling`` not in [0, 1), or tau is below 1.

    Examples:
        >>> import torch
        >>> from spikingjelly.activation_based import functional, layer, neuron
        >>> from torch import nn
        >>> from snnprune.nn.plasticity import EventDrivenCD
        >>> net = nn.Sequential(layer.Linear(4, 3), neuron.LIFNode(2.0, False), layer.Linear(3, 2))
        >>> _ = functional.set_step_mode(net, "m")
        >>> rule = EventDrivenCD(net[0], net[1], net[2], torch.zeros(4))
        >>> with rule.watching() as seen:
        ...     _ = net(torch.ones(8, 5, 4))
        >>> rule.step(seen, torch.tensor([0, 1, 1, 0, 1]), generator=torch.Generator().manual_seed(0))
    """

    def __init__(
        self,
        layer: nn.Linear,
        neurons: nn.Module,
        readout: nn.Linear,
        visible: Tensor,
        *,
        eta: float = 0.02,
        tau: float = 2.0,
        chance: float = CHANCE,
        clamped: float = CLAMPED,
        settling: float = SETTLING,
    ) -> None:
        if not (0 < chance <= 1 and 0 < clamped <= 1 and 0 <= settling < 1 and tau >= 1):
            raise ValueError(
                "chance and clamped must be in (0, 1], settling in [0, 1) and tau at least 1 step: "
                f"{chance}, {clamped}, {settling} and {tau} came"
            )
        super().__init__(layer, neurons)
        self.readout, self.visible = readout, visible
        self.eta, self.tau, self.chance, self.clamped, self.settling = eta, tau, chance, clamped, settling

    @torch.no_grad()
    def changes(self, pre: Tensor, labels: Tensor, generator: torch.Generator | None = None) -> list[Tensor]:
        """Return the changes of W [N, I], the hidden biases [N], U [K, N], the biases [K] of classes and [I].

        Args:
            pre: spikes [T, B, I] of the inputs.
            labels: classes [B] of the samples.
            generator: of the failures of synapses and the spikes of classes; None: torch's own.
        """
        machine = _Machine(self, pre.shape[1], generator)
        steps, first = len(pre), int(self.settling * len(pre))
        right = torch.zeros_like(machine.classes).scatter_(
            1, labels.to(pre.device).unsqueeze(1), self.clamped
        )
        for sign in (1.0, -1.0):
            for step in range(steps):
                if sign > 0:
                    shown = pre[step].to(machine.inputs), torch.bernoulli(right, generator=generator)
                else:
                    shown = machine.reconstructed()
                machine.advance(*shown)
                if step >= first:
                    machine.count(sign)
        scale = self.eta / (pre.shape[1] * (steps - first))
        return [total * scale for total in machine.sums]

    @torch.no_grad()
    def step(
        self,
        seen: Watched,
        labels: Tensor,
        alive: Callable[[nn.Module], Tensor | None] = lambda _: None,
        generator: torch.Generator | None = None,
    ) -> None:
        """Change weights and biases by a batch that was watched.

        Args:
            seen: what `watching` has handed out.
            labels: classes [B].
            alive: returns the synapses of a layer that there are, bool as its weights; None: all.
            generator: as for `changes`.

        Raises:
            UserError: no forward was watched.
        """
        found = self.changes(seen.both()[0], labels, generator)
        held = self.layer.weight, self.layer.bias, self.readout.weight, self.readout.bias, self.visible
        for tensor, change in zip(held, found, strict=True):
            tensor.detach().add_(change)
        for each in (self.layer, self.readout):
            mask = alive(each)
            if mask is not None:
                each.weight.detach().mul_(mask)


class _Machine:
    """The machine at one step of a batch: potentials, spikes, traces, and what was counted.

    Attributes:
        inputs, hidden, classes: spikes [B, I], [B, N] and [B, K] of the step.
        sums: of the weights and biases, in the order of `EventDrivenCD.changes`.
    """

    def __init__(self, rule: EventDrivenCD, batch: int, generator: torch.Generator | None) -> None:
        self.rule, self.generator = rule, generator
        neurons: Any = rule.neurons
        self.tau, self.threshold = float(neurons.tau), float(neurons.v_threshold)
        self.weight, self.out = rule.layer.weight.detach(), rule.readout.weight.detach()
        self.squares = self.weight.square(), self.out.square()
        units, size = self.weight.shape
        self.inputs, self.hidden, self.classes = (
            self.weight.new_zeros(batch, count) for count in (size, units, len(self.out))
        )
        self.potentials = [torch.zeros_like(each) for each in (self.inputs, self.hidden, self.classes)]
        self.traces = [torch.zeros_like(each) for each in (self.inputs, self.hidden, self.classes)]
        biases = rule.layer.bias, rule.readout.bias, rule.visible
        self.biases = [each.detach() for each in biases]
        self.sums = [torch.zeros_like(self.weight), torch.zeros_like(biases[0])]
        self.sums += [torch.zeros_like(self.out), torch.zeros_like(biases[1]), torch.zeros_like(biases[2])]

    def reconstructed(self) -> tuple[Tensor, Tensor]:
        """Return the spikes of the visible neurons, which the hidden ones of the step before drive."""
        found = []
        for place, weight, square, bias in (
            (0, self.weight, self.squares[0], self.biases[2]),
            (2, self.out.T, self.squares[1].T, self.biases[1]),
        ):
            current = self._noisy(self.hidden @ weight + bias, self.hidden @ square)
            found.append(self._fire(place, current))
        return found[0], found[1]

    def advance(self, inputs: Tensor, classes: Tensor) -> None:
        """Let the hidden neurons see the visible ones of the step before; those of this step are given."""
        mean = self.inputs @ self.weight.T + self.classes @ self.out + self.biases[0]
        square = self.inputs @ self.squares[0].T + self.classes @ self.squares[1]
        hidden = self._fire(1, self._noisy(mean, square))
        self.inputs, self.hidden, self.classes = inputs, hidden, classes
        for trace, spikes in zip(self.traces, (inputs, hidden, classes), strict=True):
            trace.sub_(trace / self.rule.tau).add_(spikes)

    def count(self, sign: float) -> None:
        """Add a step to the sums."""
        inputs, hidden, classes = self.traces
        weight, bias, out, out_bias, visible = self.sums
        half = sign / 2
        weight.addmm_(self.hidden.T, inputs, alpha=half).addmm_(hidden.T, self.inputs, alpha=half)
        out.addmm_(self.classes.T, hidden, alpha=half).addmm_(classes.T, self.hidden, alpha=half)
        for total, spikes in ((bias, self.hidden), (out_bias, self.classes), (visible, self.inputs)):
            total.add_(spikes.sum(0), alpha=sign)

    def _fire(self, place: int, current: Tensor) -> Tensor:
        v = self.potentials[place]
        h = v - v / self.tau + current
        spikes = (h >= self.threshold).to(h)
        self.potentials[place] = h * (1 - spikes)
        return spikes

    def _noisy(self, mean: Tensor, square: Tensor) -> Tensor:
        """Return currents of synapses that fail: with their mean and their variance."""
        chance = self.rule.chance
        if chance == 1:
            return mean
        drawn = torch.empty_like(mean).normal_(generator=self.generator)
        return mean + drawn * (square * ((1 - chance) / chance)).sqrt_()
