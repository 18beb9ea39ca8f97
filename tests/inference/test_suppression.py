"""A detector's own suppression, done in the graph for all pictures at once, against the operator that it came with."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import onnx
import pytest
from dots import Graph
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper

from streampose.inference.boxes import Limits
from streampose.inference.engine import Engine, EngineOptions
from streampose.inference.family import read_card
from streampose.inference.frame_model import FrameModel
from streampose.inference.graphs import fuse_pictures
from streampose.inference.graphs.suppression import Own, taken_out

OWN = Own(overlap=0.5, most=40, min_score=0.25)
SIZE = 64


def detector(boxes: np.ndarray, scores: np.ndarray, *, turned: bool = False, twice: bool = False, **how: int) -> bytes:
    """(1, n, 4) boxes and (1, classes, n) scores of every picture, suppressed and laid out as MMDeploy does."""
    g = Graph()
    nothing = g("ReduceSum", g("Mul", "image", g.const(0.0)), g.const([1, 2, 3], np.int64), keepdims=0)
    zero = g("Reshape", nothing, g.const([-1, 1, 1], np.int64))
    given_boxes = g("Add", zero, g.const(boxes))
    if turned:
        given_scores = g("Transpose", g("Add", zero, g.const(scores.transpose(0, 2, 1))), perm=[0, 2, 1])
    else:
        given_scores = g("Add", zero, g.const(scores))
    limits = g.const([OWN.most], np.int64), g.const([OWN.overlap]), g.const([OWN.min_score])
    chosen = g("NonMaxSuppression", given_boxes, given_scores, *limits, **how)
    kept = g("Gather", given_boxes, g("Gather", chosen, g.const(2, np.int64), axis=1), axis=1)
    if twice:
        kept = g("Mul", kept, g.const(2.0))
    kept_scores = g("Reshape", g("GatherND", given_scores, chosen), g.const([1, -1, 1], np.int64))
    g.rename(g("Concat", kept, kept_scores, axis=2), "dets")
    labels = g("Gather", chosen, g.const(1, np.int64), axis=1)
    g.rename(g("Reshape", labels, g.const([1, -1], np.int64)), "labels")
    infos = [
        helper.make_tensor_value_info("dets", TensorProto.FLOAT, [1, "n", 5]),
        helper.make_tensor_value_info("labels", TensorProto.INT64, [1, "n"]),
    ]
    image = helper.make_tensor_value_info("image", TensorProto.FLOAT, [1, 3, SIZE, SIZE])
    graph = helper.make_graph(g.nodes, "detector", [image], infos, g.constants)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9).SerializeToString()


def boxes_of(n: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Many that overlap, and scores of two classes, all different."""
    rng = np.random.default_rng(seed)
    corner = rng.uniform(-5, 40, (n, 2))
    boxes = np.concatenate([corner, corner + rng.uniform(8, 30, (n, 2))], axis=1)
    return boxes[None].astype(np.float32), (rng.permutation(2 * n) / (2 * n)).reshape(1, 2, n).astype(np.float32)


def operators(model: bytes) -> set[str]:
    return {node.op_type for node in onnx.load_from_string(model).graph.node}


@given(
    seed=st.integers(0, 2**32 - 1),
    turned=st.booleans(),
    overlap=st.sampled_from([0.3, 0.5, 0.7, 1.0]),
    least=st.sampled_from([0.1, 0.4]),
    most=st.sampled_from([0, 1, 5, 100]),
)
@settings(max_examples=25, deadline=None)
def test_the_same_people_stay(tmp_path_factory, *, seed: int, turned: bool, overlap: float, least: float, most: int):
    path = tmp_path_factory.mktemp("m") / "m.onnx"
    path.write_bytes(detector(*boxes_of(60, seed), turned=turned))
    limits = Limits(min_score=least, max_overlap=overlap, max_people=most)
    engine = Engine(path, EngineOptions(device="cpu", threads=1))
    card = read_card(engine.signature, "m.onnx", family="rtmdet")
    graph = fuse_pictures(engine.source(), card, limits)
    assert "NonMaxSuppression" not in operators(graph)
    pictures = [np.zeros((100, 200, 3), np.uint8), np.zeros((64, 64, 3), np.uint8)]
    plain = FrameModel(engine, card, limits)(pictures)
    fused = FrameModel(Engine(path, engine.options, graph, fused=True), card, limits)(pictures)
    for a, b in zip(plain, fused, strict=True):
        assert a.boxes.shape == b.boxes.shape
        np.testing.assert_allclose(a.boxes, b.boxes, atol=1e-3)
        np.testing.assert_allclose(a.scores, b.scores, atol=1e-6)


def test_what_it_was_is_told():
    bare, own = taken_out(detector(*boxes_of(9, 0))) or (b"", None)
    assert own == OWN
    assert [value.name for value in onnx.load_from_string(bare).graph.output] != ["dets", "labels"]


@pytest.mark.parametrize(
    "model",
    [
        detector(*boxes_of(9, 0), twice=True),  # what is given is computed, not chosen
        detector(*boxes_of(9, 0), center_point_box=1),
    ],
    ids=["computed", "centred"],
)
def test_others_stay_as_they_are(model: bytes):
    assert taken_out(model) is None


@pytest.mark.assets
def test_a_real_detector(assets: Path):
    path = assets / "models" / "rtmdet_nano_person.onnx"
    engine = Engine(path, EngineOptions(device="cpu", threads=1))
    card = read_card(engine.signature, path.name, size_px=(320, 320))
    limits = Limits(min_score=0.1, max_overlap=0.7)
    graph = fuse_pictures(engine.source(), card, limits)
    assert "NonMaxSuppression" in operators(engine.source()) - operators(graph)
    photos = [cv2.imread(str(p)) for p in sorted((assets / "photos/coco_mini_val/images").glob("*.jpg"))[:24:3]]
    plain = FrameModel(engine, card, limits)(photos)
    fused = FrameModel(Engine(path, engine.options, graph, fused=True), card, limits)(photos)
    assert sum(len(found.boxes) for found in plain) > 20
    for a, b in zip(plain, fused, strict=True):
        np.testing.assert_allclose(a.scores, b.scores, atol=1e-3)
        np.testing.assert_allclose(a.boxes, b.boxes, atol=0.05)
