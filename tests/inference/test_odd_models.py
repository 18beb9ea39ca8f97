"""Models that are allowed but unusual: what is not like in the plain cases, beside the CPU and in the graph."""

from __future__ import annotations

import contextlib
import logging
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper
from test_graphs import both, fixed

from streampose.errors import ModelUnknown, ModelUnreadable
from streampose.inference import probe
from streampose.inference.engine import Engine, EngineOptions
from streampose.inference.loading import ModelChoice, load_estimator
from streampose.skeletons import COCO_17

BLACK = np.zeros((64, 64, 3), np.uint8)


@pytest.mark.parametrize(("family", "columns"), [("yolo-end2end", 6), ("yolo-pose-end2end", 57)])
def test_maps_beside_the_rows_of_an_end_to_end_head_are_passed_over(tmp_path: Path, family: str, columns: int):
    """YOLO26's segmentation models give [b, 300, 38] and [b, 32, h, w]."""
    rows = np.zeros((300, columns), np.float32)
    rows[0, :6] = 8, 8, 24, 24, 0.9, 0
    path = fixed(tmp_path / "m.onnx", {"output0": rows, "output1": np.zeros((32, 8, 8), np.float32)}, (64, 64))
    maps = np.ones((17, 16, 12), np.float32)
    pose = fixed(tmp_path / "p.onnx", {"maps": maps}, (48, 64))
    choice = ModelChoice(model=path, family=family)
    if family == "yolo-end2end":
        choice = ModelChoice(detector=path, detector_family=family, pose=pose)
    for estimator in both(choice):
        (poses,) = estimator([BLACK])
        np.testing.assert_allclose(poses.boxes, rows[:1, :4], atol=1e-3)


@pytest.mark.parametrize(
    ("family", "outputs"),
    [
        ("heatmap", {"maps": (17, 16, 12)}),
        ("simcc", {"x": (17, 96), "y": (17, 128)}),
    ],
)
def test_an_output_without_a_shape_is_the_cpus_affair(tmp_path: Path, family: str, outputs: dict[str, tuple]):
    arrays = {name: np.ones(shape, np.float32) for name, shape in outputs.items()}
    path = fixed(tmp_path / "m.onnx", arrays, (48, 64))
    model = onnx.load(path)
    for output in model.graph.output:
        output.type.tensor_type.ClearField("shape")
    onnx.save(model, path)
    choice = ModelChoice(model=path, family=family, skeleton=COCO_17)
    with load_estimator(choice, EngineOptions(device="cpu", in_graph=False)) as estimator:
        assert [len(poses) for poses in estimator([BLACK])] == [1]
    with pytest.raises(ModelUnreadable, match=rf"{family}: the shape of an output is open"):
        load_estimator(choice, EngineOptions(device="cpu", in_graph=True))


@pytest.mark.parametrize("kind", ["INT8", "UINT16", "BFLOAT16"])
def test_numbers_that_are_not_fed_here_are_refused_when_loading(tmp_path: Path, kind: str):
    path = fixed(tmp_path / "m.onnx", {"maps": np.ones((17, 16, 12), np.float32)}, (48, 64))
    model = onnx.load(path)
    model.graph.input[0].name, model.graph.input[0].type.tensor_type.elem_type = "raw", getattr(TensorProto, kind)
    model.graph.node.insert(0, helper.make_node("Cast", ["raw"], ["image"], to=TensorProto.FLOAT))
    onnx.save(model, path)
    with pytest.raises(
        ModelUnknown, match=rf"m\.onnx takes tensor\({kind.lower()}\), and pictures are given as one of"
    ):
        load_estimator(ModelChoice(model=path), EngineOptions(device="cpu", threads=1))


def test_an_input_without_a_shape_is_the_cpus_affair(tmp_path: Path):
    path = fixed(tmp_path / "m.onnx", {"maps": np.ones((17, 16, 12), np.float32)}, (192, 256))
    model = onnx.load(path)
    model.graph.input[0].type.tensor_type.ClearField("shape")
    onnx.save(model, path)
    choice = ModelChoice(model=path, family="heatmap")
    with load_estimator(choice, EngineOptions(device="cpu", threads=1)) as estimator:
        assert [len(poses) for poses in estimator([BLACK, BLACK])] == [1, 1]
    with pytest.raises(ModelUnreadable, match="its input has no shape"):
        load_estimator(choice, EngineOptions(device="cpu", in_graph=True))


def test_an_input_that_is_no_tensor_of_pictures_is_of_no_family(tmp_path: Path):
    scalar = helper.make_tensor_value_info("x", TensorProto.FLOAT, [])
    tensors = helper.make_tensor_sequence_value_info("x", TensorProto.FLOAT, None)
    for given, op, words in (
        (scalar, helper.make_node("Identity", ["x"], ["y"]), "is of no family that is known here"),
        (tensors, helper.make_node("ConcatFromSequence", ["x"], ["y"], axis=0), r"takes seq\(tensor\(float\)\)"),
    ):
        out = helper.make_tensor_value_info("y", TensorProto.FLOAT, None)
        model = helper.make_model(helper.make_graph([op], "odd", [given], [out]), ir_version=9)
        model.opset_import[0].version = 18
        onnx.save(model, tmp_path / "m.onnx")
        with pytest.raises(ModelUnknown, match=words):
            load_estimator(ModelChoice(model=tmp_path / "m.onnx"), EngineOptions(device="cpu"))


def rounded(path: Path) -> Path:
    """The same, with outputs of 16 bits."""
    model = onnx.load(path)
    for output in model.graph.output:
        producer = next(node for node in model.graph.node if node.output[0] == output.name)
        producer.CopyFrom(helper.make_node("Cast", producer.input, producer.output, to=TensorProto.FLOAT16))
        output.type.tensor_type.elem_type = TensorProto.FLOAT16
    onnx.save(model, path)
    return path


def test_corners_of_16_bits_are_reckoned_in_32(tmp_path: Path):
    columns = np.zeros((56, 300), np.float32)
    columns[:5, 0] = 601.5, 320, 77.25, 200.5, 0.9  # all of these are numbers of 16 bits, 601.5 - 77.25 / 2 is none
    path = rounded(fixed(tmp_path / "m.onnx", {"output0": columns}, (640, 640)))
    with load_estimator(ModelChoice(model=path), EngineOptions(device="cpu", threads=1)) as estimator:
        (poses,) = estimator([np.zeros((640, 640, 3), np.uint8)])
    np.testing.assert_array_equal(poses.boxes, [[562.875, 219.75, 640, 420.25]])


def test_scores_of_a_movenet_of_16_bits_are_of_32(tmp_path: Path):
    path = rounded(fixed(tmp_path / "m.onnx", {"rows": np.full((1, 17, 3), 0.5, np.float32)}, (192, 192)))
    model = onnx.load(path)
    for value, shape in ((model.graph.input[0], (1, 192, 192, 3)), (model.graph.output[0], (1, 1, 17, 3))):
        value.CopyFrom(helper.make_tensor_value_info(value.name, value.type.tensor_type.elem_type, shape))
    onnx.save(model, path)
    with load_estimator(ModelChoice(model=path), EngineOptions(device="cpu", threads=1)) as estimator:
        (poses,) = estimator([BLACK])
    assert [array.dtype for array in (poses.points, poses.scores, poses.boxes)] == [np.float32] * 3


@pytest.mark.parametrize("anchors", [300, "n"])
def test_a_pose_model_of_several_classes_finds_its_people(tmp_path: Path, anchors: int | str):
    """A head of dogs and people without NMS, the dog as the better one, where no person is."""
    columns = np.zeros((4 + 2 + 51, 300), np.float32)
    columns[:6, 0] = 16, 16, 20, 20, 0.9, 0.1
    columns[:6, 1] = 44, 40, 20, 30, 0.2, 0.8
    columns[6:, 1] = np.tile([44, 30, 0.7], 17)
    path = fixed(tmp_path / "m.onnx", {"output0": columns}, (64, 64))
    model = onnx.load(path)
    helper.set_model_props(model, {"task": "pose", "names": "{0: 'dog', 1: 'person'}", "kpt_shape": "[17, 3]"})
    if anchors == "n":
        opened(model, [57, 300])
    onnx.save(model, path)
    for estimator in both(ModelChoice(model=path, family="yolo-pose")):
        (poses,) = estimator([BLACK])
        np.testing.assert_allclose(poses.boxes, [[34, 25, 54, 55]], atol=1e-3)
        np.testing.assert_allclose(poses.box_scores, [0.8], atol=1e-3)
        np.testing.assert_allclose(poses.points, np.tile([44, 30], (1, 17, 1)), atol=1e-3)
        np.testing.assert_allclose(poses.scores, 0.7, atol=1e-3)


def opened(model: onnx.ModelProto, shape: list[int]) -> None:
    """Leave the shape of its output open, also to who infers it: it is computed from the picture."""
    graph = model.graph
    (producer,) = (node for node in graph.node if node.output[0] == "output0")
    producer.output[0] = "closed"
    graph.initializer.append(numpy_helper.from_array(np.array([0], np.float32), "zero"))
    graph.initializer.append(numpy_helper.from_array(np.array([-1, *shape], np.float32), "shape"))
    graph.node.extend(
        [
            helper.make_node("ReduceMax", ["image"], ["most"], keepdims=0),
            helper.make_node("Mul", ["most", "zero"], ["nothing"]),
            helper.make_node("Add", ["nothing", "shape"], ["sides"]),
            helper.make_node("Cast", ["sides"], ["whole"], to=TensorProto.INT64),
            helper.make_node("Reshape", ["closed", "whole"], ["output0"]),
        ]
    )
    for number, dim in enumerate(graph.output[0].type.tensor_type.shape.dim[1:]):
        dim.dim_param = f"open {number}"


@pytest.mark.parametrize("in_graph", [False, True])
@pytest.mark.parametrize(
    ("names", "count", "words"),
    [
        ("{0: 'dog', 1: 'person'}", 56, "has no class 1 as that of people"),
        ("{0: 'person'}", 57, "57 numbers, not 5 and 3 for each of 17 key points"),
    ],
    ids=["fewer", "more"],
)
def test_columns_that_are_others_than_the_names_say_are_told(
    tmp_path: Path, names: str, count: int, words: str, in_graph: bool
):
    columns = np.zeros((count, 300), np.float32)
    columns[:6, 1] = 44, 40, 20, 30, 0.9, 0.9
    path = fixed(tmp_path / "m.onnx", {"output0": columns}, (64, 64))
    model = onnx.load(path)
    helper.set_model_props(model, {"task": "pose", "names": names, "kpt_shape": "[17, 3]"})
    opened(model, [count, 300])
    onnx.save(model, path)
    choice = ModelChoice(model=path, family="yolo-pose")
    with pytest.raises(ModelUnknown, match=words):
        load_estimator(choice, EngineOptions(device="cpu", threads=1, in_graph=in_graph))


def test_a_file_is_run_for_its_open_columns_once_however_many_sessions_it_has(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    runs: list[Path] = []

    def engine(path: Path, options: EngineOptions) -> Engine:
        runs.append(path)
        return Engine(path, options)

    monkeypatch.setattr(probe, "Engine", engine)
    path, options = tmp_path / "m.onnx", EngineOptions(device="cpu", threads=1)
    for count in (56, 57):
        model = onnx.load(fixed(path, {"output0": np.zeros((count, 300), np.float32)}, (64, 64)))
        helper.set_model_props(model, {"task": "pose", "names": "{0: 'person'}", "kpt_shape": "[17, 3]"})
        opened(model, [count, 300])
        onnx.save(model, path)
        for _ in range(3):
            with pytest.raises(ModelUnknown) if count == 57 else contextlib.nullcontext():
                load_estimator(ModelChoice(model=path, family="yolo-pose"), options).close()
        assert runs == [path] * (count - 55), "but of a file that was replaced"


@pytest.mark.parametrize("in_graph", [False, True])
def test_metadata_in_another_coding_is_passed_over(tmp_path: Path, caplog: pytest.LogCaptureFixture, in_graph: bool):
    path = fixed(tmp_path / "m.onnx", {"maps": np.ones((17, 16, 12), np.float32)}, (48, 64))
    model = onnx.load(path)
    helper.set_model_props(model, {"author": "XXXX"})
    path.write_bytes(model.SerializeToString().replace(b"XXXX", "作者".encode("gbk")))
    options = EngineOptions(device="cpu", in_graph=in_graph)
    with (
        caplog.at_level(logging.WARNING, "streampose"),
        load_estimator(ModelChoice(model=path), options) as estimator,
    ):
        assert [len(poses) for poses in estimator([BLACK])] == [1]
    assert caplog.text.count("m.onnx: its metadata is no UTF-8") == 1, "once, and not for each session"


@pytest.mark.parametrize("kind", ["one-stage", "top-down", "whole frame"])
def test_of_no_pictures_there_are_no_poses(tmp_path: Path, kind: str):
    choice = ModelChoice()
    if kind == "one-stage":
        choice = ModelChoice(model=fixed(tmp_path / "m.onnx", {"output0": np.zeros((56, 300), np.float32)}, (64, 64)))
    elif kind == "whole frame":
        choice = ModelChoice(model=fixed(tmp_path / "m.onnx", {"maps": np.ones((17, 16, 12), np.float32)}, (48, 64)))
    for in_graph in (False, True):
        with load_estimator(choice, EngineOptions(device="cpu", threads=1, in_graph=in_graph)) as estimator:
            assert estimator([]) == []
