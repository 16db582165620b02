"""Other tools that answer recordings: onnxruntime, openvino, torch.compile, qualia-codegen.

Those that are no dependency (openvino; qualia-codegen-core with qualia-codegen-plugin-snn) compete where they
are installed.
"""

from __future__ import annotations

import contextlib
import copy
import ctypes
import io
import json
import logging
import tempfile
import warnings
from functools import cache
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from spikingjelly.activation_based import functional, layer
from torch import nn

from benchmarks import harness
from benchmarks.engine.sides import MOST_WEIGHTS, AbsentError, Side, SpikingJelly, compiled, pointer
from benchmarks.engine.unrolled import Unrolled
from snnprune.export import onnx_file
from snnprune.export.graph import plain
from snnprune.network.leaves import spiking_base

if TYPE_CHECKING:
    import numpy.typing as npt
    from torch import Tensor

    from benchmarks.engine.sides import Case

    Array = npt.NDArray[Any]


def _need(*packages: str) -> None:
    missing = [name for name in packages if find_spec(name) is None]
    if missing:
        raise AbsentError(f"{' and '.join(missing)} not installed")


def _optional(name: str) -> Any:
    """Import a package that is no dependency."""
    return import_module(name)


# --- ONNX


@cache
def whole(case: Case) -> bytes:
    """Return a graph of all steps of a batch, from x [T, B, C, H, W] to y [T, B, K]: sizes are fixed."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        program = torch.onnx.export(
            Unrolled(case.model), (case.example,), dynamo=True, input_names=["x"], output_names=["y"],
            verbose=False,
        )  # fmt: skip
    assert program is not None
    content: bytes = program.model_proto.SerializeToString()
    return content


@cache
def of_a_step(case: Case) -> bytes:
    """Return what `snnprune export --to onnx` writes: a graph of one step, with states in and out."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "step.onnx"
        onnx_file.write(case.model, case.example, path)
        return path.read_bytes()


class _OnnxRuntime(Side):
    def session(self, content: bytes, threads: int) -> Any:
        import onnxruntime  # an extra

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads, options.inter_op_num_threads = threads, 1
        options.log_severity_level = 3
        # Else its threads go on spinning in the turn of who comes next.
        options.add_session_config_entry("session.force_spinning_stop", "1")
        return onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])

    def given(self, frames: Tensor) -> Array:
        return np.ascontiguousarray(frames.numpy())


class _OnnxRuntimeWhole(_OnnxRuntime):
    """onnxruntime on a graph of all steps."""

    def __init__(self, case: Case) -> None:
        _need("onnxruntime", "onnxscript")
        self._session = self.session(whole(case), case.threads)

    def answer(self, given: Array) -> Array:
        (y,) = self._session.run(["y"], {"x": given})
        return np.asarray(y)


class _OnnxRuntimeSteps(_OnnxRuntime):
    """onnxruntime on the graph of `snnprune export`, step by step."""

    def __init__(self, case: Case) -> None:
        _need("onnxruntime", "onnxscript")
        session = self._session = self.session(of_a_step(case), case.threads)
        self._rest = json.loads(session.get_modelmeta().custom_metadata_map["snnprune.rest"])
        self._shapes = {i.name: tuple(i.shape[1:]) for i in session.get_inputs()}
        self._wanted = ["y", *(f"next.{name}" for name in self._rest)]

    def answer(self, given: Array) -> Array:
        names = [f"v.{name}" for name in self._rest]
        states = [
            np.full((given.shape[1], *self._shapes[name]), rest, given.dtype)
            for name, rest in zip(names, self._rest.values(), strict=True)
        ]
        outputs = []
        for frame in given:
            y, *states = self._session.run(
                self._wanted, {"x": frame, **dict(zip(names, states, strict=True))}
            )
            outputs.append(y)
        return np.stack(outputs)


# --- openvino


class _OpenVinoWhole(Side):
    """openvino on a graph of all steps, in float32."""

    precision: str | None = "f32"

    def __init__(self, case: Case) -> None:
        _need("openvino", "onnxscript")
        self._request = self.request(whole(case), case.threads)

    def request(self, content: bytes, threads: int) -> Any:
        openvino = _optional("openvino")
        settings = {"PERFORMANCE_HINT": "LATENCY", "NUM_STREAMS": 1, "INFERENCE_NUM_THREADS": threads}
        if self.precision is not None:
            settings["INFERENCE_PRECISION_HINT"] = self.precision
        core = openvino.Core()
        return core.compile_model(core.read_model(content), "CPU", settings).create_infer_request()

    def given(self, frames: Tensor) -> Array:
        return np.ascontiguousarray(frames.numpy())

    def answer(self, given: Array) -> Array:
        found = self._request.infer({"x": given}, share_inputs=True, share_outputs=True)
        return np.asarray(found["y"])

    def outputs(self, answer: Array) -> Array:
        return answer.copy()  # the next answer is written over it


class _OpenVinoAsItComes(_OpenVinoWhole):
    """openvino on a graph of all steps, in the precision that it chooses."""

    precision = None


# --- torch.compile


class _CompiledSpikingJelly(SpikingJelly):
    """SpikingJelly's network through torch.compile."""

    def __init__(self, case: Case) -> None:
        self._inside = plain(case.model).eval()
        self.model = torch.compile(self._inside)
        _compile(lambda: self.answer(case.example))

    @torch.no_grad()
    def answer(self, given: Tensor) -> Tensor:
        out: Tensor = self.model(given)
        functional.reset_net(self._inside)
        return out


def _compile(call: Any) -> None:
    """Call twice: what is there after the first call may compile once more."""
    try:
        call()
        call()
    except Exception as error:  # whatever a compiler meets
        raise AbsentError(f"{type(error).__name__}: {str(error).splitlines()[0]}") from error


# --- qualia-codegen


class _Qualia(Side):
    """qualia-codegen's C of one step, with its plugin for spiking neurons, compiled by gcc."""

    def __init__(self, case: Case) -> None:
        _need("qualia_codegen_core", "qualia_codegen_plugin_snn")
        if case.threads > 1:
            raise AbsentError("its C has one thread")
        size = harness.weights(case.model)
        if size > MOST_WEIGHTS:
            raise AbsentError(f"its C of {size / 1e6:.0f} million weights, dead ones too, has too much text")
        self.shape = tuple(case.example.shape[2:])
        self.classes = SpikingJelly(case).answer(case.example).shape[-1]
        with tempfile.TemporaryDirectory() as folder:
            source = Path(folder) / "net.c"
            code = _qualia_code(case.model, self.shape, Path(folder))
            source.write_text(code + _QUALIA_LOOP, encoding="utf-8")
            self.library = compiled(source)

    def given(self, frames: Tensor) -> Array:
        """Return frames with channels innermost, sample by sample."""
        return np.ascontiguousarray(frames.permute(1, 0, 3, 4, 2).numpy())

    def answer(self, given: Array) -> Array:
        samples, steps = given.shape[:2]
        outputs = np.empty((samples, steps, self.classes), np.float32)
        sizes = samples, steps, int(np.prod(self.shape)), self.classes
        self.library.recordings(pointer(given), pointer(outputs), *(ctypes.c_int64(size) for size in sizes))
        return outputs

    def outputs(self, answer: Array) -> Array:
        return answer.transpose(1, 0, 2)


_QUALIA_LOOP = """
void recordings(const float *x, float *y, int64_t samples, int64_t steps, int64_t in, int64_t out) {
    for (int64_t b = 0; b < samples; b++) {
        reset();
        for (int64_t t = b * steps; t < (b + 1) * steps; t++) {
            cnn(*(const input_t *)(x + t * in), *(output_t *)(y + t * out));
        }
    }
}
"""


def _qualia_code(model: nn.Module, shape: tuple[int, ...], folder: Path) -> str:
    main, plugin = _optional("qualia_codegen_core.main"), _optional("qualia_codegen_plugin_snn")
    graphs = _optional("qualia_codegen_plugin_snn.graph")
    net: Any = single_step(model)
    net.input_shape, net.is_snn = (*shape[1:], shape[0]), False
    logging.getLogger("qualia_codegen_core").setLevel(logging.ERROR)
    with contextlib.redirect_stdout(io.StringIO()):  # it prints the graph
        graph = graphs.TorchModelGraph(net).convert()
    if not graph or not main.annotate_quantization(graph, {}, float, 32, 32):
        raise AbsentError("it cannot read a layer of this network")
    # Without a folder it fails; what it writes there is left out of the one text that it returns.
    code = plugin.Converter(folder / "parts", "cnn", timestep_mode="iterate").convert_model(graph)
    if not isinstance(code, str):
        raise AbsentError("it writes no C for this network")
    return code


def single_step(model: nn.Module) -> nn.Sequential:
    """Return a sequence of SpikingJelly's layers as torch's own layers and neurons of one step.

    Raises:
        AbsentError: another layer.
    """
    made = nn.Sequential()
    for name, each in model.named_children():
        made.add_module(name, _single(each))
    return made.eval()


def _single(each: Any) -> nn.Module:
    if isinstance(each, spiking_base()):
        alone = copy.deepcopy(each)
        alone.step_mode = "s"
        return alone
    bias = getattr(each, "bias", None) is not None
    if isinstance(each, layer.Conv2d):
        kind = (each.kernel_size, each.stride, each.padding, each.dilation, each.groups, bias)
        made: nn.Module = nn.Conv2d(each.in_channels, each.out_channels, *kind)
    elif isinstance(each, layer.BatchNorm2d):
        made = nn.BatchNorm2d(each.num_features, each.eps)
    elif isinstance(each, layer.Linear):
        made = nn.Linear(each.in_features, each.out_features, bias)
    elif isinstance(each, (layer.AvgPool2d, layer.MaxPool2d)):
        torchs = nn.AvgPool2d if isinstance(each, layer.AvgPool2d) else nn.MaxPool2d
        # Of a single number for both axes it asks the length, and fails.
        return torchs((each.kernel_size,) * 2, (each.stride,) * 2, each.padding)
    elif isinstance(each, layer.Flatten):
        return nn.Flatten()
    else:
        raise AbsentError(f"{type(each).__name__} has no single-step twin here")
    made.load_state_dict(each.state_dict())
    return made


OTHERS: dict[str, type[Side]] = {
    "onnxruntime": _OnnxRuntimeWhole,
    "onnxruntime, by steps": _OnnxRuntimeSteps,
    "openvino": _OpenVinoWhole,
    "openvino, bfloat16": _OpenVinoAsItComes,
    "torch.compile": _CompiledSpikingJelly,
    "C of qualia-codegen": _Qualia,
}
"""By name; all compute the network that is measured."""
