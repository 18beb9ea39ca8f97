from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

_COUNT = """
import ctypes, sys, threading
from streampose.arenas import few_arenas
done = few_arenas() if sys.argv[1] == "few" else False
kept, all_there = [], threading.Barrier(24)
libc = ctypes.CDLL(None)
libc.malloc.restype = libc.fopen.restype = ctypes.c_void_p
def work():
    kept.append([libc.malloc(5000) for _ in range(100)])
    all_there.wait()
threads = [threading.Thread(target=work) for _ in range(24)]
[thread.start() for thread in threads]
[thread.join() for thread in threads]
file = libc.fopen(sys.argv[2].encode(), b"w")
libc.malloc_info(0, ctypes.c_void_p(file))
libc.fclose(ctypes.c_void_p(file))
print(done)
"""


def arenas(tmp_path: Path, way: str, **environment: str) -> tuple[str, int]:
    """What `few_arenas` said in a process of 24 threads, and how many arenas that has."""
    ran = subprocess.run(
        [sys.executable, "-c", _COUNT, way, str(tmp_path / "info.xml")],
        env={name: value for name, value in os.environ.items() if name != "MALLOC_ARENA_MAX"} | environment,
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    return ran.stdout.strip(), (tmp_path / "info.xml").read_text().count("<heap nr=")


@pytest.mark.skipif(
    sys.platform != "linux" or "glibc" not in os.confstr("CS_GNU_LIBC_VERSION"),  # type: ignore[operator]
    reason="glibc's malloc",
)
def test_threads_share_two_arenas(tmp_path: Path):
    assert arenas(tmp_path, "few") == ("True", 2)
    assert arenas(tmp_path, "many")[1] > 2, "there is something to do"
    assert arenas(tmp_path, "few", MALLOC_ARENA_MAX="3") == ("False", 3), "who runs it has the last word"
