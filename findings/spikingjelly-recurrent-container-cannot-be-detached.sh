#!/usr/bin/env bash
# SpikingJelly 2.0.0: functional.detach_net raises on a recurrent container around single-step LIF neurons.
#
# Guess, written down before the run: detach_net cuts the graph at the states of every module, so that training goes on over
#   the next part of a long recording (truncated backpropagation through time). A container whose memory is its last
#   output is such a module.
# Seen: LinearRecurrentContainer and ElementWiseRecurrentContainer around LIFNode raise "Can't detach views in-place" from
#   torch: in single-step mode LIFNode and IFNode hand out a view, the container keeps it as its state y, and
#   MemoryModule.detach writes y.detach_(). Around KLIFNode, which hands out a tensor of its own, the same call works.
# Whom it hurts: whoever trains a recurrent spiking network on recordings that are longer than one graph. It works with
#   layers of neurons alone and fails once a container is added.
# What to do: assign the detached state yourself, container.y = container.y.detach(), and call detach_net on the rest.
set -euo pipefail
dir=$(mktemp -d); trap 'rm -rf "$dir"' EXIT
python3 -m venv "$dir/venv"
"$dir/venv/bin/pip" install --quiet --disable-pip-version-check spikingjelly==2.0.0 torch==2.14.1 torchvision==0.29.1 numpy==2.4.6
cd "$dir"
venv/bin/python - <<'PY'
from importlib import metadata

import torch
from spikingjelly.activation_based import functional, layer, neuron
from torch import nn

print("spikingjelly", metadata.version("spikingjelly"), "torch", torch.__version__)


def detached(wrap, kind=neuron.LIFNode):
    """Train two steps, cut the graph, and return what detach_net says."""
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(3, 4), wrap(kind()))
    for _ in range(2):
        net(torch.rand(2, 3))
    try:
        functional.detach_net(net)
    except RuntimeError as error:
        return str(error).split(".")[0]
    return "detached"


found = {
    "neurons alone": detached(lambda n: n),
    "LinearRecurrentContainer": detached(lambda n: layer.LinearRecurrentContainer(n, 4, 4)),
    "ElementWiseRecurrentContainer": detached(lambda n: layer.ElementWiseRecurrentContainer(n, torch.add)),
    "the same around KLIFNode": detached(lambda n: layer.ElementWiseRecurrentContainer(n, torch.add), neuron.KLIFNode),
}
for name, said in found.items():
    print(f"{name}: {said}")
assert found["neurons alone"] == found["the same around KLIFNode"] == "detached"
assert all("detach views in-place" in found[name] for name in found if "Container" in name), "changed: it detaches"
PY
