"""The second pass: who is who, and what can be made better by knowing what comes later."""

from __future__ import annotations

from collections.abc import Callable, Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from streampose.clip import Moment
from streampose.errors import ConfigError
from streampose.motion import Choice, Span, calm, fill, link, only, pick, renamed, shots, survey
from streampose.motion.sightings import Sighting, Who
from streampose.offline.spool import Spool, SpoolWriter, read_spool
from streampose.pose import Skeleton
from streampose.tracking import Tracker
from streampose.whole import appear

__all__ = ["REFINED", "Refinement", "Report", "refine"]

REFINED = 3
"""Goes up when the same people come out in another way; what went out before is made anew."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Refinement:
    """What is done to the people that the models found.

    Raises:
        ConfigError: something needs ids, and there is no tracking.
    """

    track: bool = True
    """Give them ids, as in a live run."""
    link_s: float = 0.0
    """Take somebody who is found again after at most so long for the same person."""
    fill_s: float = 0.0
    """Put in people and points that are missing for at most so long."""
    sigma_s: float = 0.0
    """Smooth over so long, without lag."""
    person: Choice | None = None
    """One person only; `None` = everybody."""
    min_score: float = 0.3
    """A point below it is missing, for filling and smoothing."""

    def __post_init__(self) -> None:
        if self.looks_ahead and not self.track:
            raise ConfigError("linking, filling, smoothing and choosing follow people by their ids: they need tracking")

    @property
    def looks_ahead(self) -> bool:
        """Whether anything is done that knows what comes later."""
        return self.person is not None or self.link_s > 0 or self.fill_s > 0 or self.sigma_s > 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """What the second pass saw and did. All times are media times in seconds."""

    people: tuple[Sighting, ...]
    """Everybody who goes out."""
    spans: tuple[Span, ...]
    """Who is the one, where one was asked for; each but the first begins with a switch."""
    missing: tuple[tuple[int, float, float], ...]
    """Absences that stay: id, last seen, seen again. Of one person also before they come and after they have gone: from
    the first frame, to the last one."""
    filled: int
    """People put into frames in which they had not been found."""

    @property
    def switches(self) -> tuple[tuple[float, int, int], ...]:
        """When one person takes over from another: time, from, to."""
        return tuple((b.first_s, a.id, b.id) for a, b in pairwise(self.spans))

    def as_json(self) -> dict[str, object]:
        """Plain data."""
        return {
            "people": [
                {"id": p.id, "first_s": _r(p.first_s), "last_s": _r(p.last_s), "frames": p.frames} for p in self.people
            ],
            "spans": [{"id": s.id, "first_s": _r(s.first_s), "last_s": _r(s.last_s)} for s in self.spans],
            "switches": [{"at_s": _r(at_s), "from": old, "to": new} for at_s, old, new in self.switches],
            "missing": [{"id": i, "from_s": _r(a), "to_s": _r(b)} for i, a, b in self.missing],
            "filled": self.filled,
        }


def _r(seconds: float) -> float:
    return round(seconds, 6)


def refine(
    found: Iterable[Moment],
    out: Path,
    options: Refinement,
    *,
    stream: str,
    skeleton: Skeleton,
    cuts: Container[int] = (),
    start_s: float = 0.0,
    check: Callable[[], None] = lambda: None,
) -> Report:
    """Read what the models found once, and write the poses that go out.

    Args:
        found: in order.
        out: the spool to write; it appears when it is whole. Beside it lies one that is not refined yet, for a while.
        options: what is done.
        stream: its name.
        skeleton: of everybody.
        cuts: numbers of the frames that begin a shot, beside those of another size.
        start_s: how far into the recording they begin: from its beginning on the time of a clicked box is counted.
        check: called at each moment; raises to break off.

    Raises:
        SinkError: the disk is full.
        ConfigError: the person who was asked for is not there.
    """
    rough = out.with_name("rough.spool")

    def again() -> Iterator[Moment]:
        return renamed(read_spool(rough, stream, skeleton), names)

    found = shots(found, cuts)
    people = survey(_saved(_tracked(found) if options.track else found, rough, check))
    if not options.looks_ahead:
        appear(rough, out)
        return _report(people, people, [], _breaks(people))
    names = link(people, max_gap_s=options.link_s)
    people = survey(again())
    spans: list[Span] = []
    moments = again()
    if options.fill_s:  # of all, before one is chosen: who stands in twice is not put in between
        moments = fill(moments, max_gap_s=options.fill_s, min_score=options.min_score)
    if options.person is not None:
        begin_s = next((moment.time_s for moment in again()), 0.0) - start_s
        spans = pick(people, options.person, again(), begin_s=begin_s)
        people = survey(only(again(), spans))
        spans = [span for span in spans if _shown(span, people.values())]
        moments = only(moments, spans)
    if options.sigma_s:
        moments = calm(moments, sigma_s=options.sigma_s, min_score=options.min_score)
    empty: list[tuple[int, float, float]] = []
    result = survey(_watched(_saved(moments, out, check), empty))
    rough.unlink()
    return _report(people, result, spans, _breaks(result) if options.person is None else empty)


def _tracked(moments: Iterable[Moment]) -> Iterator[Moment]:
    """With ids, which end with their shot."""
    tracker = Tracker()
    epoch = 0
    for moment in moments:
        if moment.epoch != epoch:
            epoch = moment.epoch
            tracker.reset()
        yield moment.having(tracker.update(moment.poses, moment.time_s))


def _saved(moments: Iterable[Moment], path: Path, check: Callable[[], None]) -> Iterator[Moment]:
    """The moments as they are, once they are on the disk; the file has its name when all are."""
    part = path.with_name(path.name + ".part")
    writer = SpoolWriter(Spool.new(part))
    try:
        for moment in moments:
            check()
            writer.write(moment)
            yield moment
    finally:
        writer.close()
    appear(part, path)


def _watched(moments: Iterable[Moment], empty: list[tuple[int, float, float]]) -> Iterator[Moment]:
    """The moments as they are; spans with nobody in them are added: who was there (or comes first), from, to."""
    person: int | None = None
    since_s = before_s = now_s = None
    for moment in moments:
        now_s, ids = moment.time_s, moment.poses.ids
        if ids is not None and len(ids):
            if since_s is not None:
                empty.append((int(ids[0]) if person is None else person, since_s, now_s))
            person, since_s, before_s = int(ids[0]), None, now_s
        elif since_s is None:
            since_s = now_s if before_s is None else before_s
        yield moment
    if person is not None and since_s is not None and now_s is not None:
        empty.append((person, since_s, now_s))


def _shown(span: Span, people: Iterable[Sighting]) -> bool:
    """Whether any frame shows them: a span between two others may lie between two frames."""
    return any(
        p.id == span.id
        and p.first_s <= span.last_s
        and p.last_s >= span.first_s
        and not any(a < span.first_s and span.last_s < b for a, b in p.breaks)
        for p in people
    )


def _breaks(people: Mapping[Who, Sighting]) -> list[tuple[int, float, float]]:
    return [(p.id, a, b) for p in people.values() for a, b in p.breaks]


def _report(
    before: Mapping[Who, Sighting],
    after: Mapping[Who, Sighting],
    spans: Sequence[Span],
    missing: Sequence[tuple[int, float, float]],
) -> Report:
    return Report(
        people=tuple(after.values()),
        spans=tuple(spans),
        missing=tuple(sorted(missing, key=lambda gap: gap[1:])),
        filled=sum(seen.frames - before[person].frames for person, seen in after.items()),
    )
