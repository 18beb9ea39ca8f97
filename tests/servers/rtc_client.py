"""A WebRTC client over loopback, for tests and benchmarks: publishes pictures, and takes poses and video back."""

from __future__ import annotations

import asyncio
import itertools
import json
import time
from collections.abc import Callable, Iterator, Sequence
from fractions import Fraction
from typing import Any, Self

import aiohttp
import numpy as np
from aiortc import RTCConfiguration, RTCPeerConnection, RTCSessionDescription
from aiortc.mediastreams import MediaStreamTrack
from av import VideoFrame

from streampose.frame import Image
from streampose.web.ice import Offered, offer_only

LOOPBACK = [Offered(public="127.0.0.1")]


class Pictures(MediaStreamTrack):
    """Sends pictures at a steady rate, and keeps when each was taken by its time."""

    kind = "video"

    def __init__(self, pictures: Iterator[np.ndarray], fps: float = 30.0) -> None:
        super().__init__()
        self._pictures, self._fps = pictures, fps
        self._began_at: float | None = None
        self.count = 0
        self.taken_at: dict[int, float] = {}
        self.kept = 300

    async def recv(self) -> VideoFrame:
        now = time.monotonic()
        if self._began_at is None:
            self._began_at = now
        due = self._began_at + self.count / self._fps
        if due > now:
            await asyncio.sleep(due - now)
        picture = next(self._pictures)
        self.count += 1
        frame = (
            VideoFrame.from_ndarray(picture, format="bgr24")
            if picture.ndim == 3
            else VideoFrame.from_ndarray(picture, format="yuv420p")
        )
        taken_at = time.monotonic()
        frame.pts, frame.time_base = round((taken_at - self._began_at) * 90_000), Fraction(1, 90_000)
        self.taken_at[frame.pts] = taken_at
        if len(self.taken_at) > self.kept:
            del self.taken_at[next(iter(self.taken_at))]
        return frame


_ROUNDED = 2


def matched(track: Pictures, times: Sequence[int]) -> list[int] | None:
    """Which of the frames that were sent have these times (90 kHz), but for a constant; `None` = no constant fits.

    aiortc's encoder rounds a time down by up to one tick of 11 µs, the client's and the server's: beside the first
    frame another one may be two ticks early or late.
    """
    sent = np.array(sorted(track.taken_at))
    for first in sent:
        wanted = (np.array(times, np.int64) - times[0] + 2**31) % 2**32 - 2**31 + first
        at = np.searchsorted(sent, wanted - _ROUNDED).clip(max=len(sent) - 1)
        if np.abs(sent[at] - wanted).max() <= _ROUNDED:
            return [int(pts) for pts in sent[at]]
    return None


def grey(width: int = 320, height: int = 240) -> Iterator[Image]:
    """Pictures whose grey says which they are, roughly."""
    for i in itertools.count():
        yield np.full((height, width, 3), 40 + 5 * (i % 40), np.uint8)


async def bare_offer() -> str:
    """The offer of a client that never comes."""
    client = RtcClient("http://x/")
    client.pc.addTransceiver("video", direction="sendrecv")
    client.pc.createDataChannel("poses")
    text = await client.offer()
    await client.pc.close()
    return text


class RtcClient:
    """One session with a server.

    Args:
        url: of the server, ending with a slash.
        track: what is published; `None` = it plays the stream.
        stream: name of the stream; `None` = as a page has it.
        token: of the server.
    """

    def __init__(
        self, url: str, track: MediaStreamTrack | None = None, *, stream: str | None = None, token: str | None = None
    ) -> None:
        self.url, self.track, self.stream = url.rstrip("/"), track, stream
        self._headers = {} if token is None else {"Authorization": f"Bearer {token}"}
        self.pc = RTCPeerConnection(RTCConfiguration(iceServers=[]))
        self.poses: list[tuple[float, dict[str, Any]]] = []
        self.said: list[dict[str, Any]] = []
        self.frames: list[VideoFrame] = []
        self.keep = 100_000
        self.on_poses: Callable[[dict[str, Any]], object] = lambda _: None
        self.location: str | None = None
        self.answer: aiohttp.ClientResponse | None = None
        self.received: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        self.http = aiohttp.ClientSession(headers=self._headers)
        if self.track is not None:
            self.pc.addTrack(self.track)
            self.poses_channel = self.pc.createDataChannel("poses", ordered=False, maxRetransmits=0)
            self.poses_channel.on("message", self._posed)
            self.control = self.pc.createDataChannel("control")
            self.control.on("message", lambda text: self.said.append(json.loads(text)))
        else:
            self.pc.addTransceiver("video", direction="recvonly")
        self.pc.on("track", self._tracked)
        offer = await self.offer()
        path = f"/whip/{self.stream}" if self.stream else "/whip"
        if self.track is None:
            path = f"/whep/{self.stream}"
        async with self.http.post(self.url + path, data=offer, headers={"Content-Type": "application/sdp"}) as answer:
            self.answer, text = answer, await answer.text()
            self.location = answer.headers.get("Location")
        if self.answer.status == 201:
            await self.pc.setRemoteDescription(RTCSessionDescription(sdp=text, type="answer"))
        return self

    async def offer(self) -> str:
        await_offer = await self.pc.createOffer()
        for transceiver in self.pc.getTransceivers():
            offer_only(transceiver.receiver.transport.transport.iceGatherer, LOOPBACK)
        if self.pc.sctp is not None:
            offer_only(self.pc.sctp.transport.transport.iceGatherer, LOOPBACK)
        await self.pc.setLocalDescription(await_offer)
        return self.pc.localDescription.sdp

    def say(self, **what: Any) -> None:
        self.control.send(json.dumps(what))

    async def until(self, happened: Callable[[], object], within_s: float = 20.0) -> None:
        async with asyncio.timeout(within_s):
            while not happened():
                await asyncio.sleep(0.01)

    def _posed(self, text: str) -> None:
        now = time.monotonic()
        record = json.loads(text)
        if len(self.poses) < self.keep:
            self.poses.append((now, record))
        self.on_poses(record)

    def _tracked(self, track: MediaStreamTrack) -> None:
        async def receive() -> None:
            from aiortc.mediastreams import MediaStreamError

            try:
                while True:
                    frame = await track.recv()
                    self.frames = [*self.frames[-30:], frame]
            except MediaStreamError:
                return

        self.received = asyncio.ensure_future(receive())

    async def __aexit__(self, *_: object) -> None:
        if self.location is not None:
            async with self.http.delete(self.url + self.location):
                pass
        await self.pc.close()
        if self.received is not None:
            self.received.cancel()
            await asyncio.gather(self.received, return_exceptions=True)
        await self.http.close()
