"""What a measured run says: its figures, and nothing else."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

__all__ = ["Figures", "Gpu", "jain"]

# Live streams lose a frame now and then; this share of them means that the machine cannot follow.
_LOSING = 0.02


@dataclass(frozen=True, slots=True, kw_only=True)
class Gpu:
    """The GPU during the run, as its driver tells."""

    name: str
    utilisation: float
    """Mean share of the time in which anything ran on it, 0 … 1."""
    memory_peak_mb: float
    memory_mb: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """One measured run. Seconds unless the name says otherwise; `None` = not known."""

    live: bool
    budget_s: float | None = None
    """Of live streams."""
    elapsed_s: float
    captured: int
    delivered: Mapping[str, int]
    """Frames, by stream."""
    dropped: Mapping[str, int] = field(default_factory=dict)
    """Frames, by place and cause."""
    on_time: float | None = None
    """Share of the delivered frames that came within the budget."""
    latency_s: Mapping[str, float] = field(default_factory=dict)
    """``p50``, ``p90``, ``p99`` from capture to delivery."""
    stages_s: Mapping[str, float] = field(default_factory=dict)
    """What each stage takes for one frame, in the order of the way. ``wait`` is for a free engine and a batch."""
    reading: float = 0.0
    """Share of the time in which sources were reading, the mean of them. 1 = the engine waits for them."""
    source_fps: float | None = None
    """What all live sources bring together."""
    engines: int = 1
    busy: float
    """Share of the time in which the engines worked."""
    batches: Mapping[int, int] = field(default_factory=dict)
    """How many batches had so many frames."""
    max_batch: int
    """What the policy would have allowed."""
    batch_s: float | None = None
    """What a batch took, at the median."""
    people: float = 0.0
    """In one frame, on average."""
    on_gpu: bool = False
    gpu_unused: str = ""
    """Why a GPU that is there is not used; empty = there is none, or it is used."""
    decoder: str = "software"
    bound_fps: float | None = None
    """Frames a second of the engines alone, on ready tensors."""
    gpu: Gpu | None = None
    cores: float
    """CPU cores that this process may use …"""
    cores_used: float | None = None
    """… and used on average."""
    rss_peak_mb: float | None = None
    rss_growth_mb: float | None = None
    """From the middle to the last fifth of the run."""

    @property
    def frames(self) -> int:
        """Delivered by all streams."""
        return sum(self.delivered.values())

    @property
    def fps(self) -> float:
        """Delivered frames a second, all streams together."""
        return self.frames / self.elapsed_s if self.elapsed_s > 0 else 0.0

    @property
    def lost(self) -> float:
        """Share of the captured frames that were dropped."""
        return sum(self.dropped.values()) / self.captured if self.captured else 0.0

    @property
    def engine_s(self) -> float:
        """What one frame keeps one engine busy for."""
        return self.busy * self.engines * self.elapsed_s / self.frames if self.frames else 0.0

    @property
    def of_bound(self) -> float | None:
        """The rate beside that of the engines alone."""
        return self.fps / self.bound_fps if self.bound_fps else None

    @property
    def largest_batch(self) -> int:
        """The largest of which there were more than a few: one in a hundred does not count."""
        few = sum(self.batches.values()) / 100
        return max((size for size, count in self.batches.items() if count > few), default=0)

    @property
    def overloaded(self) -> bool:
        """Live streams bring more than is delivered."""
        return self.live and self.lost > _LOSING


def jain(shares: Sequence[float]) -> float:
    """Jain's index of fairness (Jain, Chiu, Hawe, DEC-TR-301, 1984): 1 = all get the same, 1/n = one gets all."""
    squares = sum(share * share for share in shares)
    return sum(shares) ** 2 / (len(shares) * squares) if squares else 1.0
