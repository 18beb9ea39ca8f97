"""What one window shows."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime
from pathlib import Path

import cv2
import numpy as np

from streampose.frame import Frame, Image, StreamInfo
from streampose.metrics import StreamMetrics
from streampose.naming import safe
from streampose.pose import Poses
from streampose.preview.keys import Action
from streampose.preview.overlay import Row, card, panel
from streampose.render import Hud, Style, draw_hud, draw_poses
from streampose.result import Result
from streampose.sources import Link, LinkState

__all__ = ["View"]

# More is not drawn: the toolkit stretches it. Full HD takes 4 ms to draw here, 4K 10 ms.
_MOST_PIXELS = 1920 * 1080
_NOTICE_S = 3.0
# Figures and the state of the camera change without a new picture, too.
_REFRESH_S = 0.25

_HELP: tuple[Row, ...] = tuple((action.written, action.meaning) for action in Action)


class View:
    """The newest picture of a stream, drawn as its viewer wants it: nothing here changes what other outputs get.

    `show`, `show_frame` and `say` are called from any thread, the rest from the one that drives windows.

    Args:
        title: of the window.
        name: of the stream, for figures and file names.
        mirror: as in a mirror. Texts stay readable, and left and right of the skeleton the person's own.
        style: what is drawn of people, to begin with.
        hud: whether figures are shown, to begin with.
        snapshots: the folder for snapshots.
    """

    def __init__(
        self,
        title: str,
        name: str,
        *,
        mirror: bool = False,
        style: Style | None = None,
        hud: bool = True,
        snapshots: Path | None = None,
    ) -> None:
        self.title, self.name = title, name
        self.mirror, self.style, self.hud = mirror, style or Style(), hud
        self.help = self.paused = False
        self.link: Link | None = None
        """Of a source that reconnects: the window says when it is away."""
        self.failed = False
        """Whether the last try to open or read its source failed."""
        self.engine: str | None = None
        """What computes, for the figures."""
        self.waits_for: dict[str, str] = {}
        """What is still on its way, say, ``{"camera": "opening 0"}``."""
        self.window_size = (960, 540)
        """Width and height in pixels that its window begins with."""
        self.on_change: Callable[[], None] = lambda: None
        """Called, from any thread, when there is something new to draw."""
        self._folder = snapshots or Path()
        self._metrics = StreamMetrics()
        self._lock = threading.Lock()
        self._first_index: int | None = None
        self._last_index = 0
        self._newest: tuple[Frame, Poses | None] | None = None
        self._held: tuple[Frame, Poses | None] | None = None
        self._notice, self._notice_until = "", 0.0
        self._changed, self._drawn_at, self._drawn_size = True, 0.0, (0, 0)

    @property
    def over(self) -> bool:
        """Whether its source failed, and is not tried again."""
        return self.failed and (self.link is None or self.link.state is LinkState.CLOSED)

    def fit(self, info: StreamInfo) -> None:
        """Let the window begin in the size of this stream, or what fits a screen of 1366 × 768 with its bars."""
        scale = min(1.0, 1280 / info.width_px, 680 / info.height_px)
        self.window_size = max(1, round(info.width_px * scale)), max(1, round(info.height_px * scale))

    def show(self, result: Result) -> None:
        """Here is the next result; what was not drawn yet is passed over."""
        with self._lock:
            self._metrics.deliver(result.timing, len(result.poses))
            if self._first_index is None:
                self._first_index = result.frame.index
            self._last_index = result.frame.index
        self._newest = (result.frame, result.poses)
        if not self.paused:
            self.redraw()

    def show_frame(self, frame: Frame) -> None:
        """Here is a picture without poses, of no interest any more once there are results."""
        if self._first_index is None:
            self._newest = (frame, None)
            self.redraw()

    def say(self, text: str, for_s: float = _NOTICE_S) -> None:
        """Show a notice over the picture for a while."""
        self._notice, self._notice_until = text, time.monotonic() + for_s
        self.redraw()

    def wait_for(self, what: str, text: str | None) -> None:
        """Say that something is on its way; `None` = it is there."""
        waits = {key: value for key, value in self.waits_for.items() if key != what}
        self.waits_for = waits if text is None else waits | {what: text}
        self.redraw()

    def redraw(self) -> None:
        """There is something new to draw."""
        self._changed = True
        self.on_change()

    def do(self, action: Action) -> None:
        """What a key asks for, if it is the view's business."""
        match action:
            case Action.HELP:
                self.help = not self.help
            case Action.PAUSE:
                self.paused = not self.paused
                self._held = self._newest if self.paused else None
            case Action.MIRROR:
                self.mirror = not self.mirror
            case Action.BOXES:
                self.style = replace(self.style, boxes=not self.style.boxes)
            case Action.IDS:
                self.style = replace(self.style, ids=not self.style.ids)
            case Action.HUD:
                self.hud = not self.hud
            case Action.SNAPSHOT:
                self.say(self._snapshot())
        self.redraw()

    def draw(self, width: int, height: int) -> Image | None:
        """The picture for a window of width × height pixels, or a smaller one of the same shape for it to be stretched.

        The stream's picture is in the middle, as large as fits. `None` = nothing has changed.
        """
        now = time.monotonic()
        due = self._changed or (width, height) != self._drawn_size or now - self._drawn_at > _REFRESH_S
        if not due or width < 1 or height < 1:
            return None
        self._changed, self._drawn_at, self._drawn_size = False, now, (width, height)
        shrink = min(1.0, (_MOST_PIXELS / (width * height)) ** 0.5)
        width, height = max(1, round(width * shrink)), max(1, round(height * shrink))
        shown = self._held or self._newest
        if shown is None:
            canvas = card(width, height, [("streampose", self.name), *self._waits()])
        else:
            canvas = _fitted(self._picture(*shown, width, height), width, height)
            if waits := self._waits():
                panel(canvas, waits, at=0.0)
        if now < self._notice_until:
            panel(canvas, [("", self._notice)], at=0.12)
        if self.help:
            panel(canvas, _HELP, at=0.5)
        return canvas

    def _picture(self, frame: Frame, poses: Poses | None, width: int, height: int) -> Image:
        """The stream's picture in the size that fits, with all that is drawn on it."""
        tall, wide = frame.image.shape[:2]
        scale = min(width / wide, height / tall)
        size = max(1, round(wide * scale)), max(1, round(tall * scale))
        if size == (wide, tall):
            picture = frame.image.copy()
        else:
            way = cv2.INTER_AREA if scale < 0.75 else cv2.INTER_LINEAR
            picture = np.asarray(cv2.resize(frame.image, size, interpolation=way), np.uint8)
        if self.mirror:
            picture = np.asarray(cv2.flip(picture, 1), np.uint8)
        if poses is not None:
            draw_poses(
                picture, _placed(poses, size[0] / wide, size[1] / tall, size[0] if self.mirror else None), self.style
            )
            if self.hud:
                draw_hud(picture, replace(self._figures(), people=len(poses)))  # it may be held
        return picture

    def _figures(self) -> Hud:
        with self._lock:
            figures = self._metrics.snapshot(time.monotonic())
            came = self._last_index + 1 - (self._first_index or 0)
        return Hud(
            stream=self.name,
            fps=figures.fps,
            latency_p50_s=figures.recent_p50_s,
            latency_p95_s=figures.recent_p95_s,
            batch_size=figures.batch_size,
            # A gap in the indices is a frame that never came here, wherever it was dropped.
            dropped=came - figures.delivered,
            people=figures.people,
            engine=self.engine,
        )

    def _waits(self) -> list[Row]:
        rows = list(self.waits_for.items())
        link = self.link
        if link is not None and link.cause is not None and link.state is not LinkState.CLOSED:
            what = "lost" if link.state is LinkState.LOST else "not there yet"
            rows = [("camera", f"{what} ({link.cause}), trying again"), *(row for row in rows if row[0] != "camera")]
        if self.paused:
            rows.append(("paused", "space goes on"))
        return rows

    def _snapshot(self) -> str:
        """Save what is shown as the camera sees it, not mirrored, in its own size; what to say about it."""
        shown = self._held or self._newest
        if shown is None:
            return "no picture yet"
        frame, poses = shown
        picture = frame.image.copy()
        if poses is not None:
            draw_poses(picture, poses, self.style)
        when = f"{datetime.now():%Y%m%d-%H%M%S-%f}"[:-3]
        path = self._folder / f"{safe(self.name, 'stream')}-{when}.png"
        _, data = cv2.imencode(".png", picture)  # 30 ms for 720p: the view stands still for a frame
        try:
            path.write_bytes(data.tobytes())
        except OSError as error:
            return f"no snapshot: {path.absolute()}: {error.strerror}"
        return f"saved {path.absolute()}"


def _placed(poses: Poses, x_scale: float, y_scale: float, mirror_px: int | None) -> Poses:
    """The same people on a resized picture, and on its mirror image if that is `mirror_px` wide.

    Left stays the person's own left: points keep their places in the skeleton.
    """
    scale = np.array([x_scale, y_scale], np.float32)
    points = (poses.points + 0.5) * scale - 0.5
    boxes = (poses.boxes.reshape(-1, 2, 2) + 0.5) * scale - 0.5
    if mirror_px is not None:
        points[..., 0] = mirror_px - 1 - points[..., 0]
        boxes[..., 0] = mirror_px - 1 - boxes[:, ::-1, 0]
    return replace(poses, points=points, boxes=boxes.reshape(-1, 4))


def _fitted(picture: Image, width: int, height: int) -> Image:
    """A picture in the middle of a black one."""
    tall, wide = picture.shape[:2]
    if (wide, tall) == (width, height):
        return picture
    canvas = np.zeros((height, width, 3), np.uint8)
    x, y = (width - wide) // 2, (height - tall) // 2
    canvas[y : y + tall, x : x + wide] = picture
    return canvas
