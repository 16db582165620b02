"""Every method that a name stands for: DPAP and what it is compared with, one file each.

A method knows the machine of `pruning`, and does not know what trains the network.
"""
