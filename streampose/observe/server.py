"""A small HTTP server beside a pipeline, on its event loop: ``/metrics``, ``/healthz``, ``/readyz``.

Each answer is made between two steps of the pipeline, so that counts of one scrape belong together, and a loop that
hangs does not answer.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Container
from typing import Self

from aiohttp import web
from prometheus_client import GCCollector, PlatformCollector, ProcessCollector
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import CollectorRegistry

from streampose.observe.access import Address
from streampose.observe.collector import PipelineCollector
from streampose.observe.complaints import Complaints
from streampose.observe.connections import Connections
from streampose.observe.guesses import Guesses
from streampose.observe.health import Need, Verdict, live, ready
from streampose.pipeline import Pipeline

__all__ = ["Observatory"]

# Prometheus keeps one; asyncio accepts as many again before it looks at any of them.
_CONNECTIONS = 32
# Until headers must be there, and how long a connection is kept without a request: longer than scrapes are apart.
_IDLE_S = 75.0

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Observatory:
    """The server, for as long as the context is entered.

    Args:
        address: where to listen; port 0 takes a free one.
        version: of streampose.
        need: how many streams have to deliver for ``/readyz``; `None` = all.
        named: the streams that are told of by name; `None` = all. See `PipelineCollector`.

    Raises:
        ConfigError: nobody can listen there.
    """

    def __init__(self, address: Address, *, version: str, need: Need = 1, named: Container[str] | None = None) -> None:
        self._address, self._version, self._need, self._named = address, version, need, named
        self._pipeline: Pipeline | None = None
        self._stopping = False
        self._registry = CollectorRegistry()
        for collector in (ProcessCollector, PlatformCollector, GCCollector):
            collector(registry=self._registry)
        self._connections = Connections(_CONNECTIONS)
        self._guesses = Guesses(self._connections.most // 2)
        app = web.Application(middlewares=[self._connections.middleware, _plain, self._own])
        app.router.add_get("/metrics", self._metrics)
        app.router.add_get("/healthz", self._healthz)
        app.router.add_get("/readyz", self._readyz)
        self._runner = web.AppRunner(
            app,
            logger=Complaints(),
            access_log=None,
            handle_signals=False,
            shutdown_timeout=1.0,
            keepalive_timeout=_IDLE_S,
        )

    async def __aenter__(self) -> Self:
        await self._runner.setup()
        assert self._runner.server is not None
        self._connections.watch(self._runner.server)
        try:
            await web.TCPSite(self._runner, self._address.host, self._address.port, backlog=_CONNECTIONS).start()
        except (OSError, UnicodeError) as error:
            await self._runner.cleanup()
            raise self._address.refusal(error) from error
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._runner.cleanup()

    @property
    def port(self) -> int:
        """The port that it listens at."""
        port: int = self._runner.addresses[0][1]
        return port

    def watch(self, pipeline: Pipeline) -> None:
        """The models are loaded: this is what to watch."""
        self._pipeline = pipeline
        self._registry.register(PipelineCollector(pipeline, self._version, named=self._named))

    def stopping(self) -> None:
        """Nothing new should come: from now on it is not ready."""
        self._stopping = True

    @web.middleware
    async def _own(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        # No page's request is without a name, but one of a load balancer may be.
        if not self._address.is_called(request.headers.get("Host", "localhost")):
            raise web.HTTPMisdirectedRequest(text="this server is not called so: without a token only localhost\n")
        return await handler(request)

    async def _metrics(self, request: web.Request) -> web.Response:
        if not await self._guesses.knows(request, self._address):
            raise web.HTTPUnauthorized(headers={"WWW-Authenticate": "Bearer"}, text="a token is needed\n")
        encode, kind = choose_encoder(request.headers.get("Accept", ""))
        response = web.Response(body=encode(self._registry), headers={"Content-Type": kind})
        response.enable_compression()
        return response

    async def _healthz(self, request: web.Request) -> web.Response:
        return await self._answer(request, live(self._pipeline))

    async def _readyz(self, request: web.Request) -> web.Response:
        stopping = Verdict(False, "it is stopping")
        return await self._answer(
            request, stopping if self._stopping else ready(self._pipeline, self._need, self._named)
        )

    async def _answer(self, request: web.Request, verdict: Verdict) -> web.Response:
        body: dict[str, object] = {"ok": verdict.ok}
        # Whoever restarts what is not well may wait for a second only.
        if await self._guesses.knows(request, self._address, now=True):
            body |= {"reason": verdict.reason, **verdict.details}
        return web.json_response(body, status=200 if verdict.ok else 503)


@web.middleware
async def _plain(request: web.Request, handler: Handler) -> web.StreamResponse:
    response = await handler(request)
    response.headers["Cache-Control"] = "no-store"
    response.headers["X-Content-Type-Options"] = "nosniff"
    return response
