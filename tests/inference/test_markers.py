"""The calibration model finds the synthetic source's markers, and its file is what its script builds."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from types import ModuleType

import cv2
import numpy as np
import onnx
import onnxruntime as ort
import pytest

import streampose.inference
from streampose.sources.synthetic import SyntheticSource

MODEL = Path(streampose.inference.__file__).parent / "data" / "markers.onnx"
SCRIPT = Path(__file__).parents[2] / "training" / "markers.py"


@pytest.fixture(scope="module")
def script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("training_markers", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def session() -> ort.InferenceSession:
    return ort.InferenceSession(MODEL, providers=["CPUExecutionProvider"])


def heatmaps(session: ort.InferenceSession, images: list[np.ndarray]) -> np.ndarray:
    """Each picture in the middle of 448×256, as a whole-frame crop has it."""
    blobs = []
    for image in images:
        scale, offset = placement(image)
        crop = cv2.warpAffine(image, np.array([[scale, 0, offset[0]], [0, scale, offset[1]]]), (448, 256))[..., ::-1]
        blobs.append(((crop / 255 - (0.485, 0.456, 0.406)) / (0.229, 0.224, 0.225)).transpose(2, 0, 1))
    (maps,) = session.run(None, {"image": np.array(blobs, np.float32)})
    return np.asarray(maps)


def placement(image: np.ndarray) -> tuple[float, np.ndarray]:
    height, width = image.shape[:2]
    scale = min(448 / width, 256 / height)
    return scale, (np.array([448, 256]) - scale * np.array([width, height])) / 2


def test_the_file_is_what_the_script_builds(script: ModuleType) -> None:
    assert onnx.load(MODEL) == script.build()
    assert MODEL.stat().st_size < 100_000


def test_its_card(session: ort.InferenceSession) -> None:
    card = json.loads(session.get_modelmeta().custom_metadata_map["streampose.card"])
    assert (card["family"], card["skeleton"], card["whole_frame"]) == ("heatmap", "coco-17", True)
    assert session.get_inputs()[0].shape[1:] == [3, 256, 448]
    assert session.get_outputs()[0].shape[1:] == [17, 64, 112]


@pytest.mark.parametrize(("width", "height"), [(1280, 720), (640, 480), (720, 1280), (320, 180)])
def test_it_finds_the_markers(session: ort.InferenceSession, width: int, height: int) -> None:
    near, scores, error = [], [], []
    for seed in (0, 1, 2):
        source = SyntheticSource(seed=seed, width_px=width, height_px=height, live=False, markers=True)
        images = [source.render(i) for i in range(0, 400, 50)]
        scale, offset = placement(images[0])
        for k, maps in enumerate(heatmaps(session, images)):
            truth = source.truth(50 * k)
            y, x = np.divmod(maps.reshape(17, -1).argmax(axis=1), 112)
            points = (np.stack([x, y], axis=1) * 4 - offset) / scale
            away = np.linalg.norm(points - truth.points[0], axis=1) / (truth.boxes[0, 3] - truth.boxes[0, 1])
            seen = truth.scores[0] == 1
            near += (away[seen] < 0.1).tolist()
            error += ((points - truth.points[0])[seen] * scale).tolist()
            scores += maps.max(axis=(1, 2))[seen].tolist()
    assert np.mean(near) >= 0.95
    assert np.mean(np.array(scores) > 0.3) >= 0.9
    assert np.abs(np.median(error, axis=0)).max() < 1  # cell i is pixel 4i of the input: no offset


def test_it_finds_nothing_where_there_are_no_markers(session: ort.InferenceSession) -> None:
    source = SyntheticSource(people=3, live=False, seed=4)
    rng = np.random.default_rng(0)
    black, noise = np.zeros((90, 160, 3), np.uint8), rng.integers(0, 256, (360, 640, 3), np.uint8)
    maps = heatmaps(session, [source.render(0), source.render(200), black])
    assert maps.min() >= 0
    assert maps.max() < 0.1
    assert heatmaps(session, [noise]).max() <= 1


def test_a_batch_gives_what_each_gives_alone(session: ort.InferenceSession) -> None:
    source = SyntheticSource(live=False, markers=True)
    images = [source.render(i) for i in (0, 100, 200)]
    together = heatmaps(session, images)
    for image, maps in zip(images, together, strict=True):
        np.testing.assert_allclose(heatmaps(session, [image])[0], maps, atol=1e-5)
