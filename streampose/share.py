"""A stream's share of what is in flight: how many of its frames wait, and how many are under way."""

from __future__ import annotations

import math
from collections.abc import Collection

from streampose.batching import BatchPolicy, Lane, depth
from streampose.streams import Stream

__all__ = ["lane_of"]


def lane_of(stream: Stream, among: Collection[Stream], policy: BatchPolicy, engines: int) -> Lane:
    """Its way through the batcher, with its share of it.

    Args:
        stream: whose it is.
        among: all that run with it, itself, too.
        policy: sizes the batches.
        engines: how many run at a time.
    """
    live = stream.source.live
    # Offline: enough in the air that every engine has two batches and one more is gathering, whoever it comes from.
    # Turns see to it that a light one gets less; only a heavy one needs more for it.
    part = max(stream.weight / sum(other.weight for other in among), 1 / len(among))
    share = max(2, math.ceil(policy.max_frames * (2 * engines + 1) * part))
    return Lane(
        stream.name,
        live=live,
        credits=stream.credits or (depth(policy) if live else share),
        capacity=depth(policy) if live else share,
        budget_s=stream.budget_s,
        weight=stream.weight,
    )
