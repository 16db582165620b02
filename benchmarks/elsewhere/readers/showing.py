"""What all readers do: take the job, show recordings to a network, and keep what it answered.

This runs in the environment of a tool, where there is no snnprune.
"""

import json
import sys
import warnings
from pathlib import Path

import numpy as np

warnings.simplefilter("ignore")


class Job:
    """A file to read, the lines that read it, and recordings to show.

    Attributes:
        file: what `snnprune export` wrote.
        frames: [T, N, C, H, W], shown in two batches: what a tool keeps between recordings is seen, too.
        layers: names of the layers of neurons.
    """

    def __init__(self):
        folder = Path(sys.argv[1])
        given = json.loads((folder / "job.json").read_text())
        self.file, self.code, self.between = given["file"], given["code"], given["between"]
        self.layers, self.answers = given["layers"], folder / "answers.npz"
        self.frames = np.load(given["frames"])

    def read(self, **names):
        """Run the lines that read the network, and return what they name."""
        names["file"] = self.file
        exec(self.code, names)
        self.names = names
        return names

    def batches(self):
        """Yield the recordings in two batches, with what is to be done between them."""
        half = self.frames.shape[1] // 2
        yield self.frames[:, :half]
        exec(self.between, self.names)
        yield self.frames[:, half:]

    def keep(self, outputs, spikes):
        """Write outputs [T, N, K] and spikes [T, N, ...] of the layers that can be seen."""
        seen = {name: np.asarray(fired).astype(np.float32) for name, fired in spikes.items()}
        np.savez_compressed(self.answers, outputs=np.asarray(outputs), **seen)


def show_torch(job, net, step):
    """Show the recordings to a torch network whose layers have the names of NIR's nodes.

    Args:
        job: as above.
        net: the network.
        step: from a frame [N, C, H, W] and a state to the output and the next state.
    """
    import torch

    fired = {}

    def keep(name):
        def hook(_module, _given, out):
            fired.setdefault(name, []).append(out[0] if isinstance(out, tuple) else out)

        return hook

    for name, module in net.named_modules():
        if name in job.layers:
            module.register_forward_hook(keep(name))
    outputs, spikes = [], {}
    with torch.inference_mode():
        for batch in job.batches():
            fired.clear()
            state, answered = None, []
            for frame in torch.from_numpy(batch):
                out, state = step(frame, state)
                answered.append(out)
            outputs.append(torch.stack(answered).numpy())
            for name, several in fired.items():
                spikes.setdefault(name, []).append(torch.stack(several).numpy())
    job.keep(np.concatenate(outputs, 1), {k: np.concatenate(v, 1) for k, v in spikes.items()})
