"""What a batch costs, learned while running."""

from __future__ import annotations

from collections import defaultdict, deque
from dataclasses import dataclass
from statistics import fmean, median

__all__ = ["BatchCost", "Load"]

# From so many batches on, what was learned counts for more than a single surprise.
_SETTLED = 8
# A batch may take this many times what was expected before it teaches no more than that: one hiccup of the machine (a
# neighbour, a shape that is compiled) must not make the policy drop frames for seconds.
_SURPRISE = 3.0
# Samples behind the medians and the margin.
_RECENT, _PER_SHAPE, _SPREAD, _PEOPLE = 9, 9, 128, 64
# Smaller changes of speed are left to the other two: a median over a few sizes is not that exact.
_STEADY = 1.15
# So many batches in a row that take so many times as long (or short) as the speed says: the machine has changed. More
# than one, for a neighbour's hiccup is over by the next.
_TURN, _LEAP = 2, 1.3
# One such batch is no proof yet, but the next one is planned as if it would take as much longer; so much at most, for
# after a stall nothing would be in time.
_MOST_ALARM = 2.0
# What is learned of a size leaves this share (of the logarithm) to the speed: the rest of a speed that lasts goes into
# the sizes that are run. Without it, times that scatter would carry the two away from each other for ever, and sizes
# that are not run with the speed.
_KEPT = 0.95
# From so many batches of a size on, their median stands for it.
_SURE = 3
# So many differences by people make a price: of the first few batches most are unlike all others.
_SLOPES = 16
# A size counts as not run lately after so many batches, and is then thought so much cheaper: after twice as many twice
# as much, up to the most. Only after so many is it also thought to be in time by hope alone.
_FORGOTTEN, _HOPE, _MOST_HOPE, _GIVEN_UP = 64, 0.85, 0.5, 512
# What exceeds the most margin is a stall: nobody can plan for it, and a margin for it would cost frames all the time.
_QUANTILE, _LEAST_MARGIN, _MOST_MARGIN = 0.97, 1.02, 1.5


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """What a batch holds. For a batch that is not run yet, `people` is an expectation."""

    frames: int
    people: float = 0.0


class BatchCost:
    """Seconds of a batch, by its size and the people in it, times how fast the machine is now.

    - Of each size that was run, the median of its last batches: a GPU's batches are padded, so cost goes in steps, and
      some sizes just run badly. Sizes between two of these are interpolated. The first batch of a size may be unlike
      all others: it does not count if it took long, and a size of few batches is thought no dearer than smaller ones
      in turn.
    - More or less by the people: what one costs shows in the differences between batches of one size.
    - Beyond the sizes that were run, a + b·frames by recursive least squares that forget slowly.
    - `speed` is the median over the last few batches against the above: the machine throttles, or a neighbour came. Two
      batches in a row that agree on another speed are enough.
    - After a single batch that took much longer than expected, `upper` is higher until the next one.
    - The margin of `upper` is a high quantile of how far predictions were exceeded lately, stalls left out.

    A size that was not run lately counts as a little cheaper than it was, so that it is tried again now and then: where
    it is in time by what is known, or was not run for very long.

    Args:
        memory: how many batches the least squares remember, in effect.
    """

    def __init__(self, memory: int = 200) -> None:
        self._forget = 1 - 1 / memory
        # A weak belief before the first batch: 10 ms a batch, 1 ms a frame. It is wrong by 10 × either way
        # on some machine; three batches outweigh it. As long as only one size was run, nobody can tell what
        # belongs to the batch and what to the frame: then it is the batch's, for then larger ones are tried.
        self._theta = (0.010, 0.001)
        self._cov = 30.0, 0.0, 1.0  # of the batch's part, of both, of a frame's
        self._person_s = 0.0
        self._slopes: deque[float] = deque(maxlen=_PEOPLE)
        self._speeds: deque[float] = deque(maxlen=_RECENT)
        self._samples: defaultdict[int, deque[tuple[float, float]]] = defaultdict(lambda: deque(maxlen=_PER_SHAPE))
        self._exceeded: deque[float] = deque(maxlen=_SPREAD)
        self._known: dict[int, tuple[float, float]] = {}  # size: seconds at usual speed, of so many people
        self._last: dict[int, int] = {}  # size: which batch was the last of it
        self.speed = 1.0
        """How many times as long as usual batches take now."""
        self.margin = 1.15
        """By how much `upper` is above `predict`."""
        self.observed = 0
        self._alarm = 1.0  # how many times as long as expected the last batch took, if that was a leap

    def predict(self, load: Load) -> float:
        """Expected seconds, > 0; of a size that was not run lately, hoped."""
        return self.known(load) * self._hope(load.frames)

    def doubt(self, frames: int) -> float:
        """How many times as long as hoped a batch of this size takes if what is known is right."""
        return 1 / self._hope(frames) if self._age(frames) < _GIVEN_UP else 1.0

    def known(self, load: Load) -> float:
        """Expected seconds, > 0, without hope."""
        return max(self._usual(load) * self.speed, 1e-5)

    @property
    def settled(self) -> bool:
        """Whether there is enough experience to build on."""
        return self.observed >= _SETTLED

    @property
    def reach(self) -> int:
        """The largest size worth a guess: twice the largest that was run."""
        return 2 * max(self._last, default=1)

    def upper(self, load: Load) -> float:
        """Seconds that 97 of 100 batches of this load do not exceed, but for stalls: what a promise can be built on."""
        return self.predict(load) * max(self.margin, self._alarm)

    def safe(self, load: Load) -> float:
        """`upper` by what is known, where it differs from what is hoped: for frames that must not be late for hope."""
        return self.upper(load) * self.doubt(load.frames)

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
        self.observed += 1
        usual = self._usual(load)
        if self.settled:
            # Against what is known, not hoped: a trial of a forgotten size says nothing about others.
            exceeded = seconds / max(usual * self.speed, 1e-5)
            self._exceeded.append(exceeded)
            if self._is_sure(load.frames):
                self._speeds.append(seconds / usual)
            if exceeded <= _LEAP:
                self._alarm = 1.0
            elif load.frames in self._last:  # the first batch of a size may be unlike all others
                self._alarm = min(exceeded, _MOST_ALARM)
            self.speed = self._speed_now()
        # What it would have taken at the usual speed, and no more than a surprise.
        plain = seconds / self.speed**_KEPT
        if self.settled and load.frames in self._known:
            plain = min(max(plain, usual / _SURPRISE), usual * _SURPRISE)
        first = load.frames not in self._last
        self._last[load.frames] = self.observed
        # The first batch of a size may be unlike all others: memory is claimed, a shape is planned. A surprise is only
        # believed when it comes again.
        if not (first and self._known and plain > _LEAP * usual):
            self._learn(load, plain)
        if len(self._exceeded) >= 8:
            planned = sorted(e for e in self._exceeded if e < _MOST_MARGIN) or [_MOST_MARGIN]
            self.margin = max(planned[int(_QUANTILE * (len(planned) - 1))], _LEAST_MARGIN)

    def _hope(self, frames: int) -> float:
        # The longer ago, the less is known: 64 batches, 128, 256 …
        return max(_HOPE ** (self._age(frames) // _FORGOTTEN).bit_length(), _MOST_HOPE)

    def _age(self, frames: int) -> int:
        return self.observed - self._last.get(frames, self.observed)

    def _speed_now(self) -> float:
        if len(self._speeds) < 3:
            return 1.0
        last = list(self._speeds)[-_TURN:]
        if min(last) > _LEAP * self.speed or max(last) < self.speed / _LEAP:
            # Two that agree are no hiccup: what was before does not count any more, and the first may have begun then.
            self._speeds.clear()
            self._speeds.extend([last[-1]] * 3)
        speed = max(median(self._speeds), 1e-3)
        return speed if max(speed, 1 / speed) > _STEADY else 1.0

    def _usual(self, load: Load) -> float:
        """Seconds at the usual speed."""
        if load.frames in self._known:
            return self._believed(load.frames, load.people)
        below = max((n for n in self._known if n < load.frames), default=None)
        above = min((n for n in self._known if n > load.frames), default=None)
        if below is not None and above is not None:
            share = (load.frames - below) / (above - below)
            return (1 - share) * self._believed(below, load.people) + share * self._believed(above, load.people)
        a, b = self._theta
        if below is not None:
            # A larger batch is never worse than the frames that it adds one by one, and is thought no dearer.
            seconds = self._believed(below, load.people)
            return seconds + min(b, seconds / below) * (load.frames - below)
        seconds = max(a + b * load.frames + self._person_s * load.people, 1e-5)
        return seconds if above is None else min(seconds, self._believed(above, load.people))

    def _believed(self, frames: int, people: float) -> float:
        """Of a size that was run.

        Few batches may all have been hiccups: a size is then thought no dearer than a larger one, and than smaller ones
        that are known well, one after the other.
        """
        own = self._at(frames, people)
        if self._is_sure(frames):
            return own
        larger = [self._at(n, people) for n in self._known if n > frames]
        smaller = [n for n in self._known if n < frames and self._is_sure(n)]
        return min([own, *larger, *(self._at(n, people * n / frames) * frames / n for n in smaller)])

    def _is_sure(self, frames: int) -> bool:
        return len(self._samples[frames]) >= _SURE

    def _at(self, frames: int, people: float) -> float:
        """As the batches of a size that was run say, with another number of people."""
        seconds, usual_people = self._known[frames]
        return max(seconds + self._person_s * (people - usual_people), 0.2 * seconds, 1e-5)

    def _learn(self, load: Load, seconds: float) -> None:
        samples = self._samples[load.frames]
        if samples and (more := load.people - samples[-1][1]):
            # What a person costs shows in batches of one size.
            self._slopes.append((seconds - samples[-1][0]) / more)
            # The middle half: hiccups are at the ends.
            if len(self._slopes) >= _SLOPES:
                quarter = len(self._slopes) // 4
                self._person_s = max(fmean(sorted(self._slopes)[quarter:-quarter]), 0.0)
        samples.append((seconds, load.people))
        usual_people = sum(people for _, people in samples) / len(samples)
        plain = [took - self._person_s * (people - usual_people) for took, people in samples]
        usual = median(plain) if self._is_sure(load.frames) else min(plain)
        self._known[load.frames] = max(usual, 1e-5), usual_people
        # Plain numbers: for two by two, calling NumPy takes longer than the work.
        (a, b), (aa, ab, bb), n = self._theta, self._cov, load.frames
        to_a, to_b = aa + ab * n, ab + bb * n
        total = self._forget + to_a + to_b * n
        step = (seconds - self._person_s * load.people - (a + b * n)) / total
        # No part of a batch takes less than no time: keeps predictions sane outside the sizes seen so far.
        self._theta = max(a + to_a * step, 0.0), max(b + to_b * step, 0.0)
        aa, ab, bb = (
            (p - q) / self._forget for p, q in ((aa, to_a**2 / total), (ab, to_a * to_b / total), (bb, to_b**2 / total))
        )
        # Without a bound, what is never excited (always the same size) grows for ever by forgetting.
        if aa + bb < 1e3:
            self._cov = aa, ab, bb
