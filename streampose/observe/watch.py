"""All that looks at one run from outside, switched on by options."""

from __future__ import annotations

from collections.abc import Callable, Container
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

from streampose.errors import ConfigError
from streampose.observe.access import Address
from streampose.observe.health import Need, live
from streampose.observe.notify import ServiceManager
from streampose.pipeline import Pipeline
from streampose.streams import Trace

if TYPE_CHECKING:
    from streampose.observe.server import Observatory

__all__ = ["Watch", "WatchOptions"]


@dataclass(frozen=True, slots=True, kw_only=True)
class WatchOptions:
    """What is wanted."""

    metrics: Address | None = None
    """Where to answer for metrics and health; `None` = nowhere."""
    need: Need = 1
    """How many streams have to deliver to be ready; `None` = all."""
    named: Container[str] | None = None
    """The streams that are told of by name; `None` = all."""
    trace: float = 0.0
    """Share of frames whose way is traced."""


class Watch:
    """A context around the loading of models and the run.

    Args:
        options: what is wanted.
        version: of streampose.

    Raises:
        ConfigError: the address cannot be listened at; spans are wanted without their library, or their URL is none.
    """

    def __init__(self, options: WatchOptions, *, version: str) -> None:
        self._options, self._version = options, version
        self._service = ServiceManager()
        self._observatory: Observatory | None = None
        self._stack = AsyncExitStack()
        self.trace: Trace | None = None
        """For the pipeline."""

    async def __aenter__(self) -> Self:
        options = self._options
        if options.trace:
            self.trace = await self._spans(options.trace)
        if options.metrics is not None:
            from streampose.observe.server import Observatory  # noqa: PLC0415 - slow to import

            observatory = Observatory(options.metrics, version=self._version, need=options.need, named=options.named)
            self._observatory = await self._stack.enter_async_context(observatory)
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._stack.aclose()

    @property
    def port(self) -> int | None:
        """Where it answers."""
        return None if self._observatory is None else self._observatory.port

    def begin(self, pipeline: Pipeline) -> None:
        """The models are loaded, and this runs."""
        if self._observatory is not None:
            self._observatory.watch(pipeline)
        self._service.ready(f"{len(pipeline.reports)} streams")
        self._stack.callback(self._service.keep_fed(lambda: live(pipeline).ok))

    def stopping(self, stop: Callable[[], object]) -> Callable[[], None]:
        """The same function, and the service manager and who asks hear of it."""

        def told() -> None:
            self._service.stopping()
            if self._observatory is not None:
                self._observatory.stopping()
            stop()

        return told

    async def _spans(self, share: float) -> Trace:
        try:
            from streampose.observe.spans import Spans, exporting  # noqa: PLC0415 - optional

            provider = await self._stack.enter_async_context(exporting(share))
        except ImportError as error:
            raise ConfigError("tracing needs OpenTelemetry: pip install 'streampose[otel]'") from error
        return Spans(provider.get_tracer("streampose", self._version))
