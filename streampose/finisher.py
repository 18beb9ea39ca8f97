"""What is done to each result of a stream before it goes to the sinks."""

from __future__ import annotations

from dataclasses import replace

from streampose.errors import StreamposeError
from streampose.frame import Frame, Image, is_picture, no_picture, read_only
from streampose.pose import Poses
from streampose.render import Hud, Renderer
from streampose.streams import Draws, Stream
from streampose.tracking import OneEuro, Tracker

__all__ = ["Finisher"]

_FEW = 8


class Finisher:
    """Ids, smoothing, drawing: in order, on one thread."""

    def __init__(self, stream: Stream) -> None:
        self._tracker, self._smoother = stream.tracker, stream.smoother
        # Others' may do anything, and for as long as they want.
        self._ours = {type(self._tracker), type(self._smoother)} <= {Tracker, OneEuro, type(None)}
        takers = sum(sink.wants_picture for sink in stream.sinks)
        self._renderer: Draws | None = (stream.renderer or Renderer()) if takers else None
        self._shared = takers > 1
        self._epoch = 0

    def brief(self, poses: Poses) -> bool:
        """Whether it takes less than the way to another thread and back: at most our ids for a few people."""
        return self._renderer is None and (self._tracker is None or (self._ours and len(poses) <= _FEW))

    def __call__(self, frame: Frame, poses: Poses, hud: Hud | None) -> tuple[Poses, Image | None]:
        """The people as they go out, who can only be read from now on, and the picture, if a sink wants one."""
        if self._tracker is not None:
            if frame.epoch != self._epoch:
                self._epoch = frame.epoch
                self._tracker.reset()
                if self._smoother is not None:
                    self._smoother.reset()
            poses = self._sound(self._tracker.update(poses, frame.time_s), "tracker")
            if self._smoother is not None:
                poses = self._sound(self._smoother.update(poses, frame.time_s), "smoother")
        poses = poses.fixed()
        if self._renderer is None:
            return poses, None
        if hud is not None:  # its other figures change a few times a second
            hud = replace(hud, people=len(poses))
        picture = self._renderer(frame.image, poses, hud)
        if not is_picture(picture):
            raise StreamposeError(f"the renderer gave none: {no_picture(picture)}")
        return poses, read_only(picture) if self._shared else picture

    def _sound(self, poses: Poses, whose: str) -> Poses:
        """The same: an output would else be blamed for it.

        Raises:
            StreamposeError: somebody's own part gave no people, or numbers that are none.
        """
        if not self._ours:
            if not isinstance(poses, Poses):
                raise StreamposeError(f"the {whose} gave {type(poses).__name__}, not Poses")
            if not poses.is_finite():
                raise StreamposeError(f"the {whose} gave a point, box or score that is NaN or infinite")
        return poses

    def close(self) -> None:
        """Nothing to let go of."""
