"""sinabs: batch and time are one axis, batch first."""

import numpy as np
import torch
from showing import Job

job = Job()
net = job.read(batch_size=job.frames.shape[1] // 2)["net"]
steps = job.frames.shape[0]
fired, outputs, spikes = {}, [], {}
for name, module in net.named_modules():
    if name in job.layers:
        module.register_forward_hook(lambda _m, _a, out, name=name: fired.__setitem__(name, out))
with torch.inference_mode():
    for batch in job.batches():
        out = net(torch.from_numpy(batch).transpose(0, 1).flatten(0, 1).contiguous())
        fired["outputs"] = out[0] if isinstance(out, tuple) else out
        for name, one in fired.items():
            spikes.setdefault(name, []).append(one.unflatten(0, (-1, steps)).transpose(0, 1).numpy())
whole = {name: np.concatenate(several, 1) for name, several in spikes.items()}
job.keep(whole.pop("outputs"), whole)
