"""Where the experts of a layer are: the sites that hold them now, which one is called, and what caches fetch."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial

import simpy

from learning.dispatch import Candidate, SiteSelection
from learning.expert_parameters import Expert
from learning.parties import Server, User
from learning.ports import Process
from learning.steps import Weights
from learning.world import World


class ExpertSites:
    """The sites of one layer of experts. The last one is the origin: it holds all experts that no other site holds."""

    def __init__(
        self, world: World, layer: int, sites: Sequence[Server], cache: Callable[[User], Server] | None
    ) -> None:
        """The sites of the layer number `layer`; `sites` and `cache` as in `ExpertLayer`."""
        self.world, self.layer, self.sites, self.cache = world, layer, sites, cache
        self._places: dict[User, list[Server]] = {}
        self._fetches: dict[tuple[Server, int], simpy.Process] = {}
        self._selections: Counter[User] = Counter()

    @property
    def origin(self) -> Server:
        """The site with the experts that no other site holds."""
        return self.sites[-1]

    def places(self, user: User) -> list[Server]:
        """The sites at which a user may call experts: its own device, and those that all users may call."""
        if user not in self._places:
            self._places[user] = list(dict.fromkeys([self.world.device(user), *self.sites]))
        return self._places[user]

    def holders(self, user: User, expert: int) -> list[Server]:
        """Those of `places` that are available and hold an expert."""
        return self.holders_of(user, [expert])[expert]

    def holders_of(self, user: User, experts: Iterable[int]) -> dict[int, list[Server]]:
        """`holders` of several experts, by the number of the expert."""
        present = [(site, site.node.storage) for site in self.places(user) if not site.node.away]
        names = {expert: Expert(self.layer, expert) for expert in experts}
        return {each: [site for site, storage in present if storage.holds(name)] for each, name in names.items()}

    def hits(self, holders: Sequence[Server]) -> bool:
        """Whether another site than the origin is among the holders of an expert."""
        return any(site is not self.origin for site in holders)

    def await_holders(self, user: User, expert: int) -> Process[list[Server]]:
        """`holders` of an expert; if all sites that hold it are away, those after the return of one.

        Raises ValueError if no site holds the expert, simpy.Interrupt if none of those that do will return.
        """
        name = Expert(self.layer, expert)
        while not (holders := self.holders(user, expert)):
            away = [site.node for site in self.places(user) if site.node.storage.holds(name)]
            if not away:
                names = ", ".join(site.node.name for site in self.sites)
                raise ValueError(f"{name} is called, and none of {names} holds it")
            if all(node.gone for node in away):
                raise simpy.Interrupt(f"no site that holds {name} will return")
            yield self.world.env.any_of([node.back for node in away if not node.gone])
        return holders

    def select(
        self,
        user: User,
        holders: Mapping[int, Sequence[Server]],
        selection: SiteSelection,
        delays_s: Callable[[int, Server], tuple[float, float]],
    ) -> dict[int, Server]:
        """Select one of the holders of each expert, and note the request there.

        Args:
            user: the user that calls.
            holders: the sites of each expert.
            selection: the rule.
            delays_s: the expected delay of a call of an expert alone at an idle site, and the part of it that is work.
        """
        number = self._selections[user]
        self._selections[user] += 1
        if all(len(sites) == 1 for sites in holders.values()):
            selected = {expert: sites[0] for expert, sites in holders.items()}
        else:
            candidates = {
                expert: [Candidate(each.node.name, *delays_s(expert, each), each.node.backlog_s) for each in sites]
                for expert, sites in holders.items()
            }
            draw = partial(self.world.streams.generator, "site of an expert", user.number, self.layer, number)
            names = selection.select(candidates, draw)
            selected = {expert: self.world.sites[name] for expert, name in names.items()}
        for expert, site in selected.items():
            if site is not self.origin:
                site.request(Expert(self.layer, expert))
        return selected

    def miss(self, user: User, expert: int) -> None:
        """Note a request for a missing expert at the user's cache."""
        if self.cache is not None:
            self.cache(user).request(Expert(self.layer, expert))

    def prefetch(self, user: User, expert: int, weights: Weights) -> int:
        """Let the user's cache fetch an expert that tokens may need, if only the origin holds it.

        For the eviction policy of the cache the expectation counts as a request. Returns the bits that are sent for it:
        0 if it is held or on the way, or would not be stored.
        """
        if self.cache is None or self.hits(self.holders(user, expert)):
            return 0
        name, cache = Expert(self.layer, expert), self.cache(user)
        before = self._fetches.get((cache, expert))
        if before is not None and before.is_alive:
            return 0
        cache.request(name)
        bits = cache.fetch_bits(name, weights)
        return bits if bits and self.fetch(user, expert, weights) is not None else 0

    def fetch(self, user: User, expert: int, weights: Weights) -> simpy.Process | None:
        """Let the user's cache fetch an expert from the origin, unless it is on the way already.

        Returns the process, which ends when the expert has arrived or is not to be stored; None if there is no cache,
        or the origin is away or does not hold the expert.
        """
        if self.cache is None or not self.origin.holds(Expert(self.layer, expert)):
            return None
        cache = self.cache(user)
        process = self._fetches.get((cache, expert))
        if process is None or not process.is_alive:
            work = cache.fetch(Expert(self.layer, expert), weights, self.origin, user)
            process = self._fetches[cache, expert] = self.world.env.process(work)
        return process
