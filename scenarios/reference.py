"""Generator of the scenario reference: `python -m scenarios.reference > docs/scenario_reference.md`."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import MISSING, Field, fields, is_dataclass
from typing import Any, get_args, get_origin

from analysis.claims import Claim
from learning.policies import IN_ROUNDS, Policy
from learning.schemes import SCHEMES
from scenarios.checks import Family, default_of
from scenarios.hints import allowed, described, documentation, hints, members, unwrap
from scenarios.parts import Parts
from scenarios.schema import Scenario, parts
from scenarios.study import Reproduction, Study
from scenarios.yaml12 import dump

HEAD = """# Scenario reference

Generated from the schema by `python -m scenarios.reference`; do not edit.

A scenario is a YAML file with these fields; a field that is not given has its default. Where a field takes one of
several parts, `name` selects it: `fading: {name: rayleigh}`, or `fading: rayleigh` for short, or
`fading: {coherence_time_s: 0.1}` for the default part. A field with a number for each user also takes a single number
(the same for all users) or a list (one number for each user).

On the command line, `--set network.users.count=20` overrides a field. Setting a `name` to another one, as in
`--set learning.scheme.name=fedavg`, resets that section to the defaults of the part of that name.

A relative path starts at the folder of the scenario file, also after `--set`; in a study, at the folder of its base. If
there is no such file, it starts at the folder named by the environment variable NETSIM_DATA. The `scenario.yaml` of a
run has absolute paths. [recordings.md](recordings.md) describes the tables that can be replayed, and how to convert
those of other programs.
"""

STUDIES = """## Studies

A study is a YAML file for `netsim sweep`: a scenario, the settings to compare, and the seeds of each setting.

    base: ../quickstart.yaml
    grid: {network.sharing.uplink.bandwidth_mhz: [1, 2, 4]}
    seeds: 10

Each setting with each seed is a run, in `SWEEP_DIR/points/<label>/seed-<n>`. The default label of a setting consists of
the fields in which settings differ.
"""

CLAIMS = """### Claims

`netsim reproduce` runs a study whose section `reproduces` has a paper's claims, each with a rule that is written before
the study is run. The fields of the section, and those of a claim:
"""

POLICIES = """## Schemes, policies and servers

The policies that each scheme allows, and whether its users can work with edge servers (`learning.servers: nearest`).
"""


def reference() -> str:
    """Return the reference as Markdown."""
    known = parts()
    studies = [STUDIES, *_table(known, Study), CLAIMS, *_table(known, Reproduction), *_table(known, Claim)]
    schemes = [POLICIES, *_schemes(known)]
    return "\n".join([HEAD, *_sections(known, Scenario, ""), *studies, *schemes, *_families(known)])


def _sections(known: Parts, part: type, path: str, heading: str = "## {}") -> Iterator[str]:
    """Yield a table of the fields of a section, then those of its inner sections, with their paths as headings."""
    yield f"{heading.format(path or 'The file')}\n\n{described(part)}\n"
    yield from _table(known, part)
    for field in fields(part):
        for member in members(hints(part)[field.name]):
            inner, _ = unwrap(member)
            below = f"{path}.{field.name}".lstrip(".")
            if get_origin(inner) is dict:
                inner, below = get_args(inner)[1], f"{below}.<name>"
            if is_dataclass(inner):
                yield from _sections(known, inner, below, heading)  # type: ignore[arg-type]


def _schemes(known: Parts) -> Iterator[str]:
    asynchronous = [name for name in known.families[Policy] if name not in IN_ROUNDS]
    columns = [", ".join(IN_ROUNDS), ", ".join(asynchronous), "edge servers"]
    yield f"| scheme | {' | '.join(columns)} |\n{'| --- ' * 4}|"
    for name, scheme in SCHEMES.items():
        more = ("yes" if each else "no" for each in (scheme.asynchronous, scheme.hierarchical))
        yield f"| `{name}` | yes | {' | '.join(more)} |"
    yield ""


def _families(known: Parts) -> Iterator[str]:
    for protocol, family in known.families.items():
        yield f"## {protocol.__name__}\n"
        for name, part in family.items():
            yield from _sections(known, part, name, "### `{}`")


def _table(known: Parts, part: type) -> Iterator[str]:
    if not fields(part):
        return
    yield "| field | allowed | default | meaning |\n| --- | --- | --- | --- |"
    for field in fields(part):
        hint = hints(part)[field.name]
        cells = [f"`{field.name}`", _allowed(known, hint), _default(known, field, hint)]
        yield f"| {' | '.join([*cells, documentation(part).get(field.name, '')])} |"
    yield ""


def _allowed(known: Parts, hint: Any) -> str:
    words = []
    for member in members(hint):
        bare, _ = unwrap(member)
        family: Family | None = known.families.get(bare)
        if get_origin(bare) is dict and is_dataclass(get_args(bare)[1]):
            words.append("sections by name, see below")
        elif family is not None:
            words.append(f"[{bare.__name__}](#{bare.__name__.lower()}): {', '.join(family)}")
        else:
            words.append("a section, see below" if is_dataclass(bare) else allowed(member))
    return ", or ".join(words).replace("|", "\\|")


def _default(known: Parts, field: Field[Any], hint: Any) -> str:
    default = default_of(field)
    if default is MISSING:
        return "none: must be given"
    plain = known.plain(default, hint)
    if is_dataclass(default) and known.family(hint) is None:
        return "see below"
    return f"`{dump(plain, one_line=True)}`".replace("|", "\\|")


if __name__ == "__main__":
    print(reference(), end="")
