"""Work in the graph against the same work in NumPy and OpenCV."""

from __future__ import annotations

import itertools
import json
import logging
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import onnx
import pytest
from dots import Graph, build, paint
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper

from streampose.errors import ConfigError, EngineFailed, ModelOutputError, ModelUnreadable
from streampose.inference import fitting
from streampose.inference.boxes import Limits
from streampose.inference.card import Card, Fit, Kind, Refine
from streampose.inference.engine import Engine, EngineOptions
from streampose.inference.family import read_card
from streampose.inference.frame_model import FrameModel
from streampose.inference.graphs import fuse_crops, fuse_pictures
from streampose.inference.graphs.builder import Builder
from streampose.inference.graphs.sampler import Given, crops, letterboxed
from streampose.inference.loading import ModelChoice, PoseEstimator, load_estimator
from streampose.inference.pixels import Pixels, Staging
from streampose.inference.preprocess import Placement, crop_batch, crop_frames, frame_batch, to_blob
from streampose.inference.runner import BoundRunner, Uploads
from streampose.inference.signature import METADATA_KEY
from streampose.inference.top_down import KeypointModel
from streampose.pose import Poses

SHAPES = [(480, 640), (641, 359), (300, 300)]


def both(choice: ModelChoice) -> tuple[PoseEstimator, PoseEstimator]:
    """The reference, and all of it in the graph, which has inputs of one shape."""
    plain = load_estimator(choice, EngineOptions(device="cpu", threads=1, rect=False))
    fused = load_estimator(choice, EngineOptions(device="cpu", threads=1, in_graph=True))
    assert "in-graph pre- and post-processing" in fused.describe()
    assert "in-graph" not in plain.describe()
    return plain, fused


def people_of(k: int, seed: int) -> np.ndarray:
    rng = np.random.default_rng(seed)
    height, width = SHAPES[seed % 3]
    return paint(rng.uniform([0, 0], [width, height], (k, 2)), height, width)


def assert_same(plain: list[Poses], fused: list[Poses], atol: float) -> None:
    for a, b in zip(plain, fused, strict=True):
        assert len(a) == len(b)
        assert (a.points.dtype, a.points.shape) == (b.points.dtype, b.points.shape)
        np.testing.assert_allclose(a.box_scores, b.box_scores, atol=1e-3)
        np.testing.assert_allclose(a.boxes, b.boxes, atol=atol)
        # One level in one pixel of 100 000 may raise another peak over the highest.
        assert (np.abs(a.scores - b.scores) > 0.01).sum() <= 0.06 * a.scores.size
        sure = a.scores > 0.1  # else the arg-max is a coin's toss
        np.testing.assert_allclose(a.points[sure], b.points[sure], atol=atol)


@pytest.mark.assets
@pytest.mark.parametrize(
    "names",
    [
        {},
        {"detector": "rtmdet_nano_person", "pose": "pp_tinypose_256x192"},
        {"detector": "yolox_nano_416", "pose": "pp_tinypose_128x96"},
        {"detector": "picodet_s_320_pedestrian", "pose": "movenet_lightning_192_from_int8"},
        {"model": "movenet_lightning_192_from_int8"},
        {"model": "yolov8n-pose_640_from_int8"},
    ],
    ids=lambda names: "+".join(names.values()) or "our own pair",
)
def test_real_models_on_real_photos(assets: Path, names: dict[str, str]):
    if not names and not (cv2.__version__.startswith("5") and "AVX2" in cv2.getCPUFeaturesLine()):
        pytest.skip("with 8 bits a level more in a few pixels moves points: OpenCV's are the graph's with AVX2 alone")
    choice = ModelChoice(**{place: assets / "models" / f"{name}.onnx" for place, name in names.items()})
    photos = [
        cv2.imread(str(path))
        for path in sorted((assets / "photos/coco_mini_val/images").glob("*.jpg"))[:: 4 if "model" in names else 6]
    ]
    plain, fused = both(choice)
    found = plain(photos)
    assert sum(map(len, found)) >= 3
    # MoveNet's rounded weights move one point in 700 by 0.7 px for a box that is another one by 0.0001 px.
    atol = 1.0 if any("movenet" in name for name in names.values()) else 0.5
    assert_same(found, [poses for i in range(0, len(photos), 5) for poses in fused(photos[i : i + 5])], atol)


@pytest.mark.parametrize("kind", ["rtmo", "yolo-pose", "yolo-pose-end2end"])
def test_one_stage_families(tmp_path: Path, kind: str):
    plain, fused = both(ModelChoice(model=build(tmp_path / "m.onnx", kind, size=(320, 320))))
    pictures = [people_of(17, seed) for seed in range(5)] + [np.zeros((90, 160, 3), np.uint8)]
    found = plain(pictures)
    assert [len(poses) for poses in found] == [1, 1, 1, 1, 1, 0]
    assert_same(found, fused(pictures), atol=0.02)


@pytest.mark.parametrize("detector", ["rtmdet", "yolo", "yolo-end2end"])
@pytest.mark.parametrize(
    ("pose", "card"),
    [
        ("simcc", {}),
        ("heatmap", {"refine": "dark"}),
        ("heatmap", {"refine": "quarter"}),
        ("heatmap", {"refine": "none"}),
        ("heatmap-udp", {"family": "vitpose"}),
    ],
)
def test_top_down_families(tmp_path: Path, detector: str, pose: str, card: dict):
    metadata = {METADATA_KEY: json.dumps(card)}
    choice = ModelChoice(
        detector=build(tmp_path / "d.onnx", detector, k=3, size=(320, 320)),
        pose=build(tmp_path / "p.onnx", pose, metadata=metadata),
    )
    plain, fused = both(choice)
    pictures = [people_of(17, seed) for seed in range(4)] + [np.zeros((90, 160, 3), np.uint8)]
    found = plain(pictures)
    assert [len(poses) for poses in found] == [1, 1, 1, 1, 0]
    assert_same(found, fused(pictures), atol=0.1)


def fixed(path: Path, outputs: dict[str, np.ndarray], size: tuple[int, int]) -> Path:
    """A model that says the same of every picture."""
    g = Graph()
    nothing = g("ReduceSum", g("Mul", "image", g.const(0.0)), g.const([1, 2, 3], np.int64), keepdims=0)
    infos = []
    for name, value in outputs.items():
        row = g("Reshape", nothing, g.const([-1, *[1] * value.ndim], np.int64))
        said = g("Add", row, g.const(value[None]))
        g.rename(said if value.dtype != np.int64 else g("Cast", said, to=TensorProto.INT64), name)
        dtype = TensorProto.INT64 if value.dtype == np.int64 else TensorProto.FLOAT
        infos.append(helper.make_tensor_value_info(name, dtype, ["b", *value.shape]))
    image = helper.make_tensor_value_info("image", TensorProto.FLOAT, ["b", 3, size[1], size[0]])
    graph = helper.make_graph(g.nodes, "fixed", [image], infos, g.constants)
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9), path)
    return path


@given(
    seed=st.integers(0, 2**32 - 1),
    family=st.sampled_from(["picodet", "rtmdet", "yolox", "yolo"]),
    overlap=st.sampled_from([0.3, 0.5, 1.0]),
    most=st.sampled_from([0, 1, 3, 100, 120]),
)
@settings(max_examples=30, deadline=None)
def test_the_same_people_are_chosen(tmp_path_factory, seed: int, family: str, overlap: float, most: int):
    rng = np.random.default_rng(seed)
    width, height, n = 64, 64, 84  # cells of strides 8, 16, 32
    corner = rng.uniform(-5, 50, (n, 2))
    boxes = np.concatenate([corner, corner + rng.uniform(1, 30, (n, 2))], axis=1).astype(np.float32)
    # All different, since equals may be taken in any order.
    scores = (rng.permutation(n) / n).astype(np.float32)
    other = rng.uniform(0, 1, n).astype(np.float32)
    centred = np.concatenate([(boxes[:, :2] + boxes[:, 2:]) / 2, boxes[:, 2:] - boxes[:, :2]], axis=1)
    outputs = {
        "picodet": {"scores": scores[None], "boxes": boxes},
        "rtmdet": {"dets": np.column_stack([boxes, scores]), "labels": rng.integers(0, 2, n)},
        "yolox": {"output": np.column_stack([rng.uniform(-1, 1, (n, 4)), np.ones(n), scores, other])},
        "yolo": {"output0": np.vstack([centred.T, scores, other])},
    }[family]
    outputs = {k: v if v.dtype == np.int64 else v.astype(np.float32) for k, v in outputs.items()}
    path = fixed(tmp_path_factory.mktemp("m") / "m.onnx", outputs, (width, height))
    limits = Limits(min_score=0.2, max_overlap=overlap, max_people=most)
    engine = Engine(path, EngineOptions(device="cpu", threads=1))
    card = read_card(engine.signature, "m.onnx", family=family)
    plain = FrameModel(engine, card, limits)
    fused = FrameModel(
        Engine(path, engine.options, fuse_pictures(engine.source(), card, limits), fused=True), card, limits
    )
    pictures = [np.zeros((100, 200, 3), np.uint8), np.zeros((64, 64, 3), np.uint8)]
    for a, b in zip(plain(pictures), fused(pictures), strict=True):
        assert a.boxes.shape == b.boxes.shape
        np.testing.assert_allclose(a.boxes, b.boxes, atol=1e-3)
        np.testing.assert_allclose(a.scores, b.scores, atol=1e-6)


def test_who_just_reaches_the_least_score_counts_beside_others_too(tmp_path: Path):
    rows = np.zeros((300, 56), np.float32)
    for row, (x, score) in enumerate([(16, 0.9), (48, 0.4), (32, 0.39)]):
        rows[row, :5] = x, 32, 8, 20, score
    choice = ModelChoice(model=fixed(tmp_path / "m.onnx", {"output0": rows.T}, (64, 64)), limits=Limits(min_score=0.4))
    for estimator in both(choice):
        (poses,) = estimator([np.zeros((64, 64, 3), np.uint8)])
        np.testing.assert_allclose(poses.box_scores, [0.9, 0.4])


@pytest.mark.parametrize(("most", "found"), [(100, 100), (200, 150), (10**9, 150)])
def test_a_crowd_is_found_if_so_many_may_be(tmp_path: Path, most: int, found: int):
    """150 people, and of each ten boxes, as heads without NMS give them: the best of the last is the 1491st."""
    rows = np.zeros((1600, 56), np.float32)
    for person in range(150):
        x, y = 2 + person % 15 * 4, 3 + person // 15 * 6
        rows[10 * person : 10 * person + 10, :4] = x, y, 3, 5
    rows[:1500, 4] = np.linspace(0.95, 0.5, 1500)
    choice = ModelChoice(
        model=fixed(tmp_path / "m.onnx", {"output0": rows.T}, (64, 64)), limits=Limits(max_people=most)
    )
    for estimator in both(choice):
        (poses,) = estimator([np.zeros((64, 64, 3), np.uint8)])
        np.testing.assert_allclose(poses.box_scores, rows[: 10 * found : 10, 4])


def test_other_classes_of_a_pose_model_are_nobody(tmp_path: Path):
    """YOLO26 pose of dogs and people, the dog as the better one."""
    rows = np.zeros((300, 57), np.float32)
    rows[0, :6] = 8, 8, 24, 24, 0.9, 0
    rows[1, :6] = 30, 8, 60, 60, 0.8, 1
    path = fixed(tmp_path / "m.onnx", {"output0": rows}, (64, 64))
    model = onnx.load(path)
    helper.set_model_props(model, {"task": "pose", "names": "{0: 'dog', 1: 'person'}", "kpt_shape": "[17, 3]"})
    onnx.save(model, path)
    for estimator in both(ModelChoice(model=path)):
        (poses,) = estimator([np.zeros((64, 64, 3), np.uint8)])
        np.testing.assert_allclose(poses.boxes, rows[1:2, :4], atol=1e-3)


def test_key_points_of_another_number_than_the_skeletons_are_told(tmp_path: Path):
    """RTMO as MMDeploy exports it leaves open how many: also where nobody is found, the model is wrong."""
    outputs = {"dets": np.zeros((5, 5), np.float32), "keypoints": np.zeros((5, 26, 3), np.float32)}
    path = fixed(tmp_path / "m.onnx", outputs, (64, 64))
    model = onnx.load(path)
    model.graph.node[-1].output[0] = "raw"
    model.graph.initializer.append(helper.make_tensor("so", TensorProto.FLOAT, [4], [-1, 5, 26, 3]))
    model.graph.node.extend(  # of a shape that only a run shows: of a black picture these
        [
            helper.make_node("ReduceMax", ["image"], ["black"], keepdims=0),
            helper.make_node("Add", ["so", "black"], ["shape"]),
            helper.make_node("Cast", ["shape"], ["whole"], to=TensorProto.INT64),
            helper.make_node("Reshape", ["raw", "whole"], ["keypoints"]),
        ]
    )
    model.graph.output[1].type.tensor_type.shape.dim[2].dim_param = "k"
    onnx.save(model, path)
    with (
        load_estimator(ModelChoice(model=path), EngineOptions(device="cpu")) as estimator,
        pytest.raises(ModelOutputError, match=r"gives 26 key points, and its skeleton coco-17 has 17: .*--skeleton"),
    ):
        estimator([np.zeros((64, 64, 3), np.uint8)])


@pytest.mark.parametrize("family", ["rtmdet", "rtmo"])
def test_boxes_of_which_nothing_is_in_the_picture_are_nobody(tmp_path: Path, family: str):
    """Beside it, without area, inside out (which would hide others); one that goes far beyond it is somebody."""
    boxes = [[-50, -50, -40, -40], [1e9, 1e9, 2e9, 2e9], [10, 10, 10, 10], [60, 60, 20, 90], [40, 40, 20, 20]]
    boxes += [
        [4, 34, 60, 62],
        [4, 4, 12, 16],
        [-1e9, -1e9, 1e9, 1e9],
    ]  # the first of these is where nothing but fill is
    dets = np.column_stack([boxes, np.linspace(0.9, 0.6, len(boxes))]).astype(np.float32)
    more = {"labels": np.zeros(len(boxes), np.int64)} if family == "rtmdet" else {}
    if family == "rtmo":
        more = {"keypoints": np.ones((len(boxes), 17, 3), np.float32)}
    path = fixed(tmp_path / "m.onnx", {"dets": dets, **more}, (64, 64))
    engine = Engine(path, EngineOptions(device="cpu", threads=1))
    card = read_card(engine.signature, "m.onnx")
    graph = fuse_pictures(engine.source(), card, Limits())
    for model in (FrameModel(engine, card), FrameModel(Engine(path, engine.options, graph, fused=True), card)):
        (found,) = model([np.zeros((64, 128, 3), np.uint8)])
        np.testing.assert_allclose(found.boxes, [[8, 8, 24, 32], [0, 0, 128, 64]], atol=1e-3)
        np.testing.assert_allclose(found.scores, dets[-2:, 4])
        assert found.points is None or found.points.shape == (2, 17, 3)


@given(
    seed=st.integers(0, 2**32 - 1),
    refine=st.sampled_from(list(Refine)),
    udp=st.booleans(),
    peak=st.tuples(st.integers(0, 11), st.integers(0, 15)),
)
@settings(max_examples=30, deadline=None)
def test_peaks_are_refined_alike(tmp_path_factory, seed: int, refine: Refine, udp: bool, peak: tuple[int, int]):
    """Noise with a hill, also at the border."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:16, :12]
    hill = np.exp(-((x - peak[0] - rng.uniform(-0.5, 0.5)) ** 2 + (y - peak[1]) ** 2) / 8)
    maps = np.stack([hill + rng.uniform(0, 0.1, hill.shape), rng.uniform(0, 1, hill.shape), hill]).astype(np.float32)
    path = fixed(tmp_path_factory.mktemp("m") / "m.onnx", {"maps": np.repeat(maps, 6, axis=0)[:17]}, (48, 64))
    engine = Engine(path, EngineOptions(device="cpu", threads=1))
    family = "vitpose" if udp else "heatmap"
    card = read_card(engine.signature, "m.onnx", family=family)
    card = replace(card, refine=refine)
    plain = KeypointModel(engine, card)
    fused = KeypointModel(Engine(path, engine.options, fuse_crops(engine.source(), card), fused=True), card)
    pictures, boxes = [np.zeros((90, 80, 3), np.uint8)], np.array([[3, 5, 60, 77], [0, 0, 9, 9]], np.float32)
    (a, a_scores), (b, b_scores) = (model(pictures, boxes, [0, 0]) for model in (plain, fused))
    np.testing.assert_allclose(a_scores, b_scores, atol=1e-6)
    # In pixels of the map: a Taylor step divides by what may be next to nothing.
    np.testing.assert_allclose(a[:1], b[:1], atol=0.02 * 6)


SIZE = (64, 48)


def seen(card: Card, place: np.ndarray, picture: np.ndarray, path: Path) -> np.ndarray:
    """(n, 3, h, w): what a model gets of a picture, by one that gives it back."""
    shape = ["b", 3, SIZE[1], SIZE[0]]
    given_, out = (helper.make_tensor_value_info(name, TensorProto.FLOAT, shape) for name in ("image", "out"))
    graph = helper.make_graph([helper.make_node("Identity", ["image"], ["out"])], "echo", [given_], [out])
    echo = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 11)], ir_version=8)
    g = Builder()
    inputs = Given(
        pixels=g.input("pixels", TensorProto.UINT8, ["p", 3]),
        picture=g.input("picture", TensorProto.INT32, ["b", 3]),
        place=g.input("place", TensorProto.FLOAT, ["b", 4]),
    )
    write = letterboxed if card.kind is Kind.DETECTOR else crops
    whole = g.around(echo, write(g, card, inputs, TensorProto.FLOAT), {"seen": ("out", shape)})
    path.write_bytes(b"")
    engine = Engine(path, EngineOptions(device="cpu", threads=1), whole.SerializeToString(), fused=True)
    pixels = Pixels([np.zeros((5, 7, 3), np.uint8), picture], Staging())
    (result,) = engine.run(pixels.rows[[1] * len(place)], place.astype(np.float32), shared=pixels)
    return result


def blotches(seed: int, shape: tuple[int, int]) -> np.ndarray:
    small = np.random.default_rng(seed).integers(0, 256, (shape[0] // 8 + 1, shape[1] // 8 + 1, 3), np.uint8)
    return cv2.resize(small, shape[::-1], interpolation=cv2.INTER_CUBIC)


sides = st.tuples(st.integers(1, 500), st.integers(1, 500))


@given(seed=st.integers(0, 2**32 - 1), fit=st.sampled_from(list(Fit)), shape=sides)
@settings(max_examples=25, deadline=None)
def test_whole_pictures_are_opencvs(tmp_path_factory, seed: int, fit: Fit, shape: tuple[int, int]):
    card = Card(family="picodet", kind=Kind.DETECTOR, size_px=SIZE, fit=fit)
    picture = blotches(seed, shape)
    place = Placement.of(picture, card)
    rows = np.array([(*place.offset, *place.fitted_px)])
    apart = np.abs(
        seen(card, rows, picture, tmp_path_factory.mktemp("m") / "m.onnx")
        - to_blob(frame_batch([picture], [place], card.fill), card, np.dtype(np.float32))
    )
    assert apart.max() <= 1
    # Of a picture that is stretched to many times its size, every rounding covers a good part.
    assert min(shape) < 32 or (apart > 0).mean() < 0.02


@given(seed=st.integers(0, 2**32 - 1), udp=st.booleans(), shape=sides)
@settings(max_examples=25, deadline=None)
@pytest.mark.skipif(int(cv2.__version__.partition(".")[0]) < 5, reason="OpenCV 4 rounds crops otherwise")
def test_crops_are_opencvs(tmp_path_factory, seed: int, udp: bool, shape: tuple[int, int]):
    """Also those that lie partly or wholly outside of the picture."""
    card = Card(family="heatmap", kind=Kind.KEYPOINTS, size_px=SIZE, udp=udp, rgb=False)
    picture, rng = blotches(seed, shape), np.random.default_rng(seed)
    corner = rng.uniform(-0.5, 1.1, (4, 2)) * shape[::-1]
    frames = crop_frames(np.column_stack([corner, corner + rng.uniform(1, 300, (4, 2))]).astype(np.float32), card)
    apart = np.abs(
        seen(card, frames, picture, tmp_path_factory.mktemp("m") / "m.onnx")
        - to_blob(crop_batch([picture] * 4, list(frames), card), card, np.dtype(np.float32))
    )
    assert apart.max() <= 1
    assert (apart > 0).mean() < 1e-3


def test_nan_does_not_get_lost_behind_a_maximum(tmp_path: Path):
    path = build(tmp_path / "m.onnx", "nan")
    engine = Engine(path, EngineOptions(device="cpu"))
    card = read_card(engine.signature, "m.onnx")
    model = KeypointModel(Engine(path, engine.options, fuse_crops(engine.source(), card), fused=True), card)
    with pytest.raises(ModelOutputError, match=r"m\.onnx returned NaN or infinity in 'streampose:points'"):
        model([np.zeros((50, 50, 3), np.uint8)], np.array([[0, 0, 50, 50]], np.float32))


def test_a_static_batch_and_16_bits_do_not_show(tmp_path: Path):
    path = build(tmp_path / "1.onnx", "rtmo", size=(320, 320), batch=2)
    plain, fused = both(ModelChoice(model=path))
    pictures = [people_of(17, seed) for seed in range(5)]
    found = plain(pictures)
    assert_same(found, fused(pictures), atol=0.02)
    half = load_estimator(ModelChoice(model=path), EngineOptions(device="cpu", in_graph=True, half=True))
    # Where a pixel lies must not be counted in 16 bits: it would be off by whole pixels from 2048 on.
    for a, b in zip(found, half(pictures), strict=True):
        np.testing.assert_allclose(a.points, b.points, atol=2)


class TestWhatCannotBeDone:
    def test_an_old_model(self, tmp_path: Path):
        path = tmp_path / "old.onnx"
        model = onnx.load(
            fixed(tmp_path / "m.onnx", {"scores": np.ones((1, 84), "f"), "boxes": np.ones((84, 4), "f")}, (64, 64))
        )
        model.opset_import[0].version = 10
        data = model.SerializeToString()
        card = read_card(Engine(tmp_path / "m.onnx").signature, "m.onnx", family="picodet")
        with pytest.raises(ModelUnreadable, match="opset 10 is older than 11: export it again"):
            fuse_pictures(data, card, Limits())
        assert not path.exists()

    def test_asked_for_it_is_an_error_and_else_the_cpu_does_it(self, tmp_path: Path, caplog, monkeypatch):
        path = build(tmp_path / "m.onnx", "rtmo", size=(320, 320))

        def refuse(*_, **__):
            raise ModelUnreadable("its weights are in a file of their own")

        picture = people_of(17, 0)
        monkeypatch.setattr("streampose.inference.loading.fuse_pictures", refuse)
        with pytest.raises(
            ModelUnreadable, match=r"m\.onnx cannot have its pre- and post-processing in the graph: its weights"
        ):
            load_estimator(ModelChoice(model=path), EngineOptions(device="cpu", in_graph=True))
        monkeypatch.setattr(fitting, "_wants_fusing", lambda _: True)
        for fuse in (refuse, lambda *_, **__: b"what the runtime does not take"):
            monkeypatch.setattr("streampose.inference.loading.fuse_pictures", fuse)
            with caplog.at_level(logging.WARNING, "streampose"):
                estimator = load_estimator(ModelChoice(model=path), EngineOptions(device="cpu"))
            assert "the CPU prepares them" in caplog.text
            assert "in-graph" not in estimator.describe()
            assert len(estimator([picture])[0]) == 1
            caplog.clear()

    def test_recorded_kernels(self):
        with pytest.raises(ConfigError, match="choose one"):
            EngineOptions(cuda_graphs=True, in_graph=True)
        with pytest.raises(ConfigError, match="choose one"):
            EngineOptions(device="tensorrt", in_graph=True)


def test_buffers_of_a_device_are_written_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """The runner of GPUs, on the CPU: pictures go up once for both models, also into buffers that were used before."""
    choice = ModelChoice(
        detector=build(tmp_path / "d.onnx", "rtmdet", k=3, size=(320, 320)), pose=build(tmp_path / "p.onnx", "simcc")
    )
    _, fused = both(choice)
    _, bound = both(choice)
    uploads = []
    for model in bound.models:
        sessions, upload = model.engine._sessions, Uploads("cpu")
        runner = BoundRunner(sessions.runner(1)._session, sessions.signature, "cpu")
        monkeypatch.setattr(upload, "_MOST", 2)
        sessions.upload = lambda array, upload=upload: uploads.append(array.nbytes) or upload(array)
        sessions.runner = lambda _, runner=runner: runner
    for seeds in ((0, 1), (3, 4), (2,), (0, 1, 2), (0,), (1, 0), (0, 1)):
        pictures = [people_of(17, seed) for seed in seeds]
        assert_same(fused(pictures), bound(pictures), atol=1e-4)
        assert uploads == [sum(picture.nbytes for picture in pictures)]
        uploads.clear()


def test_pictures_sent_ahead_are_not_written_over_by_those_of_the_next_batch(tmp_path: Path):
    choice = ModelChoice(
        detector=build(tmp_path / "d.onnx", "rtmdet", k=3, size=(320, 320)), pose=build(tmp_path / "p.onnx", "simcc")
    )
    _, fused = both(choice)
    assert fused.ahead is None, "a CPU has them"
    _, bound = both(choice)
    for model in bound.models:
        sessions = model.engine._sessions
        runner = BoundRunner(sessions.runner(1)._session, sessions.signature, "cpu")
        sessions.upload, sessions.runner = Uploads("cpu"), lambda _, runner=runner: runner
        sessions.provider = model.engine.provider = "CUDAExecutionProvider"
    batches = [[people_of(17, seed) for seed in seeds] for seeds in ((0, 1), (3, 4), (2, 0), (1, 2))]
    sent = bound.ahead(batches[0])
    for batch, following in itertools.pairwise([*batches, batches[0]]):
        sent, before = bound.ahead(following), sent
        assert_same(fused(batch), bound(batch, before), atol=1e-4)


@pytest.mark.parametrize("fails", ["upload", "run"])
def test_the_cpu_goes_on_from_the_pictures_that_it_has(tmp_path: Path, caplog, fails: str):
    """A lost GPU gives nothing back, and what was sent to it is gone with it."""
    choice = ModelChoice(
        detector=build(tmp_path / "d.onnx", "rtmdet", k=3, size=(320, 320)), pose=build(tmp_path / "p.onnx", "simcc")
    )
    options = EngineOptions(device="cpu", threads=1, in_graph=True, fallback_to_cpu=True)
    sound, estimator = (load_estimator(choice, options) for _ in range(2))

    class Gone:
        provider = "CUDAExecutionProvider"

        def upload(self, array):
            return self.fail() if fails == "upload" else array

        def runner(self, _):
            return self.fail()

        def fail(self):
            raise RuntimeError("CUDA failure 700: an illegal memory access was encountered ; GPU=0")

    for model in estimator.models:
        model.engine._sessions, model.engine.provider = Gone(), "CUDAExecutionProvider"
    pictures = [people_of(17, seed) for seed in range(3)]
    sent = estimator.ahead(pictures)
    with caplog.at_level(logging.WARNING, "streampose"):
        for pixels in (sent, None):
            assert_same(sound(pictures), estimator(pictures, pixels), atol=1e-4)
    assert caplog.text.count("The CPU goes on") == 2
    assert "the GPU failed" in estimator.describe()


def test_no_room_for_the_pictures_is_said(tmp_path: Path):
    estimator = load_estimator(
        ModelChoice(model=build(tmp_path / "m.onnx", "rtmo", size=(320, 320))),
        EngineOptions(device="cpu", threads=1, in_graph=True),
    )

    def full(_):
        raise RuntimeError("Failed to allocate memory for requested buffer of size 8388608")

    (model,) = estimator.models
    model.engine._sessions.upload = full
    with pytest.raises(EngineFailed, match=r"m\.onnx failed on CPU.* at batch 1: Failed to allocate memory"):
        estimator([people_of(17, 0), people_of(17, 1)])
    assert estimator.memory_refusals == 1


def test_names_of_a_model_do_not_matter(tmp_path: Path):
    path = build(tmp_path / "m.onnx", "rtmo", size=(320, 320))
    model = onnx.load(path)
    for old, new in (("image", "pixels"), ("t3", "people"), ("t4", "place")):
        for node in model.graph.node:
            for names in (node.input, node.output):
                names[:] = [new if name == old else name for name in names]
    model.graph.input[0].name = "pixels"
    onnx.save(model, path)
    plain, fused = both(ModelChoice(model=path))
    pictures = [people_of(17, 0)]
    assert_same(plain(pictures), fused(pictures), atol=0.02)


@pytest.mark.parametrize("in_graph", [False, True])
def test_no_pictures_no_people(tmp_path: Path, in_graph: bool):
    choice = ModelChoice(
        detector=build(tmp_path / "d.onnx", "rtmdet", k=3, size=(320, 320)), pose=build(tmp_path / "p.onnx", "simcc")
    )
    plain = load_estimator(choice, EngineOptions(device="cpu", threads=1, in_graph=in_graph))
    nobody = [np.zeros((9, 9, 3), np.uint8)] * 2
    assert [len(poses) for poses in plain(nobody)] == [0, 0]
