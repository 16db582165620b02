"""spyx: channels last; reading runs the network, and only its last layer is seen."""

import numpy as np
from showing import Job

job = Job()
outputs = []
job.names = {}
for batch in job.batches():
    x = np.ascontiguousarray(batch.transpose(0, 1, 3, 4, 2))
    outputs.append(np.asarray(job.read(x=x)["y"]))
whole = np.concatenate(outputs, 1)
job.keep(whole, {job.layers[-1]: whole})
