"""TSFLora against the oracles of its specification: reductions, bits, FLOPs, gradients through the codec, seconds."""

from typing import Any

import pandas as pd
import pytest
import torch

from learning import steps
from learning.codecs import Uniform
from learning.models import Segment, Vit
from learning.reducers import Reduced, Selected
from runs import TINY, TOKENS
from scenarios import load, simulate
from scenarios.build import build
from scenarios.errors import ScenarioError

PATCHES, WIDTH, BATCH, LABEL = 16, 16, 8, 4
SETTING = {
    **TOKENS,
    "network.users.count": 2,
    "learning.partition": "iid",
    "learning.executor": "eager",
    "learning.stop.rounds": 2,
    "compute.stragglers.slowdown": "none",
    "learning.optimiser": {"name": "sgd", "learning_rate": 0.03, "momentum": 0.9},
}


def scenario(scheme: dict[str, Any], **changed: Any) -> Any:
    overrides = {name.replace("__", "."): value for name, value in changed.items()}
    return load(TINY, {**SETTING, "learning.scheme": scheme, **overrides})


def losses(described: Any) -> list[float]:
    table = simulate(described).table("evaluations").to_pandas()
    return list(table[table["metric"] == "loss"]["value"])


def sent(described: Any, kind: str, direction: str) -> pd.DataFrame:
    table = simulate(described).table("transfers").to_pandas()
    return table[(table["kind"] == kind) & (table["direction"] == direction)]


def test_all_tokens_in_full_is_split_fine_tuning_bit_for_bit() -> None:
    everything = {"name": "tsflora", "tokens": PATCHES, "bits": 32, "local_steps": 2}
    plain = {"name": "sfl_v1", "local_steps": 2, "weighting": "by_samples"}
    assert losses(scenario(everything)) == losses(scenario(plain))
    assert losses(scenario({**everything, "tokens": 5})) != losses(scenario(plain))
    assert losses(scenario({**everything, "bits": 4})) != losses(scenario(plain))


def test_one_user_is_plain_fine_tuning() -> None:
    everything = {"name": "tsflora", "tokens": PATCHES, "bits": 32, "local_steps": 2}
    alone = {"network__users__count": 1, "learning__precision": "float64", "learning__optimiser__momentum": 0.0}
    unsplit = losses(scenario({"name": "fedavg", "local_steps": 2}, **alone))
    assert losses(scenario(everything, **alone)) == pytest.approx(unsplit, rel=1e-12)


def test_products_of_factors_are_averaged_where_asked_for() -> None:
    """The mean of one user's adapters is what they do, whichever way; of several users' it is not."""
    scheme = {"name": "tsflora", "tokens": 5, "local_steps": 2}
    once = {"learning__stop__rounds": 1, "learning__precision": "float64"}
    for users in (1, 2):
        factors, product = (
            losses(scenario({**scheme, "average": average}, network__users__count=users, **once))
            for average in ("factors", "product")
        )
        assert (product == pytest.approx(factors, rel=1e-10)) == (users == 1)


@pytest.mark.parametrize("average", ["factors", "product"])
def test_moments_of_factors_do_not_outlive_an_average_of_products(average: str) -> None:
    """One step a round: the first with momentum is one without, so that momentum shows only if it is kept."""
    scheme = {"name": "tsflora", "tokens": 5, "local_steps": 1, "average": average}
    kept, none = (losses(scenario(scheme, learning__optimiser__momentum=momentum)) for momentum in (0.9, 0.0))
    assert (kept == none) == (average == "product")


@pytest.mark.parametrize(
    ("scheme", "tokens", "ranges"),
    [
        ({"tokens": 5}, 7, 1),
        ({"tokens": 5, "merge": False}, 6, 1),
        ({"tokens": 5, "range": "token"}, 7, 7 * BATCH),
        ({"tokens": 7, "budget": "sent"}, 7, 1),
        ({"tokens": 5, "selector": "strided"}, 7, 1),
        ({"tokens": 5, "selector": "random"}, 7, 1),
        ({"tokens": PATCHES}, PATCHES + 1, 1),
    ],
)
def test_bits_on_the_air(scheme: dict[str, Any], tokens: int, ranges: int) -> None:
    described = scenario({"name": "tsflora", "bits": 8, "local_steps": 1, "label_bits": LABEL, **scheme})
    up = sent(described, "activation", "up")
    assert set(up["bits"]) == {8.0 * BATCH * tokens * WIDTH + 64 * ranges + BATCH * LABEL}
    assert set(sent(described, "gradient", "down")["bits"]) == {32.0 * BATCH * tokens * WIDTH}


def test_gradients_come_back_in_as_many_bits_as_asked_for() -> None:
    described = scenario({"name": "tsflora", "tokens": 5, "local_steps": 1, "gradient_bits": 4})
    assert set(sent(described, "gradient", "down")["bits"]) == {4.0 * BATCH * 7 * WIDTH + 64}
    assert losses(described) != losses(scenario({"name": "tsflora", "tokens": 5, "local_steps": 1}))


def test_selector_rounding_and_weights_are_those_asked_for() -> None:
    """At two bits rounding shows; where users have unequal samples, their weights do, as in the plain scheme."""
    few = {"name": "tsflora", "tokens": 5, "local_steps": 1}
    selectors = [losses(scenario({**few, "selector": name})) for name in ("attention", "random", "strided")]
    assert selectors[0] != selectors[1] != selectors[2] != selectors[0]
    coarse = {**few, "bits": 2}
    assert losses(scenario({**coarse, "rounding": "stochastic"})) != losses(scenario(coarse))
    everything = {"name": "tsflora", "tokens": PATCHES, "bits": 32, "local_steps": 1}
    skewed = {"learning__partition": {"name": "dirichlet", "alpha": 0.5, "min_samples": 8}}
    by_weights = [
        [losses(scenario({**scheme, "weighting": weights}, **skewed)) for weights in ("by_samples", "uniform")]
        for scheme in (everything, {"name": "sfl_v1", "local_steps": 1})
    ]
    assert by_weights[0] == by_weights[1]
    assert by_weights[0][0] != by_weights[0][1]


def test_compression_ratios_of_the_paper() -> None:
    """N = 49: 32 (N + 1) / (q (K + 2)) for K = 40, 30 at 8 bits and 30 at 4; range and labels come on top."""
    z = torch.empty(64, 50, 768, device="meta")
    for keep, bits, ratio in ((40, 8, 4.7619), (30, 8, 6.25), (30, 4, 12.5)):
        fewer = z[:, : Selected(keep).sent(49)]
        assert 32 * z.numel() / (Uniform(bits).bits(fewer) - 64) == pytest.approx(ratio, rel=1e-5)


def test_the_server_computes_with_fewer_tokens() -> None:
    """FLOPs of the layers at the server: 24 n D^2 + 4 n^2 D each, from the counted ones within 2 %."""
    model = Vit(patch=4, width=64, depth=6, heads=4, expansion=4, class_token=True)
    whole = Segment(model, (1, 28, 28), 10, 0, 8)
    back = whole.cut(3)[1]
    layers = Segment(model, (1, 28, 28), 10, 3, 7)
    world = build(scenario({"name": "tsflora"})).executor
    assert world is not None

    def counted(tokens: int) -> float:
        z = torch.empty(1, tokens, 64, device="meta")
        return world.plan(steps.front, layers, layers.parameters(), z).profile.flops

    def formula(n: int) -> float:
        return 24 * n * 64**2 + 4 * n**2 * 64

    assert back.start == layers.start
    assert counted(32) / counted(50) == pytest.approx(formula(32) / formula(50), rel=0.02)
    assert counted(50) == pytest.approx(4 * formula(50), rel=0.02)


def test_gradients_pass_the_quantiser_straight_through() -> None:
    """The device's gradient at 8 bits is that of the server's gradient pulled back through the unquantised tokens."""
    model = Vit(4, 8, 3, 2, class_token=True)
    front, back = Segment(model, (1, 16, 16), 5, 0, 5).cut(2)
    generator = torch.Generator().manual_seed(0)

    def drawn(segment: Segment) -> dict[str, torch.Tensor]:
        return {
            name: 0.3 * torch.randn(tuple(value.shape), generator=generator, dtype=torch.float64)
            for name, value in segment.parameters().items()
        }

    low, high = drawn(front), drawn(back)
    x = torch.randn(6, 1, 16, 16, generator=generator, dtype=torch.float64)
    y = torch.arange(6) % 5
    reduced = Reduced(front, Selected(5))
    z = steps.front(reduced, low, x)
    gradients = {}
    for bits in (8, 32):
        seen = z if bits == 32 else Uniform(bits, "nearest").roundtrip(z, None)
        _, dz, _ = steps.back_gradients(back, high, seen, y)
        pulled = steps.front_gradients(reduced, low, x, dz)
        leaves = {name: value.clone().requires_grad_() for name, value in low.items()}
        torch.autograd.backward(reduced(leaves, x), dz)
        for name, value in pulled.items():
            torch.testing.assert_close(value, leaves[name].grad)
        gradients[bits] = torch.cat([value.flatten() for value in pulled.values()])
    cosine = torch.nn.functional.cosine_similarity(gradients[8], gradients[32], dim=0)
    assert float(gradients[8].norm()) > 0
    assert float(cosine) > 0.9


def test_the_backbone_stays_frozen_and_starts_as_itself() -> None:
    described = scenario({"name": "tsflora", "tokens": 5, "local_steps": 1})
    simulation = build(described)
    world = simulation.process.gi_frame.f_locals["world"]  # type: ignore[union-attr]
    start = world.initial(world.whole)
    x = world.dataset.test.x[:4]
    assert isinstance(world.whole.adapted.segment, Segment)
    backbone = {
        **world.whole.frozen,
        **{name: v for name, v in start.items() if not world.whole.adapted.of_adapter(name)},
    }
    torch.testing.assert_close(world.whole(start, x), world.whole.adapted.segment(backbone, x), rtol=1e-6, atol=1e-6)
    before = {name: value.clone() for name, value in world.whole.frozen.items()}
    simulation.env.run(simulation.env.process(simulation.process))  # type: ignore[arg-type]
    assert all(torch.equal(before[name], value) for name, value in world.whole.frozen.items())
    ranks = sum(2 * (16 + 16) for _ in world.whole.adapted.ranks)
    assert sum(v.numel() for name, v in start.items() if world.whole.adapted.of_adapter(name)) == ranks


def test_twice_the_band_at_half_the_noise_is_half_the_airtime() -> None:
    """A band twice as wide with twice the power carries tokens in half the time, exactly."""
    fixed = {"network__channel__fading": "none", "network__users__count": 1}
    scheme = {"name": "tsflora", "tokens": 5, "local_steps": 1}
    narrow = sent(scenario(scheme, **fixed, network__users__tx_power_dbm=10.0), "activation", "up")
    louder = 10.0 + 10 * torch.log10(torch.tensor(2.0, dtype=torch.float64)).item()
    wide = sent(
        scenario(scheme, **fixed, network__users__tx_power_dbm=louder, network__sharing__uplink__bandwidth_mhz=2),
        "activation",
        "up",
    )
    assert wide["airtime_s"].tolist() == pytest.approx((narrow["airtime_s"] / 2).tolist(), rel=1e-9)


def test_the_queue_at_the_server_grows_with_users() -> None:
    waits = []
    for users in (1, 4):
        described = scenario(
            {"name": "tsflora", "tokens": 5, "local_steps": 1},
            network__users__count=users,
            compute__servers__flops_per_s=1e7,
        )
        table = simulate(described).table("computations").to_pandas()
        waits.append(table[table["kind"] == "server_step"]["wait_s"].mean())
    assert waits[0] == 0 < waits[1]


@pytest.mark.parametrize(
    ("changed", "sentence"),
    [
        ({"learning__adapter": None}, "the scheme fine-tunes adapters; give learning.adapter"),
        ({"learning__model": {**TOKENS["learning.model"], "class_token": False}}, "set learning.model.class_token"),
        ({"learning__cut": 1}, "put learning.cut after the first layer"),
        (
            {
                "learning__scheme": {"name": "tsflora", "average": "product"},
                "learning__policy": {"name": "asynchronous"},
            },
            "needs a policy in rounds and one server",
        ),
        (
            {"learning__scheme": {"name": "sfl_v1", "average": "product"}, "learning__adapter": None},
            "product needs adapters",
        ),
    ],
)
def test_what_does_not_fit_is_one_sentence(changed: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ScenarioError, match=sentence):
        build(scenario({"name": "tsflora"}, **changed))
