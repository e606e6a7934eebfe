"""Labels of a sweep's settings: short, able to name a folder, each used once."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from scenarios.yaml12 import dump

LABEL = re.compile(r"\w(?:[\w .,=+-]{0,98}[\w,=+-])?")
"""What can name a folder everywhere, and be read in a legend."""


def labels(settings: Sequence[Mapping[str, Any]]) -> list[str]:
    """One label a setting, after the fields in which settings differ: `bandwidth_mhz=0.5,count=10`.

    Fields are called by as much of their path as tells them apart.
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
    """Each dotted path by its shortest end that no other one has; `x.name` is what `x` is."""
    steps = {name: name.removesuffix(".name").split(".") for name in names}
    out = {}
    for name, own in steps.items():
        others = [other for key, other in steps.items() if key != name]
        sizes = [size for size in range(1, len(own) + 1) if all(other[-size:] != own[-size:] for other in others)]
        out[name] = ".".join(own[-min(sizes, default=len(own)) :])
    return out


def _word(value: Any) -> str:
    """A value in characters of a label: `deadline-deadline_s=0.4` for a section, `64-64` for a list."""
    if isinstance(value, dict):
        parts = [_word(inner) if key == "name" else f"{key}={_word(inner)}" for key, inner in value.items()]
        return "-".join(parts)
    if isinstance(value, list):
        return "-".join(map(_word, value))
    text = value if isinstance(value, str) else dump(value, one_line=True)
    return re.sub(r"[^\w.+-]+", "-", text).strip("-") if isinstance(value, str) else text
