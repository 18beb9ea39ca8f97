"""The near end of a process that brings encoded video to a media server."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from pathlib import Path

from streampose.errors import SinkAway, StreamposeError
from streampose.redaction import spaced
from streampose.sinks import relay_process
from streampose.sinks.film import Film
from streampose.sinks.relay_process import HEADER
from streampose.worker import begin

__all__ = ["FORMATS", "Relay"]

FORMATS = {"rtsp": "rtsp", "rtsps": "rtsp", "rtmp": "flv", "rtmps": "flv"}
"""By the scheme of a URL."""
# TCP, because UDP packets that are lost are lost for every viewer; every packet at once.
_OPTIONS = {
    "rtsp": {"rtsp_transport": "tcp"},
    "flv": {"flvflags": "no_duration_filesize", "flush_packets": "1"},
}


class Relay:
    """One connection to a media server, from its first packet on; `relay_process` says why it is a process.

    Args:
        url: of the stream there. It goes through the pipe: everybody sees a command line.
        film: the video.
        timeout_s: for each step of the connection.

    Raises:
        SinkAway: the process cannot be started.
    """

    def __init__(self, url: str, film: Film, *, timeout_s: float) -> None:
        assert film.size_px is not None
        container = FORMATS[url.partition("://")[0].lower()]
        asked = {
            "url": spaced(url),
            "format": container,
            "options": _OPTIONS[container],
            "time_base": film.time_base.as_integer_ratio(),
            "rate": film.rate.as_integer_ratio(),
            "width": film.size_px[0],
            "height": film.size_px[1],
            "timeout_s": timeout_s,
        }
        self._sent = self._taken = 0
        self._ended = False
        self._words = "the connection ended"
        self._changed = threading.Condition()
        # -P: the script's folder is not where modules are looked for. A session of its own: Ctrl-C is for the parent.
        command = [sys.executable, "-P", str(Path(relay_process.__file__))]
        try:
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                start_new_session=True,
                bufsize=0,
            )
        except OSError as error:
            raise SinkAway(f"no process can be started: {error.strerror}") from error
        self._reader = threading.Thread(target=self._read, name="streampose-relay", daemon=True)
        try:
            begin(self._reader)
        except StreamposeError:
            self._process.kill()
            self._process.communicate()
            raise
        self._head = json.dumps(asked).encode() + b"\n"

    @property
    def outstanding(self) -> int:
        """Packets that were handed over and have not left."""
        return self._sent - self._taken

    def send(self, data: bytes, pts: int, *, is_key: bool) -> None:
        """Hand over one packet.

        Raises:
            SinkAway: the connection ended.
        """
        self._sent += 1
        head, self._head = self._head, b""
        self._write(head + HEADER.pack(pts, is_key, len(data)) + data)

    def all_sent(self, timeout_s: float) -> bool:
        """Whether everything has left, or has after so many seconds.

        Raises:
            SinkAway: the connection ended.
        """
        with self._changed:
            done = self._changed.wait_for(lambda: self._taken == self._sent or self._ended, timeout_s)
            if self._ended:
                raise SinkAway(self._words)
            return done

    def close(self, timeout_s: float) -> None:
        """End it properly within so many seconds, or at once (0)."""
        process = self._process
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            process.stdin.close()
            process.wait(timeout_s)
        except (OSError, subprocess.TimeoutExpired):
            process.kill()
            process.wait()
        self._reader.join()
        process.stdout.close()

    def _write(self, data: bytes) -> None:
        assert self._process.stdin is not None
        try:
            view = memoryview(data)
            while view:
                view = view[self._process.stdin.write(view) :]
        except OSError as error:
            self._reader.join(1.0)  # what it had to say is on its way
            raise SinkAway(self._words) from error

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            with self._changed:
                if line == b"+\n":
                    self._taken += 1
                else:
                    self._words = line.decode(errors="replace").strip()
                self._changed.notify_all()
        with self._changed:
            self._ended = True
            self._changed.notify_all()
