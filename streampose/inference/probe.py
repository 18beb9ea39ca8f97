"""What a graph gives where it leaves that open: one run on the CPU, before anything is built around it."""

from __future__ import annotations

from contextlib import closing
from dataclasses import replace
from functools import lru_cache
from pathlib import Path

import numpy as np

from streampose.inference.card import Card
from streampose.inference.engine import Engine, EngineOptions
from streampose.inference.heads import columns_axis
from streampose.inference.signature import Signature

__all__ = ["seen"]


def seen(model: Path, signature: Signature, card: Card) -> Signature:
    """The signature of a model with as many columns (of boxes, classes, key points) as it gives for a black picture.

    Args:
        model: path of its file.
        signature: what its graph says.
        card: what it wants.

    Raises:
        ModelError: it cannot be run on a CPU, or gives what no model should.
    """
    axis, first = columns_axis(card.family), signature.outputs[0]
    if axis is None or len(first.shape) <= axis or first.shape[axis] is not None:
        return signature
    file = model.stat()
    shape: tuple[int | None, ...] = _shape(model, (file.st_mtime_ns, file.st_size), card.item_shape)
    if len(shape) == len(first.shape):  # else it is no such head
        shape = (*first.shape[:axis], shape[axis], *first.shape[axis + 1 :])
    return replace(signature, outputs=(replace(first, shape=shape), *signature.outputs[1:]))


# It is loaded into several sessions, and for the calibration into some more.
@lru_cache(16)
def _shape(model: Path, version: tuple[int, int], item_shape: tuple[int, ...]) -> tuple[int, ...]:
    """Of its first output, for one item."""
    with closing(Engine(model, EngineOptions(device="cpu"))) as engine:
        return engine.run(np.zeros((1, *item_shape), engine.input_dtype))[0].shape
