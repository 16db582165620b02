"""Networks: fused neurons that spike as SpikingJelly's do, and the papers' models.

It knows no pruning and no data set.
"""
