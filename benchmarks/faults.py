"""What faults of a camera or its network cost: every row a real server on loopback, and a fault that is made.

    python benchmarks/faults.py [--rounds 50] [--only NAME,…] [--json benchmarks/results/faults.json]

A pipeline runs two streams: the one that gets the faults, and a bystander from a server of its own. For each fault:
what the link says it was lost by; how soon after the server (or the network) is back the first result is delivered;
whether the bystander's rate and latency are what they were before; threads, files and memory after it. The model takes
no time and batches are of one, so that no deadline hides what a source does.

Asked for: frames flow again after at most 2 s (median) and 5 s (worst). The servers are GStreamer's
(gir1.2-gst-rtsp-server-1.0); as root on Linux the black hole is a real one, between network namespaces.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import logging
import random
import socket
import statistics
import sys
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import AsyncExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
from live import Nothing
from machine import machine

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
from servers import hole
from servers.proxy import Proxy
from servers.rtsp import RtspServer, has_gstreamer
from servers.web import GarbageServer, MjpegServer

from streampose import FixedBatch, Pipeline, Result, Stream, StreamInfo
from streampose.errors import StreamposeError
from streampose.sources import LinkState, NetworkSource, Reconnecting

WITHIN_S = 20.0


class Seen:
    """A sink that keeps times, not pictures."""

    wants_picture = False

    def __init__(self) -> None:
        self.delivered_at: list[float] = []
        self.age_s: list[float] = []
        self.latency_s: list[float] = []
        self.time_s: list[float] = []
        self.epoch = -1
        self.epoch_at: dict[int, float] = {}

    def open(self, stream: str, info: StreamInfo) -> None:
        pass

    def write(self, result: Result) -> None:
        timing = result.timing
        self.delivered_at.append(timing.delivered_at)
        self.latency_s.append(timing.delivered_at - timing.captured_at)
        self.age_s.append(timing.taken_at - timing.captured_at)
        self.time_s.append(result.frame.time_s)
        self.epoch = result.frame.epoch
        self.epoch_at.setdefault(self.epoch, timing.delivered_at)

    def close(self) -> None:
        pass


@dataclass
class Run:
    """One run: the victim's source, what came of it, and how soon it came back."""

    source: Reconnecting
    seen: Seen
    other: Seen
    pipeline: Pipeline
    back_s: list[float] = field(default_factory=list)

    async def until(self, condition: Callable[[], bool]) -> None:
        began = time.monotonic()
        while not condition():
            if time.monotonic() - began > WITHIN_S:
                raise TimeoutError(
                    f"nothing within {WITHIN_S:g} s: {self.source.link}, delivered up to epoch {self.seen.epoch}"
                )
            await asyncio.sleep(0.005)

    async def lost(self) -> None:
        await self.until(lambda: self.source.link.state is LinkState.LOST)

    async def flows(self, since: float, epoch: int) -> None:
        """Wait until results of a later epoch come, and note how long that took."""
        await self.until(lambda: self.seen.epoch > epoch)
        first_at = min(at for later, at in self.seen.epoch_at.items() if later > epoch)
        self.back_s.append(max(0.0, first_at - since))


Fault = Callable[[Run], Awaitable[None]]


class Lines(logging.Handler):
    """Counts the log lines, and keeps them."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(record.getMessage())


async def run_fault(url: str, fault: Fault, bystander: str, **options: Any) -> dict[str, Any]:
    """The fault in a running pipeline, and a row of figures."""
    lines = Lines()
    logging.getLogger("streampose").addHandler(lines)
    seen, other = Seen(), Seen()
    source = Reconnecting(NetworkSource(url, **options))
    streams = [
        Stream(name="victim", source=source, sinks=[seen]),
        Stream(name="bystander", source=Reconnecting(NetworkSource(bystander)), sinks=[other]),
    ]
    async with Pipeline(streams, Nothing(), policy=FixedBatch(1)) as pipeline:
        running = asyncio.create_task(pipeline.run())
        run = Run(source, seen, other, pipeline)
        await run.until(lambda: len(seen.delivered_at) > 5 and len(other.delivered_at) > 5)
        await asyncio.sleep(4)
        began = time.monotonic()
        before, victims = len(other.delivered_at), len(seen.delivered_at)
        failed = None
        try:
            await fault(run)
        except TimeoutError as error:
            failed = f"{error} {pipeline.snapshot().streams['victim']}"
        fault_s = time.monotonic() - began
        await run.until(lambda: len(seen.delivered_at) > 5)
        victims = len(seen.delivered_at) - victims
        captured = len(other.delivered_at) - before
        calm, stormy = other.latency_s[5:before], other.latency_s[before:]
        calm_s = other.delivered_at[before - 1] - other.delivered_at[5]
        pipeline.stop()
        reports = await running
        snapshot = pipeline.snapshot()
    logging.getLogger("streampose").removeHandler(lines)
    for name, figures in snapshot.streams.items():
        assert figures.captured == figures.delivered + figures.dropped_total, f"{name}: {figures}"
    assert reports["bystander"].link is not None
    assert not reports["bystander"].link.lost, "the bystander was hit"
    row: dict[str, Any] = {
        "lost": dict(source.link.lost),
        "reconnects": source.link.reconnects,
        "tries in vain": source.link.tries,
        "log lines": len(lines.lines),
        "seconds": round(fault_s, 1),
        "fps": round(victims / fault_s, 2),
        "age p99 ms": round(1000 * quantile(seen.age_s, 0.99), 1),
        "bystander fps": [round((before - 6) / calm_s, 2), round(captured / fault_s, 2)],
        "bystander p99 ms": [round(1000 * quantile(x, 0.99), 1) for x in (calm, stormy)],
    }
    if failed:
        row["failed"] = failed
    if source.link.skipped_packets:
        row["packets skipped"] = source.link.skipped_packets
    if run.back_s:
        row["back s"] = {
            "median": round(statistics.median(run.back_s), 2),
            "worst": round(max(run.back_s), 2),
            "rounds": len(run.back_s),
        }
    if any(b <= a for a, b in zip(seen.time_s, seen.time_s[1:], strict=False)):
        row["media time"] = "went back"
    return row


def quantile(values: list[float], q: float) -> float:
    ordered = sorted(values)
    return ordered[int(q * (len(ordered) - 1))] if ordered else float("nan")


# --- the faults -------------------------------------------------------------------------------------------------------


def killed(server: RtspServer, rounds: int, streams: list[list[str]] | None = None) -> Fault:
    async def fault(run: Run) -> None:
        for i in range(rounds):
            epoch = run.seen.epoch
            server.kill()
            await run.lost()
            await asyncio.sleep(random.uniform(0, 2.0))
            await asyncio.to_thread(server.start, *(streams[i % len(streams)] if streams else ["--gop", "30"]))
            await run.flows(time.monotonic(), epoch)
            await asyncio.sleep(0.3)

    return fault


def repeated(rounds: int, make: Callable[[], None], mend: Callable[[], None], away_s: float, *, lost: bool) -> Fault:
    """Make the fault, wait (for its notice, too), mend it."""

    async def fault(run: Run) -> None:
        for _ in range(rounds):
            epoch = run.seen.epoch
            await asyncio.to_thread(make)
            await asyncio.sleep(away_s)
            if lost:
                await run.lost()
            await asyncio.to_thread(mend)
            await run.flows(time.monotonic(), epoch)
            await asyncio.sleep(0.5)

    return fault


def lasting(set_to: Callable[[float], None], share: float, seconds: float) -> Fault:
    async def fault(run: Run) -> None:
        set_to(share)
        await asyncio.sleep(seconds)
        set_to(0.0)
        await asyncio.sleep(1.5)

    return fault


def nothing() -> None:
    pass


async def opening(url: str, **options: Any) -> dict[str, Any]:
    """What a first opening that cannot work says, and how soon."""
    source = Reconnecting(NetworkSource(url, **options))
    began = time.monotonic()
    timer = threading.Timer(10.0, source.interrupt)
    timer.start()
    try:
        await asyncio.to_thread(source.open, "cam")
        said = "it opened"
    except StreamposeError as error:
        said = f"{type(error).__name__}: {error}"
    timer.cancel()
    timer.join()
    source.close()
    return {"seconds": round(time.monotonic() - began, 2), "said": said, "tries in vain": source.link.tries}


@contextmanager
def no_dns() -> Iterator[Callable[[bool], None]]:
    """A resolver that can be switched off."""
    real, off = socket.getaddrinfo, threading.Event()

    def getaddrinfo(host: Any, *arguments: Any, **options: Any) -> Any:
        if off.is_set():
            raise socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")
        return real(host, *arguments, **options)

    socket.getaddrinfo = getaddrinfo
    try:
        yield lambda on: (off.clear if on else off.set)()
    finally:
        socket.getaddrinfo = real


class Table:
    """The rows, and the servers that they need."""

    def __init__(self, stack: AsyncExitStack, rounds: int, only: str | None, path: Path | None) -> None:
        self.rows: dict[str, Any] = {}
        self.rounds = rounds
        self.quick = max(2, rounds // 10)
        self._stack, self._only, self._path = stack, only, path
        self._process = psutil.Process()
        self._bystander = self.server("--gop", "30", "--size", "320x240").url()
        self.one = self.server("--gop", "30")
        self.relay = Proxy(self.one.port)
        stack.callback(self.relay.close)
        self.through = f"rtsp://127.0.0.1:{self.relay.port}/live"

    def server(self, *arguments: str, **options: Any) -> RtspServer:
        started = RtspServer(*arguments, **options)
        self._stack.callback(started.kill)
        return started

    async def hit(self, name: str, url: str, fault: Fault, **options: Any) -> None:
        await self._row(name, lambda: run_fault(url, fault, self._bystander, **options))

    async def open(self, name: str, url: str) -> None:
        await self._row(name, lambda: opening(url))

    async def _row(self, name: str, measure: Callable[[], Awaitable[dict[str, Any]]]) -> None:
        if self._only and not any(part in name for part in self._only.split(",")):
            return
        row = self.rows[name] = await measure()
        # A thread that was left in FFmpeg ends with FFmpeg's own timeout.
        await asyncio.sleep(0.2)
        threads = sum(thread.name.startswith("streampose") for thread in threading.enumerate())
        row |= {"threads left": threads, "files": self._process.num_fds()}
        row |= {"rss MB": round(self._process.memory_info().rss / 1e6, 1)}
        print(f"{name:<42} {show(row)}", flush=True)
        if self._path is not None:  # after every row: the others of an earlier run stay
            there = json.loads(self._path.read_text())["faults"] if self._path.exists() else {}
            text = json.dumps({"machine": machine(), "faults": there | {name: row}}, indent=2, ensure_ascii=False)
            self._path.write_text(text + "\n")


async def server_faults(table: Table) -> None:
    one, relay, rounds, quick = table.one, table.relay, table.rounds, table.quick
    await table.hit("no fault", one.url(), lasting(lambda _: None, 0, 5))
    await table.hit("server killed and restarted", one.url(), killed(one, rounds))
    reset = repeated(max(2, rounds // 5), relay.reset, nothing, 0, lost=False)
    await table.hit("connection reset in mid-frame", table.through, reset)
    for seconds in (5, 15, 30):
        times = max(1, rounds // (2 * seconds))
        silence = repeated(times, one.pause, one.go_on, seconds, lost=True)
        await table.hit(f"silence of {seconds} s (SIGSTOP)", one.url(), silence)
    half_open = repeated(quick, relay.half_open, lambda: relay.hold(False), 6, lost=True)
    await table.hit("half-open: the peer is gone", table.through, half_open)
    other = [["--codec", "h265", "--size", "320x240"], ["--codec", "mjpeg"], ["--size", "320x180"]]
    await table.hit("back with another codec and size", one.url(), killed(one, 6 if rounds > 5 else 3, other))


async def network_faults(table: Table, stack: AsyncExitStack) -> None:
    relay, quick = table.relay, table.quick
    if hole.possible():
        black = hole.Hole()
        stack.callback(black.close)
        far = RtspServer("--gop", "30", prefix=black.prefix, host=hole.HOST)
        stack.callback(far.kill)
        for seconds in (6, 12):
            cut = repeated(quick, lambda: black.cut(True), lambda: black.cut(False), seconds, lost=True)
            await table.hit(f"black hole of {seconds} s (namespace)", far.url(), cut)
    else:
        held = repeated(quick, lambda: relay.hold(True), lambda: relay.hold(False), 8, lost=True)
        await table.hit("black hole of 8 s (proxy)", table.through, held)
    for share in (0.01, 0.05, 0.2):
        loss = lasting(lambda x: setattr(relay, "lose", x), share, 10)
        await table.hit(f"{share:.0%} of packets lost (UDP)", table.through, loss, transport="udp")
    for share in (0.01, 0.1):
        damage = lasting(lambda x: setattr(relay, "flip", x), share, 10)
        await table.hit(f"{share:.0%} of packets damaged (TCP)", table.through, damage)
    for hours in (1, -1):
        jump = lasting(lambda x: setattr(relay, "clock_s", x), hours * 3600.0, 4)
        await table.hit(f"the camera's clock jumps {hours:+d} h and back", table.through, jump)
    with no_dns() as resolver:

        def unnamed() -> None:
            resolver(False)
            relay.reset()

        named = f"rtsp://localhost:{relay.port}/live"
        away = repeated(quick, unnamed, lambda: resolver(True), 3, lost=True)
        await table.hit("no name service for 3 s", named, away)


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
        await server_faults(table)
        await network_faults(table, stack)
        await garbage(table)
        await openings(table)
    return table.rows


def show(row: dict[str, Any]) -> str:
    if "said" in row:
        return f"{row['seconds']:5.2f} s  {row['said']}"
    back = row.get("back s")
    causes = ", ".join(f"{cause} {count}" for cause, count in row["lost"].items()) or "not lost"
    times = (
        f"back after {back['median']:.2f} s, worst {back['worst']:.2f} s"
        if back
        else f"{row['fps']:5.1f} fps meanwhile".ljust(34)
    )
    by = row["bystander fps"], row["bystander p99 ms"]
    return (
        f"{row.get('failed', '')}{times}  {causes}; {row['log lines']} log lines; "
        f"bystander {by[0][0]} → {by[0][1]} fps, "
        f"p99 {by[1][0]} → {by[1][1]} ms; {row['threads left']} threads left, {row['files']} files, {row['rss MB']} MB"
    )


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=50)
    parser.add_argument("--only", help="rows whose names hold one of these, comma-separated")
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    if not has_gstreamer():
        print("GStreamer's RTSP server is absent (gir1.2-gst-rtsp-server-1.0)")
        return 2
    rows = asyncio.run(faults(arguments.rounds, arguments.only, arguments.json))
    slow = [
        name
        for name, row in rows.items()
        if "back s" in row and (row["back s"]["median"] > 2 or row["back s"]["worst"] > 5)
    ]
    failed = [name for name, row in rows.items() if "failed" in row]
    back = [name for name, row in rows.items() if "media time" in row]
    print(f"slower than asked for: {', '.join(slow) or 'none'}; media time went back: {', '.join(back) or 'never'}")
    print(f"frames did not come again: {', '.join(failed) or 'never'}")
    return 1 if slow or back or failed else 0


if __name__ == "__main__":
    sys.exit(main())
