"""A frame's way as OpenTelemetry spans: frame = capture, queue, inference, finish; then one `deliver` for each sink.

Sampling is by frame, at its capture: what is not sampled costs one draw. Times are those that the pipeline takes
anyway.
"""

from __future__ import annotations

import asyncio
import logging
import os
import threading
import time
from collections import OrderedDict
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass

from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.sdk.trace.sampling import TraceIdRatioBased

from streampose.errors import ConfigError
from streampose.frame import Frame
from streampose.redaction import server_of
from streampose.result import Result

__all__ = ["Spans", "Told", "exporting"]

log = logging.getLogger("streampose")

# Frames in flight are few; what is never heard of again (its stream ended) must not stay.
_MOST = 1024

_Key = tuple[str, int]


@dataclass(frozen=True, slots=True)
class _Way:
    span: trace.Span
    read_at: float
    unix: Callable[[float], int]


class Spans:
    """A `Trace` that makes spans.

    Args:
        tracer: its provider's sampler says which frames.
    """

    def __init__(self, tracer: trace.Tracer) -> None:
        self._tracer = tracer
        self._ways: OrderedDict[_Key, _Way] = OrderedDict()
        self._done: OrderedDict[_Key, _Way] = OrderedDict()

    def captured(self, frame: Frame, read_at: float) -> None:
        """Begin a frame's span, if it is sampled."""
        # The wall clock may be set at any time; within one frame it does not matter.
        offset_ns = time.time_ns() - time.monotonic_ns()

        def unix(monotonic: float) -> int:
            return int(monotonic * 1e9) + offset_ns

        attributes: dict[str, str | int] = {
            "stream": frame.stream,
            "frame.index": frame.index,
            "frame.epoch": frame.epoch,
        }
        span = self._tracer.start_span("frame", Context(), attributes=attributes, start_time=unix(frame.captured_at))
        if span.is_recording():
            _keep(self._ways, (frame.stream, frame.index), _Way(span, read_at, unix))

    def delivered(self, result: Result) -> None:
        """End it, with its parts; what was captured before it and did not come was dropped."""
        frame, timing = result.frame, result.timing
        for key in [key for key in self._ways if key[0] == frame.stream and key[1] < frame.index]:
            dropped = self._ways.pop(key)
            dropped.span.set_attribute("dropped", True)
            dropped.span.end(dropped.unix(timing.delivered_at))
        way = self._ways.pop((frame.stream, frame.index), None)
        if way is None:
            return
        way.span.set_attribute("people", len(result.poses))
        way.span.set_attribute("batch.size", timing.batch_size)
        self._child(way, "capture", frame.captured_at, way.read_at)
        self._child(way, "queue", way.read_at, timing.taken_at)
        self._child(way, "inference", timing.taken_at, timing.inferred_at)
        self._child(way, "finish", timing.inferred_at, timing.delivered_at)
        way.span.end(way.unix(timing.delivered_at))
        _keep(self._done, (frame.stream, frame.index), way)

    def written(self, result: Result, sink: str, began_at: float, ended_at: float) -> None:
        """A sink took it: a part that begins after its frame was ready, and may end after the frame's own span."""
        if (way := self._done.get((result.frame.stream, result.frame.index))) is not None:
            self._child(way, "deliver", began_at, ended_at, sink=sink)

    def _child(self, way: _Way, name: str, begin: float, end: float, **attributes: str) -> None:
        parent = trace.set_span_in_context(way.span, Context())
        span = self._tracer.start_span(name, parent, attributes=attributes, start_time=way.unix(begin))
        span.end(way.unix(end))


class Told(SpanExporter):
    """Says once that a collector takes nothing, and once that it does again.

    Args:
        exporter: what sends. It says more than that, at each try.
        server: the collector, as it may be shown.
    """

    def __init__(self, exporter: SpanExporter, server: str) -> None:
        self._exporter, self._server = exporter, server
        self.away = False

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """Send them; those that are not taken are lost."""
        result = self._exporter.export(spans)
        if self.away is (result is SpanExportResult.SUCCESS):
            self.away = not self.away
            if self.away:
                words = "%s takes no spans, which are lost: is a collector there? (--debug says more)"
                log.warning(words, self._server, extra={"event": "traces lost"})
            else:
                log.warning("%s takes spans again", self._server, extra={"event": "traces back"})
        return result

    def shutdown(self) -> None:
        """No more will come."""
        self._exporter.shutdown()


@asynccontextmanager
async def exporting(share: float, *, closing_s: float = 3.0) -> AsyncIterator[TracerProvider]:
    """Where spans of this share of all frames go: by OTLP over HTTP, to where OTEL_EXPORTER_OTLP_ENDPOINT says.

    It has tracers. At the end what is left is sent within this time, or not at all: no run's end waits for a collector.

    Raises:
        ConfigError: what it says is no URL of HTTP.
        ImportError: OpenTelemetry's exporter is not there.
    """
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter  # noqa: PLC0415 - may be absent

    if not log.isEnabledFor(logging.DEBUG):
        logging.getLogger(OTLPSpanExporter.__module__).setLevel(logging.CRITICAL)
    names = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")
    name = next(filter(os.environ.get, names), names[-1])
    url = os.environ.get(name) or "http://localhost:4318"
    if not url.lower().startswith(("http://", "https://")):
        meant = server_of(f"http://{url.rpartition('://')[-1]}")
        raise ConfigError(f"{name} does not begin with http:// or https://: write {meant}, where spans go by OTLP/HTTP")
    server = server_of(url)
    told = Told(OTLPSpanExporter(), server)
    resource = Resource.create({"service.name": os.environ.get("OTEL_SERVICE_NAME", "streampose")})
    provider = TracerProvider(sampler=TraceIdRatioBased(share), resource=resource, shutdown_on_exit=False)
    provider.add_span_processor(BatchSpanProcessor(told))
    try:
        yield provider
    finally:
        # It has no bound of its own, and ten seconds for each try.
        closing = threading.Thread(target=provider.shutdown, name="last spans", daemon=True)
        closing.start()
        await asyncio.to_thread(closing.join, 0 if told.away else closing_s)
        if closing.is_alive() and not told.away:
            log.warning("%s did not take the last spans, which are lost", server, extra={"event": "traces lost"})


def _keep(ways: OrderedDict[_Key, _Way], key: _Key, way: _Way) -> None:
    ways[key] = way
    if len(ways) > _MOST:
        ways.popitem(last=False)
