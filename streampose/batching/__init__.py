"""When a batch leaves, and with whom."""

from streampose.batching.batcher import Batcher, Inferred, Lane
from streampose.batching.cost import BatchCost, Load
from streampose.batching.latency import LatencyBatch
from streampose.batching.policy import BatchPolicy, Decision, FixedBatch, Take, Wait, Waiting

__all__ = [
    "BatchCost",
    "BatchPolicy",
    "Batcher",
    "Decision",
    "FixedBatch",
    "Inferred",
    "Lane",
    "LatencyBatch",
    "Load",
    "Take",
    "Wait",
    "Waiting",
]
