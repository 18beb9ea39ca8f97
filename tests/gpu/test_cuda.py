"""What only a GPU can show, with real models: `pytest -m gpu` on a machine that has one."""

from __future__ import annotations

import ctypes
import json
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
import pytest

from streampose import EngineOptions, ModelChoice, load_estimator
from streampose.frame import Image
from streampose.inference.engine import Engine, provider_report
from streampose.inference.providers import cuda_runtime
from streampose.pose import Poses

pytestmark = [pytest.mark.gpu, pytest.mark.assets]

DEVICE = "cuda"
SURE = 0.3


@pytest.fixture(scope="module", autouse=True)
def gpu() -> None:
    if (why := provider_report()[DEVICE]) is not None:
        pytest.skip(f"no CUDA device here: {why}")


@pytest.fixture(scope="module")
def yolo(assets: Path) -> Path:
    return assets / "models" / "yolov8n-pose_640_from_int8.onnx"


@pytest.fixture(scope="module")
def photos(assets: Path) -> list[Image]:
    """Those with the most people, of many sizes, as cameras are."""
    folder = assets / "photos" / "coco_mini_val"
    annotated = json.loads((folder / "person_keypoints.json").read_text())
    people = Counter(person["image_id"] for person in annotated["annotations"] if person["num_keypoints"] > 5)
    names = {image["id"]: image["file_name"] for image in annotated["images"]}
    found = [cv2.imread(str(folder / "images" / names[image_id])) for image_id, _ in people.most_common(24)]
    return [image for image in found if image is not None]


@pytest.fixture(scope="module")
def expected(yolo: Path, photos: list[Image]) -> list[Poses]:
    """On the CPU, prepared by OpenCV."""
    estimator = load_estimator(ModelChoice(model=yolo), EngineOptions(device="cpu"))
    poses = [estimator([photo])[0] for photo in photos]
    estimator.close()
    assert sum(map(len, poses)) > len(photos)
    return poses


def apart(some: list[Poses], others: list[Poses]) -> tuple[np.ndarray, int]:
    """How far apart the points are that both are sure of, in pixels; and in how many pictures people are missed."""
    distances, different = [np.zeros(0)], 0
    for a, b in zip(some, others, strict=True):
        if len(a) != len(b):
            different += 1
        elif len(a):
            nearest = np.abs(a.boxes[:, None] - b.boxes[None]).max(axis=2).argmin(axis=1)
            sure = (a.scores > SURE) & (b.scores[nearest] > SURE)
            distances.append(np.abs(a.points - b.points[nearest]).max(axis=2)[sure])
    return np.concatenate(distances), different


@pytest.mark.parametrize(
    ("options", "most_px"),
    [
        ({"tf32": False}, 0.5),
        ({"tf32": False, "in_graph": False}, 0.5),
        ({"tf32": False, "cuda_graphs": True}, 0.5),
        ({}, 2.0),
        ({"half": True}, 12.0),
    ],
    ids=str,
)
def test_each_way_sees_what_the_cpu_sees(
    yolo: Path, photos: list[Image], expected: list[Poses], options: dict[str, bool], most_px: float
):
    estimator = load_estimator(ModelChoice(model=yolo), EngineOptions(device=DEVICE, **options))
    try:
        assert estimator.on_gpu
        # Batches of several sizes, each of which is another kernel, buffer and recording.
        found = [poses for i, n in ((0, 1), (1, 2), (3, 5), (8, 16)) for poses in estimator(photos[i : i + n])]
        again = estimator(photos[:5])
    finally:
        estimator.close()
    distances, different = apart(expected[: len(found)], found)
    print(f"{options}: {np.quantile(distances, [0.5, 0.99, 1]).round(3)} px, {different} pictures with other people")
    assert len(distances) > 100
    assert different <= (0 if most_px < 1 else 2)
    assert distances.max() <= most_px
    assert np.median(distances) <= 0.25
    # A buffer that is written over, or a recording that is replayed, keeps nothing of what was there before.
    assert apart(again, found[:5])[1] == 0
    assert apart(again, found[:5])[0].max() <= min(0.5, most_px)


def test_a_pair_sees_what_the_cpu_sees(assets: Path, photos: list[Image]):
    models = assets / "models"
    pair = ModelChoice(
        detector=models / "rtmdet_nano_person.onnx",
        pose=models / "pp_tinypose_256x192.onnx",
        detector_size_px=(320, 320),
    )
    results = []
    for options in (EngineOptions(device="cpu"), EngineOptions(device=DEVICE, tf32=False, max_batch=8)):
        estimator = load_estimator(pair, options)
        results.append([poses for i in (0, 8) for poses in estimator(photos[i : i + 8])])
        estimator.close()
    distances, different = apart(*results)
    print(f"pair: {np.quantile(distances, [0.5, 0.99, 1]).round(3)} px, {different} pictures with other people")
    assert len(distances) > 50
    assert different == 0
    assert distances.max() <= 0.5


def test_what_is_sent_ahead_is_what_is_run(yolo: Path, photos: list[Image]):
    estimator = load_estimator(ModelChoice(model=yolo), EngineOptions(device=DEVICE))
    try:
        assert estimator.ahead is not None
        batches = [photos[:4], photos[4:8], photos[8:9], photos[9:13]]
        plain = [estimator(batch) for batch in batches]
        sent = estimator.ahead(batches[0])
        for i, batch in enumerate(batches):
            following = estimator.ahead(batches[i + 1]) if i + 1 < len(batches) else None
            found = estimator(batch, sent)
            distances, different = apart(plain[i], found)
            assert (different, distances.max(initial=0)) == (0, 0)
            sent = following
    finally:
        estimator.close()


def test_cuda_graphs_are_recorded_and_replayed(yolo: Path):
    rng = np.random.default_rng(0)
    blobs = [rng.random((n, 3, 640, 640), np.float32) for n in (1, 4, 4, 1, 3)]
    answers = []
    for cuda_graphs in (False, True):
        engine = Engine(yolo, EngineOptions(device=DEVICE, tf32=False, cuda_graphs=cuda_graphs, in_graph=False))
        answers.append([engine.run(blob)[0].copy() for blob in blobs])
        assert engine._sessions.runner(4)._graphs == int(cuda_graphs)
        engine.close()
    for plain, replayed in zip(*answers, strict=True):
        np.testing.assert_allclose(plain, replayed, rtol=1e-3, atol=0.05)


def test_a_size_left_open_is_settled_for_recording(photos: list[Image]):
    found = []
    for cuda_graphs in (False, True):
        options = EngineOptions(device=DEVICE, tf32=False, cuda_graphs=cuda_graphs, in_graph=False)
        estimator = load_estimator(ModelChoice(), options)
        found.append(estimator(photos[:5]))
        taken, *given = (*estimator._detector.engine.signature.inputs, *estimator._detector.engine.signature.outputs)
        assert (None in taken.shape[1:], None in given[0].shape[1:]) == (not cuda_graphs, not cuda_graphs)
        estimator.close()
    distances, different = apart(*found)
    assert len(distances) > 20
    assert different == 0
    assert distances.max() <= 0.5


class Neighbour:
    """Somebody else's memory on the same GPU."""

    def __init__(self) -> None:
        self._cuda, self._held = cuda_runtime(), list[ctypes.c_void_p]()

    def free_bytes(self) -> int:
        free, total = ctypes.c_size_t(), ctypes.c_size_t()
        assert self._cuda.cudaMemGetInfo(ctypes.byref(free), ctypes.byref(total)) == 0
        return free.value

    def leaves(self, size: int) -> None:
        pointer = ctypes.c_void_p()
        assert self._cuda.cudaMalloc(ctypes.byref(pointer), ctypes.c_size_t(self.free_bytes() - size)) == 0
        self._held.append(pointer)

    def goes(self) -> None:
        while self._held:
            assert self._cuda.cudaFree(self._held.pop()) == 0


@pytest.fixture
def neighbour() -> Iterator[Neighbour]:
    one = Neighbour()
    yield one
    one.goes()


def test_a_memory_limit_makes_batches_smaller_and_nothing_else(yolo: Path):
    blob = np.random.default_rng(1).random((32, 3, 640, 640), np.float32)
    roomy = Engine(yolo, EngineOptions(device=DEVICE, tf32=False))
    (expected,) = roomy.run(blob)
    assert (roomy.batch_limit, roomy.memory_refusals) == (32, 0)
    roomy.close()
    tight = Engine(yolo, EngineOptions(device=DEVICE, tf32=False, memory_limit_bytes=400 << 20))
    (found,) = tight.run(blob)
    print(f"400 MiB: batches of {tight.batch_limit} after {tight.memory_refusals} refusals")
    assert 1 <= tight.batch_limit < 32
    assert tight.memory_refusals >= 1
    np.testing.assert_allclose(expected, found, rtol=1e-3, atol=0.05)
    tight.close()


def test_a_neighbour_takes_the_memory_and_gives_it_back(yolo: Path, neighbour: Neighbour):
    blob = np.random.default_rng(2).random((32, 3, 640, 640), np.float32)
    engine = Engine(yolo, EngineOptions(device=DEVICE, tf32=False))
    engine.run(blob[:1])
    neighbour.leaves(700 << 20)
    (crowded,) = engine.run(blob)
    print(f"700 MiB free: batches of {engine.batch_limit} after {engine.memory_refusals} refusals")
    assert 1 <= engine.batch_limit < 32
    refused = engine.memory_refusals
    neighbour.goes()
    for _ in range(3 * 256):
        if engine.batch_limit == 32:
            break
        engine.run(blob[: engine.batch_limit])
    (alone,) = engine.run(blob)
    assert (engine.batch_limit, engine.memory_refusals) == (32, refused)
    np.testing.assert_allclose(crowded, alone, rtol=1e-3, atol=0.05)
    engine.close()


def test_closing_gives_the_memory_back(yolo: Path, neighbour: Neighbour):
    blob, free = np.zeros((16, 3, 640, 640), np.float32), []
    for _ in range(4):
        engine = Engine(yolo, EngineOptions(device=DEVICE))
        engine.run(blob)
        during = neighbour.free_bytes()
        engine.close()
        del engine
        free.append(neighbour.free_bytes())
        assert free[-1] > during
    # The first leaves the libraries' own behind.
    assert free[1] - free[-1] < 64 << 20


def ran(*arguments: str) -> subprocess.CompletedProcess[str]:
    done = subprocess.run([sys.executable, *arguments], check=False, capture_output=True, text=True, timeout=120)
    print(done.stdout, done.stderr[-3000:])
    return done


LOSES_IT = """
import ctypes, logging, sys
from pathlib import Path
import numpy as np
from streampose.errors import DeviceLost
from streampose.inference.engine import Engine, EngineOptions

logging.basicConfig(level=logging.WARNING)
engine = Engine(Path(sys.argv[1]), EngineOptions(device="cuda", tf32=False, fallback_to_cpu=sys.argv[2] == "cpu"))
blob = np.random.default_rng(0).random((2, 3, 640, 640), np.float32)
(before,) = [array.copy() for array in engine.run(blob)]

# A kernel of our own writes where nothing is, in the context that the runtime's kernels use.
cuda, kernel, module = ctypes.CDLL("libcuda.so.1"), ctypes.c_void_p(), ctypes.c_void_p()
code = b'''
.version 7.0
.target sm_75
.address_size 64
.visible .entry lose()
{
    .reg .b64 %rd<2>;
    .reg .b32 %r<2>;
    mov.u64 %rd1, 16;
    mov.u32 %r1, 1;
    st.global.u32 [%rd1], %r1;
    ret;
}
'''
assert cuda.cuModuleLoadData(ctypes.byref(module), code) == 0
assert cuda.cuModuleGetFunction(ctypes.byref(kernel), module, b"lose") == 0
assert cuda.cuLaunchKernel(kernel, 1, 1, 1, 1, 1, 1, 0, None, None, None) == 0
assert cuda.cuCtxSynchronize() != 0
try:
    (after,) = engine.run(blob)
except DeviceLost as error:
    print("LOST", str(error))
else:
    np.testing.assert_allclose(before, after, rtol=1e-3, atol=0.05)
    print("WENT ON", engine.provider, engine.note)
"""


def test_a_lost_device_is_told(yolo: Path):
    done = ran("-c", LOSES_IT, str(yolo), "gpu")
    assert done.stdout.startswith("LOST yolov8n-pose_640_from_int8.onnx failed on CUDAExecutionProvider at batch 2: ")


def test_the_cpu_goes_on_where_the_device_was_lost(yolo: Path):
    done = ran("-c", LOSES_IT, str(yolo), "cpu")
    assert done.stdout.startswith("WENT ON CPUExecutionProvider ; the GPU failed, the CPU goes on: ")
    assert "The CPU goes on, slower" in done.stderr


def test_bench_tells_of_the_gpu(yolo: Path, tmp_path: Path):
    report = tmp_path / "bench.json"
    source = "synthetic:?size=640x360&people=2"
    command = ["bench", source, "--model", str(yolo), "--device", DEVICE, "--seconds", "3", "--json", str(report)]
    done = ran("-m", "streampose", *command)
    assert done.returncode == 0
    told = json.loads(report.read_text())
    assert 0 < told["figures"]["gpu"]["utilisation"] <= 1
    assert told["figures"]["gpu"]["memory_peak_mb"] > 100
    assert sum(told["figures"]["delivered"].values()) > 0
