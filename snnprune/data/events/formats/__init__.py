"""Readers of event files, one file for each family. None of them checks or casts: that is the gate's."""
