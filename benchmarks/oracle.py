"""`LatencyBatch` where nothing has to be learned: how much of a gap is learning, and how much the plan."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np
from simulator import Scenario

from streampose.batching import BatchCost, Decision, LatencyBatch, Load, Take, Waiting


class _TrueCost(BatchCost):
    """What a batch that starts now will take, stalls to come included."""

    settled, reach = True, 1 << 30

    def __init__(self, scenario: Scenario) -> None:
        super().__init__()
        self.now = 0.0
        self._scenario = scenario

    def predict(self, load: Load) -> float:
        work_s = self._scenario.cost(load.frames, load.people)
        return float(self._scenario.speed.end(self.now, work_s)) - self.now

    def upper(self, load: Load) -> float:
        return self.predict(load) + 1e-7

    def observe(self, load: Load, seconds: float) -> None:
        pass


class OracleBatch(LatencyBatch):
    """It knows the cost, the speed and the people of the frames that wait; of frames to come it knows nothing."""

    cost: _TrueCost

    def __init__(self, scenario: Scenario, *, max_frames: int) -> None:
        super().__init__(scenario.budget_s, max_frames=max_frames, cost=_TrueCost(scenario))
        self._scenario = scenario

    def decide(self, now: float, waiting: Sequence[Waiting], more: bool) -> Decision:
        self.cost.now = now
        self._alone.clear()
        known = {dataclasses.replace(w, people=self._shown(w)): w for w in waiting}
        decision = super().decide(now, tuple(known), more)
        if isinstance(decision, Take):
            return Take(frames=tuple(known[w] for w in decision.frames), drop=tuple(known[w] for w in decision.drop))
        return decision

    def _longest_waiting(self, now: float, live: Sequence[Waiting]) -> Waiting | None:
        # Only what is in time counts; nobody has to be kept from starving.
        return None

    def _shown(self, frame: Waiting) -> float:
        stream = int(frame.stream.removeprefix("s"))
        # The virtual clock adds up its jumps, with rounding.
        index = int(np.searchsorted(self._scenario.arrivals_s[stream], frame.captured_at + 1e-7)) - 1
        return float(self._scenario.people[stream][index])
