"""What tests and benchmarks share: small networks and runs, fake recordings, processes. It is in no wheel."""
