"""The figures of a pipeline in Prometheus' words.

Names and units follow https://prometheus.io/docs/practices/naming/: base units, `_total` for what only grows. The label
`stream` is the stream's name as configured, never its URL; every other label has a few fixed values.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from streampose.errors import (
    Disconnected,
    HostNotFound,
    SourceEnded,
    SourceGarbled,
    SourceRefused,
    SourceStalled,
    SourceTimeout,
)
from streampose.metrics import BOUNDS_S, Cause, EngineSnapshot, Place, StreamMetrics, StreamSnapshot
from streampose.observe.state import StreamState, fault_of, state_of
from streampose.pipeline import Pipeline
from streampose.redaction import redact
from streampose.streams import StreamReport

__all__ = ["OTHERS", "PipelineCollector"]

OTHERS = "(others)"
"""The name of all streams that are counted as one."""

_BATCHES = (1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 64)
# All that can be, so that a counter is there before it first counts, and `rate` sees its first step.
_DROPS = [
    (Place.INGRESS, Cause.OVERFLOW),
    (Place.INGRESS, Cause.LATE),
    (Place.INGRESS, Cause.FAILED),
    (Place.BATCH, Cause.FAILED),
    (Place.SINK, Cause.OVERFLOW),
    (Place.SINK, Cause.FAILED),
    (Place.SINK, Cause.UNSENT),
]
_LOSSES = [
    kind.cause
    for kind in (Disconnected, SourceTimeout, SourceStalled, HostNotFound, SourceRefused, SourceEnded, SourceGarbled)
]

_Row = tuple[str, StreamSnapshot, StreamReport]
_Value = Callable[[_Row], float | None]


class PipelineCollector(Collector):
    """Figures of a pipeline at the moment of a scrape, for any Prometheus registry.

    Collected on the pipeline's event loop (as `Observatory` does) a scrape is one moment: captured = delivered +
    dropped before delivery + in flight, exactly.

    Args:
        pipeline: what is watched.
        version: of streampose.
        named: the streams that have a label each; what there is beside them is counted as one, `OTHERS`, with what was
            removed. `None` = all have, so that no name may be a stranger's.
    """

    def __init__(self, pipeline: Pipeline, version: str, *, named: Container[str] | None = None) -> None:
        self._pipeline, self._version, self._named = pipeline, version, named

    def describe(self) -> Iterable[Metric]:
        """Nothing: registering it must not collect."""
        return []

    def collect(self) -> Iterator[Metric]:
        """All metrics, now."""
        snapshot, reports = self._pipeline.snapshot(), self._pipeline.reports
        # A program may have called a stream by its URL.
        named, streams = self._named, snapshot.streams
        shown = [name for name in streams if named is None or name in named]
        rows = [(redact(name), streams[name], reports[name]) for name in shown]
        others = [] if named is None else [snapshot.removed, *(streams[name] for name in streams if name not in named)]
        info = GaugeMetricFamily("streampose_build_info", "The version that runs; always 1.", labels=["version"])
        info.add_metric([self._version], 1)
        yield info
        yield GaugeMetricFamily("streampose_uptime_seconds", "Since the pipeline started.", snapshot.elapsed_s)
        yield from _frames(rows + [(OTHERS, _as_one(others), StreamReport())] * bool(others))
        yield from _states(rows)
        yield from _links(rows)
        yield from _engine(snapshot.engine)


def _as_one(figures: Sequence[StreamSnapshot]) -> StreamSnapshot:
    """What all of them have done; of times only those that add up."""
    dropped = Counter[tuple[Place, Cause]]()
    for one in figures:
        dropped.update(one.dropped)
    return replace(
        StreamMetrics().snapshot(0.0),
        captured=sum(one.captured for one in figures),
        delivered=sum(one.delivered for one in figures),
        in_flight=sum(one.in_flight for one in figures),
        queued=sum(one.queued for one in figures),
        dropped=dropped,
        people=sum(one.people for one in figures),
        latency_at_most=tuple(map(sum, zip(*(one.latency_at_most for one in figures), strict=True))),
        latency_total_s=sum(one.latency_total_s for one in figures),
    )


def _frames(rows: Sequence[_Row]) -> Iterator[Metric]:
    yield _counter(rows, "frames_captured", "Frames that a source gave.", lambda row: row[1].captured)
    yield _counter(rows, "frames_delivered", "Frames handed to the sinks, finished.", lambda row: row[1].delivered)
    dropped = CounterMetricFamily(
        "streampose_frames_dropped",
        "Frames dropped. At the places ingress and batch they were never delivered; at the place sink they were, but a "
        "sink did not take them in time, or could not send them (counted for each sink).",
        labels=["stream", "place", "cause"],
    )
    for name, figures, _ in rows:
        for place, cause in [*_DROPS, *(key for key in figures.dropped if key not in _DROPS)]:
            dropped.add_metric([name, place.value, cause.value], figures.dropped.get((place, cause), 0))
    yield dropped
    yield _gauge(rows, "frames_in_flight", "Captured, neither delivered nor dropped yet.", lambda row: row[1].in_flight)
    yield _gauge(rows, "frames_queued", "Of those in flight: wait for a batch.", lambda row: row[1].queued)
    recent = "over the last few dozen frames."
    yield _gauge(rows, "capture_frames_per_second", f"Frames in, {recent}", lambda row: row[1].fps_in)
    yield _gauge(rows, "delivery_frames_per_second", f"Frames out, {recent}", lambda row: row[1].fps)
    yield _gauge(
        rows, "frame_age_seconds", "Since the capture of the frame that was delivered last.", lambda row: row[1].age_s
    )
    yield _gauge(rows, "people", "In the frame that was delivered last.", lambda row: row[1].people)
    latency = HistogramMetricFamily(
        "streampose_frame_latency_seconds", "From a frame's capture to its delivery.", labels=["stream"]
    )
    for name, figures, _ in rows:
        buckets = _buckets(BOUNDS_S, figures.latency_at_most, figures.delivered)
        latency.add_metric([name], buckets, figures.latency_total_s)
    yield latency


def _states(rows: Sequence[_Row]) -> Iterator[Metric]:
    states = GaugeMetricFamily(
        "streampose_stream_state", "1 for the state that the stream is in, else 0.", labels=["stream", "state"]
    )
    faults = GaugeMetricFamily(
        "streampose_stream_fault", "1 while the stream is not well, with its cause.", labels=["stream", "cause"]
    )
    for name, _, report in rows:
        current = state_of(report)
        for state in StreamState:
            states.add_metric([name, state.value], state is current)
        if (fault := fault_of(report)) is not None:
            faults.add_metric([name, fault], 1)
    yield states
    yield faults
    yield _gauge(rows, "outputs_away", "Of its outputs, those whose server is away.", lambda row: row[2].outputs_away)


def _links(rows: Sequence[_Row]) -> Iterator[Metric]:
    lost = CounterMetricFamily(
        "streampose_connections_lost", "How often a live source went away, by cause.", labels=["stream", "cause"]
    )
    for name, _, report in rows:
        if report.link is not None:
            counts = report.link.lost.copy()
            for cause in [*_LOSSES, *(cause for cause in counts if cause not in _LOSSES)]:
                lost.add_metric([name, cause], counts[cause])
    yield lost
    linked = [row for row in rows if row[2].link is not None]
    what: Mapping[str, tuple[str, str]] = {
        "reconnects": ("reconnects", "How often a live source came back."),
        "connection_attempts_failed": ("tries", "How often a live source was tried in vain."),
        "packets_skipped": ("skipped_packets", "Damaged packets that were left out."),
        "packets_lost": ("lost_packets", "RTP packets that never came, of streams whose client tells."),
        "pictures_damaged": ("damaged_pictures", "Pictures that the decoder knows to be damaged, and gives out."),
        "frames_stale": ("stale_frames", "Pictures decoded too late to be shown; they never count as captured."),
    }
    for name, (attribute, words) in what.items():
        yield _counter(linked, name, words, lambda row, attribute=attribute: getattr(row[2].link, attribute))  # type: ignore[misc]


def _engine(engine: EngineSnapshot) -> Iterator[Metric]:
    sizes = HistogramMetricFamily("streampose_batch_size_frames", "Frames in a batch.")
    at_most = [sum(n for size, n in engine.batch_sizes.items() if size <= bound) for bound in _BATCHES]
    sizes.add_metric([], _buckets(_BATCHES, at_most, engine.batches), engine.frames)
    yield sizes
    seconds = HistogramMetricFamily("streampose_batch_duration_seconds", "What a batch takes on its engine.")
    seconds.add_metric([], _buckets(BOUNDS_S, engine.batch_at_most, engine.batches), engine.busy_s)
    yield seconds
    yield GaugeMetricFamily("streampose_engines", "Engines, each with one batch at a time.", engine.engines)
    yield CounterMetricFamily(
        "streampose_engine_busy_seconds",
        "Spent in finished batches, over all engines; its rate over streampose_engines is the utilisation.",
        engine.busy_s,
    )
    yield CounterMetricFamily("streampose_people_found", "People found, in all frames.", engine.people)
    yield CounterMetricFamily(
        "streampose_engine_memory_refusals",
        "How often the device had no memory for a batch, which was then halved.",
        engine.memory_refusals,
    )
    yield GaugeMetricFamily(
        "streampose_engine_held_up_seconds",
        "For how long the oldest batch has been running, or a frame has waited beside an idle engine.",
        engine.held_up_s,
    )


def _counter(rows: Sequence[_Row], name: str, words: str, value: _Value) -> Metric:
    return _filled(CounterMetricFamily(f"streampose_{name}", words, labels=["stream"]), rows, value)


def _gauge(rows: Sequence[_Row], name: str, words: str, value: _Value) -> Metric:
    return _filled(GaugeMetricFamily(f"streampose_{name}", words, labels=["stream"]), rows, value)


def _filled(
    family: CounterMetricFamily | GaugeMetricFamily, rows: Sequence[_Row], value: _Value
) -> CounterMetricFamily | GaugeMetricFamily:
    for row in rows:
        if (figure := value(row)) is not None:
            family.add_metric([row[0]], figure)
    return family


def _buckets(bounds: Sequence[float], at_most: Sequence[int], count: int) -> list[tuple[str, float]]:
    finite = [(str(float(bound)), float(n)) for bound, n in zip(bounds, at_most, strict=True)]
    return [*finite, ("+Inf", float(count))]
