"""A detector's own suppression, done in the graph for all pictures at once, against the operator that it came with."""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path

import cv2
import numpy as np
import onnx
import pytest
from dots import Graph
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper

from streampose.errors import ModelOutputError
from streampose.inference.boxes import DECODERS, Limits
from streampose.inference.card import Card, Kind
from streampose.inference.engine import Engine, EngineOptions
from streampose.inference.family import read_card
from streampose.inference.frame_model import FrameModel
from streampose.inference.graphs import fuse_pictures
from streampose.inference.graphs.suppression import Own, taken_out

OWN = Own(boxes="boxes", overlap=0.5, most=15, min_score=0.25)
SIZE = 64


def convolved(g: Graph, layout: str, axis: int) -> str:
    """Scores of two convolutions of one channel, in shapes that are not told, joined along an axis of a layout."""
    levels = []
    for _ in range(2):
        level = g("Conv", "image", g.const(np.zeros((1, 3, 1, 1))))
        if layout == "b n c":
            level = g("Transpose", level, perm=[0, 2, 3, 1])
        levels.append(g("Reshape", level, g("Shape", "boxes")))
    joined = g("Sigmoid", g("Concat", *levels, axis=axis))
    return joined if layout == "b c n" else g("Transpose", joined, perm=[0, 2, 1])


def detector(boxes: np.ndarray, scores: np.ndarray, how: str = "", **attributes: int) -> bytes:
    """(1, n, 4) boxes and (1, classes, n) scores of every picture, suppressed and laid out as MMDeploy does."""
    g = Graph()
    nothing = g("ReduceSum", g("Mul", "image", g.const(0.0)), g.const([1, 2, 3], np.int64), keepdims=0)
    zero = g("Reshape", nothing, g.const([-1, 1, 1], np.int64))
    g.rename(g("Add", zero, g.const(boxes)), "boxes")
    if how == "turned":
        g.rename(g("Transpose", g("Add", zero, g.const(scores.transpose(0, 2, 1))), perm=[0, 2, 1]), "scores")
    elif how == "any class":
        g.rename(g("ReduceMax", g("Add", zero, g.const(scores)), g.const([1], np.int64)), "scores")
    elif how.startswith("b "):
        g.rename(convolved(g, how[:5], int(how[6:])), "scores")
    else:
        g.rename(g("Add", zero, g.const(scores)), "scores")
    limits = g.const([40], np.int64), g.const([OWN.overlap]), g.const([OWN.min_score])
    chosen = g("NonMaxSuppression", "boxes", "scores", *limits, **attributes)
    number = g("Gather", chosen, g.const(2, np.int64), axis=1)
    kept = g("Gather", "boxes", number, axis=1)
    if how == "computed":
        kept = g("Mul", kept, g.const(2.0))
    if how == "y x":
        kept = g("Gather", kept, g.const([1, 0, 3, 2], np.int64), axis=2)
    kept_scores = g("Reshape", g("GatherND", "scores", chosen), g.const([1, -1, 1], np.int64))
    if how == "one more threshold":
        kept = g("Where", g("Less", kept_scores, g.const(0.5)), g.const(0.0), kept)
    dets, labels = g("Concat", kept, kept_scores, axis=2), g("Gather", chosen, g.const(1, np.int64), axis=1)
    if how == "any class":
        labels = g("Gather", g("ArgMax", g.const(scores), axis=1, keepdims=0), number, axis=1)
    if how == "other numbers":
        labels = g("Add", labels, g.const(1, np.int64))
    labels = g("Reshape", labels, g.const([1, -1], np.int64))
    best, many = g("Reshape", kept_scores, g.const([-1], np.int64)), g.const([OWN.most], np.int64)
    there = g("Shape", best)
    count = g("Where", g("Less", many, there), many, there)
    g.nodes.append(helper.make_node("TopK", [best, count], ["sorted", "order"], axis=0))
    g.rename(g("Gather", dets, "order", axis=1), "dets")
    g.rename(g("Gather", labels, "order", axis=1), "labels")
    infos = [
        helper.make_tensor_value_info("dets", TensorProto.FLOAT, [1, "n", 5]),
        helper.make_tensor_value_info("labels", TensorProto.INT64, [1, "n"]),
    ]
    classes = 1 if how == "any class" else scores.shape[1]
    said = [helper.make_tensor_value_info("scores", TensorProto.FLOAT, [1, classes, "n"])][how.startswith("b ") :]
    image = helper.make_tensor_value_info("image", TensorProto.FLOAT, [1, 3, SIZE, SIZE])
    graph = helper.make_graph(g.nodes, "detector", [image], infos, g.constants, value_info=said)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9).SerializeToString()


def boxes_of(n: int, seed: int, classes: int = 1) -> tuple[np.ndarray, np.ndarray]:
    """Many that overlap, and scores, all different."""
    rng = np.random.default_rng(seed)
    corner = rng.uniform(-5, 50, (n, 2))
    boxes = np.concatenate([corner, corner + rng.uniform(6, 20, (n, 2))], axis=1)
    scores = (rng.permutation(classes * n) / (classes * n)).reshape(1, classes, n)
    return boxes[None].astype(np.float32), scores.astype(np.float32)


def operators(model: bytes) -> set[str]:
    return {node.op_type for node in onnx.load_from_string(model).graph.node}


def same(path: Path, limits: Limits, pictures: list[np.ndarray], size_px: tuple[int, int] | None = None) -> list[int]:
    """How many people the plain way finds; those of the graph's are the same."""
    engine = Engine(path, EngineOptions(device="cpu", threads=1))
    card = read_card(engine.signature, path.name, family="rtmdet", size_px=size_px)
    graph = fuse_pictures(engine.source(), card, limits, at_once=True)
    assert "NonMaxSuppression" in operators(engine.source()) - operators(graph)
    plain = FrameModel(engine, card, limits)(pictures)
    fused = FrameModel(Engine(path, engine.options, graph, fused=True), card, limits)(pictures)
    for a, b in zip(plain, fused, strict=True):
        assert a.boxes.shape == b.boxes.shape
        np.testing.assert_allclose(a.scores, b.scores, atol=1e-3)
        # Whose scores are the same but for a pixel's level may be in either order, and one of them the 101st.
        apart = np.abs(a.boxes[:, None] - b.boxes[None]).max(axis=2)
        assert len(b.boxes) == 0 or (apart.min(axis=1) > 0.05).sum() <= len(b.boxes) // 50
    return [len(found.boxes) for found in plain]


@given(
    seed=st.integers(0, 2**32 - 1),
    how=st.sampled_from(["", "turned"]),
    overlap=st.sampled_from([0.3, 0.5, 0.7, 1.0]),
    least=st.sampled_from([0.1, 0.4]),
    most=st.sampled_from([0, 1, 5, 100]),
)
@settings(max_examples=25, deadline=None)
def test_the_same_people_stay(tmp_path_factory, *, seed: int, how: str, overlap: float, least: float, most: int):
    path = tmp_path_factory.mktemp("m") / "m.onnx"
    path.write_bytes(detector(*boxes_of(60, seed), how))
    limits = Limits(min_score=least, max_overlap=overlap, max_people=most)
    same(path, limits, [np.zeros((100, 200, 3), np.uint8), np.zeros((64, 64, 3), np.uint8)])


@pytest.mark.parametrize("score", [0.0, 0.9])
def test_a_box_that_is_no_number_matters_where_it_counts(tmp_path: Path, score: float):
    boxes, scores = boxes_of(20, 0)
    boxes[0, 0], scores[0, 0, 0] = (-np.inf, 0, np.inf, 5), score
    path = tmp_path / "m.onnx"
    path.write_bytes(detector(boxes, scores))
    engine = Engine(path, EngineOptions(device="cpu", threads=1))
    card = read_card(engine.signature, "m.onnx", family="rtmdet")
    graph = fuse_pictures(engine.source(), card, Limits(), at_once=True)
    fused = FrameModel(Engine(path, engine.options, graph, fused=True), card, Limits())
    with pytest.raises(ModelOutputError) if score else nullcontext():
        assert len(fused([np.zeros((64, 64, 3), np.uint8)])[0].boxes) > 3


def test_what_it_was_is_told():
    bare, own = taken_out(detector(*boxes_of(9, 0))) or (b"", None)
    assert own == OWN
    assert [value.name for value in onnx.load_from_string(bare).graph.output] == ["boxes", "scores"]


@pytest.mark.parametrize("how", ["computed", "y x", "one more threshold", "any class", "other numbers"])
def test_who_does_more_than_choose_stays_as_it_is(how: str):
    assert taken_out(detector(*boxes_of(9, 0, 2 if how == "any class" else 1), how)) is None


@pytest.mark.timeout(20)
def test_the_way_to_the_scores_may_be_long_and_branched():
    model = onnx.load_from_string(detector(*boxes_of(9, 0)))
    nodes = list(model.graph.node)
    at, suppression = next((i, node) for i, node in enumerate(nodes) if node.op_type == "NonMaxSuppression")
    last, way = suppression.input[1], []
    for step in range(3000):
        branches = [f"{branch}{step}" for branch in "ab"]
        way += [helper.make_node("Identity", [last], [branch]) for branch in branches]
        way.append(helper.make_node("Mul", branches, [last := f"c{step}"]))
    suppression.input[1] = last
    del model.graph.node[:]
    model.graph.node.extend(nodes[:at] + way + nodes[at:])
    assert taken_out(model.SerializeToString()) is None


def test_others_stay_as_they_are():
    assert taken_out(detector(*boxes_of(9, 0, 2))) is None  # they take each other's places
    assert taken_out(detector(*boxes_of(9, 0), center_point_box=1)) is None


@pytest.mark.parametrize(
    ("layout", "axis", "is_one"),
    [("b n c", 1, True), ("b n c", -2, True), ("b n c", 2, False), ("b c n", 2, True), ("b c n", 1, False)],
)
def test_scores_of_two_convolutions_are_of_one_class_unless_they_are_joined_as_two(
    layout: str, axis: int, is_one: bool
):
    assert (taken_out(detector(*boxes_of(9, 0), f"{layout} {axis}")) is not None) == is_one


@pytest.mark.parametrize(("at_once", "most"), [(False, 100), (True, 101)])
def test_where_it_would_not_pay(at_once: bool, most: int, tmp_path: Path):
    path = tmp_path / "m.onnx"
    path.write_bytes(detector(*boxes_of(9, 0)))
    engine = Engine(path, EngineOptions(device="cpu", threads=1))
    card = read_card(engine.signature, "m.onnx", family="rtmdet")
    graph = fuse_pictures(engine.source(), card, Limits(max_people=most), at_once=at_once)
    assert "NonMaxSuppression" in operators(graph)


@pytest.mark.assets
def test_a_real_detector_and_a_crowd(assets: Path):
    photos = [cv2.imread(str(p)) for p in sorted((assets / "photos/coco_mini_val/images").glob("*.jpg"))[:48]]
    crowds = [
        np.vstack([np.hstack([cv2.resize(p, (320, 320)) for p in row]) for row in rows])
        for rows in ([photos[i : i + 4] for i in range(first, first + 16, 4)] for first in (0, 32))
    ]
    path = assets / "models" / "rtmdet_nano_person.onnx"
    found = same(path, Limits(min_score=0.05, max_overlap=0.7), [*crowds, *photos[:3]], (640, 640))
    assert max(found) == 100


RTMDET = Card(family="rtmdet", kind=Kind.DETECTOR, size_px=(320, 320))


def test_what_pads_is_nobody_whatever_the_limit():
    padding = np.array([[20, 20, 30, 30, 0.0]], np.float32)
    found = DECODERS["rtmdet"]([padding, np.zeros(1, np.int64)], RTMDET, Limits(min_score=0))
    assert len(found.scores) == 0


def test_scores_are_at_most_one():
    rounded = np.array([[0, 0, 10, 10, 1.0004]], np.float32)  # as 16-bit sums give
    found = DECODERS["rtmdet"]([rounded, np.zeros(1, np.int64)], RTMDET, Limits())
    assert found.scores.tolist() == [1]


_CORNERS, _CENTRED, _POINT = [24, 12, 56, 28], [40, 20, 32, 16], [30, 20, 0.5]
_CELLS = np.zeros((32 + 8 + 2, 7))  # of 64 × 32 pixels: 8 × 4 cells of 8, 4 × 2 of 16, 2 × 1 of 32
_CELLS[32 + 6] = 0.5, 0.25, np.log(2), 0, 0.8, 0.1, 0.9  # cell (2, 1) of stride 16


@pytest.mark.parametrize(
    ("family", "outputs"),
    [
        ("rtmdet", [[[*_CORNERS, 0.72], [0, 0, 9, 9, 0.9]], [1, 0]]),
        ("rtmo", [[[*_CORNERS, 0.72]], [[_POINT]]]),
        ("yolox", [_CELLS]),
        ("yolox-decoded", [[[*_CENTRED, 0.8, 0.1, 0.9]]]),
        ("picodet", [[[0.1, 0.9], [0.72, 0.1]], [_CORNERS, [0, 0, 9, 9]]]),
        ("yolo", [np.transpose([[*_CENTRED, 0.1, 0.72], [4, 4, 9, 9, 0.9, 0.1]])]),
        ("yolo-pose", [np.transpose([[*_CENTRED, 0.1, 0.72, *_POINT]])]),
        ("yolo-end2end", [[[*_CORNERS, 0.72, 1], [0, 0, 9, 9, 0.9, 0]]]),
        ("yolo-pose-end2end", [[[*_CORNERS, 0.72, 1, *_POINT], [0, 0, 9, 9, 0.9, 0, *_POINT]]]),
    ],
)
def test_what_the_numbers_of_each_family_mean(family: str, outputs: list):
    card = Card(family=family, kind=Kind.DETECTOR, size_px=(64, 32), person=1, classes=2)
    found = DECODERS[family]([np.array(output, np.float32) for output in outputs], card, Limits())
    np.testing.assert_allclose(found.boxes, [_CORNERS], rtol=1e-6)
    np.testing.assert_allclose(found.scores, [0.72], rtol=1e-6)
    assert (found.points is not None) == ("pose" in family or family == "rtmo")
    if found.points is not None:
        np.testing.assert_allclose(found.points, [[_POINT]])
