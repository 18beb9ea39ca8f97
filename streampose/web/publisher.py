"""A visitor who sends a camera: poses and pictures go back to him, and to whoever follows his stream."""

from __future__ import annotations

import asyncio
import json
import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

from aiortc import RTCDataChannel, RTCRtpTransceiver
from aiortc.mediastreams import MediaStreamError, MediaStreamTrack
from av import VideoFrame

from streampose.errors import ConfigError
from streampose.web.camera import PeerCamera
from streampose.web.catalogue import Catalogue
from streampose.web.hub import Hub, Wish
from streampose.web.messages import Inbox, heard
from streampose.web.peer import Peer, Surroundings
from streampose.web.reception import Reception
from streampose.web.video import DrawnVideo

__all__ = ["Publisher", "Studio"]

_STATS_S = 0.5
_LATER_S = 5.0
_GOODBYE_S = 0.5
# Data channels of other names are closed, so many times.
_STRANGE = 4


@dataclass(frozen=True, slots=True)
class Studio:
    """What publishers share: the streams, and what can be chosen for all."""

    catalogue: Catalogue
    models: Callable[[], Mapping[str, Any]]
    """What is said of the models to a page."""
    choose: Callable[[str], bool]
    """Begins to load a model; whether it is known and no other is being loaded."""


class Publisher(Peer):
    """A session that publishes one video. With data channels named ``poses`` and ``control`` it is a page.

    Args:
        name: of its stream.
        hidden: see `Entry`.
        studio: what publishers share.
    """

    def __init__(
        self,
        around: Surroundings,
        on_closed: Callable[[Peer], None],
        *,
        name: str,
        hidden: bool,
        studio: Studio,
    ) -> None:
        super().__init__(around, on_closed)
        self.name = name
        self._studio = studio
        # The session is ended first: a visitor who is gone is no failure.
        self._camera = PeerCamera(around.limits.idle_s + _LATER_S)
        self._inbox = Inbox(around.limits)
        self._entry = studio.catalogue.reserve(name, hidden=hidden)
        self._entry.on_changed = self._changed
        self._video = DrawnVideo(self._entry.hub, around.effort)
        self._reception: Reception | None = None
        self._control: RTCDataChannel | None = None
        self._heard_at = time.monotonic()
        self._posing = False
        self._strange = 0
        self._unsent = 0
        self._pc.on("datachannel", self._opened)

    @property
    def silent_s(self) -> float:
        """For how long no picture has come."""
        return time.monotonic() - self._heard_at

    def _prepare(self) -> RTCRtpTransceiver:
        transceiver = self._pc.addTransceiver(self._video, direction="sendrecv")
        self._reception = Reception(transceiver.receiver, self._around.limits, self.end)
        return transceiver

    def _check(self, video: RTCRtpTransceiver) -> None:
        if video.currentDirection not in {"sendrecv", "recvonly"}:
            raise ConfigError("the offer sends no video")
        # From now on it is drained: what is decoded before the connection counts as made would wait in aiortc's queue.
        self._tasks.start(self._receive(video.receiver.track), f"receive-{self.name}")

    async def _began(self) -> None:
        self._heard_at = time.monotonic()
        await self._studio.catalogue.start(self._entry, self._camera)

    async def _receive(self, track: MediaStreamTrack) -> None:
        """Track → slot: always drained, whatever becomes of the pictures."""
        assert self._reception is not None
        limits = self._around.limits
        while True:
            try:
                picture = await track.recv()
            except MediaStreamError:
                self.end("the video ended")
                return
            self._heard_at = time.monotonic()
            if not isinstance(picture, VideoFrame) or picture.pts is None:
                continue
            if picture.width * picture.height > limits.frame_px:
                self.end(f"pictures of {picture.width}x{picture.height} are too large")
                return
            arrived_at = self._reception.arrival(picture.pts)
            self._camera.put(picture, arrived_at)

    def _opened(self, channel: RTCDataChannel) -> None:
        if self.ending:  # what begins now would never end
            if channel.label == "control":
                self._control = channel
                self._say("bye", reason=self.reason)
            return
        channel.on("message", partial(self._said, channel))
        if channel.label == "poses" and not self._posing:
            self._posing = True
            self._tasks.start(self._send_poses(channel, self._entry.hub), f"poses-{self.name}")
        elif channel.label == "control" and self._control is None:
            self._control = channel
            self._tasks.start(self._send_stats(channel), f"stats-{self.name}")
            self._say("hello", stream=self.name, settings=self._entry.settings.as_dict(), models=self._studio.models())
        elif (strange := self._strange + 1) > _STRANGE:
            self.end("more data channels than there are uses for")
        else:
            self._strange = strange
            channel.close()

    async def _send_poses(self, channel: RTCDataChannel, hub: Hub) -> None:
        assert self._reception is not None
        with hub.following(Wish.POSES) as items:
            async for item in items:
                if channel.readyState != "open" or channel.bufferedAmount > self._around.limits.send_bytes:
                    self._unsent += 1
                    continue
                frame = item.result.frame
                age_ms = 1000 * (time.monotonic() - frame.captured_at)
                # Into the line that all followers share: what only its sender can use.
                own = f',"rtp":{self._reception.rtp_timestamp(frame.pts)},"age_ms":{age_ms:.2f}}}'
                channel.send(item.line[:-1] + own)

    async def _send_stats(self, channel: RTCDataChannel) -> None:
        while True:
            await asyncio.sleep(_STATS_S)
            reception, camera = self._reception, self._camera
            self._say(
                "stats",
                **self._studio.catalogue.figures(self.name),
                models=self._studio.models(),
                skipped=0 if reception is None else reception.skipped,
                replaced=camera.dropped,
                unsent=self._unsent,
            )

    def _said(self, channel: RTCDataChannel, message: str | bytes) -> None:
        """The limits are for all channels together; only one is listened to, and none behind the goodbye."""
        if self.ending:
            return
        try:
            said = self._inbox.read(message)
        except ConfigError as error:
            self.end(str(error))
            return
        if channel is not self._control:
            return
        try:
            self._obey(said)
        except ConfigError as error:
            self._say("error", message=str(error))

    def _obey(self, said: Mapping[str, Any]) -> None:
        kind = said["type"]
        if kind == "ping":
            at = said.get("t")
            known = isinstance(at, int) or (isinstance(at, float) and math.isfinite(at))  # no other number is JSON
            self._say("pong", t=at if known else None)
        elif kind == "set":
            self._studio.catalogue.change(self._entry, {k: v for k, v in said.items() if k != "type"})
        elif kind == "model":
            if (name := said.get("name")) not in self._studio.models()["names"]:
                raise ConfigError("there is no such model here")
            if not self._studio.choose(str(name)):
                raise ConfigError("another model is being loaded")
        else:
            raise ConfigError(f"nobody knows what {kind[:40]!r} is")

    def _changed(self) -> None:
        """The settings have, by a message of this session's own or over HTTP."""
        self._video.show(self._entry.settings.mode == "rendered")
        self._say("settings", settings=self._entry.settings.as_dict())

    def _say(self, kind: str, **what: Any) -> None:
        channel = self._control
        room = channel is not None and channel.bufferedAmount < self._around.limits.send_bytes
        if channel is not None and room and channel.readyState == "open":
            channel.send(json.dumps({"type": kind, **what}, separators=(",", ":")))

    async def _idle(self, now: float) -> str | None:
        idle_s = self._around.limits.idle_s
        if self._studio.catalogue.is_over(self._entry):
            return "its stream ended"
        return None if now - self._heard_at < idle_s else f"no picture came from the camera for {idle_s:g} s"

    async def _let_go(self) -> None:
        self._say("bye", reason=self.reason)
        self._camera.end()
        self._video.stop()
        await self._studio.catalogue.release(self._entry)
        if self._pc.sctp is not None:
            await heard(self._pc.sctp, _GOODBYE_S)
