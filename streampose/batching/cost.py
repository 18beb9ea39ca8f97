"""What a batch costs, learned while running."""

from __future__ import annotations

from collections import defaultdict, deque
from dataclasses import dataclass
from statistics import median

__all__ = ["BatchCost", "Load"]

# From so many batches on, what was learned counts for more than a single surprise.
_SETTLED = 8
# Samples behind a size's median, the machine's speed and the margin.
_OF_A_SIZE, _RECENT, _SPREAD = 9, 9, 128
# What the curve says of a size counts as so many batches of it. Of one that was not run for so many batches nothing
# else counts: whatever was learned wrongly is tried again.
_CURVE, _FORGOTTEN = 2, 1024
# The curve forgets: what was so many batches ago counts a third.
_MEMORY = 200
# How much the curve would rather have no such part, in batches, at first: as long as only one size was run, nobody can
# tell what belongs to the batch and what to its frames, and then it is the batch's, for then larger ones are tried. It
# fades with the number of batches: a night of batches of one must not do away with what a frame costs.
_RELUCTANCE = (0.003, 0.1, 0.1, 0.1)
_SWEEPS = 6
# A batch that takes more than so much more than expected counts for less, and the first of a size, too: memory is
# claimed, a shape is planned. None teaches more than so many times what was expected.
_LONG, _FIRST, _SURPRISE = 0.25, 0.1, 3.0
# So many batches in a row that take so many times as long (or short) as the speed says: the machine has changed. More
# than one, for a neighbour's hiccup is over by the next. Smaller changes show in the median of a few, and of those the
# smallest are left to the curve.
_TURN, _LEAP = 2, 1.3
_FEW, _STEADY = 3, 1.15
# What is learned leaves this share (of the logarithm) to the speed: the rest of a speed that lasts goes into what is
# run. Without it, times that scatter would carry the two away from each other for ever, and sizes that are not run with
# the speed.
_KEPT = 0.95
# Batches of sizes that ran less often say nothing about the machine.
_SURE = 2
# After one such batch the next one is planned as if it would take as much longer; so much at most, for after a stall
# nothing would be in time.
_MOST_ALARM = 2.0
# What exceeds the most margin is a stall: nobody can plan for it, and a margin for it would cost frames all the time.
_QUANTILE, _LEAST_MARGIN, _MOST_MARGIN = 0.97, 1.02, 1.5
_LEAST_S = 1e-5


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """What a batch holds. For a batch that is not run yet, `people` is an expectation."""

    frames: int
    people: float = 0.0


class BatchCost:
    """Seconds of a batch, by its size and the people in it, times how fast the machine is now.

    - A curve for all sizes: a + b·frames + c·(places left empty up to the next power of two, for a GPU's batches are
      padded) + d·people, none of them negative, by least squares of relative errors that forget slowly. So a batch of
      any size tells about all others.
    - Each size may differ from it: by the median of its last batches, beside the curve's own word.
    - `speed`: a machine that throttles, or has a neighbour now, makes all as much slower. The median of the last few
      batches against the above tells, or two in a row that agree.
    - After a batch that took much longer than expected, `upper` is higher until one takes what was expected.
    - The margin of `upper` is a high quantile of how far predictions were exceeded lately, stalls left out.
    """

    def __init__(self) -> None:
        # A weak belief before the first batch: 10 ms a batch, 1 ms a frame.
        self._curve = [0.010, 0.001, 0.0, 0.0]
        self._sums = [[0.0] * 4 for _ in range(4)]  # of the products of what counts, by squared seconds
        self._means = [0.0] * 4  # of what counts, by seconds
        self._weight = 0.0  # of all batches in these
        self._ratios: defaultdict[int, deque[float]] = defaultdict(lambda: deque(maxlen=_OF_A_SIZE))
        self._own: dict[int, float] = {}  # size: how many times what the curve says
        self._last: dict[int, int] = {}  # size: which batch was the last of it
        self._recent: deque[float] = deque(maxlen=_RECENT)
        self._exceeded: deque[float] = deque(maxlen=_SPREAD)
        self._alarm = 1.0  # how many times as long as expected the last batch took, if that was a leap
        self.margin = 1.15
        """By how much `upper` is above `predict`."""
        self.speed = 1.0
        """How many times as long as usual batches take now."""
        self.observed = 0

    def predict(self, load: Load) -> float:
        """Expected seconds, > 0."""
        own = 1.0 if self._is_forgotten(load.frames) else self._own.get(load.frames, 1.0)
        return max(own * self._by_curve(load) * self.speed, _LEAST_S)

    def upper(self, load: Load) -> float:
        """Seconds that 97 of 100 batches of this load do not exceed, but for stalls: what a promise can be built on."""
        return self.predict(load) * max(self.margin, self._alarm)

    @property
    def settled(self) -> bool:
        """Whether there is enough experience to build on."""
        return self.observed >= _SETTLED

    @property
    def reach(self) -> int:
        """The largest size worth a guess: twice the largest that was run."""
        return 2 * max(self._last, default=1)

    def best_rate(self, most: int, within_s: float, people: float) -> float:
        """Frames a second of the best batch size.

        Args:
            most: frames a batch.
            within_s: that the batch may take; a single frame may take longer.
            people: in each frame.
        """
        costs = ((n, self.predict(Load(frames=n, people=n * people))) for n in range(1, most + 1))
        return max(n / cost for n, cost in costs if n == 1 or cost <= within_s)

    def observe(self, load: Load, seconds: float) -> None:
        """Learn from one batch that took `seconds`."""
        seconds = max(seconds, _LEAST_S)
        self.observed += 1
        exceeded, known = seconds / self.predict(load), load.frames in self._last
        if self._is_forgotten(load.frames):
            self._ratios[load.frames].clear()
        self._last[load.frames] = self.observed
        if self.settled:
            self._exceeded.append(exceeded)
            if exceeded <= _LEAP:
                self._alarm = 1.0
            elif known:
                self._alarm = min(exceeded, _MOST_ALARM)
            if len(self._ratios[load.frames]) >= _SURE:
                self.speed = self._speed_now(exceeded * self.speed)
        if self.observed == 1:
            self._curve = [seconds, 0.0, 0.0, 0.0]
        # The first batch of a size may be unlike all others: a surprise is only believed when it comes again.
        if known or self.observed == 1 or exceeded <= _LEAP:
            self._learn(load, seconds)
        if len(self._exceeded) >= 8:
            planned = sorted(e for e in self._exceeded if e < _MOST_MARGIN) or [_MOST_MARGIN]
            self.margin = max(planned[int(_QUANTILE * (len(planned) - 1))], _LEAST_MARGIN)

    def _is_forgotten(self, frames: int) -> bool:
        return self.observed - self._last.get(frames, 0) >= _FORGOTTEN

    def _by_curve(self, load: Load) -> float:
        batch, frame, empty, person = self._curve  # written out: it is asked for every size at every decision
        n = load.frames
        return max(batch + frame * n + empty * _empty(n) + person * load.people, _LEAST_S)

    def _speed_now(self, ratio: float) -> float:
        """How many times as long as usual batches take now, after one that took so many times as long."""
        self._recent.append(ratio)
        last = list(self._recent)[-_TURN:]
        if len(last) == _TURN and (min(last) > _LEAP * self.speed or max(last) < self.speed / _LEAP):
            # Two that agree are no hiccup: what was before does not count any more, and the first may have begun then.
            self._recent.clear()
            self._recent.extend([last[-1]] * _FEW)
        speed = median(self._recent) if len(self._recent) >= _FEW else 1.0
        return speed if max(speed, 1 / speed) > _STEADY else 1.0

    def _learn(self, load: Load, seconds: float) -> None:
        usual, ratios = self.predict(load), self._ratios[load.frames]
        if self.settled:
            seconds = min(max(seconds, usual / _SURPRISE), usual * _SURPRISE)
        seconds /= self.speed**_KEPT
        self._fit(load, seconds, weight=1.0 if ratios else _FIRST)
        ratios.append(seconds / self._by_curve(load))
        self._own[load.frames] = median([*ratios, *[1.0] * _CURVE])

    def _fit(self, load: Load, seconds: float, weight: float) -> None:
        """A step of non-negative least squares, by coordinate descent (Franc, Hlaváč and Navara, CAIP 2005).

        What takes longer than the rest is a hiccup and counts for less (Huber, 1964): nothing is quick by accident.
        """
        more = seconds / self._by_curve(load) - 1
        if self.observed > 3 and more > _LONG:
            weight *= _LONG / more
        x = [x / seconds for x in (1.0, load.frames, _empty(load.frames), load.people)]
        forget = 1 - 1 / _MEMORY
        for i, row in enumerate(self._sums):
            for j in range(4):
                row[j] = forget * row[j] + weight * x[i] * x[j]
            self._means[i] = forget * self._means[i] + weight * x[i]
        self._weight = forget * self._weight + weight
        curve = self._curve
        usual = self._sums[0][0] / self._weight * (_MEMORY / (_MEMORY + self.observed))
        for _ in range(_SWEEPS):
            for i, row in enumerate(self._sums):
                rest = self._means[i] - sum(row[j] * curve[j] for j in range(4) if j != i)
                curve[i] = max(rest / (row[i] + _RELUCTANCE[i] * usual), 0.0)


def _empty(frames: int) -> int:
    return (1 << (frames - 1).bit_length()) - frames
