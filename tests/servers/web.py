"""A web server that serves a picture that moves (MJPEG), and one that sends what is no video."""

from __future__ import annotations

import http.server
import os
import socket
import threading
import time
from typing import Self

import cv2
import numpy as np


class _Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "multipart/x-mixed-replace; boundary=frame")
        self.end_headers()
        picture = np.zeros((120, 160, 3), np.uint8)
        for i in range(100_000):
            if self.server.stopping:  # type: ignore[attr-defined]
                return
            picture[:] = i % 256
            data = cv2.imencode(".jpg", picture)[1].tobytes()
            if self.server.ruined:  # type: ignore[attr-defined]
                data = os.urandom(len(data))
            try:
                self.wfile.write(
                    b"--frame\r\nContent-Type: image/jpeg\r\nContent-Length: %d\r\n\r\n%b\r\n" % (len(data), data)
                )
            except OSError:
                return
            time.sleep(0.03)

    def log_message(self, *_: object) -> None:
        pass


class _Server(http.server.ThreadingHTTPServer):
    daemon_threads = True
    allow_reuse_address = True
    stopping = ruined = False


class MjpegServer:
    """Serves at any path; its connections end with it."""

    def __init__(self, port: int = 0) -> None:
        self._server = _Server(("127.0.0.1", port), _Handler)
        self.port = self._server.server_address[1]
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
        self._thread.start()

    def ruin(self, ruined: bool) -> None:
        """Parts come as before, but what is in them is no picture."""
        self._server.ruined = ruined

    def stop(self) -> None:
        self._server.stopping = True
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


class GarbageServer:
    """Takes every connection, sends random bytes, and closes it."""

    def __init__(self, port: int = 0) -> None:
        self._socket = socket.create_server(("127.0.0.1", port))
        self.port = self._socket.getsockname()[1]
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        while True:
            try:
                connection, _ = self._socket.accept()
            except OSError:
                return
            with connection:
                try:
                    connection.settimeout(1)
                    connection.recv(4096)
                    connection.sendall(os.urandom(20_000))
                except OSError:
                    continue

    def close(self) -> None:
        self._socket.shutdown(socket.SHUT_RDWR)
        self._socket.close()
        self._thread.join()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
