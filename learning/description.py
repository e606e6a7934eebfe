"""What a scenario says about learning: the dataclass is the YAML section."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Literal

from annotated_types import Ge, MinLen

from learning.adapters import Lora
from learning.charge import Large
from learning.data import DatasetLoader, Digits, Last
from learning.data.partition import Iid, Partition
from learning.models import Architecture, Mlp, Tower
from learning.optimisers import Optimiser, Sgd
from learning.participation import AllUsers, Participation
from learning.policies import IN_ROUNDS, Policy, WaitForAll
from learning.pretraining import Pretraining
from learning.scheme import Scheme
from learning.stop import Stop


@dataclass(frozen=True)
class LearningDescription:
    """Data, model, learning scheme and straggler policy."""

    scheme: Scheme
    """The learning system."""
    stop: Stop
    """When the run ends."""
    data: DatasetLoader = field(default_factory=Digits)
    """Training and test data."""
    data_folder: Annotated[str, Path] | None = None
    """Where data sets lie that no package ships (default: the folder named by NETSIM_DATA, else `data`)."""
    partition: Partition = field(default_factory=Iid)
    """How the training samples are dealt out to users."""
    model: Architecture = field(default_factory=Mlp)
    """The model, as a sequence of blocks; with `towers`, the fusion network on their features."""
    towers: dict[str, Tower] = field(default_factory=dict, hash=False)
    """A tower for each modality, by its name, where samples have several modalities."""
    pretraining: Pretraining | None = None
    """What the model has learnt before the run begins (default: nothing, or what the model brings along)."""
    charge_as: Large | None = None
    """Charge FLOPs, bits and memory of this large model, of the same family, which the small one stands for."""
    adapter: Lora | None = None
    """Adapters that train in place of the weights, which are frozen; every scheme then fine-tunes, sends and averages
    adapters (and the head) alone. Null trains everything."""
    cut: Annotated[int, Ge(1)] | Annotated[tuple[Annotated[int, Ge(1)], ...], MinLen(1)] = 1
    """Blocks on the device where a scheme splits the model; other schemes train the whole model and ignore it. A list
    cuts the model more often: `[1, 3]` gives the parts `front` (block 0), `middle` (blocks 1 and 2) and `tail` (the
    others). A model with towers is cut behind them."""
    placement: dict[str, str] = field(default_factory=dict, hash=False)
    """The host of each part of the model, in schemes that place parts: `user`, `server`, or a site of `compute.sites`.
    By default `front`, `tail` and towers are at the user, everything else is at the server."""
    batch_size: Annotated[int, Ge(1)] | Literal["all"] = 32
    """Samples in a user's mini-batch; `all` makes it the user's whole data, however many (FedSGD)."""
    last_batch: Last = "keep"
    """What becomes of an epoch's last samples where they are no whole mini-batch: a smaller one (`keep`), or nothing
    (`drop`), as torch's DataLoader has it; or they are filled up from the next epoch (`wrap`), so that all mini-batches
    are equally large, and who has fewer samples than that works on them repeatedly."""
    optimiser: Optimiser = field(default_factory=Sgd)
    """What steps a device takes along its gradients."""
    server_optimiser: Optimiser | None = None
    """The same for the server's part of a split model (default: as on the devices)."""
    precision: Literal["float32", "float64"] = "float32"
    """Number format of weights, data and plain messages."""
    participants: Participation = field(default_factory=AllUsers)
    """Which users are selected to take part in a round."""
    policy: Policy = field(default_factory=WaitForAll)
    """What a round does about stragglers."""
    servers: Literal["central", "nearest"] = "central"
    """Whether users work with the server of learning, wherever that stands, or each with the edge server at its
    station, if there is one (`compute.edge_servers`): these pass the model on and average what their users hand in, so
    that it crosses the backhaul once for all of them."""
    executor: Literal["eager", "batched", "dry"] = "batched"
    """How torch work is run: one by one, look-alikes together, or not at all (clock, bits and joules only)."""
    evaluate_every: Annotated[int, Ge(1)] = 1
    """Rounds between evaluations; the last round is always evaluated."""

    @property
    def cuts(self) -> tuple[int, ...]:
        """`cut` as a list."""
        return (self.cut,) if isinstance(self.cut, int) else self.cut

    def __post_init__(self) -> None:
        if self.executor == "dry" and self.stop.accuracy is not None:
            raise ValueError("stop.accuracy needs values, and the dry executor computes none; use batched or eager")
        scheme: object = self.scheme  # given in Python, it may be anything
        if not isinstance(scheme, Scheme):
            name = type(scheme).__name__
            raise ValueError(f"{name} is not a scheme; let it derive from learning.scheme.Scheme, and write its run")
        if self.towers:
            self._check_towers()
        if self.policy.asynchronous and not self.scheme.asynchronous:
            raise ValueError(f"the scheme goes in rounds, and the policy does not; {', '.join(IN_ROUNDS)} are allowed")
        if self.servers == "nearest" and self.policy.asynchronous:
            raise ValueError(
                f"edge servers average in rounds; with servers nearest, {', '.join(IN_ROUNDS)} are allowed"
            )
        if self.servers == "nearest" and not self.scheme.hierarchical:
            raise ValueError("the scheme's server part is in one place; servers can be central, and not nearest")

    def _check_towers(self) -> None:
        if self.scheme.one_chain:
            raise ValueError("the scheme works on a model of one chain of blocks; leave out towers")
        for name in ("pretraining", "charge_as", "adapter"):
            if getattr(self, name) is not None:
                raise ValueError(f"{name} is for models of one chain of blocks; leave out {name} or towers")
