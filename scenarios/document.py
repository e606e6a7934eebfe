"""The content of a scenario file or study file as plain values, with overrides and the place of every field."""

from __future__ import annotations

import re
from collections.abc import Mapping
from copy import deepcopy
from pathlib import Path as File
from typing import Any

from scenarios.errors import Path, ScenarioError, dotted, found, nearest, quotable
from scenarios.yaml12 import Text, dump

MAX_FILE_BYTES = 1_000_000
"""Maximum size of a scenario file."""


class Document:
    """Content of a file, with the place where each field was written."""

    def __init__(self, source: str, content: dict[str, Any], places: dict[Path, str]) -> None:
        """Describe a document that has been read.

        Args:
            source: name of the file, for messages.
            content: the values, by field.
            places: `file:line` by path of field, at least that of the path `()`, which is the whole document.
        """
        self.source = source
        self.content = content
        self._places = places
        self.problems: list[str] = []
        """Sentences about overrides that could not be applied, to be named with what is wrong with the fields."""

    @classmethod
    def read(cls, file: str | File, what: str = "scenario") -> Document:
        """Read a YAML file.

        Args:
            file: path of the file.
            what: its kind, scenario or study, for messages.

        Raises:
            ScenarioError: there is no such file, or it is not a YAML mapping of plain values.
        """
        text = Text(_contents(File(file), what), str(file))
        content = text.content
        if not isinstance(content, dict):
            raise ScenarioError(f"{text.places[()]}: found {found(content)}; a {what} is lines of `field: value`")
        return cls(str(file), content, text.places)

    def place(self, path: Path) -> str:
        """Return `file:line` or `--set ...` of a field, or of the innermost section around it that was written."""
        path = self.written(path)
        while path not in self._places:
            path = path[:-1]
        return self._places[path]

    def written(self, path: Path) -> Path:
        """Return the part of a path that was written: a shorthand such as `fading: rayleigh` has no inner fields."""
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
        """Set fields by dotted path.

        Outer fields are set first and `name` fields before their neighbours, so the order of overrides does not matter.
        Setting `x.name` to another name resets `x` to the defaults of the part of that name; fields of the old part in
        the file have no effect.

        Args:
            overrides: values by dotted path.
            places: `file:line` of each override (default: it is on the command line).

        Raises:
            ScenarioError: a path is malformed, or leads into a list; the others have been set.
        """
        problems: list[str] = []
        for name in sorted(overrides, key=lambda name: (name.count("."), not name.endswith(".name"))):
            value = deepcopy(overrides[name])
            shown = value if isinstance(value, str) else dump(value, one_line=True)
            place = (places or {}).get(name, f"--set {name}={quotable(shown)}")
            try:
                self._set(tuple(name.split(".")), value, place)
            except ScenarioError as error:
                problems += error.sentences
        if problems:
            raise ScenarioError(*problems)

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
        """Record `place` as the place of the field at `path` and of all fields inside it."""
        self._places = {known: where for known, where in self._places.items() if known[: len(path)] != path}
        self._places[path] = place


def document(path: str | File, overrides: Mapping[str, Any]) -> Document:
    """Read the content of a scenario file and apply overrides; the default name is that of the file.

    Raises:
        ScenarioError: the file cannot be read, or is a study. Overrides that cannot be applied are `problems`.
    """
    read = Document.read(path)
    if "base" in read.content:
        raise ScenarioError(f"{read.source}: this is a study; `netsim sweep` runs it")
    read.content.setdefault("name", default_name(path))
    try:
        read.override(overrides)
    except ScenarioError as error:
        read.problems = list(error.sentences)
    return read


def default_name(file: str | File) -> str:
    """Return the name of a scenario or study that has none: that of its file."""
    return "-".join(re.findall(r"[\w.-]+", File(file).stem.lstrip(".-"))) or "scenario"


def assignments(settings: list[str]) -> dict[str, Any]:
    """Parse the arguments of `--set`.

    Args:
        settings: `a.b.c=VALUE` each, where VALUE is YAML.

    Returns:
        Values by dotted path.

    Raises:
        ScenarioError: an argument has no `=`, or its value is not YAML.
    """
    out: dict[str, Any] = {}
    problems: list[str] = []
    for setting in settings:
        name, equals, text = setting.partition("=")
        try:
            if not equals:
                raise ScenarioError(f"--set {quotable(setting)}: found no `=`; write --set network.users.count=20")
            out[name.strip()] = Text(text, f"--set {quotable(setting)}", numbered=False).content
        except ScenarioError as error:
            problems += error.sentences
    if problems:
        raise ScenarioError(*problems)
    return out


def _contents(file: File, what: str) -> str:
    """Text of a file.

    Raises:
        ScenarioError: the file is missing, unreadable, too large, empty or not UTF-8.
    """
    try:
        if not file.is_file():
            raise ScenarioError(f"{file}: {_why_not_a_file(file, what)}")
        with file.open("rb") as stream:
            content = stream.read(MAX_FILE_BYTES + 1)
        if len(content) > MAX_FILE_BYTES:
            raise ScenarioError(f"{file}: the file is larger than {MAX_FILE_BYTES} bytes; is this a {what} file?")
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise ScenarioError(f"{file}:{line}: found bytes that are not UTF-8 text; is this a YAML file?") from None
    except OSError as error:
        raise ScenarioError(f"{file}: the file cannot be read: {error.strerror}") from None
    if not text.strip():
        raise ScenarioError(f"{file}: the file is empty; a {what} is lines of `field: value`")
    return text


def _why_not_a_file(file: File, what: str) -> str:
    """Message for a path that is not a file, with the nearest name of a file."""
    if file.is_dir():
        names = sorted(inner.name for inner in file.glob("*.yaml"))
        return f"this is a folder; name a {what} file{f' in it, such as {names[0]}' if names else ''}"
    if file.exists():
        return f"this is not a regular file; name a {what} file"
    if not file.parent.is_dir():
        return f"there is no folder {file.parent}; name an existing {what} file"
    close = nearest(file.name, (inner.name for inner in file.parent.iterdir()))
    return f"there is no such file; {f'did you mean {file.parent / close}?' if close else 'is the path right?'}"
