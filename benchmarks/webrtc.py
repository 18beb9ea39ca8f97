"""Latency and load of `streampose serve`, beside a loop like that of aiortc's server example with the same model.

    python benchmarks/webrtc.py                      # both
    python benchmarks/webrtc.py --latency 300        # one peer for five minutes
    python benchmarks/webrtc.py --peers 1,2,4,8

Clients are aiortc in processes of their own, on loopback, each with a drawn 640×480 picture 30 times a second; they get
poses over a data channel and the drawn video back. Latency is from the client's capture, before its encoder, to the
message. "age" counts from the arrival at the server, as its budget does; "added" leaves out the time of the batch on
the engine, too.

The other server does what the example does: one track for each peer, whose `recv` awaits a frame, runs the model on it,
draws, and returns it.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import json
import os
import signal
import subprocess
import sys
import time
import urllib.request
from pathlib import Path
from typing import Any

import numpy as np
from machine import machine

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from servers.rtc_client import LOOPBACK, Pictures, RtcClient, matched

from streampose.sources import SyntheticSource

PORT = 8097
URL = f"http://127.0.0.1:{PORT}"
HERE = Path(__file__).resolve()


# --- one client ----------------------------------------------------------------------------------------------------


async def client(url: str, seconds: float, mode: str) -> dict[str, Any]:
    source = SyntheticSource(width_px=640, height_px=480, live=False)
    pictures = itertools.cycle([source.render(i) for i in range(60)])
    track = Pictures(pictures)
    track.kept = 10**6
    async with RtcClient(url, track) as one:
        if one.answer is None or one.answer.status != 201:
            return {"refused": None if one.answer is None else one.answer.status}
        await one.until(lambda: one.poses, within_s=60)
        await one.until(lambda: one.control.readyState == "open")
        one.say(type="set", mode=mode)
        await asyncio.sleep(2)  # encoders find their bitrate
        one.poses.clear()
        began_at, frames = time.monotonic(), track.count
        await asyncio.sleep(seconds)
        took, got, sent = time.monotonic() - began_at, list(one.poses), track.count - frames
    latency, slices, added, age = await asyncio.to_thread(_latencies, track, got, began_at)
    return {
        "fps_sent": sent / took,
        "fps": len(got) / took,
        "latency_ms": latency,
        "median_of_each_tenth_ms": slices,
        "added_ms": added,
        "age_ms": age,
    }


def _latencies(track: Pictures, got: list[tuple[float, dict[str, Any]]], began_at: float) -> Any:
    if not got:
        return None, [], None, None
    sent = matched(track, [record.get("rtp", record["pts"]) for _, record in got])
    assert sent is not None
    ms = [1000 * (at - track.taken_at[pts]) for (at, _), pts in zip(got, sent, strict=True)]
    ages = [record["age_ms"] for _, record in got if "age_ms" in record]
    added = [record["age_ms"] - record["inference_ms"] for _, record in got if "age_ms" in record]
    tenths = [round(float(np.median(part)), 1) for part in np.array_split(ms, 10) if len(part)]
    return _quantiles(ms), tenths, _quantiles(added) if added else None, _quantiles(ages) if ages else None


def _quantiles(values: list[float]) -> dict[str, float]:
    return {f"p{q}": round(float(np.percentile(values, q)), 1) for q in (50, 95, 99)}


# --- the other server ----------------------------------------------------------------------------------------------


async def example() -> None:
    """What people begin with: the model inside of the track's `recv`."""
    from aiohttp import web
    from aiortc import RTCConfiguration, RTCPeerConnection, RTCSessionDescription
    from aiortc.mediastreams import MediaStreamTrack
    from av import VideoFrame

    from streampose.inference.engine import EngineOptions
    from streampose.inference.loading import ModelChoice, load_estimators
    from streampose.render import Renderer
    from streampose.web.ice import offer_only

    (estimator,) = load_estimators(ModelChoice(), EngineOptions(sessions=1), throughput=False)
    render, peers = Renderer(), set()

    class Drawn(MediaStreamTrack):
        kind = "video"

        def __init__(self, track: Any, peer: Any) -> None:
            super().__init__()
            self.track, self.peer = track, peer

        async def recv(self) -> VideoFrame:
            frame = await self.track.recv()
            image = frame.to_ndarray(format="bgr24")
            poses = estimator([image])[0]
            if (channel := self.peer.poses) is not None and channel.readyState == "open":
                channel.send(json.dumps({"pts": frame.pts, "people": poses.points.round(2).tolist()}))
            drawn = VideoFrame.from_ndarray(render(image, poses), format="bgr24")
            drawn.pts, drawn.time_base = frame.pts, frame.time_base
            return drawn

    async def offer(request: web.Request) -> web.Response:
        peer: Any = RTCPeerConnection(RTCConfiguration(iceServers=[]))
        peer.poses = None
        peers.add(peer)

        @peer.on("datachannel")
        def opened(channel: Any) -> None:
            if channel.label == "poses":
                peer.poses = channel

        @peer.on("connectionstatechange")
        async def changed() -> None:
            if peer.connectionState == "failed":
                await peer.close()
                peers.discard(peer)

        @peer.on("track")
        def came(track: Any) -> None:
            peer.addTrack(Drawn(track, peer))

        await peer.setRemoteDescription(RTCSessionDescription(sdp=await request.text(), type="offer"))
        for transceiver in peer.getTransceivers():
            offer_only(transceiver.receiver.transport.transport.iceGatherer, LOOPBACK)
        await peer.setLocalDescription(await peer.createAnswer())
        return web.Response(status=201, text=peer.localDescription.sdp, headers={"Location": "/gone"})

    app = web.Application()
    app.router.add_post("/whip", offer)
    app.router.add_delete("/gone", lambda request: web.Response())
    app.router.add_get("/", lambda request: web.json_response({"peers": len(peers)}))
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", PORT).start()
    await asyncio.Event().wait()


# --- the comparison ------------------------------------------------------------------------------------------------


class Server:
    def __init__(self, kind: str, peers: int) -> None:
        ours = ["-m", "streampose", "serve", "--port", str(PORT), "--max-peers", str(peers)]
        command = [sys.executable, *(ours if kind == "streampose" else [str(HERE), "--as", "example"])]
        self._process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
        for _ in range(600):
            try:
                urllib.request.urlopen(URL, timeout=5).close()
            except OSError:
                time.sleep(0.1)
            else:
                return
        raise TimeoutError(kind)

    def resources(self) -> dict[str, float]:
        proc = Path("/proc") / str(self._process.pid)
        status = dict(line.split(":", 1) for line in (proc / "status").read_text().splitlines())
        return {
            "rss_mb": round(int(status["VmRSS"].split()[0]) / 1024, 1),
            "threads": int(status["Threads"]),
            "files": len(list((proc / "fd").iterdir())),
        }

    def stop(self) -> None:
        self._process.send_signal(signal.SIGINT)
        try:
            self._process.wait(15)
        except subprocess.TimeoutExpired:
            self._process.kill()


def clients(count: int, seconds: float, mode: str) -> list[subprocess.Popen[bytes]]:
    command = [sys.executable, str(HERE), "--as", "client", "--seconds", str(seconds), "--mode", mode]
    return [subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) for _ in range(count)]


def load(kind: str, count: int, seconds: float) -> dict[str, Any]:
    """So many peers at a time, then all killed at once."""
    server = Server(kind, count)
    try:
        time.sleep(1)  # the connection that asked whether it is there is closed by now
        before = server.resources()
        found, during = clients(count, seconds, "rendered"), []
        while any(process.poll() is None for process in found):
            during.append(server.resources()["rss_mb"])
            time.sleep(1)
        results = [json.loads(text) if (text := process.stdout.read()) else {} for process in found]  # type: ignore[union-attr]
        good = [r for r in results if r.get("latency_ms")]
        # Once more, to be killed.
        found = clients(count, 600, "rendered")
        for _ in range(600):
            if server.resources()["files"] >= before["files"] + count:  # every session has sockets
                break
            time.sleep(0.1)
        time.sleep(3)
        for process in found:
            process.kill()
            process.wait()
        killed_at, back_s = time.monotonic(), None
        while back_s is None and time.monotonic() - killed_at < 45:
            now = server.resources()
            if now["files"] <= before["files"]:
                back_s = round(time.monotonic() - killed_at, 1)
            time.sleep(0.2)
    finally:
        server.stop()
    fps, aged = [r["fps"] for r in good], [r for r in good if r["age_ms"]]
    return {
        "server": kind,
        "peers": count,
        "served": len(good),
        "fps_all": round(sum(fps), 1),
        "fps_least": round(min(fps, default=0), 1),
        "fps_most": round(max(fps, default=0), 1),
        "latency_p50_ms": round(float(np.median([r["latency_ms"]["p50"] for r in good])), 1) if good else None,
        "latency_p99_ms": max((r["latency_ms"]["p99"] for r in good), default=None),
        # From arrival to message, which is what the budget is for.
        "age_p50_ms": round(float(np.median([r["age_ms"]["p50"] for r in aged])), 1) if aged else None,
        "age_p99_ms": max((r["age_ms"]["p99"] for r in aged), default=None),
        "first_and_last_tenth_ms": [
            round(float(np.median([r["median_of_each_tenth_ms"][i] for r in good])), 1) for i in (0, -1) if good
        ],
        "rss_mb": [before["rss_mb"], max(during, default=0)],
        # Peers come in the first of them.
        "rss_of_each_fifth_mb": [round(float(np.median(fifth))) for fifth in np.array_split(during, 5) if len(fifth)],
        "all_back_after_kill_s": back_s,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--as", dest="role", default="all", choices=["all", "client", "example"])
    parser.add_argument("--latency", type=float, default=30.0, help="seconds of one peer; 0 = none")
    parser.add_argument("--peers", default="1,2,4,8")
    parser.add_argument("--seconds", type=float, default=15.0, help="of each load")
    parser.add_argument("--servers", default="streampose,example")
    parser.add_argument("--mode", default="overlay")
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    if options.role == "example":
        asyncio.run(example())
    if options.role == "client":
        print(json.dumps(asyncio.run(client(URL, options.seconds, options.mode))))
        return
    report: dict[str, Any] = {"machine": machine(), "load_average_at_start": os.getloadavg()[0]}
    if options.latency:
        server = Server("streampose", 1)
        before = server.resources()
        (process,) = clients(1, options.latency, "overlay")
        text, _ = process.communicate()
        report["latency"] = json.loads(text) | {"rss_mb": [before["rss_mb"], server.resources()["rss_mb"]]}
        server.stop()
        print(json.dumps(report["latency"]))
    report["load"] = []
    for count in [int(part) for part in options.peers.split(",") if part and int(part)]:
        for kind in options.servers.split(","):
            report["load"].append(load(kind, count, options.seconds))
            print(json.dumps(report["load"][-1]), flush=True)
    if options.out is not None:
        options.out.write_text(json.dumps(report, indent=1) + "\n")


if __name__ == "__main__":
    main()
