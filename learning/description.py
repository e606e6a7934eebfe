"""The section `learning` of a scenario; the fields of the dataclass are the YAML fields."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Literal

from annotated_types import Ge, Interval, MinLen

from learning.adapters import Lora
from learning.data import DatasetLoader, Digits, Holding, Last
from learning.data.partition import Iid, Partition
from learning.evaluation import Metric
from learning.executor.devices import DeviceName
from learning.large_models import Large
from learning.models import Architecture, Mlp, Tower
from learning.models.towers import FUSION
from learning.optimisers import Optimiser, Sgd
from learning.participation import AllUsers, Participation
from learning.policies import IN_ROUNDS, Policy, WaitForAll
from learning.pretraining import Pretraining
from learning.schedules import Schedule
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
    """Folder of data sets that need files (default: the folder in NETSIM_DATA, else `data`)."""
    partition: Partition = field(default_factory=Iid)
    """How the training samples are distributed among users."""
    holding: Holding | None = None
    """Which modalities of its samples each user holds (default: all that its samples have)."""
    public_fraction: Annotated[float, Interval(ge=0, lt=1)] = 0.0
    """Fraction of the training samples of each class that no user has: public data, for schemes whose server needs
    some. The others ignore them, so that their users have the same data."""
    model: Architecture = field(default_factory=Mlp)
    """The model, a sequence of blocks; with `towers`, the fusion network on their features."""
    towers: dict[str, Tower] = field(default_factory=dict, hash=False)
    """A tower for each modality, by name of the modality, if samples have several."""
    pretraining: Pretraining | None = None
    """Training of the model before the run (default: none; a model with pretrained weights keeps them)."""
    part_pretraining: dict[str, Pretraining] = field(default_factory=dict, hash=False)
    """The same for parts of a model with towers: `fusion`, or by name of the tower."""
    init_from: Annotated[str, Path] | None = None
    """File of initial parameters in safetensors, such as `model/model.safetensors` of a run. What it does not have,
    of the model or its adapters, is pretrained or drawn."""
    save_model: bool = True
    """Whether the trained model is written to the folder of the run: `model/model.safetensors`, or a file for each user
    where users have models of their own."""
    charge_as: Large | None = None
    """Charge the FLOPs, bits and memory of this large model of the same family, while the small one is trained."""
    adapter: Lora | None = None
    """Low-rank adapters on frozen weights: every scheme then trains, sends and averages only the adapters and the head.
    Null trains all weights."""
    cut: Annotated[int, Ge(1)] | Annotated[tuple[Annotated[int, Ge(1)], ...], MinLen(1)] = 1
    """Number of blocks on the device if the scheme splits the model; other schemes ignore it. A list makes several
    cuts: `[1, 3]` gives the parts `front` (block 0), `middle` (blocks 1 and 2) and `tail` (the others). A model with
    towers is cut after the towers."""
    placement: dict[str, str] = field(default_factory=dict, hash=False)
    """The host of each part of the model, in schemes that place parts: `user`, `server`, or a site of `compute.sites`.
    By default `front`, `tail` and towers are at the user, everything else is at the server."""
    batch_size: Annotated[int, Ge(1)] | Literal["all"] = 32
    """Samples in a user's mini-batch; `all` is the full batch of the user (FedSGD)."""
    last_batch: Last = "keep"
    """The last mini-batch of an epoch, if incomplete: keep it, or drop it, as in torch's DataLoader, or fill it up from
    the next epoch (`wrap`), so that all mini-batches have equal size and a user with fewer samples repeats them."""
    optimiser: Optimiser = field(default_factory=Sgd)
    """Optimiser of the devices."""
    server_optimiser: Optimiser | None = None
    """Optimiser of the server part of a split model (default: as on the devices)."""
    batch_norm: Literal["averaged", "local_statistics", "local"] = "averaged"
    """What of layers of batch normalisation users share, where whole models are averaged: all of it, sent and averaged
    with the weights; all but their running statistics (SiloBN); or nothing (FedBN), so that each user has a model of
    its own, and evaluations are means over users."""
    schedule: Schedule | None = None
    """Factors of the learning rates of both optimisers over the rounds, or over the steps of each (default: 1)."""
    optimiser_state: Literal["kept", "reset"] = "kept"
    """Whether the optimiser of a device keeps its state, such as momentum, from one local round to the next, or begins
    anew in each round (`reset`)."""
    precision: Literal["float32", "float64"] = "float32"
    """Number format of weights, data and plain messages."""
    participants: Participation = field(default_factory=AllUsers)
    """Which users are selected to take part in a round."""
    policy: Policy = field(default_factory=WaitForAll)
    """How the server treats stragglers: synchronous rounds, or asynchronous updates."""
    servers: Literal["central", "nearest"] = "central"
    """Whether users work with the central server, or each with the edge server at its station if there is one
    (`compute.edge_servers`); edge servers forward the model and average the updates of their users, so that it crosses
    the backhaul once for all of them."""
    executor: Literal["eager", "batched", "dry"] = "batched"
    """How operations are computed: one by one, like operations in one call, or never (only time, bits, energy)."""
    workers: Annotated[int, Ge(1)] | Literal["auto"] = 1
    """Processes among which the batched executor divides like operations of many FLOPs, the simulation's own included;
    `auto` is one for each core (and 1 in a sweep, which has processes of its own). No result depends on it."""
    device: DeviceName = "cpu"
    """Where operations are computed: on the processor, or on a GPU by CUDA, whose values differ in their last digits.
    The dry executor computes none. On a GPU one process computes, so that `workers` must be 1 or `auto`."""
    evaluate_every: Annotated[int, Ge(1)] = 1
    """Rounds between evaluations; the last round is always evaluated."""
    evaluation: Literal["deployed", "uncompressed", "both"] = "deployed"
    """How test samples reach the server's part of the model: over the link that the scheme trains it over, with its
    tokens and its codec (of users whose links differ, the mean); or all tokens at full precision; or both, and the
    split of the latter is called `test_uncompressed`. Schemes without a lossy link have the same in both."""
    metrics: tuple[Metric, ...] = ()
    """Further metrics of the classes on the test set: `f1`, the mean F1 score of all classes; `f1_by_class`, that of
    each class, as `f1_<name>`; `balanced_accuracy`, the mean over classes of the share of their samples that is
    recognised; `auroc`, the mean over classes of the area under the receiver operating characteristic of each against
    all others; `auroc_by_class`, each of these areas."""
    evaluate_users: bool = False
    """Whether users are evaluated one by one too: the model that each has, its own or that of all, on its own part of
    the test set, which has the users' shares of labels (split `own`); and its own model on the whole test set. Rows of
    one user have its number; others are means, minima and maxima over users."""

    @property
    def cuts(self) -> tuple[int, ...]:
        """`cut` as a tuple."""
        return (self.cut,) if isinstance(self.cut, int) else self.cut

    def __post_init__(self) -> None:
        if self.executor == "dry" and self.stop.by_values:
            needs = f"stop.{self.stop.by_values} needs values"
            raise ValueError(f"{needs}, and the dry executor computes none; use batched or eager")
        if self.device == "cuda" and self.workers not in (1, "auto"):
            raise ValueError(f"on a GPU one process computes; with workers {self.workers}, device must be cpu")
        scheme: object = self.scheme  # given in Python, it may be anything
        if not isinstance(scheme, Scheme):
            name = type(scheme).__name__
            raise ValueError(f"{name} is not a scheme; derive it from learning.scheme.Scheme and define run")
        if self.stop.by_values and not self.scheme.evaluates:
            raise ValueError(
                f"stop.{self.stop.by_values} goes by models that are evaluated on the test set, and the scheme reports "
                "none; give stop.rounds or stop.time_s instead"
            )
        if self.towers:
            self._check_towers()
        elif self.part_pretraining:
            raise ValueError("part_pretraining is for models with towers; use pretraining")
        if self.policy.asynchronous and not self.scheme.asynchronous:
            raise ValueError(f"the scheme is synchronous, the policy is not; {', '.join(IN_ROUNDS)} are allowed")
        if self.scheme.repeats_steps and (self.schedule is not None or self.optimiser_state == "reset"):
            raise ValueError(
                "devices of the scheme repeat steps of earlier rounds, so that schedule must be null and "
                "optimiser_state kept"
            )
        if self.optimiser_state == "reset" and self.policy.asynchronous:
            raise ValueError(
                f"optimiser states are reset when a round begins; with reset, {', '.join(IN_ROUNDS)} are allowed"
            )
        if self.servers == "nearest" and self.policy.asynchronous:
            raise ValueError(
                f"edge servers average in rounds; with servers nearest, {', '.join(IN_ROUNDS)} are allowed"
            )
        if self.servers == "nearest" and not self.scheme.hierarchical:
            raise ValueError("the scheme has a single server part; servers must be central, not nearest")

    def _check_towers(self) -> None:
        if self.scheme.one_chain:
            raise ValueError("the scheme needs a model that is one chain of blocks; remove towers")
        for name in ("pretraining", "charge_as"):
            if getattr(self, name) is not None:
                raise ValueError(f"{name} needs a model that is one chain of blocks; remove {name} or towers")
        for part in self.part_pretraining:
            if part not in self.towers and part != FUSION:
                allowed = ", ".join([*self.towers, FUSION])
                raise ValueError(f"part_pretraining names {part}, which is no part of the model; {allowed} are allowed")
