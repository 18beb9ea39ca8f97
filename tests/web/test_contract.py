"""The OpenAPI document and the server agree: Schemathesis asks whatever the document allows, and what it does not."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from pathlib import Path

import aiohttp
from servers.serving import Served

from streampose.sources import SyntheticSource

# What is well formed can still be refused in words: an unknown host, an offer without video.
CONFIG = """
[checks]
positive_data_acceptance.expected-statuses = ["2xx", "400", "404", "409", "410", "412", "422", "503"]
"""


async def test_the_document_holds(served: Served, tmp_path: Path):
    (tmp_path / "schemathesis.toml").write_text(CONFIG)
    await served.server.show("cam", SyntheticSource(width_px=64, height_px=64))
    config = str(tmp_path / "schemathesis.toml")
    command = [
        *(sys.executable, "-m", "schemathesis.cli", "--config-file", config),
        *("run", f"{served.url}/api/openapi.json"),
        *("--exclude-path-regex", "poses$|mjpeg$"),  # which go on for as long as one reads
        *("--max-examples", "10", "--phases", "examples,coverage,fuzzing", "--seed", "1", "--no-color"),
        *("--mode", "all", "--request-timeout", "10"),
    ]
    env = os.environ | {"SCHEMATHESIS_HOOKS": "sdp_serializer", "PYTHONPATH": str(Path(__file__).parent)}
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}
    process = await asyncio.create_subprocess_exec(*command, env=env, cwd=tmp_path, **pipes)
    said, _ = await process.communicate()
    assert process.returncode == 0, said.decode()[-6000:]
    async with aiohttp.ClientSession() as http, http.get(f"{served.url}/api/streams") as answer:
        assert answer.status == 200  # and it is still there
