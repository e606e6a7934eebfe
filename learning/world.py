"""The world of a scheme: parties, data, model, and the loop of rounds."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from math import inf
from types import MappingProxyType
from typing import Any, Literal

import numpy as np
import simpy
import torch

from learning import steps
from learning.adapters import Bound, Lora, Model, Part, adapt_multimodal
from learning.codecs import Analogue
from learning.data import Dataset
from learning.data.public import PublicData
from learning.deployed import Deployed, Deployment
from learning.evaluation import Evaluator, Metric, Path
from learning.executor import Executor
from learning.journal import Journal
from learning.models import Multimodal, Segment, Towers
from learning.optimisers import Optimiser
from learning.participation import Candidates, Participation, Sampling
from learning.parties import Server, User
from learning.placement import SERVER, USER, default_placement, named_parts, placed
from learning.policies import Policy, check
from learning.ports import Process, Streams
from learning.pretraining import Pretrainer
from learning.running_statistics import tracking
from learning.schedules import Schedule, in_round
from learning.steps import Weights
from learning.stop import Patience, Stop
from learning.trained import GLOBAL, TrainedModel

Service = Callable[[User, str, int], Process[None]]
"""Makes the process by which the model answers a request: of a user, in the stream of this name, with its number among
the user's requests in that stream, from 0. The process ends when the user has the answer. It is interrupted
(simpy.Interrupt) when the request times out or the user's device goes away."""


@dataclass
class World:
    """Everything that a scheme's `run` works with. Raises ValueError if fields do not fit each other."""

    env: simpy.Environment
    """Simulated time, in seconds, and its events."""
    instant: Callable[[float], simpy.Event]
    """Makes an event at an instant in seconds, or now if that is past; it comes after all that ends at that instant."""
    executor: Executor
    """Runs torch operations."""
    streams: Streams
    """Random draws."""
    journal: Journal
    """Writes to the tables of the run."""
    server: Server
    """The aggregator, which is also the server that all users work with, unless there are edge servers (`nearest`)."""
    users: Sequence[User]
    """All users, by number."""
    dataset: Dataset
    """Training and test data."""
    public: PublicData
    """Training samples that no user has; none unless the scenario says so."""
    whole: Model
    """The whole model; with an adapter its backbone is frozen, and its adapters (and head) train."""
    cuts: tuple[int, ...]
    """Blocks before each place where the model is cut, ascending; none for a model of a single block."""
    optimiser: Optimiser
    """The optimiser on devices, in the present round."""
    server_optimiser: Optimiser
    """The optimiser of the server's part of a split model, in the present round."""
    participation: Participation
    """Which users are selected to take part in a round."""
    policy: Policy
    """What a round does about stragglers."""
    stop: Stop
    """When the run ends."""
    evaluate_every: int
    """Rounds from one evaluation to the next."""
    precision: torch.dtype
    """Number format of weights and data."""
    schedule: Schedule | None = None
    """Factors of the learning rates over the rounds (default: 1)."""
    batch_norm: Literal["averaged", "local_statistics", "local"] = "averaged"
    """What of layers of batch normalisation users share (`LearningDescription.batch_norm`)."""
    restarted: bool = False
    """Whether the optimisers on devices begin anew in each round."""
    evaluation: Path = "deployed"
    """Whether test samples cross the link at the cut as the scheme deploys it, or go through the whole model."""
    evaluate_users: bool = False
    """Whether users are evaluated one by one too, on their own parts of the test set."""
    metrics: Sequence[Metric] = ()
    """Further metrics of the classes that evaluations have."""
    weight_streams: Streams | None = None
    """Random draws of initial weights (default: `streams`)."""
    pretrainers: Sequence[Pretrainer] = ()
    """Train the model, or parts of it, on other data before the run (default: weights are drawn)."""
    adapter: Lora | None = None
    """Adapters that train in place of the weights (default: all weights train)."""
    given: Mapping[str, torch.Tensor] = field(default_factory=dict)
    """Initial parameters by name, in place of those that are drawn or pretrained (default: none)."""
    nearest: Callable[[User], Server] | None = None
    """The edge server with which a user works from the beginning of a round (default: the aggregator)."""
    sites: dict[str, Server] = field(default_factory=dict)
    """All servers by their names in the tables: the aggregator (`server`), edge servers (`server0`, ... by station),
    the sites of the scenario, and a server on each user's device (`user0`, ...)."""
    placement: Mapping[str, str] = field(default_factory=dict)
    """Part of the model -> its host: `user` (the user's own device), `server` (the server that the user works with) or
    the name of a site. Parts that are left out are placed by default."""
    lazy: bool = False
    """Whether users exist only while they take part in a round, when `users` makes them."""
    at_end: list[Callable[[], None]] = field(default_factory=list, init=False)
    """Functions called when the last round is over, at that very instant."""
    closes_s: float = field(default=inf, init=False)
    """Instant in seconds of the present round's deadline; infinite until users begin to work, and if there is none."""
    _presence: tuple[int, int] = field(default=(0, 0), init=False)
    _selection: tuple[int, list[User]] = field(default_factory=lambda: (-1, []), init=False)
    _staleness: float = field(default=0.0, init=False)
    _measures: tuple[Weights, ...] = field(default=(), init=False)
    _service: Service | None = field(default=None, init=False)
    _models: tuple[Any, ...] = field(default=(), init=False)
    _over: Sequence[Deployed] = field(default=(), init=False)
    _under: Mapping[str, Deployed] = field(default_factory=dict, init=False)

    def __post_init__(self) -> None:
        self._optimisers, self._patience = (self.optimiser, self.server_optimiser), Patience(self.stop)
        self._set_optimisers(0)
        self.eligible = self.users
        """The users that are not excluded from the run."""
        check(self.policy, self.cohort_size, len(self.eligible))
        for user in () if self.lazy else self.users:
            user.server = self.server
        if self.adapter is not None and not isinstance(self.whole, Bound):
            self._backbone = self.initial(self.whole)
            if isinstance(self.whole, Multimodal):
                self.whole = adapt_multimodal(self.adapter, self.whole, self._backbone)
            else:
                adapted = self.adapter.on(self.whole, self.cut)
                self.whole = adapted.bind(adapted.split(self._backbone)[0])
        self.parts: dict[str, Segment | Bound] = named_parts(self.whole, self.cuts)
        """The parts of the model by name, in the order in which data flow through them (`learning.placement`)."""
        self.placement = placed(self.parts, self.placement, self.sites)
        whole: Any = self.whole
        front, back = whole.cut(self.cut) if self.cuts else (whole, whole)
        self.front: Part = front
        """The device's part of the plain split: what is before the first cut, or all towers."""
        self.back: Segment | Bound = back
        """The server's part of the plain split: what is behind the first cut, or the fusion network."""
        first = self.users[0].batches.largest
        deployment = Deployment(self.cut, first, self.streams, self.precision)
        each = self.users if self.evaluate_users else []
        own = {user.number: user.held_out.indices for user in each if user.held_out}
        self.evaluator = Evaluator(
            self.executor,
            self.journal,
            self.dataset,
            self.whole,
            deployment=deployment,
            path=self.evaluation,
            own=own,
            metrics=self.metrics,
        )

    @property
    def cut(self) -> int:
        """Blocks on the device in the plain split; 0 for a model of a single block, which cannot be split."""
        return self.cuts[0] if self.cuts else 0

    @property
    def chain(self) -> Segment | Bound:
        """The model where it is one chain of blocks, which can be cut between any two. Raises ValueError otherwise."""
        if isinstance(self.whole, Multimodal):
            raise ValueError("the scheme works on one chain of blocks; leave out learning.towers")
        return self.whole

    @property
    def plain_split(self) -> bool:
        """Whether the model is split in two, `front` at the user and `back` at the server."""
        return len(self.cuts) <= 1 and self.placement == default_placement(self.parts)

    def host(self, part: str, user: User) -> User | Server:
        """The party that computes a part of the model on behalf of a user."""
        place = self.placement[part]
        if place == USER:
            return user
        return user.server if place == SERVER else self.sites[place]

    def device(self, user: User) -> Server:
        """The server on a user's own device."""
        return self.sites[f"{USER}{user.number}"]

    @property
    def cohort_size(self) -> int:
        """How many users are to take part in a round. Raises ValueError if fewer are eligible."""
        return self.participation.cohort_size(len(self.eligible))

    def exclude(self, users: Sequence[User], cause: str) -> None:
        """Exclude users from the run; `cause` is noted in the table `outages`. Raises ValueError if no user is left."""
        if users:
            self.eligible = [user for user in self.eligible if user not in users]
        if not self.eligible:
            raise ValueError("no user is left who can take part")
        for user in users:
            user.node.exclude(cause)

    def initial(self, segment: Part | Model) -> dict[str, torch.Tensor]:
        """Initial values of the parameters of a part of the model that train; the same wherever the model is cut.

        Weights are given, pretrained, or drawn by name; adapters begin as zero changes, unless they are given.
        """
        if isinstance(segment, Multimodal):
            return self.initial(segment.towers) | self.initial(segment.fusion)
        if isinstance(segment, Towers):
            return {name: value for tower in segment.towers for name, value in self.initial(tower).items()}
        streams = self.weight_streams or self.streams
        if isinstance(segment, Bound):
            adapted = segment.adapted
            adapters = adapted.adapters(streams, dtype=self.precision)
            return self._over_drawn(adapters) | adapted.split(self._backbone)[1]
        drawn = segment.initial(streams, self.precision)
        if not self.executor.computes:
            return drawn
        taken = [pretrainer.taken_over(trained) for pretrainer, trained in self._trained]
        pretrained = {name: value for part in taken for name, value in part.items() if name in drawn}
        return self._over_drawn(drawn | pretrained)

    def _over_drawn(self, drawn: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        return {name: self.given[name].to(self.precision) if name in self.given else drawn[name] for name in drawn}

    @cached_property
    def _trained(self) -> list[tuple[Pretrainer, dict[str, torch.Tensor]]]:
        return [(each, each.trained(self.executor, self.precision)) for each in self.pretrainers]

    def weights(self, users: list[User], rule: str) -> tuple[float, ...]:
        """Weights of users in a mean, which sum to one: `uniform`, or in proportion to samples (`by_samples`)."""
        sizes = [user.samples if rule == "by_samples" else 1 for user in users]
        return tuple(size / sum(sizes) for size in sizes)

    def selected(self, number: int) -> list[User]:
        """The users that are selected to take part in round `number`, in the order of their numbers.

        They are selected among the users that are available when this is first called, if these are enough; else among
        all that are not gone for good.
        """
        if number != self._selection[0]:
            self._selection = number, self._select(number)
        return self._selection[1]

    def _select(self, number: int) -> list[User]:
        count, before = self.policy.asked(self.cohort_size), number * self.cohort_size
        if self.lazy:
            assert isinstance(self.participation, Sampling)
            count = min(count, len(self.users))
            sampled = self.participation.sampled(count, len(self.users), number, before, self.streams)
            return [self.users[user] for user in sorted(sampled)]
        among: Sequence[User] = [user for user in self.eligible if not user.node.away]
        if len(among) < count:
            among = [user for user in self.eligible if not user.node.gone] or self.eligible
        return sorted(self.choose(among, count, number, before), key=lambda user: user.number)

    def choose(self, among: Sequence[User], count: int, number: int, before: int) -> list[User]:
        """Select users by the participation rule.

        Args:
            among: the candidates.
            count: users to select, at most.
            number: number of this selection, by which its draws are named.
            before: users selected in all selections before this one.
        """
        numbers, samples = np.array([user.number for user in among]), np.array([user.samples for user in among])
        eligible = np.array([user.number for user in self.eligible])
        candidates = Candidates(numbers, samples, len(self.users), eligible)
        keys = self.participation.keys(candidates, number, before, self.streams)
        return [among[place] for place in np.argsort(keys, kind="stable")[:count] if keys[place] < inf]

    def rounds(self, *, periods: bool = False) -> Iterator[int]:
        """Iterate over the numbers of rounds until a stop criterion holds; the body of the loop is one round.

        Criteria are checked when a round has ended, so a run ends with a whole round. With `periods` a round is a
        reporting period, which ends by the clock, and no chain of work has determined its end: it has no critical path.
        """
        if self.executor.computes:
            for pretrainer, trained in self._trained:
                pretrainer.evaluate(self.executor, self.journal, trained)
        number = 0
        while not self._finished(number):
            self.journal.begin_round(number)
            self._set_optimisers(number)
            self.report_participation(0, 0)
            self.closes_s = inf
            self._measures = ()
            yield number
            present, asked = self._presence
            self.journal.end_round(present, asked - present, self._staleness, critical_path=not periods)
            number += 1
            self._evaluate_if_due(number)
            self.executor.settle()
        for act in self.at_end:
            act()

    def _set_optimisers(self, number: int) -> None:
        device, server = self._optimisers
        names = frozenset(self.whole.norms(statistics=True) if isinstance(self.whole, Segment) else [])
        self.optimiser = tracking(in_round(device, number, self.schedule, self.restarted), names)
        self.server_optimiser = tracking(in_round(server, number, self.schedule, restarted=False), names)

    def report_participation(self, present: int, asked: int, staleness_mean: float = 0.0) -> None:
        """Report how many of the users selected took part in this round, and the mean staleness of their updates."""
        self._presence, self._staleness = (present, asked), staleness_mean

    @property
    def presence(self) -> tuple[int, int]:
        """What `report_participation` was told last: users that took part in this round, and users selected."""
        return self._presence

    def models(
        self,
        *models: Weights | tuple[Weights | Bound | Multimodal, ...],
        over: Sequence[Deployed] = (),
        under: Mapping[str, Deployed] = MappingProxyType({}),
    ) -> None:
        """Report the global model after this round, or one model for each user, to be evaluated on the test set.

        A scheme that does not train reports none, and none is evaluated. A model is its weights, or a tuple of those of
        its parts; the first element of a tuple may be the model that they belong to, (Bound, adapters, ...).

        Args:
            models: the models.
            over: the links by which samples reach the server's part of the model: one, or one for each user, over whom
                the mean is taken (default: samples go through the whole model at once).
            under: further links by name, such as ones with other noise, over each of which all models are evaluated
                too: split `test_<name>`.
        """
        self._models, self._over, self._under = models, over, under

    def trained(self) -> list[TrainedModel]:
        """The models that were reported last, with the values of their weights; none if no values are computed."""
        if not self.executor.computes:
            return []
        models, several = [], len(self._models) > 1
        whose = "user" if len(self._models) == len(self.users) else "team"
        for number, (whole, parts) in enumerate(map(self.evaluator.parts, self._models)):
            name = f"{whose}{number}" if several else GLOBAL
            weights = self.executor.value(list(parts))
            models.append(TrainedModel(self.executor.value(whole), steps.merge(*weights), self.dataset.names, name))
        return models

    def measures(self, *measures: Weights) -> None:
        """Report further scalars of this round by name, to be recorded where the model is evaluated after it.

        They become rows of the table `evaluations` with the split `train`, and take no simulated time.
        """
        self._measures = measures

    def answer_by(self, service: Service) -> None:
        """Answer by `service`, from now on, the requests that users make of the model (`answered_by: model`).

        A scheme calls this at the beginning of its `run`, before any simulated time passes, and declares `serves`.
        """
        self._service = service

    def answer(self, user: int, stream: str, number: int) -> Process[None]:
        """Return the process that answers a request; the arguments are those of a `Service`, the user by its number.

        Raises RuntimeError if the scheme has not called `answer_by`.
        """
        if self._service is None:
            raise RuntimeError(
                "the scheme declares that its model answers requests, and has not called world.answer_by"
            )
        return self._service(self.users[user], stream, number)

    def _evaluate_if_due(self, rounds_done: int) -> None:
        if (self._models or self._measures) and (rounds_done % self.evaluate_every == 0 or self._finished(rounds_done)):
            how = self._measures, [self._measured(link) for link in self._over], self._under
            self.evaluator(self._models, *how, round=rounds_done - 1, time_s=self.env.now)
            if self.stop.metric in self.evaluator.latest:
                self._patience.note(self.evaluator.latest[self.stop.metric])

    def _measured(self, link: Deployed) -> Deployed:
        """A link over which test samples go; analogue messages at the mean SNR of the latest ones, if it is theirs."""
        if not isinstance(link.activations, Analogue):
            return link
        ratios = [user.snr for user in self._selection[1] or self.eligible if user.snr < inf]
        return link._replace(activations=link.activations.over_links(ratios))

    def _finished(self, rounds_done: int) -> bool:
        enough = self.stop.rounds is not None and rounds_done >= self.stop.rounds
        late = self.env.now >= (inf if self.stop.time_s is None else self.stop.time_s)
        good = self.stop.accuracy is not None and self.evaluator.latest.get("accuracy", 0.0) >= self.stop.accuracy
        lost = self.stop.on_divergence == "stop" and self.evaluator.diverged
        return enough or late or good or lost or self._patience.over or self._without_users()

    def _without_users(self) -> bool:
        """Whether no user took part in the last round, and all are gone for good."""
        present, asked = self._presence
        return asked > 0 == present and not self.lazy and all(user.node.gone for user in self.users)
