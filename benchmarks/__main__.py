"""Run all benchmarks: `python -m benchmarks`, or some by name: `python -m benchmarks coupling`."""

import sys
from importlib import import_module

BENCHMARKS = (
    "fl",
    "lora",
    "psl",
    "coupling",
    "transfers",
    "growth",
    "tables",
    "population",
    "store",
    "start",
    "solvers",
    "layout",
)

if __name__ == "__main__":
    for name in sys.argv[1:] or BENCHMARKS:
        import_module(f"benchmarks.{name}").main()
