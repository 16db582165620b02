#!/usr/bin/env bash
# spikingjelly 2.0.0: two recurrent networks that were built apart have one surrogate function, with its switches.
#
# Guess, written down before the run: each SpikingLSTM, SpikingGRU or SpikingVanillaRNN makes its own surrogate function, as
#   each LIFNode does not share one that it was not given; so what is set in one network stays there.
# Seen: the default is built once, when the class is defined. All cells of a class in a process hold this one object, also
#   those of networks that were made apart. set_spiking_mode(False) in one network, as is done to check gradients, makes the
#   other answer with numbers between 0 and 1. The copy of a network (deepcopy) has a surrogate of its own, so the
#   fault comes and goes with how the second network was made. Nothing is said.
# Whom it hurts: whoever trains or compares two recurrent networks in one process, sets the slope or the mode of one, and
#   measures the other; ensembles; teachers and students.
# What to do: give each network surrogate_function1=surrogate.Erf() of its own, or work on a deepcopy.
set -euo pipefail
dir=$(mktemp -d); trap 'rm -rf "$dir"' EXIT
python3 -m venv "$dir/venv"
"$dir/venv/bin/pip" install --quiet --disable-pip-version-check spikingjelly==2.0.0 torch==2.14.1 torchvision==0.29.1 numpy==2.4.6
cd "$dir"
venv/bin/python - <<'PY'
import copy

import torch
from spikingjelly.activation_based import rnn, surrogate

torch.manual_seed(0)
FRAMES = torch.rand(5, 2, 4)


def surrogates(network):
    return {m for m in network.modules() if isinstance(m, surrogate.SurrogateFunctionBase)}


def values(network):
    return sorted(set(network(FRAMES)[0].detach().flatten().tolist()))


for kind in (rnn.SpikingLSTM, rnn.SpikingGRU, rnn.SpikingVanillaRNN):
    one, other = kind(4, 6, 1), kind(4, 6, 1)
    apart = copy.deepcopy(other)
    shared = surrogates(one) & surrogates(other)
    assert len(shared) == 1, f"changed: {kind.__name__} has a surrogate of its own"
    before = values(other)
    assert set(before) <= {0.0, 1.0}
    for each in surrogates(one):
        each.set_spiking_mode(False)
    after = values(other)
    print(f"{kind.__name__}: the other network handed on {before}, and now {len(after)} values,", after[:3])
    assert any(0.0 < v < 1.0 for v in after), "changed: the other network still spikes"
    assert set(values(apart)) <= {0.0, 1.0}, "changed: a copy shares it, too"
    for each in surrogates(one):
        each.set_spiking_mode(True)
PY
