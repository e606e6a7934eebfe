"""What HASFL's controllers see and decide, against numbers written out; training is in test_hasfl.py."""

from functools import partial
from itertools import pairwise
from types import SimpleNamespace

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from fakes import digits, world
from learning.codecs import Uniform
from learning.control.cuts.controller import AdaptSFL, Fixed, Hasfl, Proportional, RandomCuts
from learning.control.cuts.estimates import BoundConstants, BoundEstimates, statistics
from learning.control.observation import observe
from learning.models import Mlp, whole
from learning.optimisers import Sgd
from learning.protocols.split import CutLink
from learning.schemes import HASFL
from runs import TINY, frame, run
from scenarios import load
from scenarios.build import build
from scenarios.cost import predict
from scenarios.errors import ScenarioError
from scenarios.printing import print_cost

TWO = Mlp((12, 8))
SIZES = [64 * 12 + 12, 12 * 8 + 8, 8 * 10 + 10]
RATE = 0.1
SETTING = {"model": TWO, "optimiser": Sgd(RATE), "rounds": 3, "samples": 40}


class Looking:
    """Keeps what it sees."""

    def plan(self, forecast, number):
        self.forecast = forecast
        return Fixed().plan(forecast, number)


def look(scheme=HASFL, **setting):
    controller = Looking()
    world(scheme(controller, interval=3), **{**SETTING, "rounds": 1, **setting})
    return controller.forecast


def decided(scheme, name, **setting):
    """Values of a decision by round, each with one for every user, or for nobody."""
    journal = world(scheme, **{**SETTING, **setting}).journal
    rounds = sorted({number for number, _, each, _ in journal.decisions if each == name})
    return [[v for number, _, each, v in journal.decisions if (number, each) == (n, name)] for n in rounds]


def test_seconds_by_user_and_cut():
    """Counted by hand: two FLOPs for each weight forward, two more for each gradient; 64 bits a number."""
    problem = look(flops_per_s=[1e6, 2e6, 4e6], server_flops_per_s=1e7).problem(32)
    weights, widths = [64 * 12, 12 * 8, 8 * 10], [12, 8]
    third = 1e6 / 3
    up, down = third * np.log2(1 + 0.2 * 1e8 / third), third * np.log2(1 + 1.0 * 1e8 / 1e6)
    for user, speed in enumerate((1e6, 2e6, 4e6)):
        for cut in (1, 2):
            below, above, smashed = weights[:cut], weights[cut:], 64 * widths[cut - 1]
            before = 2 * sum(below) / speed + (smashed + 64) / up
            after = smashed / down + (2 * sum(below) + 2 * sum(below[1:])) / speed
            assert problem.before_s[user, cut - 1] == pytest.approx(before)
            assert problem.server_s[user, cut - 1] == pytest.approx(6 * sum(above) / 1e7)
            assert problem.after_s[user, cut - 1] == pytest.approx(after)
    assert problem.device_bits.tolist() == [64 * SIZES[0], 64 * (SIZES[0] + SIZES[1])]
    assert problem.upload_bps == pytest.approx([up] * 3)
    assert problem.download_bps == pytest.approx([down] * 3)
    assert (problem.max_samples == 32).all()
    assert (look().problem(64).max_samples == 40).all()  # what a user has


def test_a_sample_costs_its_part_of_the_users_own_mini_batch():
    """The range of a quantiser's 64 bits is shared by the 1, 8 and 8, or 6 and 2 samples of a user's mini-batch."""
    rate = 1e6 / 3 * np.log2(1 + 0.2 * 1e8 / (1e6 / 3))
    for samples, sizes in (([1, 24, 24], [1, 8, 8]), ([1, 6, 2], [1, 6, 2])):
        scheme = partial(HASFL, link=CutLink(activations=Uniform(4)))
        problem = look(scheme, samples=samples, flops_per_s=1e6).problem(32)
        ranges = 64 / np.array(sizes)
        assert problem.before_s[:, 0] == pytest.approx(2 * 64 * 12 / 1e6 + (4 * 12 + ranges + 64) / rate)


def test_the_target_is_what_moderate_choices_lose():
    """a / 16 for each user, and the drift of two blocks of three in three rounds."""
    bound = look().problem(64).bound
    noise = RATE * 1.0 / 3**2 * 3 / 16
    drift = 4 * (RATE * 3) ** 2 * 0.01 * 2 / 3
    assert bound.target == pytest.approx(1.2 * (noise + drift))


def test_memory_limits_batches_and_cuts():
    forecast = look()
    free = forecast.max_samples(64)
    (second,) = observe(forecast.world.users[1:2])

    def held(cut, samples):
        return forecast.cuts[cut - 1].memory_bytes(second, int(samples))

    for limit in (20_000, 24_000, 28_000):
        forecast.world.users[1].node.memory_bytes = limit
        most = forecast.max_samples(64)
        assert (most[[0, 2]] == free[[0, 2]]).all()
        for cut in (1, 2):
            assert most[1, cut - 1] == 0 or held(cut, most[1, cut - 1]) <= limit
            assert held(cut, most[1, cut - 1] + 1) > limit
    assert 0 < most[1, 1] < most[1, 0] < 40
    forecast.world.users[1].node.memory_bytes = 1_000
    assert forecast.max_samples(64)[1].tolist() == [1, 0]  # the least there is


def test_limited_devices_are_served_not_left_out():
    """End to end: whoever has little memory gets what fits."""
    limits = [32_000.0, 1e9, 1e9, 40_000.0]
    setting = {"learning__scheme": {"name": "hasfl", "controller": "random"}, "learning__executor": "dry"}
    result = run(**setting, compute__devices__memory_bytes=limits)
    jobs = frame(result, "computations").query("node_kind == 'user'")
    largest = jobs.groupby("user").memory_bytes.max()
    assert set(largest.index) == {0, 1, 2, 3}
    assert (largest <= limits).all()
    assert (frame(result, "decisions").query("name == 'batch_size' and user == 0").value < 40).all()
    with pytest.raises(ScenarioError, match="user 0 has 1000 bytes, and its largest job takes"):
        run(**setting, compute__devices__memory_bytes=[1000.0, 1e9, 1e9, 1e9])


# Oracles 1 and 8, and the target of 13, on the scheme itself.


def test_equal_devices_get_equal_shares():
    batches = np.array(decided(HASFL(Hasfl()), "batch_size"))
    cuts = np.array(decided(HASFL(Hasfl()), "cut"))
    assert np.ptp(batches, axis=1).max() <= 1
    assert np.ptp(cuts, axis=1).max() == 0


def test_a_straggler_is_given_less():
    """Ten times slower than the others: rounds are shorter than with 16 samples and two blocks, waits more alike."""
    speeds = [1e5, 1e6, 1e6]

    def arrivals(controller):
        scheme = HASFL(controller, constants=BoundConstants(variance=100.0))
        journal = world(scheme, flops_per_s=speeds, uplink_bps=1e9, downlink_bps=1e9, **SETTING).journal
        return np.array([[m.end_s for m in journal.messages if (m.round, m.kind) == (n, "activation")] for n in (0, 1)])

    ours, fixed = arrivals(Hasfl()), arrivals(Fixed(batches=(16,), cuts=(2,)))
    assert ours[1].max() - ours[0].max() < fixed[1].max() - fixed[0].max()
    assert ours[0].var() < fixed[0].var()
    first = decided(HASFL(constants=BoundConstants(variance=100.0)), "batch_size", flops_per_s=speeds)[0]
    assert first[0] < min(first[1:])


def test_a_target_out_of_reach_is_one_sentence():
    with pytest.raises(ValueError, match=r"^the target 1e-09 is out of reach: .* lose \S+ to noise and drift$"):
        world(HASFL(constants=BoundConstants(target=1e-9)), **SETTING)


@pytest.mark.parametrize(
    ("changed", "sentence"),
    [
        ({"constants": {"target": 1e-9}}, r"the target 1e-09 is out of reach: .* lose \S+ to noise and drift"),
        ({"controller": {"name": "fixed", "cuts": [1, 2]}}, r"controller\.cuts has 2 numbers; give one for all, or"),
        ({"controller": {"name": "fixed", "batches": [8] * 5}}, r"controller\.batches has 5 numbers; give one for all"),
        ({"controller": {"name": "fixed", "cuts": [3]}}, r"cut 3 does not leave a block on either side"),
    ],
)
def test_a_plan_that_cannot_be_is_refused_before_anything_runs(changed, sentence):
    scenario = load(TINY, {"learning.scheme": {"name": "hasfl", **changed}})
    with pytest.raises(ScenarioError, match=rf"learning\.scheme.*{sentence}"):
        build(scenario)


# BoundEstimates.


def test_statistics_by_autograd():
    """Oracle: gradients of every quarter by autograd; variance and norms from numpy."""
    data = digits(torch.float64, 40)
    segment = whole(TWO, data)
    draw = np.random.default_rng(0)
    weights, before = (
        {n: torch.from_numpy(draw.normal(0, 0.3, tuple(p.shape))) for n, p in segment.parameters().items()}
        for _ in range(2)
    )
    x, y = data.train.x[:12], data.train.y[:12]

    def gradient(at, rows):
        leaves = {name: value.clone().requires_grad_() for name, value in at.items()}
        loss = F.cross_entropy(segment(leaves, x[rows]), y[rows])
        return dict(zip(leaves, torch.autograd.grad(loss, list(leaves.values())), strict=True))

    def flat(tree, block):
        return torch.cat([value.flatten() for name, value in tree.items() if block in (None, int(name[0]))]).numpy()

    variances, norms, slope = statistics(segment, 3, weights, before, x, y)
    quarters = [gradient(weights, slice(first, first + 3)) for first in range(0, 12, 3)]
    now, earlier = (gradient(at, slice(0, 12)) for at in (weights, before))
    for block in range(3):
        rows = np.array([flat(each, block) for each in quarters])
        assert float(variances[block]) == pytest.approx(3 * np.var(rows, axis=0, ddof=1).sum())
        assert float(norms[block]) == pytest.approx((flat(now, block) ** 2).sum())
    moved = np.linalg.norm(flat(weights, None) - flat(before, None))
    assert float(slope) == pytest.approx(np.linalg.norm(flat(now, None) - flat(earlier, None)) / moved)
    assert float(statistics(segment, 3, weights, weights, x, y)[2]) == 0


def test_estimates_are_means_over_users_the_steepest_slope_and_half_of_what_was_known(monkeypatch):
    """Two users, three intervals: the first replaces what was stated; slopes from 0.1 to one over the step."""
    seen = {
        "a": ([2.0, 4.0], [1.0, 3.0], 0.5),
        "b": ([4.0, 8.0], [3.0, 5.0], 2.0),
        "later": ([1.0, 2.0], [0.0, 2.0], 50.0),
        "flat": ([1.0, 2.0], [0.0, 2.0], 0.01),
    }
    executor = SimpleNamespace(computes=True, value=lambda asked: asked)
    world = SimpleNamespace(
        executor=executor, optimiser=SimpleNamespace(learning_rate=0.1), chain=SimpleNamespace(blocks=2)
    )
    monkeypatch.setattr(BoundEstimates, "_of_user", lambda self, weights, user, *_: [*map(torch.tensor, seen[user])])
    estimates = BoundEstimates(world, BoundConstants(estimate=True), {})
    estimates.update({}, {"a": range(8), "b": range(8)})
    assert (estimates.variances.tolist(), estimates.squared_norms.tolist()) == ([3, 6], [2, 4])
    assert estimates.smoothness == 2
    estimates.update({}, {"later": range(8)})
    assert (estimates.variances.tolist(), estimates.squared_norms.tolist()) == ([2, 4], [1, 3])
    assert estimates.smoothness == (2 + 1 / 0.1) / 2
    estimates.update({}, {"flat": range(8)})
    assert estimates.smoothness == (6 + 0.1) / 2


def test_the_slope_is_that_since_the_last_aggregation():
    """Over three aggregations with real gradients: the change of the gradient over that of the weights since the one
    before, not since the start."""
    built = world(HASFL(Fixed()), **SETTING)
    draw = np.random.default_rng(0)
    trees = [
        {n: torch.from_numpy(draw.normal(0, 0.5, tuple(p.shape))) for n, p in built.whole.parameters().items()}
        for _ in range(4)
    ]
    user = built.users[0]
    x, y = (each.tensor() for each in user.batches.run(range(8)))
    estimates = BoundEstimates(built, BoundConstants(estimate=True), trees[0])
    expected = None
    for before, now in pairwise(trees):
        estimates.update(now, {user: range(8)})
        slope = float(statistics(built.whole, 3, now, before, x, y)[2])
        assert 0.1 < slope < 1 / RATE  # within the bounds, which would hide it
        expected = slope if expected is None else (expected + slope) / 2
        assert estimates.smoothness == pytest.approx(expected, rel=1e-12)
    since_start = [float(statistics(built.whole, 3, now, trees[0], x, y)[2]) for now in trees[1:]]
    assert estimates.smoothness != pytest.approx(
        (since_start[0] / 2 + since_start[1] / 2 + since_start[2]) / 2, rel=0.01
    )


def test_estimates_decide_and_the_dry_executor_has_none():
    scheme = HASFL(constants=BoundConstants(estimate=True))
    known, dry = (decided(scheme, "objective", executor=executor) for executor in ("eager", "dry"))
    stated = decided(HASFL(), "objective")
    assert dry == stated
    assert known[0] == stated[0]
    assert known[1] != stated[1]
    assert known[2] != known[1]


@pytest.mark.parametrize("controller", [Hasfl(), Hasfl("random", "best"), Hasfl("random", "random", True), AdaptSFL()])
def test_a_scheme_that_decides_by_estimates_says_what_stands_in_for_them(controller):
    assert "as they are stated" in HASFL(controller, constants=BoundConstants(estimate=True)).stand_in
    assert HASFL(controller).stand_in is None


@pytest.mark.parametrize("controller", [Hasfl("random", "random"), Fixed(), RandomCuts(), Proportional()])
def test_controllers_that_go_by_no_bound_need_no_stand_in(controller):
    """Plans with gradients are those of a dry run."""
    scheme = HASFL(controller, constants=BoundConstants(estimate=True))
    assert scheme.stand_in is None
    for name in ("batch_size", "cut"):
        assert decided(scheme, name) == decided(scheme, name, executor="dry")


def test_check_names_what_stands_in_for_estimates(monkeypatch, capsys):
    monkeypatch.setattr("scenarios.cost.MAX_PROBED_FLOPS", 0)
    print_cost(predict(load(TINY, {"learning.scheme": {"name": "hasfl", "constants": {"estimate": True}}})))
    assert "a stand-in: the constants of the bound as they are stated" in capsys.readouterr().out


def test_where_estimates_put_the_target_out_of_reach_the_last_plan_stays():
    """BoundConstants that are stated low, and gradients that turn out to be anything but."""
    scheme = HASFL(constants=BoundConstants(variance=1e-6, squared_norm=1e-9, target=1e-6, estimate=True))
    for name in ("batch_size", "cut", "interval"):
        first, *later = decided(scheme, name, rounds=4)
        assert later == [first] * 3
    assert len(decided(scheme, "objective", rounds=4)) == 1
    moving = HASFL(constants=BoundConstants(estimate=True))
    assert len(decided(moving, "objective", rounds=4)) == 4


# Baselines.


def test_random_choices_differ_by_user_and_interval_and_fit():
    batches = np.array(decided(HASFL(RandomCuts(max_samples=20)), "batch_size", rounds=40))
    cuts = np.array(decided(HASFL(RandomCuts(max_samples=20)), "cut", rounds=40))
    assert batches.shape == (40, 3)
    assert (batches.min(), batches.max()) == (1, 20)
    assert set(cuts.flatten()) == {1, 2}
    assert 0.3 < (cuts == 1).mean() < 0.7
    assert abs(batches.mean() - 10.5) < 4 * 5.77 / 120**0.5


def test_proportional_batches():
    assert decided(HASFL(Proportional(20)), "batch_size", flops_per_s=[1e6, 3e6, 8e6])[0] == [2, 6, 16]
    assert decided(HASFL(Proportional(12)), "batch_size", flops_per_s=[1e4, 3e6, 8e6])[0] == [1, 7, 12]


def test_single_knobs():
    """The drawn half is the same as where both are drawn."""
    drawn = {name: decided(HASFL(Hasfl("random", "random")), name) for name in ("batch_size", "cut")}
    for batches, cuts in (("best", "random"), ("random", "best"), ("best", "best")):
        same = {name: decided(HASFL(Hasfl(batches, cuts)), name) == drawn[name] for name in drawn}
        assert same == {"batch_size": batches == "random", "cut": cuts == "random"}


def test_adaptsfl_keeps_batches_and_chooses_the_interval():
    """Hardly any drift: as long as it may be; much of it: every round."""
    calm = HASFL(AdaptSFL(max_interval=4), interval=2, constants=BoundConstants(squared_norm=1e-9))
    assert decided(calm, "batch_size", rounds=9)[0] == [8, 8, 8]
    journal = world(calm, **{**SETTING, "rounds": 9}).journal
    assert [(n, value) for n, _, name, value in journal.decisions if name == "interval"] == [(0, 4), (4, 4), (8, 4)]
    models = {(m.round, m.direction) for m in journal.messages if m.kind == "model"}
    assert models == {(0, "down"), (3, "up"), (4, "down"), (7, "up"), (8, "down")}
    drifting = HASFL(AdaptSFL(), interval=2, constants=BoundConstants(squared_norm=100.0))
    assert decided(drifting, "interval") == [[1], [1], [1]]


def test_what_does_not_fit_is_one_sentence():
    with pytest.raises(
        ValueError, match=r"controller\.cuts has 2 numbers; give one for all, or one for each of 3 users"
    ):
        world(HASFL(Fixed(cuts=(1, 2))), **SETTING)
    with pytest.raises(ValueError, match=r"cut 3 does not leave a block on either side; possible cuts: 1 to 2"):
        world(HASFL(Fixed(cuts=(1, 3, 1))), **SETTING)
