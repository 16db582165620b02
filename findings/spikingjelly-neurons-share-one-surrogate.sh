#!/usr/bin/env bash
# SpikingJelly 2.0.0: all neurons of a class have one surrogate function, with its switches, also in networks built apart.
#
# Guess, written down before the run: a layer of neurons, or a recurrent cell, that is given no surrogate function makes one of
#   its own, so what is set in one network stays there.
# Seen: the default is built once, when the class is defined. All LIFNodes of a process hold this one object, and so do all
#   IFNodes, and all cells of SpikingLSTM, SpikingGRU and SpikingVanillaRNN. set_spiking_mode(False) in one network, as is done
#   to check gradients or to compare with an ANN, makes every other network of this kind answer with numbers between 0 and 1.
#   A deepcopy has a surrogate of its own, so the fault comes and goes with how the second network was made. Nothing is said.
# Whom it hurts: whoever has two spiking networks in one process, sets the mode or the slope of one, and measures the
#   other; teachers and students, ensembles, a test beside a training.
# What to do: give each layer a surrogate_function=surrogate.Sigmoid() of its own, or work on a deepcopy.
set -euo pipefail
dir=$(mktemp -d); trap 'rm -rf "$dir"' EXIT
python3 -m venv "$dir/venv"
"$dir/venv/bin/pip" install --quiet --disable-pip-version-check spikingjelly==2.0.0 torch==2.14.1 torchvision==0.29.1 numpy==2.4.6
cd "$dir"
venv/bin/python - <<'PY'
import copy

import torch
from spikingjelly.activation_based import functional, neuron, rnn, surrogate
from torch import nn

torch.manual_seed(0)
FRAMES = torch.rand(5, 2, 4)


def surrogates(network):
    return {m for m in network.modules() if isinstance(m, surrogate.SurrogateFunctionBase)}


def values(network):
    functional.reset_net(network)
    answer = network(FRAMES)
    answer = answer[0] if isinstance(answer, tuple) else answer
    return sorted(set(answer.detach().flatten().tolist()))


def apart(kind):
    """Two networks that share nothing, and a copy of the second."""
    if kind.__name__.startswith("Spiking"):
        one, other = kind(4, 6, 1), kind(4, 6, 1)
    else:
        one, other = (nn.Sequential(nn.Linear(4, 6), kind(step_mode="m")) for _ in range(2))
    return one, other, copy.deepcopy(other)


for kind in (neuron.IFNode, neuron.LIFNode, rnn.SpikingLSTM, rnn.SpikingGRU, rnn.SpikingVanillaRNN):
    one, other, copied = apart(kind)
    assert surrogates(one) == surrogates(other), f"changed: {kind.__name__} has a surrogate of its own"
    before = values(other)
    assert set(before) <= {0.0, 1.0}
    for each in surrogates(one):
        each.set_spiking_mode(False)
    after = values(other)
    print(f"{kind.__name__}: the other network handed on {before}, and now {len(after)} values,", after[:3])
    assert any(0.0 < v < 1.0 for v in after), "changed: the other network still spikes"
    assert set(values(copied)) <= {0.0, 1.0}, "changed: a copy shares it, too"
    for each in surrogates(one):
        each.set_spiking_mode(True)
PY
