"""The page in Firefox, too: what it does in every browser, not all that `test_page.py` asks of it."""

from __future__ import annotations

import base64
import json
import os
from pathlib import Path

import cv2
import numpy as np
import pytest
from servers.browser import Serve, clip_pictures, free_port
from servers.firefox import FIREFOX, firefox
from servers.page import distance_px, last_shown, live, until

from streampose.inference.engine import EngineOptions
from streampose.inference.loading import ModelChoice, load_estimator

pytestmark = pytest.mark.skipif(FIREFOX is None, reason="Firefox is absent: apt-get install firefox-esr")
SHOTS = os.environ.get("STREAMPOSE_SHOTS")

# Firefox's own camera for tests shows changing colours: here pictures of a person are painted 30 times a second.
_CAMERA = """
window.shown = [];
document.addEventListener('streampose:shown', ({detail}) => shown.push(detail));
if (navigator.mediaDevices) navigator.mediaDevices.getUserMedia = async () => {
  const pictures = await Promise.all(JPEGS.map((text) =>
    createImageBitmap(new Blob([Uint8Array.from(atob(text), (sign) => sign.charCodeAt(0))]))));
  const canvas = document.createElement('canvas');
  [canvas.width, canvas.height] = [640, 480];
  const pen = canvas.getContext('2d');
  let count = 0;
  setInterval(() => pen.drawImage(pictures[count++ % pictures.length], 0, 0), 1000 / 30);
  return canvas.captureStream(30);
};
"""


@pytest.mark.assets
@pytest.mark.timeout(180)
async def test_poses_over_the_right_body_both_ways_and_again_after_the_server_was_killed(assets: Path, tmp_path: Path):
    pictures = [cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, 95])[1] for picture in clip_pictures(assets)]
    jpegs = json.dumps([base64.b64encode(picture).decode() for picture in pictures])
    status = "document.getElementById('status').dataset.state"
    with Serve("--budget", "400ms", port=free_port()) as serve:
        async with firefox(tmp_path) as page:
            await page.before(_CAMERA.replace("JPEGS", jpegs))
            await page.goto(serve.url)
            # It keeps what was chosen over a reload, where the page says what it begins with.
            said = "[confidence.value, document.getElementById('confidence-out').textContent]"
            await page.evaluate("(confidence.value = '0.8', confidence.onchange())")
            assert await page.evaluate(said) == ["0.8", "0.80"]
            await page.reload()
            assert await page.evaluate(said) == ["0.3", "0.30"]
            await page.evaluate("document.getElementById('start').click()")
            await live(page, poses=75)  # by then the page knows whose time is which
            estimator = load_estimator(ModelChoice(), EngineOptions(device="cpu", threads=1))
            apart: list[float] = []
            for _ in range(40):
                if len(apart) >= 6 and np.median(apart[-8:]) < 15:
                    break
                record, bare, _ = await last_shown(page)
                if (px := distance_px(record, estimator([np.ascontiguousarray(bare)])[0])) is not None:
                    apart.append(px)
            estimator.close()
            assert len(apart) >= 6
            assert np.median(apart[-8:]) < 15, apart  # of a body of 330 px
            if SHOTS:
                await page.screenshot(Path(SHOTS) / "firefox.png")

            await page.evaluate("document.querySelector('input[value=rendered]').click()")
            video = "document.getElementById('rendered')"
            await until(page, f"(v => !v.hidden && v.videoWidth > 0 && v.currentTime > 1)({video})")
            if SHOTS:
                await page.screenshot(Path(SHOTS) / "firefox-rendered.png")
            await page.evaluate("document.querySelector('input[value=overlay]').click()")
            await live(page)

            serve.kill()
            await until(page, f"{status} === 'bad'")
            serve.start()
            await live(page)
            assert [fault for fault in page.faults if "NetworkError" not in fault] == []
