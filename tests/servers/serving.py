"""A web server on loopback with a model that costs little, in this process."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import Any

from fakes import FakeEstimator

from streampose.batching import LatencyBatch
from streampose.inference.estimator import Estimator
from streampose.observe.access import Address
from streampose.pipeline import Pipeline
from streampose.web.limits import Limits
from streampose.web.server import ModelDesk, WebOptions, WebServer


@dataclass
class Served:
    server: WebServer
    pipeline: Pipeline

    @property
    def url(self) -> str:
        return self.server.url.rstrip("/")


@contextlib.asynccontextmanager
async def serving(
    estimator: Estimator | None = None,
    *,
    limits: Limits | None = None,
    token: str | None = None,
    choose: Callable[[str], bool] = lambda _: False,
    **options: Any,
) -> AsyncIterator[Served]:
    asyncio.get_running_loop().set_debug(False)  # the frames of a WebRTC session make hundreds of callbacks a second
    async with Pipeline([], estimator or FakeEstimator(), policy=LatencyBatch(0.2), keep_running=True) as pipeline:
        running = asyncio.create_task(pipeline.run())
        desk = ModelDesk(
            about=lambda: {"names": ["a", "b"], "current": "a", "loading": None, "error": None}, choose=choose
        )
        web_options = WebOptions(address=Address(port=0, token=token), limits=limits or Limits(), **options)
        try:
            async with WebServer(web_options, pipeline, desk) as server:
                yield Served(server, pipeline)
        finally:
            pipeline.stop()
            await running


async def gone(served: Served, within_s: float = 10.0, streams: int = 0) -> None:
    """Wait until no session is there, and no stream but those of the server."""
    async with asyncio.timeout(within_s):
        while served.server.sessions or len(served.pipeline.reports) > streams:
            await asyncio.sleep(0.02)
