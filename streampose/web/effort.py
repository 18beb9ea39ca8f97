"""How much of this machine encoding may take, shared by all outgoing videos."""

from __future__ import annotations

from streampose.cores import available_cores

__all__ = ["Effort", "Share"]

# Of all cores: the models have the rest.
_SHARE = 0.5
_SLOWEST_FPS, _FAST_FPS = 10.0, 25.0
_SCALES = (1.0, 0.75, 0.5)
_HOLD_S = 3.0


class Effort:
    """Hands out shares of the time of the cores: fewer pictures a second first, then smaller ones.

    Args:
        cores: for this process; `None` = all that it may use.
    """

    def __init__(self, cores: float | None = None) -> None:
        self._seconds = _SHARE * (cores or available_cores())
        self._shares: set[Share] = set()

    def join(self) -> Share:
        """One more video is encoded."""
        share = Share(self)
        self._shares.add(share)
        return share

    def leave(self, share: Share) -> None:
        """One less."""
        self._shares.discard(share)

    @property
    def each(self) -> float:
        """Seconds of a core in a second, for each video."""
        return self._seconds / max(1, len(self._shares))


class Share:
    """What one video may take."""

    def __init__(self, effort: Effort) -> None:
        self._effort = effort
        self._cost_s = 0.0
        self._due = 0.0
        self._level = 0
        self._changed_at = 0.0

    @property
    def scale(self) -> float:
        """How large pictures are, of their own size."""
        return _SCALES[self._level]

    def admits(self, now: float) -> bool:
        """Whether a picture may be encoded now; if so, it counts as begun."""
        if now < self._due:
            return False
        self._due = now + self._cost_s / self._effort.each
        return True

    def spent(self, seconds: float, now: float) -> None:
        """A picture has taken so long to encode."""
        self._cost_s += 0.1 * (seconds - self._cost_s)
        fps = self._effort.each / self._cost_s if self._cost_s > 0 else _FAST_FPS
        if now - self._changed_at < _HOLD_S:
            return
        if fps < _SLOWEST_FPS and self._level + 1 < len(_SCALES):
            self._level, self._changed_at = self._level + 1, now
        elif self._level and fps * (self.scale / _SCALES[self._level - 1]) ** 2 > _FAST_FPS:
            self._level, self._changed_at = self._level - 1, now

    def leave(self) -> None:
        """This video has ended."""
        self._effort.leave(self)
