"""Clients that are not ours: FFmpeg's WHIP muxer, as in PyAV, and GStreamer."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import av
import pytest
from servers.serving import Served, serving

from streampose.sources import SyntheticSource
from streampose.web.ice import Offered

SERVERS = Path(__file__).parents[1] / "servers"
SYSTEM_PYTHON = "/usr/bin/python3"


async def publishes(served: Served, name: str, python: str, script: str) -> None:
    """Poses come of its pictures, and nothing is left when it has ended its session."""
    process = await asyncio.create_subprocess_exec(python, SERVERS / script, f"{served.url}/whip/{name}", "3")
    async with asyncio.timeout(30):
        while not served.pipeline.reports.get(name):
            assert process.returncode is None
            await asyncio.sleep(0.02)
        while served.pipeline.snapshot().streams[name].delivered < 20:
            await asyncio.sleep(0.02)
        assert await process.wait() == 0
        while served.server.sessions or served.pipeline.reports:
            await asyncio.sleep(0.02)


@pytest.mark.skipif("whip" not in av.formats_available, reason="this PyAV has no WHIP muxer")
async def test_ffmpeg_publishes(served: Served):
    await publishes(served, "ffmpeg", sys.executable, "ffmpeg_whip.py")


def has_webrtcbin() -> bool:
    script = (
        "import gi; gi.require_version('Gst', '1.0'); gi.require_version('GstWebRTC', '1.0')\n"
        "from gi.repository import Gst, GstWebRTC; Gst.init(None)\n"
        "raise SystemExit(not all(map(Gst.ElementFactory.find, ('webrtcbin', 'nicesrc', 'vp8enc'))))"
    )
    try:
        return subprocess.run([SYSTEM_PYTHON, "-c", script], capture_output=True, check=False).returncode == 0
    except OSError:
        return False


@pytest.fixture
async def near() -> AsyncIterator[Served]:
    """libnice leaves loopback out: they meet at this machine's own address, which packets do not leave."""
    if not has_webrtcbin():
        pytest.skip("GStreamer's webrtcbin is absent: apt-get install gstreamer1.0-nice gir1.2-gst-plugins-bad-1.0")
    async with serving(ice_addresses=[*Offered.for_host("0.0.0.0"), *Offered.for_host("127.0.0.1")]) as served:
        yield served


async def test_gstreamer_publishes(near: Served):
    await publishes(near, "gst", SYSTEM_PYTHON, "gst_webrtc.py")


async def test_gstreamer_plays(near: Served):
    await near.server.show("cam", SyntheticSource(width_px=320, height_px=240))
    script = SERVERS / "gst_webrtc.py"
    process = await asyncio.create_subprocess_exec(
        SYSTEM_PYTHON, script, f"{near.url}/whep/cam", "4", stdout=subprocess.PIPE
    )
    try:
        async with asyncio.timeout(30):
            (text, _) = await process.communicate()
            while near.server.sessions:
                await asyncio.sleep(0.02)
    finally:
        if process.returncode is None:
            process.kill()
    assert process.returncode == 0
    count, _, caps = text.decode().partition(" ")
    assert int(count) > 20
    assert "width=(int)320, height=(int)240" in caps
