"""Labels of a sweep's settings: short, unique, and valid as names of folders."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from scenarios.yaml12 import dump

LABEL = re.compile(r"\w(?:[\w .,=+-]{0,98}[\w,=+-])?")
"""Labels that are valid names of folders on all file systems and readable in a legend."""


def labels(settings: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return one label per setting, made of the fields in which settings differ: `bandwidth_mhz=0.5,count=10`.

    A field is named by the shortest end of its path that is unique.

    Args:
        settings: value by dotted path of field, for each setting.
    """
    everywhere = dict.fromkeys(name for setting in settings for name in setting)
    varied = [name for name in everywhere if len({_word(setting.get(name)) for setting in settings}) > 1]
    names = _short(varied or everywhere)
    texts = []
    for setting in settings:
        words = [f"{short}={_word(setting[name])}" for name, short in names.items() if name in setting]
        texts.append(",".join(words) or "base")
    return texts


def _short(names: Iterable[str]) -> dict[str, str]:
    """Shortest unique end of each dotted path, by path; `x.name` is shown as `x`."""
    steps = {name: name.removesuffix(".name").split(".") for name in names}
    out = {}
    for name, own in steps.items():
        others = [other for key, other in steps.items() if key != name]
        sizes = [size for size in range(1, len(own) + 1) if all(other[-size:] != own[-size:] for other in others)]
        out[name] = ".".join(own[-min(sizes, default=len(own)) :])
    return out


def _word(value: Any) -> str:
    """Write a value in the characters of a label: `deadline-deadline_s=0.4` for a section, `64-64` for a list."""
    if isinstance(value, dict):
        parts = [_word(inner) if key == "name" else f"{key}={_word(inner)}" for key, inner in value.items()]
        return "-".join(parts)
    if isinstance(value, list):
        return "-".join(map(_word, value))
    text = value if isinstance(value, str) else dump(value, one_line=True)
    return re.sub(r"[^\w.+-]+", "-", text).strip("-") if isinstance(value, str) else text
