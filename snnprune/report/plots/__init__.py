"""The pictures of a run, a file for each kind; all return a `Picture`, or why there is none."""
