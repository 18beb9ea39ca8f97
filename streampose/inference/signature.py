"""What a graph takes and gives, and what it says of itself in its metadata."""

from __future__ import annotations

import ast
import json
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from streampose.errors import ModelUnknown

__all__ = ["METADATA_KEY", "TENSOR_TYPES", "Signature", "Tensor", "warn_once"]

log = logging.getLogger("streampose")

METADATA_KEY = "streampose.card"
"""A model's metadata may have a JSON object under this key: our own models' facts, as fields of `Card`."""


TENSOR_TYPES: Mapping[str, type[np.generic]] = {
    "tensor(float)": np.float32,
    "tensor(float16)": np.float16,
    "tensor(double)": np.float64,
    "tensor(uint8)": np.uint8,
    "tensor(int32)": np.int32,
    "tensor(int64)": np.int64,
}
"""What is fed and taken here, by the runtime's names."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Tensor:
    """One input or output of a graph. A dynamic dimension is `None`."""

    name: str
    dtype: str
    shape: tuple[int | None, ...]

    def __str__(self) -> str:
        return f"{self.name} {self.dtype}[{', '.join('?' if d is None else str(d) for d in self.shape)}]"


@dataclass(frozen=True, slots=True, kw_only=True)
class Signature:
    """What a graph takes, gives, and says of itself."""

    path: Path
    """The model's file."""
    inputs: tuple[Tensor, ...]
    outputs: tuple[Tensor, ...]
    metadata: Mapping[str, str]

    @classmethod
    def of(cls, session: Any, path: Path, *, several: bool = False) -> Signature:
        """What an ONNX Runtime session says of its graph.

        Args:
            session: the session.
            path: of the model.
            several: inputs are allowed, as our own fused graphs have them.

        Raises:
            ModelUnknown: it takes several inputs, or none.
        """
        inputs, outputs = tuple(map(_tensor, session.get_inputs())), tuple(map(_tensor, session.get_outputs()))
        if len(inputs) != 1 and not several:
            names = ", ".join(map(str, inputs)) or "nothing"
            raise ModelUnknown(f"{path.name} takes {names}; the models known here take one picture tensor")
        return cls(path=path, inputs=inputs, outputs=outputs, metadata=_metadata(session, path))

    def __str__(self) -> str:
        return f"({', '.join(map(str, self.inputs))}) → ({', '.join(map(str, self.outputs))})"

    @property
    def sides_px(self) -> tuple[int | None, int | None]:
        """Width and height of the input, each where the graph fixes it."""
        shape = self.inputs[0].shape
        if len(shape) != 4:
            return None, None
        height, width = (shape[1], shape[2]) if self.channels_last else (shape[2], shape[3])
        return width, height

    @property
    def size_px(self) -> tuple[int, int] | None:
        """Width and height of the input, where the graph fixes both."""
        width, height = self.sides_px
        return (width, height) if width and height else None

    @property
    def channels_last(self) -> bool:
        """Whether the input is (n, H, W, 3), as TensorFlow has it."""
        shape = self.inputs[0].shape
        return len(shape) == 4 and shape[3] == 3 and shape[1] != 3

    @property
    def takes_pictures(self) -> bool:
        """Whether the input can be pictures of three colours."""
        shape = self.inputs[0].shape
        return not shape or (len(shape) == 4 and (self.channels_last or shape[1] in {3, None}))

    def own(self) -> dict[str, Any]:
        """The object under `METADATA_KEY`.

        Raises:
            ModelUnknown: it is none.
        """
        text = self.metadata.get(METADATA_KEY, "{}")
        try:
            said = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise ModelUnknown(f"{self.path.name}: its metadata {METADATA_KEY!r} cannot be read: {error}") from error
        if not isinstance(said, dict):
            raise ModelUnknown(f"{self.path.name}: its metadata {METADATA_KEY!r} is no JSON object: {text}")
        return said

    def ultralytics(self, key: str) -> Any:
        """What Ultralytics' exporter writes, as Python literals: ``kpt_shape``, ``names``, ``imgsz``; `None` = nothing.

        Raises:
            ModelUnknown: it cannot be read.
        """
        if (text := self.metadata.get(key)) is None:
            return None
        try:
            return ast.literal_eval(text)
        except (ValueError, TypeError, SyntaxError, MemoryError, RecursionError) as error:  # all that it may raise
            raise ModelUnknown(f"{self.path.name}: its metadata {key!r} cannot be read: {text:.80}") from error

    @property
    def outputs_known(self) -> bool:
        """Whether the shape of every output is known, but for the batch."""
        return all(tensor.shape and None not in tensor.shape[1:] for tensor in self.outputs)

    def mentions(self, mark: bytes) -> bool:
        """Whether these bytes, say of a weight's name, are in the file."""
        return mark in self.path.read_bytes()


@lru_cache(64)
def warn_once(model: Path, words: str) -> None:
    """Say something of a model, however many sessions and estimators it is loaded into."""
    log.warning("%s: %s", model.name, words)


def _metadata(session: Any, path: Path) -> dict[str, str]:
    try:
        return dict(session.get_modelmeta().custom_metadata_map)
    except UnicodeDecodeError as error:
        warn_once(path, f"its metadata is no UTF-8, and passed over: {error}")
        return {}


def _tensor(arg: Any) -> Tensor:
    shape = tuple(d if isinstance(d, int) and d > 0 else None for d in arg.shape)
    return Tensor(name=arg.name, dtype=arg.type, shape=shape)
