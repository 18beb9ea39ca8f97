"""A flood of WebRTC offers from one address, and a newcomer from another.

    python benchmarks/flood.py [--attackers 50] [--newcomers 8]

The server has four places. So many attackers post offers without end and never connect; meanwhile one who comes from
elsewhere (127.0.0.2) tries every 0.2 s, for 5 s at most, to be answered. It prints how long that took and how many
frames a second a camera of the server kept of 30. All in one process, on loopback.
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import sys
import time
from pathlib import Path

import aiohttp

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from servers.rtc_client import bare_offer
from servers.serving import serving

from streampose.sources import SyntheticSource
from streampose.web.limits import Limits

SDP = {"Content-Type": "application/sdp"}
PATIENCE_S = 5.0


async def main(attackers: int, newcomers: int) -> None:
    sdp = await bare_offer()
    elsewhere = aiohttp.TCPConnector(local_addr=("127.0.0.2", 0))
    async with (
        aiohttp.ClientSession() as near,
        aiohttp.ClientSession(connector=elsewhere) as far,
        serving(limits=Limits(peers=4)) as served,
    ):
        await served.server.show("cam", SyntheticSource(width_px=320, height_px=240))
        posted = 0

        async def attack() -> None:
            nonlocal posted
            while True:
                async with near.post(f"{served.url}/whip", data=sdp, headers=SDP):
                    posted += 1

        tasks = [asyncio.create_task(attack()) for _ in range(attackers)]
        await asyncio.sleep(2)
        waits: list[float] = []
        cam, first, began_at = lambda: served.pipeline.snapshot().streams["cam"].delivered, posted, time.monotonic()
        before = cam()
        for _ in range(newcomers):
            since = time.monotonic()
            while (waited := time.monotonic() - since) < PATIENCE_S:
                async with far.post(f"{served.url}/whip", data=sdp, headers=SDP) as answer:
                    if answer.status == 201:
                        waits.append(time.monotonic() - since)
                        async with far.delete(served.url + answer.headers["Location"]):
                            break
                await asyncio.sleep(0.2)
            else:
                print(f"not answered within {waited:.1f} s")
        took = time.monotonic() - began_at
        print(f"{(posted - first) / took:.0f} offers a second; the camera at {(cam() - before) / took:.1f} of 30 fps")
        middle = f", after {statistics.median(waits):.2f} s (median; at most {max(waits):.2f})" if waits else ""
        print(f"newcomers answered: {len(waits)} of {newcomers}{middle}")
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--attackers", type=int, default=50)
    parser.add_argument("--newcomers", type=int, default=8)
    options = parser.parse_args()
    asyncio.run(main(options.attackers, options.newcomers))
