"""Checks that raise whole sentences: strict scalars, shorthands, unknown and missing fields."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import MISSING, Field, fields
from typing import Annotated, Any, Union, get_args, get_origin

from pydantic import AllowInfNan, Strict, ValidationError, WrapValidator
from pydantic_core import PydanticCustomError

from scenarios.errors import found, unknown
from scenarios.hints import allowed, hints, members, unwrap
from scenarios.own_parts import import_path
from scenarios.renamed import new_name, new_value

Family = Mapping[str, type]
"""Name in a scenario -> the part's dataclass."""

SCALARS = {
    int: Annotated[int, Strict()],
    float: Annotated[float, Strict(), AllowInfNan(False)],
    str: Annotated[str, Strict()],
    bool: Annotated[bool, Strict()],
}
"""No conversions: "12" is not a number, true is not one either; but a whole number is a number."""

BARE = {int: "constant", float: "constant", list: "list"}
"""Type of a bare value -> the part of a family whose only field it is, in families that have such a part."""

QUANTITY = re.compile(r"[-+]?[0-9.]+(?:[eE][-+]?[0-9]+)?\s*[^\W\d_][\w/%]*$")
"""A number with a unit behind it."""


SENTENCES = ("refused", "value_error")
"""Types of errors whose message is a whole sentence: of a check in this file, and of a part's `__post_init__`."""


def refusal(sentence: str, *inside: str) -> PydanticCustomError:
    """An error whose message is `sentence`; `inside` names the field at fault in the section that raises it."""
    return PydanticCustomError("refused", "{sentence}", {"sentence": sentence, "inside": inside})


def default_of(field: Field[Any]) -> Any:
    """A field's default, or MISSING."""
    return field.default if field.default_factory is MISSING else field.default_factory()


def name_of(family: Family, part: type) -> str:
    """The name under which a part is listed, or the import path of one that is not."""
    return next((name for name, candidate in family.items() if candidate is part), import_path(part))


def expand(value: Any, family: Family, default_name: str | None) -> dict[str, Any]:
    """A section with a `name`, from whichever shorthand was written."""
    choices = ", ".join(family)
    if isinstance(value, str):
        return {"name": value}
    if (bare := BARE.get(type(value), "")) in family:
        (only,) = fields(family[bare])
        return {"name": bare, only.name: value}
    if not isinstance(value, dict):
        raise refusal(f"found {found(value)}; one of {choices} is allowed")
    if "name" in value:
        return value
    if default_name is None:
        raise refusal(f"the field name is missing; one of {choices} is needed")
    for key in value:
        owners = [name for name, part in family.items() if key in hints(part)]
        if owners and default_name not in owners:
            raise refusal(f"the field {key} belongs to {' and '.join(owners)}; add name: {owners[0]}", key)
    return {"name": default_name, **value}


def section(part: type, named: bool, families: Mapping[type, Family]) -> Callable[[Any], Any]:
    """A check that refuses what is no section of `part`: unknown fields, and fields that must be there and are not."""
    names = [*(["name"] if named else []), *(field.name for field in fields(part))]
    needed = [field.name for field in fields(part) if default_of(field) is MISSING]

    def check(value: Any) -> Any:
        if not isinstance(value, dict):
            what = f"a section with {', '.join(names)}" if names else "an empty section {}"
            raise refusal(f"found {found(value)}; {what} is allowed")
        for key, given in value.items():
            if key not in names:
                new = new_name(part, str(key))
                sentence = f"the field {key} was renamed to {new}" if new else unknown("field", str(key), names)
                raise refusal(sentence, str(key))
            if new := new_value(key, given):
                raise refusal(f"the value {given} was renamed to {new}", key)
        for name in needed:
            if name not in value:
                raise refusal(f"the field {name} is missing; {allowed(hints(part)[name], families)} is needed")
        return value

    return check


def guarded(bare: Any, metadata: list[Any], hint: Any) -> Any:
    """Turn whatever pydantic says about the value itself into `found ...; ... is allowed`.

    What a part inside the value says in a sentence of its own stands: a refusal, or the ValueError of a part whose
    fields do not fit each other.
    """

    def guard(value: Any, validate: Any) -> Any:
        try:
            return validate(value)
        except ValidationError as error:
            if any(inner["type"] in SENTENCES for inner in error.errors(include_url=False, include_input=False)):
                raise
        raise refusal(f"found {found(value)}; {allowed(hint)} is allowed{_advice(value, hint)}")

    return Annotated[bare, *metadata, WrapValidator(guard)]


def strict(hint: Any) -> Any:
    """A hint of plain values with strict scalars throughout."""
    bare, metadata = unwrap(hint)
    if len(alternatives := members(bare)) > 1:
        bare = Union[tuple(strict(member) for member in alternatives)]  # noqa: UP007  built from a tuple
    elif get_origin(bare) is tuple:
        bare = tuple.__class_getitem__(tuple(item if item is Ellipsis else strict(item) for item in get_args(bare)))
    else:
        bare = SCALARS.get(bare, bare)
    return annotated(bare, metadata)


def annotated(bare: Any, metadata: list[Any]) -> Any:
    """A hint put together again."""
    return Annotated[bare, *metadata] if metadata else bare


def _advice(value: Any, hint: Any) -> str:
    kinds = {unwrap(member)[0] for member in members(hint)}
    if isinstance(value, str) and kinds & {int, float} and QUANTITY.match(value.strip()):
        return "; write the number alone, its unit is in the field's name"
    if isinstance(value, float) and value.is_integer() and int in kinds and float not in kinds:
        return "; write it without a point or an exponent"
    if isinstance(value, int | float) and str in kinds:
        return "; put it in quotes"
    return ""
