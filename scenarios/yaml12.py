"""YAML of scenario files: scalars as in YAML 1.2, one document, the line of every value, and no tags."""

from __future__ import annotations

import re
from copy import deepcopy
from typing import Any, NoReturn

import yaml

from scenarios.errors import Path, ScenarioError, dotted, found, quotable

MAX_DEPTH = 30
"""Maximum levels of nesting; the schema needs fewer than ten."""

MAX_VALUES = 100_000
"""Maximum number of values after aliases are expanded."""

MAX_DIGITS = 100
"""Maximum digits of a whole number: the time to convert one grows with the square of their number."""

SCALARS = {
    "null": re.compile(r"(?:~|null|Null|NULL|)$"),
    "bool": re.compile(r"(?:true|True|TRUE|false|False|FALSE)$"),
    "int": re.compile(r"(?:[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+)$"),
    "float": re.compile(
        r"(?:[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN))$"
    ),
}
"""Patterns of the core schema of YAML 1.2: `1e6` is a number; `yes`, `on` and dates are text."""

UNICODE_BREAKS = {"\x85", "\u2028", "\u2029"}
"""Characters that end a line in YAML 1.1, and so in PyYAML, but not in YAML 1.2."""

HINTS = {
    "\\t": "indent with spaces, not with tabs",
    "mapping values are not allowed": "is a colon missing above, or does text with a colon need quotes?",
    "expected '<document start>'": "does the indentation agree with the lines above?",
    "expected <block end>": "does the indentation agree with the lines above?",
    "could not find expected ':'": "a field is written as `name: value`",
    "while parsing a flow": "is a closing bracket missing?",
    "undefined alias": "text that begins with * needs quotes",
    "cannot start any token": "text that begins with this character needs quotes",
    "while scanning a quoted scalar": "is a closing quote missing?",
}
"""Advice by a part of the parser's message."""


class _Loader(yaml.SafeLoader):
    """Loader that only composes nodes, rejects tags, and limits the depth before Python's stack overflows."""

    yaml_implicit_resolvers: dict[str, Any] = {}  # noqa: RUF012  filled below, as PyYAML's own loaders do
    depth = 0

    def compose_node(self, parent: Any, index: Any) -> Any:
        event = self.peek_event()  # type: ignore[no-untyped-call]
        if getattr(event, "tag", None) is not None:
            problem = f"the tag {quotable(event.tag)} is not allowed; a scenario holds plain values only"
            raise yaml.MarkedYAMLError(problem=problem, problem_mark=event.start_mark)
        self.depth += 1
        if self.depth > MAX_DEPTH:
            problem = f"nested deeper than {MAX_DEPTH} levels; no field of a scenario is"
            raise yaml.MarkedYAMLError(problem=problem, problem_mark=event.start_mark)
        node = super().compose_node(parent, index)
        self.depth -= 1
        return node


class _Dumper(yaml.SafeDumper):
    """Dumper that quotes text which YAML 1.1 or 1.2 would read as another type, and writes no aliases."""

    yaml_implicit_resolvers = deepcopy(yaml.SafeDumper.yaml_implicit_resolvers)

    def ignore_aliases(self, data: Any) -> bool:
        return True


def _text(dumper: _Dumper, text: str) -> yaml.ScalarNode:
    style = '"' if set(text) & UNICODE_BREAKS else None  # escaped, since PyYAML folds lines there
    return dumper.represent_scalar("tag:yaml.org,2002:str", text, style=style)


_Dumper.add_representer(str, _text)
for _kind, _pattern in SCALARS.items():
    for _class in (_Loader, _Dumper):
        _class.add_implicit_resolver(f"tag:yaml.org,2002:{_kind}", _pattern, None)


def dump(content: Any, one_line: bool = False) -> str:
    """Write plain values as YAML that `Text` reads back unchanged.

    Args:
        content: numbers, text, booleans and None, in dictionaries and lists.
        one_line: whether to write everything on one line, without a line break at its end.
    """
    text: str = yaml.dump(
        content,
        Dumper=_Dumper,
        sort_keys=False,
        allow_unicode=True,
        default_flow_style=True if one_line else None,
        width=10**9 if one_line else 120,
    )
    return text.removesuffix("...\n").strip() if one_line else text


class Text:
    """Plain values read from YAML: `content`, and `places` with `file:line` of each value by path."""

    def __init__(self, text: str, source: str, numbered: bool = True) -> None:
        """Parse YAML.

        Args:
            text: the YAML.
            source: name of the text in messages.
            numbered: whether messages and places give the line.

        Raises:
            ScenarioError: it is not one YAML document of plain values.
        """
        self._source, self._numbered = source, numbered
        self._values = 0
        self.places: dict[Path, str] = {(): self._at(0)}
        node = self._compose(text)
        self.content = None if node is None else self._construct(node, ())

    def _at(self, line: int | None) -> str:
        return self._source if line is None or not self._numbered else f"{self._source}:{line + 1}"

    def _reject(self, node: yaml.Node, problem: str) -> NoReturn:
        raise ScenarioError(f"{self._at(node.start_mark.line)}: {problem}")

    def _compose(self, text: str) -> yaml.Node | None:
        try:
            return yaml.compose(text, _Loader)
        except yaml.MarkedYAMLError as error:
            line = error.problem_mark.line if error.problem_mark else None
            raise ScenarioError(f"{self._at(line)}: {_explain(error)}") from None
        except yaml.reader.ReaderError as error:
            character = error.character if isinstance(error.character, int) else ord(error.character)
            line = text.count("\n", 0, error.position)
            raise ScenarioError(
                f"{self._at(line)}: found the character #x{character:02x}, which is not text; is this a YAML file?"
            ) from None

    def _construct(self, node: yaml.Node, path: Path) -> Any:
        self.places[path] = self._at(node.start_mark.line)
        self._values += 1
        if self._values > MAX_VALUES or len(path) > MAX_DEPTH:
            self._reject(node, f"more than {MAX_VALUES} values or {MAX_DEPTH} levels; does an alias (*) repeat itself?")
        if isinstance(node, yaml.MappingNode):
            return self._mapping(node, path)
        if isinstance(node, yaml.SequenceNode):
            return [self._construct(item, (*path, number)) for number, item in enumerate(node.value)]
        return self._scalar(node)

    def _mapping(self, node: yaml.MappingNode, path: Path) -> dict[str, Any]:
        out: dict[str, Any] = {}
        for key_node, value_node in node.value:
            key = self._scalar(key_node) if isinstance(key_node, yaml.ScalarNode) else {}
            if not isinstance(key, str):
                self._reject(key_node, f"found {found(key)} as the name of a field; names are text")
            inner = (*path, key)
            if key in out:
                self._reject(
                    key_node, f"{dotted(inner)}: found the field twice, first at {self.places[inner]}; keep one"
                )
            out[key] = self._construct(value_node, inner)
            self.places[inner] = self._at(key_node.start_mark.line)
        return out

    def _scalar(self, node: yaml.Node) -> Any:
        text = node.value
        match node.tag.rpartition(":")[2]:
            case "null":
                return None
            case "bool":
                return text.lower() == "true"
            case "int" if len(text) > MAX_DIGITS:
                self._reject(node, f"found a whole number of more than {MAX_DIGITS} digits; no field needs that")
            case "int":
                return int(text, 0 if text[:2] in ("0o", "0x") else 10)
            case "float":
                return float(text.replace(".", "") if text[-1] in "fFnN" else text)
        return text


def _explain(error: yaml.MarkedYAMLError) -> str:
    if "single document" in (error.context or ""):
        return "found a second document (---); one file is one scenario"
    message = " ".join(f"{error.context or ''} {error.problem or ''}".split())
    hint = next((f"; {HINTS[key]}" for key in HINTS if key in message), "")
    return " ".join((error.problem or message).split()) + hint
