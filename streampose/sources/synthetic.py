"""People of our own drawing, with exact key points: video without a camera."""

from __future__ import annotations

import time
from collections.abc import Callable
from fractions import Fraction
from functools import cached_property
from typing import Any
from urllib.parse import parse_qsl

import numpy as np

from streampose.errors import ConfigError, SourceError
from streampose.frame import Frame, Image, StreamInfo
from streampose.pose import Poses
from streampose.skeletons import COCO_17
from streampose.sources.room import room
from streampose.sources.scene import Camera, cast
from streampose.sources.source import at_rate
from streampose.sources.view import View

__all__ = ["SyntheticSource"]

_COVERED = 0.5  # the score of a key point that a body covers


class SyntheticSource:
    """Drawn people who walk, turn and wave in a room. Frame i depends on nothing but the parameters and i.

    A live source is paced as a camera is: frame i is due i / rate seconds after `open`. Who reads late gets the
    newest frame that is due, and the gap in the indices shows what was missed.

    Args:
        people: 0 to 16.
        width_px: 64 to 4096.
        height_px: 64 to 4096.
        rate: frames a second, 0.1 to 1000.
        seconds: the length; `None` = endless.
        seed: another number, other people in another room.
        live: paced by the clock; else as fast as it is read.
        markers: draw a disc of its own saturated colour (`markers.MARKER_RGB`) on each joint.

    Raises:
        ConfigError: a parameter is out of its range.
    """

    def __init__(
        self,
        *,
        people: int = 1,
        width_px: int = 1280,
        height_px: int = 720,
        rate: int | float | Fraction = 30,
        seconds: float | None = None,
        seed: int = 0,
        live: bool = True,
        markers: bool = False,
    ) -> None:
        _check("people", people, 0 <= people <= 16, "0 to 16")
        _check(
            "size",
            f"{width_px}x{height_px}",
            min(width_px, height_px) >= 64 and max(width_px, height_px) <= 4096,
            "64x64 to 4096x4096",
        )
        _check("fps", rate, 0.1 <= rate <= 1000, "0.1 to 1000")
        _check("seconds", seconds, seconds is None or 0 < seconds < float("inf"), "above 0")
        _check("seed", seed, seed >= 0, "0 or more")
        self.live = live
        self._rate = Fraction(rate).limit_denominator(1001)
        self._frames = None if seconds is None else max(1, round(seconds * self._rate))
        self._markers = markers
        self._camera = Camera(width_px=width_px, height_px=height_px)
        self._actors = cast(people, self._camera, seed)
        self._seed = seed
        self._stream: str | None = None
        self._next = 0
        self._opened_at = 0.0

    @classmethod
    def parse(cls, text: str, *, live: bool | None = None) -> SyntheticSource:
        """The source that a user typed: ``synthetic:`` or ``synthetic:?people=2&size=1280x720&fps=25&markers=1``.

        Args:
            text: the keys are people, size, fps, seconds, seed and markers.
            live: `None` = yes.

        Raises:
            ConfigError: a key is unknown or a value makes no sense.
        """
        _, _, query = text.partition(":")
        if query.strip("?") and not query.startswith("?"):
            raise ConfigError(f"cannot read {text!r}: write synthetic:?NAME=VALUE, with the names {', '.join(_KEYS)}")
        options: dict[str, Any] = {"live": live is not False}
        for key, value in parse_qsl(query.removeprefix("?"), keep_blank_values=True):
            if key not in _KEYS:
                raise ConfigError(f"synthetic: knows no {key!r}; its keys are {', '.join(_KEYS)}")
            try:
                options |= _KEYS[key](value)
            except (ValueError, KeyError, ZeroDivisionError):
                raise ConfigError(f"synthetic: cannot read {key}={value!r}; write for example {_EXAMPLE}") from None
        return cls(**options)

    def open(self, stream: str) -> StreamInfo:
        """Furnish the room, then start the clock."""
        self._stream, self._next = stream, 0
        self.render(0)
        self._opened_at = time.monotonic()
        return StreamInfo(
            width_px=self._camera.width_px,
            height_px=self._camera.height_px,
            time_base=1 / self._rate,
            rate=self._rate,
            frames=self._frames,
            duration_s=None if self._frames is None else float(self._frames / self._rate),
            codec="synthetic",
        )

    def read(self) -> Frame | None:
        """The next frame, at its time if the source is live; `None` after the last.

        Raises:
            SourceError: the source is not open.
        """
        if self._stream is None:
            raise SourceError("the synthetic source is not open")
        index = self._next
        if self.live:
            index = max(index, int((time.monotonic() - self._opened_at) * self._rate))
        if self._frames is not None and index >= self._frames:
            return None
        image = self.render(index)
        if self.live:
            time.sleep(max(0.0, self._opened_at + float(index / self._rate) - time.monotonic()))
        self._next = index + 1
        return at_rate(self._stream, index, self._rate, image)

    def close(self) -> None:
        """Stop."""
        self._stream = None

    @cached_property
    def _room(self) -> Image:
        return room(self._camera, self._seed)

    def render(self, index: int) -> Image:
        """The picture of frame `index`: (H, W, 3) uint8 BGR, read-only."""
        image = self._room.copy()
        for _, view in self._look(index):
            view.paint(image, markers=self._markers)
        image.flags.writeable = False
        return image

    def truth(self, index: int) -> Poses:
        """Where everybody is in frame `index`, exactly as they are drawn.

        Scores are 1 for a key point that is seen, 0.5 for one that a body covers (its place is right all the same; a
        marker shows through the own body, unless another marker covers it) and 0 for one outside of the picture. Boxes
        are of all that is drawn of a person, covered or not, cut at the picture's edges. Ids count from 0, row by row.
        """
        looked = self._look(index)
        n = len(looked)
        points, scores = np.zeros((n, 17, 2), np.float32), np.ones((n, 17), np.float32)
        boxes = np.zeros((n, 4), np.float32)
        for place, (i, view) in enumerate(looked):
            nearer = [other for _, other in looked[place + 1 :]]
            points[i], boxes[i] = view.joints, view.box
            scores[i, view.covered(nearer, markers=self._markers)] = _COVERED
            scores[i, view.outside] = 0
        return Poses(
            skeleton=COCO_17,
            points=points,
            scores=scores,
            boxes=boxes,
            box_scores=np.ones(n, np.float32),
            ids=np.arange(n, dtype=np.int64),
        )

    def _look(self, index: int) -> list[tuple[int, View]]:
        """Everybody with their number, the farthest first."""
        time_s = float(index / self._rate)
        stances = [actor.stance(time_s) for actor in self._actors]
        order = sorted(range(len(stances)), key=lambda i: -stances[i].z_m)
        return [(i, View(self._actors[i].figure.build(stances[i]), self._camera)) for i in order]


def _check(name: str, value: object, fits: bool, range_: str) -> None:
    if not fits:
        raise ConfigError(f"synthetic: {name}={value} is out of range: give {range_}")


def _size(text: str) -> dict[str, Any]:
    width, height = text.lower().split("x")
    return {"width_px": int(width), "height_px": int(height)}


def _flag(text: str) -> bool:
    return {"1": True, "true": True, "yes": True, "0": False, "false": False, "no": False}[text.lower()]


_KEYS: dict[str, Callable[[str], dict[str, Any]]] = {
    "people": lambda text: {"people": int(text)},
    "size": _size,
    "fps": lambda text: {"rate": Fraction(text)},
    "seconds": lambda text: {"seconds": float(text)},
    "seed": lambda text: {"seed": int(text)},
    "markers": lambda text: {"markers": _flag(text)},
}
_EXAMPLE = "synthetic:?people=2&size=1280x720&fps=30&seconds=10&seed=1&markers=1"
