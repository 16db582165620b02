"""Runtimes of ONNX: a function of a frame and states, which the lines of the job name ``run``.

``run`` takes {name of an input: array} and returns {name of an output: array}.
"""

import json

import numpy as np
import onnx
from showing import Job

job = Job()
proto = onnx.load(job.file)
kept = {entry.key: entry.value for entry in proto.metadata_props}
rest = json.loads(kept["snnprune.rest"])
fired = json.loads(kept["fired"])
shapes = {i.name: [d.dim_value for d in i.type.tensor_type.shape.dim][1:] for i in proto.graph.input}
run = job.read()["run"]
outputs, spikes = [], {name: [] for name in fired}
for batch in job.batches():
    states = {
        f"v.{name}": np.full((batch.shape[1], *shapes[f"v.{name}"]), value, np.float32)
        for name, value in rest.items()
    }
    answered, seen = [], {name: [] for name in fired}
    for frame in batch:
        out = run({"x": np.ascontiguousarray(frame), **states})
        states = {name: out["next." + name.removeprefix("v.")] for name in states}
        answered.append(out["y"])
        for name, output in fired.items():
            seen[name].append(out[output])
    outputs.append(np.stack(answered))
    for name, several in seen.items():
        spikes[name].append(np.stack(several))
job.keep(np.concatenate(outputs, 1), {name: np.concatenate(several, 1) for name, several in spikes.items()})
