"""Signals while modules and models are loaded."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager

__all__ = ["cut_off_at_once", "end_as_first_process"]


def end_as_first_process() -> None:
    """From now on SIGTERM ends a container's first process, too, with 143, until it is given another meaning.

    The system keeps a signal whose meaning is the usual one from such a process: it would load its models, and run.
    """
    if os.getpid() == 1 and signal.getsignal(signal.SIGTERM) == signal.SIG_DFL:
        signal.signal(signal.SIGTERM, lambda *_: os._exit(143))


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
