"""The command line as a process: `netsim`, and `python -m scenarios`."""

from scenarios.signals import ending_on_signals


def main() -> None:
    """Entry point of the console script. Signals are handled first: the rest takes long to import."""
    ending_on_signals()
    from scenarios.cli import main as command

    command()


if __name__ == "__main__":
    main()
