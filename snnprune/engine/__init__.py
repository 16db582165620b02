"""A spiking network that computes only where spikes arrive: plans, kernels, streams, C.

It knows no torch, and nothing of networks, pruning or training: `snnprune.export.planning` makes the plans.
"""
