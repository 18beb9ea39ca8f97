"""What the server says over HTTP, to friends and to strangers."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import errno
import json
import logging
import re
import socket
import sys
import threading
import time
from collections.abc import AsyncIterator
from email.utils import parsedate_to_datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import aiohttp
import cv2
import numpy as np
import pytest
from aiortc import RTCCertificate, RTCIceGatherer
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from fakes import FakeEstimator
from hypothesis import given, settings
from hypothesis import strategies as st
from servers.rtc_client import bare_offer
from servers.serving import Served, serving

from streampose.batching import LatencyBatch
from streampose.errors import ConfigError
from streampose.frame import StreamInfo
from streampose.observe.access import Address
from streampose.pipeline import Pipeline
from streampose.pose import Skeleton
from streampose.skeletons import SKELETONS
from streampose.sources import FileSource, SyntheticSource
from streampose.streams import Stream
from streampose.web import feeds
from streampose.web.catalogue import Catalogue
from streampose.web.hub import Item, Wish
from streampose.web.ice import Offered, parse_ice_server
from streampose.web.limits import Limits
from streampose.web.offer import checked
from streampose.web.server import WebOptions, read_tls

SDP = {"Content-Type": "application/sdp"}
TOKEN = "correct-horse"


@pytest.fixture
async def http() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession() as session:
        yield session


STILL: Any = SimpleNamespace(frame=SimpleNamespace(index=3), moment=SimpleNamespace(time_s=0.1))


async def playing(served: Served, name: str = "cam") -> None:
    await served.server.show(name, SyntheticSource(width_px=320, height_px=240))
    async with asyncio.timeout(30):
        while served.server.catalogue[name].hub.latest is None:
            await asyncio.sleep(0.01)


async def test_the_page_and_its_files(served: Served, http: aiohttp.ClientSession):
    async with http.get(f"{served.url}/") as answer:
        assert answer.status == 200
        assert answer.content_type == "text/html"
        policy = answer.headers["Content-Security-Policy"]
        assert "default-src 'none'" in policy
        assert "unsafe" not in policy
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        assert "Set-Cookie" not in answer.headers
        html, tag = await answer.text(), answer.headers["ETag"]
    assert "http://" not in html
    assert "https://" not in html
    async with http.get(f"{served.url}/", headers={"If-None-Match": tag}) as answer:
        assert answer.status == 304
    for name in ("app.js", "style.css", "icon.svg", "skeletons.js"):
        async with http.get(f"{served.url}/page/{name}") as answer:
            assert answer.status == 200, name


async def test_the_page_knows_a_skeleton_that_was_added_later(served: Served, http: aiohttp.ClientSession):
    SKELETONS["leg"] = Skeleton(name="leg", points=("hip", "knee", "ankle"), edges=((0, 1), (1, 2)))
    async with http.get(f"{served.url}/page/skeletons.js") as answer:
        script = await answer.text()
    known = dict(json.loads(script.removeprefix("export const SKELETONS = new Map(").removesuffix(");\n")))
    assert known["leg"] == {"points": ["hip", "knee", "ankle"], "edges": [[0, 1], [1, 2]]}
    assert len(known["coco-17"]["points"]) == 17


@pytest.mark.parametrize(
    "path",
    [
        "/page/../server.py",
        "/page/..%2fserver.py",
        "/page/%2e%2e%2fserver.py",
        "/page/%2e%2e/server.py",
        "//etc/passwd",
        "/page/..%5cserver.py",
        "/page/app.js%00.html",
        "/page/",
    ],
)
async def test_no_path_leads_to_another_file(served: Served, path: str):
    port = int(served.url.rpartition(":")[2])
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(f"GET {path} HTTP/1.1\r\nHost: localhost:{port}\r\nConnection: close\r\n\r\n".encode())
    answer = await reader.read()
    writer.close()
    await writer.wait_closed()
    assert answer.split(b" ")[1] in {b"400", b"403", b"404"}, answer[:200]
    assert b"import" not in answer


async def test_streams_come_change_and_go(served: Served, http: aiohttp.ClientSession):
    url = f"{served.url}/api/streams"
    new = {"id": "drawn", "source": "synthetic:?size=320x240"}
    async with http.post(url, json=new) as answer:
        assert answer.status == 201
        assert answer.headers["Location"] == "/api/streams/drawn"
    async with http.post(url, json=new) as answer:
        assert answer.status == 409
    async with http.patch(f"{url}/drawn", json={"smooth": True, "confidence": 0.5}) as answer:
        assert (await answer.json())["settings"]["smooth"] is True
    async with http.patch(f"{url}/drawn", json={"smooth": "yes"}) as answer:
        assert answer.status == 422
    async with http.get(url) as answer:
        (only,) = (await answer.json())["streams"]
        assert (only["id"], only["origin"]) == ("drawn", "api")
    async with http.delete(f"{url}/drawn") as answer:
        assert answer.status == 204
    async with http.delete(f"{url}/drawn") as answer:
        assert answer.status == 404
    assert not served.pipeline.reports


async def test_all_that_is_answered_is_described(served: Served, http: aiohttp.ClientSession):
    await playing(served)
    async with http.get(f"{served.url}/api/openapi.json") as answer:
        document = await answer.json()
    described = {
        (path, method.upper()) for path, about in document["paths"].items() for method in about.keys() - {"parameters"}
    }
    routes = served.server._runner.app.router.routes()
    answered = {(route.resource.canonical, route.method) for route in routes if route.method != "HEAD"}
    assert {(path, method) for path, method in answered if not path.startswith("/page")} - {("/", "GET")} == described
    async with http.get(f"{served.url}/api/streams/cam") as answer:
        figures = (await answer.json())["figures"]
    assert figures.keys() == document["components"]["schemas"]["Stream"]["properties"]["figures"]["properties"].keys()


async def test_the_list_is_of_one_moment(served: Served, http: aiohttp.ClientSession, monkeypatch):
    """Each moment costs as much as there are streams: one for each stream made 75 ms of 32."""
    for name in "abcd":
        await served.server.show(name, SyntheticSource(width_px=64, height_px=64))
    taken, snapshot = [], served.pipeline.snapshot
    monkeypatch.setattr(served.pipeline, "snapshot", lambda: taken.append(snapshot()) or taken[-1])
    async with http.get(f"{served.url}/api/streams") as answer:
        streams = (await answer.json())["streams"]
    assert [stream["id"] for stream in streams] == list("abcd")
    (now,) = taken
    assert [stream["figures"]["captured"] for stream in streams] == [now.streams[name].captured for name in "abcd"]


@pytest.mark.parametrize(
    "source",
    [
        "/etc/passwd",
        "file:///etc/passwd",
        "0",
        "/dev/video0",
        "frames/",
        "v4l2:x",
        "",
        "rtsp:x",
        "cam.sdp",
        "udp://@:5000",
    ],
)
async def test_files_and_devices_are_not_opened_over_http(served: Served, http: aiohttp.ClientSession, source: str):
    async with http.post(f"{served.url}/api/streams", json={"id": "x", "source": source}) as answer:
        assert answer.status == 422
        assert "only rtsp(s)://, rtmp(s)://, http(s)://, srt:// and synthetic: can" in await answer.text()
    assert not served.pipeline.reports


async def test_a_scheme_in_capitals_is_the_same_over_http(served: Served, http: aiohttp.ClientSession):
    async with http.post(f"{served.url}/api/streams", json={"id": "x", "source": "RTSP://127.0.0.1:1/x"}) as answer:
        assert answer.status == 201


async def test_a_source_that_is_too_long_is_not_looked_at(served: Served, http: aiohttp.ClientSession):
    for length, status in ((4096, 201), (4097, 422), (64_000, 422)):
        source = "rtsp://127.0.0.1:1/".ljust(length, "y")
        async with http.post(f"{served.url}/api/streams", json={"id": f"x{length}", "source": source}) as answer:
            assert answer.status == status
            assert "yyy" not in await answer.text()


@pytest.mark.parametrize(
    "within", ["\r\nX-Evil: 1\r\n", "\x1b[2J", "\x9b2J", "\0", "\ud800", "\u2028", "a%0d%0aX%3a%201:pw@"]
)
async def test_a_source_over_http_adds_no_lines_to_requests_and_logs(
    served: Served, http: aiohttp.ClientSession, caplog: pytest.LogCaptureFixture, within: str
):
    new = {"id": "x", "source": f"rtsp://{within}127.0.0.1:1/x"}
    async with http.post(f"{served.url}/api/streams", json=new) as answer:
        assert (answer.status, "only printable characters" in await answer.text()) == (422, True)
    assert not served.pipeline.reports
    assert within not in caplog.text


async def test_a_recording_over_http_is_live_too(served: Served, http: aiohttp.ClientSession, monkeypatch):
    added: list[Stream] = []
    add = served.pipeline.add

    async def note(stream: Stream) -> None:
        added.append(stream)
        await add(stream)

    monkeypatch.setattr(served.pipeline, "add", note)
    new = {"id": "x", "source": "http://127.0.0.1:1/a.mp4"}
    async with http.post(f"{served.url}/api/streams", json=new) as answer:
        assert answer.status == 201
    assert [stream.source.live for stream in added] == [True]


async def test_a_password_of_a_source_is_not_told(served: Served, http: aiohttp.ClientSession, caplog):
    caplog.set_level(logging.DEBUG)
    new = {"id": "x", "source": "rtsp://user:hunter2@127.0.0.1:1/a"}
    async with http.post(f"{served.url}/api/streams", json=new) as answer:
        assert "hunter2" not in await answer.text()
    await asyncio.sleep(0.3)
    async with http.get(f"{served.url}/api/streams/x") as answer:
        assert "hunter2" not in await answer.text()
    assert "hunter2" not in caplog.text


async def test_poses_as_events_and_over_a_websocket(served: Served, http: aiohttp.ClientSession):
    await playing(served)
    url = f"{served.url}/api/streams/cam/poses"
    async with http.get(url) as answer:
        assert answer.content_type == "text/event-stream"
        frames = []
        while len(frames) < 3:
            line = (await answer.content.readline()).decode()
            if line.startswith("data: "):
                frames.append(json.loads(line[6:]))
    assert [f["stream"] for f in frames] == ["cam"] * 3
    assert frames[0]["frame"] < frames[1]["frame"] < frames[2]["frame"]
    assert len(frames[0]["people"][0]["points"]) == 17
    async with http.ws_connect(url) as socket:
        record = json.loads((await socket.receive(timeout=30)).data)
        assert record["frame"] > frames[2]["frame"]
        await socket.send_str("hello")
        async with asyncio.timeout(30):
            while not socket.closed:
                await socket.receive()
        assert socket.close_code == 1003


async def test_who_follows_is_told_of_the_end(served: Served, http: aiohttp.ClientSession):
    await playing(served)
    async with http.get(f"{served.url}/api/streams/cam/poses") as events:
        await events.content.readline()
        async with http.delete(f"{served.url}/api/streams/cam"):
            pass
        async with asyncio.timeout(30):
            assert "event: end" in (await events.content.read()).decode()


async def _to_the_end(socket: aiohttp.ClientWebSocketResponse) -> int | None:
    async for _ in socket:
        pass
    return socket.close_code


async def test_who_follows_a_server_that_stops_is_cut_off_between_two_frames(http: aiohttp.ClientSession):
    """And is not told that the stream has ended: it may be there again with the server."""
    async with serving() as served:
        await playing(served)
        url = f"{served.url}/api/streams/cam"
        answers = [await http.get(f"{url}/{kind}") for kind in ("poses", "video.mjpeg")]
        begun = [await answer.content.readany() for answer in answers]
        socket = await http.ws_connect(f"{url}/poses")
        heard = asyncio.ensure_future(_to_the_end(socket))
    async with asyncio.timeout(30):
        rest = [await answer.read() for answer in answers]  # neither breaks off in the middle
        assert await heard == 1001
    poses = begun[0] + rest[0]
    assert poses.endswith(b"\n\n")
    assert b"event: end" not in poses


async def test_a_stream_that_has_ended_is_over_for_who_comes_then(served: Served, http: aiohttp.ClientSession):
    await served.server.show("short", SyntheticSource(width_px=64, height_px=64, seconds=0.3))
    url = f"{served.url}/api/streams/short"
    async with http.get(f"{url}/poses") as events:
        async with asyncio.timeout(30):
            assert "event: end" in (await events.content.read()).decode()
    assert served.server.catalogue["short"].hub.latest is not None
    async with http.get(f"{url}/poses") as events:  # an EventSource does, after each end
        assert (events.status, await events.read()) == (204, b"")
    for kind in ("picture.jpg", "video.mjpeg"):
        async with http.get(f"{url}/{kind}") as answer:
            assert (answer.status, await answer.json()) == (410, {"error": "the stream has ended"})
    async with http.post(f"{served.url}/whep/short", data="v=0", headers=SDP) as answer:
        assert answer.status == 410
    async with http.ws_connect(f"{url}/poses") as following:
        assert (await following.receive(timeout=5)).type is aiohttp.WSMsgType.CLOSE


async def test_a_stream_may_be_there_before_its_pipeline_runs():
    asyncio.get_running_loop().set_debug(False)  # of a first time
    async with Pipeline([], FakeEstimator(), policy=LatencyBatch(0.2), keep_running=True) as pipeline:
        catalogue = Catalogue(pipeline, Limits())
        entry = await catalogue.add("early", SyntheticSource(width_px=64, height_px=64), origin="server")
        await asyncio.sleep(0)  # who waits for its end begins to
        running = asyncio.create_task(pipeline.run())
        async with asyncio.timeout(30):
            with entry.hub.following(Wish.POSES) as results:
                assert (await anext(aiter(results))).line
        pipeline.stop()
        await running
        await catalogue.aclose()


async def test_a_stream_that_never_began_is_over_too(served: Served, http: aiohttp.ClientSession, tmp_path: Path):
    await served.server.show("none", FileSource(tmp_path / "none.mp4"))
    await served.pipeline.ended("none")
    async with http.get(f"{served.url}/api/streams/none/picture.jpg") as answer:
        assert answer.status == 410
    async with http.get(f"{served.url}/api/streams/none/poses") as answer:
        assert answer.status == 204


async def test_who_follows_a_stream_that_does_not_begin_is_told(served: Served, http: aiohttp.ClientSession):
    """It fails while it is opened, is removed meanwhile, or its session ends before it."""
    opening, url = threading.Event(), f"{served.url}/api/streams"

    class Slow(FileSource):
        def open(self, stream: str) -> StreamInfo:
            assert opening.wait(10)
            return super().open(stream)

    catalogue = served.server.catalogue
    await served.server.show("fails", Slow("none.mp4"))
    await served.server.show("removed", Slow("none.mp4"))
    unmade = catalogue.reserve("unmade")

    async def end_of(name: str) -> int | None:
        async with http.ws_connect(f"{url}/{name}/poses") as socket:
            assert (await socket.receive(timeout=5)).type is aiohttp.WSMsgType.CLOSE
            return socket.close_code

    names = ("fails", "removed", "unmade")
    ends = [asyncio.ensure_future(end_of(name)) for name in names]
    events = [await http.get(f"{url}/{name}/{kind}") for name in names for kind in ("poses", "video.mjpeg")]
    async with asyncio.timeout(30):
        while served.server._feeds._viewers < 9:
            await asyncio.sleep(0.01)
    removing = asyncio.ensure_future(catalogue.release(catalogue["removed"]))
    await catalogue.release(unmade)
    opening.set()
    assert await asyncio.gather(*ends) == [1000] * 3
    async with asyncio.timeout(30):
        texts = [await one.read() for one in events]
    assert texts == [b"event: end\ndata: {}\n\n", b""] * 3
    await removing
    assert await end_of("fails") == 1000  # and who comes then
    async with asyncio.timeout(30):
        while served.server._feeds._viewers:
            await asyncio.sleep(0.01)


async def test_pictures(served: Served, http: aiohttp.ClientSession):
    await playing(served)
    async with http.get(f"{served.url}/api/streams/cam/picture.jpg") as answer:
        picture = cv2.imdecode(np.frombuffer(await answer.read(), np.uint8), cv2.IMREAD_COLOR)
        taken = parsedate_to_datetime(answer.headers["Last-Modified"]).timestamp()
    assert picture.shape == (240, 320, 3)
    assert time.time() - 5 < taken <= time.time()
    async with http.get(f"{served.url}/api/streams/cam/video.mjpeg") as answer:
        reader = aiohttp.MultipartReader.from_response(answer)
        for _ in range(2):
            part = await reader.next()
            assert part is not None
            assert float(part.headers["X-Time"]) == pytest.approx(int(part.headers["X-Frame"]) / 30, abs=1e-5)
            data = await part.read()
            assert cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR).shape == (240, 320, 3)


async def test_each_picture_comes_whole_at_once_to_browsers_and_to_programs(
    served: Served, http: aiohttp.ClientSession
):
    """Browsers show one when they have the headers of the next; FFmpeg knows that it has one by its length."""
    hub, url = served.server.catalogue.reserve("still").hub, f"{served.url}/api/streams/still/video.mjpeg"
    ok, picture = cv2.imencode(".jpg", np.zeros((48, 64, 3), np.uint8))
    assert ok
    head, picture = b"--frame\r\nContent-Type: image/jpeg\r\n", picture.tobytes()
    ahead = head + b"\r\n" + picture + b"\r\n" + head + b"\r\n"
    for accept, whole in (
        ("image/avif,image/webp,*/*;q=0.8", ahead),
        ("text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8", ahead),  # Firefox's address bar
        ("*/*", head + b"Content-Length: %d\r\nX-Frame: 3\r\nX-Time: 0.100000\r\n\r\n%b\r\n" % (len(picture), picture)),
    ):
        async with http.get(url, headers={"Accept": accept}) as answer, asyncio.timeout(30):
            hub._publish(Item(result=STILL, line="", jpeg=picture))
            assert await answer.content.readexactly(len(whole)) == whole
    hub._end()
    async with asyncio.timeout(30):
        while served.server._feeds._viewers:
            await asyncio.sleep(0.01)


async def test_what_has_no_end_has_no_head(served: Served, http: aiohttp.ClientSession):
    await playing(served)
    for kind, status in (("poses", 405), ("video.mjpeg", 405), ("picture.jpg", 200)):
        async with http.head(f"{served.url}/api/streams/cam/{kind}") as answer:
            assert answer.status == status
            assert (answer.headers.get("Allow") == "GET") is (status == 405)
    assert served.server._feeds._viewers == 0


async def test_a_picture_that_many_ask_for_is_drawn_once(
    served: Served, http: aiohttp.ClientSession, monkeypatch: pytest.MonkeyPatch
):
    await playing(served)
    hub = served.server.catalogue["cam"].hub
    latest = hub.latest
    monkeypatch.setattr(type(hub), "latest", property(lambda _: latest, lambda *_: None), raising=False)
    drawn, made, go_on = feeds._drawn, [], threading.Event()

    def slowly(*args):
        made.append(args)
        go_on.wait(10)
        return drawn(*args)

    monkeypatch.setattr(feeds, "_drawn", slowly)
    url = f"{served.url}/api/streams/cam/picture.jpg"

    async def get() -> bytes:
        async with http.get(url) as answer:
            assert answer.status == 200
            return await answer.read()

    hasty = asyncio.ensure_future(get())
    others = [asyncio.ensure_future(get()) for _ in range(10)]
    async with asyncio.timeout(30):
        while served.server._feeds._viewers < 11:
            await asyncio.sleep(0.01)
    hasty.cancel()  # who leaves takes the picture from nobody
    await asyncio.sleep(0.1)
    go_on.set()
    assert len(set(await asyncio.gather(*others))) == len(made) == 1
    change = {"confidence": 0.9}
    served.server.catalogue.change(served.server.catalogue["cam"], change)
    await get()
    assert len(made) == 2  # the same picture with other settings is another one


async def test_a_viewer_who_does_not_read_loses_frames_and_nobody_else_does(http: aiohttp.ClientSession):
    async with serving(limits=Limits(write_s=1.0)) as served:
        await served.server.show("cam", SyntheticSource(width_px=1280, height_px=720))
        port = int(served.url.rpartition(":")[2])
        _, writer = await asyncio.open_connection("127.0.0.1", port, limit=1024)
        writer.transport.pause_reading()
        writer.write(f"GET /api/streams/cam/video.mjpeg HTTP/1.1\r\nHost: localhost:{port}\r\n\r\n".encode())
        await asyncio.sleep(0.2)
        async with http.get(f"{served.url}/api/streams/cam/poses") as events:
            got = 0
            async with asyncio.timeout(30):
                while served.server.catalogue["cam"].hub.draws or got < 20:
                    got += (await events.content.readline()).startswith(b"data:")
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()


@pytest.mark.parametrize("kind", ["video.mjpeg", "poses", "WebSocket"])
async def test_the_connection_of_who_does_not_read_is_ended(kind: str):
    """Also what was written to it: megabytes in the system's buffers, for as long as he likes."""
    upgrade = "Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: "
    more = upgrade + base64.b64encode(bytes(16)).decode() + "\r\n" if kind == "WebSocket" else ""
    async with serving(limits=Limits(write_s=0.3)) as served:
        port, hub = int(served.url.rpartition(":")[2]), served.server.catalogue.reserve("much").hub
        much = Item(result=STILL, line="x" * 2_000_000, jpeg=b"x" * 2_000_000)
        with socket.create_connection(("127.0.0.1", port)) as unread:
            path = f"/api/streams/much/{kind.replace('WebSocket', 'poses')}"
            unread.sendall(f"GET {path} HTTP/1.1\r\nHost: localhost:{port}\r\n{more}\r\n".encode())
            async with asyncio.timeout(10):
                while not served.server._feeds._viewers:
                    await asyncio.sleep(0.01)
                while served.server._connections._open:
                    hub._publish(much)
                    await asyncio.sleep(0.02)


def test_off_loopback_a_token_is_needed():
    with pytest.raises(ConfigError, match="--token"):
        Address(host="0.0.0.0", port=1, option="--token")


@pytest.mark.parametrize(
    ("header", "known"),
    [
        (None, False),
        ("Bearer wrong", False),
        (f"Bearer {TOKEN}", True),
        (f"bearer {TOKEN}", True),
        ("Basic " + base64.b64encode(f":{TOKEN}".encode()).decode(), True),
        ("Basic " + base64.b64encode(b"x:wrong").decode(), False),
        ("Basic %%%", False),
        ("Basic \u00e9", False),
        ("Bearer \u00e9", False),
        (TOKEN, False),
    ],
)
async def test_the_token(http: aiohttp.ClientSession, caplog, header: str | None, known: bool):
    caplog.set_level(logging.DEBUG)
    async with serving(token=TOKEN) as served:
        headers = {} if header is None else {"Authorization": header}
        async with http.get(f"{served.url}/api/streams", headers=headers) as answer:
            assert answer.status == (200 if known else 401)
            assert ("WWW-Authenticate" in answer.headers) is not known
        async with http.post(f"{served.url}/whip", headers=headers | SDP, data="v=0") as answer:
            assert answer.status == (400 if known else 401)
        async with http.get(f"{served.url}/") as answer:
            assert answer.status == 200  # the page itself knows nothing
    assert TOKEN not in caplog.text


@pytest.mark.parametrize(
    ("header", "scheme"),
    [(None, "Basic"), ("Basic " + base64.b64encode(b":wrong").decode(), "Basic"), ("Bearer wrong", "Bearer")],
)
async def test_browsers_ask_for_the_token_of_pictures_unless_a_page_does(
    http: aiohttp.ClientSession, header: str | None, scheme: str
):
    headers = {} if header is None else {"Authorization": header}
    async with (
        serving(token=TOKEN) as served,
        http.get(f"{served.url}/api/streams/cam/picture.jpg", headers=headers) as answer,
    ):
        assert (answer.status, answer.headers["WWW-Authenticate"].split()[0]) == (401, scheme)


async def test_tls(http: aiohttp.ClientSession, tmp_path: Path):
    made = RTCCertificate.generateCertificate()
    cert, key = tmp_path / "cert.pem", tmp_path / "key.pem"
    cert.write_bytes(made._cert.public_bytes(Encoding.PEM))
    key.write_bytes(made._key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    async with serving(tls=read_tls(cert, key)) as served:
        assert served.url.startswith("https://")
        async with http.get(f"{served.url}/", ssl=False) as answer:
            assert answer.status == 200
            # It would be for every port of this host, and for a year.
            assert "Strict-Transport-Security" not in answer.headers
    with pytest.raises(ConfigError, match="no certificate"):
        read_tls(key, cert)
    with pytest.raises(ConfigError, match="both"):
        read_tls(cert, None)
    with pytest.raises(ConfigError, match="no certificate"):
        read_tls(tmp_path / "none.pem", key)


async def test_what_cannot_be_listened_with_is_known_before_there_is_anything_to_serve():
    await WebOptions(address=Address(port=0)).check()
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(ConfigError, match=f"cannot listen on 127.0.0.1:{port}: "):
            await WebOptions(address=Address(port=port)).check()
    with pytest.raises(ConfigError, match="cannot be a host's name"):
        await WebOptions(address=Address(host="no..name", port=0, token="x")).check()


async def test_pages_of_other_sites_get_nothing(served: Served, http: aiohttp.ClientSession):
    port = served.url.rpartition(":")[2]
    foreign = {"Origin": "http://evil.example"}
    for headers in (foreign, {"Origin": "null"}, {"Origin": "http://["}, {"Sec-Fetch-Site": "cross-site"}):
        async with http.post(f"{served.url}/api/streams", json={}, headers=headers) as answer:
            assert answer.status == 403
        async with http.get(f"{served.url}/api/streams", headers=headers) as answer:
            assert answer.status == 403
            assert "Access-Control-Allow-Origin" not in answer.headers
    async with http.get(f"{served.url}/api/streams", headers={"Origin": f"http://127.0.0.1:{port}"}) as answer:
        assert answer.status == 200
    with pytest.raises(aiohttp.WSServerHandshakeError):
        await http.ws_connect(f"{served.url}/api/streams/x/poses", headers=foreign)
    # A name of elsewhere that points here.
    async with http.get(f"{served.url}/api/streams", headers={"Host": f"evil.example:{port}"}) as answer:
        assert answer.status == 421


POST = b"POST /api/streams HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Type: application/json\r\n"


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        ([b"GET /api/streams HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer hun\0ter2\r\n\r\n"], 400),
        ([b"GET /?hunter2 HTTP/1.1\r\nHost: localhost\r\nX: " + b"hunter2" * 2000 + b"\r\n\r\n"], 400),
        ([b"\x16\x03\x01\x02hunter2\r\n\r\n"], 400),
        ([POST + b"Content-Encoding: gzip\r\nContent-Length: 7\r\n\r\nhunter2"], 415),
        ([POST + b"Content-Encoding: br\r\nContent-Length: 7\r\n\r\nhunter2"], 415),
        ([POST + b"Transfer-Encoding: chunked\r\n\r\nhunter2\r\n"], 400),
        ([POST + b"Content-Length: 9\r\n\r\nhunter2", b""], None),
    ],
)
async def test_a_request_that_cannot_be_read_is_no_news(caplog, sent: list[bytes], status: int | None):
    """Anybody can send it, without a token, as often as he likes, and with somebody's secret in it."""
    caplog.set_level(logging.DEBUG)
    async with serving() as served:
        reader, writer = await asyncio.open_connection("127.0.0.1", int(served.url.rpartition(":")[2]))
        for data in sent:
            writer.write(data)
            if not data:  # he hangs up while the handler waits for more
                await asyncio.sleep(0.02)
                writer.transport.abort()
        head = await reader.readline()
        assert (int(head.split()[1]) if head else None) == status
        if head:  # the answer is as any other, and quotes nothing
            answer = (await reader.read()).decode()
            assert answer.partition("\r\n\r\n")[2].startswith('{"error": "')
            assert "Server: streampose\r\n" in answer
            assert not [word for word in ("aiohttp", "hunter2", "hun") if word in answer]
        writer.close()
    allowed = {"asyncio": logging.WARNING}  # it tells of busy machines
    assert not [record for record in caplog.records if record.levelno > allowed.get(record.name, logging.INFO)]
    assert "hunter2" not in caplog.text
    assert "hun\\x00ter2" not in caplog.text


async def test_a_bug_of_ours_is_told_to_the_log_alone(served: Served, http: aiohttp.ClientSession, caplog):
    def broken() -> list[object]:
        raise KeyError("a secret")

    served.server.catalogue.list = broken
    async with http.get(f"{served.url}/api/streams") as answer:
        assert answer.status == 500
        assert "secret" not in await answer.text()
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
    assert "a secret" in caplog.text


async def test_whip_and_whep_as_their_documents_say(served: Served, http: aiohttp.ClientSession):
    async with http.options(f"{served.url}/whip/cam") as answer:
        assert answer.headers["Accept-Post"] == "application/sdp"
    for method in ("GET", "PUT", "PATCH", "DELETE"):
        async with http.request(method, f"{served.url}/whip/cam") as answer:
            assert answer.status == 405, method
    async with http.post(f"{served.url}/whip", data="v=0", headers={"Content-Type": "text/plain"}) as answer:
        assert answer.status == 415
    async with http.post(f"{served.url}/whip", data="x" * 70_000, headers=SDP) as answer:
        assert answer.status == 413
    async with http.post(f"{served.url}/whep/nobody", data="v=0", headers=SDP) as answer:
        assert answer.status == 404
    async with http.delete(f"{served.url}/session/guessed") as answer:
        assert answer.status == 404


async def open_files(served: Served, http: aiohttp.ClientSession) -> int:
    """Of this process, with the one connection that this client keeps."""
    async with http.get(f"{served.url}/"):
        pass
    return len(list(Path("/proc/self/fd").iterdir()))


async def test_ice_servers_are_told_to_those_who_may_come_in(http: aiohttp.ClientSession):
    turn = parse_ice_server("turn:me:secret@127.0.0.1:9")
    offer, known = await bare_offer(), {"Authorization": "Bearer sesame-sesame"}
    async with serving(token="sesame-sesame", ice_servers=[turn]) as served:
        url = f"{served.url}/whip/me"
        async with http.options(url) as answer:
            assert (answer.status, "Link" in answer.headers) == (204, False)
        async with http.options(url, headers=known) as answer:
            assert answer.headers.getall("Link") == [turn.link()]
        async with http.post(url, data=offer, headers=SDP | known) as answer:
            assert answer.status == 201, await answer.text()
            assert answer.headers.getall("Link") == [turn.link()]
            session = answer.headers["Location"]
        # What is promised of OPTIONS is in their answer, and nothing else.
        async with http.get(f"{served.url}/api/openapi.json", headers=known) as answer:
            paths = (await answer.json())["paths"]
        for path, like in (
            ("/whip", "/whip"),
            ("/whip/{id}", "/whip/me"),
            ("/whep/{id}", "/whep/me"),
            ("/session/{session}", session),
        ):
            async with http.options(served.url + like, headers=known) as answer:
                for header in ("Accept-Post", "Accept-Patch", "Link"):
                    assert (header in paths[path]["options"]["summary"]) == (header in answer.headers), (path, header)


async def test_a_session_is_changed_and_ended_by_its_owner_alone(served: Served, http: aiohttp.ClientSession):
    whole = await bare_offer()
    assert "a=end-of-candidates" in whole
    # As of a client that goes on naming candidates.
    offer = "".join(line for line in whole.splitlines(keepends=True) if not line.startswith(("a=cand", "a=end-of")))
    async with http.post(f"{served.url}/whip/me", data=offer, headers=SDP) as answer:
        assert answer.status == 201, await answer.text()
        assert answer.content_type == "application/sdp"
        session, tag = served.url + answer.headers["Location"], answer.headers["ETag"]
        text = await answer.text()
    candidates = [line for line in text.splitlines() if line.startswith("a=candidate")]
    assert candidates
    assert all(" 127.0.0.1 " in line for line in candidates)  # bound to loopback, it offers loopback
    async with http.post(f"{served.url}/whip/me", data=offer, headers=SDP) as answer:
        assert answer.status == 409
    fragment = "a=ice-ufrag:abcd\r\nm=video 9 UDP/TLS/RTP/SAVPF 0\r\na=mid:0\r\n" + (
        "a=candidate:1 1 udp 2130706431 127.0.0.1 9 typ host\r\n"
    )
    kind = {"Content-Type": "application/trickle-ice-sdpfrag"}
    for headers, status in (
        ({}, 428),
        ({"If-Match": '"other"'}, 412),
        ({"If-Match": "*"}, 422),
        ({"If-Match": tag}, 204),
    ):
        async with http.patch(session, data=fragment, headers=kind | headers) as answer:
            assert answer.status == status
        (peer,) = served.server._sessions._peers.values()
        ice = peer._pc.getTransceivers()[0].receiver.transport.transport._connection
        assert (("127.0.0.1", 9) in [(c.host, c.port) for c in ice.remote_candidates]) is (status == 204)
    async with http.patch(session, data="a=candidate:x", headers=kind | {"If-Match": tag}) as answer:
        assert answer.status == 204  # what cannot be used is passed over
    async with http.patch(session, data="hello", headers=kind | {"If-Match": tag}) as answer:
        assert answer.status == 400
    async with http.delete(session) as answer:
        assert answer.status == 200
    for _ in range(3):
        async with http.delete(session) as answer:
            assert answer.status == 404
    assert served.server.sessions == 0
    assert "me" not in served.server.catalogue


def elsewhere() -> aiohttp.ClientSession:
    """A client of another address."""
    return aiohttp.ClientSession(connector=aiohttp.TCPConnector(local_addr=("127.0.0.2", 0)))


async def test_a_thousand_half_open_sessions(http: aiohttp.ClientSession):
    """They hold half of the places, for a moment; who is there goes on, who comes from elsewhere gets in."""
    offer = await bare_offer()
    async with serving(limits=Limits(peers=4, connect_s=2.0)) as served, elsewhere() as other:
        await playing(served)

        async def half_open(client: aiohttp.ClientSession = http) -> int:
            async with client.post(f"{served.url}/whip", data=offer, headers=SDP) as answer:
                return answer.status

        statuses: list[int] = []
        before, started = served.pipeline.snapshot().streams["cam"].delivered, time.monotonic()
        await asyncio.sleep(1.0)
        alone = served.pipeline.snapshot().streams["cam"].delivered - before
        alone_hz = alone / (time.monotonic() - started)
        before, started = before + alone, time.monotonic()
        for _ in range(5):
            flood = asyncio.gather(*(half_open() for _ in range(200)))
            for _ in range(3):
                await asyncio.sleep(0.2)
                assert served.server.sessions <= 4
                came = time.monotonic()
                assert await half_open(other) == 201
                assert time.monotonic() - came < 10  # their own have to be a second old to go
            statuses += await flood
        took = time.monotonic() - started
        assert set(statuses) <= {201, 503}
        assert len(statuses) == 1000
        assert statuses.count(201) < 20 + 4 * took
        delivered = served.pipeline.snapshot().streams["cam"].delivered - before
        assert delivered > 0.3 * alone_hz * took, (alone_hz, delivered, took)
        async with asyncio.timeout(30):
            while served.server.sessions:
                await asyncio.sleep(0.1)


async def test_headers_and_bodies_that_never_end():
    async with serving(limits=Limits(header_s=1.0, body_s=1.0)) as served:
        port = int(served.url.rpartition(":")[2])

        async def drip(first: bytes, drop: bytes) -> float:
            started = time.monotonic()
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(first)
            with contextlib.suppress(ConnectionError):
                for _ in range(100):
                    writer.write(drop)
                    await writer.drain()
                    with contextlib.suppress(TimeoutError):
                        async with asyncio.timeout(0.1):
                            if not await reader.read(4096):
                                break
            writer.close()
            with contextlib.suppress(ConnectionError):
                await writer.wait_closed()
            return time.monotonic() - started

        host = f"Host: localhost:{port}\r\n".encode()
        post = b"POST /whip HTTP/1.1\r\nContent-Type: application/sdp\r\nContent-Length: 9999\r\n" + host + b"\r\n"
        slow = await asyncio.gather(
            drip(b"GET / HTTP/1.1\r\n" + host, b"X: y\r\n"),
            drip(post, b"v"),
            drip(b"", b""),
        )
        assert max(slow) < 6, slow


async def test_a_name_that_two_want_at_once(http: aiohttp.ClientSession):
    """Both come while there is no room yet: one of them gets it, the other is told whose fault that is."""
    offer = await bare_offer()
    async with serving(limits=Limits(peers=2)) as served, elsewhere() as far:

        async def post(name: str, client: aiohttp.ClientSession) -> int:
            async with client.post(f"{served.url}/whip/{name}", data=offer, headers=SDP) as answer:
                return answer.status

        assert await asyncio.gather(post("a", http), post("b", far)) == [201, 201]
        await asyncio.sleep(1.1)  # now they have to make room
        _, last = served.server._sessions._peers.values()
        room = last.ended("so there is room for both")
        one, other, _ = await asyncio.gather(post("x", http), post("x", far), room)
        assert sorted([one, other]) == [201, 409]


async def test_who_hangs_up_while_a_session_ends_leaves_nothing_behind(served: Served, http: aiohttp.ClientSession):
    offer, port = await bare_offer(), int(served.url.rpartition(":")[2])
    before = await open_files(served, http)
    for i in range(6):
        async with http.post(f"{served.url}/whip/n{i}", data=offer, headers=SDP) as answer:
            assert answer.status == 201, await answer.text()
            place = answer.headers["Location"]
        _, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(f"DELETE {place} HTTP/1.1\r\nHost: localhost:{port}\r\n\r\n".encode())
        await asyncio.sleep(0.002)
        writer.transport.abort()
    async with asyncio.timeout(5):
        while served.server.sessions or "n5" in served.server.catalogue:
            await asyncio.sleep(0.02)
    assert not any(f"n{i}" in served.server.catalogue for i in range(6))
    async with asyncio.timeout(5):
        while await open_files(served, http) > before:
            await asyncio.sleep(0.05)


async def test_a_stun_server_that_does_not_answer(http: aiohttp.ClientSession):
    """While candidates are gathered nobody takes a session's place, and after its time nothing of it goes on."""
    offer = await bare_offer()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as hole:
        hole.bind(("127.0.0.1", 0))
        stun = [parse_ice_server(f"stun:127.0.0.1:{hole.getsockname()[1]}")]

        async def post(served: Served, name: str, client: aiohttp.ClientSession = http, after_s: float = 0) -> int:
            await asyncio.sleep(after_s)
            async with client.post(f"{served.url}/whip/{name}", data=offer, headers=SDP) as answer:
                return answer.status

        async with serving(limits=Limits(peers=1, connect_s=10.0), ice_servers=stun) as served, elsewhere() as far:
            assert await asyncio.gather(post(served, "a"), post(served, "b", far, 1.3)) == [201, 503]
        async with serving(limits=Limits(peers=1, connect_s=1.0), ice_servers=stun) as served:
            before = await open_files(served, http)
            assert await post(served, "a") == 400
            (done, _) = await asyncio.wait([asyncio.ensure_future(post(served, "b"))], timeout=0.3)
            assert not done
            (peer,) = served.server._sessions._peers.values()
            await peer.ended("somebody pulled the plug")
            await asyncio.sleep(0.3)
            assert served.server.sessions == 0
            assert "b" not in served.server.catalogue
            assert not [t for t in asyncio.all_tasks() if t.get_name().startswith(("watch-", "answer-"))]
            assert await open_files(served, http) <= before


async def test_idle_connections_lock_nobody_out(http: aiohttp.ClientSession):
    """Three times as many as there is room for; who is being served meanwhile stays."""
    async with serving(limits=Limits(connections=20)) as served:
        await playing(served)
        port = int(served.url.rpartition(":")[2])
        before = await open_files(served, http)
        async with http.get(f"{served.url}/api/streams/cam/poses") as events:
            idle = [await asyncio.open_connection("127.0.0.1", port) for _ in range(60)]
            assert await open_files(served, http) <= before + 60 + 22
            async with asyncio.timeout(30):
                for _ in range(10):
                    assert await events.content.readline()
            ended = [reader.at_eof() or reader.exception() is not None for reader, _ in idle]
            assert 38 <= sum(ended) <= 43
            assert all(ended[:38])  # the oldest
        for _, writer in idle:
            writer.transport.abort()


@pytest.mark.skipif(sys.platform != "linux", reason="other systems have other options")
async def test_who_has_lost_his_network_does_not_keep_his_place(served: Served, http: aiohttp.ClientSession):
    """Nobody would notice while there is nothing to send, or what was sent is not acknowledged."""
    served.server.catalogue.reserve("away")
    async with http.get(f"{served.url}/api/streams/away/video.mjpeg"):
        (transport,) = served.server._connections._open.values()
        there = transport.get_extra_info("socket")
        idle_s, every_s, times, unanswered_ms = (
            there.getsockopt(socket.IPPROTO_TCP, option)
            for option in (
                socket.TCP_KEEPIDLE,
                socket.TCP_KEEPINTVL,
                socket.TCP_KEEPCNT,
                socket.TCP_USER_TIMEOUT,
            )
        )
        assert there.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
        assert idle_s + every_s * times <= 20
        assert 0 < unanswered_ms <= 20_000


async def test_bodies_that_are_not_whole_lock_nobody_out(http: aiohttp.ClientSession, caplog):
    """As many as there is room for, of requests whose bodies do not come; who follows a stream stays."""
    async with serving(limits=Limits(connections=20)) as served:
        await playing(served)
        port = int(served.url.rpartition(":")[2])
        half = f"POST /whip HTTP/1.1\r\nHost: localhost:{port}\r\nContent-Type: application/sdp\r\n"
        async with http.ws_connect(f"{served.url}/api/streams/cam/poses") as following:
            slow = [await asyncio.open_connection("127.0.0.1", port) for _ in range(30)]
            for _, writer in slow:
                writer.write(f"{half}Content-Length: 9000\r\n\r\nv=0".encode())
            await asyncio.sleep(0.1)
            for _ in range(5):
                async with aiohttp.ClientSession() as newcomer, newcomer.get(f"{served.url}/api/streams") as answer:
                    assert answer.status == 200
            for _ in range(10):
                assert (await following.receive(timeout=5)).type is aiohttp.WSMsgType.TEXT
        for _, writer in slow:
            writer.transport.abort()
    assert not [r for r in caplog.records if r.levelno >= logging.ERROR], caplog.text


@settings(max_examples=300)
@given(st.one_of(st.text(), st.binary().map(lambda b: b.decode("latin-1"))))
def test_what_is_no_offer_is_refused_in_words(text: str):
    with pytest.raises(ConfigError):
        checked(text, Limits(), loopback_only=True)


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        (r"a=fingerprint:.*\r\n", "", "no DTLS fingerprint"),  # aiortc would answer, and fail an assertion later
        (r"VP8/90000|H264/90000", "AV1/90000", "neither VP8 nor H.264"),
        (r"packetization-mode=1|VP8", "x", "no VP8 or H.264 of a kind"),
        (r"setup:actpass", "setup:holdconn", "malformed"),
        (r"a=mid:0", "a=mid:0\r\na=rtcp-fb:97", "malformed"),
        # aiortc makes 300,000 of these.
        (r"a=mid:0", "a=mid:0\r\n" + "a=rtpmap:9 x/9\r\n" * 600 + "a=rtcp-fb:* a\r\n" * 500, "more codecs"),
    ],
    ids=["fingerprint", "codec", "H264", "setup", "feedback", "much feedback"],
)
async def test_an_offer_that_cannot_be_answered_is_refused_in_words(
    served: Served, caplog, old: str, new: str, words: str
):
    caplog.set_level(logging.DEBUG, "streampose")
    offer = re.sub(old, new, await bare_offer())
    async with (
        aiohttp.ClientSession() as http,
        http.post(f"{served.url}/whip", data=offer, headers=SDP) as answer,
    ):
        error = (await answer.json())["error"]
        assert answer.status == 400
    assert words in error
    assert "Error" not in error  # none of Python's, which is in the log where it says more
    assert ("Error: " in caplog.text) is ("malformed" in error)


async def test_a_fault_of_the_machine_is_not_said_to_be_the_offer_s(served: Served, caplog, monkeypatch):
    async def gather(self: RTCIceGatherer) -> None:
        raise OSError(errno.EMFILE, "Too many open files")

    offer = await bare_offer()
    monkeypatch.setattr(RTCIceGatherer, "gather", gather)
    async with (
        aiohttp.ClientSession() as http,
        http.post(f"{served.url}/whip", data=offer, headers=SDP) as answer,
    ):
        assert (answer.status, answer.headers["Retry-After"]) == (503, "5")
        assert "malformed" not in await answer.text()
    assert "Too many open files" in caplog.text


async def test_a_fingerprint_of_the_whole_session_will_do():
    offer = await bare_offer()
    prints = re.findall(r"a=fingerprint:.*\r\n", offer)
    lines = re.sub(r"a=fingerprint:.*\r\n", "", offer).replace("t=0 0\r\n", "t=0 0\r\n" + prints[0])
    assert checked(lines, Limits(), loopback_only=True)


@pytest.mark.parametrize(
    ("groups", "taken"),
    [(["0 1"], True), ([], False), (["0"], False), (["0", "1"], False), (["0 0"], False), (["0 7"], False)],
)
async def test_all_sections_of_an_offer_are_one_transport(groups: list[str], taken: bool):
    offer = await bare_offer()
    assert "a=group:BUNDLE 0 1\r\n" in offer
    bundles = "".join(f"a=group:BUNDLE {group}\r\n" for group in groups)
    text = offer.replace("a=group:BUNDLE 0 1\r\n", bundles)
    if taken:
        assert checked(text, Limits(), loopback_only=True)
        return
    with pytest.raises(ConfigError, match=r"bundle|name of its own"):
        checked(text, Limits(), loopback_only=True)


async def test_an_answer_names_each_address_once(http: aiohttp.ClientSession):
    """They were as many as the sections' number is the power of: six sections and four addresses, 4,096 sockets."""
    addresses = [Offered(public="127.0.0.1"), Offered(public="127.0.0.2")]
    async with (
        serving(ice_addresses=addresses) as served,
        http.post(f"{served.url}/whip", data=await bare_offer(), headers=SDP) as answer,
    ):
        section = (await answer.text()).split("m=")[1]
    assert re.findall(r"a=candidate:\S+ 1 udp \d+ (\S+)", section) == ["127.0.0.1", "127.0.0.2"]


async def test_mutilated_offers_do_no_harm(http: aiohttp.ClientSession, caplog):
    """Lines left out, doubled, cut and changed: an answer or a refusal, and nothing is left behind."""
    caplog.set_level(logging.WARNING)
    offer = await bare_offer()
    lines, chance = offer.split("\r\n"), np.random.default_rng(0)
    async with serving(limits=Limits(peers=2)) as served:
        for _ in range(120):
            broken = list(lines)
            for _ in range(int(chance.integers(1, 4))):
                at = int(chance.integers(len(broken)))
                line = broken[at]
                cut = int(chance.integers(len(line) + 1))
                change = chance.integers(5)
                if change == 0:
                    del broken[at]
                elif change == 1:
                    broken.insert(at, line)
                elif change == 2:
                    broken[at] = line[:cut]
                elif change == 3:
                    broken[at] = line[:cut] + chr(chance.integers(32, 300)) + line[cut:]
                else:
                    broken[at] = line.replace("1", str(chance.integers(-(2**40), 2**40)))
            async with http.post(f"{served.url}/whip", data="\r\n".join(broken).encode(), headers=SDP) as answer:
                assert answer.status in {201, 400}, (answer.status, await answer.text(), broken)
                if answer.status == 201:
                    async with http.delete(served.url + answer.headers["Location"]) as ended:
                        assert ended.status in {200, 404}
        assert served.server.sessions == 0
        assert not served.pipeline.reports
    assert not [r for r in caplog.records if r.levelno >= logging.ERROR], caplog.text
