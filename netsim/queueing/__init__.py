"""Queues of jobs at a processor or of messages at a line, with waiting and service times, under a discipline."""

from netsim.queueing.disciplines import DISCIPLINES, Discipline, Fifo, Priority, ProcessorSharing
from netsim.queueing.line import Line
from netsim.queueing.queue import Queue, QueueFull, Stay
from netsim.queueing.sharing import Sharing

__all__ = [
    "DISCIPLINES",
    "Discipline",
    "Fifo",
    "Line",
    "Priority",
    "ProcessorSharing",
    "Queue",
    "QueueFull",
    "Sharing",
    "Stay",
]
