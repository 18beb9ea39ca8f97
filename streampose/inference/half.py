"""A model in 16-bit floats."""

from __future__ import annotations

import hashlib
import logging
from functools import cache
from pathlib import Path
from typing import Any

import onnx

from streampose.errors import ModelUnreadable
from streampose.inference.download import sha256_of
from streampose.inference.kept import keep, sealed, unsealed
from streampose.inference.providers import gist
from streampose.inference.weights import files_of

__all__ = ["half_graph"]

log = logging.getLogger("streampose")

_EIGHT_BIT = {"QuantizeLinear", "DequantizeLinear", "QLinearConv", "QLinearMatMul", "ConvInteger", "MatMulInteger"}


def half_graph(model: Path, cache_dir: Path | None = None) -> bytes:
    """Convert weights and arithmetic to 16 bits; inputs and outputs keep their types. An 8-bit model stays as it is.

    Weights in files of their own are part of what comes back.

    Args:
        model: path of an ONNX file.
        cache_dir: keep the result here, by the original's hash; `None` = convert anew each time.

    Raises:
        ModelUnreadable: it cannot be converted.
    """
    try:
        kept = None
        if cache_dir is not None:
            original = " ".join(map(sha256_of, files_of(model)))
            kept = cache_dir / "half" / f"{hashlib.sha256(original.encode()).hexdigest()}.half"
            if (before := unsealed(kept)) is not None:
                return before
        loaded = onnx.load(model, format="protobuf")  # with its weights, also those that are in files of their own
        if any(node.op_type in _EIGHT_BIT for node in loaded.graph.node):
            _say_it_stays(model)
            whole: bytes = loaded.SerializeToString()
            return whole
        converted = _converted(loaded)
    except Exception as error:  # protobuf's and the converter's exceptions share no base class
        raise ModelUnreadable(f"{model.name} cannot be made 16-bit: {gist(error)}") from error
    if kept is not None:
        keep(kept, sealed(converted))
    return converted


@cache
def _say_it_stays(model: Path) -> None:
    """Once in a process, not for each session."""
    log.warning("%s is an 8-bit model, and stays one: 16 bits are for models of 32", model.name)


def _converted(model: onnx.ModelProto) -> bytes:
    # Comes with the runtime, but loads much that nobody else needs.
    from onnxruntime.transformers.float16 import convert_float_to_float16  # noqa: PLC0415

    half: Any = convert_float_to_float16(model, keep_io_types=True)
    # Where several nodes need a tensor as it was, the converter casts it for each of them, to the same name.
    once = {node.output[0]: node for node in reversed(half.graph.node)}
    nodes = [node for node in half.graph.node if once[node.output[0]] is node]
    del half.graph.node[:]
    half.graph.node.extend(nodes)
    data: bytes = half.SerializeToString()
    return data
