"""What every source is."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol, runtime_checkable

from streampose.frame import Frame, StreamInfo

__all__ = ["Selecting", "Source"]


class Source(Protocol):
    """Where frames come from. Blocking: the pipeline calls it on a thread of its own, one call at a time."""

    live: bool
    """A live source cannot be asked to wait: frames that are not taken in time are dropped, oldest first."""

    def open(self, stream: str) -> StreamInfo:
        """Connect, and say what is known. `stream` is the name that every `Frame` of this source shall carry.

        Raises:
            SourceError: of the kind that fits.
        """

    def read(self) -> Frame | None:
        """The next frame, or `None` at the real end (and again at every later call).

        Raises:
            SourceError: of the kind that fits. After it, only `close` may be called.
        """

    def close(self) -> None:
        """Let go of everything. May be called at any time, also before `open` and twice.

        A source whose calls can block for long has an `interrupt()`, too: it is called from another thread, before
        `close`, and ends them. A live one can be opened again after it.
        """


@runtime_checkable
class Selecting(Protocol):
    """A source that can leave out frames more cheaply than by giving them away."""

    wanted: Callable[[int, float], bool] | None
    """Asked once for each frame, in order, with its number and media time in seconds; `None` = all are wanted."""
