"""The client and the server of a Flower app, by the names in a scenario."""

from __future__ import annotations

import inspect
import sys
from copy import deepcopy
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from learning.ports import Streams
from learning.schemes.flower.mapping import Mapping

if TYPE_CHECKING:
    from learning.schemes.flower.server_side import ServerSide


def client_app(path: str) -> Any:
    """The `ClientApp` at `module:name`; a `client_fn` there becomes one.

    Raises:
        ValueError: Flower is not installed, the module is not imported, or there is neither.
    """
    flower, found = _flower("clientapp"), _at("app", path)
    if isinstance(found, flower.ClientApp):
        return found
    if inspect.isfunction(found):
        return flower.ClientApp(client_fn=found)
    raise ValueError(f"app: {path} is {_kind(found)}; allowed are a ClientApp and a client_fn, a function of a context")


def server_side(path: str, run_config: dict[str, Any], mapping: Mapping, streams: Streams) -> ServerSide:
    """A new server with the strategy at `module:name`, which is left as it is.

    Args:
        path: module and name of the strategy, of what makes it, or of a `ServerApp`.
        run_config: configuration of the run.
        mapping: gives the initial model of a strategy without one.
        streams: random draws.

    Raises:
        ValueError: Flower is not installed, the module is not imported, or there is none of these.
    """
    new, old = _flower("serverapp"), _flower("server")
    from learning.schemes.flower.message_strategy import MessageStrategy, array_record, started
    from learning.schemes.flower.record_strategy import RecordStrategy
    from learning.schemes.flower.server_side import server_context

    found = _at("server", path)
    context = server_context(run_config)
    if isinstance(found, new.ServerApp):
        return started(found, context, streams)
    found = _made(found, context) if inspect.isfunction(found) or inspect.isclass(found) else deepcopy(found)
    if isinstance(found, old.ServerAppComponents):
        found = found.strategy
    if isinstance(found, new.strategy.Strategy):
        return MessageStrategy(found, array_record(mapping.arrays()), streams)
    if isinstance(found, old.strategy.Strategy):
        return RecordStrategy(found, list(mapping.arrays().values()), streams)
    raise ValueError(
        f"server: {path} is {_kind(found)}; allowed are a strategy of flwr.serverapp or flwr.server, "
        "a function that makes one, a server_fn, and a ServerApp"
    )


def _made(maker: Any, context: Any) -> Any:
    """What a function or class makes of the context, or of nothing if it requires no argument."""
    required = [
        each
        for each in inspect.signature(maker).parameters.values()
        if each.default is each.empty and each.kind not in (each.VAR_POSITIONAL, each.VAR_KEYWORD)
    ]
    return maker(context) if required else maker()


def _flower(name: str) -> Any:
    try:
        return import_module(f"flwr.{name}")
    except ImportError as problem:
        raise ValueError("the scheme flower needs the framework: pip install 'netsim-learning[flower]'") from problem


def _at(field: str, path: str) -> Any:
    """What is at `module:name` in a module that has been imported; a running script is known by its file's name too."""
    module, _, name = path.partition(":")
    main = sys.modules["__main__"]
    script = Path(getattr(main, "__file__", None) or "").stem
    loaded = main if module == script else sys.modules.get(module)
    if not name:
        raise ValueError(f"{field}: found {path!r}; write a module and a name in it, as in my_package.client_app:app")
    if loaded is None:
        raise ValueError(
            f"{field}: found {path}, in code that is not loaded; write netsim --import {module} "
            f"(or the path of its .py file), in Python import {module} first"
        )
    if not hasattr(loaded, name):
        raise ValueError(f"{field}: found {path}, but there is no {name} in the module {module}")
    return getattr(loaded, name)


def _kind(found: Any) -> str:
    return f"the class {found.__qualname__}" if inspect.isclass(found) else f"a {type(found).__qualname__}"
