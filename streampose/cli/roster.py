"""The streams of a file, which is read again at SIGHUP: those that did not change and are well are not touched."""

from __future__ import annotations

import asyncio
import contextlib
import signal
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

from streampose.cli.config import Config, StreamEntry, load_config
from streampose.cli.say import fail, say
from streampose.errors import ConfigError, StreamposeError
from streampose.pipeline import Pipeline
from streampose.redaction import redact
from streampose.streams import Outcome, Stream

__all__ = ["Roster"]


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
                say(f"{self._file} is read again: {await self.update(pipeline)}")
            except StreamposeError as error:
                fail(f"nothing was changed: {redact(str(error))}")

    async def update(self, pipeline: Pipeline) -> str:
        """Read the file and do what it says; in words, what that was.

        Raises:
            ConfigError: it makes no sense, or names no stream: no stream has been touched.
            StreamposeError: a stream cannot be; the same.
        """
        config = load_config(self._file)
        if not config.streams:  # a file that is being written, more often than a wish
            raise ConfigError(f"{self._file} names no stream: to end all of them, stop the run")
        old, new = self._known.streams, config.streams
        failed = {name for name, report in pipeline.reports.items() if report.outcome is Outcome.FAILED}
        # All are made before any is touched.
        names = [name for name, entry in new.items() if entry != old.get(name) or name in failed]
        made = dict(zip(names, self._make(new, names), strict=True))
        gone = [name for name in old if name not in new]
        changed = [name for name in made if name in pipeline.reports]
        added = [name for name in made if name not in changed]
        options = ", options: only at the start" * (config.options != self._known.options)
        self._known = config
        await asyncio.gather(
            *(pipeline.remove(name) for name in gone if name in pipeline.reports),
            *(pipeline.replace(made[name]) for name in changed),
            *(pipeline.add(made[name]) for name in added),
        )
        return f"{len(added)} added, {len(changed)} changed, {len(gone)} removed{options}"
