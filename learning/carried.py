"""Folders that are named in a scenario, or carried by a Python package."""

from importlib.util import find_spec
from pathlib import Path

PACKAGE = "package:"


def located(where: str) -> Path:
    """A folder, or for `package:NAME` the folder `model` of that installed package, which is not imported.

    Raises ValueError if it is not there.
    """
    name = where.removeprefix(PACKAGE)
    if name == where:
        folder = Path(where)
    else:
        spec = find_spec(name)
        if spec is None or not spec.submodule_search_locations:
            raise ValueError(f"the package {name}, which should carry a model, is not installed")
        folder = Path(spec.submodule_search_locations[0]) / "model"
    if not folder.is_dir():
        raise ValueError(f"there is no folder {folder}")
    return folder
