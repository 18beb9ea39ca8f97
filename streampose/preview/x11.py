"""Linux's screens: whether there is one, and what OpenCV's wheel does to them."""

from __future__ import annotations

import contextlib
import ctypes
import functools
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future

from streampose.worker import begin

__all__ = ["before_qt_exits", "let_qt_have_its_events", "reaches_server"]

_ANSWERS_S = 3.0


def reaches_server() -> bool:
    """Whether DISPLAY leads to an X server that lets us in and answers in time, or nobody can tell."""
    reaches: Future[bool] = Future()
    # A daemon: Xlib waits for ever for a server that is silent.
    begin(threading.Thread(target=lambda: reaches.set_result(_opens()), name="streampose-x11", daemon=True))
    try:
        return reaches.result(_ANSWERS_S)
    except TimeoutError:
        return False


def _opens() -> bool:
    try:
        x11 = ctypes.CDLL("libX11.so.6")
    except OSError:
        return True
    x11.XOpenDisplay.argtypes, x11.XOpenDisplay.restype = [ctypes.c_char_p], ctypes.c_void_p
    x11.XCloseDisplay.argtypes = [ctypes.c_void_p]
    if (display := x11.XOpenDisplay(None)) is None:
        return False
    x11.XCloseDisplay(display)
    return True


def let_qt_have_its_events() -> None:
    """Keep Xlib from taking events that are Qt's; to be called before the first window.

    OpenCV's wheel has a libX11-xcb of its own, beside the system's libX11. It knows another layout of what they share,
    so its word that events are Qt's is not found, and Xlib takes some that nobody handles then. A window that never
    hears that it is on the screen stays black for good: 9 of 36 without a window manager. The system's libX11-xcb,
    when it is loaded globally, goes before the wheel's.
    """
    if sys.platform == "linux":
        with contextlib.suppress(OSError):  # it has no X11
            ctypes.CDLL("libX11-xcb.so.1", mode=ctypes.RTLD_GLOBAL)


@functools.cache
def _glibc() -> ctypes.CDLL | None:
    """Looked up once: each look makes a class, of which only the collector of cycles is rid."""
    libc = ctypes.CDLL(None) if sys.platform == "linux" else None
    return libc if hasattr(libc, "gnu_get_libc_version") else None


@contextlib.contextmanager
def before_qt_exits(call: Callable[[], None]) -> Iterator[None]:
    """Call this before the process ends because the X server has: Qt then calls exit(), in a function of OpenCV's.

    Only C's exit handlers run then. One that is in Python must not stay until after the interpreter; glibc's can be
    taken back.
    """
    libc = _glibc()
    if libc is None:
        yield
        return
    inside = True

    def at_exit(_: int | None) -> None:
        if inside:
            call()

    handler = ctypes.CFUNCTYPE(None, ctypes.c_void_p)(at_exit)
    owner = ctypes.c_char()
    libc.__cxa_atexit(handler, None, ctypes.byref(owner))
    try:
        yield
    finally:
        inside = False
        libc.__cxa_finalize(ctypes.byref(owner))  # calls it a last time
