#!/usr/bin/env bash
# norse 1.1.0: a NIR graph that branches answers with the node visited last, which the order of its edges decides.
#
# Guess, written down before the run: edges are a set. Their order in the list does not matter, and the answer is what
#   arrives at the Output node.
# Seen: from_nir walks from the input along the edges in the order of the list, branch by branch to its end, and hands out
#   what the last node visited says. A shortcut whose edge stands before that of the longer way answers with the longer
#   way alone: 10, not 1100. With two layers side by side no order is right. Neurons with feedback answer with what the
#   feedback layer says, 2 where a spike is 1, unless the edges of the feedback stand before the one to the output.
#   nirtorch 2.6 reads all of them right with nir_to_torch; norse calls its older load.
# Whom it hurts: whoever runs a residual or recurrent network of another framework in norse. All shapes fit, there is no
#   error, and the same graph is right or wrong by a list that no writer promises an order of.
# What to do: read with nirtorch.nir_to_torch and a map from nodes to norse's modules; or put the edges of a feedback and
#   of the longer way first. Compare outputs for a few frames in any case.
set -euo pipefail
dir=$(mktemp -d); trap 'rm -rf "$dir"' EXIT
python3 -m venv "$dir/venv"
"$dir/venv/bin/pip" install --quiet --disable-pip-version-check \
  norse==1.1.0 nir==1.0.8 nirtorch==2.6 torch==2.14.1 torchvision==0.29.1 numpy==2.4.6
cd "$dir"
venv/bin/python - <<'PY'
import warnings

import nir
import nirtorch
import norse.torch as norse
import numpy as np
import torch

warnings.simplefilter("ignore")


def linear(weight):
    return nir.Linear(np.array(weight, np.float32))


def through_a_file(inner, units, edges):
    nodes = {"input": nir.Input(np.array([1])), **inner, "output": nir.Output(np.array([units]))}
    nir.write("net.nir", nir.NIRGraph(nodes, edges))
    read = nir.read("net.nir")
    assert read.edges == edges
    return read


def answers(net, frames):
    seen, state = [], None
    for frame in frames:
        out, state = net(torch.tensor([[frame]]), state)
        seen.append(out[0].tolist())
    return seen


print("a shortcut: 100 (10 x + x) = 1100 x")
into, way, shortcut = [("input", "a")], [("a", "b"), ("b", "c")], [("a", "c")]
layers = {"a": linear([[1]]), "b": linear([[10]]), "c": linear([[100]])}
first = through_a_file(layers, 1, [*into, *way, *shortcut, ("c", "output")])
last = through_a_file(layers, 1, [*into, *shortcut, *way, ("c", "output")])
found = [answers(norse.from_nir(graph), [1.0, 2.0]) for graph in (first, last)]
print("  longer way first:", found[0], "| shortcut first:", found[1])
assert found == [[[1100], [2200]], [[10], [20]]], "changed: a shortcut"
assert answers(nirtorch.nir_to_torch(last, {}), [1.0, 2.0]) == [[1100], [2200]]

print("two layers side by side: 100 (10 x + 20 x) = 3000 x")
layers |= {"d": linear([[20]])}
sides = [[("a", "b"), ("b", "c")], [("a", "d"), ("d", "c")]]
orders = [[*into, *sides[0], *sides[1], ("c", "output")], [*into, *sides[1], *sides[0], ("c", "output")]]
graphs = [through_a_file(layers, 1, edges) for edges in orders]
found = [answers(norse.from_nir(graph), [1.0, 2.0]) for graph in graphs]
print("  one order:", found[0], "| the other:", found[1])
assert found == [[[20], [40]], [[10], [20]]], "changed: two layers side by side"
assert [answers(nirtorch.nir_to_torch(graph, {}), [1.0, 2.0]) for graph in graphs] == [[[3000], [6000]]] * 2

print("two neurons without memory: a frame of 1 makes the first fire, and one step later the second")
two, zero = np.ones(2, np.float32), np.zeros(2, np.float32)
lif = nir.LIF(tau=1e-4 * two, r=two, v_leak=zero, v_threshold=0.5 * two, v_reset=zero)
layers = {"fc": linear([[1], [0]]), "lif": lif, "feedback": linear([[0, 0], [2, 0]])}
into, loop = [("input", "fc"), ("fc", "lif")], [("lif", "feedback"), ("feedback", "lif")]
first = through_a_file(layers, 2, [*into, *loop, ("lif", "output")])
last = through_a_file(layers, 2, [*into, ("lif", "output"), *loop])
found = [answers(norse.from_nir(graph, dt=1e-4), [1.0, 0.0, 0.0]) for graph in (first, last)]
print("  feedback first:", found[0], "| feedback last:", found[1])
assert found[0] == [[1, 0], [0, 1], [0, 0]], "changed: with the feedback first"
assert found[1] == [[0, 2], [0, 0], [0, 0]], "changed: with the feedback last"
cell = norse.LIFBoxCell(norse.LIFBoxParameters(tau_mem_inv=torch.tensor(1e4), v_th=torch.tensor(0.5)), dt=1e-4)
assert answers(nirtorch.nir_to_torch(last, {nir.LIF: lambda _: cell}), [1.0, 0.0, 0.0]) == found[0]
PY
