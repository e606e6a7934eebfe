"""What a scheme has without saying so, and what is refused."""

from dataclasses import dataclass, replace
from typing import Any

import pytest

from learning.description import LearningDescription
from learning.policies import Asynchronous
from learning.scheme import Scheme
from learning.schemes import SCHEMES
from learning.stop import Stop


@dataclass(frozen=True)
class OnlyRuns(Scheme):
    """A scheme that writes nothing but `run`."""

    def run(self, world: Any) -> Any:
        raise NotImplementedError


@dataclass(frozen=True)
class Unrelated:
    """It has a `run`, and is not derived from `Scheme`."""

    def run(self, world: Any) -> Any:
        raise NotImplementedError


def test_a_scheme_needs_only_run() -> None:
    scheme: Any = OnlyRuns()
    assert (scheme.asynchronous, scheme.hierarchical, scheme.stand_in) == (False, False, None)
    assert scheme.excluded(None) == []
    scheme.check(None)
    described = LearningDescription(scheme, Stop(rounds=1))
    with pytest.raises(ValueError, match="the scheme is synchronous"):
        replace(described, policy=Asynchronous())
    with pytest.raises(ValueError, match="the scheme has a single server part"):
        replace(described, servers="nearest")


def test_what_is_not_derived_from_it_is_refused_in_a_sentence() -> None:
    unrelated: Any = Unrelated()
    with pytest.raises(ValueError, match=r"^Unrelated is not a scheme; derive it from learning\.scheme\.Scheme"):
        LearningDescription(unrelated, Stop(rounds=1))


@pytest.mark.parametrize("scheme", SCHEMES.values())
def test_every_scheme_derives_from_it(scheme: type[Scheme]) -> None:
    assert Scheme in scheme.__mro__
