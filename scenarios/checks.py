"""Validation of fields with messages that are sentences: strict scalars, shorthands, unknown and missing fields."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import MISSING, Field, fields
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import AllowInfNan, Strict, ValidationError, ValidationInfo, WrapValidator
from pydantic_core import InitErrorDetails, PydanticCustomError

from scenarios import unusual
from scenarios.errors import found, nearest, unknown
from scenarios.hints import allowed, hints, members, unwrap
from scenarios.own_parts import import_path
from scenarios.renamed import new_name, new_value

Family = Mapping[str, type]
"""Parts of a family: dataclass by name in a scenario."""

SCALARS = {
    int: Annotated[int, Strict()],
    float: Annotated[float, Strict(), AllowInfNan(False)],
    str: Annotated[str, Strict()],
    bool: Annotated[bool, Strict()],
}
"""Strict types: neither "12" nor true is a number; an integer is allowed where a float is."""

BARE = {int: "constant", float: "constant", list: "list"}
"""Name of the part whose only field is a value of this type, by type, for families that have such a part."""

QUANTITY = re.compile(r"[-+]?[0-9.]+(?:[eE][-+]?[0-9]+)?\s*[^\W\d_][\w/%]*$")
"""A number followed by a unit."""


SENTENCES = ("refused", "value_error")
"""Types of errors whose message is a sentence: those of this file, and of a part's `__post_init__`."""


def rejection(sentence: str, *inside: str) -> PydanticCustomError:
    """Return an error for pydantic.

    Args:
        sentence: the message.
        inside: path of the invalid field relative to the section that is validated.
    """
    return PydanticCustomError("refused", "{sentence}", {"sentence": sentence, "inside": inside})


def default_of(field: Field[Any]) -> Any:
    """Return the default of a field, or MISSING."""
    return field.default if field.default_factory is MISSING else field.default_factory()


def name_of(family: Family, part: type) -> str:
    """Return the name of a part in its family, or its import path if it is not registered."""
    return next((name for name, candidate in family.items() if candidate is part), import_path(part))


def expand(value: Any, family: Family, default_name: str | None) -> dict[str, Any]:
    """Expand a shorthand to a section with a `name`.

    Args:
        value: the value in the scenario: a section, a name, or a bare value.
        family: the parts that are allowed.
        default_name: name of the part of a section without `name`; None if it must be given.
    """
    choices = ", ".join(family)
    if isinstance(value, str):
        return {"name": value}
    if (bare := BARE.get(type(value), "")) in family:
        (only,) = fields(family[bare])
        return {"name": bare, only.name: value}
    if not isinstance(value, dict):
        raise rejection(f"found {found(value)}; one of {choices} is allowed")
    if "name" in value:
        return value
    if default_name is None:
        raise rejection(f"the field name is missing; one of {choices} is needed")
    for key in value:
        owners = [name for name, part in family.items() if key in hints(part)]
        if owners and default_name not in owners:
            raise rejection(f"the field {key} belongs to {' and '.join(owners)}; add name: {owners[0]}", key)
    return {"name": default_name, **value}


def section(part: type, named: bool, families: Mapping[type, Family]) -> Callable[[Any, Any], Any]:
    """Return a check of a section, which rejects unknown and missing fields, together with what is wrong with others.

    Args:
        part: dataclass that the section describes.
        named: whether the section has a `name`.
        families: all families, for messages.
    """
    names = [*(["name"] if named else []), *(field.name for field in fields(part))]
    needed = [field.name for field in fields(part) if default_of(field) is MISSING]

    def misfits(content: Mapping[Any, Any]) -> Iterator[tuple[Any, PydanticCustomError]]:
        """Fields that are unknown, renamed or missing; a missing one is not named if an unknown one is like it."""
        meant = set()
        for key, given in content.items():
            if key not in names:
                meant.add(nearest(str(key), names))
                new = new_name(part, str(key))
                sentence = f"the field {key} was renamed to {new}" if new else unknown("field", str(key), names)
                yield key, rejection(sentence, str(key))
            elif new := new_value(key, given):
                yield key, rejection(f"the value {given} of {key} was renamed to {new}", key)
        for name in needed:
            if name not in content and name not in meant:
                need = allowed(hints(part)[name], families)
                yield name, rejection(f"the field {name} is missing; {need} is needed")

    def check(value: Any, validate: Any) -> Any:
        if not isinstance(value, dict):
            what = f"a section with {', '.join(names)}" if names else "an empty section {}"
            raise rejection(f"found {found(value)}; {what} is allowed")
        if not (wrong := list(misfits(value))):
            return validate(value)
        rest = {key: given for key, given in value.items() if key not in dict(wrong)}
        raise together([error for _, error in wrong], lambda: validate(rest))

    return check


def together(errors: Sequence[PydanticCustomError], validate: Callable[[], Any]) -> ValidationError:
    """Return an error of several sentences: these, and those of a validation of what they do not concern.

    Args:
        errors: rejections of a section.
        validate: validates its other fields.
    """
    every = [InitErrorDetails(type=error, input=None) for error in errors]
    try:
        validate()
    except ValidationError as others:
        for error in others.errors(include_url=False, include_input=False):
            if error["type"] in SENTENCES:
                sentence = str(error["ctx"].get("sentence") or error["ctx"]["error"])
                inside = error["ctx"].get("inside", ())
                every.append(InitErrorDetails(type=rejection(sentence, *inside), loc=error["loc"], input=None))
    return ValidationError.from_exception_data("section", every)


def guarded(bare: Any, metadata: list[Any], hint: Any) -> Any:
    """Return a validated type whose error messages are `found ...; ... is allowed` instead of pydantic's.

    Messages of parts inside the value are kept if they are sentences: a rejection, or the ValueError of a part whose
    fields do not fit each other.

    Args:
        bare: the type without annotations.
        metadata: its annotations, such as ranges.
        hint: the type hint of the field, for messages.
    """

    def guard(value: Any, validate: Any, field: ValidationInfo) -> Any:
        try:
            return validate(value)
        except ValidationError as error:
            if any(inner["type"] in SENTENCES for inner in error.errors(include_url=False, include_input=False)):
                raise
        raise rejection(f"found {found(value)}; {allowed(hint)} is allowed{_advice(value, hint, field.field_name)}")

    return Annotated[bare, *metadata, WrapValidator(guard)]


def strict(hint: Any) -> Any:
    """Return the hint of a plain value with strict scalars at all levels."""
    bare, metadata = unwrap(hint)
    if len(alternatives := members(bare)) > 1:
        bare = Union[tuple(strict(member) for member in alternatives)]  # noqa: UP007  built from a tuple
    elif get_origin(bare) is tuple:
        bare = tuple.__class_getitem__(tuple(item if item is Ellipsis else strict(item) for item in get_args(bare)))
    else:
        bare = SCALARS.get(bare, bare)
    return annotated(bare, metadata)


def annotated(bare: Any, metadata: list[Any]) -> Any:
    """Return a type with annotations."""
    return Annotated[bare, *metadata] if metadata else bare


def _advice(value: Any, hint: Any, field: str | None) -> str:
    choices = [name for member in members(hint) if get_origin(member) is Literal for name in get_args(member)]
    words = [name for name in choices if isinstance(name, str)]
    if isinstance(value, str) and (close := nearest(value, words)):
        return f"; nearest is {close}"
    kinds = {unwrap(member)[0] for member in members(hint)}
    if isinstance(value, str) and kinds & {int, float} and QUANTITY.match(value.strip()):
        return "; write the number alone, its unit is in the field's name"
    if isinstance(value, float) and value.is_integer() and int in kinds and float not in kinds:
        return "; write it without a point or an exponent"
    if isinstance(value, int | float) and str in kinds:
        return "; put it in quotes"
    return unusual.advice(field, value)
