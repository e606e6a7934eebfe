"""Routing distributions: to which experts tokens go where no gate is computed, as in a dry run."""

from learning.routing.recorded import RecordedRouting
from learning.routing.routing import Choices, Layer, Routing
from learning.routing.token_counts import TokenCounts
from learning.routing.uniform import UniformRouting
from learning.routing.zipf import ZipfRouting

__all__ = ["ROUTINGS", "Choices", "Layer", "RecordedRouting", "Routing", "TokenCounts", "UniformRouting", "ZipfRouting"]

ROUTINGS: dict[str, type] = {"uniform": UniformRouting, "zipf": ZipfRouting, "recorded": RecordedRouting}
