"""Poses over time, without pictures: what files of poses hold, and what is worked on after a run."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from typing import overload

import numpy as np

from streampose.errors import FormatUnreadable
from streampose.pose import Poses, Skeleton

__all__ = ["Clip", "Moment", "of_one_skeleton", "of_one_stream"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Moment:
    """Who is in one frame of a stream, and when that was."""

    stream: str
    index: int
    """Number of the frame as captured, from 0: a gap is a frame that was dropped or left out."""
    epoch: int = 0
    """+ 1 at each reconnect, in what `process` makes at each new shot; ids of different epochs are different people."""
    pts: int
    """Media time in units of `time_base`."""
    time_base: Fraction
    """Seconds per unit of `pts`."""
    size_px: tuple[int, int]
    """Width and height of the picture that the coordinates belong to."""
    poses: Poses
    wall_time_s: float | None = None
    """Unix seconds at which the camera took it, by its own clock; `None` = not told."""

    @property
    def time_s(self) -> float:
        """Media time in seconds."""
        return float(self.pts * self.time_base)

    def having(self, poses: Poses) -> Moment:
        """The same moment with other people."""
        return replace(self, poses=poses)


@dataclass(frozen=True, slots=True, eq=False)
class Clip(Sequence[Moment]):
    """The moments of one stream, in order of time.

    Raises:
        ValueError: the moments have several skeletons.
    """

    moments: tuple[Moment, ...]

    def __post_init__(self) -> None:
        if len({moment.poses.skeleton for moment in self.moments}) > 1:
            raise ValueError("the moments of a clip have one skeleton")

    @property
    def skeleton(self) -> Skeleton | None:
        """Of all moments; `None` = there are none."""
        return self.moments[0].poses.skeleton if self.moments else None

    @property
    def ids(self) -> tuple[int, ...]:
        """Who is seen at any time, in rising order; empty without tracking."""
        known = [moment.poses.ids for moment in self.moments if moment.poses.ids is not None]
        return tuple(int(person) for person in np.unique(np.concatenate(known))) if known else ()

    def __len__(self) -> int:
        return len(self.moments)

    @overload
    def __getitem__(self, place: int) -> Moment: ...
    @overload
    def __getitem__(self, place: slice) -> Clip: ...
    def __getitem__(self, place: int | slice) -> Moment | Clip:
        if isinstance(place, slice):
            return Clip(self.moments[place])
        return self.moments[place]

    def __iter__(self) -> Iterator[Moment]:
        return iter(self.moments)

    def __repr__(self) -> str:
        if not self.moments:
            return "<clip of no moments>"
        first, last = self.moments[0], self.moments[-1]
        return f"<clip of {first.stream!r}: {len(self)} moments, {first.time_s:.3f} to {last.time_s:.3f} s>"


def of_one_skeleton(moments: Iterable[Moment]) -> Iterator[Moment]:
    """The same moments, for files that hold one skeleton.

    Raises:
        FormatUnreadable: one has another skeleton than the first.
    """
    skeleton: Skeleton | None = None
    for moment in moments:
        skeleton = skeleton or moment.poses.skeleton
        if moment.poses.skeleton != skeleton:
            raise FormatUnreadable(
                f"frame {moment.index} has the points of {moment.poses.skeleton.name}, those before it have "
                f"{skeleton.name}'s: this kind of file holds one skeleton, .jsonl several"
            )
        yield moment


def of_one_stream(moments: Iterable[Moment]) -> Iterator[Moment]:
    """The same moments, for files that hold one stream.

    Raises:
        FormatUnreadable: one is of another stream than the first.
    """
    stream: str | None = None
    for moment in moments:
        stream = moment.stream if stream is None else stream
        if moment.stream != stream:
            raise FormatUnreadable(
                f"frame {moment.index} is of stream {moment.stream!r}, those before it are of {stream!r}: this kind of "
                f"file holds one stream, .jsonl several"
            )
        yield moment
