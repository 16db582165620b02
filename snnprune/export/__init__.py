"""A trained network as files: what others can load without trusting us with a pickle."""

from snnprune.export.compact import load, save

__all__ = ["load", "save"]
