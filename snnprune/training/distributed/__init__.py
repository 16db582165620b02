"""Several processes that train one run: start, join and stop them."""
