"""A scenario file as plain values, changed by overrides; it knows where every field was written."""

from __future__ import annotations

from collections.abc import Mapping
from copy import deepcopy
from difflib import get_close_matches
from pathlib import Path as File
from typing import Any

from scenarios.errors import Path, ScenarioError, dotted, found, quotable
from scenarios.yaml12 import Text, dump

LARGEST_FILE_BYTES = 1_000_000


class Document:
    """What a scenario says, and where it says so."""

    def __init__(self, source: str, content: dict[str, Any], places: dict[Path, str]) -> None:
        """`source` is the file's name; `places` maps paths to `file:line`, at least the path `()` of the document."""
        self.source = source
        self.content = content
        self._places = places

    @classmethod
    def read(cls, file: str | File, what: str = "scenario") -> Document:
        """Read a file; messages say `what` should be in it.

        Raises:
            ScenarioError: there is no such file, or it is not a YAML mapping of plain values.
        """
        text = Text(_contents(File(file), what), str(file))
        content = text.content
        if not isinstance(content, dict):
            raise ScenarioError(f"{text.places[()]}: found {found(content)}; a {what} is lines of `field: value`")
        return cls(str(file), content, text.places)

    def place(self, path: Path) -> str:
        """`file:line` or `--set ...` of a field, or of the nearest section around it that is written down."""
        path = self.written(path)
        while path not in self._places:
            path = path[:-1]
        return self._places[path]

    def written(self, path: Path) -> Path:
        """The steps of a path that the user wrote: a shorthand such as `fading: rayleigh` hides those inside it."""
        out: list[str | int] = []
        value: Any = self.content
        for step in path:
            if isinstance(value, list) and isinstance(step, int):
                value = value[step]
            elif isinstance(value, dict):
                value = value.get(str(step))
            else:
                continue
            out.append(step)
        return tuple(out)

    def override(self, overrides: Mapping[str, Any], places: Mapping[str, str] | None = None) -> None:
        """Set fields by dotted path; outer fields first, then names, so that the order of overrides does not matter.

        Setting `x.name` to another name resets `x` to the defaults of the part of that name: what the file says about
        the old part does not carry over. `places` tells where overrides were written, if not on the command line.
        """
        for name in sorted(overrides, key=lambda name: (name.count("."), not name.endswith(".name"))):
            value = deepcopy(overrides[name])
            shown = value if isinstance(value, str) else dump(value, one_line=True)
            place = (places or {}).get(name, f"--set {name}={quotable(shown)}")
            self._set(tuple(name.split(".")), value, place)

    def _set(self, path: tuple[str, ...], value: Any, place: str) -> None:
        if not all(path):
            raise ScenarioError(f"{place}: a path is names joined by dots, such as network.users.count")
        section = self.content
        for depth, step in enumerate(path[:-1], start=1):
            section = self._enter(section, step, path[:depth], place)
        if path[-1] == "name" and len(path) > 1 and section.get("name") != value:
            section.clear()
            self._move(path[:-1], place)
        section[path[-1]] = value
        self._move(path, place)

    def _enter(self, section: dict[str, Any], step: str, path: Path, place: str) -> dict[str, Any]:
        inner = section.get(step)
        if isinstance(inner, list):
            raise ScenarioError(f"{place}: {dotted(path)} is a list; set it as a whole, as in {dotted(path)}=[1, 2]")
        if not isinstance(inner, dict):
            inner = section[step] = {"name": inner} if isinstance(inner, str) else {}
            self._move(path, place)
        return inner

    def _move(self, path: Path, place: str) -> None:
        """The field at `path` and all inside it now come from `place`."""
        self._places = {known: where for known, where in self._places.items() if known[: len(path)] != path}
        self._places[path] = place


def assignments(settings: list[str]) -> dict[str, Any]:
    """`--set a.b.c=VALUE` arguments as overrides; VALUE is YAML.

    Raises:
        ScenarioError: an argument has no `=`, or its value is not YAML.
    """
    out = {}
    for setting in settings:
        name, equals, text = setting.partition("=")
        if not equals:
            raise ScenarioError(f"--set {quotable(setting)}: found no `=`; write --set network.users.count=20")
        out[name.strip()] = Text(text, f"--set {quotable(setting)}", numbered=False).content
    return out


def _contents(file: File, what: str) -> str:
    """The text of a file.

    Raises:
        ScenarioError: it is missing, unreadable, too large, empty or not UTF-8.
    """
    try:
        if not file.is_file():
            raise ScenarioError(f"{file}: {_instead(file, what)}")
        with file.open("rb") as stream:
            content = stream.read(LARGEST_FILE_BYTES + 1)
        if len(content) > LARGEST_FILE_BYTES:
            raise ScenarioError(f"{file}: the file is larger than {LARGEST_FILE_BYTES} bytes; is this a {what} file?")
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise ScenarioError(f"{file}:{line}: found bytes that are not UTF-8 text; is this a YAML file?") from None
    except OSError as error:
        raise ScenarioError(f"{file}: the file cannot be read: {error.strerror}") from None
    if not text.strip():
        raise ScenarioError(f"{file}: the file is empty; a {what} is lines of `field: value`")
    return text


def _instead(file: File, what: str) -> str:
    """Why a path is no file, and which one was perhaps meant."""
    if file.is_dir():
        names = sorted(inner.name for inner in file.glob("*.yaml"))
        return f"this is a folder; name a {what} file{f' in it, such as {names[0]}' if names else ''}"
    if file.exists():
        return f"this is not a regular file; name a {what} file"
    if not file.parent.is_dir():
        return f"there is no folder {file.parent}; name an existing {what} file"
    close = get_close_matches(file.name, [inner.name for inner in file.parent.iterdir()], n=1)
    return f"there is no such file; {f'did you mean {file.parent / close[0]}?' if close else 'is the path right?'}"
