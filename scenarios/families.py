"""All families of parts, and `register`, which adds a part to a family."""

from __future__ import annotations

import re

import learning.parts
import netsim.parts
from scenarios.errors import ScenarioError, found, unknown
from scenarios.own_parts import check_part, word
from scenarios.parts import Parts

NAME = re.compile(r"[a-z]\w*")
"""A part's name in a scenario."""

Registration = tuple[str, str, type]
"""Name of the family, name of the part, and class of the part."""


def families() -> dict[type, dict[str, type]]:
    """Return the dataclasses of each family by name in a scenario, by Protocol. `register` adds to the inner ones."""
    return {**netsim.parts.FAMILIES, **learning.parts.FAMILIES}


def register(family: str, name: str, cls: type) -> None:
    """Register a part: after `register("codec", "my_codec", MyCodec)`, scenarios can name `my_codec`.

    A class may be registered again under its name, for instance when the cell of a notebook is run again.

    Args:
        family: name of the family, such as `scheme`, `model`, `dataset`, `partition`, `codec`, `policy`, `fading` or
            `slowdown_law`.
        name: name in scenarios: a lower-case letter, then letters, digits and underscores.
        cls: a frozen dataclass with the methods of the family's Protocol. Its fields are the fields in a scenario, with
            their defaults; a range is written as `Annotated[float, Gt(0)]`, documentation as a docstring below a field.

    Raises:
        ScenarioError: there is no such family, the name is taken by another class, or `cls` cannot be such a part.
    """
    at = f"register({family!r}, {name!r})"
    by_word = {word(protocol): protocol for protocol in families()}
    if family not in by_word:
        raise ScenarioError(f"{at}: {unknown('family', str(family), by_word)}")
    protocol = by_word[family]
    known = families()[protocol]
    if not isinstance(name, str) or not NAME.fullmatch(name):
        raise ScenarioError(f"{at}: found {found(name)}; a lower-case letter, then letters, digits and _ are allowed")
    try:
        check_part(protocol, cls)
        Parts(families()).check_fields(cls)
    except ValueError as error:
        raise ScenarioError(f"{at}: {error}") from None
    holder = known.get(name)
    if holder is not None and (holder.__module__, holder.__qualname__) != (cls.__module__, cls.__qualname__):
        taken = f"{holder.__module__}.{holder.__qualname__}"
        raise ScenarioError(f"{at}: the name is taken by {taken}; choose another one")
    known[name] = cls


def registered() -> tuple[Registration, ...]:
    """Return the parts that are not shipped with the package, for worker processes to register."""
    return tuple(
        (word(protocol), name, cls)
        for protocol, known in families().items()
        for name, cls in known.items()
        if name not in _SHIPPED[protocol]
    )


_SHIPPED = {protocol: frozenset(known) for protocol, known in families().items()}
