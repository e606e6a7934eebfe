"""The pruning rate with which a device's round keeps to a latency budget, predicted from its last round."""


def rate_within_budget(budget_s: float, compute_s: float, other_s: float, rate: float, max_rate: float) -> float:
    """The pruning rate 1 - (budget - other time) / dense compute time, clipped to [0, max_rate].

    Args:
        budget_s: latency budget of a round of the device.
        compute_s: time of forward and backward pass in the last round, at the sparse cost: 1 - `rate` of the dense
            time.
        other_s: time of everything else in the last round: messages and the server's work.
        rate: pruning rate of the last round, in [0, 1).
        max_rate: the highest rate that may be chosen, in [0, 1).
    """
    dense_s = compute_s / (1 - rate)
    return min(max(1 - (budget_s - other_s) / dense_s, 0.0), max_rate)
