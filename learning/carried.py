"""Folders that are named in a scenario, or carried by a Python package."""

from importlib.util import find_spec
from pathlib import Path

PACKAGE = "package:"


def located(where: str) -> Path:
    """A folder, or for `package:NAME` the folder `model` of that installed package, which is not imported.

    Raises ValueError if it is not there.
    """
    name = where.removeprefix(PACKAGE)
    folder = Path(where) if name == where else folder_of(name, "a model") / "model"
    if not folder.is_dir():
        raise ValueError(f"there is no folder {folder}")
    return folder


def folder_of(package: str, carried: str) -> Path:
    """The folder of an installed package, which is not imported.

    Raises ValueError if it is not installed, telling what should be `carried` in it.
    """
    spec = find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        raise ValueError(f"the package {package}, which should carry {carried}, is not installed")
    return Path(spec.submodule_search_locations[0])
