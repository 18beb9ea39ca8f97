"""The JSON interface: streams, models, what a page has to know."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from typing import Any

from aiohttp import web

from streampose.errors import ConfigError, StreamposeError
from streampose.redaction import redact
from streampose.web.asked import body_of, stream_of
from streampose.web.ice import IceServer
from streampose.web.limits import Full, Limits
from streampose.web.openapi import document
from streampose.web.publisher import Studio

__all__ = ["Api"]

_JSON = "application/json"


class Api:
    """The handlers.

    Args:
        studio: the streams and models.
        limits: how much may be asked for.
        ice_servers: for the page.
        version: of streampose.
    """

    def __init__(
        self,
        studio: Studio,
        limits: Limits,
        ice_servers: Sequence[IceServer],
        *,
        version: str,
    ) -> None:
        self._studio, self._catalogue, self._limits, self._ice_servers = studio, studio.catalogue, limits, ice_servers
        self._document = document(version)

    def add_to(self, router: web.UrlDispatcher) -> None:
        """Set up the routes."""
        router.add_get("/api/openapi.json", self._openapi)
        router.add_get("/api/config", self._config)
        router.add_get("/api/streams", self._list)
        router.add_post("/api/streams", self._add)
        router.add_get("/api/streams/{id}", self._show)
        router.add_patch("/api/streams/{id}", self._change)
        router.add_delete("/api/streams/{id}", self._remove)
        router.add_get("/api/models", self._models)
        router.add_put("/api/models/current", self._choose)

    async def _openapi(self, request: web.Request) -> web.Response:
        return web.json_response(self._document)

    async def _config(self, request: web.Request) -> web.Response:
        """What the page needs before it begins."""
        return web.json_response({"ice_servers": [server.for_page() for server in self._ice_servers]})

    async def _list(self, request: web.Request) -> web.Response:
        return web.json_response({"streams": self._catalogue.list()})

    async def _show(self, request: web.Request) -> web.Response:
        return web.json_response(self._catalogue.describe(stream_of(request, self._catalogue)))

    async def _add(self, request: web.Request) -> web.Response:
        wish = await self._object(request)
        name, source = wish.pop("id", None), wish.pop("source", None)
        if wish or not isinstance(name, str) or not isinstance(source, str):
            raise web.HTTPBadRequest(text='send {"id": "…", "source": "rtsp://…"}')
        if name in self._catalogue:
            raise web.HTTPConflict(text="there is a stream of this name already")
        try:
            entry = await self._catalogue.add_remote(name, source)
        except Full:
            raise
        except StreamposeError as error:
            raise web.HTTPUnprocessableEntity(text=redact(str(error))) from error
        about = self._catalogue.describe(entry)
        return web.json_response(about, status=201, headers={"Location": f"/api/streams/{name}"})

    async def _change(self, request: web.Request) -> web.Response:
        entry, wishes = stream_of(request, self._catalogue), await self._object(request)
        try:
            self._catalogue.change(entry, wishes)
        except ConfigError as error:
            raise web.HTTPUnprocessableEntity(text=str(error)) from error
        return web.json_response(self._catalogue.describe(entry))

    async def _remove(self, request: web.Request) -> web.Response:
        entry = stream_of(request, self._catalogue)
        if entry.origin == "peer":
            raise web.HTTPConflict(text="a session of WebRTC publishes it: only that one can end it")
        # A client that hangs up meanwhile cancels this handler, not the end of the stream.
        await asyncio.shield(self._catalogue.release(entry))
        return web.Response(status=204)

    async def _models(self, request: web.Request) -> web.Response:
        return web.json_response(dict(self._studio.models()))

    async def _choose(self, request: web.Request) -> web.Response:
        wish = await self._object(request)
        name = wish.get("name")
        if set(wish) != {"name"} or not isinstance(name, str):
            raise web.HTTPBadRequest(text='send {"name": "…"}')
        if name not in self._studio.models()["names"]:
            raise web.HTTPUnprocessableEntity(text="there is no such model here")
        if not self._studio.choose(name):
            raise web.HTTPConflict(text="another model is being loaded")
        return web.json_response(dict(self._studio.models()), status=202)

    async def _object(self, request: web.Request) -> dict[str, Any]:
        text = await body_of(request, _JSON, self._limits)
        try:
            wish = json.loads(text)
        except (ValueError, RecursionError):
            raise web.HTTPBadRequest(text="the body is not JSON") from None
        if not isinstance(wish, dict):
            raise web.HTTPBadRequest(text="the body is not a JSON object")
        return wish
