"""Folders that a scenario names: paths, or the data of an installed Python package."""

from importlib.util import find_spec
from pathlib import Path

PACKAGE = "package:"
"""Prefix of a name that stands for an installed package."""


def model_folder(name: str) -> Path:
    """The folder of a model: the path `name`, or for `package:NAME` the folder `model` of that installed package.

    The package is not imported. Raises ValueError where there is no such folder, or the package is not installed.
    """
    package = name.removeprefix(PACKAGE)
    folder = Path(name) if package == name else package_folder(package, "a model") / "model"
    if not folder.is_dir():
        raise ValueError(f"there is no folder {folder}")
    return folder


def package_folder(package: str, content: str) -> Path:
    """The folder of an installed package, which is not imported.

    Args:
        package: name of the package, as in an import statement.
        content: what the package contains, for the error message.

    Raises:
        ValueError: the package is not installed.
    """
    spec = find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        raise ValueError(f"the package {package}, which contains {content}, is not installed")
    return Path(spec.submodule_search_locations[0])
