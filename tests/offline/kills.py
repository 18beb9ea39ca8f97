"""Runs a command again and again, killed at random moments, until it has come to its end.

A process of its own, since it forks:

    python kills.py SEED KILLS SECONDS -- ARGUMENTS…    prints how many kills there were, and the last exit code
"""

from __future__ import annotations

import os
import random
import signal
import sys
import time
from collections.abc import Sequence
from typing import Any

import streampose.offline.drawing
from streampose.cli.main import main
from streampose.offline.spool import SpoolWriter

# So that also short clips have pieces that are whole when a kill comes.
streampose.offline.drawing._PIECE = 16


def dies_after(frames: int) -> None:
    """Kill this process as soon as so many more frames have been found: a time says little on a busy machine."""
    write, left = SpoolWriter.write, iter(range(frames - 1))

    def written(*given: Any) -> None:
        write(*given)
        if next(left, None) is None:
            os.kill(os.getpid(), signal.SIGKILL)

    SpoolWriter.write = written


def child(arguments: Sequence[str], frames: int | None = None) -> int:
    pid = os.fork()
    if pid == 0:
        if frames is not None:
            dies_after(frames)
        sys.argv = ["streampose", *arguments]
        try:
            main()
        except SystemExit as end:
            os._exit(int(end.code or 0))
        os._exit(0)
    return pid


def killed_after(pid: int, seconds: float) -> int | None:
    """The exit code; `None` = it was killed."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        done, status = os.waitpid(pid, os.WNOHANG)
        if done:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.002)
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    return None


def run() -> None:
    seed, wanted, seconds = int(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3])
    arguments = sys.argv[sys.argv.index("--") + 1 :]
    random.seed(seed)
    kills, code = 0, None
    # With each kill a little more time, so that also on a busy machine it comes through all stages.
    while kills < wanted and code is None:
        if kills % 3 == 0:
            status = os.waitpid(child(arguments, random.randint(1, 20)), 0)[1]
            code = None if os.WIFSIGNALED(status) else os.waitstatus_to_exitcode(status)
            kills += code is None
            continue
        code = killed_after(child(arguments), random.uniform(0.02, seconds) * (1 + kills / wanted))
        kills += code is None
    if code is None:
        code = os.waitstatus_to_exitcode(os.waitpid(child(arguments), 0)[1])
    print(kills, code)


if __name__ == "__main__":
    run()
