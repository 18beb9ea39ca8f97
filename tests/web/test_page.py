"""The page in a real browser."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import AsyncIterator, Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import pytest_asyncio
from servers.browser import CHROMIUM, Serve, chromium, free_port, make_clip
from servers.page import distance_px, last_shown, live, until
from servers.serving import serving

from streampose.formats.jsonl import read_jsonl
from streampose.inference.engine import EngineOptions
from streampose.inference.loading import ModelChoice, load_estimator

pytestmark = [
    pytest.mark.skipif(
        CHROMIUM is None or find_spec("playwright") is None,
        reason="Chromium or Playwright is absent: apt-get install chromium; pip install '.[test]'",
    ),
    pytest.mark.asyncio(loop_scope="module"),
]
# Where somebody who wants to look at them finds the pictures.
SHOTS = os.environ.get("STREAMPOSE_SHOTS")


@pytest.fixture(scope="module")
def clip(assets: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_clip(assets, tmp_path_factory.mktemp("clip") / "clip.mjpeg")


@pytest.fixture(scope="module")
def serve(assets: Path) -> Iterator[Serve]:
    other = str(assets / "models" / "movenet_lightning_192_from_int8.onnx")
    with Serve("synthetic:?size=320x240&fps=2", "--next-model", other, "--budget", "2s", port=free_port()) as serve:
        yield serve


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def one_browser(clip: Path) -> AsyncIterator[Any]:
    async with chromium(clip) as browser:
        yield browser


@pytest_asyncio.fixture(loop_scope="module")
async def browser(one_browser: Any) -> AsyncIterator[Any]:
    """Without the pages of the test before."""
    yield one_browser
    for context in one_browser.contexts:
        await context.close()


def ended_already(message: Any) -> bool:
    """Whether the browser says that a session was gone when it was asked to end: its connection's end was faster."""
    return "/session/" in message.location["url"] and "status of 404" in message.text


async def open_page(browser: Any, url: str, *, script: str = "", **options: Any) -> Any:
    """A page that has to stay without errors and ask nobody else for anything."""
    context = await browser.new_context(viewport={"width": 1280, "height": 900}, accept_downloads=True, **options)
    page = await context.new_page()
    page.faults = []
    page.on("console", lambda m: m.type == "error" and not ended_already(m) and page.faults.append(m.text))
    page.on("pageerror", lambda error: page.faults.append(str(error)))
    page.on(
        "request",
        lambda request: None if request.url.startswith((url, "blob:")) else page.faults.append(request.url),
    )
    await page.add_init_script(
        "window.shown = []; document.addEventListener('streampose:shown', ({detail}) => shown.push(detail));" + script
    )
    await page.goto(url)
    return page


async def snapshot(page: Any, name: str) -> None:
    if SHOTS:
        await page.screenshot(path=Path(SHOTS) / f"{name}.png", full_page=True)


async def test_poses_over_the_right_body_in_both_ways(browser: Any, serve: Serve):
    page = await open_page(browser, serve.url)
    await page.focus("#start")
    await page.keyboard.press("Enter")
    await live(page, poses=75)  # by then the page knows whose time is which
    estimator = load_estimator(ModelChoice(), EngineOptions(device="cpu", threads=1))
    apart, coloured = [], 0
    for _ in range(40):
        if (
            len(apart) >= 6 and np.median(apart[-8:]) < 15
        ):  # on a busy machine it takes longer to know whose time is which
            break
        record, bare, drawn = await last_shown(page)
        # The model directly, on the very frame below the skeleton, before WebRTC took it.
        px = distance_px(record, estimator([np.ascontiguousarray(bare)])[0])
        if px is None:
            continue
        apart.append(px)
        scale = 640 / record["size_px"][0]
        for x, y, score in record["people"][0]["points"][5:]:
            at = (round(y * scale), round(639 - x * scale))  # it is mirrored
            if score > 0.5 and 0 <= at[0] < 480 and 0 <= at[1] < 640:
                coloured += np.ptp(drawn[at].astype(int)) > 100  # orange or blue
    estimator.close()
    await snapshot(page, "overlay")
    assert len(apart) >= 6
    assert np.median(apart[-8:]) < 15, apart  # of a body of 330 px
    assert coloured > 30
    latency = float(await page.inner_text("#figure-latency"))
    assert 5 < latency < 2000
    assert float(await page.inner_text("#figure-people")) >= 1

    await page.check("input[value=rendered]", force=True)
    video = "document.getElementById('rendered')"
    await until(page, f"(v => !v.hidden && v.videoWidth > 0 && v.currentTime > 1)({video})")
    await until(page, "Number(document.getElementById('figure-latency').textContent) > 5")
    await snapshot(page, "rendered")
    await page.check("input[value=overlay]", force=True)
    await live(page)

    async with page.expect_download() as waiting:
        await page.click("#save")
    file = Path(await (await waiting.value).path())
    saved = [json.loads(line) for line in file.read_text().splitlines()]
    assert len(list(read_jsonl(file))) == len(saved) > 20
    assert saved[-1]["skeleton"] == "coco-17"
    assert page.faults == []


async def test_a_skeleton_finds_its_own_frame(browser: Any, serve: Serve):
    """Frames of 30 fps ± 1.5 ms, every sixth not sent, of unknown delay: the constant is found within 2 ms."""
    page = await open_page(browser, serve.url)
    simulate = """async (seed) => {
      const { FrameClock } = await import('/page/frameclock.js');
      let state = seed;
      const chance = () => (state = (state * 48271) % 2147483647) / 2147483647;
      const clock = new FrameClock(), captures = [], errors = [];
      const constant = 1e6 * chance();
      for (let i = 0; i < 300; i++) {
        const captured = Math.round(10 * (i * 33.333 + 3 * (chance() - 0.5))) / 10;
        captures.push(captured);
        if (captures.length > 120) captures.shift();
        if (chance() < 1 / 6) continue;
        const rtp = Math.round(captured + constant) * 90 % 2 ** 32;
        const ms = clock.milliseconds(rtp);
        clock.observe(ms, captured + 4 + 60 * chance() ** 3, captures);
        if (i > 150) errors.push(Math.abs(clock.capturedAt(ms) - captured));
      }
      return Math.max(...errors);
    }"""
    assert max([await page.evaluate(simulate, seed) for seed in range(1, 30)]) < 2
    assert page.faults == []


async def test_a_drawn_picture_finds_its_record(browser: Any, serve: Serve):
    """25 fps ± 2 ms, each picture two records late: nearly all are found, and it takes next to no time."""
    page = await open_page(browser, serve.url)
    simulate = """async (base) => {
      const { DrawnClock } = await import('/page/drawnclock.js');
      const clock = new DrawnClock(), records = [];
      let right = 0, wrong = 0, spent = 0;
      for (let i = 0; i < 3000; i++) {
        records.push({ pts: Math.round((i * 40 + 4 * (Math.random() - 0.5)) * 90) });
        if (records.length > 300) records.shift();
        if (i < 2) continue;
        const own = records.at(-3), began = performance.now();
        const found = clock.record(records, (own.pts + base) % 2 ** 32);
        spent += performance.now() - began;
        if (i > 200) found === own ? right++ : found !== null && wrong++;
      }
      return [right, wrong, spent / 3000];
    }"""
    for base in (777_777, 4_294_900_000):
        right, wrong, ms = await page.evaluate(simulate, base)
        assert right > 2700
        assert wrong == 0
        assert ms < 1
    assert page.faults == []


async def test_another_model_stop_and_start(browser: Any, serve: Serve):
    page = await open_page(browser, serve.url)
    await page.click("#start")
    await live(page)
    names = await page.evaluate("[...document.querySelectorAll('#model option')].map(o => o.value)")
    for name in (names[1], names[0]):
        await page.select_option("#model", name)
        await until(page, f"(s => s.value === '{name}' && !s.disabled)(document.getElementById('model'))")
        await live(page)
    await page.click("#start")
    assert "off" in await page.inner_text("#status")
    assert await page.is_disabled("#model")  # nobody is there to choose it
    await asyncio.sleep(0.3)
    await page.click("#start")
    await live(page)
    await until(page, "!document.getElementById('model').disabled")
    assert page.faults == []


async def test_stop_and_start_in_the_midst_of_everything(browser: Any):
    """While it waits to try again, asks for the camera and has its answer made: never two sessions, after Stop none."""
    slow_camera = """const open = navigator.mediaDevices.getUserMedia.bind(navigator.mediaDevices);
      window.cameras = [];
      navigator.mediaDevices.getUserMedia = async (wish) => {
        const camera = await open(wish);
        await new Promise((resolve) => setTimeout(resolve, 400));
        cameras.push(camera);
        return camera;
      };"""
    async with serving() as served:
        page = await open_page(browser, served.url + "/", script=slow_camera)
        answers: list[Any] = ["full"]

        async def whip(route: Any) -> None:
            if answers and answers.pop() == "full":
                await route.fulfill(status=503, headers={"Retry-After": "2"}, json={"error": "full"})
                return
            response = await route.fetch()
            await asyncio.sleep(0.3)
            await route.fulfill(response=response)

        async def none_left() -> None:
            async with asyncio.timeout(4):
                while served.server.sessions:
                    await asyncio.sleep(0.05)
            assert await page.evaluate("cameras.every(c => c.getTracks().every(t => t.readyState === 'ended'))")
            assert "off" in await page.inner_text("#status")
            assert await page.inner_text("#start") == "Start"

        await page.route("**/whip", whip)
        await page.click("#start")
        await until(page, "document.getElementById('notice').textContent.includes('No room')")
        await page.click("#start")  # while it waits
        await asyncio.sleep(0.1)
        await page.click("#start")
        await asyncio.sleep(0.1)
        await page.click("#start")  # while the camera is asked for
        await page.click("#start")
        await live(page, poses=3)
        await asyncio.sleep(2.5)  # for the first one to come back, if it did
        assert served.server.sessions == 1
        await page.click("#start")
        await none_left()
        await page.click("#start")
        async with asyncio.timeout(10):
            while not served.server.sessions:
                await asyncio.sleep(0.01)
        await page.click("#start")  # while the answer is on its way
        await asyncio.sleep(0.5)
        await none_left()
        assert [fault for fault in page.faults if "503" not in fault] == []


async def test_it_comes_back_after_the_server_was_killed(browser: Any):
    with Serve("--budget", "2s", port=free_port()) as serve:
        page = await open_page(browser, serve.url)
        await page.click("#start")
        await live(page)
        serve.kill()
        await until(page, "document.getElementById('status').dataset.state === 'bad'")
        assert "Trying again" in await page.inner_text("#notice")
        await snapshot(page, "lost")
        serve.start()
        await live(page)
        assert await page.is_hidden("#notice")
    # Of what failed meanwhile the browser itself speaks.
    assert [fault for fault in page.faults if "Failed to load resource" not in fault] == []


async def test_nobody_is_left_out(browser: Any, serve: Serve):
    """axe-core's rules, dark and light, on a phone and a desktop."""
    import axe_core_python

    axe = (Path(axe_core_python.__file__).parent / "axe.min.js").read_text()
    page = await open_page(browser, serve.url)
    await page.wait_for_selector("#tiles img[src^=blob]", timeout=20_000)
    await page.click("#start")
    await live(page)
    await page.evaluate(axe)
    for scheme in ("light", "dark"):
        # Or a button could be looked at halfway from one scheme's colour to the other's.
        await page.emulate_media(color_scheme=scheme, reduced_motion="reduce")
        for width in (1280, 390):
            await page.set_viewport_size({"width": width, "height": 844})
            found = (await page.evaluate("axe.run()"))["violations"]
            assert [(v["id"], v["impact"]) for v in found] == []
            assert await page.evaluate("document.documentElement.scrollWidth <= innerWidth")
            await snapshot(page, f"{scheme}-{width}")
    assert page.faults == []
    # Where the system has its own few colours, which way is chosen is still seen.
    await page.emulate_media(forced_colors="active")
    looks = await page.evaluate(
        "[...document.querySelectorAll('.modes span')].map((s) => getComputedStyle(s).backgroundColor)"
    )
    assert looks[0] != looks[1]


@pytest.mark.parametrize(
    ("error", "words"),
    [("NotAllowedError", "not allowed"), ("NotFoundError", "No camera"), ("NotReadableError", "another program")],
)
async def test_clear_words_where_there_is_no_camera(browser: Any, serve: Serve, error: str, words: str):
    script = f"navigator.mediaDevices.getUserMedia = async () => {{ throw new DOMException('x', '{error}') }};"
    page = await open_page(browser, serve.url, script=script)
    await page.click("#start")
    await until(page, "!document.getElementById('notice').hidden")
    assert words in await page.inner_text("#notice")
    assert await page.inner_text("#start") == "Start"
    assert page.faults == []


async def test_clear_words_where_it_is_not_secure_or_ice_fails(browser: Any, serve: Serve):
    page = await open_page(
        browser, serve.url, script="Object.defineProperty(window, 'isSecureContext', {value: false});"
    )
    await page.click("#start")
    await until(page, "!document.getElementById('notice').hidden")
    assert "https://" in await page.inner_text("#notice")
    # A browser that offers no way at all; the twelve seconds that the page waits for one are one here.
    deaf = """RTCPeerConnection.prototype.setRemoteDescription = async () => undefined;
      const later = window.setTimeout;
      window.setTimeout = (what, ms, ...rest) => later(what, ms === 12000 ? 1000 : ms, ...rest);"""
    page = await open_page(browser, serve.url, script=deaf)
    await page.click("#start")
    await until(page, "document.getElementById('notice').textContent.includes('ICE failed')")
    await page.click("#start")


async def test_clear_words_and_a_place_later_where_the_server_is_full(browser: Any, tmp_path: Path):
    (tmp_path / "token").write_text("sesame")
    token = ("--token", f"file:{tmp_path / 'token'}")
    with Serve("--max-peers", "1", "--budget", "2s", *token, port=free_port()) as serve:
        first = await open_page(browser, serve.url + "#token=sesame")
        assert "sesame" not in first.url
        third = await open_page(browser, serve.url + "#token=%")
        assert "%" not in third.url
        assert not [fault for fault in third.faults if "malformed" in fault]
        second = await open_page(browser, serve.url)
        await second.wait_for_selector("#token-form:not([hidden])")
        async with second.expect_response("**/api/config"):
            await second.click("#start")
        asked: list[str] = []
        second.on("request", lambda request: asked.append(request.url))
        await asyncio.sleep(3.5)
        assert asked == []  # without a token it is not asked again and again
        await snapshot(second, "token")
        await first.click("#start")
        await live(first, poses=3)
        await second.fill("#token", "sesame")
        await second.press("#token", "Enter")
        await until(second, "document.getElementById('notice').textContent.includes('full')")
        await first.click("#start")
        await live(second, poses=3)


async def test_a_plain_picture_element_and_the_address_bar_show_a_camera(browser: Any, serve: Serve):
    page = await open_page(browser, serve.url)
    (name,) = await page.evaluate("fetch('/api/streams').then(a => a.json()).then(a => a.streams.map(s => s.id))")
    for kind in ("video.mjpeg", "picture.jpg"):
        await page.evaluate(
            "(src) => document.body.append(Object.assign(new Image(), { id: src.slice(-4), src }))",
            f"/api/streams/{name}/{kind}",
        )
        await until(page, f"document.getElementById('{kind[-4:]}').naturalWidth === 320")
    assert page.faults == []
    answer = await page.goto(f"{serve.url}api/streams/{name}/picture.jpg")
    assert answer.status == 200
    assert await page.evaluate("document.images[0].naturalWidth") == 320


async def test_with_a_token_the_browser_asks_for_a_password_for_pictures(browser: Any, tmp_path: Path):
    (tmp_path / "token").write_text("sesame")
    cam = "cam=synthetic:?size=320x240&fps=10"
    with Serve(cam, "--token", f"file:{tmp_path / 'token'}", port=free_port()) as serve:
        stranger = await browser.new_context()
        page = await stranger.new_page()
        with pytest.raises(Exception, match="INVALID_AUTH_CREDENTIALS"):  # it asked, and nobody answered
            await page.goto(f"{serve.url}api/streams/cam/picture.jpg")
        # What somebody writes into the browser's own question.
        known = await browser.new_context(http_credentials={"username": "me", "password": "sesame"})
        page = await known.new_page()
        answer = await page.goto(f"{serve.url}api/streams/cam/picture.jpg")
        assert answer.status == 200
        await page.evaluate("document.body.append(Object.assign(new Image(), { id: 'live', src: 'video.mjpeg' }))")
        await until(page, "document.getElementById('live').naturalWidth === 320")


async def test_a_camera_of_the_server_is_watched_and_comes_back(browser: Any):
    plays = "(v => v.videoWidth === 320 && v.currentTime > 0.5)(document.getElementById('watch-video'))"
    status = "document.getElementById('watch-status').textContent"
    with Serve("synthetic:?size=320x240&fps=10", port=free_port()) as serve:
        page = await open_page(browser, serve.url)
        await page.click("#tiles button")
        await until(page, plays)
        await snapshot(page, "watch")
        serve.kill()
        await until(page, f"{status}.includes('Trying again')")
        serve.start()
        await until(page, f"{status} === ''")
        await until(page, plays)
        await page.keyboard.press("Escape")
        await until(page, "document.getElementById('watch-video').srcObject === null")
    assert [fault for fault in page.faults if "Failed to load resource" not in fault] == []


async def test_controls_are_taken_mirror_is_seen_and_each_figure_has_its_line(browser: Any, serve: Serve):
    page = await open_page(browser, serve.url)
    await page.click("#start")
    await live(page)

    await page.uncheck("#ids")
    await page.check("#smooth")
    # What the server has taken is shown.
    await page.fill("#confidence", "0.95")
    await until(page, "document.getElementById('confidence-out').textContent === '0.95'")
    await page.fill("#budget", "500")
    await until(page, "document.getElementById('budget-out').textContent === '500 ms'")
    await page.check("#budget-default")
    assert await page.inner_text("#budget-out") == "the server’s"

    # The mirrored picture and the plain one are each other's mirror images, not each other.
    async def picture() -> np.ndarray:
        return (await last_shown(page))[2].astype(int)

    await page.fill("#confidence", "0.3")
    mirrored = await picture()
    await page.uncheck("#mirror")
    await asyncio.sleep(0.5)
    plain = await picture()
    assert np.abs(mirrored[:, ::-1] - plain).mean() < np.abs(mirrored - plain).mean()
    # Each figure has its line.
    lines = await page.evaluate("[...document.querySelectorAll('polyline')].map((line) => line.getAttribute('points'))")
    assert len(lines) >= 7
    assert all(len(points.split()) >= 2 for points in lines)
    assert page.faults == []
