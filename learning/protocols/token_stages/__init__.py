"""Multimodal users whose tokens a foundation model reads, trained in two stages: alignment, then the task."""

from learning.protocols.token_stages.device import Device, Sent
from learning.protocols.token_stages.stages import UPLOAD_SHARE, TwoStages, of_teams
from learning.protocols.token_stages.station import Arrived, BaseStation

__all__ = ["UPLOAD_SHARE", "Arrived", "BaseStation", "Device", "Sent", "TwoStages", "of_teams"]
