"""The section `traffic`: streams of requests."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, Literal

from annotated_types import Ge, Gt, MinLen

from netsim.traffic import Arrivals, RecordedArrivals, SizeLaw
from netsim.traffic.sizes import ConstantSize


@dataclass(frozen=True)
class RequestStream:
    """A stream of requests. Each sends bits on the uplink, is computed at a server and is answered on the downlink; or
    the model that a scheme has distributed over the network answers it."""

    arrivals: Arrivals
    """Arrival process: the times at which a user makes requests."""
    uplink_bits: SizeLaw = field(default_factory=lambda: ConstantSize(0.0))
    """Size of a request in bits; 0 takes no time."""
    flops: SizeLaw = field(default_factory=lambda: ConstantSize(0.0))
    """Floating-point operations of the server for a request; 0 takes no time."""
    downlink_bits: SizeLaw = field(default_factory=lambda: ConstantSize(0.0))
    """Size of the answer in bits; 0 takes no time."""
    timeout_s: Annotated[float, Gt(0)] | None = None
    """Seconds from the arrival after which a request is abandoned, wherever it is; null is never. A request that is
    answered exactly then is served."""
    users: Annotated[tuple[Annotated[int, Ge(0)], ...], MinLen(1)] | None = None
    """Numbers of the users that make requests; null is all. Recorded requests are divided among these users only."""
    at: Literal["nearest", "central"] = "nearest"
    """Server of the requests: `nearest` is the edge server at the user's station, if it has one, or else the central
    server; `central` is always the central server."""
    answered_by: Literal["server", "model"] = "server"
    """What answers the requests: `server` is one job of `flops` at a server, between messages of `uplink_bits` and
    `downlink_bits`; `model` is the model of `learning`, whose scheme decides what is computed and sent where, so that
    these three fields and `at` must be left out. The scheme must be one that answers requests."""

    def __post_init__(self) -> None:
        if self.users is not None and len(set(self.users)) < len(self.users):
            raise ValueError("users names a user twice")
        if self.answered_by == "model":
            sizes = ("uplink_bits", "flops", "downlink_bits")
            given = [name for name in sizes if getattr(self, name) != ConstantSize(0.0)]
            given += ["at"] if self.at != "nearest" else []
            if isinstance(self.arrivals, RecordedArrivals):
                columns = [f"{name}_column" for name in sizes]
                given += [f"arrivals.{name}" for name in columns if getattr(self.arrivals, name) is not None]
            if given:
                raise ValueError(
                    f"found {' and '.join(given)} where answered_by is model; leave out uplink_bits, flops, "
                    "downlink_bits and at, because the model determines what is computed and sent, and where"
                )


@dataclass(frozen=True)
class TrafficDescription:
    """Requests of users to the servers, with or without learning."""

    streams: dict[str, RequestStream]
    """Streams by name (letters, digits and _). Transfers and computations of stream x have the kind request_x if a
    server answers it, and the kinds of the scheme if the model does."""
    duration_s: Annotated[float, Gt(0)] | None = None
    """Simulated seconds during which requests arrive; null is as long as learning lasts. The run ends when learning and
    this time are over and every request is served, refused or abandoned."""

    def __post_init__(self) -> None:
        for name in self.streams:
            if not name.isidentifier():
                raise ValueError(f'"{name}" cannot name a stream; use letters, digits and _')
