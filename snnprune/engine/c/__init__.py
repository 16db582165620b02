"""A plan as portable C99, for microcontrollers. It knows no torch, and nothing of where a plan comes from.

`snnprune.engine.c.writing.write` writes the files.
"""
