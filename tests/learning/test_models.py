"""Models: cut anywhere without changing anything, sizes in closed form, equal to plain torch, and vectorisable."""

import copy

import pytest
import torch
import torch.nn.functional as F
from named_streams import NamedStreams
from scipy import stats
from torch import nn
from torch.func import functional_call, grad, vjp, vmap
from torch.utils.flop_counter import FlopCounterMode

from learning.data import Digits
from learning.models import MODELS, LeNet, Mlp, Segment, Vgg, VggMini, Vit, whole
from learning.models.initial import draw_parameter
from learning.models.norm import GroupNorm

SHAPES = [(1, 8, 8), (1, 28, 28), (3, 32, 32)]
NOT_OF_IMAGES = (
    *("gpt", "transformer", "token_encoder", "word_table", "decoder", "recurrent"),
    *("window_encoder", "uncertainty_fusion"),
)
OF_IMAGES = [name for name in MODELS if name not in NOT_OF_IMAGES]
STREAMS = NamedStreams(1)


def full(architecture, shape=(1, 8, 8), classes=10):
    return Segment(architecture, shape, classes, 0, len(architecture.blocks(shape, classes)))


def samples(shape, count=4, dtype=torch.float32, seed=0):
    return torch.randn(count, *shape, dtype=dtype, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("name", OF_IMAGES)
def test_a_cut_changes_neither_the_function_nor_the_parameters(name, shape):
    model = full(MODELS[name](), shape)
    params, x = model.initial(STREAMS), samples(shape)
    expected = model(params, x)
    assert expected.shape == (4, 10)
    for at in range(1, model.blocks):
        front, back = model.cut(at)
        lower, upper = front.initial(STREAMS), back.initial(STREAMS)
        assert list(lower | upper) == list(params)
        assert all(torch.equal((lower | upper)[key], params[key]) for key in params)
        assert torch.equal(back(upper, front(lower, x)), expected)
        assert front.parameter_count + back.parameter_count == model.parameter_count
        assert front.blocks + back.blocks == model.blocks


def test_a_back_can_be_cut_again():
    model = full(Mlp((8, 8, 8)))
    middle, last = model.cut(1)[1].cut(3)
    assert (middle.start, middle.stop, last.stop) == (1, 3, 4)
    assert set(middle.parameters()) == {"1.0.weight", "1.0.bias", "2.0.weight", "2.0.bias"}


@pytest.mark.parametrize("name", OF_IMAGES)
def test_a_model_without_hidden_state(name):
    """No batch statistics, no randomness, no real tensors: what a segment computes depends on its arguments alone."""
    with torch.device("meta"):
        model = nn.Sequential(*MODELS[name]().blocks((1, 8, 8), 10))
    banned = nn.modules.batchnorm._BatchNorm | nn.modules.dropout._DropoutNd
    assert not any(isinstance(module, banned) for module in model.modules())
    assert not list(model.buffers())
    assert all(parameter.is_meta for parameter in full(MODELS[name]()).parameters().values())


def test_parameter_counts_in_closed_form():
    assert full(VggMini(), (1, 28, 28)).parameter_count == 40_634  # fedsl_pq, section 6
    assert full(Mlp((30, 20)), (1, 8, 8)).parameter_count == 65 * 30 + 31 * 20 + 21 * 10
    assert full(Mlp(()), (1, 8, 8)).parameter_count == 65 * 10
    flat = 16 * 7 * 7
    lenet = 26 * 6 + (6 * 25 + 1) * 16 + (flat + 1) * 120 + 121 * 84 + 85 * 10
    assert full(LeNet(), (1, 28, 28)).parameter_count == lenet
    vgg = (27 + 1) * 8 + 16 + (72 + 1) * 16 + 32 + (16 * 8 * 8 + 1) * 10  # each GroupNorm has two numbers a channel
    assert full(Vgg((8, 16), convolutions=1), (3, 32, 32)).parameter_count == vgg
    d, tokens = 12, 4
    layer = 2 * 2 * d + (d + 1) * 3 * d + (d + 1) * d + (d + 1) * 3 * d + (3 * d + 1) * d
    vit = (16 + 1) * d + tokens * d + 2 * layer + 2 * d + (d + 1) * 10
    assert full(Vit(4, d, 2, 3, expansion=3)).parameter_count == vit


@pytest.mark.parametrize(
    ("at", "scalars", "flops"),
    [(1, 3136, 225_792 + 3_612_672), (2, 1568, 1_806_336 + 3_612_672), (3, 576, 1_806_336)],
)
def test_vgg_mini_has_the_sizes_of_the_paper_file(at, scalars, flops):
    """fedsl_pq, section 6: smashed scalars and forward FLOPs of a block, 2 x 9 x Cin x Cout x H x W a convolution."""
    block = Segment(VggMini(), (1, 28, 28), 10, at - 1, at)
    front = Segment(VggMini(), (1, 28, 28), 10, 0, at)
    before = Segment(VggMini(), (1, 28, 28), 10, 0, at - 1) if at > 1 else None
    x = torch.empty(1, 1, 28, 28, device="meta")
    entering = before(before.parameters(), x) if before else x
    with FlopCounterMode(display=False) as counter:
        block(block.parameters(), entering)
    assert counter.get_total_flops() == flops
    assert front(front.parameters(), x).numel() == scalars


def test_initial_weights_follow_torchs_default_law():
    params = full(VggMini(), (1, 28, 28)).initial(STREAMS, torch.float64)
    bound = (16 * 9) ** -0.5
    law = stats.uniform(-bound, 2 * bound)
    assert stats.kstest(params["1.0.weight"].flatten().numpy(), law.cdf).pvalue > 1e-3
    assert params["1.0.bias"].abs().max() <= bound  # the bias takes the fan-in of its weight
    linear = full(Mlp((64, 64))).initial(STREAMS, torch.float64)["1.0.weight"]
    assert stats.kstest(linear.flatten().numpy(), stats.uniform(-1 / 8, 2 / 8).cdf).pvalue > 1e-3


def test_initial_norms_and_positions():
    vit = full(Vit(1, 32, 1, 2)).initial(STREAMS, torch.float64)
    assert torch.equal(vit["1.feed.0.weight"], torch.ones(32, dtype=torch.float64))
    assert not vit["1.feed.0.bias"].any()
    assert stats.kstest(vit["0.position.weight"].flatten().numpy() / 0.02, "norm").pvalue > 1e-3


def test_initial_weights_depend_on_the_seed_and_the_name_only():
    first, again, other = (full(Mlp((16, 16))).initial(NamedStreams(seed)) for seed in (1, 1, 2))
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert not torch.equal(first["1.0.weight"], other["1.0.weight"])
    deeper = full(Mlp((16, 16, 16))).initial(NamedStreams(1))
    assert torch.equal(first["1.0.weight"], deeper["1.0.weight"])


def test_a_module_without_a_rule_is_refused():
    with pytest.raises(TypeError, match=r"no rule to initialise the parameter 0\.weight of a Bilinear"):
        draw_parameter(STREAMS, "0.weight", nn.Bilinear(2, 2, 2), torch.float32)


@pytest.mark.parametrize("name", OF_IMAGES)
def test_training_equals_a_plain_torch_loop_bit_for_bit(name):
    """Oracle: the same modules with real parameters, autograd and torch.optim."""
    model = full(MODELS[name]())
    params = model.initial(STREAMS)
    plain = nn.Sequential(*MODELS[name]().blocks((1, 8, 8), 10))
    plain.load_state_dict(params)
    optimiser = torch.optim.SGD(plain.parameters(), 0.05, foreach=False)
    for step in range(3):
        x, y = samples((1, 8, 8), 8, seed=step), torch.arange(8) % 10
        optimiser.zero_grad()
        F.cross_entropy(plain(x), y).backward()
        optimiser.step()
        gradients = grad(lambda p, x=x, y=y: F.cross_entropy(model(p, x), y))(params)
        params = {key: torch.add(value, gradients[key], alpha=-0.05) for key, value in params.items()}
    assert all(torch.equal(params[key], value) for key, value in plain.state_dict().items())


@pytest.mark.parametrize("name", OF_IMAGES)
def test_vectorised_over_users_equals_a_loop(name):
    """Three users with their own weights and data, gradients included; in float64: only the order of sums differs."""
    model = full(MODELS[name]())
    users = [model.initial(NamedStreams(seed), torch.float64) for seed in range(3)]
    xs = torch.stack([samples((1, 8, 8), dtype=torch.float64, seed=seed) for seed in range(3)])

    def step(params, x):
        out, pull = vjp(model, params, x)
        return out, pull(out)

    stacked = {key: torch.stack([user[key] for user in users]) for key in users[0]}
    outs, (gradients, dxs) = vmap(step, randomness="error")(stacked, xs)
    for number, user in enumerate(users):
        out, (gradient, dx) = step(user, xs[number])
        torch.testing.assert_close(outs[number], out, rtol=1e-10, atol=1e-12)
        torch.testing.assert_close(dxs[number], dx, rtol=1e-10, atol=1e-12)
        for key in user:
            torch.testing.assert_close(gradients[key][number], gradient[key], rtol=1e-10, atol=1e-12)


def test_a_segment_equals_functional_call_and_is_left_as_it_was():
    model = full(LeNet())
    params, x = model.initial(STREAMS), samples((1, 8, 8))
    plain = nn.Sequential(*LeNet().blocks((1, 8, 8), 10))
    assert torch.equal(model(params, x), functional_call(copy.deepcopy(plain), params, (x,)))
    with pytest.raises(RuntimeError):
        model(params, x[:, :, :5])  # fails half-way through
    assert all(value.is_meta for value in model.parameters().values())
    assert model(model.parameters(), x.to("meta")).is_meta


def test_parameters_must_be_exactly_those_of_the_segment():
    front, back = full(Mlp()).cut(1)
    x = samples((1, 8, 8))
    with pytest.raises(ValueError, match="are needed"):
        front(back.initial(STREAMS), x)
    with pytest.raises(ValueError, match="are needed"):
        front(front.initial(STREAMS) | back.initial(STREAMS), x)


def test_equal_segments_are_one_key():
    assert full(Mlp((5,))) == full(Mlp((5,)))
    assert len({full(Mlp((5,))), full(Mlp((5,))), full(Mlp((6,)))}) == 2


def test_group_norm_equals_torchs():
    ours, theirs, x = GroupNorm(4, 12), nn.GroupNorm(4, 12), samples((12, 5, 5))
    affine = {"weight": samples((), 12), "bias": samples((), 12, seed=1)}
    torch.testing.assert_close(functional_call(ours, affine, (x,)), functional_call(theirs, affine, (x,)))


def test_a_vit_layer_equals_torchs_transformer_layer():
    model = Segment(Vit(2, 12, 1, 3), (1, 8, 8), 10, 1, 2)
    params, x = model.initial(STREAMS), samples((16, 12))
    theirs = nn.TransformerEncoderLayer(12, 3, 24, dropout=0, activation="gelu", batch_first=True, norm_first=True)
    names = {
        "self_attn.in_proj_": "attend.1.inward.",
        "self_attn.out_proj.": "attend.1.outward.",
        "linear1.": "feed.1.",
        "linear2.": "feed.3.",
        "norm1.": "attend.0.",
        "norm2.": "feed.0.",
    }
    mine = {f"{a}{kind}": params[f"1.{b}{kind}"] for a, b in names.items() for kind in ("weight", "bias")}
    torch.testing.assert_close(model(params, x), functional_call(theirs, mine, (x,)))


def test_a_patch_embedding_is_a_strided_convolution():
    model = Segment(Vit(4, 6, 1, 1), (3, 8, 12), 10, 0, 1)
    params, x = model.initial(STREAMS), samples((3, 8, 12))
    kernel = params["0.project.weight"].reshape(6, 3, 4, 4)
    tokens = F.conv2d(x, kernel, params["0.project.bias"], stride=4).flatten(2).transpose(1, 2)
    torch.testing.assert_close(model(params, x), tokens + params["0.position.weight"])


def test_a_vit_head_reads_the_mean_of_the_normalised_tokens():
    model = Segment(Vit(4, 6, 1, 1), (1, 8, 8), 10, 2, 3)
    params, x = model.initial(STREAMS), samples((4, 6))
    pooled = F.layer_norm(x, (6,)).mean(1)
    expected = pooled @ params["2.classify.weight"].T + params["2.classify.bias"]
    torch.testing.assert_close(model(params, x), expected)


def test_whole_takes_shape_and_classes_from_the_data_set():
    assert whole(LeNet(), Digits().load(None, torch.float32)) == full(LeNet())


@pytest.mark.parametrize("at", [0, 3, -1])
def test_a_cut_must_leave_a_block_on_either_side(at):
    with pytest.raises(ValueError, match=r"possible cuts: 1 to 2"):
        full(Mlp((5, 5))).cut(at)


def test_a_single_block_cannot_be_cut():
    with pytest.raises(ValueError, match="possible cuts: none"):
        full(Mlp(())).cut(1)


@pytest.mark.parametrize(("start", "stop"), [(0, 0), (2, 1), (-1, 2), (0, 4)])
def test_a_segment_lies_within_the_model(start, stop):
    with pytest.raises(ValueError, match="not a part of a model of 3 blocks"):
        Segment(Mlp((5, 5)), (1, 8, 8), 10, start, stop)


@pytest.mark.parametrize(
    ("architecture", "shape", "message"),
    [
        (VggMini(), (1, 4, 4), "at least 8x8 pixels"),
        (LeNet(), (64,), "at least 4x4 pixels"),
        (Vit(patch=3), (1, 8, 8), "patch = 3 does not divide"),
    ],
)
def test_shapes_that_do_not_fit_are_refused(architecture, shape, message):
    with pytest.raises(ValueError, match=message):
        architecture.blocks(shape, 10)


def test_settings_that_do_not_fit_each_other_are_refused():
    with pytest.raises(ValueError, match="heads = 5 does not divide width = 64"):
        Vit(heads=5)
    with pytest.raises(ValueError, match="groups = 8 does not divide the 12 channels"):
        Vgg((8, 12))
