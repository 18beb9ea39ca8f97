"""A batch policy as the batcher asks it. Users write policies, too: what they do and say is not believed."""

from __future__ import annotations

import math
from typing import TypeAlias

from streampose.batching.lane import Lane
from streampose.batching.policy import BatchPolicy, Decision, Load, Take, Wait, Waiting, expected_s
from streampose.errors import PolicyError
from streampose.frame import Frame
from streampose.number import within
from streampose.typed import Typed

__all__ = ["Adviser", "Offer"]

_POLICY = Typed(PolicyError, "the batch policy failed: ")

Offer: TypeAlias = dict[Waiting, tuple[Lane, Frame]]
"""What may be taken, in fair order, and where it is."""


class Adviser:
    """Asks a policy. All calls raise `PolicyError` where it fails, or says what makes no sense.

    Args:
        policy: it sizes the batches.
        engines: how many run at a time.
    """

    def __init__(self, policy: BatchPolicy, engines: int) -> None:
        self.policy = policy
        with _POLICY:
            policy.engines = engines

    @_POLICY
    def decide(self, now: float, offer: Offer, more: bool) -> Decision:
        """See `BatchPolicy.decide`."""
        decision = self.policy.decide(now, tuple(offer), more)
        if isinstance(decision, Wait):
            if not (decision.until is None or within(decision.until, -math.inf)):
                raise PolicyError(f"the batch policy waits until {decision.until!r}, which is no time")
        else:
            self._check(decision, offer)
        return decision

    def _check(self, take: Take, offer: Offer) -> None:
        chosen = (*take.frames, *take.drop)
        if len(set(chosen)) != len(chosen) or not all(w in offer for w in chosen):
            raise PolicyError("the batch policy took a frame twice, or one that it was not offered")
        if len(take.frames) > self.policy.max_frames:
            raise PolicyError(f"the batch policy took {len(take.frames)} frames, over its {self.policy.max_frames}")
        for lane in {offer[w][0] for w in take.frames}:
            gone = [offer[w][1] for w in chosen if offer[w][0] is lane]
            taken = [offer[w][1].index for w in take.frames if offer[w][0] is lane]
            if taken != sorted(taken) or any(f not in gone for f in lane.ingress if f.index < taken[-1]):
                raise PolicyError(f"the batch policy broke the order of stream {lane.name}")

    @_POLICY
    def expected_s(self, load: Load) -> float:
        """How long a batch will take; `inf` = it does not know."""
        if not within(seconds := expected_s(self.policy, load), -math.inf):
            raise PolicyError(f"the batch policy expects a batch to take {seconds!r} s")
        return seconds

    @_POLICY
    def observe(self, load: Load, seconds: float) -> None:
        """See `BatchPolicy.observe`."""
        self.policy.observe(load, seconds)
