"""The policy that keeps a latency budget."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Sequence
from functools import partial

from streampose.batching.cost import BatchCost, Load
from streampose.batching.plans import at_first_turns, freshest_first, in_time, one_after_the_other, then_the_rest
from streampose.batching.policy import IN_TIME, Decision, Take, Wait, Waiting, check_budget, check_size

__all__ = ["LatencyBatch"]

# A stream that has offered nothing for so long does not count as load.
_GONE_S = 1.0
# A stream of which nothing could be in time for so long, and for so many fair rounds of all streams, gets a late frame.
_STARVED_S, _STARVED_ROUNDS = 1.0, 2
# Where even a frame alone is late, it may be, but not later after it comes than so many times what it takes: the batch
# that runs then, and its own.
_LATE = 2
# A stream that lacks so many frames of its share is behind; one, but for rounding.
_BEHIND = 1 - 1e-6
# Share of the engines' capacity from which on engine time has a price, and from which on it is all that counts.
_BUSY, _FULL = 0.85, 1.1
# Budgets of so small a share of others' force small batches; what was taken lately, for so long, says what the engines
# can do with these. If so much less is taken than comes, they are busy.
_SHORT, _LATELY_S, _LEAST_S, _SLACK = 0.75, 1.0, 0.5, 0.15
# A free engine waits no longer than this share of the budget for frames that are due, which may be a little late.
_PATIENCE, _LATENESS_S = 0.1, 0.002
# An offline batch keeps the engine from live frames for no more than this share of their budget.
_OFFLINE_SHARE = 0.25


class LatencyBatch:
    """As many frames as pay, all within their deadlines, by the learned cost of a batch.

    Each possible size is a plan: a batch of that size now, and what would then still be in time. The plan with the
    highest value wins:

        frames in time − price · engine seconds − a little · their mean latency

    - *Idle or busy* (the streams bring less than the engines can do): the price is 0, or low. What is left goes in one
      batch or in batches of the same size. As many frames as possible are in time; among plans that are equal in that
      the lowest mean latency wins, which is one batch of all where a batch costs much and a frame little, and small
      batches where it is the other way round. A free engine waits only for frames that are due any moment and would be
      lost behind this batch, but not in it (cameras in step, a tight budget): at low load that gives batches of one,
      and under load frames gather while it is busy.
    - *Overload*: a second of engine time is worth the frames of the best batch size that the budget allows. A
      batch is then as large as pays, and old frames that would force a small one are given up. Where more waits than
      can be done in time, of each stream the freshest frame goes first.

    Frames that cannot make their deadline any more are dropped before they cost anything. When even a fresh frame alone
    cannot make it (the model is slower than the budget), it has twice what it takes, from when it comes: a late
    skeleton is better than none. Where a crowded machine decodes a stream late, its frames have, from when they come,
    what one takes and as much again as they were late, but no more than twice what one takes: else it would get nothing
    beside streams that come sooner.
    A stream whose whole budget is shorter than the batches that pay gets one that holds its deadline when it lacks a
    frame of its share. The stream that has waited longest gets a late frame if nothing of it could be in time for a
    second and two fair rounds: its frames always come when a batch has begun.
    Offline frames fill what is left: a batch grows by them as long as it keeps the live frames' deadlines and takes no
    more than a quarter of the budget.

    Args:
        budget_s: from capture to result, for live streams that name no budget of their own.
        max_frames: no batch holds more.
        cost: the cost model; a fresh one by default.

    Raises:
        ConfigError: a budget that is not positive, or a size that is not a whole number from 1 on.
    """

    depth = IN_TIME

    def __init__(self, budget_s: float = 0.1, *, max_frames: int = 16, cost: BatchCost | None = None) -> None:
        check_size(max_frames)
        check_budget(budget_s)
        self.budget_s = budget_s
        self.max_frames = max_frames
        self.cost = cost or BatchCost()
        self._streams: dict[str, tuple[float, float, Waiting]] = {}  # live: interval of frames, last offered, newest
        self._served: dict[str, float] = {}  # live: when a frame was last taken, or the first one came
        self._starving: Waiting | None = None
        self.engines = 1
        self._in_flight: list[int] = []  # frames of each batch
        self._ran_at = -math.inf
        self._taken: deque[tuple[float, int]] = deque()  # when, and how many live frames
        self._waits_since: float | None = None  # for frames that are due; no other one makes it longer
        self._alone: dict[float, float] = {}  # people: seconds of such a frame alone, until more is learned

    def decide(self, now: float, waiting: Sequence[Waiting], more: bool) -> Decision:
        """Drop what is lost, take the batch of the best plan."""
        if not waiting:
            return Wait()
        live = [w for w in waiting if w.live]
        while self._taken and now - self._taken[0][0] > _LATELY_S:
            self._taken.popleft()
        self._streams = {name: seen for name, seen in self._streams.items() if now - seen[1] < _GONE_S}
        self._streams |= {w.stream: (w.period_s, now, w) for w in live}
        self._served = {name: self._served.get(name, now) for name in self._streams}
        self._starving = self._longest_waiting(now, live)
        lost = [w for w in live if self._is_lost(now, w)]
        if lost and len(lost) == len(live) and not self._in_flight and now - self._ran_at > self.budget_s:
            # All are thought lost, and nobody would ever learn that the machine has become faster: try the freshest.
            lost.remove(max(live, key=lambda w: w.deadline))
        left = at_first_turns(live, lost)
        taken: list[Waiting] = []
        if left:
            taken = self._best(now, left, self._load(now, left))
        if taken and not lost and (until := self._company_at(now, taken)) is not None:
            self._waits_since = now if self._waits_since is None else self._waits_since
            return Wait(until=until)
        if len(taken) == len(left):
            taken += self._filling(now, taken, [w for w in waiting if not w.live])
        # What is older than a frame of its stream that goes now would come out after it: given up.
        chosen, newest = set(taken), {w.stream: w.captured_at for w in sorted(taken, key=lambda w: w.captured_at)}
        passed = [w for w in left if w not in chosen and w.captured_at < newest.get(w.stream, -math.inf)]
        if taken:
            self._in_flight.append(len(taken))
            self._ran_at, self._waits_since = now, None
            self._served |= {w.stream: now for w in taken if w.live}
            self._taken.append((now, sum(w.live for w in taken)))
        return Take(frames=tuple(sorted(taken, key=waiting.index)), drop=(*lost, *passed))

    def observe(self, load: Load, seconds: float) -> None:
        """Feed the cost model."""
        if load.frames in self._in_flight:
            self._in_flight.remove(load.frames)
        self.cost.observe(load, seconds)
        self._alone.clear()

    def expected_s(self, load: Load) -> float:
        """How long a batch will probably take."""
        return self.cost.predict(load)

    def _is_lost(self, now: float, frame: Waiting) -> bool:
        return now + self._alone_s(frame) > self._deadline(frame)

    def _deadline(self, frame: Waiting) -> float:
        """Its own, or the one that the model can keep."""
        if frame is self._starving:
            return math.inf
        alone_s = self._alone_s(frame)
        comes_at = frame.captured_at + frame.lag_s
        if alone_s > frame.deadline - frame.captured_at:
            return comes_at + _LATE * alone_s
        # A stream that is decoded late would have an instant, or none, to be taken in.
        return max(frame.deadline, comes_at + alone_s + min(alone_s, frame.lag_s))

    def _longest_waiting(self, now: float, live: Sequence[Waiting]) -> Waiting | None:
        """The newest frame of the stream that has not been served for longest, if that is too long."""
        newest = min(
            {w.stream: w for w in live if w.behind >= _BEHIND}.values(),
            key=lambda w: self._served[w.stream],
            default=None,
        )
        if newest is None or (waits_s := now - self._served[newest.stream]) <= _STARVED_S:
            return None
        round_s = len(self._served) / self._capacity([newest])
        return newest if waits_s > _STARVED_ROUNDS * round_s else None

    def _alone_s(self, frame: Waiting) -> float:
        if frame.people not in self._alone:
            self._alone[frame.people] = self.cost.predict(Load(frames=1, people=frame.people))
        return self._alone[frame.people]

    def _load(self, now: float, live: Sequence[Waiting]) -> float:
        """What the live streams bring, as a share of what the engines can do within the budget, or did lately."""
        if not self.cost.settled:
            return 0.0
        brought = sum(1 / period for period, _, _ in self._streams.values() if period > 0)
        load, done = brought / self._capacity(live), sum(frames for _, frames in self._taken)
        budgets_s = [newest.deadline - newest.captured_at for _, _, newest in self._streams.values()]
        if done and min(budgets_s) < _SHORT * max(budgets_s) and (seconds := now - self._taken[0][0]) >= _LEAST_S:
            load = max(load, brought * seconds / done - _SLACK)
        return load

    def _capacity(self, live: Sequence[Waiting]) -> float:
        """Frames a second that the engines can do within the budget."""
        people = sum(w.people for w in live) / len(live)
        # A frame may have to wait for a batch before it gets into one: half of the budget each.
        within_s = sum(w.deadline - w.captured_at for w in live) / len(live) / 2
        return self.engines * self.cost.best_rate(min(self.max_frames, self.cost.reach), within_s, people)

    def _best(self, now: float, frames: Sequence[Waiting], load: float) -> list[Waiting]:
        """The first batch of the best plan, from frames in the order of their claim."""
        people = sum(w.people for w in frames) / len(frames)
        # Streams have few credits: a batch that took all of them would leave the other engines without work.
        share = math.ceil((len(frames) + sum(self._in_flight)) / self.engines)
        most = min(len(frames), self.max_frames, self.cost.reach, share)
        costs = [0.0] + [self.cost.upper(Load(frames=n, people=n * people)) for n in range(1, most + 1)]
        rate = max(n / cost for n, cost in enumerate(costs) if n)
        price = rate * min(max((load - _BUSY) / (_FULL - _BUSY), 0.0), 1.0)
        due = [self._deadline(w) - now for w in frames]
        if load >= _FULL and len(frames) > rate * self.engines * min(due):
            # There is more than can be done in time: of each stream the frame that has most time goes first.
            frames = freshest_first(frames)
            due = [self._deadline(w) - now for w in frames]
        ordered = sorted(due)
        sizes = [n for n in range(1, most + 1) if in_time(ordered, costs[n]) >= n]
        value = partial(self._value, costs=costs, due=ordered, price=price, full=load >= _FULL)
        best = max(sizes, key=value, default=1)
        budget_s = frames[0].deadline - frames[0].captured_at
        if frames[0].behind >= _BEHIND and self._alone_s(frames[0]) <= budget_s < costs[best]:
            # A stream whose whole budget is shorter than the batches that pay is never in one: now it has its turn.
            best = max((n for n in sizes if costs[n] <= due[0]), key=value, default=best)
        fits = [(w, left) for w, left in zip(frames, due, strict=True) if left >= costs[best]]
        if load < _FULL:
            # Whoever would be late in the next batch goes first, or would have lost its place by then.
            later = costs[best] + costs[min(max(len(fits) - best, 0), most)]
            ends_at = now + costs[best]
            fits.sort(key=lambda fit: fit[1] >= later and fit[0].overrun_at >= ends_at and fit[0] is not self._starving)
        taken = fits[:best]
        # These very frames may show more people than most.
        while len(taken) > 1 and self._seconds([w for w, _ in taken]) > min(left for _, left in taken):
            taken.pop()
        return [w for w, _ in taken] or [frames[0]]

    def _seconds(self, batch: Sequence[Waiting]) -> float:
        return self.cost.upper(Load(frames=len(batch), people=sum(w.people for w in batch)))

    def _value(self, n: int, costs: Sequence[float], due: Sequence[float], price: float, full: bool) -> float:
        value = then_the_rest(n, costs, due, price)
        # At the full price no batch is worth more than it costs: those that come later add nothing.
        return value if full else max(value, one_after_the_other(n, costs, due, price))

    def _company_at(self, now: float, taken: Sequence[Waiting]) -> float | None:
        """When frames will be here that are due any moment, and would be lost behind this batch but not in it."""
        if not self.cost.settled:
            return None
        here = {w.stream for w in taken}
        longest_s = _PATIENCE * min(w.deadline - w.captured_at for w in taken)
        latest = longest_s + (now if self._waits_since is None else self._waits_since)
        coming = []
        for name, (period_s, _, newest) in self._streams.items():
            at = newest.captured_at + period_s
            if name not in here and period_s > 0 and now < at + _LATENESS_S <= latest:
                coming.append((at, newest.deadline + period_s))
        n = len(taken)
        coming = sorted(coming)[: max(min(self.max_frames, self.cost.reach) - n, 0)]
        if not coming:
            return None
        k, each = len(coming), sum(w.people for w in taken) / n
        alone_s, company_s, together_s = (self.cost.upper(Load(frames=m, people=m * each)) for m in (n, k, n + k))
        until = max(at for at, _ in coming) + _LATENESS_S
        lost_behind = now + alone_s + company_s > min(due for _, due in coming)
        return until if lost_behind and until + together_s <= min(self._deadline(w) for w in taken) else None

    def _filling(self, now: float, taken: Sequence[Waiting], offline: Sequence[Waiting]) -> list[Waiting]:
        """Offline frames for the room that is left."""
        room = self.max_frames - len(taken)
        if not self._streams:
            return list(offline[:room])
        limit = min([self._deadline(w) - now for w in taken] + [_OFFLINE_SHARE * self.budget_s])
        people, filling = sum(w.people for w in taken), list[Waiting]()
        for frame in offline[:room]:
            people += frame.people
            size = len(taken) + len(filling) + 1
            if self.cost.upper(Load(frames=size, people=people)) > limit and (taken or filling):
                break
            filling.append(frame)
        return filling
