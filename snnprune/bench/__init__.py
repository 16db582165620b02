"""Many runs side by side: a grid of methods, targets and seeds, and what may be said of it.

`run.bench` trains the cells that are not done and compares; `run.compare` compares what is there. A cell is
the folder of an ordinary run, so all that works on a run works on it.
"""
