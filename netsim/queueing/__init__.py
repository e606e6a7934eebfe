"""Queues: jobs that share a processor or a line, by a discipline, with their waiting told apart from their service."""

from netsim.queueing.disciplines import DISCIPLINES, Discipline, Fifo, Priority, ProcessorSharing
from netsim.queueing.line import Line
from netsim.queueing.queue import Full, Queue, Stay
from netsim.queueing.sharing import Sharing

__all__ = [
    "DISCIPLINES",
    "Discipline",
    "Fifo",
    "Full",
    "Line",
    "Priority",
    "ProcessorSharing",
    "Queue",
    "Sharing",
    "Stay",
]
