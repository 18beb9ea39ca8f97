"""The streams of a file, which is read again at SIGHUP: those that did not change and are well are not touched."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
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
    made: Mapping[str, Stream]
    instead_of: Mapping[str, str]
    """What is removed before one of `made` is opened: the stream of its name, or one that is gone."""
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
            try:
                say(f"{self._file} is read again: {await self._carry_out(change, pipeline)}")
            except StreamposeError as error:
                fail(f"not everything was changed: {redact(str(error))}")

    def _read(self, pipeline: Pipeline) -> _Change:
        """Read the file, and make the streams that it wants otherwise; none has been touched.

        Raises:
            ConfigError: it makes no sense, or names no stream.
            StreamposeError: a stream cannot be.
        """
        config = load_config(self._file)
        if not config.streams:  # a file that is being written, more often than a wish
            raise ConfigError(f"{self._file} names no stream: to end all of them, stop the run")
        old, new = self._known.streams, config.streams
        failed = {name for name, report in pipeline.reports.items() if report.outcome is Outcome.FAILED}
        names = [name for name, entry in new.items() if entry != old.get(name) or name in failed]
        gone = [name for name in old if name not in new and name in pipeline.reports]
        instead_of = {name: name for name in names if name in pipeline.reports}
        for name, other in itertools.product(names, gone):
            # A camera of another name may be open once only, and what a lone stream writes may be single files.
            shared = old[other].source == new[name].source or len(new) == 1
            if shared and name not in instead_of and other not in instead_of.values():
                instead_of[name] = other
        made = dict(zip(names, self._make(new, names), strict=True))
        return _Change(config=config, made=made, instead_of=instead_of, gone=gone)

    async def _carry_out(self, change: _Change, pipeline: Pipeline) -> str:
        """Change the streams; in words, how.

        Raises:
            StreamposeError: one could not be changed; the others are.
        """
        made, instead_of = change.made, change.instead_of
        done = await asyncio.gather(
            *(pipeline.remove(name) for name in change.gone if name not in instead_of.values()),
            *(pipeline.replace(made[name], old=old) for name, old in instead_of.items()),
            *(pipeline.add(stream) for name, stream in made.items() if name not in instead_of),
            return_exceptions=True,
        )
        for error in done:
            if isinstance(error, BaseException):
                raise error
        options = ", options: only at the start" * (change.config.options != self._known.options)
        self._known = change.config
        changed = sum(name == old for name, old in instead_of.items())
        return f"{len(made) - changed} added, {changed} changed, {len(change.gone)} removed{options}"
