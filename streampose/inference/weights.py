"""The files that a model's weights are in: its own, and those beside it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import onnx
from google.protobuf.message import DecodeError

__all__ = ["files_of"]


def files_of(model: Path) -> list[Path]:
    """An ONNX file, and the files of weights that it names and that are there (ONNX's external data)."""
    if not _names_files(model):
        return [model]
    try:
        loaded = onnx.load(model, format="protobuf", load_external_data=False)
    except DecodeError:  # it is no ONNX model, as who loads it says
        return [model]
    graphs = loaded.graph, *loaded.functions
    entries = (entry for graph in graphs for tensor in _tensors(graph) for entry in tensor.external_data)
    named = {entry.value for entry in entries if entry.key == "location"}
    beside = (model.parent / name for name in sorted(named) if _is_within(model.parent, name))
    return [model, *(path for path in beside if os.path.isfile(path))]  # noqa: PTH113 - no name is too long for it


def _names_files(model: Path) -> bool:
    """Whether it may: it has the word that each such tensor has to say. Most have not, and need not be parsed."""
    word, before = b"location", b""
    with model.open("rb") as file:
        while piece := file.read(1 << 20):  # it may be gigabytes
            if word in before + piece:
                return True
            before = piece[1 - len(word) :]
    return False


def _is_within(folder: Path, name: str) -> bool:
    """ONNX reads nothing outside the model's folder."""
    return Path(os.path.abspath(folder / name)).is_relative_to(os.path.abspath(folder))  # noqa: PTH100 - reads no links


def _tensors(graph: onnx.GraphProto | onnx.FunctionProto) -> Iterator[onnx.TensorProto]:
    """Also those of constants, and of graphs within."""
    if isinstance(graph, onnx.GraphProto):
        yield from graph.initializer
    for node in graph.node:
        for attribute in node.attribute:
            yield from (attribute.t, *attribute.tensors)
            for inner in (attribute.g, *attribute.graphs):
                yield from _tensors(inner)
