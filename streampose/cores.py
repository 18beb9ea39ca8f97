"""How many cores this process may use, and how its threads share them."""

from __future__ import annotations

import contextlib
import math
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import cv2

__all__ = ["available_cores", "cpu_quota", "share_cores", "stay_on_core"]

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


def available_cores() -> int:
    """How many cores this process may use: its affinity, or its quota of CPU time if that is less, rounded up.

    `taskset` and `--cpuset-cpus` set the one, `docker run --cpus`, Kubernetes' `limits.cpu` and systemd's `CPUQuota=`
    the other. More threads than the quota would all be stopped for the rest of each period (100 ms as a rule).
    """
    cores = len(_affinity())
    quota = cpu_quota()
    return cores if quota is None else min(cores, max(1, math.ceil(quota)))


def cpu_quota(root: Path = Path("/")) -> float | None:
    """CPU seconds a second that Linux's control groups let this process have; `None` = they set no bound.

    Args:
        root: where `proc` and `sys` lie.
    """
    return min(_quotas(root), default=None)


def _affinity() -> list[int]:
    """Of the main thread: engines' may be kept to a core."""
    if hasattr(os, "sched_getaffinity"):
        return sorted(os.sched_getaffinity(os.getpid()))
    return list(range(os.cpu_count() or 1))


def _quotas(root: Path) -> Iterator[float]:
    """Of the groups this process is in and of those around them, as far as they can be seen from here."""
    mounts, known = root / "sys/fs/cgroup", root / "proc/self/cgroup"
    groups = known.read_text(errors="replace").splitlines() if known.exists() else []
    for line in groups:
        hierarchy, controllers, path = [*line.split(":", 2), "", ""][:3]
        if hierarchy == "0":  # version 2, alone or beside version 1
            bases = [mounts, mounts / "unified"]
        elif "cpu" in controllers.split(","):
            bases = [mounts / controllers]
        else:
            continue
        inside = Path(path.lstrip("/"))
        # In a container the path may be the host's, while its own group is mounted as the uppermost.
        for group in (base / level for base in bases for level in (inside, *inside.parents)):
            with contextlib.suppress(OSError, ValueError, ZeroDivisionError):  # the uppermost has none, "max" is none
                yield _quota(group)


def _quota(group: Path) -> float:
    if (both := group / "cpu.max").exists():
        quota, period = both.read_text().split()
    else:
        quota, period = ((group / f"cpu.cfs_{name}_us").read_text() for name in ("quota", "period"))
    if int(quota) <= 0:
        raise ValueError("-1 is none")
    return int(quota) / int(period)


def stay_on_core(n: int) -> None:
    """Let the calling thread run on one core only; where `share_cores` was called, on Linux.

    For engines of one thread, one on each core. Each waits many times a second, for a batch or for Python's lock, and
    Linux may wake it on the other's core, where it stays for some milliseconds while its own is idle. Not where a quota
    of CPU time gives less than all of the cores: others use them, too, and might be kept to the same ones.

    Args:
        n: of the cores that the process may use, counted round.
    """
    cores = _affinity()
    if _shared and sys.platform == "linux" and available_cores() == len(cores):
        with contextlib.suppress(OSError):  # a container's rules may forbid it
            os.sched_setaffinity(0, {cores[n % len(cores)]})
