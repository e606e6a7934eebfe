"""Type hints and docstrings of the dataclasses that describe parts, in words for messages and documentation."""

from __future__ import annotations

import ast
import inspect
import textwrap
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import is_dataclass
from functools import cache
from itertools import pairwise
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

import annotated_types as bounds

WORDS = {
    int: "a whole number",
    float: "a number",
    str: "text",
    bool: "true or false",
    NoneType: "null",
    Any: "any value",
}
"""Words for the plain types."""


@cache
def hints(part: type) -> dict[str, Any]:
    """Type hint of each field by name, with the ranges of `Annotated`."""
    return get_type_hints(part, include_extras=True)


@cache
def documentation(part: type) -> dict[str, str]:
    """Docstring under each field by name, with those of inherited fields."""
    out: dict[str, str] = {}
    for owner in reversed(part.__mro__):
        if is_dataclass(owner):
            tree = ast.parse(textwrap.dedent(_source(owner)))
            body = tree.body[0].body  # type: ignore[attr-defined]  # a class definition
            for line, below in pairwise(body):
                match line, below:
                    case ast.AnnAssign(target=ast.Name(id=name)), ast.Expr(value=ast.Constant(value=str(text))):
                        out[name] = " ".join(text.split())
    return out


def _source(part: type) -> str:
    """The source of a class, or one without documentation where there is no file, as in an interactive session."""
    try:
        return inspect.getsource(part)
    except (OSError, TypeError):
        return f"class {part.__name__}: ..."


def described(part: type) -> str:
    """Docstring of a part, as in the scenario reference."""
    return inspect.getdoc(part) or ""


def summary(part: type) -> str:
    """First line of a part's docstring, as in `netsim list`."""
    return described(part).partition("\n")[0]


def unwrap(hint: Any) -> tuple[Any, list[Any]]:
    """Split a hint into the type without annotations and the list of its annotations."""
    if get_origin(hint) is not Annotated:
        return hint, []
    flat: list[Any] = []
    for item in hint.__metadata__:
        flat.extend(item if isinstance(item, bounds.GroupedMetadata) else [item])
    return hint.__origin__, flat


def members(hint: Any) -> tuple[Any, ...]:
    """Alternatives of a union; a hint that is not a union is its only alternative."""
    bare, _ = unwrap(hint)
    return get_args(bare) if get_origin(bare) in (Union, UnionType) else (hint,)


def allowed(hint: Any, families: Mapping[type, Iterable[str]] | None = None) -> str:
    """Describe the values that a hint allows, such as `a whole number >= 1`.

    Args:
        hint: type hint of a field.
        families: names of the parts of each family of parts; a family is described as `one of NAMES`.
    """
    bare, metadata = unwrap(hint)
    if families and bare in families:
        return f"one of {', '.join(families[bare])}"
    if len(members(bare)) > 1:
        return ", or ".join(allowed(member, families) for member in members(bare))
    if get_origin(bare) is Literal:
        return ("one of " if len(get_args(bare)) > 1 else "") + ", ".join(str(value) for value in get_args(bare))
    if get_origin(bare) is dict:
        return f"a section, each field {allowed(get_args(bare)[1])}"
    if get_origin(bare) in (tuple, list):
        return _sequence(get_args(bare), metadata)
    if is_dataclass(bare):
        return f"a section with {', '.join(hints(bare))}"  # type: ignore[arg-type]  # a class, not an instance
    return " and ".join([WORDS.get(bare, bare.__name__), *_ranges(metadata)]).replace(" and ", " ", 1)


def _sequence(items: tuple[Any, ...], metadata: list[Any]) -> str:
    minimum = next((item.min_length for item in metadata if isinstance(item, bounds.MinLen)), 0)
    if len(items) == 1 or items[-1] is Ellipsis:
        return f"a list{f' of at least {minimum}' if minimum else ''}, each item {allowed(items[0])}"
    return f"a list of {len(items)}: {', '.join(allowed(item) for item in items)}"


def _ranges(metadata: list[Any]) -> Iterator[str]:
    for item in metadata:
        match item:
            case bounds.Gt(gt=bound):
                yield f"> {bound}"
            case bounds.Ge(ge=bound):
                yield f">= {bound}"
            case bounds.Lt(lt=bound):
                yield f"< {bound}"
            case bounds.Le(le=bound):
                yield f"<= {bound}"
            case bounds.MultipleOf(multiple_of=step):
                yield f"a multiple of {step}"
            case bounds.MinLen(min_length=minimum):
                yield f"of at least {minimum} characters"
            case _:
                pass  # other bounds are checked as well, and have no words here
