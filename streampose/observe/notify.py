"""Words to systemd, by its protocol for services: one datagram each (sd_notify(3)).

Without the variable NOTIFY_SOCKET, that is, without systemd and ``Type=notify``, nothing is said.
"""

from __future__ import annotations

import asyncio
import logging
import os
import socket
from collections.abc import Callable, Mapping

__all__ = ["ServiceManager"]

log = logging.getLogger("streampose")


class ServiceManager:
    """Whoever started this process and wants to know how it is.

    Args:
        environment: where NOTIFY_SOCKET, WATCHDOG_USEC and WATCHDOG_PID come from.
    """

    def __init__(self, environment: Mapping[str, str] = os.environ) -> None:
        path = environment.get("NOTIFY_SOCKET", "")
        # A leading @ stands for the zero byte of an abstract socket.
        self._address = "\0" + path[1:] if path.startswith("@") else path
        mine = environment.get("WATCHDOG_PID") in {None, str(os.getpid())}
        self.watchdog_s = int(environment.get("WATCHDOG_USEC", "0")) / 1e6 if mine else 0.0

    def ready(self, status: str) -> None:
        """It has started."""
        self._say("READY=1", f"STATUS={status}")

    def stopping(self) -> None:
        """It has been asked to end, and drains."""
        self._say("STOPPING=1")

    def keep_fed(self, alive: Callable[[], bool]) -> Callable[[], None]:
        """Tell the watchdog from the event loop, for as long as it is alive; systemd restarts what falls silent.

        Returns:
            A function that ends it.
        """
        if not self._address or self.watchdog_s <= 0:
            return lambda: None
        loop = asyncio.get_running_loop()
        handle: asyncio.Handle

        def feed() -> None:
            nonlocal handle
            if alive():
                self._say("WATCHDOG=1")
            # Half its time, as sd_watchdog_enabled(3) recommends.
            handle = loop.call_later(self.watchdog_s / 2, feed)

        handle = loop.call_soon(feed)

        def end() -> None:
            handle.cancel()

        return end

    def _say(self, *lines: str) -> None:
        if not self._address:
            return
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as wire:
                # A manager that does not read must not stop the event loop.
                wire.setblocking(False)
                wire.connect(self._address)
                wire.sendall("\n".join(lines).encode())
        except OSError as error:
            log.warning("the service manager does not listen at NOTIFY_SOCKET: %s", error)
