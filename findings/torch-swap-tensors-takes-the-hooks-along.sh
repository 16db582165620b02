#!/usr/bin/env bash
# torch 2.13.0: swap_tensors gives a parameter another shape, and silently leaves it without hooks and attributes; a swap
# that is taken back leaves the parameter unusable while an old loss is alive.
#
# Guess, written down before the run: hooks and attributes belong to the Python object, which stays, so they stay; and
#   swapping twice is the identity.
# Seen: (1) gradient hooks, post-accumulate hooks and attributes go over to the other tensor: after the swap the next
#   backward calls none of them. (2) With a loss still in scope the swap is accepted. Swapping back is accepted too, and the
#   next backward raises RuntimeError (AccumulateGrad "poisoned by swap_tensors") until the old loss is deleted.
# Whom it hurts: structured pruning in place (parameters stay the objects that the optimiser holds): the pattern "optimiser
#   step in a post-accumulate hook" never trains the parameter again, and a cut that fails half way cannot be rolled back.
# What to do: set the hooks and attributes of the old tensor on the new one before the swap; look for whoever holds the
#   tensor before the first swap of a cut, rather than rolling back.
set -euo pipefail
dir=$(mktemp -d); trap 'rm -rf "$dir"' EXIT
python3 -m venv "$dir/venv"
"$dir/venv/bin/pip" install --quiet --disable-pip-version-check torch==2.13.0 numpy==2.4.6
cd "$dir"
venv/bin/python - <<'PY'
import torch
from torch import nn
from torch.utils import swap_tensors

print("torch", torch.__version__)
called = []
weight = nn.Parameter(torch.ones(3))
weight.register_hook(lambda gradient: called.append("gradient hook"))
weight.register_post_accumulate_grad_hook(lambda parameter: called.append("post-accumulate hook"))
weight.label = "layer 1"
weight.sum().backward()
print("before the swap:", called, "label" in vars(weight))
assert len(called) == 2
called.clear()
swap_tensors(weight, nn.Parameter(torch.ones(2)))
weight.sum().backward()
print("after it:       ", called, "label" in vars(weight))
assert called == [] and "label" not in vars(weight), "changed: hooks or attributes stay"

weight, other = nn.Parameter(torch.ones(3)), nn.Parameter(torch.ones(2))
loss = weight.sum()
swap_tensors(weight, other)
swap_tensors(weight, other)
try:
    weight.sum().backward()
except RuntimeError as error:
    print("swapped there and back with a loss alive:", str(error)[:70], "...")
else:
    raise SystemExit("changed: there and back is the identity")
del loss
weight.sum().backward()
print("after the loss is gone:", weight.grad.tolist())
PY
