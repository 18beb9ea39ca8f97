"""Ctrl-C while modules are loaded."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["cut_off_at_once"]


@contextmanager
def cut_off_at_once() -> Iterator[None]:
    """While it lasts, Ctrl-C ends the process, with 130; unless it means something else already, or is ignored.

    A `KeyboardInterrupt` inside of a library's C code becomes an `ImportError`, or a crash.
    """
    ours = threading.current_thread() is threading.main_thread()  # no other may set handlers
    if not ours or signal.getsignal(signal.SIGINT) is not signal.default_int_handler:
        yield
        return
    signal.signal(signal.SIGINT, lambda *_: os._exit(130))
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, signal.default_int_handler)
