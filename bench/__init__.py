"""Benchmarks: the portal against floors measured in the same run."""
