"""A policy that holds everything back until there is something to run it on."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from streampose.batching.policy import BatchPolicy, Decision, Load, Wait, Waiting, depth, expected_s

__all__ = ["Gated"]

_ASK_AGAIN_S = 0.02


class Gated:
    """Waits while the models are loaded; then it is the policy that it holds.

    The first frame is then a fresh one, and the policy has learned nothing of the time that loading took.

    Args:
        policy: decides once it is open.
        is_open: whether it is, for good.
    """

    def __init__(self, policy: BatchPolicy, is_open: Callable[[], bool]) -> None:
        self._policy, self._is_open = policy, is_open
        self.max_frames, self.budget_s = policy.max_frames, policy.budget_s

    @property
    def engines(self) -> int:
        """How many batches run at a time."""
        return self._policy.engines

    @engines.setter
    def engines(self, engines: int) -> None:
        self._policy.engines = engines

    def decide(self, now: float, waiting: Sequence[Waiting], more: bool) -> Decision:
        """Wait, or what the policy says."""
        return self._policy.decide(now, waiting, more) if self._is_open() else Wait(until=now + _ASK_AGAIN_S)

    def observe(self, load: Load, seconds: float) -> None:
        """Let the policy learn."""
        self._policy.observe(load, seconds)

    @property
    def depth(self) -> int:
        """How many frames of a live stream wait, and how many are under way, at most."""
        return depth(self._policy)

    def expected_s(self, load: Load) -> float:
        """What the policy says, if it does."""
        return expected_s(self._policy, load)
