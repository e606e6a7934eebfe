"""Inference of a mixture of experts whose experts are at sites of the network, at the requests of users.

user           a sample of its part of the test set: an image, or the prompt that a text begins with
user           attention, normalisation and gate; the choice of experts is read    for each layer with experts
user <-> sites tokens, and the weighted sums of the experts' outputs, from all sites side by side
user           head: the class of the image, or the next token, with which the next pass begins

With `gate: station` tokens go to the edge server at the station, which computes the gates, and calls the experts.

The pass of the prompt is the prefill, one further pass of a single token for each further output token is decoding,
with a cache of keys and values. Placement changes time and energy, and no number. Nothing is trained.
[Gate at the user, experts at sites: Xue et al., arXiv 2411.06681; Chen et al., arXiv 2507.06567]
"""

from dataclasses import dataclass
from functools import partial
from typing import Annotated, Literal

from annotated_types import Ge, Gt, Interval

from learning.control.placement.controller import CloudOnly, ExpertPlacement
from learning.dispatch import FromCloud, Gating, Miss, Nearest, SiteSelection, TopK
from learning.inference import placing
from learning.inference.answers import Answers
from learning.inference.operations import expert
from learning.inference.prefetch import Prefetch
from learning.inference.request import DistributedModel, Request
from learning.inference.staged import StagedModel, check_charge
from learning.models import Experts, Segment
from learning.models.stage import experts_of
from learning.parties import Server, User
from learning.policies import WaitForAll
from learning.ports import Process
from learning.protocols.expert_dispatch import DispatchPolicy
from learning.protocols.expert_layer import ExpertLayer
from learning.protocols.experts import CallMessages
from learning.routing import Routing, UniformRouting
from learning.scheme import Scheme
from learning.steps import Parameters
from learning.world import World


@dataclass(frozen=True)
class MoeInference(Scheme):
    """Requests to a mixture of experts that is distributed over the network; users have all but the experts.

    Streams with `answered_by: model` make the requests. A round is a reporting period, at whose end the accuracy of its
    answers is written to `evaluations` as the split `answers`.
    """

    cloud: str = "cloud"
    """Name of the site (`compute.sites`) that holds all experts."""
    placement: ExpertPlacement = CloudOnly()
    """Which experts edge servers, sites and devices hold from the beginning."""
    selection: SiteSelection = Nearest()
    """At which of the sites that hold an expert it is called."""
    miss: Miss = FromCloud()
    """What is done about an expert that only the cloud holds."""
    gating: Gating = TopK()
    """To which experts tokens go; all but `top_k` change the answers. In a dry run, which computes no gates, tokens go
    to the experts that `routing` draws."""
    deadline_s: Annotated[float, Gt(0)] | None = None
    """Seconds after which a layer goes on without the experts whose answers are not in; the weights of a token's other
    experts are scaled up to the same sum. Null waits for all."""
    messages: CallMessages = CallMessages()
    """Contents of the messages of a call."""
    gate: Literal["user", "station"] = "user"
    """Where gates are computed, and experts called: on the user's device, or by the edge server at its station. Then
    tokens go up once for each layer, and their sums over all experts come down; calls cross the backhaul alone."""
    prefetch: Prefetch | None = None
    """Predictor of the experts of the next layer, which the user's edge server fetches while the present layer works;
    null fetches nothing ahead. Table `prefetches`."""
    routing: Routing = UniformRouting()
    """Routing distribution that replaces the choice of the gates in dry runs."""
    prompt_tokens: Annotated[int, Interval(ge=1, le=1_000_000)] | None = None
    """Tokens of a prompt, the first of a test sample (default: as many as leave room for the output); only of texts."""
    inflight_tokens: Annotated[int, Ge(1)] | None = None
    """Tokens of a chunk of a prompt. Chunks pass side by side: while experts work for one, the user's device computes
    another, as soon as it has the keys and values of those before it. Null passes the prompt as a whole; only of
    texts."""
    output_tokens: Annotated[int, Interval(ge=1, le=1_000_000)] = 1
    """Tokens that are generated for a request, each the most likely one (greedy decoding). The first is compared with
    the true next token. An image has one output, its class."""
    period_s: Annotated[float, Ge(1e-3)] = 10.0
    """Duration of a reporting period in seconds."""

    serves = True
    one_chain = True
    evaluates = False
    hierarchical = True
    stand_in = "routing distribution"

    def run(self, world: World) -> Process[None]:
        weights = world.initial(world.whole)
        model, answers = self.distributed(world, weights), Answers(world)
        placing.place(model, self.placement, world.sites[self.cloud], weights, self._tokens(world))
        world.answer_by(partial(self.service, model, answers))
        for number in world.rounds(periods=True):
            yield world.instant(world.env.now + self.period_s)
            answers.report(number)

    def service(self, model: DistributedModel, answers: Answers, user: User, stream: str, number: int) -> Process[None]:
        """Answer request `number` of a user in a stream."""
        assert user.held_out is not None
        x, y = user.held_out.at(number)
        given = self._prompt(model.world)
        request = Request(model, user, stream, number, self._tokens(model.world))
        if given is None:
            logits, _ = yield from request.forward(x)
        else:
            logits, token = yield from request.prefill(x, given, self.inflight_tokens)
            for further in range(self.output_tokens - 1):
                _, token = yield from request.forward(token, given + further)
        answers.add(user, logits, y, None if given is None else given - 1)

    def distributed(self, world: World, weights: Parameters) -> DistributedModel:
        """The model with its experts at sites: the cloud holds all."""
        assert isinstance(world.chain, Segment)
        staged, cloud = StagedModel(world.chain, weights), world.sites[self.cloud]
        policy = DispatchPolicy(self.selection, self.miss, self.messages, self.gating, self.deadline_s)
        sites = [*(site for site in servers(world) if site is not cloud), cloud]
        layers = [
            ExpertLayer(world, number, sites, expert, experts, world.nearest, policy, len(staged.experts))
            for number, experts in enumerate(staged.experts)
        ]
        for layer in layers:
            for number in range(len(layer.experts)):
                layer.store(number, cloud)
        gate_at = world.nearest if self.gate == "station" else None
        return DistributedModel(world, staged, layers, self.routing, self.prefetch, gate_at)

    def check(self, world: World) -> None:
        if not isinstance(world.chain, Segment):
            raise ValueError("nothing is trained; leave out learning.adapter")
        if self.cloud not in world.sites:
            raise ValueError(f"no site is called {self.cloud}; give it in compute.sites, or name another as cloud")
        self._check_tokens(world)
        without = [user.number for user in world.users if user.held_out is None]
        if without:
            raise ValueError(f"user {without[0]} has no sample of the test set to ask about; use more test samples")
        check_charge(world.chain, world.executor.charge)
        experts = experts_of(world.chain)
        self.routing.check(experts.top_k, experts.count)
        if self.prefetch is not None:
            self._check_prefetch(self.prefetch, world, experts)
        if not isinstance(world.policy, WaitForAll):
            raise ValueError(
                "learning.policy has no effect, as no round waits for users; leave it out, and limit a layer's wait by "
                "deadline_s"
            )
        if self.miss.waits and world.nearest is None:
            raise ValueError("miss wait needs a cache; give compute.edge_servers, and let learning.servers be nearest")
        if self.gate == "station":
            self._check_station(world)
        shapes = {name: value.to(world.precision) for name, value in world.chain.parameters().items()}
        placing.check(self.distributed(world, shapes), self.placement, world.sites[self.cloud])

    def _check_station(self, world: World) -> None:
        if world.nearest is None:
            raise ValueError(
                "gate station needs a server at each station; give compute.edge_servers, and let learning.servers be "
                "nearest"
            )
        if self.placement.device_share:
            raise ValueError("gate station calls no experts on devices; let placement.device_share be 0")

    def _check_prefetch(self, prefetch: Prefetch, world: World, experts: Experts) -> None:
        if world.nearest is None:
            raise ValueError("prefetch needs a cache; give compute.edge_servers, and let learning.servers be nearest")
        prefetch.check(experts.count)

    def _check_tokens(self, world: World) -> None:
        texts, (length, *_) = world.dataset.test.y.ndim == 2, world.dataset.input_shape
        if not texts and (self.output_tokens > 1 or self.prompt_tokens is not None or self.inflight_tokens is not None):
            raise ValueError("samples are no texts; leave out prompt_tokens, inflight_tokens and output_tokens")
        if texts and (self.prompt_tokens or 1) + self.output_tokens > length + 1:
            raise ValueError(
                f"prompt_tokens + output_tokens = {(self.prompt_tokens or 1) + self.output_tokens}, but samples have "
                f"{length} tokens, and only the last output token can be one more"
            )

    def _tokens(self, world: World) -> int | None:
        """Tokens of a request that pass the model; None where samples are no texts."""
        given = self._prompt(world)
        return None if given is None else given + self.output_tokens - 1

    def _prompt(self, world: World) -> int | None:
        """Tokens of a prompt; None where samples are no texts."""
        if world.dataset.test.y.ndim == 1:
            return None
        return self.prompt_tokens or world.dataset.input_shape[0] + 1 - self.output_tokens


def servers(world: World) -> list[Server]:
    """All servers but those on users' devices."""
    devices = {world.device(user) for user in world.users}
    return [site for site in world.sites.values() if site not in devices]
