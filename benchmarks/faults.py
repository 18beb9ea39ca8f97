"""What faults of a camera or its network cost: every row a real server on loopback, and a fault that is made.

    python benchmarks/faults.py [--rounds 50] [--only NAME,…] [--json benchmarks/results/faults.json]

A pipeline runs two streams: the one that gets the faults, and a bystander from a server of its own. For each fault:
what the link says it was lost by; how soon after the server (or the network) is back the first result is delivered;
whether the bystander's rate and latency are what they were just before; threads, files and memory after it. The model
takes no time and batches are of one, so that no deadline hides what a source does; waits and timeouts are the defaults.

Asked for: frames flow again after at most 2 s (median) and 5 s (worst); nothing is left behind; the cause is in the
metrics, and in one log line for each loss (and one for each return); the bystander is the same within 5 %. The
bystander's 99th percentile says as much about the machine as about us: on one with other work, put `chrt -r 1`
before this command (it and its servers then come first). Where a fault starts a process, the bystander is compared with
itself while the same process starts and hits nobody.

The servers are GStreamer's (gir1.2-gst-rtsp-server-1.0). As root on Linux the network is a real one between namespaces,
with losses and black holes made by the kernel, and the name service is one of our own.
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

from command import parser_of, write_to
from machine import conditions, machine

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
from mischief import decoy, killed, lasting, nothing, opening, repeated, switched
from servers import hole, names
from servers.proxy import Proxy
from servers.rtsp import RtspServer, has_gstreamer
from servers.web import GarbageServer, MjpegServer
from trial import Fault, Held, attempt

MEDIAN_S, WORST_S, SAME = 2.0, 5.0, 0.05
# Two calm stretches of the same stream differ by so much.
NOISE_MS = 0.5


class Table:
    """The rows, and the servers that they need."""

    def __init__(self, stack: AsyncExitStack, rounds: int, only: str | None, path: Path | None) -> None:
        self.rows: dict[str, Any] = {}
        self.rounds = rounds
        self.quick = max(2, rounds // 10)
        self._stack, self._only, self._path = stack, only, path
        self._bystander = self.server("--gop", "30", "--size", "320x240").url()
        self.one, self.spare = self.server("--gop", "30"), self.server("--gop", "30")
        self.relay = self.proxy(self.one)
        self.through = f"rtsp://127.0.0.1:{self.relay.port}/live"

    def server(self, *arguments: str, **options: Any) -> RtspServer:
        started = RtspServer(*arguments, **options)
        self._stack.callback(started.kill)
        return started

    def proxy(self, server: RtspServer) -> Proxy:
        started = Proxy(server.port)
        self._stack.callback(started.close)
        return started

    async def warm_up(self) -> None:
        """What is made once in a process is there before the first row is measured."""
        await attempt(self.through, lasting(lambda _: None, 0, 1), self._bystander)
        await asyncio.sleep(2.0)

    async def hit(self, name: str, url: str, fault: Fault, **options: Any) -> None:
        await self._row(name, lambda: attempt(url, fault, self._bystander, **options))

    async def open(self, name: str, url: str) -> None:
        await self._row(name, lambda: opening(url))

    async def _row(self, name: str, measure: Callable[[], Awaitable[dict[str, Any]]]) -> None:
        if self._only and not any(part in name for part in self._only.split(",")):
            return
        before = Held.now()
        row = self.rows[name] = await measure()
        row["left"] = await before.left()
        row["not as asked for"] = judged(row)
        print(f"{name:<42} {show(row)}", flush=True)
        if self._path is not None:  # after every row: the others of an earlier run stay
            there = json.loads(self._path.read_text(encoding="utf-8"))["faults"] if self._path.exists() else {}
            write_to(self._path, {"machine": machine() | conditions(), "faults": there | {name: row}})


def judged(row: dict[str, Any]) -> list[str]:
    """What is not as it was asked for."""
    wrong = []
    if row["left"]["threads"] > 0 or row["left"]["files"] > 0:
        wrong.append("threads or files are left")
    if "failed" in row:
        wrong.append("frames did not come again")
    if "back s" in row and (row["back s"]["median"] > MEDIAN_S or row["back s"]["worst"] > WORST_S):
        wrong.append("slow to come back")
    if "bystander" not in row:
        return wrong
    if not row["media time goes forwards"]:
        wrong.append("media time went back")
    if row["log lines"] != 2 * row["reconnects"]:
        wrong.append("not one log line for each loss and one for each return")
    if row["in metrics"] != row["lost"]:
        wrong.append("the metrics say something else")
    before, during = row["bystander"]["before"], row["bystander"]["during"]
    if row["bystander"]["lost"] or during["fps"] < (1 - SAME) * before["fps"]:
        wrong.append("the bystander lost frames")
    if during["p99 ms"] > max((1 + SAME) * before["p99 ms"], before["p99 ms"] + NOISE_MS):
        wrong.append("the bystander's p99 is higher")
    return wrong


async def server_faults(table: Table) -> None:
    one, relay, rounds, quick = table.one, table.relay, table.rounds, table.quick
    await table.hit("no fault", one.url(), lasting(lambda _: None, 0, 5))
    starts = decoy(table.spare, max(2, rounds // 2))
    await table.hit("server killed and restarted", one.url(), killed(one, rounds), decoy=starts)
    reset = repeated(max(2, rounds // 5), relay.reset, nothing, 0, lost=False)
    await table.hit("connection reset in mid-frame", table.through, reset)
    for seconds in (5, 15, 30):
        times = max(1 if rounds < 10 else 3, rounds // (2 * seconds))
        silence = repeated(times, one.pause, one.go_on, seconds, lost=True)
        await table.hit(f"silence of {seconds} s (SIGSTOP)", one.url(), silence)
    half_open = repeated(quick, relay.half_open, lambda: relay.hold(False), 6, lost=True)
    await table.hit("half-open: the peer is gone", table.through, half_open)
    other = [["--codec", "h265", "--size", "320x240"], ["--codec", "mjpeg"], ["--size", "320x180"]]
    starts = decoy(table.spare, 3)
    changed = killed(one, 6 if rounds > 5 else 3, other)
    await table.hit("back with another codec and size", one.url(), changed, decoy=starts)
    await table.hit("another size in mid-stream", one.url(), switched(one, 2 * quick))


async def network_faults(table: Table, stack: AsyncExitStack) -> None:
    relay, quick = table.relay, table.quick
    lossy, lossy_url, where = (lambda x: setattr(relay, "lose", x)), table.through, "proxy"
    if hole.possible():
        black = hole.Hole()
        stack.callback(black.close)
        far = table.server("--gop", "30", prefix=black.prefix, host=hole.HOST)
        for seconds in (6, 12):
            cut = repeated(quick, lambda: black.cut(True), lambda: black.cut(False), seconds, lost=True)
            await table.hit(f"black hole of {seconds} s (namespace)", far.url(), cut)
        lossy, lossy_url, where = black.lose, far.url(), "namespace"
    else:
        held = repeated(quick, lambda: relay.hold(True), lambda: relay.hold(False), 8, lost=True)
        await table.hit("black hole of 8 s (proxy)", table.through, held)
    for share in (0.01, 0.05, 0.1, 0.2):
        loss = lasting(lossy, share, 10)
        await table.hit(f"{share:.0%} of packets lost (UDP, {where})", lossy_url, loss, transport="udp")
    for share in (0.01, 0.1):
        for transport in ("tcp", "udp"):
            damage = lasting(lambda x: setattr(relay, "flip", x), share, 10)
            name = f"{share:.0%} of packets damaged ({transport.upper()})"
            await table.hit(name, table.through, damage, transport=transport)


async def clock_faults(table: Table) -> None:
    relay = table.relay
    for hours in (1, -1):
        jump = lasting(lambda x: setattr(relay, "clock_s", x), hours * 3600.0, 4)
        await table.hit(f"the media clock jumps {hours:+d} h and back", table.through, jump)
    sounding = table.proxy(table.server("--gop", "30", "--sound"))
    for hours in (1, -1):
        # With sound FFmpeg takes the times of both from the wall clock.
        jump = lasting(lambda x: setattr(sounding, "wall_s", x), hours * 3600.0, 15)
        url = f"rtsp://127.0.0.1:{sounding.port}/live"
        await table.hit(f"the wall clock jumps {hours:+d} h and back (sound)", url, jump)
    for skew in (0.02, -0.02):
        skewed = table.proxy(table.one)  # one each: no clock returns from a skew
        wrong = lasting(lambda x, proxy=skewed: x and setattr(proxy, "skew", x), skew, 75)
        url = f"rtsp://127.0.0.1:{skewed.port}/live"
        await table.hit(f"the media clock is {abs(skew):.0%} {'fast' if skew > 0 else 'slow'}", url, wrong)


async def name_faults(table: Table, stack: AsyncExitStack) -> None:
    if not names.possible():
        print("no name service of our own: not root on Linux")
        return
    service, relay, quick = names.NameServer(), table.relay, table.quick
    stack.callback(service.close)

    def both(fail: Callable[[bool], None]) -> Callable[[], None]:
        def hit() -> None:
            fail(True)
            relay.reset()

        return hit

    url = f"rtsp://camera.test:{relay.port}/live"
    for what, fail, seconds in (
        ("cannot say (SERVFAIL)", service.fail, 4),
        ("does not know it (NXDOMAIN)", service.forget, 4),
        ("is silent", service.hush, 12),
    ):
        away = repeated(quick, both(fail), lambda fail=fail: fail(False), seconds, lost=True)
        await table.hit(f"the name service {what} for {seconds} s", url, away)


async def garbage(table: Table) -> None:
    web, noise = [MjpegServer()], list[GarbageServer]()

    def ruin() -> None:
        web.pop().stop()
        noise.append(GarbageServer(port))

    def repair() -> None:
        noise.pop().close()
        web.append(MjpegServer(port))

    port = web[0].port
    ruined = repeated(table.quick, ruin, repair, 3, lost=True)
    await table.hit("garbage in its place, then itself (HTTP)", f"http://127.0.0.1:{port}/video", ruined)
    web.pop().stop()


async def openings(table: Table) -> None:
    locked = table.server("--user", "user", "--password", "right")
    await table.open("at first: wrong password", locked.url(userinfo="user:wrong@"))
    await table.open("at first: no such stream (404)", table.one.url("nowhere"))
    await table.open("at first: no such host", "rtsp://nowhere.invalid/live")
    with GarbageServer() as noise:
        for scheme in ("rtsp", "http"):
            await table.open(f"at first: garbage ({scheme})", f"{scheme}://127.0.0.1:{noise.port}/x")


async def faults(rounds: int, only: str | None, path: Path | None) -> dict[str, Any]:
    async with AsyncExitStack() as stack:
        table = Table(stack, rounds, only, path)
        await table.warm_up()
        await server_faults(table)
        await network_faults(table, stack)
        await clock_faults(table)
        await garbage(table)
        await openings(table)
        await name_faults(table, stack)
    return table.rows


def show(row: dict[str, Any]) -> str:
    wrong = "".join(f"\n    !! {what}" for what in row["not as asked for"])
    if "bystander" not in row:
        return f"{row['seconds']:5.2f} s  {row['said']}{wrong}"
    back = row.get("back s")
    causes = ", ".join(f"{cause} {count}" for cause, count in row["lost"].items()) or "not lost"
    times = (
        f"back after {back['median']:.2f} s, worst {back['worst']:.2f} s ({back['rounds']})"
        if back
        else f"{row['fps']:5.1f} fps meanwhile".ljust(34)
    )
    before, during, left = row["bystander"]["before"], row["bystander"]["during"], row["left"]
    rss = left["rss MB"]
    return (
        f"{times}  {causes}; bystander {before['fps']} → {during['fps']} fps, "
        f"p50 {before['p50 ms']} → {during['p50 ms']}, p99 {before['p99 ms']} → {during['p99 ms']} ms; "
        f"left: {left['threads']:+d} threads, {left['files']:+d} files, {rss[1] - rss[0]:+.1f} MB"
        f"{wrong}{row.get('failed', '')}"
    )


def main() -> int:
    parser = parser_of(__doc__)
    parser.add_argument("--rounds", type=int, default=50)
    parser.add_argument("--only", help="rows whose names hold one of these, comma-separated")
    arguments = parser.parse_args()
    if not has_gstreamer():
        print("GStreamer's RTSP server is absent (gir1.2-gst-rtsp-server-1.0)")
        return 2
    names.enter()
    rows = asyncio.run(faults(arguments.rounds, arguments.only, arguments.json))
    wrong = {name: row["not as asked for"] for name, row in rows.items() if row["not as asked for"]}
    print(f"{len(rows) - len(wrong)} of {len(rows)} rows are as asked for")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
