"""Training under Lightning, from a configuration to a finished folder; `callbacks` and `distributed` inside.

It does not know the command line.
"""
