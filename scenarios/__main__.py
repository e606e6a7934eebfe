"""`python -m scenarios` is the command line."""

from scenarios.cli import main

main()
