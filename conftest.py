"""What all tests share, those of the package and those of the benchmarks: `support.fixtures`."""

pytest_plugins = ["support.fixtures"]
