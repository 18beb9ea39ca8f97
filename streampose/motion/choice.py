"""One person out of several, through a whole clip."""

from __future__ import annotations

import math
from bisect import bisect_left, bisect_right, insort
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from operator import attrgetter
from typing import Literal

import numpy as np

from streampose.clip import Moment
from streampose.errors import ConfigError
from streampose.motion.sightings import Sighting, Who
from streampose.pose import Poses

__all__ = ["Choice", "Span", "largest", "only", "parse_choice", "pick"]

_FIRST, _LAST = attrgetter("first_s"), attrgetter("last_s")
# A click may come so much before the first frame: --start and the frame after it may be as far apart.
_EARLY_S = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """Who is wanted."""

    by: Literal["largest", "centre", "id", "box"]
    """Most of the picture over the whole clip, nearest to its middle, of an id, or who is in a box that was clicked."""
    id: int | None = None
    box: tuple[float, float, float, float] | None = None
    """x1 y1 x2 y2 in pixels of the picture."""
    at_s: float | None = None
    """When the box was clicked, in media time (in `offline`: since the recording began, as a player shows it); `None` =
    in the first frame in which somebody is in it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """For how long somebody is the one."""

    id: int
    first_s: float
    last_s: float


def parse_choice(text: str) -> Choice:
    """``largest``, ``centre``, ``id:3``, ``box:100,50,300,400`` or ``box:100,50,300,400@12.5`` (seconds).

    Raises:
        ConfigError: something else.
    """
    kind, _, rest = text.strip().partition(":")
    try:
        if kind == "id":
            return Choice(by="id", id=int(rest))
        if kind == "box":
            numbers, at, when = rest.partition("@")
            x1, y1, x2, y2 = (float(number) for number in numbers.split(","))
            if x1 < x2 and y1 < y2:
                return Choice(by="box", box=(x1, y1, x2, y2), at_s=float(when) if at else None)
        elif not rest and kind in {"largest", "center", "centre"}:
            return Choice(by="largest" if kind == "largest" else "centre")
    except ValueError:
        pass
    raise ConfigError(f"{text!r} names no person: write largest, centre, id:3, or box:x1,y1,x2,y2[@seconds]")


def pick(
    found: Mapping[Who, Sighting], choice: Choice, moments: Iterable[Moment] = (), *, begin_s: float = 0.0
) -> list[Span]:
    """Who is the one, from when to when; in order of time, never two at once.

    The best one has all of their span. Where they are not (before they come, after they have gone) the next best stands
    in, for as long as nobody better is there, unless a certain person was asked for.

    Args:
        found: from `survey`, of linked ids.
        choice: who is wanted.
        moments: of the same clip; read for a clicked box alone, and only as far as needed.
        begin_s: media time that the time of a click is counted from.

    Raises:
        ConfigError: nobody has this id, or is in this box, or it was clicked before all moments; or nobody knows where
            the centre is.
    """
    if choice.by == "id":
        best = [seen for seen in found.values() if seen.id == choice.id]
        if not best:
            there = ", ".join(map(str, sorted({seen.id for seen in found.values()}))) or "none"
            raise ConfigError(f"nobody has the id {choice.id}; there are: {there}")
    elif choice.by == "box":
        best = [found[_clicked(choice, moments, begin_s)]]
    elif choice.by == "largest":
        best = sorted(found.values(), key=lambda seen: (-seen.area, seen.id))
    elif any(math.isnan(seen.off_centre) for seen in found.values()):
        raise ConfigError("these poses do not say how large their picture is, so nobody is in its centre: name an id")
    else:  # nearest to the middle for most of the time: far at the edge counts for nothing
        best = sorted(found.values(), key=lambda seen: (seen.off_centre - seen.frames, seen.id))
    spans: list[Span] = []
    for seen in best:
        for span in list(_free(seen, spans)):
            insort(spans, span, key=_FIRST)
    return spans


def _free(seen: Sighting, spans: Sequence[Span]) -> Iterator[Span]:
    """Those parts of somebody's span that are nobody else's yet; less what they are away for at either end of one."""
    from_s = seen.first_s
    for span in spans[bisect_left(spans, seen.first_s, key=_LAST) : bisect_right(spans, seen.last_s, key=_FIRST)]:
        yield from _part(seen, from_s, math.nextafter(span.first_s, -math.inf))
        from_s = math.nextafter(span.last_s, math.inf)
    yield from _part(seen, from_s, seen.last_s)


def _part(seen: Sighting, first_s: float, last_s: float) -> Iterator[Span]:
    for gone_s, back_s in seen.breaks:
        first_s = back_s if gone_s < first_s < back_s else first_s
        last_s = gone_s if gone_s < last_s < back_s else last_s
    if first_s <= last_s:
        yield Span(id=seen.id, first_s=first_s, last_s=last_s)


def largest(poses: Poses) -> Poses:
    """The person of one picture with the largest box, alone and without an id; nobody, where there is nobody."""
    areas = (poses.boxes[:, 2:] - poses.boxes[:, :2]).prod(axis=1)
    return replace(poses.take(np.argsort(-areas, kind="stable")[:1]), ids=None)


def only(moments: Iterable[Moment], spans: Sequence[Span]) -> Iterator[Moment]:
    """The moments with the one person alone; with nobody, where they are not seen."""
    spans = list(spans)
    for moment in moments:
        while spans and spans[0].last_s < moment.time_s:
            del spans[0]
        ids = moment.poses.ids
        wanted = spans[0].id if spans and spans[0].first_s <= moment.time_s else None
        rows = np.zeros(len(moment.poses), np.bool_) if ids is None or wanted is None else ids == wanted
        yield moment.having(moment.poses.take(rows))


def _clicked(choice: Choice, moments: Iterable[Moment], begin_s: float) -> Who:
    assert choice.box is not None
    box = np.array(choice.box)
    for place, moment in enumerate(moments):
        poses, since_s = moment.poses, moment.time_s - begin_s
        if choice.at_s is not None and not place and choice.at_s < since_s - _EARLY_S:
            raise ConfigError(f"nobody is in the box at {choice.at_s:g} s: the first frame is at {since_s:g} s")
        if poses.ids is None or not len(poses) or (choice.at_s is not None and since_s < choice.at_s):
            continue
        inner = np.minimum(poses.boxes[:, 2:], box[2:]) - np.maximum(poses.boxes[:, :2], box[:2])
        shared = inner.clip(0).prod(axis=1)
        areas = (poses.boxes[:, 2:] - poses.boxes[:, :2]).prod(axis=1) + (box[2:] - box[:2]).prod() - shared
        overlap = shared / np.maximum(areas, 1e-9)
        if overlap.max() > 0:
            return moment.epoch, int(poses.ids[overlap.argmax()])
        if choice.at_s is not None:
            break
    when = "" if choice.at_s is None else f" at {choice.at_s:g} s"
    raise ConfigError(f"nobody is in the box {', '.join(f'{x:g}' for x in choice.box)}{when}")
