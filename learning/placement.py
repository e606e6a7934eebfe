"""Parts of a model and their placement: a user's device, the user's server, or a site is the host of each."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from itertools import pairwise

from learning.adapters import Bound, Model
from learning.models import Multimodal, Segment
from learning.models.towers import FUSION

USER, SERVER = "user", "server"
"""The hosts of a plain split: the user's own device, and the server that the user works with."""


def named_parts(model: Model, cuts: Sequence[int]) -> dict[str, Segment | Bound]:
    """The parts of a model by name, in the order in which data flow through them.

    A chain cut once has the parts `front` and `back`; cut more often, `front`, `middle` (or `middle1`, `middle2`, ...)
    and `tail`; without a cut, `back` alone. A model with towers has one part for each, named after its modality, and
    `fusion`.

    Args:
        model: The whole model.
        cuts: Numbers of blocks before each cut, ascending; a model with towers is cut at 1 alone.

    Raises:
        ValueError: cuts do not ascend, do not leave a block between them, or are not between towers and fusion network.
    """
    for at, following in pairwise(cuts):
        if at >= following:
            raise ValueError(f"cut {at} comes before cut {following}; cuts must ascend, as in [1, 3]")
    if isinstance(model, Multimodal):
        for at in cuts:
            model.cut(at)
        return {part.name: part for part in model.parts}
    parts = [model]
    for at in cuts:
        parts[-1:] = parts[-1].cut(at)
    if not cuts:
        return {"back": model}
    middle = [f"middle{number + 1}" for number in range(len(cuts) - 1)] if len(cuts) > 2 else ["middle"]
    names = ["front", "back"] if len(cuts) == 1 else ["front", *middle, "tail"]
    return dict(zip(names, parts, strict=True))


def default_placement(parts: Collection[str]) -> dict[str, str]:
    """Part -> host where a scenario says nothing: `front`, `tail` and towers at the user, all else at the server.

    So a chain of two parts is the plain split, and one of three the U-shaped one, in which labels stay at the user.
    """
    if FUSION in parts:
        return {part: SERVER if part == FUSION else USER for part in parts}
    return {part: USER if part in ("front", "tail") else SERVER for part in parts}


def placed(parts: Collection[str], given: Mapping[str, str], sites: Collection[str]) -> dict[str, str]:
    """Part -> host for all parts of a model: as given, else by default.

    Args:
        parts: Names of the model's parts.
        given: Part -> host, for some or all of them.
        sites: Names of the sites, which are hosts besides `user` and `server`.

    Raises:
        ValueError: a part or a host is not known.
    """
    for part, host in given.items():
        if part not in parts:
            raise ValueError(f"the model has no part {part}; it has {', '.join(parts)}")
        if host not in (USER, SERVER, *sites):
            named = [site for site in sites if site != SERVER and not site.removeprefix(USER).isdigit()]
            raise ValueError(
                f"there is no host {host} for part {part}; {', '.join([USER, SERVER, *named])} are allowed"
            )
    return {**default_placement(parts), **given}
