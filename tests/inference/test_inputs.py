"""Models whose inputs are not what their families usually take: bytes, colours last, other numbers of colours."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import onnx
import pytest
from dots import build, paint
from onnx import TensorProto, helper, numpy_helper

from streampose.errors import ModelUnknown
from streampose.inference.engine import Engine, EngineOptions
from streampose.inference.family import read_card
from streampose.inference.loading import ModelChoice, load_estimator
from streampose.inference.signature import METADATA_KEY
from streampose.pose import Poses

PHOTO = "photos/coco_mini_val/images/000000368212.jpg"


def taking(path: Path, given: str, *, whole_numbers: bool, last: bool) -> Path:
    """The same model with another input: bytes, which it normalises by itself, or colours last."""
    card = read_card(Engine(path).signature, path.name)
    model = onnx.load(path)
    (before,) = model.graph.input
    value, nodes = given, []
    if last:
        nodes.append(helper.make_node("Transpose", [value], ["planes"], perm=[0, 3, 1, 2]))
        value = "planes"
    if whole_numbers:
        for name, numbers in (("mean", card.mean), ("std", card.std)):
            constant = np.array(numbers, np.float32).reshape(1, 3, 1, 1)
            model.graph.initializer.append(numpy_helper.from_array(constant, name))
        nodes.append(helper.make_node("Cast", [value], ["floats"], to=TensorProto.FLOAT))
        nodes.append(helper.make_node("Sub", ["floats", "mean"], ["centred"]))
        nodes.append(helper.make_node("Div", ["centred", "std"], ["normal"]))
        value = "normal"
    nodes.append(helper.make_node("Identity", [value], [before.name]))
    for node in reversed(nodes):
        model.graph.node.insert(0, node)
    (width, height), dtype = card.size_px, TensorProto.UINT8 if whole_numbers else TensorProto.FLOAT
    shape = ["b", height, width, 3] if last else ["b", 3, height, width]
    del model.graph.input[:]
    model.graph.input.append(helper.make_tensor_value_info(given, dtype, shape))
    other = path.with_name(f"{path.stem}-{whole_numbers:d}{last:d}.onnx")
    onnx.save(model, other)
    return other


def found_by(choice: ModelChoice, picture: np.ndarray, **how: bool) -> Poses:
    estimator = load_estimator(choice, EngineOptions(device="cpu", threads=1, **how))
    estimator.warm_up([1])
    (poses,) = estimator([picture])
    estimator.close()
    return poses


@pytest.mark.parametrize(("whole_numbers", "last"), [(True, False), (True, True), (False, True)])
def test_bytes_and_colours_last_show_the_same_people(tmp_path: Path, whole_numbers: bool, last: bool):
    """A detector, a key-point model and a one-stage model, each by both ways."""
    truth = np.stack(np.meshgrid(np.arange(40, 161, 40), np.arange(40, 201, 40)), axis=2).reshape(-1, 2)[:17]
    picture = paint(truth, 256, 192)
    files = {kind: build(tmp_path / f"{kind}.onnx", kind) for kind in ("rtmdet", "simcc", "rtmo", "yolo-pose")}
    others = {k: taking(file, "given", whole_numbers=whole_numbers, last=last) for k, file in files.items()}
    for choice in (
        ModelChoice(detector=others["rtmdet"], pose=others["simcc"]),
        ModelChoice(model=others["rtmo"]),
        ModelChoice(model=others["yolo-pose"]),
    ):
        for in_graph in (False, True):
            poses = found_by(choice, picture, in_graph=in_graph)
            assert len(poses) == 1, (choice, in_graph)
            np.testing.assert_allclose(poses.points[0], truth, atol=0.7)


def test_key_points_of_a_model_of_any_size_are_found_at_the_one_that_it_names(tmp_path: Path):
    truth = np.stack(np.meshgrid(np.arange(40, 241, 50), np.arange(40, 351, 80)), axis=2).reshape(-1, 2)[:17]
    said = {METADATA_KEY: json.dumps({"family": "heatmap", "size_px": [288, 384]})}
    model = build(tmp_path / "m.onnx", "heatmap", size=(288, 384), free_size=True, metadata=said)
    detector = build(tmp_path / "d.onnx", "rtmdet", size=(288, 384))
    estimator = load_estimator(ModelChoice(detector=detector, pose=model), EngineOptions(device="cpu", threads=1))
    assert "m.onnx (heatmap, 288×384," in estimator.describe()
    (poses,) = estimator([paint(truth, 384, 288)])
    np.testing.assert_allclose(poses.points[0], truth, atol=0.7)


@pytest.mark.assets
def test_a_real_model_of_bytes_finds_whom_it_finds_of_floats(assets: Path, tmp_path: Path):
    model = tmp_path / "m.onnx"
    model.write_bytes((assets / "models/yolov8n-pose_640_from_int8.onnx").read_bytes())
    picture = cv2.imread(str(assets / PHOTO))
    of_bytes = taking(model, "given", whole_numbers=True, last=False)
    usual, same = (found_by(ModelChoice(model=file), picture, rect=False) for file in (model, of_bytes))
    assert len(usual) == len(same) > 0
    np.testing.assert_allclose(same.points, usual.points, atol=0.5)


@pytest.mark.parametrize("colours", [1, 4])
def test_other_numbers_of_colours_are_told_with_the_signature(tmp_path: Path, colours: int):
    model = onnx.load(build(tmp_path / "m.onnx", "simcc"))
    (before,) = model.graph.input
    before.type.tensor_type.shape.dim[1].dim_value = colours
    whole = before.name
    before.name = "given"
    three = helper.make_node("Expand" if colours == 1 else "Slice", ["given", *_three(model, colours)], [whole])
    model.graph.node.insert(0, three)
    onnx.save(model, tmp_path / "c.onnx")
    message = rf"c\.onnx does not take pictures of three colours: \(given tensor\(float\)\[\?, {colours}, 256, 192\]"
    with pytest.raises(ModelUnknown, match=message):
        load_estimator(ModelChoice(model=tmp_path / "c.onnx"), EngineOptions(device="cpu", threads=1))


def _three(model: onnx.ModelProto, colours: int) -> list[str]:
    numbers = {"e": [1, 3, 1, 1]} if colours == 1 else {"begin": [0], "end": [3], "axis": [1]}
    for name, value in numbers.items():
        model.graph.initializer.append(numpy_helper.from_array(np.array(value, np.int64), name))
    return list(numbers)
