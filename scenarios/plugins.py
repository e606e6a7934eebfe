"""Loading of code with parts: modules after `netsim --import`, and installed packages with entry points."""

from __future__ import annotations

import sys
import warnings
from functools import cache
from importlib import import_module
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from traceback import extract_tb

from scenarios.errors import BrokenPlugIn, ScenarioError, found
from scenarios.families import register

GROUP = "netsim.parts"
"""Entry points of this group are loaded before a scenario is read.

The value is a function without arguments, which calls `register`; or the class of a part, and then the entry point is
named after family and part: `"codec.my_codec" = "my_package.codecs:MyCodec"`.
"""


def import_own(name: str) -> None:
    """Import a module, which may be in the working directory.

    Its folder is appended to `sys.path`, so that no file in it hides an installed package.

    Args:
        name: name of the module, or path of its .py file.

    Raises:
        ScenarioError: the module cannot be imported.
    """
    file = Path(name) if name.endswith(".py") else None
    if file and not file.is_file():
        raise ScenarioError(f"netsim --import {name}: there is no such file")
    if not file and not all(step.isidentifier() for step in name.split(".")):
        raise ScenarioError(f"netsim --import: found {found(name)}; the name of a module or of a .py file is allowed")
    folder = str((file.parent if file else Path()).resolve())
    if folder not in sys.path:
        sys.path.append(folder)
    try:
        module = import_module(file.stem if file else name)
    except (Exception, SystemExit) as error:  # a script may call sys.exit, which would end the program without a word
        raise ScenarioError(f"netsim --import {name}: {_reason(error)}") from error
    came_from = module.__file__
    if file and (came_from is None or Path(came_from).resolve() != file.resolve()):
        raise ScenarioError(
            f"netsim --import {name}: {came_from or 'Python itself'} has a module of the same name, which comes first; "
            "rename the file"
        )


@cache
def load_installed() -> None:
    """Load the parts of installed packages, once per process; a package that cannot be loaded is a BrokenPlugIn."""
    for point in entry_points(group=GROUP):
        try:
            _load(point)
        except (Exception, SystemExit) as error:
            package = point.dist.name if point.dist else "a package"
            sentence = f"the parts of {package} are left out ({point.name} = {point.value}): {_reason(error)}"
            warnings.warn(BrokenPlugIn(sentence), stacklevel=2)


def _load(point: EntryPoint) -> None:
    part = point.load()
    if isinstance(part, type):
        family, _, name = point.name.partition(".")
        register(family, name, part)
    else:
        part()


def _reason(error: BaseException) -> str:
    """Message of an error and, unless it is complete in itself, the place in the code."""
    if isinstance(error, ScenarioError):
        return str(error)
    last = extract_tb(error.__traceback__)[-1]
    place = f" ({last.filename}:{last.lineno})" if not last.filename.startswith("<") else ""
    return f"{type(error).__name__}: {' '.join(str(error).split())}{place}"
