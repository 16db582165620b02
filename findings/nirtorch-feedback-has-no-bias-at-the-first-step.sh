#!/usr/bin/env bash
# nirtorch 2.6: the bias of an Affine node in a feedback loop is missing at the first time step.
#
# Guess, written down before the run: at the first step the feedback has seen no spikes, and an Affine node answers silence
#   with its bias, as it does at every later silent step.
# Seen: what has not been computed yet counts as zero, and that is the node's output, not its input. The loop gets 0 at the
#   first step and W y + b from the second on: a neuron driven by the bias alone fires at steps 4, 6, 9, not 3, 5, 8. The
#   same bias in front of the neuron, outside the loop, counts at once. nir_to_torch and the older load agree.
# Whom it hurts: whoever runs recurrent layers with a bias, the default of torch's Linear and of snntorch's RLeaky, through
#   a reader built on nirtorch: spikes differ from those of the framework the file comes from, and without a leak every
#   later spike may be late.
# What to do: write the bias into the node in front of the neurons, and the feedback as Linear without one.
set -euo pipefail
dir=$(mktemp -d); trap 'rm -rf "$dir"' EXIT
python3 -m venv "$dir/venv"
"$dir/venv/bin/pip" install --quiet --disable-pip-version-check nir==1.0.8 nirtorch==2.6 torch==2.14.1 numpy==2.4.6
cd "$dir"
venv/bin/python - <<'PY'
import warnings

import nir
import nirtorch
import numpy as np
import torch
from torch import nn

warnings.simplefilter("ignore")
NOTHING, BIAS = np.zeros(1, np.float32), np.full(1, 0.4, np.float32)


class Integrator(nn.Module):
    """Fires at 1, and subtracts 1."""

    def forward(self, x, state=None):
        v = x if state is None else state[0] + x
        spike = (v >= 1).float()
        return spike, (v - spike,)


def affine(bias):
    return nir.Affine(weight=np.zeros((1, 1), np.float32), bias=bias)


def graph(front, feedback):
    lif = nir.IF(r=np.ones(1), v_threshold=np.ones(1), v_reset=np.zeros(1))
    ends = {"input": nir.Input(np.array([1])), "output": nir.Output(np.array([1]))}
    return nir.NIRGraph(
        {**ends, "front": affine(front), "neuron": lif, "feedback": affine(feedback)},
        [
            ("input", "front"), ("front", "neuron"), ("neuron", "feedback"), ("feedback", "neuron"),
            ("neuron", "output"),
        ],
    )


def mapped(node):
    layer = nn.Linear(1, 1)
    layer.weight.data, layer.bias.data = torch.from_numpy(node.weight), torch.from_numpy(node.bias)
    return layer


MAP = {nir.IF: lambda _: Integrator(), nir.Affine: mapped}


def firing(net):
    """Return the time steps, from 1 on, in which the neuron fires on silent frames."""
    seen, state = [], None
    for step in range(1, 11):
        out, state = net(torch.zeros(1, 1), state)
        seen += [step] * int(out.item())
    return seen


def old(node):
    return MAP[type(node)](node) if type(node) in MAP else None


for name, read in (("nir_to_torch", lambda g: nirtorch.nir_to_torch(g, MAP)), ("load", lambda g: nirtorch.load(g, old))):
    front, feedback = firing(read(graph(BIAS, NOTHING))), firing(read(graph(NOTHING, BIAS)))
    print(f"{name}: bias in front of the neuron: {front} | in the feedback: {feedback}")
    assert front == [3, 5, 8, 10], "changed: the bias in front"
    assert feedback == [4, 6, 9], "changed: the bias in the feedback"
PY
