"""Named parts and where they are placed: however a chain is cut, its parts are one function with one gradient."""

from dataclasses import replace
from itertools import combinations
from typing import Any

import pytest
import torch
from named_streams import NamedStreams
from test_modalities import made

from fakes import digits, world
from learning import steps
from learning.adapters import Bound, Lora
from learning.models import Architecture, Mlp, Segment, Tower, Vit, multimodal, whole
from learning.models.segment import chain
from learning.optimisers import Adam, Sgd
from learning.placement import default_placement, named_parts, placed
from learning.schemes import SCHEMES
from learning.world import World

STREAMS = NamedStreams(2)
DEEP = Mlp((9, 7, 5))
TOKENS = Vit(4, 8, 3, 2)
CUTS = [
    (model, cuts) for model, n in ((DEEP, 4), (TOKENS, 5)) for k in (1, 2, 3) for cuts in combinations(range(1, n), k)
]


def sample() -> tuple[torch.Tensor, torch.Tensor]:
    test = digits(torch.float64, 40).test
    return test.x[:6], test.y[:6]


def initial(part: Segment) -> dict[str, torch.Tensor]:
    return part.initial(STREAMS, torch.float64)


@pytest.mark.parametrize(("model", "cuts"), CUTS)
def test_every_cut_into_parts_computes_the_same_function_and_the_same_step(
    model: Architecture, cuts: tuple[int, ...]
) -> None:
    """Forward part by part and backward part by part, against one step of plain training on the whole; bit for bit."""
    segment, (x, y), optimiser = whole(model, digits(torch.float64, 40)), sample(), Sgd(0.1)
    *before, last = named_parts(segment, cuts).values()
    weights, inputs = [initial(part) for part in (*before, last)], [x]
    for part, own in zip(before, weights, strict=False):
        inputs.append(steps.front(part, own, inputs[-1]))
    weights[-1], _, dz, loss = steps.back(last, optimiser, weights[-1], optimiser.init(weights[-1]), inputs[-1], y)
    for place in reversed(range(1, len(before))):
        own = weights[place]
        work = (before[place], optimiser, own, optimiser.init(own), inputs[place], dz)
        weights[place], _, dz = steps.update_middle(*work)
    weights[0], _ = steps.update_front(before[0], optimiser, weights[0], optimiser.init(weights[0]), x, dz)
    start = initial(segment)
    expected, _, mean = steps.train(segment, optimiser, start, optimiser.init(start), [x[None]], [y[None]])
    assert torch.equal(loss, mean)
    assert list(steps.merge(*weights)) == list(expected)
    assert all(torch.equal(value, expected[name]) for name, value in steps.merge(*weights).items())


def test_parts_have_names_and_places() -> None:
    chain = whole(DEEP, digits(torch.float64, 40))
    assert named_parts(chain, (2,)) == {"front": chain.cut(2)[0], "back": chain.cut(2)[1]}
    assert list(named_parts(chain, (1, 3))) == ["front", "middle", "tail"]
    assert list(named_parts(chain, (1, 2, 3))) == ["front", "middle1", "middle2", "tail"]
    assert default_placement(["front", "back"]) == {"front": "user", "back": "server"}
    assert default_placement(["front", "middle", "tail"]) == {"front": "user", "middle": "server", "tail": "user"}
    assert default_placement(["back", "image", "fusion"]) == {"back": "user", "image": "user", "fusion": "server"}
    assert placed(["front", "back"], {"back": "edge0"}, ["edge0"]) == {"front": "user", "back": "edge0"}


def test_towers_and_fusion_are_parts_of_the_order_in_which_data_flow() -> None:
    model = multimodal({"audio": Tower(Mlp()), "image": Tower(Mlp())}, Mlp(), made())
    parts = named_parts(model, (1,))
    assert list(parts) == ["audio", "image", "fusion"]
    assert list(model.parameters()) == [name for part in parts.values() for name in part.parameters()]


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ({"trunk": "user"}, "the model has no part trunk; it has front, back"),
        ({"back": "cloud"}, "there is no host cloud for part back; user, server, edge are allowed"),
    ],
)
def test_unknown_parts_and_hosts_are_refused(given: dict[str, str], sentence: str) -> None:
    with pytest.raises(ValueError, match=sentence):
        placed(["front", "back"], given, ["server", "edge", "user0", "user1"])


@pytest.mark.parametrize("cuts", [(2, 2), (3, 1), (1, 3, 2), (9, 1)])
def test_cuts_ascend(cuts: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=rf"^cut {cuts[-2]} comes before cut {cuts[-1]}; cuts must ascend"):
        named_parts(whole(DEEP, digits(torch.float64, 40)), cuts)


@pytest.mark.parametrize("cuts", [(0,), (4,), (1, 4)])
def test_cuts_leave_a_block_between_them(cuts: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=f"cut {cuts[-1]} does not leave a block on either side"):
        named_parts(whole(DEEP, digits(torch.float64, 40)), cuts)


def test_a_world_has_the_party_that_each_part_is_placed_at() -> None:
    ran: World = world(SCHEMES["fedavg"](), rounds=1, cut=(1, 2))
    user, server = ran.users[1], ran.server
    assert [ran.host(part, user) for part in ran.parts] == [user, server, user]
    assert not ran.plain_split
    ran.sites["edge"] = other = type(server)(server.node, server.wire)
    ran.placement = {**ran.placement, "middle": "edge"}
    assert ran.host("middle", user) is other


def test_parts_of_an_adapted_model_share_its_backbone() -> None:
    """Their parameters, too, are together those of the whole."""
    ran: World = world(
        SCHEMES["fedavg"](), rounds=1, model=TOKENS, cut=(1, 3), adapter=Lora(rank=2), optimiser=Adam(0.01)
    )
    parts: Any = list(ran.parts.values())
    assert all(isinstance(part, Bound) for part in parts)
    assert [name for part in parts for name in part.parameters()] == list(ran.whole.parameters())
    start = [ran.initial(part) for part in parts]
    x, _ = sample()
    z = x
    for part, own in zip(parts, start, strict=True):
        z = steps.front(part, own, z)
    assert torch.equal(z, ran.whole(ran.initial(ran.whole), x))


def test_a_named_chain_can_have_adapters_of_its_own() -> None:
    tower = Segment(TOKENS, (1, 8, 8), 6, 0, 5, "image")
    adapted = Lora(rank=2).on(tower)
    assert {name.partition(".")[0] for name in adapted.parameters()} == {"image"}
    assert [tower.block(name) for name, _ in adapted.ranks] == [1, 1, 2, 2, 3, 3]
    front, back = adapted.cut(2)
    assert list(front.parameters()) + list(back.parameters()) == list(adapted.parameters())


def test_a_named_chain_hands_out_the_attention_that_one_without_a_name_does() -> None:
    front = chain(TOKENS, (1, 8, 8), 10).cut(3)[0]
    tower, (x, _) = replace(front, name="image"), sample()
    params = initial(front)
    named = {f"image.{name}": value for name, value in params.items()}
    for ours, theirs in zip(steps.scored_front(tower, named, x), steps.scored_front(front, params, x), strict=True):
        assert torch.equal(ours, theirs)
    adapted = Lora(rank=2).on(tower)
    frozen, head = adapted.split(named)
    own = adapted.adapters(STREAMS, dtype=torch.float64) | head
    assert torch.equal(adapted.bind(frozen).scored(own, x)[1], front.scored(params, x)[1])
