"""The pruning rate that keeps a device's round within a latency budget, by the times of its last round."""


def rate_within_budget(budget_s: float, compute_s: float, other_s: float, rate: float, max_rate: float) -> float:
    """1 - (budget - other time) / dense compute time, within [0, max_rate].

    Args:
        budget_s: how long a round may take the device.
        compute_s: how long forward and backward pass took in the last round, at the sparse cost: 1 - `rate` of the
            dense time.
        other_s: how long everything else took: messages, and the server's work.
        rate: pruning rate of the last round, in [0, 1).
        max_rate: the highest rate that may be chosen, in [0, 1).
    """
    dense_s = compute_s / (1 - rate)
    return min(max(1 - (budget_s - other_s) / dense_s, 0.0), max_rate)
