"""What every sink is."""

from __future__ import annotations

from typing import Protocol

from streampose.frame import StreamInfo
from streampose.result import Result

__all__ = ["Sink", "StopRequested"]


class StopRequested(Exception):
    """Raised by `Sink.write` when the person watching asks the whole run to stop (`q` in a window)."""


class Sink(Protocol):
    """Where results go. Blocking: the pipeline calls it on a thread of its own, one call at a time.

    A sink whose server may be away counts the results that it took and could not send in an attribute `unsent`, from 0
    at each `open`.
    """

    @property
    def wants_picture(self) -> bool:
        """Whether `Result.picture` must be there; if no sink of a stream wants one, nothing is drawn."""

    def open(self, stream: str, info: StreamInfo) -> None:
        """Get ready for the results of one stream.

        Raises:
            SinkUnavailable: the output cannot be opened.
        """

    def write(self, result: Result) -> None:
        """Take one result; they come in capture order.

        Raises:
            SinkFailed: the output broke. After it, only `close` is called.
            StopRequested: the person watching asks the run to stop.
        """

    def close(self) -> None:
        """Finish the output (trailers, flush). May be called at any time, also before `open` and twice.

        Raises:
            SinkFailed: the end of the output could not be written.
        """
