"""WebRTC over loopback with aiortc on the other side: publish, play, limits, and what is left behind."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import json
import logging
import threading
import time
from collections.abc import AsyncIterator, Iterator
from fractions import Fraction
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import aiohttp
import av
import jsonschema_rs
import numpy as np
import pytest
from aiortc.mediastreams import MediaStreamTrack
from fakes import FakeEstimator
from servers.rtc_client import Pictures, RtcClient, bare_offer, grey, matched
from servers.serving import Served, gone, serving

from streampose.frame import Image
from streampose.inference.engine import EngineOptions
from streampose.inference.loading import ModelChoice, load_estimator
from streampose.pose import Poses, Skeleton
from streampose.sources import FileSource, SyntheticSource
from streampose.web import limits, publisher, whip
from streampose.web.ice import IceServer
from streampose.web.limits import Limits

QUICK = Limits(idle_s=1.5, connect_s=10.0)


def warnings(caplog: pytest.LogCaptureFixture) -> list[logging.LogRecord]:
    """And worse. But asyncio's own warnings tell of busy machines."""
    worst_allowed = {"asyncio": logging.WARNING}
    return [record for record in caplog.records if record.levelno > worst_allowed.get(record.name, logging.INFO)]


class Silent(Pictures):
    """A camera that is on, and gives no picture."""

    async def recv(self):
        await asyncio.sleep(60)


def figures(width: int = 640, height: int = 480) -> Iterator[Image]:
    source = SyntheticSource(width_px=width, height_px=height, live=False)
    return itertools.cycle([source.render(i) for i in range(60)])


async def test_poses_come_back_with_the_times_of_their_frames(served: Served):
    track = Pictures(grey())
    async with RtcClient(served.url, track) as client:
        await client.until(lambda: len(client.poses) >= 40)
        records = [record for _, record in client.poses]
    assert matched(track, [r["rtp"] for r in records])
    times = [r["pts"] for r in records]
    assert times == sorted(times)
    assert len(set(times)) == len(times)
    assert {r["epoch"] for r in records} == {0}
    assert records[-1]["size_px"] == [320, 240]
    assert client.said[0]["type"] == "hello"
    await gone(served)


async def test_a_frame_does_not_wait_for_the_next_one(served: Served):
    """At two a second aiortc's own buffer would add 500 ms."""
    track = Pictures(grey(), fps=2)
    delays = []
    async with RtcClient(served.url, track) as client:
        await client.until(lambda: len(client.poses) >= 8)
        sent = matched(track, [r["rtp"] for _, r in client.poses])
        assert sent
        delays = [at - track.taken_at[pts] for (at, _), pts in zip(client.poses, sent, strict=False)]
    assert np.median(delays) < 0.35, delays


async def test_the_poses_are_those_of_the_clip(assets: Path):
    """Over the right body: after VP8, within pixels of what the model says of the clip's own frames."""
    source = FileSource(assets / "videos" / "pose2sim_single_cam03.mp4")
    source.open("clip")
    pictures = []
    while (frame := source.read()) is not None and len(pictures) < 40:
        pictures.append(np.ascontiguousarray(frame.image[330:1146:2, ::2][:, :544]))
    source.close()
    estimator = load_estimator(ModelChoice(), EngineOptions(device="cpu", threads=1))
    direct = [estimator([picture])[0] for picture in pictures]
    track = Pictures(itertools.cycle(pictures), fps=15)
    async with serving(estimator) as served, RtcClient(served.url, track) as client:
        await client.until(lambda: len(client.poses) >= 30, within_s=30)
        order = sorted(track.taken_at)
        records = [record for _, record in client.poses]
        sent = matched(track, [r["rtp"] for r in records])
        assert sent
        errors = []
        for record, pts in list(zip(records, sent, strict=True))[10:]:  # the first are of low quality
            want = direct[order.index(pts) % len(pictures)]
            if not record["people"] or not len(want):
                continue
            points = np.array(record["people"][0]["points"])
            sure = (points[:, 2] > 0.5) & (want.scores[0] > 0.5)
            errors.append(np.median(np.linalg.norm(points[sure, :2] - want.points[0][sure], axis=1)))
    assert len(errors) >= 10
    assert np.median(errors) < 5, errors


async def test_both_ways_and_back(served: Served):
    track = Pictures(figures(320, 240))
    async with RtcClient(served.url, track) as client:
        await client.until(lambda: client.poses)
        await asyncio.sleep(0.3)
        assert not client.frames  # nothing is encoded for who does not look
        client.say(type="set", mode="rendered")
        await client.until(lambda: len(client.frames) >= 15)
        assert matched(track, [frame.pts for frame in client.frames])  # the frames' own times, plus a constant
        client.say(type="set", mode="overlay")
        await client.until(lambda: client.said[-1].get("settings", {}).get("mode") == "overlay")
        async with asyncio.timeout(10):
            before = None
            while client.frames[-1] is not before:
                before = client.frames[-1]
                await asyncio.sleep(0.3)
    await gone(served)


async def test_settings_that_change_over_http_reach_the_session(served: Served):
    async with (
        RtcClient(served.url, Pictures(grey()), stream="phone") as client,
        aiohttp.ClientSession() as http,
    ):
        await client.until(lambda: client.poses)
        assert not client.frames
        async with http.patch(f"{served.url}/api/streams/phone", json={"mode": "rendered"}) as answer:
            assert answer.status == 200
        await client.until(lambda: len(client.frames) >= 3)
        assert [said["settings"]["mode"] for said in client.said if said["type"] == "settings"] == ["rendered"]
        async with http.patch(f"{served.url}/api/streams/phone", json={"mode": "overlay"}) as answer:
            assert answer.status == 200
        assert not served.server.catalogue["phone"].hub.draws
    await gone(served)


async def test_a_stream_s_size_is_that_of_its_newest_picture(served: Served):
    """A telephone is turned."""
    sizes = itertools.chain(itertools.repeat((320, 240), 15), itertools.repeat((240, 320)))
    pictures = (np.full((height, width, 3), 128, np.uint8) for width, height in sizes)
    async with (
        RtcClient(served.url, Pictures(pictures), stream="phone") as client,
        aiohttp.ClientSession() as http,
    ):
        for size in ([320, 240], [240, 320]):
            await client.until(lambda size=size: client.poses and client.poses[-1][1]["size_px"] == size)
            async with http.get(f"{served.url}/api/streams/phone") as answer:
                assert (await answer.json())["size_px"] == size
    await gone(served)


async def test_settings_are_kept_or_refused_in_words(served: Served):
    async with RtcClient(served.url, Pictures(grey())) as client:
        await client.until(lambda: client.poses)
        client.say(type="set", smooth=True, budget_ms=50, confidence=0.5)
        await client.until(lambda: any(said["type"] == "settings" for said in client.said))
        settings = next(said["settings"] for said in client.said if said["type"] == "settings")
        assert settings | {"smooth": True, "budget_ms": 50, "confidence": 0.5} == settings
        client.say(type="set", budget_ms=-1)
        await client.until(lambda: any(said["type"] == "error" for said in client.said))
        client.say(type="ping", t=5)
        await client.until(lambda: {"type": "pong", "t": 5} in client.said)
        client.control.send('{"type": "ping", "t": 1e999}')  # no answer of ours has what is no JSON
        await client.until(lambda: {"type": "pong", "t": None} in client.said)


async def test_another_model_can_be_chosen():
    chosen = []
    async with serving(choose=lambda name: bool(chosen.append(name)) or name == "b") as served:
        async with RtcClient(served.url, Pictures(grey())) as client:
            await client.until(lambda: client.poses)
            client.say(type="model", name="b")
            for name, words in (("a", "another model is being loaded"), ("no such", "there is no such model here")):
                client.say(type="model", name=name)
                await client.until(lambda words=words: {"type": "error", "message": words} in client.said)
        assert chosen == ["b", "a"]


async def test_a_camera_of_the_server_is_played(served: Served):
    await served.server.show("cam", SyntheticSource(width_px=320, height_px=240))
    async with RtcClient(served.url, stream="cam") as client:
        await client.until(lambda: len(client.frames) >= 10)
        assert client.frames[-1].width == 320
    async with asyncio.timeout(5):
        while served.server.sessions:
            await asyncio.sleep(0.02)
    assert not served.server.catalogue["cam"].hub.draws


async def test_what_one_publishes_others_play(served: Served):
    async with RtcClient(served.url, Pictures(grey()), stream="studio") as publisher:
        await publisher.until(lambda: publisher.poses)
        async with aiohttp.ClientSession() as http, http.get(f"{served.url}/api/streams") as answer:
            assert [s["id"] for s in (await answer.json())["streams"]] == ["studio"]
        async with RtcClient(served.url, stream="studio") as player:
            await player.until(lambda: len(player.frames) >= 5)
    await gone(served)


async def test_a_visitor_s_own_stream_is_in_no_list(served: Served):
    async with RtcClient(served.url, Pictures(grey())) as client:
        await client.until(lambda: client.poses)
        async with aiohttp.ClientSession() as http, http.get(f"{served.url}/api/streams") as answer:
            assert (await answer.json())["streams"] == []
            (name,) = served.pipeline.reports
        async with aiohttp.ClientSession() as http, http.get(f"{served.url}/api/streams/{name}/poses") as answer:
            assert answer.status == 404
        async with RtcClient(served.url, stream=name) as curious:
            assert curious.answer is not None
            assert curious.answer.status == 404


async def test_one_who_vanishes_is_noticed_and_everything_comes_back(caplog: pytest.LogCaptureFixture):
    async with serving(limits=QUICK) as served:
        before = resources()
        for _ in range(3):
            client = RtcClient(served.url, Pictures(grey()))
            await client.__aenter__()
            await client.until(lambda client=client: client.poses)
            client.location = None  # no goodbye over HTTP, …
            for transport in (t.receiver.transport.transport for t in client.pc.getTransceivers()):
                transport._connection.send = _nothing  # … nor by any packet
                transport._send = _nothing
            await gone(served)
            await client.__aexit__()
        assert resources() <= before + 2
    assert not warnings(caplog), caplog.text


async def test_who_leaves_before_the_first_picture_is_no_failure(served: Served, caplog: pytest.LogCaptureFixture):
    """As a page does that is left at once, or that its framework mounts twice."""
    async with RtcClient(served.url, Silent(grey())) as client:
        await client.until(lambda: client.said)
        client.location = None
        await client.pc.close()
        await gone(served)
    assert not warnings(caplog), caplog.text


async def test_who_has_crashed_gets_the_name_again_and_nobody_else_does(served: Served, monkeypatch):
    monkeypatch.setattr(whip, "_SILENT_S", 0.4)
    async with RtcClient(served.url, Pictures(grey()), stream="studio") as crashed:
        await crashed.until(lambda: crashed.poses)
        async with RtcClient(served.url, Pictures(grey()), stream="studio") as other:
            assert other.answer is not None
            assert (other.answer.status, "Retry-After" in other.answer.headers) == (409, True)
        crashed.location = None
        transport = crashed.pc.getTransceivers()[0].receiver.transport.transport
        transport._connection.send = transport._send = _nothing
        (publisher,) = served.server._sessions
        await crashed.until(lambda: publisher.silent_s > 0.4)
        # Who comes with nothing does not end it, and nor does one who is not let in.
        async with post(served, "studio", "garbage") as answer:
            assert answer.status == 400
        with monkeypatch.context() as full:
            full.setattr(limits, "rss_mb", lambda: 1e9)
            async with post(served, "studio", await bare_offer()) as answer:
                assert answer.status == 503
        assert not publisher.ending
        async with RtcClient(served.url, Pictures(grey()), stream="studio") as again:
            assert again.answer is not None
            assert again.answer.status == 201
            await again.until(lambda: again.poses)
    await gone(served)


@contextlib.asynccontextmanager
async def post(served: Served, name: str, offer: str) -> AsyncIterator[aiohttp.ClientResponse]:
    headers = {"Content-Type": "application/sdp"}
    async with (
        aiohttp.ClientSession() as http,
        http.post(f"{served.url}/whip/{name}", data=offer, headers=headers) as it,
    ):
        yield it


async def test_who_still_connects_keeps_the_name_and_so_does_a_camera_of_the_server(served: Served, monkeypatch):
    monkeypatch.setattr(whip, "_SILENT_S", 0.0)
    await served.server.show("door", SyntheticSource(width_px=320, height_px=240))
    offer = await bare_offer()
    async with post(served, "studio", offer) as answer:
        assert answer.status == 201
    async with post(served, "studio", offer) as answer:
        assert (answer.status, answer.headers["Retry-After"]) == (409, "2")
    (publisher,) = served.server._sessions
    assert not publisher.ending
    async with post(served, "door", offer) as answer:
        assert (answer.status, answer.headers.get("Retry-After")) == (409, None)
    # What was on its way when the end began is not answered, and nothing comes behind the goodbye.
    said: list[str] = []
    publisher._control = SimpleNamespace(readyState="open", bufferedAmount=0, send=said.append)
    ended = publisher.end("the test is over")
    publisher._said(publisher._control, '{"type": "ping"}')
    await ended
    assert [json.loads(text)["type"] for text in said] == ["bye"]


async def _nothing(*_: object) -> None:
    pass


def resources() -> int:
    """Open files and threads of this process."""
    pool = sum(t.name.startswith("asyncio_") for t in threading.enumerate())  # kept for the next one
    return len(list(Path("/proc/self/fd").iterdir())) + threading.active_count() - pool


class Encoded(MediaStreamTrack):
    """The same VP8 picture again and again, encoded once: as many and as large as nobody could encode here."""

    kind = "video"

    def __init__(self, size: tuple[int, int], fps: int) -> None:
        super().__init__()
        encoder = av.CodecContext.create("libvpx", "w")
        encoder.width, encoder.height, encoder.pix_fmt, encoder.time_base = *size, "yuv420p", Fraction(1, fps)
        picture = av.VideoFrame.from_ndarray(next(grey(*size)), format="bgr24").reformat(format="yuv420p")
        picture.pts = 0
        (self._data, *_) = [bytes(packet) for packet in [*encoder.encode(picture), *encoder.encode(None)]]
        self._fps, self._sent, self._began_at = fps, 0, 0.0

    async def recv(self) -> av.Packet:
        now = time.monotonic()
        self._began_at = self._began_at or now
        await asyncio.sleep(max(0.0, self._began_at + self._sent / self._fps - now))
        packet = av.Packet(self._data)
        packet.pts, packet.time_base = self._sent, Fraction(1, self._fps)
        self._sent += 1
        return packet


@pytest.mark.parametrize(
    ("size", "fps", "words"),
    [((3840, 2160), 120, "too large"), ((1920, 1080), 120, "pictures a second"), ((2048, 1200), 5, "too large")],
    ids=["4K at 120 fps", "1080p at 120 fps", "a little too large"],
)
async def test_who_sends_too_much_has_to_go(
    size: tuple[int, int], fps: int, words: str, caplog: pytest.LogCaptureFixture
):
    """And costs nobody else anything; also where that is before the data channels are open."""
    caplog.set_level(logging.INFO, "streampose")
    much = Encoded(size, fps)  # before anybody waits: it takes this thread a second on a crowded machine
    async with serving(limits=Limits(connect_s=3.0)) as served, RtcClient(served.url, Pictures(grey())) as other:
        await other.until(lambda: len(other.poses) > 10)
        before = len(other.poses)
        async with RtcClient(served.url, much) as client:
            await client.until(lambda: served.server.sessions == 1)
        times = [at for at, _ in other.poses[before - 1 :]] + [time.monotonic()]
        assert max(np.diff(times)) < 1.0
        assert any(words in record.message for record in caplog.records)


async def test_who_sends_nothing_has_to_go():
    async with serving(limits=QUICK) as served, RtcClient(served.url, Silent(grey())) as client:
        await client.until(lambda: client.said)
        await gone(served)


async def test_pictures_that_come_before_the_connection_counts_as_made_are_drained():
    """The session is held in that state; aiortc decodes all the same."""
    async with serving(limits=Limits(connect_s=60)) as served:
        client = RtcClient(served.url, Pictures(grey()))
        hold = served.server._sessions

        opened = hold.open

        async def never_connected(make, *rest):
            def made(on_closed):
                peer = make(on_closed)
                peer._pc.remove_all_listeners("connectionstatechange")
                return peer

            return await opened(made, *rest)

        hold.open = never_connected
        async with client:
            (peer,) = hold._peers.values()
            await client.until(lambda: peer._camera.dropped > 10)  # they come, …
            assert not peer.connected
            (video,) = peer._pc.getTransceivers()
            await client.until(lambda: video.receiver.track._queue.qsize() <= 1)  # … and none of them waits


async def test_random_bytes_on_a_data_channel_end_that_session_only(served: Served):
    async with RtcClient(served.url, Pictures(grey())) as good:
        await good.until(lambda: good.poses)
        chance = np.random.default_rng(1)
        for attack in (
            [chance.bytes(500)],
            ["{" * 2000],
            ["[1, 2"],
            ["x" * 5000],
            ['{"type": "ping"}'] * 200,
        ):
            async with RtcClient(served.url, Pictures(grey())) as bad:
                await bad.until(lambda bad=bad: bad.said)
                for message in attack:
                    bad.control.send(message)
                await bad.until(lambda bad=bad: bad.said[-1]["type"] == "bye")
                bad.location = None
        async with RtcClient(served.url, Pictures(grey())) as bad:
            await bad.until(lambda: bad.said)
            for _ in range(200):
                bad.poses_channel.send('{"type": "ping"}')  # on a channel that nobody listens to
            await bad.until(lambda: bad.said[-1]["type"] == "bye")
            assert "messages a second" in bad.said[-1]["reason"]
            bad.location = None
        got = len(good.poses)
        await good.until(lambda: len(good.poses) > got + 10)


async def test_the_goodbye_comes_behind_all_that_was_still_on_its_way(served: Served):
    async with RtcClient(served.url, Pictures(grey())) as client:
        await client.until(lambda: client.said)
        (session,) = served.server._sessions._peers.values()
        for _ in range(100):
            session._control.send(json.dumps({"type": "error", "message": 500 * "x"}))  # more than one window's
        await session.ended("the test is over")
        await client.until(lambda: client.said[-1]["type"] == "bye", within_s=2)
        client.location = None


async def test_there_is_room_for_so_many():
    async with serving(limits=Limits(peers=2)) as served:
        async with RtcClient(served.url, Pictures(grey())) as one, RtcClient(served.url, Pictures(grey())) as two:
            await one.until(lambda: one.poses and two.poses)
            async with RtcClient(served.url, Pictures(grey())) as three:
                assert three.answer is not None
                assert three.answer.status == 503
                assert "Retry-After" in three.answer.headers
        await gone(served)


async def test_a_slow_model_delays_and_drops_but_nothing_piles_up():
    """Five times too slow: latency stays within frames, and what is old is dropped and counted."""
    async with serving(FakeEstimator(base_s=0.15)) as served, RtcClient(served.url, Pictures(grey())) as client:
        await client.until(lambda: len(client.poses) >= 30, within_s=60)
        ages = [record["age_ms"] for _, record in client.poses[20:]]
        assert np.median(ages) < 1200, ages  # if frames waited, it would be some seconds by now
        stats = [said for said in client.said if said["type"] == "stats"][-1]
        assert stats["dropped"] + stats["replaced"] > 10


async def test_added_latency_is_small(served: Served):
    """From arrival to the message, beyond the model; the figures of a quiet machine are in benchmarks/results."""
    async with RtcClient(served.url, Pictures(figures(320, 240), fps=10)) as client:
        await client.until(lambda: len(client.poses) >= 10)
        client.poses.clear()
        await client.until(lambda: len(client.poses) >= 60, within_s=40)
        added = [r["age_ms"] - r["inference_ms"] for _, r in client.poses]
    # Of a machine that others use the better quarter.
    assert np.percentile(added, 25) < 50, np.percentile(added, [25, 50, 90, 99])


LEG = Skeleton(name="leg", points=("hip", "knee", "ankle"), edges=((0, 1), (1, 2)))


class Legs(FakeEstimator):
    """One leg in each picture: of a skeleton that is not ours, so that each record says its points."""

    def __call__(self, images):
        ones = np.ones((1, 3), np.float32)
        points, boxes = np.ones((1, 3, 2), np.float32), np.ones((1, 4), np.float32)
        leg = Poses(skeleton=LEG, points=points, scores=ones, boxes=boxes, box_scores=ones[0, :1])
        return [leg for _ in super().__call__(images)]


def strict(schema: Any) -> Any:
    """The same, for messages that have nothing else in them."""
    if isinstance(schema, list):
        return [strict(one) for one in schema]
    if not isinstance(schema, dict):
        return schema
    more = {"additionalProperties": False} if schema.get("type") == "object" else {}
    return {key: strict(value) for key, value in schema.items()} | more


async def test_what_is_sent_is_what_is_described_up_to_the_goodbye(monkeypatch: pytest.MonkeyPatch):
    """No more and no less than the document of the interface says."""
    monkeypatch.setattr(publisher, "_STATS_S", 0.05)
    said = [{"type": "set", "mirror": True}, {"type": "ping", "t": 1.5}, {"type": "model", "name": "none"}]
    got: dict[str, Any] = {"Config": {"ice_servers": [IceServer(url="turn:a", user="me", secret="x").for_page()]}}
    async with aiohttp.ClientSession() as http:
        async with serving(Legs()) as served:

            async def get(path: str) -> Any:
                async with http.get(f"{served.url}/api/{path}") as answer:
                    return await answer.json()

            schemas = strict((await get("openapi.json"))["components"]["schemas"])
            client = RtcClient(served.url, Pictures(grey()), stream="me")
            await client.__aenter__()
            heard = client.said
            await client.until(lambda: heard)
            for message in said:
                client.say(**message)
            async with http.ws_connect(f"{served.url}/api/streams/me/poses") as socket:
                got["Poses"] = json.loads((await socket.receive(timeout=10)).data)
            await client.until(lambda: {m["type"] for m in heard} >= {"hello", "settings", "pong", "error"})
            await client.until(lambda: heard[-1]["type"] == "stats" and "people" in heard[-1] and client.poses)
            got |= {"Stream": await get("streams/me"), "Models": await get("models"), "Error": await get("none")}
        await client.until(lambda: heard[-1]["type"] == "bye", within_s=5)
        client.location = None
        await client.__aexit__()
    assert "stopping" in heard[-1]["reason"]
    fits = {
        name: jsonschema_rs.validator_for({"$ref": f"#/components/schemas/{name}", "components": {"schemas": schemas}})
        for name in schemas
    }
    figures = schemas["Stream"]["properties"]["figures"]["properties"].keys()
    for name, message in [*got.items(), ("OwnPoses", client.poses[-1][1]), *(("Heard", one) for one in heard)]:
        assert fits[name].is_valid(message), (name, message)
        assert not fits[name].is_valid(message | {"unheard": 1})
        for key in message.keys() - {"names", "edges", *figures}:
            assert not fits[name].is_valid({k: v for k, v in message.items() if k != key}), (name, key)
    assert all(fits["Said"].is_valid(message) for message in said)
    for wrong in ({"type": "set", "confidence": 2}, {"type": "ping"}, {"type": "hello"}):
        assert not fits["Said"].is_valid(wrong)
