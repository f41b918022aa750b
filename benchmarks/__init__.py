"""Benchmarks: who echoes how much for how much CPU. Knows the package under test only as one echo server of several."""
