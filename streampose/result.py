"""What comes out of the pipeline for one frame."""

from __future__ import annotations

from dataclasses import dataclass

from streampose.clip import Moment
from streampose.frame import Frame, Image
from streampose.pose import Poses

__all__ = ["Result", "Timing"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Timing:
    """When one frame passed each place, in monotonic seconds, and how big its batch was."""

    captured_at: float
    taken_at: float
    """Left its queue for a batch."""
    inferred_at: float
    """Its batch was done."""
    delivered_at: float
    """Tracked, drawn, and on its way to the sinks."""
    batch_size: int
    """Frames in the batch it was part of, from all streams."""

    @property
    def latency_s(self) -> float:
        """From capture to delivery."""
        return self.delivered_at - self.captured_at


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Result:
    """One frame, who is in it, and the picture drawn of it ((H, W, 3) uint8 BGR, or `None`). Equal to itself only."""

    frame: Frame
    poses: Poses
    """Their arrays are read-only, since all sinks see them: a copy can be changed."""
    timing: Timing
    picture: Image | None = None
    """The rendered frame, (H, W, 3) uint8 BGR; `None` when no sink of the stream wants one.

    Read-only where several sinks want it: a copy can be drawn on.
    """

    def __repr__(self) -> str:
        drawn = "" if self.picture is None else ", with its picture"
        return f"<result of {self.frame!r}: {self.poses!r}, {self.timing.latency_s * 1000:.0f} ms{drawn}>"

    @property
    def moment(self) -> Moment:
        """What it says without its picture."""
        frame = self.frame
        return Moment(
            stream=frame.stream,
            index=frame.index,
            epoch=frame.epoch,
            pts=frame.pts,
            time_base=frame.time_base,
            size_px=frame.size_px,
            poses=self.poses,
            wall_time_s=frame.wall_time_s,
        )
