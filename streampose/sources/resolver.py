"""Finding a host by its name."""

from __future__ import annotations

import queue
import socket
import threading
import time

__all__ = ["look_up"]

# A resolver asks again only after 5 s (glibc): one that is asked anew finds out sooner that its service is back.
_AGAIN_S = 2.0


def look_up(host: str | None, port: int | None, *, within_s: float, again_s: float = _AGAIN_S) -> None:
    """Ask the name service for a host, and as long as it is silent, ask it again; the first answer counts.

    Nothing interrupts a resolver, so each question has a thread, which ends with the resolver's own timeout.

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

    def ask() -> None:
        try:
            socket.getaddrinfo(host, port)
        except (OSError, ValueError) as error:
            answers.put(error)
        else:
            answers.put(None)

    until = time.monotonic() + within_s
    while (left_s := until - time.monotonic()) > 0:
        threading.Thread(target=ask, name=f"streampose-names-{host}", daemon=True).start()
        try:
            error = answers.get(timeout=min(again_s, left_s))
        except queue.Empty:
            continue
        if error is not None:
            raise error
        return
    raise TimeoutError(f"the name service gave no answer within {within_s:g} s")
