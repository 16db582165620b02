"""The configuration of a run: frozen dataclasses that the YAML file and the command line both fill.

A default stands here, beside its reason, unless the room that uses it has a better one (a method's
constants stand in the method's own class, with their equations).
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal


@dataclass(frozen=True)
class DataConfig:
    """Which recordings or images, and how they become frames.

    Attributes:
        name: a data set (`snnprune list` names them).
        root: folder that holds it; without one, the folder that SNNPRUNE_DATA names.
        cache: folder for binned frames; without one, the user's cache folder.
        time_steps: number of frames T that a recording is cut into, or steps that an image is shown for.
        binning: equal spans of time, equal counts of events, or Tonic's integer-width bins (which drop the
            events after the last whole bin).
        encoding: how a still image becomes T frames: the image itself at every step, or Poisson spikes
            with the pixel as their probability.
        validation: share of the training samples kept for validation, where the data set has no split of its
            own.
        samples: train on so many samples alone, as many of each class: the first of it. Validation and test
            sets stay as they are.
        classes: labels of the classes to tell apart, joined by commas ("0,1,2,3,4"); all without them.
        download: fetch the data set into `root` when it is not there.
        skip_corrupt: leave unreadable recordings out, with a count, and go on.

    Examples:
        >>> import snnprune
        >>> snnprune.DataConfig("nmnist", time_steps=5).binning
        'time'
    """

    name: str = "digits-events"
    root: str | None = None
    cache: str | None = None
    time_steps: int = 10
    binning: Literal["time", "count", "tonic"] = "time"
    encoding: Literal["direct", "poisson"] = "direct"
    validation: float = 0.1
    samples: int | None = None
    classes: str | None = None
    download: bool = False
    skip_corrupt: bool = False


@dataclass(frozen=True)
class ModelConfig:
    """Which network.

    Attributes:
        name: a model (`snnprune list` names them).
        hidden: units of the hidden layer; without a number, the model's own.
        detach_reset: keep the reset of the membrane out of the gradient. The paper's equations keep it in.
        activation: of a network without time; the BSP and BDNN papers have sigmoid units.
        dropout: share of the hidden fully connected units that each training step leaves out.
        accelerate: train with fused neurons, and convolutions that have their channels innermost, in a
            fraction of SpikingJelly's time (docs/benchmarks.md). The neurons spike as SpikingJelly's do, bit
            for bit; the convolutions add up in another order. Without, SpikingJelly's own layers run. What is
            saved is SpikingJelly's either way.

    Examples:
        >>> import snnprune
        >>> snnprune.ModelConfig("mlp-snn", hidden=300).accelerate
        True
    """

    name: str = "conv-snn"
    hidden: int | None = None
    detach_reset: bool = False
    activation: Literal["relu", "gelu", "sigmoid"] = "relu"
    dropout: float = 0.0
    accelerate: bool = True


@dataclass(frozen=True)
class MethodConfig:
    """Which pruning method, and how much.

    Attributes:
        name: a method (`snnprune list` names them); `dense` prunes nothing.
        target: share of all weights to prune by the end of the run, or null for the method's own stopping
            (for DPAP the paper's fixed epsilon). 0.6 is where the DPAP paper sees its best accuracy.
        structured: how much of the target comes from whole channels and neurons, as a share of the
            log-survival of weights; the rest comes from single synapses.
        options: constants of the method by name, in place of its own.
        compact_every: take the dead out of the network at the start of every so many epochs, or null to keep
            them at zero until the end. Decisions are the same. A cut takes less time than a step, so it pays
            in every epoch in which something died. Networks and methods that cannot be cut are masked.

    Examples:
        >>> import snnprune
        >>> snnprune.MethodConfig("dpap", target=0.8, options={"eta": 30.0}).structured
        0.5
    """

    name: str = "dpap"
    target: float | None = 0.6
    structured: float = 0.5
    options: dict[str, Any] = field(default_factory=dict)
    compact_every: int | None = 1


@dataclass(frozen=True)
class TrainConfig:
    """How the network is trained.

    Attributes:
        epochs: passes over the training set.
        batch_size: samples of one optimiser step, of all processes together.
        optimizer: the optimiser.
        lr: learning rate. 1e-3 with Adam is what public code of the paper's laboratory uses on these nets.
        weight_decay: of the optimiser.
        momentum: of SGD.
        schedule: learning rate constant, times `step_gamma` every `step_epochs`, or cosine to zero.
        step_epochs: epochs between two steps of the step schedule.
        step_gamma: factor of the step schedule.
        warmup_epochs: epochs of linear rise before the cosine.
        loss: mean squared error on output rates (or logits), cross-entropy on the softmax of logits, mean
            squared error on that, or the one that the model names.
        seed: of weights, data order and noise; with the same seed, machine and thread count a run repeats
            bit for bit.
        init: weights to start from: the folder of a run, a checkpoint, or a safetensors file of this network.
        device: cpu, cuda, or auto.
        devices: processes on each machine, a GPU each where there are GPUs; `batch_size` is divided among
            them (docs/distributed.md).
        nodes: machines; each is started with torchrun or srun.
        precision: of layers in training and its tests. With bf16 and fp16 (the latter on GPUs alone) neurons,
            traces, scores and the optimiser stay in float32 (docs/distributed.md).
        threads: CPU threads; without a number, torch's own choice.
        twin: train the unpruned network with the same budget beside it, for the final table.
        export_check: name before training what a format could not hold afterwards: nir, or null.

    Examples:
        >>> import snnprune
        >>> snnprune.TrainConfig(epochs=60, seed=1).optimizer
        'adam'
    """

    epochs: int = 12
    batch_size: int = 50
    optimizer: Literal["adam", "adamw", "sgd"] = "adam"
    lr: float = 1e-3
    weight_decay: float = 0.0
    momentum: float = 0.9
    schedule: Literal["constant", "step", "cosine"] = "constant"
    step_epochs: int = 40
    step_gamma: float = 0.1
    warmup_epochs: int = 0
    loss: Literal["auto", "mse", "cross-entropy", "softmax-mse"] = "auto"
    seed: int = 0
    init: str | None = None
    device: Literal["auto", "cpu", "cuda"] = "auto"
    devices: int = 1
    nodes: int = 1
    precision: Literal["float32", "bf16", "fp16"] = "float32"
    threads: int | None = None
    twin: bool = True
    export_check: Literal["nir"] | None = None


@dataclass(frozen=True)
class RunConfig:
    """Everything that decides a run's numbers.

    Examples:
        >>> import snnprune
        >>> config = snnprune.RunConfig(method=snnprune.MethodConfig(target=0.8))
        >>> config.method.name, config.data.name, config.train.epochs
        ('dpap', 'digits-events', 12)
    """

    data: DataConfig = field(default_factory=DataConfig)
    model: ModelConfig = field(default_factory=ModelConfig)
    method: MethodConfig = field(default_factory=MethodConfig)
    train: TrainConfig = field(default_factory=TrainConfig)
