"""The streams of a web server, by name."""

from __future__ import annotations

import asyncio
import re
import secrets
from collections.abc import Callable, Mapping
from typing import Any

from streampose.errors import ConfigError
from streampose.metrics import Snapshot
from streampose.observe.state import fault_of, state_of
from streampose.pipeline import Pipeline
from streampose.redaction import redact
from streampose.sources import Source, open_source
from streampose.streams import Stream
from streampose.tracking import Tracker
from streampose.web.finishing import DrawnOnDemand, SmoothedOnDemand
from streampose.web.hub import Hub
from streampose.web.limits import Limits, check_memory
from streampose.web.settings import Settings
from streampose.web.tasks import Tasks

__all__ = ["Catalogue", "Entry", "Taken", "check_name", "new_name"]

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_LONGEST = 4096
_FROM_AFAR = re.compile(r"(?i:rtsps?|rtmps?|https?|srt)://|synthetic:")
_THOSE = "rtsp(s)://, rtmp(s)://, http(s)://, srt:// and synthetic:"


class Taken(ConfigError):
    """There is a stream of this name already."""


class Entry:
    """One stream: who follows it, and its settings.

    Args:
        name: of the stream.
        hidden: whether nobody but its session sees it.
        origin: ``server`` (was there from the start), ``api`` (added over HTTP) or ``peer`` (somebody publishes it).
    """

    def __init__(self, name: str, *, hidden: bool, origin: str, loop: asyncio.AbstractEventLoop) -> None:
        self.name, self.hidden, self.origin = name, hidden, origin
        self.hub = Hub(loop)
        self.settings = Settings()
        self.on_changed: Callable[[], object] = lambda: None
        """Called when the settings have changed, by whomever."""

    def stream(self, source: Source) -> Stream:
        """For the pipeline."""
        return Stream(
            name=self.name,
            source=source,
            sinks=(self.hub,),
            budget_s=self.settings.budget_s,
            tracker=Tracker(),
            smoother=SmoothedOnDemand(lambda: self.settings),
            renderer=DrawnOnDemand(lambda: self.settings, lambda: self.hub.draws),
        )


class Catalogue:
    """What there is to see.

    Args:
        pipeline: all run in it.
        limits: how many.
    """

    def __init__(self, pipeline: Pipeline, limits: Limits) -> None:
        self._pipeline, self._limits = pipeline, limits
        self._entries: dict[str, Entry] = {}
        self._tasks = Tasks()

    def __getitem__(self, name: str) -> Entry:
        """The stream of a name, unless it is its visitor's alone.

        Raises:
            KeyError: there is none.
        """
        entry = self._entries[name]
        if entry.hidden:
            raise KeyError(name)
        return entry

    def __contains__(self, name: object) -> bool:
        return name in self._entries

    def reserve(self, name: str, *, origin: str = "peer", hidden: bool = False) -> Entry:
        """Take a name for a stream that begins later.

        Raises:
            Taken: the name is.
            ConfigError: it is none.
        """
        check_name(name)
        if name in self._entries:
            raise Taken(f"a stream named {name!r} is there already")
        entry = self._entries[name] = Entry(name, hidden=hidden, origin=origin, loop=asyncio.get_running_loop())
        return entry

    async def start(self, entry: Entry, source: Source) -> None:
        """Begin the stream of a reserved name.

        Raises:
            ConfigError: the server is stopping; the name is free again.
        """
        try:
            await self._pipeline.add(entry.stream(source))
        except ConfigError:
            del self._entries[entry.name]
            raise
        self._tasks.start(self._tell_of_the_end(entry), f"end-{entry.name}")

    async def _tell_of_the_end(self, entry: Entry) -> None:
        await self._pipeline.ended(entry.name)
        entry.hub.close()  # of a stream that never began nobody else does

    async def aclose(self) -> None:
        """Wait for no stream any more."""
        await self._tasks.aclose()

    async def add(self, name: str, source: Source, *, origin: str) -> Entry:
        """Let a stream join.

        Raises:
            ConfigError: its name is taken, or is none.
        """
        entry = self.reserve(name, origin=origin)
        await self.start(entry, source)
        return entry

    async def add_remote(self, name: str, text: str) -> Entry:
        """Let a stream join that was asked for over HTTP: from the network or drawn. Files and devices are not for all.

        Raises:
            ConfigError: there are too many, or the source is not understood or none of these.
            Full: there is no memory for another one.
        """
        if len(text) > _LONGEST:  # before anything looks at it
            raise ConfigError(f"a source of {len(text)} characters is too long: {_LONGEST} are the most")
        if not text.isprintable():  # a line end in it would be one of the requests that are made with it
            raise ConfigError("a source has only printable characters")
        if sum(entry.origin == "api" for entry in self._entries.values()) >= self._limits.streams:
            raise ConfigError(f"there are {self._limits.streams} streams already")
        check_memory(self._limits)
        if not _FROM_AFAR.match(text):
            raise ConfigError(
                f"over HTTP only {_THOSE} can be added, no files, devices or ports of the server's machine"
            )
        # Live, whatever it is: a recording that waits for its turns would fill the lane of a server that many share.
        return await self.add(name, open_source(text, live=True), origin="api")

    async def release(self, entry: Entry) -> None:
        """End a stream, whether it has begun or not. May be called twice."""
        if entry.name in self._pipeline.reports:
            await self._pipeline.remove(entry.name, drain_s=2.0)
        entry.hub.close()
        if self._entries.get(entry.name) is entry:
            del self._entries[entry.name]

    def change(self, entry: Entry, wishes: Mapping[str, Any]) -> None:
        """Change settings of a stream.

        Raises:
            ConfigError: they make no sense; nothing is changed.
        """
        settings = entry.settings.changed(wishes)
        if settings.budget_ms != entry.settings.budget_ms and entry.name in self._pipeline.reports:
            self._pipeline.set_budget(entry.name, settings.budget_s)
        entry.settings = settings
        entry.on_changed()

    def is_over(self, entry: Entry) -> bool:
        """Whether a stream has ended, for whatever reason."""
        report = self._pipeline.reports.get(entry.name)
        return entry.hub.closed or (report is not None and report.outcome is not None)

    def list(self) -> list[dict[str, Any]]:
        """All that are not hidden, as plain data."""
        now = self._pipeline.snapshot()  # of all streams, so it is made once
        return [self.describe(entry, now) for entry in self._entries.values() if not entry.hidden]

    def describe(self, entry: Entry, now: Snapshot | None = None) -> dict[str, Any]:
        """One stream as plain data; see the schema `Stream` in openapi.json."""
        report, info = self._pipeline.reports.get(entry.name), None
        about: dict[str, Any] = {"id": entry.name, "origin": entry.origin, "state": "opening", "fault": None}
        if report is not None:
            info = report.info
            fault = fault_of(report)
            about |= {"state": state_of(report).value, "fault": None if fault is None else redact(fault)}
        if (latest := entry.hub.latest) is not None:  # WebRTC changes sizes on the way
            about["size_px"] = list(latest.frame.size_px)
        else:
            about["size_px"] = None if info is None else [info.width_px, info.height_px]
        return about | {"figures": self.figures(entry.name, now), "settings": entry.settings.as_dict()}

    def figures(self, name: str, now: Snapshot | None = None) -> dict[str, Any]:
        """How a stream is doing, now."""
        snapshot = now or self._pipeline.snapshot()
        stream = snapshot.streams.get(name)
        if stream is None:
            return {}
        return {
            "fps_in": _round(stream.fps_in),
            "fps_out": _round(stream.fps),
            "latency_ms": _ms(stream.recent_p50_s),
            "latency_p95_ms": _ms(stream.recent_p95_s),
            "captured": stream.captured,
            "delivered": stream.delivered,
            "dropped": stream.dropped_total,
            "people": stream.people,
            "batch": stream.batch_size,
            "batch_ms": _ms(snapshot.engine.batch_p50_s),
            "streams": len(snapshot.streams),
        }


def check_name(name: str) -> None:
    """See whether a stream can be called so.

    Raises:
        ConfigError: it cannot.
    """
    if not _NAME.fullmatch(name):
        raise ConfigError(
            f"{name[:70]!r} is no name here: a stream's name has letters (A to Z), digits, dots, hyphens and "
            "underscores, at most 64, and begins with a letter or a digit"
        )


def new_name() -> str:
    """For a visitor's stream."""
    return f"visitor-{secrets.token_hex(4)}"


def _ms(seconds: float | None) -> float | None:
    return None if seconds is None else round(1000 * seconds, 2)


def _round(value: float | None) -> float | None:
    return None if value is None else round(value, 2)
