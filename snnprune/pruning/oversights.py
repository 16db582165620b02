"""Warnings for a training loop, each given once: a forgotten call, a missed target, an emptied layer."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING

from snnprune.common import ranks
from snnprune.network.weights import fixed_layers
from snnprune.pruning.measures import MEASURED, WHAT
from snnprune.pruning.reach import MISSED, why
from snnprune.pruning.solver import FLOOR, share_of

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping, Sequence

    from torch import nn
    from torch.optim import Optimizer

    from snnprune.common.errors import CompactionError
    from snnprune.network.cost import Rates
    from snnprune.network.firing import Firing
    from snnprune.network.topology import Topology
    from snnprune.pruning.clock import Clock
    from snnprune.pruning.pruned import Pruned
    from snnprune.pruning.target import Plan, Target

ENOUGH = 6  # epochs: decisions begin after the second one, and tied scores need a few epochs to separate

DRIFT = 0.02
"""Share by which a measured target may be missed: firing changes from batch to batch and by a decision."""

SHOWN = 3  # names of layers in a sentence

NO_STEP = (
    "an epoch ended and the pruner saw no batch of it: call pruner.step(optimizer) after every "
    "optimizer.step(); without this call, no activity is recorded and pruned weights are trained again"
)


NO_STEP_RAN = (
    "an epoch ended and the pruner saw no batch of it: pruner.step() was called, but no optimizer.step() ran "
    "before it. A loss scaler skips steps whose gradients are inf or NaN; otherwise give pruner.step() the "
    "optimiser that steps"
)


NO_ACTIVITY = (
    "an epoch ended and no training of the network was seen in it, so a method that watches activity learned "
    "nothing: the forward before pruner.step() has to run in training mode (model.train()), with gradients, "
    "through the layers of the network that the pruner was given, and not under torch.vmap"
)


LEFT_OUT = (
    "{optimizer} trains weights of the network, and pruner.step() was never given it: the method may act "
    "before it has stepped. Call pruner.step(optimizer) after each of them"
)


BEGUN = (
    "layers that did not learn when the pruner was made (requires_grad was False) learn now and stay whole: "
    "{layers}; to prune them, make a new pruner, call new.inherit(pruner.state_dict()), and close this one"
)

CEASED = (
    "layers that no longer learn (requires_grad is False) are pruned all the same: {layers}; to keep them as "
    "they are, make a new pruner, call new.inherit(pruner.state_dict()), and close this one"
)

IDLE = (
    "no optimiser trains layers that are pruned: {layers}; to keep them whole, make the pruner with "
    "exclude=..., or set their requires_grad to False before it is made"
)


EARLY = (
    "training ended with epoch {epoch} of {epochs}, and {rate:.1%} of the {what} are pruned, not "
    "{target:.1%}: train for all {epochs} epochs, or give epochs= the number that will be trained"
)


COARSE = (
    "whole units are pruned (heads, channels or neurons), and the target lies between two numbers of them: "
    "choose another target, or a method that prunes single synapses, too"
)

NO_MORE = (
    "the method found no more to prune: check its options, which layers are kept whole, and how much a whole "
    "unit is, if it prunes nothing smaller"
)


SILENCED = (
    "layer {layer} is silent ({rate:.2%} of its outputs are active) since weights were pruned, so the layers "
    "behind it learn nothing: prune less, over more epochs, or keep the layer in front of it whole with "
    "exclude=..."
)

UNKNOWN = (
    "whether the target of {what} is reached is not known: no batch was seen whose activity could be measured"
)

BEYOND_TARGET = (
    "{rate:.1%} of the {what} are pruned, more than {target:.1%}: what is left fires less than it did when "
    "the last of it was pruned, or a tighter target decided"
)

BEYOND = (
    "an epoch ended beyond the {epochs} that the pruner was made for, and its schedule is over: pass the "
    "length of the whole run as epochs=..."
)


class TargetMissedWarning(UserWarning):
    """A run has ended, and less is pruned than the target asks for.

    Examples:
        >>> import warnings
        >>> import snnprune
        >>> warnings.simplefilter("ignore", snnprune.TargetMissedWarning)
    """


def misses(rate: float, target: float, measure: str = "weights") -> bool:
    """Tell whether a share misses a target by more than `MISSED`, or `DRIFT` where it is measured."""
    return rate <= target - (DRIFT if measure in MEASURED else MISSED)


def exceeds(rate: float, target: Target) -> bool:
    """Tell whether more than a measured target has gone, by more than `DRIFT`."""
    return target.measure in MEASURED and rate > target.rate + DRIFT


def shortfall(
    rate: float,
    target: float,
    epochs: int,
    advice: str,
    what: str = "weights",
    *,
    planned: float | None = None,
    measure: str = "weights",
) -> str | None:
    """Return a sentence on a target that was missed, None where it was reached.

    Args:
        rate: share that is pruned.
        target: share that was asked for.
        epochs: length of the run.
        advice: what to do if the run was too short.
        what: name of what the two numbers are shares of.
        planned: the share that whole units can give; None where that is not known.
        measure: what the two numbers are shares of.
    """
    if not misses(rate, target, measure):
        return None
    if planned is not None and misses(planned, target) and not misses(rate, planned):
        why = COARSE
    elif epochs < ENOUGH:
        why = f"a target takes about {ENOUGH} epochs, and the run had {epochs}: {advice}"
    else:
        why = NO_MORE
    return f"{rate:.1%} of the {what} are pruned, not {target:.1%}: {why}"


def _listed(layers: list[str]) -> str:
    return ", ".join(layers[:SHOWN]) + (f" and {len(layers) - SHOWN} more" if len(layers) > SHOWN else "")


class Oversights:
    """Checks a training loop after each epoch, and warns; of several processes, only the first one warns."""

    def __init__(self) -> None:
        self._batches: int | None = 0
        self._active = self._skipped = self._open = self._trained = False
        self._said: set[str] = set()
        self._silent: set[str] | None = None
        self._asked = 0

    def resume(self) -> None:
        """Go on from a checkpoint, which may have been taken behind the last batch of an epoch."""
        self._batches, self._active = None, True

    def look_at_batch(self, *, active: bool) -> None:
        """Note whether a batch had the activity that its method watches."""
        self._active = self._active or active
        self._open = self._trained = True

    def look_at_skip(self) -> None:
        """Note a call of `Pruner.step` behind which no optimiser had stepped."""
        self._skipped = True

    def look_at_epoch(self, clock: Clock, odd: Sequence[Firing], *, pruned: bool = False) -> None:
        """Warn where the epoch that ends had no batch, no activity in its batches, or ``odd`` layers.

        Args:
            clock: of the run.
            odd: layers that were silent or saturated in the first batch.
            pruned: something was pruned before this batch. A layer that fired in the epoch before and is
                silent now is then said to be silenced.
        """
        if clock.batches == self._batches:
            self._say(NO_STEP_RAN if self._skipped else NO_STEP)
        elif not self._active:
            self._say(NO_ACTIVITY)
        if clock.epoch >= clock.epochs:
            self._say(BEYOND.format(epochs=clock.epochs))
        silent = {layer.layer for layer in odd if layer.state == "silent"}
        for layer in odd:
            # What is said once names the layer alone, because its rate is another one in each epoch.
            if pruned and self._silent is not None and layer.layer in silent - self._silent:
                said = SILENCED.format(layer=layer.layer, rate=layer.rate)
                self._say(said, once=f"{layer.layer} silenced")
            else:
                self._say(str(layer), once=layer.layer)
        self._silent = silent
        self._batches = clock.batches
        self._active = self._skipped = self._open = False

    def look_at_optimizers(self, left_out: Optimizer | None) -> None:
        """Warn where an optimiser trains the network that `Pruner.step` was not told of."""
        if left_out is not None:
            self._say(LEFT_OUT.format(optimizer=type(left_out).__name__))

    def look_at_learning(self, model: nn.Module, topology: Topology, trained: Collection[int]) -> None:
        """Warn where a layer has begun or ceased to learn, or is in none of the ids that optimisers hold."""
        if not any(p.requires_grad for p in model.parameters()):
            return
        fixed = fixed_layers(model, topology.projections)
        pruned = [p for p in topology.projections.values() if p.frozen is None and not p.output]
        for sentence, layers in (
            (BEGUN, [name for name in topology.fixed if name not in fixed]),
            (CEASED, [p.name for p in pruned if p.name in fixed]),
            (IDLE, [p.name for p in pruned if trained and id(model.get_parameter(p.weight)) not in trained]),
        ):
            if layers:
                self._say(sentence.format(layers=_listed(layers)))

    def look_at_layers(self, target: Target | None, rates: Rates) -> None:
        """Name layers and populations of which less than the floor is left, each once.

        With a target, that is its floor, and layers with a share of their own are left out.
        """
        floor, own = (FLOOR, {}) if target is None else (target.floor, target.layers)
        counts = [(f"weights of layer '{n}'", n, c.left, c.dense) for n, c in rates.layers.items()]
        counts += [(f"units of population '{n}'", n, *left) for n, left in rates.neurons_left.items()]
        low = {
            what: f"{left:,} of {dense:,} {what}"
            for what, name, left, dense in counts
            if left < floor * dense and share_of(own, [name]) is None and what not in self._said
        }
        self._said |= set(low)
        if low:
            self._say(
                f"only {', '.join(low.values())} are left, less than {floor:.1%}: a layer this small passes "
                "on almost nothing; prune less, or keep the layer whole with exclude=..."
            )

    def look_at_end(
        self,
        clock: Clock,
        targets: Sequence[Target],
        reached: Callable[[], Mapping[str, float]],
        *,
        over: bool,
        plans: Callable[[], Sequence[Plan]] = list,
    ) -> None:
        """Warn if a target was missed.

        Args:
            clock: of the run.
            targets: what was asked for.
            reached: returns the share that is pruned, by measure.
            over: the last decision is taken; otherwise training has ended before it.
            plans: returns what the method means to reach.
        """
        if not targets or not (clock.batches if over else self._trained):
            return
        shares = reached()
        for target in targets:
            rate = shares.get(target.measure)
            if rate is None:
                self._say(UNKNOWN.format(what=WHAT[target.measure]), TargetMissedWarning)
            elif misses(rate, target.rate, target.measure) or exceeds(rate, target):
                self._say(self._missed(clock, target, rate, plans(), over=over), TargetMissedWarning)

    def _missed(self, clock: Clock, target: Target, rate: float, plans: Sequence[Plan], *, over: bool) -> str:
        """Return a sentence on a target of which ``rate`` was reached."""
        what, epoch = WHAT[target.measure], clock.epoch + self._open
        plan = next((plan for plan in plans if plan.target == target), None)
        if exceeds(rate, target):
            return BEYOND_TARGET.format(rate=rate, what=what, target=target.rate)
        if not over:
            return EARLY.format(epoch=epoch, epochs=clock.epochs, rate=rate, what=what, target=target.rate)
        if target.measure in MEASURED and plan is not None and misses(plan.rate, target.rate):
            return f"{rate:.1%} of the {what} are pruned, not {target.rate:.1%}, because {why(plan.solver)}"
        coarse = None if plan is None else plan.rate
        advice = "plan and train for more epochs"
        return str(
            shortfall(rate, target.rate, clock.epochs, advice, what, planned=coarse, measure=target.measure)
        )

    def look_at_moments(self, pruned: Pruned) -> None:
        """Warn, when an optimiser is seen first, where cuts during training are not for it."""
        if len(pruned.optimizers) != self._asked:
            self._asked = len(pruned.optimizers)
            for sentence in pruned.outlook():
                self._say(sentence)

    def look_at_refusal(self, error: CompactionError) -> None:
        """Warn that a cut during training was not made; masks keep the decision."""
        self._say(f"{error}; training goes on with masks", once=str(error).partition(": ")[0])

    def _say(self, sentence: str, kind: type[Warning] = UserWarning, *, once: str | None = None) -> None:
        """Warn, if the same was not said before: the sentence, or what of it stands in ``once``."""
        if (once or sentence) not in self._said and ranks.is_first():
            warnings.warn(sentence, kind, stacklevel=4)
        self._said.add(once or sentence)
