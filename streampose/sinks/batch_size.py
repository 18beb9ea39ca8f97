"""How many lines go to a server in one batch."""

from __future__ import annotations

__all__ = ["BatchSize"]


class BatchSize:
    """Less where a batch was too much for a server: too long, or too slow to be read.

    As TCP's window it is halved by a batch that fails, and doubled by one that goes, up to half of what failed first
    after one that went: a server that only was away soon has what it took before. From there on it is one more.

    Args:
        most: lines, at the start and ever.
    """

    def __init__(self, most: int) -> None:
        self.lines = most
        """How many the next batch has, or fewer."""
        self._most = self._doubled_to = most
        self._went = True

    def went(self) -> None:
        """The server has taken a batch."""
        doubled = self.lines * 2
        self.lines = min(self._most, doubled if doubled <= self._doubled_to else self.lines + 1)
        self._went = True

    def failed(self, count: int) -> None:
        """It has not taken one of so many lines."""
        if self._went:
            self._doubled_to = max(1, self.lines // 2)
        self._went = False
        self.lines = max(1, min(self.lines, count) // 2)
