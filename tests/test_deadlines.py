"""Who is done at the very instant of a deadline, to within rounding, is in time; who needs a little longer is not."""

from math import nextafter

import pytest

from runs import frame, run

SCHEMES = ["fedavg", "sfl_v1", "tsflora"]


def participants(scheme: str, deadline_s: float) -> int:
    policy = {"name": "deadline", "deadline_s": deadline_s}
    result = run(learning__scheme=scheme, learning__executor="dry", learning__policy=policy, learning__stop__rounds=1)
    return int(frame(result, "rounds").participants[0])


@pytest.mark.parametrize("scheme", SCHEMES)
def test_done_at_the_deadline(scheme: str) -> None:
    """Users end a round with their upload; until a deadline all goes as without one."""
    patient = run(learning__scheme=scheme, learning__executor="dry", learning__stop__rounds=1)
    transfers = frame(patient, "transfers")
    ends_s = sorted(transfers[transfers.direction == "up"].groupby("user").end_s.max())
    for place, end_s in enumerate(ends_s):
        assert participants(scheme, end_s) == place + 1
        assert participants(scheme, nextafter(end_s, 0.0)) == place + 1
        assert participants(scheme, end_s * (1 - 1e-9)) == place
