"""A tighter limit than `simulator.bound`: engines run whole batches, of frames that wait when the batch starts."""

from __future__ import annotations

import math

import numpy as np
from simulator import WAITING, Scenario, bound

# Steps of the shortest batch: time is rounded in the schedule's favour, so finer is tighter.
_STEPS, _MOST_SLOTS = 16, 24_000


def ceiling(scenario: Scenario, max_frames: int, *, blind: bool = False, near: int = 0, rounds: int = 80) -> int:
    """More fresh frames than these no schedule can give, even one that knows the future; at most `bound`.

    A schedule is, for each engine, batches one after the other. Each takes frames that stand in their lanes when it
    starts (captured, and not displaced by the fourth one after) and ends within the deadlines of all; it costs no less
    than its size with the fewest people that wait then. That a frame is taken once only is relaxed (Lagrange): whoever
    takes it pays its price, and what the prices bring is added to the value of the best schedule for one engine, times
    the engines. For *any* prices that is a limit; subgradient steps look for prices that make it low. The best schedule
    for given prices is a recursion over slots of time: a batch that starts within a slot counts as started at its
    beginning, may take whatever could be taken at any moment of it, and ends no later than it really would. Credits
    are left out.

    Args:
        scenario: with one budget for all.
        max_frames: of the policies compared.
        blind: as for `bound`: each size costs what frames drawn by lot cost on average.
        near: what a schedule is known to reach; the steps are sized by it.
        rounds: of lowering the prices.
    """
    s, limit = scenario, bound(scenario, max_frames, blind=blind)
    problem = _problem(s, max_frames, blind)
    if limit <= near or problem is None:
        return limit
    prices, best, scale = np.full(problem.frames, 0.5), float(limit), 1.0
    since = 0
    for _ in range(rounds):
        value, taken = problem.best_schedule(1 - prices)
        total = prices.sum() + s.engines * value
        since = 0 if total < best - 0.05 else since + 1
        best = min(best, total)
        if best < near + 1:
            break
        if since >= 5:
            scale, since = scale / 2, 0
        slope = 1 - s.engines * taken
        prices = np.clip(prices - scale * max(total - near, 1.0) / max(slope @ slope, 1.0) * slope, 0, 1)
    return min(limit, math.floor(best + 1e-6))


class _Problem:
    def __init__(self, sizes: list[int], after: np.ndarray, waiting: list[np.ndarray], frames: int) -> None:
        self.frames = frames
        self._sizes = sizes
        self._after = after  # slot × size: the slot in which the batch ends
        self._waiting = waiting  # of each size, slot × place: frames that make it in time; `frames` = none

    def best_schedule(self, worth: np.ndarray) -> tuple[float, np.ndarray]:
        """The value of one engine's best batches, and how often they take each frame."""
        worth = np.append(np.maximum(worth, 0.0), 0.0)
        values = np.empty(self._after.shape)
        for k, (n, waiting) in enumerate(zip(self._sizes, self._waiting, strict=True)):
            w = worth[waiting]
            values[:, k] = w.sum(axis=1) if n >= w.shape[1] else -np.partition(-w, n - 1, axis=1)[:, :n].sum(axis=1)
        slots = len(values)
        best, choice = [0.0] * (slots + 1), [0] * slots
        rows, afters = values.tolist(), self._after.tolist()
        for slot in range(slots - 1, -1, -1):
            most, chosen = best[slot + 1], -1
            for k, (value, after) in enumerate(zip(rows[slot], afters[slot], strict=True)):
                if (total := value + best[after]) > most:
                    most, chosen = total, k
            best[slot], choice[slot] = most, chosen
        taken, slot = np.zeros(len(worth)), 0
        while slot < slots:
            if (k := choice[slot]) < 0:
                slot += 1
                continue
            row = self._waiting[k][slot]
            np.add.at(taken, row[np.argsort(-worth[row], kind="stable")[: self._sizes[k]]], 1)
            slot = self._after[slot, k]
        taken[worth == 0] = 0
        return best[0], taken[:-1]


def _problem(s: Scenario, max_frames: int, blind: bool) -> _Problem | None:
    """`None` where it would be too large, or there is nothing to run."""
    start, end, people = [], [], []
    for arrivals, shown in zip(s.arrivals_s, s.people, strict=True):
        counted = arrivals >= s.warm_s
        own = arrivals[counted]
        start.append(own)
        end.append(np.append(own[WAITING:], [math.inf] * WAITING)[: len(own)])
        people.append(shown[counted])
    captured, displaced, shows = (np.concatenate(part) for part in (start, end, people))
    deadlines = captured + s.budget_s + 2e-9
    slot_s = s.cost(1, 0) / s.speed.fastest / _STEPS
    slots = math.ceil((deadlines.max(initial=0) - s.warm_s) / slot_s)
    if not len(captured) or slots > _MOST_SLOTS:
        return None
    begins = s.warm_s + slot_s * np.arange(slots)
    # Each frame stands in the lane in the slots from its capture until it is displaced or due.
    first = np.maximum(np.floor((captured - s.warm_s) / slot_s).astype(int), 0)
    last = np.floor((np.minimum(displaced, deadlines) - s.warm_s) / slot_s).astype(int).clip(max=slots - 1)
    spans = last - first + 1
    frame = np.repeat(np.arange(len(captured)), spans)
    at = np.repeat(first, spans) + np.arange(spans.sum()) - np.repeat(np.cumsum(spans) - spans, spans)
    order = np.argsort(at, kind="stable")
    at, frame = at[order], frame[order]
    counts = np.bincount(at, minlength=slots)
    place = np.arange(len(at)) - np.repeat(np.cumsum(counts) - counts, counts)
    waiting = np.full((slots, int(counts.max())), len(captured))
    waiting[at, place] = frame
    most = min(max_frames, waiting.shape[1])
    # Where people cost nothing, a size of a padded shape is no better than the largest of that shape.
    few = s.cost.buckets and not s.cost.per_person_s
    sizes = [n for n in range(1, most + 1) if n == most or not few or n & (n - 1) == 0]
    fewest = np.cumsum(np.sort(np.append(shows, 0)[waiting] + 1e6 * (waiting == len(captured)), axis=1), axis=1)
    drawn = np.random.default_rng(0).choice(shows, (200, max_frames)).cumsum(axis=1)
    after, makes = np.empty((slots, len(sizes)), int), []
    due = np.append(deadlines, -math.inf)[waiting]
    for k, n in enumerate(sizes):
        if blind:
            works = np.full(slots, np.mean([s.cost(n, int(p)) for p in drawn[:, n - 1]]))
        else:
            # Where fewer wait, the smaller size is better.
            table = np.array([s.cost(n, p) for p in range(int(shows.max(initial=0)) * n + 1)])
            works = table[np.minimum(fewest[:, n - 1], len(table) - 1).astype(int)]
        ends = s.speed.end(begins, works)
        after[:, k] = np.maximum(np.floor((ends - s.warm_s) / slot_s + 1e-9), np.arange(slots) + 1).clip(max=slots)
        makes.append(np.where(due >= ends[:, None], waiting, len(captured)))
    return _Problem(sizes, after, makes, len(captured))
