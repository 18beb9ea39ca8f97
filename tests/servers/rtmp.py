"""RTMP servers on loopback: nginx with its RTMP module, one that asks for a password; and somebody who publishes."""

from __future__ import annotations

import re
import shutil
import socket
import struct
import subprocess
import threading
import time
from hashlib import md5
from pathlib import Path
from typing import Self

import av
import numpy as np

_MODULE = Path("/usr/lib/nginx/modules/ngx_rtmp_module.so")
_CONFIG = """
load_module {module};
daemon off;
master_process off;
error_log stderr error;
pid {folder}/pid;
events {{ worker_connections 64; }}
rtmp {{ server {{ listen 127.0.0.1:{port}; application live {{ live on; wait_video on; wait_key on; }} }} }}
"""


def has_rtmp_server() -> bool:
    return shutil.which("nginx") is not None and _MODULE.is_file()


class RtmpServer:
    """One process; started again it listens at the same port."""

    def __init__(self, folder: Path) -> None:
        self._config = folder / "nginx.conf"
        with socket.create_server(("127.0.0.1", 0)) as probe:
            self.port: int = probe.getsockname()[1]
        self._config.write_text(_CONFIG.format(module=_MODULE, folder=folder, port=self.port))
        self.start()

    def start(self) -> None:
        self.process = subprocess.Popen(["nginx", "-c", str(self._config), "-e", "stderr"], stderr=subprocess.DEVNULL)
        until = time.monotonic() + 10
        while time.monotonic() < until:
            try:
                socket.create_connection(("127.0.0.1", self.port), timeout=1).close()
            except OSError:
                time.sleep(0.02)
            else:
                return
        raise RuntimeError("nginx does not answer")

    def url(self, key: str = "door") -> str:
        return f"rtmp://127.0.0.1:{self.port}/live/{key}"

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()


class Asking:
    """Asks for the password of "me", as Limelight's servers do: FFmpeg answers in its third connection."""

    def __init__(self) -> None:
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.address = f"127.0.0.1:{self._socket.getsockname()[1]}"
        self.answer: bytes | None = None
        """What it asked last."""
        self._thread = threading.Thread(target=self._serve, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._thread.join(10)
        self._socket.close()

    @property
    def is_over(self) -> bool:
        return not self._thread.is_alive()

    def knows(self, password: str) -> bool:
        """Whether it is what it was told."""
        assert self.answer is not None
        (nonce, proof) = re.findall(rb"cnonce=(\w+)&.*response=(\w{32})", self.answer)[0]
        who, what = _hex(f"me:live:{password}"), _hex("publish:/app/_definst_")
        return _hex(f"{who}:abc:00000001:{nonce.decode()}:auth:{what}") == proof.decode()

    def _serve(self) -> None:
        for words in ("code=403 need auth; authmod=llnw", "[ authmod=llnw ] : ?reason=needauth&nonce=abc&user=me", ""):
            with self._socket.accept()[0] as connection, connection.makefile("rb") as incoming:
                connection.settimeout(5)
                begin = incoming.read(1537)
                connection.sendall(b"\3" + bytes(1536) + begin[1:])
                incoming.read(1536)
                self.answer = b""
                while not self.answer.endswith(b"\0\0\x09"):
                    self.answer += incoming.read(1)
                self.answer = self.answer[12:].replace(b"\xc3", b"")  # between its chunks
                if words:
                    connection.sendall(_refusal(words))
                    incoming.read(1)


def _hex(text: str) -> str:
    return md5(text.encode(), usedforsecurity=False).hexdigest()


def _refusal(words: str) -> bytes:
    def text(what: str) -> bytes:
        return struct.pack(">H", len(what)) + what.encode()

    body = b"\2" + text("_error") + b"\0" + struct.pack(">d", 1.0) + b"\5\3"
    body += text("level") + b"\2" + text("error") + text("description") + b"\2" + text(words) + b"\0\0\x09"
    head = b"\3\0\0\0" + struct.pack(">I", len(body))[1:] + b"\x14" + bytes(4)
    return head + b"\xc3".join(body[at : at + 128] for at in range(0, len(body), 128))


class Publisher:
    """A camera that pushes: a moving grey, 160×120 at 30 fps, until it is stopped or the server goes away."""

    def __init__(self, url: str) -> None:
        self._url, self._stopped = url, threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def stop(self) -> None:
        self._stopped.set()
        self._thread.join()

    def _run(self) -> None:
        try:
            with av.open(self._url, "w", format="flv") as out:
                options = {"tune": "zerolatency", "preset": "ultrafast", "g": "15"}
                stream = out.add_stream("libx264", rate=30, options=options)
                stream.width, stream.height, stream.pix_fmt = 160, 120, "yuv420p"
                begin = time.monotonic()
                for i in range(10**6):
                    if self._stopped.wait(max(0.0, begin + i / 30 - time.monotonic())):
                        return
                    picture = np.full((120, 160, 3), i % 200 + 20, np.uint8)
                    out.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="bgr24")))
        except av.error.FFmpegError:
            pass  # the server was killed
