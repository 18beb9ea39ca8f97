"""Start-up in parallel: cameras that never answer delay nobody, and can be removed."""

from __future__ import annotations

import asyncio
import socket
import time

import pytest
from fakes import FakeEstimator, MemorySink
from servers.rtsp import RtspServer, has_gstreamer

from streampose import Pipeline, Stream, open_source

pytestmark = [
    pytest.mark.rtsp,
    pytest.mark.skipif(not has_gstreamer(), reason="GStreamer's RTSP server is absent (gir1.2-gst-rtsp-server-1.0)"),
]


async def first_frames(server: RtspServer, dead: list[str]) -> float:
    """Seconds until two real cameras are there, beside dead ones that stand before them."""
    sinks = [MemorySink(), MemorySink()]
    streams = [Stream(name=f"dead{i}", source=open_source(url)) for i, url in enumerate(dead)]
    streams += [Stream(name=f"cam{i}", source=open_source(server.url()), sinks=[s]) for i, s in enumerate(sinks)]
    async with Pipeline(streams, FakeEstimator()) as pipeline:
        began = time.monotonic()
        running = asyncio.create_task(pipeline.run())
        async with asyncio.timeout(20):
            while not all(sink.results for sink in sinks):
                await asyncio.sleep(0.005)
        took_s = time.monotonic() - began
        for i in range(len(dead)):
            assert pipeline.reports[f"dead{i}"].info is None
            async with asyncio.timeout(3):
                await pipeline.remove(f"dead{i}")
        pipeline.stop()
        await running
    return took_s


async def test_black_holed_cameras_delay_nobody():
    server = RtspServer()
    try:
        # The kernel takes the connections, and nobody ever answers.
        with socket.create_server(("127.0.0.1", 0)) as hole:
            await first_frames(server, [])  # the server's own start
            alone_s = await first_frames(server, [])
            beside_s = await first_frames(server, [f"rtsp://127.0.0.1:{hole.getsockname()[1]}/live"] * 4)
        print(f"first frames: alone {alone_s:.2f} s, beside four dead cameras {beside_s:.2f} s")
        assert beside_s < alone_s + 2, "a dead camera's 5 s were waited for"
    finally:
        server.kill()
