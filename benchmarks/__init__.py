"""Benchmarks, which report ratios of times within one process, since the absolute speed of a machine varies."""
