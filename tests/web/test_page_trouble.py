"""The page where something is missing: the token, the camera, the server, the stream."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from servers.browser import CHROMIUM, chromium
from servers.page import until
from servers.serving import Served, serving

from streampose.pose import Skeleton
from streampose.skeletons import SKELETONS
from streampose.sources import SyntheticSource

pytestmark = [
    pytest.mark.skipif(
        CHROMIUM is None or find_spec("playwright") is None,
        reason="Chromium or Playwright is absent: apt-get install chromium; pip install '.[test]'",
    ),
    pytest.mark.asyncio(loop_scope="module"),
]
TOKEN = "ключ-ü"
NO_CAMERA = "navigator.mediaDevices.getUserMedia = async () => { throw new DOMException('x', 'NotFoundError'); };"


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def browser() -> AsyncIterator[Any]:
    async with chromium() as browser:
        yield browser


async def open_page(browser: Any, url: str, script: str = "") -> Any:
    page = await browser.new_page()
    page.faults = []
    page.on("pageerror", lambda error: page.faults.append(str(error)))
    await page.add_init_script(
        "window.shown = []; document.addEventListener('streampose:shown', ({detail}) => shown.push(detail));" + script
    )
    await page.goto(url)
    return page


async def camera(served: Served, name: str = "door", **options: Any) -> None:
    await served.server.show(name, SyntheticSource(width_px=320, height_px=240, rate=10, **options))


async def test_who_has_no_camera_is_asked_for_the_token_and_sees_those_of_the_server(browser: Any):
    async with serving(token=TOKEN) as served:
        await camera(served)
        page = await open_page(browser, f"{served.url}/", NO_CAMERA)
        await page.wait_for_selector("#token-form:not([hidden])")
        await page.click("#start")
        await until(page, "document.getElementById('notice').textContent.includes('No camera')")
        assert await page.is_visible("#token-form")
        await page.fill("#token", "wrong")
        await page.press("#token", "Enter")
        await until(page, "document.getElementById('notice').textContent.includes('not the right one')")
        assert await page.evaluate("document.activeElement.id") == "token"
        await page.fill("#token", TOKEN)  # beyond Latin-1, as headers are
        await page.press("#token", "Enter")
        await page.wait_for_selector("#tiles button")
        assert await page.is_hidden("#token-form")
        assert await page.is_hidden("#notice")
        assert await page.inner_text("#start") == "Start"  # nobody's camera is asked for again
        assert page.faults == []
        # And so is one that is put behind the address of a page that is open.
        page = await open_page(browser, f"{served.url}/")
        await page.wait_for_selector("#token-form:not([hidden])")
        await page.goto(f"{served.url}/#token={TOKEN}")
        await page.wait_for_selector("#tiles button")
        assert page.url == f"{served.url}/"
        # The server goes away and comes back, and nobody has pressed Start.
        await page.clock.install()
        await page.route("**/api/streams", lambda route: route.abort())
        await page.goto(f"{served.url}/?again#token={TOKEN}")
        await until(page, "document.getElementById('notice').textContent.includes('does not answer')")
        assert await page.is_hidden("#cameras")
        await page.unroute("**/api/streams")
        await page.clock.fast_forward(3000)  # until the list is asked for again
        await until(page, "document.getElementById('notice').hidden")
        assert await page.is_visible("#cameras")
        assert page.faults == []


async def test_people_are_drawn_by_the_skeleton_that_comes_with_them(browser: Any):
    """Of a model's own: the page may be older than the server, and others may have its name."""
    people = [{"id": None, "score": 1, "box": [0, 0, 64, 48], "points": [[8, 24, 1], [32, 24, 0], [56, 24, 1]]}]
    said = {"size_px": [64, 48], "people": people, "names": ["hip", "knee", "toe"], "edges": [[0, 2]]}
    async with serving() as served:
        page = await open_page(browser, f"{served.url}/", NO_CAMERA)
        for name in ("leg", "coco-17"):
            middle = await page.evaluate(
                """async (record) => {
                  const { drawFrame } = await import('/page/draw.js');
                  const [canvas, image] = [document.createElement('canvas'), new OffscreenCanvas(64, 48)];
                  image.getContext('2d');
                  drawFrame(canvas, image, record, { mirror: false, ids: false, confidence: 0.5 });
                  return [...canvas.getContext('2d').getImageData(32, 24, 1, 1).data];
                }""",
                said | {"skeleton": name},
            )
            assert min(middle) > 200, "its line goes there"


async def test_a_token_that_is_given_while_the_list_is_on_its_way_is_not_called_wrong(browser: Any):
    async with serving(token=TOKEN) as served:
        await camera(served)
        go_on, page = asyncio.Event(), await browser.new_page()

        async def slow(route: Any) -> None:
            answer = await route.fetch()
            await go_on.wait()
            await route.fulfill(response=answer)

        await page.route("**/api/streams", slow, times=1)
        async with page.expect_request("**/api/streams"):
            await page.goto(f"{served.url}/")
        await page.goto(f"{served.url}/#token={TOKEN}")
        go_on.set()
        await page.wait_for_selector("#tiles button")
        assert await page.is_hidden("#notice")
        assert await page.is_hidden("#token-form")


async def test_what_the_camera_says_stays_when_the_server_goes_and_comes_back(browser: Any):
    notice = "document.getElementById('notice').textContent"
    async with serving() as served:
        page = await browser.new_page()
        await page.clock.install()
        await page.add_init_script(NO_CAMERA)
        await page.goto(f"{served.url}/")
        await page.click("#start")
        await until(page, f"{notice}.includes('No camera')")
        await page.route("**/api/streams", lambda route: route.abort())
        async with page.expect_event("requestfailed"):
            await page.clock.fast_forward(3000)
        assert "No camera" in await page.inner_text("#notice")
        await page.unroute("**/api/streams")
        async with page.expect_event("requestfinished"):
            await page.clock.fast_forward(3000)
        assert "No camera" in await page.inner_text("#notice")


async def test_the_page_comes_back_from_connections_that_nothing_comes_of(browser: Any):
    """As of a router that has forgotten them: nothing is answered, or an answer has no end."""

    async def endless(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{")
        await reader.read()  # until the page has had enough of it
        writer.close()

    # But the camera has its whole time.
    quick = (
        "const later = setTimeout; setTimeout = (work, ms, ...all) => later(work, ms === 8000 ? ms : ms / 20, ...all);"
    )
    async with await asyncio.start_server(endless, "127.0.0.1", 0) as hole, serving() as served:
        await camera(served)
        page = await open_page(browser, f"{served.url}/", quick)
        await page.wait_for_selector("#tiles button")
        elsewhere = f"http://127.0.0.1:{hole.sockets[0].getsockname()[1]}/"
        asked: list[str] = []

        async def swallow(route: Any) -> None:
            asked.append(route.request.url.rpartition("/")[2])
            if asked.count(asked[-1]) > 1:
                await route.continue_(url=elsewhere)

        sent: list[str] = []
        page.on("request", lambda request: sent.append(request.url.rpartition("/")[2]))

        async def slow(route: Any) -> None:
            await asyncio.sleep(0.3)
            await route.continue_()

        await page.route("**/picture.jpg", slow)  # it is large, and its line slow: six seconds, twenty times as quick
        for path in ("api/config", "whip", "api/streams"):
            await page.route(f"**/{path}", swallow, times=2)
        await page.click("#start")
        await until(page, "document.getElementById('notice').textContent.includes('does not answer. Trying again')")
        async with asyncio.timeout(60):
            while sent.count("whip") < 3:  # the first two were swallowed, and given up
                await asyncio.sleep(0.01)
        await page.wait_for_selector("#tiles button")
        await until(page, "document.querySelector('#tiles img')?.naturalWidth > 0")
        assert asked.count("config") == asked.count("whip") == 2
        assert page.faults == []


async def test_what_is_set_while_it_connects_or_very_often_is_what_the_server_has(browser: Any):
    async with serving() as served:
        served.server.catalogue.reserve("studio")
        page, go_on = await browser.new_page(), asyncio.Event()
        page.faults = []
        page.on("pageerror", lambda error: page.faults.append(str(error)))

        async def proxied(route: Any) -> None:
            await route.fallback(url=route.request.url.replace("/my-session/", "/"))

        await page.route("**/page/app.js", lambda route: route.abort(), times=1)
        await page.route("**/my-session/**", proxied)
        await page.goto(f"{served.url}/my-session/")
        assert "Loading" in await page.inner_text("#status")
        await page.reload()
        await until(page, "document.getElementById('status').textContent.startsWith('Ready')")
        deleted: list[str] = []
        page.on("request", lambda request: request.method == "DELETE" and deleted.append(request.url))

        async def slow(route: Any) -> None:
            await go_on.wait()
            answer = await route.fetch(url=f"{served.url}/whip")
            place = "/my-session" + answer.headers["location"]  # as some proxies tell it
            await route.fulfill(response=answer, headers=answer.headers | {"location": place})

        await page.route("**/whip", slow, times=1)
        async with page.expect_request("**/whip"):
            await page.click("#start")
        await page.check("input[value=rendered]", force=True)
        await page.uncheck("#mirror")
        go_on.set()
        await until(page, "document.getElementById('rendered').videoWidth > 0")
        _, entry = served.server.catalogue._entries.values()
        assert (entry.settings.mode, entry.settings.mirror) == ("rendered", False)
        # What is published under a name is for all, what a page sends is not.
        await page.wait_for_selector("#tiles button")
        assert (await page.locator("#tiles").inner_text()).strip() == "studio: opening"
        # As many as an arrow key that is held gives in some seconds.
        await page.evaluate(
            """() => { for (let i = 0; i < 100; i++) {
              document.getElementById("confidence").value = i / 100;
              document.getElementById("confidence").dispatchEvent(new Event("change"));
            } }"""
        )
        async with asyncio.timeout(30):
            while entry.settings.confidence != 0.95:
                await asyncio.sleep(0.01)
        await page.evaluate("new Promise((resolve) => setTimeout(resolve, 200))")
        assert served.server.sessions == 1
        assert await page.is_hidden("#notice")
        (peer,) = served.server._sessions
        await peer.ended("no picture came from the camera for 6 s")
        await until(
            page, "document.getElementById('notice').textContent.includes('ended: no picture came from the camera')"
        )
        assert deleted == [f"{served.url}/my-session/session/{peer.id}"]
        await page.click("#start")
        async with asyncio.timeout(5):
            while served.server.sessions:
                await asyncio.sleep(0.01)
        assert page.faults == []


async def test_people_are_drawn_with_a_skeleton_that_was_added_and_without_one(browser: Any, monkeypatch: Any):
    """Lines and points of the one that was there when the page came, points of one that nobody knows."""
    draw = """async (skeleton) => {
      const { drawFrame } = await import("/page/draw.js");
      const [canvas, image] = [document.createElement("canvas"), document.createElement("canvas")];
      image.width = image.height = 100;
      const person = { id: 1, box: [0, 0, 99, 99], points: [[10, 50, 1], [90, 50, 1]] };
      const record = { size_px: [100, 100], skeleton, people: [person] };
      drawFrame(canvas, image, record, { mirror: false, ids: false, confidence: 0.3 });
      return [10, 50].map((x) => canvas.getContext("2d").getImageData(x, 50, 1, 1).data[3] > 0);
    }"""
    leg = Skeleton(name="leg", points=("hip", "ankle"), edges=((0, 1),), sigmas=(0.1, 0.1))
    async with serving() as served:
        monkeypatch.setitem(SKELETONS, "leg", leg)
        page = await open_page(browser, f"{served.url}/")
        assert await page.evaluate(draw, "leg") == [True, True]
        assert await page.evaluate(draw, "constructor") == [True, False]
        assert page.faults == []


async def test_a_camera_that_gives_no_picture_is_not_waited_for_for_ever(browser: Any):
    dark = """const nothing = () => new MediaStream([new MediaStreamTrackGenerator("video")]);
      navigator.mediaDevices.getUserMedia = async () => nothing();
      const later = setTimeout;
      setTimeout = (work, ms, ...given) => later(work, ms === 8000 ? 100 : ms, ...given);"""
    async with serving() as served:
        page = await open_page(browser, f"{served.url}/", dark)
        await page.click("#start")
        await until(page, "document.getElementById('notice').textContent.includes('gives no picture')")
        assert await page.inner_text("#start") == "Start"
        assert page.faults == []


async def test_how_long_the_page_waits_is_as_it_is_asked_to(browser: Any):
    """A proxy may say until when, and has errors of its own; what makes no sense is no wait for ever."""
    soon = "new Date(Date.now() + 5500).toUTCString()"
    async with serving() as served:
        page = await open_page(browser, f"{served.url}/")
        for status, after, retry, low, high in (
            (503, "'5'", True, 5000, 5000),
            (503, soon, True, 1000, 5500),
            (429, "'7'", True, 7000, 7000),
            (408, "'1'", True, 1000, 1000),
            (502, "''", True, 0, 0),
            (503, "'soon'", True, 0, 0),
            (503, "'1e999'", True, 60_000, 60_000),
            (400, "'5'", False, 0, 0),
        ):
            wait_ms, again = await page.evaluate(
                f"""async () => {{
                  const {{ httpTrouble }} = await import("/page/words.js");
                  const answer = new Response("{{}}", {{ status: {status}, headers: {{ "Retry-After": {after} }} }});
                  const trouble = await httpTrouble(answer, false);
                  return [trouble.waitMs, trouble.retry];
                }}"""
            )
            assert (again, low <= wait_ms <= high) == (retry, True), (status, after, wait_ms)


async def test_a_camera_that_is_not_there_for_a_moment_is_played_when_it_is(browser: Any):
    status = "document.getElementById('watch-status').textContent"
    async with serving() as served:
        await camera(served)
        waits = "window.waits = []; const later = setTimeout;"
        quick = "waits.push(ms); return later(work, ms === 13000 || ms === 3000 ? 99 : ms, ...given);"
        waits += f"setTimeout = (work, ms, ...given) => {{ {quick} }};"
        page = await open_page(browser, f"{served.url}/", waits)
        full = {"status": 503, "json": {"error": "it is full"}, "headers": {"Retry-After": "13"}}
        # The list and the small pictures are asked for no sooner than the server says, either.
        for what in ("**/api/streams", "**/picture.jpg"):
            await page.evaluate("waits.length = 0")
            await page.route(what, lambda route: route.fulfill(**full), times=1)
            await until(page, "waits.includes(13000)")
        await page.evaluate("waits.length = 0")
        absent = {"status": 404, "json": {"error": "there is no such stream"}}
        await page.route("**/whep/**", lambda route: route.fulfill(**absent), times=1)
        await page.route("**/whep/**", lambda route: route.fulfill(**full), times=1)
        # Without its list of ICE servers it would try in vain.
        await page.route("**/api/config", lambda route: route.abort(), times=1)
        await page.click("#tiles button")
        await until(page, f"{status}.includes('The server does not answer. Trying again')")
        await until(page, f"{status}.includes('it is full. Trying again')")
        assert 13_000 in await page.evaluate("waits")
        await until(page, f"{status}.includes('no such stream. Trying again')")
        await until(page, "document.getElementById('watch-video').videoWidth === 320")
        assert await page.evaluate(status) == ""
        assert page.faults == []


async def test_addresses_that_are_found_after_the_offer_are_told(browser: Any):
    """As of a relay that takes long. Here the page thinks that all are there at once."""
    hasty = "Object.defineProperty(RTCPeerConnection.prototype, 'iceGatheringState', { get: () => 'complete' });"
    async with serving() as served:
        await camera(served)
        page = await open_page(browser, f"{served.url}/", hasty)
        offers: list[str] = []
        page.on("request", lambda request: "/whep/" in request.url and offers.append(request.post_data))
        async with page.expect_response(lambda answer: answer.request.method == "PATCH") as told:
            await page.click("#tiles button")
        answer = await told.value
        assert answer.status == 204
        assert "a=candidate:" in answer.request.post_data
        assert "a=candidate:" not in offers[0]
        await until(page, "document.getElementById('watch-video').videoWidth === 320")
        assert page.faults == []


async def test_a_server_that_is_connected_and_silent_is_no_firewall(browser: Any):
    deaf = """const make = RTCPeerConnection.prototype.createDataChannel;
      RTCPeerConnection.prototype.createDataChannel = function (...of) {
        make.apply(this, of);
        return {}; // of what comes nothing is heard
      };
      const later = setTimeout;
      setTimeout = (work, ms, ...given) => later(work, ms === 12000 ? 500 : ms, ...given);"""
    async with serving() as served:
        page = await open_page(browser, f"{served.url}/", deaf)
        await page.click("#start")
        await until(page, "document.getElementById('notice').textContent.includes('the server is silent')")
        assert page.faults == []


async def test_what_has_ended_and_what_is_closed_too_soon_is_not_played(browser: Any):
    status = "document.getElementById('watch-status').textContent"
    async with serving() as served:
        await camera(served)
        await camera(served, "short", seconds=0.2)
        await served.pipeline.ended("short")
        page = await open_page(browser, f"{served.url}/")
        asked: list[str] = []
        page.on("request", lambda request: "/whep/" in request.url and asked.append(request.url))
        await page.click("#tiles li:nth-child(2) button")
        await until(page, f"{status} === 'The stream has ended.'")
        assert len(asked) == 1
        await page.keyboard.press("Escape")

        go_on = asyncio.Event()

        async def slow(route: Any) -> None:
            await go_on.wait()
            await route.continue_()

        await page.route("**/api/config", slow)
        await page.click("#tiles button")
        await until(page, "document.getElementById('watch').open")
        await page.keyboard.press("Escape")
        await until(page, "!document.getElementById('watch').open")
        async with page.expect_response("**/api/config"):
            go_on.set()
        await asyncio.sleep(0.5)
        assert await page.evaluate("document.getElementById('watch-video').srcObject === null")
        assert len(asked) == 1

        # The page of docs/web.md, where a proxy would serve it.
        text = (Path(__file__).parents[2] / "docs" / "web.md").read_text()
        own = text.partition("```html\n")[2].partition("```")[0]
        await page.route("**/own", lambda route: route.fulfill(body=own, content_type="text/html"))
        await page.route("**/poses", lambda route: route.fulfill(status=502), times=1)  # the server restarts
        await page.add_init_script("const later = setTimeout; setTimeout = (work, ms) => later(work, ms / 20);")
        await page.goto(f"{served.url}/own")
        drawn = "pen.getImageData(0, 0, view.width, view.height).data.some((value) => value > 0)"
        await until(page, f"view.width === 320 && {drawn}")
        # It goes on when the stream begins again.
        await served.server.catalogue.release(served.server.catalogue["door"])
        await page.evaluate("view.width = 1")
        await camera(served)
        await until(page, f"view.width === 320 && {drawn}")
        assert page.faults == []


async def test_one_of_several_cameras_can_be_chosen(browser: Any):
    """A phone has one that faces away."""
    two = """const [later, never] = [setTimeout, clearTimeout];
      window.fading = [];  // timers that take a notice away, for the test to end; requests have five seconds, too
      const fades = (work, ms) => ms === 5000 && String(work).includes("notice");
      setTimeout = (work, ms, ...given) => fades(work, ms) ? -fading.push(work) : later(work, ms, ...given);
      clearTimeout = (timer) => { timer < 0 ? (fading[-timer - 1] = null) : never(timer); };
      const { mediaDevices } = navigator, open = mediaDevices.getUserMedia.bind(mediaDevices);
      window.asked = [];
      mediaDevices.getUserMedia = async (wish) => {
        asked.push(wish.video.deviceId ?? wish.video.facingMode);
        const camera = await open({ video: true });
        camera.getVideoTracks()[0].getSettings = () => ({ deviceId: asked.at(-1) === "user" ? "front" : asked.at(-1) });
        return camera;
      };
      mediaDevices.enumerateDevices = async () => [
        { kind: "audioinput", deviceId: "ear", label: "" }, { kind: "videoinput", deviceId: "front", label: "Front" },
        { kind: "videoinput", deviceId: "back", label: "" },
      ];"""
    async with serving() as served:
        page = await open_page(browser, f"{served.url}/", two)
        assert await page.is_hidden("#camera")
        await page.click("#start")
        live = "document.getElementById('status').dataset.state === 'live'"
        await until(page, live)
        camera = page.get_by_label("Camera", exact=True)
        assert await camera.locator("option").all_inner_texts() == ["Front", "Camera 2"]
        assert await camera.input_value() == "front"
        await camera.focus()
        await page.keyboard.press("ArrowDown")
        await until(page, "asked.length === 2")
        await until(page, live)
        assert await page.evaluate("asked") == ["user", "back"]
        assert await camera.input_value() == "back"
        # That was another session: what is saved is of one.
        (name,) = served.pipeline.reports
        await until(page, f"shown.at(-1)?.record.stream === '{name}'")
        async with page.expect_download() as waiting:
            await page.click("#save")
        saved = [json.loads(line) for line in Path(await (await waiting.value).path()).read_text().splitlines()]
        assert {record["stream"] for record in saved} == {name}
        # What is refused, as another model while one is loaded, is said and goes away by itself: after the last time.
        for times in (1, 2):
            await page.select_option("#model", "b")
            await until(page, f"fading.length === {times}")
            assert await page.inner_text("#notice") == "another model is being loaded"
        assert await page.evaluate("fading[0] === null")
        await page.evaluate("fading[1]()")
        assert await page.is_hidden("#notice")
        assert page.faults == []
