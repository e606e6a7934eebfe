"""What controllers observe of users and predict of exchanges, against what a run is really charged."""

import numpy as np
import pytest

from fakes import FakeChannel, FakeWorld, world
from learning.codecs import Uniform
from learning.control.observation import observe
from learning.control.prediction import ExchangePredictor
from learning.data import Batches, Dataset
from learning.models import Mlp
from learning.protocols.split import CutLink
from learning.schemes import SFL

LINK = CutLink(activations=Uniform(4), gradients=Uniform(8), label_bits=6)
SAMPLES = [1, 6, 24, 24]


def ran(**setting) -> FakeWorld:
    """One round of four users with 1, 6, 8 and 8 samples in a mini-batch."""
    setting = {"samples": SAMPLES[: setting.get("users", 4)], "users": 4, **setting}
    setting = {"rounds": 1, "executor": "dry", "cut": 2, **setting}
    return world(SFL(link=LINK), model=Mlp((12, 8)), **setting)


def test_predictions_are_what_each_user_is_charged():
    """The range of a quantiser's 64 bits is sent once for a mini-batch, however small: no two sizes cost alike."""
    done = ran()
    predictor = ExchangePredictor(done, LINK, done.front, done.back)
    for user in observe(done.users):
        cost, number = predictor.cost(user), user.user.number
        assert [cost.forward_flops] == done.journal.charged(node=number, kind="client_forward")
        assert [cost.up_bits] == done.journal.sent(user=number, kind="activation")
        assert [cost.server_flops] == done.journal.charged(user=number, kind="server_step")
        assert [cost.down_bits] == done.journal.sent(user=number, kind="gradient")
        assert [cost.backward_flops] == done.journal.charged(node=number, kind="client_backward")
        (step,) = (work for work in done.journal.works if (work.node, work.kind) == (number, "client_backward"))
        assert predictor.memory_bytes(user) == step.memory_bytes
    assert len({predictor.cost(user).up_bits for user in observe(done.users)}) == 3


def test_equal_shapes_are_counted_once(monkeypatch: pytest.MonkeyPatch):
    done = ran()
    predictor, planned, plan = ExchangePredictor(done, LINK, done.front, done.back), [], done.executor.plan
    monkeypatch.setattr(done.executor, "plan", lambda *call: planned.append(call) or plan(*call))
    for user in observe(done.users):
        predictor.cost(user)
    assert len(planned) == 3 * len(set(SAMPLES))


def test_seconds_are_those_of_a_user_alone():
    """The fakes' links have the predicted rates, and a single user meets no queue."""
    (user,) = observe(ran(users=1, samples=8).users)
    up_bps, down_bps = user.upload_bps(1), user.download_bps(1)
    done = ran(users=1, samples=8, uplink_bps=up_bps, downlink_bps=down_bps, flops_per_s=3e5, server_flops_per_s=7e6)
    cost = ExchangePredictor(done, LINK, done.front, done.back).cost(observe(done.users)[0])
    before_s, server_s, after_s = cost.time(3e5, up_bps, 7e6, down_bps)
    ends = {each.kind: each.end_s for each in [*done.journal.messages, *done.journal.works] if each.kind != "model"}
    begin_s = next(work.start_s for work in done.journal.works)
    assert ends["activation"] - begin_s == pytest.approx(before_s)
    assert ends["server_step"] - ends["activation"] == pytest.approx(server_s)
    assert ends["client_backward"] - ends["server_step"] == pytest.approx(after_s)


def test_rates_of_a_share_of_the_band():
    """A user puts all of its power into its share; the station spreads its own over the whole band."""
    (user,) = observe(ran(users=1, samples=8).users)
    quarter_hz = 1e6 / 4
    assert user.upload_bps(1 / 4) == pytest.approx(quarter_hz * np.log2(1 + 0.2 * 1e8 / quarter_hz))
    assert user.download_bps(1 / 4) == pytest.approx(quarter_hz * np.log2(1 + 1.0 * 1e8 / 1e6))


def test_the_gain_that_is_observed_is_the_one_asked_for(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(FakeChannel, "instantaneous_gain_over_noise_hz_per_w", 3e8)
    users = ran().users
    for csi, gain in (("instantaneous", 3e8), ("average", 1e8)):
        assert {(each.uplink.gain_hz_per_w, each.downlink.gain_hz_per_w) for each in observe(users, csi)} == {
            (gain,) * 2
        }


def test_users_of_different_modalities_share_no_prediction_though_all_arrays_have_one_shape():
    has_image = np.arange(8) < 4
    arrays = {"image": np.zeros((8, 3)), "audio": np.zeros((8, 3))}
    present = {"image": has_image, "audio": ~has_image}
    split = arrays, np.arange(8) % 2
    dataset = Dataset.from_splits("made up", split, split, 2, present=(present, {}))
    users = ran(users=3).users
    for user, rows in zip(users, (range(2), range(2, 4), range(4, 8)), strict=True):
        user.batches = Batches(dataset, np.array(rows), user.number, user.batches.streams, 2)
    first, second, third = (each.sample_shapes for each in observe(users))
    assert first == second != third


def test_what_is_observed_is_each_users_own():
    users = ran(flops_per_s=[1e6, 2e6, 3e6, 4e6]).users
    users[2].node.memory_bytes = 5e4
    seen = observe(users)
    assert [each.flops_per_s for each in seen] == [1e6, 2e6, 3e6, 4e6]
    assert [each.memory_bytes for each in seen] == [np.inf, np.inf, 5e4, np.inf]
    assert [(each.samples, each.batch_size) for each in seen] == [(1, 1), (6, 6), (24, 8), (24, 8)]
    assert [len(each.mini_batch()[0].indices) for each in seen] == [1, 6, 8, 8]
