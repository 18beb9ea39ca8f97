"""Finding a host by its name."""

from __future__ import annotations

import copy
import queue
import socket
import threading
import time
from collections import defaultdict
from dataclasses import dataclass, field

__all__ = ["look_up"]

# A resolver asks again only after 5 s (glibc): one that is asked anew finds out sooner that its service is back.
_AGAIN_S = 2.0
# For one host: while a resolver hangs, every try would leave threads behind.
_MOST_QUESTIONS = 3
_FULL_S = 0.1


@dataclass(slots=True)
class _Host:
    asked: int = 0
    """Questions without an answer yet."""
    waiting: list[queue.SimpleQueue[Exception | None]] = field(default_factory=list)


_lock = threading.Lock()
_hosts: defaultdict[str | None, _Host] = defaultdict(_Host)


def look_up(host: str | None, port: int | None, *, within_s: float, again_s: float = _AGAIN_S) -> None:
    """Ask the name service for a host, and as long as it is silent, ask it again; the first answer counts.

    Nothing interrupts a resolver, so each question has a thread, which ends with the resolver's own timeout. There are
    three for one host at most, and whoever waits for that host hears their answers, whoever asked.

    Args:
        host: its name, or its address.
        port: a port of it.
        within_s: for how long.
        again_s: how long to wait for one answer.

    Raises:
        OSError: there is no such host, or the service cannot say (`socket.gaierror`).
        ValueError: this is no name.
        TimeoutError: no answer.
    """
    answers: queue.SimpleQueue[Exception | None] = queue.SimpleQueue()
    with _lock:
        _hosts[host].waiting.append(answers)
    try:
        error = _answer(answers, host, port, within_s, again_s)
    finally:
        with _lock:
            _hosts[host].waiting.remove(answers)
            _forget(host)
    if error is not None:
        raise copy.copy(error)  # others hear it, too


def _answer(
    answers: queue.SimpleQueue[Exception | None], host: str | None, port: int | None, within_s: float, again_s: float
) -> Exception | None:
    def ask() -> None:
        answer: Exception | None = None
        try:
            socket.getaddrinfo(host, port)
        except (OSError, ValueError) as error:
            answer = error
        with _lock:
            for waiting in _hosts[host].waiting:
                waiting.put(answer)
            _hosts[host].asked -= 1
            _forget(host)

    until = time.monotonic() + within_s
    while (left_s := until - time.monotonic()) > 0:
        with _lock:
            may_ask = _hosts[host].asked < _MOST_QUESTIONS
            _hosts[host].asked += may_ask
        if may_ask:
            try:
                threading.Thread(target=ask, name=f"streampose-names-{host}", daemon=True).start()
            except RuntimeError as error:
                with _lock:
                    _hosts[host].asked -= 1
                raise socket.gaierror(socket.EAI_AGAIN, f"no thread to ask on: {error}") from error
        try:
            return answers.get(timeout=min(again_s if may_ask else _FULL_S, left_s))
        except queue.Empty:
            continue
    raise TimeoutError(f"the name service gave no answer within {within_s:g} s")


def _forget(host: str | None) -> None:
    if not _hosts[host].asked and not _hosts[host].waiting:
        del _hosts[host]
