"""The command line as a process: `netsim`, and `python -m scenarios`."""

import gc

from scenarios.signals import ending_on_signals

BETWEEN_SEARCHES = 100_000
"""Objects that are made, beyond those that are freed, between two searches for garbage: what is imported stays, and was
searched a thousand times before anything was simulated."""


def main() -> None:
    """Entry point of the console script. Signals are handled first: the rest takes long to import."""
    ending_on_signals()
    gc.set_threshold(BETWEEN_SEARCHES)
    from scenarios.cli import main as command

    command()


if __name__ == "__main__":
    main()
