"""From pixel to pixel, for every family, on models that find coloured dots."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from dots import build, paint

from streampose.errors import ModelOutputError
from streampose.inference.boxes import Limits
from streampose.inference.card import Card, Fit, Kind
from streampose.inference.engine import Engine
from streampose.inference.family import read_card
from streampose.inference.frame_model import FrameModel, OneStage
from streampose.inference.loading import ModelChoice, load_estimator
from streampose.inference.preprocess import Placement, frame_batch
from streampose.inference.top_down import KeypointModel

SIZES = [(480, 640), (641, 359), (300, 300)]


def dots(k: int, height: int, width: int, seed: int = 0) -> np.ndarray:
    """k points on a jittered grid within the middle of the picture, whole pixels."""
    rng = np.random.default_rng(seed)
    columns = int(np.ceil(np.sqrt(k * width / height)))
    rows = int(np.ceil(k / columns))
    x, y = np.meshgrid(np.linspace(0.2, 0.8, columns) * width, np.linspace(0.2, 0.8, rows) * height)
    grid = np.stack([x.ravel(), y.ravel()], axis=1)[:k]
    return np.round(grid + rng.uniform(-2, 2, grid.shape))


def around(points: np.ndarray) -> np.ndarray:
    return np.concatenate([points.min(axis=0), points.max(axis=0)])[None].astype(np.float32)


@pytest.mark.parametrize(
    ("kind", "k", "size", "family"),
    [
        ("simcc", 17, (192, 256), None),
        ("simcc", 26, (192, 256), None),
        ("simcc", 133, (288, 384), None),
        ("heatmap", 17, (192, 256), None),
        ("heatmap-udp", 17, (192, 256), "vitpose"),
        ("heatmap-udp", 133, (192, 256), "vitpose"),
    ],
)
def test_key_points_of_a_crop(tmp_path: Path, kind: str, k: int, size: tuple[int, int], family: str | None):
    engine = Engine(build(tmp_path / "m.onnx", kind, k=k, size=size))
    model = KeypointModel(engine, read_card(engine.signature, "m.onnx", family=family))
    assert len(model.skeleton) == k
    # People about as large as the input, at the border, and partly outside of it.
    height, width = 220, 180
    truth = dots(k, height, width)
    image = paint(truth, height, width, radius=3 if k > 100 else 5)
    for shift in (np.array([0, 0]), np.array([-30, -20])):
        moved = np.roll(image, shift[::-1], axis=(0, 1))
        inside = ((truth + shift) > 8).all(axis=1)
        boxes = around(truth + shift)
        points, scores = model([moved, moved], np.concatenate([boxes, boxes]))
        assert points.shape == (2, k, 2)
        error = np.abs(points[0] - (truth + shift))[inside].max()
        assert error < 0.5, f"{kind}: {error:.2f} px"
        assert (scores[0][inside] > 0.2).all()
        np.testing.assert_array_equal(points[0], points[1])


@pytest.mark.parametrize(
    ("kind", "k", "size"),
    [
        ("rtmo", 17, (640, 640)),
        ("yolo-pose", 17, (640, 640)),
        ("yolo-pose", 26, (640, 640)),
        ("yolo-pose-end2end", 17, (640, 640)),
    ],
)
@pytest.mark.parametrize("shape", SIZES)
def test_one_stage(tmp_path: Path, kind: str, k: int, size: tuple[int, int], shape: tuple[int, int]):
    estimator = load_estimator(ModelChoice(model=build(tmp_path / "m.onnx", kind, k=k, size=size)))
    assert isinstance(estimator, OneStage)
    truth = dots(k, *shape)
    (poses,) = estimator([paint(truth, *shape)])
    assert len(poses) == 1
    # cv2.resize keeps corners together, labels are scaled from the origin: half a pixel times 1 − 1/scale between.
    scale = min(size[0] / shape[1], size[1] / shape[0])
    resized = (truth + 0.5) - 0.5 / scale
    assert np.abs(poses.points[0] - resized).max() < 0.5
    assert np.abs(poses.boxes[0] - around(resized)[0]).max() < 0.5


@pytest.mark.parametrize(("kind", "size"), [("rtmdet", (320, 320)), ("yolo-end2end", (640, 640)), ("yolo", (640, 640))])
@pytest.mark.parametrize("shape", SIZES)
def test_detectors(tmp_path: Path, kind: str, size: tuple[int, int], shape: tuple[int, int]):
    engine = Engine(build(tmp_path / "m.onnx", kind, k=3, size=size))
    model = FrameModel(engine, read_card(engine.signature, "m.onnx"))
    truth = dots(3, *shape)
    (found,) = model([paint(truth, *shape, radius=9)])
    scale = min(size[0] / shape[1], size[1] / shape[0])
    assert np.abs(found.boxes[0] - around((truth + 0.5) - 0.5 / scale)[0]).max() < 0.6


def test_top_down_pools_the_crops_of_all_pictures(tmp_path: Path):
    detector = build(tmp_path / "d.onnx", "rtmdet", k=17, size=(320, 320))
    pose = build(tmp_path / "p.onnx", "simcc", k=17)
    estimator = load_estimator(ModelChoice(detector=detector, pose=pose))
    shapes = [(240, 200), (300, 250), (240, 320)]
    truths = [dots(17, *shape, seed=i) for i, shape in enumerate(shapes)]
    images = [paint(truth, *shape) for truth, shape in zip(truths, shapes, strict=True)]
    empty = np.zeros((100, 100, 3), np.uint8)
    together = estimator([images[0], empty, images[1], images[2]])
    assert [len(p) for p in together] == [1, 0, 1, 1]
    for poses, truth, image in zip([together[0], together[2], together[3]], truths, images, strict=True):
        assert np.abs(poses.points[0] - truth).max() < 0.8
        (alone,) = estimator([image])
        np.testing.assert_allclose(alone.points, poses.points, atol=1e-3)
        np.testing.assert_allclose(alone.scores, poses.scores, atol=1e-5)


def test_a_static_batch_does_not_show(tmp_path: Path):
    one = load_estimator(ModelChoice(model=build(tmp_path / "1.onnx", "rtmo", size=(320, 320), batch=1)))
    four = load_estimator(ModelChoice(model=build(tmp_path / "4.onnx", "rtmo", size=(320, 320), batch=4)))
    free = load_estimator(ModelChoice(model=build(tmp_path / "b.onnx", "rtmo", size=(320, 320))))
    images = [paint(dots(17, 300, 300, seed=i), 300, 300) for i in range(6)]
    for a, b, c in zip(one(images), four(images), free(images), strict=True):
        np.testing.assert_allclose(a.points, c.points, atol=1e-3)
        np.testing.assert_allclose(b.points, c.points, atol=1e-3)


def test_the_whole_frame_is_one_person_or_nobody(tmp_path: Path):
    estimator = load_estimator(ModelChoice(model=build(tmp_path / "m.onnx", "simcc")))
    truth = dots(17, 240, 200)
    (somebody, nobody) = estimator([paint(truth, 240, 200), np.zeros((240, 200, 3), np.uint8)])
    assert (len(somebody), len(nobody)) == (1, 0)
    assert np.abs(somebody.points[0] - truth).max() < 0.6


def test_nan_is_an_error(tmp_path: Path):
    engine = Engine(build(tmp_path / "m.onnx", "nan"))
    model = KeypointModel(engine, read_card(engine.signature, "m.onnx"))
    with pytest.raises(ModelOutputError, match=r"m\.onnx returned NaN or infinity in 'heatmaps'"):
        model([np.zeros((50, 50, 3), np.uint8)], np.array([[0, 0, 50, 50]], np.float32))


def test_max_people(tmp_path: Path):
    path = build(tmp_path / "m.onnx", "rtmo", size=(320, 320))
    image = paint(dots(17, 300, 300), 300, 300)
    for most, people in ((100, 1), (0, 0)):
        (poses,) = load_estimator(ModelChoice(model=path, limits=Limits(max_people=most)))([image])
        assert len(poses) == people


def card(fit: Fit) -> Card:
    return Card(family="rtmdet", kind=Kind.DETECTOR, size_px=(320, 320), fit=fit)


def test_boxes_end_where_the_picture_does():
    placement = Placement.of(np.zeros((240, 320, 3), np.uint8), card(Fit.TOP_LEFT))
    assert placement.boxes_to_picture(np.array([[-10, -20, 400, 300]], np.float32)).tolist() == [[0, 0, 320, 240]]


@pytest.mark.parametrize("shape", [(160, 320, 3), (320, 160, 3)])
@pytest.mark.parametrize("fit", [Fit.TOP_LEFT, Fit.CENTER])
def test_all_around_a_picture_is_filled(shape: tuple[int, ...], fit: Fit, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(np, "empty", lambda shape, dtype: np.full(shape, 77, dtype))  # what was in memory before
    image = np.full(shape, 9, np.uint8)
    batch = frame_batch([image], [Placement.of(image, card(fit))], 114)
    assert (batch == 9).sum() == image.size
    assert (batch == 114).sum() == batch.size - image.size
