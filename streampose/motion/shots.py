"""Where one shot ends and the next begins."""

from __future__ import annotations

from collections.abc import Container, Iterable, Iterator
from dataclasses import replace

from streampose.clip import Moment

__all__ = ["shots"]


def shots(moments: Iterable[Moment], cuts: Container[int] = ()) -> Iterator[Moment]:
    """The moments, each shot in an epoch of its own: nobody is followed, put in or smoothed from one into the next.

    Args:
        moments: in order. A picture of another size than the one before begins a shot.
        cuts: numbers of frames that begin one, too.
    """
    before: Moment | None = None
    shot = 0
    for moment in moments:
        shot += before is not None and (moment.size_px != before.size_px or moment.index in cuts)
        before = moment
        yield replace(moment, epoch=moment.epoch + shot)
