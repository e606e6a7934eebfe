"""Storms print their figures: tries and failures of each."""

from collections import Counter
from typing import Any


def pytest_terminal_summary(terminalreporter: Any) -> None:
    tally: Counter[tuple[str, str]] = Counter()
    for outcome in ("passed", "failed"):
        for report in terminalreporter.stats.get(outcome, []):
            if report.when == "call" and "tests/storm/" in report.nodeid:
                tally[report.nodeid.partition("::")[2].partition("[")[0], outcome] += 1
    for name in sorted({name for name, _ in tally}):
        failures = tally[name, "failed"]
        terminalreporter.write_line(f"{name}: {tally[name, 'passed'] + failures} tries, {failures} failures")
