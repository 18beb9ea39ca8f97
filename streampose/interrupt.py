"""Signals while modules and models are loaded."""

from __future__ import annotations

import os
import re
import signal
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

__all__ = ["cut_off_at_once", "end_as_first_process", "keep_hang_ups", "let_hang_ups_come"]

# `run` with a file, whatever options stand before it.
_WITH_FILE = re.compile(r"(?:-\S+ |(?:text|json|debug|info|warning|error) )*run (?:.* )?--config[ =]")


class _Kept:
    """A handler that keeps a signal for the next one. It cannot be blocked: there are other threads already."""

    came = False

    def __call__(self, *_: object) -> None:
        self.came = True


_kept = _Kept()


def keep_hang_ups(words: Sequence[str]) -> None:
    """From now on SIGHUP waits until it has a meaning, where these words give it one: a file is read again.

    The usual one would end a service that is told to reload while it starts.
    """
    usual = hasattr(signal, "SIGHUP") and signal.getsignal(signal.SIGHUP) == signal.SIG_DFL
    if usual and _WITH_FILE.match(" ".join(words)):
        signal.signal(signal.SIGHUP, _kept)


def let_hang_ups_come() -> None:
    """From now on, and if one was kept at once, SIGHUP does what it means: the usual, if nothing else."""
    if not hasattr(signal, "SIGHUP"):
        return
    if signal.getsignal(signal.SIGHUP) is _kept:
        signal.signal(signal.SIGHUP, signal.SIG_DFL)
    if _kept.came:
        _kept.came = False
        os.kill(os.getpid(), signal.SIGHUP)


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
