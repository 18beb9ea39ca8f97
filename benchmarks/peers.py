"""Live cameras through streampose and through its peers: the same models, the same RTSP server, one after the other.

    python benchmarks/peers.py [--cameras 8] [--seconds 15] [--rounds 3] [--assets DIR] [--json peers.json]

H.264 of 640×360 of real footage comes from one server process, every camera by itself, a part of a period apart. Each
picture carries its number, so that a result's age is known without asking whoever made it: from when the server sent
it until the user has the poses. All run on the CPUs of this machine, the server, too. Peers are installed into
environments of their own at first; what they need beyond package registries they do not get.

With the pair (RTMDet-nano at 320, PP-TinyPose 256×192): the loop that rtmlib's users write. With YOLOv8n-pose at 640:
Ultralytics' stream mode, and Roboflow's `InferencePipeline` with Ultralytics in it. Medians of interleaved rounds; *in
time* are frames a second whose age is within the budget and 50 ms, for what the budget leaves out: a frame interval for
which FFmpeg's parser holds every picture back, and the ways there and on. The peers do not know of a budget.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import tempfile
from collections import defaultdict
from dataclasses import dataclass
from itertools import cycle, islice
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from command import parser_of, python_with, write_to
from machine import machine
from watcher import FRAMES, GOP, RATE, stamp

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
from av.video.frame import VideoFrame
from servers.clip import footage, write_clip
from servers.rtsp import RtspServer, has_gstreamer

from streampose.figures import jain

HERE = Path(__file__).parent
SIZE = (640, 360)
PEERS = {
    "ultralytics": ["ultralytics", "onnxruntime"],
    "rtmlib": ["rtmlib", "onnxruntime", "opencv-python"],
    "inference": ["inference", "ultralytics"],
}


AROUND_S = 0.05


def clip(path: Path, video: Path) -> None:
    """The footage again and again, each picture with its number."""
    pictures = [f.reformat(*SIZE, "bgr24").to_ndarray() for f in footage(video)]

    def stamped() -> Any:
        for i, picture in enumerate(islice(cycle(pictures), FRAMES)):
            numbered = picture.copy()
            stamp(numbered, i)
            yield VideoFrame.from_ndarray(numbered, format="bgr24")

    write_clip(path, stamped(), rate=RATE, gop=GOP, size=SIZE)


def with_words(model: Path, folder: Path) -> Path:
    """A copy that says of itself what Ultralytics' exports do, and what Ultralytics cannot do without."""
    proto = onnx.load(model)
    words = {"task": "pose", "stride": "32", "imgsz": "[640, 640]", "names": "{0: 'person'}", "kpt_shape": "[17, 3]"}
    onnx.helper.set_model_props(proto, words)
    onnx.save(proto, folder / model.name)
    return folder / model.name


def version_of(peer: str, python: Path) -> str:
    words = ["-c", f"from importlib.metadata import version; print(version({peer!r}))"]
    return subprocess.run([python, *words], capture_output=True, text=True, check=True).stdout.strip()


def figures(line: str, seconds: float, budget_s: float) -> dict[str, float]:
    report = json.loads(line)
    ages = np.concatenate([np.asarray(a) for a in report["ages_s"]])
    counts = [len(a) for a in report["ages_s"]]
    return {
        "fps": len(ages) / seconds,
        "in_time_fps": float((ages <= budget_s + AROUND_S).sum()) / seconds,
        "p50_ms": float(np.median(ages)) * 1000,
        "p99_ms": float(np.quantile(ages, 0.99)) * 1000,
        "jain": jain(counts),
        "people_a_frame": report["people"] / max(len(ages), 1),
        "cores": report["cpu_s"] / seconds,
    }


@dataclass(frozen=True, slots=True, kw_only=True)
class Way:
    """One of those that are compared."""

    script: list[str]
    budget_s: float
    peer: str = ""
    """Whose environment it needs; none of its own for streampose."""


def ways(assets: Path, folder: Path, seconds: float, budget_s: float) -> dict[str, Way]:
    models, counted = assets / "models", str(seconds)
    yolo = str(with_words(models / "yolov8n-pose_640_from_int8.onnx", folder))
    pair = [str(models / "rtmdet_nano_person.onnx"), str(models / "pp_tinypose_256x192.onnx")]
    longer_s = 2 * budget_s
    return {
        "pair: streampose": Way(script=["peer_streampose.py", *pair, counted, str(budget_s)], budget_s=budget_s),
        "pair: a loop with rtmlib": Way(script=["peer_loop.py", *pair, counted], budget_s=budget_s, peer="rtmlib"),
        "YOLO: streampose": Way(script=["peer_streampose.py", "-", yolo, counted, str(longer_s)], budget_s=longer_s),
        "YOLO: Ultralytics' stream mode": Way(
            script=["peer_ultralytics.py", yolo, counted], budget_s=longer_s, peer="ultralytics"
        ),
        "YOLO: Roboflow's InferencePipeline": Way(
            script=["peer_inference.py", yolo, counted], budget_s=longer_s, peer="inference"
        ),
    }


def measure(name: str, way: Way, python: Path, urls: list[str], seconds: float) -> dict[str, float]:
    command = [str(python), str(HERE / way.script[0]), *way.script[1:], *urls]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120 + 2 * seconds, check=False)
    if done.returncode:
        raise SystemExit(f"{name} failed:\n{done.stderr[-3000:]}")
    return figures(done.stdout.splitlines()[-1], seconds, way.budget_s)


def main() -> int:
    parser = parser_of(__doc__, assets="models/ and videos/")
    parser.add_argument("--cameras", type=int, default=8)
    parser.add_argument("--seconds", type=float, default=15)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--budget", type=float, default=0.2, help="seconds, with the pair; twice that with YOLO")
    parser.add_argument("--only", default="", help="ways whose name has this")
    parser.add_argument("--environments", type=Path, default=Path(tempfile.gettempdir()) / "streampose-peers")
    arguments = parser.parse_args()
    if not has_gstreamer():
        raise SystemExit("needs GStreamer's RTSP server: apt-get install python3-gi gir1.2-gst-rtsp-server-1.0 …")
    rows: dict[str, list[dict[str, float]]] = defaultdict(list)
    environments = arguments.environments
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        compared = {
            name: (way, python_with(PEERS[way.peer], environments / way.peer) if way.peer else Path(sys.executable))
            for name, way in ways(arguments.assets, folder, arguments.seconds, arguments.budget).items()
            if arguments.only.lower() in name.lower()
        }
        clip(folder / "clip", arguments.assets / "videos" / "pose2sim_single_cam03.mp4")
        server = RtspServer("--clip", str(folder / "clip"), "--streams", str(arguments.cameras))
        urls = [server.url(f"live{i}") for i in range(arguments.cameras)]
        try:
            for i in range(arguments.rounds):
                for name, (way, python) in compared.items():
                    rows[name].append(measure(name, way, python, urls, arguments.seconds))
                    print(f"round {i + 1}: {name}: {rows[name][-1]}", file=sys.stderr, flush=True)
        finally:
            server.kill()
    report: dict[str, Any] = machine() | {"cameras": arguments.cameras, "seconds": arguments.seconds}
    report |= {way.peer: version_of(way.peer, python) for way, python in compared.values() if way.peer}
    for name, rounds in rows.items():
        report[name] = {key: round(statistics.median(r[key] for r in rounds), 3) for key in rounds[0]}
        print(f"{name:<36} " + ", ".join(f"{key} {value:g}" for key, value in report[name].items()))
    write_to(arguments.json, report)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
