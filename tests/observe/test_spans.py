"""A frame's way as spans, seen by OpenTelemetry's own exporter in memory, and by a collector on loopback."""

from __future__ import annotations

import asyncio
import itertools
import socket
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Sequence
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest
from fakes import FakeEstimator, MemorySink, ScriptedSource
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor, SpanExportResult
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.sampling import TraceIdRatioBased

from streampose.errors import ConfigError
from streampose.observe.spans import Spans, Told, exporting
from streampose.observe.watch import Watch, WatchOptions
from streampose.pipeline import Pipeline
from streampose.streams import Stream


async def spans_of(*streams: Stream, share: float = 1.0, engine: FakeEstimator | None = None) -> list[ReadableSpan]:
    exporter = InMemorySpanExporter()
    provider = TracerProvider(sampler=TraceIdRatioBased(share), shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    async with Pipeline(streams, engine or FakeEstimator(), trace=Spans(provider.get_tracer("t"))) as pipeline:
        await pipeline.run()
    provider.shutdown()
    return list(exporter.get_finished_spans())


async def test_a_frames_spans_are_its_timing():
    sink = MemorySink()
    spans = await spans_of(Stream(name="a", source=ScriptedSource(range(20)), sinks=[sink]))
    frames = {s.attributes["frame.index"]: s for s in spans if s.name == "frame"}
    assert sorted(frames) == list(range(20))
    for result in sink.results:
        root, timing = frames[result.frame.index], result.timing
        assert root.parent is None
        parts = {s.name: s for s in spans if s.parent is not None and s.parent.span_id == root.context.span_id}
        assert set(parts) == {"capture", "queue", "inference", "finish", "deliver"}
        order = [parts[name] for name in ("capture", "queue", "inference", "finish", "deliver")]
        assert order[0].start_time == root.start_time
        assert all(a.end_time == b.start_time for a, b in itertools.pairwise(order[:4]))
        assert order[3].end_time == root.end_time <= order[4].start_time <= order[4].end_time
        took_s = (parts["inference"].end_time - parts["inference"].start_time) / 1e9
        assert took_s == pytest.approx(timing.inferred_at - timing.taken_at, abs=1e-5)
        assert (root.end_time - root.start_time) / 1e9 == pytest.approx(timing.latency_s, abs=1e-5)
        assert root.attributes["batch.size"] == timing.batch_size
        assert parts["deliver"].attributes == {"sink": "MemorySink"}


async def test_a_dropped_frame_says_so():
    streams = [Stream(name="a", source=ScriptedSource(range(60), live=True, period_s=0.005))]
    spans = await spans_of(*streams, engine=FakeEstimator(base_s=0.03))
    kinds = Counter(bool(s.attributes.get("dropped")) for s in spans if s.name == "frame")
    assert kinds[True] > 5
    assert kinds[False] > 5
    assert len([s for s in spans if s.name == "inference"]) == kinds[False]


async def test_only_a_share_is_sampled():
    spans = await spans_of(Stream(name="a", source=ScriptedSource(range(400))), share=0.1)
    assert 10 < len([s for s in spans if s.name == "frame"]) < 90


async def test_a_pipeline_without_a_trace_loads_no_opentelemetry():
    imported = "import sys, streampose.cli.run, streampose.cli.serve"
    code = f"{imported}; assert not [m for m in sys.modules if m.startswith('opentelemetry')]"
    await asyncio.to_thread(subprocess.run, [sys.executable, "-c", code], check=True)


def test_a_collector_that_is_away_is_told_once_and_that_it_is_back(caplog: pytest.LogCaptureFixture):
    class Exporter(InMemorySpanExporter):
        def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
            return answers.pop(0)

    took, failed = SpanExportResult.SUCCESS, SpanExportResult.FAILURE
    answers = [took, failed, failed, failed, took, took]
    told = Told(Exporter(), "http://collector:4318")
    assert [told.export([]) for _ in range(6)] == [took, failed, failed, failed, took, took]
    assert [(record.event, record.getMessage().split(",")[0]) for record in caplog.records] == [
        ("traces lost", "http://collector:4318 takes no spans"),
        ("traces back", "http://collector:4318 takes spans again"),
    ]


async def test_the_end_does_not_wait_for_a_collector_nor_stop_the_loop_and_one_line_says_what_became_of_the_last_spans(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        server = f"http://127.0.0.1:{nobody.getsockname()[1]}"
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", f"{server}/geheim")
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_TIMEOUT", "2")  # a second try, which is not waited for, fits in
        async with exporting(1.0, closing_s=0.5) as provider:
            provider.get_tracer("t").start_span("frame").end()
            others = asyncio.create_task(asyncio.sleep(0.01))
        assert others.done()
        said = [record.getMessage() for record in caplog.records]
        for thread in threading.enumerate():
            if thread.name == "last spans" or thread.name.startswith("Otel"):
                thread.join(10)
    assert said == [f"{server} did not take the last spans, which are lost"]
    assert "geheim" not in caplog.text


@pytest.mark.parametrize("name", ["OTEL_EXPORTER_OTLP_ENDPOINT", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT"])
@pytest.mark.parametrize("scheme", ["", "grpc://"])
async def test_a_collector_without_http_is_refused_and_what_to_write_is_told(
    monkeypatch: pytest.MonkeyPatch, name: str, scheme: str
):
    monkeypatch.setenv(name, f"{scheme}collector:4318/geheim")
    with pytest.raises(ConfigError, match=rf"{name} does not .*: write http://collector:4318, ") as refused:
        async with Watch(WatchOptions(trace=1.0), version="1"):
            pass
    assert "geheim" not in str(refused.value)


def test_the_command_sends_spans_to_a_collector(monkeypatch: pytest.MonkeyPatch):
    received: list[ExportTraceServiceRequest] = []

    class Collector(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            received.append(ExportTraceServiceRequest.FromString(body))
            self.send_response(200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Silent."""

    with HTTPServer(("127.0.0.1", 0), Collector) as collector:
        thread = threading.Thread(target=collector.serve_forever)
        thread.start()
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", f"http://127.0.0.1:{collector.server_port}")
        command = "run synthetic:?size=160x120&seconds=1&fps=10 --offline --trace 1 --quiet"
        done = subprocess.run([sys.executable, "-m", "streampose", *command.split()], capture_output=True, check=False)
        collector.shutdown()
        thread.join()
    assert (done.returncode, done.stderr) == (0, b"")
    scopes = [scope for request in received for resource in request.resource_spans for scope in resource.scope_spans]
    names = Counter(span.name for scope in scopes for span in scope.spans)
    assert names == {"frame": 10, "capture": 10, "queue": 10, "inference": 10, "finish": 10}
