"""The scenarios that batch policies are compared in."""

from __future__ import annotations

import itertools
from dataclasses import asdict, dataclass

import numpy as np
from simulator import MAX_PEOPLE, Cost, Scenario, Speed

MAX_FRAMES = 16
RATE_HZ = 30.0
# Frames of a stream in one batch, where loads are told: more of them are as old as they are many.
OF_A_STREAM = 2
LOADS = (0.1, 0.5, 0.8, 1.0, 1.3, 2.0)
PLOTTED_LOADS = (0.1, 0.3, 0.5, 0.7, 0.8, 0.9, 1.0, 1.15, 1.3, 1.6, 2.0)
ARRIVALS = ("steady", "jitter", "bursts", "mixed")
DISTURBANCES = ("none", "drift", "noise")

CURVES = {
    # A large fixed part, and shapes of powers of two.
    "gpu": Cost(base_s=0.008, per_frame_s=0.001, per_person_s=0.0003, buckets=True),
    # Next to no fixed part: batching gains little.
    "cpu": Cost(base_s=0.001, per_frame_s=0.012, per_person_s=0.004),
    # streampose-nano with one thread on an EPYC core, medians of nine: 8.5, 13.4 and 24.9 ms for 1, 2 and 4 pictures
    # of one person, of which a person takes 1.8.
    "nano": Cost(measured_s=(0.0067, 0.0098, 0.0137, 0.0177), per_person_s=0.0018),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """One scenario, in words. The curve is scaled so that the streams ask for `load` times what it can do."""

    curve: str
    load: float
    streams: int
    arrivals: str = "steady"
    people: int = 2
    """At most so many in a frame; a stream's number changes slowly."""
    budget_s: float = 0.1
    disturbance: str = "none"
    engines: int = 1
    first_times: float = 1.0
    """How many times as long the first batch of each size takes."""

    @property
    def name(self) -> str:
        return " ".join(f"{key}={value}" for key, value in asdict(self).items())

    def cost(self) -> Cost | None:
        """The curve, scaled; `None` where the budget would be below 2.5 single frames, which no policy can mend."""
        curve, asked_hz = CURVES[self.curve], RATE_HZ * self.streams
        low, high = 1e-4, 1e4
        for _ in range(60):
            middle = (low * high) ** 0.5
            low, high = (
                (middle, high) if self._capacity_hz(curve.scaled(middle)) * self.load > asked_hz else (low, middle)
            )
        # Where a curve has steps the load is up to a fifth lower than asked.
        cost = curve.scaled(low)
        fits = self.budget_s >= 2.5 * cost(1, self.people / 2) and self._capacity_hz(cost) * self.load < 1.2 * asked_hz
        return cost if fits else None

    def _capacity_hz(self, cost: Cost) -> float:
        """Frames a second in the best batches that leave a frame half of its budget for waiting."""
        costs = [cost(n, n * self.people / 2) for n in range(1, min(MAX_FRAMES, OF_A_STREAM * self.streams) + 1)]
        return max((self.engines * n / c for n, c in enumerate(costs, 1) if c <= self.budget_s / 2), default=0.0)

    def scenario(self, frames: int, seed: int = 0) -> Scenario:
        """About so many frames that count, after some that do not."""
        cost = self.cost()
        assert cost is not None
        rng = np.random.default_rng(seed)
        warm_s = 1.0 if self.streams >= 16 else 3.0
        seconds = warm_s + max(frames / (RATE_HZ * self.streams), 2.0)
        arrivals = tuple(_arrivals(self.arrivals, i, seconds, rng) for i in range(self.streams))
        return Scenario(
            cost=cost,
            budget_s=self.budget_s,
            arrivals_s=arrivals,
            people=tuple(_people(len(a), self.people, rng) for a in arrivals),
            speed=_speed(self.disturbance, warm_s, seconds + 60, cost(4, 2 * self.people), rng),
            engines=self.engines,
            warm_s=warm_s,
            first_times=self.first_times,
        )


def _arrivals(kind: str, stream: int, seconds: float, rng: np.random.Generator) -> np.ndarray:
    # Mixed: 30 frames a second on average.
    period_s = 1 / ((10.0, 60.0, 15.0, 25.0, 50.0, 20.0)[stream % 6] if kind == "mixed" else RATE_HZ)
    times = np.arange(rng.uniform(0, period_s), seconds, period_s)
    if kind == "jitter":
        times = np.sort(times + rng.uniform(0, 0.8 * period_s, len(times)))
    elif kind == "bursts":
        # A network that holds pictures back: three come together, 2 ms apart.
        last = times[np.minimum(np.arange(len(times)) // 3 * 3 + 2, len(times) - 1)]
        times = last + 0.002 * (np.arange(len(times)) % 3)
    return times


def _people(frames: int, most: int, rng: np.random.Generator) -> np.ndarray:
    """A walk: somebody comes or goes every other second."""
    steps = np.where(rng.uniform(size=frames) < 1 / 60, rng.choice([-1, 1], frames), 0)
    walk = rng.integers(0, most + 1) + np.cumsum(steps)
    # Reflected at 0 and at the most.
    return np.abs((walk + most) % (2 * most) - most) if most else np.zeros(frames, int)


def _speed(kind: str, start_s: float, end_s: float, batch_s: float, rng: np.random.Generator) -> Speed:
    if kind == "drift":
        # Throttled to half of its speed for the middle of the time.
        third = (end_s - 60 - start_s) / 3
        return Speed((0.0, start_s + third, start_s + 2 * third), (1.0, 0.5, 1.0))
    if kind == "noise":
        slots = np.arange(0.0, end_s, max(batch_s, 0.005))
        speeds = np.exp(rng.normal(0, 0.1, len(slots)))
        speeds[rng.uniform(size=len(slots)) < 0.01] /= 5
        return Speed(slots, speeds)
    return Speed()


def grid(quick: bool, seed: int = 1) -> list[Cell]:
    """Every curve, load and kind of arrivals; the other properties drawn by lot, the same at every run of a seed."""
    rng = np.random.default_rng(seed)
    cells = []
    for curve, arrivals, load in itertools.product(CURVES, ARRIVALS, LOADS):
        for _ in range(200):
            cell = Cell(
                curve=curve,
                load=load,
                arrivals=arrivals,
                streams=int(rng.choice([1, 2, 4, 8, 16, 32, 64], p=[0.15, 0.15, 0.2, 0.2, 0.2, 0.05, 0.05])),
                people=int(rng.choice([0, 2, 4, MAX_PEOPLE])),
                budget_s=float(rng.choice([0.033, 0.05, 0.1, 0.2, 0.5])),
                disturbance=str(rng.choice(DISTURBANCES)),
                engines=int(rng.choice([1, 1, 2])),
            )
            if cell.cost() is not None:
                cells.append(cell)
                break
    return cells[::17] if quick else cells


def plotted(quick: bool) -> list[Cell]:
    """The plain cells of the plots."""
    loads = (1.0,) if quick else PLOTTED_LOADS
    return [Cell(curve=curve, load=load, streams=16) for curve in ("gpu", "cpu") for load in loads]


def cold(quick: bool) -> list[Cell]:
    """A GPU that has to get ready for each batch size when it first comes."""
    cells = [
        Cell(curve="gpu", load=load, streams=streams, engines=engines, first_times=6.0)
        for streams, load, engines in itertools.product((8, 32, 64), (0.5, 0.9, 1.3), (1, 2))
    ]
    return [cell for cell in cells if cell.cost() is not None][: 1 if quick else None]
