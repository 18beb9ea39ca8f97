"""The windows of this process, driven by its main thread."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Callable, Coroutine
from typing import Any, ClassVar, TypeVar

import cv2

from streampose.errors import SinkUnavailable
from streampose.preview.background import Background
from streampose.preview.display import check_screen
from streampose.preview.keys import ESCAPE, Action, action_of
from streampose.preview.view import View
from streampose.preview.x11 import before_qt_exits, let_qt_have_its_events

__all__ = ["Screen", "run_with_windows"]

T = TypeVar("T")

# How long a key or a dragged corner waits at most; a new picture wakes the loop at once.
_TICK_S = 0.01
# A run that was asked to stop by a key and does not is cancelled: its camera may be silent, and its sink never called.
_PATIENCE_S = 3.0
# Outputs have 30 s to close.
_LAST_S = 45.0
_FLAGS = cv2.WINDOW_NORMAL | cv2.WINDOW_FREERATIO | cv2.WINDOW_GUI_NORMAL


class Screen:
    """Draws views in windows on the main thread while everything else runs beside it.

    macOS wants its windows on the main thread, and Windows stops the thread of a window while that is dragged. So
    there is one way for all systems: windows here, and the event loop with its streams on another thread.
    """

    current: ClassVar[Screen | None] = None
    """The one that runs."""

    def __init__(self) -> None:
        self._views: list[View] = []
        self._changed = threading.Condition()
        self._fresh = False
        self._windows: dict[View, str] = {}
        self._sizes: dict[View, tuple[int, int]] = {}
        self._full_screen = False
        self._run: Background[Any] | None = None
        self._interrupted = False
        self.quit = False
        """Whether the viewer wants to stop."""
        self.on_quit: Callable[[], object] | None = None
        """What stops the run when the viewer wants it; called on the main thread. Sinks are told, too."""
        self.on_interrupt: Callable[[int], object] | None = None
        """What Ctrl-C does, or another signal of this number, on the main thread; by default it cancels the run."""
        self.on_model: Callable[[], None] = lambda: self.say("no other model here")
        """What the key for the next model does."""

    def add(self, view: View) -> None:
        """Open a window; from any thread."""
        view.on_change = self._wake
        with self._changed:
            if view not in self._views:
                self._views.append(view)
        self._wake()

    def remove(self, view: View) -> None:
        """Close its window; from any thread."""
        with self._changed:
            if view in self._views:
                self._views.remove(view)
        self._wake()

    def say(self, text: str) -> None:
        """Show a notice in every window."""
        for view in tuple(self._views):
            view.say(text)

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Run a coroutine in an event loop of its own beside the windows, to its end, and return what it returns.

        A key that quits, or closing a window of a stream that has not failed, raises `StopRequested` in the sinks; if
        the run does not end by that, it is cancelled.

        Raises:
            SinkUnavailable: there is no screen, or this OpenCV has no windows.
            RuntimeError: this is not the main thread, or another screen is running.
            Exception: whatever the coroutine raised.
        """
        if threading.current_thread() is not threading.main_thread() or Screen.current is not None:
            work.close()
            raise RuntimeError("windows are driven by the main thread, once at a time")
        try:
            check_screen()
        except SinkUnavailable:
            work.close()
            raise
        let_qt_have_its_events()
        Screen.current = self
        run = Background(work, self._wake)
        self._run = run
        handlers = {number: signal.signal(number, self._interrupt) for number in (signal.SIGINT, signal.SIGTERM)}
        if hasattr(signal, "SIGHUP") and signal.getsignal(signal.SIGHUP) == signal.SIG_DFL:  # under nohup it is not
            handlers[signal.SIGHUP] = signal.signal(signal.SIGHUP, self._hang_up)
        try:
            self._loop(run)
        except cv2.error as error:
            if any(map(_is_closed, self._windows.values())):  # between two calls
                self._stop()
            else:
                run.cancel()
                raise SinkUnavailable(
                    f"no window can be opened ({error.err}): is this OpenCV built without them?"
                ) from error
        finally:
            self._close_all()
            Screen.current = None
            # Ctrl-C still works on what now drains.
            run.wait()
            for number, handler in handlers.items():
                signal.signal(number, handler)
        return run.result()

    def _loop(self, run: Background[Any]) -> None:
        while not run.done and not self.quit:
            with self._changed:
                self._changed.wait_for(lambda: self._fresh, _TICK_S)
                self._fresh = False
                views = tuple(self._views)
            # Anew each time: the newest exit handler is first, and what libraries made until now is still there in it.
            with before_qt_exits(self._outlive):
                self._show(views)
            if closed := [view for view, title in self._windows.items() if _is_closed(title)]:
                self._leave(closed)

    def _show(self, views: tuple[View, ...]) -> None:
        """Open, draw and close windows until they are those of these views, and do what their keys say."""
        for view in self._windows.keys() - views:
            with contextlib.suppress(cv2.error):  # closed already
                cv2.destroyWindow(self._windows.pop(view))
        for view in views:
            if view not in self._windows:
                self._open(view)
            elif view.window_size != self._sizes[view]:
                self._resize(view)
            width, height = cv2.getWindowImageRect(self._windows[view])[2:]
            if (picture := view.draw(width, height)) is not None:
                cv2.imshow(self._windows[view], picture)
        self._handle_events()

    def _open(self, view: View) -> None:
        title = view.title
        while title in self._windows.values():
            title += "'"
        cv2.namedWindow(title, _FLAGS)
        self._windows[view] = title
        self._resize(view)
        if self._full_screen:
            cv2.setWindowProperty(title, cv2.WND_PROP_FULLSCREEN, cv2.WINDOW_FULLSCREEN)
        # It is there, with its card, before anything that takes long.
        if (picture := view.draw(*view.window_size)) is not None:
            cv2.imshow(title, picture)
        self._handle_events()

    def _handle_events(self) -> None:
        """Let the toolkit do so, which has none without windows; some may be closed afterwards."""
        if self._windows and (code := cv2.waitKeyEx(1)) != -1:
            self._press(code)

    def _resize(self, view: View) -> None:
        self._sizes[view] = view.window_size
        if not self._full_screen:
            cv2.resizeWindow(self._windows[view], *view.window_size)

    def _press(self, code: int) -> None:
        """A key acts on every window: OpenCV does not tell which one it was typed in."""
        match action_of(code):
            case None:
                return
            case Action.QUIT if self._full_screen and code & 0xFFFF == ESCAPE:
                self._toggle_full_screen()
            case Action.QUIT:
                self._stop()
            case Action.FULL_SCREEN:
                self._toggle_full_screen()
            case Action.MODEL:
                self.on_model()
            case action:
                for view in self._windows:
                    view.do(action)

    def _toggle_full_screen(self) -> None:
        self._full_screen = not self._full_screen
        for title in self._windows.values():
            mode = cv2.WINDOW_FULLSCREEN if self._full_screen else cv2.WINDOW_NORMAL
            cv2.setWindowProperty(title, cv2.WND_PROP_FULLSCREEN, mode)

    def _leave(self, closed: list[View]) -> None:
        """Windows were closed: who takes away that of a stream that failed wants to see the others."""
        if all(view.over for view in closed) and not all(view.over for view in self._views):
            for view in closed:
                del self._windows[view]  # Qt counts it twice if it is destroyed, too, and closes the others
                self.remove(view)
        else:
            self._stop()

    def _stop(self) -> None:
        self.quit = True
        if self.on_quit is not None:
            self.on_quit()
        elif self._run is not None:
            self._run.cancel(after_s=_PATIENCE_S)

    def _interrupt(self, number: int = signal.SIGINT, *_: object) -> None:
        self._interrupted = True
        if self.on_interrupt is not None:
            self.on_interrupt(number)
        elif self._run is not None:
            self._run.cancel()

    def _outlive(self) -> None:
        """The X server is gone, and the process about to end: the run is stopped before, and waited for."""
        if not self.quit and not self._interrupted:  # twice would cut it off
            self._interrupt()
        if self._run is not None:
            self._run.wait(_LAST_S)

    def _hang_up(self, number: int, _: object) -> None:
        signal.signal(number, signal.SIG_IGN)  # both the system and a shell send one
        self._interrupt()

    def _close_all(self) -> None:
        if self._windows:
            self._windows.clear()
            with contextlib.suppress(cv2.error):  # closed already
                cv2.destroyAllWindows()
                cv2.pollKey()

    def _wake(self) -> None:
        with self._changed:
            self._fresh = True
            self._changed.notify_all()


def run_with_windows(work: Coroutine[Any, Any, T]) -> T:
    """`asyncio.run` for a coroutine whose streams have a `WindowSink`: the windows get the main thread.

    Raises:
        SinkUnavailable: there is no screen.
        Exception: whatever the coroutine raised.
    """
    return Screen().run(work)


def _is_closed(title: str) -> bool:
    try:
        return cv2.getWindowProperty(title, cv2.WND_PROP_VISIBLE) < 1
    except cv2.error:  # so says Qt when it was the last one
        return True
