"""Selection of sites: where the experts that a user's tokens need are called, among the sites that hold them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

import numpy as np


class Candidate(NamedTuple):
    """A site at which an expert can be called, as it is seen when the call is made."""

    site: str
    """Name of the site."""
    idle_s: float
    """Expected delay of a call of this expert alone in seconds, with idle radio, lines and processor."""
    work_s: float
    """Part of it that is the expert's work, in seconds of the whole processor of the site."""
    backlog_s: float
    """Work of the jobs that are at the site, waiting or in service, in seconds of its whole processor."""


Candidates = Mapping[int, Sequence[Candidate]]
"""For each expert that is needed, by its number, the sites that hold it; at least one."""


class SiteSelection(Protocol):
    """Selection of sites for the experts that tokens of one user need in one pass of a layer.

    All tokens of an expert in a pass go to the same site. Of equal sites the first is selected.
    """

    def select(self, candidates: Candidates, draw: Callable[[], np.random.Generator]) -> dict[int, str]:
        """Select a site for each expert.

        Args:
            candidates: the sites of each expert.
            draw: returns a random generator, the same at each call, of this user, layer and pass.

        Returns:
            The name of the selected site of each expert, in the order of `candidates`.
        """
        ...


@dataclass(frozen=True)
class Nearest:
    """The site with the least expected delay, when it is idle: message, work and answer."""

    def select(self, candidates: Candidates, draw: Callable[[], np.random.Generator]) -> dict[int, str]:
        return {expert: min(sites, key=_idle_s).site for expert, sites in candidates.items()}


@dataclass(frozen=True)
class LeastWork:
    """The site with the least expected delay plus backlog: the work of jobs that wait or are served, at its speed.

    Experts are assigned in the order of their numbers, and the work of those assigned counts as backlog for the next.
    """

    def select(self, candidates: Candidates, draw: Callable[[], np.random.Generator]) -> dict[int, str]:
        assigned_s: dict[str, float] = {}
        selected: dict[int, str] = {}
        for expert, sites in sorted(candidates.items()):
            best = min(sites, key=lambda each: each.idle_s + each.backlog_s + assigned_s.get(each.site, 0.0))
            assigned_s[best.site] = assigned_s.get(best.site, 0.0) + best.work_s
            selected[expert] = best.site
        return {expert: selected[expert] for expert in candidates}


@dataclass(frozen=True)
class MinSites:
    """Few sites for all experts together, by greedy set cover.

    First the site that holds most of the experts is selected, then the one that holds most of those that are left, and
    so on; of several the one with the least sum of expected delays.

    Each token is sent once to a site, so experts at one site save copies of hidden states. The greedy cover has at most
    1 + ln n times the minimum number of sites for n experts (Johnson, Journal of Computer and System Sciences 9, 1974).
    """

    def select(self, candidates: Candidates, draw: Callable[[], np.random.Generator]) -> dict[int, str]:
        left = dict(candidates)
        selected: dict[int, str] = {}
        while left:
            covered: dict[str, dict[int, float]] = {}
            for expert, sites in left.items():
                for each in sites:
                    covered.setdefault(each.site, {})[expert] = each.idle_s
            best, experts = min(covered.items(), key=lambda item: (-len(item[1]), sum(item[1].values())))
            selected |= dict.fromkeys(experts, best)
            left = {expert: sites for expert, sites in left.items() if expert not in experts}
        return {expert: selected[expert] for expert in candidates}


@dataclass(frozen=True)
class RandomSite:
    """A site drawn at random for each expert, all equally likely."""

    def select(self, candidates: Candidates, draw: Callable[[], np.random.Generator]) -> dict[int, str]:
        chances = draw().random(len(candidates))
        return {
            expert: sites[int(chance * len(sites))].site
            for (expert, sites), chance in zip(candidates.items(), chances.tolist(), strict=True)
        }


def _idle_s(candidate: Candidate) -> float:
    return candidate.idle_s
