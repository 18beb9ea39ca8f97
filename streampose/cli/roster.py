"""The streams of a file, which is read again at SIGHUP: those that did not change and are well are not touched."""

from __future__ import annotations

import asyncio
import contextlib
import signal
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from streampose.cli.config import Config, StreamEntry, load_config
from streampose.cli.say import fail, say
from streampose.errors import ConfigError, StreamposeError
from streampose.pipeline import Pipeline
from streampose.redaction import redact
from streampose.streams import Outcome, Stream

__all__ = ["Roster"]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Change:
    """What a file that was read again wants otherwise; every stream of it can be."""

    config: Config
    made: Sequence[Stream]
    gone: Sequence[str]


class Roster:
    """Keeps a pipeline's streams as a file has them.

    Args:
        file: see `load_config`.
        known: what it said at the start.
        make: the streams of these names, of all that shall be; raises if they cannot be together.
    """

    def __init__(
        self,
        file: Path,
        known: Config,
        make: Callable[[Mapping[str, StreamEntry], Sequence[str]], Sequence[Stream]],
    ) -> None:
        self._file, self._make = file, make
        self._known = known
        self._one_at_a_time = asyncio.Lock()
        self._tasks: set[asyncio.Task[None]] = set()
        self._begin: Callable[[], object] | None = None
        self._missed = False

    @contextlib.contextmanager
    def listening(self) -> Iterator[None]:
        """While it lasts, SIGHUP has the file read again, or remembered until there is a pipeline; on systems that have
        none, nothing does.

        Once it is over SIGHUP is ignored: the process ends, which such a signal would call a failure.
        """
        if not hasattr(signal, "SIGHUP"):
            yield
            return
        signal.signal(signal.SIGHUP, lambda *_: self._hung_up())
        try:
            yield
        finally:
            signal.signal(signal.SIGHUP, signal.SIG_IGN)

    @contextlib.contextmanager
    def following(self, pipeline: Pipeline) -> Iterator[None]:
        """While it lasts, this pipeline's streams change with the file."""
        loop = asyncio.get_running_loop()

        def begin() -> None:
            task = loop.create_task(self._again(pipeline))
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

        self._begin = lambda: loop.call_soon_threadsafe(begin)
        if self._missed:
            begin()
        try:
            yield
        finally:
            self._begin = None
            for task in self._tasks:
                task.cancel()

    def _hung_up(self) -> None:
        if self._begin is None:
            self._missed = True
        else:
            self._begin()

    async def _again(self, pipeline: Pipeline) -> None:
        async with self._one_at_a_time:
            try:
                change = self._read(pipeline)
            except StreamposeError as error:
                fail(f"nothing was changed: {redact(str(error))}")
                return
            for refusal in await self._carry_out(change, pipeline):
                fail(f"not everything was changed: {redact(str(refusal))}")

    def _read(self, pipeline: Pipeline) -> _Change:
        """Read the file, and make the streams that it wants otherwise; none has been touched.

        Raises:
            ConfigError: it makes no sense, or names no stream.
            StreamposeError: a stream cannot be.
        """
        config = load_config(self._file)
        if not config.streams:  # a file that is being written, more often than a wish
            raise ConfigError(f"{self._file} names no stream: to end all of them, stop the run")
        new, reports = config.streams, pipeline.reports
        well = {name for name, report in reports.items() if report.outcome is not Outcome.FAILED}
        names = [name for name, entry in new.items() if name not in well or entry != self._known.streams.get(name)]
        return _Change(config=config, made=self._make(new, names), gone=[name for name in reports if name not in new])

    async def _carry_out(self, change: _Change, pipeline: Pipeline) -> Sequence[StreamposeError]:
        """Change the streams, and say how.

        Returns:
            Why some could not be added; the next time that is tried again.
        """
        errors: list[StreamposeError] = []
        added: dict[str, StreamEntry] = {}
        left = [*change.gone, *(stream.name for stream in change.made if stream.name in pipeline.reports)]
        with pipeline.held_open():
            # All of them first: one may have the camera, port or file of another, which may call it otherwise.
            await asyncio.gather(*map(pipeline.remove, left))
            for stream in change.made:
                try:
                    await pipeline.add(stream)
                except StreamposeError as error:
                    errors.append(error)
                else:
                    added[stream.name] = change.config.streams[stream.name]
        changed = len(added.keys() & left)
        options = ", options: only at the start" * (change.config.options != self._known.options)
        counts = f"{len(added) - changed} added, {changed} changed, {len(left) - changed} removed"
        say(f"{self._file} is read again: {counts}{options}")
        stays = {name: entry for name, entry in self._known.streams.items() if name not in left}
        self._known = Config(options=change.config.options, streams=stays | added)
        return errors
