"""Requests whose layers choose, select, skip and wait in other ways: against exact answers, and against crashes."""

from dataclasses import replace
from typing import Any

import pytest
import torch

from learning.dispatch import (
    ChannelAware,
    FromCloud,
    LeastWork,
    MinSites,
    RandomSite,
    SkipMissing,
    SkipSmall,
    Substitute,
    WaitForFetch,
    WeightToLatency,
)
from learning.schemes.moe_inference import MoeInference
from moe_cells import SITES, Cell, Held, Told, asked
from netsim.faults import OnOffAvailability, SiteOutage
from netsim.traffic import PoissonArrivals
from netsim.values import ConstantPerUser
from runs import frame, hashes
from scenarios.errors import FieldError

EVERYWHERE = tuple((layer, expert) for layer in range(2) for expert in range(4))
MIXED = {"near": ((0, 0), (0, 1), (1, 2)), "far": ((0, 1), (0, 2), (1, 3))}
BUSY = Cell(users=2, arrivals=PoissonArrivals(ConstantPerUser(1.0)))


def calls(told: Told) -> Any:
    return frame(told.result, "expert_calls")


@pytest.mark.parametrize(
    ("scheme", "held"),
    [
        ({"gating": ChannelAware(0.0)}, MIXED),
        ({"gating": SkipSmall(0.0)}, MIXED),
        ({"gating": WeightToLatency(1.0)}, MIXED),
        ({"miss": SkipMissing()}, {"near": EVERYWHERE}),
        ({"miss": Substitute()}, {"near": EVERYWHERE}),
        ({"deadline_s": 100.0}, MIXED),
        ({"selection": LeastWork()}, MIXED),
        ({"selection": MinSites()}, MIXED),
        ({"selection": RandomSite()}, MIXED),
        ({"miss": FromCloud(fetch=False)}, MIXED),
    ],
    ids=lambda each: repr(each)[:40],
)
def test_policies_without_effect_on_values_give_exact_answers_bit_for_bit(
    scheme: dict[str, Any], held: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    exact = asked(monkeypatch, BUSY, Held(held={}))
    found = asked(monkeypatch, BUSY, replace(Held(held=held), **scheme))
    both = exact.logits.keys() & found.logits.keys()
    assert len(both) >= 5
    assert all(torch.equal(exact.logits[name], found.logits[name]) for name in both)


def test_gates_that_know_the_channel_choose_nearer_experts(monkeypatch: pytest.MonkeyPatch) -> None:
    """With a penalty beyond all logits every token goes to two experts of the near site; passes are then faster."""
    held = {"near": tuple((layer, expert) for layer in range(2) for expert in (1, 3))}
    exact = asked(monkeypatch, BUSY, Held(held=held))
    found = asked(monkeypatch, BUSY, Held(held=held, gating=ChannelAware(1e6)))
    assert set(calls(found).expert) == {1, 3}
    assert set(calls(found).node) == {"near"}
    mean_s = [(frame(told.result, "requests").latency_s).mean() for told in (exact, found)]
    assert mean_s[1] < mean_s[0]
    both = exact.logits.keys() & found.logits.keys()
    assert not all(torch.equal(exact.logits[name], found.logits[name]) for name in both)


@pytest.mark.parametrize("gating", [SkipSmall(0.3), WeightToLatency(0.4)], ids=repr)
def test_gates_that_leave_experts_out_send_and_compute_less(gating: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    exact, found = (asked(monkeypatch, Cell(), scheme) for scheme in (MoeInference(), MoeInference(gating=gating)))
    pairs = [calls(told).groupby(["request", "layer"]).pairs.sum() for told in (exact, found)]
    assert set(pairs[0]) == {32}
    assert (pairs[1] >= 16).all()
    assert pairs[1].mean() < 32
    assert calls(found).bits_up.sum() < calls(exact).bits_up.sum()


def test_a_site_that_goes_away_changes_no_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    """Requests that are answered are answered once and exactly; those whose experts are out of reach wait."""
    away = {
        "near": replace(SITES["near"], outages=tuple(SiteOutage(0.3 * k, 0.3 * k + 0.13) for k in range(20))),
        "cloud": replace(SITES["cloud"], outages=(SiteOutage(1.0, 1.7),)),
    }
    exact = asked(monkeypatch, BUSY, Held(held={"near": EVERYWHERE}))
    found = asked(monkeypatch, replace(BUSY, sites={**SITES, **away}), Held(held={"near": EVERYWHERE[:5]}))
    both = exact.logits.keys() & found.logits.keys()
    assert len(both) >= 5
    assert all(torch.equal(exact.logits[name], found.logits[name]) for name in both)
    requests = frame(found.result, "requests")
    assert set(requests.outcome) == {"served"}
    assert not requests.duplicated(["user", "stream", "number"]).any()
    rows = calls(found)
    assert rows.interrupted.any()
    done = rows[~rows.interrupted].groupby(["user", "request", "layer"]).pairs.sum()
    assert set(done) == {32}
    assert set(frame(found.result, "outages").site) == {"near", "cloud"}


def test_dry_runs_are_alike_for_all_policies_but_for_what_these_decide(monkeypatch: pytest.MonkeyPatch) -> None:
    dry = replace(BUSY, executor="dry")
    for scheme in (MoeInference(), MoeInference(gating=ChannelAware()), MoeInference(miss=Substitute())):
        told = asked(monkeypatch, dry, scheme)
        assert set(frame(told.result, "requests").outcome) == {"served"}
        assert calls(told).groupby(["user", "request", "layer"]).pairs.sum().eq(32).all()


def test_equal_scenarios_have_equal_tables_and_other_seeds_have_others(monkeypatch: pytest.MonkeyPatch) -> None:
    away = replace(SITES["near"], availability=OnOffAvailability(mean_on_s=0.4, mean_off_s=0.1))
    cell = replace(BUSY, sites={**SITES, "near": away})
    scheme = Held(held=MIXED, selection=RandomSite(), gating=ChannelAware(), deadline_s=0.5, miss=Substitute())
    first, again, other = (asked(monkeypatch, replace(cell, seed=seed), scheme) for seed in (1, 1, 2))
    assert hashes(first.result) == hashes(again.result) != hashes(other.result)


def test_waiting_for_fetches_without_a_cache_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(FieldError, match=r"miss wait needs a cache; give compute\.edge_servers"):
        asked(monkeypatch, BUSY, MoeInference(miss=WaitForFetch()))
