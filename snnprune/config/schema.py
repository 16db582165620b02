"""The configuration of a run: frozen dataclasses that a YAML file, the command line or Python fills.

Each default stands here, beside its reason. The bounds of a value are in its type, and
`snnprune.config.check` checks them. A method's constants stand in the method itself, with their equations.
"""

from __future__ import annotations

from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Annotated, Any, Literal

from snnprune.config.changes import Listed
from snnprune.config.values import MOST, Called, Count, File, Folder, Pixels, Seconds, Share, Span, Within

MOST_STEPS = 10_000
"""Most time steps: a recording of N-MNIST then has 23 MB of frames."""

LARGEST_SEED = 2**63 - 1
"""The largest seed that torch's generators accept."""


class Usual(float):
    """A default that gives way where another value of its kind is given.

    Examples:
        >>> from snnprune.config.schema import Usual
        >>> Usual(0.6), isinstance(Usual(0.6), float)
        (0.6, True)
    """


USUAL_TARGET = Usual(0.6)
"""The rate at which the DPAP paper reports its best accuracy."""

UNDIVIDED = 0.5
"""`structured` where it decides nothing, as in unpruned twins: what files of all versions hold, whatever the
default is."""

Name = Annotated[str, Called("a name")]


@dataclass(frozen=True)
class DataConfig:
    """Which recordings or images, and how they become frames.

    Attributes:
        name: a data set (`snnprune list` names them), or "module:attribute" of your own, which has
            ``events``, ``found`` and ``load`` as `snnprune.data.source.Source`. For splits that were made by
            hand, any name.
        root: folder that holds the data set; without one, the folder that SNNPRUNE_DATA names.
        cache: folder for binned frames; without one, the user's cache folder.
        time_steps: number of frames T that a recording is cut into, or steps that an image is shown for.
        binning: equal spans of time, equal counts of events, or Tonic's integer-width bins (which drop the
            events after the last whole bin).
        encoding: how a still image becomes T frames: the image itself at every step, or Poisson spikes
            with the pixel as their probability.
        validation: share of the training samples kept for validation, where the data set has no split of its
            own.
        samples: number of training samples to use: the first ones of each class, equally many of each.
            Validation and test sets do not change.
        classes: labels of the classes to use, joined by commas ("0,1,2,3,4"); without them, all classes.
        download: download the data set into `root` if it is not there.
        skip_corrupt: leave out unreadable recordings, report how many there are, and continue.
        sensor: width and height of the camera in pixels, for files that do not say it ("346x260").
        time_unit: of the times in files that do not say it. Whole numbers are taken for microseconds.
        columns: what the columns of a table without names hold ("t,x,y,p"; "-" for one to leave out).
        stream: which stream of events to read from a file that holds several: its name or number.
        crop: keep this many pixels at the centre of the sensor ("256x256").
        size: pool the counts of neighbouring pixels to frames of this width and height ("64x64"), by whole
            numbers of pixels.
        polarity: ON and OFF in channels of their own, summed in one, or ON alone.
        bin: length of each frame ("10ms"), in place of a share of each recording; a sample then lasts
            `time_steps` of them. What a recording has beyond is left out, what it lacks stays empty.
        window: cut each recording into samples of this length ("300ms").
        stride: from the beginning of one window to that of the next; without one, the window's length.
        hot_pixels: keep the events of pixels that fire far more often than all around them, or remove them.
        augment: changes of the frames of training recordings, anew in each epoch
            ("shift=2,flip=0.5,drop=0.1,jitter=0.1"; docs/data.md).
        test: share of each class that is set aside for the test, where the recordings have no parts of their
            own; without a number, a fifth, and for a public data set the share that papers use.
        group: a pattern (a regular expression) whose match in a file's path names its group, such as a
            person: no group is in more than one of training, validation and test.

    Examples:
        >>> import snnprune
        >>> snnprune.DataConfig("nmnist", time_steps=5).binning
        'time'
    """

    name: Name = "digits-events"
    root: Folder | None = None
    cache: Folder | None = None
    time_steps: Annotated[int, Within(1, MOST_STEPS)] = 10
    binning: Literal["time", "count", "tonic"] = "time"
    encoding: Literal["direct", "poisson"] = "direct"
    validation: Share = 0.1
    samples: Count | None = None
    classes: Annotated[str, Called("labels joined by commas")] | None = None
    download: bool = False
    skip_corrupt: bool = False
    sensor: Pixels | None = None
    time_unit: Literal["s", "ms", "us", "ns"] | None = None
    columns: Annotated[str, Called("names of columns joined by commas")] | None = None
    stream: Annotated[str, Called("the name or number of a stream")] | None = None
    crop: Pixels | None = None
    size: Pixels | None = None
    polarity: Literal["both", "merged", "on"] = "both"
    bin: Span | None = None
    window: Span | None = None
    stride: Span | None = None
    hot_pixels: Literal["keep", "remove"] = "keep"
    augment: Annotated[str, Listed()] | None = None
    test: Share | None = None
    group: Annotated[str, Called("a regular expression")] | None = None


@dataclass(frozen=True)
class ModelConfig:
    """Which network.

    Attributes:
        name: a model (`snnprune list` names them), or "module:attribute" of your own: a class or function
            that takes this configuration, the shape of a frame (channels, height, width) and the number of
            classes, as those of `snnprune.nn.models` do.
        hidden: units of the hidden layer; without a number, the model's own.
        detach_reset: keep the reset of the membrane out of the gradient. The paper's equations keep it in.
        activation: activation function of a network without time; the BSP and BDNN papers use sigmoid units.
        dropout: share of the hidden fully connected units that each training step leaves out.
        neuron: of a recurrent network: lif with a fixed threshold (Cramer et al. 2022), or alif with one that
            rises with the neuron's own spikes (Yin et al. 2021).
        tau: time constants of a recurrent network's neurons: shared by all, or heterogeneous, one for each
            neuron, trained with the weights (Perez-Nieves et al. 2021).
        readout: output of a recurrent network: leaky integrators, which do not spike and whose potential is
            the output (Cramer et al. 2022), or neurons that spike.
        stdp: rule of a network whose units compete: target weakens the inputs that were silent before a spike
            (Querlioz et al. 2013), pair those that come after one.
        eta: learning rate of a network that learns without gradients.
        trace: time constant of its rule's traces, in time steps. The defaults are for 30 time
            steps of Poisson spikes; scale `trace` and `membrane` with `data.time_steps`.
        membrane: time constant of the potentials of its neurons, in time steps.
        inhibition: share of their potential that all others lose when one of these neurons fires.
        file: NIR file that holds the network (`--init FILE.nir`). It is read again when the run is resumed or
            evaluated.
        dt: seconds of a time step in `file`; without a number, what the file says, and 1e-4 if it says
            nothing.
        accelerate: train with fused neurons and channels-last convolutions, which take a fraction of
            SpikingJelly's time (docs/benchmarks.md). The neurons spike as SpikingJelly's do, bit for bit; the
            convolutions sum in another order. If false, SpikingJelly's own layers run. Saved networks have
            SpikingJelly's layers either way.

    Examples:
        >>> import snnprune
        >>> snnprune.ModelConfig("mlp-snn", hidden=300).accelerate
        True
    """

    name: Name = "conv-snn"
    hidden: Count | None = None
    detach_reset: bool = False
    activation: Literal["relu", "gelu", "sigmoid"] = "relu"
    dropout: Share = 0.0
    neuron: Literal["lif", "alif"] = "lif"
    tau: Literal["shared", "heterogeneous"] = "shared"
    readout: Literal["leaky", "spikes"] = "leaky"
    stdp: Literal["target", "pair"] = "target"
    eta: Annotated[float, Within(0, above=True)] = 0.02
    trace: Annotated[float, Within(1)] = 2.0
    membrane: Annotated[float, Within(1)] = 15.0
    inhibition: Annotated[float, Within(0, 1)] = 1.0
    file: File | None = None
    dt: Seconds | None = None
    accelerate: bool = True


@dataclass(frozen=True)
class MethodConfig:
    """Which pruning method, and how much.

    Attributes:
        name: a method (`snnprune list` names them), or "module:attribute" of a class of your own that
            derives from `snnprune.pruning.method.Method`; `dense` prunes nothing.
        target: share of all weights to prune by the end of the run, or null for the method's own stopping
            rule (for DPAP, the paper's fixed epsilon). The DPAP paper reports its best accuracy at 0.6. Where
            another target is given, this one holds only if it is given, too; the tightest of several decides.
        target_macs: share of all multiply-accumulates to prune.
        target_synops: share of the dense network's synaptic operations to prune, as its spikes cause them
            while it trains (docs/methods.md).
        target_energy: share of the energy of the dense network's arithmetic to prune.
        target_latency: share of the time of the event-driven engine's synapses to prune, by its cost model.
        target_bytes: share of the bytes of the dense network's weights to prune, at the option `bits`.
        structured: how much of the target comes from whole channels and neurons, as a share of the
            log-survival of weights; the rest comes from single synapses. Units make the compact network
            faster, synapses cost less accuracy: 0.25 is the most that costs the demo less than a point on
            validation data (docs/methods.md).
        options: constants of the method by name, in place of its own (`snnprune list method NAME` names
            them).
        compact_every: remove pruned units from the network at the start of every so many epochs, or null to
            keep them masked until the end. Pruning decisions are the same. A cut takes less time than a
            training step, so it pays in every epoch that pruned a unit. Networks and methods that cannot be
            cut are masked.

    Examples:
        >>> import snnprune
        >>> snnprune.MethodConfig("dpap", target=0.8, options={"eta": 30.0}).structured
        0.25
    """

    name: Name = "dpap"
    target: Share | None = USUAL_TARGET
    structured: Annotated[float, Within(0, 1)] = 0.25
    options: dict[str, Any] = field(default_factory=dict)
    compact_every: Count | None = 1
    target_macs: Share | None = None
    target_synops: Share | None = None
    target_energy: Share | None = None
    target_latency: Share | None = None
    target_bytes: Share | None = None

    def __post_init__(self) -> None:
        # Version 0.1 knew `target_macs` as an option, which took the place of `target`.
        replaced = isinstance(self.options, dict) and "target_macs" in self.options
        if isinstance(self.target, Usual) or replaced:
            other = replaced or self.further_targets
            object.__setattr__(self, "target", None if other else float(self.target or 0.0))

    @property
    def further_targets(self) -> dict[str, float]:
        """The targets that were given beside ``target``, by name."""
        given = {name: getattr(self, name) for name in FURTHER}
        given |= self.options if isinstance(self.options, dict) else {}  # what is none is refused later
        return {name: given[name] for name in FURTHER if given.get(name) is not None}


FURTHER = tuple(each.name for each in fields(MethodConfig) if each.name.startswith("target_"))
"""Settings of targets that are shares of another measure than weights."""


@dataclass(frozen=True)
class TrainConfig:
    """How the network is trained.

    Attributes:
        epochs: passes over the training set.
        batch_size: samples of one optimiser step, over all processes together.
        optimizer: the optimiser.
        lr: learning rate. Chosen for Adam and short runs, on validation data (docs/results/digits.md). The
            public code of the paper's laboratory takes 1e-3 for hundreds of epochs.
        weight_decay: weight decay of the optimiser.
        momentum: momentum of SGD.
        schedule: learning rate constant, times `step_gamma` every `step_epochs`, or cosine to zero.
        step_epochs: epochs between two steps of the step schedule.
        step_gamma: factor of the step schedule.
        warmup_epochs: epochs of linear rise before the cosine.
        loss: mse is the mean squared error on output rates (or logits), cross-entropy is that on the softmax
            of the logits (or potentials), softmax-mse is the mean squared error on the softmax, auto is the
            loss that the model names.
        over_time: how a spiking network's outputs of all time steps become one score for each class, for loss
            and answer: their mean (of spikes the rate), their largest value (max), or that of the last step.
        activity_penalty: weight in the loss of the network's synaptic operations, as a share of those that
            there would be if every neuron fired in every step. 0: none. Spikes become fewer where each
            costs most.
        seed: seed of weights, data order and noise. With the same seed, machine and thread count, a run
            repeats bit for bit.
        init: weights to start from: the folder of a run, a checkpoint, or a safetensors file of this network.
        device: cpu, cuda, or auto.
        devices: number of processes on each machine, with one GPU each if there are GPUs; `batch_size` is
            divided among them (docs/distributed.md).
        nodes: number of machines; each is started with torchrun or srun.
        precision: number format of the layers in training and its tests. With bf16 and fp16 (fp16 on GPUs
            only), neurons, traces, scores and the optimiser stay in float32 (docs/distributed.md).
        threads: CPU threads; without a number, torch's own choice.
        twin: train the unpruned network with the same budget beside it, for the final table.
        export_check: report before training what this format cannot hold: nir, or null.

    Examples:
        >>> import snnprune
        >>> snnprune.TrainConfig(epochs=60, seed=1).optimizer
        'adam'
    """

    epochs: Count = 12
    batch_size: Count = 50
    optimizer: Literal["adam", "adamw", "sgd"] = "adam"
    lr: Annotated[float, Within(0, above=True)] = 2e-3
    weight_decay: Annotated[float, Within(0)] = 0.0
    momentum: Annotated[float, Within(0)] = 0.9
    schedule: Literal["constant", "step", "cosine"] = "constant"
    step_epochs: Count = 40
    step_gamma: Annotated[float, Within(0, above=True)] = 0.1
    warmup_epochs: Annotated[int, Within(0, MOST)] = 0
    loss: Literal["auto", "mse", "cross-entropy", "softmax-mse"] = "auto"
    over_time: Literal["mean", "max", "last"] = "mean"
    activity_penalty: Annotated[float, Within(0)] = 0.0
    seed: Annotated[int, Within(0, LARGEST_SEED)] = 0
    init: File | None = None
    device: Literal["auto", "cpu", "cuda"] = "auto"
    devices: Count = 1
    nodes: Count = 1
    precision: Literal["float32", "bf16", "fp16"] = "float32"
    threads: Count | None = None
    twin: bool = True
    export_check: Literal["nir"] | None = None


@dataclass(frozen=True)
class RunConfig:
    """All settings that determine the numbers of a run.

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

    def located(self) -> RunConfig:
        """Return the configuration with absolute paths, so that a run can be resumed from any folder."""

        def absolute(path: str | None) -> str | None:
            return None if path is None else str(Path(path).expanduser().absolute())

        data = replace(self.data, root=absolute(self.data.root), cache=absolute(self.data.cache))
        model = replace(self.model, file=absolute(self.model.file))
        return replace(
            self, data=data, model=model, train=replace(self.train, init=absolute(self.train.init))
        )


SECTIONS: dict[str, type] = {
    "data": DataConfig,
    "model": ModelConfig,
    "method": MethodConfig,
    "train": TrainConfig,
}
"""The parts of a `RunConfig`, by name."""
