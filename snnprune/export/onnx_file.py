"""Write one time step of a network as an ONNX file, (x, state) -> (y, state), and run it with onnxruntime.

Inputs are ``x`` [B, C, H, W] and states: the potential ``v.NAME`` of each layer of neurons or of leaky
integrators, and the last spikes ``y.NAME`` of each recurrent layer. Outputs are ``y`` [B, K] and, for each of
these states, ``next.NAME``. Neurons with an adaptive threshold have the states ``b.NAME`` and ``y.NAME``
beside their potential, with the outputs ``next.NAME.b`` and ``next.NAME.y``. The file's metadata hold the
initial states, by the names of the outputs without ``next``. A network without time has no states.
"""

from __future__ import annotations

import json
import warnings
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from snnprune.common import atomic, document
from snnprune.common.errors import UserError, first_line
from snnprune.common.extras import need
from snnprune.export.graph import plain
from snnprune.export.onnx_counts import FIRES, add_counts
from snnprune.export.step import step_of

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from torch import Tensor, nn

    from snnprune.export.step import Step

ABOUT, REST = "snnprune", "snnprune.rest"
"""Entries of the metadata: the origin of the network, and the initial states."""

NEXT = "next."
"""Prefix of the names of states as outputs."""


def write(model: nn.Module, example: Tensor, path: Path, about: str = "") -> None:
    """Write one time step of ``model`` to ``path``, completely or not at all.

    Args:
        model: a spiking network in multi-step mode, or one without time; `accelerate` is undone in a copy.
        example: encoded frames [T, B, C, H, W], or [B, C, H, W] without time; all sizes but B are fixed.
        path: of the file.
        about: text that is stored with it.

    Raises:
        UserError: a neuron or operation that cannot be written, a network that is more than its time steps
            one after the other, onnx is not installed, or the file cannot be written.
    """
    need("export", "an export to ONNX", "onnx", "onnxscript", "onnxruntime")
    spiking = bool(getattr(model, "spiking", True))
    exported = _exported(model, example, spiking=spiking)
    for key, text in {ABOUT: about, REST: json.dumps(exported.rest)}.items():
        entry = exported.proto.metadata_props.add()
        entry.key, entry.value = key, text
    content = exported.proto.SerializeToString()
    atomic.write(path, lambda file: file.write(content))


class _Exported:
    """The result of torch's exporter, and the initial states."""

    def __init__(self, proto: Any, rest: dict[str, float]) -> None:
        self.proto, self.rest = proto, rest


def _exported(model: nn.Module, example: Tensor, *, spiking: bool) -> _Exported:
    """Export ``model`` with torch, for batches of any size."""
    frames = (example[0] if spiking else example)[:1]
    frames = frames.repeat_interleave(2, 0)  # the exporter takes a batch of size 1 for a constant
    batch = torch.export.Dim("batch")
    if not spiking:
        return _Exported(_by_torch(plain(model), (frames,), ({0: batch},), ["x"], ["y"]), {})
    step = step_of(model, example)
    states = _states(step, frames)
    inputs = [f"{letter}.{name}" for name, letter, _ in step.states]
    names = _keys(inputs)
    proto = _by_torch(
        step,
        (frames, states),
        ({0: batch}, [{0: batch} for _ in states]),
        ["x", *inputs],
        ["y", *(f"{NEXT}{name}" for name in names)],
    )
    return _Exported(proto, dict(zip(names, (rest for *_, rest in step.states), strict=True)))


def _keys(inputs: list[str]) -> list[str]:
    """Return names of states from those of their inputs, as ``v.NAME``: a layer's first one has its name."""
    keys: list[str] = []
    for text in inputs:
        letter, _, name = text.partition(".")
        keys.append(f"{name}.{letter}" if name in keys else name)
    return keys


@torch.no_grad()
def _states(step: Step, frames: Tensor) -> list[Tensor]:
    """Return states at rest, in the shapes that they have after a step on ``frames``."""
    rest = [value for *_, value in step.states]
    _, after = step(frames, [torch.tensor(value, dtype=frames.dtype) for value in rest])
    return [torch.full_like(v, value) for v, value in zip(after, rest, strict=True)]


def _by_torch(model: nn.Module, given: Any, shapes: Any, inputs: list[str], outputs: list[str]) -> Any:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about names of axes, which torch chose itself
            program = torch.onnx.export(
                model.eval(),
                given,
                dynamo=True,
                dynamic_shapes=shapes,
                input_names=inputs,
                output_names=outputs,
                verbose=False,
            )
    except Exception as error:
        reason = first_line(error)
        raise UserError(f"torch cannot write a time step of this network as ONNX: {reason}") from error
    assert program is not None
    return program.model_proto


class Runner:
    """Runs an ONNX file of `write` on whole recordings.

    Attributes:
        about: the text that is stored with the network.

    Args:
        content: of the file.
        spikes: return the spikes of each layer, too.
        counts: count the operations for `operations`.

    Raises:
        UserError: it is not a file of `write`.
    """

    def __init__(self, content: bytes, *, spikes: bool = False, counts: bool = False) -> None:
        need("export", "running ONNX", "onnx", "onnxruntime")
        import onnx  # noqa: PLC0415 - an extra
        import onnxruntime  # noqa: PLC0415 - an extra

        try:
            proto = onnx.load_model_from_string(content)
            kept = {entry.key: entry.value for entry in proto.metadata_props}
            self.about, rest = kept[ABOUT], document.parse_json(kept[REST])
            self._rest = {str(name): float(value) for name, value in rest.items()}
            if any(t.data_location == onnx.TensorProto.EXTERNAL for t in proto.graph.initializer):
                raise ValueError("it keeps tensors in other files")  # noqa: TRY301 - said as any other
            self._fired = add_spikes(proto, onnx) if spikes else {}
            self._layers = add_counts(proto, onnx) if counts else []
            options = onnxruntime.SessionOptions()
            options.intra_op_num_threads = torch.get_num_threads()
            options.log_severity_level = 3
            self._session = onnxruntime.InferenceSession(
                proto.SerializeToString(), options, providers=["CPUExecutionProvider"]
            )
        except Exception as error:
            reason = first_line(error)
            raise UserError(
                f"not an ONNX file that snnprune wrote ({type(error).__name__}: {reason}); expected what "
                "`snnprune export --to onnx` writes"
            ) from error
        inputs = [i for i in self._session.get_inputs() if i.name != "x"]
        keys = _keys([i.name for i in inputs])
        self._inputs = {k: (i.name, tuple(i.shape[1:])) for k, i in zip(keys, inputs, strict=True)}
        if self._inputs.keys() != self._rest.keys():
            raise UserError(
                f"the ONNX file has the states {sorted(self._inputs)}, and its metadata the states "
                f"{sorted(self._rest)}: export the network again"
            )

    @classmethod
    def of(cls, path: Path, *, spikes: bool = False, counts: bool = False) -> Runner:
        """Return a runner of the file at ``path``.

        Raises:
            UserError: the file cannot be read, or is not a file of `write`.
        """
        try:
            content = path.read_bytes()
        except OSError as error:
            raise UserError(f"cannot read {path}: {error.strerror or error}") from error
        return cls(content, spikes=spikes, counts=counts)

    def __call__(self, frames: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """Return outputs and spikes (no spikes unless ``spikes`` was True).

        Args:
            frames: encoded, [T, B, C, H, W] to [T, B, K]; or [B, C, H, W] to [B, K] without time.
        """
        x = np.ascontiguousarray(frames.cpu().numpy())
        counts = [name for layer in self._layers for name in layer.outputs]
        if not self._rest:
            y, *counted = self._session.run(["y", *counts], {"x": x})
            self._count(counted)
            return torch.from_numpy(y), {}
        names = list(self._rest)
        inputs = [self._inputs[name][0] for name in names]
        states: Sequence[Any] = [
            np.full((x.shape[1], *self._inputs[name][1]), value, dtype=x.dtype)
            for name, value in self._rest.items()
        ]
        wanted = ["y", *(f"{NEXT}{name}" for name in names), *self._fired.values(), *counts]
        outputs, fired = [], []
        for step in x:
            y, *rest = self._session.run(wanted, {"x": step, **dict(zip(inputs, states, strict=True))})
            self._count(rest[len(rest) - len(counts) :])
            states = rest[: len(names)]
            outputs.append(torch.from_numpy(y))
            fired.append([torch.from_numpy(spikes) for spikes in rest[len(names) :][: len(self._fired)]])
        layers = zip(self._fired, zip(*fired, strict=True), strict=False)
        return torch.stack(outputs), {name: torch.stack(spikes) for name, spikes in layers}

    def _count(self, answers: Sequence[Any]) -> None:
        left = iter(answers)
        for layer in self._layers:
            layer.add([next(left) for _ in layer.outputs])

    def operations(self, samples: int) -> dict[str, float]:
        """Return the operations per sample of all runs so far.

        They are "synops" and "synops_by_events" of layers that read spikes, and "macs" of analogue layers.
        """
        spikes = [layer for layer in self._layers if not layer.analogue]
        return {
            "synops": sum(layer.synops for layer in spikes) / samples,
            "synops_by_events": sum(layer.synops_by_events for layer in spikes) / samples,
            "macs": sum(layer.macs for layer in self._layers if layer.analogue) / samples,
        }


def add_spikes(proto: Any, onnx: Any) -> dict[str, str]:
    """Add the comparisons with thresholds to the outputs, and return their names by name of the neurons."""
    compared = {node.input[0]: node.output[0] for node in proto.graph.node if node.op_type == FIRES}
    makers = {output: node for node in proto.graph.node for output in node.output}
    fired: dict[str, str] = {}
    for output in proto.graph.output:
        if output.name.startswith(NEXT):
            # What is compared with the threshold is what the reset reads, or the potential itself.
            read = [compared[i] for i in (*makers[output.name].input, output.name) if i in compared]
            fired |= {output.name.removeprefix(NEXT): name for name in read[:1]}
    proto.graph.output.extend(
        onnx.helper.make_tensor_value_info(name, onnx.TensorProto.BOOL, None) for name in fired.values()
    )
    return fired
