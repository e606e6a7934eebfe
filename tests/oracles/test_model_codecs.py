"""Models in 16 bits on the air: a hand-written loop that rounds what is sent, bit for bit, and half of the bits."""

from collections import defaultdict
from dataclasses import replace

import pytest
import torch
from by_hand import Plain, batch, by_samples, mean, same_bits, split_step

from fakes import world
from learning.adapters import Lora
from learning.codecs import Analogue, Cast, Codec, Identity, Uniform
from learning.models import Vit
from learning.optimisers import Sgd
from learning.policies import Buffered
from learning.protocols.model_codecs import ModelCodecs
from learning.schemes import SFLV1, SFLV2, FedAvg, FedProx

pytestmark = pytest.mark.bits

ROUNDS, STEPS = 3, 2
SGD = Sgd(0.2, 0.9)
SETTING = {"rounds": ROUNDS, "precision": torch.float32, "optimiser": SGD, "samples": [16, 40, 24]}
ADAPTED = {"model": Vit(4, 16, 2, 2), "adapter": Lora(2), "cut": 2, "rounds": 1}
BFLOAT16, FLOAT16 = Cast(), Cast("float16")
CODECS = [ModelCodecs(BFLOAT16, FLOAT16), ModelCodecs(upload=FLOAT16), ModelCodecs(download=BFLOAT16)]
codecs = pytest.mark.parametrize("codecs", CODECS, ids=["both", "upload", "download"])


def rounded(weights, codec: Codec):
    """What of the weights fits in the format of a codec, by torch's own conversion."""
    if isinstance(codec, Identity):
        return weights
    return {name: value.to(getattr(torch, codec.format)).float() for name, value in weights.items()}


@codecs
def test_the_server_averages_rounded_models_which_began_with_a_rounded_one(codecs):
    ran = world(FedAvg(STEPS, models=codecs), **SETTING)
    users = {user: Plain(ran, ran.whole, SGD) for user in ran.users}
    weights = users[ran.users[0]].weights
    for number in range(ROUNDS):
        for user, plain in users.items():
            plain.load(rounded(weights, codecs.download))
            for step in range(STEPS):
                plain.step(*batch(ran, user, number * STEPS + step))
        weights = mean([rounded(plain.weights, codecs.upload) for plain in users.values()], by_samples(ran))
    assert same_bits(ran.model, weights)
    assert not same_bits(ran.model, world(FedAvg(STEPS), **SETTING).model)


@codecs
def test_the_device_parts_alone_are_rounded_where_the_model_is_split(codecs):
    ran = world(SFLV1(STEPS, models=codecs), **SETTING)
    fronts, backs = ({user: Plain(ran, part, SGD) for user in ran.users} for part in (ran.front, ran.back))
    front, back = fronts[ran.users[0]].weights, backs[ran.users[0]].weights
    for number in range(ROUNDS):
        for user in ran.users:
            fronts[user].load(rounded(front, codecs.download))
            backs[user].load(back)
            for step in range(STEPS):
                split_step(fronts[user], backs[user], *batch(ran, user, number * STEPS + step))
        front = mean([rounded(fronts[user].weights, codecs.upload) for user in ran.users], [1 / 3] * 3)
        back = mean([backs[user].weights for user in ran.users], [1 / 3] * 3)
    assert same_bits(ran.model, front | back)


@pytest.mark.parametrize("scheme", [FedAvg(STEPS), FedProx(STEPS), SFLV1(STEPS), SFLV2(STEPS)], ids=repr)
@pytest.mark.parametrize("policy", [None, Buffered(2)], ids=["rounds", "asynchronous"])
@pytest.mark.parametrize("more", [{}, ADAPTED], ids=["weights", "adapters"])
def test_models_take_sixteen_bits_a_number(scheme, policy, more):
    """Other messages, and all FLOPs, are as without codecs."""
    setting = {**SETTING, "policy": policy, **more}
    for direction, codecs in {"down": ModelCodecs(download=FLOAT16), "up": ModelCodecs(upload=BFLOAT16)}.items():
        plain, cast = (sizes(world(some, **setting).journal) for some in (scheme, replace(scheme, models=codecs)))
        model = direction, "model"
        (whole,) = plain.pop(model)
        assert cast.pop(model) == {whole / 2}
        assert cast == plain


def sizes(journal):
    """The sizes of messages, by direction and kind."""
    found = defaultdict(set)
    for message in journal.messages:
        found[message.direction, message.kind].add(message.bits)
    return found


def test_a_quantiser_draws_for_each_user_round_and_direction_anew():
    eight = ModelCodecs(Uniform(8), Uniform(8))
    first, second, plain = (world(FedAvg(1, models=codecs), **SETTING) for codecs in (eight, eight, ModelCodecs()))
    assert same_bits(first.model, second.model)
    distances = [float((first.model[name] - plain.model[name]).abs().max()) for name in plain.model]
    assert 0 < max(distances) < 0.1


@pytest.mark.parametrize("where", ["download", "upload"])
def test_models_are_not_sent_as_amplitudes(where):
    with pytest.raises(ValueError, match="models are sent in bits; identity, uniform, cast are allowed"):
        ModelCodecs(**{where: Analogue()})
