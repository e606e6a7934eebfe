"""Time of one expert call without waiting in queues: there over the links, the computation, and back."""

from __future__ import annotations

from learning.control.placement.problem import Floats


def edge_access_s(
    up_bits: float,
    down_bits: float,
    uplink_bps: Floats,
    downlink_bps: Floats,
    hops: Floats,
    backhaul_bps: float,
    expert_flops: float,
    server_flops_per_s: Floats,
) -> Floats:
    """Time of access to an expert at an edge server, through the base station that serves the user.

        tau_u(n) = b_up / R_up(u) + hops(u, n) (b_up + b_down) / R_backhaul + F / f(n) + b_down / R_down(u)

    Args:
        up_bits: Bits b_up of a hidden state, with the numbers of the experts asked and their gate weights.
        down_bits: Bits b_down of the output.
        uplink_bps: (users,): rate R_up of the radio link to the serving base station, in bit/s.
        downlink_bps: (users,): rate R_down of the radio link from there, in bit/s.
        hops: (users, servers): number of backhaul links between the serving base station and the server.
        backhaul_bps: Rate of each backhaul link, in bit/s.
        expert_flops: FLOPs F of an expert for one token: 4 d d_ff, or 6 d d_ff with a gated feed-forward network.
        server_flops_per_s: (servers,): speed f(n) of each server.

    Returns:
        (users, servers): time in s.
    """
    radio_s = up_bits / uplink_bps + down_bits / downlink_bps
    return radio_s[:, None] + hops * (up_bits + down_bits) / backhaul_bps + expert_flops / server_flops_per_s


def cloud_access_s(
    up_bits: float,
    down_bits: float,
    uplink_bps: Floats,
    downlink_bps: Floats,
    cloud_bps: float,
    round_trip_s: float,
    expert_flops: float,
    cloud_flops_per_s: float,
) -> Floats:
    """Time of access to an expert in the cloud, through the base station that serves the user.

        tau_u(0) = b_up / R_up(u) + (b_up + b_down) / R_cloud + RTT + F / f(0) + b_down / R_down(u)

    Args:
        up_bits: Bits b_up of a hidden state, with the numbers of the experts asked and their gate weights.
        down_bits: Bits b_down of the output.
        uplink_bps: (users,): rate R_up of the radio link to the serving base station, in bit/s.
        downlink_bps: (users,): rate R_down of the radio link from there, in bit/s.
        cloud_bps: Rate R_cloud between base stations and cloud, in bit/s.
        round_trip_s: Round-trip time RTT between base stations and cloud, in s.
        expert_flops: FLOPs F of an expert for one token.
        cloud_flops_per_s: Speed f(0) of the cloud.

    Returns:
        (users,): time in s.
    """
    fixed_s = (up_bits + down_bits) / cloud_bps + round_trip_s + expert_flops / cloud_flops_per_s
    return up_bits / uplink_bps + down_bits / downlink_bps + fixed_s
