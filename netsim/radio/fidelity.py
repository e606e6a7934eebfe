"""Simulation fidelities of a band: fluid flow, or slot level."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import expm1, inf
from typing import Annotated, Protocol

import simpy
from annotated_types import Ge, Interval

from netsim.radio.band import Band
from netsim.radio.flow.medium import FlowMedium
from netsim.radio.rate import AdaptiveModulation, RateLaw
from netsim.radio.scheduling import ProportionalFair, Scheduler, SchedulingPolicy
from netsim.radio.slot.adaptive import Adaptive
from netsim.radio.slot.coding import Coding, Ideal
from netsim.radio.slot.dealing import BestLinks, Dealer, GrantedShares
from netsim.radio.slot.medium import SlotMedium
from netsim.units import RecurringSeconds


class Fidelity(Protocol):
    """A simulation fidelity: the level of detail with which the band of a station is simulated."""

    def band(
        self,
        env: simpy.Environment,
        bandwidth_hz: float,
        law: SchedulingPolicy,
        scheduler: Scheduler,
        attached: Sequence[int],
        rate: RateLaw,
        key: int,
        *,
        spread: bool,
    ) -> Band:
        """Return the band of a station in one direction.

        Args:
            env: the environment.
            bandwidth_hz: bandwidth in Hz.
            law: the scheduling policy of the band.
            scheduler: the policy's scheduler, which all stations share in this direction.
            attached: numbers of the users that belong to the station.
            rate: the rate law of all links.
            key: key of the stream of the band's random draws.
            spread: True spreads the sender's power over the whole band (downlink), False over its share (uplink).
        """
        ...


@dataclass(frozen=True)
class Flow:
    """Fluid flow: bits flow at rates that are constant between changes; transmissions end at exact instants. Fast."""

    def band(
        self,
        env: simpy.Environment,
        bandwidth_hz: float,
        law: SchedulingPolicy,
        scheduler: Scheduler,
        attached: Sequence[int],
        rate: RateLaw,
        key: int,
        *,
        spread: bool,
    ) -> Band:
        return FlowMedium(env, bandwidth_hz, scheduler, attached, spread=spread)


@dataclass(frozen=True)
class Slots:
    """Slot level: the scheduler assigns the resource blocks of each slot; slower, a check of fluid flow."""

    tti_s: RecurringSeconds = 1e-3
    """Length of a slot in seconds (TS 38.211 table 4.3.2-1: 1 ms at a subcarrier spacing of 15 kHz)."""
    resource_blocks: Annotated[int, Interval(ge=1, le=10_000)] = 50
    """Number of resource blocks of equal width in the band (TS 36.101 table 5.6-1: 50 in 10 MHz)."""
    cqi_delay_slots: Annotated[int, Interval(ge=0, le=10_000)] = 0
    """Age in slots of the station's channel state information; it replaces the `cqi_delay_blocks` of a rate law."""
    round_trip_slots: Annotated[int, Interval(ge=1, le=10_000)] = 8
    """Slots from a transport block to its retransmission, for rate laws with transport blocks (TS 36.213, 8: 8 ms with
    FDD)."""
    outer_loop_db: Annotated[float, Interval(ge=0, le=10)] = 0.5
    """Step in dB of the outer loop of link adaptation, by which a lost block makes the choice of modulation and coding
    more robust; 0 is no outer loop."""
    max_retransmissions: Annotated[int, Ge(0)] | None = 32
    """For rate laws with transport blocks: how many times a block is sent again after all its attempts were lost; then
    the radio link fails, and the transfer is abandoned (TS 38.331, maxRetxThreshold: 1 to 32). null is no limit."""

    def band(
        self,
        env: simpy.Environment,
        bandwidth_hz: float,
        law: SchedulingPolicy,
        scheduler: Scheduler,
        attached: Sequence[int],
        rate: RateLaw,
        key: int,
        *,
        spread: bool,
    ) -> Band:
        return SlotMedium(
            env,
            bandwidth_hz,
            scheduler,
            attached,
            self._dealer(law, scheduler),
            self._coding(rate, bandwidth_hz / self.resource_blocks * self.tti_s, key),
            tti_s=self.tti_s,
            resource_blocks=self.resource_blocks,
            delay_slots=self.cqi_delay_slots,
            spread=spread,
        )

    def _dealer(self, law: SchedulingPolicy, scheduler: Scheduler) -> Dealer:
        if not scheduler.follows_fading:
            return GrantedShares(self.resource_blocks, lent=scheduler.contended)
        memory_s = law.forgetting_time_s if isinstance(law, ProportionalFair) else None
        return BestLinks(self.resource_blocks, None if memory_s is None else -expm1(-self.tti_s / memory_s))

    def _coding(self, rate: RateLaw, symbols: float, key: int) -> Coding:
        if isinstance(rate, AdaptiveModulation):
            resends = inf if self.max_retransmissions is None else self.max_retransmissions
            return Adaptive(rate, symbols, key, self.round_trip_slots, self.outer_loop_db, resends)
        return Ideal(rate, symbols)


FIDELITIES: dict[str, type] = {"flow": Flow, "slot": Slots}
