"""Benchmarks: ratios measured within one run, because a machine's absolute speed drifts."""
