"""What a running streampose says of itself at ``/metrics``, read back."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Mapping
from dataclasses import dataclass

from prometheus_client.parser import text_string_to_metric_families

from streampose.observe.logs import in_one_line

__all__ = ["Buckets", "EngineView", "StreamView", "View", "quantile", "read_view", "since"]

Buckets = Mapping[float, float]
"""How many were no greater than each bound, the last one infinite."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamView:
    """One stream."""

    state: str
    """Empty for what is not one stream (`OTHERS`)."""
    fault: str | None
    fps_in: float | None
    fps_out: float | None
    age_s: float | None
    latency: Buckets
    dropped: int
    """Before delivery."""
    late_sinks: int
    """Results that sinks did not take in time."""
    reconnects: int


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineView:
    """The engines."""

    engines: int
    batches: int
    frames: int
    busy_s: float
    seconds: Buckets
    queued: int
    """Frames of all streams that wait for a batch."""


@dataclass(frozen=True, slots=True, kw_only=True)
class View:
    """All, at one moment."""

    version: str
    uptime_s: float
    memory_bytes: float | None
    engine: EngineView
    streams: Mapping[str, StreamView]


class _Samples:
    """By name, then by labels, which move no cursor whoever has written them."""

    def __init__(self, text: str) -> None:
        self.by_name: dict[str, list[tuple[Mapping[str, str], float]]] = defaultdict(list)
        for family in text_string_to_metric_families(text):
            for sample in family.samples:
                labels = {label: in_one_line(value) for label, value in sample.labels.items()}
                self.by_name[sample.name].append((labels, sample.value))

    def one(self, name: str, **labels: str) -> float | None:
        return next((value for found, value in self.by_name[name] if labels.items() <= found.items()), None)

    def total(self, name: str, **labels: str) -> float:
        return sum(value for found, value in self.by_name[name] if labels.items() <= found.items())

    def label(self, name: str, label: str, **labels: str) -> str | None:
        """The label's value of the sample that is 1."""
        rows = self.by_name[name]
        return next((found[label] for found, value in rows if value == 1 and labels.items() <= found.items()), None)

    def buckets(self, name: str, **labels: str) -> Buckets:
        rows = self.by_name[f"{name}_bucket"]
        return {float(found["le"]): value for found, value in rows if labels.items() <= found.items()}


def read_view(text: str) -> View:
    """A scrape's text to figures.

    Raises:
        ValueError: it is no metrics, or not streampose's.
    """
    samples = _Samples(text)
    if (version := samples.label("streampose_build_info", "version")) is None:
        raise ValueError("these are not the metrics of a streampose that has loaded its models")
    names = [found["stream"] for found, _ in samples.by_name["streampose_frames_captured_total"]]
    return View(
        version=version,
        uptime_s=samples.total("streampose_uptime_seconds"),
        memory_bytes=samples.one("process_resident_memory_bytes"),
        engine=EngineView(
            engines=int(samples.total("streampose_engines")),
            batches=int(samples.total("streampose_batch_size_frames_count")),
            frames=int(samples.total("streampose_batch_size_frames_sum")),
            busy_s=samples.total("streampose_engine_busy_seconds_total"),
            seconds=samples.buckets("streampose_batch_duration_seconds"),
            queued=int(samples.total("streampose_frames_queued")),
        ),
        streams={name: _stream(samples, name) for name in names},
    )


def _stream(samples: _Samples, name: str) -> StreamView:
    dropped = samples.total("streampose_frames_dropped_total", stream=name)
    late_sinks = samples.total("streampose_frames_dropped_total", stream=name, place="sink")
    return StreamView(
        state=samples.label("streampose_stream_state", "state", stream=name) or "",
        fault=samples.label("streampose_stream_fault", "cause", stream=name),
        fps_in=samples.one("streampose_capture_frames_per_second", stream=name),
        fps_out=samples.one("streampose_delivery_frames_per_second", stream=name),
        age_s=samples.one("streampose_frame_age_seconds", stream=name),
        latency=samples.buckets("streampose_frame_latency_seconds", stream=name),
        dropped=int(dropped - late_sinks),
        late_sinks=int(late_sinks),
        reconnects=int(samples.total("streampose_reconnects_total", stream=name)),
    )


def since(now: Buckets, before: Buckets) -> Buckets:
    """What was counted between two scrapes; all of it where there was a restart between them, or nothing came."""
    new = Counter(now)
    new.subtract(before)
    return new if min(new.values(), default=0) >= 0 and any(new.values()) else now


def quantile(buckets: Buckets, q: float) -> float | None:
    """The value below which a share `q` lies, evenly spread within a bucket, as `histogram_quantile` has it.

    Returns:
        The last finite bound for what is beyond it; `None` when there is nothing.
    """
    rows = sorted(buckets.items())
    if not rows or rows[-1][1] <= 0:
        return None
    rank, low, below = q * rows[-1][1], 0.0, 0.0
    for bound, count in rows:
        if count >= rank and count > below:
            return low if bound == float("inf") else low + (bound - low) * (rank - below) / (count - below)
        low, below = bound, count
    return low
