"""Optimisers equal torch.optim, bit for bit where the CPU does not decide, and are pure."""

import pytest
import torch
from torch.func import vmap
from torch.utils._pytree import tree_leaves, tree_map

from learning.optimisers import Adam, AdamW, Sgd

pytestmark = pytest.mark.bits

PAIRS = [
    (Sgd(0.1), lambda p: torch.optim.SGD(p, 0.1, foreach=False)),
    (Sgd(0.1, 0.9), lambda p: torch.optim.SGD(p, 0.1, 0.9, foreach=False)),
    (Sgd(0.03, 0.5, 0.01), lambda p: torch.optim.SGD(p, 0.03, 0.5, weight_decay=0.01, foreach=False)),
    (Sgd(0.03, weight_decay=0.2), lambda p: torch.optim.SGD(p, 0.03, weight_decay=0.2, foreach=False)),
    (Adam(), lambda p: torch.optim.Adam(p, foreach=False)),
    (
        Adam(0.02, 0.8, 0.99, 1e-6, 0.03),
        lambda p: torch.optim.Adam(p, 0.02, (0.8, 0.99), 1e-6, weight_decay=0.03, foreach=False),
    ),
    (AdamW(), lambda p: torch.optim.AdamW(p, foreach=False)),
    (
        AdamW(0.02, 0.8, 0.99, 1e-6, 0.3),
        lambda p: torch.optim.AdamW(p, 0.02, (0.8, 0.99), 1e-6, weight_decay=0.3, foreach=False),
    ),
]
OPTIMISERS = [pair[0] for pair in PAIRS]


def numbers(seed, dtype=torch.float32):
    generator = torch.Generator().manual_seed(seed)
    return {
        "weight": torch.randn(7, 13, dtype=dtype, generator=generator),
        "bias": torch.randn(13, dtype=dtype, generator=generator),
    }


def both(ours, theirs, dtype, steps=20):
    """Parameters by our optimiser and by torch's after each step on the same gradients."""
    params = numbers(0, dtype)
    reference = {name: value.clone().requires_grad_() for name, value in params.items()}
    optimiser, state = theirs(list(reference.values())), ours.init(params)
    for step in range(1, steps + 1):
        grads = numbers(step, dtype)
        for name, value in reference.items():
            value.grad = grads[name].clone()
        optimiser.step()
        params, state = ours.step(params, grads, state)
        yield step, params, {name: value.detach().clone() for name, value in reference.items()}


SAME_BITS = [(*pair, torch.float32) for pair in PAIRS]
SAME_BITS += [(*pair, torch.float64) for pair in PAIRS if isinstance(pair[0], Sgd)]


@pytest.mark.parametrize(("ours", "theirs", "dtype"), SAME_BITS)
def test_twenty_steps_equal_torch_optim_bit_for_bit(ours, theirs, dtype):
    for step, params, reference in both(ours, theirs, dtype):
        assert all(torch.equal(params[name], reference[name]) for name in params), f"step {step}"


@pytest.mark.parametrize(("ours", "theirs"), [pair for pair in PAIRS if isinstance(pair[0], Adam | AdamW)])
def test_adam_in_float64_equals_torch_optim_but_for_the_last_bit_of_powers(ours, theirs):
    """An error e of beta^t is one of e / (1 - beta^t) in the bias correction, hence in the length of a step."""
    last, allowance = numbers(0, torch.float64), 0.0
    ulp = torch.finfo(torch.float64).eps
    for step, params, reference in both(ours, theirs, torch.float64):
        powers = [beta**step for beta in (ours.beta1, ours.beta2)]
        errors = [ulp * (1 + power / (1 - power)) for power in powers]  # of the power and of the difference from one
        longest = max(float((reference[name] - last[name]).abs().max()) for name in last)
        size = max(float(value.abs().max()) for value in reference.values())
        allowance += longest * (sum(errors) + 4 * ulp) + ulp * size
        worst = max(float((params[name] - reference[name]).abs().max()) for name in params)
        assert worst <= allowance, f"step {step}"
        last = reference
    assert allowance < 1e-12  # far less than any fault of a formula


@pytest.mark.parametrize("optimiser", OPTIMISERS)
def test_arguments_are_left_as_they_are(optimiser):
    params, grads = numbers(0), numbers(1)
    _, state = optimiser.step(params, grads, optimiser.init(params))
    before = tree_map(torch.clone, (params, grads, state))
    optimiser.step(params, grads, state)
    after = (params, grads, state)
    assert all(torch.equal(a, b) for a, b in zip(tree_leaves(before), tree_leaves(after), strict=True))


@pytest.mark.parametrize("optimiser", OPTIMISERS)
def test_vectorised_over_users_at_different_steps_equals_a_loop(optimiser):
    users = []
    for number in range(3):
        params = numbers(number)
        state = optimiser.init(params)
        for step in range(number):  # user 1 is one step ahead of user 0, user 2 two steps
            params, state = optimiser.step(params, numbers(10 + step), state)
        users.append((params, numbers(20 + number), state))
    stacked = tree_map(lambda *leaves: torch.stack(leaves), *users)
    together = vmap(optimiser.step, randomness="error")(*stacked)
    for number, user in enumerate(users):
        alone = optimiser.step(*user)
        rows = tree_map(lambda leaf, number=number: leaf[number], together)
        for ours, expected in zip(tree_leaves(rows), tree_leaves(alone), strict=True):
            torch.testing.assert_close(ours, expected, rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("optimiser", OPTIMISERS)
def test_shapes_can_be_had_without_values(optimiser):
    params = {name: value.to("meta") for name, value in numbers(0).items()}
    new, state = optimiser.step(params, params, optimiser.init(params))
    assert all(leaf.is_meta for leaf in tree_leaves((new, state)))
    assert {name: value.shape for name, value in new.items()} == {name: v.shape for name, v in params.items()}


def test_plain_gradient_descent_has_no_state():
    assert Sgd().init(numbers(0)) == ()
    assert Sgd().step(numbers(0), numbers(1), ())[1] == ()


CLIPPED = [
    (Sgd(0.1, 0.9, clip_norm=3.0), lambda p: torch.optim.SGD(p, 0.1, 0.9, foreach=False)),
    (Adam(clip_norm=3.0), lambda p: torch.optim.Adam(p, foreach=False)),
    (AdamW(clip_norm=3.0), lambda p: torch.optim.AdamW(p, foreach=False)),
]


@pytest.mark.parametrize(("ours", "theirs"), CLIPPED)
@pytest.mark.parametrize("size", [0.01, 10.0])
def test_gradients_are_clipped_by_their_norm_as_by_torch(ours, theirs, size):
    """Gradients of a norm of about 10 times `size`: the smaller ones are left as they are."""
    params = numbers(0)
    reference = {name: value.clone().requires_grad_() for name, value in params.items()}
    optimiser, state = theirs(list(reference.values())), ours.init(params)
    for step in range(1, 6):
        grads = {name: value * size for name, value in numbers(step).items()}
        for name, value in reference.items():
            value.grad = grads[name].clone()
        torch.nn.utils.clip_grad_norm_(reference.values(), 3.0, foreach=False)
        optimiser.step()
        params, state = ours.step(params, grads, state)
        for name in params:
            torch.testing.assert_close(params[name], reference[name].detach(), rtol=1e-6, atol=1e-7)
