"""Dispatch of the calls of one user in a layer of experts: at which sites, after which fetches, again after outages."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import Annotated, NamedTuple

import simpy
from annotated_types import Gt

from learning.dispatch import FromCloud, Gating, Miss, Nearest, SiteSelection, TopK
from learning.dispatch.pairs import Pairs
from learning.parties import Server
from learning.ports import Process
from learning.protocols.caller import Caller, call_s
from learning.protocols.expert_sites import ExpertSites
from learning.protocols.experts import CallMessages, Exchange, ExpertWork, SiteCall
from learning.protocols.join import join, join_until


@dataclass(frozen=True)
class DispatchPolicy:
    """How calls of experts are dispatched."""

    selection: SiteSelection = Nearest()
    """At which of the sites that hold an expert it is called."""
    miss: Miss = FromCloud()
    """What is done about an expert that only the origin holds."""
    messages: CallMessages = CallMessages()
    """What messages contain."""
    gating: Gating = TopK()
    """To which experts tokens go."""
    deadline_s: Annotated[float, Gt(0)] | None = None
    """Seconds after which a forward pass through a layer ends: experts whose answers are not in are left out, and the
    weights of the token's other experts are scaled up to the same sum. None is never."""


MakeExchange = Callable[[int, int], Exchange]
"""Returns the sizes of a call's messages: (distinct tokens, pairs of token and expert)."""


NO_FETCHES: Mapping[int, simpy.Process | None] = MappingProxyType({})


class Dispatch:
    """The calls of experts that tokens of one user need in a layer, forward and backward."""

    def __init__(self, sites: ExpertSites, policy: DispatchPolicy, caller: Caller, request: int | None) -> None:
        """No calls yet; `request` is the number of the user's request, None in training."""
        self.sites, self.policy, self.caller, self.user, self.request = sites, policy, caller, caller.user, request
        self.completed: list[SiteCall] = []
        """The completed calls of the latest pass, in the order of their ends."""
        self._at: dict[int, Server] = {}  # where each expert was called, which keeps what the backward pass needs

    def call(
        self,
        works: Mapping[int, ExpertWork],
        pairs: Pairs,
        exchange: MakeExchange,
        kind: str,
        fetches: Mapping[int, simpy.Process | None] = NO_FETCHES,
        until: simpy.Event | None = None,
    ) -> Process[set[int]]:
        """Call experts side by side, those of each site together.

        Args:
            works: the work of each expert.
            pairs: their tokens.
            exchange: returns the sizes of the messages of a call.
            kind: kind of the jobs, for the tables.
            fetches: experts that are called when a process has ended, which fetches them to the user's cache.
            until: event at which experts whose answers are not in are left out; None is never.

        Returns:
            The experts whose answers are in.
        """
        self.completed = []
        env, calls = self.sites.world.env, _Calls(pairs, exchange, kind)
        branches = self._branches({each: work for each, work in works.items() if each not in fetches}, calls)
        branches += [self._after_fetch(works[each], process, calls) for each, process in fetches.items()]
        if until is None:
            done: Sequence[set[int] | None] = yield from join(env, branches)
        else:
            done = yield from join_until(env, branches, until)
        return set().union(*(each for each in done if each is not None))

    def _after_fetch(self, work: ExpertWork, process: simpy.Process | None, calls: _Calls) -> Process[set[int]]:
        """Call an expert at the user's cache when that has fetched it; at the origin if it is not stored."""
        sites, expert = self.sites, work.expert.number
        if process is not None:
            yield process
        if sites.cache is not None and sites.cache(self.user).holds(work.expert):
            self._at[expert] = sites.cache(self.user)
        return (yield from self._at_sites({expert: work}, calls, waited=True))

    def _after_return(self, work: ExpertWork, calls: _Calls) -> Process[set[int]]:
        """Call an expert when a site that holds it has returned."""
        yield from self.sites.await_holders(self.user, work.expert.number)
        return (yield from self._at_sites({work.expert.number: work}, calls))

    def _at_sites(self, works: Mapping[int, ExpertWork], calls: _Calls, *, waited: bool = False) -> Process[set[int]]:
        """Select a site for each expert, and call those of each site together."""
        branches = self._branches(works, calls, waited=waited)
        return set().union(*(yield from join(self.sites.world.env, branches)))

    def _branches(
        self, works: Mapping[int, ExpertWork], calls: _Calls, *, waited: bool = False
    ) -> list[Process[set[int]]]:
        """Select a site for each expert; returns a process for each site, and for each expert that no site holds now.

        `waited` says that the call has waited for a fetch.
        """
        holders = self.sites.holders_of(self.user, works)
        free = {each: those for each, those in holders.items() if those and self._at.get(each) not in those}
        if free:
            self._at |= self.sites.select(self.user, free, self.policy.selection, self._delays_s(works, calls))
        groups: dict[Server, list[ExpertWork]] = {}
        for expert, those in holders.items():
            if those:
                hit = self.sites.hits(those) and not waited
                action = None if hit else self.policy.miss.action if waited else FromCloud.action
                work = works[expert]._replace(hit=hit, miss_action=action)
                groups.setdefault(self._at[expert], []).append(work)
        absent = [self._after_return(works[expert], calls) for expert, those in holders.items() if not those]
        return [*(self._at_site(site, group, calls) for site, group in groups.items()), *absent]

    def _at_site(self, site: Server, works: Sequence[ExpertWork], calls: _Calls) -> Process[set[int]]:
        """Call experts at a site; if it goes away meanwhile, at the next sites that hold them."""
        experts = [work.expert.number for work in works]
        tokens = calls.pairs.tokens(experts)
        call = SiteCall(self.sites.world, self.caller, site, works, tokens, kind=calls.kind, request=self.request)
        try:
            yield from call.run(calls.exchange(tokens, call.pairs))
        except simpy.Interrupt:
            if self.user.node.away or not site.node.away:
                raise
            return (yield from self._at_sites({work.expert.number: work for work in works}, calls))
        self.completed.append(call)
        return set(experts)

    def _delays_s(self, works: Mapping[int, ExpertWork], calls: _Calls) -> Callable[[int, Server], tuple[float, float]]:
        """Returns the expected delay of a call of an expert alone, now, and the part of it that is work.

        They depend on the site and the number of the expert's tokens alone.
        """
        known: dict[tuple[Server, int], tuple[float, float]] = {}
        rates_bps = self.caller.rates_bps()

        def delays_s(expert: int, site: Server) -> tuple[float, float]:
            work = works[expert]
            if (site, work.pairs) not in known:
                bits_up, bits_down = calls.exchange(work.pairs, work.pairs)
                known[site, work.pairs] = call_s(self.user, site, bits_up, work.plan, bits_down, rates_bps)
            return known[site, work.pairs]

        return delays_s


class _Calls(NamedTuple):
    """What the calls of one pass have in common."""

    pairs: Pairs
    exchange: MakeExchange
    kind: str
