"""A name service (DNS) of one's own: root on Linux, in a mount namespace of its own, can make it the system's."""

from __future__ import annotations

import os
import shutil
import socket
import struct
import subprocess
import sys
import tempfile
import threading
from pathlib import Path

# One for each process.
_ADDRESS = f"127.77.{os.getpid() % 250}.53"
_INSIDE = "STREAMPOSE_OWN_MOUNTS"
_NO_ERROR, _SERVER_FAILURE, _NO_SUCH_NAME = 0, 2, 3
_A = 1


def possible() -> bool:
    return os.name == "posix" and os.geteuid() == 0 and shutil.which("unshare") is not None


def enter() -> None:
    """Begin this program again where mounts are its own: what it mounts nobody else sees, and it ends with it."""
    if possible() and _INSIDE not in os.environ:
        os.environ[_INSIDE] = "1"
        os.execvp("unshare", ["unshare", "--mount", "--propagation", "private", sys.executable, *sys.argv])


class NameServer:
    """Says that every host is this machine; or that it is none, or that it cannot say; or nothing at all.

    Raises:
        RuntimeError: `enter` was not called, so that this would be everybody's name service.
        OSError: port 53 is taken.
    """

    def __init__(self) -> None:
        if _INSIDE not in os.environ:
            raise RuntimeError("not in a mount namespace of its own")
        self.silent = False
        self.code = _NO_ERROR
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.bind((_ADDRESS, 53))
        self._thread = threading.Thread(target=self._run, name="names", daemon=True)
        self._thread.start()
        self._folder = Path(tempfile.mkdtemp())
        (settings := self._folder / "resolv.conf").write_text(f"nameserver {_ADDRESS}\n")
        subprocess.run(["mount", "--bind", str(settings), "/etc/resolv.conf"], check=True)

    def fail(self, failing: bool) -> None:
        """It cannot say (SERVFAIL)."""
        self.code = _SERVER_FAILURE if failing else _NO_ERROR

    def forget(self, forgotten: bool) -> None:
        """There is no such host (NXDOMAIN)."""
        self.code = _NO_SUCH_NAME if forgotten else _NO_ERROR

    def hush(self, silent: bool) -> None:
        """It does not answer."""
        self.silent = silent

    def close(self) -> None:
        subprocess.run(["umount", "/etc/resolv.conf"], check=True)
        shutil.rmtree(self._folder)
        self._socket.sendto(b"", (_ADDRESS, 53))
        self._thread.join()
        self._socket.close()

    def _run(self) -> None:
        while query := self._socket.recvfrom(512):
            data, client = query
            if not data:
                return
            if not self.silent:
                self._socket.sendto(self._answer(data), client)

    def _answer(self, query: bytes) -> bytes:
        end = query.index(0, 12) + 5
        wanted = int.from_bytes(query[end - 4 : end - 2])
        found = wanted == _A and self.code == _NO_ERROR
        # A response to a recursive query, with the question and perhaps one answer: its name is the question's, it
        # is valid for 0 s.
        head = query[:2] + struct.pack(">HHHHH", 0x8180 | self.code, 1, int(found), 0, 0)
        answer = struct.pack(">HHHIH4B", 0xC00C, _A, 1, 0, 4, 127, 0, 0, 1) if found else b""
        return head + query[12:end] + answer
