"""Several processes that train one run: started, joined, and ended together."""
