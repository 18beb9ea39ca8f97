"""How the threads of one process share its cores."""

from __future__ import annotations

import contextlib
import os
import sys

import cv2

__all__ = ["share_cores", "stay_on_core"]

_shared = False

# Python's default is 5 ms: so long an engine that has its batch, or its result, may wait for the event loop to let go
# of the lock. Tried by hand: eight live streams on two cores do 3 % more with 1 ms (eight pairs, 0.97 to 1.05 times).
_LOCK_S = 0.001


def share_cores() -> None:
    """For a program that is all pipeline, as the commands are; of the whole process, so a library does not do it.

    Every stage has its thread, so OpenCV gets none of its own, which would only get into the way of the engines';
    Python's lock changes hands sooner; and a pipeline may keep its engines to a core each (`stay_on_core`).
    """
    global _shared  # noqa: PLW0603 - of the whole process, as the other two are
    _shared = True
    cv2.setNumThreads(1)
    sys.setswitchinterval(_LOCK_S)


def stay_on_core(n: int) -> None:
    """Let the calling thread run on one core only; where `share_cores` was called, on Linux.

    For engines of one thread, one on each core. Each waits many times a second, for a batch or for Python's lock, and
    Linux may wake it on the other's core, where it stays for some milliseconds while its own is idle.

    Args:
        n: of the cores that the process may use, counted round.
    """
    if _shared and sys.platform == "linux":
        with contextlib.suppress(OSError):  # a container's rules may forbid it
            cores = sorted(os.sched_getaffinity(0))
            os.sched_setaffinity(0, {cores[n % len(cores)]})
