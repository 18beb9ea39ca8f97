"""What is done to one recording when the models have seen it: the second pass, files, videos."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

from streampose.clip import Moment
from streampose.formats import FORMATS
from streampose.formats import write as write_poses
from streampose.motion import prompts
from streampose.offline.cuts import find_cuts
from streampose.offline.drawing import Drawing, draw
from streampose.offline.job import Job, State, fingerprint_of, put
from streampose.offline.plan import Plan
from streampose.offline.refinement import Report, refine
from streampose.offline.spool import read_spool, read_thumbnails
from streampose.pose import Skeleton
from streampose.skeletons import skeleton_of
from streampose.sources import Excerpt, Source

__all__ = ["Finishing", "Interrupted"]

T = TypeVar("T")


class Interrupted(Exception):
    """Somebody asked it to stop; what is done is kept."""


@dataclass(slots=True, kw_only=True)
class Finishing:
    """Makes the outputs of a recording that are not there yet. Blocking: for a thread of its own."""

    job: Job
    state: State
    plan: Plan
    tick: Callable[[str, int], None]
    """Told what is being done, and at which frame it is."""
    stopped: threading.Event
    """Of the whole run."""
    _interrupted: bool = False

    def __call__(self) -> Report | None:
        """Make them; each is remembered when it is whole.

        Returns:
            Of the second pass; `None` = it had been done before.

        Raises:
            Interrupted: by `interrupt`.
            StreamposeError: a disk is full, the video cannot be read, nobody is the person asked for.
        """
        report = self._refine()
        for name, wanted in self.plan.outputs(self.job, self.state).items():
            path = self.job.folder / name
            if self.state.outputs.get(name) == wanted and path.exists():
                continue
            self.state.outputs.pop(name, None)
            if name not in self.state.written:
                self.state.written.append(name)
            self.job.save(self.state)
            drawing = next((d for d in self.plan.drawings if self.job.name + d.suffix == name), None)
            if drawing is not None:
                self._draw(drawing, name, wanted)
            elif path == self._report:
                pass  # the second pass has made it
            elif name == f"{self.job.name}.prompts.json":
                put(path, json.dumps(prompts(self._again), indent=1).encode())
            elif name == f"{self.job.name}.images.json":
                put(path, json.dumps([image.name for image in self.job.input.paths], indent=1).encode())
            else:
                kind = next(f for f in self.plan.formats if self.job.name + FORMATS[f].suffix == name)
                write_poses(path, self._ticking(self._again(), name), kind)
            self.state.outputs[name] = wanted
            self.job.save(self.state)
        return report

    def interrupt(self) -> None:
        """Break off at the next frame."""
        self._interrupted = True

    def close(self) -> None:
        """Nothing to let go of."""

    def _refine(self) -> Report | None:
        wanted = self.plan.poses(self.state)
        told = self._report.exists() or not self.plan.refinement.looks_ahead
        if self.state.poses == wanted and self.job.poses.exists() and told:
            return None
        self.state.poses = None
        self.job.save(self.state)
        options = self.plan.refinement
        name, skeleton = self.job.name, self._skeleton
        cuts = find_cuts(self._checking(read_thumbnails(self.job.found, skeleton)))
        found = self._ticking(read_spool(self.job.found, name, skeleton), "ids")
        report = refine(
            found,
            self.job.poses,
            options,
            stream=name,
            skeleton=skeleton,
            cuts=cuts,
            start_s=self.plan.cut.start_s,
            check=self._check,
        )
        if options.looks_ahead:
            put(self._report, json.dumps(report.as_json(), indent=1).encode())
        self.state.poses = wanted
        self.job.save(self.state)
        return report

    def _draw(self, drawing: Drawing, name: str, wanted: str) -> None:
        plan = self.plan

        def source(first: Moment) -> Source:
            # As it is, whatever light the models had.
            cut = replace(plan.cut, contrast=None)
            known = (first.index, first.pts)
            return Excerpt(self.job.input.source(plan.hwaccel), cut, resume_at=first.index, known=known)

        # Pieces of another drawing, or of other poses, are of no use.
        work = self.job.pieces / fingerprint_of(name, wanted)
        info = self.job.input.info()
        rate = None if info is None or info.rate is None else info.rate / plan.cut.every
        draw(
            drawing,
            self._again,
            source,
            self.job.folder / name,
            work,
            rate=rate,
            recording=self.job.input.video,
            tick=lambda done: self._told(name, done),
        )

    @property
    def _report(self) -> Path:
        return self.job.folder / f"{self.job.name}.report.json"

    @property
    def _skeleton(self) -> Skeleton:
        return skeleton_of(self.state.skeleton, self.state.names, self.state.edges)

    def _again(self) -> Iterator[Moment]:
        return read_spool(self.job.poses, self.job.name, self._skeleton)

    def _ticking(self, moments: Iterator[Moment], what: str) -> Iterator[Moment]:
        for done, moment in enumerate(moments, 1):
            self._told(what, done)
            yield moment

    def _checking(self, items: Iterator[T]) -> Iterator[T]:
        for item in items:
            self._check()
            yield item

    def _told(self, what: str, done: int) -> None:
        self._check()
        self.tick(what, done)

    def _check(self) -> None:
        if self._interrupted or self.stopped.is_set():
            raise Interrupted
