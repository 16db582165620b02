"""Ways in which other tools read what `snnprune export` writes: as it comes, and with the lines that help.

The lines that are printed for a way are those that run.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Tool:
    """A package of the index.

    Attributes:
        name: as people say it, with its version.
        requirements: pinned, as pip takes them.
        reader: the script of `benchmarks/elsewhere/readers` that shows recordings to it.
        torch: whether it needs PyTorch.
    """

    name: str
    requirements: tuple[str, ...]
    reader: str = "of_torch"
    torch: bool = True


@dataclass(frozen=True)
class Way:
    """One way to read a file.

    Attributes:
        tool: that reads.
        options: of `snnprune export`, behind the run.
        code: lines that read the ``file``, as `reader` expects.
        between: a line that runs between two batches of recordings.
    """

    tool: Tool
    options: str
    code: str
    between: str = ""


NIR = ("nir==1.0.8", "nirtorch==2.6")
SNNTORCH = Tool("snntorch 1.0.0", ("snntorch==1.0.0", *NIR))
NORSE = Tool("norse 1.1.0", ("norse==1.1.0", "torchvision==0.29.1", *NIR))
NIRTORCH = Tool("nirtorch 2.6", NIR)
SINABS = Tool("sinabs 3.1.3", ("sinabs==3.1.3", "nir==1.0.4", "nirtorch==2.0.2"), "of_sinabs")
SPECK = Tool("sinabs 3.1.3 for Speck", SINABS.requirements, "of_files")
SPYX = Tool("spyx 1.0.0", ("spyx==1.0.0", "jax==0.10.2", "nir==1.0.8"), "of_spyx", torch=False)
NIRVIZ = Tool("nirviz 0.1.5", ("nirviz==0.1.5", "nir==1.0.8"), "of_files", torch=False)
ONNXRUNTIME = Tool(
    "onnxruntime 1.32.0", ("onnxruntime==1.32.0", "onnx==1.23.2", "numpy==2.4.6"), "of_onnx", torch=False
)
OPENVINO = Tool(
    "openvino 2026.4.1", ("openvino==2026.4.1", "onnx==1.23.2", "numpy==2.4.6"), "of_onnx", torch=False
)
BRIAN2 = Tool("brian2 2.9.0", ("brian2==2.9.0", "numpy==1.26.4"), "of_files", torch=False)
SANAFE = Tool("sanafe 2.2.9", ("sanafe==2.2.9", "numpy==2.4.6"), "of_files", torch=False)
QUALIA = Tool(
    "qualia-codegen-core 2.6.0", ("qualia-codegen-core==2.6.0", "numpy==2.4.6"), "of_files", torch=False
)
LAVA = Tool("lava-nc 0.10.0", ("lava-nc==0.10.0",), "of_files", torch=False)

# --- snntorch

_SNNTORCH = """\
import nir, snntorch.utils
from snntorch.import_nir import import_from_nir
net = import_from_nir(nir.read(file))"""

_SNNTORCH_IF = f"""{_SNNTORCH}
for layer in net.modules():
    if isinstance(layer, snntorch.Leaky):
        layer.beta.fill_(1.0)
        layer.reset_mechanism = "zero"
        layer.init_hidden = True"""

# --- norse

_NORSE = """\
import nir, norse.torch
net = norse.torch.from_nir(nir.read(file){})"""

# --- nirtorch

_LIF = """\
import nir, nirtorch, torch
class LIF(torch.nn.Module):
    def __init__(self, node, dt=1e-4):
        super().__init__()
        self.kept = torch.from_numpy(1 - dt / node.tau)
        self.gain = torch.from_numpy(node.r * dt / node.tau)
        self.threshold = torch.from_numpy(node.v_threshold)
    def forward(self, x, state=None):
        v = self.gain * x if state is None else self.kept * state + self.gain * x
        spikes = (v >= self.threshold).float()
        return spikes, v * (1 - spikes)
"""

_NIRTORCH = f"{_LIF}net = nirtorch.nir_to_torch(nir.read(file), {{nir.LIF: LIF}})"

_NIRTORCH_BIAS = f"""{_LIF}\
def affine(node):
    made = torch.nn.Linear(*node.weight.shape[::-1])
    made.weight.data, made.bias.data = torch.from_numpy(node.weight), torch.from_numpy(node.bias)
    return made
net = nirtorch.nir_to_torch(nir.read(file), {{nir.LIF: LIF, nir.Affine: affine}})"""

# --- sinabs

_SINABS = """\
import nir, sinabs.nir
net = sinabs.nir.from_nir(nir.read(file), batch_size=batch_size)"""

_SINABS_FIRES = """\
for layer in net.modules():
    if isinstance(layer, sinabs.layers.StatefulLayer):
        layer.spike_fn, layer.reset_fn = sinabs.activation.SingleSpike, sinabs.activation.MembraneReset()
        layer.min_v_mem = None"""

_SINABS_LIF = f"""\
import nir, numpy, sinabs.nir
graph = nir.read(file)
for node in graph.nodes.values():
    if isinstance(node, nir.LIF):
        node.v_leak = node.v_leak.ravel()
        node.tau = -1 / numpy.log(1 - 1e-4 / node.tau)
net = sinabs.nir.from_nir(graph, batch_size=batch_size)
{_SINABS_FIRES}"""

_SINABS_RESET = "net.apply(lambda layer: hasattr(layer, 'reset_states') and layer.reset_states())"

_SPECK = """\
import sys
from unittest.mock import MagicMock
library = ("speck2f", "speck2e", "speck2cmini", "speck2dmini", "dynapcnn")
parts = [f"samna.{one}{end}" for one in library for end in ("", ".configuration")]
for name in ("samna", "samnagui", *parts):
    sys.modules[name] = MagicMock(__path__=[])  # the library of the hardware, which is on no index
import nir, sinabs.nir, torch
from sinabs.backend.dynapcnn import DynapcnnNetwork
graph = nir.read(file)
for node in graph.nodes.values():
    if isinstance(node, nir.LIF):
        node.v_leak = node.v_leak.ravel()
net = sinabs.nir.from_nir(graph, batch_size=1)
for layer in net.modules():
    if isinstance(layer, sinabs.layers.IAFSqueeze):
        layer.spike_threshold = torch.nn.Parameter(layer.spike_threshold.flatten()[0])
        layer.min_v_mem = torch.nn.Parameter(-layer.spike_threshold.detach())
chip = DynapcnnNetwork(net, input_shape=(2, 34, 34), discretize=True)"""

# --- spyx

_SPYX = """\
import nir, spyx.nir
net, y = spyx.nir.from_nir(nir.read(file), x{})"""

_SPYX_FIRES = """\
import nir, spyx.nir
graph = nir.read(file)
shape = graph.nodes["flatten"].input_type["input"]
reader = graph.nodes["fc1"]
reader.weight = reader.weight.reshape(-1, *shape).transpose(0, 2, 3, 1).reshape(reader.weight.shape)
def fire(self, x, v):
    v = self.beta[...] * v + x
    spikes = (v >= self.threshold) * 1.0
    return spikes, v * (1 - spikes)
spyx.nn.LIF.__call__ = fire
net, y = spyx.nir.from_nir(graph, x, dt=1e-4)"""

# --- runtimes of ONNX

_ONNXRUNTIME = """\
import onnxruntime
options = onnxruntime.SessionOptions()
options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_{}
session = onnxruntime.InferenceSession(file, options)
names = [one.name for one in session.get_outputs()]
run = lambda given: dict(zip(names, session.run(names, given)))"""

_OPENVINO = """\
import openvino
core = openvino.Core()
net = core.compile_model(core.read_model(file), "CPU"{})
run = lambda given: {{n: v.copy() for one, v in net(given).items() for n in one.names}}"""

# --- tools that read no file of these

_LOOKED = """\
import pathlib, re, {0}
texts = [path.read_text() for path in pathlib.Path({0}.__file__).parent.rglob("*.py")]
if not any(re.search("import (nir|onnx)", text) for text in texts):
    raise LookupError("no file of the package reads NIR or ONNX: build the network by hand")"""

WAYS = [
    Way(SNNTORCH, "--to nir", _SNNTORCH),
    Way(SNNTORCH, "--to nir", _SNNTORCH, "snntorch.utils.reset(net)"),
    Way(SNNTORCH, "--to nir --nir-neurons if --nir-dt 1", _SNNTORCH),
    Way(SNNTORCH, "--to nir --nir-neurons if --nir-dt 1", _SNNTORCH_IF, "snntorch.utils.reset(net)"),
    Way(NORSE, "--to nir", _NORSE.format("")),
    Way(NORSE, "--to nir --nir-r 1 --nir-pool sum", _NORSE.format("")),
    Way(NORSE, "--to nir --nir-r 1 --nir-pool sum", _NORSE.format(", dt=1e-4")),
    Way(NORSE, "--to nir --nir-r 1 --nir-pool sum --nir-dt 1", _NORSE.format(", dt=1")),
    Way(NORSE, "--to nir --nir-neurons if --nir-r 1 --nir-pool sum --nir-dt 1", _NORSE.format("")),
    Way(NIRTORCH, "--to nir", _NIRTORCH),
    Way(NIRTORCH, "--to nir", _NIRTORCH_BIAS),
    Way(SINABS, "--to nir", _SINABS),
    Way(SINABS, "--to nir --nir-pool sum", _SINABS_LIF, _SINABS_RESET),
    Way(SINABS, "--to nir --nir-neurons if --nir-pool sum --nir-dt 1", _SINABS),
    Way(
        SINABS,
        "--to nir --nir-neurons if --nir-pool sum --nir-dt 1",
        f"{_SINABS}\n{_SINABS_FIRES}",
        _SINABS_RESET,
    ),
    Way(SPECK, "--to nir --nir-pool sum", _SPECK),
    Way(SPECK, "--to nir --nir-neurons if --nir-pool sum --nir-dt 1", _SPECK),
    Way(SPYX, "--to nir", _SPYX.format("")),
    Way(SPYX, "--to nir --nir-pool sum", _SPYX.format(", dt=1e-4")),
    Way(SPYX, "--to nir --nir-pool sum", _SPYX_FIRES),
    Way(NIRVIZ, "--to nir", "import nirviz\nnet = nirviz.visualize(file)"),
    Way(NIRVIZ, "--to nir", "import nirviz\nnet = nirviz.visualize(file, orientation='horizontal')"),
    *(
        Way(ONNXRUNTIME, "--to onnx", _ONNXRUNTIME.format(level))
        for level in ("DISABLE_ALL", "ENABLE_BASIC", "ENABLE_EXTENDED", "ENABLE_ALL")
    ),
    Way(OPENVINO, "--to onnx", _OPENVINO.format("")),
    Way(OPENVINO, "--to onnx", _OPENVINO.format(', {"INFERENCE_PRECISION_HINT": "f32"}')),
    Way(BRIAN2, "--to nir", _LOOKED.format("brian2")),
    Way(SANAFE, "--to nir", _LOOKED.format("sanafe")),
    Way(QUALIA, "--to nir", _LOOKED.format("qualia_codegen_core")),
    Way(LAVA, "--to nir", "import lava"),
]
"""In the order of the table."""
