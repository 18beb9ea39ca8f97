"""A stream's way into a window."""

from __future__ import annotations

from pathlib import Path

from streampose.errors import SinkUnavailable, SourceError
from streampose.frame import Frame, StreamInfo
from streampose.preview.display import check_screen
from streampose.preview.screen import Screen
from streampose.preview.view import View
from streampose.redaction import redact
from streampose.render import Style
from streampose.result import Result
from streampose.sinks import StopRequested
from streampose.sources import Source
from streampose.worker import Interruptible

__all__ = ["Watched", "WindowSink"]


class WindowSink:
    """Shows results in a window; ``q``, Esc or closing it asks the run to stop, ``h`` shows the other keys.

    Needs `run_with_windows` in the place of `asyncio.run`. A window shows the newest picture and passes over what
    comes too fast for the screen. What its keys change is the window alone: other outputs stay as they are.

    Args:
        mirror: show it as in a mirror, as people expect of a webcam that looks at them.
        style: what is drawn of people.
        hud: whether to show figures.
        snapshots: the folder for snapshots; by default the current one.
    """

    wants_picture = False  # the view draws, on what the viewer sees

    def __init__(
        self, *, mirror: bool = False, style: Style | None = None, hud: bool = True, snapshots: Path | None = None
    ) -> None:
        self.view = View("streampose", "stream", mirror=mirror, style=style, hud=hud, snapshots=snapshots)
        self._screen: Screen | None = None

    def open(self, stream: str, info: StreamInfo) -> None:
        """Open the window.

        Raises:
            SinkUnavailable: there is no screen, or nothing drives it.
        """
        if (screen := Screen.current) is None:  # one that runs has looked
            check_screen()
            raise SinkUnavailable(
                "windows need the main thread: run with streampose.run_with_windows(…) in the place of asyncio.run(…)"
            )
        self._screen = screen
        self.view.name, self.view.title = stream, f"streampose: {stream}"
        self.view.fit(info)
        screen.add(self.view)

    def write(self, result: Result) -> None:
        """Show one result.

        Raises:
            StopRequested: by a key, or by closing the window.
        """
        assert self._screen is not None
        self.view.show(result)
        if self._screen.quit:
            raise StopRequested

    def close(self) -> None:
        """Close the window."""
        screen, self._screen = self._screen, None
        if screen is not None:
            screen.remove(self.view)


class Watched:
    """A source whose pictures are in a view as they are read: before there are models, and results.

    Args:
        source: the source.
        view: where they are seen.
    """

    def __init__(self, source: Source, view: View) -> None:
        self.live = source.live
        self._source, self._view = source, view
        self._what = "camera" if source.live else "source"
        view.wait_for(self._what, f"opening {view.name}")

    def __getattr__(self, name: str) -> object:
        """What only some sources have, say, counts of damaged packets."""
        return getattr(self._source, name)

    def __repr__(self) -> str:
        return repr(self._source)

    def open(self, stream: str) -> StreamInfo:
        """Open the source."""
        try:
            info = self._source.open(stream)
        except SourceError as error:
            self._tell(error)
            raise
        self._view.failed = False
        self._view.wait_for(self._what, None)
        return info

    def read(self) -> Frame | None:
        """The next frame."""
        try:
            frame = self._source.read()
        except SourceError as error:
            self._tell(error)
            raise
        if frame is not None:
            self._view.show_frame(frame.develop())
        return frame

    def interrupt(self) -> None:
        """End what blocks in it, if it can."""
        if isinstance(self._source, Interruptible):
            self._source.interrupt()

    def close(self) -> None:
        """Close the source."""
        self._source.close()

    def _tell(self, error: SourceError) -> None:
        """One that is tried again is told by the view's link until then."""
        self._view.failed = True
        self._view.wait_for(self._what, f"failed: {redact(str(error))}")
