#!/usr/bin/env bash
# torch 2.14.1: fused SGD with momentum starts from whatever lay in memory if GradScaler skips its first step.
#
# Guess, written down before the run: a step that the scaler skips leaves the optimiser as it was, so the next step is the
#   first one: momentum begins as the gradient, and w goes from 1 to 1 - 0.1 * 1 = 0.9.
# Seen: the skipped step makes the momentum buffer without writing into it, and the next step takes it for a momentum: it adds
#   0.9 times old memory to the gradient. Weights end anywhere, down to -2.7e9 in one run here. With foreach in place of fused
#   all weights are 0.9.
# Whom it hurts: training in fp16 (spiking networks too) with fused SGD: at the usual first scale of 65,536 the first step
#   overflows often. Weights jump silently, or become NaN, from one run to the next with the same seed.
# What to do: foreach=True in place of fused=True; or momentum from the second step on; or one step with zero gradients first.
set -euo pipefail
dir=$(mktemp -d); trap 'rm -rf "$dir"' EXIT
python3 -m venv "$dir/venv"
"$dir/venv/bin/pip" install --quiet --disable-pip-version-check torch==2.14.1 numpy==2.4.6
cd "$dir"
venv/bin/python - <<'PY'
import torch

print("torch", torch.__version__)
SIZE = 4096


def second_step(**way):
    weight = torch.nn.Parameter(torch.ones(SIZE))
    optimizer = torch.optim.SGD([weight], 0.1, momentum=0.9, **way)
    scaler = torch.amp.GradScaler("cpu", init_scale=64.0)
    for factor in (float("inf"), 1.0):
        optimizer.zero_grad()
        scaler.scale(weight.sum() * factor).backward()
        old = [torch.full((SIZE,), 1e6) for _ in range(64)]
        del old
        scaler.step(optimizer)
        scaler.update()
    return weight.detach()


plain, fused = second_step(foreach=True), second_step(fused=True)
print("foreach: weights from", plain.min().item(), "to", plain.max().item())
print("fused:   weights from", fused.min().item(), "to", fused.max().item())
assert torch.allclose(plain, torch.tensor(0.9)), "changed: foreach differs, too"
assert not torch.allclose(fused, plain), "changed: fused begins as foreach does"
PY
