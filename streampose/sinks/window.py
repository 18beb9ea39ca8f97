"""Windows on the screen."""

from __future__ import annotations

import os
import queue
import sys
import threading
import time
from typing import ClassVar

import cv2

from streampose.errors import SinkFailed, SinkUnavailable
from streampose.frame import Image, StreamInfo
from streampose.result import Result
from streampose.sinks.sink import StopRequested

__all__ = ["WindowSink"]

_PLATFORM: str = sys.platform
_QUIT_KEYS = frozenset({ord("q"), ord("Q"), 27})


class WindowSink:
    """Shows the rendered pictures in a window; ``q``, Esc or closing it asks the run to stop.

    Every window of the process is driven by one thread, since no window toolkit can do with more. A window shows the
    newest picture and drops what comes too fast for the screen.
    """

    wants_picture = True

    def __init__(self) -> None:
        self._title: str | None = None

    def open(self, stream: str, info: StreamInfo) -> None:
        """Open the window with the first picture.

        Raises:
            SinkUnavailable: there is no screen.
        """
        if _PLATFORM == "linux" and not (os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY")):
            # Asked beforehand, because Qt does not raise an error: it ends the process.
            raise SinkUnavailable(
                "no screen here (DISPLAY is not set): leave out --show, or write to a file with --out"
            )
        if _PLATFORM == "darwin":
            raise SinkUnavailable(
                "windows on macOS have to be driven by the main thread, which is not done yet: use --out"
            )
        self._title = f"streampose: {stream}"
        _Screen.join(self._title)

    def write(self, result: Result) -> None:
        """Show one picture.

        Raises:
            SinkFailed: the screen is gone.
            StopRequested: by a key, or by closing the window.
        """
        assert self._title is not None
        assert result.picture is not None
        if _Screen.show(self._title, result.picture):
            raise StopRequested

    def close(self) -> None:
        """Close the window."""
        if self._title is not None:
            title, self._title = self._title, None
            _Screen.leave(title)


class _Screen:
    """The one thread that draws windows; it lives while there are any."""

    _lock: ClassVar[threading.Lock] = threading.Lock()
    _pictures: ClassVar[dict[str, queue.Queue[Image]]] = {}
    _thread: ClassVar[threading.Thread | None] = None
    _quit: ClassVar[threading.Event] = threading.Event()
    _error: ClassVar[cv2.error | None] = None

    @classmethod
    def join(cls, title: str) -> None:
        with cls._lock:
            cls._pictures[title] = queue.Queue(maxsize=1)
            if cls._thread is None:
                cls._quit.clear()
                cls._error = None
                cls._thread = threading.Thread(target=cls._run, name="streampose-gui", daemon=True)
                cls._thread.start()

    @classmethod
    def leave(cls, title: str) -> None:
        with cls._lock:
            cls._pictures.pop(title, None)
            thread = None if cls._pictures else cls._thread
            if thread is not None:
                cls._thread = None
        if thread is not None:
            thread.join(timeout=2)

    @classmethod
    def show(cls, title: str, picture: Image) -> bool:
        """Put a picture up, in the place of one not yet shown; whether the viewer wants to stop."""
        with cls._lock:
            slot = cls._pictures[title]
            if slot.full():
                slot.get_nowait()
            slot.put_nowait(picture)
            if cls._error is not None:
                raise SinkFailed(f"the window cannot be drawn: {cls._error}") from cls._error
        return cls._quit.is_set()

    @classmethod
    def _run(cls) -> None:
        try:
            cls._draw()
        except cv2.error as error:  # no GUI in this OpenCV, or the screen went away
            cls._error = error

    @classmethod
    def _draw(cls) -> None:
        me = threading.current_thread()
        open_titles: set[str] = set()
        while True:
            with cls._lock:
                if cls._thread is not me:
                    break
                fresh = {title: slot.get_nowait() for title, slot in cls._pictures.items() if not slot.empty()}
                gone = open_titles - cls._pictures.keys()
            for title in gone:
                cv2.destroyWindow(title)
                open_titles.discard(title)
            for title, picture in fresh.items():
                if title not in open_titles:
                    cv2.namedWindow(title, cv2.WINDOW_NORMAL | cv2.WINDOW_KEEPRATIO)
                    cv2.resizeWindow(title, *_window_size(picture))
                    open_titles.add(title)
                cv2.imshow(title, picture)
            if not open_titles:
                time.sleep(0.008)
                continue
            # Also lets the toolkit handle its events: 8 ms keep up with a 120 Hz screen.
            key = cv2.waitKey(8) & 0xFF
            closed = any(cv2.getWindowProperty(t, cv2.WND_PROP_VISIBLE) < 1 for t in open_titles)
            if key in _QUIT_KEYS or closed:
                cls._quit.set()
        cv2.destroyAllWindows()
        cv2.waitKey(1)


def _window_size(picture: Image) -> tuple[int, int]:
    """The picture's own size, or what fits a common screen."""
    height, width = picture.shape[:2]
    scale = min(1.0, 1280 / width, 800 / height)
    return round(width * scale), round(height * scale)
