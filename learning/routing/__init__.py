"""Routing distributions: to which experts tokens go where no gate is computed, as in a dry run."""

from learning.routing.recorded import RecordedRouting
from learning.routing.routing import Choices, Routing
from learning.routing.uniform import UniformRouting
from learning.routing.zipf import ZipfRouting

__all__ = ["ROUTINGS", "Choices", "RecordedRouting", "Routing", "UniformRouting", "ZipfRouting"]

ROUTINGS: dict[str, type] = {"uniform": UniformRouting, "zipf": ZipfRouting}
