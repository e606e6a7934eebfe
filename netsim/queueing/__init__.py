"""Queues of jobs at a processor or of messages at a line, with waiting and service times, under a discipline."""

from netsim.queueing.disciplines import DISCIPLINES, Batching, Discipline, Fifo, Priority, ProcessorSharing
from netsim.queueing.line import Line
from netsim.queueing.queue import NO_WEIGHTS, Job, Queue, QueueFull, Stay
from netsim.queueing.sharing import Sharing

__all__ = [
    "DISCIPLINES",
    "NO_WEIGHTS",
    "Batching",
    "Discipline",
    "Fifo",
    "Job",
    "Line",
    "Priority",
    "ProcessorSharing",
    "Queue",
    "QueueFull",
    "Sharing",
    "Stay",
]
