"""Dataclasses as validators: their fields are the schema of a scenario, their docstrings its documentation.

A field whose type is the Protocol of a family takes any part of that family, selected by `name`. Shorthands:
`fading: rayleigh` is `fading: {name: rayleigh}`; in a family with parts `constant` and `list`, a number is the first
and a list the second; a section without `name` is of the default part. A part that is not registered is written by its
import path.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import MISSING, Field, fields, is_dataclass
from functools import cache
from types import NoneType
from typing import Annotated, Any, Literal, Optional, TypeVar, Union, get_args, get_origin

from pydantic import (
    AfterValidator,
    ConfigDict,
    PlainValidator,
    PydanticUserError,
    TypeAdapter,
    ValidationError,
    WrapValidator,
    create_model,
)
from pydantic import Field as Described

from scenarios.checks import (
    BARE,
    SCALARS,
    SENTENCES,
    Family,
    annotated,
    default_of,
    expand,
    guarded,
    name_of,
    rejection,
    section,
    strict,
)
from scenarios.document import Document
from scenarios.errors import Path, ScenarioError, dotted, found, printable, unknown
from scenarios.hints import documentation, hints, members, summary, unwrap
from scenarios.magnitudes import LARGEST, SMALLEST, out_of_range
from scenarios.own_parts import SEPARATOR, check_part, part_at, word

T = TypeVar("T")


class Parts:
    """Reads parts from documents and writes them as plain values."""

    def __init__(self, families: Mapping[type, Family], describing: bool = False) -> None:
        """Make validators of parts.

        Args:
            families: the parts of each family by Protocol.
            describing: whether the JSON Schema of a section describes the parts that it may have.
        """
        self.families, self.describing = families, describing
        self._section = cache(self._new_section)
        self._adapters: dict[type, TypeAdapter[Any]] = {}

    def read(self, part: type[T], document: Document) -> T:
        """Interpret a document as a part.

        Args:
            part: dataclass that the document describes.
            document: the document.

        Raises:
            ScenarioError: a field is invalid, or the document has `problems`.
        """
        try:
            result: T = self.adapter(part).validate_python(document.content)
        except ValidationError as error:
            raise _sentences(error, document) from None
        if document.problems:
            raise ScenarioError("\n".join(document.problems))
        if beyond := out_of_range(document.content):
            path, number = beyond
            allowed = f"0 and magnitudes from {SMALLEST:g} to {LARGEST:g} are allowed"
            raise ScenarioError(_at(document, path, (), f"found {found(number)}; {allowed}"))
        return result

    def adapter(self, part: type) -> TypeAdapter[Any]:
        """Return the validator of a section, which also generates its JSON Schema if that is to describe the parts."""
        if part not in self._adapters:
            self._adapters[part] = TypeAdapter(self._section(part, None))
        return self._adapters[part]

    def check_fields(self, part: type) -> None:
        """Check that all fields of a part have types that a scenario file can express.

        Raises:
            ValueError: a field does not; the message is one sentence.
        """
        try:
            self.adapter(part)
        except (PydanticUserError, NameError, TypeError) as error:
            reason = str(error).partition("\n")[0]
            raise ValueError(
                f"a field of {part.__qualname__} has a type that no scenario can hold: {reason}"
            ) from error

    def family(self, hint: Any) -> Family | None:
        """Return the parts that a field takes if its type is a family, else None."""
        return next((self.families[bare] for m in members(hint) if (bare := unwrap(m)[0]) in self.families), None)

    def plain(self, value: Any, hint: Any, path: Path = ()) -> Any:
        """A value as plain values, every default written out; reading them gives an equal value.

        Args:
            value: a section, a part, or a plain value.
            hint: the type of the field that holds it.
            path: the way to that field, for the message.

        Raises:
            ScenarioError: a value is none that a scenario file can hold.
        """
        if isinstance(value, tuple | list):
            items = get_args(unwrap(hint)[0])
            return [self.plain(one, items[0] if items else Any, (*path, n)) for n, one in enumerate(value)]
        if isinstance(value, dict):
            items = get_args(unwrap(hint)[0]) if get_origin(unwrap(hint)[0]) is dict else (Any, Any)
            return {name: self.plain(one, items[1], (*path, name)) for name, one in value.items()}
        part: type = type(value)
        if value is None or part in SCALARS:
            return value
        if not is_dataclass(value):
            raise ScenarioError(
                f"{dotted(path)}: found an object of the class {part.__qualname__}, which no scenario can hold; "
                "plain values and frozen dataclasses are allowed"
            )
        written = {
            f.name: self.plain(getattr(value, f.name), hints(part)[f.name], (*path, f.name)) for f in fields(value)
        }
        family = self.family(hint)
        if family is None:
            return written
        name = name_of(family, part)
        return next(iter(written.values())) if name in BARE.values() else {"name": name, **written}

    def _annotation(self, hint: Any, default: Any = MISSING) -> Any:
        """Type by which pydantic validates a field."""
        bare, metadata = unwrap(hint)
        choices = members(bare)
        if any(self._is_structure(choice) for choice in choices):
            return Union[tuple(self._structure(choice, default) for choice in choices)]  # noqa: UP007  from a tuple
        return guarded(self._plain(bare), metadata, hint)

    def _plain(self, bare: Any) -> Any:
        """Type of plain values, lists and sections, whose items are validated separately."""
        choices = members(bare)
        if len(choices) == 2 and NoneType in choices:
            inner, metadata = unwrap(next(choice for choice in choices if choice is not NoneType))
            return Optional[annotated(self._plain(inner), metadata)]  # noqa: UP045  known when it runs
        if get_origin(bare) is tuple:
            items = tuple(item if item is Ellipsis else self._annotation(item) for item in get_args(bare))
            return tuple[items]  # type: ignore[valid-type]  # known when it runs
        if get_origin(bare) is dict:
            return dict[str, self._annotation(get_args(bare)[1])]  # type: ignore[misc]
        return strict(bare)

    def _is_structure(self, hint: Any) -> bool:
        bare, _ = unwrap(hint)
        return bare in self.families or is_dataclass(bare)

    def _structure(self, hint: Any, default: Any) -> Any:
        bare, _ = unwrap(hint)
        if bare in self.families:
            return self._choice(bare, default)
        return None if bare is NoneType else self._section(bare, None)

    def _choice(self, protocol: type, default: Any) -> Any:
        """Type of a part of a family, selected by name."""
        family = self.families[protocol]
        default_name = name_of(family, type(default)) if is_dataclass(default) else None

        @cache
        def adapter(name: str) -> TypeAdapter[Any]:
            """Validator of a part, made when a scenario names it: those of all parts take half a second."""
            return TypeAdapter(self._section(family[name], name))

        def choose(value: Any) -> Any:
            content = expand(value, family, default_name)
            name = content["name"]
            if not isinstance(name, str):
                raise rejection(f"found {found(name)}; one of {', '.join(family)} is allowed", "name")
            if SEPARATOR in name:
                return self._unregistered(name, protocol).validate_python(content)
            if name not in family:
                raise rejection(unknown(word(protocol).replace("_", " "), name, family), "name")
            return adapter(name).validate_python(content)

        if not self.describing:
            return Annotated[Any, PlainValidator(choose)]
        sections = [self._section(part, name) for name, part in family.items()]
        bare = [self._annotation(*hints(part).values()) for name, part in family.items() if name in BARE.values()]
        written: Any = Union[Literal[tuple(family)], *bare, *sections]
        return Annotated[Any, PlainValidator(choose, json_schema_input_type=written)]

    def _unregistered(self, path: str, protocol: type) -> TypeAdapter[Any]:
        """Validator of the section of a part that is named by its import path."""
        try:
            part = part_at(path)
            check_part(protocol, part)
            self.check_fields(part)
        except ValueError as error:
            raise rejection(str(error), "name") from None
        return TypeAdapter(self._section(part, path))

    def _new_section(self, part: type, name: str | None) -> Any:
        """Type of a section with the fields of `part` (and `name` in a family), from which a `part` is made."""
        own: dict[str, Any] = {"name": (Literal[name], ...)} if name else {}
        own |= {field.name: self._field(part, field) for field in fields(part)}
        config = ConfigDict(extra="forbid", protected_namespaces=())
        model: Any = create_model(part.__name__, __config__=config, __doc__=summary(part), **own)
        return Annotated[
            model, WrapValidator(section(part, name is not None, self.families)), AfterValidator(_builder(part))
        ]

    def _field(self, part: type, field: Field[Any]) -> Any:
        hint, default = hints(part)[field.name], default_of(field)

        def describe(schema: dict[str, Any]) -> None:
            """Add documentation to the JSON Schema; only there, as reading docstrings from the sources is slow."""
            if text := documentation(part).get(field.name):
                schema["description"] = text
            if default is not MISSING:
                schema["default"] = self.plain(default, hint)

        about: Any = {"json_schema_extra": describe}
        if default is not MISSING:
            about["default_factory"] = lambda: default
        return self._annotation(hint, default), Described(**about)


def _builder(part: type) -> Callable[[Any], Any]:
    names = [field.name for field in fields(part)]
    return lambda model: part(**{name: getattr(model, name) for name in names})


def _sentences(error: ValidationError, document: Document) -> ScenarioError:
    """The errors in a sentence each.

    Pydantic's own errors are left out, since they only follow from these: a list is too short if its items are invalid.
    """
    sentences = [each for each in error.errors(include_url=False) if each["type"] in SENTENCES]
    return ScenarioError(*document.problems, *(_line(each["loc"], each["ctx"], document) for each in sentences))


def _line(path: Path, about: Mapping[str, Any], document: Document) -> str:
    text = printable(str(about.get("sentence") or about["error"]))
    return _at(document, path, about.get("inside", ()), text)


def _at(document: Document, path: Path, inside: Path, text: str) -> str:
    """A sentence about a field, after its place in the document and its path."""
    place, field = document.place((*path, *inside)), dotted(document.written(path))
    where = [place] if place.startswith(f"--set {field}=") else [place, field]
    return ": ".join([*filter(None, where), text])
