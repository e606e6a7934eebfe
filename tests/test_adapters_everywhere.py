"""Every scheme fine-tunes adapters on a frozen backbone where the scenario has an adapter: against plain torch."""

from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F

from fakes import ANY_MODEL
from scenarios import load, simulate
from scenarios.build import build

LORA = {
    "network.users.count": 2,
    "learning.model": {"name": "vit", "patch": 4, "width": 8, "depth": 2, "heads": 2},
    "learning.adapter": {"rank": 2},
    "learning.cut": 2,
    "learning.executor": "eager",
    "learning.precision": "float64",
    "learning.stop.rounds": 2,
}
TINY = Path(__file__).parent / "tiny.yaml"


def lora(**changed: Any) -> Any:
    return load(TINY, {**LORA, **{name.replace("__", "."): value for name, value in changed.items()}})


def final_loss(scenario: Any) -> float:
    return simulate(scenario).reached.metrics["loss"]


@pytest.mark.parametrize("scheme", ANY_MODEL)
def test_every_scheme_runs(scheme: str) -> None:
    result = simulate(lora(learning__scheme=scheme, learning__stop__rounds=1, learning__public_fraction=0.2))
    assert result.status == "complete"
    assert result.accuracy is not None


def test_federated_adapters_are_a_plain_loop_of_torch() -> None:
    """FedLoRA for two rounds: adapters and head of a module that knows nothing of this program, averaged by samples."""
    scenario = lora(learning__scheme={"name": "fedavg", "local_steps": 2}, learning__optimiser__momentum=0.0)
    world = build(scenario).process.gi_frame.f_locals["world"]  # type: ignore[union-attr]
    start = {name: value.clone() for name, value in world.initial(world.whole).items()}
    frozen = {name: value.clone() for name, value in world.whole.frozen.items()}
    model, adapted = dict(start), world.whole.adapted
    for number in range(2):
        trained = []
        for user in world.users:
            mine = {name: value.clone().requires_grad_() for name, value in model.items()}
            for step in range(2):
                x, y = (rows.tensor() for rows in user.batch(2 * number + step))
                loss = F.cross_entropy(by_hand(adapted, {**frozen, **mine}, x), y)
                gradients = torch.autograd.grad(loss, list(mine.values()))
                mine = {
                    name: (value - 0.03 * gradient).detach().requires_grad_()
                    for (name, value), gradient in zip(mine.items(), gradients, strict=True)
                }
            trained.append(mine)
        shares = [user.samples / sum(each.samples for each in world.users) for user in world.users]
        model = {
            name: sum(share * mine[name].detach() for share, mine in zip(shares, trained, strict=True))
            for name in model
        }
    x, y = world.dataset.test.x, world.dataset.test.y
    loss = float(F.cross_entropy(by_hand(adapted, {**frozen, **model}, x), y))
    assert final_loss(scenario) == pytest.approx(loss, rel=1e-9)
    assert loss != pytest.approx(float(F.cross_entropy(by_hand(adapted, {**frozen, **start}, x), y)), rel=1e-4)


def by_hand(adapted: Any, p: dict[str, torch.Tensor], x: torch.Tensor) -> torch.Tensor:
    """A pre-norm vision transformer with low-rank adapters, written out."""
    b, c, side = x.shape[0], x.shape[1], x.shape[2] // 4
    patches = x.reshape(b, c, side, 4, side, 4).permute(0, 2, 4, 1, 3, 5).reshape(b, side * side, -1)
    h = patches @ p["0.project.weight"].T + p["0.project.bias"] + p["0.position.weight"]
    for layer in (1, 2):
        a = F.layer_norm(h, (8,), p[f"{layer}.attend.0.weight"], p[f"{layer}.attend.0.bias"])
        qkv = (a @ p[f"{layer}.attend.1.inward.weight"].T + p[f"{layer}.attend.1.inward.bias"]).split(8, dim=-1)
        parts = []
        for part, role in zip(qkv, "qkv", strict=True):
            name = f"{layer}.attend.1.inward.{role}"
            if name in dict(adapted.ranks):
                part = part + adapted.alpha / 2 * (a @ p[f"{name}.down"].T) @ p[f"{name}.up"].T
            parts.append(part.reshape(b, -1, 2, 4).transpose(1, 2))
        q, k, v = parts
        mixed = torch.softmax(q @ k.transpose(-2, -1) / 2.0, -1) @ v
        mixed = mixed.transpose(1, 2).flatten(2)
        h = h + mixed @ p[f"{layer}.attend.1.outward.weight"].T + p[f"{layer}.attend.1.outward.bias"]
        f = F.layer_norm(h, (8,), p[f"{layer}.feed.0.weight"], p[f"{layer}.feed.0.bias"])
        f = F.gelu(f @ p[f"{layer}.feed.1.weight"].T + p[f"{layer}.feed.1.bias"])
        h = h + f @ p[f"{layer}.feed.3.weight"].T + p[f"{layer}.feed.3.bias"]
    pooled = F.layer_norm(h, (8,), p["3.norm.weight"], p["3.norm.bias"]).mean(1)
    return pooled @ p["3.classify.weight"].T + p["3.classify.bias"]


@pytest.mark.parametrize("scheme", ["sl", "sfl_v1", "sfl_v2", "sfl"])
def test_one_user_split_is_one_user_unsplit(scheme: str) -> None:
    """With one user, split fine-tuning computes what federated fine-tuning does, wherever the model is cut."""
    own = {"name": scheme} if scheme == "sfl" else {"name": scheme, "local_steps": 1}
    alone = {"network__users__count": 1, "learning__optimiser__momentum": 0.0}
    losses = [final_loss(lora(learning__scheme=own, learning__cut=cut, **alone)) for cut in (1, 2, 3)]
    losses.append(final_loss(lora(learning__scheme={"name": "fedavg", "local_steps": 1}, **alone)))
    assert losses == pytest.approx([losses[0]] * 4, rel=1e-12)


def test_only_adapters_travel() -> None:
    """q and v of one layer below the cut at rank 2: 2 x 2 x (8 + 8) numbers; all of the model for FedLoRA."""
    result = simulate(lora(learning__scheme={"name": "sfl_v1", "local_steps": 1}, learning__stop__rounds=1))
    sent = result.table("transfers").to_pandas()
    models = sent[(sent["kind"] == "model") & (sent["direction"] == "up")]
    assert models["bits"].tolist() == [64.0 * 2 * 2 * 16] * 2
    result = simulate(lora(learning__scheme={"name": "fedavg", "local_steps": 1}, learning__stop__rounds=1))
    sent = result.table("transfers").to_pandas()
    head = 8 + 8 + 8 * 10 + 10
    assert sent[sent["kind"] == "model"]["bits"].tolist() == [64.0 * (2 * 2 * 2 * 16 + head)] * 4


def test_executors_agree() -> None:
    scheme = {"name": "sfl_v1", "local_steps": 2}
    eager = final_loss(lora(learning__scheme=scheme))
    assert final_loss(lora(learning__scheme=scheme, learning__executor="batched")) == pytest.approx(eager, rel=1e-10)


def test_a_model_without_such_weights_is_refused() -> None:
    with pytest.raises(Exception, match=r"learning.adapter: no weight of the model is a q"):
        build(load(TINY, {"learning.adapter": {"rank": 2}}))
