"""The page's files: these and no others."""

from __future__ import annotations

import hashlib
import json
from importlib import resources

from aiohttp import web

from streampose.skeletons import SKELETONS

__all__ = ["Pages"]

_KINDS = {".html": "text/html", ".css": "text/css", ".js": "text/javascript", ".svg": "image/svg+xml"}


class Pages:
    """All of them in memory: no request's path ever meets a file system."""

    def __init__(self) -> None:
        self._files: dict[str, tuple[bytes, str]] = {}
        for file in (resources.files("streampose.web") / "page").iterdir():
            kind = _KINDS.get(f".{file.name.rpartition('.')[2]}")
            if kind is not None:
                self._files[file.name] = file.read_bytes(), kind

    def add_to(self, router: web.UrlDispatcher) -> None:
        """Set up the routes."""
        router.add_get("/", self._index)
        router.add_get("/page/skeletons.js", self._skeletons)
        router.add_get("/page/{name}", self._file)

    async def _index(self, request: web.Request) -> web.Response:
        return _answer(request, *self._files["index.html"])

    async def _skeletons(self, request: web.Request) -> web.Response:
        """All that there are now: who runs the server may add to them."""
        known = [
            (name, {"points": list(s.points), "edges": [list(edge) for edge in s.edges]})
            for name, s in tuple(SKELETONS.items())
        ]
        return _answer(request, f"export const SKELETONS = new Map({json.dumps(known)});\n".encode(), _KINDS[".js"])

    async def _file(self, request: web.Request) -> web.Response:
        try:
            return _answer(request, *self._files[request.match_info["name"]])
        except KeyError:
            raise web.HTTPNotFound(text="there is no such page") from None


def _answer(request: web.Request, data: bytes, kind: str) -> web.Response:
    # Asked for again each time: after an update of the server nobody has half of the old page.
    tag = hashlib.sha256(data).hexdigest()[:32]
    headers = {"Cache-Control": "no-cache", "ETag": f'"{tag}"'}
    if any(etag.value == tag for etag in request.if_none_match or ()):
        return web.Response(status=304, headers=headers)
    return web.Response(body=data, content_type=kind, charset="utf-8", headers=headers)
