"""A client that is not ours: FFmpeg's WHIP muxer, as in PyAV."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

import av
import pytest
from servers.serving import Served

SERVERS = Path(__file__).parents[1] / "servers"


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
