#!/usr/bin/env bash
# nirtorch 2.6: nir_to_torch gives every Affine node a random bias.
#
# Guess, written down before the run: the default map, which is there so that users need to map their neurons only, makes of
#   nir.Affine an nn.Linear with its weight and its bias.
# Seen: the weight is right. The bias of the file is set as an attribute of the weight (weight.bias), and the layer keeps
#   the bias that nn.Linear drew when it was made: it differs from process to process, and from call to call. Convolutions
#   are right.
# Whom it hurts: whoever reads NIR with nirtorch itself and maps neurons alone. The network runs, answers otherwise each
#   time it is read, and close to right where biases are small.
# What to do: map nir.Affine as well: make the nn.Linear, and set module.weight.data and module.bias.data.
set -euo pipefail
dir=$(mktemp -d); trap 'rm -rf "$dir"' EXIT
python3 -m venv "$dir/venv"
"$dir/venv/bin/pip" install --quiet --disable-pip-version-check nir==1.0.8 nirtorch==2.6 torch==2.14.1 numpy==2.4.6
cd "$dir"
venv/bin/python - <<'PY'
import nir
import nirtorch
import numpy as np
import torch

nodes = {
    "input": nir.Input(np.array([2])),
    "fc": nir.Affine(weight=np.eye(2, dtype=np.float32), bias=np.array([5.0, -5.0], np.float32)),
    "output": nir.Output(np.array([2])),
}
names = list(nodes)
graph = nir.NIRGraph(nodes, list(zip(names, names[1:])))
answers = []
for seed in (0, 1):
    torch.manual_seed(seed)
    net = nirtorch.nir_to_torch(graph, {})
    answers.append(net(torch.ones(1, 2))[0].detach().flatten().tolist())
print("W x + b is [6, -4]; read twice, it answers", answers)
assert answers[0] != answers[1], "changed: the same answer each time"
assert all(abs(one - right) > 3 for answer in answers for one, right in zip(answer, (6, -4))), "changed: the bias is read"
PY
