"""glibc's malloc in a process of many threads."""

from __future__ import annotations

import contextlib
import ctypes
import os
import sys

__all__ = ["few_arenas"]

_M_ARENA_MAX = -8  # of malloc.h
_ARENAS = 2


def few_arenas() -> bool:
    """Let threads share two arenas, unless the environment's ``MALLOC_ARENA_MAX`` says otherwise.

    By default there are up to eight for each core, and each keeps what was freed in it: with pictures that go from
    thread to thread, memory grows for hours. Call it before there are threads.

    Returns:
        Whether that was done: elsewhere than with glibc on Linux there is nothing to do.
    """
    if sys.platform != "linux" or "MALLOC_ARENA_MAX" in os.environ:
        return False
    with contextlib.suppress(AttributeError):  # another C library
        return bool(ctypes.CDLL(None).mallopt(_M_ARENA_MAX, _ARENAS))
    return False
