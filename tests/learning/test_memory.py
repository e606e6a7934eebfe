"""Memory of a part of a model: closed forms, and what autograd really keeps of a real forward pass."""

import pytest
import torch
from footprints import footprint
from named_streams import NamedStreams
from torch.autograd.graph import saved_tensors_hooks

from fakes import world
from learning.adapters import Adapted, Lora
from learning.charge import Charge
from learning.models import Gpt, LeNet, Mlp, Segment, Vit
from learning.optimisers import Adam, Sgd
from learning.schemes import FedAvg

BATCH = 5
MLP = Segment(Mlp((12, 8)), (1, 8, 8), 10, 0, 3)
VIT = Segment(Vit(4, 16, 3, 2), (1, 8, 8), 10, 0, 5)
GPT = Segment(Gpt(16, 2, 2), (6,), 11, 0, 4)
LENET = Segment(LeNet(), (1, 8, 8), 10, 0, 5)
IMAGE, TOKENS = torch.empty(BATCH, 1, 8, 8, device="meta"), torch.empty(BATCH, 6, dtype=torch.int64, device="meta")


def test_a_perceptron_in_closed_form():
    """Inputs of all layers are kept, and the outputs of the rectifiers are the next inputs."""
    kept = footprint(MLP, Adam(), IMAGE)
    parameters = 65 * 12 + 13 * 8 + 9 * 10
    assert kept.weights_bytes == kept.gradients_bytes == 4 * parameters
    assert kept.optimiser_bytes == 2 * 4 * parameters + 8  # two moments, and how many steps there were
    assert kept.activations_bytes == 4 * BATCH * (64 + 12 + 8 + 10)
    assert kept.total_bytes == 4 * 4 * parameters + 8 + 4 * BATCH * 94
    assert footprint(MLP, Sgd(), IMAGE).optimiser_bytes == 0
    assert footprint(MLP, Sgd(momentum=0.9), IMAGE).optimiser_bytes == 4 * parameters
    assert footprint(MLP, Adam(), IMAGE.double()).weights_bytes == 8 * parameters


def test_without_training_only_input_and_output_are_held():
    front = VIT.cut(2)[0]
    kept = footprint(front, Adam(), IMAGE, training=False)
    assert (kept.gradients_bytes, kept.optimiser_bytes) == (0, 0)
    assert kept.activations_bytes == 4 * BATCH * (64 + 4 * 16)
    assert kept.weights_bytes == 4 * front.parameter_count


def really_kept(part, x, below):
    """Bytes of the storages that autograd holds after a real forward pass, the input and the output."""
    plain = part.segment if isinstance(part, Adapted) else part
    values = plain.initial(NamedStreams())
    frozen, own = part.split(values) if isinstance(part, Adapted) else ({}, values)
    if isinstance(part, Adapted):
        own |= part.adapters(NamedStreams())
    own = {name: value.requires_grad_() for name, value in own.items()}
    x = (torch.zeros(x.shape, dtype=x.dtype) if not x.is_floating_point() else torch.randn(x.shape)).requires_grad_(
        below
    )
    held = [x]
    with saved_tensors_hooks(lambda tensor: held.append(tensor) or tensor, lambda tensor: tensor):
        held.append(part(own, frozen, x) if isinstance(part, Adapted) else part(own, x))
    weights = {value.untyped_storage().data_ptr() for value in (*own.values(), *frozen.values())}
    storages = {tensor.untyped_storage().data_ptr(): tensor.untyped_storage().nbytes() for tensor in held}
    return sum(size for place, size in storages.items() if place not in weights)


PARTS = {
    "vit": (VIT, IMAGE),
    "vit, middle": (VIT.cut(1)[1].cut(3)[0], torch.empty(BATCH, 4, 16, device="meta")),
    "gpt": (GPT, TOKENS),
    "lenet": (LENET, IMAGE),
    "lora": (Lora(2).on(VIT), IMAGE),
    "lora, above": (Lora(2, targets=("fc2",)).on(VIT).cut(3)[1], torch.empty(BATCH, 4, 16, device="meta")),
    "lora, device": (Lora(2, targets=("q", "v", "fc1")).on(VIT).cut(3)[0], IMAGE),
}


CASES = [
    (name, below) for name in PARTS for below in (False, True) if name != "gpt" or not below
]  # tokens: no gradient


@pytest.mark.parametrize(("name", "below"), CASES)
def test_activations_are_what_autograd_keeps(name, below):
    part, x = PARTS[name]
    assert footprint(part, Sgd(), x, below=below).activations_bytes == really_kept(part, x, below)


def test_frozen_weights_save_memory():
    """Adapters keep fewer activations than full training, and gradients and state for what trains alone."""
    full, adapted = footprint(VIT, Adam(), IMAGE), footprint(Lora(2, head=False).on(VIT), Adam(), IMAGE)
    trained = 3 * 4 * 2 * 16  # q and v of three layers
    assert adapted.weights_bytes == full.weights_bytes + 4 * trained
    assert adapted.gradients_bytes == 4 * trained
    assert adapted.optimiser_bytes == 8 * trained + 8
    assert adapted.activations_bytes < full.activations_bytes
    frozen = footprint(Lora(2, head=False).on(VIT.cut(1)[0]), Adam(), IMAGE)
    assert (frozen.gradients_bytes, frozen.optimiser_bytes) == (0, 0)
    assert frozen.activations_bytes == 4 * BATCH * (64 + 4 * 16)


def test_activations_grow_with_the_batch_and_rank_does_not_matter_to_them_much():
    twice = torch.empty(2 * BATCH, 1, 8, 8, device="meta")
    one, two = (footprint(Lora(2).on(VIT), Sgd(), x) for x in (IMAGE, twice))
    assert two.activations_bytes == 2 * one.activations_bytes
    wider = footprint(Lora(4).on(VIT), Sgd(), IMAGE)
    per_rank = 3 * 2 * 4 * BATCH * 4  # the narrow middle of each adapter, a float for each rank and token
    assert wider.activations_bytes - one.activations_bytes == 2 * per_rank


def test_memory_of_the_large_model():
    """The device of SFLAM: embedding of ViT-B/32, momentum, a batch of 128: 28.3 MB and 19.3 MB beside its images."""
    small = Segment(Vit(4, 16, 2, 2), (1, 28, 28), 10, 0, 4)
    charge = Charge("vit_b32", small)
    x = torch.empty(128, 1, 28, 28, device="meta")
    kept = footprint(small.cut(1)[0], Sgd(momentum=0.9), x, charge=charge)
    embedding = 3 * 32 * 32 * 768 + 768
    places = 49 * 768
    assert kept.weights_bytes + kept.gradients_bytes + kept.optimiser_bytes == 3 * 4 * (embedding + places)
    assert 3 * 4 * embedding == pytest.approx(28.3e6, rel=1e-3)
    patches = 4 * 128 * 49 * 3072  # images once as they are and once as rows of patches
    assert kept.activations_bytes == 2 * patches + 4 * 128 * 49 * 768
    assert pytest.approx(19.3e6, rel=2e-3) == 4 * 128 * 49 * 768


def test_federated_adapters_of_a_model_with_a_class_token():
    """FedLoRA on tokens: adapters and head in both directions, and the memory of the whole model on the device.

    Memory beside what autograd keeps: weights, state and activations at least, and no more than a copy of them on top.
    """
    model = Vit(4, 8, 2, 2, class_token=True)
    ran = world(FedAvg(1), model=model, adapter=Lora(2), rounds=2, precision=torch.float32, optimiser=Adam())
    head = 8 + 8 + 8 * 10 + 10
    assert ran.journal.sent(kind="model") == ran.journal.sent() == [32 * (2 * 2 * 2 * 16 + head)] * 12
    x = ran.users[0].batch(0)[0].tensor()
    kept = footprint(ran.whole.adapted, Adam(), x)
    least = kept.weights_bytes + kept.optimiser_bytes + max(kept.gradients_bytes, kept.activations_bytes)
    (held,) = {work.memory_bytes for work in ran.journal.works if work.kind == "client_training"}
    assert least <= held <= kept.total_bytes + least
