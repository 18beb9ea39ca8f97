"""Pages of other origins: those that were named may ask, and no others."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from servers.browser import CHROMIUM, chromium
from servers.page import until
from servers.serving import Served, gone, serving

from streampose.errors import ConfigError
from streampose.sources import SyntheticSource
from streampose.web.origins import Origins

EXAMPLES = Path(__file__).parents[2] / "examples"
TOKEN, FRIEND = "correct-horse", "https://poses.example"
BEARER = {"Authorization": f"Bearer {TOKEN}"}
PASSWORD = {"Authorization": "Basic " + base64.b64encode(f"me:{TOKEN}".encode()).decode()}
PREFLIGHT = {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "authorization,content-type"}


@pytest.fixture
async def http() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession() as session:
        yield session


async def playing(served: Served) -> None:
    await served.server.show("cam", SyntheticSource(width_px=320, height_px=240))
    async with asyncio.timeout(10):
        while served.server.catalogue["cam"].hub.latest is None:
            await asyncio.sleep(0.01)


@pytest.mark.parametrize(
    ("allowed", "origin", "told"),
    [
        ([FRIEND], FRIEND, FRIEND),
        (["http://a.example", FRIEND], FRIEND, FRIEND),
        (["*"], "https://anyone.example", "*"),
        (["*"], "null", "*"),
        ([FRIEND], "https://poses.example:444", None),
        ([FRIEND], "http://poses.example", None),
        ([FRIEND], "https://poses.example.evil.example", None),
        ([FRIEND], "null", None),
        ([], FRIEND, None),
    ],
)
async def test_who_may_ask(http: aiohttp.ClientSession, allowed: list[str], origin: str, told: str | None):
    async with serving(token=TOKEN, origins=Origins(allowed, token=True)) as served:
        streams, page = f"{served.url}/api/streams", {"Origin": origin, "Sec-Fetch-Site": "cross-site"}
        asked = [
            http.options(f"{served.url}/whip/me", headers=page | PREFLIGHT),
            http.options(f"{streams}/any", headers=page | PREFLIGHT),
            http.get(streams, headers=page | BEARER),
            http.get(streams, headers=page),  # a page has to be able to read why not
            http.get(f"{streams}/none", headers=page | BEARER),
        ]
        for request, status in zip(asked, (204, 204, 200, 401, 404), strict=True):
            async with request as answer:
                assert answer.status == (403 if told is None else status)
                assert answer.headers.get("Access-Control-Allow-Origin") == told
                assert "Access-Control-Allow-Credentials" not in answer.headers
                assert answer.headers.get("Vary") == ("Origin" if allowed else None)
                assert ("Access-Control-Allow-Methods" in answer.headers) == (told is not None and status == 204)
                assert ("Location" in answer.headers.get("Access-Control-Expose-Headers", "")) == (told is not None)


async def test_what_a_browser_remembers_is_no_token_of_another_page(http: aiohttp.ClientSession):
    """A password is sent with WebSockets and pictures by the browser itself, whosever page it is."""
    async with serving(token=TOKEN, origins=Origins(["*"], token=True)) as served:
        url, page = f"{served.url}/api/streams", {"Origin": FRIEND}
        with pytest.raises(aiohttp.WSServerHandshakeError, match="401"):
            await http.ws_connect(f"{url}/cam/poses", headers=page | PASSWORD)
        for headers in (page, page | PASSWORD):
            async with http.get(f"{url}/cam/picture.jpg", headers=headers) as answer:
                assert (answer.status, answer.headers["WWW-Authenticate"].split()[0]) == (401, "Bearer")
        async with http.get(f"{url}/cam/picture.jpg", headers={"Sec-Fetch-Site": "cross-site"} | PASSWORD) as answer:
            assert answer.status == 403
        async with http.get(url, headers=PASSWORD) as answer:
            assert answer.status == 200


async def test_a_websocket_of_a_page_that_was_named(http: aiohttp.ClientSession):
    async with serving(origins=Origins([FRIEND])) as served:
        await served.server.show("cam", SyntheticSource())
        url = f"{served.url}/api/streams/cam/poses"
        async with http.ws_connect(url, headers={"Origin": FRIEND}) as socket:
            assert (await socket.receive(timeout=10)).type is aiohttp.WSMsgType.TEXT
        with pytest.raises(aiohttp.WSServerHandshakeError, match="403"):
            await http.ws_connect(url, headers={"Origin": "https://evil.example"})


@pytest.mark.parametrize(
    ("origin", "words"),
    [
        ("*", "give a --token"),
        ("poses.example", "scheme://host"),
        ("null", "scheme://host"),
        ("", "scheme://host"),
        ("https://poses.example:x", "scheme://host"),
        ("https://poses.example/", "would write https://poses.example$"),
        ("HTTPS://Poses.example", "would write https://poses.example$"),
        ("https://poses.example:443", "would write https://poses.example$"),
        ("http://[::1]:80", r"would write http://\[::1\]$"),
        ("https://tänzerin.example", "would write https://xn--tnzerin-5wa.example$"),
        ("https://me:geheim@poses.example", r"//\*\*\*@poses.example: a browser would write https://poses.example$"),
    ],
)
def test_what_is_no_origin_is_said_in_a_line(origin: str, words: str):
    with pytest.raises(ConfigError, match=words):
        Origins([origin])


PAGE = """<!doctype html><title>a page of one's own</title><script>
const [server, token] = location.hash.slice(1).split(",");
const usual = { Authorization: `Bearer ${token}`, "X-Requested-With": "a library" };
const ask = (path, more = {}) =>
  fetch(server + path, { ...more, headers: { ...usual, ...more.headers } });
async function first(path) {
  const answer = await ask(path);
  let text = "";
  for await (const part of answer.body.pipeThrough(new TextDecoderStream())) {
    const events = (text + part).split("\\n\\n");
    text = events.pop();
    for (const event of events) if (event.startsWith("data: ")) return JSON.parse(event.slice(6)).stream;
  }
}
async function withToken() {
  const { streams } = await (await ask("/api/streams")).json();
  const followed = await first("/api/streams/cam/poses");
  return [...streams.map(({ id }) => id), followed];
}
async function without() {
  const cam = server + "/api/streams/cam/";
  const tried = (make) => new Promise((resolve) => make(resolve));
  const image = (kind) => tried((done) =>
    document.body.append(Object.assign(new Image(), {
      crossOrigin: "anonymous", src: cam + kind, onload: () => done("shown"), onerror: () => done("no"),
    })));
  const [events, socket] = [new EventSource(cam + "poses"), new WebSocket(cam.replace("http", "ws") + "poses")];
  return Promise.all([events, socket].map((one) => tried((done) => {
    one.onmessage = () => done("followed");
    one.onerror = () => done("no");
  })).concat(image("picture.jpg"), image("video.mjpeg")));
}
onload = () => (token ? withToken() : without()).then((t) => (window.told = t), (e) => (window.told = String(e)));
</script>"""

# From now on no server answers that page, and its camera can be looked at.
HUNG = """() => {
  const ask = navigator.mediaDevices.getUserMedia.bind(navigator.mediaDevices);
  navigator.mediaDevices.getUserMedia = async (wish) => (window.camera = await ask(wish));
  window.fetch = () => new Promise(() => (window.asked = true));
}"""


@asynccontextmanager
async def page_elsewhere() -> AsyncIterator[int]:
    """The port of a server that has that page and the one of the examples."""
    app = web.Application()

    async def page(_: web.Request) -> web.Response:
        return web.Response(text=PAGE, content_type="text/html")

    app.router.add_get("/", page)
    app.router.add_static("/examples", EXAMPLES)
    runner = web.AppRunner(app)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        yield runner.addresses[0][1]
    finally:
        await runner.cleanup()


@pytest.mark.skipif(CHROMIUM is None or find_spec("playwright") is None, reason="Chromium or Playwright is absent")
async def test_a_page_of_another_port_asks_follows_and_publishes_if_it_was_named():
    async with page_elsewhere() as port, chromium() as browser:
        friend, stranger = (f"http://{host}:{port}" for host in ("127.0.0.1", "localhost"))

        async def told(origin: str, server: str, token: str = "") -> Any:
            page = await browser.new_page()
            await page.goto(f"{origin}/#{server},{token}")
            await until(page, "window.told !== undefined")
            found = await page.evaluate("told")
            await page.close()
            return found

        async with serving(token=TOKEN, origins=Origins([friend], token=True)) as served:
            await playing(served)
            assert await told(friend, served.url, TOKEN) == ["cam", "cam"]
            page, said = await browser.new_page(), "document.getElementById('said').textContent"
            await page.goto(f"{friend}/examples/camera_page.html#{served.url},{TOKEN}")
            await until(page, "start.dataset.ready")
            await page.click("#start")
            await until(page, f"{said} === 'Live'")
            await until(page, "view.width === 640")  # a frame has found its skeleton
            await page.click("#start")
            await gone(served, streams=1)
            assert await page.evaluate(said) == "Stopped"
            await page.evaluate(HUNG)
            await page.click("#start")
            await until(page, "window.asked")
            await page.click("#start")
            assert await page.evaluate("camera.getTracks()[0].readyState") == "ended"  # and not when it answers
        async with serving(origins=Origins([friend])) as served:
            await playing(served)
            assert await told(friend, served.url) == ["followed", "followed", "shown", "shown"]
            assert await told(stranger, served.url) == ["no", "no", "no", "no"]
