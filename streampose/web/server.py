"""The web server beside a pipeline, on its event loop."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

from aiohttp import web

import streampose
from streampose.errors import ConfigError
from streampose.observe.access import Address
from streampose.observe.complaints import Complaints
from streampose.observe.connections import Connections
from streampose.pipeline import Pipeline
from streampose.sources import Source
from streampose.web.api import Api
from streampose.web.catalogue import Catalogue
from streampose.web.connection import connections_of
from streampose.web.effort import Effort
from streampose.web.feeds import Feeds
from streampose.web.guard import Guard
from streampose.web.ice import IceServer, Offered
from streampose.web.limits import Limits
from streampose.web.origins import Origins
from streampose.web.pages import Pages
from streampose.web.peer import Surroundings
from streampose.web.publisher import Studio
from streampose.web.sessions import Sessions
from streampose.web.tasks import Tasks
from streampose.web.whip import Whip

__all__ = ["ModelDesk", "WebOptions", "WebServer", "read_tls"]

# asyncio accepts so many at once before it looks at any of them.
_BACKLOG = 64


def read_tls(cert: Path | None, key: Path | None) -> ssl.SSLContext | None:
    """A certificate and its key; who keeps the key encrypted is asked for its pass phrase each time.

    Raises:
        ConfigError: one without the other, or the files are not what they should be.
    """
    if cert is None and key is None:
        return None
    if cert is None or key is None:
        raise ConfigError("TLS takes both --tls-cert and --tls-key")
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    try:
        context.load_cert_chain(cert, key)
    except (OSError, ssl.SSLError) as error:
        raise ConfigError(f"{cert} and {key} are no certificate and its key: {error}") from error
    return context


@dataclass(frozen=True, slots=True, kw_only=True)
class WebOptions:
    """Where the server is, and what it lets strangers do."""

    address: Address
    tls: ssl.SSLContext | None = None
    """Of `read_tls`."""
    ice_addresses: Sequence[Offered] = ()
    """What ICE offers; none = what `address` is reached at."""
    ice_servers: Sequence[IceServer] = ()
    """STUN and TURN; by default none, so that nobody else hears of a session."""
    limits: Limits = field(default_factory=Limits)
    origins: Origins = field(default_factory=Origins)
    """Of the pages that may ask, beside the server's own."""

    async def check(self) -> None:
        """See whether a server can be there, before there is anything to serve.

        Raises:
            ConfigError: it cannot.
        """
        address, loop = self.address, asyncio.get_running_loop()
        try:
            server = await loop.create_server(asyncio.Protocol, address.host, address.port, start_serving=False)
        except (OSError, UnicodeError) as error:
            raise address.refusal(error) from error
        server.close()


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelDesk:
    """What visitors see of the models, and how they choose one."""

    about: Callable[[], Mapping[str, Any]]
    choose: Callable[[str], bool]


class WebServer:
    """The server, for as long as the context is entered.

    Args:
        options: where and what.
        pipeline: what all streams run in; it has to `keep_running`.
        models: what visitors can choose.

    Raises:
        ConfigError: nobody can listen there.
    """

    def __init__(self, options: WebOptions, pipeline: Pipeline, models: ModelDesk) -> None:
        self._options = options
        limits = options.limits
        self._closing = Tasks()
        self._sessions = Sessions(limits)
        self._connections = Connections(limits.connections)
        self.catalogue = Catalogue(pipeline, limits)
        around = Surroundings(
            limits=limits,
            offered=options.ice_addresses or Offered.for_host(options.address.host),
            ice_servers=options.ice_servers,
            effort=Effort(),
            closing=self._closing,
        )
        studio = Studio(self.catalogue, models.about, models.choose)
        # Guesses that wait hold their connections: the other half is for all others.
        guard = Guard(options.address, options.origins, waiting=self._connections.most // 2)
        self._feeds = Feeds(self.catalogue, limits, guard)
        app = web.Application(
            middlewares=[self._connections.middleware, guard.middleware()], client_max_size=limits.body_bytes
        )
        for part in (
            Pages(),
            Whip(around, self._sessions, studio, guard.knows),
            Api(studio, limits, options.ice_servers, version=streampose.__version__),
            self._feeds,
        ):
            part.add_to(app.router)
        self._of_each: dict[str, Any] = {
            "logger": Complaints(),
            "access_log": None,
            "keepalive_timeout": limits.header_s,
            "lingering_time": 1.0,
            "auto_decompress": False,
        }
        self._runner = web.AppRunner(
            app, handle_signals=False, shutdown_timeout=1.0, handler_cancellation=True, **self._of_each
        )

    async def __aenter__(self) -> Self:
        address = self._options.address
        await self._runner.setup()
        server = self._runner.server
        assert server is not None
        self._connections.watch(server)
        try:
            self._listening = await asyncio.get_running_loop().create_server(
                connections_of(server, **self._of_each),
                address.host,
                address.port,
                ssl=self._options.tls,
                # Before that nothing is known of a connection, and it is in nobody's count.
                ssl_handshake_timeout=None if self._options.tls is None else self._options.limits.body_s,
                backlog=_BACKLOG,
            )
        except (OSError, UnicodeError) as error:
            await self._runner.cleanup()
            raise address.refusal(error) from error
        self._address = self._listening.sockets[0].getsockname()[:2]
        return self

    async def __aexit__(self, *_: object) -> None:
        self._listening.close()
        await self._sessions.aclose()
        await self._closing.aclose()
        await self._feeds.aclose()
        await self.catalogue.aclose()
        await self._runner.cleanup()

    @property
    def urls(self) -> list[str]:
        """Where it is, for a person; where it listens at all addresses, each by which others reach it."""
        host, port = self._address
        hosts = [host]
        if host in {"0.0.0.0", "::"}:
            alike = [place.public for place in Offered.for_host(host) if (":" in place.public) is (":" in host)]
            hosts = alike or ["::1" if ":" in host else "127.0.0.1"]
        scheme = "http" if self._options.tls is None else "https"
        return [f"{scheme}://{f'[{one}]' if ':' in one else one}:{port}/" for one in hosts]

    @property
    def url(self) -> str:
        """The first of them."""
        return self.urls[0]

    @property
    def sessions(self) -> int:
        """How many there are."""
        return len(self._sessions)

    async def show(self, name: str, source: Source) -> None:
        """Let a stream of the server's own join.

        Raises:
            ConfigError: its name is taken, or is none.
        """
        await self.catalogue.add(name, source, origin="server")
