"""From checkpoints to the two ONNX files: float first, compared with PyTorch, then int8, compared with float."""

from __future__ import annotations

import json
import logging
import statistics
import tempfile
import time
import warnings
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import torch
from onnxruntime.quantization import CalibrationDataReader, CalibrationMethod, QuantFormat, QuantType, quantize_static
from onnxruntime.quantization.shape_inference import quant_pre_process
from torch import Tensor, nn

from streampose.inference.signature import METADATA_KEY
from training.nano.network import BoxNet, PoseNet, centres
from training.nano.pose_task import normal

__all__ = ["Exported", "export_boxes", "export_pose", "interleaved_ms", "quantise"]

POSE_CARD = {"family": "heatmap", "skeleton": "coco-17", "padding": 1.25, "refine": "dark", "blur_px": 5}
BOX_CARD = {"family": "picodet", "fit": "top-left", "fill": 114, "rect": True}


class _Heatmaps(nn.Module):
    """The key-point model as it ships: heights in [0, 1]."""

    def __init__(self, network: PoseNet) -> None:
        super().__init__()
        self.network = network

    def forward(self, image: Tensor) -> Tensor:
        """(b, 3, H, W) → (b, 17, H/4, W/4)."""
        return self.network(image).sigmoid()


class _Boxes(nn.Module):
    """The detector as it ships: scores (b, 1, n) and corners (b, n, 4) in pixels, before suppression."""

    def __init__(self, network: BoxNet, side: int) -> None:
        super().__init__()
        self.network = network
        self.register_buffer("cells", centres(side, side)[:, :2])

    def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """(b, 3, side, side)."""
        logits, edges = self.network(image)
        corners = torch.cat([self.cells - edges[..., :2], self.cells + edges[..., 2:]], -1)
        return logits.sigmoid().unsqueeze(1), corners


def export_pose(network: PoseNet, size: tuple[int, int], file: Path) -> None:
    """Write the float key-point model.

    Args:
        size: width and height of the crop.

    Raises:
        ArithmeticError: ONNX Runtime and PyTorch differ by more than rounding.
    """
    _export(_Heatmaps(network), (size[1], size[0]), file, ["heatmaps"], POSE_CARD)


def export_boxes(network: BoxNet, side: int, file: Path) -> None:
    """Write the float detector; the same errors."""
    _export(_Boxes(network, side), (side, side), file, ["scores", "boxes"], BOX_CARD)


def _export(module: nn.Module, shape: tuple[int, int], file: Path, outputs: list[str], card: dict[str, object]) -> None:
    module = module.eval().to(memory_format=torch.contiguous_format)
    example = torch.randn(2, 3, *shape)
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of PyTorch's own making
        torch.onnx.export(
            module, (example,), str(file), dynamo=True, opset_version=18, external_data=False, verbose=False,
            input_names=["image"], output_names=outputs, dynamic_shapes={"image": {0: "batch"}},
        )  # fmt: skip
    _finish(file, card)
    session = ort.InferenceSession(file, providers=["CPUExecutionProvider"])
    for batch in (1, 3):
        picture = torch.randn(batch, 3, *shape)
        with torch.no_grad():
            expected = module(picture)
        expected = expected if isinstance(expected, tuple) else (expected,)
        for name, ours, theirs in zip(outputs, session.run(None, {"image": picture.numpy()}), expected, strict=True):
            apart = float(np.abs(ours - theirs.numpy()).max())
            if apart > 1e-3 * max(1.0, float(theirs.abs().max())):
                raise ArithmeticError(f"{file.name}: {name} is {apart:.2g} off what PyTorch computes")


def _finish(file: Path, card: dict[str, object]) -> None:
    """The card into the metadata; names of source lines and the like out."""
    model = onnx.load(file)
    for node in model.graph.node:
        del node.metadata_props[:]
        node.doc_string = ""
    del model.graph.value_info[:]
    del model.graph.metadata_props[:]
    del model.metadata_props[:]
    entry = model.metadata_props.add()
    entry.key, entry.value = METADATA_KEY, json.dumps(card)
    model.producer_name, model.producer_version = "streampose", ""
    onnx.checker.check_model(model)
    onnx.save(model, file)


class _Pictures(CalibrationDataReader):
    """Examples of a task, as the model takes them."""

    def __init__(self, batches: Iterator[tuple[Tensor, Tensor]], count: int) -> None:
        self._left = (normal(next(batches)[0]).contiguous().numpy() for _ in range(count))

    def get_next(self) -> dict[str, np.ndarray] | None:
        """One batch, or `None`."""
        picture = next(self._left, None)
        return None if picture is None else {"image": picture}


def quantise(source: Path, target: Path, batches: Iterator[tuple[Tensor, Tensor]], count: int = 8) -> None:
    """Convolutions in int8: static, quantise-dequantise pairs, a scale for each channel of the weights.

    Weights have seven bits: older processors without VNNI add products in 16 bits, which eight would overflow (ONNX
    Runtime's documentation on quantisation). What follows the last convolutions stays float: pixels and scores need
    more steps than 256.

    Args:
        source: the float model.
        target: what is written.
        batches: examples to find the range of each activation.
        count: how many batches of them.
    """
    card = json.loads(next(p.value for p in onnx.load(source).metadata_props if p.key == METADATA_KEY))
    with tempfile.TemporaryDirectory() as folder:
        ready = Path(folder) / "ready.onnx"
        quant_pre_process(source, ready, skip_symbolic_shape=True)
        logging.getLogger().setLevel(logging.ERROR)
        quantize_static(
            ready, target, _Pictures(batches, count), quant_format=QuantFormat.QDQ, per_channel=True, reduce_range=True,
            activation_type=QuantType.QUInt8, weight_type=QuantType.QInt8,
            calibrate_method=CalibrationMethod.MinMax, nodes_to_exclude=_tail(ready),
            extra_options={"CalibMovingAverage": True},
        )  # fmt: skip
    _finish(target, card)


class Exported(nn.Module):
    """An exported file in the place of the network, for `Task.measure`: logits, and edges where it is a detector."""

    def __init__(self, file: Path) -> None:
        super().__init__()
        options = ort.SessionOptions()
        options.intra_op_num_threads = 1
        self._session = ort.InferenceSession(file, options, providers=["CPUExecutionProvider"])

    def forward(self, x: Tensor) -> Tensor | tuple[Tensor, Tensor]:
        """(b, 3, H, W), as the network takes them."""
        found = [torch.from_numpy(a) for a in self._session.run(None, {"image": x.float().contiguous().numpy()})]
        logits = found[0].clamp(1e-6, 1 - 1e-6).logit()
        if len(found) == 1:
            return logits
        cells, corners = centres(x.shape[2], x.shape[3])[:, :2], found[1]
        return logits[:, 0], torch.cat([cells - corners[..., :2], corners[..., 2:] - cells], -1)


def interleaved_ms(models: list[Exported], picture: Tensor, rounds: int = 60) -> list[float]:
    """Median milliseconds of one picture on one thread, the models taking turns."""
    times: list[list[float]] = [[] for _ in models]
    for _ in range(rounds):
        for model, took in zip(models, times, strict=True):
            start = time.perf_counter()
            model(picture)
            took.append(1000 * (time.perf_counter() - start))
    return [statistics.median(took) for took in times]


def _tail(file: Path) -> list[str]:
    """The nodes that no convolution follows, and the last convolutions' own outputs with them."""
    graph = onnx.load(file).graph
    feeds: dict[str, list[onnx.NodeProto]] = {}
    for node in graph.node:
        for name in node.input:
            feeds.setdefault(name, []).append(node)
    before: set[str] = set()

    def leads_to_convolution(node: onnx.NodeProto) -> bool:
        followers = [after for name in node.output for after in feeds.get(name, [])]
        return any(after.op_type == "Conv" or after.name in before for after in followers)

    for node in reversed(graph.node):
        if leads_to_convolution(node):
            before.add(node.name)
    return [node.name for node in graph.node if node.name not in before and node.op_type != "Conv"]
