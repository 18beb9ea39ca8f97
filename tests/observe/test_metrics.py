"""What is scraped is what happened: real files, a real RTSP server, real HTTP."""

from __future__ import annotations

import asyncio
import json
import logging
import re
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import SimpleNamespace

import httpx
import pytest
from fakes import FakeEstimator, MemorySink, ScriptedSource
from prometheus_client import CollectorRegistry
from prometheus_client.parser import text_string_to_metric_families
from servers.rtsp import RtspServer, has_gstreamer

from streampose import errors
from streampose.backoff import Backoff
from streampose.batching import FixedBatch
from streampose.errors import ConfigError, Disconnected, SinkAway, SinkFailed
from streampose.frame import Frame
from streampose.inference.loading import ModelChoice, load_estimators
from streampose.metrics import BOUNDS_S
from streampose.observe import guesses, server
from streampose.observe.access import Address
from streampose.observe.collector import OTHERS, PipelineCollector
from streampose.observe.scrape import read_view
from streampose.observe.server import Observatory
from streampose.observe.watch import Watch, WatchOptions
from streampose.pipeline import Pipeline
from streampose.sinks import SendSink
from streampose.sources import Reconnecting, open_source
from streampose.streams import Outcome, Stream, StreamReport

rtsp = pytest.mark.skipif(not has_gstreamer(), reason="GStreamer's RTSP server is absent (gir1.2-gst-rtsp-server-1.0)")

Scrape = Mapping[str, list[tuple[Mapping[str, str], float]]]


class Client:
    """Asks one observatory."""

    def __init__(self, observatory: Observatory, host: str = "127.0.0.1") -> None:
        self.base = f"http://{host}:{observatory.port}"

    async def get(self, path: str, **headers: str) -> httpx.Response:
        async with httpx.AsyncClient() as client:
            return await client.get(f"{self.base}{path}", headers=headers)

    async def scrape(self) -> Scrape:
        return parse((await self.get("/metrics")).text)


def parse(text: str) -> Scrape:
    samples: dict[str, list] = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            samples.setdefault(sample.name, []).append((sample.labels, sample.value))
    return samples


def total(scrape: Scrape, name: str, **labels: str) -> float:
    return sum(value for found, value in scrape.get(name, []) if labels.items() <= found.items())


def adds_up(scrape: Scrape, stream: str) -> float:
    """Captured = delivered + dropped before delivery + in flight; what was captured.

    At its end a stream gives up whatever is missing, so the sum says nothing unless that is none; a failure loses some.
    """
    captured = total(scrape, "streampose_frames_captured_total", stream=stream)
    delivered = total(scrape, "streampose_frames_delivered_total", stream=stream)
    dropped = sum(
        total(scrape, "streampose_frames_dropped_total", stream=stream, place=place) for place in ("ingress", "batch")
    )
    assert captured == delivered + dropped + total(scrape, "streampose_frames_in_flight", stream=stream)
    if not total(scrape, "streampose_stream_state", stream=stream, state="failed"):
        assert not total(scrape, "streampose_frames_dropped_total", stream=stream, place="batch", cause="failed")
    assert total(scrape, "streampose_frame_latency_seconds_count", stream=stream) == delivered
    return captured


def observatory(need: int | None = 1, **options) -> Observatory:
    return Observatory(Address(port=0, **options), version="1.2.3", need=need)


@pytest.mark.assets
async def test_a_real_file_with_a_real_model_adds_up_at_every_scrape(assets: Path):
    source = open_source(str(assets / "videos" / "pose2sim_single_cam03.mp4"))
    sink = MemorySink()
    async with observatory() as door:
        client = Client(door)
        assert (await client.get("/readyz")).json() == {"ok": False, "reason": "the models are being loaded"}
        estimators = load_estimators(ModelChoice(), throughput=True)
        async with Pipeline([Stream(name="clip", source=source, sinks=[sink])], estimators) as pipeline:
            door.watch(pipeline)
            running = asyncio.create_task(pipeline.run())
            while not running.done():
                adds_up(await client.scrape(), "clip")
                await asyncio.sleep(0.2)
            await running
            scrape = await client.scrape()
    assert adds_up(scrape, "clip") == total(scrape, "streampose_frames_delivered_total") == len(sink.results) == 100
    assert total(scrape, "streampose_batch_size_frames_sum") == 100
    sizes = [r.timing.batch_size for r in sink.results]
    for bound in (1, 2, 4, 8):
        at_most = round(sum(1 / size for size in sizes if size <= bound))  # a batch of 4 is seen by 4 frames
        assert total(scrape, "streampose_batch_size_frames_bucket", le=f"{bound}.0") == at_most
    latencies = [r.timing.latency_s for r in sink.results]
    for bound in BOUNDS_S:
        found = total(scrape, "streampose_frame_latency_seconds_bucket", le=str(float(bound)))
        assert found == sum(latency <= bound for latency in latencies)
    assert total(scrape, "streampose_frame_latency_seconds_sum") == pytest.approx(sum(latencies))
    assert total(scrape, "streampose_people_found_total") == sum(len(r.poses) for r in sink.results) > 0
    assert total(scrape, "streampose_stream_state", state="ended") == 1


@rtsp
@pytest.mark.rtsp
async def test_a_lost_camera_shows_with_its_cause_and_comes_back():
    server = RtspServer("--rate", "30", "--gop", "5")
    url = server.url(userinfo="admin:pass@")  # the server wants none, and takes any
    camera, other = open_source(url), ScriptedSource(range(10_000), live=True, period_s=0.02)
    streams = [Stream(name="door", source=camera), Stream(name="yard", source=other)]
    try:
        async with observatory(need=None) as door, Pipeline(streams, FakeEstimator()) as pipeline:
            client = Client(door)
            door.watch(pipeline)
            running = asyncio.create_task(pipeline.run())

            async def until(name: str, **labels: str) -> Scrape:
                async with asyncio.timeout(60):
                    while not total(scrape := await client.scrape(), name, **labels):
                        await asyncio.sleep(0.05)
                return scrape

            await until("streampose_frames_delivered_total", stream="door")
            assert (await client.get("/readyz")).status_code == 200
            server.kill()
            scrape = await until("streampose_stream_state", stream="door", state="lost")
            assert total(scrape, "streampose_connections_lost_total", stream="door") == 1
            assert total(scrape, "streampose_stream_fault", stream="door") == 1
            answer = await client.get("/readyz")
            assert answer.status_code == 503
            assert answer.json()["streams"]["door"]["state"] == "lost"
            assert answer.json()["streams"]["yard"] == pytest.approx(
                {"delivering": True, "state": "running", "cause": None, "age_s": 0}, abs=2
            )
            assert (await client.get("/healthz")).status_code == 200, "a lost camera is no reason to restart"
            server.start("--rate", "30", "--gop", "5")
            scrape = await until("streampose_reconnects_total", stream="door")
            assert total(scrape, "streampose_stream_state", stream="door", state="running") == 1
            before, began = adds_up(scrape, "door"), time.monotonic()
            await asyncio.sleep(1)
            scrape = await client.scrape()
            # 30 a second at most, where the machine has time for them, and what the server had ready.
            assert 0 < adds_up(scrape, "door") - before < 30 * (time.monotonic() - began + 1)
            assert 0 < total(scrape, "streampose_capture_frames_per_second", stream="door") < 40
            assert 0 < total(scrape, "streampose_frame_age_seconds", stream="door") < 10
            text = (await client.get("/metrics")).text
            assert "://" not in re.sub(r"^# .*$", "", text, flags=re.MULTILINE)
            assert "pass" not in text
            pipeline.stop()
            await running
            adds_up(await client.scrape(), "door")
    finally:
        server.kill()


async def test_a_loss_is_counted_from_none_on_whatever_its_cause():
    source = Reconnecting(ScriptedSource(range(5), live=True))
    async with Pipeline([Stream(name="door", source=source)], FakeEstimator()) as pipeline:
        registry = CollectorRegistry()
        registry.register(PipelineCollector(pipeline, "1.0"))

        def lost() -> dict[str, float]:
            series = [sample for family in registry.collect() for sample in family.samples]
            return {s.labels["cause"]: s.value for s in series if s.name == "streampose_connections_lost_total"}

        kinds = [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, Disconnected)]
        causes = {kind.cause for kind in kinds}
        assert len(causes) > 5, "the test would show nothing"
        await pipeline.run()
        assert lost() == dict.fromkeys(causes, 0)
        source.link.lost.update({"lost": 2, "unauthorized": 1})
        assert lost() == dict.fromkeys(causes, 0) | {"lost": 2, "unauthorized": 1}


class Broker:
    """A server that is away at first."""

    url = "broker://host/secret"

    def __init__(self) -> None:
        self.there = threading.Event()

    def connect(self, _: str) -> None:
        if not self.there.is_set():
            raise SinkAway("no connection")

    def send(self, _: Sequence[bytes]) -> None:
        """It takes them."""

    def close(self) -> None:
        """There is no connection."""


async def test_an_output_whose_server_is_away_is_told_until_it_is_back():
    brokers, over = [Broker(), Broker()], threading.Event()
    brokers[1].there.set()
    sinks = [SendSink(broker, backoff=Backoff(first_s=0.001, cap_s=0.001)) for broker in brokers]
    source = ScriptedSource([0, lambda: over.wait(10)], live=True)
    async with Pipeline([Stream(name="door", source=source, sinks=sinks)], FakeEstimator()) as pipeline:
        registry = CollectorRegistry()
        registry.register(PipelineCollector(pipeline, "1.0"))

        def away() -> float | None:
            return registry.get_sample_value("streampose_outputs_away", {"stream": "door"})

        async def comes_to(count: int) -> None:
            while away() != count:
                await asyncio.sleep(0.001)

        assert away() == 0
        running = asyncio.create_task(pipeline.run())
        await asyncio.wait_for(comes_to(1), 10)
        assert not any(broker.url in repr(pipeline.reports) for broker in brokers)
        brokers[0].there.set()
        await asyncio.wait_for(comes_to(0), 10)
        over.set()
        await running
    report = StreamReport(sinks=[SimpleNamespace(away=True), MemorySink()])  # of an own sink, which need not say
    assert report.outputs_away == 1
    report.outcome = Outcome.ENDED
    assert report.outputs_away == 0


async def test_lost_packets_are_told_where_they_are_known():
    source = Reconnecting(ScriptedSource(range(5), live=True))
    async with Pipeline([Stream(name="door", source=source)], FakeEstimator()) as pipeline:
        registry = CollectorRegistry()
        registry.register(PipelineCollector(pipeline, "1.0"))
        await pipeline.run()
        for known in (None, 0, 3):
            source.link.lost_packets = known
            assert registry.get_sample_value("streampose_packets_lost_total", {"stream": "door"}) == known


async def test_names_and_units_follow_the_conventions():
    class Broken(MemorySink):
        def write(self, result) -> None:
            raise SinkFailed("disk full")

    streams = [
        Stream(name="a", source=ScriptedSource(range(5)), sinks=[MemorySink()]),
        Stream(name="b", source=ScriptedSource(range(5)), sinks=[Broken()]),
        Stream(name="c", source=Reconnecting(ScriptedSource(range(5), live=True))),
    ]
    async with observatory() as door, Pipeline(streams, FakeEstimator(), policy=FixedBatch(2)) as pipeline:
        door.watch(pipeline)
        await pipeline.run()
        response = await Client(door).get("/metrics")
    families = list(text_string_to_metric_families(response.text))
    ours = [family for family in families if family.name.startswith("streampose_")]
    assert len(ours) > 20
    for family in ours:
        assert re.fullmatch(r"[a-z]+(_[a-z]+)*", family.name)
        assert family.documentation.endswith(".")
        # No abbreviations, no prefixes of units (promtool's lint), and what counts ends in _total.
        assert not re.search(r"_(ms|milliseconds|kb|mb|fps|percent|sec|counter|gauge|histogram)(_|$)", family.name)
        suffixes = {sample.name.removeprefix(family.name) for sample in family.samples}
        allowed = {"counter": {"_total"}, "gauge": {""}, "histogram": {"_bucket", "_count", "_sum"}}[family.type]
        assert suffixes <= allowed
        for sample in family.samples:
            assert set(sample.labels) <= {"stream", "place", "cause", "state", "le", "version"}
            assert sample.labels.get("stream", "a") in {"a", "b", "c"}
        if family.type == "histogram":
            check_histogram(family)
    scrape = parse(response.text)
    assert {labels["cause"] for labels, _ in scrape["streampose_stream_fault"]} == {"sink failed"}
    for name in "abc":
        assert adds_up(scrape, name) <= 5
        assert total(scrape, "streampose_stream_state", stream=name) == 1
    assert total(scrape, "process_resident_memory_bytes") > 1e6


def check_histogram(family) -> None:
    """Buckets grow, and the last holds all."""
    rows: dict[str, list[float]] = {}
    for sample in family.samples:
        if sample.name.endswith("_bucket"):
            rows.setdefault(sample.labels.get("stream", ""), []).append(sample.value)
    counts = {s.labels.get("stream", ""): s.value for s in family.samples if s.name.endswith("_count")}
    for key, values in rows.items():
        assert values == sorted(values)
        assert values[-1] == counts[key]


async def test_what_is_stopping_is_not_ready_for_more():
    stops: list[str] = []
    options = WatchOptions(metrics=Address(port=0), need=0)
    async with Watch(options, version="1") as watch, Pipeline([], FakeEstimator(), keep_running=True) as pipeline:
        watch.begin(pipeline)
        url = f"http://127.0.0.1:{watch.port}/readyz"
        async with httpx.AsyncClient() as client:
            ready = await client.get(url)
            # Nobody has to deliver: that nobody does is not why.
            assert (ready.status_code, ready.json()["reason"]) == (200, "the models are loaded")
            watch.stopping(lambda: stops.append("stop"))()
            answer = await client.get(url)
    assert (stops, answer.status_code, answer.json()["reason"]) == (["stop"], 503, "it is stopping")


async def test_strangers_names_are_no_labels_and_what_they_did_is_counted_as_one():
    def stream(name: str, frames: int) -> Stream:
        return Stream(name=name, source=ScriptedSource(list(range(frames))), sinks=(MemorySink(),))

    door = Observatory(Address(port=0), version="1", need=0, named={"ours"})
    async with door, Pipeline([], FakeEstimator(), keep_running=True) as pipeline:
        client = Client(door)
        assert (await client.get("/readyz")).status_code == 503  # the models are being loaded
        door.watch(pipeline)
        running = asyncio.create_task(pipeline.run())
        assert (await client.get("/readyz")).status_code == 200
        await asyncio.sleep(0)
        for name, frames in (("ours", 3), ("visitor-1", 4), ("visitor-2", 5)):
            await pipeline.add(stream(name, frames))
            await pipeline.ended(name)
        for gone in ("visitor-1", "visitor-2"):
            text = (await client.get("/metrics")).text
            assert "visitor" not in text
            assert {name: one.state for name, one in read_view(text).streams.items()} == {"ours": "ended", OTHERS: ""}
            assert {labels["stream"] for rows in parse(text).values() for labels, _ in rows if "stream" in labels} == {
                "ours",
                OTHERS,
            }
            assert (adds_up(parse(text), "ours"), adds_up(parse(text), OTHERS)) == (3, 9)
            await pipeline.remove(gone)
        assert "visitor" not in (await client.get("/readyz")).text
        assert adds_up(await client.scrape(), OTHERS) == 9
        pipeline.stop()
        await running


async def test_openmetrics_and_compression_where_they_are_asked_for():
    streams = [Stream(name="rtsp://u:geheim@door/", source=ScriptedSource(range(5)))]
    async with observatory() as door, Pipeline(streams, FakeEstimator()) as pipeline:
        door.watch(pipeline)
        assert "geheim" not in (await Client(door).get("/readyz")).text
        response = await Client(door).get("/metrics", Accept="application/openmetrics-text; version=1.0.0")
    assert response.headers["Content-Type"].startswith("application/openmetrics-text")
    assert response.text.endswith("# EOF\n")
    assert "rtsp://***@door/" in response.text
    assert "geheim" not in response.text
    assert "Content-Encoding" in response.headers


async def test_a_stuck_engine_is_not_healthy(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("streampose.observe.health._STUCK_S", 0.2)
    streams = [Stream(name="a", source=ScriptedSource(range(5)))]
    goes_on = threading.Event()

    class Stuck(FakeEstimator):
        def __call__(self, images):
            goes_on.wait(30)
            return super().__call__(images)

    async with observatory() as door, Pipeline(streams, Stuck()) as pipeline:
        client = Client(door)
        door.watch(pipeline)
        assert (await client.get("/healthz")).json() == {"ok": True, "reason": "alive", "held_up_s": 0.0}
        running = asyncio.create_task(pipeline.run())
        async with asyncio.timeout(60):
            while (answer := await client.get("/healthz")).status_code != 503:
                await asyncio.sleep(0.05)
        assert answer.json()["reason"] == "the batcher is stuck"
        assert answer.json()["held_up_s"] > 0.2
        goes_on.set()
        pipeline.stop()
        await running
        assert (await client.get("/healthz")).status_code == 200


async def test_who_has_been_silent_for_ten_seconds_or_twice_its_timeout_does_not_deliver():
    goes_on = threading.Event()

    class Camera(ScriptedSource):
        """Its one frame is so old."""

        def __init__(self, age_s: float, stall_s: float = 5.0) -> None:
            super().__init__([0, lambda: goes_on.wait(5)])
            self._age_s, self.stall_s = age_s, stall_s

        def read(self) -> Frame | None:
            seen = super().read()
            return None if seen is None else seen.but(captured_at=seen.captured_at - self._age_s)

    slow = Reconnecting(Camera(11, stall_s=6))
    streams = [Stream(name="well", source=Camera(5)), Stream(name="silent", source=Camera(11))]
    streams.append(Stream(name="slow", source=slow))
    async with observatory(need=None) as door, Pipeline(streams, FakeEstimator(), policy=FixedBatch(1)) as pipeline:
        client = Client(door)
        door.watch(pipeline)
        running = asyncio.create_task(pipeline.run())
        async with asyncio.timeout(5):
            while True:
                seen = (answer := await client.get("/readyz")).json()["streams"]
                if all(one["age_s"] is not None for one in seen.values()):
                    break
                await asyncio.sleep(0.01)
        assert (answer.status_code, answer.json()["reason"]) == (503, "2 of 3 streams deliver")
        states = {name: (one["state"], one["delivering"]) for name, one in seen.items()}
        assert states == {"well": ("running", True), "silent": ("running", False), "slow": ("running", True)}
        goes_on.set()
        await running


async def test_a_token_guards_what_names_streams():
    streams = [Stream(name="secret-place", source=ScriptedSource([Disconnected("gone")]))]
    async with observatory(token="geheim-ü") as door, Pipeline(streams, FakeEstimator()) as pipeline:
        client = Client(door)
        door.watch(pipeline)
        await pipeline.run()
        for header in ({}, {"Authorization": "Bearer nein"}, {"Authorization": "geheim-ü".encode()}):
            answer = await client.get("/metrics", **header)
            assert answer.status_code == 401
            health = await client.get("/readyz", **header)
            assert (health.status_code, health.json()) == (503, {"ok": False})
        known = {"Authorization": "Bearer geheim-ü".encode()}
        assert (await client.get("/metrics", **known)).status_code == 200
        assert json.loads((await client.get("/readyz", **known)).text)["streams"]["secret-place"]["cause"] == "lost"
        assert (await client.get("/", **known)).status_code == 404


async def test_who_guesses_the_token_is_slowed_down_and_health_is_not(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
):
    monkeypatch.setattr(guesses, "_LATER_S", 0.1)
    monkeypatch.setattr(guesses, "_FORGOTTEN_S", 600)  # however long ten requests take here
    later, waiting = guesses.Guesses._later, []

    async def counted(one: guesses.Guesses) -> None:
        waiting.append(one)
        await later(one)

    monkeypatch.setattr(guesses.Guesses, "_later", counted)

    async def asked(path: str, token: str) -> tuple[int, str, float]:
        began = time.monotonic()
        answer = await Client(door).get(path, Authorization=f"Bearer {token}")
        return answer.status_code, answer.text, time.monotonic() - began

    async with observatory(token="geheim") as door:
        for i in range(10):
            await asked(("/metrics", "/healthz")[i % 2], "nein")
        assert not waiting
        _, hangs_up = await asyncio.open_connection("127.0.0.1", door.port)
        hangs_up.write(b"GET /metrics HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer nein\r\n\r\n")
        while not waiting:
            await asyncio.sleep(0.005)
        hangs_up.transport.abort()
        code, _, took_s = await asked("/metrics", "geheim")
        assert (code, took_s >= 0.1) == (200, True)
        before = len(waiting)
        # Else that would tell the right one. Who asks may be a service manager with an old token.
        code, text, _ = await asked("/healthz", "geheim")
        assert (code, json.loads(text), len(waiting)) == (200, {"ok": True}, before)
    assert [r.getMessage() for r in caplog.records if r.levelno > logging.INFO] == [
        "127.0.0.1 sent a wrong token (said once a minute)"
    ]


async def test_without_a_token_a_page_of_elsewhere_gets_nothing():
    """Its name may point to this machine (DNS rebinding)."""
    async with observatory() as door:
        for host, status in (("localhost", 200), ("[::1]:9464", 200), ("evil.example:9464", 421), ("[", 421)):
            assert (await Client(door).get("/healthz", Host=host)).status_code == status
        assert (await Client(door).get("/metrics", Host="evil.example")).status_code == 421
        reader, writer = await asyncio.open_connection("127.0.0.1", door.port)
        writer.write(b"GET /healthz HTTP/1.0\r\n\r\n")  # as HAProxy asks
        assert b" 200 " in await reader.readline()
        writer.close()
    async with observatory(token="geheim") as door:
        assert (await Client(door).get("/healthz", Host="cameras.example")).status_code == 200


async def test_who_only_holds_connections_takes_neither_files_nor_health(monkeypatch: pytest.MonkeyPatch):
    """Twice as many as there is room for, each with headers that never end."""
    monkeypatch.setattr(server, "_CONNECTIONS", 10)
    monkeypatch.setattr(server, "_IDLE_S", 0.5)
    async with observatory() as door:
        held = [await asyncio.open_connection("127.0.0.1", door.port) for _ in range(20)]
        for _, writer in held:
            writer.write(b"GET /metrics HTTP/1.1\r\nHost: a\r\nX: ")
        assert (await Client(door).get("/healthz")).status_code == 200
        ends = [asyncio.ensure_future(reader.read()) for reader, _ in held]
        done, _ = await asyncio.wait(ends, timeout=0.2)
        assert {ends.index(one) for one in done} >= set(range(10))  # the oldest
        await asyncio.wait_for(asyncio.gather(*ends, return_exceptions=True), timeout=5)
        for _, writer in held:
            writer.transport.abort()


@pytest.mark.parametrize("signed", [b"hun\0ter2", b"hunter2" * 2000])
async def test_a_request_that_cannot_be_read_is_no_news(caplog: pytest.LogCaptureFixture, signed: bytes):
    caplog.set_level(logging.DEBUG)
    async with observatory() as door:
        reader, writer = await asyncio.open_connection("127.0.0.1", door.port)
        writer.write(b"GET /metrics HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer " + signed + b"\r\n\r\n")
        assert b" 400 " in await reader.readline()
        writer.close()
    assert not [record for record in caplog.records if record.levelno > logging.INFO]
    assert "hun" not in caplog.text


async def test_addresses_that_cannot_be():
    with pytest.raises(ConfigError, match="give a token"):
        Address(host="0.0.0.0", port=0)
    assert "geheim" not in repr(Address(host="0.0.0.0", port=0, token="geheim"))
    async with observatory() as door:
        with pytest.raises(ConfigError, match=f"cannot listen on 127.0.0.1:{door.port}"):
            await Observatory(Address(port=door.port), version="1").__aenter__()
