"""Everything that a run with windows has more than one without."""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

from streampose.errors import StreamposeError
from streampose.inference.loading import PoseEstimator
from streampose.preview.models import Models
from streampose.preview.screen import Screen
from streampose.preview.view import View
from streampose.preview.window import Watched, WindowSink
from streampose.redaction import redact
from streampose.render import Style
from streampose.sources import Reconnecting, is_camera
from streampose.streams import Stream

__all__ = ["Preview"]

T = TypeVar("T")


class Preview:
    """The windows of a run: there at once, with the camera's picture while the models load, and keys to change both.

    Args:
        mirror: show streams as in a mirror; `None` = those of webcams.
        style: what is drawn of people.
        hud: whether to show figures.
        snapshots: the folder for snapshots.
    """

    def __init__(
        self,
        *,
        mirror: bool | None = None,
        style: Style | None = None,
        hud: bool = True,
        snapshots: Path | None = None,
    ) -> None:
        self.screen = Screen()
        self.on_stop: Callable[[], object] = lambda: None
        """What ends the run: a viewer who quits, or that there is no model at all. Until it is set, `quit` says so."""
        self.screen.on_quit = lambda: self.on_stop()  # noqa: PLW0108 - which one, only then
        self.on_loaded: Callable[[Sequence[PoseEstimator]], None] = lambda estimators: None
        """Told, on another thread, of each model."""
        self._mirror, self._style, self._hud, self._snapshots = mirror, style, hud, snapshots
        self._views: list[View] = []

    def watch(self, stream: Stream) -> Stream:
        """The same stream with a window."""
        source = stream.source
        mirror = is_camera(source) if self._mirror is None else self._mirror
        sink = WindowSink(mirror=mirror, style=self._style, hud=self._hud, snapshots=self._snapshots)
        view = sink.view
        view.name, view.title = stream.name, f"streampose: {stream.name}"
        if isinstance(source, Reconnecting):
            view.link = source.link
            # Inside, so that it still is a source that reconnects.
            source.source = Watched(source.source, view)
        else:
            source = Watched(source, view)
        self._views.append(view)
        self.screen.add(view)
        return replace(stream, source=source, sinks=[*stream.sinks, sink])

    def follow(self, models: Models) -> None:
        """Say in every window how loading goes, and let their key go on to the next model."""

        def loaded(name: str, estimators: Sequence[PoseEstimator]) -> None:
            first = not models.ready
            for view in self._views:
                view.engine = f"{name} {'GPU' if estimators[0].on_gpu else 'CPU'}"
            self._wait_for("model", None)
            if not first:
                self.screen.say(f"model: {name}")
            self.on_loaded(estimators)

        def failed(name: str, error: StreamposeError) -> None:
            self._wait_for("model", None)
            if models.ready:
                self.screen.say(f"{name} cannot be loaded: {redact(str(error))}")
            else:
                self.on_stop()

        def following() -> None:
            if not models.next():
                self.screen.say("one moment" if models.loading else "no other model here: streampose models pull NAME")

        models.on_loading = lambda name: self._wait_for("model", f"loading {name}")
        models.on_loaded, models.on_failed = loaded, failed
        self.screen.on_model = following

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """`Screen.run`."""
        return self.screen.run(work)

    def _wait_for(self, what: str, text: str | None) -> None:
        for view in self._views:
            view.wait_for(what, text)
