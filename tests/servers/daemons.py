"""Real servers that outputs send to, as processes that can be paused, killed and started again at the same port."""

from __future__ import annotations

import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        return int(taken.getsockname()[1])


_running: list[Daemon] = []


@pytest.fixture(autouse=True)
def no_daemon_is_left() -> Iterator[None]:
    """For the modules that import it: what a test has started ends with it, also where it fails."""
    yield
    while _running:
        _running[-1].kill()


class Daemon:
    """One server process. Started again after `kill`, it listens at the same port."""

    def __init__(self, program: str, *arguments: str, port: int) -> None:
        self._command = [_find(program), *arguments]
        self.port = port
        self.start()

    def start(self) -> None:
        self.process = subprocess.Popen(self._command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        _running.append(self)
        deadline = time.monotonic() + 20
        while True:
            assert self.process.poll() is None, f"{self._command} ended at once"
            try:
                socket.create_connection(("127.0.0.1", self.port), timeout=1).close()
            except OSError:
                assert time.monotonic() < deadline, f"{self._command} does not listen"
                time.sleep(0.02)
            else:
                return

    def pause(self) -> None:
        """It is silent, but its connections stay open."""
        self.process.send_signal(signal.SIGSTOP)

    def go_on(self) -> None:
        self.process.send_signal(signal.SIGCONT)

    def kill(self) -> None:
        if self in _running:
            _running.remove(self)
            self.process.kill()
            self.process.wait()


def _find(program: str) -> str:
    found = shutil.which(program) or shutil.which(program, path="/usr/sbin:/usr/local/sbin")
    if found is None:
        pytest.skip(f"{program} is not on this machine")
    return found


def mosquitto(folder: Path, *lines: str, port: int | None = None) -> Daemon:
    """An MQTT broker; by default anybody may come."""
    port = free_port() if port is None else port
    config = folder / f"mosquitto-{port}.conf"
    config.write_text(
        "\n".join([f"listener {port} 127.0.0.1", "user root", *(lines or ["allow_anonymous true"])]) + "\n"
    )
    return Daemon("mosquitto", "-c", str(config), port=port)


def redis_server(folder: Path, *arguments: str, port: int | None = None) -> Daemon:
    """A Redis that keeps everything in a file, so that a kill loses nothing it has acknowledged."""
    port = free_port() if port is None else port
    listen = [] if "--tls-port" in arguments else ["--port", str(port)]
    always = ["--appendonly", "yes", "--appendfsync", "always", "--dir", str(folder), "--bind", "127.0.0.1"]
    return Daemon("redis-server", *listen, *always, *arguments, port=port)


def webhook_server(folder: Path, *certificate: str, port: int | None = None) -> Daemon:
    """A web server that appends what it gets to ``webhook.jsonl``."""
    port = free_port() if port is None else port
    script = Path(__file__).with_name("webhook_server.py")
    return Daemon(sys.executable, str(script), str(port), str(folder / "webhook.jsonl"), *certificate, port=port)
