"""Path loss: mean attenuation between a station and a user.

The laws of urban, rural and indoor scenarios are those of 3GPP TR 38.901, Study on channel model for frequencies from
0.5 to 100 GHz.
"""

from netsim.radio.pathloss.indoor import IndoorOffice
from netsim.radio.pathloss.path import Path, PathLoss
from netsim.radio.pathloss.rural import RuralMacro
from netsim.radio.pathloss.simple import FreeSpace, LogDistance
from netsim.radio.pathloss.urban import UrbanMacro, UrbanMicro

__all__ = [
    "PATH_LOSSES",
    "FreeSpace",
    "IndoorOffice",
    "LogDistance",
    "Path",
    "PathLoss",
    "RuralMacro",
    "UrbanMacro",
    "UrbanMicro",
]

PATH_LOSSES: dict[str, type] = {
    "free_space": FreeSpace,
    "log_distance": LogDistance,
    "umi": UrbanMicro,
    "uma": UrbanMacro,
    "rma": RuralMacro,
    "inh": IndoorOffice,
}
