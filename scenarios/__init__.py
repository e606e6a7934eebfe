"""The scenario schema, its files, and the command line: the one room that knows both the network and learning."""

from typing import TYPE_CHECKING, Any

from scenarios.errors import RunFailed, ScenarioError
from scenarios.hidden_packages import hidden

if TYPE_CHECKING:
    from scenarios.families import register
    from scenarios.progress import Observer
    from scenarios.result import Result
    from scenarios.run import simulate
    from scenarios.schema import Scenario, load
    from scenarios.tracking import ScalarLog

__all__ = ["Observer", "Result", "RunFailed", "ScalarLog", "Scenario", "ScenarioError", "load", "register", "simulate"]

_HOMES = {
    "register": "families",
    "Observer": "progress",
    "Result": "result",
    "ScalarLog": "tracking",
    "simulate": "run",
    "Scenario": "schema",
    "load": "schema",
}


def __getattr__(name: str) -> Any:
    """Import what needs torch when it is used: `netsim --help` does without."""
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    if sentence := hidden():
        raise ImportError(sentence)
    from importlib import import_module

    return getattr(import_module(f"scenarios.{_HOMES[name]}"), name)
