#!/usr/bin/env bash
# pytorch_optimizer 4.1.0: weights that a mask keeps at zero come back, away from zero, when SPlus is switched to evaluation.
#
# Guess, written down before the run: the average of weights that SPlus evaluates with is zero wherever the weights were zero
#   behind each of its steps.
# Seen: a step moves entries of a matrix that have no gradient and no momentum, because signs are taken in another basis; the
#   average takes these moved weights in before step() returns, so that a mask comes too late for it. After 20 masked steps
#   the trained weights are zero where they are masked, and those of eval() are not. A vector, which has no other basis,
#   stays zero.
# Whom it hurts: whoever prunes or freezes single weights with SPlus: the network that is validated and saved is not the
#   sparse one that was trained.
# What to do: multiply optimizer.state[weight]["ema"] by the mask behind each step as well, or mask once more behind eval().
set -euo pipefail
dir=$(mktemp -d); trap 'rm -rf "$dir"' EXIT
python3 -m venv "$dir/venv"
"$dir/venv/bin/pip" install --quiet --disable-pip-version-check pytorch_optimizer==4.1.0 torch==2.14.1 numpy==2.4.6
cd "$dir"
venv/bin/python - <<'PY'
from importlib import metadata

import pytorch_optimizer
import torch

print("pytorch_optimizer", metadata.version("pytorch_optimizer"), "torch", torch.__version__)


def evaluated(shape, also_average):
    """Return the largest masked weight in training and in evaluation."""
    torch.manual_seed(0)
    weight = torch.nn.Parameter(torch.randn(shape))
    mask = (torch.rand(shape) < 0.5).float()
    weight.data.mul_(mask)
    optimizer = pytorch_optimizer.SPlus([weight], lr=0.1)
    for _ in range(20):
        weight.grad = torch.randn(shape) * mask
        optimizer.step()
        weight.data.mul_(mask)
        if also_average:
            optimizer.state[weight]["ema"].mul_(mask)
    trained = weight.detach().clone()
    optimizer.eval()
    return [float(each[mask == 0].abs().max()) for each in (trained, weight.detach())]


found = {
    "matrix": evaluated((8, 6), also_average=False),
    "vector": evaluated((8,), also_average=False),
    "matrix, average masked as well": evaluated((8, 6), also_average=True),
}
for name, (training, evaluation) in found.items():
    print(f"{name}: largest masked weight {training:.2g} in training, {evaluation:.2g} in evaluation")
zero = [0.0, 0.0]
same = found["matrix"][0] == 0 < found["matrix"][1] and found["vector"] == zero
same = same and found["matrix, average masked as well"] == zero
raise SystemExit(0 if same else "the behaviour has changed")
PY
