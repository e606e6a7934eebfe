"""Families of parts: everything of learning that a scenario can select by name.

`scenarios.register` adds parts from outside.
"""

from learning.codecs import CODECS, Codec
from learning.control.cuts.controller import CONTROLLERS, CutController
from learning.control.generation import WEIGHT_POLICIES, WeightPolicy
from learning.control.placement.controller import EXPERT_PLACEMENTS, ExpertPlacement
from learning.control.private_blocks import SPLIT_RULES, SplitRule
from learning.data import DATASETS, DatasetLoader
from learning.data.partition import PARTITIONS, Partition
from learning.dispatch import GATINGS, MISSES, SELECTIONS, Gating, Miss, SiteSelection
from learning.generation import GENERATORS, Generator
from learning.inference.prefetch import PREFETCHES, Prefetch
from learning.local_training import EPOCHS, Epochs
from learning.models import MODELS, Architecture
from learning.optimisers import OPTIMISERS, Optimiser
from learning.participation import PARTICIPATIONS, Participation
from learning.policies import POLICIES, STALENESS_WEIGHTS, Policy, StalenessWeight
from learning.reducers import TOKEN_REDUCERS, TokenReducer
from learning.routing import ROUTINGS, Routing
from learning.schedules import SCHEDULES, Schedule
from learning.scheme import Scheme
from learning.schemes import SCHEMES

FAMILIES: dict[type, dict[str, type]] = {
    Scheme: SCHEMES,
    DatasetLoader: DATASETS,
    Partition: PARTITIONS,
    Architecture: MODELS,
    Optimiser: OPTIMISERS,
    Schedule: SCHEDULES,
    Codec: CODECS,
    TokenReducer: TOKEN_REDUCERS,
    Participation: PARTICIPATIONS,
    Policy: POLICIES,
    StalenessWeight: STALENESS_WEIGHTS,
    CutController: CONTROLLERS,
    SplitRule: SPLIT_RULES,
    ExpertPlacement: EXPERT_PLACEMENTS,
    Epochs: EPOCHS,
    Routing: ROUTINGS,
    Prefetch: PREFETCHES,
    SiteSelection: SELECTIONS,
    Miss: MISSES,
    Gating: GATINGS,
    Generator: GENERATORS,
    WeightPolicy: WEIGHT_POLICIES,
}
