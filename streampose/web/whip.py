"""WHIP (RFC 9725) to publish, WHEP (draft-ietf-wish-whep) to play."""

from __future__ import annotations

import hmac
from collections.abc import Callable
from functools import partial

from aiohttp import web

from streampose.web.asked import body_of, running_stream
from streampose.web.catalogue import Taken, new_name
from streampose.web.limits import check_memory
from streampose.web.offer import checked, fragment
from streampose.web.peer import Peer, Surroundings
from streampose.web.player import Player
from streampose.web.publisher import Publisher, Studio
from streampose.web.sessions import Sessions

__all__ = ["Whip"]

# Cameras send more often; a session of which no picture has come for so long makes way for another one of its name.
_SILENT_S = 1.5
_SDP, _FRAGMENT = "application/sdp", "application/trickle-ice-sdpfrag"


class Whip:
    """The handlers.

    Args:
        around: what all sessions share.
        sessions: all of them.
        studio: what publishers share.
        knows: whether a request has the token; OPTIONS come without it, too, and are then not told of TURN's secrets.
    """

    def __init__(
        self, around: Surroundings, sessions: Sessions, studio: Studio, knows: Callable[[web.Request], bool]
    ) -> None:
        self._around, self._sessions, self._studio, self._knows = around, sessions, studio, knows

    def add_to(self, router: web.UrlDispatcher) -> None:
        """Set up the routes. What else is asked of them is answered by 405, as the RFC wants it."""
        for path, make in (("/whip", self._publish), ("/whip/{id}", self._publish), ("/whep/{id}", self._play)):
            router.add_post(path, make)
            router.add_options(path, self._options)
        session = "/session/{session}"
        router.add_patch(session, self._trickle)
        router.add_delete(session, self._end)
        router.add_options(session, self._session_options)

    async def _publish(self, request: web.Request) -> web.Response:
        name = request.match_info.get("id")
        offer = await body_of(request, _SDP, self._around.limits)
        if name is not None and name in self._studio.catalogue:
            await self._succeed(name, offer)
        make = partial(Publisher, self._around, name=name or new_name(), hidden=name is None, studio=self._studio)
        try:
            return await self._open(request, make, offer)
        except Taken:  # by somebody who came while room was made
            raise _taken() from None

    async def _succeed(self, name: str, offer: str) -> None:
        """End the session of this name if nothing comes of it any more: whoever had it has crashed, and comes again.

        Raises:
            web.HTTPConflict: something does, or may once it is connected; or a camera of the server has the name.
            ConfigError: who comes does so with nothing to be let in for.
            Full: nobody new is let in.
        """
        before = next((peer for peer in self._sessions if isinstance(peer, Publisher) and peer.name == name), None)
        if before is None:
            raise web.HTTPConflict(text="a camera of the server has this name")
        if not (before.ending or (before.connected and before.silent_s > _SILENT_S)):
            raise _taken()
        checked(offer, self._around.limits, loopback_only=self._around.loopback_only)
        check_memory(self._around.limits)
        await before.ended("whoever had its name came again")

    async def _play(self, request: web.Request) -> web.Response:
        offer = await body_of(request, _SDP, self._around.limits)
        entry = running_stream(request, self._studio.catalogue)
        return await self._open(request, partial(Player, self._around, hub=entry.hub), offer)

    async def _open(
        self, request: web.Request, make: Callable[[Callable[[Peer], None]], Peer], offer: str
    ) -> web.Response:
        peer, answer = await self._sessions.open(make, offer, request.remote or "")
        response = web.Response(status=201, text=answer, content_type=_SDP, charset=None)
        response.headers["Location"] = f"/session/{peer.id}"
        response.headers["ETag"] = peer.etag
        response.headers["Accept-Patch"] = _FRAGMENT
        for server in self._around.ice_servers:
            response.headers.add("Link", server.link())
        return response

    async def _trickle(self, request: web.Request) -> web.Response:
        peer = self._session(request)
        text = await body_of(request, _FRAGMENT, self._around.limits)
        wanted = request.headers.get("If-Match")
        if wanted is None:
            raise web.HTTPPreconditionRequired(text="say which ICE session this is for: If-Match")
        if wanted == "*":
            raise web.HTTPUnprocessableEntity(text="ICE cannot be restarted here: begin a new session")
        if not hmac.compare_digest(wanted.encode(errors="surrogateescape"), peer.etag.encode()):
            raise web.HTTPPreconditionFailed(text="this is for another ICE session")
        candidates, _ = fragment(text)
        await peer.add_candidates(candidates)
        return web.Response(status=204)

    async def _end(self, request: web.Request) -> web.Response:
        await self._session(request).ended("it was ended by its owner")
        return web.Response(status=200)

    async def _options(self, request: web.Request) -> web.Response:
        response = web.Response(status=204, headers={"Accept-Post": _SDP, "Allow": "OPTIONS, POST"})
        for server in self._around.ice_servers if self._knows(request) else ():
            response.headers.add("Link", server.link())
        return response

    async def _session_options(self, request: web.Request) -> web.Response:
        return web.Response(status=204, headers={"Accept-Patch": _FRAGMENT, "Allow": "DELETE, OPTIONS, PATCH"})

    def _session(self, request: web.Request) -> Peer:
        peer = self._sessions.get(request.match_info["session"])
        if peer is None:
            raise web.HTTPNotFound(text="there is no such session, or it has ended")
        return peer


def _taken() -> web.HTTPConflict:
    return web.HTTPConflict(text="there is a stream of this name already", headers={"Retry-After": "2"})
