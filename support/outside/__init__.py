"""Networks as users of other libraries write them, and what becomes of each: a table for each library.

A table imports its library when a network is built, so that it can be read without it.
"""
