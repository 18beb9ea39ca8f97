"""Real models on real photos: against code written the plain way, and batches against one by one."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import onnxruntime as ort
import pytest
from dots import build, paint
from hypothesis import given, settings
from hypothesis import strategies as st
from test_heatmap import textbook_dark

from streampose.errors import ConfigError, EngineFailed, ModelMismatch
from streampose.inference.boxes import Limits
from streampose.inference.engine import EngineOptions
from streampose.inference.loading import ModelChoice, load_estimator, load_estimators
from streampose.inference.stopwatch import STAGES
from streampose.inference.top_down import TopDown, WholeFrame
from streampose.pose import Poses

COMBINATIONS = {
    "rtmdet": {"detector": "rtmdet_nano_person", "pose": "pp_tinypose_128x96"},
    "yolox": {"detector": "yolox_nano_416", "pose": "pp_tinypose_128x96"},
    "picodet": {"detector": "picodet_s_320_pedestrian", "pose": "movenet_lightning_192_from_int8"},
    "movenet": {"model": "movenet_lightning_192_from_int8"},
}
ONE_STAGE = {"model": "yolov8n-pose_640_from_int8"}


def load(assets: Path, names: dict[str, str], **more):
    paths = {place: assets / "models" / f"{name}.onnx" for place, name in names.items()}
    return load_estimator(ModelChoice(**paths, **more))


@pytest.fixture(scope="module")
def photos(assets: Path) -> list[np.ndarray]:
    """People and parts of them, wide and tall, odd sizes; one person alone; and at last nothing at all."""
    folder = assets / "photos" / "coco_mini_val"
    people = json.loads((folder / "person_keypoints.json").read_text())["annotations"]
    people = sorted(people, key=lambda p: (p["num_keypoints"], p["area"]))[-1:-40:-10]
    images = [cv2.imread(str(folder / "images" / f"{p['image_id']:012}.jpg")) for p in people]
    x, y, w, h = map(int, people[0]["bbox"])
    one = images[0][max(y - 9, 0) : y + h + 9, max(x - 9, 0) : x + w + 9]
    parts = [images[1][:, 30:151], images[1][:77]]
    return [*images, *map(np.ascontiguousarray, parts), one.copy(), np.full((90, 160, 3), 128, np.uint8)]


@pytest.fixture(scope="module")
def estimators(assets: Path) -> dict:
    return {name: load(assets, names) for name, names in COMBINATIONS.items()}


@pytest.fixture(scope="module")
def alone(estimators, photos) -> dict[str, list[Poses]]:
    """Each photo by itself."""
    return {name: [estimator([photo])[0] for photo in photos] for name, estimator in estimators.items()}


def assert_same(a: Poses, b: Poses) -> None:
    assert len(a) == len(b)
    np.testing.assert_allclose(a.boxes, b.boxes, atol=0.05)
    np.testing.assert_allclose(a.box_scores, b.box_scores, atol=1e-3)
    np.testing.assert_allclose(a.scores, b.scores, atol=2e-3)
    # Where the score is next to nothing the arg-max is a coin's toss.
    sure = a.scores > 0.1
    np.testing.assert_allclose(a.points[sure], b.points[sure], atol=0.1)


@pytest.mark.assets
@pytest.mark.parametrize("name", COMBINATIONS)
@given(data=st.data())
@settings(max_examples=4, deadline=None)
def test_a_batch_of_mixed_sizes_is_what_each_is_alone(estimators, photos, alone, name: str, data):
    order = data.draw(st.lists(st.integers(0, len(photos) - 1), min_size=2, max_size=5))
    for index, poses in zip(order, estimators[name]([photos[i] for i in order]), strict=True):
        assert_same(alone[name][index], poses)


@pytest.mark.assets
def test_one_stage_batches(assets: Path, photos):
    estimator = load(assets, ONE_STAGE)
    together = estimator(photos[:3])
    assert sum(map(len, together)) > 0
    for photo, poses in zip(photos[:3], together, strict=True):
        assert_same(estimator([photo])[0], poses)


@pytest.mark.assets
@pytest.mark.parametrize("name", COMBINATIONS)
def test_people_are_within_bounds_and_an_empty_picture_has_none(alone, photos, name: str):
    if name != "picodet":  # to which plain grey is a person, at 0.58
        assert len(alone[name][-1]) == 0
    assert len(alone[name][-2]) >= 1
    for photo, poses in zip(photos, alone[name], strict=True):
        assert poses.points.dtype == poses.scores.dtype == poses.boxes.dtype == poses.box_scores.dtype == np.float32
        assert ((poses.scores >= 0) & (poses.scores <= 1)).all()
        if name != "movenet":  # its box is around its points
            assert (poses.boxes >= 0).all()
            assert (poses.boxes <= np.tile(photo.shape[1::-1], 2)).all()
            assert (np.diff(poses.box_scores) <= 0).all()


def plain_top_down(photo: np.ndarray, detector: ort.InferenceSession, pose: ort.InferenceSession):
    """RTMDet at 320 and TinyPose 128×96, one person and one joint at a time; suppression as in `Limits`."""
    h, w = photo.shape[:2]
    scale = min(320 / w, 320 / h)
    canvas = np.full((320, 320, 3), 114, np.uint8)
    small = cv2.resize(photo, (int(w * scale + 1e-9), int(h * scale + 1e-9)))
    canvas[: small.shape[0], : small.shape[1]] = small
    pixels = (canvas - np.array([103.53, 116.28, 123.675])) / np.array([57.375, 57.12, 58.395])
    dets, labels = detector.run(None, {"input": pixels.transpose(2, 0, 1)[None].astype(np.float32)})
    x_scale, y_scale = small.shape[1] / w, small.shape[0] / h
    people: list[np.ndarray] = []
    for x1, y1, x2, y2, score in sorted(dets[0][labels[0] == 0].tolist(), key=lambda d: -d[4]):
        if score < 0.4 or any(iou(np.array([x1, y1, x2, y2]), other[:4]) > 0.5 for other in people):
            continue
        people.append(np.array([x1, y1, x2, y2, score]))
    answers = []
    for x1, y1, x2, y2, score in people:
        x1, x2 = (min(max(x / x_scale, 0), w) for x in (x1, x2))  # noqa: PLW2901
        y1, y2 = (min(max(y / y_scale, 0), h) for y in (y1, y2))  # noqa: PLW2901
        width = max(x2 - x1, (y2 - y1) * 3 / 4) * 1.25
        zoom = 96 / width
        matrix = np.array([[zoom, 0, 48 - zoom * (x1 + x2) / 2], [0, zoom, 64 - zoom * (y1 + y2) / 2]])
        crop = cv2.warpAffine(photo, matrix, (96, 128))[..., ::-1] / 255
        pixels = (crop - (0.485, 0.456, 0.406)) / (0.229, 0.224, 0.225)
        (maps,) = pose.run(None, {"image": pixels.transpose(2, 0, 1)[None].astype(np.float32)})
        cells = [textbook_dark(m.astype(np.float64), 11, udp=False) for m in maps[0]]
        points = [((np.array(c) * 4) - matrix[:, 2]) / zoom for c in cells]
        answers.append(((x1, y1, x2, y2), score, points, [m.max() for m in maps[0]], 4 / zoom))
    return answers


def iou(a: np.ndarray, b: np.ndarray) -> float:
    inner = np.prod(np.maximum(np.minimum(a[2:], b[2:]) - np.maximum(a[:2], b[:2]), 0))
    return inner / (np.prod(a[2:] - a[:2]) + np.prod(b[2:] - b[:2]) - inner)


@pytest.mark.assets
def test_top_down_is_what_plain_code_gives(assets: Path, photos, alone):
    models = assets / "models"
    detector = ort.InferenceSession(models / "rtmdet_nano_person.onnx", providers=["CPUExecutionProvider"])
    pose = ort.InferenceSession(models / "pp_tinypose_128x96.onnx", providers=["CPUExecutionProvider"])
    for photo, ours in zip(photos, alone["rtmdet"], strict=True):
        plain = plain_top_down(photo, detector, pose)
        assert len(plain) == len(ours)
        for (box, score, points, peaks, cell), *got in zip(
            plain, ours.boxes, ours.box_scores, ours.points, ours.scores, strict=True
        ):
            np.testing.assert_allclose(got[0], box, atol=0.05)
            np.testing.assert_allclose(got[1], score, atol=1e-3)
            np.testing.assert_allclose(got[3], np.clip(peaks, 0, 1), atol=5e-3)
            # In cells of the map. A flat map may have its step refused by one and not by the other.
            apart = np.abs(got[2] - points)[got[3] > 0.3] / cell
            assert np.mean(apart < 0.1) > 0.9
            assert np.median(apart) < 0.01


def test_the_stages_add_up_to_the_call(tmp_path: Path):
    grid = np.stack(np.meshgrid(np.arange(40, 161, 40), np.arange(40, 201, 40)), axis=2).reshape(-1, 2)
    picture = paint(grid[:17], 256, 192)
    rtmdet, simcc, rtmo = (build(tmp_path / f"{kind}.onnx", kind) for kind in ("rtmdet", "simcc", "rtmo"))
    pair = load_estimator(ModelChoice(detector=rtmdet, pose=simcc))
    began = time.perf_counter()
    assert len(pair([picture])[0]) == 1
    took, stages = time.perf_counter() - began, pair.stage_seconds()
    assert tuple(stages) == STAGES
    assert all(seconds > 0 for seconds in stages.values())
    assert sum(stages.values()) <= took
    alone = load_estimator(ModelChoice(model=rtmo))
    alone([picture])
    assert {stage for stage, seconds in alone.stage_seconds().items() if seconds} == {"preprocess", "detect", "decode"}


@pytest.mark.assets
def test_what_runs_is_said(assets: Path):
    pair = load(assets, COMBINATIONS["rtmdet"], detector_size_px=(640, 640))
    assert isinstance(pair, TopDown)
    assert "rtmdet_nano_person.onnx (rtmdet, 640×640, " in pair.describe()
    assert "pp_tinypose_128x96.onnx (heatmap, 96×128, " in pair.describe()
    single = load(assets, COMBINATIONS["movenet"])
    assert isinstance(single, WholeFrame)
    assert "one person in the whole frame" in single.describe()
    pair.warm_up([1, 2])
    single.warm_up([1])
    for estimator in (pair, single):
        estimator.close()
        estimator.close()


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("models")
    return {kind: build(folder / f"{kind}.onnx", kind, size=(64, 64)) for kind in ("rtmdet", "simcc", "rtmo")}


class TestLoading:
    """What is asked for, and what cannot be."""

    @pytest.mark.parametrize(
        ("choice", "message"),
        [
            ({"model": "rtmo", "pose": "simcc"}, "not both"),
            ({"model": "rtmo", "detector": "rtmdet"}, "not both"),
            ({"model": "streampose-nano", "pose": "simcc"}, "not both"),
        ],
    )
    def test_contradictory(self, models, choice: dict, message: str):
        with pytest.raises(ConfigError, match=message):
            load_estimator(ModelChoice(**{place: models.get(kind, kind) for place, kind in choice.items()}))

    @pytest.mark.parametrize(
        ("choice", "names"),
        [
            ({}, ("nano-detector", "nano-keypoints")),
            ({"model": "streampose-nano"}, ("nano-detector", "nano-keypoints")),
            ({"detector": "rtmdet"}, ("rtmdet", "nano-keypoints")),
            ({"pose": "simcc"}, ("nano-detector", "simcc")),
            ({"detector": "streampose-nano", "pose": "simcc"}, ("nano-detector", "simcc")),
        ],
    )
    def test_nano_stands_in_for_what_is_not_named(self, models, choice: dict, names: tuple[str, str]):
        chosen = {place: models.get(kind, kind) for place, kind in choice.items()}
        estimator = load_estimator(ModelChoice(**chosen))
        detector, pose = estimator.describe().split(" + ")
        assert detector.startswith(f"{names[0]}.onnx")
        assert pose.startswith(f"{names[1]}.onnx")
        estimator.close()

    @pytest.mark.parametrize(
        ("choice", "message"),
        [
            ({"model": "rtmdet"}, r"rtmdet\.onnx is a detector .* Give it as --detector"),
            ({"detector": "simcc", "pose": "simcc"}, r"simcc\.onnx is a key-point model .* Give it as --pose"),
            ({"detector": "rtmdet", "pose": "rtmdet"}, r"rtmdet\.onnx is a detector .* as --detector"),
            ({"detector": "rtmdet", "pose": "rtmo"}, r"rtmo\.onnx is a one-stage pose model .* as --model"),
        ],
    )
    def test_the_wrong_place(self, models, choice: dict, message: str):
        with pytest.raises(ModelMismatch, match=message):
            load_estimator(ModelChoice(**{place: models[kind] for place, kind in choice.items()}))

    def test_a_one_stage_model_may_be_the_detector(self, models):
        assert isinstance(load_estimator(ModelChoice(detector=models["rtmo"], pose=models["simcc"])), TopDown)

    @pytest.mark.parametrize("name", ["min_score", "max_overlap", "max_people"])
    @pytest.mark.parametrize("value", [-1, float("nan"), "x", None])
    def test_limits_below_nothing(self, name: str, value: float):
        with pytest.raises(ConfigError, match=f"{name} is at least 0, not {value}"):
            Limits(**{name: value})

    @pytest.mark.parametrize("name", ["min_score", "max_overlap"])
    def test_limits_above_all(self, name: str):
        with pytest.raises(ConfigError, match=f"{name} is at most 1, not 40"):
            Limits(**{name: 40})

    @pytest.mark.parametrize(
        ("make", "message"),
        [
            (lambda: load_estimator("rtmo-s"), r"ModelChoice\(model='rtmo-s'\)"),
            (lambda: load_estimators("rtmo-s", throughput=True), r"ModelChoice\(model='rtmo-s'\)"),
            (lambda: ModelChoice(skeleton="coco-17"), "streampose.COCO_17 .* not 'coco-17'"),
            (lambda: ModelChoice(detector_size_px=320), r"\(width, height\), .* not 320"),
            (lambda: ModelChoice(detector_size_px=(320, 0)), r"not \(320, 0\)"),
            (lambda: ModelChoice(detector_size_px=("320", "320")), r"not \('320', '320'\)"),
            (lambda: ModelChoice(detector_size_px=(True, 320)), r"not \(True, 320\)"),
            *(
                (lambda place=place: ModelChoice(**{place: ""}), f"a {place} is a .*name, not ''")
                for place in ("model", "detector", "pose", "family", "detector_family")
            ),
            (lambda: Limits(max_people=1.5), "max_people is a whole number, not 1.5"),
            (lambda: EngineOptions(device=0), "cuda:0, not 0"),
        ],
    )
    def test_what_is_near_is_told_how_it_is_meant(self, make: Callable[[], object], message: str):
        with pytest.raises(ConfigError, match=message):
            make()

    def test_the_score_limit_holds_for_the_whole_frame_too(self, tmp_path: Path):
        model = build(tmp_path / "m.onnx", "simcc")
        grid = np.stack(np.meshgrid(np.arange(40, 161, 40), np.arange(40, 201, 40)), axis=2).reshape(-1, 2)
        picture = paint(grid[:17], 256, 192)
        for min_score, people in ((0.3, 1), (1.0, 0)):
            one = load_estimator(ModelChoice(model=model, limits=Limits(min_score=min_score)))
            assert len(one([picture])[0]) == people


@pytest.mark.assets
@pytest.mark.parametrize("in_graph", [False, True])
def test_numpy_counts_as_python_does(photos, in_graph: bool):
    def found(number: Callable[[int], int]) -> Poses:
        size, limits = (number(320), number(256)), Limits(max_people=number(1))
        choice = ModelChoice(detector_size_px=size, limits=limits)
        with load_estimator(choice, EngineOptions(device="cpu", in_graph=in_graph)) as estimator:
            return estimator(photos[:1])[0]

    poses = found(np.int64)
    assert len(poses) == 1
    assert_same(poses, found(int))


def test_without_a_choice_it_is_nano_and_a_block_closes_it():
    with load_estimator() as estimator:
        assert "nano-detector.onnx" in estimator.describe()
        assert len(estimator([np.zeros((48, 64, 3), np.uint8)])) == 1
    with pytest.raises(EngineFailed, match="closed"):
        estimator([np.zeros((48, 64, 3), np.uint8)])
    many = load_estimators(options=EngineOptions(sessions=2, threads=1), throughput=True)
    assert ["nano-detector.onnx" in one.describe() for one in many] == [True, True]


@pytest.mark.parametrize("kind", ["rtmo", "simcc"])
def test_one_picture_alone_is_told_to_be_no_list(models, kind: str):
    with load_estimator(ModelChoice(model=models[kind])) as estimator:
        with pytest.raises(ConfigError, match=r"list of pictures.* \[picture\]"):
            estimator(np.zeros((48, 64, 3), np.uint8))
        assert len(estimator(np.zeros((2, 48, 64, 3), np.uint8))) == 2


@pytest.mark.parametrize("in_graph", [False, True])
def test_what_is_no_picture_is_told_with_its_shape_and_dtype(models, in_graph: bool):
    good = np.zeros((48, 64, 3), np.uint8)
    options = EngineOptions(device="cpu", threads=1, in_graph=in_graph)
    for choice in (
        ModelChoice(detector=models["rtmdet"], pose=models["simcc"]),
        ModelChoice(model=models["rtmo"]),
        ModelChoice(model=models["simcc"]),
    ):
        estimator = load_estimator(choice, options)
        for bad, words in [
            (good[..., 0], r"\(48, 64\) of uint8"),
            (good[..., :1], r"\(48, 64, 1\) of uint8"),
            (np.zeros((48, 64, 4), np.uint8), r"\(48, 64, 4\) of uint8"),
            (good.astype(np.float32), r"\(48, 64, 3\) of float32"),
            (good[:0], r"\(0, 64, 3\) of uint8"),
            (None, "NoneType"),
        ]:
            with pytest.raises(ConfigError, match=rf"\(height, width, 3\) of uint8, BGR, not {words}"):
                estimator([good, bad])
        assert len(estimator([good, good[::2, ::2], good[:, ::-1]])) == 3
        estimator.close()


@pytest.mark.parametrize(
    ("options", "single_threaded"),
    [({"threads": 1}, True), ({"threads": 2}, False), ({"threads": 1, "in_graph": True}, False)],
)
def test_what_computes_on_one_thread_says_so(options: dict[str, Any], single_threaded: bool):
    """Fused ones do not: their pictures are joined by threads of ONNX Runtime."""
    estimator = load_estimator(ModelChoice(), EngineOptions(device="cpu", **options))
    assert estimator.single_threaded is single_threaded
