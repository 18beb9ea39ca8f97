"""What a plan of batches is worth, and in which order frames go.

Throughout, `costs` are the seconds of a batch of 0, 1, 2 … frames, and `due` those that each frame has left, ascending.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence

from streampose.batching.policy import Waiting

__all__ = ["at_first_turns", "freshest_first", "in_time", "one_after_the_other", "then_the_rest"]

# What a plan that takes one longest batch longer on average is worth less, in frames.
_SOONER = 0.1


def at_first_turns(live: Sequence[Waiting], lost: Sequence[Waiting]) -> list[Waiting]:
    """Without what is lost: what is left of a stream has the first of its turns."""
    left: dict[str, list[Waiting]] = {w.stream: [] for w in live}
    for w in reversed(live):
        if w not in lost:
            left[w.stream].append(w)
    return [left[w.stream].pop() for w in live if left[w.stream]]


def in_time(due: Sequence[float], seconds: float) -> int:
    """How many frames would be, if their batch took so long."""
    return len(due) - bisect_left(due, seconds)


def one_after_the_other(n: int, costs: Sequence[float], due: Sequence[float], price: float) -> float:
    """The value of batches of n until none is left in time, where engine time costs `price` a second."""
    first, end, kept, latency = len(due) - in_time(due, costs[n]), 0.0, 0, 0.0
    # Those after two longest batches change next to nothing, and this runs at every decision.
    while (size := min(n, len(due) - first)) and kept < 2 * len(costs):
        end += costs[size]
        first = max(first, len(due) - in_time(due, end))
        size = min(size, len(due) - first)
        first, kept, latency = first + size, kept + size, latency + size * end
    return kept - price * end - _SOONER * latency / kept / costs[-1]


def then_the_rest(n: int, costs: Sequence[float], due: Sequence[float], price: float) -> float:
    """The value of a batch of n, and one of what is then still in time, where engine time costs `price` a second."""
    rest = min(in_time(due, costs[n]) - n, len(costs) - 1)
    while rest and in_time(due, costs[n] + costs[rest]) < rest:
        rest -= 1
    latency = (n * costs[n] + rest * (costs[n] + costs[rest])) / (n + rest)
    return n - price * costs[n] + max(rest - price * costs[rest], 0.0) - _SOONER * latency / costs[-1]


def freshest_first(frames: Sequence[Waiting]) -> list[Waiting]:
    """Each stream's turns as they are, its newest frame at the first of them."""
    streams: dict[str, list[Waiting]] = {}
    for frame in frames:
        streams.setdefault(frame.stream, []).append(frame)
    return [streams[frame.stream].pop() for frame in frames]
