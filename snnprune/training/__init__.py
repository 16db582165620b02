"""Training under Lightning: the task, the pruning callback, and runs that can be killed and resumed.

`callback.PruningCallback` works in anybody's Trainer and needs nothing else of this package's commands;
`run` is what `snnprune train`, `--resume` and `eval` call.
"""
