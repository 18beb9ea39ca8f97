"""What a pipeline is asked to run, and how that went."""

from __future__ import annotations

import os
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Protocol

from streampose.errors import ConfigError
from streampose.frame import Frame, Image, StreamInfo, is_picture
from streampose.number import is_positive, is_whole, within
from streampose.pose import Poses
from streampose.render import Hud
from streampose.result import Result
from streampose.sinks.rotation import original
from streampose.sinks.sink import Sink
from streampose.sources.reconnect import Link
from streampose.sources.source import Source

__all__ = ["Draws", "Outcome", "Stream", "StreamReport", "Trace", "Tracks", "check", "check_all", "check_apart"]


class Tracks(Protocol):
    """Gives people ids, or calms their points by these: `Tracker`, `OneEuro`, or what has their methods."""

    def update(self, poses: Poses, time_s: float) -> Poses:
        """The people of the next picture, as they go on."""

    def reset(self) -> None:
        """Forget everybody: another epoch begins."""


class Draws(Protocol):
    """Draws people: `Renderer`, or a function."""

    def __call__(self, image: Image, poses: Poses, hud: Hud | None, /) -> Image:
        """The picture with them, a new one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Stream:
    """One stream, as asked for: where it comes from, what is done with it, and where it goes."""

    name: str
    source: Source
    sinks: Sequence[Sink] = ()
    budget_s: float | None = None
    """From capture to result; `None` = the policy's. Only live streams have deadlines."""
    weight: float = 1.0
    """Its share of the engines beside the others' where there is not enough for all; > 0."""
    credits: int | None = None
    """How many frames may be between the queue and the sinks; `None` = of a live one the policy's `depth` (4 for
    `LatencyBatch`), or what keeps all engines fed."""
    tracker: Tracks | None = None
    """Stable ids; `None` = none."""
    smoother: Tracks | None = None
    """Calmer key points; needs a tracker."""
    renderer: Draws | None = None
    """Draws for the sinks that want a picture; `None` = a default one, where such a sink is there."""


def check(stream: Stream) -> None:
    """See that it makes sense.

    Raises:
        ConfigError: it does not.
    """
    name, budget_s, frames = stream.name, stream.budget_s, stream.credits
    if not isinstance(name, str):
        raise ConfigError(f"a stream's name is a text, not {name!r}")
    if not isinstance(stream.sinks, Sequence):
        raise ConfigError(f"stream {name!r} has sinks that are no list: sinks=[{type(stream.sinks).__name__}(…)]")
    _has(name, "source", stream.source, ("live", "open", "read", "close"))
    for sink in stream.sinks:
        _has(name, "sink", sink, ("wants_picture", "open", "write", "close"))
    if len({id(sink) for sink in stream.sinks}) < len(stream.sinks):
        raise ConfigError(f"stream {name!r} has one sink twice")
    for what, part in (("tracker", stream.tracker), ("smoother", stream.smoother)):
        if part is not None:
            _has(name, what, part, ("update", "reset"))
    if (draws := stream.renderer) is not None and (isinstance(draws, type) or not callable(draws)):
        raise ConfigError(f"stream {name!r} has a renderer that is none, {draws!r:.80}: it is called, as Renderer() is")
    if stream.smoother is not None and stream.tracker is None:
        raise ConfigError(f"stream {name!r} smooths without tracking: smoothing follows a person, so it needs ids")
    if not within(stream.weight, 1e-3, 1e3):
        raise ConfigError(f"stream {name!r} has a weight of {stream.weight!r}: it is from 0.001 to 1000")
    if budget_s is not None and not is_positive(budget_s):
        raise ConfigError(f"stream {name!r} has a budget of {budget_s!r} s: it is positive")
    if frames is not None and not (is_whole(frames) and frames >= 1):
        raise ConfigError(f"stream {name!r} has {frames} credits: they are a whole number from 1 on")


def _has(name: str, what: str, thing: object, members: tuple[str, ...]) -> None:
    if isinstance(thing, type):
        raise ConfigError(f"stream {name!r} has a {what} that is none, but a class: {thing.__name__}(…) makes one")
    if lacking := [member for member in members if not hasattr(thing, member)]:
        raise ConfigError(
            f"stream {name!r} has a {what} that is none, {type(thing).__name__} without {', '.join(lacking)}"
            f"{_hint(what, thing)}"
        )


def _hint(what: str, thing: object) -> str:
    """What was meant, perhaps."""
    if what == "source" and isinstance(thing, str | Path):
        return ": open_source(…) makes one of a text"
    if what == "source" and is_picture(thing):
        return ": load_estimator()([picture]) finds its people, and a PushSource takes many"
    if what == "sink" and isinstance(thing, str | Path):
        return ": JsonlSink(…) and VideoSink(…) write files"
    if what == "sink" and callable(thing):
        return ": CallSink(…) makes one of a function"
    return ""


def check_all(streams: Collection[Stream]) -> None:
    """See that each makes sense, and all together; whoever has them in a dictionary may give its values.

    Raises:
        ConfigError: they do not.
    """
    if not isinstance(streams, Collection) or not all(isinstance(stream, Stream) for stream in streams):
        raise ConfigError(f"streams are a list of Stream(…), not {streams!r:.80}")
    for stream in streams:
        check(stream)
    check_apart(streams)


def check_apart(streams: Collection[Stream]) -> None:
    """See that what belongs to one stream is in no other.

    Raises:
        ConfigError: two have one name, source, tracker, smoother or sink; two sinks write one file; or one's file is
            called like an old one of another stream's, which rotates.
    """
    names = [stream.name for stream in streams]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise ConfigError(f"two streams are named {twice[0]!r}: give each its own name")
    owners: dict[int, str] = {}
    files: dict[str, str] = {}
    writers: dict[str, Sink] = {}
    rotating: dict[str, str] = {}
    for stream in streams:
        for thing in (stream.source, stream.tracker, stream.smoother, *stream.sinks):
            owner = owners.setdefault(id(thing), stream.name)
            if thing is not None and owner != stream.name:
                what = type(thing).__name__
                raise ConfigError(f"streams {owner!r} and {stream.name!r} have one {what}: give each its own")
        for sink in stream.sinks:
            if (file := _file(sink)) is None:
                continue
            if files.setdefault(file, stream.name) != stream.name:
                raise ConfigError(
                    f"streams {files[file]!r} and {stream.name!r} write one file, {file}: give each its own"
                )
            if writers.setdefault(file, sink) is not sink:
                raise ConfigError(f"two sinks of stream {stream.name!r} write one file, {file}: give each its own")
            if getattr(sink, "rotates", False):
                rotating[file] = stream.name
    for file, name in files.items():
        owner = rotating.get(str(original(Path(file))), name)
        if owner != name:
            raise ConfigError(f"{file} of stream {name!r} is called like an old file of {owner!r}: name it otherwise")


def _file(sink: Sink) -> str | None:
    """What it writes, if that is a file of its own: not standard output, a pipe or a device."""
    path = getattr(sink, "path", None)
    try:
        return os.path.realpath(path) if isinstance(path, Path) and (path.is_file() or not path.exists()) else None
    except (OSError, ValueError):  # it cannot be one, as will be said when it is opened
        return None


class Outcome(StrEnum):
    """How a stream ended."""

    ENDED = "ended"
    """Its source came to its end."""
    STOPPED = "stopped"
    """It was asked to stop, and what was on its way was delivered."""
    FAILED = "failed"
    """By an error; the other streams went on."""
    CANCELLED = "cancelled"
    """It was cut off."""


@dataclass(slots=True, kw_only=True)
class StreamReport:
    """How one stream is doing, and how it ended."""

    info: StreamInfo | None = None
    """Once its source is open."""
    link: Link | None = None
    """How the connection to a source that reconnects is: its state, and what it was lost by."""
    outcome: Outcome | None = None
    """Once it has ended."""
    error: Exception | None = None
    """By which it failed."""
    sinks: Sequence[Sink] = field(default=(), repr=False)
    """Where its results go."""

    @property
    def outputs_away(self) -> int:
        """How many of them go to a server that is away; those of others need not say so."""
        return 0 if self.outcome is not None else sum(getattr(sink, "away", False) is True for sink in self.sinks)


class Trace(Protocol):
    """Is told of each frame's way, on the event loop; times are monotonic."""

    def captured(self, frame: Frame, read_at: float) -> None:
        """A source gave it at this time."""

    def delivered(self, result: Result) -> None:
        """It is finished, and goes to the sinks."""

    def written(self, result: Result, sink: str, began_at: float, ended_at: float) -> None:
        """A sink has taken it."""
