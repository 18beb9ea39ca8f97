"""When a batch leaves, and with whom."""

from streampose.batching.batcher import Batcher
from streampose.batching.cost import BatchCost, Load
from streampose.batching.gate import Gated
from streampose.batching.lane import Inferred, Lane
from streampose.batching.latency import LatencyBatch
from streampose.batching.peers import AimdBatch, DeferredBatch, RuleBatch, TimeoutBatch, WindowBatch
from streampose.batching.policy import (
    IN_TIME,
    BatchPolicy,
    Decision,
    FixedBatch,
    Take,
    Wait,
    Waiting,
    check_policy,
    depth,
)

__all__ = [
    "IN_TIME",
    "AimdBatch",
    "BatchCost",
    "BatchPolicy",
    "Batcher",
    "Decision",
    "DeferredBatch",
    "FixedBatch",
    "Gated",
    "Inferred",
    "Lane",
    "LatencyBatch",
    "Load",
    "RuleBatch",
    "Take",
    "TimeoutBatch",
    "Wait",
    "Waiting",
    "WindowBatch",
    "check_policy",
    "depth",
]
