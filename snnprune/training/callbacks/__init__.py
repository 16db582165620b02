"""Callbacks of the Trainer: pruning, and what a run records."""
