"""A model in 16-bit floats."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import onnx

from streampose.errors import ModelUnreadable
from streampose.inference.kept import keep
from streampose.inference.providers import gist

__all__ = ["half_graph"]


def half_graph(model: Path, graph: bytes | None = None, cache_dir: Path | None = None) -> bytes:
    """Convert weights and arithmetic to 16 bits; inputs and outputs keep their types.

    Args:
        model: path of an ONNX file.
        graph: convert this instead.
        cache_dir: keep the result here, by the original's hash; `None` = convert anew each time.

    Raises:
        ModelUnreadable: it cannot be converted.
    """
    original = graph or model.read_bytes()
    kept = None
    if cache_dir is not None:
        kept = cache_dir / "half" / f"{hashlib.sha256(original).hexdigest()}.onnx"
        if kept.is_file():
            return kept.read_bytes()
    try:
        converted = _converted(onnx.load_from_string(original))
    except Exception as error:  # protobuf's and the converter's exceptions share no base class
        raise ModelUnreadable(f"{model.name} cannot be made 16-bit: {gist(error)}") from error
    if kept is not None:
        keep(kept, converted)
    return converted


def _converted(model: onnx.ModelProto) -> bytes:
    # Comes with the runtime, but loads much that nobody else needs.
    from onnxruntime.transformers.float16 import convert_float_to_float16  # noqa: PLC0415

    half: Any = convert_float_to_float16(model, keep_io_types=True)
    data: bytes = half.SerializeToString()
    return data
