"""Poses and pictures of a stream for programs and plain pages: Server-Sent Events, WebSocket, JPEG, MJPEG."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Iterator
from weakref import WeakKeyDictionary

from aiohttp import WSMsgType, web

from streampose.channel import Channel
from streampose.errors import ChannelClosed
from streampose.result import Result
from streampose.web.asked import running_stream, stream_of
from streampose.web.catalogue import Catalogue, Entry
from streampose.web.finishing import draw
from streampose.web.guard import Guard
from streampose.web.hub import Hub, Item, Wish, jpeg
from streampose.web.limits import Full, Limits, check_memory
from streampose.web.settings import Settings
from streampose.web.tasks import Tasks

__all__ = ["Feeds"]

_BOUNDARY = "frame"
_PART = f"--{_BOUNDARY}\r\nContent-Type: image/jpeg\r\n".encode()
# A comment now and then: a client that is gone is noticed, and proxies keep the connection.
_HEARTBEAT_S = 5.0


class Feeds:
    """The handlers.

    Args:
        catalogue: the streams.
        limits: how many follow at a time.
        guard: dresses answers that begin before they end.
    """

    def __init__(self, catalogue: Catalogue, limits: Limits, guard: Guard) -> None:
        self._catalogue, self._limits, self._guard = catalogue, limits, guard
        self._viewers = 0
        self._sockets: set[web.WebSocketResponse] = set()
        self._followed: set[Channel[Item]] = set()
        self._stopping = False
        self._tasks = Tasks()
        self._drawings: WeakKeyDictionary[Hub, tuple[Result, Settings, asyncio.Task[bytes]]] = WeakKeyDictionary()
        """Of each stream the last picture that was asked for: whoever asks for it again gets the same."""

    def add_to(self, router: web.UrlDispatcher) -> None:
        """Set up the routes."""
        # What has no end has no HEAD: its body would be sent for ever.
        router.add_get("/api/streams/{id}/poses", self._poses, allow_head=False)
        router.add_get("/api/streams/{id}/picture.jpg", self._picture)
        router.add_get("/api/streams/{id}/video.mjpeg", self._mjpeg, allow_head=False)

    async def aclose(self) -> None:
        """Say goodbye to all."""
        await asyncio.gather(*(socket.close(code=1001) for socket in tuple(self._sockets)), return_exceptions=True)
        self._stopping = True
        for items in tuple(self._followed):
            items.close()

    async def _poses(self, request: web.Request) -> web.StreamResponse:
        entry = stream_of(request, self._catalogue)
        if web.WebSocketResponse().can_prepare(request):
            return await self._socket(request, entry)
        if self._catalogue.is_over(entry):
            # An EventSource asks again after every end, and is told by this alone not to.
            return web.Response(status=204)
        with self._following(entry, Wish.POSES) as items:
            response = await self._begin(request, "text/event-stream")
            while True:
                try:
                    async with asyncio.timeout(_HEARTBEAT_S):
                        item = await items.get()
                    text = f"data: {item.line}\n\n"
                except TimeoutError:
                    text = ":\n\n"
                except ChannelClosed:
                    if self._stopping:  # the stream may go on: an EventSource asks again
                        return response
                    text = "event: end\ndata: {}\n\n"
                if not await self._write(request, response, text.encode()) or text.startswith("event: end"):
                    return response

    async def _socket(self, request: web.Request, entry: Entry) -> web.StreamResponse:
        with self._following(entry, Wish.POSES) as items:
            socket = web.WebSocketResponse(heartbeat=_HEARTBEAT_S, max_msg_size=1024, timeout=2.0)
            self._guard.dress(request, socket)
            await socket.prepare(request)
            self._sockets.add(socket)
            listening = self._tasks.start(_listen(socket, items), "websocket")
            try:
                while not socket.closed:
                    item = await items.get()
                    async with asyncio.timeout(self._limits.write_s):
                        await socket.send_str(item.line)
            except TimeoutError:
                _cut(request)
            except (ChannelClosed, ConnectionError):
                pass
            finally:
                self._sockets.discard(socket)
                listening.cancel()
                with contextlib.suppress(TimeoutError, ConnectionError):
                    await socket.close()
            return socket

    async def _picture(self, request: web.Request) -> web.Response:
        entry = running_stream(request, self._catalogue)
        if (result := entry.hub.latest) is None:
            raise web.HTTPServiceUnavailable(headers={"Retry-After": "1"}, text="there is no picture yet")
        with self._room():
            of, settings, drawing = self._drawings.get(entry.hub, (None, None, None))
            if drawing is None or of is not result or settings is not entry.settings or _failed(drawing):
                work = asyncio.to_thread(_drawn, result, entry.settings)
                drawing = self._tasks.start(work, "picture", awaited=True)
                self._drawings[entry.hub] = result, entry.settings, drawing
            # Others may wait for it, too: it goes on when one of them leaves.
            data = await asyncio.shield(drawing)
        response = web.Response(body=data, content_type="image/jpeg", headers=_about(result))
        response.last_modified = int(time.time() - (time.monotonic() - result.timing.captured_at))
        return response

    async def _mjpeg(self, request: web.Request) -> web.StreamResponse:
        entry = running_stream(request, self._catalogue)
        # Browsers show a picture when the next part's headers are there, so they get them with it; FFmpeg takes one at
        # once if it is told the length, which nobody knows ahead. The other way each has it a whole picture late.
        # In the address bar some say first that they take HTML, and name no kind of picture.
        accept = request.headers.get("Accept", "")
        ahead = any(kind in accept for kind in ("image/", "text/html"))
        with self._following(entry, Wish.JPEG) as items:
            response = await self._begin(request, f"multipart/x-mixed-replace; boundary={_BOUNDARY}")
            if ahead and not await self._write(request, response, _PART + b"\r\n"):
                return response
            while True:
                try:
                    item = await items.get()
                except ChannelClosed:
                    return response
                if item.jpeg is None:
                    continue
                if ahead:
                    data = item.jpeg + b"\r\n" + _PART + b"\r\n"
                else:
                    about = {"Content-Length": len(item.jpeg)} | _about(item.result)
                    head = "".join(f"{key}: {value}\r\n" for key, value in about.items()).encode()
                    data = _PART + head + b"\r\n" + item.jpeg + b"\r\n"
                if not await self._write(request, response, data):
                    return response

    @contextlib.contextmanager
    def _following(self, entry: Entry, wish: Wish) -> Iterator[Channel[Item]]:
        """A stream's newest results; closed when it ends or the server does."""
        with self._room(), entry.hub.following(wish) as items:
            self._followed.add(items)
            try:
                yield items
            finally:
                self._followed.discard(items)

    @contextlib.contextmanager
    def _room(self) -> Iterator[None]:
        if self._viewers >= self._limits.viewers:
            raise Full(f"the server has {self._limits.viewers} viewers, which is all it takes")
        check_memory(self._limits)
        self._viewers += 1
        try:
            yield
        finally:
            self._viewers -= 1

    async def _begin(self, request: web.Request, kind: str) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": kind})
        self._guard.dress(request, response)
        await response.prepare(request)
        return response

    async def _write(self, request: web.Request, response: web.StreamResponse, data: bytes) -> bool:
        """Send; whether the client is still there and takes it."""
        try:
            async with asyncio.timeout(self._limits.write_s):
                await response.write(data)
        except (TimeoutError, ConnectionError):
            _cut(request)
            return False
        return True


async def _listen(socket: web.WebSocketResponse, items: Channel[Item]) -> None:
    """Read what a client sends, which is nothing but the end."""
    async for message in socket:
        if message.type in {WSMsgType.TEXT, WSMsgType.BINARY}:
            await socket.close(code=1003, message=b"this socket only sends")
    items.close()


def _cut(request: web.Request) -> None:
    """End a connection now: closed, it would stay until what was written to it is read."""
    if request.transport is not None:
        request.transport.abort()


def _about(result: Result) -> dict[str, str]:
    """Which frame it is, as its record of poses says it."""
    return {"X-Frame": str(result.frame.index), "X-Time": f"{result.moment.time_s:.6f}"}


def _drawn(result: Result, settings: Settings) -> bytes:
    return jpeg(draw(result.frame.image, result.poses, settings))


def _failed(drawing: asyncio.Task[bytes]) -> bool:
    return drawing.done() and (drawing.cancelled() or drawing.exception() is not None)
