"""Queues of jobs at a processor or of messages at a line, with waiting and service times, under a discipline."""

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
