"""Names, and a name service that says nothing."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator

import pytest
from servers.web import MjpegServer

from streampose.errors import Disconnected, SourceTimeout
from streampose.resolver import look_up
from streampose.sources import NetworkSource


class Silent:
    """A resolver that hangs until it is let go; questions that come later are answered."""

    def __init__(self) -> None:
        self.real = socket.getaddrinfo
        self.asked = 0
        self.answers = threading.Event()
        self.let_go = threading.Event()

    def __call__(self, *arguments, **options):
        self.asked += 1
        if not self.answers.is_set():
            self.let_go.wait()
            raise socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")
        return self.real(*arguments, **options)


@pytest.fixture
def silent(monkeypatch: pytest.MonkeyPatch) -> Iterator[Silent]:
    silent = Silent()
    monkeypatch.setattr(socket, "getaddrinfo", silent)
    yield silent
    silent.let_go.set()


def test_a_name_service_that_comes_back_is_asked_again(silent: Silent):
    timer = threading.Timer(0.2, silent.answers.set)
    timer.start()
    began = time.monotonic()
    look_up("localhost", 80, within_s=10, again_s=1)
    assert time.monotonic() - began < 9
    assert silent.asked >= 2
    timer.join()


def test_silence_ends_in_time(silent: Silent):
    began = time.monotonic()
    with pytest.raises(TimeoutError, match=r"no answer within 0\.3 s"):
        look_up("localhost", 80, within_s=0.3, again_s=0.2)
    assert 0.3 <= time.monotonic() - began < 4
    assert 1 <= silent.asked <= 2


def test_a_resolver_that_hangs_costs_three_threads_a_host(silent: Silent):
    def asking() -> int:
        return sum(thread.name == "streampose-names-127.0.0.1" for thread in threading.enumerate())

    for _ in range(4):
        with pytest.raises(TimeoutError):
            look_up("127.0.0.1", 80, within_s=1.0, again_s=0.02)
        assert asking() == 3
    with pytest.raises(TimeoutError):
        look_up("other", 80, within_s=0.1)  # has its own
    assert silent.asked == 4
    silent.answers.set()
    timer = threading.Timer(0.2, silent.let_go.set)
    timer.start()
    with pytest.raises(socket.gaierror):  # what was asked before is heard now
        look_up("127.0.0.1", 80, within_s=5)
    timer.join()
    while asking():  # the others that were asked then, whose answers would be heard, too
        time.sleep(0.01)
    look_up("127.0.0.1", 80, within_s=5)


def test_who_got_no_thread_may_ask_again(monkeypatch: pytest.MonkeyPatch):
    """And a camera that is found by its name so is tried again, too."""

    def full(thread: threading.Thread) -> None:
        if thread.name == "streampose-names-localhost":
            raise RuntimeError("can't start new thread")
        start(thread)

    start = threading.Thread.start
    source = NetworkSource("http://localhost:1/video")
    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", full)
        for _ in range(4):
            with pytest.raises(socket.gaierror, match="no thread to ask on"):
                look_up("localhost", 80, within_s=5)
        with pytest.raises(Disconnected, match=r"cannot say \(no thread to ask on"):
            source.open("cam")
    source.close()
    look_up("localhost", 80, within_s=5)


def test_the_first_answer_counts(silent: Silent):
    silent.let_go.set()
    with pytest.raises(socket.gaierror, match="Temporary failure"):
        look_up("localhost", 80, within_s=5)
    assert silent.asked == 1


@pytest.mark.parametrize("host", ["a" * 70 + ".test", "a..b"])
def test_what_is_no_name(host: str):
    with pytest.raises(ValueError, match="label"):
        look_up(host, 80, within_s=5)


def test_a_source_whose_name_service_is_silent_says_so(silent: Silent):
    server = MjpegServer()
    source = NetworkSource(f"http://localhost:{server.port}/video", open_timeout_s=0.3)
    with pytest.raises(SourceTimeout, match=r"the name service gave no answer within 0\.3 s"):
        source.open("cam")
    source.close()
    silent.answers.set()
    silent.let_go.set()
    while any(thread.name == "streampose-names-localhost" for thread in threading.enumerate()):
        time.sleep(0.01)
    source = NetworkSource(f"http://localhost:{server.port}/video", open_timeout_s=5)
    assert source.open("cam").width_px == 160
    source.close()
    server.stop()
