"""Storage: named items of known sizes in a limited number of bytes, and eviction policies."""

from netsim.storage.belady import Belady
from netsim.storage.eviction import Eviction, History, NoEviction, Priority
from netsim.storage.lfu import Lfu, LfuAdmission
from netsim.storage.lru import Lru
from netsim.storage.replay import replay
from netsim.storage.storage import Storage, Stored

__all__ = [
    "EVICTIONS",
    "Belady",
    "Eviction",
    "History",
    "Lfu",
    "LfuAdmission",
    "Lru",
    "NoEviction",
    "Priority",
    "Storage",
    "Stored",
    "replay",
]

EVICTIONS: dict[str, type] = {"none": NoEviction, "lru": Lru, "lfu": Lfu, "lfu_admission": LfuAdmission}
