"""Results to a function."""

from __future__ import annotations

from collections.abc import Callable
from inspect import iscoroutinefunction

from streampose.errors import ConfigError
from streampose.frame import StreamInfo
from streampose.result import Result

__all__ = ["CallSink"]


class CallSink:
    """Calls a function with each result, in order, on a thread of the stream's own: it may take its time.

    While it does, a live stream drops its oldest results, and a recording waits. What it returns is not looked at; it
    may raise `StopRequested`, which stops the whole run. Any other error ends its stream.

    Args:
        function: takes a `Result`.
        wants_picture: whether it looks at `Result.picture`; if nobody does, nothing is drawn.

    Raises:
        ConfigError: it is no function, or one that would have to be awaited.
    """

    def __init__(self, function: Callable[[Result], object], *, wants_picture: bool = False) -> None:
        if not callable(function):
            raise ConfigError(f"a CallSink calls a function with each result, and this is {function!r}")
        if iscoroutinefunction(function) or iscoroutinefunction(type(function).__call__):
            raise ConfigError(
                "a CallSink calls on a thread, where nobody awaits: give it a plain function, which hands over to the "
                "event loop by loop.call_soon_threadsafe"
            )
        self._function = function
        self.wants_picture = wants_picture

    def open(self, stream: str, info: StreamInfo) -> None:
        """Nothing to open."""

    def write(self, result: Result) -> None:
        """Call it.

        Raises:
            StopRequested: by the function.
            Exception: whatever else it raises; its stream fails by it.
        """
        self._function(result)

    def close(self) -> None:
        """Nothing to close."""
